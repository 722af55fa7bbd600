"""The drawing of a body by which the network knows where its joints are.

18 points in OpenPose's order, limbs and joints in greys of their own. FASHN VTON 1.5 also draws 21
points of each hand and 68 of the face, which DWPose finds and our pose network does not: they are
left out, as DWPose leaves out hands that it does not see.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines import Pose

if TYPE_CHECKING:
    from app.engines import Floats

_SOURCES = (
    *((0,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,)),
    *((24,), (26,), (28,), (23,), (25,), (27,), (5,), (2,), (8,), (7,)),
)
"""Of each point, in BlazePose's order: nose, neck (between the shoulders), right shoulder, elbow
and wrist, left ones, right hip, knee and ankle, left ones, right eye, left eye, right ear, left."""

_LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)

_GREYS = np.linspace(20, 240, 18).astype(np.uint8)[:17]
"""Of the limbs before they are dimmed."""

_DIMMED, _BRIGHTER = 0.6, 1.3
"""Limbs are darker than their grey, joints brighter than that of the first limb that they end."""

_THICK, _RADIUS = 4, 4
"""Half the thickness of a limb; a joint. Pixels of the shrunk photo."""

_SEEN = 0.3
"""Of a point's presence and visibility; DWPose's own threshold for its points."""


def draw(pose: Pose, scale: float, height: int, width: int) -> NDArray[np.uint8]:
    """(height, width) uint8, black but for the body. scale: from the pose's pixels to these."""
    return draw_points(*body_points(pose, scale, height, width), height, width)


def nobody(height: int, width: int) -> NDArray[np.uint8]:
    """Of a garment that nobody wears."""
    return np.zeros((height, width), np.uint8)


def body_points(
    pose: Pose, scale: float, height: int, width: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """(18, 2) float32, x before y, and (18,), whether they are to be drawn."""
    sure = np.minimum(pose.presence, pose.visibility) >= _SEEN
    points = np.stack([pose.points[list(source)].mean(0) * scale for source in _SOURCES])
    inside = ((points >= 0) & (points < (width, height))).all(1)
    seen = np.array([sure[list(source)].all() for source in _SOURCES]) & inside
    return points.astype(np.float32), seen


def draw_points(
    points: Floats, seen: NDArray[np.bool_], height: int, width: int
) -> NDArray[np.uint8]:
    at = [(int(x), int(y)) for x, y in points]
    limbs = np.zeros((height, width), np.uint8)
    for grey, (a, b) in zip(_GREYS, _LIMBS, strict=True):
        if seen[a] and seen[b]:
            cv2.fillConvexPoly(limbs, _limb(at[a], at[b]), int(grey))
    drawing = (limbs * _DIMMED).astype(np.uint8)
    for point in np.flatnonzero(seen):
        first = next(i for i, limb in enumerate(_LIMBS) if point in limb)
        cv2.circle(drawing, at[point], _RADIUS, min(255, int(_GREYS[first] * _BRIGHTER)), -1)
    return drawing


def _limb(a: tuple[int, int], b: tuple[int, int]) -> NDArray[np.int32]:
    """The outline of an ellipse from joint to joint."""
    dx, dy = a[0] - b[0], a[1] - b[1]
    middle = ((a[0] + b[0]) // 2, (a[1] + b[1]) // 2)
    axes = (int(math.hypot(dx, dy)) // 2, _THICK)
    angle = int(math.degrees(math.atan2(dy, dx)))
    return np.asarray(cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1), np.int32)


# --- the face -------------------------------------------------------------------------------

_EYES, _MOUTH = (2, 5), (9, 10)
"""In BlazePose's order."""

_FACE_CENTRE, _FACE_HALF = 0.7, (1.0, 1.25)
"""From the mouth up, and half the width and height, in distances from the mouth to the eyes. Of the
ten sample people 97 to 100 % of that ellipse is face, and none of it hair or cloth."""

_FACE_EDGE = 0.75
"""From here on, of the ellipse's radius, the photo fades into what was made."""


def face(pose: Pose, scale: float, height: int, width: int) -> NDArray[np.float32]:
    """(height, width) float32: 1 in the face, 0 outside, between them at its edge."""
    eyes = pose.points[list(_EYES)].mean(0) * scale
    mouth = pose.points[list(_MOUTH)].mean(0) * scale
    up = eyes - mouth
    unit = float(np.hypot(*up))
    if unit < 1:
        return np.zeros((height, width), np.float32)
    up /= unit
    centre = mouth + _FACE_CENTRE * unit * up
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    dx, dy = x - centre[0], y - centre[1]
    along, across = (dx * up[0] + dy * up[1]) / unit, (dx * up[1] - dy * up[0]) / unit
    radius = np.hypot(across / _FACE_HALF[0], along / _FACE_HALF[1])
    return np.asarray(np.clip((1 - radius) / (1 - _FACE_EDGE), 0, 1), np.float32)
