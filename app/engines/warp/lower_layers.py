"""Trousers, shorts and skirts bent to the body, and painted on the photo.

A skirt is one thin-plate spline; trousers are two, one for each leg with its half of the hips, so
that legs which touch do not run into each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from app.engines.warp import legs, removal, shading
from app.engines.warp.arms import Arm, bare_arms, fill, old_sleeve
from app.engines.warp.arrays import blur, disc, push_pull, resize, smoothstep
from app.engines.warp.composition import Bared
from app.engines.warp.easel import Easel
from app.engines.warp.lower import BottomTarget, Rails
from app.engines.warp.scene import Scene
from app.engines.warp.values import SIDES, BottomOutline, Box, Floats, Garment, Mask, Points, Side
from app.engines.warp.warping import Cloth, Piece, Spline, look_up, pieces, worn_size

_ACROSS = 3
_OVERLAP = 0.012
"""How far the second half reaches over the first on the axis, in shoulder widths, so that there is
no slit between them."""
_EDGE = 0.8
_THINNEST = 0.05
"""Cover, 0–1, below which a soft edge's colour is not made up for."""
_OLD_WAIST = 0.08
"""Shoulder widths above the new waist within which cloth of the old garment is painted over."""
_TIP_HALF, _TIP_TALL = 0.065, 0.22
"""How wide and how tall the tip of the gap between trouser legs can be, in widths of the waist."""
_GAP_TALL, _GAP_EDGE = 1.0, 0.015
"""How far below its tip the gap is painted over, and how far into the legs, in the same."""
_RELIEF_ON_SKIRTS = 0.35
"""How much of the old garment's folds a skirt takes: two legs' would show through it."""
_LEG_SHADE = 0.26
_INSEAM_SHADE = 0.22
_HEM_FRINGE = 0.05
_LOOPS = 0.06
"""Shoulder widths: what hangs from a top's hem and is narrower is a belt loop, or a button."""
_LONG_SLEEVE, _BARE = 0.55, 0.15
_FOREARM = (0.55, 0.95)
"""A sleeve that hides more than half of the arm, and a forearm of which so little is skin, are long
sleeves: sleeves had up to 0.01 of skin, a bare arm taken for one 0.33."""
_HAND_SHADOW = 0.30
_SHADOW_ON_LEGS = 0.38


@dataclass(frozen=True)
class BottomLayer:
    """cover: 0–1, of the whole scene. round: the light of its own roundness, 0–1, likewise."""

    cloth: Cloth
    cover: Mask
    round: Floats


@dataclass(frozen=True)
class _Source:
    """The garment at about the size at which it is worn.

    picture: (h, w, 3) float32, 0–255. sharp: the same for the picture that is made, which may be
    larger than the scene. alpha: coverage. scale: pixels of picture and alpha for one of its own.
    """

    picture: Floats
    sharp: Floats
    alpha: Mask
    scale: float


# --- warping --------------------------------------------------------------------------------


def warp_bottom(scene: Scene, garment: Garment, target: BottomTarget) -> BottomLayer:
    """The garment on the body."""
    outline = garment.outline
    assert isinstance(outline, BottomOutline)
    source = _prepare(garment, outline, target, scene.place.enlarge)
    warp = _warp_skirt if outline.crotch is None else _warp_trousers
    return warp(scene, source, target)


def _prepare(
    garment: Garment, outline: BottomOutline, target: BottomTarget, enlarge: float
) -> _Source:
    """enlarge: how many times as large as the scene the picture is that is made."""

    def picture(scale: float) -> Floats:
        shrunk = resize(garment.picture, *worn_size(garment, scale))
        if outline.crotch is not None:
            _close_gap(shrunk, outline, target, shrunk.shape[1] / width)
        return shrunk

    width = garment.alpha.shape[1]
    small = picture(target.scale)
    alpha = resize(garment.alpha, *small.shape[:2])
    sharp = small if enlarge == 1 else picture(target.scale * enlarge)
    return _Source(small, sharp, alpha, small.shape[1] / width)


def _close_gap(
    picture: Floats, outline: BottomOutline, target: BottomTarget, factor: float
) -> None:
    """Paint the legs' cloth over the upper part of the gap between them.

    Its tip is too narrow to be cut out, and below it, for as long as the gap is, the edges that
    were found are half ground. The outline on the body says where the garment ends there.

    picture: changed in place; of `factor` times the garment's size.
    """
    assert outline.crotch is not None
    x, y = outline.crotch * factor
    wide = float(outline.waist[-1, 0] - outline.waist[0, 0]) * factor
    half, tall = max(2.0, _TIP_HALF * wide), _TIP_TALL * wide
    edges = [rails.inner[rails.upper :] * np.float32(factor) for rails in target.flat.values()]
    ends = [edge[edge[:, 1] < y + _GAP_TALL * wide] for edge in edges]
    if any(len(edge) < 2 for edge in ends):
        return
    left, right = sorted(ends, key=lambda edge: float(edge[:, 0].mean()))
    inside = np.array([max(2.0, _GAP_EDGE * wide), 0], np.float32)
    above = np.array([[x - half / 4, y - tall], [x + half / 4, y - tall]], np.float32)
    beside = np.array([[x + half, y + 2], [x - half, y + 2]], np.float32)
    gap = np.concatenate(
        [above, beside[:1], right + inside, (left - inside)[::-1], beside[1:]]
    ).astype(np.float32)
    height, width = picture.shape[:2]
    low, high = gap.min(0), gap.max(0)
    rows = slice(max(0, int(low[1] - 0.2 * tall)), min(height, int(high[1]) + 1))
    columns = slice(max(0, int(low[0] - 2 * half)), min(width, int(high[0] + 2 * half) + 1))
    hole = fill((height, width), gap)[rows, columns]
    if 0 < hole.mean() < 1:
        crop = np.ascontiguousarray(picture[rows, columns])
        picture[rows, columns] = push_pull(crop, np.asarray(1 - hole, np.float32))


def _warp_skirt(scene: Scene, source: _Source, target: BottomTarget) -> BottomLayer:
    flat = [target.flat_waist[1:-1], target.flat_hem[1:-1]]
    worn = [target.worn_waist[1:-1], target.worn_hem[1:-1]]
    for side in SIDES:
        flat.append(target.flat[side].outer)
        worn.append(target.worn[side].outer)
    half = np.float32(0.5)
    flat.append(half * (target.flat["left"].outer + target.flat["right"].outer)[1:-1])
    worn.append(half * (target.worn["left"].outer + target.worn["right"].outer)[1:-1])
    on_body, on_garment = np.concatenate(worn), np.concatenate(flat)
    left, top, height, width = _box(scene, on_body)
    spline = Spline(on_body, on_garment * np.float32(source.scale))
    field = spline.field(left, top, height, width)
    box = np.s_[top : top + height, left : left + width]
    cover = np.zeros((scene.height, scene.width), np.float32)
    cover[box] = look_up(source.alpha, field, replicate=False)
    if target.tucked:
        strip = np.concatenate([target.worn_waist, _above(scene, target.worn_waist)[::-1]])
        cover = np.maximum(cover, fill((scene.height, scene.width), strip) * scene.parts.lower)
    colour = look_up(source.picture, field, replicate=True)
    cloth = Cloth(box, colour, pieces(scene, (source.picture, source.sharp), box, field))
    light = _hanging_light(scene, target.worn["left"].outer, target.worn["right"].outer)
    return BottomLayer(cloth, cover, light)


def _hanging_light(scene: Scene, left: Points, right: Points) -> Floats:
    """(h, w): darker towards a skirt's flanks."""
    y = np.arange(scene.height, dtype=np.float32)
    edges = [np.interp(y, rail[:, 1], rail[:, 0])[:, None] for rail in (left, right)]
    middle, half = (edges[0] + edges[1]) / 2, np.maximum(1, (edges[1] - edges[0]) / 2)
    aside = np.asarray(np.abs(scene.x - middle) / half, np.float32)
    return np.asarray(1 - 0.20 * smoothstep(aside, 0.5, 1.1), np.float32)


def _warp_trousers(scene: Scene, source: _Source, target: BottomTarget) -> BottomLayer:
    size = (scene.height, scene.width)
    colour, cover = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
    light = np.ones_like(cover)
    halves: list[tuple[Box, Floats, Mask]] = []
    for side in SIDES:
        flat, worn = _mesh(target, side)
        left, top, height, width = _box(scene, worn.reshape(-1, 2))
        rows, columns = worn.shape[:2]
        lengthwise = np.repeat(np.linspace(0, 1, rows), columns)
        crosswise = np.tile(np.linspace(0, 1, columns), rows)
        values = np.column_stack([flat.reshape(-1, 2) * source.scale, lengthwise, crosswise])
        field = Spline(worn.reshape(-1, 2), values.astype(np.float32)).field(
            left, top, height, width
        )
        box = np.s_[top : top + height, left : left + width]
        part = _half_cover(scene, target, side, (left, top, height, width))
        seen = look_up(source.picture, field[..., :2], replicate=True)
        colour[box] += (seen - colour[box]) * part[..., None]
        crotch_at = (target.worn[side].upper - 1) / (rows - 1)
        own = _leg_light(field[..., 2], field[..., 3], crotch_at)
        light[box] += (own - light[box]) * part
        cover[box] += (1 - cover[box]) * part
        halves.append((box, field, part))
    # What of the black below came in at soft edges is undone.
    colour /= np.maximum(cover, _THINNEST)[..., None]
    cloth = Cloth(np.s_[: scene.height, : scene.width], colour)
    return BottomLayer(replace(cloth, pieces=_halves(scene, source, halves, cover)), cover, light)


def _halves(
    scene: Scene, source: _Source, halves: list[tuple[Box, Floats, Mask]], cover: Mask
) -> tuple[Piece, ...]:
    """halves: the box of each, its field and its cover; the second lies over the first."""
    if scene.place.enlarge == 1:
        return ()
    found: list[Piece] = []
    uncovered = np.ones_like(cover)
    for box, field, part in reversed(halves):
        share = np.asarray(part * uncovered[box] / np.maximum(cover[box], _THINNEST), np.float32)
        uncovered[box] *= 1 - part
        found += pieces(scene, (source.picture, source.sharp), box, field, share)
    return tuple(found)


def _mesh(target: BottomTarget, side: Side) -> tuple[Points, Points]:
    """(rows, columns, 2) each: points of the garment, and where they go."""
    share = np.linspace(0, 1, _ACROSS, dtype=np.float32)[None, :, None]

    def between(rails: Rails) -> Points:
        return rails.outer[:, None] * (1 - share) + rails.inner[:, None] * share

    flat, worn = between(target.flat[side]), between(target.worn[side])
    for mesh, waist in ((flat, target.flat_waist), (worn, target.worn_waist)):
        half = waist[: len(waist) // 2 + 1]
        if side == "right":
            half = waist[len(waist) // 2 :][::-1]
        at = np.linspace(0, len(half) - 1, _ACROSS)
        for axis in (0, 1):
            mesh[0, :, axis] = np.interp(at, np.arange(len(half)), half[:, axis])
    return flat, worn


def _half_cover(
    scene: Scene, target: BottomTarget, side: Side, box: tuple[int, int, int, int]
) -> Mask:
    left, top, height, width = box
    rails = target.worn[side]
    _, worn = _mesh(target, side)
    inner = rails.inner.copy()
    if side == "right":
        inner[: rails.upper] -= scene.body.across * np.float32(_OVERLAP * scene.body.shoulder_width)
    polygon = np.concatenate([worn[0, :-1], inner, rails.outer[1:][::-1]])
    corner = np.array([left, top], np.float32)
    mask = blur(fill((height, width), polygon - corner), _EDGE)
    if target.tucked:
        strip = np.concatenate([worn[0], _above(scene, worn[0])[::-1]])
        lower = scene.parts.lower[top : top + height, left : left + width]
        mask = np.maximum(mask, fill((height, width), strip - corner) * lower)
    return mask


def _above(scene: Scene, waist: Points) -> Points:
    """As far above a new waist as the old one may still show."""
    return waist + scene.body.up * np.float32(_OLD_WAIST * scene.body.shoulder_width)


def _leg_light(along: Floats, across: Floats, crotch_at: float) -> Floats:
    """(h, w): a round leg's light; above the crotch only the flank is in shade."""
    legs_at = smoothstep(along, crotch_at - 0.1, crotch_at + 0.12)
    flank = 1 - _LEG_SHADE * smoothstep(1 - across, 0.55, 1.1)
    inseam = 1 - _INSEAM_SHADE * smoothstep(across, 0.6, 1.1) * legs_at
    return np.asarray(flank * inseam, np.float32)


def _box(scene: Scene, points: Points) -> tuple[int, int, int, int]:
    """left, top, height, width: the points and a little round them, within the scene."""
    margin = 0.15 * scene.body.shoulder_width
    low, high = np.floor(points.min(0) - margin), np.ceil(points.max(0) + margin)
    left = int(np.clip(low[0], 0, scene.width - 2))
    top = int(np.clip(low[1], 0, scene.height - 2))
    right = int(np.clip(high[0], left + 2, scene.width))
    bottom = int(np.clip(high[1], top + 2, scene.height))
    return left, top, bottom - top, right - left


# --- painting -------------------------------------------------------------------------------


def paint_bottom(
    scene: Scene, layer: BottomLayer, target: BottomTarget, *, seed: int
) -> tuple[Easel, Bared]:
    """Everything that a bottom changes."""
    small = scene.half()
    size = (small.height, small.width)
    easel = Easel.of(scene)
    front = in_front(scene, target)
    old = np.maximum(removal.worn(old_bottom(scene, target)), _fringe(scene))
    old = np.maximum(old, legs.seams(scene, target.legs)) * (1 - front)
    cover = layer.cover * (1 - front)
    if not target.tucked:
        cover = cover * _below_top(scene)
    small_old = resize(old, *size)
    grounds = [removal.Ground(np.ones(size, np.float32), removal.background(small), 0.6)]
    bare = [removal.Ground(*leg) for leg in legs.bare_legs(small, target.legs, small_old)]
    grounds += bare
    easel.lay(removal.erase(scene, grounds, seed), old)
    skin = resize(_union([ground.where for ground in bare], size), scene.height, scene.width)
    easel.darken(_shadow_on_legs(scene, layer.cover * (1 - front), skin, old))
    light = layer.round * _relief(small, target, (scene.height, scene.width))
    light *= _shadow_of(scene, front, cover)
    easel.lay_cloth(layer.cloth, light, cover)
    easel.uncover(scene.hands)
    return easel, _bared(small_old * (1 - resize(cover, *size)), cover, bare)


def _bared(shown: Mask, cover: Mask, bare: list[removal.Ground]) -> Bared:
    """shown: at half size, what was painted and is seen."""
    area = max(1.0, float(cover.sum()) / 4)
    skin = sum(float((shown * ground.where).sum()) for ground in bare) / area
    return Bared(skin=skin, ground=max(0.0, float(shown.sum()) / area - skin), below=0.0)


def _below_top(scene: Scene) -> Mask:
    """Beside a top that hangs over the garment nothing of it shows."""
    few = (slice(None, None, 2), slice(None, None, 2))
    worn = (scene.parts.lower[few] > 0.5) & (
        np.abs(scene.aside[few]) < 0.4 * scene.body.shoulder_width
    )
    begins = float(np.percentile(scene.down[few][worn], 3)) if worn.any() else 0.9
    below = smoothstep(scene.down, begins + 0.01, begins + 0.12)
    return np.maximum(below, smoothstep(scene.parts.person, 0.5, 1.0))


def in_front(scene: Scene, target: BottomTarget) -> Mask:
    """What hides a bottom: hands and arms, hair, shoes, and the top that hangs over it."""
    parts = scene.parts
    top = np.ones_like(parts.upper)
    if target.tucked:
        top = 1 - smoothstep(scene.down, target.waist_down - 0.16, target.waist_down - 0.12)
        for arm in target.arms.values():  # short sleeves do not reach down to a waist
            sleeve = old_sleeve(scene, arm) if _long_sleeved(scene, arm) else None
            if sleeve is not None:
                top = np.maximum(top, sleeve)
    hanging = _without_loops(scene)
    both = bare_arms(scene) + parts.hair + _shoes(scene, target) + hanging * top
    return np.asarray(np.clip(both, 0, 1), np.float32)


def _without_loops(scene: Scene) -> Mask:
    """The old top, without what is narrow."""
    upper = scene.parts.upper
    size = ((scene.height + 1) // 2, (scene.width + 1) // 2)
    reach = disc(int(_LOOPS * scene.body.shoulder_width / 2))
    opened = cv2.morphologyEx((resize(upper, *size) > 0.5).astype(np.uint8), cv2.MORPH_OPEN, reach)
    whole = cv2.dilate(opened, disc(3)).astype(np.float32)
    return np.minimum(upper, resize(whole, scene.height, scene.width))


def _long_sleeved(scene: Scene, arm: Arm) -> bool:
    """Whether cloth reaches down the forearm; where the labels doubt it, it does not."""
    polygon = arm.outline(*_FOREARM, arm.outer, arm.inner)
    where = fill((scene.height, scene.width), polygon)
    bare = float((where * scene.parts.arms).sum()) / max(1.0, float(where.sum()))
    return arm.bare_from > _LONG_SLEEVE and bare < _BARE


def _shoes(scene: Scene, target: BottomTarget) -> Mask:
    """Feet and shoes, but for the fringe that is the old trousers' hem; long ones hide them."""
    feet = scene.parts.feet
    if target.long:
        below = [rails.outer[-1] + rails.inner[-1] for rails in target.worn.values()]
        hem = min(float(point[1]) / 2 for point in below)
        feet = feet * smoothstep(np.broadcast_to(scene.y, feet.shape), hem - 1, hem + 3)
    return np.asarray(feet * (1 - _fringe(scene)), np.float32)


def _fringe(scene: Scene) -> Mask:
    """What was taken for shoes along the hem of the old trousers."""
    reach = disc(int(_HEM_FRINGE * scene.body.shoulder_width))
    round_it = cv2.dilate((scene.parts.lower > 0.5).astype(np.uint8), reach)
    feet = cv2.dilate((scene.parts.feet > 0.3).astype(np.uint8), reach)
    return blur(np.asarray(round_it * feet, np.float32), 1.0)


def old_bottom(scene: Scene, target: BottomTarget) -> Mask:
    """The old trousers or skirt; of an old dress what lies below the new waist."""
    lower = scene.parts.lower
    if not target.tucked:
        return lower
    below = smoothstep(scene.down, target.waist_down + 0.02, target.waist_down + 0.05)
    return np.asarray(np.maximum(lower, scene.parts.upper * below), np.float32)


def _relief(small: Scene, target: BottomTarget, size: tuple[int, int]) -> Floats:
    """(h, w): the folds of the old trousers' light."""
    parts = small.parts
    lab = cv2.cvtColor(small.photo / 255, cv2.COLOR_RGB2LAB)[..., 0] * 2.55
    sure = parts.lower > 0.6
    texture = float(lab[sure].std()) if sure.sum() > 50 else 99.0
    as_upper = replace(parts, upper=parts.lower, upper_texture=texture)
    relief = shading.old_relief(replace(small, parts=as_upper))
    if _kind(target) == "skirt":
        relief = relief**_RELIEF_ON_SKIRTS
    return resize(np.asarray(relief, np.float32), *size)


def _kind(target: BottomTarget) -> str:
    rails = target.flat["left"]
    return "skirt" if rails.upper == len(rails.inner) else "trousers"


def _shadow_of(scene: Scene, front: Mask, cover: Mask) -> Floats:
    """(h, w): of hands, and of the top's hem, on the garment."""
    width = scene.body.shoulder_width
    cast = blur(np.roll(front, int(0.012 * width), 0), 0.03 * width)
    return np.asarray(1 - _HAND_SHADOW * cast * (1 - front) * cover, np.float32)


def _shadow_on_legs(scene: Scene, cover: Mask, skin: Mask, old: Mask) -> Floats:
    """(h, w): of the hem, on the legs below it. skin: where they are painted, instead of `old`."""
    width = scene.body.shoulder_width
    cast = blur(np.roll(cover, int(0.03 * width), 0), 0.05 * width)
    parts = scene.parts
    body = np.clip(parts.legs + parts.feet, 0, 1) * (1 - old) + skin * old
    return np.asarray(1 - _SHADOW_ON_LEGS * cast * body * (1 - cover), np.float32)


def _union(masks: list[Mask], size: tuple[int, int]) -> Mask:
    union = np.zeros(size, np.float32)
    for mask in masks:
        np.maximum(union, mask, out=union)
    return union
