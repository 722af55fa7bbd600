"""A worker that makes an attempt only where it is told to: what a message of a broker does."""

from __future__ import annotations

from uuid import UUID, uuid4

from app.database import Db
from app.services.storage import LocalStorage
from tests.flows.conftest import Run, Shopper, Sql, wait_for, working


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


def test_queues_shows_what_waits_and_what_each_worker_is_doing(
    run: Run, shopper: Shopper, sql: Sql
) -> None:
    worker = run("worker", mock_seconds=60)
    busy = shopper.submit()
    wait_for(lambda: shopper.see(busy)["stage"])
    gone = shopper.submit()
    sql(
        "UPDATE tryon_sessions SET status = 'processing', claimed_by = 'far:1:abc',"
        " started_at = now(), lease_until = now() + interval '1 minute' WHERE id = :id",
        id=gone,
    )
    shopper.submit()

    shown = run("queues")

    assert shown.wait() == 0
    lines = {line.split()[0]: line.split() for line in shown.text.splitlines() if line}
    assert lines["mock"][1] == "1"
    assert lines["mock"][-2:] == ["2", "-"]
    assert lines["workers:"][1] == "1"
    assert f"{busy}," in next(line for name, line in lines.items() if f":{worker.pid}:" in name)
    assert lines["far:1:abc"][1] == "gone;"
