"""The key points of bottoms: waist, outer edges, crotch, inner edges, hems."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import cast

import numpy as np

from app.engines.warp.arrays import enlarged
from app.engines.warp.contours import Shape, evenly
from app.engines.warp.values import BottomOutline, Point, Points

_CROTCH_DOWN = (0.12, 0.75)
"""Where between waist and hem two legs may part: high on trousers, low on shorts."""


def find_crotch(shape: Shape) -> Point | None:
    """Where the legs part: the top of a gap near the axis that is open to below; None on skirts."""
    _, top, _, bottom = shape.box
    gap_top = None
    misses = 0
    for y in np.arange(bottom - 0.06 * shape.height, top + _CROTCH_DOWN[0] * shape.height, -1):
        gap = _gap(shape, y)
        if gap is None:
            misses += 1
            if misses > 0.02 * shape.height or gap_top is None:
                break
            continue
        misses, gap_top = 0, np.array([gap, y], np.float32)
    if gap_top is None or bottom - gap_top[1] < 0.08 * shape.height:
        return None
    above = np.arange(top + 0.1 * shape.height, gap_top[1])
    if len(above) and np.mean([len(shape.runs(y)) >= 3 for y in above]) > 0.25:
        return None  # a hem between two hanging sleeves
    return gap_top


def _gap(shape: Shape, y: float) -> float | None:
    """x of the middle of the gap between two runs either side of the axis."""
    runs = shape.runs(y)
    for left, right in pairwise(runs):
        middle = (left[1] + right[0]) / 2
        if abs(middle - shape.centre_x) < 0.15 * shape.width:
            return middle
    return None


def read_bottom(shape: Shape) -> BottomOutline:
    """All key points, in pixels of the shape's mask."""
    left_top, right_top = _waist_corner(shape, -1), _waist_corner(shape, 1)
    left_hem, right_hem = _outer_hem(shape, -1), _outer_hem(shape, 1)
    waist = evenly(shape.arc(left_top, right_top), 5)
    left = evenly(shape.arc(left_top, left_hem), 9)
    right = evenly(shape.arc(right_top, right_hem), 9)
    crotch = find_crotch(shape)
    if crotch is None:
        hem = evenly(shape.arc(left_hem, right_hem), 9)
        return BottomOutline("skirt", waist, left, right, hem, sure=shape.symmetry)
    at = shape.contour[shape.nearest(crotch)]
    inner_left, inner_right = _inner_hem(shape, at, -1), _inner_hem(shape, at, 1)
    hip = float(right_top[0] - left_top[0])
    leg = float((inner_left[1] + inner_right[1]) / 2 - at[1])
    return BottomOutline(
        "trousers" if leg > 0.8 * hip else "shorts",
        waist,
        left,
        right,
        hem=evenly(np.stack([left_hem, inner_left, inner_right, right_hem]), 9),
        crotch=at,
        inner_left=evenly(shape.arc(at, inner_left), 9),
        inner_right=evenly(shape.arc(at, inner_right), 9),
        sure=shape.symmetry,
    )


def _waist_corner(shape: Shape, sign: int) -> Point:
    _, top, _, _ = shape.box
    upper = shape.contour[shape.contour[:, 1] < top + 0.2 * shape.height]
    score = sign * (upper[:, 0] - shape.centre_x) - 1.5 * (upper[:, 1] - top)
    return cast("Point", upper[int(np.argmax(score))])


def _outer_hem(shape: Shape, sign: int) -> Point:
    _, _, _, bottom = shape.box
    lower = shape.contour[
        (shape.contour[:, 1] > bottom - 0.25 * shape.height)
        & ((shape.contour[:, 0] - shape.centre_x) * sign > 0)
    ]
    if not len(lower):  # it stands on one side of its axis: no garment, which `kinds` says
        lower = shape.contour
    score = 0.8 * sign * (lower[:, 0] - shape.centre_x) + lower[:, 1]
    return cast("Point", lower[int(np.argmax(score))])


def _inner_hem(shape: Shape, crotch: Point, sign: int) -> Point:
    _, _, _, bottom = shape.box
    lower = shape.contour[
        (shape.contour[:, 1] > crotch[1])
        & (shape.contour[:, 1] > bottom - 0.25 * shape.height)
        & ((shape.contour[:, 0] - crotch[0]) * sign > 0)
    ]
    if not len(lower):
        return crotch
    score = lower[:, 1] - 0.8 * sign * (lower[:, 0] - float(crotch[0]))
    return cast("Point", lower[int(np.argmax(score))])


def scaled(outline: BottomOutline, factor: float) -> BottomOutline:
    """The same outline in pixels of a picture `factor` times as large."""

    def scale(points: Points) -> Points:
        return enlarged(points, factor)

    def scale_if(points: Points | None) -> Points | None:
        return None if points is None else scale(points)

    return replace(
        outline,
        waist=scale(outline.waist),
        left=scale(outline.left),
        right=scale(outline.right),
        hem=scale(outline.hem),
        crotch=scale_if(outline.crotch),
        inner_left=scale_if(outline.inner_left),
        inner_right=scale_if(outline.inner_right),
    )
