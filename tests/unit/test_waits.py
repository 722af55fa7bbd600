"""Polls that wait, where news are lost: the look at all of them is never lost with one of them."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from app.crud import Seen
from app.database import Db
from app.services import waits
from app.services.polls import Polls
from app.services.waits import Waits
from app.states import Status
from tests.unit.test_polls import add


async def never() -> None:
    await asyncio.Event().wait()


def test_who_comes_as_the_last_one_leaves_is_looked_after(
    db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "LOOK_S", 0.01)
    first, second = add(db), add(db)

    def fail() -> None:
        with db.begin() as tx:  # behind everybody's back: no news of it
            tx.execute(
                text("UPDATE tryon_sessions SET status = 'failed' WHERE id = :id"), {"id": second}
            )

    async def follow() -> Seen | None:
        waiting = Waits(Polls(db), db)

        async def until_changed(session_id: UUID) -> Seen | None:
            return await waiting.read(session_id, within_s=30, known=lambda _: True, hung_up=never)

        async def until_it_waits(session_id: UUID) -> None:
            async with asyncio.timeout(10):
                while not any(  # noqa: ASYNC110 - nothing tells of it
                    one.mark for one in waiting._waiters.get(session_id, ())
                ):
                    await asyncio.sleep(0.001)

        leaving = asyncio.create_task(until_changed(first))
        await until_it_waits(first)
        leaving.cancel()
        coming = asyncio.create_task(until_changed(second))
        await until_it_waits(second)
        await asyncio.to_thread(fail)
        return await asyncio.wait_for(coming, 10)

    seen = asyncio.run(follow())

    assert seen is not None
    assert seen.row.status is Status.FAILED
