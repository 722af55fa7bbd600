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


def decode(data: bytes) -> Rgb:
    """The pixels of a file that the gate has let in; an array of one's own, to write into."""
    import numpy as np  # noqa: PLC0415 - an idle child is half as large without
    from PIL import Image  # noqa: PLC0415

    with Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        return np.array(image.convert("RGB"))


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
