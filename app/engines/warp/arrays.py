"""Small operations on pictures, masks and polylines that more than one stage needs."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.values import Floats, Mask, Points, Rgb

_AREA = cv2.INTER_AREA
_LINEAR = cv2.INTER_LINEAR


def shrink(picture: Rgb, side: int) -> Rgb:
    """The picture with its long side at most `side` pixels; itself where it is small enough."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cast("Rgb", cv2.resize(picture, size, interpolation=_AREA))


def resize(array: NDArray[np.float32], height: int, width: int) -> Floats:
    """To another size: by areas where it shrinks, linearly where it grows."""
    if array.shape[:2] == (height, width):
        return array
    interpolation = _AREA if height * width < array.shape[0] * array.shape[1] else _LINEAR
    return cast("Floats", cv2.resize(array, (width, height), interpolation=interpolation))


def lab(picture: Rgb) -> Floats:
    """(h, w, 3) float32: L, a, b as OpenCV gives them for 8-bit pictures, each 0–255."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)


def smoothstep(x: Floats, begin: float, end: float) -> Floats:
    """0 up to `begin`, 1 from `end`, a smooth rise between them."""
    t = np.clip((x - begin) / (end - begin), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def blur(array: Floats, sigma: float) -> Floats:
    """Gaussian, sigma in pixels; wide ones on a smaller picture, which nobody can tell."""
    if sigma < 0.3:
        return array
    factor = int(sigma // 4)
    if factor >= 2 and min(array.shape[:2]) >= 4 * factor:
        height, width = array.shape[:2]
        small = resize(array, max(1, height // factor), max(1, width // factor))
        return resize(
            cast("Floats", cv2.GaussianBlur(small, (0, 0), sigma / factor)), height, width
        )
    return cast("Floats", cv2.GaussianBlur(array, (0, 0), sigma))


class Guide:
    """Smooths arrays along the edges of one grey picture, 0–1.

    flat: the variance of lightness below which a window of `radius` has no edge.
    Source: He, Sun, Tang, Guided Image Filtering, ECCV 2010.
    """

    def __init__(self, grey: Mask, radius: int, flat: float) -> None:
        self._grey = grey
        self._size = (2 * radius + 1, 2 * radius + 1)
        self._mean_grey = self._mean(grey)
        variance = self._mean(grey * grey) - self._mean_grey * self._mean_grey
        self._share = np.asarray(1 / (variance + flat), np.float32)

    def smooth(self, array: Mask) -> Mask:
        slope, offset = self.lines(array)
        slope *= self._grey
        slope += offset
        return slope

    def lines(self, array: Mask) -> tuple[Floats, Floats]:
        """slope, offset: around each pixel, array ≈ slope × grey + offset."""
        mean_array = self._mean(array)
        slope = self._mean(self._grey * array)
        slope -= self._mean_grey * mean_array
        slope *= self._share
        mean_array -= slope * self._mean_grey
        return self._mean(slope), self._mean(mean_array)

    def _mean(self, of: Floats) -> Floats:
        return cast("Floats", cv2.boxFilter(of, -1, self._size, borderType=cv2.BORDER_REFLECT))


def guided_filter(guide: Mask, array: Mask, radius: int, eps: float) -> Mask:
    """Smooth `array` but along the edges of `guide`, a grey picture, 0–1."""
    return Guide(guide, radius, eps).smooth(array)


def push_pull(picture: Floats, known: Mask) -> Floats:
    """Fill what is not known (0) smoothly from what is (1); (h, w, 3) float32.

    Averages of what is known are made at half the size, again and again, and what comes back
    fills the holes: as smooth as a membrane, at the cost of two resizes.
    Source: Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.3.
    """
    height, width = known.shape
    weights = known[..., None]
    if min(height, width) <= 2:
        total = float(known.sum())
        if total < 1e-6:
            return picture
        mean = (picture * weights).sum((0, 1)) / total
        return np.asarray(picture * weights + mean * (1 - weights), np.float32)
    half = ((height + 1) // 2, (width + 1) // 2)
    share = resize(known, *half)
    small = resize(np.asarray(picture * weights, np.float32), *half)
    small /= np.maximum(share, 1e-4)[..., None]
    below = push_pull(small, np.minimum(share * 4, 1) * (share > 1e-4))
    filled = resize(below, height, width)
    filled *= 1 - weights
    filled += picture * weights
    return filled


def largest_component(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Only the largest connected part of a 0/1 mask; all zeros where there is none."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return np.zeros_like(mask)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(labels == largest, np.uint8)


def disc(diameter: int) -> NDArray[np.uint8]:
    """A round structuring element; the diameter in pixels, made odd."""
    diameter = max(1, diameter) | 1
    return cast(
        "NDArray[np.uint8]",
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter)),
    )


def grid(height: int, width: int) -> tuple[Floats, Floats]:
    """x, y of every pixel, as two arrays that broadcast: (1, w) and (h, 1)."""
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    return x, y


def capsules(points: Points, radii: Floats, height: int, width: int) -> Floats:
    """(h, w): the distance from a chain of tapering limbs, 1 on their surface, 0 on the bones."""
    x, y = grid(height, width)
    return from_limbs(points, radii, x, y)


def from_limbs(points: Points, radii: Floats, x: Floats, y: Floats) -> Floats:
    """The same at any points; x and y broadcast."""
    nearest = np.full(np.broadcast_shapes(x.shape, y.shape), 9, np.float32)
    for a, b, at_a, at_b in zip(points, points[1:], radii, radii[1:], strict=False):
        bone = b - a
        length = max(1e-3, float(bone @ bone))
        t = np.clip(((x - a[0]) * bone[0] + (y - a[1]) * bone[1]) / length, 0, 1)
        distance = np.hypot(x - a[0] - t * bone[0], y - a[1] - t * bone[1])
        np.minimum(nearest, distance / (at_a + t * (at_b - at_a)), out=nearest)
    return nearest


def along(line: Points) -> Floats:
    """(n,): how far along a polyline each of its points lies, pixels."""
    steps = np.hypot(*np.diff(line, axis=0).T) if len(line) > 1 else np.zeros(0)
    return np.concatenate([[0.0], np.cumsum(steps)]).astype(np.float32)


def resample(line: Points, count: int) -> Points:
    """`count` points at equal distances along a polyline, both ends included."""
    line = np.asarray(line, np.float32)
    distance = along(line)
    if distance[-1] < 1e-3:
        return np.repeat(line[:1], count, axis=0)
    at = np.linspace(0, distance[-1], count)
    return np.stack([np.interp(at, distance, line[:, i]) for i in (0, 1)], 1).astype(np.float32)


def length(line: Points) -> float:
    return float(along(line)[-1])


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vector / (float(np.hypot(*vector)) + 1e-6), np.float32)


def enlarged(points: Points, factor: float) -> Points:
    """The same points where the picture is `factor` times as large; pixels are named by centres."""
    return np.asarray((points + 0.5) * factor - 0.5, np.float32)
