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


Art = Callable[[Canvas], None]


def paint(color, art: Art, cut: Cut, half_width: float, *, sewn_collar: bool):
    """Return the colour and the height map of a garment."""
    canvas = Canvas(color, half_width)
    art(canvas)
    hem(canvas, cut.front)
    if sewn_collar:
        collar(canvas, cut.front)
        shoulder_seams(canvas)
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


def stripes(canvas: Canvas) -> None:
    canvas.colour[(canvas.y % 0.036 < 0.0135) & (canvas.y < -0.045)] = (0.025, 0.045, 0.13)


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


def shoulder_seams(canvas: Canvas) -> None:
    for sign in (-1, 1):
        start, end = (sign * 0.225, -0.05), (sign * 0.262, -0.24)
        canvas.line(start, end, 0.6, 3)
        cv2.line(canvas.height, canvas.pixel(*start), canvas.pixel(*end), -2, 4, cv2.LINE_AA)
