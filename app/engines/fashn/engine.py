"""The order of the stages, on a network that is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.engines import CATEGORIES, Mode, Pose, RunContext, TryOnRequest, TryOnResult
from app.engines.fashn import checkpoint, pictures, sampler, skeleton
from app.engines.fashn.architecture import Architecture
from app.engines.fashn.network import Conditions
from app.errors import EngineError, EngineUnavailable, FailureCode

if TYPE_CHECKING:
    from app.engines import Category, Rgb

Precision = Literal["auto", "bf16", "fp32"]

STEPS: MappingProxyType[Mode, int] = MappingProxyType({"fast": 20, "balanced": 30, "quality": 50})
"""What FASHN VTON 1.5 recommends for each."""


class Pipeline:
    """The network on its device, and what goes before it and after it."""

    def __init__(
        self,
        path: Path,
        sizes: Architecture,
        *,
        precision: Precision,
        keep_face: bool,
        device: str | None,
    ) -> None:
        """path: of the weights, checked already. device: `cpu`, `cuda`, `mps`; None: the card.

        Raises EngineUnavailable.
        """
        self._sizes = sizes
        self._keep_face = keep_face
        self._device = _device(device)
        self._dtype = _dtype(precision, self._device)
        try:
            self._network = checkpoint.read(path, sizes, device=self._device, dtype=self._dtype)
            if self._device.type != "cpu":  # a CPU has no first run to get over with
                self._warm_up()
            return
        except torch.OutOfMemoryError:
            pass  # what was allocated goes with the exception
        raise EngineUnavailable(
            "fashn does not fit into the graphics card's memory: free some, or give it another "
            "card by `devices` of its table in ENGINES_FILE."
        )

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        """Make one picture; pose and category are there. Raises EngineError."""
        assert request.pose is not None, "info.needs asks for it"
        assert request.category != "auto", "likewise"
        begun = time.perf_counter()
        photo = pictures.shrink(request.person, self._sizes)
        scale = photo.shape[1] / request.person.shape[1]
        drawn = skeleton.draw(request.pose, scale, *photo.shape[:2])
        made = self._made(photo, drawn, request, context)
        sampled = time.perf_counter()
        return TryOnResult(
            picture=self._finish(made, photo, request.pose, scale),
            seed=request.seed,
            timings_s={"sampling": sampled - begun, "finishing": time.perf_counter() - sampled},
            category=request.category,
            details={
                "device": _name(self._device),
                "precision": str(self._dtype).removeprefix("torch."),
                "steps": str(STEPS[request.mode]),
                "face": "the photo's" if self._keep_face else "drawn",
            },
        )

    def _made(
        self, photo: Rgb, drawn: NDArray[np.uint8], request: TryOnRequest, context: RunContext
    ) -> Rgb:
        """(height, width, 3) uint8, the whole frame."""
        context.check()
        context.progress("preparing", 0.0)
        try:
            return _pixels(self._sample(self._conditions(photo, drawn, request), request, context))
        except torch.OutOfMemoryError:
            pass  # what was allocated goes with the exception
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        raise EngineError(
            FailureCode.ENGINE_OUT_OF_MEMORY,
            log="the graphics card's memory is full",
            retryable=True,  # others on the card may have taken it
            stage="sampling",
        )

    def _conditions(
        self, photo: Rgb, drawn: NDArray[np.uint8], request: TryOnRequest
    ) -> Conditions:
        garment = pictures.shrink(request.garment, self._sizes)
        # From 1 on: 0 is no category at all, which is what guidance compares with.
        category = 1 + CATEGORIES.index(cast("Category", request.category))
        return Conditions(
            person=self._tensor(photo),
            garment=self._tensor(garment),
            person_pose=self._tensor(drawn),
            garment_pose=self._tensor(skeleton.nobody(*garment.shape[:2])),
            category=torch.tensor([category], device=self._device),
        )

    def _tensor(self, picture: NDArray[np.uint8]) -> Tensor:
        """(h, w, 3) or (h, w) uint8 → (1, 3 or 1, height, width), -1 to 1."""
        framed = torch.from_numpy(pictures.frame(picture, self._sizes))
        channels = framed.permute(2, 0, 1) if framed.ndim == 3 else framed[None]
        return (channels / 127.5 - 1)[None].to(self._device, self._dtype)

    def _sample(self, conditions: Conditions, request: TryOnRequest, context: RunContext) -> Tensor:
        steps = STEPS[request.mode]
        return sampler.sample(
            self._network,
            conditions,
            sampler.noise(self._sizes, request.seed).to(self._device, self._dtype),
            steps=steps,
            on_step=lambda done: context.progress("sampling", done / steps),
            between=self._between(context),
        )

    def _between(self, context: RunContext) -> Callable[[], None]:
        """Look whether the run is still wanted; a card is waited for, or it would run ahead."""

        def look() -> None:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            context.check()

        return look

    def _finish(self, made: Rgb, photo: Rgb, pose: Pose, scale: float) -> Rgb:
        """The part of the frame that is the photo, in the photo's aspect."""
        place = pictures.place(photo, self._sizes)
        picture = place.cut(made)
        if not self._keep_face:
            return picture
        before = place.cut(pictures.frame(photo, self._sizes))
        weight = skeleton.face(pose, scale * place.width / photo.shape[1], *before.shape[:2])
        return pictures.keep(picture, before, weight)

    def _warm_up(self) -> None:
        """One pass as large as those of a run: kernels are chosen, memory is taken."""
        sizes = self._sizes
        shape = (1, 3, sizes.height, sizes.width)
        empty = torch.zeros(shape, device=self._device, dtype=self._dtype)
        none = torch.zeros(1, dtype=torch.int64, device=self._device)
        given = Conditions(empty, empty, empty[:, :1], empty[:, :1], none)
        sampler.sample(
            self._network, given, empty, steps=2, on_step=lambda _: None, between=lambda: None
        )


def _device(asked: str | None) -> torch.device:
    if asked is None and not torch.cuda.is_available():
        raise EngineUnavailable(
            "fashn needs a graphics card with CUDA, and torch finds none. On a CPU a picture takes "
            'most of an hour; if that is meant, its table in ENGINES_FILE says devices = ["cpu"].'
        )
    if asked == "cuda" and not torch.cuda.is_available():
        raise EngineUnavailable("fashn was given a card by `devices`, and torch finds none.")
    return torch.device(asked or "cuda")


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        exact = device.type != "cuda" or not torch.cuda.is_bf16_supported()
        return torch.float32 if exact else torch.bfloat16
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _pixels(made: Tensor) -> Rgb:
    """(1, 3, h, w) -1 to 1 → (h, w, 3) uint8, cut off and not rounded, as FASHN VTON 1.5 does."""
    whole = ((made[0] + 1) * 0.5).mul(255).byte()
    return np.ascontiguousarray(whole.permute(1, 2, 0).cpu().numpy())
