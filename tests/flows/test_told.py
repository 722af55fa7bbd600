"""A worker that makes an attempt only where it is told to: what a message of a broker does."""

from __future__ import annotations

from uuid import UUID, uuid4

from app.database import Db
from app.services.storage import LocalStorage
from tests.flows.conftest import Shopper, Sql, working


def test_it_makes_its_attempt_at_the_session_it_was_told_of(
    db: Db, storage: LocalStorage, shopper: Shopper
) -> None:
    older, told = shopper.submit(), shopper.submit()

    with working(db, storage, told=True) as worker:
        assert worker.work_on(UUID(told))

    assert shopper.see(told)["status"] == "completed"
    assert shopper.see(older)["status"] == "created"


def test_a_message_that_comes_again_is_passed_over(
    db: Db, storage: LocalStorage, shopper: Shopper, sql: Sql
) -> None:
    done, claimed = shopper.submit(), shopper.submit()
    with working(db, storage, told=True) as worker:
        assert worker.work_on(UUID(done))
        sql("UPDATE tryon_sessions SET status = 'processing' WHERE id = :id", id=claimed)

        assert not worker.work_on(UUID(done))
        assert not worker.work_on(UUID(claimed)), "another has it"
        assert not worker.work_on(uuid4())

    assert shopper.see(done)["attempts"] == 1


def test_one_that_is_put_back_is_not_tried_before_its_time(
    db: Db, storage: LocalStorage, shopper: Shopper
) -> None:
    session_id = shopper.submit(seed=7)

    with working(db, storage, told=True, faults=("7:retry",), retry_s=60) as worker:
        assert worker.work_on(UUID(session_id))
        assert not worker.work_on(UUID(session_id))
        assert not worker.engine_trouble

    assert shopper.see(session_id)["attempts"] == 1
