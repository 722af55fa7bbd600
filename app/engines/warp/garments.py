"""A garment, read from its photo: cut out, recognised, measured; or refused with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines import Category, PhotoType
from app.engines.warp import armpits, kinds, outline_bottom, outline_top
from app.engines.warp.contours import Shape, find_tilt, read_shape
from app.engines.warp.cutout import Binary, Cutout, Silhouette, find_silhouette, matte
from app.engines.warp.networks import Networks
from app.engines.warp.openings import find_opening
from app.engines.warp.values import BottomOutline, Garment, Rgb, TopOutline
from app.errors import EngineError, FailureCode

STAGE = "garment"

_LEAST_SIDE = 160
"""Of the garment's box in the photo, its long side, pixels: below it is a blur on a person."""

_LEAST_AREA, _MOST_AREA = 0.03, 0.9
"""Of the photo: less is a label or a speck, more leaves no ground to tell it from."""

_LEAST_PLAIN = 0.6
"""Of the photo's border that must lie on the ground: 0.99 and more on garment photos, 0.27–0.94
on photos of other things."""

_MOST_NOISE = 9.0
"""How far the ground may leave its smooth surface, in Lab: 2.2 on phone-like drawn grounds, 12 on
fabric, gravel and pictures."""

_MOST_BORDER = 0.12
"""Of the photo's edge that the garment may touch: a little of it may be cut off."""

_MOST_OTHERS = 0.12
"""How much else may lie there, over the garment's area."""

_BODY = 0.78
"""Body score from which on somebody wears the garment: people 0.82–0.98, printed ones 0.65."""

_FACE, _FACE_DOWN = 0.8, 0.25
"""Face score, and how far down the garment's box the face may lie to be the wearer's: prints are
on the chest."""

_THINNEST = 0.05
"""Width over length: at the side that outlines are read at, thinner things vanish."""

_SHORT_DRESS, _LONG_TOP = 2.35, 3.0
"""`kinds.length_of`: what is shorter is no dress, what is longer surely no top. Photos of tops have
up to 2.2, of dresses 2.95 and more. As a dress, a top would take the shopper's trousers away."""

_RECIPE = (
    "Use a picture of one top, dress, skirt or pair of trousers, laid flat, upright and whole."
)


def read_garment(
    photo: Rgb,
    *,
    category: Category | Literal["auto"],
    photo_type: PhotoType | Literal["auto"],
    side: int,
    networks: Networks | None = None,
) -> Garment:
    """Cut the garment out and find its key points.

    side: the long side of the garment's picture, at most, pixels. networks: to see whether somebody
    wears the garment; nobody looks without them.
    Raises EngineError: garment_not_found, garment_background, garment_unsupported.
    """
    if photo_type == "model":
        _refuse_worn("photo type model")
    silhouette = find_silhouette(photo)
    if networks is not None:
        _check_unworn(networks, photo, silhouette)
    _check_ground(silhouette)
    _check_size(photo, silhouette)
    cutout = matte(*_upright(photo, silhouette.mask), side)
    shape, scale = read_shape(cutout.alpha)
    _check_wide(shape)
    reading = _read(shape)
    chosen = reading.guess if category == "auto" else category
    _check_kind(reading, chosen)
    outline, opening = _outline(reading, chosen, cutout, 1 / scale), None
    picture = cutout.picture
    if isinstance(outline, TopOutline):
        ground = np.median(silhouette.ground.surface.reshape(-1, 3), axis=0)
        picture = armpits.heal(picture, cutout.alpha, outline, ground)
        if chosen == "tops":
            opening = find_opening(picture, cutout.alpha, outline)
    return Garment(
        picture,
        cutout.alpha,
        chosen,
        outline,
        guessed=category == "auto",
        opening=opening,
        cautions=() if opening is None else ("open_front",),
    )


def _upright(photo: Rgb, mask: Binary) -> tuple[Rgb, Binary]:
    """Both turned so that the garment hangs straight, on a larger canvas, if it does not."""
    degrees = find_tilt(mask)
    if degrees == 0:
        return photo, mask
    return _turned(photo, degrees), (_turned(mask * np.uint8(255), degrees) > 127).astype(np.uint8)


def _turned(picture: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    across, along = abs(turn[0, 0]), abs(turn[0, 1])
    wide, high = height * along + width * across, height * across + width * along
    turn[:, 2] += [(wide - width) / 2, (high - height) / 2]
    border = cv2.BORDER_REPLICATE if picture.ndim == 3 else cv2.BORDER_CONSTANT
    size = (round(wide), round(high))
    return np.asarray(cv2.warpAffine(picture, turn, size, borderMode=border), np.uint8)


def _outline(
    reading: _Reading, category: Category, cutout: Cutout, scale: float
) -> TopOutline | BottomOutline:
    """The outline in the pixels of the garment's picture, with the collar's front edge."""
    if category == "bottoms":
        return outline_bottom.scaled(reading.bottom, scale)
    outline = outline_top.scaled(reading.top, scale)
    neckline = outline_top.fit_neckline(cutout.picture, cutout.alpha, outline)
    return outline_top.scaled(outline, 1.0, neckline)


# --- which kind -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    """The outline, read both ways. not_top, not_bottom: what speaks against each."""

    top: TopOutline
    bottom: BottomOutline
    not_top: list[str]
    not_bottom: list[str]

    @property
    def is_top(self) -> bool:
        return not self.not_top

    @property
    def is_bottom(self) -> bool:
        """Skirts are hard to tell from dresses, which have a neck as well."""
        return not self.not_bottom and (self.bottom.kind != "skirt" or not self.is_top)

    @property
    def guess(self) -> Category:
        if self.is_bottom:
            return "bottoms"
        return "one-pieces" if kinds.length_of(self.top) > kinds.DRESS else "tops"


def _read(shape: Shape) -> _Reading:
    top, bottom = outline_top.read_top(shape), outline_bottom.read_bottom(shape)
    return _Reading(
        top, bottom, kinds.doubts_about_top(shape, top), kinds.doubts_about_bottom(shape, bottom)
    )


def _check_kind(reading: _Reading, category: Category) -> None:
    wanted_bottom = category == "bottoms"
    if not (reading.is_top or reading.is_bottom):
        against = ", ".join(reading.not_bottom if wanted_bottom else reading.not_top)
        _refuse(
            FailureCode.GARMENT_UNSUPPORTED,
            f"No garment that can be tried on was recognised. {_RECIPE}",
            log=f"against {category}: {against}",
        )
    if wanted_bottom and reading.not_bottom:
        _refuse_category("a top or a dress", "tops or one-pieces")
    if not wanted_bottom and reading.not_top:
        _refuse_category(
            "a skirt" if reading.bottom.kind == "skirt" else reading.bottom.kind, "bottoms"
        )
    length = kinds.length_of(reading.top)
    if category == "tops" and length > _LONG_TOP:
        _refuse_category("a dress", "one-pieces")
    if category == "one-pieces" and length < _SHORT_DRESS:
        _refuse_category("a top", "tops")


def _refuse_category(seen: str, category: str) -> NoReturn:
    _refuse(
        FailureCode.GARMENT_UNSUPPORTED,
        f"This looks like {seen}. Choose the category {category}, or leave the choice to us.",
        log=f"looks like {seen}",
    )


# --- the photo ------------------------------------------------------------------------------


def _check_ground(silhouette: Silhouette) -> None:
    ground = silhouette.ground
    if ground.plain < _LEAST_PLAIN or ground.noise > _MOST_NOISE:
        _refuse(
            FailureCode.GARMENT_BACKGROUND,
            log=f"{ground.plain:.0%} of the border is ground, noise {ground.noise:.1f}",
        )


def _check_size(photo: Rgb, silhouette: Silhouette) -> None:
    mask = silhouette.mask
    area = float(mask.mean())
    if area < _LEAST_AREA:
        _refuse(FailureCode.GARMENT_NOT_FOUND, log=f"the mask covers {area:.1%}")
    if silhouette.border > _MOST_BORDER or area > _MOST_AREA:
        _refuse(
            FailureCode.GARMENT_NOT_FOUND,
            "The garment is cut off by the picture's edge. Leave some of the background around it.",
            log=f"touches {silhouette.border:.0%} of the edge, covers {area:.0%}",
        )
    if silhouette.others > _MOST_OTHERS:
        _refuse(
            FailureCode.GARMENT_NOT_FOUND,
            f"There is more than one thing in the picture. {_RECIPE}",
            log=f"other things are {silhouette.others:.0%} of the largest",
        )
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    long = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    pixels = float(long) * max(photo.shape[:2]) / max(mask.shape)
    if pixels < _LEAST_SIDE:
        _refuse(
            FailureCode.IMAGE_TOO_SMALL,
            f"The garment is {pixels:.0f} pixels long in its picture; it must be {_LEAST_SIDE} or "
            "more. Use a larger picture.",
            log=f"the garment is {pixels:.0f} pixels long",
        )


def _check_wide(shape: Shape) -> None:
    thin, long = sorted((shape.width, shape.height))
    if thin <= _THINNEST * long:
        _refuse(
            FailureCode.GARMENT_UNSUPPORTED,
            f"No garment that can be tried on was recognised. {_RECIPE}",
            log=f"{thin:.0f} × {long:.0f} pixels of outline",
        )


def _check_unworn(networks: Networks, photo: Rgb, silhouette: Silhouette) -> None:
    bodies = networks.find_bodies(photo, at_least=_BODY)
    if bodies:
        _refuse_worn(f"a body of {bodies[0].score:.2f}")
    rows = np.flatnonzero(silhouette.mask.any(1))
    if not len(rows):
        return
    ratio = max(photo.shape[:2]) / max(silhouette.mask.shape)
    limit = (rows[0] + _FACE_DOWN * (rows[-1] - rows[0])) * ratio
    for face in networks.find_faces(photo, at_least=_FACE):
        if (face.box[1] + face.box[3]) / 2 < limit:
            _refuse_worn(f"a face of {face.score:.2f}")


def _refuse_worn(log: str) -> NoReturn:
    _refuse(
        FailureCode.GARMENT_UNSUPPORTED,
        "A garment that somebody wears cannot be tried on here. "
        "Use a picture of the garment alone, laid flat.",
        log=log,
    )


def _refuse(code: FailureCode, detail: str = "", *, log: str) -> NoReturn:
    raise EngineError(code, detail, log=log, stage=STAGE)
