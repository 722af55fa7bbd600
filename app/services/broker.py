"""Celery as the doorbell between machines: a message names a session, and nothing more.

The row is the job (docs/adr/0016). A message that is lost costs seconds, one that comes twice finds
the row claimed. So nothing here keeps anything that a database would.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from uuid import UUID

import structlog

from app.errors import SettingsError
from app.metrics import RINGS
from app.services.redis_client import open_redis

log = structlog.get_logger(__name__)

TASK = "tryonai.attempt"

RETRY_S = 1.0
# Beyond that the oldest rings are dropped: the rows they are for are rung for again.
MOST_RINGS = 10_000
# What the thread may take for the last rings when the process ends.
PATIENCE_S = 2.0
# For how long a session is not rung for again. Redis keeps that, and so forgets it with the
# messages when it loses its memory.
AGAIN_S = 60

_SAFE = {
    # The message goes when the attempt has ended, not when it begins: a worker that dies gives it
    # back.
    "task_acks_late": True,
    # Off by default, and then an attempt whose child was killed (out of memory) lost its message.
    "task_reject_on_worker_lost": True,
    # A worker takes what it can begin: more would wait behind a long run while others are idle.
    # With late acknowledgement the count drifts up in Celery, hence the second line.
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    # Nobody asks for a result: the row has it.
    "task_ignore_result": True,
    # An attempt that raises has its row under a lease, or waiting: nothing to be gained by another
    # message than the sweeper's.
    "task_acks_on_failure": True,
    # JSON only: a message that could hold an object could hold a program.
    "accept_content": ["json"],
    "task_serializer": "json",
    "enable_utc": True,
}
_PATIENT = {
    # A broker that is away, at the start too, is waited for.
    "broker_connection_retry_on_startup": True,
    "broker_connection_retry": True,
    "broker_connection_max_retries": None,
    # A run goes on while the broker is away; its lease is the database's.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # A child opens the database before it says that it is there; 4 s, the default, is less than the
    # time-out of a database that is away, and the child would be killed again and again.
    "worker_proc_alive_timeout": 60.0,
    # SIGQUIT, or a second SIGTERM: what is in work may finish for so long, then it is put back.
    "worker_soft_shutdown_timeout": 10.0,
}
_QUIET = {
    # Our logging, for all of its lines too.
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    # Who works at what stands in the database: `python -m app queues`.
    "worker_send_task_events": False,
    "worker_enable_remote_control": False,
}
_TRANSPORT = {
    # When a message that nobody has acknowledged is delivered again. It must be longer than the
    # longest attempt, or that is begun again beside itself (tried: three times); dead workers are
    # found by their leases, long before.
    "visibility_timeout": 3600,
    # How often that is looked for; 10 and 10, the defaults, mean every 100 s.
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    # A connection that died without a word is noticed: without these a worker waited for ever.
    "socket_connect_timeout": 4,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


def queue_of(engine: str) -> str:
    """Each engine has a queue of its own, so that a worker takes what it has the hardware for."""
    return f"tryonai.{engine}"


def make_celery(url: str, *, engines: Sequence[str] = ()) -> Any:
    """A Celery application with our settings. Raises SettingsError where Celery is not installed.

    engines: those whose sessions this process works on; none for one that only rings.
    """
    try:
        from celery import Celery  # noqa: PLC0415 - a laptop has none
        from kombu.entity import Queue  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsError(
            "TASK_QUEUE=celery needs packages that are not here: install requirements-cluster.txt."
        ) from exc
    app = Celery("tryonai", broker=url, set_as_current=bool(engines))
    waits_s: dict[str, object] = {"socket_timeout": 30} if engines else {"socket_timeout": 1}
    app.conf.update(
        **_SAFE,
        **_PATIENT,
        **_QUIET,
        broker_transport_options=_TRANSPORT | waits_s,
        task_publish_retry=False,  # the ringer does
        task_queues=[Queue(queue_of(engine)) for engine in engines],  # type: ignore[no-untyped-call]
    )
    return app


class Ringer:
    """The queue of a process whose sessions are worked on by Celery's workers.

    A thread of its own publishes, so that nobody waits for a broker that is slow or away.

    send: publish one message; may raise anything, and is tried again.
    mark: note that these are rung for now, and tell of each whether that was not so already.
    count_messages: that wait for workers with this engine.
    """

    def __init__(
        self,
        send: Callable[[UUID, str], None],
        mark: Callable[[Sequence[UUID]], Sequence[bool]],
        count_messages: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._count = count_messages
        self._send = send
        self._mark = mark
        self._rings: list[tuple[float, int, UUID, str]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._stopping = False
        self._away = False
        self._thread = threading.Thread(target=self._ring_always, name="ringer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send what is due; the rest is rung for by others."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)

    def notify(self, session_id: UUID, *, engine: str, after_s: float = 0) -> None:
        self._add(session_id, engine, after_s)

    def ring_again(self, sessions: Sequence[tuple[UUID, str]]) -> int:
        """Ring for those for which nobody has lately; for how many that was."""
        try:
            new = self._mark([session_id for session_id, _ in sessions]) if sessions else []
        except Exception as exc:  # noqa: BLE001 - as below; the next look is seconds away
            self._note_away(exc)
            return 0
        for (session_id, engine), first in zip(sessions, new, strict=True):
            if first:
                self._add(session_id, engine, 0)
        return sum(new)

    def length(self, engine: str) -> int | None:
        try:
            return self._count(engine)
        except Exception as exc:  # noqa: BLE001 - as below
            self._note_away(exc)
            return None

    def _add(self, session_id: UUID, engine: str, after_s: float) -> None:
        with self._changed:
            if len(self._rings) >= MOST_RINGS:
                RINGS.labels("dropped").inc()
                return
            due = time.monotonic() + after_s
            heapq.heappush(self._rings, (due, next(self._numbers), session_id, engine))
            self._changed.notify()

    def _ring_always(self) -> None:
        while (ring := self._next()) is not None:
            try:
                self._send(*ring)
            except Exception as exc:  # noqa: BLE001 - a process edge: whatever the broker's client says
                RINGS.labels("failed").inc()
                self._note_away(exc)
                self._add(*ring, RETRY_S)
                if self._rest():
                    return
            else:
                RINGS.labels("sent").inc()
                if self._away:
                    log.info("queue.back")
                self._away = False

    def _note_away(self, exc: Exception) -> None:
        if not self._away:
            log.warning("queue.away", error=type(exc).__name__)
        self._away = True

    def _rest(self) -> bool:
        """Who is away is not asked for each ring that waits. True where this ends meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, RETRY_S)

    def _next(self) -> tuple[UUID, str] | None:
        """The next ring, when it is due; None where this ends."""
        with self._changed:
            while True:
                wait_s = self._rings[0][0] - time.monotonic() if self._rings else None
                if wait_s is not None and wait_s <= 0:
                    _, _, session_id, engine = heapq.heappop(self._rings)
                    return session_id, engine
                if self._stopping:
                    return None
                self._changed.wait(wait_s)


def make_ringer(url: str) -> Ringer:
    """One that publishes through Celery, and keeps its marks in the same Redis.

    Raises SettingsError where Celery is not installed.
    """
    celery = make_celery(url)
    redis: Any = open_redis(url, setting="TASK_QUEUE=celery", patience_s=1)

    def send(session_id: UUID, engine: str) -> None:
        celery.send_task(TASK, args=[str(session_id)], queue=queue_of(engine))

    def mark(session_ids: Sequence[UUID]) -> list[bool]:
        with redis.pipeline(transaction=False) as many:
            for session_id in session_ids:
                many.set(f"tryonai:rung:{session_id}", 1, nx=True, ex=AGAIN_S)
            return [bool(answer) for answer in many.execute()]

    def count_messages(engine: str) -> int:
        return int(redis.llen(queue_of(engine)))

    return Ringer(send, mark, count_messages)
