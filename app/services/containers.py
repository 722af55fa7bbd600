"""What JPEG, PNG and WebP files are made of, without decoding a pixel.

A picture from outside is taken apart here, and only what a decoder needs goes on to one: no text,
no thumbnails, no later frames, nothing after the end. So Pillow never meets a compressed text
bomb, an animation or a second picture, and a file that ends too early is told by its own
structure, which Pillow does not look at for PNG.

Nothing here knows HTTP, Pillow or a limit on pixels. `measure` reads the header alone, so that a
caller can refuse a size before anything else happens.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

MAX_PARTS = 20_000  # chunks or segments in a file; an honest 10 MB PNG has a few thousand
MAX_SCANS = 100  # of a progressive JPEG; encoders write about 10, each costs a pass over all pixels
MAX_PROFILE_BYTES = 1024 * 1024  # the CMYK profiles in use are about 0.6 MB


class Kind(StrEnum):
    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"


class Broken(ValueError):
    """The file is not what its first bytes promise; the message continues "the file ..."."""


@dataclass(frozen=True)
class Contents:
    """A picture reduced to what matters.

    data: a file of the same kind with one frame and no metadata.
    orientation: 1–8, as EXIF has it; 1 where there is none or it is broken.
    profile: the ICC profile, or None.
    sharp_colour: colour is stored at full resolution.
    transparent: the one colour that counts as transparent, 8 bits a channel (PNG), or None.
    offset: where the frame lies on the canvas, x before y (WebP animations; else 0, 0).
    alpha: there is an alpha channel (WebP; Pillow knows for the others).
    """

    data: bytes
    orientation: int = 1
    profile: bytes | None = None
    sharp_colour: bool = True
    transparent: int | tuple[int, ...] | None = None
    offset: tuple[int, int] = (0, 0)
    alpha: bool = False


def recognise(head: bytes) -> Kind | None:
    """Tell the kind by the first 12 bytes, as browsers do; names and types are never asked."""
    if head.startswith(b"\xff\xd8\xff"):
        return Kind.JPEG
    if head.startswith(_PNG_START):
        return Kind.PNG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Kind.WEBP
    return None


def measure(data: bytes, kind: Kind) -> tuple[int, int]:
    """Width and height from the header, before orientation; raises Broken without one."""
    return {Kind.JPEG: _jpeg_size, Kind.PNG: _png_size, Kind.WEBP: _webp_size}[kind](data)


def unpack(data: bytes, kind: Kind) -> Contents:
    """Take the file apart; raises Broken where something is missing, damaged or absurd."""
    return {Kind.JPEG: _unpack_jpeg, Kind.PNG: _unpack_png, Kind.WEBP: _unpack_webp}[kind](data)


def orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, 1 where it is absent or broken.

    Written out because Pillow's reader follows every pointer in the block and warns, through the
    process-wide warnings module, about those that lead nowhere.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, form = struct.unpack_from(order + "HH", tiff, entry)
            if tag == 0x0112:
                value: int = struct.unpack_from(
                    order + ("I" if form == 4 else "H"), tiff, entry + 8
                )[0]
                return value if value in range(1, 9) else 1
    except struct.error:  # a pointer beyond the end
        pass
    return 1


# --- JPEG: ITU-T T.81, annex B --------------------------------------------------------------

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # not stuffing, not padding, not a restart
_EOI, _SOS, _COM, _APP0, _APP1, _APP2, _APP14, _APP15 = (
    0xD9,
    0xDA,
    0xFE,
    0xE0,
    0xE1,
    0xE2,
    0xEE,
    0xEF,
)
_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive: what browsers show
_TABLES = {0xC4, 0xDB, 0xDD}  # Huffman, quantisation, restart interval


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to EOI; a scan's segment includes its data."""
    position = 2
    for _ in range(MAX_PARTS):
        found = _MARKER.search(data, position)
        if found is None:
            raise Broken("ends too early")
        marker, start = found[1][0], found.start()
        if marker == _EOI:
            yield marker, start, start + 2
            return
        if found.end() + 2 > len(data):
            raise Broken("ends too early")
        length = int.from_bytes(data[found.end() : found.end() + 2])
        position = found.end() + length
        if length < 2:
            raise Broken("is damaged")
        if position > len(data):
            raise Broken("ends too early")
        if marker == _SOS:
            after = _MARKER.search(data, position)
            position = len(data) if after is None else after.start()
        yield marker, start, position
    raise Broken("has too many parts")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    for marker, start, end in _segments(data):
        if marker in _FRAMES and end - start >= 10:
            height, width = struct.unpack_from(">HH", data, start + 5)
            return width, height
        if marker not in _TABLES and not (_APP0 <= marker <= _APP15 or marker == _COM):
            break
    raise Broken("is not a kind of JPEG that browsers show")


def _unpack_jpeg(data: bytes) -> Contents:
    view = memoryview(data)  # slices of bytes are copies, and a file may have 10 MB
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    profile: dict[int, bytes] = {}
    turn, frames, scans, sharp_colour = 1, 0, 0, True
    for marker, start, end in _segments(data):
        body = data[start + 4 : min(end, start + 4 + 0xFFFF)]
        if marker == _APP1 and turn == 1 and body.startswith(b"Exif\0\0"):
            turn = orientation(body)
        elif marker == _APP2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        if marker in _FRAMES:
            frames += 1
            sharp_colour = len({body[i] for i in range(7, len(body), 3)}) <= 1
        scans += marker == _SOS
        if scans > MAX_SCANS or frames > 1:
            raise Broken("has too many parts")
        # JFIF and Adobe say which colours the channels are; all else an application wrote goes.
        colours = (marker == _APP0 and body.startswith(b"JFIF\0")) or (
            marker == _APP14 and body.startswith(b"Adobe")
        )
        if colours or marker in _FRAMES or marker in _TABLES or marker in (_SOS, _EOI):
            kept.append(view[start:end])
        elif not (_APP0 <= marker <= _APP15 or marker == _COM):
            raise Broken("is not a kind of JPEG that browsers show")
    if not scans:
        raise Broken("ends too early")
    return Contents(
        data=b"".join(kept),
        orientation=turn,
        profile=_bounded(b"".join(profile[number] for number in sorted(profile))),
        sharp_colour=sharp_colour,
    )


# --- PNG: W3C PNG, third edition ------------------------------------------------------------

_PNG_START = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Adam7: first column, column step, first row, row step.
_PASSES = (
    (0, 8, 0, 8),
    (4, 8, 0, 8),
    (0, 4, 4, 8),
    (2, 4, 0, 4),
    (0, 2, 2, 4),
    (1, 2, 0, 2),
    (0, 1, 1, 2),
)


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def unpacked_bytes(self) -> int:
        """How long the pixels are once inflated, each row with its filter byte in front."""
        passes = _PASSES if self.interlaced else ((0, 1, 0, 1),)
        total = 0
        for x, dx, y, dy in passes:
            columns, rows = -(-(self.width - x) // dx), -(-(self.height - y) // dy)
            if columns > 0 and rows > 0:
                total += rows * (1 + (columns * self.depth * _CHANNELS[self.colour] + 7) // 8)
        return total


def _png_header(data: bytes) -> _Header:
    if len(data) < 33:
        raise Broken("ends too early")
    if data[8:16] != b"\0\0\0\x0dIHDR" or not _checked(data, 8, 33):
        raise Broken("is damaged")
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if depth not in _DEPTHS.get(colour, ()):
        raise Broken("is damaged")
    return _Header(width, height, depth, colour, bool(interlaced))


def _png_size(data: bytes) -> tuple[int, int]:
    header = _png_header(data)
    return header.width, header.height


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of each chunk from the first to IEND."""
    position = 8
    for _ in range(MAX_PARTS):
        if position + 12 > len(data):
            raise Broken("ends too early")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise Broken("ends too early")
        yield name, position, end
        if name == b"IEND":
            return
        position = end
    raise Broken("has too many parts")


def _checked(data: bytes, start: int, end: int) -> bool:
    """Whether a chunk's check sum is right."""
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])


def _unpack_png(data: bytes) -> Contents:
    header = _png_header(data)
    view = memoryview(data)
    kept: list[bytes | memoryview] = [_PNG_START]
    pixels: list[memoryview] = []
    turn, profile, transparent = 1, None, None
    for name, start, end in _chunks(data):
        if name in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            if not _checked(data, start, end):
                raise Broken("is damaged")
            kept.append(view[start:end])
            if name == b"IDAT":
                pixels.append(view[start + 8 : end - 4])
        elif name in (b"tRNS", b"iCCP", b"eXIf") and _checked(data, start, end):
            body = data[start + 8 : end - 4]
            if name == b"eXIf":
                turn = orientation(body)
            elif name == b"iCCP":
                profile = _inflated_profile(body)
            elif header.colour == 3:
                kept.append(view[start:end])
            else:
                transparent = _transparent(body, header)
    if _inflated_bytes(pixels, header.unpacked_bytes) < header.unpacked_bytes:
        raise Broken("ends too early")
    return Contents(data=b"".join(kept), orientation=turn, profile=profile, transparent=transparent)


def _transparent(body: bytes, header: _Header) -> int | tuple[int, ...] | None:
    """The transparent colour in 8 bits a channel.

    With 16 bits a channel all colours that share the upper 8 count, because Pillow reads no more.
    """
    channels = {0: 1, 2: 3}.get(header.colour)
    if channels is None or len(body) < 2 * channels:
        return None
    values = struct.unpack_from(f">{channels}H", body)
    most = (1 << header.depth) - 1
    scaled = tuple((v & most) >> 8 if most > 255 else (v & most) * 255 // most for v in values)
    return scaled if channels == 3 else scaled[0]


def _inflated_profile(body: bytes) -> bytes | None:
    _, _, packed = body.partition(b"\0")
    try:
        return _bounded(zlib.decompressobj().decompress(packed[1:], MAX_PROFILE_BYTES + 1))
    except zlib.error:
        return None


def _inflated_bytes(parts: list[memoryview], wanted: int) -> int:
    """How many bytes the parts inflate to, counted up to `wanted` and thrown away.

    Pillow takes a PNG whose compressed stream ends rows too early for a whole picture, the rest
    black. The price is a second inflation: 8 ms beside Pillow's own 17 for 1024 × 768.
    """
    inflater, total = zlib.decompressobj(), 0
    try:
        for part in parts:
            rest: bytes | memoryview = part
            while len(rest) and total < wanted and not inflater.eof:
                total += len(inflater.decompress(rest, 1 << 18))
                rest = inflater.unconsumed_tail
        if not inflater.eof and total < wanted:
            total += len(inflater.flush())  # what zlib held back at the last call's limit
    except zlib.error:
        raise Broken("is damaged") from None
    return total


# --- WebP: RFC 9649 -------------------------------------------------------------------------


def _webp_parts(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the contents of each chunk."""
    for _ in range(MAX_PARTS):
        if position + 8 > end:
            return
        name, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > end:
            raise Broken("ends too early")
        yield name, position + 8, position + 8 + length
        position += 8 + length + length % 2
    raise Broken("has too many parts")


def _u24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _webp_size(data: bytes) -> tuple[int, int]:
    if len(data) < 30:
        raise Broken("ends too early")
    if data[12:16] == b"VP8X":
        return _u24(data, 24) + 1, _u24(data, 27) + 1
    return _frame_size(data[12:16], data[20:30])


def _frame_size(name: bytes, head: bytes) -> tuple[int, int]:
    """The size in the first 10 bytes of a bit stream."""
    if name == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) == 10:
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise Broken("is damaged")


def _unpack_webp(data: bytes) -> Contents:
    canvas = _webp_size(data)
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise Broken("ends too early")
    turn, profile, offset = 1, None, (0, 0)
    frame: dict[bytes, tuple[int, int]] = {}
    for name, start, stop in _webp_parts(data, 12, end):
        if name == b"ICCP":
            profile = _bounded(data[start:stop])
        elif name == b"EXIF":
            turn = orientation(data[start : min(stop, start + 0xFFFF)])
        elif name == b"ANMF" and not frame:  # later frames are never looked at
            offset = (2 * _u24(data, start), 2 * _u24(data, start + 3))
            frame = {n: (a, b) for n, a, b in _webp_parts(data, start + 16, stop)}
        elif name in (b"VP8 ", b"VP8L", b"ALPH"):
            frame.setdefault(name, (start, stop))
    return _webp_frame(data, frame, canvas, Contents(b"", turn, profile, offset=offset))


def _webp_frame(
    data: bytes, frame: dict[bytes, tuple[int, int]], canvas: tuple[int, int], about: Contents
) -> Contents:
    """One frame as a still of its own; it must lie within the canvas, whose size was checked."""
    name = b"VP8L" if b"VP8L" in frame else b"VP8 "
    if name not in frame:
        raise Broken("holds no picture")
    start, stop = frame[name]
    width, height = _frame_size(name, data[start : start + 10])
    if about.offset[0] + width > canvas[0] or about.offset[1] + height > canvas[1]:
        raise Broken("is damaged")
    parts = [(name, data[start:stop])]
    alpha = name == b"VP8L" and bool(data[start + 4] & 0x10)
    if name == b"VP8 " and b"ALPH" in frame:
        alpha = True
        flags = struct.pack("<I", 0x10) + (width - 1).to_bytes(3, "little")
        parts.insert(0, (b"ALPH", data[slice(*frame[b"ALPH"])]))
        parts.insert(0, (b"VP8X", flags + (height - 1).to_bytes(3, "little")))
    body = b"WEBP" + b"".join(_webp_part(*part) for part in parts)
    return Contents(
        data=b"RIFF" + struct.pack("<I", len(body)) + body,
        orientation=about.orientation,
        profile=about.profile,
        sharp_colour=name == b"VP8L",
        offset=about.offset,
        alpha=alpha,
    )


def _webp_part(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _bounded(profile: bytes) -> bytes | None:
    return profile if 128 < len(profile) <= MAX_PROFILE_BYTES else None
