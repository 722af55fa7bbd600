"""What is woven, sewn and printed on the flat garments: a colour and a height map each.

A map covers the square from -half_width to half_width and from 0.1 m above the neck downwards.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from patterns import Cut

SIZE = 2048  # pixels


class Canvas:
    """colour: (SIZE, SIZE, 3) linear; height: (SIZE, SIZE); x, y: metres at each pixel."""

    def __init__(self, color, half_width: float) -> None:
        self.base = np.array(color)
        self.half_width = half_width
        self.colour = np.ones((SIZE, SIZE, 3), np.float32) * np.array(color, np.float32)
        self.height = np.zeros((SIZE, SIZE), np.float32)
        row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
        self.x = column / SIZE * 2 * half_width - half_width
        self.y = 0.1 - row / SIZE * 2 * half_width

    def length(self, metres: float) -> float:
        return metres / (2 * self.half_width) * SIZE

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        return int(self.length(x + self.half_width)), int(self.length(0.1 - y))

    def pixels(self, points: np.ndarray) -> np.ndarray:
        return np.array([self.pixel(x, y) for x, y in points], np.int32)

    def mask(self) -> np.ndarray:
        return np.zeros((SIZE, SIZE), np.uint8)

    def line(self, start, end, darker: float, thickness: int) -> None:
        color = tuple(float(c) * darker for c in self.base)
        cv2.line(self.colour, self.pixel(*start), self.pixel(*end), color, thickness, cv2.LINE_AA)

    def button(self, y: float, radius: float, color) -> None:
        cv2.circle(self.colour, self.pixel(0, y), int(self.length(radius)), color, -1, cv2.LINE_AA)


    def seam(self, start, end) -> None:
        """A groove."""
        cv2.line(self.height, self.pixel(*start), self.pixel(*end), -2, 4, cv2.LINE_AA)

    def mask_of(self, top_left, bottom_right) -> np.ndarray:
        inside = self.mask()
        (left, top), (right, bottom) = self.pixel(*top_left), self.pixel(*bottom_right)
        inside[max(top, 0) : bottom, left:right] = 1
        return inside

    def stitch(self, inside: np.ndarray) -> None:
        """Sew along the edge of a mask."""
        edge = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        self.colour[edge] *= 0.74
        self.height[edge] -= 1.2

    def raised_button(self, y: float, radius: float, color) -> None:
        self.button(y, radius * 1.18, tuple(float(c) * 0.45 for c in self.base))
        self.button(y, radius, color)
        centre = self.pixel(0, y)
        cv2.circle(self.height, centre, int(self.length(radius)), 3, -1, cv2.LINE_AA)
        hole = tuple(float(c) * 0.35 for c in color)
        for x, down in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            at = self.pixel(x * radius * 0.26, y + down * radius * 0.26)
            cv2.circle(self.colour, at, max(1, int(self.length(radius * 0.13))), hole, -1)


Art = Callable[[Canvas], None]


def paint_piece(color, art: Art, outline: np.ndarray, half_width: float):
    """Return the colour and the height map of what is sewn on: stitched 4 mm from its edge."""
    canvas = Canvas(color, half_width)
    art(canvas)
    inside = cv2.fillPoly(canvas.mask(), [canvas.pixels(outline)], 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(canvas.length(0.008)),) * 2)
    canvas.stitch(cv2.erode(inside, kernel))
    return canvas.colour, canvas.height


def paint(color, art: Art, cut: Cut, half_width: float, *, ribbed_neck: bool):
    """Return the colour and the height map of a garment."""
    canvas = Canvas(color, half_width)
    art(canvas)
    hem(canvas, cut.front)
    if ribbed_neck:
        collar(canvas, cut.front)
        shoulder_seams(canvas, cut.armhole)
    return canvas.colour, canvas.height


def sunset(canvas: Canvas) -> None:
    """A low sun over two ranges of hills, and a word below."""
    x, y = canvas.x, canvas.y
    disc = np.hypot(x, y + 0.27) < 0.105
    canvas.colour[disc] = (0.85, 0.25, 0.08)
    canvas.colour[disc & (y < -0.30 + 0.022 * np.sin(x * 38))] = (0.05, 0.16, 0.30)
    canvas.colour[disc & (y < -0.335 + 0.016 * np.sin(x * 55 + 2))] = (0.03, 0.07, 0.14)
    # OpenCV 5 sets this in its own typeface, Rubik, at its boldest.
    word, font, scale = "NORDLICHT", cv2.FONT_HERSHEY_DUPLEX, canvas.length(0.05) / 22
    (width, _), _ = cv2.getTextSize(word, font, scale, 5)
    left, base = canvas.pixel(0, 0)[0] - width // 2, canvas.pixel(0, -0.435)[1]
    letters = cv2.putText(canvas.mask(), word, (left, base), font, scale, 255, 5, cv2.LINE_AA)
    ink = np.array([0.05, 0.10, 0.18]) - canvas.colour
    canvas.colour += ink * (letters[..., None] / 255.0)


def along_sleeve(canvas: Canvas) -> np.ndarray:
    """Metres down the long sleeves of `patterns.shaped_top`; the cuffs begin at about 0.73."""
    return np.abs(canvas.x) * 0.514 - canvas.y * 0.857


def stripes(canvas: Canvas) -> None:
    """Around the body, and around the sleeves where these are set in."""
    x, y = canvas.x, canvas.y
    sleeve = np.abs(x) > 0.205 - 0.19 * (y + 0.045)
    down = np.where(sleeve, -along_sleeve(canvas), y)
    canvas.colour[(down % 0.036 < 0.0135) & (sleeve | (y < -0.045))] = (0.025, 0.045, 0.13)


def dots(canvas: Canvas) -> None:
    """Staggered dots and a seam at the waist."""
    column, row = canvas.x / 0.034, canvas.y / 0.034
    shift = np.floor(row) % 2 * 0.5
    dot = np.hypot((column + shift) % 1 - 0.5, row % 1 - 0.5) < 0.15
    canvas.colour[dot] = (0.80, 0.78, 0.72)
    canvas.height -= 1.5 * np.exp(-(((canvas.y + 0.385) / 0.0025) ** 2))


def knit(canvas: Canvas) -> None:
    """Rows of stitches, ribs at the hem and the cuffs."""
    x, y = canvas.x, canvas.y
    slant = 2 * np.abs(np.sin(x * np.pi / 0.004))
    canvas.height += 0.35 * np.sin(x * 2 * np.pi / 0.004)
    canvas.height += 0.3 * np.sin(y * 2 * np.pi / 0.005 + slant)
    rib = (y < -0.64) | ((np.abs(x) > 0.30) & (y < -0.535))
    canvas.height[rib] = (1.2 * np.sin(x * 2 * np.pi / 0.009))[rib]
    canvas.colour[rib] *= 0.93


def button_placket(canvas: Canvas) -> None:
    placket = (np.abs(canvas.x) < 0.017) & (canvas.y < -0.08) & (canvas.y > -0.235)
    canvas.colour[placket] *= 0.86
    for y in (-0.125, -0.165, -0.205):
        canvas.button(y, 0.0055, (0.55, 0.55, 0.5))


def chino(canvas: Canvas) -> None:
    """Fly, waistband, pockets, a button and the creases."""
    fly = (np.abs(canvas.x) < 0.0012) & (canvas.y > -0.29)
    waistband = np.abs(canvas.y + 0.038) < 0.0013
    for seam in (fly, waistband):
        canvas.colour[seam] *= 0.6
        canvas.height[seam] -= 2
    for sign in (-1, 1):
        canvas.line((sign * 0.12, -0.04), (sign * 0.212, -0.15), 0.6, 4)
    canvas.button(-0.02, 0.008, (0.10, 0.08, 0.06))
    crease = np.exp(-(((np.abs(canvas.x) - 0.13) / 0.004) ** 2)) * (canvas.y < -0.25)
    canvas.colour *= (1 - 0.10 * crease)[..., None]


def plain(canvas: Canvas) -> None:
    """Nothing but the cloth."""


def polo_buttons(canvas: Canvas) -> None:
    for y in (-0.135, -0.185):
        canvas.raised_button(y, 0.0052, (0.62, 0.60, 0.55))


def shirt_buttons(canvas: Canvas) -> None:
    """A row of buttons and the stitches beside them."""
    for y in np.arange(-0.150, -0.70, -0.088):
        canvas.raised_button(y, 0.0050, (0.86, 0.85, 0.82))


def hoodie(canvas: Canvas) -> None:
    """Ribs at the hem and the cuffs, a stitched pouch."""
    x, y = canvas.x, canvas.y
    rib = (y < -0.632) | ((along_sleeve(canvas) > 0.733) & (np.abs(x) > 0.35))
    canvas.height[rib] += (1.3 * np.sin(x * 2 * np.pi / 0.008))[rib]
    canvas.colour[rib] *= 0.9
    edge = np.abs(y + 0.632) < 0.0014
    canvas.height[edge] -= 2
    for sign in (-1, 1):
        canvas.line((sign * 0.112, -0.44), (sign * 0.166, -0.55), 0.72, 3)
        canvas.line((sign * 0.205, -0.045), (sign * 0.243, -0.245), 0.68, 3)


def pleats(canvas: Canvas) -> None:
    """Knife pleats that widen towards the hem."""
    spread = 1 + 0.9 * np.clip(-canvas.y / 0.62, 0, 1)
    phase = (canvas.x / spread / 0.030) % 1
    below = np.clip((-canvas.y - 0.04) / 0.02, 0, 1)
    canvas.colour *= (1 - 0.22 * below * np.clip(1 - phase / 0.25, 0, 1))[..., None]
    canvas.colour *= (1 + 0.10 * below * phase)[..., None]
    canvas.height += 1.5 * below * phase


THREAD = (0.42, 0.20, 0.05)


def jeans(canvas: Canvas) -> None:
    """Twill, fly, curved pockets, seams in copper thread; lighter where jeans are worn."""
    x, y = canvas.x, canvas.y
    twill = np.sin((x + y) * 2 * np.pi / 0.0028)
    canvas.colour *= (1 + 0.16 * twill)[..., None]
    for sign in (-1, 1):
        worn = np.exp(-(((x - sign * 0.150) / 0.045) ** 2) - ((y + 0.42) / 0.22) ** 2)
        canvas.colour += worn[..., None] * np.array([0.030, 0.040, 0.055])
        curve = [(0.092, -0.038), (0.105, -0.085), (0.145, -0.112), (0.225, -0.118)]
        for offset in (0.0, 0.007):
            points = canvas.pixels(np.array([(sign * a, b - offset) for a, b in curve]))
            cv2.polylines(canvas.colour, [points], False, THREAD, 2, cv2.LINE_AA)
        canvas.seam((sign * 0.150, -1.0), (sign * 0.150, -1.0))
    for offset in (0.0, 0.006):
        fly = [(0.036 - offset, -0.04), (0.036 - offset, -0.150), (0.012, -0.185), (0.0, -0.200)]
        points = canvas.pixels(np.array(fly))
        cv2.polylines(canvas.colour, [points], False, THREAD, 2, cv2.LINE_AA)
    centre = (np.abs(x) < 0.0014) & (y > -0.302)
    canvas.colour[centre] *= 0.45
    canvas.height[centre] -= 2
    for line in (-0.003, -0.034):
        canvas.colour[np.abs(y - line) < 0.0008] = THREAD
    canvas.raised_button(-0.019, 0.0085, (0.45, 0.30, 0.16))


def leaves(canvas: Canvas) -> None:
    """Small scattered leaves; a seam and gathers at the waist."""
    x, y = canvas.x, canvas.y
    rng = np.random.RandomState(5)
    places = [(a, b) for b in np.arange(-1.08, 0.03, 0.036) for a in np.arange(-0.36, 0.37, 0.042)]
    for place in places:
        at = np.array(place) + rng.uniform(-0.011, 0.011, 2) + [0.021 * (place[1] // 0.036 % 2), 0]
        turn = rng.uniform(0, 360)
        for side in (-28, 28):
            angle = np.radians(turn + side)
            centre = canvas.pixel(at[0] + 0.005 * np.cos(angle), at[1] + 0.005 * np.sin(angle))
            axes = int(canvas.length(0.0065)), int(canvas.length(0.0024))
            tone = (0.86, 0.74, 0.62) if side < 0 else (0.78, 0.60, 0.45)
            cv2.ellipse(
                canvas.colour, centre, axes, -(turn + side), 0, 360, tone, -1, cv2.LINE_AA
            )
    canvas.height -= 1.6 * np.exp(-(((y + 0.400) / 0.0025) ** 2))
    falling = np.clip((-y - 0.402) / 0.01, 0, 1) * np.clip(1 - (-y - 0.40) / 0.25, 0, 1)
    canvas.height += 1.2 * falling * np.sin(x * 2 * np.pi / 0.017 + 2 * np.sin(x * 60))
    band = np.abs(y + 0.392) < 0.008
    canvas.colour[band] *= 0.9


def hem(canvas: Canvas, outline: np.ndarray) -> None:
    """A line of stitches 22 mm from the edge."""
    inside = cv2.fillPoly(canvas.mask(), [canvas.pixels(outline)], 1)
    to_edge = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / SIZE * 2 * canvas.half_width
    stitches = (np.abs(to_edge - 0.022) < 0.0011) & (canvas.y < outline[:, 1].min() + 0.05)
    canvas.colour[stitches] *= 0.72
    canvas.height[stitches] -= 1.5


def collar(canvas: Canvas, outline: np.ndarray) -> None:
    """A ribbed band along the neckline."""
    neck = outline[(np.abs(outline[:, 0]) <= 0.0951) & (outline[:, 1] > -0.12)]
    neck = canvas.pixels(neck[np.argsort(neck[:, 0])])
    band = cv2.polylines(canvas.mask(), [neck], False, 1, int(canvas.length(0.042))) > 0
    canvas.colour[band] = canvas.base * 0.88
    canvas.height[band] = (0.8 * np.sin(np.arctan2(canvas.x, canvas.y - 0.02) * 160))[band]


def shoulder_seams(canvas: Canvas, armhole) -> None:
    for sign in (-1, 1):
        start, end = ((sign * x, y) for x, y in armhole)
        canvas.line(start, end, 0.6, 3)
        cv2.line(canvas.height, canvas.pixel(*start), canvas.pixel(*end), -2, 4, cv2.LINE_AA)
