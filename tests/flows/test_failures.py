"""Engines that misbehave: one session fails with a reason, the next one completes."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from app.database import Db
from app.engines import process
from app.services import cleanup
from app.services.storage import LocalStorage
from tests import warm
from tests.fixtures import MakeClient
from tests.flows.conftest import LOSE_LEASES, Nobody, Shopper, Sql, files_in, wait_for, working

FAULTS = {
    "crash": "engine_error",
    "exit": "engine_error",
    "error": "engine_error",
    "hang": "engine_timeout",
    "memory": "engine_out_of_memory",
    "fail": "model_error",
}


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(["crash"], id="crash"),
        pytest.param(list(FAULTS), id="each", marks=pytest.mark.slow),
    ],
)
def test_a_fault_fails_one_session_and_never_the_server(
    make_client: MakeClient, uploads: Path, faults: list[str]
) -> None:
    client = make_client(
        worker_concurrency=1,
        mock_faults=[f"{seed}:{fault}" for seed, fault in enumerate(faults)],
        engine_timeout=3,  # the first run loads NumPy, on a machine that may be busy
        engine_memory_mb=250,
    )
    shopper = Shopper(client)
    ids = [(shopper.submit(seed=seed), shopper.submit()) for seed in range(len(faults))]

    for (faulty, following), fault in zip(ids, faults, strict=True):
        session = shopper.wait(faulty, "failed")
        assert (session["error_code"], session["attempts"]) == (FAULTS[fault], 1)
        assert session["error_reason"].endswith(".")
        assert shopper.get(f"{faulty}/output").json()["code"] == "not_ready"
        assert shopper.wait(following, "completed")["attempts"] == 1

    outputs = [name for name in files_in(uploads) if "outputs" in name]
    assert outputs == sorted(f"outputs/{following}/1.jpg" for _, following in ids)


@pytest.mark.slow
def test_an_engine_that_leaks_gets_a_fresh_process_and_no_session_fails(
    make_client: MakeClient,
) -> None:
    leaks = "tests.engines_for_tests:Leaks"
    shopper = Shopper(
        make_client(engine=leaks, engines=(leaks,), worker_concurrency=1, engine_memory_mb=200)
    )

    sessions = [shopper.wait(shopper.submit(), "completed") for _ in range(14)]

    processes = {one["provenance"]["details"]["pid"] for one in sessions}
    assert 2 <= len(processes) <= 4
    assert [one["attempts"] for one in sessions].count(2) == len(processes) - 1
    assert shopper.health().json()["status"] == "ok"
    assert not [pid for pid in map(int, processes) if psutil.pid_exists(pid)][1:]


def test_what_may_work_later_is_tried_again_after_growing_waits_up_to_the_bound(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    session_id = shopper.submit(seed=7)

    with working(db, storage, faults=("7:retry",), retry_s=0.2):
        session = shopper.wait(session_id, "failed")

    assert (session["attempts"], session["error_code"]) == (3, "model_error")
    [(took_s,)] = sql("SELECT extract(epoch FROM finished_at - created_at) FROM tryon_sessions")
    assert took_s > 0.2 + 0.4


def test_a_session_that_waits_for_its_next_attempt_holds_up_no_other(
    shopper: Shopper, db: Db, storage: LocalStorage
) -> None:
    shaky, sound = shopper.submit(seed=7), shopper.submit()

    with working(db, storage, faults=("7:retry",), retry_s=60):
        shopper.wait(sound, "completed")
        waiting = shopper.see(shaky)

    assert (waiting["status"], waiting["attempts"]) == ("created", 1)


def test_a_lost_lease_is_taken_back_until_the_last_attempt(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    session_id = shopper.submit()

    for attempt in (1, 2, 3):
        sql(
            "UPDATE tryon_sessions SET status = 'processing', attempts = :attempt,"
            " stage = 'person', started_at = now(),"
            " lease_until = now() + interval '1 minute'",
            attempt=attempt,
        )
        assert cleanup.recover(db, Nobody(), max_attempts=3) == 0, "a lease that runs is respected"
        sql(LOSE_LEASES)
        assert cleanup.recover(db, Nobody(), max_attempts=3) == 1
        session = shopper.see(session_id)
        if attempt < 3:
            assert (session["status"], session["started_at"], session["stage"]) == (
                "created",
                None,
                None,
            )

    assert (session["status"], session["error_code"]) == ("failed", "worker_lost")
    with working(db, storage):
        other = shopper.submit()
        shopper.wait(other, "completed")
    assert shopper.see(session_id)["status"] == "failed", "final is final"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file without which NeedsWeights does not load."""
    file = tmp_path / "weights"
    monkeypatch.setenv("WEIGHTS_OF_TESTS", str(file))
    return file


NEEDS_WEIGHTS = "tests.engines_for_tests:NeedsWeights"
LOADS_FOR_EVER = "tests.engines_for_tests:LoadsForEver"


def _ask_for(sql: Sql, engine: str, session_id: str) -> None:
    sql("UPDATE tryon_sessions SET engine = :e WHERE id = :id", e=engine, id=session_id)


@pytest.mark.parametrize("default", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_engine_that_does_not_load_for_a_while_loses_no_session(
    shopper: Shopper, db: Db, storage: LocalStorage, weights: Path, sql: Sql, default: bool
) -> None:
    ids = [shopper.submit() for _ in range(5)]
    for session_id in ids:
        _ask_for(sql, NEEDS_WEIGHTS, session_id)
    engines = (NEEDS_WEIGHTS, "mock") if default else ("mock", NEEDS_WEIGHTS)

    with working(db, storage, engine=engines[0], others=engines[1:], lease_s=0.5) as worker:
        wait_for(lambda: worker.engine_trouble)
        shopper.wait(shopper.submit(), "completed")  # after a look at the queue
        seen = [shopper.see(session_id) for session_id in ids]
        assert {one["status"] for one in seen} == {"created"}
        # A default engine is tried before the first claim, another one with its first session.
        assert sum(one["attempts"] for one in seen) == (0 if default else 1)

        weights.touch()

        for session_id in ids:
            shopper.wait(session_id, "completed")
        assert not worker.engine_trouble


def test_not_even_the_last_attempt_is_lost_to_an_engine_that_does_not_load(
    shopper: Shopper,
    db: Db,
    storage: LocalStorage,
    weights: Path,
    sql: Sql,
    caplog: pytest.LogCaptureFixture,
) -> None:
    session_id = shopper.submit()
    sql("UPDATE tryon_sessions SET attempts = 2, engine = :engine", engine=NEEDS_WEIGHTS)

    with working(db, storage, others=(NEEDS_WEIGHTS,), lease_s=0.5) as worker:
        wait_for(lambda: worker.engine_trouble)
        shopper.wait(session_id, "created")
        assert "the weights are missing" in caplog.text
        weights.touch()

        shopper.wait(session_id, "completed")


def test_an_engine_that_hangs_as_it_loads_holds_up_no_other(
    shopper: Shopper,
    db: Db,
    storage: LocalStorage,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _ask_for(sql, LOADS_FOR_EVER, shopper.submit())
    monkeypatch.setattr(process, "LOAD_TIMEOUT_S", 0.5)
    warm.end_all()

    with working(db, storage, others=(LOADS_FOR_EVER,), lease_s=0.5) as worker:
        wait_for(lambda: worker.engine_trouble)
        monkeypatch.setattr(process, "LOAD_TIMEOUT_S", 60)
        engines = "app.engines.child"
        wait_for(lambda: sum(engines in c.cmdline() for c in psutil.Process().children()) == 2)

        shopper.wait(shopper.submit(), "completed")


def test_an_engine_that_does_not_load_is_refused_at_the_door_until_it_does(
    make_client: MakeClient, weights: Path
) -> None:
    name = NEEDS_WEIGHTS
    shopper = Shopper(
        make_client(worker_concurrency=1, engine=name, engines=(name,), lease_seconds=0.5)
    )
    wait_for(lambda: shopper.health().json()["parts"]["engine"]["status"] == "degraded")

    answer = shopper.post()

    assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
    assert "weights" not in answer.text + shopper.health().text, "the reason may name paths"
    assert int(answer.headers["Retry-After"]) > 0
    weights.touch()
    wait_for(lambda: shopper.health().json()["status"] == "ok")
    shopper.wait(shopper.submit(), "completed")
