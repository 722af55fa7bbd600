"""Pictures of given bytes: drawn, with grain at every size, as photographs have it."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from tests.pictures import exif, photo


def grainy(width: int, height: int, amount: float, seed: int = 0) -> Image.Image:
    """A smooth picture with grain that is stronger the coarser it is.

    amount: the standard deviation of each of the six sizes of grain together, of 255.
    """
    rng = np.random.default_rng(seed)
    picture = np.asarray(photo(width, height, seed), np.float32)
    grain = np.zeros((height, width), np.float32)
    for step in (1, 2, 4, 8, 16, 32):
        small = rng.standard_normal((-(-height // step), -(-width // step)), np.float32)
        large = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
        grain += np.asarray(large)
    return Image.fromarray((picture + amount * grain[..., None]).clip(0, 255).astype(np.uint8))


@cache
def photo_200_kb() -> bytes:
    """1024 × 768, colour at half resolution, a place in its EXIF: as a phone's picture sent on."""

    def write(amount: float) -> bytes:
        return _written(grainy(1024, 768, amount), "JPEG", quality=88, exif=exif(note="somewhere"))

    return _of_size(write, 200_000)


@cache
def heavy(kind: str) -> bytes:
    """25 megapixels, between 9 and 10 MiB. kind: JPEG, PNG or WEBP."""
    amount, options = _HEAVY[kind]
    # A grain that is 5,000 pixels wide takes seconds to draw; a tile does as well.
    tile = grainy(1000, 1000, amount)
    if kind == "PNG":  # which keeps every bit of grain: at most 16 steps of each colour
        tile = tile.point(lambda value: value & 0xF0)
    picture = Image.new("RGB", (5000, 5000))
    for place in range(25):
        picture.paste(tile, (place % 5 * 1000, place // 5 * 1000))
    data = _written(picture, kind, **options)
    if not 9 * 2**20 < len(data) < 10 * 2**20:
        raise RuntimeError(f"the heavy {kind} has {len(data):,} bytes: change its amount of grain")
    return data


# The amount of grain that gives the size, found by trying.
_HEAVY: dict[str, tuple[float, dict[str, object]]] = {
    "JPEG": (9.0, {"quality": 90}),
    "PNG": (1.3, {"compress_level": 1}),
    "WEBP": (22.0, {"quality": 80, "method": 0}),
}


def _of_size(write: Callable[[float], bytes], size: int) -> bytes:
    """The file within 3 % below a size, by halving the interval of the amount of grain."""
    low, high = 0.0, 60.0
    for _ in range(12):
        amount = (low + high) / 2
        data = write(amount)
        if 0.97 * size <= len(data) <= size:
            return data
        low, high = (low, amount) if len(data) > size else (amount, high)
    raise RuntimeError(f"no picture of {size} bytes could be drawn")


def _written(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
