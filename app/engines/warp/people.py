"""Which photos of people can be used, and what to tell the shopper about the others.

The signals and their values in usable photos (the six rendered people and eleven of real ones,
November 2026) stand beside the thresholds. Where a point lies counts, not the network's own
visibility: that says 1.00 of eyes that are outside the photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import cv2
import numpy as np

from app.engines import Category
from app.engines.warp.arrays import resize
from app.engines.warp.networks import Detection, Networks
from app.engines.warp.values import Body, Floats, Point, Pose, Rgb
from app.errors import EngineError, FailureCode

STAGE = "person"

BODY_SCORE = 0.4
"""Usable photos: 0.82–0.98, 0.44 where colours are odd and the head is cut; pictures of things
mostly find nothing, a few up to 0.6, which the next two sort out."""

_SURE_BODY = 0.5
"""The detector's own threshold: from here on one more body is somebody."""

_POSE_SCORE, _DOUBTED_POSE_SCORE = 0.6, 0.9
"""Usable photos: 0.99–1.00; a torso alone 0.44, legs alone 0.35, a retina 0.02. The second where
the detector was not sure."""

_UPRIGHT = 0.77
"""The cosine of 40°: a leaning person, not a lying one. A garment was found as a person upside
down."""

_TURNED, _TURNED_A_LITTLE = 0.38, 0.54
"""How far the left shoulder is to the right of the right one, in torso lengths. Usable: 0.58–0.71.
A rendered man turned by 30°: 0.64, by 55°: 0.47; from the side 0.00, from behind -0.64."""

_NARROWEST_SHOULDERS_PX = 70
"""Below this an arm has fewer pixels across than the masks are uncertain by. Usable: 176 and up."""

_SHOULDER_MARGIN = 0.06
"""Shoulder widths by which the shoulder joints must lie inside the photo: a photo that ends there
has only half an arm, and the network moves the joint inwards (0.03)."""

_BELOW_MOUTH = 0.10
"""Shoulder widths: a photo that begins at the mouth shows the neck, which a collar needs; one that
begins at the chin (0.14) does not."""

_HIPS_BELOW = 0.05
"""Torso lengths by which the hips may lie below the photo's edge for a top."""

_FACE_SCORE = 0.35
"""Usable photos: 0.86–0.96. A covered face 0.17, the back of a head 0.24."""

_OTHER_FACE = 0.5
"""A print on a T-shirt was taken for a face with 0.46."""

_HEAD_SQUARE = 2.4
"""Shoulder widths: the side of the square in which the face is looked for."""

_SOMEBODY = 0.7
"""Segmentation: from here on a pixel surely shows somebody."""

_OURS = 0.2
"""From here on the pose's own mask says that it is our person."""

_LEAST_OTHER = 0.02
"""Of our person's area: a second one smaller than this is far in the background."""

_SURELY_OTHERS = 0.2
"""Of our person's area, in one piece: somebody else, even where no face and no chest is found.
Usable: 0.001 at most; a second person whose head is cut off or hidden: 0.29–2.6."""

_BROADEST = 1.0
"""Shoulder widths over torso lengths: 0.58–0.71 in usable photos. Where the hips are hidden the
network puts them right below the chest."""

_HIPS_SEEN = 0.5
"""The network's own word on hips that lie inside the photo: usable 0.80 and more, behind a board
0.03–0.6. It says little of hips near the photo's edge (0.29)."""

_HIPS_INSIDE = 0.1
"""Torso lengths above the photo's lower edge, for that."""

_FACE_POINTS = [0, 2, 5, 9, 10]
_NOSE = 0
_MOUTH_LEFT, _MOUTH_RIGHT = 9, 10
_LEFT_SHOULDER, _RIGHT_SHOULDER = 11, 12
_HIPS = [23, 24]


def check_found(bodies: Sequence[Detection]) -> None:
    """Raises EngineError(no_person) where the detector found nobody."""
    if not bodies:
        _refuse(FailureCode.NO_PERSON, log="the detector found no body")


def check_pose(
    networks: Networks, photo: Rgb, pose: Pose, body: Body, bodies: Sequence[Detection]
) -> None:
    """Raises EngineError where the photo cannot carry any garment; the cheapest checks first."""
    sure = [one for one in bodies if one.score >= _SURE_BODY]
    if pose.score < (_POSE_SCORE if sure else _DOUBTED_POSE_SCORE):
        _refuse(FailureCode.NO_PERSON, log=f"pose score {pose.score:.2f}")
    _check_upright(body)
    if len(sure) > 1:
        _refuse(FailureCode.SEVERAL_PEOPLE, log=f"{len(sure)} bodies")
    _check_frame(photo, pose, body)
    _check_uncovered(photo, pose, body)
    _check_front(networks, photo, pose, body)
    _check_alone(networks, photo, pose, body)
    if body.shoulder_width < _NARROWEST_SHOULDERS_PX:
        _refuse(
            FailureCode.IMAGE_TOO_SMALL,
            f"The person is {_per_cent(body.shoulder_width)} of the size needed. "
            "Come closer or use a larger photo.",
            log=f"shoulders {body.shoulder_width:.0f} px",
        )


def check_hips(photo: Rgb, body: Body, category: Category) -> None:
    """Raises EngineError(body_out_of_frame) where a garment needs hips that the photo lacks."""
    below = body.hips[1] - photo.shape[0]
    if category != "tops" and below > 0:
        _refuse(
            FailureCode.BODY_OUT_OF_FRAME,
            "The hips are not in the photo. Step back until they and the legs show.",
            log=f"hips {below:.0f} px below the photo",
        )


def cautions(photo: Rgb, pose: Pose, body: Body) -> tuple[str, ...]:
    """Codes of what the shopper should know: `hips_out_of_frame`, `turned_aside`."""
    found = []
    if body.hips[1] - photo.shape[0] > _HIPS_BELOW * body.torso_length:
        found.append("hips_out_of_frame")
    if _turned(pose, body) < _TURNED_A_LITTLE:
        found.append("turned_aside")
    return tuple(found)


def _check_upright(body: Body) -> None:
    if -body.up[1] < _UPRIGHT:
        _refuse(
            FailureCode.NO_PERSON,
            "No person stands upright in the photo. Turn the photo, or use another one.",
            log=f"up is ({body.up[0]:.2f}, {body.up[1]:.2f})",
        )


def _check_frame(photo: Rgb, pose: Pose, body: Body) -> None:
    height, width = photo.shape[:2]
    mouth = (pose.points[_MOUTH_LEFT] + pose.points[_MOUTH_RIGHT]) / 2
    if mouth[1] + _BELOW_MOUTH * body.shoulder_width < 0:
        _refuse(
            FailureCode.BODY_OUT_OF_FRAME,
            "The head is not in the photo. Use a photo that shows head, shoulders and hips.",
            log=f"mouth {mouth[1]:.0f} px",
        )
    margin = _SHOULDER_MARGIN * body.shoulder_width
    shoulders = pose.points[[_LEFT_SHOULDER, _RIGHT_SHOULDER]]
    if (shoulders < margin).any() or (shoulders > (width - margin, height - margin)).any():
        _refuse(
            FailureCode.BODY_OUT_OF_FRAME,
            "A shoulder is not in the photo. Step back until both shoulders and arms show.",
            log=f"shoulders at {shoulders.round().tolist()} of {width} × {height}",
        )


def _check_uncovered(photo: Rgb, pose: Pose, body: Body) -> None:
    """A body behind a table or a board has no sides and no hem to dress."""
    shoulders = pose.points[[_LEFT_SHOULDER, _RIGHT_SHOULDER]]
    broad = float(np.hypot(*(shoulders[0] - shoulders[1]))) / body.torso_length
    above = (photo.shape[0] - body.hips[1]) / body.torso_length
    seen = float(pose.visibility[_HIPS].min())
    if broad > _BROADEST or (above > _HIPS_INSIDE and seen < _HIPS_SEEN):
        _refuse(
            FailureCode.BODY_OUT_OF_FRAME,
            "Something hides the body. Use a photo with nothing before it, from head to hips.",
            log=f"shoulders over torso {broad:.2f}, hips seen {seen:.2f}",
        )


def _check_front(networks: Networks, photo: Rgb, pose: Pose, body: Body) -> None:
    turned = _turned(pose, body)
    if turned < -_TURNED:
        _refuse(FailureCode.PERSON_FROM_BEHIND, log=f"turned {turned:.2f}")
    if turned < _TURNED:
        _refuse(
            FailureCode.PERSON_FROM_BEHIND,
            "The person is seen from the side. Use a photo from the front.",
            log=f"turned {turned:.2f}",
        )
    if not _has_whole_face(photo, pose):
        return
    score = _face_score(networks, photo, pose, body)
    if score < _FACE_SCORE:
        _refuse(
            FailureCode.PERSON_FROM_BEHIND,
            "The face cannot be seen. Use a photo from the front, with nothing before the face.",
            log=f"face {score:.2f}",
        )


def _turned(pose: Pose, body: Body) -> float:
    side = pose.points[_LEFT_SHOULDER] - pose.points[_RIGHT_SHOULDER]
    return float(body.up[0] * side[1] - body.up[1] * side[0]) / body.torso_length


def _has_whole_face(photo: Rgb, pose: Pose) -> bool:
    """Whether the photo shows enough of the head to tell a face."""
    height, width = photo.shape[:2]
    face = pose.points[_FACE_POINTS]
    reach = 1.5 * float(np.ptp(face[:, 1]))  # from the eyes up to the hair
    low, high = face.min(0) - (0, reach), face.max(0)
    return bool((low >= 0).all() and (high < (width, height)).all())


def _face_score(networks: Networks, photo: Rgb, pose: Pose, body: Body) -> float:
    side = _HEAD_SQUARE * body.shoulder_width / 2
    nose = pose.points[_NOSE]
    square, origin = _crop(photo, nose - side, nose + side)
    near = 0.4 * body.shoulder_width
    scores = [
        face.score
        for face in networks.find_faces(square, at_least=0.1)
        if np.hypot(*(_middle(face) + origin - nose)) < near
    ]
    return max(scores, default=0.0)


# --- several people -------------------------------------------------------------------------


def _check_alone(networks: Networks, photo: Rgb, pose: Pose, body: Body) -> None:
    """The body detector misses people who stand side by side, and the small ones."""
    for face in networks.find_faces(photo, at_least=_OTHER_FACE):
        if not _is_ours(pose, body, _middle(face)):
            _refuse(FailureCode.SEVERAL_PEOPLE, log=f"another face, {face.score:.2f}")
    for share, low, high in _others(networks, photo, pose):
        if share > _SURELY_OTHERS:
            _refuse(FailureCode.SEVERAL_PEOPLE, log=f"{share:.2f} of a person beside ours")
        part, origin = _crop(photo, low, high)
        found = [_chest(one) for one in networks.find_bodies(part, at_least=_SURE_BODY)]
        found += [_middle(one) for one in networks.find_faces(part, at_least=_OTHER_FACE)]
        if any(not _is_ours(pose, body, at + origin) for at in found):
            _refuse(FailureCode.SEVERAL_PEOPLE, log="somebody beside the person")


def _others(networks: Networks, photo: Rgb, pose: Pose) -> list[tuple[float, Point, Point]]:
    """What may show somebody else: its area over our person's, its corners with room around."""
    somebody = networks.segment(photo)
    height, width = somebody.shape
    ours = resize(pose.mask, height, width)
    near = cv2.dilate(ours, np.ones((9, 9), np.uint8)) > _OURS
    rest = ((somebody > _SOMEBODY) & ~near).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(rest)
    scale = np.array([photo.shape[1] / width, photo.shape[0] / height], np.float32)
    ours_area = max(1.0, float((ours > 0.5).sum()))
    found = []
    for left, top, w, h, area in stats[1:]:
        if area > _LEAST_OTHER * ours_area:
            room = 0.3 * max(w, h)
            low = np.array([left - room, top - room], np.float32) * scale
            high = np.array([left + w + room, top + h + room], np.float32) * scale
            found.append((float(area) / ours_area, low, high))
    return found


def _is_ours(pose: Pose, body: Body, at: Point) -> bool:
    """Whether a point is on our person, or near the head."""
    if np.hypot(*(at - pose.points[_NOSE])) < 0.5 * body.shoulder_width:
        return True
    height, width = pose.mask.shape
    x, y = (int(value) for value in at.round())
    return bool(0 <= x < width and 0 <= y < height and pose.mask[y, x] > _OURS)


def _middle(found: Detection) -> Point:
    return np.asarray((found.box[:2] + found.box[2:]) / 2, np.float32)


def _chest(found: Detection) -> Point:
    """A quarter of the way from the middle of the shoulders to that of the hips."""
    return np.asarray(0.75 * found.points[2] + 0.25 * found.points[0], np.float32)


def _crop(photo: Rgb, low: Point, high: Point) -> tuple[Rgb, Floats]:
    """The part of the photo between two corners, and its place."""
    height, width = photo.shape[:2]
    left, top = np.clip(np.floor(low), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(high), (left + 1, top + 1), (width, height)).astype(int)
    return photo[top:bottom, left:right], np.array([left, top], np.float32)


def _per_cent(shoulder_width: float) -> str:
    return f"{100 * shoulder_width / _NARROWEST_SHOULDERS_PX:.0f} %"


def _refuse(code: FailureCode, detail: str = "", *, log: str) -> NoReturn:
    raise EngineError(code, detail, log=log, stage=STAGE)
