"""A garment, read from its photo: cut out, recognised, measured; or refused with a reason."""

from __future__ import annotations

from typing import Literal

from app.engines import Category, PhotoType
from app.engines.warp import outline_bottom, outline_top
from app.engines.warp.contours import Shape, read_shape
from app.engines.warp.cutout import Silhouette, find_silhouette, matte
from app.engines.warp.values import BottomOutline, Garment, Rgb, TopOutline
from app.errors import EngineError, FailureCode

STAGE = "garment"

_LEAST_AREA = 0.03
"""Of the photo: less is a label, a speck, or nothing."""

_LEAST_PLAIN = 0.5
"""Of the photo's border that must lie on the ground."""


def read_garment(
    photo: Rgb,
    *,
    category: Category | Literal["auto"],
    photo_type: PhotoType | Literal["auto"],
    side: int,
) -> Garment:
    """Cut the garment out and find its key points.

    side: the long side of the garment's picture, at most, pixels.
    Raises EngineError: garment_not_found, garment_background, garment_unsupported.
    """
    if photo_type == "model":
        raise EngineError(
            FailureCode.GARMENT_UNSUPPORTED,
            "A garment worn by a person cannot be tried on here. "
            "Use a picture of the garment alone, laid flat.",
            stage=STAGE,
        )
    silhouette = find_silhouette(photo)
    _require_ground(silhouette)
    cutout = matte(photo, silhouette, side)
    shape, scale = read_shape(cutout.alpha)
    guess = _recognise(shape)
    outline: TopOutline | BottomOutline
    chosen = guess if category == "auto" else category
    if chosen == "bottoms":
        outline = outline_bottom.scaled(outline_bottom.read_bottom(shape), 1 / scale)
    else:
        outline = outline_top.scaled(outline_top.read_top(shape), 1 / scale)
        neckline = outline_top.fit_neckline(cutout.picture, cutout.alpha, outline)
        outline = outline_top.scaled(outline, 1.0, neckline)
    return Garment(cutout.picture, cutout.alpha, chosen, outline, guessed=category == "auto")


def _require_ground(silhouette: Silhouette) -> None:
    if silhouette.ground.plain < _LEAST_PLAIN:
        raise EngineError(
            FailureCode.GARMENT_BACKGROUND,
            log=f"{silhouette.ground.plain:.0%} of the border is ground",
            stage=STAGE,
        )
    if silhouette.mask.mean() < _LEAST_AREA:
        raise EngineError(
            FailureCode.GARMENT_NOT_FOUND,
            log=f"the mask covers {silhouette.mask.mean():.1%}",
            stage=STAGE,
        )


def _recognise(shape: Shape) -> Category:
    if outline_bottom.find_crotch(shape) is not None:
        return "bottoms"
    return "one-pieces" if shape.height > 1.5 * shape.width else "tops"
