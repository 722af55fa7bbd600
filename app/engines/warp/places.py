"""Where each part can be, by the pose alone: what it costs a pixel, and where it surely is.

Costs are in the unit of the colours' (negative logarithms of likelihoods): 14 forbids, 3 is what a
clearly better colour overcomes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.engines.warp.hem import Hem
from app.engines.warp.shapes import Shapes
from app.engines.warp.values import Floats

HAIR, FACE, ARMS, UPPER, LOWER, LEGS, FEET = range(7)
PARTS = 7
SKIN = (FACE, ARMS, LEGS)
"""Parts that show skin: they share what is known of its colour."""

_FORBIDDEN = 14.0
_STEEP = 25.0
"""Per torso length, at a hem: a tenth of the torso away, a fair colour is outweighed."""

_BLURRED = 0.06
"""Torso lengths by which a hem may run higher or lower than its middle."""

_CHEST = 0.38
"""Shoulder widths from the spine to the fold between chest and arm."""

_COLLAR = 0.12
"""Torso lengths: below this there is no neckline that the middle of a top's colours must avoid."""

_SURELY_SKIN = 0.7
_SKIN_LIKE, _SKIN_SURE = 2.1, 1.7
"""Distances from the skin's colour: what may be skin, and what is, where an arm should be."""


def penalties(shapes: Shapes, hem: Hem) -> Floats:
    """(n, PARTS): what the place costs."""
    each = [
        _hair(shapes),
        _face(shapes),
        _arms(shapes),
        _upper(shapes, hem),
        _lower(shapes, hem),
        _legs(shapes, hem),
        _ramp(shapes.feet - 1, 8, _FORBIDDEN),
    ]
    return np.stack(each, 1).astype(np.float32)


def seeds(shapes: Shapes, hem: Hem, skin: Floats) -> list[NDArray[np.bool_]]:
    """(n,) each: where a part surely is. skin: the distance from the skin's colour."""
    s = shapes
    no_arm = np.minimum(s.forearms, s.hands) > 1.05
    core = (s.down > _COLLAR) & (s.down < min(0.9, hem.top_ends - 0.05)) & (s.aside < 0.36)
    core &= no_arm
    upper = core & (skin > _SKIN_LIKE)
    if upper.sum() < 0.12 * core.sum():  # a top of the skin's colour
        upper = core & (s.down > 0.3)
    lower = (s.down > hem.bottom_begins + 0.05) & (s.down < hem.legs_begin - 0.05)
    lower &= no_arm & (s.thighs < 1) & (not hem.one_piece)
    return [
        (s.face > 1.2) & (s.head < 1.3) & (s.above_mouth > 0) & (skin > _SURELY_SKIN),
        s.features,
        (skin < _SKIN_SURE) & ((s.forearms < 0.6) | (s.hands < 0.7)),
        upper,
        lower,
        (s.down > hem.legs_begin) & (np.minimum(s.thighs, s.shins) < 1) & (skin < 2.5),
        s.feet < 0.8,
    ]


def _hair(s: Shapes) -> NDArray[Any]:
    return (
        _ramp(s.head - 1, 2.5, 5)
        + 5 * (s.face < 0.9)
        + _ramp(s.down - 0.15, 14, 12)
        + 4 * ((s.above_mouth < 0) & (s.neck < 0.8))
    )


def _face(s: Shapes) -> NDArray[Any]:
    off_face = _ramp(np.minimum(s.neck, s.face) - 1.05, 10, 5)
    return (
        _ramp(np.minimum(s.neck, s.head) - 1, 1, 2)
        + _ramp(s.aside - _CHEST - 0.02, 30, 8)
        + _ramp(s.down - 0.4, _STEEP, 12)
        + (s.down < -0.12) * off_face
        - 3 * (s.face < 1)
    )


def _arms(s: Shapes) -> NDArray[Any]:
    reach = np.minimum(s.forearms, s.hands)
    limb = _ramp(np.minimum(s.upper_arms, reach) - 0.85, 6, 12)
    on_chest = _ramp(_CHEST - 0.02 - s.aside, 30, 8) * (reach > 1)
    return np.asarray(limb + on_chest - (reach < 0.8), np.float32)


def _upper(s: Shapes, hem: Hem) -> NDArray[Any]:
    no_sleeve = s.forearms > 1.1
    middle = (s.aside < 0.4) & (s.down > 0.25) & (s.down < hem.top_ends - 0.1)
    cost = (
        _ramp(s.down - hem.top_ends - _BLURRED, _STEEP, 12) * no_sleeve
        + _ramp(-0.17 - s.down, 50, 12)
        + 8 * (s.face < 1)
        - 2.5 * middle
    )
    return np.asarray(cost, np.float32)


def _lower(s: Shapes, hem: Hem) -> NDArray[Any]:
    reach = np.minimum(s.forearms, s.hands)
    return (
        _ramp(hem.bottom_begins - _BLURRED - s.down, _STEEP, _FORBIDDEN)
        + 2.0 * (reach < 0.8)
        + _FORBIDDEN * hem.one_piece
    )


def _legs(s: Shapes, hem: Hem) -> NDArray[Any]:
    belly = _ramp(s.down - hem.bottom_begins - _BLURRED, _STEEP, _FORBIDDEN)
    belly += 3 * (not hem.belly_shows) + _ramp(s.aside - 0.5, 20, 8)
    below = _ramp(hem.legs_begin - _BLURRED - s.down, _STEEP, _FORBIDDEN)
    reach = np.minimum(s.forearms, s.hands)
    above = _ramp(hem.top_ends - _BLURRED - 0.02 - s.down, _STEEP, _FORBIDDEN)
    return np.minimum(belly, below) + above + 4 * (reach < 0.9)


def _ramp(x: NDArray[Any], slope: float, most: float) -> Floats:
    return np.asarray(np.clip(x * np.float32(slope), 0, most), np.float32)
