"""Who keeps the clock: one process of several, and another one soon after it is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from app.database import Db, engine_of, open_reads
from app.metrics import ORPHANS, REGISTRY
from app.services import leader
from app.services.cleanup import Scheduler
from app.services.leader import Leader
from app.services.queue import Bell
from tests.flows.conftest import ISSUER, Program, Run, Serve, Sql, wait_for

LEASE_S = 2
HOLDER = (
    f"FROM pg_locks WHERE objid = {leader.LOCK} AND "
    "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def leads(program: Program) -> bool:
    return "cleanup.leads" in program.text


@pytest.fixture
def two(database_url: str) -> Iterator[tuple[Leader, Leader]]:
    dbs: list[Db] = [open_reads(database_url, pool_size=1) for _ in range(2)]
    first, second = map(Leader, dbs)
    yield first, second
    for one, db in zip((first, second), dbs, strict=True):
        one.resign()
        engine_of(db).dispose()


def test_one_leads_for_as_long_as_it_wants(two: tuple[Leader, Leader], sql: Sql) -> None:
    first, second = two

    assert [first.leads(), second.leads(), first.leads(), second.leads()] == [True, False] * 2

    first.resign()
    assert second.leads()
    assert not first.leads()
    open_for = "SELECT now() - xact_start < interval '1 s' FROM pg_stat_activity"
    assert sql(f"{open_for} WHERE state = 'idle in transaction'") == [(True,)]


def test_who_looks_no_more_leads_no_more(
    database_url: str, monkeypatch: pytest.MonkeyPatch, two: tuple[Leader, Leader]
) -> None:
    monkeypatch.setattr(leader, "HELD_S", 1)
    frozen = Leader(open_reads(database_url, pool_size=1))
    assert frozen.leads()

    wait_for(two[0].leads, within_s=5)

    frozen.resign()


def test_who_leads_no_more_tells_of_no_orphans(
    two: tuple[Leader, Leader], db: Db, sql: Sql
) -> None:
    """Prometheus takes the highest of all processes: what one found would be told for ever."""
    nobody: Any = None
    every = timedelta(hours=1)
    clock = Scheduler(
        db,
        nobody,
        ISSUER,
        Bell(),
        leader=two[0],
        purge_every=every,
        recover_every=timedelta(seconds=0.05),
        max_attempts=3,
    )
    found = partial(REGISTRY.get_sample_value, "tryonai_orphan_files")
    clock.start()
    try:
        wait_for(lambda: clock._leads)
        ORPHANS.set(3)
        sql(f"SELECT pg_terminate_backend(pid) {HOLDER}")

        wait_for(lambda: found() == 0)
    finally:
        clock.stop()


@pytest.mark.slow
def test_another_process_takes_over_from_a_killed_one(serve: Serve, run: Run, sql: Sql) -> None:
    settings: dict[str, Any] = {"lease_seconds": LEASE_S, "worker_concurrency": 0}
    first = serve(**settings).ready()
    wait_for(lambda: leads(first))
    second = serve(**settings).ready()
    worker = run("worker", lease_seconds=LEASE_S, mock_faults="1:hang")
    session_id = second.shopper.submit(seed=1)
    wait_for(lambda: second.shopper.see(session_id)["status"] == "processing")
    assert not leads(second)
    assert not leads(worker)

    worker.kill()
    first.kill()
    killed = time.monotonic()

    wait_for(lambda: second.shopper.see(session_id)["status"] == "created", within_s=15)
    assert time.monotonic() - killed < LEASE_S + 3
    assert leads(second)


@pytest.mark.slow
def test_another_process_takes_over_from_one_that_stands_still(serve: Serve) -> None:
    settings: dict[str, Any] = {"lease_seconds": LEASE_S, "worker_concurrency": 0}
    first = serve(**settings).ready()
    wait_for(lambda: leads(first))
    second = serve(**settings).ready()

    os.kill(first.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: leads(second), within_s=leader.HELD_S + 10)
    finally:
        os.kill(first.pid, signal.SIGCONT)

    # It finds that another leads, and goes on as one that does not.
    wait_for(lambda: "cleanup.failed" in first.text)
    assert first.shopper.health().status_code == 200
