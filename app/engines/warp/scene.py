"""The part of the photo in which everything happens, and the body in its pixels.

All stages after the parsing work on this crop, and no stage has to know of two sizes. It has the
size of the picture that is made, unless that is large: masks and light need no more pixels than the
labels had, and a dozen arrays of a float a pixel are alive at once. What is drawn on it is enlarged
at the end, the garment's own pattern drawn anew; see `composition.Easel.finish`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import cv2
import numpy as np

from app.engines import Category
from app.engines.warp.arrays import grid, resize, shrink
from app.engines.warp.placement import Place
from app.engines.warp.values import Body, Floats, Mask, Parts, Point, Points, Pose, Rgb, Side

SHOULDER = {"left": 12, "right": 11}
ELBOW = {"left": 14, "right": 13}
WRIST = {"left": 16, "right": 15}
FINGER = {"left": 20, "right": 19}
THUMB = {"left": 22, "right": 21}
HIP = {"left": 24, "right": 23}
KNEE = {"left": 26, "right": 25}
ANKLE = {"left": 28, "right": 27}
HEEL = {"left": 30, "right": 29}
FOOT = {"left": 32, "right": 31}
"""BlazePose's numbers of the joints, by the side of the photo on which they lie."""

OUTWARD = {"left": -1.0, "right": 1.0}
"""The sign of `across` on each side."""

_ABOVE_SHOULDERS = 0.75
_BELOW_HIPS = 0.45
_BESIDE = 0.45
"""How far the crop goes on beyond the body, in shoulder widths: collars rise by 0.4, hems of tops
hang down to 0.3 torso lengths below the hips, and wide ones stand off by 0.3."""

_PIXELS, _PIXELS_OF_LARGE = 800_000, 600_000
"""Of the crop: up to the first it has the picture's own, and 768 × 1024, a usual photo, is below it
as a whole. Larger pictures need room for more than the crop: it has the second there."""

_ARM_RADII = (0.20, 0.155, 0.13, 0.15)
_FOREARM_RADII = (0.15, 0.13, 0.17)
"""Of shoulder, elbow, wrist and fingers; elbow, wrist and fingers; in shoulder widths."""


@dataclass(frozen=True)
class Scene:
    """The crop of the photo, and what is known of it, in its pixels.

    photo: (h, w, 3) float32, 0–255. place: where the crop lies in the picture that is made. x, y:
    the pixels' coordinates, which broadcast. down, aside: `Body.down_torso` and `Body.from_spine`
    of every pixel. hands: 0–1, what must stay as it is; see hands.py.
    """

    photo: Floats
    place: Place
    pose: Pose
    body: Body
    parts: Parts
    x: Floats
    y: Floats
    down: Floats
    aside: Floats
    hands: Mask

    @property
    def height(self) -> int:
        return int(self.photo.shape[0])

    @property
    def width(self) -> int:
        return int(self.photo.shape[1])

    def joint(self, numbers: dict[str, int], side: Side) -> Point:
        return np.asarray(self.pose.points[numbers[side]])

    def hand(self, side: Side) -> Point:
        """The tips of the fingers: the knuckle of the index, and a quarter on."""
        wrist, finger = self.joint(WRIST, side), self.joint(FINGER, side)
        return np.asarray(wrist + (finger - wrist) * 1.25, np.float32)

    def arm(self, side: Side) -> tuple[Points, Floats]:
        """The bones from shoulder to finger tips, and their radii in pixels."""
        joints = [self.joint(numbers, side) for numbers in (SHOULDER, ELBOW, WRIST)]
        radii = np.asarray(_ARM_RADII, np.float32) * self.body.shoulder_width
        return np.stack([*joints, self.hand(side)]), radii

    def half(self) -> Scene:
        """The same at half the size: for light, shadow and fills, which are smooth."""
        height, width = (self.height + 1) // 2, (self.width + 1) // 2

        def small(array: Floats) -> Floats:
            return resize(array, height, width)

        parts, pose, body = self.parts, self.pose, _scale_body(self.body, 0.5)
        x, y = grid(height, width)
        return replace(
            self,
            photo=small(self.photo),
            pose=_scale_pose(pose, 0.5),
            body=body,
            parts=_each(parts, small),
            x=x,
            y=y,
            down=body.down_torso(x, y),
            aside=body.from_spine(x, y),
            hands=small(self.hands),
        )

    def forearm(self, side: Side) -> tuple[Points, Floats]:
        bones = [self.joint(ELBOW, side), self.joint(WRIST, side), self.hand(side)]
        return np.stack(bones), np.asarray(_FOREARM_RADII, np.float32) * self.body.shoulder_width


def see(
    picture: Rgb, *, pose: Pose, body: Body, parts: Parts, category: Category, side: int
) -> Scene:
    """The scene for a garment of this category.

    picture: the photo at the size at which the result is made. pose, body, parts: in pixels of the
    working photo, which has the same aspect and may be smaller. side: the long side, in pixels, at
    which the picture is worked on, at most; less where the body fills much of a large one.
    """
    canvas = shrink(picture, min(side, _side_of(picture, pose, body, category)))
    height, width = canvas.shape[:2]
    scale = height / parts.person.shape[0]
    pose, body = _scale_pose(pose, scale), _scale_body(body, scale)
    left, top, right, bottom = _box(pose, body, category, height, width)
    crop = canvas[top:bottom, left:right].astype(np.float32)
    origin = np.array([left, top], np.float32)
    pose = replace(pose, points=pose.points - origin)
    body = replace(body, shoulders=body.shoulders - origin, hips=body.hips - origin)
    x, y = grid(*crop.shape[:2])
    return Scene(
        photo=crop,
        place=Place(left, top, picture.shape[1] / width, picture.shape[0] / height),
        pose=pose,
        body=body,
        parts=_crop_parts(parts, scale, (left, top, right, bottom)),
        x=x,
        y=y,
        down=body.down_torso(x, y),
        aside=body.from_spine(x, y),
        hands=np.zeros(crop.shape[:2], np.float32),
    )


def _side_of(picture: Rgb, pose: Pose, body: Body, category: Category) -> int:
    """The picture's long side, in pixels, at which the crop has as many as it may have.

    pose, body: of the working photo.
    """
    height, width = pose.mask.shape
    left, top, right, bottom = _box(pose, body, category, height, width)
    share = (right - left) * (bottom - top) / (height * width)
    pixels = share * picture.shape[0] * picture.shape[1]
    long = max(picture.shape[:2])
    return long if pixels <= _PIXELS else int(long * math.sqrt(_PIXELS_OF_LARGE / pixels))


def _scale_pose(pose: Pose, scale: float) -> Pose:
    return replace(pose, points=np.asarray(pose.points * scale, np.float32))


def _scale_body(body: Body, scale: float) -> Body:
    return replace(
        body,
        shoulder_width=body.shoulder_width * scale,
        torso_length=body.torso_length * scale,
        shoulders=np.asarray(body.shoulders * scale, np.float32),
        hips=np.asarray(body.hips * scale, np.float32),
    )


def _box(
    pose: Pose, body: Body, category: Category, height: int, width: int
) -> tuple[int, int, int, int]:
    """left, top, right, bottom: the body from collar to hem, arms and all, within the frame."""
    unit = body.shoulder_width
    last = 33 if category != "tops" else 25  # the legs' points come last
    around = pose.points[11:last]
    corners = np.concatenate(
        [
            around - unit * _BESIDE,
            around + unit * _BESIDE,
            (body.shoulders + body.up * unit * _ABOVE_SHOULDERS)[None],
            (body.hips - body.up * unit * _BELOW_HIPS)[None],
        ]
    )
    low, high = np.floor(corners.min(0)), np.ceil(corners.max(0))
    left, top = int(np.clip(low[0], 0, width - 2)), int(np.clip(low[1], 0, height - 2))
    right = int(np.clip(high[0], left + 2, width))
    bottom = int(np.clip(high[1], top + 2, height))
    return left, top, right, bottom


def _crop_parts(parts: Parts, scale: float, box: tuple[int, int, int, int]) -> Parts:
    """The masks within the box, at its size."""
    left, top, right, bottom = box
    size = (right - left, bottom - top)
    # From pixel centres to pixel centres, as `resize` counts them.
    offset_x, offset_y = (left + 0.5) / scale - 0.5, (top + 0.5) / scale - 0.5
    back = np.array([[1 / scale, 0, offset_x], [0, 1 / scale, offset_y]], np.float64)

    def crop(mask: Mask) -> Mask:
        if scale == 1:
            return mask[top:bottom, left:right]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(mask, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return cast("Mask", warped)

    return _each(parts, crop)


def _each(parts: Parts, change: Callable[[Mask], Mask]) -> Parts:
    """The parts, every mask of them changed."""
    values: dict[str, Any] = {one.name: getattr(parts, one.name) for one in fields(parts)}
    masks: dict[str, Any] = {
        name: change(value) for name, value in values.items() if getattr(value, "ndim", 0) == 2
    }
    return replace(parts, **masks)
