"""What engines need and do not make themselves: person checks, pose, mask, category.

One step before the engine, in its own process, on the networks of `warp`. Models refuse nothing:
asked to dress a wall they draw a wall, so "no person" and "several people" are said here.
Imported where an engine asks for it: OpenCV and the networks come along.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines import Category, Need, TryOnRequest
from app.engines import Pose as PublicPose
from app.engines.warp import people, weights
from app.engines.warp.arrays import capsules, disc, resize, shrink
from app.engines.warp.garments import read_garment
from app.engines.warp.networks import Networks
from app.engines.warp.parsing import parse
from app.engines.warp.pose import find_pose
from app.engines.warp.scene import FINGER, WRIST
from app.engines.warp.values import SIDES, Body, Mask, Parts, Pose, Rgb
from app.errors import EngineError, FailureCode

STAGE = "preflight"

_WORKING_SIDE = 1024
"""The long side of the photo in which people and their parts are found, pixels."""

_GARMENT_SIDE = 512

_MARGIN = 0.08
"""Shoulder widths around the old clothes: the new ones are cut differently."""

_HAND = 0.16
"""Shoulder widths: the radius of a hand around the line from wrist to finger tips."""

_NOSE, _MOUTH = 0, (9, 10)


class Preflight:
    """needs: of the engine's info. folder: of the model files. Raises EngineUnavailable."""

    def __init__(self, needs: Collection[Need], folder: Path) -> None:
        self._needs = frozenset(needs)
        weights.verify(folder)
        self.weights = weights.STATED
        self._networks = Networks(folder)

    def prepare(self, request: TryOnRequest) -> TryOnRequest:
        """The request with what is needed.

        Raises EngineError: no_person, several_people and the other refusals of `people`; those of
        garments, where the category is needed and was left open.
        """
        photo = shrink(request.person, _WORKING_SIDE)
        pose, body = find_pose(self._networks, photo)
        found: dict[str, Any] = {}
        if self._needs & {"mask", "category"}:
            category = self._category(request)
            people.check_hips(photo, body, category)
            found["category"] = category
            if "mask" in self._needs:
                parts = parse(self._networks, photo, pose, body)
                found["mask"] = _enlarged(_mask(parts, pose, body, category), request.person)
        if "pose" in self._needs:
            found["pose"] = _public(pose, request.person.shape[1] / photo.shape[1])
        return replace(request, **found)

    def _category(self, request: TryOnRequest) -> Category:
        if request.category != "auto":
            return request.category
        if request.garment_photo_type == "model":
            raise EngineError(
                FailureCode.GARMENT_UNSUPPORTED,
                "Say what kind of garment it is: somebody wears it in its picture.",
                log="category auto, photo type model",
                stage=STAGE,
            )
        garment = read_garment(
            request.garment,
            category="auto",
            photo_type=request.garment_photo_type,
            side=_GARMENT_SIDE,
            networks=self._networks,
        )
        return garment.category


def _public(pose: Pose, scale: float) -> PublicPose:
    points = np.asarray(pose.points * scale, np.float32)
    return PublicPose(points, pose.presence.copy(), pose.visibility.copy())


def _mask(parts: Parts, pose: Pose, body: Body, category: Category) -> NDArray[np.uint8]:
    """255 where the garment may come: the old clothes of its place and the skin beside, wider."""
    upper = parts.upper + parts.arms + _below_chin(parts.face, pose, body)
    lower = parts.lower + parts.legs
    place = {"tops": upper, "bottoms": lower, "one-pieces": upper + lower}[category]
    reach = max(3, 2 * round(_MARGIN * body.shoulder_width) + 1)
    wide = cv2.dilate((place > 0.5).astype(np.uint8), disc(reach))
    kept = parts.face - _below_chin(parts.face, pose, body) + parts.hair + parts.feet
    hands = _hands(pose, body, *parts.person.shape)
    return np.asarray(np.where((kept > 0.5) | (hands > 0), 0, wide * 255), np.uint8)


def _below_chin(face: Mask, pose: Pose, body: Body) -> Mask:
    """Of the face's skin, which goes down to the chest: what lies below the chin."""
    mouth = pose.points[list(_MOUTH)].mean(0)
    nose = pose.points[_NOSE]
    # From the mouth on as far again as from the nose to the mouth, and a little: the chin.
    chin = mouth + 1.3 * (mouth - nose)
    y, x = np.mgrid[0 : face.shape[0], 0 : face.shape[1]].astype(np.float32)
    below = (x - chin[0]) * -body.up[0] + (y - chin[1]) * -body.up[1] > 0
    return np.asarray(np.where(below, face, 0), np.float32)


def _hands(pose: Pose, body: Body, height: int, width: int) -> Mask:
    radius = _HAND * body.shoulder_width
    hands = np.zeros((height, width), np.float32)
    for side in SIDES:
        wrist, finger = pose.points[WRIST[side]], pose.points[FINGER[side]]
        line = np.stack([wrist + 0.3 * (finger - wrist), wrist + 1.6 * (finger - wrist)])
        radii = np.asarray([0.6 * radius, radius], np.float32)
        hands[capsules(line.astype(np.float32), radii, height, width) < 1] = 1
    return hands


def _enlarged(mask: NDArray[np.uint8], person: Rgb) -> NDArray[np.uint8]:
    height, width = person.shape[:2]
    soft = resize(mask.astype(np.float32), height, width)
    return np.asarray(np.where(soft > 127, 255, 0), np.uint8)
