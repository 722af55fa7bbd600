"""What no pixel can know by itself: labels that belong to no body are given to their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import disc
from app.engines.warp.places import ARMS, FACE, HAIR, PARTS, UPPER
from app.engines.warp.shapes import Shapes
from app.engines.warp.values import Floats
from app.engines.warp.view import View

_SPECK = 0.0006
"""Of the view: smaller islands are noise, buttons or jewellery."""

_BUTTON = 1.5
"""Islands of skin on the chest that are further than this from the skin's colour are no skin."""

_AT_HAND = 2.0
"""Mean distance from hands and forearms."""

_STRAP = 22.0
"""How much darker or lighter than the skin beside it (L of 255) a strap is; collar bones throw
shadows of 10."""

_STRAP_WIDTH, _STRAP_LENGTH = 0.09, 0.10
"""Shoulder widths: wider ones are found by their colour, shorter lines are no straps."""

_NECK = 1.15
"""Distances from the neck: on it lie shadows, light, necklaces and hair."""

_STRAPS_END, _STRAPS_SIDE = 0.3, 0.5
"""Torso lengths below the shoulders, and shoulder widths from the spine: further out hang arms."""


@dataclass(frozen=True)
class Labelled:
    """A person's pixels and what they have been taken for.

    labels: (h, w), a part each, -1 outside. inside: (h, w). costs: (n, PARTS), for the n pixels
    inside; shapes: theirs. skin: (n,), the distance from the skin's colour. tone: (3,), Lab.
    """

    view: View
    inside: NDArray[np.bool_]
    labels: NDArray[np.int8]
    costs: Floats
    shapes: Shapes
    skin: Floats
    tone: Floats


def tidied(found: Labelled) -> NDArray[np.int8]:
    """(h, w): the labels without specks, stray hair, skin-coloured buttons; with straps."""
    labels = _without_specks(found.labels)
    labels = _with_hair_on_the_head(found, labels)
    labels = _filled(labels, found.inside)
    labels = _without_islands(found, labels)
    return _with_straps(found, labels)


def shrunk(mask: NDArray[np.bool_], by: int = 1) -> NDArray[np.bool_]:
    """Without its outermost pixels."""
    window = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return np.asarray(cv2.erode(mask.astype(np.uint8), window) > 0, np.bool_)


def _without_specks(labels: NDArray[np.int8]) -> NDArray[np.int8]:
    kept = np.full_like(labels, -1)
    for part in range(PARTS):
        mask = (labels == part).astype(np.uint8)
        if not mask.any():
            continue
        opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, islands, stats, _ = cv2.connectedComponentsWithStats(opened)
        large = stats[:, cv2.CC_STAT_AREA] > _SPECK * labels.size
        large[0] = False
        kept[large[islands]] = part
    return kept


def _with_hair_on_the_head(found: Labelled, labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Hair that is not joined to the head is the next best thing."""
    count, islands = cv2.connectedComponents((labels == HAIR).astype(np.uint8))
    own, island = labels[found.inside], islands[found.inside]
    on_head = np.zeros(count, bool)
    on_head[island[(found.shapes.head < 1) & (found.shapes.above_mouth > 0)]] = True
    stray = (own == HAIR) & ~on_head[island]
    own[stray] = 1 + found.costs[stray, 1:].argmin(1)
    return _with(found, labels, own)


def _filled(labels: NDArray[np.int8], inside: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Give what has no label that of its nearest neighbour."""
    missing = inside & (labels < 0)
    if not missing.any() or not (labels >= 0).any():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        (labels < 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, np.int8)
    table[nearest[labels >= 0]] = labels[labels >= 0]
    return np.where(missing, table[nearest], labels).astype(np.int8)


def _without_islands(found: Labelled, labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Give what was taken for the chest, apart from face and neck, to what it is.

    What is hardly like skin is the top's, what is near a hand is that hand's thumb.
    """
    count, islands = cv2.connectedComponents((labels == FACE).astype(np.uint8))
    own, island = labels[found.inside], islands[found.inside]
    of_face = np.minimum(found.shapes.face, found.shapes.neck) < 1
    joined = np.zeros(count, bool)
    joined[island[of_face]] = True
    area = np.maximum(1, np.bincount(island, minlength=count))
    like_skin = np.bincount(island, found.skin, minlength=count) / area < _BUTTON
    button = (own == FACE) & ~joined[island] & ~like_skin[island]
    own[button] = UPPER
    reach = np.minimum(found.shapes.forearms, found.shapes.hands)
    near_hand = np.bincount(island, reach, minlength=count) / area < _AT_HAND
    own[(own == FACE) & ~joined[island] & near_hand[island]] = ARMS
    return _with(found, labels, own)


def _with_straps(found: Labelled, labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Give thin lines that run up from the top over skin, dark or light as it, back to it.

    The smoothing of the costs takes them for skin: they are narrower than its windows.
    """
    top = labels == UPPER
    if not top.any():
        return labels
    light = np.ascontiguousarray(found.view.lab[..., 0])
    window = disc(round(_STRAP_WIDTH * found.view.unit))
    darker = float(np.median(light[top])) < found.tone[0]
    kind = cv2.MORPH_BLACKHAT if darker else cv2.MORPH_TOPHAT
    line = np.asarray(cv2.morphologyEx(light, kind, window) > _STRAP, np.bool_)
    s, own = found.shapes, labels[found.inside]
    shoulders = (s.down < _STRAPS_END) & (s.aside < _STRAPS_SIDE) & (s.neck > _NECK)
    line[~found.inside] = False
    line[found.inside] &= shoulders & ((own == FACE) | (own == ARMS))
    line &= shrunk(found.inside, 2)
    return np.where(_hanging(line, top, found.view.unit), UPPER, labels).astype(np.int8)


def _hanging(line: NDArray[np.bool_], top: NDArray[np.bool_], unit: float) -> NDArray[np.bool_]:
    """Those lines that are long, upright and end at the top."""
    _, islands, stats, _ = cv2.connectedComponentsWithStats(line.astype(np.uint8))
    near = cv2.dilate(top.astype(np.uint8), disc(5)) > 0
    good = np.zeros(len(stats), bool)
    good[np.unique(islands[near & line])] = True
    good &= stats[:, cv2.CC_STAT_HEIGHT] > _STRAP_LENGTH * unit
    good[0] = False
    return np.asarray(good[islands], np.bool_)


def _with(found: Labelled, labels: NDArray[np.int8], own: NDArray[np.int8]) -> NDArray[np.int8]:
    """The labels with those of the pixels inside replaced."""
    result = labels.copy()
    result[found.inside] = own
    return result
