"""What the stages of the engine hand to each other.

Coordinates are (x, y), float32, in pixels of the picture named; x grows to the right, y downwards.
`left` and `right` are as seen in the picture: the left of a garment goes on the side of the person
that is left in the photo, which is the person's own right where they face the camera.
Masks are (h, w) float32, 0–1. Pictures are (h, w, 3) uint8, sRGB, unless a docstring says more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.engines import Category

Floats: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.float32]
"""(h, w) float32, 0–1."""
Points: TypeAlias = NDArray[np.float32]
"""(n, 2) float32, x before y."""
Point: TypeAlias = NDArray[np.float32]
"""(2,) float32, x before y."""
Rgb: TypeAlias = NDArray[np.uint8]
Box: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture, both with their ends."""

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


# --- the person -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pose:
    """Where a body's 33 points are, in pixels of the working photo.

    points: (33, 2), in the order of BlazePose (11, 12 the person's left and right shoulder, ...);
    points outside the frame are extrapolated.
    presence: (33,), 0–1, that a point lies within the frame. visibility: (33,), 0–1.
    score: 0–1, that there is a body at all.
    mask: the network's own idea of where the person is.
    """

    points: Points
    presence: Floats
    visibility: Floats
    score: float
    mask: Mask


@dataclass(frozen=True)
class Body:
    """A frame that moves with the person: everything on a body is measured in it.

    up, across: unit vectors, from the hips to the shoulders, and to the right of the photo.
    shoulder_width, torso_length: pixels of the working photo.
    shoulders, hips: the points midway.
    """

    up: Point
    across: Point
    shoulder_width: float
    torso_length: float
    shoulders: Point
    hips: Point

    def down_torso(self, x: Floats, y: Floats) -> Floats:
        """0 at the shoulders, 1 at the hips, negative above, of any points or grid."""
        along = (x - self.shoulders[0]) * self.up[0] + (y - self.shoulders[1]) * self.up[1]
        return np.asarray(-along / self.torso_length, np.float32)

    def from_spine(self, x: Floats, y: Floats) -> Floats:
        """The signed distance from the line shoulders to hips, along `across`, in pixels."""
        down = self.down_torso(x, y)
        spine = self.hips - self.shoulders
        return np.asarray(
            (x - self.shoulders[0]) * self.across[0]
            + (y - self.shoulders[1]) * self.across[1]
            - down * float(spine @ self.across),
            np.float32,
        )


@dataclass(frozen=True)
class Parts:
    """What is where in the working photo: soft masks that add up to `person`, or nearly.

    face: the neck and the upper chest's skin included. upper: of a dress, the whole. legs: their
    bare skin, and the belly's under a short top. feet: bare or in shoes. skin_tone: (3,), Lab as
    OpenCV's float32 of 8-bit pictures (0–255), the median of the face. upper_texture: how much the
    lightness of the old top varies, standard deviation, 0–255.
    trust: 0–1, how sure the parsing is of the boundaries that matter (for the quality figure).
    """

    person: Mask
    hair: Mask
    face: Mask
    arms: Mask
    upper: Mask
    lower: Mask
    legs: Mask
    feet: Mask
    skin_tone: Floats
    upper_texture: float
    trust: float


# --- the garment ----------------------------------------------------------------------------

SleeveKind = Literal["none", "straps", "short", "long"]
BottomKind = Literal["trousers", "shorts", "skirt"]


@dataclass(frozen=True)
class SleeveOutline:
    """outer, inner: (n, 2) each, from shoulder tip and armpit down to the cuff. length: pixels."""

    outer: Points
    inner: Points
    length: float


@dataclass(frozen=True)
class TopSide:
    """One half of a top's outline.

    neck: where collar and shoulder line meet. tip: the shoulder's end (where the sleeve begins; the
    outer end of the strap without sleeves). pit: the armpit. shoulder: (3, 2) between neck and tip.
    side: (9, 2) from the armpit to the hem. hem: the corner.
    """

    neck: Point
    tip: Point
    pit: Point
    shoulder: Points
    side: Points
    hem: Point
    sleeve: SleeveOutline | None


@dataclass(frozen=True)
class TopOutline:
    """Tops and one-pieces.

    hem: (9, 2), from left to right. neckline: (n, 2) from left to right along the front collar's
    edge, what lies above it being the inside of the back; None where none was found.
    collar_height: how far the garment rises above the neck corners at the centre, pixels; large on
    a turtle-neck. off_shoulder: the upper edge runs below the shoulders, from arm to arm.
    sure: 0–1, how clear the points were.
    """

    centre_x: float
    left: TopSide
    right: TopSide
    hem: Points
    neckline: Points | None
    sleeves: SleeveKind
    collar_height: float = 0.0
    off_shoulder: bool = False
    sure: float = 1.0

    def side(self, side: Side) -> TopSide:
        return self.left if side == "left" else self.right


@dataclass(frozen=True)
class BottomOutline:
    """Trousers, shorts, skirts.

    waist: (5, 2) from left to right. left, right: (9, 2) each, the outer edges from waist to hem.
    crotch and the inner edges, (9, 2) each from the crotch to the hem, are None on a skirt.
    hem: (9, 2) from left to right on a skirt; on trousers each leg's hem is from `left[-1]` to
    `inner_left[-1]`, and the same on the right.
    """

    kind: BottomKind
    waist: Points
    left: Points
    right: Points
    hem: Points
    crotch: Point | None = None
    inner_left: Points | None = None
    inner_right: Points | None = None
    sure: float = 1.0


@dataclass(frozen=True)
class Garment:
    """A garment cut out of its photo, cropped to its box and shrunk to the working size.

    picture: (h, w, 3) float32, 0–255, sRGB; the colours go on outwards beyond the edge, so that no
    ground bleeds in. alpha: its coverage. guessed: the category was decided by us, not by the
    caller. opening: between the front panels of a jacket or cardigan that hangs open, 0–1; None on
    any other. cautions: codes of what is doubtful (see quality.py).
    """

    picture: Floats
    alpha: Mask
    category: Category
    outline: TopOutline | BottomOutline
    guessed: bool = False
    opening: Mask | None = None
    cautions: tuple[str, ...] = field(default=())
