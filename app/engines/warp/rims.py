"""The edges of bare arms that hang before patterned cloth, found once more by colour.

Where an arm lies before a skirt, the labels' edge between them strays by some pixels into the
pattern, and what is taken for arm stays when the skirt goes. Beside each forearm the colours of arm
and of cloth are learned again, and a rim of the arm that has the cloth's colours is cloth.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import blur, disc, lab
from app.engines.warp.colours import Mixture, Palette, shade_free
from app.engines.warp.scene import Scene
from app.engines.warp.values import SIDES, Floats, Mask, Side

_RIM = 0.055
"""Shoulder widths from the cloth's label within which an arm's label may be the cloth's."""
_ROOM = 0.25
"""Shoulder widths round the forearm in which colours are learned."""
_DRESS_FROM, _DRESS_TO = 1.1, 1.3
"""As `down`: there a dress is labelled as the upper garment, and below a top is something else."""
_LABELLED, _SURE = 0.5, 0.95
_ARM_COLOURS, _CLOTH_COLOURS = 3, 5
_CLEARLY = 3.0
"""Of costs: skin in the cloth's shadow is like neither, and stays arm."""
_FEWEST = 60
"""Pixels of each, to learn from."""


def with_rims(scene: Scene) -> Scene:
    """The scene whose bare forearms end where the cloth's colours begin."""
    parts = scene.parts
    dress = _wears_dress(scene)
    arms, worn = parts.arms, parts.upper if dress else parts.lower
    for side in SIDES:
        box = _box(scene, side)
        cloth = _cloth(scene.photo[box], arms[box], worn[box], scene.body.shoulder_width)
        if cloth is None:
            continue
        if arms is parts.arms:
            arms, worn = arms.copy(), worn.copy()
        arms[box] *= 1 - cloth
        worn[box] = np.maximum(worn[box], cloth)
    upper, lower = (worn, parts.lower) if dress else (parts.upper, worn)
    return replace(scene, parts=replace(parts, arms=arms, upper=upper, lower=lower))


def _wears_dress(scene: Scene) -> bool:
    """Whether the upper garment goes on where skirts and trousers are."""
    below = (scene.down > _DRESS_FROM) & (scene.down < _DRESS_TO)
    return float(scene.parts.upper[below].sum()) > float(scene.parts.lower[below].sum())


def _box(scene: Scene, side: Side) -> tuple[slice, slice]:
    """Rows and columns of the forearm and what is round it."""
    bone, _ = scene.forearm(side)
    room = _ROOM * scene.body.shoulder_width
    low = np.clip(bone.min(0) - room, 0, (scene.width, scene.height)).astype(int)
    high = np.clip(bone.max(0) + room, 0, (scene.width, scene.height)).astype(int)
    return np.s_[low[1] : high[1], low[0] : high[0]]


def _cloth(photo: Floats, arms: Mask, worn: Mask, unit: float) -> Mask | None:
    """(h, w), 0–1: the cloth, what was taken for the arm's rim included; None where nothing was."""
    labelled, skirt = arms > _LABELLED, worn > _LABELLED
    if skirt.sum() < _FEWEST or labelled.sum() < _FEWEST:
        return None
    reach = disc(2 * round(_RIM * unit) + 1)
    rim = labelled & (cv2.dilate(skirt.astype(np.uint8), reach) > 0)
    core = labelled & ~rim & (arms > _SURE)
    if core.sum() < _FEWEST:
        core = labelled & (cv2.erode(labelled.astype(np.uint8), disc(5)) > 0)
    away = cv2.dilate(labelled.astype(np.uint8), disc(5)) == 0
    taught = (worn > _SURE) & away
    if core.sum() < _FEWEST or taught.sum() < _FEWEST:
        return None
    flat = shade_free(lab(np.asarray(np.clip(photo, 0, 255), np.uint8))).reshape(-1, 3)
    palette = Palette.counted(flat)
    own = Mixture.learned(flat[core.ravel()], _ARM_COLOURS)
    other = Mixture.learned(flat[taught.ravel()], _CLOTH_COLOURS)
    like = (palette.cost(own) > palette.cost(other) + _CLEARLY).reshape(labelled.shape)
    found = ((like & rim) | skirt).astype(np.uint8)
    # Between two stripes the edge's mixed colours are like skin.
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, disc(5))
    joined = _joined(np.asarray(closed, np.uint8), skirt)
    if not (joined & rim).any():
        return None
    return blur(joined.astype(np.float32), 0.7)


def _joined(found: NDArray[np.uint8], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The parts of what was found that touch a seed."""
    _, islands = cv2.connectedComponents(found)
    kept = np.unique(islands[seeds])
    return np.isin(islands, kept[kept > 0])
