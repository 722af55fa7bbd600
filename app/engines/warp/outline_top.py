"""The key points of tops and one-pieces: neck, shoulders, armpits, sleeves, sides, hem."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

import cv2
import numpy as np

from app.engines.warp.arrays import length, unit
from app.engines.warp.contours import Shape, evenly
from app.engines.warp.values import (
    Floats,
    Mask,
    Point,
    Points,
    Side,
    SleeveKind,
    SleeveOutline,
    TopOutline,
    TopSide,
)

_Sign = Literal[-1, 1]
_SIGNS: dict[Side, _Sign] = {"left": -1, "right": 1}


def _point(x: float, y: float) -> Point:
    return np.array([x, y], np.float32)


def read_top(shape: Shape) -> TopOutline:
    """All key points, in pixels of the shape's mask; the neckline is left out (`fit_neckline`)."""
    pits = _armpits(shape)
    sleeved = pits is not None
    if pits is None:
        pits = {side: _armhole(shape, side) for side in _SIGNS}
    half = (float(pits["right"].point[0]) - float(pits["left"].point[0])) / 2
    sides = {side: _side(shape, side, pits[side].point, half, sleeved) for side in _SIGNS}
    hem = evenly(shape.arc(sides["left"].hem, sides["right"].hem), 9)
    kind = _sleeve_kind(shape, sides)
    neck_y = (sides["left"].neck[1] + sides["right"].neck[1]) / 2
    return TopOutline(
        shape.centre_x,
        sides["left"],
        sides["right"],
        hem,
        neckline=None,
        sleeves=kind,
        collar_height=max(0.0, float(neck_y) - shape.top_at(shape.centre_x)),
        sure=min(pits["left"].sure, pits["right"].sure),
    )


# --- armpits --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pit:
    point: Point
    depth: float
    sure: float = 1.0


def _armpits(shape: Shape) -> dict[Side, _Pit] | None:
    """The deepest dent of the outline on each side, between sleeve and body.

    One that is missing or does not mirror the other is taken from the other side.
    """
    found: dict[Side, _Pit] = {}
    for side, pit in _dents(shape):
        if side not in found or pit.depth > found[side].depth:
            found[side] = pit
    if len(found) == 2:
        left, right = found["left"], found["right"]
        skew = abs((left.point[0] + right.point[0]) / 2 - shape.centre_x)
        step = abs(left.point[1] - right.point[1])
        if skew > 0.05 * shape.width or step > 0.08 * shape.height:
            del found["left" if left.depth < right.depth else "right"]
    if not found:
        return None
    if len(found) == 1:
        ((side, pit),) = found.items()
        mirrored = _point(2 * shape.centre_x - float(pit.point[0]), float(pit.point[1]))
        other: Side = "right" if side == "left" else "left"
        at = shape.contour[shape.nearest(mirrored)]
        found[other] = _Pit(at, pit.depth, sure=0.6)
    return found


def _dents(shape: Shape) -> list[tuple[Side, _Pit]]:
    rounded = np.round(shape.contour).astype(np.int32).reshape(-1, 1, 2)
    hull = cv2.convexHull(rounded, returnPoints=False)
    hull[::-1].sort(axis=0)
    defects = cv2.convexityDefects(rounded, hull)
    dents: list[tuple[Side, _Pit]] = []
    if defects is None:
        return dents
    _, top, _, _ = shape.box
    for begin, end, deepest, depth in defects.reshape(-1, 4):
        point = shape.contour[deepest]
        down = (float(point[1]) - top) / shape.height
        from_axis = abs(float(point[0]) - shape.centre_x)
        if depth / 256 < 0.035 * shape.width or not 0.10 < down < 0.66:
            continue
        if from_axis < 0.12 * shape.width:
            continue
        ends = shape.contour[[begin, end], 0]
        if np.all(np.abs(ends - shape.centre_x) < 1.02 * from_axis):
            continue  # it opens towards the axis
        side: Side = "left" if point[0] < shape.centre_x else "right"
        dents.append((side, _Pit(point, depth / 256)))
    return dents


def _armhole(shape: Shape, side: Side) -> _Pit:
    """Without sleeves: where the side is first about as wide as it gets in the upper half."""
    sign = _SIGNS[side]
    _, top, _, _ = shape.box
    half = shape.contour[
        ((shape.contour[:, 0] - shape.centre_x) * sign > 0)
        & (shape.contour[:, 1] < top + 0.45 * shape.height)
    ]
    if not len(half):
        half = shape.contour
    out = (half[:, 0] - shape.centre_x) * sign
    wide = half[out > 0.94 * np.percentile(out, 96)]
    at = int(np.argmin(np.abs(wide[:, 1] - np.percentile(wide[:, 1], 12))))
    return _Pit(wide[at], 0.0, sure=0.8)


# --- one side -------------------------------------------------------------------------------


def _side(shape: Shape, side: Side, pit: Point, half: float, sleeved: bool) -> TopSide:
    sign = _SIGNS[side]
    neck = _neck(shape, sign, half)
    if sleeved:
        tip_x = shape.centre_x + 1.07 * (float(pit[0]) - shape.centre_x)
        tip = _point(tip_x, shape.top_at(tip_x))
    else:
        tip = _strap_end(shape, sign, neck, pit)
    shoulder_x = np.linspace(float(neck[0]), float(tip[0]), 5)[1:4]
    shoulder = np.stack([shoulder_x, [shape.top_at(x) for x in shoulder_x]], 1)
    hem = _hem_corner(shape, sign)
    return TopSide(
        neck=neck,
        tip=tip,
        pit=pit,
        shoulder=shoulder.astype(np.float32),
        side=evenly(shape.arc(pit, hem), 9),
        hem=hem,
        sleeve=_sleeve(shape, tip, pit) if sleeved else None,
    )


def _neck(shape: Shape, sign: _Sign, half: float) -> Point:
    """The point that rises highest over the chord from the centre's top to the shoulder."""
    x = shape.centre_x + sign * np.linspace(0.06, 1.05, 60) * half
    y = np.array([shape.top_at(value) for value in x])
    chord = y[0] + np.linspace(0, 1, 60) * (y[-1] - y[0])
    at = int(np.argmax(chord - y))
    return _point(x[at], y[at])


def _strap_end(shape: Shape, sign: _Sign, neck: Point, pit: Point) -> Point:
    contour = shape.contour
    out = (contour[:, 0] - shape.centre_x) * sign
    limit = float(neck[1]) + 0.06 * shape.height
    near_top = contour[(out > 0) & (contour[:, 1] < limit) & (contour[:, 1] < pit[1])]
    if not len(near_top):
        return neck
    return cast("Point", near_top[int(np.argmax((near_top[:, 0] - shape.centre_x) * sign))])


def _hem_corner(shape: Shape, sign: _Sign) -> Point:
    _, top, _, bottom = shape.box
    best, best_score = _point(shape.centre_x, bottom), -np.inf
    for y in np.arange(top + 0.55 * shape.height, bottom + 1):
        run = shape.central_run(y)
        if run is None:
            continue
        x = run[0] if sign < 0 else run[1]
        score = y + 0.8 * sign * (x - shape.centre_x)
        if score > best_score:
            best, best_score = _point(x, y), score
    return cast("Point", shape.contour[shape.nearest(best)])


# --- sleeves --------------------------------------------------------------------------------


def _sleeve(shape: Shape, tip: Point, pit: Point) -> SleeveOutline:
    """Rails from tip and armpit to the cuff's corners."""
    arc = shape.arc(tip, pit)
    outer, inner = _cuff_corners(evenly(arc, _ARC_POINTS))
    outer, inner = (round(at * (len(arc) - 1) / (_ARC_POINTS - 1)) for at in (outer, inner))
    middle, cuff = (tip + pit) / 2, (arc[outer] + arc[inner]) / 2
    return SleeveOutline(
        outer=evenly(arc[: outer + 1], 8),
        inner=evenly(arc[inner:][::-1], 8),
        length=float(np.hypot(*(cuff - middle))),
    )


_ARC_POINTS = 64


def _cuff_corners(arc: Points) -> tuple[int, int]:
    """The two corners of a sleeve's outline: its sharpest turns that a cuff can lie between.

    Farthest along and across the sleeve was tried: on short, wide sleeves the cuff leans so much
    that both corners fell on its outer end.
    """
    count = len(arc)
    at = np.arange(count)
    before, after = np.maximum(at - _TURN_REACH, 0), np.minimum(at + _TURN_REACH, count - 1)
    come, leave = arc - arc[before], arc[after] - arc
    turn = np.arctan2(come[:, 0] * leave[:, 1] - come[:, 1] * leave[:, 0], (come * leave).sum(1))
    turn *= np.sign(turn[8:-8].sum()) or 1
    # Where the cuff reaches the body the armpit is the inner corner, though it turns the other way.
    turn[-4:] = np.maximum(turn[-4:], _TURN_AT_PIT)
    opening = float(np.hypot(*(arc[-1] - arc[0])))
    cuff = np.hypot(*(arc[None] - arc[:, None]).transpose(2, 0, 1)) / max(opening, 1)
    unlike = np.abs(np.log(np.maximum(cuff, 1e-3) / _CUFF_TO_OPENING))
    score = turn[:, None] + turn[None, :] - unlike
    score[np.tril_indices(count, 3)] = -np.inf
    score[: count // 4], score[:, -1:] = -np.inf, -np.inf
    outer, inner = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(outer), int(inner)


_TURN_REACH = 5
"""Of 64 points: over how much of the outline a turn is measured."""
_TURN_AT_PIT = 0.9
_CUFF_TO_OPENING = 0.6
"""A cuff is about this long, compared with the seam from shoulder tip to armpit."""


def _sleeve_kind(shape: Shape, sides: dict[Side, TopSide]) -> SleeveKind:
    sleeves = [side.sleeve for side in sides.values() if side.sleeve is not None]
    if not sleeves:
        strap = np.mean([abs(side.tip[0] - side.neck[0]) for side in sides.values()])
        return "straps" if strap < 0.06 * shape.width else "none"
    shoulders = float(sides["right"].tip[0] - sides["left"].tip[0])
    return "long" if np.mean([sleeve.length for sleeve in sleeves]) > 0.75 * shoulders else "short"


# --- the collar's front edge ----------------------------------------------------------------

_DEPTHS = np.linspace(0.12, 1.9, 60, dtype=np.float32)
"""How deep a neckline may reach, in half collar widths."""
_ROUNDNESS = np.array([1.0, 1.5, 2.2, 3.2], np.float32)
"""From a V to nearly square: y = depth (1 - |x|^p)."""


def fit_neckline(picture: Floats, alpha: Mask, outline: TopOutline) -> Points | None:
    """The front collar's edge: the curve of a small family that lies best on edges.

    A free path jumped to prints; four shapes at sixty depths cannot. All in the picture's pixels.
    """
    left, right = outline.left.neck, outline.right.neck
    half = float(np.hypot(*(right - left))) / 2
    if half < 4:
        return None
    edges, covered, origin, scale = _collar_edges(
        picture, alpha, np.asarray((left + right) / 2, np.float32), half
    )
    x = np.linspace(-1, 1, 61, dtype=np.float32)
    across = unit(right - left)
    down = np.array([-across[1], across[0]], np.float32)
    drop = _DEPTHS[:, None, None] * (1 - np.abs(x) ** _ROUNDNESS[None, :, None])
    curves = (
        ((left + right) / 2 - origin)
        + (x * 0.97 * half)[None, None, :, None] * across
        + (drop * half)[..., None] * down
    ).reshape(-1, len(x), 2) * scale
    inner = curves[:, 6:-6].astype(np.float32)
    on_edge = cv2.remap(edges, inner[..., 0], inner[..., 1], cv2.INTER_LINEAR)
    inside = cv2.remap(covered, inner[..., 0], inner[..., 1], cv2.INTER_LINEAR)
    score = 0.5 * on_edge.mean(1) + 0.5 * np.percentile(on_edge, 25, axis=1)
    score -= 0.1 * np.abs(np.repeat(_DEPTHS, len(_ROUNDNESS)) - 0.55)
    score -= 0.3 * (inside < 0.5).mean(1)
    best = int(np.argmax(score))
    if score[best] < 0.10:
        return None
    return np.asarray(curves[best] / scale + origin, np.float32)


def _collar_edges(
    picture: Floats, alpha: Mask, centre: Point, half: float
) -> tuple[Mask, Mask, Point, float]:
    """How strong edges are around the collar, 0–1, coverage, and that crop's origin and scale."""
    height, width = alpha.shape
    x0, x1 = int(max(0, centre[0] - 1.4 * half)), int(min(width, centre[0] + 1.4 * half) + 1)
    y0, y1 = int(max(0, centre[1] - 0.8 * half)), int(min(height, centre[1] + 2.4 * half) + 1)
    scale = min(1.0, 160 / max(x1 - x0, y1 - y0))
    crop = picture[y0:y1, x0:x1].astype(np.uint8)
    size = (max(4, round((x1 - x0) * scale)), max(4, round((y1 - y0) * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    covered = cv2.resize(alpha[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    colours = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32), (0, 0), 1)
    steps = cv2.magnitude(
        cv2.Sobel(colours, -1, 1, 0).reshape(-1, 3), cv2.Sobel(colours, -1, 0, 1).reshape(-1, 3)
    )
    strength = steps.sum(1).reshape(size[1], size[0])
    strength /= float(np.percentile(strength[covered > 0.5], 97)) + 1e-3 if covered.any() else 1
    return np.minimum(strength, 1), cast("Mask", covered), _point(x0, y0), scale


def scaled(outline: TopOutline, factor: float, neckline: Points | None = None) -> TopOutline:
    """The same outline in pixels of a picture `factor` times as large."""

    def scale(points: Points) -> Points:
        return ((points + 0.5) * factor - 0.5).astype(np.float32)

    def side(of: TopSide) -> TopSide:
        sleeve = of.sleeve and SleeveOutline(
            scale(of.sleeve.outer), scale(of.sleeve.inner), of.sleeve.length * factor
        )
        return TopSide(
            neck=scale(of.neck),
            tip=scale(of.tip),
            pit=scale(of.pit),
            shoulder=scale(of.shoulder),
            side=scale(of.side),
            hem=scale(of.hem),
            sleeve=sleeve,
        )

    return replace(
        outline,
        centre_x=(outline.centre_x + 0.5) * factor - 0.5,
        left=side(outline.left),
        right=side(outline.right),
        hem=scale(outline.hem),
        neckline=neckline,
        collar_height=outline.collar_height * factor,
    )


def sleeve_length(outline: TopOutline) -> float:
    """Of the longer sleeve, along its outer rail; 0 without."""
    return max(
        (length(s.sleeve.outer) for s in (outline.left, outline.right) if s.sleeve), default=0.0
    )
