"""All layers, from back to front, on the photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.engines.warp import removal, shading
from app.engines.warp.arms import (
    bare_arms,
    bare_core,
    covered_part,
    old_sleeve,
    painted_arm,
    strayed,
)
from app.engines.warp.arrays import blur, capsules, disc, push_pull, resize, smoothstep
from app.engines.warp.easel import Easel
from app.engines.warp.scene import Scene
from app.engines.warp.targets import PIT_DOWN, TopTarget
from app.engines.warp.values import SIDES, Floats, Mask
from app.engines.warp.warping import SleeveLayer, TopLayers

_INSIDE_LIGHT = 0.88
"""Of the inside of the back, which lies in the neck's shadow."""
_CHIN = 0.75
"""How far the chin is below the mouth, as part of what the mouth is below the eyes."""
_SURELY_HEAD = 0.9
"""What is labelled as hair and face by this much is nothing else: within fine hair the masks,
which follow the photo's edges, stay below 1."""
_OFF_BODY = 0.07
"""How far, from rim to rim, cloth may stand off above the shoulders, in shoulder widths."""
_SCRAP, _SCRAP_SEEN = 0.03, 0.1
"""Of the garment's largest part, what is a scrap of it; front panels are 0.5. And of coverage."""
_BESIDE_FLANK = 0.14
"""How far beside a top's flank the skirt below it may be hidden by it, in shoulder widths."""
_CONTACT_SHADOW, _SLEEVE_SHADOW, _LIMB_SHADOW = 0.24, 0.25, 0.35
"""How dark the shadows are: the garment's on the skin, and on the torso the sleeves' and arms'."""


@dataclass(frozen=True)
class Bared:
    """What had to be painted and shows, in parts of the area that the new garment covers.

    skin, ground: painted skin and background. below: all that is painted below the new hem.
    left: what of the old garment is still there. beside: what shows of the trousers or the skirt
    beside a top that should hide them.
    """

    skin: float
    ground: float
    below: float
    left: float = 0.0
    beside: float = 0.0


def paint_top(
    scene: Scene, layers: TopLayers, target: TopTarget, *, seed: int
) -> tuple[Easel, Bared]:
    """Everything that a top changes."""
    small = scene.half()
    beside = removal.beside_torso(small, removal.halved(target.half_widths))
    easel = Easel.of(scene)
    worn = _without_scraps(layers.cover * _near_body(small, scene))
    worn = np.maximum(worn, _over_old_lower(scene, worn, target, beside))
    front = worn * (1 - layers.inside)
    # Under the front's soft edge, too, or the skin would shine through between them.
    back = worn * np.clip(layers.inside * 2, 0, 1)
    sleeves = _sleeve_cover(scene, layers.sleeves)
    head = head_in_front(scene)
    if target.legs:  # a dress hides no shoes
        head = np.maximum(head, scene.parts.feet)
    gap = _seam_gaps(small, resize(np.maximum(front, sleeves), *beside.shape))
    gap = resize(gap, scene.height, scene.width)
    cover = np.maximum(np.maximum(front, sleeves), gap)

    old = removal.old_top(scene, target)
    relief = shading.old_relief(small)
    small_old = resize(old, *beside.shape)
    base = removal.erase(scene, removal.bare_grounds(small, small_old, target, relief), seed)
    limbs = limbs_in_front(scene, small, target)
    removed = old * (1 - limbs.seen) * (1 - head)
    if layers.opening is not None:  # the old top is what shows there
        removed *= 1 - layers.opening
    easel.lay(base, removed)
    easel.darken(_contact_shadow(scene, cover, old, head))

    light = resize(relief * shading.roundness(beside, small.down), scene.height, scene.width)
    back *= 1 - _in_front_of_collar(scene, head)
    easel.lay_cloth(layers.body, np.broadcast_to(np.float32(_INSIDE_LIGHT), back.shape), back)
    if layers.sleeves:
        light = light * _sleeve_shadow(scene, sleeves)
    easel.lay_cloth(layers.body, light, front)
    _bring_limbs_forward(scene, easel, limbs, front, base)
    for sleeve in layers.sleeves:
        own = shading.sleeve_light(sleeve.along, sleeve.aside)
        # At the seam as light as the body there.
        lit = light[sleeve.cloth.box] ** (1 - smoothstep(sleeve.along, 0.0, 0.5)) * own
        easel.lay_cloth(sleeve.cloth, lit, sleeve.cover)
    _close_gaps(easel, gap, np.maximum(front, sleeves))
    easel.uncover(np.maximum(head, scene.hands))
    return easel, _bared(scene, easel, removed * (1 - cover), cover, target, layers.opening)


def _bared(
    scene: Scene,
    easel: Easel,
    shown: Mask,
    cover: Mask,
    target: TopTarget,
    opening: Mask | None,
) -> Bared:
    """shown: what was painted and is not covered. opening: as in `TopLayers`."""
    few = (slice(None, None, 4), slice(None, None, 4))
    shown, person, down = shown[few], scene.parts.person[few], scene.down[few]
    area = max(1.0, float(cover[few].sum()))
    below, above = down > target.hem_down, down < target.hem_down - 0.05
    kept = 1 - easel.cover[few]
    if opening is not None:  # what shows there is worn under the new garment
        kept = kept * (1 - opening[few])
    on_body = person * (1 - below)
    return Bared(
        skin=float((shown * on_body).sum()) / area,
        ground=float((shown * (1 - person)).sum()) / area,
        below=float((shown * person * below).sum()) / area,
        left=float((scene.parts.upper[few] * kept * ~below).sum()) / area,
        beside=float((scene.parts.lower[few] * kept * above).sum()) / area,
    )


def _near_body(small: Scene, scene: Scene) -> Mask:
    """0 above the shoulders beside the body, and above the chin: straps do not float there."""
    reach = disc(int(_OFF_BODY * small.body.shoulder_width))
    near = blur(np.asarray(cv2.dilate(small.parts.person, reach), np.float32), 1.0)
    points = small.pose.points
    eyes, mouth = (points[2] + points[5]) / 2, (points[9] + points[10]) / 2
    chin = mouth + (mouth - eyes) * _CHIN
    chin_down = float(small.body.down_torso(chin[:1], chin[1:])[0])
    near *= smoothstep(small.down, chin_down - 0.03, chin_down + 0.01)
    free = np.maximum(near, smoothstep(small.down, 0.05, 0.12))
    return resize(np.asarray(free, np.float32), scene.height, scene.width)


def _without_scraps(worn: Mask) -> Mask:
    """Without what hangs in the air beside the garment: cuffs that lay beside its hem."""
    height, width = worn.shape
    small = resize(worn, (height + 3) // 4, (width + 3) // 4)
    seen = (small > _SCRAP_SEEN).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(seen)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # what is around
    is_scrap = areas < _SCRAP * areas.max()
    is_scrap[0] = False
    if not is_scrap.any():
        return worn
    gone = cv2.dilate(is_scrap[parts].astype(np.uint8), disc(5))
    gone[(seen > 0) & ~is_scrap[parts]] = 0
    kept = 1 - resize(gone.astype(np.float32), height, width)
    return np.asarray(worn * kept, np.float32)


def _over_old_lower(scene: Scene, worn: Mask, target: TopTarget, beside: Floats) -> Mask:
    """Where the skirt or the trousers would show beside a top's flank, above its hem.

    The top hangs there: the pose has an arm too near, and with it the flank.
    """
    if target.legs:  # a dress has taken the place of all
        return np.zeros_like(worn)
    reach = int(_BESIDE_FLANK * scene.body.shoulder_width / 4)
    size = ((scene.height + 3) // 4, (scene.width + 3) // 4)
    across = np.ones((1, 2 * reach + 1), np.uint8)  # not down: below a hem hangs nothing
    near = cv2.dilate((resize(worn, *size) > 0.5).astype(np.uint8), across)
    near = resize(blur(near.astype(np.float32), 1.0), scene.height, scene.width)
    corners = scene.body.down_torso(target.hem[[0, -1], 0], target.hem[[0, -1], 1])
    hem = np.where(scene.aside < 0, corners[0], corners[1]).astype(np.float32)
    above = 1 - smoothstep(scene.down - hem, -0.04, -0.02)
    out = resize(smoothstep(beside, 0.8, 0.9), scene.height, scene.width)
    below_waist = smoothstep(scene.down, 0.5, 0.55)
    return np.asarray(scene.parts.lower * near * above * out * below_waist, np.float32)


def _sleeve_cover(scene: Scene, sleeves: tuple[SleeveLayer, ...]) -> Mask:
    cover = np.zeros((scene.height, scene.width), np.float32)
    for sleeve in sleeves:
        within = cover[sleeve.cloth.box]
        np.maximum(within, sleeve.cover, out=within)
    return cover


@dataclass(frozen=True)
class Limbs:
    """What of the arms is in front of the torso. seen: the photo's. painted: under old sleeves."""

    seen: Mask
    painted: Mask


def limbs_in_front(scene: Scene, small: Scene, target: TopTarget) -> Limbs:
    """Forearms and hands, which lie in front of the torso; upper arms only beside it.

    small: the scene at half size.
    """
    near = np.minimum(*(capsules(*small.forearm(side), *small.down.shape) for side in SIDES))
    fore = 1 - smoothstep(near, 0.95, 1.12)
    beside = removal.beside_torso(small, removal.halved(target.half_widths))
    # From the armpit on, and steeply: a soft edge would let the arm shine through the cloth.
    pit = PIT_DOWN * small.body.shoulder_width / small.body.torso_length
    hanging = smoothstep(small.down, pit, pit + 0.05) * smoothstep(beside, 0.68, 0.78)
    reach = np.clip(fore * (small.down > 0.05) + (1 - fore) * hanging, 0, 1).astype(np.float32)
    reach = resize(reach, scene.height, scene.width)
    seen = bare_arms(scene) if target.legs else scene.parts.arms
    painted = np.zeros_like(reach)
    for side, arm in target.arms.items():
        sleeve, under = old_sleeve(scene, arm), painted_arm(scene, arm)
        if sleeve is not None and under is not None:
            seen = seen * (1 - sleeve)
            painted = np.maximum(painted, under)
        seen = np.maximum(seen, bare_core(scene, arm) * scene.parts.person)
        seen = seen * (1 - strayed(scene, arm))
        new_sleeve = target.side(side).sleeve
        if new_sleeve is not None:
            below = 1 - covered_part(scene, arm, new_sleeve.reach)
            seen, painted = seen * below, painted * below
    return Limbs(np.asarray(seen * reach, np.float32), np.asarray(painted * reach, np.float32))


def head_in_front(scene: Scene) -> Mask:
    """Hair and face; not the neck, which collars may hide."""
    face = smoothstep(-_face_distance(scene), -1.45, -1.2)
    # Where hair goes over into the face, each is half: together they are the head.
    head = (scene.parts.hair + scene.parts.face * face) / np.float32(_SURELY_HEAD)
    return np.asarray(np.clip(head, 0, 1), np.float32)


def _face_distance(scene: Scene) -> Floats:
    """(h, w): 1 on an ellipse round the face, from the eyes and the mouth."""
    points = scene.pose.points
    eyes, mouth = (points[2] + points[5]) / 2, (points[9] + points[10]) / 2
    centre = (eyes + mouth) / 2
    tall = max(float(np.hypot(*(mouth - eyes))), 0.12 * scene.body.shoulder_width)
    x, y = (scene.x - centre[0]) / (tall * 1.24), (scene.y - centre[1]) / (tall * 1.75)
    return np.asarray(x**2 + y**2, np.float32)


def _in_front_of_collar(scene: Scene, head: Mask) -> Mask:
    return np.asarray(np.clip(scene.parts.face * (scene.down < 0.1) + head, 0, 1), np.float32)


def _seam_gaps(small: Scene, front: Mask) -> Mask:
    """Slits between sleeves and torso, on the shoulders, which the new garment must not have."""
    width = small.body.shoulder_width
    closed = cv2.morphologyEx(front, cv2.MORPH_CLOSE, disc(int(0.11 * width)))
    zone = smoothstep(np.abs(small.aside), 0.24 * width, 0.32 * width)
    zone = zone * (1 - smoothstep(small.down, 0.38, 0.5)) * np.clip(small.parts.person * 1.5, 0, 1)
    return np.asarray(np.clip(closed * zone - front, 0, 1), np.float32)


def _close_gaps(easel: Easel, gap: Mask, front: Mask) -> None:
    if float(gap.max()) < 0.05:
        return
    height, width = gap.shape
    size = ((height + 1) // 2, (width + 1) // 2)
    known = (resize((front > 0.95).astype(np.float32), *size) > 0.9).astype(np.float32)
    colour = push_pull(resize(easel.paint, *size), known)
    easel.lay(resize(colour, height, width), gap)


def _contact_shadow(scene: Scene, cover: Mask, old: Mask, head: Mask) -> Floats:
    """Of the garment on the skin round it."""
    width = scene.body.shoulder_width
    shifted = np.roll(cover, int(0.012 * width), 0)
    on_body = np.clip(scene.parts.person + old, 0, 1) * (1 - head)
    return np.asarray(1 - blur(shifted, 0.035 * width) * _CONTACT_SHADOW * on_body, np.float32)


def _sleeve_shadow(scene: Scene, sleeves: Mask) -> Floats:
    width = scene.body.shoulder_width
    cast = blur(np.roll(sleeves, int(0.02 * width), 0), 0.05 * width)
    cast *= smoothstep(scene.down * scene.body.torso_length, 0.2 * width, 0.45 * width)
    return np.asarray(1 - _SLEEVE_SHADOW * cast * (1 - sleeves), np.float32)


def _bring_limbs_forward(
    scene: Scene, easel: Easel, limbs: Limbs, front: Mask, base: Floats
) -> None:
    """Arms and hands over the torso, with their shadow on it."""
    both = np.maximum(limbs.seen, limbs.painted)
    shadow = blur(both, 0.03 * scene.body.shoulder_width) * (1 - both) * front
    easel.darken(np.asarray(1 - _LIMB_SHADOW * shadow, np.float32))
    easel.lay(base, limbs.painted)
    easel.uncover(limbs.seen)
