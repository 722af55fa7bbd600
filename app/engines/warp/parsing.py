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

from app.engines.warp.arrays import Guide
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
from app.engines.warp.second_opinion import opinion
from app.engines.warp.shapes import Shapes
from app.engines.warp.silhouette import find_silhouette
from app.engines.warp.tidying import Labelled, shrunk, tidied
from app.engines.warp.values import Body, Floats, Mask, Parts, Pose, Rgb
from app.engines.warp.view import View

_SKIN_SPREAD = np.array([42, 9, 11], np.float32)
"""Lab units within which one person's skin varies, light to shade: lightness far more than hue."""

_GENERAL_SKIN = (5.5, 9.0)
"""What skin costs that is like the face's but was not seen: little in the first round, when only
the face was learned; more in the second, when arms and hands were, too."""

_NEVER_SKIN = 3.0
"""Distances from the face's colour: what is further is not learned as skin, wherever it lies."""

_OTHERS_SKIN = 0.5
"""What one part's skin costs in another's place."""

_OUTSIDE = 12.0
"""What every part costs outside the silhouette: the same, so that it decides nothing."""

_SMOOTH_RADIUS, _SMOOTH_FLAT = 4, 2e-4
"""Pixels of the view; and the variance of lightness (0–1) below which there is no edge."""

_CLEAR_LEAD = 4.0
"""A part that is cheaper than the next by this much is beyond doubt."""

_PARTS_CLEAR, _SILHOUETTE_CLEAR = (0.6, 0.95), (0.4, 0.9)
"""From no trust to all of it. Plain walls: 0.95 and more; a white top on a white wall 0.87 and
0.81, black silk on dark skin 0.80 and 0.96, before a cup of coffee 0.99 and 0.75."""

_COLOURS = (3, 2, 2, 4, 4, 2, 2)
"""How many colours a part can have: prints and jeans have more than skin."""


def parse(networks: Networks, photo: Rgb, pose: Pose, body: Body) -> Parts:
    """Tell hair, face with neck and chest, arms with hands, clothes and legs apart.

    photo: the working photo. pose, body: its own, from `find_pose`.
    Returns masks of the photo's size.
    """
    view = View.of(photo, pose, body)
    silhouette = find_silhouette(networks, view)
    person = _Person.of(view, silhouette.inside, opinion(networks, view, silhouette.inside))
    labels, clear = person.label()
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
        trust=_trust(clear, silhouette.clear),
    )


def _trust(parts: float, silhouette: float) -> float:
    """From how clear the top's edges and the silhouette are, 0–1 each, to a figure, 0–1."""
    parts, silhouette = (
        float(np.interp(clear, span, (0, 1)))
        for clear, span in ((parts, _PARTS_CLEAR), (silhouette, _SILHOUETTE_CLEAR))
    )
    return parts * silhouette


def _sum(masks: list[Mask]) -> Mask:
    total = masks[0].copy()
    for mask in masks[1:]:
        total += mask
    return np.minimum(total, 1, out=total)


@dataclass(frozen=True)
class _Person:
    """The n pixels of the person. lab: (n, 3). skin: (n,), the distance from the face's colour.

    opinion: (n, PARTS), what an optional network says; see `second_opinion`.
    """

    view: View
    inside: NDArray[np.bool_]
    lab: Floats
    palette: Palette
    shapes: Shapes
    skin: Floats
    skin_tone: Floats
    hem: Hem
    guide: Guide
    opinion: Floats | None

    @classmethod
    def of(cls, view: View, inside: NDArray[np.bool_], opinion: Floats | None) -> _Person:
        shapes = Shapes.of(view, inside)
        smooth = view.smooth_lab[inside]
        lab = shade_free(smooth)
        tone = _skin_tone(smooth, shapes)
        away = (lab - shade_free(tone)) / _SKIN_SPREAD
        skin = np.sqrt((away * away).sum(1))
        palette = Palette.counted(lab)
        hem = find_hem(shapes, palette, skin)
        guide = Guide(view.grey, _SMOOTH_RADIUS, _SMOOTH_FLAT)
        return cls(view, inside, lab, palette, shapes, skin, tone, hem, guide, opinion)

    def label(self) -> tuple[NDArray[np.int8], float]:
        """(h, w): a part each, -1 outside; and 0–1, how clear the top's edges are."""
        place = penalties(self.shapes, self.hem)
        if self.opinion is not None:
            place += self.opinion
        known = seeds(self.shapes, self.hem, self.skin)
        for general in _GENERAL_SKIN:
            costs = place + self._colour_costs(known, general)
            labels, lead = self._cheapest(costs)
            known = [shrunk(labels == part)[self.inside] for part in range(PARTS)]
        around_top = cv2.dilate((labels == UPPER).astype(np.uint8), np.ones((7, 7), np.uint8))
        leads = lead[around_top[self.inside] > 0]
        clear = float(np.minimum(leads / _CLEAR_LEAD, 1).mean()) if len(leads) else 0.0
        found = Labelled(
            self.view, self.inside, labels, costs, self.shapes, self.skin, self.skin_tone
        )
        return tidied(found), clear

    def texture(self, labels: NDArray[np.int8]) -> float:
        """How much the lightness of the old top varies."""
        light = self.lab[labels[self.inside] == UPPER, 0]
        return float(light.std()) if len(light) else 99.0

    def _colour_costs(self, known: list[NDArray[np.bool_]], general: float) -> Floats:
        """(n, PARTS). known: (n,) each, where the parts' colours are learned."""
        costs = np.empty((len(self.lab), PARTS), np.float32)
        for part in range(PARTS):
            seen = known[part] & (self.skin < _NEVER_SKIN) if part in SKIN else known[part]
            mixture = Mixture.learned(self.lab[seen], _COLOURS[part])
            costs[:, part] = self.palette.cost(mixture)
        skin = np.minimum(costs[:, FACE], costs[:, ARMS]) + _OTHERS_SKIN
        bound = 0.5 * self.skin**2  # however well it was learned, skin is like the face
        for part in SKIN:
            own = np.minimum(costs[:, part] + _OTHERS_SKIN, skin)
            costs[:, part] = np.minimum(np.maximum(own, bound), general + 1.6 * bound)
        return costs

    def _cheapest(self, costs: Floats) -> tuple[NDArray[np.int8], Floats]:
        """(h, w): the part with the lowest cost, smoothed along edges; -1 outside.

        And (n,): by how much it is cheaper than the next.
        """
        smooth = np.empty_like(costs)
        plane = np.empty(self.view.shape, np.float32)
        for part in range(PARTS):
            plane[:] = _OUTSIDE
            plane[self.inside] = costs[:, part]
            smooth[:, part] = self.guide.smooth(plane)[self.inside]
        labels = np.full(self.view.shape, -1, np.int8)
        labels[self.inside] = smooth.argmin(1).astype(np.int8)
        first = np.partition(smooth, 1, axis=1)
        return labels, first[:, 1] - first[:, 0]


def _skin_tone(lab: Floats, shapes: Shapes) -> Floats:
    seen = lab[shapes.features]
    if not len(seen):
        seen = lab[shapes.neck < 0.6]
    if not len(seen):
        return np.array([160, 140, 140], np.float32)
    return np.asarray(np.median(seen, 0), np.float32)
