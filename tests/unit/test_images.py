"""The gate for uploaded pictures: what passes, what is refused, and what never gets through."""

from __future__ import annotations

import io
import struct
import threading
import tracemalloc
import weakref
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw

from app.errors import (
    FileEmpty,
    FileTooLarge,
    ImageDimensions,
    ImageInvalid,
    RequestError,
    UnsupportedMediaType,
)
from app.services import containers, images
from app.services.images import ImageLimits, Picture
from tests.pictures import (
    cut_out,
    exif,
    jpeg,
    mpo,
    photo,
    png,
    png_chunk,
    raw_png,
    webp,
    with_chunk,
    with_exif,
    with_segment,
)

LIMITS = ImageLimits(max_bytes=10 * 1024 * 1024, max_pixels=25_000_000)
CODES = {
    "file_empty",
    "file_too_large",
    "unsupported_media_type",
    "image_invalid",
    "image_dimensions",
}


def load(data: bytes, limits: ImageLimits = LIMITS) -> Picture:
    picture = images.load(io.BytesIO(data), field="person_image", limits=limits)
    assert_clean(picture, limits)
    return picture


def assert_clean(picture: Picture, limits: ImageLimits = LIMITS) -> None:
    """A whole baseline RGB JPEG, nothing in it but JFIF, tables and one scan."""
    names, position = [], 2
    while picture.data[position + 1] != 0xDA:
        assert picture.data[position] == 0xFF
        names.append(picture.data[position + 1])
        position += 2 + int.from_bytes(picture.data[position + 2 : position + 4])
    assert names[0] == 0xE0
    assert set(names) == {0xE0, 0xDB, 0xC0, 0xC4}
    assert picture.data.count(b"\xff\xd9") == 1
    assert picture.data.endswith(b"\xff\xd9")
    with Image.open(io.BytesIO(picture.data)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert image.size == (picture.width, picture.height)
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        image.load()
    assert limits.min_side <= min(picture.width, picture.height)
    assert max(picture.width, picture.height) <= limits.max_side
    assert picture.width * picture.height <= limits.max_pixels


def pixels(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.data)).convert("RGB")


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Likeness in dB; 38 and more cannot be told apart by eye."""
    assert one.size == other.size
    difference = np.asarray(one.convert("RGB"), float) - np.asarray(other.convert("RGB"), float)
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


def on_white(image: Image.Image) -> Image.Image:
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image.convert("RGBA"))
    return page.convert("RGB")


# --- what passes, and how it looks ----------------------------------------------------------

GREY = photo().convert("L")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(jpeg(photo()), photo(), id="jpeg"),
        pytest.param(jpeg(photo(), progressive=True), photo(), id="progressive"),
        pytest.param(jpeg(photo(), subsampling="4:4:4"), photo(), id="jpeg in full colour"),
        pytest.param(jpeg(photo(), keep_rgb=True), photo(), id="jpeg stored as RGB"),
        pytest.param(jpeg(photo(), restart_marker_rows=1), photo(), id="restart markers"),
        pytest.param(jpeg(GREY), GREY, id="grey jpeg"),
        pytest.param(jpeg(photo().convert("CMYK")), photo(), id="cmyk, inverted by Adobe's habit"),
        pytest.param(mpo(photo(), photo(seed=1)), photo(), id="first of several in a phone's file"),
        pytest.param(png(photo()), photo(), id="png"),
        pytest.param(png(GREY), GREY, id="grey png"),
        pytest.param(png(cut_out()), on_white(cut_out()), id="rgba png"),
        pytest.param(png(cut_out().convert("LA")), on_white(cut_out().convert("LA")), id="la png"),
        pytest.param(webp(photo(), quality=95), photo(), id="webp"),
        pytest.param(webp(photo(), lossless=True), photo(), id="lossless webp"),
        pytest.param(webp(cut_out(), quality=95), on_white(cut_out()), id="webp with alpha"),
        pytest.param(webp(cut_out(), lossless=True), on_white(cut_out()), id="lossless with alpha"),
    ],
)
def test_a_picture_looks_as_it_did(data: bytes, expected: Image.Image) -> None:
    assert psnr(pixels(load(data)), expected) >= 38


def test_a_large_photo_keeps_its_detail() -> None:
    original = photo(1024, 768)

    stored = pixels(load(jpeg(original, quality=90)))

    assert psnr(stored, original) >= 38


def test_an_upright_jpeg_loses_next_to_nothing_by_its_second_encoding() -> None:
    sent = jpeg(photo(), quality=80)

    stored = load(sent).data

    # 38 dB is what coarser or other tables leave, see the tests above.
    assert psnr(pixels(load(sent)), Image.open(io.BytesIO(sent))) >= 48
    assert len(stored) < 1.05 * len(sent)


def test_tables_finer_than_ours_are_not_taken_over() -> None:
    sent = jpeg(photo(), quality=100)

    assert len(load(sent).data) < 0.7 * len(sent)


def test_coloured_edges_stay_sharp() -> None:
    image = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(image).rectangle((33, 33, 94, 94), fill=(255, 0, 0))

    stored = pixels(load(png(image)))

    assert stored.getpixel((33, 64))[0] >= 245  # type: ignore[index]
    assert stored.getpixel((33, 64))[1] <= 12  # type: ignore[index]


def test_a_palette_keeps_its_colours_and_its_transparency() -> None:
    image = photo().quantize(64)
    plain = load(png(image))
    one = load(png(image, transparency=image.getpixel((0, 0))))
    many = load(png(image, transparency=bytes(range(0, 256, 4))))

    assert psnr(pixels(plain), image) >= 33  # hard edges between 64 colours
    assert min(pixels(one).getpixel((0, 0))) >= 235  # type: ignore[arg-type]
    assert psnr(pixels(many), pixels(plain)) < 30


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_any_depth_keeps_its_brightness(depth: int) -> None:
    ramp = [x * ((1 << depth) - 1) // 63 for x in range(64)]
    bits = "".join(f"{value:0{depth}b}" for value in ramp)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8)

    stored = pixels(load(raw_png((64, 64), depth=depth, colour=0, pixels=row * 64)))

    expected = [value * 255 / ((1 << depth) - 1) for value in ramp]
    found = np.asarray(stored, float)[32, :, 1]
    assert np.abs(found - expected).mean() < 3
    assert found[0] < 8
    assert found[-1] > 247


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_become_eight(colour: int, channels: int) -> None:
    image = photo(64, 64) if colour == 2 else cut_out(64, 64).convert({4: "LA", 6: "RGBA"}[colour])
    wide = np.asarray(image).reshape(64, 64 * channels).astype(">u2") * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)

    stored = pixels(load(raw_png((64, 64), depth=16, colour=colour, pixels=rows)))

    assert psnr(stored, on_white(image)) >= 38


@pytest.mark.parametrize(
    ("depth", "colour", "value", "key"),
    [(1, 0, b"\x00", b"\0\0"), (4, 0, b"\x55", b"\0\5"), (8, 0, b"\x64", b"\0\x64"),
     (16, 0, b"\x12\x34", b"\x12\x34"), (8, 2, b"abc", b"\0a\0b\0c")],
)  # fmt: skip
def test_one_transparent_colour_becomes_white(
    depth: int, colour: int, value: bytes, key: bytes
) -> None:
    row = b"\0" + value * (64 * depth * (1 if colour == 0 else 3) // 8 // len(value))
    data = raw_png((64, 64), depth=depth, colour=colour, pixels=row * 64)

    stored = pixels(load(with_chunk(data, b"tRNS", key)))

    assert stored.getextrema() == ((255, 255),) * 3


def test_an_animation_is_its_first_frame() -> None:
    frames = [photo(seed=1), photo(seed=2)]
    apng = png(photo(), save_all=True, append_images=frames)
    moving = webp(photo(), save_all=True, append_images=frames, quality=95)

    assert psnr(pixels(load(apng)), photo()) >= 38
    assert psnr(pixels(load(moving)), photo()) >= 38


def test_later_frames_are_never_decoded() -> None:
    frames = [photo(seed=1), photo(seed=2)]
    apng = png(photo(), save_all=True, append_images=frames)
    moving = webp(photo(), save_all=True, append_images=frames)

    broken_apng = apng[: apng.rindex(b"fdAT") + 8] + bytes(100) + apng[apng.rindex(b"fdAT") + 108 :]
    broken_webp = moving[: moving.rindex(b"VP8") + 8] + bytes(
        len(moving) - moving.rindex(b"VP8") - 8
    )

    assert load(broken_apng) == load(apng)
    assert load(broken_webp) == load(moving)


def test_a_first_frame_smaller_than_its_canvas_lies_on_white() -> None:
    whole = webp(photo(64, 64), save_all=True, append_images=[photo(64, 64, 1)])
    at = whole.index(b"ANMF")
    canvas = (127).to_bytes(3, "little")
    data = (
        whole[:24] + canvas + canvas + whole[30 : at + 8] + b"\x10\0\0\x08\0\0" + whole[at + 14 :]
    )

    stored = pixels(load(data))

    assert stored.size == (128, 128)
    assert psnr(stored.crop((32, 16, 96, 80)), photo(64, 64)) > 30
    assert stored.getpixel((120, 120)) == (255, 255, 255)


def test_webp_reads_the_same_where_libwebp_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [webp(photo()), webp(cut_out()), webp(cut_out(), lossless=True)]
    ours = [load(data) for data in files]

    monkeypatch.setattr(images, "_WEBP", None)

    assert [load(data) for data in files] == ours


# --- orientation and colour -----------------------------------------------------------------

STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright picture, by what its EXIF says."""


@pytest.mark.parametrize("save", [jpeg, png, webp])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_out_upright(orientation: int, save: Callable[..., bytes]) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(photo()))))

    picture = load(save(stored, exif=exif(orientation), quality=95))

    assert (picture.width, picture.height) == photo().size
    assert psnr(pixels(picture), photo()) >= 38


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0nonsense",
        exif(6)[:-9],
        exif(0),
        exif(9),
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(40),
        b"Exif\0\0MM\0*" + struct.pack(">IHHHI4s", 8, 1, 0x0112, 2, 4, b"six\0"),
    ],
)
def test_broken_exif_is_ignored(block: bytes) -> None:
    picture = load(with_segment(jpeg(photo()), 0xE1, block))

    assert picture == load(jpeg(photo())) or (picture.width, picture.height) == (128, 96)


def profile(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...]) -> bytes:
    """A matrix profile with gamma 2.2 and the given primaries (XYZ, adapted to D50)."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    tags = {
        name: b"XYZ " + bytes(4) + fixed(*xyz)
        for name, xyz in (
            (b"wtpt", (0.9642, 1.0, 0.8249)), (b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue)
        )
    }  # fmt: skip
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0233) + bytes(2)
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(tag))
        body += tag
    head = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"", 0x02400000, b"mntr", b"RGB ", b"XYZ "
    )
    head += (
        struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + fixed(0.9642, 1, 0.8249)
    )
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


DISPLAY_P3 = profile((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = profile((0.1431, 0.0606, 0.7141), (0.3851, 0.7169, 0.0971), (0.4360, 0.2225, 0.0139))


@pytest.mark.parametrize("save", [jpeg, png, webp])
def test_wide_colours_become_srgb(save: Callable[..., bytes]) -> None:
    image = Image.new("RGB", (64, 64), (200, 100, 100))

    stored = pixels(load(save(image, icc_profile=DISPLAY_P3))).getpixel((32, 32))

    # by the two matrices: (214, 94, 97)
    assert np.abs(np.subtract(stored, (214, 94, 97))).max() <= 4  # type: ignore[arg-type]


def test_a_profile_that_is_srgb_changes_nothing() -> None:
    assert load(png(photo(), icc_profile=SRGB)) == load(png(photo()))


def test_transparency_is_white_in_any_profile() -> None:
    stored = pixels(load(png(cut_out(), icc_profile=SWAPPED)))

    assert min(stored.getpixel((0, 64))) >= 250  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [b"x" * 300, DISPLAY_P3[:200], DISPLAY_P3[:128] + bytes(400), SRGB.replace(b"RGB ", b"CMYK")],
)
def test_a_broken_profile_is_ignored(bad: bytes) -> None:
    assert load(jpeg(photo(), icc_profile=bad)) == load(jpeg(photo()))
    assert load(png(photo(), icc_profile=bad)) == load(png(photo()))


# --- what is refused ------------------------------------------------------------------------


def refused(data: bytes, kind: type[RequestError], limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(kind) as caught:
        images.load(io.BytesIO(data), field="garment_image", limits=limits)
    assert type(caught.value) is kind
    assert caught.value.pointer == "garment_image"
    assert caught.value.detail.startswith("garment_image")
    return caught.value.detail


def test_an_empty_file_is_refused() -> None:
    refused(b"", FileEmpty)


def test_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    full = jpeg(photo()).ljust(10_485_760, b"\0")

    load(full)

    assert "10,485,760" in refused(full + b"\0", FileTooLarge)


def test_a_stream_is_never_read_beyond_the_limit() -> None:
    class Counted(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size >= 0
            data = super().read(size)
            self.most += len(data)
            return data

    limits = ImageLimits(max_bytes=1000, max_pixels=10_000)
    stream = Counted(b"\xff\xd8\xff" + bytes(5000))

    with pytest.raises(FileTooLarge):
        images.load(stream, field="person_image", limits=limits)

    assert stream.most <= 1001


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
        (b"\0\0\0\x18ftypmif1" + bytes(99), "HEIC"),
        (b"\0\0\0\x1cftypavif" + bytes(99), "AVIF"),
        (b"GIF89a" + bytes(99), "GIF"),
        (b"%PDF-1.7\n" + bytes(99), "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n<?xml version='1.0'?><!-- --><svg/>", "SVG"),
        (b"II*\0" + bytes(99), "TIFF"),
        (b"\xff\x0a" + bytes(99), "JPEG XL"),
        (b"BM" + bytes(99), "BMP"),
        (b"<html><body>", ""),
        (b"%!PS-Adobe-3.0 EPSF-3.0", ""),
        (b"SIMPLE  =                    T", ""),
        (b"PK\3\4" + bytes(99), ""),
        (b"\xff\xd8", ""),
        (b"RIFF\x24\0\0\0WAVE" + bytes(30), ""),
        (b" " + jpeg(photo()), ""),
        (bytes(1), ""),
    ],
)
def test_other_kinds_are_refused_by_their_content(data: bytes, name: str) -> None:
    assert name in refused(data, UnsupportedMediaType)


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    return raw_png((width, height), depth=depth, colour=colour, pixels=b"")[:33]


def jpeg_header(width: int, height: int) -> bytes:
    data = jpeg(photo())
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 : at + 20]


def webp_header(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\xff\xff\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + canvas


HEADERS = [png_header, jpeg_header, webp_header]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    ("width", "height", "number"),
    [(30_000, 30_000, "8000"), (5001, 5000, "25"), (8001, 100, "8000"), (1, 60_000, "8000"),
     (63, 500, "64"), (500, 63, "64")],
)  # fmt: skip
def test_the_header_alone_refuses_a_size(
    header: Callable[[int, int], bytes], width: int, height: int, number: str
) -> None:
    # Nothing follows the header, so whoever went on to decode would call the file broken.
    detail = refused(header(width, height), ImageDimensions)

    assert f"{width} × {height}" in detail
    assert number in detail


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(("width", "height"), [(5000, 5000), (8000, 3125), (64, 64)])
def test_the_largest_and_smallest_sizes_get_past_the_header(
    header: Callable[[int, int], bytes], width: int, height: int
) -> None:
    assert "ends too early" in refused(header(width, height), ImageInvalid)


def test_the_smallest_picture_is_taken() -> None:
    assert load(png(photo(64, 64))).width == 64


def test_a_pixel_bomb_costs_no_memory() -> None:
    row = zlib.compressobj(9)
    body = b"".join(row.compress(bytes(3751)) for _ in range(30_000)) + row.flush()
    bomb = (
        png_header(30_000, 30_000, depth=1, colour=0)
        + png_chunk(b"IDAT", body)
        + png_chunk(b"IEND", b"")
    )
    assert len(bomb) < 150_000

    tracemalloc.start()
    refused(bomb, ImageDimensions)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2_000_000


WHOLE = {
    "jpeg": jpeg(photo()),
    "progressive": jpeg(photo(), progressive=True),
    "png": png(photo()),
    "webp": webp(photo()),
    "lossless webp": webp(photo(), lossless=True),
    "webp with alpha": webp(cut_out()),
}


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_ends_too_early_is_refused(name: str, share: float) -> None:
    data = WHOLE[name]

    refused(data[: int(len(data) * share)], ImageInvalid)


@pytest.mark.parametrize("name", WHOLE)
def test_the_last_byte_counts(name: str) -> None:
    refused(WHOLE[name].rstrip(b"\0")[:-1], ImageInvalid)


def test_a_png_with_missing_rows_is_refused() -> None:
    row = b"\0" + bytes(64 * 3)

    load(raw_png((64, 64), depth=8, colour=2, pixels=row * 64))

    refused(raw_png((64, 64), depth=8, colour=2, pixels=row * 63), ImageInvalid)
    refused(raw_png((64, 64), depth=8, colour=2, pixels=row * 64)[:-12], ImageInvalid)


def test_an_interlaced_png_is_read_whole_or_refused() -> None:
    image = np.asarray(photo(67, 65).convert("L"))
    steps = [
        (0, 8, 0, 8),
        (4, 8, 0, 8),
        (0, 4, 4, 8),
        (2, 4, 0, 4),
        (0, 2, 2, 4),
        (1, 2, 0, 2),
        (0, 1, 1, 2),
    ]
    rows = [b"\0" + row.tobytes() for x, dx, y, dy in steps for row in image[y::dy, x::dx]]

    whole = raw_png((67, 65), depth=8, colour=0, pixels=b"".join(rows), interlaced=True)
    short = raw_png((67, 65), depth=8, colour=0, pixels=b"".join(rows[:-1]), interlaced=True)

    assert psnr(pixels(load(whole)), Image.fromarray(image)) >= 38
    refused(short, ImageInvalid)


def test_a_damaged_png_is_refused_by_its_check_sums() -> None:
    data = bytearray(png(photo()))
    data[len(data) // 2] ^= 1

    refused(bytes(data), ImageInvalid)


def test_an_endless_progression_is_refused() -> None:
    data = jpeg(photo(), progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]

    refused(data[:-2] + last * 200 + b"\xff\xd9", ImageInvalid)


@pytest.mark.parametrize(
    "data",
    [
        png_header(64, 64) + png_chunk(b"aaAa", b"") * 30_000 + png_chunk(b"IEND", b""),
        with_segment(jpeg(photo()), 0xE5, b"")[:6] + b"\xff\xe5\0\2" * 30_000 + jpeg(photo())[2:],
        webp_header(64, 64)[:4]
        + struct.pack("<I", 240_022)
        + webp_header(64, 64)[8:]
        + bytes(240_000),
    ],
)
def test_a_swarm_of_parts_is_refused(data: bytes) -> None:
    refused(data, ImageInvalid)


def test_compressed_text_and_profiles_are_not_unpacked() -> None:
    bomb = zlib.compress(bytes(20_000_000), 9)
    data = png(photo())
    for name, head in ((b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")):
        data = with_chunk(data, name, head + bomb)

    tracemalloc.start()
    picture = load(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert picture == load(png(photo()))
    assert peak < 6_000_000


# --- what never gets through ----------------------------------------------------------------

MARK = "Tr4ceMe"
NOTE = MARK.encode() + b"<script>alert(1)</script>"
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + NOTE + b"</x:xmpmeta>"
THUMBNAIL = exif(note=MARK) + jpeg(photo(64, 64), comment=NOTE)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(with_exif(photo(), note=MARK), id="EXIF and GPS"),
        pytest.param(with_segment(jpeg(photo()), 0xE1, THUMBNAIL), id="thumbnail"),
        pytest.param(with_segment(jpeg(photo()), 0xE1, XMP), id="XMP"),
        pytest.param(with_segment(jpeg(photo()), 0xED, b"Photoshop 3.0\0" + NOTE), id="IPTC"),
        pytest.param(
            with_segment(jpeg(photo()), 0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0" + NOTE), id="JFIF"
        ),
        pytest.param(
            with_segment(jpeg(photo()), 0xEE, b"Adobe\0\x64\0\0\0\0\1" + NOTE), id="Adobe"
        ),
        pytest.param(with_segment(jpeg(photo()), 0xEB, NOTE), id="unknown application"),
        pytest.param(jpeg(photo(), comment=NOTE), id="comment"),
        pytest.param(jpeg(photo(), icc_profile=SRGB + NOTE), id="profile"),
        pytest.param(jpeg(photo()) + b"<html>" + NOTE, id="HTML after a JPEG"),
        pytest.param(jpeg(photo()) + b"PK\3\4" + NOTE, id="ZIP after a JPEG"),
        pytest.param(mpo(photo(), photo(seed=1)) + NOTE, id="several pictures"),
        pytest.param(png(photo()) + NOTE, id="after a PNG"),
        pytest.param(with_chunk(png(photo()), b"tEXt", b"a\0" + NOTE), id="tEXt"),
        pytest.param(with_chunk(png(photo()), b"zTXt", b"a\0\0" + zlib.compress(NOTE)), id="zTXt"),
        pytest.param(with_chunk(png(photo()), b"iTXt", b"XML\0\0\0\0\0" + NOTE), id="iTXt"),
        pytest.param(with_chunk(png(photo()), b"teSt", NOTE), id="private chunk"),
        pytest.param(png(photo(), exif=exif(note=MARK)), id="EXIF in a PNG"),
        pytest.param(png(photo(), icc_profile=DISPLAY_P3 + NOTE), id="profile in a PNG"),
        pytest.param(webp(photo(), exif=exif(note=MARK), xmp=NOTE), id="EXIF and XMP in a WebP"),
        pytest.param(webp(photo(), icc_profile=SRGB + NOTE), id="profile in a WebP"),
        pytest.param(webp(photo()) + NOTE, id="after a WebP"),
    ],
)
def test_nothing_beside_the_pixels_survives(data: bytes) -> None:
    assert MARK.encode() in data or b"zTXt" in data or b"iCCP" in data

    picture = load(data)

    assert MARK.encode() not in picture.data
    assert b"<script" not in picture.data
    assert b"Exif" not in picture.data
    assert b"ICC_PROFILE" not in picture.data


# --- whatever comes -------------------------------------------------------------------------

SEEDS = [
    *WHOLE.values(),
    jpeg(photo(64, 64).convert("CMYK"), icc_profile=DISPLAY_P3),
    jpeg(GREY, comment=b"hello"),
    with_exif(photo(64, 80), 5, "here"),
    png(cut_out(64, 64), icc_profile=DISPLAY_P3),
    png(photo(64, 64).quantize(16), transparency=bytes(range(16))),
    png(photo(64, 64), save_all=True, append_images=[photo(64, 64, 1)]),
    webp(cut_out(64, 64), save_all=True, append_images=[photo(64, 64, 1)]),
    with_chunk(raw_png((64, 64), depth=16, colour=0, pixels=bytes(129 * 64)), b"tRNS", b"\0\1"),
]


def mended(data: bytes) -> bytes:
    """A PNG with its check sums made right again, so that damage reaches the decoder."""
    if not data.startswith(b"\x89PNG"):
        return data
    out, position = bytearray(data), 8
    while position + 12 <= len(out):
        end = position + 12 + int.from_bytes(out[position : position + 4])
        if end > len(out):
            break
        out[end - 4 : end] = zlib.crc32(out[position + 4 : end - 4]).to_bytes(4)
        position = end
    return bytes(out)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers are short and decide most, so half of all damage happens there.
        at = draw(st.integers(0, 150) | st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "write", "cut", "drop", "splice"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "write":
                data[at : at + 4] = draw(st.binary(min_size=1, max_size=4))
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + draw(st.integers(1, 300))]
            case "splice":
                other = draw(st.sampled_from(SEEDS))
                start = draw(st.integers(0, len(other)))
                data[at:at] = other[start : start + draw(st.integers(1, 3000))]
    return mended(bytes(data)) if draw(st.booleans()) else bytes(data)


def outcome(data: bytes) -> str:
    """ "taken", or the code of the refusal; anything else that is raised fails the test."""
    try:
        load(data)
    except RequestError as exc:
        return f"{exc.pointer} {exc.code}"
    return "taken"


OUTCOMES = {"taken"} | {f"person_image {code}" for code in CODES}


@settings(max_examples=250, deadline=None)
@given(damaged())
def test_a_damaged_picture_passes_or_is_refused(data: bytes) -> None:
    assert outcome(data) in OUTCOMES


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 "]),
    st.binary(max_size=400),
)
def test_arbitrary_bytes_are_refused(start: bytes, rest: bytes) -> None:
    assert outcome(start + rest) in OUTCOMES


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_exif_gives_an_orientation(block: bytes) -> None:
    assert containers.orientation(b"Exif\0\0MM\0*" + block) in range(1, 9)
    assert containers.orientation(block) in range(1, 9)


# --- many at once ---------------------------------------------------------------------------


def test_heavy_pictures_come_one_at_a_time_and_always_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together, most = threading.Semaphore(1), []
    redraw = images._redraw

    def watched(*args: object) -> Picture | None:
        most.append(together.acquire(blocking=False))
        try:
            return redraw(*args)  # type: ignore[arg-type]
        finally:
            together.release()

    monkeypatch.setattr(images, "LIGHT_PIXELS", 0)
    monkeypatch.setattr(images, "_redraw", watched)
    good, broken = WHOLE["jpeg"], WHOLE["jpeg"].replace(b"\xff\xc4", b"\xff\xdb")

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(outcome, [good, broken, WHOLE["png"][:-20], broken] * 6))

    assert [name == "taken" for name in found] == [True, False, False, False] * 6
    assert len(most) == 18
    assert all(most)
    assert not images._ONE_HEAVY.locked()


def test_a_large_file_waits_before_it_is_read() -> None:
    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert images._ONE_HEAVY.locked()
            return super().read(size)

    stream = Watched(jpeg(photo()).ljust(images.LIGHT_BYTES + 1, b"\0"))

    images.load(stream, field="person_image", limits=LIMITS)

    assert not images._ONE_HEAVY.locked()


def test_a_refusal_holds_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[weakref.ref[Image.Image]] = []

    def fails(image: Image.Image, *_: object) -> Image.Image:
        decoded.append(weakref.ref(image))
        raise ValueError("nobody expected this")

    monkeypatch.setattr(images, "_plain", fails)

    with pytest.raises(ImageInvalid) as caught:
        images.load(io.BytesIO(WHOLE["png"]), field="person_image", limits=LIMITS)

    assert caught.value.__context__ is None
    assert [reference() for reference in decoded] == [None]
