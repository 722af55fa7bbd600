"""The engine that every installation has: a garment bent onto a body, on the CPU (docs/engines.md).

A preview: no model redraws anything, so the face stays the shopper's own, and no new folds appear.
The server imports this module for `info`; OpenCV, the networks and the stages come with `load`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.engines import EngineInfo, Licence, RunContext, TryOnRequest, TryOnResult
from app.engines.warp import weights
from app.errors import EngineUnavailable

if TYPE_CHECKING:
    from app.engines import Rgb
    from app.engines.warp.engine import Pipeline

MIN_SIDE = 256
"""Of both pictures, pixels: with less, nobody's shoulders could be as wide as the stages need."""

MAX_SIDE = 2048
"""Of both, pixels: as large as the largest result, and more than a garment is ever worn at."""


class WarpEngine:
    """weights_dir: the model files. person_parser: an optional one, the operator's own.

    on_picture: where set, it is shown what the stages have made, by name, as pictures to look at;
    for `python -m app try --debug`.
    """

    info = EngineInfo(
        name="warp",
        version="1",
        title="Preview: bends the garment onto the body, on the CPU",
        licences=(Licence("warp", "Apache-2.0"),),
        weights=weights.STATED,
        photo_types=("flat-lay",),
        min_side=MIN_SIDE,
        max_side=MAX_SIDE,
    )

    def __init__(self, weights_dir: Path, person_parser: Path | None = None) -> None:
        self._weights_dir = weights_dir
        self._person_parser = person_parser
        self._pipeline: Pipeline | None = None
        self.on_picture: Callable[[str, Rgb], None] | None = None

    def load(self) -> None:
        weights.verify(self._weights_dir)
        self._check_person_parser()
        try:
            from app.engines.warp.engine import Pipeline  # noqa: PLC0415
        except ModuleNotFoundError as exc:
            raise EngineUnavailable(_not_installed(exc.name or "")) from exc
        with _without_greeting():
            self._pipeline = Pipeline(self._weights_dir, self._person_parser)

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        assert self._pipeline is not None, "load comes first"
        return self._pipeline.run(request, context, on_picture=self.on_picture)

    def _check_person_parser(self) -> None:
        if self._person_parser is not None and not self._person_parser.is_file():
            raise EngineUnavailable(
                "PERSON_PARSER names no file: correct it, or leave it empty; warp works without."
            )


@contextmanager
def _without_greeting() -> Iterator[None]:
    """LiteRT says to stderr that it is there, once a network: no line of the log, nor JSON."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _not_installed(module: str) -> str:
    if module.startswith("ai_edge_litert"):
        return (
            "ai-edge-litert, which runs the networks, is not installed: run set-up again. "
            "There is none for Macs with an Intel processor."
        )
    return f"{module} is not installed: run set-up again."
