"""Trousers, shorts and skirts bent to the body, and painted on the photo.

A skirt is one thin-plate spline; trousers are two, one for each leg with its half of the hips, so
that legs which touch do not run into each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from app.engines.warp import legs, removal, shading
from app.engines.warp.arms import fill, old_sleeve
from app.engines.warp.arrays import blur, resize, smoothstep
from app.engines.warp.composition import Bared, Easel
from app.engines.warp.lower import BottomTarget, Rails
from app.engines.warp.scene import Scene
from app.engines.warp.values import SIDES, BottomOutline, Floats, Garment, Mask, Points, Side
from app.engines.warp.warping import Spline, look_up

_ACROSS = 3
_OVERLAP = 0.012
"""How far the second half reaches over the first on the axis, in shoulder widths, so that there is
no slit between them."""
_EDGE = 0.8
_RELIEF_ON_SKIRTS = 0.35
"""How much of the old garment's folds a skirt takes: two legs' would show through it."""
_LEG_SHADE = 0.26
_INSEAM_SHADE = 0.22
_HAND_SHADOW = 0.30
_TOP_SHADOW = 0.35
_SHADOW_ON_LEGS = 0.38


@dataclass(frozen=True)
class BottomLayer:
    """colour: (h, w, 3), 0–255. cover: 0–1. round: the light of its own roundness, 0–1."""

    colour: Floats
    cover: Mask
    round: Floats


# --- warping --------------------------------------------------------------------------------


def warp_bottom(scene: Scene, garment: Garment, target: BottomTarget) -> BottomLayer:
    """The garment on the body."""
    outline = garment.outline
    assert isinstance(outline, BottomOutline)
    height, width = garment.alpha.shape
    shrink = min(1.0, target.scale * 1.1)
    size = (max(2, round(height * shrink)), max(2, round(width * shrink)))
    factor = size[1] / width
    picture, alpha = resize(garment.picture, *size), resize(garment.alpha, *size)
    if outline.crotch is None:
        return _warp_skirt(scene, picture, alpha, factor, target)
    return _warp_trousers(scene, picture, factor, target)


def _warp_skirt(
    scene: Scene, picture: Floats, alpha: Mask, factor: float, target: BottomTarget
) -> BottomLayer:
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
    field = Spline(on_body, on_garment * np.float32(factor)).field(left, top, height, width)
    box = np.s_[top : top + height, left : left + width]
    colour = np.zeros_like(scene.photo)
    cover = np.zeros(scene.photo.shape[:2], np.float32)
    colour[box] = look_up(picture, field, replicate=True)
    cover[box] = look_up(alpha, field, replicate=False)
    light = _hanging_light(scene, target.worn["left"].outer, target.worn["right"].outer)
    return BottomLayer(colour, cover, light)


def _hanging_light(scene: Scene, left: Points, right: Points) -> Floats:
    """(h, w): darker towards a skirt's flanks."""
    y = np.arange(scene.height, dtype=np.float32)
    edges = [np.interp(y, rail[:, 1], rail[:, 0])[:, None] for rail in (left, right)]
    middle, half = (edges[0] + edges[1]) / 2, np.maximum(1, (edges[1] - edges[0]) / 2)
    aside = np.asarray(np.abs(scene.x - middle) / half, np.float32)
    return np.asarray(1 - 0.20 * smoothstep(aside, 0.5, 1.1), np.float32)


def _warp_trousers(
    scene: Scene, picture: Floats, factor: float, target: BottomTarget
) -> BottomLayer:
    colour = np.zeros_like(scene.photo)
    cover = np.zeros(scene.photo.shape[:2], np.float32)
    light = np.ones_like(cover)
    for side in SIDES:
        flat, worn = _mesh(target, side)
        left, top, height, width = _box(scene, worn.reshape(-1, 2))
        rows, columns = worn.shape[:2]
        lengthwise = np.repeat(np.linspace(0, 1, rows), columns)
        crosswise = np.tile(np.linspace(0, 1, columns), rows)
        values = np.column_stack([flat.reshape(-1, 2) * factor, lengthwise, crosswise])
        field = Spline(worn.reshape(-1, 2), values.astype(np.float32)).field(
            left, top, height, width
        )
        box = np.s_[top : top + height, left : left + width]
        part = _half_cover(scene, target, side, (left, top, height, width))
        seen = look_up(picture, field[..., :2], replicate=True)
        colour[box] += (seen - colour[box]) * part[..., None]
        crotch_at = (target.worn[side].upper - 1) / (rows - 1)
        own = _leg_light(field[..., 2], field[..., 3], crotch_at)
        light[box] += (own - light[box]) * part
        cover[box] += (1 - cover[box]) * part
    return BottomLayer(_unmixed(colour, cover), cover, _unmixed(light[..., None], None)[..., 0])


def _unmixed(colour: Floats, cover: Mask | None) -> Floats:
    """Undo the black that came in at soft edges."""
    if cover is None:
        return colour
    return np.asarray(colour / np.maximum(cover, 0.05)[..., None], np.float32)


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
    mask = fill((height, width), polygon - np.array([left, top], np.float32))
    return blur(mask, _EDGE)


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
    easel = Easel(scene.height, scene.width)
    front = in_front(scene, target)
    old = removal.worn(old_bottom(scene, target)) * (1 - front)
    cover = layer.cover * (1 - front)
    small_old = resize(old, *size)
    grounds = [removal.Ground(np.ones(size, np.float32), removal.background(small), 0.6)]
    bare = [removal.Ground(*leg) for leg in legs.bare_legs(small, target.legs, small_old)]
    grounds += bare
    easel.lay(removal.erase(scene, grounds, seed), old)
    easel.darken(_shadow_on_legs(scene, layer.cover, front))
    light = layer.round * _relief(small, target, (scene.height, scene.width))
    light *= _shadow_of(scene, front, cover)
    easel.lay(layer.colour * light[..., None], cover)
    return easel, _bared(small_old * (1 - resize(cover, *size)), cover, bare)


def _bared(shown: Mask, cover: Mask, bare: list[removal.Ground]) -> Bared:
    """shown: at half size, what was painted and is seen."""
    area = max(1.0, float(cover.sum()) / 4)
    skin = sum(float((shown * ground.where).sum()) for ground in bare) / area
    return Bared(skin=skin, ground=max(0.0, float(shown.sum()) / area - skin), below=0.0)


def in_front(scene: Scene, target: BottomTarget) -> Mask:
    """What hides a bottom: hands and arms, hair, shoes, and the top that hangs over it."""
    parts = scene.parts
    top = np.ones_like(parts.upper)
    if target.tucked:
        top = 1 - smoothstep(scene.down, target.waist_down - 0.16, target.waist_down - 0.12)
        for arm in target.arms.values():
            sleeve = old_sleeve(scene, arm)
            if sleeve is not None:
                top = np.maximum(top, sleeve)
    both = parts.arms + parts.hair + parts.feet + parts.upper * top
    return np.asarray(np.clip(both, 0, 1), np.float32)


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


def _shadow_on_legs(scene: Scene, cover: Mask, front: Mask) -> Floats:
    """(h, w): of the hem, on what is below it."""
    width = scene.body.shoulder_width
    cast = blur(np.roll(cover, int(0.03 * width), 0), 0.05 * width)
    body = np.clip(scene.parts.person, 0, 1) * smoothstep(scene.down, 1.0, 1.1)
    return np.asarray(1 - _SHADOW_ON_LEGS * cast * body * (1 - front) * (1 - cover), np.float32)
