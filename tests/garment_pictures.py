"""Drawn garments on drawn grounds, with the truth: where they and their key points are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float32]

Pattern = Literal["plain", "stripes", "print", "white-panel"]

_OVERSAMPLE = 2
_CORNER = 0.006
"""Corners are rounded by this much of the width, as cloth is."""


@dataclass(frozen=True)
class Cut:
    """A pattern piece by piece; the right halves, x from the axis in widths, y in heights.

    body: from the neck's centre over the shoulder to the hem's centre. sleeve: outer and inner rail
    from tip and pit to the cuff. points: named key points of the right half.
    collar: depth and half width of the front neckline's curve, from the neck point; 0 is none.
    """

    category: str
    body: tuple[tuple[float, float], ...]
    points: dict[str, tuple[float, float]]
    sleeve: tuple[tuple[float, float], ...] = ()
    neckline: float = 0.0
    gap: tuple[tuple[float, float], ...] = ()
    open_front: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """picture: (h, w, 3) uint8. coverage: (h, w) float32, 0–1. points: name → (2,), pixels.

    Names: neck, tip, pit, cuff_outer, cuff_inner, hem; waist, crotch, hem_outer, hem_inner; each
    with `_left` and `_right`, but for the crotch.
    """

    kind: str
    category: str
    coverage: Floats
    points: dict[str, Points]
    paint: Callable[[], Rgb] = field(repr=False)

    @cached_property
    def picture(self) -> Rgb:
        """Painted when it is first asked for: of many garments only the outline is."""
        return self.paint()


def _top(
    *,
    neck: tuple[float, float],
    tip: tuple[float, float],
    pit: tuple[float, float],
    hem: tuple[float, float],
    sleeve: tuple[tuple[float, float], tuple[float, float]] | None = None,
    centre: float,
    neckline: float,
    waist: float = 0.0,
    category: str = "tops",
    extra: tuple[tuple[float, float], ...] = (),
    open_front: float = 0.0,
    outside: tuple[tuple[float, float], ...] = (),
) -> Cut:
    """centre: y of the upper edge on the axis. waist: how far the side goes in, in widths.

    outside: what the sleeve's outer rail runs through; a slight bow where it is left out.
    """
    middle = ((pit[0] + hem[0]) / 2 - waist, pit[1] + 0.45 * (hem[1] - pit[1]))
    collar = ((neck[0], centre),) if centre < neck[1] - 0.04 else ()
    body = (
        (0.0, centre),
        *(collar or ((neck[0] * (0.8 if centre < neck[1] else 0.55), centre),)),
        neck,
        *extra,
        tip,
        *(((tip[0] - 0.012, (tip[1] + pit[1]) / 2),) if sleeve is None else ()),
        pit,
        middle,
        hem,
        (0.0, hem[1] + 0.012),
    )
    points = {"neck": neck, "tip": tip, "pit": pit, "hem": hem}
    rails: tuple[tuple[float, float], ...] = ()
    if sleeve is not None:
        outer, inner = sleeve
        points |= {"cuff_outer": outer, "cuff_inner": inner}
        bow = ((tip[0] + outer[0]) / 2 + 0.012, (tip[1] + outer[1]) / 2 - 0.008)
        rails = (
            (tip[0] - 0.02, tip[1] - 0.004),
            tip,
            *(outside or (bow,)),
            outer,
            inner,
            pit,
            (pit[0] - 0.02, pit[1]),
        )
    return Cut(category, body, points, rails, neckline, open_front=open_front)


CUTS: dict[str, Cut] = {
    "t-shirt": _top(
        neck=(0.10, 0.165), tip=(0.235, 0.20), pit=(0.215, 0.365), hem=(0.22, 0.84),
        sleeve=((0.39, 0.35), (0.305, 0.405)), centre=0.185, neckline=0.05,
    ),
    "fitted t-shirt": _top(
        neck=(0.095, 0.165), tip=(0.20, 0.195), pit=(0.19, 0.35), hem=(0.20, 0.80),
        sleeve=((0.285, 0.33), (0.225, 0.375)), centre=0.18, neckline=0.08, waist=0.025,
    ),
    "long sleeve": _top(
        neck=(0.10, 0.145), tip=(0.225, 0.18), pit=(0.21, 0.34), hem=(0.215, 0.80),
        sleeve=((0.43, 0.72), (0.355, 0.745)), centre=0.165, neckline=0.045,
    ),
    "close sleeves": _top(
        neck=(0.10, 0.145), tip=(0.225, 0.18), pit=(0.215, 0.33), hem=(0.215, 0.78),
        sleeve=((0.335, 0.80), (0.255, 0.81)), centre=0.165, neckline=0.045, waist=0.01,
    ),
    "touching sleeves": _top(
        neck=(0.10, 0.145), tip=(0.225, 0.18), pit=(0.225, 0.33), hem=(0.225, 0.78),
        sleeve=((0.31, 0.82), (0.21, 0.825)), centre=0.165, neckline=0.045,
    ),
    "tank": _top(
        neck=(0.095, 0.14), tip=(0.165, 0.15), pit=(0.225, 0.34), hem=(0.225, 0.84),
        centre=0.20, neckline=0.10,
    ),
    "strap top": _top(
        neck=(0.135, 0.12), tip=(0.15, 0.12), pit=(0.22, 0.34), hem=(0.25, 0.82),
        centre=0.33, neckline=0.0, extra=(),
    ),
    "off shoulder": _top(
        neck=(0.20, 0.218), tip=(0.265, 0.222), pit=(0.20, 0.36), hem=(0.235, 0.78),
        sleeve=((0.37, 0.37), (0.27, 0.42)), centre=0.222, neckline=0.0,
    ),
    "banded sleeves": _top(
        neck=(0.15, 0.16), tip=(0.285, 0.195), pit=(0.25, 0.50), hem=(0.285, 0.94),
        sleeve=((0.395, 0.455), (0.265, 0.495)), centre=0.20, neckline=0.05,
        outside=((0.335, 0.235), (0.365, 0.29), (0.395, 0.36), (0.385, 0.42)),
    ),
    "puffed sleeves": _top(
        neck=(0.115, 0.084), tip=(0.165, 0.096), pit=(0.15, 0.353), hem=(0.29, 0.907),
        sleeve=((0.265, 0.318), (0.165, 0.342)), centre=0.14, neckline=0.0, category="one-pieces",
        outside=((0.225, 0.12), (0.29, 0.23), (0.24, 0.285)),
    ),
    "turtle-neck": _top(
        neck=(0.085, 0.195), tip=(0.225, 0.235), pit=(0.21, 0.39), hem=(0.215, 0.84),
        sleeve=((0.43, 0.76), (0.355, 0.785)), centre=0.115, neckline=0.0,
    ),
    "dress": _top(
        neck=(0.075, 0.075), tip=(0.135, 0.085), pit=(0.155, 0.20), hem=(0.27, 0.92),
        centre=0.10, neckline=0.05, waist=0.07, category="one-pieces",
    ),
    "sleeved dress": _top(
        neck=(0.075, 0.075), tip=(0.155, 0.095), pit=(0.145, 0.20), hem=(0.25, 0.92),
        sleeve=((0.265, 0.20), (0.205, 0.24)), centre=0.09, neckline=0.04, waist=0.065,
        category="one-pieces",
    ),
    "cardigan": _top(
        neck=(0.085, 0.145), tip=(0.225, 0.18), pit=(0.21, 0.34), hem=(0.22, 0.84),
        sleeve=((0.43, 0.72), (0.355, 0.745)), centre=0.155, neckline=0.0, open_front=0.045,
    ),
    "shirt": _top(
        neck=(0.085, 0.17), tip=(0.24, 0.205), pit=(0.22, 0.37), hem=(0.22, 0.86),
        sleeve=((0.375, 0.37), (0.295, 0.42)), centre=0.145, neckline=0.03,
    ),
    "trousers": Cut(
        "bottoms",
        ((0.0, 0.075), (0.145, 0.07), (0.185, 0.24), (0.20, 0.93), (0.08, 0.935),
         (0.004, 0.34), (0.0, 0.335)),
        {"waist": (0.145, 0.07), "hem_outer": (0.20, 0.93), "hem_inner": (0.08, 0.935),
         "crotch": (0.0, 0.335)},
    ),
    "narrow trousers": Cut(
        "bottoms",
        ((0.0, 0.075), (0.135, 0.07), (0.165, 0.25), (0.125, 0.93), (0.04, 0.935),
         (0.004, 0.36), (0.0, 0.355)),
        {"waist": (0.135, 0.07), "hem_outer": (0.125, 0.93), "hem_inner": (0.04, 0.935),
         "crotch": (0.0, 0.355)},
    ),
    "shorts": Cut(
        "bottoms",
        ((0.0, 0.255), (0.24, 0.25), (0.30, 0.45), (0.34, 0.74), (0.03, 0.755),
         (0.004, 0.57), (0.0, 0.565)),
        {"waist": (0.24, 0.25), "hem_outer": (0.34, 0.74), "hem_inner": (0.03, 0.755),
         "crotch": (0.0, 0.565)},
    ),
    "skirt": Cut(
        "bottoms",
        ((0.0, 0.205), (0.16, 0.20), (0.225, 0.40), (0.30, 0.80), (0.0, 0.82)),
        {"waist": (0.16, 0.20), "hem_outer": (0.30, 0.80)},
    ),
    "pencil skirt": Cut(
        "bottoms",
        ((0.0, 0.205), (0.17, 0.20), (0.215, 0.38), (0.185, 0.82), (0.0, 0.825)),
        {"waist": (0.17, 0.20), "hem_outer": (0.185, 0.82)},
    ),
}  # fmt: skip
"""Every kind that there is to draw."""


@dataclass(frozen=True)
class Look:
    """colour, ground: sRGB. shadow: 0–1, how dark the cast shadow is at the garment's edge.

    offset: the shadow's, in widths, to the right and down. texture: the ground's grain.
    vignette: how much darker the photo's corners are, 0–1.
    """

    colour: tuple[int, int, int] = (60, 105, 170)
    ground: tuple[int, int, int] = (244, 244, 244)
    pattern: Pattern = "plain"
    shadow: float = 0.0
    offset: float = 0.0
    softness: float = 0.018
    texture: float = 0.8
    vignette: float = 0.0


@cache
def draw(kind: str, look: Look | None = None, *, width: int = 480, seed: int = 0) -> Drawn:
    """One garment; the height is 4/3 of the width. Not to be written to: it is drawn once."""
    height = width * 4 // 3
    cut = CUTS[kind]
    coverage = np.maximum(*_masks(kind, width, height))
    coverage.setflags(write=False)
    return Drawn(
        kind,
        cut.category,
        coverage,
        _named_points(cut, width, height),
        partial(_paint, kind, look or Look(), coverage, seed),
    )


def _paint(kind: str, look: Look, coverage: Floats, seed: int) -> Rgb:
    height, width = coverage.shape
    rng = np.random.default_rng(seed)
    cloth = _cloth(CUTS[kind], look, *_masks(kind, width, height), rng)
    ground = _ground(look, coverage, rng)
    blend = cloth * coverage[..., None] + ground * (1 - coverage[..., None])
    picture = np.clip(blend + rng.normal(0, 0.6, blend.shape), 0, 255).astype(np.uint8)
    picture.setflags(write=False)
    return picture


def _named_points(cut: Cut, width: int, height: int) -> dict[str, Points]:
    points: dict[str, Points] = {}
    for name, (x, y) in cut.points.items():
        for side, sign in (("_left", -1), ("_right", 1)):
            points[name + side] = np.array([(0.5 + sign * x) * width, y * height], np.float32)
    if "crotch" in cut.points:
        points["crotch"] = points.pop("crotch_left")
        del points["crotch_right"]
    return points


@cache
def _masks(kind: str, width: int, height: int) -> tuple[Floats, Floats]:
    """Body and sleeves, the same under every look. Not to be written to."""
    cut = CUTS[kind]
    body = _polygon(cut.body, width, height)
    body = np.maximum(body, body[:, ::-1])
    if not cut.sleeve:
        return body, np.zeros_like(body)
    sleeve = _polygon(cut.sleeve, width, height, closed=True)
    return body, np.maximum(sleeve, sleeve[:, ::-1])


def _polygon(
    points: tuple[tuple[float, float], ...], width: int, height: int, *, closed: bool = False
) -> Floats:
    """Filled, its corners rounded; what is not closed is closed along the axis."""
    big = _OVERSAMPLE
    line = list(points)
    if not closed:
        line = [(-0.01, line[0][1]), *line, (-0.01, line[-1][1])]
    corners = np.array([((0.5 + x) * width * big, y * height * big) for x, y in line])
    mask = np.zeros((height * big, width * big), np.float32)
    cv2.fillPoly(mask, [np.round(corners * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), _CORNER * width * big)
    rounded = np.clip((soft - 0.5) * _CORNER * width * big * 2.5 + 0.5, 0, 1)
    small = cv2.resize(rounded, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _waves(rng: np.random.Generator, height: int, width: int, scales: tuple[float, ...]) -> Floats:
    """Smooth noise of about ±1: the cloth's unevenness."""
    total = np.zeros((height, width), np.float32)
    for scale in scales:
        size = (max(3, int(width / scale)), max(3, int(height / scale)))
        coarse = rng.normal(0, 1, size[::-1]).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(total / len(scales), np.float32)


def _cloth(cut: Cut, look: Look, body: Floats, sleeves: Floats, rng: np.random.Generator) -> Floats:
    height, width = body.shape
    colour = np.full((height, width, 3), look.colour, np.float32)
    _paint_pattern(colour, look, rng)
    shade = 1 + 0.035 * _waves(rng, height, width, (width / 24, width / 8))
    for _ in range(9):
        shade += _fold(rng, height, width)
    inside = cv2.distanceTransform(
        (np.maximum(body, sleeves) > 0.5).astype(np.uint8), cv2.DIST_L2, 5
    )
    shade *= 0.94 + 0.06 * np.clip(inside / (0.03 * width), 0, 1)
    if sleeves.any():
        shade *= 1 - 0.28 * _seam(body, sleeves, width)
    colour *= shade[..., None].astype(np.float32)
    if cut.neckline:
        colour *= _inner_back(cut, width, height)[..., None]
    if cut.open_front:
        _paint_lining(colour, cut, width, height)
    return colour


def _fold(rng: np.random.Generator, height: int, width: int) -> Floats:
    y, x = _axes(height, width)
    angle = rng.uniform(-0.6, 0.6) + np.pi / 2
    x, y = x - rng.uniform(0.25, 0.75) * width, y - rng.uniform(0.3, 0.9) * height
    sine, cosine = float(np.sin(angle)), float(np.cos(angle))
    across = (x * sine - y * cosine) / (0.018 * width)
    down = (x * cosine + y * sine) / (0.2 * width)
    depth = rng.uniform(-0.09, 0.05)
    return np.asarray(depth * np.exp(-(across**2) - down**2), np.float32)


def _axes(height: int, width: int) -> tuple[Floats, Floats]:
    """y as a column and x as a row, pixels."""
    return (
        np.arange(height, dtype=np.float32)[:, None],
        np.arange(width, dtype=np.float32)[None],
    )


def _seam(body: Floats, sleeves: Floats, width: int) -> Floats:
    """A dark line where a sleeve lies on or beside the body: 0–1."""
    edge = cv2.morphologyEx(sleeves, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) * body
    return np.asarray(cv2.GaussianBlur(edge, (0, 0), 0.003 * width), np.float32)


def _paint_pattern(colour: Floats, look: Look, rng: np.random.Generator) -> None:
    height, width = colour.shape[:2]
    if look.pattern == "stripes":
        rows = (np.arange(height) // max(2, round(0.022 * height))) % 2 == 1
        colour[rows] = (238, 238, 235)
    elif look.pattern == "white-panel":
        colour[int(0.38 * height) : int(0.55 * height)] = (252, 252, 252)
    elif look.pattern == "print":
        centre = (width // 2, int(0.48 * height))
        cv2.circle(colour, centre, int(0.11 * width), (240, 205, 70), -1, cv2.LINE_AA)
        cv2.rectangle(
            colour,
            (int(0.38 * width), int(0.58 * height)),
            (int(0.62 * width), int(0.62 * height)),
            (250, 250, 250) if sum(look.colour) < 400 else (30, 60, 90),
            -1,
        )


def _inner_back(cut: Cut, width: int, height: int) -> Floats:
    """Darker above the front neckline's curve, where one looks on the inside of the back."""
    y, x = _axes(height, width)
    neck_x, neck_y = cut.points["neck"]
    across = np.clip(np.abs(x - width / 2) / (neck_x * width), 0, 1)
    edge = (neck_y + cut.neckline * (1 - across**2.2) + 0.006) * height
    hidden = np.clip(edge - y, 0, 1) * (across < 1)
    return np.asarray(1 - 0.36 * hidden, np.float32)


def _paint_lining(colour: Floats, cut: Cut, width: int, height: int) -> None:
    """An open front: a wedge of the back's inside between two edges."""
    y, x = _axes(height, width)
    top = cut.points["neck"][1] * height
    half = cut.open_front * width * np.clip((y - top) / (0.25 * height), 0.75, 1)
    colour[np.abs(x - width / 2) < half] *= 0.55
    colour[np.abs(np.abs(x - width / 2) - half) < 0.004 * width] *= 0.7


def _ground(look: Look, coverage: Floats, rng: np.random.Generator) -> Floats:
    height, width = coverage.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    light = 1 - look.vignette * (x**2 + y**2) / 2 + 0.3 * look.vignette * x
    if look.shadow:
        shift = np.array(
            [[1, 0, look.offset * width], [0, 1, 1.3 * look.offset * width]], np.float32
        )
        moved = cv2.warpAffine(coverage, shift, (width, height))
        cast_shadow = cv2.GaussianBlur(moved, (0, 0), look.softness * width)
        light = light * (1 - look.shadow * cast_shadow)
    grain = rng.normal(0, look.texture, (height, width, 1))
    return np.asarray(np.array(look.ground, np.float32) * light[..., None] + grain, np.float32)


# --- looks, by what they try ----------------------------------------------------------------

LOOKS: dict[str, Look] = {
    "studio": Look(),
    "white on white": Look((243, 243, 241), (250, 250, 250), texture=0.4),
    "white on grey": Look((240, 240, 238), (198, 198, 201)),
    "shadow": Look(shadow=0.45, offset=0.012),
    "strong shadow": Look((165, 60, 50), (236, 234, 230), shadow=0.65, offset=0.03, softness=0.012),
    "striped, shadow": Look((35, 45, 90), (238, 238, 238), "stripes", shadow=0.4, offset=0.015),
    "grey, shadow": Look((128, 130, 133), (240, 240, 240), shadow=0.4, offset=0.015),
    "white, shadow": Look((243, 242, 238), (226, 226, 228), shadow=0.4, offset=0.012,
                          vignette=0.08),
    "black on dark": Look((24, 24, 27), (92, 92, 96), shadow=0.5, offset=0.01),
    "light on dark": Look((205, 200, 190), (45, 47, 52)),
    "on blue": Look((235, 225, 200), (70, 120, 175), shadow=0.35, offset=0.012),
    "on wood colour": Look((60, 90, 70), (196, 160, 120), shadow=0.4, offset=0.02, texture=2.0,
                           vignette=0.12),
    "white panel": Look((165, 30, 45), (246, 246, 246), "white-panel"),
    "print": Look((35, 36, 40), (243, 243, 243), "print"),
    "phone": Look((90, 130, 110), (215, 212, 206), "print", shadow=0.5, offset=0.02, softness=0.03,
                  texture=1.6, vignette=0.2),
}  # fmt: skip


def degrade(picture: Rgb, how: str) -> Rgb:
    """Mild damage that a garment must survive: jpeg40, turn8, turn-8, crop, dark, bright, grey."""
    return _DEGRADED[how](picture)


def _jpeg(picture: Rgb) -> Rgb:
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 40])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def _turn(degrees: float) -> Callable[[Rgb], Rgb]:
    def turn(picture: Rgb) -> Rgb:
        height, width = picture.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 0.94)
        return np.asarray(
            cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE),
            np.uint8,
        )

    return turn


def _crop(picture: Rgb) -> Rgb:
    height, width = picture.shape[:2]
    return np.ascontiguousarray(
        picture[height // 25 : height - height // 25, width // 25 : width - width // 25]
    )


def _gain(factor: float) -> Callable[[Rgb], Rgb]:
    return lambda picture: np.clip(picture * factor, 0, 255).astype(np.uint8)


_DEGRADED: dict[str, Callable[[Rgb], Rgb]] = {
    "jpeg40": _jpeg,
    "turn8": _turn(8),
    "turn-8": _turn(-8),
    "crop": _crop,
    "dark": _gain(0.7),
    "bright": _gain(1.03),
}
