"""A body and a T-shirt drawn with straight lines, whose every point is known."""

from __future__ import annotations

import cv2
import numpy as np

from app.engines.warp.arrays import grid
from app.engines.warp.placement import Place
from app.engines.warp.scene import Scene, see
from app.engines.warp.values import (
    Body,
    Garment,
    Mask,
    Parts,
    Points,
    Pose,
    Rgb,
    SleeveOutline,
    TopOutline,
    TopSide,
)

HEIGHT, WIDTH = 480, 360
SKIN, SHIRT, TROUSERS, GROUND = (205, 160, 140), (150, 150, 200), (60, 70, 110), (225, 225, 225)
SHOULDERS_Y, HIPS_Y, SPINE_X = 130, 290, 180.0
SHOULDER_HALF = 50.0
TORSO_HALF = 46
"""Pixels. The arms hang straight down, 8 pixels from the torso."""


def points(*of: tuple[float, float]) -> Points:
    return np.array(of, np.float32)


def _box(left: float, top: float, right: float, bottom: float) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[round(top) : round(bottom), round(left) : round(right)] = 1
    return mask


def drawn_pose() -> Pose:
    """The 33 points of a person who faces the camera with hanging arms."""
    at = np.zeros((33, 2), np.float32)
    at[:11] = [SPINE_X, 60]
    at[[2, 5]] = [[SPINE_X + 9, 55], [SPINE_X - 9, 55]]
    at[[9, 10]] = [[SPINE_X + 6, 75], [SPINE_X - 6, 75]]
    for side, sign in ((0, 1), (1, -1)):
        x = SPINE_X + sign * SHOULDER_HALF
        at[11 + side] = [x, SHOULDERS_Y]
        at[13 + side] = [x + sign * 15, 210]
        at[15 + side] = [x + sign * 15, 280]
        at[[17 + side, 19 + side, 21 + side]] = [x + sign * 15, 300]
        at[23 + side] = [SPINE_X + sign * 30, HIPS_Y]
        at[25 + side] = [SPINE_X + sign * 30, 390]
        at[[27 + side, 29 + side, 31 + side]] = [SPINE_X + sign * 30, 470]
    ones = np.ones(33, np.float32)
    return Pose(at, ones, ones, 1.0, np.ones((HEIGHT, WIDTH), np.float32))


def drawn_body() -> Body:
    return Body(
        up=np.array([0, -1], np.float32),
        across=np.array([1, 0], np.float32),
        shoulder_width=2 * SHOULDER_HALF,
        torso_length=float(HIPS_Y - SHOULDERS_Y),
        shoulders=np.array([SPINE_X, SHOULDERS_Y], np.float32),
        hips=np.array([SPINE_X, HIPS_Y], np.float32),
    )


def drawn_person(*, sleeves_to: float = 0) -> tuple[Rgb, Parts]:
    """The photo and its parts; `sleeves_to`: the y down to which the old top hides the arms."""
    torso = _box(SPINE_X - TORSO_HALF, 112, SPINE_X + TORSO_HALF, HIPS_Y)
    legs = _box(SPINE_X - TORSO_HALF, HIPS_Y, SPINE_X + TORSO_HALF, HEIGHT)
    head = _box(SPINE_X - 22, 30, SPINE_X + 22, 112)
    inner, outer = TORSO_HALF + 8, TORSO_HALF + 30
    limbs = np.maximum(
        _box(SPINE_X - outer, 116, SPINE_X - inner, 310),
        _box(SPINE_X + inner, 116, SPINE_X + outer, 310),
    )
    limbs = np.maximum(limbs, _box(SPINE_X - outer, 116, SPINE_X + outer, 150) * (1 - torso))
    covered = limbs * (np.arange(HEIGHT)[:, None] < sleeves_to)
    arms, upper = limbs - covered, np.maximum(torso, covered)
    photo = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    photo[:] = GROUND
    for mask, colour in ((legs, TROUSERS), (head, SKIN), (arms, SKIN), (upper, SHIRT)):
        photo[mask > 0] = colour
    tone = cv2.cvtColor(np.array([[SKIN]], np.uint8), cv2.COLOR_RGB2LAB)[0, 0]
    parts = Parts(
        person=np.maximum.reduce([head, limbs, torso, legs]),
        hair=np.zeros((HEIGHT, WIDTH), np.float32),
        face=head,
        arms=np.asarray(arms, np.float32),
        upper=np.asarray(upper, np.float32),
        lower=legs,
        legs=np.zeros((HEIGHT, WIDTH), np.float32),
        feet=np.zeros((HEIGHT, WIDTH), np.float32),
        skin_tone=np.asarray(tone, np.float32),
        upper_texture=2.0,
        trust=1.0,
    )
    return photo, parts


def drawn_scene(*, sleeves_to: float = 0) -> Scene:
    photo, parts = drawn_person(sleeves_to=sleeves_to)
    return see(
        photo,
        pose=drawn_pose(),
        body=drawn_body(),
        parts=parts,
        category="tops",
        side=HEIGHT,
    )


def drawn_outline(*, sleeves: bool = True) -> TopOutline:
    """A T-shirt of 200 × 220 pixels, its axis at x = 120."""

    def side(sign: int) -> TopSide:
        x = 120.0
        pit = points((x + sign * 52, 70))[0]
        tip = points((x + sign * 54, 24))[0]
        neck = points((x + sign * 22, 14))[0]
        hem = points((x + sign * 52, 220))[0]
        down = np.linspace(70, 220, 9)
        sleeve = SleeveOutline(
            outer=points((x + sign * 54, 24), (x + sign * 84, 84)),
            inner=points((x + sign * 52, 70), (x + sign * 64, 94)),
            length=48.0,
        )
        shares = np.array([[0.25], [0.5], [0.75]], np.float32)
        return TopSide(
            neck=neck,
            tip=tip,
            pit=pit,
            shoulder=np.asarray(neck * (1 - shares) + tip * shares, np.float32),
            side=np.stack([np.full(9, pit[0]), down], 1).astype(np.float32),
            hem=hem,
            sleeve=sleeve if sleeves else None,
        )

    hem = np.stack([np.linspace(68, 172, 9), np.full(9, 220)], 1).astype(np.float32)
    return TopOutline(
        120.0, side(-1), side(1), hem, neckline=None, sleeves="short" if sleeves else "none"
    )


def drawn_garment(*, sleeves: bool = True) -> Garment:
    """A red T-shirt with a white square on its chest."""
    outline = drawn_outline(sleeves=sleeves)
    alpha = np.zeros((230, 240), np.uint8)
    cv2.rectangle(alpha, (68, 14), (172, 220), 1, -1)
    for one in (outline.left, outline.right):
        if one.sleeve is not None:
            polygon = np.concatenate([one.sleeve.outer, one.sleeve.inner[::-1]])
            cv2.fillPoly(alpha, [polygon.astype(np.int32)], 1)
    picture = np.empty((230, 240, 3), np.float32)
    picture[:] = (200, 30, 40)
    picture[90:130, 100:140] = 250
    return Garment(picture, alpha.astype(np.float32), "tops", outline)


def whole_scene(photo: Rgb, parts: Parts) -> Scene:
    """All of the drawn photo, nothing cropped: its pixels are the scene's."""
    body = drawn_body()
    x, y = grid(HEIGHT, WIDTH)
    return Scene(
        photo=photo.astype(np.float32),
        place=Place(0, 0),
        pose=drawn_pose(),
        body=body,
        parts=parts,
        x=x,
        y=y,
        down=body.down_torso(x, y),
        aside=body.from_spine(x, y),
        hands=np.zeros((HEIGHT, WIDTH), np.float32),
    )
