"""What is where on the person, without a network that knows: photo and pose → Parts.

The silhouette comes from two networks' masks and the picture's own edges. Within it, each part
has a cost at each pixel: how badly the colour fits what was learned where the part surely is, and
how far the pixel lies from where the pose lets the part be. The costs are smoothed along the
picture's edges, and the cheapest part wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import capsules, grid, guided_filter, largest_component, resize
from app.engines.warp.colours import WORST, Colours
from app.engines.warp.networks import Networks
from app.engines.warp.values import Body, Floats, Mask, Parts, Pose, Rgb
from app.engines.warp.view import View

PARTS = ("hair", "face", "arms", "upper", "lower")
HAIR, FACE, ARMS, UPPER, LOWER = range(5)


def parse(networks: Networks, photo: Rgb, pose: Pose, body: Body) -> Parts:
    """Tell hair, face with neck and chest, arms with hands, upper and lower garment apart.

    photo: the working photo. pose, body: its own, from `find_pose`.
    Returns masks of the photo's size.
    """
    view = View.of(photo, pose, body)
    person = _silhouette(networks, view)
    shapes = _Shapes.of(view)
    inside = person > 0.5
    colours = _Learned.of(view, shapes, inside)
    labels = _label(view, shapes, colours, inside)
    masks = [_soft(view, labels == part) for part in range(5)]
    return Parts(
        person=view.enlarge(person),
        hair=view.enlarge(masks[HAIR]),
        face=view.enlarge(masks[FACE]),
        arms=view.enlarge(masks[ARMS]),
        upper=view.enlarge(masks[UPPER]),
        lower=view.enlarge(masks[LOWER]),
        skin_tone=colours.skin_tone,
        upper_texture=colours.upper_texture,
        trust=1.0,
    )


def _soft(view: View, part: NDArray[np.bool_]) -> Mask:
    return np.clip(guided_filter(view.grey, part.astype(np.float32), 3, 2e-4), 0, 1)


# --- the silhouette -------------------------------------------------------------------------


def _silhouette(networks: Networks, view: View) -> Mask:
    """Where the person is, soft, view pixels."""
    selfie = resize(networks.segment(view.picture), *view.shape)
    likely = 0.6 * view.pose_mask + 0.4 * selfie
    likely = np.maximum(likely, 0.95 * view.pose_mask * (view.pose_mask > 0.5))
    state = np.full(view.shape, cv2.GC_BGD, np.uint8)
    state[likely > 0.06] = cv2.GC_PR_BGD
    state[likely > 0.45] = cv2.GC_PR_FGD
    sure = cv2.erode((likely > 0.9).astype(np.uint8), np.ones((7, 7), np.uint8))
    state[sure > 0] = cv2.GC_FGD
    if sure.any() and (state == cv2.GC_BGD).any():
        empty = np.zeros((1, 65))
        picture = np.ascontiguousarray(view.picture[..., ::-1])
        cv2.setRNGSeed(0)
        cv2.grabCut(picture, state, (0, 0, 1, 1), empty, empty.copy(), 2, cv2.GC_INIT_WITH_MASK)
    hard = ((state & 1) > 0) & (likely > 0.03) | (likely > 0.97)
    cleaned = cv2.morphologyEx(hard.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    body = largest_component(np.asarray(cleaned, np.uint8)).astype(np.float32)
    return np.clip(guided_filter(view.grey, body, 3, 1e-4), 0, 1)


# --- where the pose lets parts be -----------------------------------------------------------


@dataclass(frozen=True)
class _Shapes:
    """Distances from parts of the body, (h, w): 0 in the middle, 1 on the surface.

    head: an ellipse for face and hair. face: the face alone. neck, arms, forearms, legs: limbs.
    from_face: pixels from the middle of the face. face_height: eyes to mouth, pixels.
    features: a mask of the middle of the face, where skin surely shows.
    """

    head: Floats
    face: Floats
    neck: Floats
    arms: Floats
    forearms: Floats
    legs: Floats
    from_face: Floats
    face_height: float
    features: NDArray[np.bool_]

    @classmethod
    def of(cls, view: View) -> _Shapes:
        p, unit = view.points, view.unit
        eyes, mouth = (p[2] + p[5]) / 2, (p[9] + p[10]) / 2
        middle = (eyes + mouth) / 2
        height = max(float(np.hypot(*(mouth - eyes))), 0.12 * unit)
        x, y = grid(*view.shape)
        from_face = np.hypot(x - middle[0], y - middle[1])
        neck = [
            mouth + 0.45 * (mouth - eyes),
            view.body.shoulders + view.body.up * (0.16 * unit),
        ]
        arms = _pairs(view, [11, 13, 15], [0.20, 0.155, 0.13, 0.15])
        forearms = _pairs(view, [13, 15], [0.15, 0.13, 0.17])
        legs = [_limb(view, [p[hip], p[knee]], [0.16, 0.13]) for hip, knee in ((23, 25), (24, 26))]
        return cls(
            head=np.hypot(
                (x - middle[0]) / (2.2 * height), (y - middle[1] + 0.2 * height) / (2.6 * height)
            ),
            face=((x - middle[0]) / (1.24 * height)) ** 2
            + ((y - middle[1]) / (1.75 * height)) ** 2,
            neck=_limb(view, neck, [0.17, 0.22]),
            arms=arms,
            forearms=forearms,
            legs=np.minimum(*legs),
            from_face=from_face,
            face_height=height,
            features=_features(view),
        )


def _limb(view: View, points: list[Floats], radii: list[float]) -> Floats:
    return capsules(
        np.stack(points), np.array(radii, np.float32) * np.float32(view.unit), *view.shape
    )


def _pairs(view: View, joints: list[int], radii: list[float]) -> Floats:
    """Both arms' chains of joints, hands at the end."""
    p = view.points
    both = []
    for side in (0, 1):
        wrist, knuckle = p[15 + side], p[19 + side]
        hand = wrist + (knuckle - wrist) * 1.25
        both.append(_limb(view, [*(p[joint + side] for joint in joints), hand], radii))
    return np.minimum(*both)


def _features(view: View) -> NDArray[np.bool_]:
    p = view.points
    mouth_side = p[10] - p[9]
    mouth = (p[9] + p[10]) / 2
    below = mouth + 0.2 * (mouth - (p[2] + p[5]) / 2)
    polygon = np.stack([p[2], p[5], p[10] + 0.3 * mouth_side, below, p[9] - 0.3 * mouth_side])
    mask = np.zeros(view.shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(polygon.astype(np.int32)), 1)
    return mask > 0


# --- colours --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Learned:
    """skin: the distance from the skin's colour, light counting little. skin_tone: Lab."""

    lab: Floats
    skin: Floats
    skin_tone: Floats
    hair: Colours | None
    upper: Colours | None
    lower: Colours | None
    upper_texture: float

    @classmethod
    def of(cls, view: View, shapes: _Shapes, inside: NDArray[np.bool_]) -> _Learned:
        colours = np.asarray(cv2.bilateralFilter(view.lab, 5, 12, 3), np.float32)
        tone = _skin_tone(colours, shapes, inside)
        away = (colours - tone) / np.array([42, 9, 11], np.float32)
        skin = np.sqrt(np.einsum("ijk,ijk->ij", away, away))
        core = (
            inside
            & (view.down > 0.12)
            & (view.down < 0.72)
            & (view.from_spine < 0.36)
            & (shapes.forearms > 1)
        )
        upper = core & (skin > 2.1)
        if upper.sum() < 0.12 * core.sum():
            upper = core & (view.down > 0.3)
        lower = inside & (view.down > 1.02) & (shapes.legs < 0.9) & (shapes.forearms > 1.1)
        hair = (
            inside
            & (shapes.face > 1.25)
            & (view.down < -0.15)
            & (shapes.neck > 1)
            & (shapes.from_face < 3.6 * shapes.face_height)
            & (skin > 1.6)
        )
        return cls(
            lab=colours,
            skin=skin,
            skin_tone=tone,
            hair=Colours.learned(colours[hair], 3),
            upper=Colours.learned(colours[upper], 4),
            lower=Colours.learned(colours[lower], 4),
            upper_texture=float(colours[upper][:, 0].std()) if upper.any() else 99.0,
        )


def _skin_tone(lab: Floats, shapes: _Shapes, inside: NDArray[np.bool_]) -> Floats:
    seen = lab[shapes.features & inside]
    if not len(seen):
        seen = lab[(shapes.neck < 0.6) & inside]
    if not len(seen):
        return np.array([160, 140, 140], np.float32)
    return np.asarray(np.median(seen, 0), np.float32)


# --- the cheapest part ----------------------------------------------------------------------


def _label(
    view: View, shapes: _Shapes, colours: _Learned, inside: NDArray[np.bool_]
) -> NDArray[np.int8]:
    costs = _costs(view, shapes, colours)
    smooth = np.stack(
        [guided_filter(view.grey, np.asarray(cost / 20, np.float32), 4, 2e-4) for cost in costs]
    )
    labels = np.where(inside, smooth.argmin(0), -1).astype(np.int8)
    labels = _without_specks(labels)
    labels = _with_hair_on_the_head(labels, costs, shapes)
    return _filled(labels, inside)


def _costs(view: View, shapes: _Shapes, colours: _Learned) -> list[Floats]:
    def ramp(x: Floats, slope: float, most: float) -> Floats:
        return np.asarray(np.clip(x * np.float32(slope), 0, most), np.float32)

    def fit(model: Colours | None) -> Floats:
        return model.cost(colours.lab) if model else np.full(view.shape, WORST, np.float32)

    down, aside = view.down, view.from_spine
    skin = np.minimum(0.55 * colours.skin**2 + 4.2, WORST)
    core = (aside < 0.45) & (down > 0.25) & (down < 0.7)
    hair = (
        fit(colours.hair)
        + ramp(shapes.head - 1, 2.5, 5)
        + 5 * (shapes.face < 0.8)
        + ramp(down - 0.15, 14, 12)
    )
    face = (
        skin
        - 3 * (shapes.face < 1)
        + ramp(np.minimum(shapes.neck, shapes.head) - 1, 3, 6)
        + ramp(down - 0.06, 10, 7)
    )
    arms = skin + ramp(shapes.arms - 1, 8, 10) - (shapes.forearms < 0.8)
    upper = (
        fit(colours.upper)
        + ramp(down - 0.85, 14, 12)
        + ramp(-0.17 - down, 50, 12)
        - 2.5 * core
        + 8 * (shapes.face < 1.1)
    )
    lower = fit(colours.lower) + ramp(0.75 - down, 18, 14) + 6 * (shapes.forearms < 0.8)
    return [np.asarray(cost, np.float32) for cost in (hair, face, arms, upper, lower)]


def _without_specks(labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Drop parts' islands of fewer than 0.06 % of the view."""
    kept = np.full_like(labels, -1)
    for part in range(5):
        mask = cv2.morphologyEx(
            (labels == part).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
        )
        _, islands, stats, _ = cv2.connectedComponentsWithStats(mask)
        large = stats[:, cv2.CC_STAT_AREA] > 0.0006 * labels.size
        large[0] = False
        kept[large[islands]] = part
    return kept


def _with_hair_on_the_head(
    labels: NDArray[np.int8], costs: list[Floats], shapes: _Shapes
) -> NDArray[np.int8]:
    count, islands = cv2.connectedComponents((labels == HAIR).astype(np.uint8))
    on_head = np.zeros(count, bool)
    on_head[islands[(shapes.head < 0.85)]] = True
    stray = (labels == HAIR) & ~on_head[islands]
    instead = np.where(costs[UPPER] < costs[ARMS] + 0.2, UPPER, ARMS)
    return np.where(stray, instead, labels).astype(np.int8)


def _filled(labels: NDArray[np.int8], inside: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Give what has no label that of its nearest neighbour."""
    missing = inside & (labels < 0)
    if not missing.any() or not (labels >= 0).any():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        (labels < 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, np.int8)
    table[nearest[labels >= 0]] = labels[labels >= 0]
    return np.where(missing, table[nearest], labels).astype(np.int8)
