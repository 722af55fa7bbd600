"""Several workers on one database: each session has one owner at a time, and one end."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app import crud
from app.database import Db
from app.models import TryOnSession
from app.services import cleanup
from app.services.storage import LocalStorage
from tests.fixtures import MakeClient
from tests.flows.conftest import (
    EXPIRE_ALL,
    ISSUER,
    LOSE_LEASES,
    VAULT,
    Hooked,
    Nobody,
    Shopper,
    Sql,
    files_in,
    losing_the_answer,
    outcomes,
    wait_for,
    working,
)


def test_two_workers_share_a_dozen_sessions_without_touching_one_twice(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    ids = {shopper.submit() for _ in range(12)}
    completed = outcomes("completed")

    with ExitStack() as stack:
        names = [stack.enter_context(working(db, storage)).name for _ in "ab"]
        done = "SELECT count(*) FROM tryon_sessions WHERE finished_at IS NOT NULL"
        wait_for(lambda: sql(done) == [(12,)], within_s=20)

    rows = sql("SELECT id::text, status, attempts, claimed_by FROM tryon_sessions")
    assert {(row.id, row.status, row.attempts) for row in rows} == {
        (one, "completed", 1) for one in ids
    }
    assert {row.claimed_by for row in rows} == set(names), "both had a share"
    assert outcomes("completed") == completed + 12
    assert [name for name in files_in(uploads) if name.startswith("outputs")] == sorted(
        f"outputs/{one}/1.jpg" for one in ids
    )


def take_back(db: Db, sql: Sql) -> None:
    """Let a lease run out, and recover what it held."""

    def lose_and_recover() -> bool:
        sql(LOSE_LEASES)
        return cleanup.recover(db, Nobody(), max_attempts=3) == 1

    wait_for(lose_and_recover)  # the keeper may renew it in between


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_late_worker_cannot_overwrite(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql, moment: str
) -> None:
    session_id = shopper.submit()
    slow = Hooked(uploads)

    def take_over(_: str) -> None:
        """While the first worker writes its picture, its lease runs out and a second one works."""
        take_back(db, sql)
        key = f"outputs/{session_id}/2.jpg"
        with db.begin() as tx:
            row = crud.claim(tx, worker="the second", lease_s=30, engines=["mock"])
        assert row is not None
        lock = VAULT.key_of(row.id, row.wrapped_key)
        LocalStorage(uploads).put(key, lock.seal(key, b"the second's picture"))
        with db.begin() as tx:
            done = crud.complete(
                tx, row.id, attempt=2, output_key=key, quality=None, warnings=[], stage=None
            )
        assert done is not None

    setattr(slow, f"{moment}_put", take_over)
    late = outcomes("late")
    with working(db, slow):
        wait_for(lambda: outcomes("late") == late + 1)

    session = shopper.see(session_id)
    assert (session["status"], session["attempts"]) == ("completed", 2)
    assert [name for name in files_in(uploads) if "outputs" in name] == [
        f"outputs/{session_id}/2.jpg"
    ]
    assert shopper.get(f"{session_id}/output").content == b"the second's picture"


def test_a_late_worker_cannot_end_the_attempt_of_another(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit()
    slow = Hooked(uploads)

    def lose(_: str) -> None:
        take_back(db, sql)
        with db.begin() as tx:
            assert crud.claim(tx, worker="the second", lease_s=30, engines=["mock"])

    slow.before_put = lose
    late = outcomes("late")
    with working(db, slow):
        wait_for(lambda: outcomes("late") == late + 1)
    with db.begin() as tx:
        first = UUID(session_id)
        assert crud.fail(tx, first, attempt=1, code="engine_error", reason="late") is None
        assert crud.put_back(tx, first, attempt=1) is None

    session = shopper.see(session_id)
    assert (session["status"], session["attempts"]) == ("processing", 2)
    assert session["output_image_url"] is None
    assert [name for name in files_in(uploads) if "outputs" in name] == []


@pytest.mark.parametrize(("fault", "move"), [("fail", "fail"), ("retry", "put_back")])
def test_what_a_late_worker_wanted_is_not_logged_as_done(
    shopper: Shopper,
    db: Db,
    storage: LocalStorage,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    move: str,
) -> None:
    shopper.submit(seed=7)
    late = outcomes("late")
    real = getattr(crud, move)

    def too_late(*args: Any, **kwargs: Any) -> TryOnSession | None:
        sql("UPDATE tryon_sessions SET attempts = 2")
        found: TryOnSession | None = real(*args, **kwargs)
        return found

    monkeypatch.setattr(crud, move, too_late)
    with working(db, storage, faults=(f"7:{fault}",)):
        wait_for(lambda: outcomes("late") == late + 1)

    assert "attempt.ended" in caplog.text
    assert "session.failed" not in caplog.text
    assert "session.retried" not in caplog.text


def test_a_worker_that_lost_its_lease_stops_its_engine(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    session_id = shopper.submit()
    cancelled = outcomes("cancelled")

    with working(db, storage, seconds=30):
        shopper.wait(session_id, "processing")
        sql("UPDATE tryon_sessions SET attempts = 2")

        wait_for(lambda: outcomes("cancelled") == cancelled + 1, within_s=3)


def test_leases_are_renewed_while_every_connection_is_in_use(
    make_client: MakeClient, db: Db, sql: Sql
) -> None:
    client = make_client(worker_concurrency=1, mock_seconds=30, database_pool_size=1)
    shopper = Shopper(client)
    shopper.wait(shopper.submit(), "processing")
    runtime = client.app.state.runtime  # type: ignore[attr-defined]
    with runtime.db() as tx:
        tx.connection()  # a busy server's: held until the lease has been renewed without it
        sql("UPDATE tryon_sessions SET lease_until = now(), stage = NULL")

        renewed = "SELECT 1 FROM tryon_sessions WHERE lease_until > now() AND stage IS NOT NULL"
        wait_for(lambda: sql(renewed), within_s=3)
    shopper.delete()


def test_a_commit_whose_answer_was_lost_keeps_the_picture(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path
) -> None:
    session_id = shopper.submit()
    completed = outcomes("completed")

    with (
        losing_the_answer(db, of=lambda row: row.output_image_url) as lost,
        working(db, storage) as worker,
    ):
        wait_for(lambda: outcomes("completed") == completed + 1)

    assert worker.alive is False
    assert len(lost) == 1, "the fault took place"
    assert shopper.see(session_id)["attempts"] == 1
    assert f"outputs/{session_id}/1.jpg" in files_in(uploads)
    assert shopper.get(f"{session_id}/output").status_code == 200


@pytest.mark.slow  # 40 rounds; the bench has 500
def test_whatever_it_is_at_what_is_erased_does_not_return(
    make_client: MakeClient, db: Db, uploads: Path, sql: Sql
) -> None:
    client = make_client(worker_concurrency=2, mock_seconds=0.01, purge_interval_minutes=60)
    shopper = Shopper(client)
    storage = LocalStorage(uploads)
    rng = random.Random(5)
    met: set[str] = set()

    for number in range(40):
        session_id = shopper.submit()
        threading.Event().wait(rng.uniform(0, 0.06))  # somewhere in its job
        met.add(shopper.see(session_id)["status"])
        if number % 2:
            shopper.delete(session_id)
        else:
            sql(EXPIRE_ALL)
            wait_for(lambda: cleanup.purge(db, storage, ISSUER).ran)
        assert shopper.get(session_id).status_code == 404

    client.app.state.runtime.worker.stop(grace_s=10)  # type: ignore[attr-defined]
    assert "processing" in met, "or nothing was raced with"
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]
    assert files_in(uploads) == []


@pytest.mark.parametrize("change", [partial(crud.expire, reason="request"), crud.remove])
def test_whoever_changes_several_sessions_locks_them_in_the_same_order(
    change: Callable[[Session, list[UUID]], object], shopper: Shopper, db: Db, sql: Sql
) -> None:
    low, high = sorted(UUID(shopper.submit()) for _ in range(2))
    sql(EXPIRE_ALL)
    # A scan follows the table's own order, in which the last one changed comes last.
    sql("UPDATE tryon_sessions SET updated_at = now() WHERE id = :low", low=low)
    lock = "SELECT FROM tryon_sessions WHERE id = :id FOR UPDATE NOWAIT"
    blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"

    with ThreadPoolExecutor() as pool:
        with db.begin() as tx:
            tx.execute(text(lock), {"id": low})
            other = pool.submit(_in_transaction, db, change, [high, low])
            wait_for(lambda: sql(blocked) == [(1,)])

            tx.execute(text(lock), {"id": high})  # it waits for the low one, and holds nothing

        other.result(timeout=10)


def _in_transaction(
    db: Db, change: Callable[[Session, list[UUID]], object], ids: list[UUID]
) -> None:
    with db.begin() as tx:
        change(tx, ids)
