"""The networks, loaded once; the photos are the catalogue's rendered people."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app import catalogue
from app.engines.warp.networks import Networks
from tests.people import NAMES, TRUTH

PEOPLE = NAMES


@pytest.fixture(scope="session")
def networks(weights_dir: Path) -> Networks:
    return Networks(weights_dir)


@cache
def rendered(name: str) -> NDArray[np.uint8]:
    """(1024, 768, 3): one of the catalogue's people; not to be written to."""
    return _read(catalogue.FOLDER / "people" / f"{name}.webp")


@cache
def flat_lay(name: str) -> NDArray[np.uint8]:
    """(h, w, 3): one of the catalogue's garments; not to be written to."""
    return _read(catalogue.FOLDER / "garments" / f"{name}.webp")


@cache
def from_truth(name: str) -> NDArray[np.uint8]:
    """(512, 384, 3): a picture that lies beside the ground truth."""
    return _read(TRUTH / f"{name}.webp")


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    pixels.setflags(write=False)
    return pixels
