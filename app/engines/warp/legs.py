"""The legs in the photo: where their edges are, and what they look like bare.

Under trousers or a long skirt nothing is known of them but where the joints are; so they are
painted: limbs of usual proportions, never wider than what hid them, in the person's own skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.engines.warp.arms import exits, fill, normals, rounded, running_mean, skin_distance
from app.engines.warp.arrays import blur, disc, resample, smoothstep
from app.engines.warp.scene import ANKLE, FOOT, HEEL, HIP, KNEE, OUTWARD, Scene
from app.engines.warp.values import SIDES, Floats, Mask, Point, Points, Side

_STEPS = 61
_HIP_AT, _KNEE_AT, _ANKLE_AT = 0.0, 1.0, 2.0
_HEEL_AT = 2.25
"""`at` counts joints: 0 hip, 1 knee, 2 ankle, then on into the foot."""

_FOOT = 0.22
"""Shoulder widths: how far the line goes on from the ankle, into the foot."""

_AT = (0.0, 0.3, 0.6, 0.85, 1.0, 1.15, 1.4, 1.7, 2.0, 2.25)
_OUTER = (0.25, 0.25, 0.215, 0.175, 0.160, 0.150, 0.160, 0.120, 0.085, 0.080)
_INNER = (0.29, 0.245, 0.195, 0.155, 0.145, 0.145, 0.145, 0.105, 0.080, 0.075)
"""Half a bare leg's widths outside and inside of the line through its joints, in shoulder widths:
the means of a woman's and a man's, thigh, knee, calf and ankle."""
_LEAST, _MOST = 0.75, 1.5
"""Of that; what the photo says beyond is a wide trouser leg, or a hand in front."""
_UNDER_CLOTH = 0.93
"""Of what hides it: a bare leg is a little slimmer than the narrowest trousers over it."""
_PAINTED_MOST = 1.08
"""Of the usual width: wide trousers tell nothing of the leg in them."""

_OWN = (0.5, 1.7)
"""Of the usual: what the bare part says beyond is a mistaken label."""
_OWN_REACH = 0.6
_FEW_ROWS = 6
_HEM_ROWS = 2

_SKIN_NEAR = 2.4
_FEW_PIXELS = 20
_CYLINDER = (0.24, 0.40, 1.02)
"""How much darker a leg is at its edges, and from where to where that begins."""
_WARMTH = np.array([0.8, 1.05, 1.15], np.float32)
_KNEE_LIGHT, _KNEE_SHADE = 0.03, 0.07
_INNER_SHADE = 0.10
"""The one leg's shadow on the other, at the top, where they meet."""

_SEAM = (0.07, 0.17)
"""Of `at`, below the old trousers' hem: where paint begins to go over into the bare leg, and where
it has. Before it lies the hem's shadow."""
_SEAM_LOWEST = 1.85
"""Of `at`: what ends lower shows a shoe rather than a leg."""
_SEEN = 0.30
"""Of `at`: how much of a bare leg, below that, tells the paint's colour."""
_CARRIED = 0.9
"""Of `at`: how far up from there the paint is of the colour of what is seen; shins are darker than
thighs."""
_GAIN_LEAST, _GAIN_MOST = 0.7, 1.35


@dataclass(frozen=True)
class Leg:
    """One leg, in pixels of the scene it was seen in.

    line: (n, 2), from the hip joint over knee and ankle into the foot. at: (n,), 0 at the hip, 1 at
    the knee, 2 at the ankle. normal: (n, 2), unit, away from the other leg. outer, inner: (n,),
    from the line to the edges of what is seen, clothes included. own: (n,) each, how much wider
    than usual its outer and inner half are, as its bare part shows. cloth_ends: as `at`, where the
    old trousers end; 0 where there are none. unit: the shoulder width.
    """

    line: Points
    at: Floats
    normal: Points
    outer: Floats
    inner: Floats
    own: tuple[Floats, Floats]
    cloth_ends: float
    unit: float

    def half(self) -> Leg:
        """The same at half the size."""
        two = np.float32(0.5)
        return Leg(
            self.line * two,
            self.at,
            self.normal,
            self.outer * two,
            self.inner * two,
            self.own,
            self.cloth_ends,
            self.unit / 2,
        )

    def bare(self) -> tuple[Floats, Floats]:
        """(n,) each: from the line to the outer and the inner edge of the skin."""
        usual = _usual(self.at, self.unit)
        hidden = [
            np.clip(seen * np.float32(_UNDER_CLOTH), _LEAST * of, _PAINTED_MOST * of)
            for seen, of in zip((self.outer, self.inner), usual, strict=True)
        ]
        known = [np.isfinite(own) for own in self.own]
        outer, inner = (
            np.where(sure, of * own, guess).astype(np.float32)
            for sure, of, own, guess in zip(known, usual, self.own, hidden, strict=True)
        )
        return outer, np.minimum(inner, self.inner)

    def points(self, at: Floats) -> Points:
        """(n, 2): on the line."""
        along = [np.interp(at, self.at, self.line[:, i]) for i in (0, 1)]
        return np.stack(along, 1).astype(np.float32)

    def point(self, at: float) -> Point:
        return np.asarray(self.points(np.array([at], np.float32))[0])

    def length(self, begin: float, end: float) -> float:
        """Along the line, pixels."""
        points = self.points(np.linspace(begin, end, 40, dtype=np.float32))
        return float(np.hypot(*np.diff(points, axis=0).T).sum())


def _usual(at: Floats, unit: float) -> tuple[Floats, Floats]:
    outer, inner = np.interp(at, _AT, _OUTER) * unit, np.interp(at, _AT, _INNER) * unit
    return outer.astype(np.float32), inner.astype(np.float32)


def see_legs(scene: Scene) -> dict[Side, Leg]:
    """Both legs; beyond the frame they go on as the pose supposes."""
    lines = {side: _line(scene, side) for side in SIDES}
    cloth = np.clip(scene.parts.person - scene.parts.arms, 0, 1)
    return {side: _see(scene, cloth, side, lines) for side in SIDES}


def _line(scene: Scene, side: Side) -> Points:
    hip, knee, ankle = (scene.joint(of, side) for of in (HIP, KNEE, ANKLE))
    foot = (scene.joint(HEEL, side) + scene.joint(FOOT, side)) / 2
    parts = [
        resample(np.stack([begin, end]), count)[:-1]
        for begin, end, count in ((hip, knee, 25), (knee, ankle, 25))
    ]
    into: Point = np.asarray(foot - ankle, np.float32)
    least = _FOOT * scene.body.shoulder_width
    if float(np.hypot(*into)) < 0.2 * least:  # it points at us
        into = np.asarray((ankle - knee) * 0.3, np.float32)
    reach = min(1.0, least / (float(np.hypot(*into)) + 1e-6))
    parts.append(resample(np.stack([ankle, ankle + into * reach]), _STEPS - 48))
    return rounded(np.concatenate(parts), 5)


def _at() -> Floats:
    return np.concatenate(
        [
            np.linspace(_HIP_AT, _ANKLE_AT, 48, endpoint=False),
            np.linspace(_ANKLE_AT, _HEEL_AT, _STEPS - 48),
        ]
    ).astype(np.float32)


def _see(scene: Scene, cloth: Mask, side: Side, lines: dict[Side, Points]) -> Leg:
    line, other = lines[side], lines["right" if side == "left" else "left"]
    at = _at()
    normal = normals(line, outward=scene.body.across * np.float32(OUTWARD[side]))
    usual_outer, usual_inner = _usual(at, scene.body.shoulder_width)
    reach = 1.8 * float(usual_inner.max())
    outside = exits(cloth, line, normal, reach)
    inside = exits(cloth, line, -normal, reach)
    # A hand in front ends the cloth too soon; the leg goes on behind it.
    inside = np.minimum(_believed(inside, usual_inner), _midway(line, other))
    return Leg(
        line,
        at,
        normal,
        _believed(outside, usual_outer),
        inside,
        own=(
            _own(scene, line, normal, at, usual_outer),
            _own(scene, line, -normal, at, usual_inner),
        ),
        cloth_ends=_cloth_ends(scene, line, at),
        unit=scene.body.shoulder_width,
    )


def _own(scene: Scene, line: Points, way: Points, at: Floats, usual: Floats) -> Floats:
    """(n,): the bare leg's width by the usual one; NaN far above what is bare."""
    found = exits(scene.parts.legs, line, way, 1.8 * float(usual.max()))
    share = found / usual
    inside = (line >= 0).all(1) & (line[:, 0] < scene.width) & (line[:, 1] < scene.height)
    bare = np.isfinite(share) & (share > _OWN[0]) & (share < _OWN[1]) & inside & (at < 1.95)
    # At the old hem the look along the normal runs into the cloth.
    bare = bare & np.roll(bare, _HEM_ROWS)
    own = np.full(len(line), np.nan, np.float32)
    if bare.sum() < _FEW_ROWS:
        return own
    rows = np.flatnonzero(bare)
    own = np.interp(np.arange(len(line)), rows, share[rows]).astype(np.float32)
    # What was seen of the shin tells little of the thigh.
    fade = np.clip((float(at[rows[0]]) - at) / _OWN_REACH, 0, 1).astype(np.float32)
    return np.asarray(own + (np.clip(own, 0.85, 1.1) - own) * fade, np.float32)


def _cloth_ends(scene: Scene, line: Points, at: Floats) -> float:
    x, y = (np.round(line[:, i]).astype(int) for i in (0, 1))
    inside = (x >= 0) & (x < scene.width) & (y >= 0) & (y < scene.height)
    worn = scene.parts.lower[y[inside], x[inside]] > 0.5
    return float(at[inside][worn].max()) if worn.any() else 0.0


def _midway(line: Points, other: Points) -> Floats:
    """(n,): half of the way to the other leg, where one ends and the other begins."""
    away = np.hypot(*(line[:, None] - other[None]).transpose(2, 0, 1))
    return np.asarray(away.min(1) / 2, np.float32)


def _believed(found: Floats, usual: Floats) -> Floats:
    seen = np.where(np.isfinite(found), found, usual)
    return running_mean(np.clip(seen, _LEAST * usual, _MOST * usual).astype(np.float32))


# --- painting -------------------------------------------------------------------------------


def painted_leg(small: Scene, leg: Leg, tone: Floats) -> tuple[Mask, Floats]:
    """Where a bare leg is, and its colour with the light on it; `leg` in the scene's own pixels.

    tone: (3,), the skin, 0–255.
    """
    outer, inner = leg.bare()
    size = (small.height, small.width)
    left, right = leg.line + leg.normal * outer[:, None], leg.line - leg.normal * inner[:, None]
    where = fill(size, np.concatenate([left, right[::-1]]))
    aside, at = _coordinates(leg, size)
    # Light that passes through skin comes out red: shade is warmer than skin in the light.
    lit = _light(aside, at)[..., None] ** _WARMTH
    colour = np.asarray(tone * lit, np.float32)
    return where, colour * _gain(small, leg, where, colour, at)


def _gain(small: Scene, leg: Leg, where: Mask, colour: Floats, at: Floats) -> Floats:
    """(h, w, 3): what the paint is multiplied with to go over into what is seen of the leg."""
    begin = leg.cloth_ends + _SEAM[0]
    seen = (at > begin) & (at < begin + _SEEN) & (where > 0.95) & (_skin(small) > 0.95)
    seen = cv2.erode(seen.astype(np.uint8), disc(3)) > 0
    if leg.cloth_ends == 0 or seen.sum() < _FEW_PIXELS:
        return np.ones((1, 1, 3), np.float32)
    whole = np.median(small.photo[seen] / np.maximum(colour[seen], 1), 0)
    gain = np.clip(whole, _GAIN_LEAST, _GAIN_MOST).astype(np.float32)
    near = 1 - smoothstep(begin - at, 0.0, _CARRIED)[..., None]
    return np.asarray(1 + (gain - 1) * near, np.float32)


def seams(scene: Scene, both: dict[Side, Leg]) -> Mask:
    """Where bare legs begin below old trousers: 1 at the hem, 0 where the photo's own skin goes on.

    both: in full pixels. What is painted there as well hides the hem's shadow and its edge.
    """
    size = (scene.height, scene.width)
    seam = np.zeros(size, np.float32)
    for leg in both.values():
        if not 0 < leg.cloth_ends < _SEAM_LOWEST:
            continue
        _, at = _coordinates(leg, size)
        below = at - leg.cloth_ends
        fading = (1 - smoothstep(below, *_SEAM)) * (below > -_SEAM[0])
        seam = np.maximum(seam, fading * _of_leg(leg, size))
    return np.asarray(seam * _skin(scene), np.float32) if seam.any() else seam


def _skin(scene: Scene) -> Mask:
    """Of the legs; an ankle above a shoe is often taken for a part of it."""
    ankle = skin_distance(scene.photo, scene.parts.skin_tone) < _SKIN_NEAR
    return np.maximum(scene.parts.legs, scene.parts.feet * ankle)


def _of_leg(leg: Leg, size: tuple[int, int]) -> Mask:
    """Where this leg is and the other is not, cloth and skin."""
    left, right = (
        leg.line + leg.normal * (leg.outer * np.float32(1.3))[:, None],
        leg.line - leg.normal * leg.inner[:, None],
    )
    return fill(size, np.concatenate([left, right[::-1]]))


def _coordinates(leg: Leg, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """(h, w) each: -1 on the outer, 1 on the inner edge; and how far down the leg."""
    outer, inner = leg.bare()
    height, width = size
    y = np.arange(height, dtype=np.float32)
    order = np.argsort(leg.line[:, 1], kind="stable")
    rows = leg.line[order, 1]

    def by_row(values: Floats) -> Floats:
        return np.interp(y, rows, values[order]).astype(np.float32)[:, None]

    out_x = by_row(leg.line[:, 0] + leg.normal[:, 0] * outer)
    in_x = by_row(leg.line[:, 0] - leg.normal[:, 0] * inner)
    x = np.arange(width, dtype=np.float32)[None]
    span = np.where(np.abs(in_x - out_x) < 1, 1, in_x - out_x)
    aside = 2 * (x - out_x) / span - 1
    at = np.broadcast_to(by_row(leg.at), size)
    return np.asarray(np.clip(aside, -1.3, 1.3), np.float32), np.asarray(at, np.float32)


def _light(aside: Floats, at: Floats) -> Floats:
    """(h, w): of a leg in front of us, round, with its knee."""
    depth, begin, end = _CYLINDER
    light = 1.03 - depth * smoothstep(np.abs(aside + 0.06), begin, end)
    knee = np.exp(-(((at - 0.97) / 0.055) ** 2) - (aside / 0.5) ** 2)
    below = np.exp(-(((at - 1.07) / 0.035) ** 2) - (aside / 0.6) ** 2)
    beside = np.exp(-(((at - 0.96) / 0.07) ** 2) - ((np.abs(aside) - 0.75) / 0.25) ** 2)
    light += _KNEE_LIGHT * knee - _KNEE_SHADE * below - 0.6 * _KNEE_SHADE * beside
    shin = np.exp(-(((at - 1.5) / 0.35) ** 2) - ((aside + 0.25) / 0.25) ** 2)
    light += 0.03 * shin
    light -= _INNER_SHADE * smoothstep(aside, 0.2, 1.0) * (1 - smoothstep(at, 0.3, 0.9))
    return np.asarray(light, np.float32)


def skin_tone(small: Scene, old: Mask) -> Floats:
    """(3,): the middle of what is seen of the legs' skin, else of the arms', else of the face's.

    old: what is to go, 0–1.
    """
    few = (slice(None, None, 2), slice(None, None, 2))
    photo, old = np.ascontiguousarray(small.photo[few]), old[few]
    near = skin_distance(photo, small.parts.skin_tone) < _SKIN_NEAR
    for part in (small.parts.legs, small.parts.arms, small.parts.face):
        seen = (part[few] > 0.95) & near & (old < 0.02)
        sure = cv2.erode(seen.astype(np.uint8), disc(3)) > 0
        if sure.sum() > _FEW_PIXELS:
            colours = photo[sure]
            # The lighter half: the edges of limbs are in shade, which is painted anew.
            bright = colours.sum(1) >= np.median(colours.sum(1))
            return np.asarray(np.median(colours[bright], 0), np.float32)
    tone = (small.parts.skin_tone / np.array([255, 255, 255])).reshape(1, 1, 3)
    as_bytes = np.asarray(np.clip(tone * 255, 0, 255), np.uint8)
    return cv2.cvtColor(as_bytes, cv2.COLOR_LAB2RGB).reshape(3).astype(np.float32)


def mottle(height: int, width: int, unit: float, seed: int) -> Floats:
    """(h, w): what keeps painted skin from looking like plastic, about 1, ± 1.5 %."""
    noise = np.random.default_rng(seed).standard_normal((height, width), np.float32)
    soft = blur(noise, max(0.5, 0.05 * unit))
    return np.asarray(1 + 0.012 * soft / (float(soft.std()) + 1e-6), np.float32)


def bare_legs(small: Scene, both: dict[Side, Leg], old: Mask) -> list[tuple[Mask, Floats]]:
    """Where bare legs lie under what is to go, and their colours.

    small: the scene at half size. both: in full pixels. old: what is to go, at the small size.
    """
    if not both:
        return []
    tone = skin_tone(small, old)
    mottled = mottle(small.height, small.width, small.body.shoulder_width, seed=7)[..., None]
    painted = [painted_leg(small, leg.half(), tone) for leg in both.values()]
    return [(blur(where, 0.6), colour * mottled) for where, colour in painted]
