"""How like a made picture is to what it should be: measures that need no reference network.

All work on pictures of the photo's size; a smaller result is enlarged first, as a shopper sees it.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines import Category, Need, TryOnRequest
from app.engines.conformance.faces import Faces
from app.engines.preflight import Preflight
from app.engines.warp.arrays import lab, resize
from app.engines.warp.cutout import find_silhouette
from app.engines.warp.networks import Networks
from app.engines.warp.values import Floats, Rgb
from app.errors import EngineError

_PERSON = 0.1
"""Segmentation below this is surely ground."""

_AROUND = 0.03
"""Of the picture's height: a garment may stand off the body so far."""

_NEAR = 40.0
"""Lab units at which two colours have nothing in common any more."""

_BLUR = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Judge:
    """weights_dir: of warp's model files. Raises EngineUnavailable."""

    def __init__(self, weights_dir: Path) -> None:
        needs: tuple[Need, ...] = ("mask",)
        self._preflight = Preflight(needs, weights_dir)
        self._networks = Networks(weights_dir)
        self._faces = Faces(weights_dir)

    def judge(
        self, person: Rgb, garment: Rgb, made: Rgb, *, category: Category, truth: Rgb | None
    ) -> dict[str, float | None]:
        """made: of the photo's size, see `at_size_of`.

        face, ground: mean difference, 0–255, 0 is best. colour, pattern, ssim: 0–1, 1 is best.

        None where there is nothing to look at: no face, no place for the garment, no truth.
        """
        place = self._place(person, garment, category)
        cloth = _cloth(garment)
        shown = None if place is None else made[place]
        return {
            "face": self._faces.apart(person, made),
            "ground": self._ground(person, made),
            "colour": None if shown is None else colour(garment[cloth], shown),
            "pattern": None if place is None else pattern(garment, cloth, made, place),
            "ssim": None if truth is None else ssim(truth, made),
        }

    def _place(self, person: Rgb, garment: Rgb, category: Category) -> NDArray[np.bool_] | None:
        """Where the garment surely is: the inner part of where it may come."""
        try:
            request = self._preflight.prepare(TryOnRequest(person, garment, category))
        except EngineError:
            return None
        assert request.mask is not None
        side = max(3, person.shape[0] // 20) | 1
        inner = cv2.erode(request.mask, np.ones((side, side), np.uint8)) > 0
        return inner if inner.sum() > 100 else None

    def _ground(self, person: Rgb, made: Rgb) -> float | None:
        height, width = person.shape[:2]
        somebody = resize(self._networks.segment(person), height, width) > _PERSON
        side = max(3, round(2 * _AROUND * height)) | 1
        ground = cv2.dilate(somebody.astype(np.uint8), np.ones((side, side), np.uint8)) == 0
        if not ground.any():
            return None
        return float(np.abs(person[ground].astype(np.float32) - made[ground]).mean())


def at_size_of(person: Rgb, made: Rgb) -> Rgb:
    if made.shape == person.shape:
        return made
    height, width = person.shape[:2]
    return np.asarray(cv2.resize(made, (width, height), interpolation=cv2.INTER_CUBIC))


def _cloth(garment: Rgb) -> NDArray[np.bool_]:
    """Where the garment is in its picture; all of it where it cannot be told from the ground."""
    found = find_silhouette(garment).mask
    size = (garment.shape[1], garment.shape[0])
    whole = cv2.resize(found, size, interpolation=cv2.INTER_NEAREST) > 0
    return whole if whole.any() else np.ones(garment.shape[:2], np.bool_)


def colour(garment: NDArray[np.uint8], shown: NDArray[np.uint8]) -> float:
    """1 where the usual colours agree, 0 where they are 40 Lab units apart; light counts half.

    garment, shown: (n, 3), the pixels of each.
    """
    apart = np.median(_lab(garment), 0) - np.median(_lab(shown), 0)
    apart[0] /= 2
    return float(np.clip(1 - np.linalg.norm(apart) / _NEAR, 0, 1))


def _lab(pixels: NDArray[np.uint8]) -> Floats:
    return cast("Floats", lab(pixels[None])[0])


def pattern(garment: Rgb, cloth: NDArray[np.bool_], made: Rgb, place: NDArray[np.bool_]) -> float:
    """1 where as much is going on in the cloth as in the garment's picture, 0 at e² times that.

    What is going on: how far the lightness is from its own blur, 3 pixels wide at a height of 512.
    """
    ratio = (_busy(made, place) + 1.0) / (_busy(garment, cloth) + 1.0)
    return float(np.clip(1 - abs(np.log(ratio)) / 2, 0, 1))


def _busy(picture: Rgb, where: NDArray[np.bool_]) -> float:
    scale = 512 / picture.shape[0]
    size = (max(1, round(picture.shape[1] * scale)), 512)
    grey = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(where.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    inside = cv2.erode(small, np.ones((9, 9), np.uint8)) > 0
    if not inside.any():
        return 0.0
    light = grey.astype(np.float32)
    return float(np.abs(light - cv2.GaussianBlur(light, (0, 0), 3))[inside].mean())


def ssim(truth: Rgb, made: Rgb) -> float:
    """The mean over the picture, of lightness.

    Source: Wang et al., Image quality assessment, 2004: a Gaussian window of 1.5 pixels, K1 = 0.01,
    K2 = 0.03.
    """
    a, b = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(np.float64) for one in (truth, made))

    def blur(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(array, (11, 11), _BLUR))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    together = blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + _C1) * (2 * together + _C2)
    bottom = (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    return float((top / bottom).mean())
