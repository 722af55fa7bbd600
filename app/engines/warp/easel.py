"""The painting over the photo, and how it gets into the picture that is made."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.engines.warp.placement import Place, Window
from app.engines.warp.scene import Scene
from app.engines.warp.values import Box, Floats, Mask, Rgb
from app.engines.warp.warping import Cloth, Piece, look_up

_INVISIBLE = 1 / 255
"""What changes a pixel by less than one level changes nothing."""


class Easel:
    """What has been painted over the photo so far.

    The picture is `photo * dim * (1 - cover) + paint`: paint is multiplied with its cover already.
    Where cover is 0 and dim is 1, the photo is untouched.

    sharp: remember what is drawn of the garment, so that it can be drawn anew in a larger picture.
    """

    def __init__(self, height: int, width: int, *, sharp: bool = False) -> None:
        self.paint = np.zeros((height, width, 3), np.float32)
        self.cover = np.zeros((height, width), np.float32)
        self.dim = np.ones((height, width), np.float32)
        self._sharp = sharp
        self._drawn: list[_Drawn] = []

    @classmethod
    def of(cls, scene: Scene) -> Easel:
        return cls(scene.height, scene.width, sharp=scene.place.enlarge > 1)

    def lay(self, colour: Floats, cover: Mask) -> None:
        """Cover all that is there with a colour, (h, w, 3), 0–255."""
        self._lay(colour, cover, None, np.s_[0 : cover.shape[0], 0 : cover.shape[1]])

    def lay_cloth(self, cloth: Cloth, light: Mask, cover: Mask) -> None:
        """The same with the garment. light, cover: of the whole scene, or of the cloth's box."""
        if cover.shape == self.cover.shape:
            light, cover = light[cloth.box], cover[cloth.box]
        self._lay(cloth.colour, cover, light, cloth.box)
        if self._sharp:
            weight = np.zeros_like(self.cover)
            weight[cloth.box] = light * cover
            self._drawn.append(_Drawn(cloth, weight))

    def _lay(self, colour: Floats, cover: Mask, light: Mask | None, box: Box) -> None:
        within = _bounds(cover)
        cover, uncovered = cover[within], 1 - cover[within]
        paint, below = self.paint[box][within], self.cover[box][within]
        step = colour[within].copy() if light is None else colour[within] * light[within][..., None]
        step -= paint
        step *= cover[..., None]
        paint += step
        below += (1 - below) * cover
        for drawn in self._drawn:
            shown = drawn.weight[box][within]
            shown *= uncovered

    def darken(self, light: Floats) -> None:
        """A shadow on all that is there, photo and paint. light: 0–1."""
        self.paint *= light[..., None]
        self.dim *= light
        for drawn in self._drawn:
            np.multiply(drawn.weight, light, out=drawn.weight)

    def uncover(self, where: Mask) -> None:
        """The photo's own pixels come to the front."""
        left = 1 - where
        self.paint *= left[..., None]
        self.cover *= left
        self.dim += (1 - self.dim) * where
        for drawn in self._drawn:
            np.multiply(drawn.weight, left, out=drawn.weight)

    def finish(self, picture: Rgb, place: Place) -> Rgb:
        """A copy of the picture with the painting on it; untouched pixels are the picture's.

        place: where the painting lies there. In a larger picture all of it is smooth but the
        garment, which is drawn anew. The easel is used up by that.
        """
        for drawn in self._drawn:  # what is drawn anew is no longer paint
            box = drawn.cloth.box
            self.paint[box] -= drawn.cloth.colour * drawn.weight[box][..., None]
        result = picture.copy()
        changed = np.maximum(self.cover, 1 - self.dim)
        for window in place.windows(_bounds(changed), picture.shape):
            self._finish(result[window.picture], window)
        return result

    def _finish(self, picture: Rgb, window: Window) -> None:
        """Paint on a part of the picture."""
        cover, dim = window.see(self.cover), window.see(self.dim)
        touched = (cover > _INVISIBLE) | (dim < 1 - _INVISIBLE)
        mixed = picture.astype(np.float32)
        mixed *= (dim * (1 - cover))[..., None]
        mixed += window.see(self.paint)
        for drawn in self._drawn:
            for piece in drawn.cloth.pieces:
                _draw(mixed, window, piece, drawn.weight)
        cv2.copyTo(cv2.convertScaleAbs(mixed), touched.astype(np.uint8), picture)


def _draw(mixed: Floats, window: Window, piece: Piece, weight: Mask) -> None:
    """Add a piece of the garment to a window of the picture, (h, w, 3) float32.

    weight: as in `_Drawn`.
    """
    part = window.within(piece.box)
    if part is None:
        return
    shown = part.see(weight)
    if piece.share is not None:
        shown = shown * part.see(piece.share, piece.box)
    if float(shown.max()) > 0:
        colour = look_up(piece.picture, part.see(piece.field, piece.box), replicate=True)
        mixed[part.inside(window)] += colour * shown[..., None]


@dataclass(frozen=True)
class _Drawn:
    """weight: (h, w) of the whole scene, how much of the cloth's own colour shows, 0–1."""

    cloth: Cloth
    weight: Mask


def _bounds(mask: Mask) -> Box:
    """The rows and columns outside of which there is nothing."""
    rows, columns = np.flatnonzero(mask.max(1)), np.flatnonzero(mask.max(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
