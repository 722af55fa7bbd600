"""A mask's outline as an ordered line, and what the readings of tops and bottoms share of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import resample
from app.engines.warp.values import Floats, Mask, Point, Points

OUTLINE_SIDE = 384
"""Long side of the mask that key points are read from: 1 px is 0.3 % of a garment."""

_SMOOTHING = 250
"""The contour is averaged over 1/250 of its length, so that threads and pixels do not count."""


@dataclass(frozen=True)
class Shape:
    """A garment's mask and its contour.

    mask: (h, w) uint8, 0 or 1. contour: (n, 2), closed, clockwise as seen, smoothed.
    centre_x: the axis about which the mask is most nearly its own mirror image.
    symmetry: 0–1, the overlap with that mirror image (intersection over union).
    """

    mask: NDArray[np.uint8]
    contour: Points
    centre_x: float
    symmetry: float

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom."""
        low, high = self.contour.min(0), self.contour.max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    def nearest(self, point: Point) -> int:
        """The index of the contour's nearest point."""
        return int(np.argmin(((self.contour - point) ** 2).sum(1)))

    def arc(self, begin: Point, end: Point) -> Points:
        """The shorter way along the contour."""
        count = len(self.contour)
        i, j = self.nearest(begin), self.nearest(end)
        forth = self.contour[np.arange(i, i + (j - i) % count + 1) % count]
        back = self.contour[np.arange(i, i - (i - j) % count - 1, -1) % count]
        return forth if len(forth) <= len(back) else back

    def top_at(self, x: float) -> float:
        """y of the highest mask pixel in that column; the box's bottom where there is none."""
        column = int(np.clip(round(x), 0, self.mask.shape[1] - 1))
        return float(self._tops[column])

    def bottom_at(self, x: float) -> float:
        """y of the lowest mask pixel in that column; the box's top where there is none."""
        column = self.mask[:, int(np.clip(round(x), 0, self.mask.shape[1] - 1))]
        rows = np.flatnonzero(column)
        return float(rows[-1]) if len(rows) else self.box[1]

    @cached_property
    def _tops(self) -> Floats:
        tops = self.mask.argmax(0).astype(np.float32)
        tops[self.mask.max(0) == 0] = self.box[3]
        return cast("Floats", tops)

    def runs(self, y: float) -> list[tuple[int, int]]:
        """First and last column of each run of mask in a row."""
        row = self.mask[int(np.clip(round(y), 0, self.mask.shape[0] - 1))]
        steps = np.diff(np.concatenate([[0], row.astype(np.int8), [0]]))
        return list(zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1, strict=True))

    def central_run(self, y: float) -> tuple[int, int] | None:
        """The run that holds the axis, or else the nearest to it; None in an empty row."""
        runs = self.runs(y)
        if not runs:
            return None

        def away(run: tuple[int, int]) -> float:
            return max(run[0] - self.centre_x, self.centre_x - run[1], 0.0)

        return min(runs, key=away)


def read_shape(alpha: Mask) -> tuple[Shape, float]:
    """The outline of a garment's coverage, at OUTLINE_SIDE, and that mask's scale to `alpha`'s."""
    height, width = alpha.shape
    scale = min(1.0, OUTLINE_SIDE / max(height, width))
    small = cv2.resize(
        alpha,
        (max(8, round(width * scale)), max(8, round(height * scale))),
        interpolation=cv2.INTER_AREA,
    )
    mask = cv2.copyMakeBorder(
        (small > 0.5).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0
    )[1:-1, 1:-1]
    mask = cast(
        "NDArray[np.uint8]", cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    )
    centre_x, symmetry = _axis(mask)
    return Shape(mask, _contour(mask), centre_x, symmetry), scale


def _contour(mask: NDArray[np.uint8]) -> Points:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((1, 2), np.float32)
    line = max(contours, key=cv2.contourArea).reshape(-1, 2).astype(np.float32)
    # y points down: clockwise as seen is what OpenCV calls positive.
    if cv2.contourArea(line, oriented=True) < 0:
        line = line[::-1]
    reach = max(1, len(line) // _SMOOTHING)
    closed = np.concatenate([line[-reach:], line, line[:reach]])
    sums = np.cumsum(np.concatenate([np.zeros((1, 2), np.float32), closed]), axis=0)
    window = 2 * reach + 1
    return np.asarray((sums[window:] - sums[:-window]) / window, np.float32)


def _axis(mask: NDArray[np.uint8]) -> tuple[float, float]:
    """Try mirror axes on a small copy; the best, refined to a quarter of its pixels."""
    height, width = mask.shape
    scale = 96 / max(height, width)
    small = cast(
        "Mask",
        cv2.resize(
            mask.astype(np.float32),
            (max(4, round(width * scale)), max(4, round(height * scale))),
            interpolation=cv2.INTER_AREA,
        ),
    )
    columns = np.flatnonzero(small.max(0) > 0.5)
    if not len(columns):
        return width / 2, 0.0
    span = columns[-1] - columns[0] + 1
    middle = columns[0] + columns[-1]
    best, best_overlap = float(middle), -1.0
    # twice the axis' position, so that it may lie between two columns
    for doubled in range(int(middle - 0.3 * span), int(middle + 0.3 * span) + 1):
        overlap = _mirror_overlap(small, doubled)
        if overlap > best_overlap:
            best, best_overlap = float(doubled), overlap
    return (best / 2 + 0.5) / scale - 0.5, best_overlap


def _mirror_overlap(mask: Mask, doubled: int) -> float:
    width = mask.shape[1]
    x = np.arange(width)
    mirrored_x = doubled - x
    inside = (mirrored_x >= 0) & (mirrored_x < width)
    mirrored = np.zeros_like(mask)
    mirrored[:, inside] = mask[:, mirrored_x[inside]]
    return float(np.minimum(mask, mirrored).sum() / max(1e-3, np.maximum(mask, mirrored).sum()))


def find_tilt(mask: NDArray[np.uint8]) -> float:
    """By how many degrees to turn a mask, anticlockwise, so that its mirror axis stands upright.

    0 where that makes it hardly more symmetric: no garment is quite its own mirror image.
    """
    height, width = mask.shape
    scale = _TILT_SIDE / max(height, width)
    small = cv2.resize(mask.astype(np.float32), None, fx=scale, fy=scale, interpolation=1)
    moments = cv2.moments(small)
    if moments["m00"] < 1:
        return 0.0
    centre = (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])

    def symmetry(degrees: float) -> float:
        # About the middle of a square that holds the mask however it is turned.
        turn = cv2.getRotationMatrix2D(centre, degrees, 1.0)
        turn[0, 2] += _TILT_SIDE - centre[0]
        turn[1, 2] += _TILT_SIDE - centre[1]
        size = (2 * _TILT_SIDE + 1, 2 * _TILT_SIDE + 1)
        turned = cast("Mask", cv2.warpAffine(small, turn, size))
        mirrored = turned[:, ::-1]
        return float(np.minimum(turned, mirrored).sum() / np.maximum(turned, mirrored).sum())

    upright = symmetry(0)
    coarse = max(np.arange(-_MOST_TILT, _MOST_TILT + 1, 4.0), key=symmetry)
    best = max(np.arange(coarse - 3, coarse + 3.5, 1.0), key=symmetry)
    worth = symmetry(best) > upright + _TILT_GAIN and abs(best) >= _LEAST_TILT
    return float(best) if worth else 0.0


_TILT_SIDE = 96
_LEAST_TILT, _MOST_TILT = 2.0, 20.0
"""Degrees: less cannot be seen, more is a garment that somebody laid askew on purpose."""
_TILT_GAIN = 0.03


def evenly(line: Points, count: int) -> Points:
    """`resample`, which takes lines of one point too."""
    return resample(line if len(line) > 1 else np.repeat(line, 2, axis=0), count)
