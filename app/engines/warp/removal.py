"""The photo without the old garment, where it would show.

What was under it is not known. It is painted smoothly from what is next to it: background beside
the body, skin on arms and chest, the trousers' colour below the waist; with the grain of the photo,
so that it does not look like plastic.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import blur, capsules, disc, push_pull, resize, smoothstep
from app.engines.warp.scene import Scene
from app.engines.warp.targets import TORSO_ROWS
from app.engines.warp.values import SIDES, Floats, Mask, Side

_SKIN_SPREAD = np.array([42.0, 9.0, 11.0], np.float32)
"""How far skin strays from its median, in Lab: lightness loosely, colour closely."""
_SKIN_NEAR = 2.4
_ARM_EDGE = (0.66, 0.76)
"""Painted arms are a little slimmer than the prior's capsules: sleeves hide their edges."""
_ARM_SHADE = 0.30
_WAIST = (0.80, 0.84)
"""Above it what appears is skin, below it the trousers or the skirt."""


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
    return np.clip(blur(hard.astype(np.float32), 1.0), 0, 1)


def bare_grounds(small: Scene, old: Mask, half_widths: dict[Side, Floats]) -> list[Ground]:
    """What lies under a top: background, trousers, chest, arms.

    small: the scene at half size. old: what is to go, at its size. half_widths: as in `TopTarget`,
    in its pixels.
    """
    skin = painted_skin(small, old)
    beside = beside_torso(small, half_widths)
    down = small.down
    chest = (
        (1 - smoothstep(down, *_WAIST))
        * (1 - smoothstep(beside, 0.98, 1.06))
        * smoothstep(down, -0.35, -0.3)
        * smoothstep(small.parts.person, 0.4, 0.8)
    )
    below = smoothstep(down, *_WAIST) * (1 - smoothstep(beside, 1.06, 1.12))
    grounds = [Ground(np.ones_like(down), _background(small), 0.6)]
    lower = _lower(small, old)
    if lower is not None:
        grounds.append(Ground(below, lower))
    grounds.append(Ground(chest, skin))
    for side in SIDES:
        bones, radii = small.arm(side)
        limb = capsules(bones, radii, small.height, small.width)
        where = (1 - smoothstep(limb, *_ARM_EDGE)) * smoothstep(down, -0.06, 0.0)
        shade = 1 - _ARM_SHADE * smoothstep(limb, 0.15, 0.75)
        grounds.append(Ground(where, skin * shade[..., None]))
    return grounds


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
        where = ground.where[..., None]
        colour += (ground.colour - colour) * where
        roughness += (ground.grain - roughness) * ground.where
    size = (scene.height, scene.width)
    grain = _grain(*size, seed) * resize(roughness, *size)
    return np.asarray(resize(colour, *size) + grain[..., None], np.float32)


def _grain(height: int, width: int, seed: int) -> Mask:
    """What a camera adds: noise with a standard deviation of about one level, one pixel wide."""
    noise = np.random.default_rng(seed).standard_normal((height, width), np.float32)
    return blur(noise, 0.7) * 2.0


def painted_skin(small: Scene, old: Mask) -> Floats:
    """The skin that is seen, carried on smoothly over all that is not."""
    parts = small.parts
    lab = cv2.cvtColor(small.photo / 255, cv2.COLOR_RGB2LAB)
    lab *= np.array([2.55, 1, 1], np.float32)
    lab += np.array([0, 128, 128], np.float32)
    strayed = np.sqrt((((lab - parts.skin_tone) / _SKIN_SPREAD) ** 2).sum(2))
    seen = (parts.face + parts.arms > 0.97) & (strayed < _SKIN_NEAR) & (old < 0.02)
    return _spread(small.photo, seen, 3)


def _background(small: Scene) -> Floats:
    return _spread(small.photo, small.parts.person < 0.02, 5)


def _lower(small: Scene, old: Mask) -> Floats | None:
    seen = (small.parts.lower > 0.9) & (old < 0.02)
    return _spread(small.photo, seen, 3) if seen.sum() > 50 else None


def _spread(photo: Floats, seen: NDArray[np.bool_], margin: int) -> Floats:
    """The photo where seen, without its edges, and smoothly on from there."""
    sure = cv2.erode(seen.astype(np.uint8), disc(margin))
    if sure.sum() < 30:
        sure = seen.astype(np.uint8)
    return push_pull(photo, sure.astype(np.float32))
