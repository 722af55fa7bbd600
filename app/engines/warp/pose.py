"""Where the body is: photo → Pose and Body.

The detector gives a square round the body; the landmark network looks at that square twice, the
second time at the square that its own first answer spans. Where its heat map is clear, a point is
moved to the centre of the heat.
Source: Bazarevsky et al., BlazePose, 2020; MediaPipe's RefineLandmarksFromHeatmapCalculator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from app.engines.warp import people
from app.engines.warp.arrays import unit
from app.engines.warp.networks import LANDMARK_SIDE, Detection, Landmarks, Networks
from app.engines.warp.values import Body, Floats, Mask, Point, Points, Pose, Rgb

POINTS = 33

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 11, 12, 23, 24
"""As in BlazePose: the person's own left and right."""

_ROI_MARGIN = 1.25
"""The square's side in diameters of the circle round the body; as the network was trained."""

_HEAT_RADIUS = 3
_HEAT_CLEAR = 0.5
"""A heat map below this says nothing of its point; both as in MediaPipe."""

_ASIDE = np.array([0.5, 0], np.float32)
"""Pixels of the square that points lie too far to the right: found by mirroring 12 photos (5.5
pixels of the photo without, -1.4 with); the rendered eyes show nothing of the kind in height."""

_NARROWEST_SHOULDERS = 0.42
"""In torso lengths. A body turned aside has a smaller distance between its shoulders, but not
smaller arms and neck, which are measured in it."""


def find_pose(networks: Networks, photo: Rgb) -> tuple[Pose, Body]:
    """The one person of a photo, front towards us.

    photo: the working photo; all that comes back is in its pixels, the mask of its size.
    Raises EngineError: no_person, several_people, person_from_behind, body_out_of_frame,
    image_too_small. Whether the hips show is asked later, by `people.check_hips`: only some
    garments need them.
    """
    bodies = networks.find_bodies(photo, at_least=people.BODY_SCORE)
    people.check_found(bodies)
    pose = _measure(networks, photo, max(bodies, key=_prominence))
    body = measure_body(pose)
    people.check_pose(networks, photo, pose, body, bodies)
    return pose, body


def measure_body(pose: Pose) -> Body:
    """The frame that moves with the body."""
    points = pose.points
    shoulders = (points[LEFT_SHOULDER] + points[RIGHT_SHOULDER]) / 2
    hips = (points[LEFT_HIP] + points[RIGHT_HIP]) / 2
    torso_length = max(1.0, float(np.hypot(*(shoulders - hips))))
    width = float(np.hypot(*(points[LEFT_SHOULDER] - points[RIGHT_SHOULDER])))
    return Body(
        up=unit(shoulders - hips),
        across=unit(points[LEFT_SHOULDER] - points[RIGHT_SHOULDER]),
        shoulder_width=max(width, _NARROWEST_SHOULDERS * torso_length),
        torso_length=torso_length,
        shoulders=shoulders,
        hips=hips,
    )


def _prominence(body: Detection) -> float:
    return float(body.box[2] - body.box[0]) * body.score


@dataclass(frozen=True)
class _Square:
    """Where the landmark network looks: a square of the photo, turned so that the body is upright.

    to_photo: (2, 3), from pixels of the network's square to the photo's.
    """

    to_photo: Floats

    @classmethod
    def spanned(cls, centre: Point, rim: Point) -> _Square:
        """The square round a circle; the rim's point goes straight up."""
        reach = rim - centre
        scale = 2 * float(np.hypot(*reach)) * _ROI_MARGIN / LANDMARK_SIDE
        angle = np.arctan2(reach[1], reach[0]) + np.pi / 2
        turn = scale * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32
        )
        origin = centre - turn @ np.full(2, LANDMARK_SIDE / 2, np.float32)
        return cls(np.concatenate([turn, origin[:, None]], 1).astype(np.float32))

    def cut(self, photo: Rgb) -> Rgb:
        return np.asarray(
            cv2.warpAffine(
                photo,
                self.to_photo,
                (LANDMARK_SIDE, LANDMARK_SIDE),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            )
        )

    def place(self, points: Points) -> Points:
        points = points - _ASIDE
        return np.asarray(points @ self.to_photo[:, :2].T + self.to_photo[:, 2], np.float32)

    def lay(self, mask: Mask, height: int, width: int) -> Mask:
        """The network's mask on the photo, 0 outside the square."""
        return np.asarray(cv2.warpAffine(mask, self.to_photo, (width, height)), np.float32)


def _measure(networks: Networks, photo: Rgb, body: Detection) -> Pose:
    centre, rim = body.points[0], body.points[1]
    for _ in range(2):
        square = _Square.spanned(centre, rim)
        found = _refined(networks.landmarks(square.cut(photo)))
        points = square.place(found.points)
        centre, rim = points[POINTS], points[POINTS + 1]
    return Pose(
        points=points[:POINTS],
        presence=found.presence[:POINTS],
        visibility=found.visibility[:POINTS],
        score=found.score,
        mask=square.lay(found.mask, *photo.shape[:2]),
    )


def _refined(found: Landmarks) -> Landmarks:
    """Move each point to the centre of the heat around it, where there is some."""
    cells = found.heat.shape[0]
    scale = LANDMARK_SIDE / cells
    points = found.points.copy()
    for i in range(POINTS):
        x, y = (int(value) for value in np.floor(points[i] / scale))
        if not (0 <= x < cells and 0 <= y < cells):
            continue
        left, top = max(0, x - _HEAT_RADIUS), max(0, y - _HEAT_RADIUS)
        heat = found.heat[top : y + _HEAT_RADIUS + 1, left : x + _HEAT_RADIUS + 1, i]
        if heat.max() > _HEAT_CLEAR:
            rows, columns = np.mgrid[top : top + heat.shape[0], left : left + heat.shape[1]]
            total = heat.sum() / scale
            points[i] = (heat * columns).sum() / total, (heat * rows).sum() / total
    return replace(found, points=points)
