"""The networks, as functions of a picture.

All four are MediaPipe's (Apache-2.0), run by LiteRT on the CPU:

- pose_detection: BlazePose's detector, 224 × 224 → 2,254 boxes with four key points;
- pose_landmark_full: a body upright in a square of 256 → 33 points, their heat maps and a mask;
- selfie_segmentation: 256 × 256 → where people are;
- face_detection_full_range_sparse: 192 × 192 → 2,304 boxes with six key points.

Source of every decoding: the graphs and calculators of MediaPipe 0.10.21.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]
from numpy.typing import NDArray

from app.engines.warp.values import Floats, Mask, Points, Rgb
from app.errors import EngineUnavailable

POSE_DETECTION = "pose_detection.tflite"
POSE_LANDMARKS = "pose_landmark_full.tflite"
SELFIE_SEGMENTATION = "selfie_segmentation.tflite"
FACE_DETECTION = "face_detection_full_range_sparse.tflite"

LANDMARK_SIDE = 256
"""The landmark network's input, pixels; its mask has the same size."""

_THREADS = 2
_OVERLAP = 0.3
"""Two boxes with more in common than this (intersection over union) are one body or face."""

_LOGIT = 80
"""Beyond this, exp() of a float32 overflows and the sigmoid is 0 or 1 anyway."""


@dataclass(frozen=True)
class Detection:
    """A body or face. score: 0–1. box: (4,) left, top, right, bottom; points: (n, 2); pixels.

    A body's points: the middle of the hips, a point on the circle round the whole body, the
    middle of the shoulders, a point on the circle round the upper body.
    A face's: the eyes, the nose's tip, the mouth, the ears.
    """

    score: float
    box: Floats
    points: Points


@dataclass(frozen=True)
class Landmarks:
    """What the landmark network says of one square of 256.

    points: (39, 2), pixels of the square: 33 of the body, then two that span the next square.
    visibility, presence: (39,), 0–1. score: 0–1, that there is a body.
    mask: (256, 256), 0–1. heat: (64, 64, 39), 0–1, where each point may be.
    """

    points: Points
    visibility: Floats
    presence: Floats
    score: float
    mask: Mask
    heat: Floats


class Networks:
    """The model files of one folder, loaded once; a picture goes in as (h, w, 3) uint8, sRGB.

    person_parser: an optional file, see `second_opinion`. Raises EngineUnavailable where it is
    another one. Not for several threads at once.
    """

    def __init__(self, folder: Path, person_parser: Path | None = None) -> None:
        self._person_parser = None if person_parser is None else _person_parser(person_parser)
        self._pose_detection = _Network(folder / POSE_DETECTION)
        self._pose_landmarks = _Network(folder / POSE_LANDMARKS)
        self._selfie_segmentation = _Network(folder / SELFIE_SEGMENTATION)
        self._face_detection = _Network(folder / FACE_DETECTION)

    def find_bodies(self, photo: Rgb, *, at_least: float) -> list[Detection]:
        """Those with a score of `at_least`, the surest first. Side by side, it misses some."""
        square = _letterbox(photo, 224)
        boxes, scores = self._pose_detection(square.picture * np.float32(1 / 127.5) - 1)
        return _decode(boxes[0], scores[0, :, 0], _body_anchors(), square, at_least)

    def find_faces(self, photo: Rgb, *, at_least: float) -> list[Detection]:
        """Those with a score of `at_least`, the surest first."""
        square = _letterbox(photo, 192)
        boxes, scores = self._face_detection(square.picture * np.float32(1 / 127.5) - 1)
        return _decode(boxes[0], scores[0, :, 0], _face_anchors(), square, at_least)

    def landmarks(self, square: Rgb) -> Landmarks:
        """square: (256, 256, 3), a body upright in it."""
        points, score, mask, heat, _ = self._pose_landmarks(square * np.float32(1 / 255))
        points = points.reshape(39, 5)
        return Landmarks(
            points=points[:, :2].copy(),
            visibility=_sigmoid(points[:, 3]),
            presence=_sigmoid(points[:, 4]),
            score=float(score[0, 0]),
            mask=_sigmoid(mask[0, :, :, 0]),
            heat=_sigmoid(heat[0]),
        )

    def segment(self, photo: Rgb) -> Mask:
        """Where people are: (256, 256), the photo squeezed into it, 0–1."""
        small = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA)
        (mask,) = self._selfie_segmentation(small * np.float32(1 / 255))
        return cast("Mask", mask[0, :, :, 0])

    def classify(self, picture: Rgb) -> Floats | None:
        """(256, 256, 6), 0–1: the shares of the classes, the picture squeezed into it.

        None without a person parser.
        """
        if self._person_parser is None:
            return None
        small = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
        (found, *_) = self._person_parser(small * np.float32(1 / 255))
        return _shares(found[0])


def _shares(found: Floats) -> Floats:
    """Where a model leaves the last step, a softmax, to its caller, it is done here."""
    if found.min() >= 0 and np.abs(found.sum(-1) - 1).max() < 0.01:
        return found
    exponents = np.exp(found - found.max(-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(-1, keepdims=True), np.float32)


def _person_parser(path: Path) -> _Network:
    try:
        network = _Network(path)
    except (ValueError, RuntimeError) as exc:
        raise EngineUnavailable("PERSON_PARSER names a file that is no model. " + _MEANT) from exc
    if network.shapes != ((1, 256, 256, 3), (1, 256, 256, 6)):
        raise EngineUnavailable("PERSON_PARSER names another model. " + _MEANT)
    return network


_MEANT = "MediaPipe's selfie_multiclass_256x256.tflite is meant; left empty, warp works without."


class _Network:
    """One model file: a picture in, arrays out."""

    def __init__(self, path: Path) -> None:
        self._interpreter = Interpreter(str(path), num_threads=_THREADS)
        self._interpreter.allocate_tensors()
        (given,) = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        self._input = given["index"]
        self._outputs = [out["index"] for out in outputs]
        self.shapes = tuple(tuple(map(int, one["shape"])) for one in (given, outputs[0]))
        """Of the input and the first output."""

    def __call__(self, picture: NDArray[np.float32]) -> list[Any]:
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _sigmoid(x: NDArray[np.float32]) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -_LOGIT, _LOGIT))), np.float32)


# --- detectors ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Letterboxed:
    """A photo in a black square: photo pixels = (square pixels - offset) / scale."""

    picture: NDArray[np.uint8]
    scale: float
    offset: Floats


def _letterbox(photo: Rgb, side: int) -> _Letterboxed:
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (side - inner_height) // 2, (side - inner_width) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + inner_height, left : left + inner_width] = cv2.resize(
        photo, (inner_width, inner_height), interpolation=cv2.INTER_AREA
    )
    return _Letterboxed(square, scale, np.array([left, top], np.float32))


def _decode(
    boxes: Floats, logits: Floats, anchors: Points, square: _Letterboxed, at_least: float
) -> list[Detection]:
    """boxes: (n, 4 + 2 k), centre, size and k points, pixels of the square, from the anchors."""
    side = square.picture.shape[0]
    scores = _sigmoid(logits)
    kept: list[Detection] = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] < at_least:
            break
        centre, size = anchors[i] * side + boxes[i, :2], boxes[i, 2:4]
        corners = np.stack([centre - size / 2, centre + size / 2])
        points = anchors[i] * side + boxes[i, 4:].reshape(-1, 2)
        found = Detection(
            float(scores[i]),
            ((corners - square.offset) / square.scale).ravel(),
            np.asarray((points - square.offset) / square.scale, np.float32),
        )
        if all(_overlap(found.box, other.box) <= _OVERLAP for other in kept):
            kept.append(found)
    return kept


def _overlap(a: Floats, b: Floats) -> float:
    """Intersection over union."""
    inner = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner
    return float(inner / max(union, 1e-6))


@cache
def _body_anchors() -> Points:
    """(2254, 2), 0–1: the detector looks on grids of 28, 14 and 7, at 2, 2 and 6 sizes each."""
    return np.concatenate([_anchors(28, 2), _anchors(14, 2), _anchors(7, 6)])


@cache
def _face_anchors() -> Points:
    """(2304, 2), 0–1: a grid of 48, one size."""
    return _anchors(48, 1)


def _anchors(cells: int, sizes: int) -> Points:
    at = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    y, x = np.meshgrid(at, at, indexing="ij")
    return np.repeat(np.stack([x.ravel(), y.ravel()], 1), sizes, axis=0)
