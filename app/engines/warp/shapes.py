"""Where the pose lets the parts of a body be, for each pixel of the person."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import unit
from app.engines.warp.values import Floats, Point
from app.engines.warp.view import View

_KNUCKLES_TO_TIPS = 1.75
"""Wrist to finger tips, in lengths from the wrist to the knuckles that the pose marks."""

_SHORTEST_FACE = 0.12
"""Eyes to mouth, in shoulder widths: a face turned down or away is not smaller than this."""


@dataclass(frozen=True)
class Shapes:
    """(n,) each, for the n pixels of the person, row by row.

    down: 0 at the shoulders, 1 at the hips. aside: from the spine, shoulder widths, unsigned.
    head, face, neck, upper_arms, forearms, hands, thighs, shins, feet: the distance from the
    middle of a part, 1 on its usual surface; head holds the hair of a short cut, too.
    above_mouth: along the face, 1 at the eyes.
    features: in the middle of the face, where nothing but skin is.
    """

    down: Floats
    aside: Floats
    head: Floats
    face: Floats
    neck: Floats
    upper_arms: Floats
    forearms: Floats
    hands: Floats
    thighs: Floats
    shins: Floats
    feet: Floats
    above_mouth: Floats
    features: NDArray[np.bool_]

    @classmethod
    def of(cls, view: View, inside: NDArray[np.bool_]) -> Shapes:
        rows, columns = np.nonzero(inside)
        x, y = columns.astype(np.float32), rows.astype(np.float32)
        p, width = view.points, np.float32(view.unit)
        eyes, mouth = (p[2] + p[5]) / 2, (p[9] + p[10]) / 2
        middle, axis = (eyes + mouth) / 2, mouth - eyes
        height = max(float(np.hypot(*axis)), _SHORTEST_FACE * view.unit)
        neck = np.stack([mouth + 0.45 * axis, view.body.shoulders + view.body.up * 0.16 * width])

        def both(joints: tuple[int, int], radii: tuple[float, float]) -> Floats:
            limbs = [
                _limb(x, y, p[joints[0] + side], p[joints[1] + side], radii, width)
                for side in (0, 1)
            ]
            return np.minimum(*limbs)

        hands = [
            _limb(x, y, p[15 + side], tip, radii, width)
            for side in (0, 1)
            for tip, radii in (
                (_tip(p[15 + side], (p[17 + side] + p[19 + side]) / 2), (0.10, 0.17)),
                (_tip(p[15 + side], p[21 + side]), (0.09, 0.09)),  # the thumb
            )
        ]
        return cls(
            down=view.body.down_torso(x, y),
            aside=np.asarray(np.abs(view.body.from_spine(x, y)) / width, np.float32),
            head=_ellipse(x, y, middle - 0.2 * axis, axis, 2.2 * height, 2.6 * height),
            face=_ellipse(x, y, middle - 0.1 * axis, axis, 1.18 * height, 1.5 * height),
            neck=_limb(x, y, neck[0], neck[1], (0.17, 0.22), width),
            upper_arms=both((11, 13), (0.175, 0.135)),
            forearms=both((13, 15), (0.135, 0.11)),
            hands=np.minimum.reduce(hands),
            thighs=both((23, 25), (0.30, 0.22)),
            shins=both((25, 27), (0.20, 0.13)),
            feet=np.minimum(both((27, 31), (0.14, 0.14)), both((29, 31), (0.14, 0.12))),
            above_mouth=np.asarray(
                ((mouth[0] - x) * axis[0] + (mouth[1] - y) * axis[1])
                / max(1e-3, float(axis @ axis)),
                np.float32,
            ),
            features=_features(view)[inside],
        )


def _ellipse(
    x: Floats, y: Floats, middle: Point, axis: Point, across: float, along: float
) -> Floats:
    """axis: the direction of the half axis `along`."""
    turn = unit(axis)
    x, y = x - middle[0], y - middle[1]
    u, v = x * turn[1] - y * turn[0], x * turn[0] + y * turn[1]
    return np.asarray(np.hypot(u / across, v / along), np.float32)


def _limb(
    x: Floats, y: Floats, a: Point, b: Point, radii: tuple[float, float], width: np.float32
) -> Floats:
    """The distance from a tapering limb; radii in shoulder widths."""
    bone = b - a
    t = ((x - a[0]) * bone[0] + (y - a[1]) * bone[1]) / max(1e-3, float(bone @ bone))
    t = np.clip(t, 0, 1)
    away = np.hypot(x - a[0] - t * bone[0], y - a[1] - t * bone[1])
    return np.asarray(away / (width * (radii[0] + t * (radii[1] - radii[0]))), np.float32)


def _tip(wrist: Point, knuckle: Point) -> Point:
    return np.asarray(wrist + (knuckle - wrist) * _KNUCKLES_TO_TIPS, np.float32)


def _features(view: View) -> NDArray[np.bool_]:
    """The polygon from the outer eyes to below the mouth."""
    p = view.points
    mouth, across = (p[9] + p[10]) / 2, p[10] - p[9]
    below = mouth + 0.2 * (mouth - (p[2] + p[5]) / 2)
    polygon = np.stack([p[2], p[5], p[10] + 0.3 * across, below, p[9] - 0.3 * across])
    mask = np.zeros(view.shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(polygon.astype(np.int32)), 1)
    return mask > 0
