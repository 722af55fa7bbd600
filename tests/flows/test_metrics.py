"""What Prometheus is told: of one process, of several, and of what the database knows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from app import metrics, metrics_folder
from app.config import ROOT
from app.database import engine_of
from tests.fixtures import MakeClient
from tests.flows.conftest import Run, Shopper, Sql, environment, wait_for

ADDRESS = re.compile(r"page +(http://\S+)/\n")


def told(page: str) -> dict[str, float]:
    """Each series with its value; labels as they are written."""
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_what_waits_and_since_when_comes_from_the_rows(shopper: Shopper, sql: Sql) -> None:
    for _ in range(3):
        shopper.submit()
    sql("UPDATE tryon_sessions SET created_at = now() - interval '90 seconds'")
    sql("INSERT INTO webhook_deliveries (id, session_id) SELECT id, id FROM tryon_sessions LIMIT 2")
    sql(
        "UPDATE tryon_sessions SET status = 'processing', lease_until = now() + interval '1 hour'"
        " WHERE id = (SELECT id FROM tryon_sessions LIMIT 1)"
    )

    found = told(shopper.http.get("/metrics").text)

    assert found["tryonai_sessions_waiting"] == 2
    assert found["tryonai_sessions_processing"] == 1
    assert 90 <= found["tryonai_oldest_waiting_seconds"] < 150
    assert found["tryonai_webhooks_pending"] == 2
    assert (found["tryonai_oldest_overdue_seconds"], found["tryonai_workers"]) == (0, 0)
    assert found["tryonai_database_up"] == 1
    assert [name for name in found if name.endswith("_created")] == []


def test_what_is_past_its_time_is_told_and_does_not_wait(shopper: Shopper, sql: Sql) -> None:
    shopper.submit()
    sql("UPDATE tryon_sessions SET expires_at = now() - interval '30 seconds'")

    found = told(shopper.http.get("/metrics").text)

    assert found["tryonai_sessions_waiting"] == found["tryonai_oldest_waiting_seconds"] == 0
    assert 30 <= found["tryonai_oldest_overdue_seconds"] < 90


def test_without_a_database_no_old_value_is_told(make_client: MakeClient) -> None:
    client = make_client(database_pool_size=1)
    reads = client.app.state.runtime.reads  # type: ignore[attr-defined]
    engine_of(reads).pool._timeout = 0.05  # type: ignore[attr-defined]
    client.get("/metrics")

    with reads() as tx:
        tx.execute(text("SELECT 1"))
        found = told(client.get("/metrics").text)

    assert found["tryonai_database_up"] == 0
    assert "tryonai_sessions_waiting" not in found
    assert told(client.get("/metrics").text)["tryonai_sessions_waiting"] == 0


@pytest.mark.slow
def test_a_worker_tells_its_own_at_its_own_port(shopper: Shopper, run: Run, sql: Sql) -> None:
    worker = run(
        "worker",
        metrics_port=0,
        metrics_token="the-operators-token",
        mock_seconds=0,
        host="127.0.0.1",
    )
    shopper.wait(shopper.submit(), "completed")

    url = wait_for(lambda: re.search(r"Metrics: (http://127\.0\.0\.1:\d+)/metrics", worker.text))[1]
    bearer = {"Authorization": "Bearer the-operators-token"}

    found = told(httpx.get(f"{url}/metrics", headers=bearer).text)
    assert found["tryonai_jobs_total engine=mock outcome=completed"] == 1
    assert found["tryonai_wait_seconds_count engine=mock"] == 1
    assert httpx.get(f"{url}/metrics").status_code == 404
    assert httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer x"}).status_code == 404
    assert httpx.get(f"{url}/", headers=bearer).status_code == 404
    worker.terminate()
    assert worker.wait() == 0


COUNTS = """
import os, sys
from app import metrics
metrics.PURGED.inc(int(sys.argv[1]))
metrics.JOB_SECONDS.labels("mock").observe(int(sys.argv[1]))
metrics.LONG_POLLS.inc()
metrics.ORPHANS.set(int(sys.argv[1]))
print("counted", flush=True)
sys.stdin.read()
if sys.argv[2:]:
    print(metrics.render().decode())
"""


def counting(number: int, *more: str) -> subprocess.Popen[str]:
    """A process that counts so much, and stays until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTS, str(number), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


@pytest.mark.slow
def test_processes_of_one_server_add_up_and_the_dead_are_not_forgotten(tmp_path: Path) -> None:
    with metrics_folder.shared(tmp_path) as folder:
        with counting(1) as killed, counting(2), counting(4, "tells") as tells:
            killed.kill()
            killed.wait()
            files = len(list(folder.glob("*.db")))
            first, _ = tells.communicate()
        with counting(8, "tells") as tells:
            second, _ = tells.communicate()

        assert files == 12  # four kinds for each of three
        found = told(first)
        assert found["tryonai_sessions_purged_total"] == 7
        assert found["tryonai_job_seconds_sum engine=mock"] == 7
        assert found["tryonai_job_seconds_bucket engine=mock le=2.5"] == 2
        assert found["tryonai_long_polls"] == 2, "of who lives"
        assert found["tryonai_orphan_files"] == 4, "the latest"
        found = told(second)
        assert found["tryonai_sessions_purged_total"] == 15
        assert found["tryonai_job_seconds_count engine=mock"] == 4
        assert found["tryonai_long_polls"] == 1
        assert found["tryonai_orphan_files"] == 8
        names = {file.stem.rpartition("_")[2] for file in folder.glob("*.db")}
        assert names == {"0", str(tells.pid)}
    assert not folder.exists()


HOLDS = """
import sys
from pathlib import Path
from app import metrics_folder
with metrics_folder.shared(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_the_next_start_removes_what_a_killed_one_left_and_nobody_elses(tmp_path: Path) -> None:
    def holding() -> tuple[subprocess.Popen[str], Path]:
        command = [sys.executable, "-c", HOLDS, str(tmp_path)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, dead), (living, alive) = holding(), holding()
    killed.kill()
    killed.communicate()
    assert dead.exists()

    with metrics_folder.shared(tmp_path) as folder:
        assert not dead.exists()
        assert alive.exists()
        assert metrics_folder.current() == folder

    living.communicate()
    assert metrics_folder.current() is None
    assert list((tmp_path / "metrics").iterdir()) == []


def test_a_storage_that_refuses_is_counted(shopper: Shopper, uploads: Path) -> None:
    labels = {"operation": "written", "reason": "unavailable"}
    name = "tryonai_storage_failures_total"
    before = metrics.REGISTRY.get_sample_value(name, labels) or 0
    uploads.write_text("a file where the folder should be")

    assert shopper.post().status_code == 503

    assert metrics.REGISTRY.get_sample_value(name, labels) == before + 1


@pytest.mark.slow
def test_whichever_process_of_a_server_is_asked_it_tells_of_all(
    database_url: str, tmp_path: Path
) -> None:
    # In interpreters of their own, as they count into files only there.
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--workers", "2"]
    settings = environment(tmp_path, database_url=database_url, worker_concurrency=0)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        assert server.stdout is not None
        url = next(found[1] for line in server.stdout if (found := ADDRESS.search(line)))
        counted = "tryonai_http_requests_total method=GET route=/api/tryon/engines status=200"
        (folder,) = (tmp_path / "data/metrics").iterdir()

        def ask(times: int) -> set[float]:
            """Each on a connection of its own, which either process may take."""
            for _ in range(times):
                assert httpx.get(f"{url}/api/tryon/engines").status_code == 200
            return {told(httpx.get(f"{url}/metrics").text)[counted] for _ in range(6)}

        assert ask(20) == {20}
        counting_ones = [int(file.stem.split("_")[1]) for file in folder.glob("histogram_*.db")]
        os.kill(counting_ones[0], signal.SIGKILL)
        wait_for(lambda: not psutil.pid_exists(counting_ones[0]))
        assert ask(20) == {40}
        server.terminate()
        server.wait(30)
    assert not folder.exists()
