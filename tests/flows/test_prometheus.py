"""The rules and the dashboard of `deploy/`, by Prometheus itself, and on a server that runs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config import ROOT
from app.metrics import REGISTRY
from app.services import gauges
from tests.flows.conftest import Run, Serve, wait_for
from tests.servers import free_port, program

RULES = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
TOKEN = "the-operators-token"


def expressions() -> list[str]:
    """Of all panels, with Grafana's own variables filled in."""
    return [
        target["expr"].replace("$__rate_interval", "1m")
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def series() -> set[str]:
    """Every name under which one of our metrics may be asked for."""
    names = set(gauges.NAMES)
    for family in REGISTRY.collect():
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        names |= {family.name + end for end in ends.get(family.type, ("",))}
    return names


def test_every_metric_of_an_alert_or_a_panel_exists() -> None:
    rules = re.sub(r"alert: .*|summary: .*|runbook: .*|#.*", "", RULES.read_text())
    asked = set(re.findall(r"\btryonai_\w+", " ".join([rules, *expressions()])))

    assert len(asked) > 10, "or nothing was looked at"
    assert asked <= series()


def test_every_alert_has_its_chapter_and_every_chapter_its_alert() -> None:
    text = RULES.read_text()
    alerts = re.findall(r"alert: (\w+)", text)
    chapters = re.findall(r"^#### `(\w+)`$", (ROOT / "docs/operations.md").read_text(), re.M)

    assert alerts == chapters
    runbooks = re.findall(r"runbook: (docs\S+)", text)
    assert runbooks == [f"docs/operations.md#{name.lower()}" for name in alerts]
    tested = (RULES.parent / "alerts.test.yml").read_text()
    assert [name for name in alerts if f"name: {name}" not in tested] == []


def test_the_panels_are_told_apart() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(ids) == len(set(ids))


@pytest.mark.cluster
@pytest.mark.parametrize(
    "arguments",
    [
        ("test", "rules", "alerts.test.yml"),
        ("check", "config", "prometheus.yml"),
        ("check", "config", "compose.yml"),
    ],
)
def test_the_alerts_come_when_they_should(arguments: tuple[str, ...]) -> None:
    _check(*arguments)


@pytest.mark.cluster
def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # is YAML, too

    assert f"{len(rules)} rules found" in _check("check", "rules", str(file))


def _check(*arguments: str) -> str:
    command = [program("promtool"), *arguments]
    found = subprocess.run(command, check=False, cwd=RULES.parent, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@contextmanager
def prometheus(folder: Path, *targets: str) -> Iterator[httpx.Client]:
    """Debian's, on the rules of `deploy/` without their patience; its API."""
    rules = folder / "alerts.yml"
    rules.write_text(re.sub(r"for: \w+", "for: 1s", RULES.read_text()))
    (folder / "token").write_text(TOKEN)
    jobs = [
        {
            "job_name": "tryonai",
            "authorization": {"credentials_file": str(folder / "token")},
            "static_configs": [{"targets": list(targets)}],
        }
    ]
    every = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    config = folder / "prometheus.yml"
    config.write_text(
        json.dumps({"global": every, "rule_files": [str(rules)], "scrape_configs": jobs})
    )
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=5) as api:
                yield api
        finally:
            process.terminate()


def asked(api: httpx.Client, expression: str) -> list[Any]:
    try:
        answer = api.get("/query", params={"query": expression})
    except httpx.TransportError:
        return []  # it starts
    found: list[Any] = answer.json()["data"]["result"] if answer.status_code == 200 else []
    return found


@pytest.mark.cluster
def test_prometheus_sees_a_server_without_a_worker_and_tells(
    serve: Serve, run: Run, tmp_path: Path
) -> None:
    program("prometheus")
    server = serve(worker_concurrency=0, metrics_token=TOKEN).ready()
    waits = server.shopper.submit()
    firing = 'ALERTS{alertname="TryonaiNobodyWorks",alertstate="firing"}'
    with prometheus(tmp_path, str(server.shopper.http.base_url).split("/")[2]) as api:
        assert wait_for(lambda: asked(api, "up == 1"), within_s=30)
        assert wait_for(lambda: asked(api, firing), within_s=30)
        assert asked(api, "tryonai_sessions_waiting")[0]["value"][1] == "1"

        run("worker")
        server.shopper.wait(waits, "completed")

        assert wait_for(lambda: not asked(api, firing) and asked(api, "tryonai_workers == 1"))
