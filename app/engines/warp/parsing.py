"""What is where on the person, without a network that knows: photo and pose → Parts.

Within the silhouette, each part has a cost at each pixel: how badly the colour fits what was
learned where the part surely is, and how far the pixel lies from where the pose lets the part be.
The costs are smoothed along the picture's edges, and the cheapest part wins. Then the colours are
learned again, from what each part has won, and the whole is done once more.
Smoothing costs along edges: Hosni et al., Fast Cost-Volume Filtering, PAMI 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import Guide, disc
from app.engines.warp.colours import Mixture, Palette, shade_free
from app.engines.warp.hem import Hem, find_hem
from app.engines.warp.networks import Networks
from app.engines.warp.places import (
    ARMS,
    FACE,
    FEET,
    HAIR,
    LEGS,
    LOWER,
    PARTS,
    SKIN,
    UPPER,
    penalties,
    seeds,
)
from app.engines.warp.shapes import Shapes
from app.engines.warp.silhouette import find_silhouette
from app.engines.warp.values import Body, Floats, Mask, Parts, Pose, Rgb
from app.engines.warp.view import View

_SKIN_SPREAD = np.array([42, 9, 11], np.float32)
"""Lab units within which one person's skin varies, light to shade: lightness far more than hue."""

_GENERAL_SKIN = (5.5, 9.0)
"""What skin costs that is like the face's but was not seen: little in the first round, when only
the face was learned; more in the second, when arms and hands were, too."""

_STRAP = 22.0
"""How much darker or lighter than the skin beside it (L of 255) a strap is; collar bones throw
shadows of 10."""

_STRAP_WIDTH, _STRAP_LENGTH = 0.09, 0.10
"""Shoulder widths: wider ones are found by their colour, shorter lines are no straps."""

_STRAPS_END, _STRAPS_SIDE = 0.3, 0.46
"""Torso lengths below the shoulders, and shoulder widths from the spine: further out hang arms."""

_OTHERS_SKIN = 0.5
"""What one part's skin costs in another's place."""

_OUTSIDE = 12.0
"""What every part costs outside the silhouette: the same, so that it decides nothing."""

_SMOOTH_RADIUS, _SMOOTH_FLAT = 4, 2e-4
"""Pixels of the view; and the variance of lightness (0–1) below which there is no edge."""

_COLOURS = (3, 2, 2, 4, 4, 2, 2)
"""How many colours a part can have: prints and jeans have more than skin."""


def parse(networks: Networks, photo: Rgb, pose: Pose, body: Body) -> Parts:
    """Tell hair, face with neck and chest, arms with hands, clothes and legs apart.

    photo: the working photo. pose, body: its own, from `find_pose`.
    Returns masks of the photo's size.
    """
    view = View.of(photo, pose, body)
    silhouette = find_silhouette(networks, view)
    person = _Person.of(view, silhouette.inside)
    labels = person.label()
    masks = [view.enlarge(labels == part) for part in range(PARTS)]
    return Parts(
        person=_sum(masks),
        hair=masks[HAIR],
        face=masks[FACE],
        arms=masks[ARMS],
        upper=masks[UPPER],
        lower=masks[LOWER],
        legs=masks[LEGS],
        feet=masks[FEET],
        skin_tone=person.skin_tone,
        upper_texture=person.texture(labels),
        trust=1.0,
    )


def _sum(masks: list[Mask]) -> Mask:
    total = masks[0].copy()
    for mask in masks[1:]:
        total += mask
    return np.minimum(total, 1, out=total)


@dataclass(frozen=True)
class _Person:
    """The n pixels of the person. lab: (n, 3). skin: (n,), the distance from the face's colour."""

    view: View
    inside: NDArray[np.bool_]
    lab: Floats
    palette: Palette
    shapes: Shapes
    skin: Floats
    skin_tone: Floats
    hem: Hem
    guide: Guide

    @classmethod
    def of(cls, view: View, inside: NDArray[np.bool_]) -> _Person:
        shapes = Shapes.of(view, inside)
        smooth = view.smooth_lab[inside]
        lab = shade_free(smooth)
        tone = _skin_tone(smooth, shapes)
        away = (lab - shade_free(tone)) / _SKIN_SPREAD
        skin = np.sqrt((away * away).sum(1))
        palette = Palette.counted(lab)
        hem = find_hem(shapes, palette, skin)
        guide = Guide(view.grey, _SMOOTH_RADIUS, _SMOOTH_FLAT)
        return cls(view, inside, lab, palette, shapes, skin, tone, hem, guide)

    def label(self) -> NDArray[np.int8]:
        """(h, w): a part each, -1 outside."""
        place = penalties(self.shapes, self.hem)
        known = seeds(self.shapes, self.hem, self.skin)
        for general in _GENERAL_SKIN:
            costs = place + self._colour_costs(known, general)
            labels = self._cheapest(costs)
            known = [_shrunk(labels == part)[self.inside] for part in range(PARTS)]
        labels = _without_specks(labels)
        labels = self._with_hair_on_the_head(labels, costs)
        labels = _filled(labels, self.inside)
        return self._with_straps(labels)

    def texture(self, labels: NDArray[np.int8]) -> float:
        """How much the lightness of the old top varies."""
        light = self.lab[labels[self.inside] == UPPER, 0]
        return float(light.std()) if len(light) else 99.0

    def _colour_costs(self, known: list[NDArray[np.bool_]], general: float) -> Floats:
        """(n, PARTS). known: (n,) each, where the parts' colours are learned."""
        costs = np.empty((len(self.lab), PARTS), np.float32)
        for part in range(PARTS):
            mixture = Mixture.learned(self.lab[known[part]], _COLOURS[part])
            costs[:, part] = self.palette.cost(mixture)
        skin = np.minimum(costs[:, FACE], costs[:, ARMS]) + _OTHERS_SKIN
        bound = 0.5 * self.skin**2  # however well it was learned, skin is like the face
        for part in SKIN:
            own = np.minimum(costs[:, part] + _OTHERS_SKIN, skin)
            costs[:, part] = np.minimum(np.maximum(own, bound), bound + general)
        return costs

    def _cheapest(self, costs: Floats) -> NDArray[np.int8]:
        """(h, w): the part with the lowest cost, smoothed along edges; -1 outside."""
        smooth = np.empty_like(costs)
        plane = np.empty(self.view.shape, np.float32)
        for part in range(PARTS):
            plane[:] = _OUTSIDE
            plane[self.inside] = costs[:, part]
            smooth[:, part] = self.guide.smooth(plane)[self.inside]
        labels = np.full(self.view.shape, -1, np.int8)
        labels[self.inside] = smooth.argmin(1).astype(np.int8)
        return labels

    def _with_hair_on_the_head(self, labels: NDArray[np.int8], costs: Floats) -> NDArray[np.int8]:
        count, islands = cv2.connectedComponents((labels == HAIR).astype(np.uint8))
        on_head = np.zeros(count, bool)
        of_pixels = islands[self.inside]
        on_head[of_pixels[self.shapes.head < 0.85]] = True
        own = labels[self.inside]
        stray = (own == HAIR) & ~on_head[of_pixels]
        own[stray] = np.where(costs[stray, UPPER] < costs[stray, ARMS] + 0.2, UPPER, ARMS)
        labels[self.inside] = own
        return labels

    def _with_straps(self, labels: NDArray[np.int8]) -> NDArray[np.int8]:
        """Give thin lines that run up from the top over skin, dark or light as it, back to it.

        The smoothing of the costs takes them for skin: they are narrower than its windows.
        """
        if not (labels == UPPER).any():
            return labels
        light = np.ascontiguousarray(self.view.lab[..., 0])
        window = disc(round(_STRAP_WIDTH * self.view.unit))
        darker = float(np.median(light[labels == UPPER])) < self.skin_tone[0]
        kind = cv2.MORPH_BLACKHAT if darker else cv2.MORPH_TOPHAT
        line = cv2.morphologyEx(light, kind, window) > _STRAP
        s = self.shapes
        shoulders = (s.down < _STRAPS_END) & (s.aside < _STRAPS_SIDE) & (s.above_mouth < -1)
        own = labels[self.inside]
        line[~self.inside] = False
        line[self.inside] &= shoulders & ((own == FACE) | (own == ARMS))
        line &= _shrunk(self.inside, 2)
        return np.where(_hanging(line, labels == UPPER, self.view.unit), UPPER, labels).astype(
            np.int8
        )


def _hanging(line: NDArray[np.bool_], top: NDArray[np.bool_], unit: float) -> NDArray[np.bool_]:
    """Those lines that are long, upright and end at the top."""
    _, islands, stats, _ = cv2.connectedComponentsWithStats(line.astype(np.uint8))
    near = cv2.dilate(top.astype(np.uint8), disc(5)) > 0
    good = np.zeros(len(stats), bool)
    good[np.unique(islands[near & line])] = True
    good &= stats[:, cv2.CC_STAT_HEIGHT] > _STRAP_LENGTH * unit
    good[0] = False
    return np.asarray(good[islands], np.bool_)


def _skin_tone(lab: Floats, shapes: Shapes) -> Floats:
    seen = lab[shapes.features]
    if not len(seen):
        seen = lab[shapes.neck < 0.6]
    if not len(seen):
        return np.array([160, 140, 140], np.float32)
    return np.asarray(np.median(seen, 0), np.float32)


def _shrunk(mask: NDArray[np.bool_], by: int = 1) -> NDArray[np.bool_]:
    window = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return np.asarray(cv2.erode(mask.astype(np.uint8), window) > 0, np.bool_)


def _without_specks(labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Drop parts' islands of fewer than 0.06 % of the view."""
    kept = np.full_like(labels, -1)
    for part in range(PARTS):
        mask = cv2.morphologyEx(
            (labels == part).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
        )
        _, islands, stats, _ = cv2.connectedComponentsWithStats(mask)
        large = stats[:, cv2.CC_STAT_AREA] > 0.0006 * labels.size
        large[0] = False
        kept[large[islands]] = part
    return kept


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
