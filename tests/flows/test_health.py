"""What the service says of itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures import MakeClient
from tests.flows.conftest import Shopper


def test_health_is_degraded_without_a_worker_and_says_what_to_do(shopper: Shopper) -> None:
    shopper.submit()

    answer = shopper.health()

    body = answer.json()
    assert (answer.status_code, body["status"], body["waiting"]) == (200, "degraded", 1)
    assert "python -m app worker" in body["parts"]["worker"]["detail"]
    assert {part: state["status"] for part, state in body["parts"].items()} == {
        "database": "ok",
        "storage": "ok",
        "queue": "ok",
        "worker": "degraded",
        "engine": "ok",
    }


def test_health_is_unavailable_without_the_storage(shopper: Shopper, uploads: Path) -> None:
    shutil.rmtree(uploads, ignore_errors=True)
    uploads.write_bytes(b"a file where a folder should be")

    answer = shopper.health()

    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert answer.json()["parts"]["storage"]["status"] == "unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    refused = shopper.post()
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert shopper.http.get("/api/health/live").status_code == 200


def test_metrics_count_what_has_happened(make_client: MakeClient) -> None:
    shopper = Shopper(make_client(worker_concurrency=1, mock_faults=("1:fail", "2:hang")))
    before = _metrics(shopper)

    shopper.wait(shopper.submit(), "completed")
    shopper.wait(shopper.submit(seed=1), "failed")
    shopper.wait(shopper.submit(seed=2), "processing")
    shopper.submit()
    after = _metrics(shopper)

    jobs = "tryonai_jobs_total engine=mock outcome="
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown[f"{jobs}completed"] == 1
    assert grown[f"{jobs}model_error"] == 1
    assert (
        grown["tryonai_http_requests_total method=POST route=/api/tryon/sessions status=201"] == 4
    )
    assert (after["tryonai_sessions_waiting"], after["tryonai_sessions_processing"]) == (1, 1)
    assert after["tryonai_oldest_waiting_seconds"] > 0
    shopper.delete()


def _metrics(shopper: Shopper) -> dict[str, float]:
    """Each sample by its name and labels."""
    text = shopper.http.get("/metrics").text
    return {
        " ".join(
            [sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
