"""Celery's children are seen as any other worker: in metrics, errors, traces and logs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config import ROOT
from tests.flows.conftest import Serve, environment, wait_for
from tests.flows.test_metrics import told
from tests.flows.test_reports import events, frames, listening
from tests.flows.test_tracing import collecting
from tests.servers import Redis

pytestmark = pytest.mark.cluster


@contextmanager
def real_worker(folder: Path, **settings: object) -> Iterator[Path]:
    """The command in an interpreter of its own, as it counts only there; its output."""
    output = folder / "worker.log"
    command = [sys.executable, "-m", "app", "worker", "--concurrency", "2"]
    with (
        output.open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment(folder, **settings), stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield output
        finally:
            process.terminate()
            process.wait(30)


def test_celerys_children_are_watched_together(
    serve: Serve, database_url: str, tmp_path: Path
) -> None:
    with (
        closing(Redis(tmp_path)) as redis,
        listening() as (dsn, came),
        collecting() as (collector, spans),
    ):
        options: dict[str, Any] = {
            "task_queue": "celery",
            "redis_url": redis.url,
            "otel_exporter_otlp_endpoint": collector,
            "log_format": "json",
            "database_url": database_url,
        }
        server = serve(**options).ready()
        more = {"sentry_dsn": dsn, "metrics_port": 0, "mock_faults": "1:error", "mock_seconds": 0.5}
        with real_worker(tmp_path, **options, **more) as output:
            shopper = server.shopper
            shopper.http.headers["X-Request-ID"] = "the-request-of-a-test"
            good = [shopper.submit(seed=0) for _ in range(4)]
            bad = shopper.submit(seed=1)
            for session_id in good:
                shopper.wait(session_id, "completed")
            shopper.wait(bad, "failed")
            event = wait_for(lambda: events(came).get("session.failed"))
            url = wait_for(lambda: re.search(r"Metrics: (\S+)", output.read_text()))[1]
            found = wait_for(lambda: _all_counted(url))
        server.terminate()
        server.wait()
        claims = [json.loads(one) for one in output.read_text().splitlines() if "session.cl" in one]

    assert found["tryonai_jobs_total engine=mock outcome=engine_error"] == 1
    assert found["tryonai_wait_seconds_count engine=mock"] == 5
    assert (event["tags"]["engine"], frames(event)[-1]["function"]) == ("mock", "_misbehave")
    assert {line["request_id"] for line in claims} == {"the-request-of-a-test"}
    creates = {span.trace_id for span in spans if span.name.startswith("POST")}
    attempts = [span for span in spans if span.name == "attempt"]
    assert len(attempts) == len(creates) == 5
    assert {span.trace_id for span in attempts} == creates


def _all_counted(url: str) -> dict[str, float] | None:
    found = told(httpx.get(url).text)
    done = found.get("tryonai_jobs_total engine=mock outcome=completed")
    return found if done == 4 else None
