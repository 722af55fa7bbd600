"""The mock engine by itself, without a process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engines import RunContext, TryOnRequest
from app.engines.mock import FAULTS, MockEngine
from app.errors import EngineError, FailureCode, RunCancelled, SettingsError


def plain(width: int, height: int, value: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def request(
    person: tuple[int, int] = (96, 128), garment: tuple[int, int] = (80, 60), seed: int = 0
) -> TryOnRequest:
    return TryOnRequest(plain(*person, 90), plain(*garment, 200), seed=seed)


def context(
    stages: list[str] | None = None, cancelled: threading.Event | None = None
) -> RunContext:
    def progress(stage: str, fraction: float | None) -> None:
        assert fraction is not None
        assert 0 <= fraction <= 1
        if stages is not None and stage not in stages:
            stages.append(stage)

    def check() -> None:
        if cancelled is not None and cancelled.is_set():
            raise RunCancelled

    return RunContext(progress, check, time.monotonic() + 60, Path("unused"))


@pytest.mark.parametrize(
    ("person", "garment"),
    [
        ((768, 1024), (768, 1024)),
        ((1600, 900), (300, 900)),
        ((64, 64), (64, 64)),
        ((3000, 4000), (1200, 400)),
        ((64, 2000), (2000, 64)),
        ((2000, 64), (64, 2000)),
    ],
)
def test_the_picture_shows_person_garment_and_word(
    person: tuple[int, int], garment: tuple[int, int]
) -> None:
    asked = request(person, garment)

    picture = MockEngine(seconds=0, failure_rate=0).run(asked, context()).picture

    height, width = asked.person.shape[:2]
    assert picture.shape == asked.person.shape
    assert picture.dtype == np.uint8
    assert (picture[:, : width // 2][height // 2 :] == 90).mean() > 0.5, "the person"
    assert (picture[height // 2 :, width // 2 :] == 200).all(axis=2).any(), "the garment"
    assert (picture[: height // 2, : min(width, height) // 2] == 255).all(axis=2).any(), "the word"
    assert (asked.person == 90).all(), "the request is left as it was"


def test_equal_requests_give_equal_pictures_and_seeds_differ() -> None:
    engine = MockEngine(seconds=0, failure_rate=0)

    first, again, other = (engine.run(request(seed=seed), context()) for seed in (1, 1, 2))

    assert (first.picture == again.picture).all()
    assert (first.picture != other.picture).any()
    assert (first.seed, other.seed) == (1, 2)


def test_a_run_takes_as_long_as_it_is_told() -> None:
    stages: list[str] = []

    result = MockEngine(seconds=0.3, failure_rate=0).run(request(), context(stages))

    assert stages == ["person", "garment", "compose"] == list(result.timings_s)
    assert sum(result.timings_s.values()) >= 0.3


def test_a_cancelled_run_stops_long_before_its_end() -> None:
    cancelled = threading.Event()
    timer = threading.Timer(0.1, cancelled.set)
    timer.start()
    begun = time.monotonic()

    with pytest.raises(RunCancelled):
        MockEngine(seconds=60, failure_rate=0).run(request(), context(cancelled=cancelled))

    assert time.monotonic() - begun < 30
    timer.join()


@pytest.mark.parametrize(
    ("rate", "failures"), [(0, range(1)), (1, range(60, 61)), (0.5, range(10, 51))]
)
def test_runs_fail_as_often_as_they_should(rate: float, failures: range) -> None:
    """At one half, fewer than 10 or more than 50 of 60 come once in ten million times."""
    engine = MockEngine(seconds=0, failure_rate=rate)
    failed = 0

    for _ in range(60):
        try:
            engine.run(request((64, 64), (64, 64), seed=5), context())
        except EngineError as error:
            failed += 1
            last = error

    if failed:
        assert last.failure is FailureCode.MODEL_ERROR
        assert not last.retryable
        assert "random failure" in last.log
    assert failed in failures


@pytest.mark.parametrize(("fault", "retryable"), [("retry", True), ("fail", False)])
def test_a_fault_meets_the_run_with_its_seed_only(fault: str, retryable: bool) -> None:
    engine = MockEngine(seconds=0, failure_rate=0, faults=[f"7:{fault}", "-8:error"])

    with pytest.raises(EngineError) as caught:
        engine.run(request(seed=7), context())

    assert caught.value.retryable is retryable
    assert engine.run(request(seed=6), context()).seed == 6
    with pytest.raises(RuntimeError):
        engine.run(request(seed=-8), context())


@pytest.mark.parametrize(
    "entry", ["", "crash", "7", "7:", "7:melt", "x:crash", ":crash", "1:2:exit"]
)
def test_a_malformed_fault_says_what_to_write(entry: str) -> None:
    with pytest.raises(SettingsError, match="<seed>:<fault>") as caught:
        MockEngine(faults=[entry])

    assert all(fault in caught.value.detail for fault in FAULTS)


@pytest.mark.parametrize(
    "options", [{"seconds": -1}, {"failure_rate": -0.1}, {"failure_rate": 1.5}]
)
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="must be"):
        MockEngine(**options)  # type: ignore[arg-type]
