"""Processes killed with -9 at every step: nothing is lost, and nothing is left over."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from app.database import Db
from app.services import cleanup
from app.services.storage import LocalStorage
from tests.flows.conftest import (
    ISSUER,
    LOSE_LEASES,
    Run,
    Serve,
    Shopper,
    Sql,
    alive,
    files_in,
    wait_for,
    working,
)

STEPS = ("read inputs", "draft in outputs", "stored in outputs")


def test_sessions_survive_workers_killed_at_every_step(
    shopper: Shopper, run: Run, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    ids = []
    for step in STEPS:
        ids.append(shopper.submit())
        assert run("worker", dies_at=step).wait() == -9
        assert shopper.see(ids[-1])["status"] == "processing", step

    sql(LOSE_LEASES)
    run("worker")

    for session_id in ids:
        assert shopper.wait(session_id, "completed")["attempts"] == 2
        assert shopper.get(f"{session_id}/output").status_code == 200
    assert cleanup.sweep(db, storage, ISSUER, age=timedelta(0)).files == 1, "the draft"
    for session_id in ids:
        shopper.delete(session_id)
    assert files_in(uploads) == [], "what the dead have written goes with the session"


def test_a_session_survives_a_worker_killed_while_the_engine_runs(
    shopper: Shopper, run: Run
) -> None:
    session_id = shopper.submit()
    dying = run("worker", mock_seconds=30, lease_seconds=1)
    wait_for(lambda: shopper.see(session_id)["stage"])
    engines = dying.children()

    dying.kill()
    run("worker", lease_seconds=1)

    # The lease, and the next look after it.
    assert shopper.wait(session_id, "completed", within_s=3)["attempts"] == 2
    assert engines
    assert not any(map(alive, engines)), "an engine outlives no worker"


def test_a_server_that_was_killed_goes_on_where_it_was(serve: Serve, sql: Sql) -> None:
    server = serve(mock_faults="1:hang").ready()
    done, in_work, waiting = [server.shopper.submit(seed=seed) for seed in (0, 1, 2)]
    before = server.shopper.wait(done, "completed")
    server.shopper.wait(in_work, "processing")

    server.kill()
    sql(LOSE_LEASES)
    shopper = serve().ready().shopper

    assert shopper.wait(waiting, "completed")["attempts"] == 1
    assert shopper.wait(in_work, "completed")["attempts"] == 2
    after = shopper.see(done)
    assert (after["status"], after["finished_at"]) == ("completed", before["finished_at"])
    assert shopper.get(f"{done}/output").status_code == 200


def test_a_session_that_kills_every_worker_fails_in_the_end(
    shopper: Shopper, run: Run, sql: Sql
) -> None:
    session_id = shopper.submit()

    for _ in range(2):
        dying = run("worker", dies_at="read inputs", max_attempts=2)
        assert dying.wait() == -9
        sql(LOSE_LEASES)

    last = run("worker", max_attempts=2)
    session = shopper.wait(session_id, "failed")
    assert (session["attempts"], session["error_code"]) == (2, "worker_lost")
    assert session["error_reason"].endswith("Please try again.")
    assert session["output_image_url"] is None
    wait_for(lambda: re.search(r"session\.failed .*code=\S*worker_lost", last.text))


@pytest.mark.parametrize("step", ["draft in inputs", "stored in inputs"])
def test_a_server_killed_between_files_and_row_leaves_only_what_the_sweep_takes(
    step: str, serve: Serve, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    server = serve(dies_at=step, worker_concurrency=0).ready()

    with pytest.raises(httpx.TransportError):
        server.shopper.submit()

    assert server.wait() == -9
    assert len(files_in(uploads)) == 1
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]
    assert cleanup.sweep(db, storage, ISSUER, age=timedelta(0)).files == 1
    assert files_in(uploads) == []


def test_an_erasure_that_was_killed_half_way_is_finished_by_the_purge(
    serve: Serve, shopper: Shopper, run: Run, uploads: Path
) -> None:
    server = serve(dies_at="deleted inputs", worker_concurrency=0).ready()
    session_id = server.shopper.submit()
    with pytest.raises(httpx.TransportError):
        server.shopper.delete(session_id)
    server.wait()

    assert shopper.get(session_id).status_code == 410
    assert run("purge").wait() == 0

    assert shopper.get(session_id).status_code == 404
    assert files_in(uploads) == []


def test_a_ring_that_was_lost_costs_seconds_and_not_the_job(
    shopper: Shopper, db: Db, storage: LocalStorage
) -> None:
    with working(db, storage, lease_s=1.5):
        first = shopper.submit()
        shopper.wait(first, "completed")
        second = shopper.submit()

        shopper.wait(second, "completed", within_s=2)
