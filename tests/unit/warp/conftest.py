"""The networks, loaded once; the photos are the catalogue's rendered people."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app import catalogue
from app.engines.warp.networks import Networks

ROOT = Path(__file__).parents[3]
TRUTH = ROOT / "tests" / "data" / "people"
PEOPLE = tuple(sorted(item.id for item in catalogue.people()))


def weights_folder() -> Path:
    """Where scripts/fetch_weights.py has put the model files."""
    return Path(os.environ.get("WEIGHTS_DIR", ROOT / "weights"))


@pytest.fixture(scope="session")
def networks() -> Networks:
    return Networks(weights_folder())


def rendered(name: str) -> NDArray[np.uint8]:
    """(1024, 768, 3): one of the catalogue's people."""
    with Image.open(catalogue.FOLDER / "people" / f"{name}.webp") as picture:
        return np.asarray(picture.convert("RGB"))
