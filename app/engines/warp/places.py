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
"""As much as a colour that was never seen."""

_STEEP = 25.0
"""Per torso length, at a hem: a tenth of the torso away, a fair colour is outweighed."""

_CLIFF = 30.0
"""Per shoulder width, at the fold between chest and arm."""

_BLURRED = 0.06
"""Torso lengths by which a hem may run higher or lower than its middle."""

_CHEST = 0.38
"""Shoulder widths from the spine to that fold: skin nearer is chest, skin further is arm."""

_NECKLINE, _NECK_POINT = 0.4, -0.17
"""Torso lengths below the shoulders: the deepest neckline, and where a collar ends."""

_COLLAR = 0.12
"""Torso lengths: above this, the middle of the chest may be a neckline and no top."""

_SURELY_SKIN, _SKIN_SURE, _SKIN_LIKE, _LEG_LIKE = 0.7, 1.7, 2.1, 2.5
"""Distances from the skin's colour: nothing but skin; skin where an arm must be; perhaps skin;
skin where legs must be, which see less light than faces."""


def penalties(shapes: Shapes, hem: Hem) -> Floats:
    """(n, PARTS): what the place costs."""
    each = [
        _hair(shapes),
        _face(shapes),
        _arms(shapes),
        _upper(shapes, hem),
        _lower(shapes, hem),
        _legs(shapes, hem),
        _ramp(shapes.feet - 1, 8, _FORBIDDEN),  # shoes are little larger than feet
    ]
    return np.stack(each, 1).astype(np.float32)


def seeds(shapes: Shapes, hem: Hem, skin: Floats) -> list[NDArray[np.bool_]]:
    """(n,) each: where a part surely is. skin: the distance from the skin's colour."""
    s, reach = shapes, _reach(shapes)
    return [
        # Round the face; blond hair is like skin, so only the surest skin (ears) is left out.
        (s.face > 1.2) & (s.head < 1.3) & (s.above_mouth > 0) & (skin > _SURELY_SKIN),
        s.features,
        (skin < _SKIN_SURE) & ((s.forearms < 0.6) | (s.hands < 0.7)),  # well within
        _sure_upper(shapes, hem, skin),
        (s.down > hem.bottom_begins + 0.05)  # a little below the hem,
        & (s.down < hem.legs_begin - 0.05)  # above the next,
        & (reach > 1.05)  # no hand,
        & (s.thighs < 1)
        & (not hem.one_piece),
        (s.down > hem.legs_begin) & (np.minimum(s.thighs, s.shins) < 1) & (skin < _LEG_LIKE),
        s.feet < 0.8,
    ]


def _sure_upper(s: Shapes, hem: Hem, skin: Floats) -> NDArray[np.bool_]:
    """The middle of the chest, or of a top of the skin's colour what no neckline reaches."""
    core = (s.down > _COLLAR) & (s.down < min(0.9, hem.top_ends - 0.05))
    core &= (s.aside < _CHEST - 0.02) & (_reach(s) > 1.05)
    upper = core & (skin > _SKIN_LIKE)
    if upper.sum() < 0.12 * core.sum():  # shadows and prints alone
        return core & (s.down > _NECKLINE - 0.1)
    return upper


def _hair(s: Shapes) -> NDArray[Any]:
    before_neck = (s.above_mouth < 0) & (s.neck < 0.8)  # shadows of the chin
    return (
        _ramp(s.head - 1, 2.5, 5)  # long hair may go on, a stray dark shirt should not
        + 5 * (s.face < 0.9)
        + _ramp(s.down - 0.15, 14, 12)  # seldom below the shoulders
        + 4 * before_neck
    )


def _face(s: Shapes) -> NDArray[Any]:
    skin_on_hair = (s.down < -0.12) * _ramp(np.minimum(s.neck, s.face) - 1.05, 10, 5)
    return (
        _ramp(np.minimum(s.neck, s.head) - 1, 1, 2)
        + _ramp(s.aside - _CHEST - 0.02, _CLIFF, 8)
        + _ramp(s.down - _NECKLINE, _STEEP, 12)
        + skin_on_hair
        - 3 * (s.face < 1)  # glasses, brows and lips are the face's, whatever their colour
    )


def _arms(s: Shapes) -> NDArray[Any]:
    reach = _reach(s)
    limb = _ramp(np.minimum(s.upper_arms, reach) - 0.85, 6, 12)
    on_chest = _ramp(_CHEST - 0.02 - s.aside, _CLIFF, 8) * (reach > 1)  # but folded arms
    return np.asarray(limb + on_chest - (reach < 0.8), np.float32)


def _upper(s: Shapes, hem: Hem) -> NDArray[Any]:
    no_sleeve = s.forearms > 1.1  # sleeves reach below the hem
    middle = (s.aside < 0.4) & (s.down > 0.25) & (s.down < hem.top_ends - 0.1)
    middle &= _reach(s) > 1.2
    cost = (
        _ramp(s.down - hem.top_ends - _BLURRED, _STEEP, 12) * no_sleeve
        + _ramp(_NECK_POINT - s.down, 50, 12)
        + 8 * (s.face < 1)
        - 2.5 * middle  # prints have colours that were not among the samples
    )
    return np.asarray(cost, np.float32)


def _lower(s: Shapes, hem: Hem) -> NDArray[Any]:
    return (
        _ramp(hem.bottom_begins - _BLURRED - s.down, _STEEP, _FORBIDDEN)
        + 2.0 * (_reach(s) < 0.8)  # hands lie before trousers
        + _FORBIDDEN * hem.one_piece
    )


def _legs(s: Shapes, hem: Hem) -> NDArray[Any]:
    belly = _ramp(s.down - hem.bottom_begins - _BLURRED, _STEEP, _FORBIDDEN)
    belly += 3 * (not hem.belly_shows) + _ramp(s.aside - 0.5, 20, 8)  # elbows are further out
    below = _ramp(hem.legs_begin - _BLURRED - s.down, _STEEP, _FORBIDDEN)
    above = _ramp(hem.top_ends - _BLURRED - 0.02 - s.down, _STEEP, _FORBIDDEN)
    return np.minimum(belly, below) + above + 4 * (_reach(s) < 0.9)


def _reach(s: Shapes) -> Floats:
    """The distance from forearms and hands, which may be before any other part."""
    return np.minimum(s.forearms, s.hands)


def _ramp(x: NDArray[Any], slope: float, most: float) -> Floats:
    """0 where x is negative, then rising to `most`."""
    return np.asarray(np.clip(x * np.float32(slope), 0, most), np.float32)
