"""Pictures of files, and files of pictures. NumPy and Pillow come with the first call."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from app.engines import TryOnResult
from app.engines.frames import OutputFormat
from app.errors import EngineError, FailureCode

if TYPE_CHECKING:
    from app.engines import Rgb

_ENCODERS: dict[OutputFormat, dict[str, Any]] = {
    # Full chroma: fine red and blue prints are what a garment's picture is looked at for.
    "jpeg": {"format": "JPEG", "quality": 92, "subsampling": 0},
    "png": {"format": "PNG", "compress_level": 3},
    "webp": {"format": "WEBP", "quality": 90, "method": 2},
}


def decode(data: bytes, *, max_side: int | None = None) -> Rgb:
    """The pixels of a file that the gate has let in; an array of one's own, to write into.

    max_side: pixels; what is longer is shrunk to it, by areas. A JPEG at least twice as long is
    decoded at half its size or less, which takes a quarter of the memory.
    """
    import numpy as np  # noqa: PLC0415 - an idle child is half as large without
    from PIL import Image  # noqa: PLC0415

    with Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        size = _within(image.size, max_side)
        image.draft(None, size)
        # `convert` copies what is RGB already, and of 25 megapixels a copy takes 100 MB.
        plain = image if image.mode == "RGB" else image.convert("RGB")
        return np.array(plain if plain.size == size else plain.resize(size, Image.Resampling.BOX))


def _within(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """The size in the same aspect with its long side at most `max_side`."""
    if max_side is None or max(size) <= max_side:
        return size
    scale = max_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def encode(result: TryOnResult, output_format: OutputFormat) -> tuple[bytes, int, int]:
    """The file, and the picture's width and height. Raises EngineError where it is no picture."""
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    picture = getattr(result, "picture", result)
    if not (
        isinstance(picture, np.ndarray)
        and picture.dtype == np.uint8
        and picture.ndim == 3
        and picture.shape[2] == 3
        and picture.size
    ):
        got = f"{getattr(picture, 'shape', type(picture).__name__)} {getattr(picture, 'dtype', '')}"
        raise EngineError(
            FailureCode.ENGINE_ERROR, log=f"the picture is {got}, not (h, w, 3) uint8"
        )
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, **_ENCODERS[output_format])
    return file.getvalue(), picture.shape[1], picture.shape[0]
