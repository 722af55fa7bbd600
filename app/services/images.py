"""The gate through which every picture from outside passes.

What comes out is a new JPEG made from pixels alone: upright, sRGB, without transparency, and
without a byte of what the file carried beside its pixels (places, times, names, comments,
thumbnails, profiles, anything after the end). What cannot be read is a RequestError that says
what to change, whatever Pillow raised.
"""

from __future__ import annotations

import ctypes
import io
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from PIL import (
    Image,
    ImageChops,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    _imaging,
    _webp,
)

from app.errors import (
    FileEmpty,
    FileTooLarge,
    ImageDimensions,
    ImageInvalid,
    ServiceError,
    UnsupportedMediaType,
)
from app.services import containers
from app.services.containers import Broken, Contents, Kind

QUALITY = 92
"""Of the stored JPEG. Measured on 21 photos of 1024 × 768: at 92 the second encoding stays above
39 dB of the first (median 45) in 0.83 of its bytes; 90 falls to 37.6 dB, 95 needs 1.2 times 92."""

LIGHT_PIXELS = 2_000_000
LIGHT_BYTES = 2 * 1024 * 1024

_imaging.set_block_size(256 * 1024 * 1024)
"""Pillow cuts a picture's memory into blocks of 16 MB. glibc soon takes blocks of that size from
its heaps, one heap a thread, and hands little back: six threads with one 25-megapixel photo each,
one after the other, came to 468 MB. Blocks over 32 MB always go straight back: 282 MB. For the
whole process, as PILLOW_BLOCK_SIZE would be."""


def _give_memory_back() -> None:
    """Tell glibc to return what large buffers took; other systems do so by themselves.

    It would raise both thresholds to 32 MB after the first large buffer, and keep a heap a thread:
    after waves of six uploads of 10 MB a server stood 350 MB above its idle size.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # malloc.h
    mallopt(mmap_threshold, 4 * 1024 * 1024)  # above what a light picture needs
    mallopt(trim_threshold, 4 * 1024 * 1024)
    mallopt(arena_max, 2)


_give_memory_back()

_ONE_HEAVY = threading.Lock()
_FEW_LIGHT = threading.BoundedSemaphore(os.cpu_count() or 1)
"""At most one heavy picture is in memory, and a light one a core.

25 megapixels take 100 MB a copy and there are two at the worst moment, so six at once would take
more than a gigabyte. A file over 2 MiB waits before it is read, so that those who wait hold
nothing; a smaller one waits once its header has told that it is heavy.
"""


@dataclass(frozen=True)
class ImageLimits:
    max_bytes: int
    max_pixels: int
    max_side: int = 8000
    min_side: int = 64


@dataclass(frozen=True)
class Picture:
    """A sanitised picture.

    data: an ordinary JPEG: baseline, three channels, sRGB, a JFIF header and nothing else.
    """

    data: bytes
    width: int
    height: int


def load(stream: BinaryIO, *, field: str, limits: ImageLimits) -> Picture:
    """Read, check, decode and sanitise an uploaded file.

    stream: seekable; read from its beginning, at most one byte more than is taken.
    field: the form field's name, for the error's pointer and sentence.

    Raises FileEmpty, FileTooLarge, UnsupportedMediaType, ImageInvalid or ImageDimensions, and
    ServiceError where there is no memory left.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if size > limits.max_bytes:
        raise _too_large(field, limits)
    with ExitStack() as room:
        if size > LIGHT_BYTES:
            room.enter_context(_ONE_HEAVY)
        data = stream.read(limits.max_bytes + 1)
        kind = _recognise(data, field, limits)
        width, height = _measure(data, kind, field, limits)
        if size <= LIGHT_BYTES:
            light = width * height <= LIGHT_PIXELS
            room.enter_context(_FEW_LIGHT if light else _ONE_HEAVY)
        try:
            contents = containers.unpack(data, kind)
        except Broken as exc:
            raise _invalid(field, f"The file {exc}.") from None
        del data
        picture = _redraw(contents, kind, (width, height))
    # Raised here because an exception raised from Pillow's would keep its frames, and with them
    # a hundred megabytes of pixels, until the answer is sent.
    if picture is None:
        raise _invalid(field, "The file is damaged.")
    return picture


# --- what is refused ------------------------------------------------------------------------

_FOREIGN = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"<svg", "an SVG"),
)
_BRANDS = {b"avif": "an AVIF", b"avis": "an AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    "a HEIC, as iPhones write it",
)


def has_more_than_pixels(picture: bytes) -> bool:
    """Whether a stored picture carries anything that tells more: EXIF, XMP, a comment, a profile.

    What cannot be opened counts, because nobody knows what it carries.
    """
    try:
        with Image.open(io.BytesIO(picture), formats=("JPEG", "PNG", "WEBP")) as image:
            image.load()
            # In JPEG without APP1 and the like: what the format itself needs.
            return bool(image.info.keys() - _HARMLESS) or getattr(image, "n_frames", 1) > 1
    except (OSError, SyntaxError, ValueError):
        return True


# How Pillow tells of the frame of a file: density, order of its rows, and timing of one frame.
_HARMLESS = frozenset(
    {
        *("jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progressive", "progression"),
        *("loop", "background", "timestamp", "duration", "interlace"),
    }
)


def _recognise(data: bytes, field: str, limits: ImageLimits) -> Kind:
    if not data:
        raise FileEmpty(f"{field} is empty. Choose a file with a picture in it.", pointer=field)
    if len(data) > limits.max_bytes:
        raise _too_large(field, limits)
    kind = containers.recognise(data[:12])
    if kind is None:
        name = _foreign(data[:1024])
        what = f"is {name}; convert it to JPEG" if name else "is neither JPEG, PNG nor WebP"
        detail = f"{field} {what}. JPEG, PNG and WebP are taken."
        raise UnsupportedMediaType(detail, pointer=field)
    return kind


def _foreign(head: bytes) -> str | None:
    """What a file is that is not taken, where its beginning says so."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    for start, name in _FOREIGN:
        if head.startswith(start):
            return name
    return "an SVG" if head.lstrip().startswith(b"<") and b"<svg" in head else None


def _measure(data: bytes, kind: Kind, field: str, limits: ImageLimits) -> tuple[int, int]:
    """The size from the header, refused before anything is decoded."""
    try:
        width, height = containers.measure(data, kind)
    except Broken as exc:
        raise _invalid(field, f"The file {exc}.") from None
    found = f"{field}: {width} × {height} pixels"
    if max(width, height) > limits.max_side:
        wanted = f"no side may be longer than {limits.max_side}"
    elif width * height > limits.max_pixels:
        wanted = f"at most {limits.max_pixels / 1e6:g} megapixels are taken"
    elif min(width, height) < limits.min_side:
        raise ImageDimensions(
            f"{found}; each side needs at least {limits.min_side}. Use a larger picture.",
            pointer=field,
        )
    else:
        return width, height
    raise ImageDimensions(f"{found}; {wanted}. Make it smaller.", pointer=field)


def _too_large(field: str, limits: ImageLimits) -> FileTooLarge:
    most = f"{limits.max_bytes / 1024 / 1024:g} MiB ({limits.max_bytes:,} bytes)"
    return FileTooLarge(f"{field} is larger than {most}. Send a smaller file.", pointer=field)


def _invalid(field: str, why: str) -> ImageInvalid:
    return ImageInvalid(
        f"{field} could not be read. {why} Save the picture anew as JPEG, PNG or WebP.",
        pointer=field,
    )


# --- from file to file ----------------------------------------------------------------------

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE = (255, 255, 255)


def _redraw(contents: Contents, kind: Kind, size: tuple[int, int]) -> Picture | None:
    """A new JPEG from the pixels, or None where they cannot be decoded."""
    try:
        # One copy at a time: each step frees what it was given before the next one starts.
        image = decoded = _decode(contents, kind, size)
        tables = _tables(image)
        image = _plain(image, contents)
        image = _on_white(image, size, contents.offset)
        image = _in_srgb(image, contents.profile)
        if contents.orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[contents.orientation])
        if image is not decoded:
            tables = None
        del decoded
        return _encode(image, tables, sharp_colour=contents.sharp_colour)
    except MemoryError:
        out_of_memory = "There is not enough memory for this picture at the moment. Try again."
    except Exception:  # noqa: BLE001 - damaged files make Pillow raise whatever comes to hand
        return None
    raise ServiceError(out_of_memory)


def _decode(contents: Contents, kind: Kind, size: tuple[int, int]) -> Image.Image:
    """The pixels as they are stored.

    The three readers are called by name, not through Image.open: no other can be reached, and its
    warning about large pictures, which is process-wide state, is never asked.
    """
    if kind is Kind.WEBP:
        return _decode_webp(contents)
    source = io.BytesIO(contents.data)
    image: ImageFile.ImageFile
    if kind is Kind.JPEG:
        image = JpegImagePlugin.JpegImageFile(source)
    else:
        image = PngImagePlugin.PngImageFile(source)
    if image.size != size:
        raise ValueError("the decoder sees another size than the header")
    image.load()
    return image


def _plain(image: Image.Image, contents: Contents) -> Image.Image:
    """The same picture in L, RGB, CMYK, or RGBA where anything may be transparent."""
    transparent = contents.transparent
    if image.mode == "P":
        transparent = image.info.get("transparency")
    image.info = {}  # everything Pillow has read beside the pixels
    if image.mode == "I;16":
        # convert alone would cut at 255; the upper byte is wanted
        image = image.point(lambda value: value * (1 / 256)).convert("L")
    elif image.mode == "1":
        image = image.convert("L")
    if transparent is not None:
        image.info = {"transparency": transparent}
        image = image.convert("RGBA")
        image.info = {}
    elif image.mode == "LA":
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    return image


def _on_white(image: Image.Image, size: tuple[int, int], offset: tuple[int, int]) -> Image.Image:
    """What a white page would show of it; a first frame may be smaller than its canvas."""
    if image.mode != "RGBA" and image.size == size:
        return image
    page = Image.new("RGB", size, _WHITE)
    page.paste(image, offset, mask=image if image.mode == "RGBA" else None)
    return page


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB pixels in sRGB; a profile that is broken or for other channels is ignored."""
    transform = None
    if profile is not None and not (image.mode == "RGB" and _is_srgb(profile)):
        transform = _to_srgb(profile, image.mode)
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.mode == "RGB":
        transform.apply_in_place(image)  # 12 ms a megapixel
        return image
    return transform.apply(image)


@lru_cache(maxsize=8)  # at most 8 MB of profiles; to find out takes 2 ms, half of a light picture
def _is_srgb(profile: bytes) -> bool:
    """Whether the profile changes no colour to speak of.

    Most profiles are sRGB under one of many names. Asking what the transform changes is surer
    than any name.
    """
    transform = _to_srgb(profile, "RGB")
    if transform is None:
        return False
    changed = ImageChops.difference(_COLOURS, transform.apply(_COLOURS))
    return max(changed.tobytes()) <= 2


def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile, or None where it is not one for these channels."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode not in ("RGB", "CMYK") or source.profile.xcolor_space.strip() != mode:
            return None
        return ImageCms.ImageCmsTransform(
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


_COLOURS = Image.new("RGB", (64, 8))
"""512 colours, 8 steps of each channel."""
_COLOURS.putdata(
    [(r, g, b) for r in range(4, 256, 35) for g in range(4, 256, 35) for b in range(4, 256, 35)]
)


Tables = tuple[list[int], list[int]]
"""How coarsely a JPEG keeps lightness and colour: 64 numbers each, 1–255."""


def _tables(image: Image.Image) -> Tables | None:
    """Those that a JPEG came with, but none finer than QUALITY's."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode != "RGB":
        return None
    lightness, *colours = (image.quantization[layer[3]] for layer in image.layer)
    return (
        [max(both) for both in zip(lightness, _FINEST[0], strict=True)],
        [max(min(two), finest) for *two, finest in zip(*colours, _FINEST[1], strict=True)],
    )


def _finest() -> Tables:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", quality=QUALITY)
    out.seek(0)
    tables = JpegImagePlugin.JpegImageFile(out).quantization
    return tables[0], tables[1]


_FINEST = _finest()


def _encode(image: Image.Image, tables: Tables | None, *, sharp_colour: bool) -> Picture:
    """A baseline JPEG.

    tables: of the JPEG whose very pixels these are. With the same ones the second encoding changes
    next to nothing: 74.6 dB in place of 44.6, in six sevenths of the bytes, on a photo of quality
    88. Pixels that were turned no longer lie on its grid; those get QUALITY's.

    Colour keeps the resolution it came with: prints have sharp coloured edges, which halving
    would blur, but a photo from a camera is halved already.
    """
    image.info = {}
    how = {"quality": QUALITY} if tables is None else {"qtables": tables}
    out = io.BytesIO()
    image.save(out, "JPEG", subsampling="4:4:4" if sharp_colour else "4:2:0", **how)
    return Picture(data=out.getvalue(), width=image.width, height=image.height)


# --- WebP -----------------------------------------------------------------------------------


def _webp_decoders() -> dict[str, ctypes._NamedFuncPointer] | None:
    """libwebp's simple decoders, from the copy of libwebp that Pillow itself has loaded."""
    try:
        library = ctypes.CDLL(_webp.__file__)
        found = {"RGB": library.WebPDecodeRGBInto, "RGBA": library.WebPDecodeRGBAInto}
    except (AttributeError, OSError):  # linked in statically: Windows, some distributions
        return None
    for function in found.values():
        function.restype = ctypes.c_void_p
        function.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_int,
        ]
    return found


_WEBP = _webp_decoders()


def _decode_webp(contents: Contents) -> Image.Image:
    """Decode a still WebP.

    Pillow reads every WebP as an animation, which takes four copies of the canvas: 384 MB for
    25 megapixels. libwebp's own call for stills writes into a buffer of ours; where it cannot be
    reached, Pillow does it.
    """
    size = containers.measure(contents.data, Kind.WEBP)
    mode = "RGBA" if contents.alpha else "RGB"
    if _WEBP is None:
        image: Image.Image = WebPImagePlugin.WebPImageFile(io.BytesIO(contents.data))
        image.load()
        return image
    stride = size[0] * len(mode)
    pixels = bytearray(stride * size[1])
    target = (ctypes.c_char * len(pixels)).from_buffer(pixels)
    if not _WEBP[mode](contents.data, len(contents.data), target, len(pixels), stride):
        raise ValueError("libwebp cannot decode it")
    return Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1)
