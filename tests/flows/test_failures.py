"""Engines that misbehave: one session fails with a reason, the next one completes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.database import Db
from app.services import cleanup
from app.services.storage import LocalStorage
from tests.conftest import MakeClient
from tests.flows.conftest import LOSE_LEASES, Nobody, Shopper, Sql, files_in, wait_for, working

FAULTS = {
    "crash": "engine_error",
    "exit": "engine_error",
    "error": "engine_error",
    "hang": "engine_timeout",
    "memory": "engine_out_of_memory",
    "fail": "model_error",
}


def test_a_fault_fails_one_session_and_never_the_server(
    make_client: MakeClient, uploads: Path
) -> None:
    client = make_client(
        worker_concurrency=1,
        mock_faults=[f"{seed}:{fault}" for seed, fault in enumerate(FAULTS)],
        engine_timeout=1,
        engine_memory_mb=250,
    )
    shopper = Shopper(client)
    ids = [(shopper.submit(seed=seed), shopper.submit()) for seed in range(len(FAULTS))]

    for (faulty, following), code in zip(ids, FAULTS.values(), strict=True):
        session = shopper.wait(faulty, "failed")
        assert (session["error_code"], session["attempts"]) == (code, 1)
        assert session["error_reason"].endswith(".")
        assert shopper.get(f"{faulty}/output").json()["code"] == "not_ready"
        assert shopper.wait(following, "completed")["attempts"] == 1

    outputs = [name for name in files_in(uploads) if "outputs" in name]
    assert outputs == sorted(f"outputs/{following}/1.jpg" for _, following in ids)


def test_what_may_work_later_is_tried_again_up_to_the_bound(make_client: MakeClient) -> None:
    client = make_client(worker_concurrency=1, mock_faults=("7:retry",), max_attempts=3)
    shopper = Shopper(client)

    session = shopper.wait(shopper.submit(seed=7), "failed")

    assert (session["attempts"], session["error_code"]) == (3, "model_error")


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


def test_an_engine_that_does_not_load_is_refused_at_the_door_until_it_does(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    monkeypatch.setenv("WEIGHTS_OF_TESTS", str(weights))
    name = "tests.engines_for_tests:NeedsWeights"
    shopper = Shopper(
        make_client(worker_concurrency=1, engine=name, engines=(name,), lease_seconds=0.5)
    )
    wait_for(lambda: shopper.health().json()["parts"]["engine"]["status"] == "degraded")

    answer = shopper.post()

    assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    weights.touch()
    wait_for(lambda: shopper.health().json()["status"] == "ok")
    shopper.wait(shopper.submit(), "completed")
