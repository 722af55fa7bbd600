"""The order of the stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from app.engines import Category, Mode, RunContext, TryOnRequest, TryOnResult
from app.engines.warp import lower, lower_layers, people, quality, targets, warping
from app.engines.warp.arrays import shrink
from app.engines.warp.garments import read_garment
from app.engines.warp.hands import with_hands
from app.engines.warp.networks import Networks
from app.engines.warp.parsing import parse
from app.engines.warp.pose import find_pose
from app.engines.warp.rims import with_rims
from app.engines.warp.scene import Scene, see
from app.engines.warp.values import Body, BottomOutline, Garment, Pose, Rgb, TopOutline
from app.engines.warp.wearing import Worn, WornBottom, WornTop
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
    on_picture: Callable[[str, Rgb], None] | None
    timings_s: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.perf_counter)

    def stage(self, name: str) -> None:
        """A stage begins here; `done` ends it."""
        self.context.check()
        self.context.progress(name, _STAGES.index(name) / len(_STAGES))
        self._begun = time.perf_counter()

    def done(self, name: str) -> None:
        self.timings_s[name] = time.perf_counter() - self._begun

    def show(self, name: str, picture: Callable[[], Rgb]) -> None:
        """What a stage has made, drawn only where somebody looks."""
        if self.on_picture is not None:
            self.on_picture(name, picture())


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
        run = _Run(context, on_picture)
        result = shrink(request.person, effort.result)
        photo = shrink(result, effort.photo)

        run.stage("pose")
        pose, body = find_pose(self._networks, photo)
        cautions = people.cautions(photo, pose, body)
        run.done("pose")

        fitting = self._fit(request, result, _Person(photo, pose, body), run)

        run.stage("composition")
        easel, noticed = fitting.worn.paint(request.seed)
        picture = easel.finish(result, fitting.worn.scene.place)
        run.done("composition")

        run.stage("quality")
        figure, doubts = quality.judge(noticed)
        codes = dict.fromkeys((*cautions, *fitting.cautions, *doubts))
        run.done("quality")
        return TryOnResult(
            picture=picture,
            seed=request.seed,
            quality=figure,
            timings_s=run.timings_s,
            warnings=tuple(quality.caution(code) for code in codes),
            category=fitting.category,
        )

    def _fit(self, request: TryOnRequest, result: Rgb, person: _Person, run: _Run) -> _Fitting:
        """From the garment's photo to the garment on the body.

        result: the person's photo at the size of the result.
        """
        effort = EFFORTS[request.mode]
        run.stage("garment")
        garment = read_garment(
            request.garment,
            category=request.category,
            photo_type=request.garment_photo_type,
            side=effort.garment,
            networks=self._networks,
        )
        people.check_hips(person.photo, person.body, garment.category)
        if isinstance(garment.outline, BottomOutline):
            lower.check_legs(person.photo, person.pose, garment.outline.kind)
        run.show("garment", lambda: _on_grey(garment))
        run.done("garment")

        run.stage("parsing")
        scene = self._see(result, person, garment.category, effort)
        run.show("parts", lambda: _coloured(scene))
        run.done("parsing")

        put_on = _put_on_bottom if garment.category == "bottoms" else _put_on_top
        return _Fitting(put_on(scene, garment, run), garment.category, garment.cautions)

    def _see(self, result: Rgb, person: _Person, category: Category, effort: Effort) -> Scene:
        parts = parse(self._networks, person.photo, person.pose, person.body)
        scene = see(
            result,
            pose=person.pose,
            body=person.body,
            parts=parts,
            category=category,
            side=effort.paint,
        )
        return with_hands(with_rims(scene))


@dataclass(frozen=True)
class _Person:
    """photo: at the size at which body and parts are found."""

    photo: Rgb
    pose: Pose
    body: Body


@dataclass(frozen=True)
class _Fitting:
    worn: Worn
    category: Category
    cautions: tuple[str, ...]


def _put_on_top(scene: Scene, garment: Garment, run: _Run) -> WornTop:
    if not isinstance(garment.outline, TopOutline):
        raise EngineError(FailureCode.GARMENT_UNSUPPORTED, stage="targets")
    run.stage("targets")
    target = targets.place_top(scene, garment)
    run.done("targets")
    run.stage("warping")
    layers = warping.warp_top(scene, garment, target)
    run.done("warping")
    return WornTop(scene, garment.outline, target, layers)


def _put_on_bottom(scene: Scene, garment: Garment, run: _Run) -> WornBottom:
    if not isinstance(garment.outline, BottomOutline):
        raise EngineError(FailureCode.GARMENT_UNSUPPORTED, stage="targets")
    run.stage("targets")
    target = lower.place_bottom(scene, garment)
    run.done("targets")
    run.stage("warping")
    layer = lower_layers.warp_bottom(scene, garment, target)
    run.done("warping")
    return WornBottom(scene, garment.outline, target, layer)


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
