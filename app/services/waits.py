"""Polls that wait for a change, thousands of them: neither a thread nor a connection for each.

Who waits is a future on the event loop. News of its session wake it, it reads and looks what has
changed, and answers or waits on. News are hints and may be lost, so all who wait are compared with
their rows every few seconds. See docs/adr/0013-long-polls.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import SQLAlchemyError

from app import crud
from app.crud import Mark, Seen
from app.database import Db
from app.metrics import LONG_POLLS
from app.services.polls import Polls
from app.states import FINAL

log = structlog.get_logger(__name__)

MOST_S = 30
"""Below the minute after which proxies give up."""

PROGRESS_S = 2.0
"""Stage and progress are told no sooner after a request than this, as often as a page polls: each
answer is followed by another call, and 120 of those are allowed a minute."""

LOOK_S = 3.0
"""How late a change is seen whose news were lost."""

BATCH = 1000
"""Sessions a statement of such a look. Measured: 10 ms of our CPU for 1,000."""


class _Waiter:
    """One poll that waits. Belongs to the loop, like all of `Waits` that is not said to be else.

    over: nothing is waited for any more: the time is up, the client has gone, the server ends.
    """

    __slots__ = ("_timers", "_woken", "mark", "over", "progress_at")

    def __init__(self) -> None:
        self._woken = asyncio.get_running_loop().create_future()
        self._timers: list[asyncio.TimerHandle] = []
        self.mark: Mark | None = None
        self.progress_at = asyncio.get_running_loop().time() + PROGRESS_S
        self.over = False

    async def news(self) -> None:
        """Wait until woken; return at once where that was since the last time."""
        await self._woken
        self._woken = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)

    def wake_for_progress(self) -> None:
        """Now, or as soon as progress may be told."""
        if asyncio.get_running_loop().time() >= self.progress_at:
            self.wake()
        else:
            self.call_at(self.progress_at, self.wake)

    def end(self) -> None:
        self.over = True
        self.wake()

    def call_at(self, when: float, what: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_at(when, what))

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()


class Waits:
    """For the coroutines of one event loop."""

    def __init__(self, polls: Polls, reads: Db) -> None:
        self._polls = polls
        self._reads = reads
        self._waiters: dict[UUID, list[_Waiter]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._look_now = asyncio.Event()
        self._thread = CapacityLimiter(1)
        self._ending = False

    async def read(
        self,
        session_id: UUID,
        *,
        within_s: float,
        known: Callable[[Seen | None], bool],
        hung_up: Callable[[], Coroutine[Any, Any, None]],
    ) -> Seen | None:
        """The session as soon as it has changed, or as it is after `within_s`.

        known: whether the client has what is found on arrival; may raise what ends the request.
        hung_up: returns when the client has gone.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + within_s
        # Before the read: what is committed after it is told to a waiter that is there already.
        with self._waiting(session_id) as waiter:
            seen = await self._polls.read(session_id)
            if not known(seen) or seen is None or seen.row.status in FINAL:
                return seen
            waiter.mark = seen.mark
            left_s = (seen.row.expires_at - seen.now).total_seconds()
            # From now on: the database's clock was read before, so it is over when we look again.
            waiter.call_at(min(until, clock() + left_s), waiter.end)
            del seen  # nobody needs the row meanwhile
            return await self._wait(session_id, waiter, hung_up())

    async def _wait(
        self, session_id: UUID, waiter: _Waiter, hung_up: Coroutine[Any, Any, None]
    ) -> Seen | None:
        hanging_up = asyncio.create_task(hung_up)
        hanging_up.add_done_callback(lambda _: waiter.end())
        try:
            while True:
                await waiter.news()
                seen = await self._polls.read(session_id)
                if waiter.over or _has_changed(seen, waiter):
                    return seen
        finally:
            hanging_up.cancel()

    def hear(self, session_id: UUID) -> None:
        """News of a session: a new state, or none at all any more. From any thread."""
        self._call(session_id, _Waiter.wake)

    def hear_progress(self, session_id: UUID) -> None:
        """From any thread."""
        self._call(session_id, _Waiter.wake_for_progress)

    def look(self) -> None:
        """Compare all who wait with their rows: news may have been lost. From any thread."""
        if self._waiters:
            self._on_loop(self._look_now.set)

    def release(self) -> None:
        """Answer all who wait, and who comes from now on, with what there is: the server ends."""
        self._ending = True
        for waiter in self._everybody():
            waiter.end()

    @contextmanager
    def _waiting(self, session_id: UUID) -> Iterator[_Waiter]:
        self._loop = asyncio.get_running_loop()
        waiter = _Waiter()
        self._waiters.setdefault(session_id, []).append(waiter)
        LONG_POLLS.inc()
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        if self._ending:
            waiter.end()
        try:
            yield waiter
        finally:
            waiter.close()
            LONG_POLLS.dec()
            self._waiters[session_id].remove(waiter)
            if not self._waiters[session_id]:
                del self._waiters[session_id]
            if not self._waiters:
                self._watcher.cancel()
                self._watcher = None  # who comes before it has ended needs another

    def _call(self, session_id: UUID, what: Callable[[_Waiter], None]) -> None:
        def call() -> None:
            for waiter in self._waiters.get(session_id, ()):
                what(waiter)

        # Looked at first: most news are of sessions for which nobody waits here, and who comes only
        # now reads after the commit of which these are the news.
        if session_id in self._waiters:
            self._on_loop(call)

    def _on_loop(self, what: Callable[[], object]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and all who waited with it
                self._loop.call_soon_threadsafe(what)

    def _everybody(self) -> list[_Waiter]:
        return [waiter for waiters in self._waiters.values() for waiter in waiters]

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), LOOK_S)
            self._look_now.clear()
            ids = list(self._waiters)
            for start in range(0, len(ids), BATCH):
                batch = ids[start : start + BATCH]
                try:
                    marks = await to_thread.run_sync(self._marks, batch, limiter=self._thread)
                except SQLAlchemyError as exc:
                    log.debug("waits.not_looked", error=type(exc).__name__)
                    break  # and again in a moment; who runs out of time meanwhile is told
                self._compare(batch, marks)

    def _compare(self, session_ids: list[UUID], marks: dict[UUID, Mark]) -> None:
        for session_id in session_ids:
            mark = marks.get(session_id)
            for waiter in self._waiters.get(session_id, ()):
                if waiter.mark is None or mark == waiter.mark:
                    continue  # it is just reading, or there is nothing new
                if mark is None or _is_new_state(mark, waiter.mark):
                    waiter.wake()
                else:
                    waiter.wake_for_progress()

    def _marks(self, session_ids: list[UUID]) -> dict[UUID, Mark]:
        with self._reads() as tx:
            return crud.marks(tx, session_ids)


def _has_changed(seen: Seen | None, waiter: _Waiter) -> bool:
    if seen is None or seen.expired or waiter.mark is None or _is_new_state(seen.mark, waiter.mark):
        return True
    if seen.mark == waiter.mark:
        return False
    if asyncio.get_running_loop().time() >= waiter.progress_at:
        return True
    waiter.wake_for_progress()
    return False


def _is_new_state(mark: Mark, old: Mark) -> bool:
    return (mark.status, mark.attempts) != (old.status, old.attempts)
