"""The arms in the photo: where their edges are, and from where on they are bare.

A pixel's label may be wrong; an arm is a limb, with a sleeve that ends somewhere. So the labels
only vote on where that is: above it everything is old sleeve, below it everything is skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import blur, disc, resample, smoothstep
from app.engines.warp.scene import ELBOW, FINGER, SHOULDER, WRIST, Scene
from app.engines.warp.values import Floats, Mask, Points, Side

_STEPS = 48
_SHARES = (0.0, 0.22, 0.45, 0.72, 0.9, 1.0)
_HALF_WIDTHS = (0.16, 0.13, 0.11, 0.09, 0.075, 0.085)
"""Half an arm's width from shoulder to palm, in shoulder widths; the mean of the sample people."""
_LEAST, _MOST = 0.45, 2.0
_SEARCH = 2.1
"""Of that; what the photo says beyond is not believed, and further out there is no arm."""
_ASTRAY = 1.8
"""Of that: how far from the pose's bone an arm is looked for."""
_SLIM = np.float32(0.85)
"""Of that: a painted arm must not be thicker than the sleeve that hid it."""
_CORE = 0.55
"""Of a bare arm's half width: within it there is nothing but arm, whatever the labels say."""
_SURELY_ARM = 0.9
_FEWEST_OF_SKIN = 60
_GRAIN, _PATTERNED = 1.0, 2.5
"""Levels, of a photo without noise; and of an arm's own roughness, which a pattern exceeds."""
_ORNAMENT = 0.04
"""Shoulder widths: what is narrower may be worn on an arm."""
_THIN = np.float32(0.94)
"""Of the old sleeve's width: the arm in it, where it lies close."""
_WRIST = 0.9
_FOLDS = 0.08
"""How far from an arm cloth of its sleeve may lie, in shoulder widths."""
_HEM = 0.015
"""Of the arm's length: a hem stands off, and its shadow lies below it."""
_SLEEVE_MARGIN = 0.035
_SLEEVE_MARGIN_INSIDE = 0.07
"""How far an old sleeve may stand off the edge that was found, in shoulder widths; on the inside
there is nothing but the rest of the same garment."""
_BELOW_STRAPS = 0.25
_SKIN_SPREAD = np.array([42.0, 9.0, 11.0], np.float32)
"""How far skin strays from its median, in Lab: lightness loosely, colour closely."""
_HUE_ONLY = np.array([1e3, 9.0, 11.0], np.float32)
_SKIN_HUE = 1.7
"""Grey cloth is as light as skin, but 2 away in its colour alone."""
_SEAM_DEPTH = (0.05, 0.07)
"""Shoulder widths from an arm's edge within which its label is not believed without its colour."""
_NOT_SKIN = (1.3, 1.8)
_WIDER, _STRAYS = 1.1, 0.12
"""Of an arm's outer half: where its inner half ends at the most. And for how far beyond that, in
shoulder widths, cloth is labelled as an arm at times."""
_ALWAYS_BARE = 0.12
"""Whoever is bare from here on wears no sleeves: above it lie the shoulder and its straps."""


@dataclass(frozen=True)
class Arm:
    """One arm, in pixels of the scene it was seen in.

    line: (n, 2), from the shoulder joint to the middle of the hand; the wrist is at 0.9.
    normal: (n, 2), unit, away from the body.
    outer, inner: (n,), from the line to the edges of the arm, sleeves included.
    bare_from: the share of the arm above which the old garment hides it, 0–1.
    """

    line: Points
    normal: Points
    outer: Floats
    inner: Floats
    bare_from: float

    def half(self) -> Arm:
        """The same at half the size."""
        two = np.float32(0.5)
        return Arm(self.line * two, self.normal, self.outer * two, self.inner * two, self.bare_from)

    def outline(self, begin: float, end: float, outer: Floats, inner: Floats) -> Points:
        """The polygon of a stretch of it, by shares of its length."""
        share = np.linspace(0, 1, len(self.line))
        at = np.linspace(begin, end, _STEPS)
        upper = self.line + self.normal * outer[:, None]
        lower = self.line - self.normal * inner[:, None]
        rails = [
            np.stack([np.interp(at, share, rail[:, i]) for i in (0, 1)], 1)
            for rail in (upper, lower)
        ]
        return np.concatenate([rails[0], rails[1][::-1]]).astype(np.float32)


def see_arm(scene: Scene, side: Side) -> Arm:
    """The arm on one side of the photo."""
    shoulder, elbow, wrist = (scene.joint(of, side) for of in (SHOULDER, ELBOW, WRIST))
    joints = np.stack([shoulder, elbow, wrist, (wrist + scene.joint(FINGER, side)) / 2])
    line = rounded(resample(np.asarray(joints, np.float32), _STEPS), 5)
    normal = normals(line, outward=scene.joint(SHOULDER, side) - scene.body.shoulders)
    share = np.linspace(0, 1, _STEPS, dtype=np.float32)
    line = _centred(scene, line, normal, share)
    outer, inner = edges(scene, line, normal, share)
    return Arm(line, normal, outer, inner, _bare_from(scene, line, normal, outer, inner))


def _centred(scene: Scene, line: Points, normal: Points, share: Floats) -> Points:
    """The line moved into the arm, where the pose has it beside what is labelled as one."""
    usual = half_widths(scene, share)[:, None]
    offset = np.linspace(-_ASTRAY, _ASTRAY, 33, dtype=np.float32) * usual
    at = line[:, None] + normal[:, None] * offset[..., None]
    x, y = (np.ascontiguousarray(at[..., i], np.float32) for i in (0, 1))
    arm = np.asarray(cv2.remap(scene.parts.arms, x, y, cv2.INTER_LINEAR), np.float32)
    wide = arm.sum(1) * (offset[:, 1] - offset[:, 0])
    middle = (arm * offset).sum(1) / np.maximum(arm.sum(1), 1e-3)
    beside = (wide > 0.6 * usual[:, 0]) & (np.abs(middle) > 0.4 * usual[:, 0])
    shift = running_mean(np.where(beside, middle, 0).astype(np.float32), 9)
    return np.asarray(line + normal * shift[:, None], np.float32)


def half_widths(scene: Scene, share: Floats) -> Floats:
    """(n,): half of what an arm usually measures there, pixels. share: 0 shoulder, 1 wrist."""
    width = scene.body.shoulder_width
    return np.asarray(np.interp(share, _SHARES, _HALF_WIDTHS) * width, np.float32)


def edges(scene: Scene, line: Points, normal: Points, share: Floats) -> tuple[Floats, Floats]:
    """(n,) each: from the arm's bone to its outer and its inner edge, where the photo shows them.

    A bare arm is told from the torso by its own mask, a covered one only by the gap between them.
    """
    usual = half_widths(scene, share)
    reach = float(_SEARCH * usual.max())
    outside = exits(scene.parts.person, line, normal, reach)
    bare = exits(scene.parts.arms, line, -normal, reach)
    gap = exits(scene.parts.person, line, -normal, reach)
    inside = np.where(bare > 0.2 * usual, np.minimum(bare, gap), gap)
    return (_believed(outside, usual), _believed(inside, usual))


def _believed(found: Floats, usual: Floats) -> Floats:
    seen = np.where(found < _SEARCH * usual, found, usual)
    return running_mean(np.clip(seen, _LEAST * usual, _MOST * usual).astype(np.float32))


def _bare_from(scene: Scene, line: Points, normal: Points, outer: Floats, inner: Floats) -> float:
    """The share that leaves the fewest skin pixels above and the fewest others below."""
    across = np.linspace(-0.6, 0.6, 5, dtype=np.float32)
    offset = np.where(across[None] > 0, outer[:, None], inner[:, None]) * across[None]
    at = line[:, None] + normal[:, None] * offset[..., None]
    x, y = (np.ascontiguousarray(at[..., i], np.float32) for i in (0, 1))
    labelled = cv2.remap(scene.parts.arms, x, y, cv2.INTER_LINEAR)
    colour = np.asarray(cv2.remap(scene.photo, x, y, cv2.INTER_LINEAR), np.float32)
    hue = skin_distance(colour, scene.parts.skin_tone, _HUE_ONLY)
    skin = (labelled * (hue < _SKIN_HUE)).mean(1)
    within = (x >= 0) & (x < scene.width) & (y >= 0) & (y < scene.height)
    weight = within.mean(1)
    if weight.sum() < 3:
        return 0.0
    above = np.concatenate([[0.0], np.cumsum(skin * weight)])
    below = np.concatenate([np.cumsum(((1 - skin) * weight)[::-1])[::-1], [0.0]])
    split = int(np.argmin(above + below)) / len(line)
    return 0.0 if split < _ALWAYS_BARE else split


def skin_distance(picture: Floats, skin_tone: Floats, spread: Floats = _SKIN_SPREAD) -> Floats:
    """(h, w): how far each pixel is from the skin's colour, in its usual spreads.

    picture: (h, w, 3), 0–255. skin_tone: as in `Parts`.
    """
    lab = cv2.cvtColor(picture * np.float32(1 / 255), cv2.COLOR_RGB2LAB)
    lab *= np.array([2.55, 1, 1], np.float32)
    lab += np.array([0, 128, 128], np.float32)
    away = (lab - skin_tone) / spread
    return np.asarray(np.sqrt((away**2).sum(2)), np.float32)


# --- masks ----------------------------------------------------------------------------------


def old_sleeve(scene: Scene, arm: Arm) -> Mask | None:
    """Where the old garment hides the arm; None where it is bare."""
    if arm.bare_from == 0:
        return None
    width = scene.body.shoulder_width
    outer, inner = np.float32(_SLEEVE_MARGIN * width), np.float32(_SLEEVE_MARGIN_INSIDE * width)
    end = min(1.0, arm.bare_from + _HEM)
    polygon = arm.outline(0, end, arm.outer + outer, arm.inner + inner)
    return fill((scene.height, scene.width), polygon)


def bare_core(scene: Scene, arm: Arm) -> Mask:
    """The middle of where the arm's own skin shows, from the end of the old sleeve to the wrist."""
    begin, end = max(arm.bare_from + 0.03, _BELOW_STRAPS), 0.95
    if begin >= end:
        return np.zeros((scene.height, scene.width), np.float32)
    core = np.float32(_CORE)
    polygon = arm.outline(begin, end, arm.outer * core, arm.inner * core)
    where = fill((scene.height, scene.width), polygon)
    rows, columns = np.flatnonzero(where.max(1)), np.flatnonzero(where.max(0))
    if len(rows):
        room = round(2 * _ORNAMENT * scene.body.shoulder_width)
        top, left = max(0, rows[0] - room), max(0, columns[0] - room)
        box = np.s_[top : rows[-1] + 1 + room, left : columns[-1] + 1 + room]
        where[box] *= 1 - _patterned_cloth(scene, box)
    return where


def _patterned_cloth(scene: Scene, box: tuple[slice, slice]) -> Mask:
    """What is labelled as a garment, and has a pattern that no skin has: there labels are right.

    An arm that hangs half behind a wide dress is narrower than the pose tells.
    """
    green = np.ascontiguousarray(scene.photo[box][..., 1])
    rough = blur(np.abs(green - blur(green, 1.0)), 1.5)
    skin = scene.parts.arms[box] > _SURELY_ARM
    if skin.sum() < _FEWEST_OF_SKIN:
        return np.zeros_like(green)
    usual = max(_GRAIN, float(np.percentile(rough[skin], 75)))
    cloth = np.maximum(scene.parts.upper[box], scene.parts.lower[box]) > _SURELY_ARM
    found = (cloth & (rough > _PATTERNED * usual)).astype(np.uint8)
    # No bracelet, and no tattoo.
    reach = disc(max(3, int(_ORNAMENT * scene.body.shoulder_width)))
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, disc(5))
    return cv2.morphologyEx(closed, cv2.MORPH_OPEN, reach).astype(np.float32)


def strayed(scene: Scene, arm: Arm) -> Mask:
    """Trousers or a skirt that touch an arm and are labelled as one.

    On the body's side, further from the arm's middle than it is wide, and not of the skin's colour.
    """
    begin, end = max(arm.bare_from, _BELOW_STRAPS), _WRIST - 0.05
    if begin >= end:
        return np.zeros((scene.height, scene.width), np.float32)
    share = np.linspace(0, 1, len(arm.line), dtype=np.float32)
    width = scene.body.shoulder_width
    least = np.maximum(arm.outer, _LEAST * half_widths(scene, share)) * np.float32(_WIDER)
    most = least + np.float32(_STRAYS * width)
    where = fill((scene.height, scene.width), arm.outline(begin, end, -least, most))
    cloth = cv2.dilate(scene.parts.lower, disc(int(_STRAYS * width)))
    away = skin_distance(blur(scene.photo, 0.8), scene.parts.skin_tone)
    return np.asarray(where * cloth * smoothstep(away, *_NOT_SKIN), np.float32)


def covered_part(scene: Scene, arm: Arm, reach: float) -> Mask:
    """Where a new sleeve is, and the folds round it. reach: the part of shoulder to wrist, 0–1."""
    margin = np.float32(_FOLDS * scene.body.shoulder_width)
    polygon = arm.outline(0, reach * _WRIST, arm.outer + margin, arm.inner + margin)
    return fill((scene.height, scene.width), polygon)


def painted_arm(scene: Scene, arm: Arm) -> Mask | None:
    """Where the arm is under its old sleeve: slimmer, and as thick as its bare part where it ends.

    None where it is bare.
    """
    if arm.bare_from == 0:
        return None
    share = np.linspace(0, 1, len(arm.line), dtype=np.float32)
    outer, inner = (_under_sleeve(scene, arm, edge) for edge in (arm.outer, arm.inner))
    # On the shoulder a sleeve lies close: there its edge is the arm's.
    close = np.clip(1 - share / 0.35, 0, 1).astype(np.float32)
    outer = outer + (arm.outer * _THIN - outer) * close
    size = (scene.height, scene.width)
    limb = fill(size, arm.outline(0, min(1.0, arm.bare_from + 0.04), outer, inner))
    joint = tuple(int(value * 16) for value in arm.line[0])
    cap = np.zeros(size, np.uint8)
    cv2.circle(cap, joint, int(float(outer[0]) * 16), 255, -1, cv2.LINE_AA, 4)
    within = smoothstep(scene.parts.person, 0.3, 0.7)
    return np.asarray(np.maximum(limb, cap / np.float32(255)) * within, np.float32)


def _under_sleeve(scene: Scene, arm: Arm, edge: Floats) -> Floats:
    """(n,): from the bone to one edge: as the bare part tells, or as usual; in the sleeve."""
    share = np.linspace(0, 1, len(edge), dtype=np.float32)
    usual = half_widths(scene, share)
    begin = int(arm.bare_from * (len(edge) - 1)) + 2
    bare = slice(begin, begin + 6)
    if arm.bare_from > 0.8:  # hands tell nothing of arms
        return np.asarray(np.minimum(usual * _SLIM, edge * _THIN), np.float32)
    at_end = float(edge[bare].mean())
    grown = usual * (at_end / float(usual[bare].mean()))
    near_end = np.clip(1 - (arm.bare_from - share) / 0.12, 0, 1)
    thin = np.minimum(grown, edge * _THIN)
    return np.asarray(thin + (grown - thin) * near_end, np.float32)


def bare_arms(scene: Scene) -> Mask:
    """Arms and hands, without the seam of cloth that the labels give them."""
    arms = scene.parts.arms.copy()
    for half in (np.s_[:, : scene.width // 2], np.s_[:, scene.width // 2 :]):
        within = arms[half]  # one arm in each, as a rule: two small boxes rather than a large one
        rows, columns = np.flatnonzero(within.max(1)), np.flatnonzero(within.max(0))
        if not len(rows):
            continue
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        photo = np.ascontiguousarray(scene.photo[half][box])
        within[box] *= _of_skin(photo, np.ascontiguousarray(within[box]), scene)
    return arms


def _of_skin(photo: Floats, arms: Mask, scene: Scene) -> Mask:
    """(h, w): 1 deep within an arm, and where its colour is the skin's."""
    depth = cv2.distanceTransform((arms > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    core = smoothstep(np.asarray(depth, np.float32) / scene.body.shoulder_width, *_SEAM_DEPTH)
    away = skin_distance(blur(photo, 0.8), scene.parts.skin_tone, _HUE_ONLY)
    return np.maximum(core, 1 - smoothstep(away, *_NOT_SKIN))


def fill(size: tuple[int, int], polygon: Points) -> Mask:
    """The polygon's coverage, its edges smooth."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.asarray(mask / np.float32(255), np.float32)


# --- lines ----------------------------------------------------------------------------------


def exits(mask: Mask, starts: Points, directions: Points, reach: float) -> Floats:
    """(n,): how far from each start, along its unit direction, the mask ends; infinite if beyond.

    What lies outside the frame counts as what lies on its edge.
    """
    steps = np.arange(0, max(2, int(reach) + 1), dtype=np.float32)
    at = starts[:, None] + directions[:, None] * steps[None, :, None]
    seen = cv2.remap(
        mask,
        np.ascontiguousarray(at[..., 0], np.float32),
        np.ascontiguousarray(at[..., 1], np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    outside: NDArray[np.bool_] = np.asarray(seen < 0.5)
    first = np.where(outside.any(1), outside.argmax(1), np.inf)
    return cast("Floats", first.astype(np.float32))


def running_mean(values: Floats, width: int = 7) -> Floats:
    """The ends are continued by what they are next to."""
    half = width // 2
    padded = np.concatenate([values[:half][::-1], values, values[-half:][::-1]])
    return np.convolve(padded, np.ones(width) / width, "valid").astype(np.float32)


def rounded(line: Points, width: int) -> Points:
    """The line with its corners rounded; continued straight on, so that its ends stay."""
    half = width // 2
    before, after = 2 * line[0] - line[half:0:-1], 2 * line[-1] - line[-2 : -2 - half : -1]
    padded = np.concatenate([before, line, after])
    weights = np.ones(2 * half + 1) / (2 * half + 1)
    return np.stack([np.convolve(padded[:, i], weights, "valid") for i in (0, 1)], 1).astype(
        np.float32
    )


def normals(line: Points, *, outward: Points) -> Points:
    """(n, 2): unit normals, on the side to which `outward` points near the line's first third."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.hypot(tangent[:, 0], tangent[:, 1])[:, None] + 1e-6
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    if normal[len(line) // 3] @ outward < 0:
        normal = -normal
    return np.asarray(normal, np.float32)
