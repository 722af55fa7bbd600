"""Where the top ends: the height at which the clothes change their colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engines.warp.colours import Palette, typical
from app.engines.warp.shapes import Shapes
from app.engines.warp.values import Floats

_STRIP = 0.34
"""Half the width, in shoulder widths, of the middle of the body, where no arm is looked at."""

_FIRST, _LAST = 0.45, 2.6
"""In torso lengths below the shoulders: from the shortest top to the longest dress."""

_ROWS = 72
"""The strip, from the collar to its end, in as many steps."""

_COLLAR = 0.12
"""Where the strip begins."""

_LIGHT = 0.5
"""What lightness counts against hue: folds and shade change the one and not the other."""

_FOLDS = 9.0
"""Typical colours nearer than this, lightness halved, are one cloth in more or less light."""

_COLOURS = 8
"""Typical colours that the strip's pixels are counted by."""

_CHANGE = 0.18
"""Of the colours' information (Jensen–Shannon, 0–1): less is a fold or a print. Jeans under a
white shirt: 0.6–0.9; two blacks: 0.05."""

_USUAL = 0.97
"""Where a top of the colours of the trousers is taken to end, in torso lengths."""

_SKIN = 1.5
"""Skin distances below this are left out: belly and legs are no garment."""

_SKIN_COLOURED = 0.4
"""Of the chest: more than this like skin, and the top itself has that colour."""

_BARER = 0.7
"""Under such a top, skin is what is nearer to the face's colour than the top by this."""

_CROTCH = 0.95
"""Bare skin above this is the belly, below the legs."""

_LEAST_LEG = 0.12
"""Torso lengths: a shorter piece of skin may be a tear, or a hand."""

_NO_LEGS = 9.0

_CLOTHED = 0.3
"""Of a row: with less of it, the row shows belly or legs."""


@dataclass(frozen=True)
class Hem:
    """Torso lengths below the shoulders.

    top_ends, bottom_begins: the same, but where the belly shows. legs_begin: where clothes end
    and bare legs begin; beyond the photo where there are trousers.
    change: 0–1, how different the colours are below. one_piece: there is no lower garment.
    """

    top_ends: float
    bottom_begins: float
    legs_begin: float
    change: float
    one_piece: bool

    @property
    def belly_shows(self) -> bool:
        return self.bottom_begins > self.top_ends


def find_hem(shapes: Shapes, palette: Palette, skin: Floats) -> Hem:
    """skin: (n,), the distance from the skin's colour."""
    strip = (
        (shapes.aside < _STRIP)
        & (shapes.down > _COLLAR)
        & (shapes.down < _LAST)
        & (np.minimum(shapes.forearms, shapes.hands) > 1.1)
    )
    if strip.sum() < 10 * _ROWS:
        return Hem(_USUAL, _USUAL, _NO_LEGS, 0.0, one_piece=False)
    end = float(shapes.down[strip].max())
    step = (end - _COLLAR) / _ROWS
    row = np.minimum((shapes.down[strip] - _COLLAR) / step, _ROWS - 1).astype(np.intp)
    like_skin = skin[strip] < _SKIN
    chest = shapes.down[strip] < _FIRST
    if like_skin[chest].mean() > _SKIN_COLOURED:
        like_skin = skin[strip] < _BARER * np.median(skin[strip][chest])
    counts = _counts(row, _codes(palette, strip), ~like_skin)
    clothed = counts.sum(1) > _CLOTHED * np.maximum(1, np.bincount(row, minlength=_ROWS))
    return _read(counts, clothed, step)


def _read(counts: Floats, clothed: NDArray[np.bool_], step: float) -> Hem:
    """counts: (_ROWS, colours). clothed: (_ROWS,)."""

    def down(row: int) -> float:
        return _COLLAR + row * step

    dressed_to = _dressed_to(clothed, step)
    legs = down(dressed_to) if dressed_to < _ROWS - 1 else _NO_LEGS
    first = int((_FIRST - _COLLAR) / step)
    if dressed_to - first < 4:
        return Hem(legs, legs, legs, 1.0, one_piece=True)
    best, change = _change(counts[:dressed_to], first)
    if change < _CHANGE:
        if legs < _NO_LEGS:
            return Hem(legs, legs, legs, change, one_piece=True)
        return Hem(_USUAL, _USUAL, legs, change, one_piece=False)
    top_ends = bottom_begins = best
    while top_ends > first and not clothed[top_ends - 1]:
        top_ends -= 1
    while bottom_begins < dressed_to and not clothed[bottom_begins]:
        bottom_begins += 1
    return Hem(down(top_ends), down(bottom_begins), legs, change, one_piece=False)


def _dressed_to(clothed: NDArray[np.bool_], step: float) -> int:
    """The row at which bare legs begin; shoes may follow."""
    row = max(0, int((_CROTCH - _COLLAR) / step))
    run = max(2, int(_LEAST_LEG / step))
    while row < _ROWS:
        if not clothed[row : row + run].any():
            return row
        row += 1
    return _ROWS


def _codes(palette: Palette, strip: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Each pixel's colour among a few that are typical of the strip."""
    cells = palette.of[strip]
    colours = palette.cells * np.array([_LIGHT, 1, 1], np.float32)
    centres = typical(colours[cells], _COLOURS)
    away = ((colours[:, None] - centres) ** 2).sum(2)
    return np.asarray(_merged(centres)[away.argmin(1)[cells]], np.intp)


def _merged(centres: Floats) -> NDArray[np.intp]:
    """(k,): the first of those that are no further than folds make them."""
    away = np.sqrt(((centres[:, None] - centres) ** 2).sum(2))
    near = away < _FOLDS
    for _ in range(len(centres)):
        near |= (near.astype(np.uint8) @ near.astype(np.uint8)) > 0
    return np.asarray(near.argmax(1), np.intp)


def _counts(row: NDArray[np.intp], code: NDArray[np.intp], kept: NDArray[np.bool_]) -> Floats:
    flat = np.bincount((row * _COLOURS + code)[kept], minlength=_ROWS * _COLOURS)
    return flat.reshape(_ROWS, _COLOURS).astype(np.float32)


def _change(counts: Floats, first: int) -> tuple[int, float]:
    """The row from which on the colours differ most, and by how much (Jensen–Shannon, bits)."""
    above = np.cumsum(counts, 0)[first:-2]
    below = counts.sum(0) - above
    n, m = above.sum(1), below.sum(1)
    gain = (n + m) * _entropy(above + below) - n * _entropy(above) - m * _entropy(below)
    best = int(gain.argmax())
    one, other = above[best] / max(1, n[best]), below[best] / max(1, m[best])
    different = _entropy((one + other) / 2) - (_entropy(one) + _entropy(other)) / 2
    return first + best + 1, float(different) if min(n[best], m[best]) > 0 else 0.0


def _entropy(counts: Floats) -> Floats:
    """In bits, along the last axis."""
    shares = counts / np.maximum(counts.sum(-1, keepdims=True), 1e-6)
    return np.asarray(-(shares * np.log2(shares + 1e-9)).sum(-1), np.float32)
