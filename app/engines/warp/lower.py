"""Where each point of trousers, shorts and skirts goes on the body.

The garment's waist goes to where the old one's was, or to the natural waist; its sides follow the
hips; trouser legs follow hip, knee and ankle, skirts hang. `down` is 0 at the shoulders and 1 at
the hips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.engines.warp.arms import Arm, exits, normals, see_arm
from app.engines.warp.arrays import length, resample, unit
from app.engines.warp.legs import Leg, see_legs
from app.engines.warp.scene import HIP, KNEE, OUTWARD, Scene
from app.engines.warp.targets import TORSO_ROWS, hanging, torso_half_widths
from app.engines.warp.values import (
    SIDES,
    Body,
    BottomKind,
    BottomOutline,
    Floats,
    Garment,
    Point,
    Points,
    Pose,
    Rgb,
    Side,
)
from app.errors import EngineError, FailureCode

_UPPER_ROWS, _LEG_ROWS, _SKIRT_ROWS = 7, 16, 15
_ACROSS_WAIST = 5

_NATURAL_WAIST = 0.70
"""Where a waist goes that the photo does not show: under a dress."""
_HIDDEN_WAIST = 0.84
"""Where it goes under a top that hangs over it."""
_HANGS_OVER = 0.90
"""A top that ends below this hangs over the waist; one that ends above is tucked in, or short."""
_DRESS_BEGINS = 1.2
_WAIST_HIGHEST, _WAIST_LOWEST = 0.55, 1.15
_WAIST_SLOPES = (-0.15, 0.15)
_WAIST_ASIDES = np.linspace(-0.42, 0.42, 11, dtype=np.float32)
_WAIST_BENDS = 0.08
"""Torso lengths: what strays farther from a straight waist is a mistaken label, or a hand."""
_WAIST_RAISE = 0.014
"""How far a new waistband stands above the old one, in shoulder widths, so that it hides it."""

_THIGH_NEEDED: dict[BottomKind, float] = {"trousers": 0.45, "shorts": 0.35, "skirt": 0.35}
"""Of the thighs, in the photo: that a garment has two legs must be seen. Trousers were looked at
from 0.47 on (November 2026)."""
_LEGS_NEEDED: dict[BottomKind, str] = {
    "trousers": "Trousers need a photo that shows the thighs. Use one that reaches to the knees.",
    "shorts": "Shorts need a photo that shows the thighs. Use one that reaches to the knees.",
    "skirt": "A skirt needs a photo that shows the thighs. Use one that reaches to the knees.",
}

_CROTCH_BELOW_HIPS = 0.26
"""In shoulder widths."""
_WAIST_FLAT = 0.86
"""How wide a waist looks on a body, of what it measures laid flat: between 2/π of a tube and 1 of a
garment that was photographed on a dummy."""
_HIPS_FLAT = 0.84
_SPINE_SURE = 0.12
"""Shoulder widths beside the spine within which there is nothing but cloth."""
_BEHIND_ARM = 0.08
"""Shoulder widths that a body goes on behind an arm, at most: it ends before the arm does."""
_CLOSE_FIT, _LOOSE_FIT = 1.03, 1.45
"""A garment is at least this much wider than the body, and above the hips at most."""
_LEG_FLAT = 0.74
"""How wide a trouser leg hangs, of what it measures laid flat."""
_LEG_CLOSE, _LEG_LOOSE = 1.04, 1.9

_ANKLE_SNAP = 0.80
"""Trousers that reach this far down the leg are long ones, and end at the shoe."""
_ANKLE, _ANKLE_LOWEST = 2.03, 2.15
"""As `Leg.at`: at the ankle, or as low as the old trousers, which would show below."""
_SHORTS_SHORTEST, _SHORTS_LONGEST = 0.38, 1.75
_SKIRT_SHORTEST = 0.75
"""Shoulder widths."""
_SKIRT_LOWEST = 1.93
"""A long skirt ends above the ankles, as `Leg.at`."""


@dataclass(frozen=True)
class Rails:
    """One half of a bottom: pairs of points on its outer and its inner edge, from waist to hem.

    outer, inner: (n, 2). On the inner edge, the first `upper` lie on the axis.
    """

    outer: Points
    inner: Points
    upper: int


@dataclass(frozen=True)
class BottomTarget:
    """Where a bottom goes, in pixels of the scene.

    flat, worn: the same points of the garment and on the body. waist: (k, 2) each, the upper edge
    from left to right; hem likewise, of skirts. tucked: the garment lies over the old top's hem.
    long: trousers to the shoes. waist_down: where the waist is, at the spine. scale: pixels of the
    scene for one of the garment. stretch: how much longer it was made.
    """

    flat: dict[Side, Rails]
    worn: dict[Side, Rails]
    flat_waist: Points
    worn_waist: Points
    flat_hem: Points
    worn_hem: Points
    tucked: bool
    long: bool
    waist_down: float
    scale: float
    stretch: float
    legs: dict[Side, Leg]
    arms: dict[Side, Arm]
    half_widths: dict[Side, Floats]


def check_legs(photo: Rgb, pose: Pose, kind: BottomKind) -> None:
    """Raises EngineError(body_out_of_frame) where the photo ends above what a bottom needs.

    Half of the thighs, or nearly: what lies below is cut off with the photo.
    """
    hips, knees = (pose.points[[joints[side] for side in SIDES]] for joints in (HIP, KNEE))
    below = float((hips + (knees - hips) * _THIGH_NEEDED[kind])[:, 1].mean()) - photo.shape[0]
    if below > 0:
        raise EngineError(
            FailureCode.BODY_OUT_OF_FRAME,
            _LEGS_NEEDED[kind],
            log=f"{kind}: the legs' joints lie {below:.0f} px below the photo",
            stage="person",
        )


# --- the waist ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Waist:
    """Where the garment begins, across the body.

    down: at the spine. slope: of `down` for a shoulder width to the right. bent: (n,), how much
    lower it is than that line at `_WAIST_ASIDES`. tucked: whatever is worn above goes under it.
    """

    down: float
    slope: float = 0.0
    bent: Floats | None = None
    tucked: bool = True

    def at(self, aside: Floats) -> Floats:
        """`down`, of places beside the spine, in shoulder widths."""
        line = self.down + self.slope * aside
        if self.bent is not None:
            line = line + np.interp(aside, _WAIST_ASIDES, self.bent)
        return np.asarray(line, np.float32)

    def points(self, body: Body, aside: Floats) -> Points:
        """(n, 2): on the line, a little above it where it has to hide an old waistband.

        aside: pixels.
        """
        level = np.array([-body.up[1], body.up[0]], np.float32)
        level /= level @ body.across
        down = self.at(aside / np.float32(body.shoulder_width))
        spine = body.shoulders + (body.hips - body.shoulders) * down[:, None]
        raised = _WAIST_RAISE * body.shoulder_width if self.tucked else 0.0
        return np.asarray(spine + level * aside[:, None] + body.up * raised, np.float32)


def find_waist(scene: Scene) -> Waist:
    """Where the old trousers or skirt begin."""
    width = scene.body.shoulder_width
    middle = np.abs(scene.aside) < 0.45 * width
    lower = (scene.parts.lower > 0.5) & middle & (scene.down > 0.4)
    columns = lower.any(0)
    if columns.sum() < 0.2 * width:
        return Waist(_NATURAL_WAIST)
    x = np.flatnonzero(columns)
    y = lower[:, x].argmax(0)
    down, aside = scene.down[y, x], scene.aside[y, x] / width
    slope, height = _line_through(aside, down)
    if height > _DRESS_BEGINS:  # leggings under a dress, or boots
        return Waist(_NATURAL_WAIST)
    if height > _HANGS_OVER:
        return Waist(_HIDDEN_WAIST, tucked=False)
    bent = _bends(aside, down - slope * aside - height)
    return Waist(float(np.clip(height, _WAIST_HIGHEST, _WAIST_LOWEST)), slope, bent)


def _line_through(x: Floats, y: Floats) -> tuple[float, float]:
    """slope, height: least squares, three times; after the first without what strays."""
    slope, height = 0.0, float(np.median(y))
    for _ in range(3):
        near = np.abs(y - slope * x - height) < 0.06
        if near.sum() < 8:
            break
        slope, height = (float(value) for value in np.polyfit(x[near], y[near], 1))
        slope = float(np.clip(slope, *_WAIST_SLOPES))
        height = float(np.median(y[near] - slope * x[near]))
    return slope, height


def _bends(aside: Floats, away: Floats) -> Floats:
    """(n,): at `_WAIST_ASIDES`, how far the old waist is from the line through it."""
    bent = np.zeros(len(_WAIST_ASIDES), np.float32)
    step = float(_WAIST_ASIDES[1] - _WAIST_ASIDES[0])
    for i, place in enumerate(_WAIST_ASIDES):
        near = (np.abs(aside - place) < 0.6 * step) & (np.abs(away) < _WAIST_BENDS)
        if near.sum() > 4:
            bent[i] = np.percentile(away[near], 35)
    return _smooth(bent)


# --- the garment, flat ----------------------------------------------------------------------


def flat_rails(outline: BottomOutline, side: Side) -> Rails:
    """The outer and the inner edge of one half of it, point by point."""
    edge = outline.left if side == "left" else outline.right
    inner = outline.inner_left if side == "left" else outline.inner_right
    top = outline.waist[len(outline.waist) // 2]
    if outline.crotch is None or inner is None:
        bottom = outline.hem[len(outline.hem) // 2]
        axis = resample(np.stack([top, bottom]), _SKIRT_ROWS)
        return Rails(resample(edge, _SKIRT_ROWS), axis, _SKIRT_ROWS)
    crotch = outline.crotch
    above, below = _split(resample(edge, 80), float(crotch[1]))
    outer = np.concatenate([resample(above, _UPPER_ROWS), resample(below, _LEG_ROWS + 1)[1:]])
    axis = resample(np.stack([top, crotch]), _UPPER_ROWS)
    return Rails(outer, np.concatenate([axis, resample(inner, _LEG_ROWS + 1)[1:]]), _UPPER_ROWS)


def _split(line: Points, y: float) -> tuple[Points, Points]:
    """A line that runs down, at a height; both parts have two points at least."""
    at = int(np.clip(np.searchsorted(np.maximum.accumulate(line[:, 1]), y), 1, len(line) - 2))
    return line[: at + 1], line[at:]


# --- on the body ----------------------------------------------------------------------------


def place_bottom(scene: Scene, garment: Garment) -> BottomTarget:
    """Where trousers, shorts or a skirt go."""
    outline = garment.outline
    assert isinstance(outline, BottomOutline)
    waist = find_waist(scene)
    arms = {side: see_arm(scene, side) for side in SIDES}
    half_widths: dict[Side, Floats] = {
        side: _cloth_half_widths(scene, side, torso_half_widths(scene, side, arms[side]))
        for side in SIDES
    }
    legs = see_legs(scene)
    scale = _scale(outline, half_widths, waist)
    fit = _Fit(scene, outline, waist, half_widths, legs, scale)
    flat = {side: flat_rails(outline, side) for side in SIDES}
    worn = {side: fit.rails(flat[side], side) for side in SIDES}
    flat_hem = outline.hem
    return BottomTarget(
        flat=flat,
        worn=worn,
        flat_waist=outline.waist,
        worn_waist=fit.waist_line(),
        flat_hem=flat_hem,
        worn_hem=fit.hem_line(worn),
        tucked=waist.tucked,
        long=fit.is_long(flat),
        waist_down=waist.down,
        scale=scale,
        stretch=fit.stretch(flat, worn),
        legs=legs,
        arms=arms,
        half_widths=half_widths,
    )


def _cloth_half_widths(scene: Scene, side: Side, of_torso: Floats) -> Floats:
    """(rows,): from the spine to where the clothes end, as their labels say, pixels.

    of_torso: what holds where an arm hides that.
    """
    body, width = scene.body, scene.body.shoulder_width
    cloth = np.maximum(np.maximum(scene.parts.upper, scene.parts.lower), scene.parts.legs)
    spine = body.shoulders + (body.hips - body.shoulders) * TORSO_ROWS[:, None]
    outward = np.repeat((body.across * np.float32(OUTWARD[side]))[None], len(spine), 0)
    start = np.float32(_SPINE_SURE * width)
    starts = np.asarray(spine + outward * start, np.float32)
    found = start + exits(cloth, starts, outward, 0.6 * width)
    at_end = starts + outward * (np.where(np.isfinite(found), found, 0) - start + 5)[:, None]
    columns = np.clip(at_end[:, 0], 0, scene.width - 1).astype(int)
    rows = np.clip(at_end[:, 1], 0, scene.height - 1).astype(int)
    near = np.isfinite(found) & (found > 0.55 * of_torso) & (found < 1.5 * of_torso)
    hidden = scene.parts.arms[rows, columns] > 0.3
    behind = np.minimum(of_torso, found + _BEHIND_ARM * width)
    half = np.where(near, np.where(hidden, behind, found), of_torso)
    return _smooth(half.astype(np.float32))


def _scale(outline: BottomOutline, half_widths: dict[Side, Floats], waist: Waist) -> float:
    """Pixels of the scene for one of the garment: from waist and hips alike."""

    def of_body(down: float) -> float:
        return sum(float(np.interp(down, TORSO_ROWS, half)) for half in half_widths.values())

    flat_waist = float(np.hypot(*(outline.waist[-1] - outline.waist[0])))
    top, bottom = float(outline.waist[:, 1].mean()), float(outline.hem[:, 1].mean())
    reach = 0.9 * (float(outline.crotch[1]) - top) if outline.crotch is not None else None
    hips_y = top + (reach if reach is not None else 0.35 * (bottom - top))
    flat_hips = _width_at(outline, hips_y)
    by_waist = of_body(waist.down) / max(_WAIST_FLAT * flat_waist, 1)
    by_hips = 1.04 * of_body(1.05) / max(_HIPS_FLAT * flat_hips, 1)
    return (by_waist + by_hips) / 2


def _width_at(outline: BottomOutline, y: float) -> float:
    left, right = (float(np.interp(y, edge[:, 1], edge[:, 0])) for edge in _edges(outline))
    return right - left


def _edges(outline: BottomOutline) -> tuple[Points, Points]:
    return outline.left, outline.right


@dataclass(frozen=True)
class _Fit:
    """What placing each half needs."""

    scene: Scene
    outline: BottomOutline
    waist: Waist
    half_widths: dict[Side, Floats]
    legs: dict[Side, Leg]
    scale: float

    def rails(self, flat: Rails, side: Side) -> Rails:
        return self._skirt(flat, side) if self.outline.crotch is None else self._leg(flat, side)

    def waist_line(self) -> Points:
        """The upper edge, its ends at the sides."""
        flat = self.outline.waist
        share = (flat[:, 0] - flat[0, 0]) / (flat[-1, 0] - flat[0, 0] + 1e-6)
        left, right = (self._waist_half(side) * OUTWARD[side] for side in SIDES)
        return self.waist.points(self.scene.body, left + (right - left) * share)

    def _waist_half(self, side: Side) -> float:
        half = np.interp(self.waist.down, TORSO_ROWS, self.half_widths[side])
        return float(half) * _CLOSE_FIT

    def _waist_point(self, aside: float) -> Point:
        return np.asarray(self.waist.points(self.scene.body, np.array([aside], np.float32))[0])

    def hem_line(self, worn: dict[Side, Rails]) -> Points:
        """The lower edge of a skirt, its ends at the sides, its curve the garment's."""
        flat, left, right = self.outline.hem, worn["left"].outer[-1], worn["right"].outer[-1]
        first, last = flat[0], flat[-1]
        share = ((flat[:, 0] - first[0]) / (last[0] - first[0] + 1e-6))[:, None]
        sag = flat[:, 1] - (first[1] + (last[1] - first[1]) * share[:, 0])
        down = -self.scene.body.up * (sag * self.scale)[:, None]
        return np.asarray(left + (right - left) * share + down, np.float32)

    def stretch(self, flat: dict[Side, Rails], worn: dict[Side, Rails]) -> float:
        """How much longer it was made than it is."""
        length_flat, length_worn = (
            sum(length(rails[side].inner) for side in SIDES) for rails in (flat, worn)
        )
        return length_worn / max(length_flat * self.scale, 1)

    # --- trousers and shorts

    def _leg(self, flat: Rails, side: Side) -> Rails:
        scene, leg = self.scene, self.legs[side]
        width = scene.body.shoulder_width
        crotch = self._crotch()
        begin = self._level(leg, crotch)
        end = self._leg_ends(flat, leg, begin)
        at = np.linspace(begin, end, _LEG_ROWS + 1).astype(np.float32)
        line = leg.points(at)
        normal = normals(line, outward=scene.body.across * np.float32(OUTWARD[side]))
        bare_outer, bare_inner = (np.interp(at, leg.at, half) for half in leg.bare())
        of_garment = np.hypot(*(flat.outer - flat.inner).T)[flat.upper - 1 :]
        slack = of_garment * self.scale * _LEG_FLAT / 2 / ((bare_outer + bare_inner) / 2)
        loose = np.clip(slack, _LEG_CLOSE, _LEG_LOOSE)
        outer = line + normal * (bare_outer * loose)[:, None]
        inner = line - normal * (bare_inner * loose)[:, None]
        inner = self._own_side(inner, line, side)
        above_outer, above_inner = self._pelvis(side, crotch, outer[0])
        # At the crotch both edges are the pelvis'; within a hand's width they become the leg's.
        share = np.clip(np.arange(_LEG_ROWS + 1) / _LEG_ROWS * leg.length(begin, end), 0, None)
        free = np.clip(share / (0.30 * width), 0, 1)
        free = (free * free * (3 - 2 * free))[:, None]
        inner = crotch + (line - line[0]) * 0.8 + (inner - crotch - (line - line[0]) * 0.8) * free
        inner[0] = crotch
        rail_outer = _relaxed(np.concatenate([above_outer, outer[1:]]))
        rail_inner = np.concatenate([above_inner, _relaxed(inner)[1:]])
        return Rails(rail_outer, np.asarray(rail_inner, np.float32), _UPPER_ROWS)

    def _crotch(self) -> Point:
        body = self.scene.body
        hips = (self.legs["left"].line[0] + self.legs["right"].line[0]) / 2
        return np.asarray(hips - body.up * _CROTCH_BELOW_HIPS * body.shoulder_width, np.float32)

    def _level(self, leg: Leg, point: Point) -> float:
        """Where on the leg a point's height is, as `at`."""
        up = self.scene.body.up
        height = -(leg.line - point) @ up
        return float(np.interp(0, np.maximum.accumulate(height), leg.at))

    def _leg_ends(self, flat: Rails, leg: Leg, begin: float) -> float:
        inseam = length(flat.inner[flat.upper - 1 :])
        if self.is_long(dict.fromkeys(SIDES, flat)):
            return float(np.clip(leg.cloth_ends + 0.03, _ANKLE, _ANKLE_LOWEST))
        steps = np.linspace(begin, 2.0, 40)
        reach = [leg.length(begin, at) for at in steps]
        end = float(np.interp(inseam * self.scale, reach, steps))
        return float(np.clip(end, _SHORTS_SHORTEST, _SHORTS_LONGEST))

    def is_long(self, flat: dict[Side, Rails]) -> bool:
        """Whether it reaches to the shoes, or nearly."""
        if self.outline.kind != "trousers":
            return False
        inseam = sum(length(rails.inner[rails.upper - 1 :]) for rails in flat.values()) / 2
        legs = sum(leg.length(self._level(leg, self._crotch()), 2.0) for leg in self.legs.values())
        return inseam * self.scale > _ANKLE_SNAP * legs / 2

    def _own_side(self, inner: Points, line: Points, side: Side) -> Points:
        """Not beyond the middle between the legs."""
        other = self.legs["right" if side == "left" else "left"].line
        nearest = np.hypot(*(line[:, None] - other[None]).transpose(2, 0, 1)).argmin(1)
        across = (other[nearest] - line).astype(np.float32)
        far = np.hypot(*across.T)
        across /= far[:, None] + 1e-6
        out = ((inner - line) * across).sum(1)
        over = np.maximum(out - far / 2, 0)
        return np.asarray(inner - across * over[:, None], np.float32)

    def _pelvis(self, side: Side, crotch: Point, thigh: Point) -> tuple[Points, Points]:
        """(rows, 2) each: the hip and the axis, from the waist to the crotch."""
        body = self.scene.body
        share = np.linspace(0, 1, _UPPER_ROWS).astype(np.float32)
        top = self._waist_point(0.0)
        axis = top + (crotch - top) * share[:, None]
        low = float(body.down_torso(thigh[0], thigh[1]))
        down = np.linspace(self.waist.down, low, _UPPER_ROWS).astype(np.float32)
        half = np.interp(down, TORSO_ROWS, self.half_widths[side]) * _CLOSE_FIT
        spine = body.shoulders + (body.hips - body.shoulders) * down[:, None]
        outer = spine + body.across * (OUTWARD[side] * half)[:, None]
        outer += (self._waist_point(self._waist_half(side) * OUTWARD[side]) - outer[0]) * np.clip(
            1 - 1.5 * share, 0, 1
        )[:, None]
        merge = np.clip((share - 0.4) / 0.6, 0, 1)[:, None]
        outer = outer + (thigh - outer[-1]) * merge * merge
        return np.asarray(outer, np.float32), np.asarray(axis, np.float32)

    # --- skirts

    def _skirt(self, flat: Rails, side: Side) -> Rails:
        body, width = self.scene.body, self.scene.body.shoulder_width
        top = self._waist_point(0.0)
        way = hanging(self.scene)
        begin = float(flat.inner[0, 1])
        drop = np.maximum(0, (flat.outer[:, 1] - begin) * self._length_scale(flat, top))
        drop = (drop - drop[0]).astype(np.float32)
        axis = top + way[None] * drop[:, None]
        across = np.array([-way[1], way[0]], np.float32)
        if across @ body.across * OUTWARD[side] < 0:
            across = -across
        of_garment = np.abs(flat.outer[:, 0] - flat.inner[:, 0]) * self.scale
        of_body = self._beside(side, axis, across)
        free = np.clip(drop / (0.55 * width), 0, 1)
        most = of_body * (1.06 + (_LOOSE_FIT - 1.06) * free + 9 * np.clip(free - 0.8, 0, 1))
        half = np.maximum(of_body * _CLOSE_FIT, np.minimum(of_garment * 0.97, most))
        edge = axis + across * _smooth(half)[:, None]
        corner = self._waist_point(self._waist_half(side) * OUTWARD[side])
        edge = edge + (corner - edge[0]) * np.clip(1 - 1.2 * free, 0, 1)[:, None]
        return Rails(np.asarray(edge, np.float32), np.asarray(axis, np.float32), len(axis))

    def _length_scale(self, flat: Rails, top: Point) -> float:
        """Pixels of the scene for one of the garment, downwards: not below the ankles."""
        whole = float(flat.inner[-1, 1] - flat.inner[0, 1])
        ankles = [self.legs[side].point(_SKIRT_LOWEST) for side in SIDES]
        most = min(float((point - top) @ hanging(self.scene)) for point in ankles)
        least = _SKIRT_SHORTEST * self.scene.body.shoulder_width
        return float(np.clip(whole * self.scale, least, most)) / max(whole, 1)

    def _beside(self, side: Side, axis: Points, across: Point) -> Floats:
        """(n,): from the axis to the outside of the body and its legs, row by row."""
        body, leg = self.scene.body, self.legs[side]
        down = body.down_torso(axis[:, 0], axis[:, 1])
        of_torso = np.interp(down, TORSO_ROWS, self.half_widths[side])
        outer, _ = leg.bare()
        edge = leg.line + leg.normal * outer[:, None]
        way = unit(axis[-1] - axis[0])
        along, aside = (edge - axis[0]) @ way, (edge - axis[0]) @ across
        drop = (axis - axis[0]) @ way
        of_leg = np.interp(drop, np.maximum.accumulate(along), aside)
        beyond = np.clip((down - 1.1) / 0.15, 0, 1)
        return np.asarray(of_torso * (1 - beyond) + of_leg * beyond, np.float32)


def _smooth(values: Floats) -> Floats:
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.asarray((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, np.float32)


def _relaxed(rail: Points, rounds: int = 3) -> Points:
    """Without kinks; the ends stay."""
    rail = np.asarray(rail, np.float32).copy()
    for _ in range(rounds):
        rail[1:-1] = 0.25 * rail[:-2] + 0.5 * rail[1:-1] + 0.25 * rail[2:]
    return rail
