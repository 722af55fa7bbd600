"""Where a scene lies in the picture that is made, and how it is enlarged to that, band by band."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor

import cv2
import numpy as np

from app.engines.warp.values import Box, Floats

_BAND_PX = 128
"""Rows that are enlarged at once: a dozen arrays of floats are alive for each of their pixels."""


@dataclass(frozen=True)
class Place:
    """Where a scene lies in the picture that is made.

    left, top: its corner, in pixels of the scene. across, down: how many pixels of the picture one
    of the scene is wide and tall, 1 or more.
    """

    left: int
    top: int
    across: float = 1.0
    down: float = 1.0

    @property
    def enlarge(self) -> float:
        return max(self.across, self.down)

    def windows(self, box: Box, picture: tuple[int, ...]) -> Iterator[Window]:
        """The picture's part that shows a box of the scene, in bands. picture: height, width, …"""
        whole = Window(self, np.s_[0 : picture[0], 0 : picture[1]]).within(box)
        if whole is None:
            return
        rows, columns = whole.picture
        for top in range(rows.start, rows.stop, _BAND_PX):
            band = slice(top, min(top + _BAND_PX, rows.stop))
            yield Window(self, (band, columns))


@dataclass(frozen=True)
class Window:
    """A part of the picture that is made. picture: its rows and columns there."""

    place: Place
    picture: Box

    def see(self, array: Floats, box: Box | None = None) -> Floats:
        """What an array of the scene, or of a box of it, shows here: (h, w) or (h, w, n) float32.

        What is enlarged is interpolated linearly, from pixel centres to pixel centres.
        """
        place, (rows, columns) = self.place, self.picture
        left, top = place.left, place.top
        if box is not None:
            left, top = left + box[1].start, top + box[0].start
        if place.enlarge == 1:
            return array[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
        x = (columns.start + 0.5) / place.across - 0.5 - left
        y = (rows.start + 0.5) / place.down - 0.5 - top
        return np.asarray(
            cv2.warpAffine(
                array,
                np.array([[1 / place.across, 0, x], [0, 1 / place.down, y]], np.float64),
                (columns.stop - columns.start, rows.stop - rows.start),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.float32,
        )

    def within(self, box: Box) -> Window | None:
        """The part of this that shows a box of the scene; None where it shows nothing of it."""
        place = self.place
        spans = (
            _overlap(span, place_from, side, scale)
            for span, place_from, side, scale in (
                (self.picture[0], place.top, box[0], place.down),
                (self.picture[1], place.left, box[1], place.across),
            )
        )
        rows, columns = spans
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return replace(self, picture=(rows, columns))

    def inside(self, other: Window) -> Box:
        """Its rows and columns in another one that holds it."""
        (rows, columns), (others_rows, others_columns) = self.picture, other.picture
        top, left = others_rows.start, others_columns.start
        return np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def _overlap(span: slice, begins: int, side: slice, scale: float) -> slice:
    """Of a span of the picture with a side of a box of a scene that begins there."""
    edge = 0.5 if scale > 1 else 0.0  # what is enlarged goes on to the next pixel's centre
    first = floor((begins + side.start - edge) * scale)
    last = ceil((begins + side.stop + edge) * scale)
    return slice(max(span.start, first), min(span.stop, last))
