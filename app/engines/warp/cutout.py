"""A garment's coverage, found in a photo of it on plain ground.

The ground is a smooth surface through the photo's border. What differs from it, however little,
is the garment and its shadow; the two are told apart by what a shadow is: the ground's own colour,
darker, with a soft outer edge. The mask is made small, the edge's coverage at the final size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import (
    blur,
    disc,
    lab,
    largest_component,
    push_pull,
    resize,
    shrink,
    smoothstep,
)
from app.engines.warp.values import Floats, Mask, Points, Rgb

Binary = NDArray[np.uint8]
"""(h, w), 0 or 1."""

MASK_SIDE = 512
"""The mask's long side, pixels: seams and gaps of 1 % of a garment are 4 px wide there."""

_RING = 0.02
"""The border strip taken for ground, of the short side: garments rarely come nearer."""

_RING_INLIER = 15.0
"""Lab distance from the ring's median up to which a border pixel belongs to the ground."""

_LEAST_DEVIATION = 1.3
"""Lab distance from the ground that is something: white on near-white differs by 3, studio
grounds are noisy by 0.8 (97th percentile) or less."""


_LEAST_OPENING = 0.0006
"""Of the photo: smaller enclosed spots of the ground's colour are prints."""

_FAINT = 12.0
"""Lab distance from the ground of white things on white ground, at most."""


_CUT_OFF, _HALF = 0.002, 0.3
"""Parts this large, beside the largest, are no crumbs: a strap or sleeve, or half a garment."""


_THING = 0.002
"""Of the photo: the smallest that is a thing by itself, a button or a word."""


@dataclass(frozen=True)
class Ground:
    """What the photo's ground looks like.

    surface: (h, w, 3), Lab, the ground's colour at every pixel of the small picture, also behind
    the garment. noise: Lab distance from it that 97 % of the border stay within.
    plain: 0–1, the share of the border that lies on it.
    """

    surface: Floats
    noise: float
    plain: float


@dataclass(frozen=True)
class Silhouette:
    """Where the garment is in the small picture.

    mask: (h, w), 0 or 1. ground: as found. contrast: Lab distance from the ground, the 20th
    percentile along the rim. border: the share of the picture's four sides that the mask touches.
    others: how large all else is that lies on the ground, over the garment.
    """

    mask: Binary
    ground: Ground
    contrast: float
    border: float
    others: float


# --- ground ---------------------------------------------------------------------------------


def _ring(height: int, width: int) -> NDArray[np.bool_]:
    thick = max(3, round(_RING * min(height, width)))
    ring = np.ones((height, width), np.bool_)
    ring[thick:-thick, thick:-thick] = False
    return ring


def fit_ground(picture: Floats) -> Ground:
    """Lay a quadratic surface through the border's colours; picture: Lab.

    Quadratic, as lamps and lenses darken a photo towards its corners. What lies off the surface
    (a garment that runs out of the photo) is left out and the rest fitted again.
    """
    height, width = picture.shape[:2]
    ring = _ring(height, width)
    y, x = np.nonzero(ring)
    colours = picture[ring]
    terms = _terms(x / width - 0.5, y / height - 0.5)
    near = np.abs(colours - np.median(colours, axis=0)).max(1) < _RING_INLIER
    off = np.zeros(len(colours), np.float32)
    coefficients = np.zeros((terms.shape[1], 3), np.float32)
    for _ in range(3):
        if near.sum() < 10 * terms.shape[1]:
            break
        weighted = terms[near]
        # A trace of a ridge: with half the border hidden the far side would be made up.
        normal = weighted.T @ weighted + np.diag([0, 1, 1, 4, 4, 4]).astype(np.float32)
        coefficients = np.linalg.solve(normal, weighted.T @ colours[near])
        off = np.sqrt(((colours - terms @ coefficients) ** 2).sum(1))
        near = off < max(3.0, 3 * float(np.percentile(off[near], 70)))
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    surface = _terms(grid_x.ravel() / width - 0.5, grid_y.ravel() / height - 0.5) @ coefficients
    return Ground(
        surface.reshape(height, width, 3).astype(np.float32),
        noise=_noise(picture, surface.reshape(height, width, 3), ring, near),
        plain=float(near.mean()),
    )


def _terms(x: NDArray[np.floating], y: NDArray[np.floating]) -> Floats:
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1).astype(np.float32)


def _noise(
    picture: Floats, surface: Floats, ring: NDArray[np.bool_], near: NDArray[np.bool_]
) -> float:
    if not near.any():
        return 255.0
    return float(np.percentile(_deviation(picture, surface)[ring][near], 97))


def _deviation(picture: Floats, surface: Floats) -> Floats:
    distance = np.sqrt(((picture - surface) ** 2).sum(2))
    return cast("Floats", cv2.GaussianBlur(distance.astype(np.float32), (0, 0), 0.8))


# --- silhouette -----------------------------------------------------------------------------


def find_silhouette(photo: Rgb) -> Silhouette:
    """The garment's mask, in a small copy of the photo; empty where there is nothing."""
    picture = lab(shrink(photo, MASK_SIDE))
    ground = fit_ground(picture)
    deviation = _deviation(picture, ground.surface)
    different = _different(picture, deviation, ground.noise)
    found = _without_shadow(picture, ground, deviation, different)
    garment = _in_one_piece(found, different)
    garment = _without_fringe(_smooth_where_faint(garment, deviation), deviation)
    rim = garment - cv2.erode(garment, disc(9))
    sides = np.concatenate([garment[0], garment[-1], garment[:, 0], garment[:, -1]])
    return Silhouette(
        garment,
        ground,
        contrast=float(np.percentile(deviation[rim > 0], 20)) if rim.any() else 0.0,
        border=float(sides.mean()),
        others=_others(found, garment),
    )


def _different(picture: Floats, deviation: Floats, noise: float) -> Binary:
    """All that is not joined to the border by pixels that look like the ground.

    Edges are walls: a white garment whose edge is a thin line keeps its white inside.
    """
    least = max(_LEAST_DEVIATION, 1.6 * noise) if noise < 2.2 else 1.35 * noise
    edges = _gradient(picture) > max(7.0, 4 * noise)
    like_ground = ((deviation < least) & ~edges).astype(np.uint8)
    like_ground = cast("Binary", cv2.morphologyEx(like_ground, cv2.MORPH_OPEN, disc(3)))
    outside = _joined_to_border(like_ground) | _openings(like_ground, deviation, noise)
    return cast("Binary", cv2.morphologyEx(1 - outside, cv2.MORPH_OPEN, disc(3)))


def _gradient(picture: Floats) -> Floats:
    """Lightness steps between neighbours, in L as 8 bits."""
    return cast(
        "Floats", cv2.morphologyEx(picture[..., 0], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    )


def _opened(mask: Binary, diameter: int) -> Binary:
    return cast("Binary", cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(diameter)))


def _joined_to_border(mask: Binary) -> Binary:
    count, labels = cv2.connectedComponents(mask, connectivity=4)
    kept = np.zeros(count, np.uint8)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        kept[side] = 1
    kept[0] = 0
    return cast("Binary", kept[labels])


def _openings(like_ground: Binary, deviation: Floats, noise: float) -> Binary:
    """Enclosed parts through which the bare ground shows: between a sleeve and the body."""
    enclosed = like_ground & (1 - _joined_to_border(like_ground))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(enclosed, connectivity=4)
    openings = np.zeros_like(like_ground)
    for i in range(1, count):
        if stats[i, cv2.CC_STAT_AREA] < _LEAST_OPENING * like_ground.size:
            continue
        part = (labels == i).astype(np.uint8)
        rim = cv2.dilate(part, disc(13)) - cv2.dilate(part, disc(5))
        ground_like = np.median(deviation[part > 0]) < max(0.7, 0.75 * noise)
        # White cloth on white ground looks like this, too, but has no strong rim around it.
        if ground_like and np.percentile(deviation[rim > 0], 25) > _STRONG:
            openings |= part
    return openings


def _others(found: Binary, garment: Binary) -> float:
    """The area of all other things, but for crumbs, over the garment's."""
    beside = found & (1 - cast("Binary", cv2.dilate(garment, disc(9))))
    count, _, stats, _ = cv2.connectedComponentsWithStats(beside)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    return float(areas[areas > _THING * found.size].sum()) / max(1, int(garment.sum()))


def _in_one_piece(garment: Binary, different: Binary) -> Binary:
    """The largest part, with straps and sleeves cut off by a seam, and both halves of a front."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(garment)
    if count > 2:
        areas = stats[:, cv2.CC_STAT_AREA].copy()
        areas[0] = 0
        largest = int(areas.max())
        kept = (areas > _CUT_OFF * largest) & (areas < largest)
        beside = cast("Binary", cv2.dilate(kept[labels].astype(np.uint8), disc(9)))
        halves = int(np.sort(areas)[-2]) > _HALF * largest
        kernel = np.ones((1, round(0.25 * garment.shape[1])), np.uint8) if halves else disc(7)
        closed = cast("Binary", cv2.morphologyEx(garment, cv2.MORPH_CLOSE, kernel))
        within = different if halves else different & beside
        garment = garment | (closed & within)
    garment = largest_component(garment)
    return cast("Binary", cv2.morphologyEx(garment, cv2.MORPH_CLOSE, disc(3)))


def _smooth_where_faint(garment: Binary, deviation: Floats) -> Binary:
    """Round off the rim where it is hardly seen: JPEG's blocks make it ragged there."""
    rounded = (blur(garment.astype(np.float32), 3.0) > 0.5).astype(np.uint8)
    contrast = cv2.dilate(deviation * garment, disc(7))
    return np.where(contrast < _FAINT, rounded, garment).astype(np.uint8)


def _without_fringe(garment: Binary, deviation: Floats) -> Binary:
    """Take off the outermost 4 px where they are more ground or shadow than garment, and crumbs."""
    core = cast("Binary", cv2.erode(garment, disc(9)))
    weakest = cv2.erode(np.where(core > 0, deviation, 255).astype(np.float32), disc(13))
    mostly_ground = (deviation < 0.5 * weakest) & (weakest > _STRONG) & (weakest < 255)
    crumbs = (garment & (1 - _opened(garment, 9)) > 0) & (deviation < _CRUMB_DEVIATION)
    return garment & (core | (~(mostly_ground | crumbs)).astype(np.uint8))


# --- shadow ---------------------------------------------------------------------------------

_DARKEST_SHADOW = 0.30
"""A shadow keeps this much of the ground's lightness; under a garment's very edge it is darker,
but no wider than the matte's band."""

_DARK_SHADOW = 0.45
"""The same of a shadow that no edge need keep out: darker things may stand there."""

_SHADOW_TINT = 4.0
"""Lab chroma by which a shadow differs from the ground beside it, at most: sky light and the
garment's own reflected colour tint it, the more the darker it is."""

_NEUTRAL_GARMENT = 0.35
"""The share of the inside that could be shadow from which on the garment itself has that colour."""

_PATTERN = 0.15
"""The same, from which on it is looked for pale stripes between others."""

_TONE_SPREAD = 0.06
"""Folds make a garment's lightness differ by this share of the ground's."""

_LITTLE_PALE = 0.08
"""The share of the inside that is pale up to which no edge need keep the ground out of it: all
that is pale and borders on the ground is shadow or a gap."""

_COLOURED = 11.0
"""Tint of all but 8 % of the inside from which on no part of the garment looks like shadow, so that
none need be kept from it: more than that of the darkest shadow."""

_SHADOW_REACH = 0.08
"""How far in from the rim a shadow is looked for where the garment itself could be one, of the
mask's short side."""

_STRIPE = 0.03
"""Pale stripes up to this thick, of the long side, belong to what is above and below them."""

_GAP_END = 8
"""How far a gap goes on where it is too narrow to be looked into, pixels of the small picture."""

_STEP_OF_SHADOW = 0.4
"""The part of a shadow's depth that its edge gains within 2 px, at most: 0.2 in drawn ones of
10 px half shadow; 0.65 in an edge in focus."""

_STRONG = 28.0
"""Lab distance from the ground that nothing but a garment or a deep shadow has."""

_PANEL = 1.01
"""Lightness over the ground's that shows something white on a ground that is nearly so."""

_CRUMB_DEVIATION = 6.0
"""Lab distance from the ground of what JPEG leaves beside an edge, at most."""

_PANEL_FAINT = 8.0
"""Lab distance from the ground up to which such white things could be taken for shadow."""

_CRUMB = 5
"""How far beside a strong edge JPEG's ringing reaches, pixels of the small picture."""


def _without_shadow(
    picture: Floats, ground: Ground, deviation: Floats, different: Binary
) -> Binary:
    """Move the mask's rim inwards over cast shadow, to the garment's edge.

    What has a shadow's colour and is joined to the ground with no sharp edge between is shadow;
    but where the garment itself has that colour, it and the ground grow into the doubtful part
    from both sides and meet on the strongest edge between them (watershed).
    """
    if not different.any():
        return different
    smooth = cast("Floats", cv2.GaussianBlur(picture, (0, 0), 1.0))
    doubtful, own = _doubtful(smooth, ground, deviation, different)
    sure = different & (1 - doubtful)
    garment = _opened(sure, 3) | (sure & (deviation > _STRONG).astype(np.uint8))
    if (doubtful & own).any():
        markers = np.full(different.shape, 1, np.int32)
        markers[(different > 0) & (doubtful & (1 - own) == 0)] = 0
        markers[_within(garment) > 0] = 2
        cv2.watershed(np.clip(smooth, 0, 255).astype(np.uint8), markers)
        garment = _close_line(markers, different)
    return garment


def _within(mask: Binary) -> Binary:
    """Without its outermost 2 px, where an edge is still rising; what is thin keeps its middle."""
    inner = cast("Binary", cv2.erode(mask, disc(5)))
    thin = mask & (1 - cast("Binary", cv2.dilate(inner, disc(9))))
    return inner | cast("Binary", cv2.erode(thin, disc(3)))


def _doubtful(
    smooth: Floats, ground: Ground, deviation: Floats, different: Binary
) -> tuple[Binary, Binary]:
    """What may be no garment although it differs: shadow, or ringing beside an edge.

    Also what of it looks like the garment itself.
    """
    height, width = different.shape
    tone = np.asarray(smooth[..., 0] / np.maximum(ground.surface[..., 0], 1), np.float32)
    tint = _tint(smooth, ground, tone)
    shadowy = _may_be_shadow(tone, tint) & different
    ringing = _ringing(deviation, shadowy, ground.noise) & different
    doubtful = shadowy | ringing
    depth = cv2.distanceTransform(different, cv2.DIST_L2, 5)
    inside = depth > _SHADOW_REACH * min(height, width)
    own, surely_own = _own_pale_parts(tone, doubtful, inside, different)
    # No shadow is lighter than the ground; but ringing is, so that it does not count by itself.
    faint = deviation < _PANEL_FAINT
    panel = _opened((faint & (tone > _PANEL)).astype(np.uint8) & different & ~ringing, 5)
    own |= doubtful & cv2.dilate(panel, disc(4 * _CRUMB + 1)) & faint.astype(np.uint8)
    doubtful &= 1 - surely_own
    ringing &= doubtful
    flat = doubtful & ~ringing
    passable = flat & _soft(smooth[..., 0], (flat | (1 - different)) > 0, ground.noise)
    # A seam is a dark line from the rim inwards, too, but a thin one.
    passable = _opened(passable, 5) | (passable & (depth < 4).astype(np.uint8))
    pale = (deviation < _STRONG).astype(np.uint8) & different
    if (
        inside.any()
        and np.percentile(tint[inside], 8) > _COLOURED
        and not _is_much(panel, different)
    ):
        passable |= doubtful & shadowy & (tone > _DARK_SHADOW).astype(np.uint8)
    if inside.any() and pale[inside].mean() < _LITTLE_PALE:
        passable |= doubtful & pale
    reached = _joined_to_border(cast("Binary", passable | (1 - different)))
    reached = cast("Binary", cv2.dilate(reached, disc(5))) & (doubtful | (1 - different))
    # Ringing goes with what it borders on: a panel that was not reached keeps it, a gap loses it.
    panels = _opened(pale & ~ringing & (1 - reached), 7)
    kept = cast("Binary", cv2.dilate(panels, disc(2 * _CRUMB + 5)))
    near = cast("Binary", cv2.dilate(reached, disc(2 * _GAP_END + 1)))
    reached = _joined_to_border(reached | (ringing & near & (1 - kept)))
    return cast("Binary", reached & doubtful), own


def _is_much(part: Binary, of: Binary) -> bool:
    return bool(part.sum() > 0.015 * of.sum())


def _soft(lightness: Floats, counted: NDArray[np.bool_], noise: float) -> Binary:
    """1 where lightness changes slowly, measured by how much it changes round about.

    counted: the pixels that this is measured on. An edge in focus makes two thirds of its step
    within 2 px of the small, smoothed picture.
    """
    low = np.where(counted, lightness, 999).astype(np.float32)
    high = np.where(counted, lightness, -999).astype(np.float32)
    square = np.ones((3, 3), np.uint8)
    step = cv2.dilate(high, square) - cv2.erode(low, square)
    contrast = cv2.dilate(high, disc(11)) - cv2.erode(low, disc(11))
    limit = np.maximum(max(0.8, 2.2 * noise), _STEP_OF_SHADOW * contrast)
    return np.asarray(step < limit, np.uint8)


def _ringing(deviation: Floats, shadowy: Binary, noise: float) -> Binary:
    """Pale pixels beside strong edges: JPEG's ringing, blur, and gaps too narrow to see into."""
    strongest = cv2.dilate(deviation * (1 - shadowy), disc(2 * _CRUMB + 1))
    pale = deviation < np.clip(0.5 * strongest, max(6.0, 3 * noise), _STRONG)
    return np.asarray(pale & (strongest > _STRONG), np.uint8)


def _own_pale_parts(
    tone: Floats, doubtful: Binary, inside: NDArray[np.bool_], different: Binary
) -> tuple[Binary, Binary]:
    """What of the garment itself looks like shadow or ground: a grey shirt, pale stripes.

    tone: lightness over the ground's. A garment has such a colour if much of its inside has it.
    Returns all that has that tone, and what of it is surely garment: inside, or between stripes.
    """
    nothing = np.zeros_like(doubtful)
    if not inside.any() or doubtful[inside].mean() < _PATTERN:
        return nothing, nothing
    height, width = different.shape
    thickness = np.ones((round(_STRIPE * max(height, width)), 1), np.uint8)
    sure = different & (1 - doubtful)
    closed = cast("Binary", cv2.morphologyEx(sure, cv2.MORPH_CLOSE, thickness))
    pale = doubtful[inside] > 0
    striped = (doubtful & (1 - closed))[inside].mean() < 0.5 * pale.mean()
    if not striped and pale.mean() < _NEUTRAL_GARMENT:
        return nothing, nothing
    low, high = np.percentile(tone[inside][pale], [12, 88])
    similar = (tone > low - _TONE_SPREAD) & (tone < high + _TONE_SPREAD)
    own = doubtful & similar.astype(np.uint8)
    return (own, own & closed) if striped else (doubtful, own & inside.astype(np.uint8))


def _close_line(markers: NDArray[np.int32], different: Binary) -> Binary:
    """Watershed leaves a line of -1 between the basins: it goes to the garment."""
    garment = (markers == 2).astype(np.uint8)
    line = (markers == -1).astype(np.uint8)
    return cast("Binary", (garment | (line & cv2.dilate(garment, disc(3)))) & different)


def _tint(smooth: Floats, ground: Ground, tone: Floats) -> Floats:
    """How far the chroma is from the ground's in that light: a and b shrink to grey with L."""
    chroma_off = smooth[..., 1:] - 128 - (ground.surface[..., 1:] - 128) * tone[..., None]
    return np.asarray(np.sqrt((chroma_off**2).sum(2)), np.float32)


def _may_be_shadow(tone: Floats, tint: Floats) -> Binary:
    """Darker than the ground, with its colour."""
    limit = _SHADOW_TINT + 6 * np.clip(1 - tone, 0, 1)
    return np.asarray((tone < 1.0) & (tone > _DARKEST_SHADOW) & (tint < limit), np.uint8)


# --- the matte ------------------------------------------------------------------------------

_BAND = 2.5
"""Half the width of the band whose coverage is computed, in pixels of the small picture."""

_CONTRAST_BEGIN, _CONTRAST_FULL = 18.0, 45.0
"""RGB distance between garment and ground from which on a pixel's mix of the two can be read."""


@dataclass(frozen=True)
class Cutout:
    """The garment alone, in a crop.

    picture: (h, w, 3) float32, sRGB 0–255, colours going on outwards. alpha: its coverage.
    mask: (h, w), 0 or 1, the same size. origin, scale: photo pixels = crop pixels / scale + origin.
    """

    picture: Floats
    alpha: Mask
    mask: Binary
    origin: Points
    scale: float


def matte(photo: Rgb, garment: Binary, side: int, margin: int = 4) -> Cutout:
    """Crop the photo to the garment, at most `side` pixels long, with its edge's exact coverage."""
    small_height, small_width = garment.shape
    height, width = photo.shape[:2]
    ratio = max(height, width) / max(small_height, small_width)
    x, y, w, h = cv2.boundingRect(garment)
    pad = margin / min(1.0, side / (ratio * max(w, h)) * ratio) + 2
    left, top = max(0, int((x - pad) * ratio)), max(0, int((y - pad) * ratio))
    right = min(width, int(np.ceil((x + w + pad) * ratio)))
    bottom = min(height, int(np.ceil((y + h + pad) * ratio)))
    crop = shrink(photo[top:bottom, left:right], side)
    scale = crop.shape[1] / (right - left)
    mask = _upsample(garment, ratio, (left, top, right, bottom), crop.shape[:2])
    alpha = _coverage(crop.astype(np.float32), mask, band=max(2.0, _BAND * ratio * scale))
    picture = _extend(crop.astype(np.float32), alpha)
    origin = np.array([left, top], np.float32)
    return Cutout(picture, alpha, (alpha > 0.5).astype(np.uint8), origin, scale)


def _upsample(
    mask: Binary, ratio: float, box: tuple[int, int, int, int], size: tuple[int, ...]
) -> Mask:
    left, top, right, bottom = box
    step_x, step_y = (right - left) / size[1] / ratio, (bottom - top) / size[0] / ratio
    to_small = np.array(
        [
            [step_x, 0, left / ratio + step_x / 2 - 0.5],
            [0, step_y, top / ratio + step_y / 2 - 0.5],
        ],
        np.float32,
    )
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)
    return cast(
        "Mask",
        cv2.warpAffine(
            soft,
            to_small,
            (size[1], size[0]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
    )


def _coverage(crop: Floats, mask: Mask, band: float) -> Mask:
    """Read from each pixel near the edge how much of it is garment.

    alpha = (I - G)·(F - G) / |F - G|², F and G the mean colours of what is
    surely garment and surely ground beside it. Where the two look alike the smooth mask stands.
    """
    solid = (mask > 0.5).astype(np.uint8)
    width = disc(2 * round(band))
    core = cast("Binary", cv2.erode(solid, width))
    outside = cast("Binary", 1 - cv2.dilate(solid, width))
    sigma = 1.2 * band
    inner, has_inner = _mean_colour(crop, core, sigma)
    outer, has_outer = _mean_colour(crop, outside, sigma)
    toward = np.subtract(inner, outer, out=inner)
    # Channel by channel: whole pictures of products would be most of what the engine ever holds.
    squared = sum(toward[..., i] ** 2 for i in range(3))
    along = sum((crop[..., i] - outer[..., i]) * toward[..., i] for i in range(3))
    read = np.clip(along / np.maximum(squared, 1), 0, 1)
    trust = smoothstep(np.sqrt(squared), _CONTRAST_BEGIN, _CONTRAST_FULL)
    trust *= ((has_inner > 1e-3) & (has_outer > 1e-3)).astype(np.float32)
    sharp = smoothstep(mask, 0.25, 0.75)
    # Far from the mask's edge a pixel cannot be garment, whatever its colour.
    reach = smoothstep(blur(solid.astype(np.float32), band), 0.02, 0.25)
    mixed = sharp * (1 - trust) + np.minimum(read, reach) * trust
    band_only = (core == 0) & (outside == 0)
    alpha = np.where(band_only, mixed, core.astype(np.float32)).astype(np.float32)
    # The last traces of ground and of noise in the flat parts.
    return np.asarray(np.clip((alpha - 0.06) / 0.88, 0, 1), np.float32)


def _mean_colour(crop: Floats, mask: Binary, sigma: float) -> tuple[Floats, Mask]:
    """The mean colour round about of what the mask holds, and how much there is: at half size."""
    height, width = mask.shape
    half = (max(1, height // 2), max(1, width // 2))
    weight = mask.astype(np.float32)
    share = blur(resize(weight, *half), sigma / 2)
    mean = blur(resize(crop * weight[..., None], *half), sigma / 2)
    mean /= np.maximum(share, 1e-4)[..., None]
    return resize(mean, height, width), resize(share, height, width)


def _extend(crop: Floats, alpha: Mask) -> Floats:
    """The colours of full coverage, going on outwards over the edge's mixed pixels."""
    known = cv2.erode((alpha > 0.97).astype(np.uint8), disc(3)).astype(np.float32)
    return push_pull(crop, known)
