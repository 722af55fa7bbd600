"""Pictures in the form that the network takes, and back.

Both go into its frame whole, on black. The order of the two resizings and their filters are FASHN
VTON 1.5's: what a network was trained on is what it understands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.engines.fashn.architecture import Architecture

if TYPE_CHECKING:
    from app.engines import Rgb


@dataclass(frozen=True)
class Place:
    """Where a picture lies in the frame, pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, frame: Rgb) -> Rgb:
        return frame[self.top : self.top + self.height, self.left : self.left + self.width]


def shrink(picture: Rgb, sizes: Architecture) -> Rgb:
    """The picture with no side longer than the frame's longest; itself where it is small enough."""
    height, width = picture.shape[:2]
    side = max(sizes.height, sizes.width)
    scale = min(side / width, side / height)
    if scale >= 1:
        return picture
    size = _scaled(width, height, scale)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def place(picture: NDArray[np.uint8], sizes: Architecture) -> Place:
    """In the middle, as large as it fits."""
    height, width = picture.shape[:2]
    scale = min(sizes.width / width, sizes.height / height)
    across, down = _scaled(width, height, scale)
    return Place((sizes.height - down) // 2, (sizes.width - across) // 2, down, across)


def frame(picture: NDArray[np.uint8], sizes: Architecture) -> NDArray[np.uint8]:
    """(h, w, 3) or, of a drawn pose, (h, w) → (height, width, 3) or (height, width), on black."""
    at = place(picture, sizes)
    framed = np.zeros((sizes.height, sizes.width, *picture.shape[2:]), np.uint8)
    at.cut(framed)[:] = _resized(picture, at)
    return framed


def keep(made: Rgb, photo: Rgb, weight: NDArray[np.float32]) -> Rgb:
    """The photo where weight is 1, what was made where it is 0; all of one size."""
    parts = weight[..., None]
    mixed = made + (photo.astype(np.float32) - made) * parts
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def _resized(picture: NDArray[np.uint8], at: Place) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if (height, width) == (at.height, at.width):
        return picture
    if picture.ndim == 2:  # lines keep their greys, each of which means a limb
        how = cv2.INTER_NEAREST_EXACT
    else:
        how = cv2.INTER_LANCZOS4 if at.height > height else cv2.INTER_AREA
    return cast("NDArray[np.uint8]", cv2.resize(picture, (at.width, at.height), interpolation=how))


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height; cut off and not rounded, as it was in training."""
    return max(1, int(scale * width)), max(1, int(scale * height))
