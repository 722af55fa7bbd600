"""Health, readiness and metrics: what people, load balancers and Prometheus see."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import text

from app import __version__
from app.database import engine_of
from tests.api.sessions import OWNER, PROBLEM, URL, claim, create, parts
from tests.fixtures import MakeClient


def test_health_tells_each_part(make_client: MakeClient) -> None:
    client = make_client(worker_concurrency=1)

    answer = client.get("/api/health")

    body = answer.json()
    assert answer.status_code == 200
    assert (body["status"], body["version"]) == ("ok", __version__)
    assert set(body["parts"]) == {"database", "storage", "queue", "worker", "engine"}
    assert {part["status"] for part in body["parts"].values()} == {"ok"}
    assert answer.headers["Cache-Control"] == "no-store"


def test_without_a_worker_it_is_degraded_and_takes_traffic(client: TestClient) -> None:
    create(client)
    claim(client, create(client)["id"])

    health, ready = client.get("/api/health"), client.get("/api/health/ready")

    body = health.json()
    assert (health.status_code, ready.status_code) == (200, 200)
    assert (body["status"], body["parts"]["worker"]["status"]) == ("degraded", "degraded")
    assert "worker" in body["parts"]["worker"]["detail"]
    assert (body["waiting"], body["processing"]) == (1, 1)


def test_without_its_storage_it_is_unavailable_but_alive(
    client: TestClient, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "uploads", ignore_errors=True)
    (tmp_path / "uploads").write_text("a file where the folder should be")

    health = client.get("/api/health")

    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
    assert health.json()["parts"]["storage"]["status"] == "unavailable"
    assert int(health.headers["Retry-After"]) > 0
    assert str(tmp_path) not in health.text
    assert client.get("/api/health/ready").status_code == 503
    assert client.get("/api/health/live").json() == {"status": "ok"}


def test_without_its_schema_it_is_being_prepared(client: TestClient) -> None:
    with parts(client).db.begin() as tx:
        tx.execute(text("DROP TABLE tryon_sessions CASCADE"))

    answer = client.get(URL, headers=OWNER)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == PROBLEM


def test_with_all_connections_in_use_the_answer_is_503(make_client: MakeClient) -> None:
    client = make_client(database_pool_size=1)
    # What waits for a connection gives up after seconds that a test need not wait for.
    reads = parts(client).reads
    engine_of(reads).pool._timeout = 0.05  # type: ignore[attr-defined]

    with reads() as tx:
        tx.execute(text("SELECT 1"))
        answer = client.get(URL, headers=OWNER)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert client.get(URL, headers=OWNER).status_code == 200


def test_metrics_are_for_prometheus(shared_client: TestClient) -> None:
    create(shared_client)

    answer = shared_client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    wanted = 'tryonai_http_requests_total{method="POST",route="/api/tryon/sessions",status="201"}'
    assert wanted in answer.text
    assert "tryonai_sessions_waiting" in answer.text


def test_no_stranger_makes_a_label(shared_client: TestClient) -> None:
    session = create(shared_client)
    shared_client.request("BREW", "/a-strangers-word")
    shared_client.get(f"{URL}/{session['id']}", headers=OWNER)

    answer = shared_client.get("/metrics")

    assert "BREW" not in answer.text
    assert "a-strangers-word" not in answer.text
    assert session["id"] not in answer.text


@pytest.fixture(scope="module")
def guarded(make_shared_client: MakeClient) -> TestClient:
    return make_shared_client(metrics_token=SecretStr("the-operators-token"))


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer", "Bearer wrong", "Basic c2VjcmV0", "secret", "Bearer \xff"]
)
def test_metrics_with_a_token_are_told_to_its_bearer_only(
    guarded: TestClient, sent: str | None
) -> None:
    headers = {} if sent is None else {"Authorization": sent.encode("latin-1")}

    answer = guarded.get("/metrics", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    right = guarded.get("/metrics", headers={"Authorization": "Bearer the-operators-token"})
    assert right.status_code == 200
