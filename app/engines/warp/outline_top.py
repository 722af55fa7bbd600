"""The key points of tops and one-pieces: neck, shoulders, armpits, sleeves, sides, hem."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

import cv2
import numpy as np

from app.engines.warp.arrays import enlarged, length, unit
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
    pits, creases = _armpits(shape), None
    if pits is None and (creases := _creases(shape)) is not None:
        pits = {side: pit for side, (pit, _) in creases.items()}
    sleeved = pits is not None
    ends = {side: _first_end(shape, side, pits) for side in _SIGNS}
    necks = {side: _neck(shape, side, ends[side], sleeved=sleeved) for side in _SIGNS}
    level = float(np.mean([neck[1] for neck in necks.values()]))
    sides = {side: _side(shape, side, necks[side], ends[side], pits) for side in _SIGNS}
    if creases is not None:
        sides = {side: _creased(shape, sides[side], *creases[side]) for side in _SIGNS}
    elif pits is not None:
        sides = _alike(shape, sides, pits)
    hem = evenly(shape.arc(sides["left"].hem, sides["right"].hem), 9)
    return TopOutline(
        shape.centre_x,
        sides["left"],
        sides["right"],
        hem,
        neckline=None,
        sleeves=_sleeve_kind(shape, sides),
        collar_height=max(0.0, level - shape.top_at(shape.centre_x)),
        off_shoulder=sleeved and _is_off_shoulder(shape, sides),
        sure=1.0 if pits is None else min(pit.sure for pit in pits.values()),
    )


# --- armpits --------------------------------------------------------------------------------

_LEAST_DENT = 0.03
"""Depth of the dent under a sleeve, of the garment's width."""

_STEEPEST_SLEEVE = 0.45
"""Under a sleeve the outline comes in by this much of what it goes down, at least; down a waist
it comes in by less."""


@dataclass(frozen=True)
class _Pit:
    point: Point
    depth: float
    sure: float = 1.0


_Pits = dict[Side, _Pit]


def _armpits(shape: Shape) -> _Pits | None:
    """The deepest dent of the outline on each side, between sleeve and body.

    One that is missing or does not mirror the other is taken from the other side.
    """
    found: _Pits = {}
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
        other: Side = "right" if side == "left" else "left"
        found[other] = _Pit(_mirrored(shape, pit.point), pit.depth, sure=0.6)
    return found


def _mirrored(shape: Shape, point: Point) -> Point:
    """The contour's point nearest to where the other side has it."""
    goal = _point(2 * shape.centre_x - float(point[0]), float(point[1]))
    return cast("Point", shape.contour[shape.nearest(goal)])


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
        if depth / 256 < _LEAST_DENT * shape.width:
            continue
        side: Side = "left" if shape.contour[deepest, 0] < shape.centre_x else "right"
        # The contour runs clockwise: down the right side, up the left one.
        cuff = shape.contour[begin if side == "right" else end]
        for point in (shape.contour[deepest], _dent_before(shape, cuff, shape.contour[deepest])):
            down = (float(point[1]) - top) / shape.height
            from_axis = abs(float(point[0]) - shape.centre_x)
            if not 0.10 < down < 0.66 or from_axis < 0.12 * shape.width:
                continue
            if _is_under_sleeve(shape, _SIGNS[side], point, cuff):
                dents.append((side, _Pit(point, depth / 256)))
                break
    return dents


def _dent_before(shape: Shape, cuff: Point, waist: Point) -> Point:
    """The armpit, where a narrow waist is the deepest point between cuff and hem."""
    arc = shape.arc(cuff, waist)
    chord = unit(np.asarray(waist - cuff, np.float32))
    off = (arc - cuff) @ np.array([-chord[1], chord[0]], np.float32)
    inwards = np.sign(chord[1] * (shape.centre_x - float(cuff[0])))
    return cast("Point", arc[int(np.argmax(-off * inwards))])


def _is_under_sleeve(shape: Shape, sign: _Sign, pit: Point, cuff: Point) -> bool:
    """The outline comes to the dent from further out, and not just down a side."""
    out, up = sign * float(cuff[0] - pit[0]), float(pit[1] - cuff[1])
    return out > 0.02 * shape.width and out > _STEEPEST_SLEEVE * up


# --- sleeves that lie against the body ------------------------------------------------------

_STEP = 0.02
"""By how much, of the height, cuffs and hem end at different heights, where that shows sleeves."""

_CUFF_WIDTH = (0.06, 0.35)
"""Width of such a cuff, of the garment's."""

_ARMHOLE = 0.45
"""How far below the shoulder the armpit lies where nothing shows it, of the body's width."""


def _creases(shape: Shape) -> dict[Side, tuple[_Pit, Point]] | None:
    """Armpit, and the lower end of the crease between sleeve and body, on each side.

    Without a gap only the lower edge tells: the cuffs end higher or lower than the hem.
    """
    left, _, right, _ = shape.box
    hem = float(np.median([shape.bottom_at(shape.centre_x + d) for d in range(-8, 9)]))
    found: dict[Side, tuple[_Pit, Point]] = {}
    for side, sign in _SIGNS.items():
        half = (right - shape.centre_x) if sign > 0 else (shape.centre_x - left)
        out = np.arange(0.3 * half, 0.97 * half)
        bottom = np.array([shape.bottom_at(shape.centre_x + sign * d) for d in out])
        # A jump, not a curve: within 1.5 % of the width.
        reach = max(1, round(0.008 * shape.width))
        before = bottom[np.maximum(np.arange(len(out)) - reach, 0)]
        after = bottom[np.minimum(np.arange(len(out)) + reach, len(out) - 1)]
        away = np.abs(after - before) > _STEP * shape.height
        if not away.any():
            return None
        first = int(np.argmax(away))
        at = float(out[first])
        # The hem is level up to there, and the cuff beyond: round things are neither.
        hem_part, cuff_part = bottom[: max(1, first)], bottom[first + 2 * reach : -2 * reach]
        if (
            len(cuff_part) < 3
            or max(np.ptp(hem_part), np.ptp(cuff_part)) > 1.5 * _STEP * shape.height
        ):
            return None
        low, high = _CUFF_WIDTH
        if not low * shape.width < half - at < high * shape.width:
            return None
        x = shape.centre_x + sign * at
        shoulder = shape.top_at(shape.centre_x + sign * 0.9 * at)
        pit = _point(x, shoulder + _ARMHOLE * 2 * at)
        if pit[1] > hem - 0.1 * shape.height:
            return None
        found[side] = (_Pit(pit, 0.0, sure=0.6), _point(x, hem))
    return found


def _creased(shape: Shape, side: TopSide, pit: _Pit, hem: Point) -> TopSide:
    """The body ends at the crease, and so does the sleeve."""
    sign = np.sign(float(hem[0]) - shape.centre_x)
    x = np.arange(float(hem[0]), float(hem[0]) + sign * shape.width, sign)
    inside = [shape.mask[:, int(v)].any() for v in x if 0 <= v < shape.mask.shape[1]]
    inner = _point(float(hem[0]), shape.bottom_at(float(hem[0]) + 3 * sign))
    last = float(x[max(0, int(np.sum(inside)) - 1)])
    outer = shape.contour[shape.nearest(_point(last, float(inner[1])))]
    upper = shape.arc(side.tip, outer)
    middle = (side.tip + pit.point) / 2
    sleeve = SleeveOutline(
        outer=evenly(upper, 8),
        inner=evenly(np.stack([pit.point, inner]), 8),
        length=float(np.hypot(*((outer + inner) / 2 - middle))),
    )
    down = evenly(np.stack([pit.point, hem]), 9)
    return replace(side, pit=pit.point, side=down, hem=hem, sleeve=sleeve)


# --- shoulders ------------------------------------------------------------------------------


def _half(shape: Shape, side: Side) -> Points:
    """One side's contour, from the axis' top down to the axis' bottom."""
    contour, count = shape.contour, len(shape.contour)
    near_axis = np.abs(contour[:, 0] - shape.centre_x) <= 1.5
    if not near_axis.any():
        near_axis = np.abs(contour[:, 0] - shape.centre_x) <= 4
    on_axis = np.flatnonzero(near_axis) if near_axis.any() else np.arange(count)
    first = on_axis[np.argmin(contour[on_axis, 1])]
    last = on_axis[np.argmax(contour[on_axis, 1])]
    step = 1 if side == "right" else -1  # the contour runs clockwise
    steps = (last - first) * step % count
    return cast("Points", contour[(first + step * np.arange(steps + 1)) % count])


def _farthest(line: Points, begin: Point, end: Point, sign: float) -> tuple[Point, float]:
    """The line's point farthest from a chord, on its left for sign -1, and how far."""
    along = unit(np.asarray(end - begin, np.float32))
    off = sign * ((line - begin) @ np.array([-along[1], along[0]], np.float32))
    at = int(np.argmax(off))
    return line[at], float(off[at])


def _first_end(shape: Shape, side: Side, pits: _Pits | None) -> Point:
    """The shoulder's outer end.

    With sleeves: where the outline bends most between the upper edge and the cuff, about above the
    armpit. Without: the outer corner of the uppermost part.
    """
    sign = _SIGNS[side]
    half = _half(shape, side)
    if pits is None:
        _, top, _, _ = shape.box
        upper = half[half[:, 1] < top + 0.30 * shape.height]
        if not len(upper):  # the axis is low, under one slanting arm: `kinds` refuses it
            upper = half
        score = sign * (upper[:, 0] - shape.centre_x) - 2.0 * (upper[:, 1] - top)
        return cast("Point", upper[int(np.argmax(score))])
    pit = pits[side].point
    reach = sign * (float(pit[0]) - shape.centre_x)
    above = half[: 1 + int(np.argmin(((half - pit) ** 2).sum(1)))]
    out = sign * (above[:, 0] - shape.centre_x)
    cuff = above[int(np.argmax(out + 0.6 * (above[:, 1] - above[0, 1])))]
    arc = above[: 1 + int(np.argmin(((above - cuff) ** 2).sum(1)))]
    out = sign * (arc[:, 0] - shape.centre_x)
    allowed = arc[(out > 0.80 * reach) & (out < 1.15 * reach) & (arc[:, 1] < pit[1])]
    if len(allowed) < 2:
        x = shape.centre_x + sign * 1.05 * reach
        return _point(x, shape.top_at(x))
    start = arc[int(np.argmin(np.abs(out - 0.5 * reach)))]
    point, _ = _farthest(allowed, start, cuff, -sign)
    return point


_TURTLE = 0.025
"""A steep foot that lies lower under the line from the collar's corner to the shoulder than this,
of the height, is that of a standing collar."""


def _neck(shape: Shape, side: Side, end: Point, *, sleeved: bool) -> Point:
    """Where collar and shoulder line meet.

    The outline's corner over, or under, the chord from the centre's top to the shoulder's end; on
    a strap its inner corner.
    """
    half = _half(shape, side)
    arc = half[: 1 + int(np.argmin(((half - end) ** 2).sum(1)))]
    if len(arc) < 3:
        return end
    sign = _SIGNS[side]
    if not sleeved:
        upper = arc[arc[:, 1] < arc[:, 1].min() + 0.02 * shape.height]
        return cast("Point", upper[int(np.argmin(sign * upper[:, 0]))])
    corner, _ = _farthest(arc, arc[0], end, -sign)
    beyond = arc[int(np.argmin(((arc - corner) ** 2).sum(1))) :]
    if len(beyond) > 2:
        foot, under = _farthest(beyond, corner, end, sign)
        rise, out = float(foot[1] - corner[1]), sign * float(foot[0] - corner[0])
        if under > _TURTLE * shape.height and rise > 1.2 * out:
            return foot
    return corner


def _underarm(shape: Shape, side: Side, tip: Point) -> Point:
    """Without sleeves: where the armhole ends, the outermost corner between strap and waist."""
    half = _half(shape, side)
    _, top, _, _ = shape.box
    until = int(np.argmin(((half - tip) ** 2).sum(1)))
    arc = half[until:]
    arc = arc[(arc[:, 1] > tip[1]) & (arc[:, 1] < top + 0.6 * shape.height)]
    if len(arc) < 3:
        return tip
    point, off = _farthest(arc, tip, arc[-1], -_SIGNS[side])
    if off < 0.01 * shape.width:  # a straight side: a quarter of the way down
        return cast("Point", arc[len(arc) // 3])
    return point


def _is_off_shoulder(shape: Shape, sides: dict[Side, TopSide]) -> bool:
    """The upper edge is flat, and wider than the armpits are apart (1.7 times; other tops: 0.9)."""
    _, top, _, _ = shape.box
    edge = shape.central_run(top + 0.035 * shape.width)
    if edge is None:
        return False
    pits = float(sides["right"].pit[0] - sides["left"].pit[0])
    return bool(edge[1] - edge[0] > 1.3 * pits)


# --- one side -------------------------------------------------------------------------------


def _side(shape: Shape, side: Side, neck: Point, tip: Point, pits: _Pits | None) -> TopSide:
    sign = _SIGNS[side]
    pit = _underarm(shape, side, tip) if pits is None else pits[side].point
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
        sleeve=_sleeve(shape, tip, pit) if pits is not None else None,
    )


def _alike(shape: Shape, sides: dict[Side, TopSide], pits: _Pits) -> dict[Side, TopSide]:
    """Where one armpit was made up, so is all that hangs on it: a mirror image of the other."""

    def mirror(points: Points) -> Points:
        return (points * [-1, 1] + [2 * shape.centre_x, 0]).astype(np.float32)

    made_up = [side for side in _SIGNS if pits[side].sure < 1]
    if len(made_up) != 1:
        return sides
    (side,) = made_up
    true = sides["left" if side == "right" else "right"]
    sleeve = true.sleeve and SleeveOutline(
        mirror(true.sleeve.outer), mirror(true.sleeve.inner), true.sleeve.length
    )
    own = replace(sides[side], pit=mirror(true.pit), side=mirror(true.side), sleeve=sleeve)
    return sides | {side: replace(own, hem=mirror(true.hem))}


def _hem_corner(shape: Shape, sign: _Sign) -> Point:
    _, top, _, bottom = shape.box
    best, best_score = _point(shape.centre_x, bottom), -np.inf
    for y in np.arange(top + 0.55 * shape.height, bottom + 1):
        run = shape.central_run(y)
        if run is None or not run[0] <= shape.centre_x <= run[1]:
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
    middle = np.asarray((tip + pit) / 2, np.float32)
    opening = float(np.hypot(*(tip - pit)))
    reach = float(np.hypot(*(arc - middle).T).max())
    outer, inner = _far_corners(arc, tip, middle)
    across = float(np.hypot(*(arc[outer] - arc[inner])))
    astray = across < _LEAST_CUFF * opening or outer < _SHOULDER * len(arc)
    if reach < _NARROW * opening and astray:
        outer, inner = _cuff_corners(evenly(arc, _ARC_POINTS))
        outer, inner = (round(at * (len(arc) - 1) / (_ARC_POINTS - 1)) for at in (outer, inner))
    cuff = (arc[outer] + arc[inner]) / 2
    return SleeveOutline(
        outer=evenly(arc[: outer + 1], 8),
        inner=evenly(arc[inner:][::-1], 8),
        length=float(np.hypot(*(cuff - middle))),
    )


_ARC_POINTS = 64

_NARROW = 1.6
"""A sleeve this many times as long as its opening is wide has its cuff across its end."""

_LEAST_CUFF = 0.35
"""Width of a cuff over the sleeve's opening: both corners fell on one where it is less."""

_SHOULDER = 0.25
"""Of the outline from tip to armpit: no cuff begins so early. Where a sleeve is hardly longer than
the shoulder is round, the farthest points lie on the shoulder."""


def _far_corners(arc: Points, tip: Point, middle: Point) -> tuple[int, int]:
    """The points farthest along and across a long sleeve, outside and inside."""
    distance = np.hypot(*(arc - middle).T)
    axis = unit(arc[distance >= np.percentile(distance, 85)].mean(0) - middle)
    across = np.array([-axis[1], axis[0]], np.float32)
    if float((tip - middle) @ across) < 0:
        across = -across
    forward, sideways = (arc - middle) @ axis, (arc - middle) @ across
    outer = int(np.argmax(forward + 0.9 * sideways))
    inner = int(np.argmax(forward - 0.9 * sideways))
    return (outer, inner) if outer <= inner else (int(np.argmax(forward)),) * 2


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
    low, high = _CUFF_TO_OPENING
    unlike = np.abs(np.log(np.maximum(cuff, 1e-3) / np.clip(cuff, low, high)))
    score = turn[:, None] + turn[None, :] - unlike
    score[np.tril_indices(count, 3)] = -np.inf
    score[: round(_SHOULDER * count)], score[:, -1:] = -np.inf, -np.inf
    outer, inner = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(outer), int(inner)


_TURN_REACH = 5
"""Of 64 points: over how much of the outline a turn is measured."""
_TURN_AT_PIT = 0.9
_CUFF_TO_OPENING = (0.3, 0.7)
"""A cuff is about this long, compared with the seam from shoulder tip to armpit: 0.65 on cap
sleeves, 0.35 on ribbed or puffed ones, whose outline has a false corner where 0.6 was asked for."""
_LONG_SLEEVE = 1.0
"""Length of the outer rail over the shoulders' width: wide short sleeves reach 0.87, long ones of
wide garments 1.1."""

_LONG_BEYOND = 1.0
"""Length of a long sleeve over the width of its opening, at least: 1.8 and more on long ones, 0.82
and less on short ones, puffed ones among them, whose rail is long because it is round."""

_STRAP = 0.07
"""Width of a strap, of the garment's."""


def _sleeve_kind(shape: Shape, sides: dict[Side, TopSide]) -> SleeveKind:
    sleeves = [side.sleeve for side in sides.values() if side.sleeve is not None]
    if not sleeves:
        strap = np.mean([abs(side.tip[0] - side.neck[0]) for side in sides.values()])
        return "straps" if strap < _STRAP * shape.width else "none"
    shoulders = float(sides["right"].tip[0] - sides["left"].tip[0])
    reach = np.mean([length(sleeve.outer) for sleeve in sleeves])
    openings = [float(np.hypot(*(side.tip - side.pit))) for side in sides.values()]
    beyond = np.mean([sleeve.length for sleeve in sleeves]) > _LONG_BEYOND * np.mean(openings)
    return "long" if beyond and reach > _LONG_SLEEVE * shoulders else "short"


# --- the collar's front edge ----------------------------------------------------------------

_DEPTHS = np.linspace(0.12, 1.9, 60, dtype=np.float32)
"""How deep a neckline may reach, in half collar widths."""
_ROUNDNESS = np.array([1.0, 1.5, 2.2, 3.2], np.float32)
"""From a V to nearly square: y = depth (1 - |x|^p)."""


_LEAST_EDGE = 0.2
"""Score of a curve that is a collar: 0.25–0.8 on collars that one sees, 0.14 on prints below one
that is black on black."""


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
    if score[best] < _LEAST_EDGE:
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
        return enlarged(points, factor)

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
