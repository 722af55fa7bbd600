"""Engines in order: the next one where one cannot, and the session says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.errors import SettingsError
from tests.fixtures import MakeClient
from tests.flows.conftest import Shopper

pytestmark = pytest.mark.slow

ACTS = "tests.engines_for_tests"
FIRST = {
    "fails": 'engine = "mock"\noptions = { seconds = 0, failure_rate = 1 }',
    "crashes": 'engine = "mock"\noptions = { seconds = 0, faults = ["7:crash"] }',
    "hangs": 'engine = "mock"\ntimeout_s = 0.3\noptions = { faults = ["7:hang"], seconds = 0 }',
    "is-away": f'engine = "{ACTS}:NotInstalled"',
    "refuses": f'engine = "{ACTS}:Refuses"',
    "retries": 'engine = "mock"\noptions = { seconds = 0, faults = ["7:retry"] }',
}

Chained = Callable[..., Shopper]


@pytest.fixture
def chained(make_client: MakeClient, tmp_path: Path) -> Chained:
    """A shopper at a server whose one engine is a chain of these."""

    def start(*names: str) -> Shopper:
        tables = "".join(f"[{name}]\n{FIRST[name]}\n" for name in names if name in FIRST)
        words = ", ".join(f'"{name}"' for name in names)
        file = tmp_path / "engines.toml"
        file.write_text(f'{tables}[best]\nengine = "chain"\noptions = {{ engines = [{words}] }}\n')
        return Shopper(
            make_client(engine="best", engines=("best",), engines_file=file, worker_concurrency=1)
        )

    return start


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("fails", "model_error"),
        ("crashes", "engine_error"),
        ("hangs", "engine_timeout"),
        ("is-away", "engine_unavailable"),
    ],
)
def test_the_next_engine_makes_what_the_first_cannot(
    chained: Chained, first: str, code: str
) -> None:
    shopper = chained(first, "mock")

    session = shopper.wait(shopper.submit(seed=7), "completed")

    assert session["engine"] == "best"
    assert session["provenance"]["engine"] == "mock"
    assert session["attempts"] == 1
    assert session["warnings"] == [
        {
            "code": "engine_passed_over",
            "message": f"{first} could not make it ({code}); mock did.",
        }
    ]
    assert shopper.health().json()["engines"]["best"]["status"] == "ok"


def test_a_photo_that_no_engine_can_use_is_refused_at_once(chained: Chained) -> None:
    shopper = chained("refuses", "mock")

    session = shopper.wait(shopper.submit(), "failed")

    assert session["error_code"] == "no_person"


def test_where_none_can_the_last_one_says_why(chained: Chained) -> None:
    shopper = chained("crashes", "fails")

    session = shopper.wait(shopper.submit(seed=7), "failed")

    assert session["error_code"] == "model_error"


def test_where_the_last_one_may_work_later_all_are_asked_again(chained: Chained) -> None:
    shopper = chained("fails", "retries")

    session = shopper.wait(shopper.submit(seed=7), "failed", within_s=30)

    assert (session["error_code"], session["attempts"]) == ("model_error", 3)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('options = { engines = ["mock"] }', "first"),
        ('options = { engines = "mock" }', "list of words"),
        ('options = { engines = ["mock", "best"] }', "is a chain, too"),
    ],
)
def test_a_chain_that_is_none_is_told(
    make_client: MakeClient, tmp_path: Path, table: str, said: str
) -> None:
    file = tmp_path / "engines.toml"
    file.write_text(f'[best]\nengine = "chain"\n{table}\n')
    settings: dict[str, Any] = {"engine": "best", "engines": ("best",), "engines_file": file}

    with pytest.raises(SettingsError, match=said):
        make_client(**settings)
