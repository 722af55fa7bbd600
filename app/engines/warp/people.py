"""Which photos of people can be used, and what to tell the shopper about the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from app.engines import Category
from app.engines.warp.networks import Detection
from app.engines.warp.values import Body, Pose, Rgb
from app.errors import EngineError, FailureCode

STAGE = "person"

BODY_SCORE = 0.5
"""The detector's own threshold; noise, plain pictures, cups and cats gave no box at all."""

_POSE_SCORE = 0.6
"""Legs alone gave 0.35, the weakest whole person 0.94."""

_NARROWEST_SHOULDERS_PX = 48
_MOUTH_LEFT, _MOUTH_RIGHT = 9, 10
_LEFT_SHOULDER, _RIGHT_SHOULDER = 11, 12

_CHIN_BELOW_MOUTH = 0.18
"""In shoulder widths. A photo that ends at the chin shows what a collar needs."""

_TURNED = 0.15
"""The left shoulder's place to the right of the right one, in torso lengths: 0.6–0.7 from the
front, negative from behind."""


def check_found(bodies: Sequence[Detection]) -> None:
    """Raises EngineError(no_person) where the detector found nobody."""
    if not bodies:
        _refuse(FailureCode.NO_PERSON, log="the detector found no body")


def check_pose(photo: Rgb, pose: Pose, body: Body, bodies: Sequence[Detection]) -> None:
    """Raises EngineError where the photo cannot carry any garment."""
    if pose.score < _POSE_SCORE:
        _refuse(FailureCode.NO_PERSON, log=f"pose score {pose.score:.2f}")
    if len(bodies) > 1:
        _refuse(FailureCode.SEVERAL_PEOPLE, log=f"{len(bodies)} bodies")
    side = pose.points[_LEFT_SHOULDER] - pose.points[_RIGHT_SHOULDER]
    turned = float(body.up[0] * side[1] - body.up[1] * side[0]) / body.torso_length
    if turned < _TURNED:
        _refuse(FailureCode.PERSON_FROM_BEHIND, log=f"turned {turned:.2f}")
    height, width = photo.shape[:2]
    chin = (pose.points[_MOUTH_LEFT] + pose.points[_MOUTH_RIGHT]) / 2
    chin = chin - body.up * (_CHIN_BELOW_MOUTH * body.shoulder_width)
    needed = np.stack([chin, pose.points[_LEFT_SHOULDER], pose.points[_RIGHT_SHOULDER]])
    if (needed < 0).any() or (needed >= (width, height)).any():
        _refuse(FailureCode.BODY_OUT_OF_FRAME, log="chin or shoulders")
    if body.shoulder_width < _NARROWEST_SHOULDERS_PX:
        _refuse(FailureCode.IMAGE_TOO_SMALL, log=f"shoulders {body.shoulder_width:.0f} px")


def check_hips(photo: Rgb, body: Body, category: Category) -> None:
    """Raises EngineError(body_out_of_frame) where a garment needs hips that the photo lacks."""
    if category != "tops" and body.hips[1] > photo.shape[0]:
        _refuse(FailureCode.BODY_OUT_OF_FRAME, log="hips")


def cautions(photo: Rgb, body: Body) -> tuple[str, ...]:
    """Codes of what the shopper should know: `hips_out_of_frame`."""
    return ("hips_out_of_frame",) if body.hips[1] > photo.shape[0] else ()


def _refuse(code: FailureCode, detail: str = "", *, log: str) -> NoReturn:
    raise EngineError(code, detail, log=log, stage=STAGE)
