"""Where each point of a garment goes on the body.

Everything is measured in shoulder widths and torso lengths of this body, and, where the photo
shows it, on the body's own outline: the shoulder line lies on the silhouette, the sides follow it.
`down` is 0 at the shoulders and 1 at the hips.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.engines import Category
from app.engines.warp.arms import Arm, edges, exits, normals, rounded, running_mean, see_arm
from app.engines.warp.arrays import along, from_limbs, resample, smoothstep, unit
from app.engines.warp.legs import Leg, see_legs
from app.engines.warp.scene import ELBOW, HIP, KNEE, OUTWARD, SHOULDER, WRIST, Scene
from app.engines.warp.values import (
    SIDES,
    Floats,
    Garment,
    Point,
    Points,
    Side,
    SleeveOutline,
    TopOutline,
    TopSide,
)

TORSO_ROWS = np.linspace(0.3, 1.25, 20, dtype=np.float32)
_PRIOR_ROWS = (0.3, 0.6, 0.8, 1.05, 1.25)
_PRIOR_HALF_WIDTHS = (0.49, 0.46, 0.45, 0.53, 0.55)
"""Half a torso's width by `down`, in shoulder widths: the mean of those measured on the sample
people; where the photo says less than 0.78 or more than 1.35 of it, the photo is not believed."""
_LEAST_HALF_WIDTH, _MOST_HALF_WIDTH = 0.78, 1.35

_SLEEVED = 0.15
"""From where on an old sleeve hides so much of an arm that it may be taken for the torso."""
_CLOSE_FIT, _LOOSE_FIT, _LOOSE_FIT_BELOW = 1.04, 1.20, 1.30
"""A garment is at least this much wider than the body it hides, and at most this much, above and
below the waist: cloth that lies flat is 2/π of its way round the body, the rest falls into
folds."""
_FLAT_TO_WORN = 0.93

PIT_DOWN = 0.33
_PIT_ASIDE = 0.47
"""Where the armpit is, in shoulder widths below and beside the middle of the shoulders."""
_CHEST_HALF = 0.53
"""Half of what a garment that fits measures from armpit to armpit, in shoulder widths."""

_WAIST, _HANGS = 0.72, 0.85
"""From where on a dress grows as its skirt is cut, and from where on it hangs straight down."""
_HANGING_WIDTH = 0.97

_TIP_SLANT = 0.40
"""Outward for each step up, from the shoulder joint to where the shoulder seam ends."""
_TIP_UNSEEN = 0.15

_LOW_EDGE, _LOW_TIP = 0.14, 0.17
"""How far below the shoulders an off-shoulder edge runs, on the chest and on the arms, in shoulder
widths."""

_HIP_TURN = 0.5
"""How much of the hips' own slant a hem takes; the rest of it is the pose's uncertainty."""

_STRETCH_MOST, _SHRINK_MOST = 1.22, 0.85
"""A top may be lengthened to hide the old hem, and shortened so that it ends above the thighs; more
would be seen on its print."""
_HEM_LOWEST = 1.12

_SLEEVE_STEP = 0.05
"""Between two points of a rail, in shoulder widths: fine enough for the bend over the shoulder."""
_WRIST_SNAP = 0.80
"""A sleeve that covers this much of the arm is a long one, and ends at the wrist."""
_LONG = 0.95
"""So is one this long, compared with the garment from shoulder tip to shoulder tip: 1.01 and more
on long ones, whose garment may be wide and so be made small, 0.46 and less on short ones."""
_SLEEVE_FLAT = 0.68
"""Of a flat sleeve's half width; 2/π = 0.64 takes it round an arm."""
_SLEEVE_SLACK = np.array([0.014, 0.075])
"""How far a sleeve stands off the arm, at least and at most, in shoulder widths."""
_INNER_SLACK = 0.25
"""Of that towards the body, where the arm presses it flat."""


@dataclass(frozen=True)
class SleeveTarget:
    """outer, inner: (n, 2) each, from the shoulder's tip and the armpit to the cuff.

    reach: how much of the arm it covers, 0–1. cut: how much of the sleeve lies where there
    is no arm in the photo, 0–1.
    """

    outer: Points
    inner: Points
    reach: float
    cut: float


@dataclass(frozen=True)
class SideTarget:
    """One side of a top on the body; the same points as in `TopSide`."""

    neck: Point
    tip: Point
    pit: Point
    shoulder: Points
    side: Points
    sleeve: SleeveTarget | None


@dataclass(frozen=True)
class TopTarget:
    """Where a top or one-piece goes, in pixels of the scene.

    scale: pixels of the scene for one of the garment. stretch: how much longer it was made.
    hem_down, old_hem_down: where the new and the old top end. half_widths: (rows,) each, the
    body's by `TORSO_ROWS`, pixels. neck_half: half the neck opening.
    """

    left: SideTarget
    right: SideTarget
    hem: Points
    scale: float
    stretch: float
    hem_down: float
    old_hem_down: float
    half_widths: dict[Side, Floats]
    arms: dict[Side, Arm]
    legs: dict[Side, Leg]

    def side(self, side: Side) -> SideTarget:
        return self.left if side == "left" else self.right


# --- the body -------------------------------------------------------------------------------


def torso_half_widths(scene: Scene, side: Side, arm: Arm) -> Floats:
    """(rows,): from the spine to the flank, arms left out, pixels.

    A sleeve looks like the rest of its garment: there the pose tells where the arm is.
    """
    body, unit_width = scene.body, scene.body.shoulder_width
    spine = body.shoulders + (body.hips - body.shoulders) * TORSO_ROWS[:, None]
    aside = np.arange(0.25 * unit_width, 0.80 * unit_width, dtype=np.float32)
    at = spine[:, None] + (body.across * OUTWARD[side]) * aside[:, None]
    x, y = (np.ascontiguousarray(at[..., i], np.float32) for i in (0, 1))
    person, arms = (
        cv2.remap(mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for mask in (scene.parts.person, scene.parts.arms)
    )
    outside = (np.asarray(person) < 0.5) | (np.asarray(arms) > 0.5)
    if arm.bare_from > _SLEEVED:
        outside |= (from_limbs(*scene.arm(side), x, y) < 0.8) & (aside > 0.42 * unit_width)
    measured = np.where(outside.any(1), aside[outside.argmax(1)], aside[-1])
    prior = np.interp(TORSO_ROWS, _PRIOR_ROWS, _PRIOR_HALF_WIDTHS) * unit_width
    believed = np.clip(measured, prior * _LEAST_HALF_WIDTH, prior * _MOST_HALF_WIDTH)
    # The widest of three rows: cloth hangs from what stands out, and hides what does not.
    widest = np.max([np.roll(np.pad(believed, 1, "edge"), shift)[1:-1] for shift in (-1, 0, 1)], 0)
    return running_mean(widest.astype(np.float32), 5)


def _heights(
    scene: Scene, points: Points, *, reach: float, least: float, most: float, unseen: float
) -> Floats:
    """(n,): how far above each point the silhouette ends, or hair or face begin.

    unseen: where they begin below `least` already.
    """
    up = np.repeat(scene.body.up[None], len(points), 0)
    head = np.maximum(scene.parts.hair, scene.parts.face * (scene.down < -0.25))
    hidden = exits(np.asarray(1 - head, np.float32), points, up, reach)
    ends = exits(scene.parts.person, points, up, reach)
    found = np.minimum(ends, hidden)
    found = np.where(np.isfinite(found) & ((hidden > least) | (ends <= hidden)), found, unseen)
    return np.asarray(np.clip(found, least, most), np.float32)


def shoulder_tip(scene: Scene, side: Side) -> Point:
    """The shoulder's end: from the joint up and a little outwards, on the silhouette."""
    body, width = scene.body, scene.body.shoulder_width
    joint = scene.joint(SHOULDER, side)
    way = unit(body.up + body.across * (OUTWARD[side] * _TIP_SLANT))
    head = np.maximum(scene.parts.hair, scene.parts.face * (scene.down < -0.25))
    start, ways = np.asarray(joint[None], np.float32), np.asarray(way[None], np.float32)
    reach = 0.30 * width
    end = float(exits(scene.parts.person, start, ways, reach)[0])
    hidden = float(exits(np.asarray(1 - head, np.float32), start, ways, reach)[0])
    if hidden < end:
        end = max(hidden, _TIP_UNSEEN * width)
    elif not np.isfinite(end):
        end = _TIP_UNSEEN * width
    return np.asarray(joint + way * np.clip(end, 0.08 * width, 0.24 * width), np.float32)


def hanging(scene: Scene) -> Point:
    """Which way is down for cloth that hangs from the hips: between the spine's and the thighs'."""
    knees = (scene.joint(KNEE, "left") + scene.joint(KNEE, "right")) / 2
    return unit(unit(np.asarray(knees - scene.body.hips, np.float32)) - scene.body.up)


# --- tops -----------------------------------------------------------------------------------


def place_top(scene: Scene, garment: Garment) -> TopTarget:
    """Where a top, or a one-piece, goes."""
    outline = garment.outline
    assert isinstance(outline, TopOutline)
    tips = {side: shoulder_tip(scene, side) for side in SIDES}
    scale = _scale(scene, outline, tips)
    arms: dict[Side, Arm] = {side: see_arm(scene, side) for side in SIDES}
    half_widths: dict[Side, Floats] = {
        side: torso_half_widths(scene, side, arms[side]) for side in SIDES
    }
    stretch, hem_down, old_hem_down = _stretch(scene, outline, scale, garment.category)
    fit = _Fit(scene, outline, garment.category, scale, stretch, half_widths)
    left = fit.side(outline.left, "left", tips["left"])
    right = fit.side(outline.right, "right", tips["right"])
    return TopTarget(
        left=left,
        right=right,
        hem=fit.hem(left.side[-1], right.side[-1]),
        scale=scale,
        stretch=stretch,
        hem_down=hem_down,
        old_hem_down=old_hem_down,
        half_widths=half_widths,
        arms=arms,
        legs=see_legs(scene) if garment.category == "one-pieces" else {},
    )


def _scale(scene: Scene, outline: TopOutline, tips: dict[Side, Point]) -> float:
    """Pixels of the scene for one of the garment: from shoulders and chest alike."""
    width = scene.body.shoulder_width
    by_chest = 2 * _CHEST_HALF * width / max(float(outline.right.pit[0] - outline.left.pit[0]), 1)
    if outline.left.sleeve is None or outline.off_shoulder:
        return by_chest
    flat = float(np.hypot(*(outline.right.tip - outline.left.tip)))
    by_shoulders = float(np.hypot(*(tips["right"] - tips["left"]))) / max(flat, 1)
    return (by_chest + by_shoulders) / 2


def old_hem(scene: Scene) -> float:
    """Where the old top ends, as `down`; 0 where there is none."""
    worn = scene.down[::4, ::4][scene.parts.upper[::4, ::4] > 0.5]
    return float(np.percentile(worn, 98)) if worn.size > 20 else 0.0


def _stretch(
    scene: Scene, outline: TopOutline, scale: float, category: Category
) -> tuple[float, float, float]:
    """How much longer the garment is made, and where it and the old top end."""
    body = scene.body
    pit_y = float(outline.left.pit[1] + outline.right.pit[1]) / 2
    drop = float(outline.hem[:, 1].mean()) - pit_y
    pit_down = PIT_DOWN * body.shoulder_width / body.torso_length
    natural = pit_down + drop * scale / body.torso_length
    old = old_hem(scene)
    stretch = 1.0
    if category == "tops":
        wanted = old + 0.015
        if natural < wanted:
            stretch = min((wanted - pit_down) / (natural - pit_down), _STRETCH_MOST)
        elif natural > _HEM_LOWEST:
            stretch = max((_HEM_LOWEST - pit_down) / (natural - pit_down), _SHRINK_MOST)
    return stretch, pit_down + (natural - pit_down) * stretch, old


@dataclass(frozen=True)
class _Fit:
    """What placing each side needs."""

    scene: Scene
    outline: TopOutline
    category: Category
    scale: float
    stretch: float
    half_widths: dict[Side, Floats]

    def side(self, flat: TopSide, side: Side, tip: Point) -> SideTarget:
        neck = self._neck(side)
        if self.outline.off_shoulder:
            neck, tip = self._low_neck(side), self._low_tip(side)
        elif flat.sleeve is None:
            tip = self._strap_end(flat, neck, tip)
        low = self.outline.off_shoulder
        pit = self._pit(side)
        edge = self._edge(flat, side, pit)
        pit = edge[0]
        target = SideTarget(
            neck=neck,
            tip=tip,
            pit=pit,
            shoulder=_between(neck, tip) if low else self._shoulder_line(neck, tip),
            side=edge,
            sleeve=None,
        )
        if flat.sleeve is None:
            return target
        wide = float(np.hypot(*(self.outline.right.tip - self.outline.left.tip)))
        sleeve = place_sleeve(
            self.scene,
            flat.sleeve,
            side,
            tip=tip,
            pit=pit,
            scale=self.scale,
            long=flat.sleeve.length > _LONG * wide,
        )
        return SideTarget(neck, tip, pit, target.shoulder, edge, sleeve)

    def _neck(self, side: Side) -> Point:
        """Where collar and shoulder line meet: as wide as the garment's, on the silhouette."""
        body, width = self.scene.body, self.scene.body.shoulder_width
        flat = float(np.hypot(*(self.outline.right.neck - self.outline.left.neck))) / 2
        aside = float(np.clip(self.scale * flat * 0.88, 0.19 * width, 0.60 * width))
        start = body.shoulders + body.across * OUTWARD[side] * aside + body.up * 0.02 * width
        # Far out the shoulder falls away; near the neck the silhouette rises along it.
        outer = float(np.clip((aside - 0.19 * width) / (0.4 * width), 0, 1))
        rise = _heights(
            self.scene,
            np.asarray(start[None], np.float32),
            reach=0.34 * width,
            least=0.0,
            most=0.34 * width,
            unseen=0.20 * width,
        )
        height = np.clip(
            float(rise[0]) + 0.015 * width,
            (0.16 - 0.06 * outer) * width,
            (0.27 - 0.10 * outer) * width,
        )
        return np.asarray(start + body.up * height, np.float32)

    def _low_neck(self, side: Side) -> Point:
        """Off the shoulders: a point of the upper edge, across the chest."""
        body, width = self.scene.body, self.scene.body.shoulder_width
        flat = float(np.hypot(*(self.outline.right.neck - self.outline.left.neck))) / 2
        aside = float(np.clip(self.scale * flat, 0.15 * width, 0.42 * width))
        across = body.across * OUTWARD[side] * aside
        return np.asarray(body.shoulders + across - body.up * _LOW_EDGE * width, np.float32)

    def _low_tip(self, side: Side) -> Point:
        """Off the shoulders: where the upper edge goes round the arm."""
        body, width = self.scene.body, self.scene.body.shoulder_width
        outward = np.asarray(body.across * OUTWARD[side], np.float32)
        start = self.scene.joint(SHOULDER, side) - body.up * _LOW_TIP * width
        start = np.asarray(start, np.float32)
        end = float(exits(self.scene.parts.person, start[None], outward[None], 0.3 * width)[0])
        aside = float(np.clip(end, 0.06 * width, 0.24 * width)) + 0.015 * width
        return np.asarray(start + outward * aside, np.float32)

    def _strap_end(self, flat: TopSide, neck: Point, tip: Point) -> Point:
        """Without sleeves the shoulder is as wide as the garment's, from the neck outwards."""
        wide = float(np.hypot(*(flat.tip - flat.neck))) * self.scale
        way = tip - neck
        far = float(np.hypot(*way))
        least = 0.02 * self.scene.body.shoulder_width
        return np.asarray(neck + way / max(far, 1) * min(max(wide, least), far), np.float32)

    def _pit(self, side: Side) -> Point:
        body, width = self.scene.body, self.scene.body.shoulder_width
        outward = body.across * OUTWARD[side]
        by_spine = body.shoulders + outward * _PIT_ASIDE * width - body.up * PIT_DOWN * width
        by_joint = self.scene.joint(SHOULDER, side) - body.up * PIT_DOWN * width
        by_joint -= outward * (0.5 - _PIT_ASIDE) * width
        return np.asarray((by_spine + by_joint) / 2, np.float32)

    def _shoulder_line(self, neck: Point, tip: Point) -> Points:
        """Three points between neck and tip, on the silhouette where it is near."""
        width, up = self.scene.body.shoulder_width, self.scene.body.up
        straight = _between(neck, tip)
        low = np.asarray(straight - up * 0.10 * width, np.float32)
        rise = _heights(
            self.scene, low, reach=0.26 * width, least=0.0, most=0.26 * width, unseen=0.10 * width
        )
        lift = np.clip(rise - 0.10 * width + 0.012 * width, -0.03 * width, 0.08 * width)
        return np.asarray(straight + up * lift[:, None], np.float32)

    def _edge(self, flat: TopSide, side: Side, pit: Point) -> Points:
        """(9, 2): from the armpit to the hem, outside the body, at the garment's own width."""
        body = self.scene.body
        pit_down = PIT_DOWN * body.shoulder_width / body.torso_length
        drop = (flat.side[:, 1] - flat.pit[1]) * self.scale * self.stretch
        down = pit_down + drop / body.torso_length
        hips = self.scene.joint(HIP, "right") - self.scene.joint(HIP, "left")
        turn = np.clip(down, 0, 1)[:, None] * _HIP_TURN
        across = body.across * (1 - turn) + unit(hips) * turn
        across /= np.hypot(across[:, 0], across[:, 1])[:, None]
        centre = body.shoulders + (body.hips - body.shoulders) * down[:, None]
        if self.category == "one-pieces":
            centre, across = self._hanging(down, across)
        aside = self._half_width(flat, side, down)
        edge = centre + across * (OUTWARD[side] * aside)[:, None]
        edge[0] = (edge[0] + pit) / 2
        return np.asarray(edge, np.float32)

    def _hanging(self, down: Floats, across: Points) -> tuple[Points, Points]:
        """(n, 2) each: the middle and the direction of rows that hang from the waist."""
        body = self.scene.body
        way = hanging(self.scene)
        spine = body.shoulders + (body.hips - body.shoulders) * np.minimum(down, _HANGS)[:, None]
        centre = spine + way * (np.maximum(down - _HANGS, 0) * body.torso_length)[:, None]
        turn = np.clip((down - _HANGS) / 0.3, 0, 1)[:, None]
        level = np.array([-way[1], way[0]], np.float32)
        level *= np.sign(level @ body.across)
        return np.asarray(centre, np.float32), across * (1 - turn) + level * turn

    def _half_width(self, flat: TopSide, side: Side, down: Floats) -> Floats:
        of_body = np.interp(down, TORSO_ROWS, self.half_widths[side])
        of_garment = np.abs(flat.side[:, 0] - self.outline.centre_x) * self.scale
        loose = np.where(down < 0.9, _LOOSE_FIT, _LOOSE_FIT_BELOW)
        wide = np.minimum(of_garment * _FLAT_TO_WORN, of_body * loose)
        wide = np.maximum(of_body * _CLOSE_FIT, wide)
        if self.category == "one-pieces":  # from the waist it grows as it is cut
            at_waist, cut_waist = (np.interp(_WAIST, down, half) for half in (wide, of_garment))
            skirt = at_waist + (of_garment - cut_waist) * _HANGING_WIDTH
            wide = np.where(down > _WAIST, np.maximum(of_body * _CLOSE_FIT, skirt), wide)
        return np.asarray(wide, np.float32)

    def hem(self, left: Point, right: Point) -> Points:
        """The garment's hem, its corners at the ends of the sides, its curve kept."""
        flat = self.outline.hem
        first, last = flat[0], flat[-1]
        share = ((flat[:, 0] - first[0]) / (last[0] - first[0] + 1e-6))[:, None]
        sag = flat[:, 1] - (first[1] + (last[1] - first[1]) * share[:, 0])
        down = -self.scene.body.up * (sag * self.scale * self.stretch)[:, None]
        return np.asarray(left + (right - left) * share + down, np.float32)


def _between(neck: Point, tip: Point) -> Points:
    """(3, 2): at quarters of the way."""
    shares = np.array([[0.25], [0.5], [0.75]], np.float32)
    return np.asarray(neck * (1 - shares) + tip * shares, np.float32)


# --- sleeves --------------------------------------------------------------------------------


def place_sleeve(
    scene: Scene,
    flat: SleeveOutline,
    side: Side,
    *,
    tip: Point,
    pit: Point,
    scale: float,
    long: bool = False,
) -> SleeveTarget:
    """Two rails along the arm, from the seam tip–armpit down to where the sleeve ends.

    long: it ends at the wrist, however the garment was scaled.
    """
    line = _arm_line(scene, side, start=np.asarray((tip + pit) / 2, np.float32))
    whole = float(along(line)[-1])
    # An armhole that is deeper on the body than on the garment takes cloth from the sleeve's top.
    opening = float(np.hypot(*(flat.outer[0] - flat.inner[0]))) * scale
    deeper = max(0.0, float(np.hypot(*(tip - pit))) - opening)
    wanted = min(flat.length * scale + deeper / 2, whole * 1.02)
    if long or wanted > _WRIST_SNAP * whole:
        wanted = whole
    count = int(np.clip(wanted / (_SLEEVE_STEP * scene.body.shoulder_width), 12, 64))
    at = np.linspace(0, wanted, count)
    distance = along(line)
    centre = np.stack([np.interp(at, distance, line[:, i]) for i in (0, 1)], 1).astype(np.float32)
    normal = normals(centre, outward=tip - pit)
    outside, inside = edges(scene, centre, normal, np.asarray(at / whole, np.float32))
    outer, inner = (resample(rail, count) for rail in (flat.outer, flat.inner))
    of_garment = np.hypot(*(outer - inner).T) / 2 * scale
    width = scene.body.shoulder_width
    slack = np.clip(of_garment * _SLEEVE_FLAT - (outside + inside) / 2, *(_SLEEVE_SLACK * width))
    upper = centre + normal * (outside + slack)[:, None]
    lower = centre - normal * (inside + slack * _INNER_SLACK)[:, None]
    from_tip = _hug_shoulder(scene, tip + (centre - centre[0]), normal, wanted)
    from_pit = pit + (centre - centre[0])
    begun = np.asarray(at / width, np.float32)
    free = smoothstep(begun, 0.15, 0.5)[:, None]
    upper = from_tip * (1 - free) + upper * free
    free = smoothstep(begun, 0.0, 0.22)[:, None]
    lower = from_pit * (1 - free) + lower * free
    upper[0], lower[0] = tip, pit
    # At equal distances, as on the garment: cloth that gathers on one rail would slant the pattern.
    rails = [resample(_relax(rail), count) for rail in (upper, lower)]
    seen = float(scene.pose.presence[WRIST[side]]) > 0.5
    cut = 0.0 if seen else 1 - wanted / max(flat.length * scale, 1)
    return SleeveTarget(rails[0], rails[1], float(wanted / max(whole, 1)), max(0.0, float(cut)))


def _arm_line(scene: Scene, side: Side, *, start: Point) -> Points:
    """The middle of the arm from the seam to the wrist, its corners rounded; (120, 2)."""
    width = scene.body.shoulder_width
    shoulder, elbow = scene.joint(SHOULDER, side), scene.joint(ELBOW, side)
    high = shoulder + scene.body.across * OUTWARD[side] * 0.02 * width + (elbow - shoulder) * 0.35
    corners = np.stack([start, high, elbow, scene.joint(WRIST, side)])
    return rounded(resample(np.asarray(corners, np.float32), 120), 13)


def _hug_shoulder(scene: Scene, rail: Points, normal: Points, length: float) -> Points:
    """The outer rail near the shoulder, on or just outside of what is seen of it."""
    width = scene.body.shoulder_width
    near = int(len(rail) * min(1.0, 0.55 * width / max(length, 1)))
    inside = np.asarray(rail - normal * 0.2 * width, np.float32)
    lift = exits(scene.parts.person, inside, normal, 0.4 * width) - 0.2 * width
    lift = lift + 0.018 * width
    # Not where the start lies outside already, nor where the cloth may stand off a little.
    astray = np.isfinite(lift) & (lift > -0.18 * width) & ((lift > 0) | (lift < -0.05 * width))
    astray[0] = False
    astray[near:] = False
    return np.asarray(rail + normal * np.where(astray, lift, 0)[:, None], np.float32)


def _relax(rail: Points, rounds: int = 6) -> Points:
    """Without kinks; the ends stay."""
    rail = np.asarray(rail, np.float32).copy()
    for _ in range(rounds):
        rail[1:-1] = 0.25 * rail[:-2] + 0.5 * rail[1:-1] + 0.25 * rail[2:]
    return rail
