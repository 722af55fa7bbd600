"""The ground in a garment's armpits, painted over with its cloth.

Where sleeves lie close to the body the gap between them is narrow and in shadow, and the cut-out
closes it: the ground at its end would be worn as a grey speck.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import blur, disc, lab, push_pull
from app.engines.warp.values import SIDES, Floats, Mask, Point, TopOutline

_REACH, _AROUND = 0.14, 0.22
"""How far from the armpit ground is looked for, and cloth to compare with, in chest widths."""

_TINT = 5.0
"""Lab chroma by which ground in shadow differs from the ground, at most."""
_DARKEST, _LIGHTEST = 0.3, 1.03
"""Of the ground's lightness: what ground in shadow has."""
_UNLIKE = 12.0
"""Lab chroma from the cloth's median beyond which something is no fold of it."""
_MARGIN = 5
"""Pixels round what was found that have some of its colour."""


def heal(picture: Floats, alpha: Mask, outline: TopOutline, ground: Floats) -> Floats:
    """(h, w, 3): the picture, without ground at the armpits. ground: (3,), Lab.

    picture, alpha: as in `Garment`. Cloth in the ground's own hue is left alone.
    """
    chest = float(outline.right.pit[0] - outline.left.pit[0])
    healed = picture
    for side in SIDES:
        if outline.side(side).sleeve is None:
            continue
        box = _box(outline.side(side).pit, _AROUND * chest, alpha.shape)
        patch = _patch(picture[box], alpha[box], ground, outline.side(side).pit, box, chest)
        if patch is not None:
            healed = healed.copy() if healed is picture else healed
            healed[box] = patch
    return healed


def _box(centre: Point, reach: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    low = np.maximum(centre - reach, 0).astype(int)
    high = np.maximum(np.ceil(centre + reach), 1).astype(int)
    return np.s_[low[1] : min(high[1], shape[0]), low[0] : min(high[0], shape[1])]


def _patch(
    picture: Floats,
    alpha: Mask,
    ground: Floats,
    pit: Point,
    box: tuple[slice, slice],
    chest: float,
) -> Floats | None:
    if alpha.size < 16:
        return None
    colours = lab(np.asarray(np.clip(picture, 0, 255), np.uint8))
    covered = alpha > 0.5
    tone = colours[..., 0] / max(1.0, float(ground[0]))
    tint = colours[..., 1:] - 128 - (ground[1:] - 128) * tone[..., None]
    shadow = (np.hypot(tint[..., 0], tint[..., 1]) < _TINT) & (tone > _DARKEST) & (tone < _LIGHTEST)
    cloth = covered & ~shadow
    if cloth.sum() < 0.4 * covered.sum():  # the garment is grey as the ground
        return None
    usual = np.median(colours[cloth], axis=0)
    off = np.hypot(*(colours[..., i] - usual[i] for i in (1, 2)))
    y, x = np.mgrid[box]
    near = np.hypot(x - pit[0], y - pit[1]) < _REACH * chest
    found: NDArray[np.bool_] = shadow & near & (off > _UNLIKE)
    if not found.any():
        return None
    gone = cv2.dilate(found.astype(np.uint8), disc(_MARGIN)).astype(np.float32)
    filled = push_pull(picture, np.asarray((gone == 0) & covered, np.float32))
    share = blur(gone, 1.0)[..., None]
    return np.asarray(picture + (filled - picture) * share, np.float32)
