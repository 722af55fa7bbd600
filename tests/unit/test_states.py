"""Walks through the states, on a real database: none leaves the table, and attempts fence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app import crud
from app.database import Db, engine_of, open_db
from app.states import FINAL, SOURCES, Status

TABLE = {
    (Status.CREATED, Status.PROCESSING),
    (Status.PROCESSING, Status.CREATED),
    (Status.PROCESSING, Status.COMPLETED),
    (Status.PROCESSING, Status.FAILED),
}
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def shared_db(shared_database_url: str) -> Iterator[Db]:
    db = open_db(shared_database_url, pool_size=2)
    yield db
    engine_of(db).dispose()


def add(db: Db) -> UUID:
    id_ = uuid4()
    with db.begin() as tx:
        crud.add_session(
            tx,
            crud.NewSession(
                id=id_,
                owner="owner",
                engine="mock",
                options={},
                input_key=f"inputs/{id_}/person.jpg",
                garment_key=None,
                retention=timedelta(hours=1),
            ),
            count_to=1,
        )
    return id_


def status_of(db: Db, id_: UUID) -> Status:
    with db.begin() as tx:
        seen = crud.get_session(tx, id_)
    assert seen is not None
    return seen.row.status


def test_the_table_is_the_one_that_was_drawn() -> None:
    assert {(source, to) for to, sources in SOURCES.items() for source in sources} == TABLE
    assert not [pair for pair in TABLE if pair[0] in FINAL]


@quick
@given(walk=st.lists(st.sampled_from(Status), max_size=12))
def test_no_walk_leaves_the_table(shared_db: Db, walk: list[Status]) -> None:
    id_, at = add(shared_db), Status.CREATED

    for to in walk:
        with shared_db.begin() as tx:
            row = crud.move(tx, id_, to)

        assert (row is not None) == ((at, to) in TABLE)
        at = at if row is None else to
        assert status_of(shared_db, id_) is at


@quick
@given(attempt=st.integers(0, 3), to=st.sampled_from(Status))
def test_only_the_present_attempt_moves_a_session(shared_db: Db, attempt: int, to: Status) -> None:
    id_ = add(shared_db)
    with shared_db.begin() as tx:
        assert crud.move(tx, id_, Status.PROCESSING, attempts=2) is not None

    with shared_db.begin() as tx:
        row = crud.move(tx, id_, to, only_attempt=attempt)

    assert (row is not None) == (attempt == 2 and (Status.PROCESSING, to) in TABLE)


@quick
@given(to=st.sampled_from(Status), source=st.sampled_from(Status))
def test_an_expired_session_moves_nowhere(shared_db: Db, to: Status, source: Status) -> None:
    id_ = add(shared_db)
    with shared_db.begin() as tx:
        tx.execute(
            text(
                "UPDATE tryon_sessions SET status = cast(:status AS tryon_status),"
                " expires_at = now() WHERE id = :id"
            ),
            {"id": id_, "status": source.value},
        )

    with shared_db.begin() as tx:
        assert crud.move(tx, id_, to) is None


def test_what_is_not_there_moves_nowhere(shared_db: Db) -> None:
    with shared_db.begin() as tx:
        assert crud.move(tx, uuid4(), Status.PROCESSING) is None


def test_a_move_is_noted(shared_db: Db) -> None:
    id_ = add(shared_db)
    with shared_db.begin() as tx:
        seen = crud.get_session(tx, id_)
    assert seen is not None
    before = seen.row.updated_at

    with shared_db.begin() as tx:
        row = crud.move(tx, id_, Status.PROCESSING, stage="read")

    assert row is not None
    assert row.stage == "read"
    assert row.updated_at > before
