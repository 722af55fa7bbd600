"""Where the person is: two networks' opinions, and how far each pixel is from the ground.

A wall, a door, a studio's paper change slowly from place to place. So their colours behind the
person can be guessed from around (`push_pull`), and what differs from them by more than the noise
is the person, to the pixel: between arm and waist, too, where the networks see nothing. The more
the ground is textured, the less its distance says, and the more the networks decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import (
    blur,
    guided_filter,
    largest_component,
    push_pull,
    resize,
)
from app.engines.warp.colours import Mixture, Palette, shade_free
from app.engines.warp.networks import Networks
from app.engines.warp.values import Floats, Mask
from app.engines.warp.view import View

_SELFIE_SHARE = 0.5
"""The segmentation network sees outlines better, the pose network knows whose they are."""

_NOBODY = 0.06
"""Where both networks together say less, there is ground."""

_GROUND_MARGIN = 0.02
"""Of the view's height: how far from anything that may be a person the ground is surely ground."""

_LEAST_GROUND = 0.02
"""Of the view: less than this tells nothing of the rest."""

_HIDDEN = 0.2
"""Shoulder widths, about the width of an arm: the width of the ring of ground that is hidden from
the guess, to see how far guesses go wrong."""

_GUESS_SIDE = 2
"""The ground is guessed on a picture smaller by this."""

_SLOPE_SAMPLES = 1500

_FLAWS = (0.0, 1.0, 2.5)
"""Lab units added to the differences of the ground in turn: beside a person, compression and
reflected light disturb a ground that is spotless elsewhere."""

_SHADOW_DEPTH = 26.0
"""A shadow on the ground is at most this much darker (L of 255), and has the ground's hue."""

_SHADOW_FORGIVEN = 0.5
"""How much of that darkness does not count as a difference."""

_BINS = 40
_BIN = 0.22
"""Differences are counted in bins of this width of log(1 + difference): 0–6,600 Lab units."""

_RARE = 0.002
"""Added to each share: what was never seen is rare, not impossible."""

_MOST_GROUND, _MOST_PERSON = 6.0, 6.0
"""The evidence of one pixel's colour, as logarithms of likelihood ratios, is bounded."""

_MOST_OPINION = 3.5
"""The same for the networks."""

_CLEAR = 4.0
"""Evidence beyond doubt."""

_NOISE, _LEAST_BELIEVED = (6.0, 16.0), 2.0
"""Where the guess is wrong by as much (Lab units, 80 of 100 pixels), looking like the ground counts
less and less: behind brown skin there may be brown wood."""

_BUSY = 5.0
"""Noise from which on the ground's colours are looked at, too."""

_GROUND_COLOURS, _PERSON_COLOURS = 5, 8
_MOST_BY_COLOUR = 2.5

_MOST_BY_GRAIN = 2.5

_BONES = (
    ((11, 13), 0.07),
    ((12, 14), 0.07),
    ((13, 15), 0.05),
    ((14, 16), 0.05),
    ((23, 25), 0.10),
    ((24, 26), 0.10),
    ((25, 27), 0.05),
    ((26, 28), 0.05),
)
"""Joints of the limbs, and a radius well inside of them, in shoulder widths."""

_TORSO_INSET, _FACE_INSET = 0.12, 0.3
"""The middle of torso and face begin this far from their corners, of the way to their centres."""

_PINHOLE = 0.0004
"""Of the view."""

_NO_GAP = 0.95
"""The networks' mean opinion of a hole; of gaps between arm and body they say 0.2–0.8."""

_AGREED = 0.85
"""Where the networks see less of a person, an elbow may have been guessed wrong."""

_CORE = 5.0
"""Evidence for the middle of limbs and torso: no garment that looks like the wall has holes."""


@dataclass(frozen=True)
class Silhouette:
    """inside: where it is more likely than not. likely: the networks' opinion.

    noise: how much the ground varies, Lab units. clear: 0–1, how clear the edge is.
    """

    inside: NDArray[np.bool_]
    likely: Mask
    noise: float
    clear: float


def find_silhouette(networks: Networks, view: View) -> Silhouette:
    likely = _opinion(networks, view)
    core = _core(view) * (likely > _AGREED)
    evidence, noise = _unlike_ground(view, likely, core)
    evidence += np.clip(_logit(likely), -_MOST_OPINION, _MOST_OPINION) + _CORE * core
    smooth = guided_filter(view.grey, np.asarray(evidence / 20, np.float32), 3, 2e-4)
    hard = ((smooth > 0) & (likely > _NOBODY / 2)).astype(np.uint8)
    opened = cv2.morphologyEx(hard, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    hard = _without_holes(largest_component(np.asarray(opened, np.uint8)), likely)
    edge = cv2.morphologyEx(hard, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8)) > 0
    doubt = np.abs(evidence[edge]) if edge.any() else np.zeros(1)
    return Silhouette(hard > 0, likely, noise, float(np.minimum(doubt / _CLEAR, 1).mean()))


def _opinion(networks: Networks, view: View) -> Mask:
    selfie = resize(networks.segment(view.picture), *view.shape)
    near = cv2.dilate(view.pose_mask, np.ones((9, 9), np.uint8))  # others' bodies are further
    near = np.minimum(1, blur(np.asarray(near, np.float32), 0.04 * view.unit) * 2)
    return np.asarray(
        _SELFIE_SHARE * selfie * near + (1 - _SELFIE_SHARE) * view.pose_mask, np.float32
    )


def _logit(p: Mask) -> Floats:
    p = np.clip(p, 0.01, 0.99)
    return np.asarray(np.log(p / (1 - p)), np.float32)


def _unlike_ground(view: View, likely: Mask, core: Mask) -> tuple[Floats, float]:
    """How much more a pixel's colour speaks for the person than for the ground; and the noise.

    How often which difference from the guess occurs is counted: on the ground, in a ring of it
    that the guess was not shown; on the person, in the middle of the body.
    """
    ground = likely < _NOBODY
    outer = _eroded(ground, _GROUND_MARGIN * view.shape[0])
    far = _eroded(outer, _HIDDEN * view.unit)
    ring = outer & ~far
    if min(far.mean(), ring.mean()) < _LEAST_GROUND:
        return np.zeros(view.shape, np.float32), 99.0
    guessed = _difference(view, far)[ring]
    bins = _bins(_difference(view, outer))
    as_ground = _shares(_bins(np.concatenate([guessed + more for more in _FLAWS])))
    as_person = _shares(bins[core > 0])
    noise = float(np.percentile(guessed, 80))
    most_ground = float(np.interp(noise, _NOISE, (_MOST_GROUND, _LEAST_BELIEVED)))
    ratio = np.clip(np.log(as_person / as_ground), -most_ground, _MOST_PERSON)
    beyond = int(np.flatnonzero(as_ground > 2 * _RARE).max(initial=0))
    ratio[beyond + 2 :] = np.maximum(ratio[beyond + 2 :], 0.5 * _MOST_PERSON)
    evidence = ratio.astype(np.float32)[bins]
    if noise > _BUSY:
        evidence += _unlike_its_colours(view, likely, outer, core > 0)
    else:
        evidence += _unlike_its_grain(view, ring, core > 0)
    return evidence, noise


def _unlike_its_grain(view: View, ring: NDArray[np.bool_], core: NDArray[np.bool_]) -> Floats:
    """The same by the grain: a knitted top is rougher than a smooth wall of its colour."""
    grey = cv2.cvtColor(view.box, cv2.COLOR_RGB2GRAY)
    rough = cv2.absdiff(grey, cv2.blur(grey, (5, 5))).astype(np.float32)
    small = cv2.blur(resize(rough, *view.shape), (3, 3))
    within = cv2.erode(small, np.ones((5, 5), np.uint8))  # edges are rough on both sides
    bins = _bins(np.asarray(within, np.float32))
    ratio = np.log(_shares(bins[core]) / _shares(bins[ring]))
    return np.asarray(np.clip(ratio, -_MOST_BY_GRAIN, _MOST_BY_GRAIN), np.float32)[bins]


def _unlike_its_colours(
    view: View, likely: Mask, ground: NDArray[np.bool_], core: NDArray[np.bool_]
) -> Floats:
    """The same where there is no wall to guess: by the colours of the whole ground."""
    open_ = (likely > _NOBODY / 2) & ~core
    lab = shade_free(view.lab)
    palette = Palette.counted(lab[open_])
    as_ground = palette.cost(Mixture.learned(lab[ground], _GROUND_COLOURS))
    as_person = palette.cost(Mixture.learned(lab[core | (likely > 0.97)], _PERSON_COLOURS))
    evidence = np.zeros(view.shape, np.float32)
    evidence[open_] = np.clip(as_ground - as_person, -_MOST_BY_COLOUR, _MOST_BY_COLOUR)
    return evidence


def _eroded(mask: NDArray[np.bool_], by: float) -> NDArray[np.bool_]:
    """The pixels further than `by` from what is not in the mask; the frame is no edge."""
    away = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(away > by, np.bool_)


def _difference(view: View, ground: NDArray[np.bool_]) -> Floats:
    """How far each pixel's colour is from the ground's, guessed from `ground`, Lab units."""
    height, width = (side // _GUESS_SIDE for side in view.shape)
    known = resize(ground.astype(np.float32), height, width) > 0.99
    small = resize(view.lab, height, width)
    slope = _slope(small, known)
    behind = push_pull(small - slope, known.astype(np.float32)) + slope
    behind = resize(blur(behind, 0.01 * view.shape[0]), *view.shape)
    light, green, blue = cv2.split(view.lab - behind)
    light = light + _SHADOW_FORGIVEN * np.clip(-light, 0, _SHADOW_DEPTH)
    return np.asarray(np.sqrt(light * light + green * green + blue * blue), np.float32)


def _slope(small: Floats, known: NDArray[np.bool_]) -> Floats:
    """(h, w, 3): the quadratic surface nearest to the ground; a lit wall goes on behind us all."""
    height, width = known.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).astype(np.float32)
    step = max(1, int(known.sum()) // _SLOPE_SAMPLES)
    factors, *_ = np.linalg.lstsq(terms[known][::step], small[known][::step], rcond=None)
    return np.asarray(terms @ factors, np.float32)


def _bins(difference: Floats) -> NDArray[np.int32]:
    return np.minimum(np.log1p(difference) / _BIN, _BINS - 1).astype(np.int32)


def _shares(bins: NDArray[np.int32]) -> Floats:
    """(_BINS,): how often each difference occurs, smoothed over its neighbours."""
    counts = np.bincount(bins.ravel(), minlength=_BINS).astype(np.float32)
    smooth = np.convolve(np.pad(counts, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    return np.asarray(smooth / max(1.0, float(smooth.sum())) + _RARE, np.float32)


def _core(view: View) -> Mask:
    """1 in the middle of face, torso and limbs."""
    mask = np.zeros(view.shape, np.uint8)
    for joints, radius in _BONES:
        bone = view.points[list(joints)].astype(np.int32)
        cv2.polylines(mask, [bone], False, 1, max(1, round(2 * radius * view.unit)))
    face = view.points[:11]
    middle = face + _FACE_INSET * (face.mean(0) - face)
    cv2.fillConvexPoly(mask, cv2.convexHull(middle.astype(np.int32)), 1)
    corners = view.points[[12, 11, 23, 24]]
    inner = corners + _TORSO_INSET * (corners.mean(0) - corners)
    cv2.fillConvexPoly(mask, inner.astype(np.int32), 1)
    return mask.astype(np.float32)


def _without_holes(mask: NDArray[np.uint8], likely: Mask) -> NDArray[np.uint8]:
    """Close holes too small to be a gap between arm and body, or where the networks see none."""
    _, islands, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    area = stats[:, cv2.CC_STAT_AREA]
    seen = np.bincount(islands.ravel(), likely.ravel(), len(area)) / np.maximum(1, area)
    closed = (area < _PINHOLE * mask.size) | (seen > _NO_GAP)
    closed[0] = False
    return np.asarray(mask | closed[islands], np.uint8)
