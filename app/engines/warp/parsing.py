"""What is where on the person, without a network that knows: photo and pose → Parts.

Within the silhouette, each part has a cost at each pixel: how badly the colour fits what was
learned where the part surely is, and how far the pixel lies from where the pose lets the part be.
The costs are smoothed along the picture's edges, and the cheapest part wins. Then the colours are
learned again, from what each part has won, and the whole is done once more.
Smoothing costs along edges: Hosni et al., Fast Cost-Volume Filtering, PAMI 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import guided_filter
from app.engines.warp.colours import Mixture, Palette
from app.engines.warp.hem import Hem, find_hem
from app.engines.warp.networks import Networks
from app.engines.warp.shapes import Shapes
from app.engines.warp.silhouette import find_silhouette
from app.engines.warp.values import Body, Floats, Mask, Parts, Pose, Rgb
from app.engines.warp.view import View

HAIR, FACE, ARMS, UPPER, LOWER, LEGS, FEET = range(7)
_PARTS = 7

_SKIN_SPREAD = np.array([42, 9, 11], np.float32)
"""Lab units within which one person's skin varies, light to shade: lightness far more than hue."""

_SKIN = 2.1
"""Distances below this may be skin."""

_ROUNDS = 2
"""Once with colours from where parts should be, then from where they were found."""


def parse(networks: Networks, photo: Rgb, pose: Pose, body: Body) -> Parts:
    """Tell hair, face with neck and chest, arms with hands, clothes and legs apart.

    photo: the working photo. pose, body: its own, from `find_pose`.
    Returns masks of the photo's size.
    """
    view = View.of(photo, pose, body)
    silhouette = find_silhouette(networks, view)
    person = _Person.of(view, silhouette.inside)
    labels = person.label()
    masks = [_soft(view, labels == part) for part in range(_PARTS)]
    return Parts(
        person=view.enlarge(silhouette.person),
        hair=view.enlarge(masks[HAIR]),
        face=view.enlarge(masks[FACE]),
        arms=view.enlarge(masks[ARMS]),
        upper=view.enlarge(masks[UPPER]),
        lower=view.enlarge(masks[LOWER]),
        legs=view.enlarge(masks[LEGS]),
        feet=view.enlarge(masks[FEET]),
        skin_tone=person.skin_tone,
        upper_texture=person.texture(labels),
        trust=1.0,
    )


def _soft(view: View, part: NDArray[np.bool_]) -> Mask:
    return np.clip(guided_filter(view.grey, part.astype(np.float32), 2, 2e-4), 0, 1)


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

    @classmethod
    def of(cls, view: View, inside: NDArray[np.bool_]) -> _Person:
        shapes = Shapes.of(view, inside)
        lab = view.smooth_lab[inside]
        tone = _skin_tone(lab, shapes)
        away = (lab - tone) / _SKIN_SPREAD
        skin = np.sqrt((away * away).sum(1))
        palette = Palette.counted(lab)
        hem = find_hem(shapes, palette, skin)
        return cls(view, inside, lab, palette, shapes, skin, tone, hem)

    def label(self) -> NDArray[np.int8]:
        """(h, w): a part each, -1 outside."""
        seeds = self._seeds()
        for _ in range(_ROUNDS):
            costs = self._costs([self._learn(part, seed) for part, seed in enumerate(seeds)])
            labels = self._cheapest(costs)
            of_pixels = labels[self.inside]
            seeds = [_shrunk(labels == part)[self.inside] for part in range(_PARTS)]
            del of_pixels
        labels = _without_specks(labels)
        labels = self._with_hair_on_the_head(labels, costs)
        return _filled(labels, self.inside)

    def texture(self, labels: NDArray[np.int8]) -> float:
        """How much the lightness of the old top varies."""
        light = self.lab[labels[self.inside] == UPPER, 0]
        return float(light.std()) if len(light) else 99.0

    def _learn(self, part: int, seed: NDArray[np.bool_]) -> Mixture | None:
        return Mixture.learned(self.lab[seed], (3, 2, 2, 4, 4, 2, 2)[part])

    def _seeds(self) -> list[NDArray[np.bool_]]:
        """Where each part surely is."""
        s, hem = self.shapes, self.hem
        like_skin = self.skin < _SKIN
        no_arm = np.minimum(s.forearms, s.hands) > 1.05
        core = (s.down > 0.12) & (s.down < min(0.9, hem.top_ends - 0.05)) & (s.aside < 0.36)
        core &= no_arm
        upper = core & ~like_skin
        if upper.sum() < 0.12 * core.sum():
            upper = core & (s.down > 0.3)
        below = (s.down > hem.bottom_begins + 0.05) & (s.down < hem.legs_begin - 0.05) & no_arm
        lower = below & (s.thighs < 1) & (not hem.one_piece)
        hair = (s.face > 1.2) & (s.head < 1.3) & (s.down < -0.15) & (s.neck > 1)

        arms = (self.skin < 1.7) & ((s.forearms < 0.6) | (s.hands < 0.7))
        legs = (s.down > hem.legs_begin) & (np.minimum(s.thighs, s.shins) < 1) & (self.skin < 2.5)
        feet = s.feet < 0.8
        return [hair, s.features, arms, upper, lower, legs, feet]

    def _costs(self, colours: list[Mixture | None]) -> Floats:
        """(n, parts)."""
        s, hem = self.shapes, self.hem
        fits = [self.palette.cost(mixture) for mixture in colours]
        skin = self._skin_cost(fits)
        arm = np.minimum(np.minimum(s.upper_arms, s.forearms), s.hands)
        reach = np.minimum(s.forearms, s.hands)
        hair = fits[HAIR] + _ramp(s.head - 1, 2.5, 5) + 5 * (s.face < 0.9)
        hair += _ramp(s.down - 0.15, 14, 12)
        face = skin - 3 * (s.face < 1) + _ramp(np.minimum(s.neck, s.head) - 1, 1, 2)
        face += _ramp(s.aside - 0.40, 30, 8) + _ramp(s.down - 0.35, 10, 7)
        face += _ramp(np.minimum(s.neck, s.face) - 1.05, 10, 5) * (s.down < -0.12)
        arms = skin + _ramp(arm - 0.85, 6, 12) - (reach < 0.8)
        arms += _ramp(0.36 - s.aside, 30, 8) * (reach > 1)
        upper = fits[UPPER] + _ramp(s.down - hem.top_ends - 0.06, 25, 12)
        upper += _ramp(-0.17 - s.down, 50, 12) + 8 * (s.face < 1)
        upper -= 2.5 * ((s.aside < 0.4) & (s.down > 0.25) & (s.down < hem.top_ends - 0.1))
        lower = fits[LOWER] + _ramp(hem.bottom_begins - 0.06 - s.down, 25, 14)
        lower += 6 * (reach < 0.8)
        away = np.minimum(
            _ramp(s.down - hem.bottom_begins - 0.06, 25, 14),  # the belly,
            _ramp(hem.legs_begin - 0.06 - s.down, 25, 14),  # or below a skirt
        )
        legs = np.minimum(skin, fits[LEGS] + 0.5) + away
        legs += _ramp(hem.top_ends - 0.08 - s.down, 25, 14)
        legs += 4 * (reach < 0.9) + _ramp(s.aside - 0.5, 20, 8) * (s.down < 1)
        feet = fits[FEET] + _ramp(s.feet - 1, 8, 14)
        return np.stack([hair, face, arms, upper, lower, legs, feet], 1).astype(np.float32)

    def _skin_cost(self, fits: list[Floats]) -> Floats:
        """Like the skin that was found, but never far from the face's colour."""
        found = np.minimum(fits[FACE], fits[ARMS]) + 0.5
        bound = 0.5 * self.skin**2
        cost = np.minimum(np.maximum(found, bound), np.minimum(bound + 5.5, 14))
        return np.asarray(cost, np.float32)

    def _cheapest(self, costs: Floats) -> NDArray[np.int8]:
        volume = np.full((*self.view.shape, _PARTS), 12, np.float32)
        volume[self.inside] = costs
        volume /= 20
        smooth = np.stack(
            [guided_filter(self.view.grey, volume[..., i], 4, 2e-4) for i in range(_PARTS)], -1
        )
        labels = np.full(self.view.shape, -1, np.int8)
        labels[self.inside] = smooth[self.inside].argmin(1).astype(np.int8)
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


def _skin_tone(lab: Floats, shapes: Shapes) -> Floats:
    seen = lab[shapes.features]
    if not len(seen):
        seen = lab[shapes.neck < 0.6]
    if not len(seen):
        return np.array([160, 140, 140], np.float32)
    return np.asarray(np.median(seen, 0), np.float32)


def _ramp(x: NDArray[Any], slope: float, most: float) -> Floats:
    return np.asarray(np.clip(x * np.float32(slope), 0, most), np.float32)


def _shrunk(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _without_specks(labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Drop parts' islands of fewer than 0.06 % of the view."""
    kept = np.full_like(labels, -1)
    for part in range(_PARTS):
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
