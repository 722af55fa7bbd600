"""Many polls at once: they share reads, and none sees what was true only before it came."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import crud
from app.database import Db, engine_of, open_db
from app.services.polls import BATCH, Polls
from app.states import Status


def add(db: Db) -> UUID:
    new = crud.NewSession(
        id=uuid4(),
        owner="owner",
        engine="mock",
        options={},
        input_key="inputs/a/person.jpg",
        garment_key=None,
        retention=timedelta(hours=1),
    )
    with db.begin() as tx:
        crud.add_session(tx, new, count_to=1)
    return new.id


@contextmanager
def at_each_read(db: Db, hook: Callable[[], object]) -> Iterator[None]:
    """Call the hook, in the reader's thread, before each statement."""

    def before(*_: object) -> None:
        hook()

    event.listen(engine_of(db), "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(engine_of(db), "before_cursor_execute", before)


def test_each_gets_the_session_that_it_asked_for(db: Db) -> None:
    ids = [add(db) for _ in range(3)]
    asked = [*ids, uuid4(), *ids]

    async def poll() -> list[crud.Seen | None]:
        polls = Polls(db)
        return await asyncio.gather(*map(polls.read, asked))

    seen = asyncio.run(poll())

    assert [one and one.row.id for one in seen] == [*ids, None, *ids]


@pytest.mark.parametrize(("sessions", "reads"), [(1, 1), (30, 1), (BATCH + 1, 2)])
def test_those_that_come_together_share_a_read(db: Db, sessions: int, reads: int) -> None:
    made: list[None] = []

    async def poll() -> None:
        polls = Polls(db)
        await asyncio.gather(*(polls.read(uuid4()) for _ in range(sessions)))

    with at_each_read(db, lambda: made.append(None)):
        asyncio.run(poll())

    assert len(made) == reads


def test_a_poll_sees_what_was_committed_before_it_came(db: Db) -> None:
    session_id = add(db)
    has_read, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        has_read.set()
        assert go_on.wait(10)

    def claim() -> None:
        with Session(engine_of(db)) as tx, tx.begin():
            assert crud.claim(tx, worker="w", lease_s=30, engines=["mock"]) is not None

    async def poll() -> tuple[crud.Seen | None, crud.Seen | None]:
        polls = Polls(held)
        first = asyncio.create_task(polls.read(session_id))
        assert await asyncio.to_thread(has_read.wait, 10)
        await asyncio.to_thread(claim)
        second = asyncio.create_task(polls.read(session_id))
        await asyncio.sleep(0)  # it has asked, while the first one's read is under way
        go_on.set()
        return await asyncio.gather(first, second)

    held = open_db(engine_of(db).url.render_as_string(hide_password=False), pool_size=1)
    event.listen(engine_of(held), "after_cursor_execute", hold)
    seen = asyncio.run(poll())
    engine_of(held).dispose()

    assert [one and one.row.status for one in seen] == [Status.CREATED, Status.PROCESSING]


def test_who_goes_away_takes_no_answer_along(db: Db) -> None:
    session_id = add(db)

    async def poll() -> crud.Seen | None:
        polls = Polls(db)
        impatient = asyncio.create_task(polls.read(session_id))
        patient = asyncio.create_task(polls.read(session_id))
        await asyncio.sleep(0)  # both have asked
        impatient.cancel()
        return await patient

    seen = asyncio.run(poll())

    assert seen is not None
    assert seen.row.id == session_id


def test_an_outage_is_told_to_all_and_is_over_when_it_is_over(db: Db) -> None:
    session_id = add(db)
    lost = OperationalError("SELECT", {}, Exception("connection closed"))

    def fail() -> None:
        raise lost

    async def poll() -> tuple[list[crud.Seen | BaseException | None], crud.Seen | None]:
        polls = Polls(db)
        with at_each_read(db, fail):
            told = await asyncio.gather(
                *(polls.read(uuid4()) for _ in range(3)), return_exceptions=True
            )
        return told, await polls.read(session_id)

    told, seen = asyncio.run(poll())

    assert told == [lost] * 3
    assert seen is not None
