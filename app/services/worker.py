"""Who makes attempts: threads that look for work, or a caller that is told of it.

A slot is a thread; the engines' processes are the worker's. Where a message tells of a session,
there are no slots, and the caller's thread makes the attempt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from uuid import UUID

import structlog

from app.database import translate
from app.engines import scratch
from app.engines.pool import EnginePool
from app.errors import EngineUnavailable
from app.services.attempts import AGAIN_MOST_S, AGAIN_S, Attempts, WorkerLimits
from app.services.queue import Bell

log = structlog.get_logger(__name__)


class Worker:
    """Works off waiting sessions from `start` to `stop`.

    bell: wakes the slots, of which there are `limits.concurrency`; None for a worker without any,
        that makes an attempt only where `work_on` tells it to, one at a time.
    """

    def __init__(
        self,
        attempts: Attempts,
        bell: Bell | None,
        engines: Mapping[str, EnginePool],
        *,
        default_engine: str,
        limits: WorkerLimits,
    ) -> None:
        self._attempts = attempts
        self._bell = bell
        self._default_engine = default_engine
        self._lease_s = limits.lease_s
        self._engines = engines
        self._slots = [
            threading.Thread(target=self._slot, args=(n,), name=f"slot-{n}", daemon=True)
            for n in range(limits.concurrency if bell is not None else 0)
        ]
        # Where an engine has fewer processes than there are slots, one may wait for it.
        self._may_wait = any(pool.size < limits.concurrency for pool in engines.values())
        self._mender = threading.Thread(target=self._mend, name="mender", daemon=True)
        self._telling = threading.Lock()

    @property
    def name(self) -> str:
        return self._attempts.name

    @property
    def engine_trouble(self) -> Mapping[str, str]:
        return self._attempts.trouble

    def ready(self, engine: str) -> int:
        """In how many processes of this worker the engine is loaded."""
        return self._engines[engine].ready

    def start(self) -> None:
        leftovers = scratch.remove_leftovers()
        if leftovers:
            log.info("scratch.removed", folders=leftovers)
        self._attempts.start()
        for thread in (self._mender, *self._slots):
            thread.start()

    @property
    def alive(self) -> bool:
        return self._attempts.alive and all(one.is_alive() for one in (*self._slots, self._mender))

    def cancel(self, session_id: UUID) -> None:
        """End the attempt at this session, if one is made here: it is erased or another's."""
        self._attempts.cancel(session_id)

    def work_on(self, session_id: UUID) -> bool:
        """Make one attempt at this session, if it waits; False where it does not.

        Raises what the database raises.
        """
        with self._telling:
            if self._attempts.stopping.is_set():
                return False
            return self._attempts.make_one(only=session_id)

    def stop(self, *, grace_s: float) -> None:
        """Claim nothing more, let what is in work finish for a while, then release it."""
        self._attempts.stopping.set()
        if self._bell is not None:
            self._bell.ring()
        deadline = time.monotonic() + grace_s
        for slot in self._slots:
            slot.join(max(0.0, deadline - time.monotonic()))
        if self._telling.acquire(timeout=max(0.0, deadline - time.monotonic())):
            self._telling.release()
        self._attempts.cancel_all()
        for pool in self._engines.values():
            pool.close()  # one that loads its weights hears of nothing else
        for thread in (*self._slots, self._mender):
            thread.join()
        with self._telling:
            self._attempts.stop()

    # --- slots ---

    def _slot(self, number: int) -> None:
        assert self._bell is not None
        bell = self._bell.slot()
        # What cannot be loaded must be known before the first session is claimed for it.
        self._warm_up(number)
        pause = AGAIN_S
        while True:
            bell.clear()  # before each look: a ring after it, a stop's too, ends the wait
            if self._attempts.stopping.is_set():
                break
            try:
                if not self._attempts.make_one():
                    bell.wait(self._attempts.rest_s())
                elif self._may_wait:
                    self._bell.ring()
                pause = AGAIN_S
            except Exception as exc:  # a process edge: a slot must outlive everything
                away = translate(exc)
                log.warning("worker.pause", error=type(exc).__name__, exc_info=away is None)
                self._attempts.stopping.wait(pause)
                pause = min(pause * 2, AGAIN_MOST_S)

    def _warm_up(self, number: int) -> None:
        try:
            self._engines[self._default_engine].start(number)
        except EngineUnavailable as exc:
            if not self._attempts.stopping.is_set():
                self._attempts.note_trouble(self._default_engine, exc)

    # --- the mender ---

    def _mend(self) -> None:
        """Load again, now and then, what did not load; the slots work on for other engines."""
        while not self._attempts.stopping.wait(self._lease_s):
            for engine in list(self.engine_trouble):
                try:
                    self._engines[engine].start_all()
                except EngineUnavailable as exc:
                    if not self._attempts.stopping.is_set():
                        self._attempts.note_trouble(engine, exc)
                    continue
                except Exception:  # a process edge
                    log.exception("engine.not_mended", engine=engine)
                    continue
                del self._attempts.trouble[engine]
                log.info("engine.mended", engine=engine)
                if self._bell is not None:
                    self._bell.ring()
