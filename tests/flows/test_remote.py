"""A provider's runs in the life of sessions: told, paid once, ended with the session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures import MakeClient
from tests.flows.conftest import Run, Shopper, Sql, wait_for
from tests.provider import KEY, Provider, providing

pytestmark = pytest.mark.slow
ENGINE = "fashn-api"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
def settings(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("FASHN_API_KEY", KEY)
    file = tmp_path / "engines.toml"
    file.write_text(
        f'[{ENGINE}]\nengine = "remote"\nsecrets = ["FASHN_API_KEY"]\n'
        f'options = {{ mapping = "fashn", base_url = "{provider.url}" }}\n'
    )
    return {"engines_file": file, "engine": ENGINE, "engines": ENGINE, "allowed_egress": ENGINE}


def chained(settings: dict[str, Any]) -> dict[str, Any]:
    """The same as the first of a chain, before the mock."""
    file: Path = settings["engines_file"]
    more = f'[best]\nengine = "chain"\noptions = {{ engines = ["{ENGINE}", "mock"] }}\n'
    file.write_text(file.read_text() + more + "[mock]\noptions = { failure_rate = 0 }\n")
    return settings | {"engine": "best", "engines": "best", "allowed_egress": "127.0.0.1"}


def as_tuples(settings: dict[str, Any]) -> dict[str, Any]:
    return settings | {
        "engines": (settings["engines"],),
        "allowed_egress": (settings["allowed_egress"],),
    }


def test_a_session_tells_who_made_it_and_what_it_cost(
    make_client: MakeClient, settings: dict[str, Any], provider: Provider
) -> None:
    shopper = Shopper(make_client(worker_concurrency=1, **as_tuples(settings)))
    assert shopper.post().json()["code"] == "egress_not_allowed"

    made = shopper.wait(shopper.submit(allow_egress=True, seed=7), "completed")["provenance"]

    assert made["cost"] == {"amount": "1", "unit": "credits"}
    assert made["details"]["run"] == "job-1"
    assert (made["engine"], made["version"]) == ("fashn-api", "tryon-v1.6")
    assert KEY not in str(made)


@pytest.mark.parametrize("alone", [True, False])
def test_a_killed_worker_leaves_a_job_that_the_next_one_goes_on_with(
    run: Run,
    make_client: MakeClient,
    settings: dict[str, Any],
    provider: Provider,
    sql: Sql,
    alone: bool,
) -> None:
    settings = settings if alone else chained(settings)
    shopper = Shopper(make_client(**as_tuples(settings)))
    provider.polls = 10**6
    session_id = shopper.submit(allow_egress=True, seed=7)
    first = run("worker", lease_seconds=1, fashn_api_key=KEY, **settings)
    wait_for(lambda: any(path.startswith("/v1/status") for _, path in provider.asked))

    first.kill()
    provider.polls = 0
    run("worker", lease_seconds=1, fashn_api_key=KEY, **settings)

    session = shopper.wait(session_id, "completed", within_s=40)
    assert session["attempts"] == 2
    assert session["provenance"]["engine"] == "fashn-api"
    assert provider.paid == {7: 1}
    assert sql("SELECT checkpoint FROM tryon_sessions") == [(None,)]


def test_an_engine_that_is_killed_is_taken_for_a_crash_and_pays_no_second_time(
    make_client: MakeClient, settings: dict[str, Any], provider: Provider
) -> None:
    provider.polls = 10**6
    shopper = Shopper(make_client(worker_concurrency=1, **as_tuples(settings)))
    session_id = shopper.submit(allow_egress=True, seed=7)
    wait_for(lambda: provider.paid)

    for child in psutil.Process().children():
        if "app.engines.child" in child.cmdline():
            os.kill(child.pid, signal.SIGKILL)

    assert shopper.wait(session_id, "failed")["error_code"] == "engine_error"
    assert provider.paid == {7: 1}
