"""The order of the stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from app.engines import Mode, RunContext, TryOnRequest, TryOnResult
from app.engines.warp import composition, lower, lower_layers, people, quality, targets, warping
from app.engines.warp.arrays import length, shrink
from app.engines.warp.garments import read_garment
from app.engines.warp.hands import with_hands
from app.engines.warp.networks import Networks
from app.engines.warp.parsing import parse
from app.engines.warp.pose import find_pose
from app.engines.warp.rims import with_rims
from app.engines.warp.scene import Scene, see
from app.engines.warp.values import SIDES, BottomOutline, Garment, Rgb, TopOutline
from app.errors import EngineError, FailureCode


@dataclass(frozen=True)
class Effort:
    """The long sides, in pixels, at which a mode works.

    photo: where the body and its parts are found. garment: its picture. paint: where the garment is
    drawn. result: of the picture that is given back, at most.
    """

    photo: int
    garment: int
    paint: int
    result: int


EFFORTS: MappingProxyType[Mode, Effort] = MappingProxyType(
    {
        "fast": Effort(photo=640, garment=512, paint=640, result=1536),
        "balanced": Effort(photo=1024, garment=1024, paint=1536, result=1536),
        "quality": Effort(photo=1024, garment=1536, paint=2048, result=2048),
    }
)

_STAGES = ("pose", "garment", "parsing", "targets", "warping", "composition", "quality")


@dataclass
class _Run:
    """One run's clock: tells progress, lets it be cancelled, and keeps the seconds by stage."""

    context: RunContext
    timings_s: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.perf_counter)

    def stage(self, name: str) -> None:
        """A stage begins here; `done` ends it."""
        self.context.check()
        self.context.progress(name, _STAGES.index(name) / len(_STAGES))
        self._begun = time.perf_counter()

    def done(self, name: str) -> None:
        self.timings_s[name] = time.perf_counter() - self._begun


class Pipeline:
    """The stages on loaded networks; `WarpEngine` makes one a process, once the files are whole."""

    def __init__(self, weights_dir: Path, person_parser: Path | None = None) -> None:
        """weights_dir: checked already. Raises EngineUnavailable."""
        self._networks = Networks(weights_dir, person_parser)

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
        effort = EFFORTS[request.mode]
        cv2.setRNGSeed(request.seed & 0x7FFFFFFF)
        run = _Run(context)
        result = shrink(request.person, effort.result)
        canvas, photo = shrink(result, effort.paint), shrink(result, effort.photo)

        run.stage("pose")
        pose, body = find_pose(self._networks, photo)
        run.done("pose")

        run.stage("garment")
        garment = read_garment(
            request.garment,
            category=request.category,
            photo_type=request.garment_photo_type,
            side=effort.garment,
            networks=self._networks,
        )
        people.check_hips(photo, body, garment.category)
        if isinstance(garment.outline, BottomOutline):
            lower.check_legs(photo, pose, garment.outline.kind)
        if on_picture:
            on_picture("garment", _on_grey(garment))
        run.done("garment")

        run.stage("parsing")
        parts = parse(self._networks, photo, pose, body)
        seen = see(canvas, pose=pose, body=body, parts=parts, category=garment.category)
        scene = with_hands(with_rims(seen))
        if on_picture:
            on_picture("parts", _coloured(scene))
        run.done("parsing")

        dress = self._dress_bottom if garment.category == "bottoms" else self._dress_top
        dressed = dress(scene, garment, run, seed=request.seed)
        picture = _finish(dressed.easel, scene, canvas, result)
        run.done("composition")

        run.stage("quality")
        figure, noticed = quality.judge(dressed.noticed)
        codes = dict.fromkeys((*people.cautions(photo, pose, body), *garment.cautions, *noticed))
        run.done("quality")
        return TryOnResult(
            picture=picture,
            seed=request.seed,
            quality=figure,
            timings_s=run.timings_s,
            warnings=tuple(quality.caution(code) for code in codes),
            category=garment.category,
        )

    @staticmethod
    def _dress_bottom(scene: Scene, garment: Garment, run: _Run, *, seed: int) -> _Dressed:
        run.stage("targets")
        target = lower.place_bottom(scene, garment)
        run.done("targets")

        run.stage("warping")
        layer = lower_layers.warp_bottom(scene, garment, target)
        run.done("warping")

        run.stage("composition")
        easel, bared = lower_layers.paint_bottom(scene, layer, target, seed=seed)
        noticed = quality.Noticed(
            skin=bared.skin,
            ground=bared.ground,
            below=0.0,
            stretch=target.stretch,
            cut=0.0,
            sure=garment.outline.sure,
            trust=scene.parts.trust,
        )
        return _Dressed(easel, noticed)

    @staticmethod
    def _dress_top(scene: Scene, garment: Garment, run: _Run, *, seed: int) -> _Dressed:
        outline = garment.outline
        if not isinstance(outline, TopOutline):
            raise EngineError(FailureCode.GARMENT_UNSUPPORTED, stage="targets")
        run.stage("targets")
        target = targets.place_top(scene, garment)
        run.done("targets")

        run.stage("warping")
        layers = warping.warp_top(scene, garment, target)
        run.done("warping")

        run.stage("composition")
        easel, bared = composition.paint_top(scene, layers, target, seed=seed)
        sleeves = [target.side(side).sleeve for side in SIDES]
        noticed = quality.Noticed(
            skin=bared.skin,
            ground=bared.ground,
            below=bared.below,
            stretch=target.stretch,
            cut=max((sleeve.cut for sleeve in sleeves if sleeve is not None), default=0.0),
            sure=outline.sure,
            trust=scene.parts.trust,
            left=bared.left,
            beside=bared.beside,
            uneven=_uneven(outline),
        )
        return _Dressed(easel, noticed)


def _uneven(outline: TopOutline) -> float:
    """How much the sleeves differ: photos of garments are even, readings of them are not always."""
    sleeves = [outline.side(side).sleeve for side in SIDES]
    lengths = [length(sleeve.outer) for sleeve in sleeves if sleeve is not None]
    return 1 - min(lengths) / max(*lengths, 1e-3) if len(lengths) == 2 else 0.0


@dataclass(frozen=True)
class _Dressed:
    easel: composition.Easel
    noticed: quality.Noticed


def _finish(easel: composition.Easel, scene: Scene, canvas: Rgb, result: Rgb) -> Rgb:
    """The painting on the result, which may be larger than the canvas it was made on."""
    if canvas.shape == result.shape:
        return easel.finish(result, scene.left, scene.top)
    scale = result.shape[0] / canvas.shape[0]
    large, left, top = easel.enlarged(scale, scene.left, scene.top)
    return large.finish(result, left, top)


# --- pictures to look at --------------------------------------------------------------------


def _on_grey(garment: Garment) -> Rgb:
    alpha = garment.alpha[..., None]
    picture = garment.picture * alpha + 128 * (1 - alpha)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _coloured(scene: Scene) -> Rgb:
    """Each part in its colour over the photo: hair blue, face red, arms yellow, upper green."""
    parts = scene.parts
    colours = {
        (60, 60, 255): parts.hair,
        (255, 60, 60): parts.face,
        (255, 220, 0): parts.arms,
        (0, 200, 80): parts.upper,
        (200, 0, 255): parts.lower,
    }
    picture = scene.photo.copy()
    for colour, mask in colours.items():
        picture += (np.asarray(colour, np.float32) - picture) * 0.5 * mask[..., None]
    return np.asarray(np.clip(picture, 0, 255), np.uint8)
