"""An engine that simulates: it waits, sometimes fails, and shows person, garment and the word MOCK.

It stands in for a model wherever the service around it is what matters: a first look, tests, load.
For tests of what goes wrong it can be told to crash, hang or eat memory (see `faults`).
"""

from __future__ import annotations

import colorsys
import os
import random
import re
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from app.engines import EngineInfo, Licence, RunContext, TryOnRequest, TryOnResult
from app.errors import EngineError, FailureCode, SettingsError

if TYPE_CHECKING:
    from PIL import Image, ImageFont

    from app.engines import Rgb

FAULTS = ("crash", "exit", "hang", "hang-hard", "memory", "error", "retry", "fail")

_STEP_S = 0.02
"""Between two looks at whether the run was cancelled."""

_STAGES = (("person", 0.25), ("garment", 0.25), ("compose", 0.5))
"""Each with its part of the time."""


class MockEngine:
    """A picture at once says more than a model that is not there.

    seconds: how long a run takes. failure_rate: 0–1, drawn anew for each run, as with a real model;
    the seed fixes the picture alone.
    faults: `<seed>:<fault>`; a run with that seed does not end well. See `_misbehave`.
    """

    info = EngineInfo(
        name="mock",
        version="1",
        title="Mock: shows person and garment, tries nothing on",
        licences=(Licence("mock", "Apache-2.0"),),
        min_side=64,
    )

    def __init__(
        self, seconds: float = 3, failure_rate: float = 0.1, faults: Sequence[str] = ()
    ) -> None:
        if seconds < 0:
            raise SettingsError(f"mock: {seconds} seconds a run; it must be 0 or more")
        if not 0 <= failure_rate <= 1:
            raise SettingsError(f"mock: a failure rate of {failure_rate}; it must be from 0 to 1")
        self._seconds = seconds
        self._failure_rate = failure_rate
        self._faults = dict(_fault(entry) for entry in faults)
        self._chance = random.SystemRandom()

    def load(self) -> None:
        pass

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        timings_s = {}
        for stage, part in _STAGES:
            begun = time.perf_counter()
            self._simulate(stage, self._seconds * part, context)
            if stage == "garment":  # as a model does: neither at once nor at the very end
                self._fail_perhaps(request.seed, context)
            if stage == "compose":
                picture = _compose(request)
            timings_s[stage] = time.perf_counter() - begun
        return TryOnResult(picture, seed=request.seed, timings_s=timings_s)

    def _simulate(self, stage: str, seconds: float, context: RunContext) -> None:
        context.progress(stage, 0.0)
        context.check()
        begun = time.monotonic()
        while (left := begun + seconds - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_S))
            context.check()
            context.progress(stage, min(1.0, (time.monotonic() - begun) / seconds))

    def _fail_perhaps(self, seed: int, context: RunContext) -> None:
        if seed in self._faults:
            _misbehave(self._faults[seed], context)
        if self._chance.random() < self._failure_rate:
            raise EngineError(
                FailureCode.MODEL_ERROR,
                log=f"a random failure of the mock engine, rate {self._failure_rate:g}",
                stage="garment",
            )


def _fault(entry: str) -> tuple[int, str]:
    seed, _, fault = entry.partition(":")
    if not re.fullmatch(r"-?\d+", seed) or fault not in FAULTS:
        raise SettingsError(
            f'mock: "{entry}" is no fault; write <seed>:<fault>, where <fault> is one of '
            + ", ".join(FAULTS)
        )
    return int(seed), fault


def _misbehave(fault: str, context: RunContext) -> None:
    """Do what models have been seen to do."""
    match fault:
        case "crash":
            signal.raise_signal(signal.SIGSEGV)
        case "exit":
            os._exit(3)
        case "hang":
            _hang()
        case "hang-hard":
            # Holds the interpreter's lock: no other thread of this process runs, for 2^64 steps.
            re.match(r"(a+)+$", "a" * 64 + "b")
        case "memory":
            _eat_memory(context)
        case "error":
            raise RuntimeError("the mock engine was told to raise this")
        case "retry":
            raise EngineError(
                FailureCode.MODEL_ERROR, log="the mock engine was told to retry", retryable=True
            )
        case "fail":
            raise EngineError(FailureCode.MODEL_ERROR, log="the mock engine was told to fail")


def _hang() -> NoReturn:
    while True:
        time.sleep(_STEP_S)


def _eat_memory(context: RunContext) -> NoReturn:
    eaten = []
    while True:
        eaten.append(b"\1" * (64 << 20))  # not zeros: pages that are only promised do not count
        time.sleep(0.01)
        context.check()


# --- the picture ----------------------------------------------------------------------------


def _compose(request: TryOnRequest) -> Rgb:
    """The person's photo; the garment on a plate, bottom right; the word MOCK, top left."""
    import numpy as np  # noqa: PLC0415 - heavy, and the server imports this module for `info`
    from PIL import Image  # noqa: PLC0415

    picture = Image.fromarray(request.person)
    _lay_garment(picture, Image.fromarray(request.garment))
    _write_word(picture, colour=_colour(request.seed))
    return np.array(picture)


def _lay_garment(picture: Image.Image, garment: Image.Image) -> None:
    from PIL import Image, ImageDraw  # noqa: PLC0415

    width, height = picture.size
    unit = min(width, height)
    margin, border = max(2, unit // 32), max(2, unit // 64)
    scale = min(0.4 * width / garment.width, 0.4 * height / garment.height)
    size = (max(1, round(garment.width * scale)), max(1, round(garment.height * scale)))
    # reducing_gap: first shrunk by a whole factor; a third of the time, and nobody sees it.
    inset = garment.resize(size, Image.Resampling.BICUBIC, reducing_gap=1)
    right, bottom = width - margin, height - margin
    left, top = right - inset.width - 2 * border, bottom - inset.height - 2 * border
    ImageDraw.Draw(picture).rounded_rectangle(
        (left, top, right - 1, bottom - 1), radius=border, fill="white"
    )
    picture.paste(inset, (left + border, top + border))


def _write_word(picture: Image.Image, *, colour: tuple[int, int, int]) -> None:
    from PIL import ImageDraw  # noqa: PLC0415

    width, height = picture.size
    unit = min(width, height)
    margin = max(2, unit // 32)
    draw = ImageDraw.Draw(picture)
    font = _font(max(14, unit // 9))
    left, top, right, bottom = draw.textbbox((0, 0), "MOCK", font=font)
    pad = max(2, unit // 48)
    box = (margin, margin, margin + right - left + 2 * pad, margin + bottom - top + 2 * pad)
    draw.rounded_rectangle(box, radius=pad, fill=colour)
    draw.text((margin + pad - left, margin + pad - top), "MOCK", font=font, fill="white")


def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont  # noqa: PLC0415

    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _colour(seed: int) -> tuple[int, int, int]:
    """A dark hue for white letters; the golden angle keeps the hues of neighbours apart."""
    red, green, blue = colorsys.hls_to_rgb(seed * 0.381966 % 1, 0.32, 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)
