"""The hands' own pixels, which nothing may cover: found once more at the photo's full size.

The labels are made on a small view of the person, where a finger is three pixels wide and a pale
nail looks like the wall. Round each hand the colours of what surely is hand and of what surely is
not are learned again, and what is joined to the hand and more like it is the hand's.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import blur, disc, from_limbs, lab, smoothstep
from app.engines.warp.colours import Mixture, Palette, shade_free
from app.engines.warp.scene import ELBOW, FINGER, THUMB, WRIST, Scene
from app.engines.warp.values import SIDES, Floats, Mask, Side

_TIPS = np.float32(1.8)
"""From the wrist to the tips of fingers, by what lies between it and their first joints."""
_RADII = np.array([0.16, 0.24], np.float32)
_THUMB_RADII = np.array([0.15, 0.15], np.float32)
"""Shoulder widths, at the wrist and at the tips: the pose is this far out, too."""
_BEGINS = (0.96, 1.02)
"""Of the forearm's length: up to the wrist a cuff may hide the arm."""
_SLEEVE_END, _WITHIN = (0.85, 1.0), 0.6
"""Of the forearm's length, and of the hand's radius: what is cloth there is an old sleeve, whose
rim would be taken for a part of the hand below it: there the labels have to do."""
_REACH = 0.06
"""Shoulder widths from what is labelled as a hand within which more of it is looked for: a thumb's
end joint."""
_BESIDE = 0.03
"""Shoulder widths from there on which nothing is hand: what lies nearer teaches no colour."""
_LABELLED, _SURE = 0.5, 0.95
_HAND_COLOURS, _OTHER_COLOURS = 3, 5
_DOUBT = 1.0
"""Of costs: nails have colours that neither the hand nor what is beside it has taught."""
_FEWEST = 40
"""Pixels: a hand of which less is seen is in a pocket, or behind the back."""


def with_hands(scene: Scene) -> Scene:
    """The scene with whole hands: in `hands`, and in its parts as arms and as nothing else."""
    hands = np.zeros((scene.height, scene.width), np.float32)
    for side in SIDES:
        box, found = _hand(scene, side)
        hands[box] = np.maximum(hands[box], found)
    others = 1 - hands
    parts = scene.parts
    parts = replace(
        parts,
        arms=np.maximum(parts.arms, hands),
        person=np.maximum(parts.person, hands),
        upper=parts.upper * others,
        lower=parts.lower * others,
        legs=parts.legs * others,
    )
    return replace(scene, parts=parts, hands=hands)


def _hand(scene: Scene, side: Side) -> tuple[tuple[slice, slice], Mask]:
    """Its box in the scene, and where it is within that, 0–1."""
    wrist, unit = scene.joint(WRIST, side), scene.body.shoulder_width
    tips = [wrist + (scene.joint(of, side) - wrist) * _TIPS for of in (FINGER, THUMB)]
    room = float(_RADII[1] + _REACH) * unit
    corners = np.stack([wrist, *tips])
    low = np.clip(corners.min(0) - room, 0, (scene.width, scene.height)).astype(int)
    high = np.clip(corners.max(0) + room, 0, (scene.width, scene.height)).astype(int)
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    if (high - low < 2).any():
        return box, np.zeros((0, 0), np.float32)
    x, y = scene.x[:, box[1]], scene.y[box[0]]
    reach = np.minimum(
        from_limbs(np.stack([wrist, tips[0]]), _RADII * np.float32(unit), x, y),
        from_limbs(np.stack([wrist, tips[1]]), _THUMB_RADII * np.float32(unit), x, y),
    )
    bone = wrist - scene.joint(ELBOW, side)
    along = ((x - wrist[0]) * bone[0] + (y - wrist[1]) * bone[1]) / max(1e-3, float(bone @ bone))
    along = np.asarray(along + 1, np.float32)
    beyond = smoothstep(along, *_BEGINS)
    labelled = scene.parts.arms[box]
    near = (reach < 1) & (beyond > 0)
    core = cv2.erode((labelled > _SURE).astype(np.uint8), disc(5)) > 0
    sleeved = _sleeved(scene.parts.upper[box], along, reach)
    if sleeved or (core & near).sum() < _FEWEST:
        return box, np.zeros(labelled.shape, np.float32)
    found = _grown(scene.photo[box], labelled > _LABELLED, core, near, unit)
    return box, blur(found.astype(np.float32), 0.7) * beyond


def _sleeved(upper: Mask, along: Floats, reach: Floats) -> bool:
    """Whether an old sleeve reaches to the wrist."""
    end = (along > _SLEEVE_END[0]) & (along < _SLEEVE_END[1]) & (reach < _WITHIN)
    return bool(end.any() and float(upper[end].mean()) > _LABELLED)


def _grown(
    photo: Floats,
    labelled: NDArray[np.bool_],
    core: NDArray[np.bool_],
    near: NDArray[np.bool_],
    unit: float,
) -> NDArray[np.bool_]:
    """(h, w): what is labelled, and what is joined to it, near it, and more like it than not."""
    away = cv2.distanceTransform((~labelled).astype(np.uint8), cv2.DIST_L2, 5)
    as_bytes = np.asarray(np.clip(photo, 0, 255), np.uint8)
    flat = shade_free(lab(as_bytes)).reshape(-1, 3)
    palette = Palette.counted(flat)
    own = Mixture.learned(flat[core.ravel()], _HAND_COLOURS)
    other = Mixture.learned(flat[(away > _BESIDE * unit).ravel()], _OTHER_COLOURS)
    like = (palette.cost(own) < palette.cost(other) + _DOUBT).reshape(labelled.shape)
    like &= (away < _REACH * unit) & near
    whole = cv2.morphologyEx((like | (labelled & near)).astype(np.uint8), cv2.MORPH_OPEN, disc(3))
    _, islands = cv2.connectedComponents(whole)
    joined = np.unique(islands[core & near])
    hand = np.isin(islands, joined[joined > 0]).astype(np.uint8)
    # Shine and nails leave pits, which are smaller than what lies between fingers.
    return cv2.morphologyEx(hand, cv2.MORPH_CLOSE, disc(3)) > 0
