"""Pictures of files, for engines."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.engines.codecs import decode
from tests.pictures import photo


def _file(image: Image.Image, kind: str) -> bytes:
    file = BytesIO()
    image.save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "most", "shrunk"),
    [
        ((300, 200), 200, (200, 133)),
        ((200, 901), 400, (89, 400)),
        ((801, 3), 100, (100, 1)),
    ],
)
def test_what_is_longer_is_shrunk_by_areas(
    kind: str, size: tuple[int, int], most: int, shrunk: tuple[int, int]
) -> None:
    picture = photo(*size)

    found = decode(_file(picture, kind), max_side=most)

    assert found.shape == (shrunk[1], shrunk[0], 3)
    expected = np.asarray(picture.resize(shrunk, Image.Resampling.BOX), int)
    assert np.abs(found - expected).mean() < 3


def test_what_is_no_longer_stays_as_it_is() -> None:
    picture = photo(300, 200)

    assert np.array_equal(decode(_file(picture, "PNG"), max_side=300), np.asarray(picture))


def test_a_grey_picture_has_three_channels_of_ones_own() -> None:
    found = decode(_file(photo(80, 60).convert("L"), "JPEG"), max_side=30)

    found[0, 0] = (1, 2, 3)
    assert found.shape == (22, 30, 3)
