"""The photo without the old garment, where it would show.

What was under it is not known. It is painted smoothly from what is next to it: background beside
the body, skin on arms and chest, the trousers' own cloth below the waist; with the light and the
grain of the photo, so that it does not look like plastic.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arms import Arm, bare_core, old_sleeve, painted_arm, skin_distance, strayed
from app.engines.warp.arrays import blur, disc, push_pull, resize, smoothstep
from app.engines.warp.legs import bare_legs, seams
from app.engines.warp.scene import Scene
from app.engines.warp.targets import TORSO_ROWS, TopTarget
from app.engines.warp.values import SIDES, Floats, Mask, Points, Side

_SKIN_NEAR = 2.4
"""Of what is painted on: in the skin's usual spreads, as `arms.skin_distance` measures."""
_ARM_SHADE = 0.20
"""How much darker a painted arm is at its edges than in its middle."""
_WAIST_LOWEST, _WAIST_HIGHEST = 0.80, 0.60
"""As `down`. Above the waist what appears is skin, below it the trousers or the skirt; high ones
reach up to a short top, which leaves no belly bare that was not bare before."""
_EDGE = 3
"""Pixels round the old garment that still have some of its colour."""
_HOLE = 0.12
"""What is narrower is a hole in the old top, in shoulder widths."""
_FLANK = (0.97, 1.03)
"""As `beside_torso`: where a new top's own edge is."""
_DRESS_BEGINS = 1.2
"""An old garment that ends below this is a dress: under a new top it stays, as a skirt."""
_BELOW_CHIN = -0.30
_TILE = 256
"""Of noise, pixels: it repeats, which nobody sees."""
_TORSO_ENDS = (1.08, 1.16)
_GRAIN_LEAST, _GRAIN_MOST = 0.5, 3.0
"""Standard deviation of a camera's noise, levels."""


@dataclass(frozen=True)
class Ground:
    """Something that lies bare once the old garment is gone; later ones lie in front.

    where: 0–1. colour: (h, w, 3) float32, 0–255, smooth. grain: how much of the photo's is added.
    """

    where: Mask
    colour: Floats
    grain: float = 1.0


def worn(*masks: Mask, reach: int = 2) -> Mask:
    """What is to go: the masks together, and `reach` pixels round them, softly."""
    union = masks[0]
    for mask in masks[1:]:
        union = np.maximum(union, mask)
    hard = cv2.dilate((union > 0.25).astype(np.uint8), disc(2 * reach + 1))
    return np.asarray(np.clip(blur(hard.astype(np.float32), 1.0), 0, 1), np.float32)


def old_top(scene: Scene, target: TopTarget) -> Mask:
    """Where the old top is, its sleeves as limbs: whole, and nothing of the bare arms."""
    near = np.minimum(1, blur(scene.parts.person, 0.01 * scene.body.shoulder_width) * 3)
    upper = scene.parts.upper
    if target.legs:  # a dress takes the place of all
        upper = np.maximum(upper, scene.parts.lower)
    for arm in target.arms.values():
        sleeve = old_sleeve(scene, arm)
        if sleeve is not None:
            upper = np.maximum(upper, sleeve * near)
        upper = upper * (1 - bare_core(scene, arm))
    if target.old_hem_down > _DRESS_BEGINS and not target.legs:
        below = smoothstep(scene.down, target.hem_down - 0.07, target.hem_down - 0.04)
        upper = upper * (1 - below)
    old = worn(_without_holes(scene, np.asarray(upper, np.float32)), reach=_EDGE)
    if not target.legs:
        old = np.maximum(old, _hidden_lower(scene, target))
    return np.maximum(old, seams(scene, target.legs)) if target.legs else old


def _hidden_lower(scene: Scene, target: TopTarget) -> Mask:
    """What of trousers or a skirt stands out beside the new top above its hem, which hides it."""
    beside = smoothstep(beside_torso(scene, target.half_widths), *_FLANK)
    above = 1 - smoothstep(scene.down, target.hem_down - 0.04, target.hem_down - 0.01)
    lower = scene.parts.lower
    for arm in target.arms.values():
        lower = np.maximum(lower, scene.parts.arms * strayed(scene, arm))
    return np.asarray(worn(lower * beside * above, reach=1), np.float32)


def _without_holes(scene: Scene, upper: Mask) -> Mask:
    """Prints and buttons that were taken for something else belong to the garment round them."""
    size = ((scene.height + 1) // 4, (scene.width + 1) // 4)
    small = resize(upper, *size)
    reach = disc(int(_HOLE * scene.body.shoulder_width / 4))
    closed = np.asarray(cv2.morphologyEx(small, cv2.MORPH_CLOSE, reach), np.float32)
    parts = scene.parts
    others = np.maximum(np.maximum(parts.hair, parts.lower), parts.face)
    filled = resize(closed, scene.height, scene.width) * (1 - others)
    return np.asarray(np.maximum(upper, filled), np.float32)


def bare_grounds(small: Scene, old: Mask, target: TopTarget, relief: Floats) -> list[Ground]:
    """What lies under a top: background, trousers, chest, arms.

    small: the scene at half size. old: what is to go, at its size. target: in full pixels.
    relief: the light on the old garment, which the chest under it shares.
    """
    half_widths = halved(target.half_widths)
    skin = painted_skin(small, old)
    beside, down = beside_torso(small, half_widths), small.down
    waist = _waist(target)
    body = smoothstep(small.parts.person, 0.4, 0.8)
    width = small.body.shoulder_width
    # On the shoulders the skin goes out to the joints, below them to the flanks.
    wide = np.where(down < 0.12, np.abs(small.aside) / (0.56 * width), beside)
    if target.legs:  # between the legs is what lies behind them
        body = body * (1 - smoothstep(down, *_TORSO_ENDS))
    chest = body * (1 - smoothstep(wide, 0.98, 1.06)) * smoothstep(down, -0.35, -0.3)
    # Above the new hem the trousers are hidden: what appears beside it is what lies behind.
    aside = beside + 0.1 * (1 - smoothstep(down, target.hem_down - 0.04, target.hem_down))
    below = smoothstep(down, waist, waist + 0.03) * (1 - smoothstep(aside, 1.06, 1.12))
    grounds = [
        Ground(np.ones_like(down), background(small), 0.6),
        Ground(chest, skin * relief[..., None] ** 0.5),
    ]
    grounds += [Ground(*leg) for leg in bare_legs(small, target.legs, old)]
    lower = None if target.legs else _lower(small, old, target.old_hem_down)
    if lower is not None:
        grounds.append(Ground(below, lower))
    for side in SIDES:
        ground = _arm_ground(small, target.arms[side].half(), skin)
        if ground is not None:
            grounds.append(ground)
    return grounds


def _waist(target: TopTarget) -> float:
    """From where on what appears is the trousers', as `down`."""
    if target.old_hem_down < _WAIST_LOWEST:  # the old top showed the belly, so the new one may
        return _WAIST_LOWEST
    return float(np.clip(target.hem_down - 0.06, _WAIST_HIGHEST, _WAIST_LOWEST))


def _arm_ground(small: Scene, arm: Arm, skin: Floats) -> Ground | None:
    where = painted_arm(small, arm)
    if where is None:
        return None
    depth = np.asarray(
        cv2.distanceTransform((where > 0.5).astype(np.uint8), cv2.DIST_L2, 3), np.float32
    )
    deepest = max(1.0, float(np.percentile(depth[depth > 0], 95))) if depth.any() else 1.0
    shade = 1.06 - _ARM_SHADE * (1 - smoothstep(depth / deepest, 0.0, 0.9))
    lit = skin * blur(shade, 1.5)[..., None]
    lit *= _gain(small.photo, lit, arm)
    # The shoulder is a part of the chest: no edge of a limb is seen on it.
    joint, width = arm.line[0], small.body.shoulder_width
    away = np.hypot(small.x - joint[0], small.y - joint[1])
    limb = smoothstep(np.asarray(away, np.float32), 0.15 * width, 0.45 * width)[..., None]
    return Ground(where, np.asarray(skin + (lit - skin) * limb, np.float32))


def _gain(photo: Floats, painted: Floats, arm: Arm) -> Floats:
    """(3,): what the paint is multiplied with to go over into the skin below the old sleeve.

    What is carried on from an arm's edges is darker than its middle.
    """
    at = np.linspace(0, 1, len(arm.line))
    bare = arm.line[(at > arm.bare_from + 0.05) & (at < min(0.9, arm.bare_from + 0.2))]
    hidden = arm.line[(at > arm.bare_from - 0.15) & (at < arm.bare_from - 0.02)]
    if len(bare) < 3 or len(hidden) < 3:
        return np.ones(3, np.float32)
    true, ours = (_mean_at(picture, line) for picture, line in ((photo, bare), (painted, hidden)))
    return np.clip(true / np.maximum(ours, 1), 0.85, 1.25).astype(np.float32)


def _mean_at(picture: Floats, line: Points) -> Floats:
    x, y = (np.ascontiguousarray(line[None, :, i], np.float32) for i in (0, 1))
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR)[0].mean(0), np.float32)


def halved(half_widths: dict[Side, Floats]) -> dict[Side, Floats]:
    return {side: half_widths[side] * np.float32(0.5) for side in SIDES}


def beside_torso(scene: Scene, half_widths: dict[Side, Floats]) -> Floats:
    """(h, w): 0 on the spine, 1 on the torso's flanks."""
    left = np.interp(scene.down, TORSO_ROWS, half_widths["left"])
    right = np.interp(scene.down, TORSO_ROWS, half_widths["right"])
    half = np.where(scene.aside < 0, left, right)
    return np.asarray(np.abs(scene.aside) / half, np.float32)


def erase(scene: Scene, grounds: list[Ground], seed: int) -> Floats:
    """(h, w, 3) float32: the grounds one over the other, at the scene's size, with grain."""
    colour = grounds[0].colour.copy()
    roughness = np.full(colour.shape[:2], grounds[0].grain, np.float32)
    for ground in grounds[1:]:
        colour += (ground.colour - colour) * ground.where[..., None]
        roughness += (ground.grain - roughness) * ground.where
    size = (scene.height, scene.width)
    grain = _grain(scene, seed) * resize(roughness, *size)
    return np.asarray(resize(colour, *size) + grain[..., None], np.float32)


def _grain(scene: Scene, seed: int) -> Mask:
    """Noise as strong as on the photo's own skin, and mottles a few pixels wide."""
    skin = (scene.parts.face + scene.parts.arms > 0.97)[::2, ::2]
    green = np.ascontiguousarray(scene.photo[..., 1])
    rough = (green - blur(green, 1.2))[::2, ::2][skin]
    strength = 1.0
    if rough.size > 200:  # edges of lips and fingers must not count as grain
        strength = float(np.clip(np.percentile(np.abs(rough), 60), _GRAIN_LEAST, _GRAIN_MOST))
    tile = np.random.default_rng(seed).standard_normal((_TILE, _TILE), np.float32)
    times = (-(-scene.height // _TILE), -(-scene.width // _TILE))
    noise = np.tile(tile, times)[: scene.height, : scene.width]
    mottles = blur(noise, 0.02 * scene.body.shoulder_width + 1)
    mottles *= 0.8 / max(1e-3, float(mottles.std()))
    return np.asarray(blur(noise, 0.7) * (2.3 * strength) + mottles, np.float32)


def painted_skin(small: Scene, old: Mask) -> Floats:
    """The skin that is seen, carried on smoothly over all that is not."""
    parts = small.parts
    near = skin_distance(small.photo, parts.skin_tone) < _SKIN_NEAR
    seen = (parts.face + parts.arms > 0.97) & near & (old < 0.02)
    # The face is lighter than what lies below it, and has lips: only where there is nothing else.
    below = seen & (small.down > _BELOW_CHIN)
    seen = below if below.sum() > 0.02 * small.body.shoulder_width**2 else seen
    return _spread(small.photo, seen, 3)


def background(small: Scene) -> Floats:
    return _spread(small.photo, small.parts.person < 0.02, 5)


def _lower(small: Scene, old: Mask, old_hem: float) -> Floats | None:
    """The trousers' cloth, mirrored at the old hem to go on above it; None where there is none."""
    seen = (small.parts.lower > 0.9) & (old < 0.02)
    if seen.sum() < 50:
        return None
    smooth = _spread(small.photo, seen, 3)
    edge = old_hem + 0.04
    back = np.maximum(edge - small.down, 0) * (2 * small.body.torso_length)
    x = np.asarray(small.x - small.body.up[0] * back, np.float32)
    y = np.asarray(small.y - small.body.up[1] * back, np.float32)
    cloth = np.asarray(cv2.remap(small.photo, x, y, cv2.INTER_LINEAR), np.float32)
    known = cv2.remap(seen.astype(np.float32), x, y, cv2.INTER_LINEAR)
    known = blur(np.asarray(cv2.erode(known, disc(5)), np.float32), 1.5)
    return np.asarray(smooth + (cloth - smooth) * known[..., None], np.float32)


def _spread(photo: Floats, seen: NDArray[np.bool_], margin: int) -> Floats:
    """The photo where seen, without its edges, and smoothly on from there."""
    sure = cv2.erode(seen.astype(np.uint8), disc(margin))
    if sure.sum() < 30:
        sure = seen.astype(np.uint8)
    return push_pull(photo, np.asarray(sure, np.float32))
