"""The rendered people, and what a try-on must leave alone in their pictures."""

from __future__ import annotations

import json
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from app import catalogue
from app.services import images
from app.services.images import ImageLimits

TRUTH = Path(__file__).parent / "data" / "people"
NAMES = tuple(one.id for one in catalogue.people())

GROUND, SKIN, HAIR, UPPER, LOWER, SHOES, EYES = range(7)
"""Of the labels; see data/people/README.md."""

_SURE = 7
"""Width of the window, pixels, in which all must be the same: a matte is soft at its edges."""

_FAR = 0.08
"""Of the picture's height: no garment of the catalogue stands off the body as far as this."""

_CHIN = 0.3
"""From the nose to the shoulders: above it, skin is face and not neck."""

_HAND = 0.12
"""Of the forearm's length beyond the wrist: a cuff may reach there."""


@cache
def photo(name: str) -> bytes:
    """The JPEG that the gate makes of the picture, as an engine gets it."""
    (person,) = (one for one in catalogue.people() if one.id == name)
    limits = ImageLimits(max_bytes=10**7, max_pixels=25_000_000)
    with person.path.open("rb") as file:
        return images.load(file, field="person", limits=limits).data


@cache
def labels(name: str) -> NDArray[np.uint8]:
    """(h, w): what each pixel shows."""
    with Image.open(TRUTH / f"{name}_labels.png") as image:
        return np.array(image)


@cache
def joints(name: str) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = json.loads((TRUTH / f"{name}_joints.json").read_text())
    return found


def kept(name: str) -> dict[str, NDArray[np.bool_]]:
    """(h, w) each: hair, face, hands and far ground, no pixel of which may change."""
    shows = labels(name)
    body = np.where(shows == GROUND, 0, 255).astype(np.uint8)
    return {
        "hair": _sure(shows == HAIR),
        "face": _sure((shows == EYES) | ((shows == SKIN) & _above_chin(name))),
        "hands": _sure((shows == SKIN) & _beyond_wrists(name)),
        "far ground": ~_grown(body, round(_FAR * shows.shape[0])),
    }


def difference(picture: bytes, other: bytes) -> NDArray[np.uint8]:
    """(h, w): how much each pixel of two files differs, in its channel that differs most."""
    with Image.open(BytesIO(picture)) as a, Image.open(BytesIO(other)) as b:
        apart = np.asarray(a.convert("RGB"), np.int16) - np.asarray(b.convert("RGB"), np.int16)
    return np.asarray(np.abs(apart).max(-1), np.uint8)


def _sure(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    image = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.MinFilter(_SURE))) > 0


def _grown(mask: NDArray[np.uint8], by: int) -> NDArray[np.bool_]:
    """In steps of eight pixels: exact enough, and a hundred times quicker."""
    small = Image.fromarray(mask).reduce(8).point(lambda value: 255 if value else 0)
    large = small.filter(ImageFilter.MaxFilter(2 * (by // 8 + 1) + 1)).resize(mask.shape[::-1])
    return np.asarray(large) > 0


def _above_chin(name: str) -> NDArray[np.bool_]:
    points = joints(name)
    nose = points["nose"][1]
    shoulders = (points["left_shoulder"][1] + points["right_shoulder"][1]) / 2
    rows = np.arange(labels(name).shape[0])[:, None]
    return np.broadcast_to(rows < nose + _CHIN * (shoulders - nose), labels(name).shape)


def _beyond_wrists(name: str) -> NDArray[np.bool_]:
    height, width = labels(name).shape
    y, x = np.mgrid[0:height, 0:width]
    points = joints(name)
    found = np.zeros((height, width), bool)
    for side in ("left", "right"):
        elbow, wrist = (np.array(points[f"{side}_{joint}"]) for joint in ("elbow", "wrist"))
        bone = wrist - elbow
        along = ((x - elbow[0]) * bone[0] + (y - elbow[1]) * bone[1]) / (bone @ bone)
        near = np.hypot(x - wrist[0], y - wrist[1]) < np.hypot(*bone)
        found |= (along > 1 + _HAND) & near
    return found
