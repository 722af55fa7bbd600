"""Whether a face was left alone, by the network that finds faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from app.engines.warp.arrays import shrink
from app.engines.warp.networks import Networks
from app.engines.warp.values import Rgb

_WORKING_SIDE = 1024
_FACE = 0.5
_INNER = 0.15
"""Of the box's sides: hair and ground at its edges are no face."""


class Faces:
    def __init__(self, weights_dir: Path) -> None:
        self._networks = Networks(weights_dir)

    def box(self, photo: Rgb) -> tuple[int, int, int, int] | None:
        """left, top, right, bottom of the surest face's inner part; None without one."""
        small = shrink(photo, _WORKING_SIDE)
        found = self._networks.find_faces(small, at_least=_FACE)
        if not found:
            return None
        left, top, right, bottom = found[0].box * (photo.shape[0] / small.shape[0])
        dx, dy = _INNER * (right - left), _INNER * (bottom - top)
        height, width = photo.shape[:2]
        low = (max(0, round(left + dx)), max(0, round(top + dy)))
        return *low, min(width, round(right - dx)), min(height, round(bottom - dy))

    def apart(self, person: Rgb, made: Rgb) -> float | None:
        """The mean difference in the face, 0–255; None where the photo shows none.

        made: of any size, in the aspect of the photo.
        """
        box = self.box(person)
        if box is None:
            return None
        height, width = person.shape[:2]
        if made.shape != person.shape:
            made = np.asarray(cv2.resize(made, (width, height), interpolation=cv2.INTER_AREA))
        left, top, right, bottom = box
        before, after = (one[top:bottom, left:right].astype(np.float32) for one in (person, made))
        return float(np.abs(before - after).mean())
