"""FASHN VTON 1.5 on a graphics card: a model that draws the person anew, in the garment.

Without a human parser, whose weights are not for commercial use: the photo goes in unmasked, and
garments that somebody wears are refused (docs/adr/0021-fashn.md). The server imports this module
for `info`; torch and the network come with `load`, weights from a folder and from nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from app.engines import EngineInfo, Licence, RunContext, TryOnRequest, TryOnResult, Weight
from app.engines.fashn.architecture import architecture
from app.errors import EngineError, EngineUnavailable, FailureCode, SettingsError

if TYPE_CHECKING:
    from app.engines.fashn.engine import Pipeline, Precision

PUBLISHED = Weight(
    "model.safetensors",
    "d6cd38286885bc29fa487ea9383f80ffeb95862e7747c630d42c5d3c05bdd35a",
    "Apache-2.0",
)
"""Of fashn-ai/fashn-vton-1.5 at the revision 7720683168567eb5a2a4c67f15116c6e29c83ded,
1,943,668,048 bytes. The digest is what several projects that fetched the file have written down."""

_HOW = "docs/engines.md says where the published file comes from and where it belongs."

_PRECISIONS = ("auto", "bf16", "fp32")

_LICENCES = (
    Licence("fashn", "Apache-2.0"),
    Licence("torch", "BSD-3-Clause"),
    Licence("safetensors", "Apache-2.0"),
)


class FashnEngine:
    """weights: the folder of model.safetensors.

    sha256, licence: of a file of the operator's own; without, it is FASHN's that is meant.
    network: its sizes, where they are others than the published one's.
    precision: bf16, fp32, or auto: bf16 where the card has it.
    keep_face: put the photo's own face where the network has drawn one.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        sha256: str = PUBLISHED.sha256,
        licence: str = "",
        network: Mapping[str, Any] | None = None,
        precision: str = "auto",
        keep_face: bool = True,
    ) -> None:
        if precision not in _PRECISIONS:
            raise SettingsError(f"fashn: precision must be one of {', '.join(_PRECISIONS)}.")
        self._folder = Path(weights)
        self._sizes = architecture(network or {})
        self._precision = cast("Precision", precision)
        self._keep_face = keep_face
        self._pipeline: Pipeline | None = None
        self._weight = _weight(sha256, licence)
        self.info = _info(self._weight)

    def load(self) -> None:
        try:
            path = self._weight.found_in(self._folder)
        except EngineUnavailable as exc:
            raise EngineUnavailable(f"{exc.detail}; {_HOW}") from exc
        try:
            from app.engines.fashn.engine import Pipeline  # noqa: PLC0415
        except ModuleNotFoundError as exc:
            raise EngineUnavailable(
                f"{exc.name} is not installed, which fashn needs: docs/engines.md says how."
            ) from exc
        self._pipeline = Pipeline(
            path,
            self._sizes,
            precision=self._precision,
            keep_face=self._keep_face,
            device=os.environ.get("TRYONAI_DEVICE"),
        )

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        assert self._pipeline is not None, "load comes first"
        if request.garment_photo_type == "model":
            raise EngineError(
                FailureCode.GARMENT_UNSUPPORTED,
                "Use a picture of the garment alone: this engine cannot take it off somebody.",
                log="photo type model",
            )
        return self._pipeline.run(request, context)


def _weight(sha256: str, licence: str) -> Weight:
    if sha256 == PUBLISHED.sha256:
        return PUBLISHED
    return Weight(PUBLISHED.file, sha256, licence or "unknown")


def _info(weight: Weight) -> EngineInfo:
    return EngineInfo(
        name="fashn",
        version="1.5",
        title="FASHN VTON 1.5: draws the person in the garment, on a graphics card",
        licences=_LICENCES,
        weights=(weight,),
        photo_types=("flat-lay",),
        min_side=256,
        needs=("pose", "category"),
        concurrency=1,  # on one card two runs take as long as one after the other
        memory_mb=12_000,  # the file passes through it; on a CPU the network stays there
        timeout_s=300,
    )
