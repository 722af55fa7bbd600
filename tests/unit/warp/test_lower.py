"""Trousers, shorts and skirts on a drawn body."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from app.engines.warp.lower import BottomTarget, check_legs, find_waist, place_bottom
from app.engines.warp.lower_layers import old_bottom, paint_bottom, warp_bottom
from app.engines.warp.placement import Place
from app.engines.warp.scene import Scene
from app.engines.warp.values import SIDES, BottomKind, BottomOutline, Garment, Points, Rgb
from app.errors import EngineError, FailureCode
from tests.unit.warp.drawn import (
    HIPS_Y,
    SHIRT,
    SPINE_X,
    TORSO_HALF,
    TROUSERS,
    drawn_person,
    drawn_pose,
    points,
    whole_scene,
)

RED = (200, 30, 40)


def _scene(*, waist_y: int | None = None) -> Scene:
    """waist_y: where a shirt that is tucked in ends; None lets it hang to the hips."""
    photo, parts = drawn_person()
    if waist_y is not None:
        below = np.arange(photo.shape[0])[:, None] >= waist_y
        tucked = parts.upper * below
        parts = replace(parts, upper=parts.upper - tucked, lower=np.maximum(parts.lower, tucked))
        photo[tucked > 0] = TROUSERS
    return whole_scene(photo, parts)


def _line(begin: tuple[float, float], end: tuple[float, float], count: int = 9) -> Points:
    return np.linspace(begin, end, count).astype(np.float32)


def _garment(kind: BottomKind) -> Garment:
    """Red, of 240 × 340 pixels; its axis at x = 120, its waist 100 wide."""
    bottom = 150.0 if kind == "shorts" else 320.0 if kind == "trousers" else 180.0
    left, right = _line((70, 20), (60, bottom)), _line((170, 20), (180, bottom))
    waist, alpha = _line((70, 20), (170, 20), 5), np.zeros((340, 240), np.float32)
    if kind == "skirt":
        hem = _line((60, bottom), (180, bottom))
        outline = BottomOutline("skirt", waist, left, right, hem)
        cv2.fillPoly(alpha, [np.concatenate([left, right[::-1]]).astype(np.int32)], 1.0)
    else:
        inner = (_line((120, 100), (110, bottom)), _line((120, 100), (130, bottom)))
        hem = _line((60, bottom), (180, bottom))
        outline = BottomOutline(kind, waist, left, right, hem, points((120, 100))[0], *inner)
        for outer, along in ((left, inner[0]), (right, inner[1])):
            top = points((120, 20))
            polygon = np.concatenate([outer, along[::-1], top])
            cv2.fillPoly(alpha, [polygon.astype(np.int32)], 1.0)
    picture = np.empty((340, 240, 3), np.float32)
    picture[:] = RED
    return Garment(picture, alpha, "bottoms", outline)


def _dressed(scene: Scene, kind: BottomKind) -> tuple[Rgb, BottomTarget]:
    garment = _garment(kind)
    target = place_bottom(scene, garment)
    easel, _ = paint_bottom(scene, warp_bottom(scene, garment, target), target, seed=1)
    return easel.finish(scene.photo.astype(np.uint8), Place(0, 0)), target


def _like(picture: Rgb, colour: tuple[int, int, int]) -> np.ndarray:
    return np.asarray(np.abs(picture.astype(int) - colour).max(2) < 60)


# --- the waist ------------------------------------------------------------------------------


def test_a_shirt_to_the_hips_hangs_over() -> None:
    assert not find_waist(_scene()).tucked


def test_the_waist_of_a_tucked_shirt_is_found() -> None:
    waist = find_waist(_scene(waist_y=242))

    assert waist.tucked
    assert waist.down == pytest.approx((242 - 130) / (HIPS_Y - 130), abs=0.02)
    assert waist.slope == pytest.approx(0, abs=0.01)


def test_a_waist_may_slope() -> None:
    scene = _scene(waist_y=242)
    rows = np.arange(scene.height)[:, None]
    slope = (np.arange(scene.width)[None] - SPINE_X) * 0.1
    lower = (scene.parts.person - scene.parts.arms) * (rows > 240 + slope)
    parts = replace(scene.parts, lower=lower.astype(np.float32))

    waist = find_waist(replace(scene, parts=parts))

    assert waist.slope == pytest.approx(0.1 * 100 / 160, abs=0.015)


def test_under_a_dress_the_waist_is_the_natural_one() -> None:
    scene = _scene()
    dress = np.maximum(scene.parts.upper, scene.parts.lower)
    parts = replace(scene.parts, upper=dress, lower=np.zeros_like(dress))
    scene = replace(scene, parts=parts)
    target = place_bottom(scene, _garment("skirt"))

    assert target.tucked
    old = old_bottom(scene, target)
    assert old[400, 180] == 1  # the dress's skirt goes
    assert old[150, 180] == 0  # its upper half stays


# --- where it goes --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["trousers", "shorts", "skirt"])
def test_both_halves_of_an_even_body_are_alike(kind: BottomKind) -> None:
    target = place_bottom(_scene(waist_y=242), _garment(kind))

    for name in ("outer", "inner"):
        left, right = (getattr(target.worn[side], name) for side in SIDES)
        np.testing.assert_allclose(SPINE_X - left[:, 0], right[:, 0] - SPINE_X, atol=3)
        np.testing.assert_allclose(left[:, 1], right[:, 1], atol=3)


def test_between_the_legs_no_ground_comes_along() -> None:
    """The gap's tip is narrower than what was cut out, and its edges are half ground."""
    garment, scene = _garment("trousers"), _scene(waist_y=242)
    gap = np.array([(119, 92), (118, 112), (109, 320), (131, 320), (122, 112), (121, 92)], np.int32)
    cv2.fillPoly(garment.picture, [gap], (255.0, 255.0, 255.0))
    target = place_bottom(scene, garment)

    layer = warp_bottom(scene, garment, target)

    crotch = target.worn["left"].inner[target.worn["left"].upper]
    x, y = (round(float(value)) for value in crotch)
    near = np.s_[y - 20 : y + 40, x - 20 : x + 20]
    worn = layer.cloth.colour[near].astype(np.uint8)
    assert _like(worn, RED)[layer.cover[near] > 0.99].all()


def test_long_trousers_end_at_the_ankles() -> None:
    target = place_bottom(_scene(waist_y=242), _garment("trousers"))

    assert target.long
    for side in SIDES:
        assert target.worn[side].outer[-1, 1] == pytest.approx(475, abs=10)


def test_shorts_end_above_the_knees() -> None:
    target = place_bottom(_scene(waist_y=242), _garment("shorts"))

    assert not target.long
    for side in SIDES:
        assert HIPS_Y + 20 < target.worn[side].outer[-1, 1] < 400


def test_the_hips_are_hidden() -> None:
    target = place_bottom(_scene(waist_y=242), _garment("trousers"))

    for side in SIDES:
        upper = target.worn[side].outer[1 : target.worn[side].upper - 2]
        assert (np.abs(upper[:, 0] - SPINE_X) >= TORSO_HALF - 2).all()


# --- the picture ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["trousers", "shorts", "skirt"])
def test_a_bottom_is_seen_and_the_rest_is_untouched(kind: BottomKind) -> None:
    scene = _scene(waist_y=242)
    photo = scene.photo.astype(np.uint8)

    picture, _ = _dressed(scene, kind)

    assert _like(picture, RED)[260:300, 150:210].mean() > 0.95
    changed = (picture != photo).any(2)
    assert not changed[:225].any()
    assert not changed[(scene.parts.arms > 0) & (np.arange(scene.height)[:, None] < 300)].any()


def test_no_old_trousers_are_left_under_shorts() -> None:
    picture, target = _dressed(_scene(waist_y=242), "shorts")

    hem = max(float(target.worn[side].outer[-1, 1]) for side in SIDES)
    assert _like(picture, TROUSERS)[int(hem) + 6 :].mean() < 0.01


def test_a_top_that_hangs_over_stays_in_front() -> None:
    scene = _scene()

    picture, _ = _dressed(scene, "trousers")

    assert np.array_equal(picture[:280], scene.photo.astype(np.uint8)[:280])
    assert _like(picture, SHIRT)[270:286, 150:210].all()
    assert _like(picture, RED)[310:330, 150:175].mean() > 0.9


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "height", "refused"),
    [
        ("trousers", 480, False),
        ("trousers", 340, False),
        ("trousers", 330, True),
        ("shorts", 380, False),
        ("shorts", 310, True),
        ("skirt", 310, True),
    ],
)
def test_a_bottom_needs_legs_in_the_photo(kind: BottomKind, height: int, refused: bool) -> None:
    photo = np.zeros((height, 360, 3), np.uint8)

    if not refused:
        check_legs(photo, drawn_pose(), kind)
        return
    with pytest.raises(EngineError) as error:
        check_legs(photo, drawn_pose(), kind)
    assert error.value.failure is FailureCode.BODY_OUT_OF_FRAME
