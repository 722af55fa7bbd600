"""Whether an outline is that of a garment, and of which kind.

Garments laid flat are their own mirror image, end in hems, and open for a neck or a waist; most
other things fail one of these. Each check names what it misses, for the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np

from app.engines.warp.contours import Shape
from app.engines.warp.values import BottomOutline, Points, TopOutline

_SYMMETRY = 0.82
"""Overlap with the mirror image, once it hangs straight: garments 0.91 and more."""

_SAG = 0.145
"""A hem is straight or a shallow curve: it leaves its chord by this much of its width, at most;
dresses by 0.11, a circle's lowest quarter by 0.21."""

_HANDLE = 0.03
"""Of the area: holes on one side only, as a mug's handle has. Garments: 0.00; sleeves that touch
the body close a gap, but both do."""

_THIN_BODY = 0.5
"""Over the armpits' distance, between armpits and hem: garments 0.57 and more, lamps and chairs
0.1."""

_NO_ARMHOLE = 0.9
"""Between the outer ends of the shoulders, over the armpits' distance, without sleeves: garments
0.65–0.82; cushions, books and boxes 0.98 and more."""

_RECTANGLE = 0.95
"""Of the upright or leaning box around it that a skirt fills: 0.80–0.93; towels and phones 0.97."""

_STEP_OF_HIPS = 0.09
"""Between waist and crotch, of the hips: trousers 0.04, a head over a body 0.5, boots 0.2."""

_STRAIGHT_WAIST = 0.95
"""The waist over the hips: trousers and shorts 0.75–0.86; two things side by side 0.97 and more."""

DRESS = 2.6
"""`length_of` from which on a garment is a one-piece: tops up to 2.3, dresses from 2.9."""


def doubts_about_top(shape: Shape, outline: TopOutline) -> list[str]:
    """What is not as on a top or dress; empty for one that is."""
    return [name for name, wrong in _top_checks(shape, outline) if wrong]


def _top_checks(shape: Shape, outline: TopOutline) -> Iterator[tuple[str, bool]]:
    left, right = outline.left, outline.right
    chest = max(1.0, float(right.pit[0] - left.pit[0]))
    hem = float(right.hem[0] - left.hem[0])
    pit_y = float(left.pit[1] + right.pit[1]) / 2
    hem_y = float(left.hem[1] + right.hem[1]) / 2
    neck_y = float(left.neck[1] + right.neck[1]) / 2
    neck = float(right.neck[0] - left.neck[0])
    yield "symmetry", shape.symmetry < _SYMMETRY
    yield "handle", _lone_holes(shape) > _HANDLE
    yield "thin", _thinnest(shape, pit_y, hem_y) < _THIN_BODY * chest
    yield "chest", chest < 0.25 * shape.width
    yield "hem width", not 0.7 < hem / chest < 3.5
    yield "hem", _sag(outline.hem) > _SAG
    yield "length", not 0.3 < (hem_y - pit_y) / chest < 5
    yield "neck", not 0.15 < neck / chest < 1.6
    yield "armhole", not 0.08 < (pit_y - neck_y) / chest < 1.4
    yield "levels", abs(float(left.pit[1] - right.pit[1])) > 0.12 * shape.height
    yield "collar", outline.collar_height > 0.55 * chest or _is_peaked(shape, outline)
    if outline.sleeves in ("none", "straps"):
        yield "no neck opening", _opening(shape, outline) < 0.02 * chest
        yield "strap", _is_peaked(shape, outline)
        yield "no armholes", float(right.tip[0] - left.tip[0]) > _NO_ARMHOLE * chest
    else:
        yield "sleeves", _are_odd_sleeves(outline, chest)


def _lone_holes(shape: Shape) -> float:
    """The share of holes that have no counterpart on the other side, of the shape's area."""
    ground = np.pad(1 - shape.mask, 1, constant_values=1)
    _, parts = cv2.connectedComponents(ground, connectivity=4)
    holes = (parts > 1)[1:-1, 1:-1]  # the one around comes first: it has the corner
    x = np.arange(holes.shape[1])
    mirrored = np.round(2 * shape.centre_x - x).astype(int)
    inside = (mirrored >= 0) & (mirrored < len(x))
    lone = holes.copy()
    lone[:, inside] &= ~holes[:, mirrored[inside]]
    return float(lone.sum()) / max(1, int(shape.mask.sum()))


def _thinnest(shape: Shape, above: float, below: float) -> float:
    """The least width of the middle part between two heights, pixels; their ends do not count."""
    rows = above + (below - above) * np.linspace(0.1, 0.9, 16)
    runs = [shape.central_run(float(y)) for y in rows]
    return min((float(run[1] - run[0] + 1) if run else 0.0 for run in runs), default=0.0)


def _sag(line: Points) -> float:
    """How far a line leaves its chord, over the chord's length."""
    chord = line[-1] - line[0]
    width = float(np.hypot(*chord))
    if width < 1:
        return 1.0
    off = (line - line[0]) @ np.array([-chord[1], chord[0]], np.float32) / width
    return float(np.abs(off).max()) / width


def _opening(shape: Shape, outline: TopOutline) -> float:
    """How deep the upper edge dips between the neck corners, pixels."""
    left, right = outline.left.neck, outline.right.neck
    between = np.arange(float(left[0]), float(right[0]))
    lowest = max((shape.top_at(x) for x in between), default=0.0)
    return lowest - float(left[1] + right[1]) / 2


def _is_peaked(shape: Shape, outline: TopOutline) -> bool:
    """What rises over the neck corners is a point, no collar."""
    if outline.collar_height < 0.03 * shape.height:
        return False
    _, top, _, _ = shape.box
    run = shape.central_run(top + 0.25 * outline.collar_height)
    neck = float(outline.right.neck[0] - outline.left.neck[0])
    return run is None or run[1] - run[0] < 0.45 * neck


def _are_odd_sleeves(outline: TopOutline, chest: float) -> bool:
    for side in (outline.left, outline.right):
        if side.sleeve is None:
            continue
        opening = float(np.hypot(*(side.tip - side.pit)))
        cuff = float(np.hypot(*(side.sleeve.outer[-1] - side.sleeve.inner[-1])))
        if side.tip[1] > side.pit[1] or not 0.1 < opening / chest < 1.3:
            return True
        if cuff < 0.15 * opening or side.sleeve.length > 3.5 * chest:
            return True
    return False


def doubts_about_bottom(shape: Shape, outline: BottomOutline) -> list[str]:
    """What is not as on trousers, shorts or a skirt; empty for one that is."""
    checks = _skirt_checks if outline.kind == "skirt" else _leg_checks
    return [name for name, wrong in checks(shape, outline) if wrong]


def _leg_checks(shape: Shape, outline: BottomOutline) -> Iterator[tuple[str, bool]]:
    if outline.crotch is None or outline.inner_left is None or outline.inner_right is None:
        yield "legs", True
        return
    hip = max(1.0, _width_at(shape, float(outline.crotch[1]) - 2))
    left = float(np.hypot(*(outline.inner_left[-1] - outline.left[-1])))
    right = float(np.hypot(*(outline.right[-1] - outline.inner_right[-1])))
    leg = shape.box[3] - float(outline.crotch[1])
    upper = np.linspace(shape.box[1] + 2, float(outline.crotch[1]) - 2, 14)
    widths = [_width_at(shape, y) for y in upper]
    yield "symmetry", shape.symmetry < _SYMMETRY
    yield "waist", _sag(outline.waist) > 0.12 or _width(outline.waist) < 0.4 * hip
    yield "two things", sum(widths[:3]) / 3 > _STRAIGHT_WAIST * max(1.0, *widths)
    yield "steps", _largest_step(widths) > _STEP_OF_HIPS * max(1.0, *widths)
    yield "legs alike", not 0.6 < left / max(right, 1.0) < 1.6
    yield "leg width", min(left, right) < 0.12 * hip or max(left, right) > 0.95 * hip
    yield "leg length", leg < 0.12 * shape.height
    yield "rise", not 0.25 < (float(outline.crotch[1]) - shape.box[1]) / hip < 2.2
    yield "crotch", _gap_at(shape, float(outline.crotch[1]) + 0.06 * leg) > 0.3 * hip


def _skirt_checks(shape: Shape, outline: BottomOutline) -> Iterator[tuple[str, bool]]:
    waist, hem = max(1.0, _width(outline.waist)), _width(outline.hem)
    _, top, _, bottom = shape.box
    widths = [_width_at(shape, y) for y in np.linspace(top, bottom, 22)[1:-1]]
    hips = max(widths)
    yield "symmetry", shape.symmetry < 0.88
    yield "waist", _sag(outline.waist) > 0.12 or waist < 0.25 * hem
    yield "rectangle", _filled(shape) > _RECTANGLE
    yield "waistband", waist < 0.8 * widths[1]
    yield "hem", _sag(outline.hem) > 0.15 or hem < 0.75 * waist
    yield "tapered", hem < waist and hips < 1.15 * waist
    yield "straight", hips < 1.07 * waist
    yield "bulge", hips > 1.3 * max(hem, waist) or hips > 4 * waist
    yield "length", not 0.4 < shape.height / hips < 3.5
    yield "waisted", _dent_of_sides(shape) > 0.05 * hips
    yield "steps", _largest_step(widths) > 0.12 * hips


def _largest_step(widths: list[float]) -> float:
    """Between neighbouring rows: things on feet, in layers or with handles have steps."""
    return float(np.abs(np.diff(np.array(widths), 2)).max())


def _filled(shape: Shape) -> float:
    """The share of the smallest box around it, however turned, that the shape fills."""
    _, (width, height), _ = cv2.minAreaRect(shape.contour)
    return float(shape.mask.sum()) / max(1.0, width * height)


def _dent_of_sides(shape: Shape) -> float:
    """How far the sides come in from their hull, pixels, in the upper two thirds."""
    _, top, _, _ = shape.box
    y = np.arange(top + 0.04 * shape.height, top + 0.7 * shape.height)
    width = np.array([_width_at(shape, row) for row in y])
    if len(y) < 3:
        return 0.0
    # The widest on either side of a row, joined by a straight line, at most.
    above, below = np.maximum.accumulate(width), np.maximum.accumulate(width[::-1])[::-1]
    return float((np.minimum(above, below) - width).max()) / 2


def _width(line: Points) -> float:
    return float(np.hypot(*(line[-1] - line[0])))


def _width_at(shape: Shape, y: float) -> float:
    runs = shape.runs(y)
    return float(runs[-1][1] - runs[0][0] + 1) if runs else 0.0


def _gap_at(shape: Shape, y: float) -> float:
    runs = shape.runs(y)
    return max((float(b[0] - a[1]) for a, b in pairwise(runs)), default=0.0)


def length_of(outline: TopOutline) -> float:
    """From the neck to the hem, over the armpits' distance."""
    left, right = outline.left, outline.right
    chest = max(1.0, float(right.pit[0] - left.pit[0]))
    neck_y = float(left.neck[1] + right.neck[1]) / 2
    return (float(outline.hem[4, 1]) - neck_y) / chest
