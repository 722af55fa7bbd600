"""The order of the stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.engines import RunContext, TryOnRequest, TryOnResult
from app.engines.warp.values import Rgb
from app.errors import EngineError, FailureCode


class Pipeline:
    """The stages on loaded networks; `WarpEngine` makes one a process, once the files are whole."""

    def __init__(self, weights_dir: Path, person_parser: Path | None = None) -> None:
        """weights_dir: checked already. Raises EngineUnavailable."""

    def run(
        self,
        request: TryOnRequest,
        context: RunContext,
        *,
        on_picture: Callable[[str, Rgb], None] | None = None,
    ) -> TryOnResult:
        """Make one picture.

        on_picture: is shown what a stage has made, by the stage's name, as a picture to look at.
        Raises EngineError with the reason why not.
        """
        raise EngineError(FailureCode.ENGINE_ERROR, log="the stages are not joined yet")
