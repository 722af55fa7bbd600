"""Pictures for tests: drawn, deterministic, and as smooth as photographs."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def photo(width: int = 96, height: int = 128, seed: int = 0) -> Image.Image:
    """Slow waves of colour with a few soft shapes; not symmetric, so that a turn shows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [
        128 + 70 * np.sin(2 * x * a + 3 * y * b + c) + 40 * (x - y)
        for a, b, c in rng.random((3, 3))
    ]
    image = Image.fromarray(np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 8, height // 8, width // 2, height // 2), fill=(210, 160, 120))
    draw.rectangle((width // 2, height // 2, width * 7 // 8, height * 3 // 4), fill=(40, 80, 160))
    return image.filter(ImageFilter.GaussianBlur(max(width, height) / 100))


def cut_out(width: int = 96, height: int = 128, seed: int = 0) -> Image.Image:
    """The same in RGBA: nothing on the left, growing opaque to the right."""
    image = photo(width, height, seed)
    image.putalpha(Image.linear_gradient("L").rotate(90).resize((width, height)))
    return image


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return _saved(image, "JPEG", {"quality": 95} | options)


def png(image: Image.Image, **options: Any) -> bytes:
    return _saved(image, "PNG", options)


def webp(image: Image.Image, **options: Any) -> bytes:
    return _saved(image, "WEBP", options)


def mpo(*images: Image.Image) -> bytes:
    """What phones write: several JPEGs in one file."""
    return _saved(images[0], "MPO", {"save_all": True, "append_images": images[1:]})


def exif(orientation: int = 1, note: str = "") -> bytes:
    """An EXIF block, also with a description and a place where there is a note."""
    block = Image.Exif()
    block[0x0112] = orientation
    if note:
        block[0x010E] = note
        block.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 29: note})
    return block.tobytes()


def with_exif(image: Image.Image, orientation: int = 1, note: str = "") -> bytes:
    """A JPEG that carries EXIF."""
    return jpeg(image, exif=exif(orientation, note))


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk, right behind its header."""
    return data[:33] + png_chunk(name, body) + data[33:]


def raw_png(
    size: tuple[int, int], *, depth: int, colour: int, pixels: bytes, interlaced: bool = False
) -> bytes:
    """A PNG of kinds that Pillow cannot write.

    colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
    pixels: the rows, each with its filter byte in front.
    """
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            png_chunk(b"IDAT", zlib.compress(pixels)),
            png_chunk(b"IEND", b""),
        ]
    )


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment, right at its beginning."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def _saved(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
