"""An open front: where a jacket or cardigan hangs open, and what is worn under it shows.

Laid flat, one looks between the two front panels on the inside of the back: the same cloth in the
panels' shadow, or a lining, darker than both from the neck down to the hem. Prints, plackets and
stripes are not: they end, are thin, or have another cloth on either side.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arms import fill
from app.engines.warp.arrays import blur
from app.engines.warp.values import Floats, Mask, Points, TopOutline

_ROWS, _COLUMNS = 48, 129
"""At which the torso is looked at, straightened: a column is 1.5 % of the garment's half width."""

_FROM, _TO = 0.06, 0.985
"""Between the neck corners and the hem, as parts of that way: above lies the collar, below the
edge's own pixels."""

_CORE = 0.03
"""Half width of the strip on the axis that is the opening's if there is one, in half widths."""

_DARKER = 0.82
"""The inside over the panel beside it, in lightness, at most: folds reach 0.88, drawn and
photographed insides of backs have 0.35–0.75."""

_ALIKE = 0.10
"""How much lightness may change within the opening from the axis on, over the panels'."""

_NARROWEST, _WIDEST = 0.06, 0.75
"""Half of the opening, in half widths: narrower ones are plackets, wider ones are not worn so."""

_BESIDE = 0.06
"""In half widths, how far beside its edge the panel is looked at: its border lies between."""

_SAME_CLOTH = 14.0
"""Lab distance between the two panels, the median over all rows, at most."""

_ROWS_SEEN = 0.85
"""Of all rows, at least, those in which both edges are seen."""

_RAGGED = 0.05
"""How far the edges may leave a smooth curve, in half widths, as a median."""


def find_opening(picture: Floats, alpha: Mask, outline: TopOutline) -> Mask | None:
    """(h, w), 0–1: the opening's coverage of the garment's picture; None for a closed front.

    picture, alpha: as in `Garment`.
    """
    grid = _torso(outline)
    colours = _sampled(picture, alpha, grid)
    edges = [_edges(row) for row in colours[..., 0]]
    rows = np.flatnonzero([edge is not None for edge in edges])
    if len(rows) < _ROWS_SEEN * _ROWS or rows[-1] < _ROWS - 2:
        return None
    found = np.array([edges[row] for row in rows], np.float32)
    at = rows / (_ROWS - 1)
    smooth = [np.polynomial.Polynomial.fit(at, found[:, side], 3) for side in (0, 1)]
    ragged = max(np.median(np.abs(smooth[side](at) - found[:, side])) for side in (0, 1))
    if ragged > _RAGGED * _COLUMNS / 2 or not _are_panels(colours, rows, found):
        return None
    lines = [_line(grid, smooth[side](np.linspace(0, 1, _ROWS))) for side in (0, 1)]
    return _between(alpha.shape, *lines)


def _torso(outline: TopOutline) -> Floats:
    """(rows, columns, 2): where in the picture the straightened torso's points are."""
    left, right = outline.left, outline.right
    top = np.float32(0.5) * (left.neck + right.neck)
    bottom = outline.hem[len(outline.hem) // 2]
    y = top[1] + (bottom[1] - top[1]) * np.linspace(_FROM, _TO, _ROWS, dtype=np.float32)
    ends = [np.interp(y, side.side[:, 1], side.side[:, 0]) for side in (left, right)]
    share = np.linspace(-1, 1, _COLUMNS, dtype=np.float32)[None]
    axis = np.float32(outline.centre_x)
    half = np.minimum(axis - ends[0], ends[1] - axis).astype(np.float32)[:, None]
    return np.dstack([axis + share * half, np.repeat(y[:, None], _COLUMNS, 1)]).astype(np.float32)


def _sampled(picture: Floats, alpha: Mask, grid: Floats) -> Floats:
    """(rows, columns, 3): Lab, L as 0–255."""
    as_bytes = np.asarray(np.clip(picture, 0, 255), np.uint8)
    reach = max(0.5, 0.004 * alpha.shape[1])
    smooth = cv2.GaussianBlur(as_bytes, (0, 0), reach)
    seen = cv2.remap(smooth, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(seen, cv2.COLOR_RGB2LAB), np.float32)


def _edges(lightness: Floats) -> tuple[int, int] | None:
    """The columns at which the dark strip on the axis ends; None where there is none."""
    middle, unit = _COLUMNS // 2, _COLUMNS / 2
    core = lightness[round(middle - _CORE * unit) : round(middle + _CORE * unit) + 1]
    dark = float(np.median(core))
    bright = float(np.percentile(lightness, 70))
    if dark > _DARKER * bright:
        return None
    inside = lightness < dark + max(_ALIKE * bright, 0.5 * (bright - dark))
    left = middle - int(np.argmin(inside[middle::-1]))
    right = middle + int(np.argmin(inside[middle:]))
    narrow, wide = _NARROWEST * unit, _WIDEST * unit
    if not (narrow < middle - left < wide and narrow < right - middle < wide):
        return None
    return left, right


def _are_panels(colours: Floats, rows: NDArray[np.intp], found: Floats) -> bool:
    """Whether the same cloth lies on both sides, lighter than what is between."""
    beside = round(_BESIDE * _COLUMNS / 2)
    left = colours[rows, np.clip(found[:, 0] - beside, 0, _COLUMNS - 1).astype(int)]
    right = colours[rows, np.clip(found[:, 1] + beside, 0, _COLUMNS - 1).astype(int)]
    apart = float(np.median(np.sqrt(((left - right) ** 2).sum(1))))
    return apart < _SAME_CLOTH


def _line(grid: Floats, columns: NDArray[np.floating]) -> Points:
    """(rows, 2): the edge in the picture's pixels, going on above the first and below the last."""
    at = np.clip(columns, 0, _COLUMNS - 1)
    x = [np.interp(at[i], np.arange(_COLUMNS), grid[i, :, 0]) for i in range(_ROWS)]
    line = np.column_stack([x, grid[:, 0, 1]]).astype(np.float32)
    above, below = 2 * line[:1] - line[8:9], 2 * line[-1:] - line[-5:-4]
    return np.concatenate([above, line, below])


def _between(shape: tuple[int, ...], left: Points, right: Points) -> Mask:
    polygon = np.concatenate([left, right[::-1]])
    return blur(fill((shape[0], shape[1]), polygon), 0.8)
