"""News between processes over Redis's pub/sub, where nobody can LISTEN (docs/adr/0023).

News are sent after the commit, by a thread of their own, and are hints: lost ones cost seconds,
because slots look by themselves, and polls that wait are compared with their rows. So nothing waits
for Redis, nothing is sent twice, and while Redis is away news reach only this very process.

    message     AES-SIV of: sender (8) ‖ number (8) ‖ kind (1) and session's id (16), repeated
    channel     <name>:news
    workers     <name>:workers, a sorted set: names by when they were last there, Redis's clock

Redis learns no ids, and what somebody else writes to the channel is not understood.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

import structlog

from app.crud import News
from app.database import Told
from app.metrics import NEWS
from app.services.circuit import circuit_of
from app.services.redis_client import open_redis

log = structlog.get_logger(__name__)

# Between two tries to listen, as far as the circuit lets one.
RETRY_S = 0.25
# How often who listens asks whether Redis is still there, and says that a worker is. Without a word
# from it for so long the connection is given up.
PING_S, DEAF_S = 2.0, 4.0
# How often who listens looks whether the process ends.
WAKE_S = 0.25
# For how long a worker counts as alive that says nothing any more.
ALIVE_S = 10
# Beyond so many that wait to be sent, news are dropped. So many are one message.
MOST, BATCH = 10_000, 500
# What the threads may take when the process ends.
END_S = 2.0

_KINDS = tuple(News)


class PubSub:
    """Tells other processes what was committed here, and hears it from them.

    url: of Redis. name: begins all of its names there; the same for all processes of an
        installation, and no other's. keys: 32 bytes each; the first seals, all of them open.
    Raises SettingsError where Redis's client is not installed.
    """

    def __init__(self, url: str, *, name: str, keys: Sequence[bytes]) -> None:
        self._redis: Any = open_redis(url, setting="EVENTS=redis")
        from redis import RedisError  # noqa: PLC0415 - a laptop has none

        self._errors = (RedisError, OSError)
        self._circuit = circuit_of(url)
        self._channel = f"{name}:news"
        self._workers = f"{name}:workers"
        self._envelopes = Envelopes(keys)
        self._present: str | None = None
        self._hear: Callable[[str, UUID], None] = lambda *_: None
        self._on_return: Callable[[], None] = lambda: None
        self._waiting: deque[Told] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._sending = threading.Thread(target=self._send_always, name="news-out", daemon=True)
        self._hearing = threading.Thread(target=self._hear_always, name="news-in", daemon=True)
        self.connected = threading.Event()
        self._deaf = False

    def tell(self, told: Sequence[Told]) -> None:
        """After a commit, in its thread: hand over what is to be told, and go on."""
        with self._changed:
            room = MOST - len(self._waiting)
            self._waiting.extend(told[:room])
            if len(told) > room:
                NEWS.labels("dropped").inc(len(told) - room)
            if self._sending.ident is None:  # most commands tell nothing
                self._sending.start()
            self._changed.notify()

    def listen(
        self,
        hear: Callable[[str, UUID], None],
        *,
        on_return: Callable[[], None],
        present: str | None,
    ) -> None:
        """Call back with the kind and session of all news, this process's own included.

        From threads of its own; the callbacks must not block. on_return: listening has begun
        (again), and news may have been missed. present: the name under which a worker is counted.
        """
        self._hear, self._on_return, self._present = hear, on_return, present
        self._hearing.start()

    def workers(self) -> list[str] | None:
        """The names of the live ones, on all hosts; None where that cannot be known."""
        names = self._circuit.ask(self._present_ones)
        return None if names is None else sorted(name.decode() for name in names)

    def _present_ones(self) -> list[bytes]:
        now, _ = self._redis.time()
        names: list[bytes] = self._redis.zrangebyscore(self._workers, now - ALIVE_S, "+inf")
        return names

    def stop(self) -> None:
        """Send what is left, if Redis takes it, and end."""
        with self._changed:
            self._stopping.set()
            self._changed.notify()
        for thread in (self._sending, self._hearing):
            if thread.ident is not None:
                thread.join(END_S)
        if self._present is not None:
            with suppress(*self._errors):
                self._redis.zrem(self._workers, self._present)
        self._redis.close()

    # --- sending ---

    def _send_always(self) -> None:
        for batch in iter(self._next, []):
            for kind, session_id in batch:
                self._hear_safely(kind, session_id)
            message = self._envelopes.seal(batch)
            heard_by = self._circuit.ask(partial(self._redis.publish, self._channel, message))
            NEWS.labels("dropped" if heard_by is None else "sent").inc(len(batch))

    def _next(self) -> list[Told]:
        """What waits to be sent, as soon as something does; nothing where this ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping.is_set())
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    # --- hearing ---

    def _hear_always(self) -> None:
        while not self._stopping.is_set():
            if self._circuit.ask(self._redis.ping):
                try:
                    self._listen()
                except self._errors as exc:
                    self._note_deaf(type(exc).__name__)
                except Exception:  # a process edge: listening must never end
                    log.exception("news.failed")
                self.connected.clear()
            self._stopping.wait(RETRY_S)

    def _note_deaf(self, error: str) -> None:
        """A line where it ends, and where it begins again, and none for tries in between."""
        if not self._deaf:
            log.warning("news.away", error=error)
        self._deaf = True

    def _note_hearing(self) -> None:
        if self._deaf:
            log.info("news.back")
        self._deaf = False
        self.connected.set()
        self._on_return()

    def _listen(self) -> None:
        with closing(self._redis.pubsub()) as pubsub:
            pubsub.subscribe(self._channel)
            heard = time.monotonic()
            ping_at = heard
            while not self._stopping.is_set():
                if time.monotonic() >= ping_at:
                    self._beat()
                    pubsub.ping()
                    ping_at = time.monotonic() + PING_S
                message = pubsub.get_message(timeout=WAKE_S)
                if message is None:
                    if time.monotonic() - heard > DEAF_S:
                        raise TimeoutError("Redis says nothing")
                    continue
                heard = time.monotonic()
                if message["type"] == "message":
                    for kind, session_id in self._envelopes.open(message["data"]):
                        self._hear_safely(kind, session_id)
                elif message["type"] == "subscribe":
                    self._note_hearing()

    def _hear_safely(self, kind: str, session_id: UUID) -> None:
        try:
            self._hear(kind, session_id)
        except Exception:  # a process edge: the others' news count, too
            log.exception("news.failed")

    def _beat(self) -> None:
        if self._present is None:
            return
        now, _ = self._redis.time()
        with self._redis.pipeline(transaction=False) as beat:
            beat.zadd(self._workers, {self._present: now})
            beat.zremrangebyscore(self._workers, "-inf", now - ALIVE_S)
            beat.expire(self._workers, 6 * ALIVE_S)
            beat.execute()


class Envelopes:
    """What a message of one process looks like in Redis.

    Source: RFC 5297, AES-SIV: unlike with GCM no number of messages under one key is too high.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        # 10 ms to import, which a laptop that tells nobody need not spend.
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415

        self._sivs = [AESSIV(key) for key in keys]
        self._sender = secrets.token_bytes(8)
        self._numbers = count()

    def seal(self, told: Sequence[Told]) -> bytes:
        number = next(self._numbers).to_bytes(8)
        news = (bytes([_KINDS.index(News(kind))]) + one.bytes for kind, one in told)
        return self._sivs[0].encrypt(b"".join([self._sender, number, *news]), None)

    def open(self, message: bytes) -> Iterator[Told]:
        """The news of another process; none in what is our own, or no message at all."""
        opened = self._opened(message)
        if opened is None or opened[:8] == self._sender:
            return
        for start in range(16, len(opened), 17):
            kind = opened[start]
            if kind < len(_KINDS):  # else of a newer version
                yield _KINDS[kind], UUID(bytes=opened[start + 1 : start + 17])

    def _opened(self, message: bytes) -> bytes | None:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

        for siv in self._sivs:
            with suppress(InvalidTag, ValueError):
                return siv.decrypt(message, None)
        return None
