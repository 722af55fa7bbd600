"""A contact sheet: persons down, garments across, every pair's picture with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from app.engines import Rgb

CELL_HEIGHT = 400
"""Of a picture on the sheet, pixels, where the caller names none."""

_LINE_HEIGHT = 16
_LINES = 2
"""Below each picture: the first line says how it went, the second what to know about it."""

_GAP = 6
_WIDEST = 0.8
"""Of a cell, width by height; what is wider is made smaller. Photos of people are 3 to 4 or less
wide, and one wide garment must not widen the whole sheet."""

_PAPER, _INK, _FAINT, _RED = "white", "#222222", "#666666", "#b3261e"


@dataclass(frozen=True)
class Cell:
    """picture: already small, or None where there is none; then `said` stands in its place.

    said: how it went, in a few words. noted: what else to know. good: false in red.
    """

    picture: Image.Image | None
    said: str = ""
    noted: str = ""
    good: bool = True


def small(picture: Rgb, height: int = CELL_HEIGHT) -> Image.Image:
    """As large as a cell takes, so that a sheet of hundreds fits into memory."""
    image = Image.fromarray(picture)
    image.thumbnail((round(_WIDEST * height), height), Image.Resampling.LANCZOS, reducing_gap=3)
    return image


class Sheet:
    """A table of cells; (0, 0) is its empty corner, the first row and column are the inputs."""

    def __init__(self, rows: int, columns: int, height: int = CELL_HEIGHT) -> None:
        self._cells: dict[tuple[int, int], Cell] = {}
        self._rows, self._columns, self._height = rows, columns, height
        self._font = ImageFont.load_default(_LINE_HEIGHT - 3)

    @property
    def at_most(self) -> tuple[int, int]:
        """Height and width of the whole sheet, were every picture as wide as may be."""
        return (
            self._rows * (self._height + _LINES * _LINE_HEIGHT + _GAP) + _GAP,
            self._columns * (round(_WIDEST * self._height) + _GAP) + _GAP,
        )

    def put(self, row: int, column: int, cell: Cell) -> None:
        self._cells[row, column] = cell

    def save(self, file: Path) -> None:
        """Write what there is so far, in the format of the file's suffix."""
        width = max([cell.picture.width for cell in self._cells.values() if cell.picture] or [1])
        across, down = width + _GAP, self._height + _LINES * _LINE_HEIGHT + _GAP
        page = Image.new("RGB", (self._columns * across + _GAP, self._rows * down + _GAP), _PAPER)
        for (row, column), cell in self._cells.items():
            self._draw(page, cell, _GAP + column * across, _GAP + row * down, width)
        page.save(file)

    def _draw(self, page: Image.Image, cell: Cell, x: int, y: int, width: int) -> None:
        draw = ImageDraw.Draw(page)
        if cell.picture is None:
            draw.rectangle((x, y, x + width - 1, y + self._height - 1), outline=_FAINT)
            self._write(draw, cell.said, (x + 8, y + 8), width - 16, _RED)
        else:
            page.paste(cell.picture, (x + (width - cell.picture.width) // 2, y))
            colour = _INK if cell.good else _RED
            self._write(draw, cell.said, (x, y + self._height), width, colour)
        self._write(draw, cell.noted, (x, y + self._height + _LINE_HEIGHT), width, _FAINT)

    def _write(
        self, draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], width: int, colour: str
    ) -> None:
        """One line, cut off where the cell ends."""
        while text and draw.textlength(text, font=self._font) > width:
            text = text[:-2].rstrip("…") + "…" if len(text) > 2 else ""
        draw.text(at, text, fill=colour, font=self._font)


def save_png(picture: Rgb, file: Path) -> None:
    Image.fromarray(np.ascontiguousarray(picture)).save(file, compress_level=3)
