"""The person's box of the working photo, shrunk: where the parsing works."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import Guide, lab, resize
from app.engines.warp.values import Body, Floats, Mask, Points, Pose, Rgb

HEIGHT = 448
"""At most, pixels: what is lost at the edges comes back when the masks are enlarged along the
photo's own edges; more costs in proportion."""

_MARGIN = 0.35
"""Round the points and the pose's mask, in shoulder widths: hair, sleeves, skirts; and enough of
the ground to learn its colours."""


_FLAT = 1e-4
"""Variance of lightness (0–1) below which a window has no edge."""


@dataclass(frozen=True)
class View:
    """picture: (h, w, 3). box: the same, at the photo's size. left, top, width, height: where it
    lies in the photo. scale: view / photo.

    points and lengths of `body` are in pixels of the view.
    """

    picture: Rgb
    box: Rgb
    left: int
    top: int
    width: int
    height: int
    photo_height: int
    photo_width: int
    scale: float
    points: Points
    body: Body
    pose_mask: Mask

    @classmethod
    def of(cls, photo: Rgb, pose: Pose, body: Body) -> View:
        left, top, right, bottom = _box(pose, body)
        crop = photo[top:bottom, left:right]
        scale = min(1.0, HEIGHT / max(crop.shape[:2]))
        height, width = (max(8, round(side * scale)) for side in crop.shape[:2])
        origin = np.array([left, top], np.float32)
        return cls(
            picture=np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)),
            box=crop,
            left=left,
            top=top,
            width=right - left,
            height=bottom - top,
            photo_height=photo.shape[0],
            photo_width=photo.shape[1],
            scale=scale,
            points=(pose.points - origin) * np.float32(scale),
            body=Body(
                up=body.up,
                across=body.across,
                shoulder_width=body.shoulder_width * scale,
                torso_length=body.torso_length * scale,
                shoulders=(body.shoulders - origin) * np.float32(scale),
                hips=(body.hips - origin) * np.float32(scale),
            ),
            pose_mask=resize(pose.mask[top:bottom, left:right], height, width),
        )

    @property
    def shape(self) -> tuple[int, int]:
        return self.picture.shape[0], self.picture.shape[1]

    @property
    def unit(self) -> float:
        """The shoulder width, pixels of the view."""
        return self.body.shoulder_width

    @cached_property
    def lab(self) -> Floats:
        return lab(self.picture)

    @cached_property
    def grey(self) -> Mask:
        grey = cv2.cvtColor(self.picture, cv2.COLOR_RGB2GRAY)
        return np.asarray(grey / np.float32(255), np.float32)

    @cached_property
    def _edges(self) -> Guide:
        return Guide(self.grey, 1, _FLAT)

    @cached_property
    def grey_photo(self) -> Mask:
        """Of the box, at the photo's size."""
        return np.asarray(cv2.cvtColor(self.box, cv2.COLOR_RGB2GRAY) * np.float32(1 / 255))

    @cached_property
    def smooth_lab(self) -> Floats:
        """Lab without the noise and the fine texture of fabrics and hair."""
        return lab(np.asarray(cv2.bilateralFilter(self.picture, 5, 20, 3), np.uint8))

    def enlarge(self, mask: NDArray[np.bool_]) -> Mask:
        """A hard mask of the view as a soft one of the photo, along the photo's own edges.

        A mask is nearly a linear function of the lightness in each small window; that function
        is found in the view and used on the photo. Mean difference from the rendered people's
        true masks near the edges: 0.046, against 0.073 where the mask itself is smoothed and
        enlarged. Source: He, Sun, Fast Guided Filter, 2015.
        """
        whole = np.zeros((self.photo_height, self.photo_width), np.float32)
        if mask.any():
            slope, offset = self._edges.lines(mask.astype(np.float32))
            box = resize(slope, self.height, self.width)
            box *= self.grey_photo
            box += resize(offset, self.height, self.width)
            whole[self.top : self.top + self.height, self.left : self.left + self.width] = np.clip(
                box, 0, 1, out=box
            )
        return whole


def _box(pose: Pose, body: Body) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what holds the person, inside the photo."""
    height, width = pose.mask.shape
    rows, columns = (np.flatnonzero((pose.mask > 0.1).any(axis)) for axis in (1, 0))
    corners = [pose.points.min(0), pose.points.max(0)]
    if len(rows):
        corners += [
            np.array([columns[0], rows[0]], np.float32),
            np.array([columns[-1], rows[-1]], np.float32),
        ]
    margin = _MARGIN * body.shoulder_width
    low = np.clip(np.min(corners, 0) - margin, 0, (width - 8, height - 8))
    high = np.clip(np.max(corners, 0) + margin, low + 8, (width, height))
    return int(low[0]), int(low[1]), int(np.ceil(high[0])), int(np.ceil(high[1]))
