"""Layers on a photo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.engines.warp import composition
from app.engines.warp.composition import Easel, paint_top
from app.engines.warp.targets import place_top
from app.engines.warp.values import Floats, Mask, Rgb, TopOutline
from app.engines.warp.warping import warp_top
from tests.unit.warp.drawn import (
    HIPS_Y,
    SPINE_X,
    TORSO_HALF,
    TROUSERS,
    drawn_garment,
    drawn_person,
    drawn_scene,
    whole_scene,
)


def _photo() -> Rgb:
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def _square(cover: float = 1.0) -> Mask:
    mask = np.zeros((20, 20), np.float32)
    mask[5:15, 5:15] = cover
    return mask


def _colour(value: float) -> Floats:
    return np.full((20, 20, 3), value, np.float32)


def test_an_empty_easel_changes_nothing() -> None:
    photo = _photo()

    assert np.array_equal(Easel(20, 20).finish(photo, 7, 9), photo)


def test_only_what_is_covered_changes() -> None:
    photo, easel = _photo(), Easel(20, 20)

    easel.lay(_colour(100), _square())
    result = easel.finish(photo, 7, 9)

    assert (result[14:24, 12:22] == 100).all()
    untouched = np.ones(photo.shape[:2], bool)
    untouched[14:24, 12:22] = False
    assert np.array_equal(result[untouched], photo[untouched])


def test_two_half_covers_mix_as_they_should() -> None:
    photo = np.full((20, 20, 3), 200, np.uint8)
    easel = Easel(20, 20)

    easel.lay(_colour(0), _square(0.5))
    easel.lay(_colour(100), _square(0.5))

    assert easel.finish(photo, 0, 0)[10, 10, 0] == pytest.approx(200 * 0.25 + 100 * 0.5, abs=1)


def test_a_shadow_darkens_photo_and_paint() -> None:
    photo = np.full((20, 20, 3), 200, np.uint8)
    easel = Easel(20, 20)

    easel.lay(_colour(100), _square())
    easel.darken(np.full((20, 20), 0.5, np.float32))
    result = easel.finish(photo, 0, 0)

    assert (result[10, 10, 0], result[0, 0, 0]) == (50, 100)


def test_what_is_uncovered_is_the_photo_again() -> None:
    photo, easel = _photo(), Easel(20, 20)

    easel.lay(_colour(100), _square())
    easel.darken(np.full((20, 20), 0.5, np.float32))
    easel.uncover(np.ones((20, 20), np.float32))

    assert np.array_equal(easel.finish(photo, 7, 9), photo)


def test_enlarged_it_changes_the_same_part() -> None:
    photo, easel = np.full((80, 100, 3), 200, np.uint8), Easel(20, 20)
    easel.lay(_colour(100), _square())

    large, left, top = easel.enlarged(2.0, 7, 9)
    result = large.finish(photo, left, top)

    assert (result[30:46, 26:42] == 100).all()
    assert (result[:24] == 200).all()


def test_a_drawn_shirt_hides_the_old_one_and_spares_the_head() -> None:
    photo, parts = drawn_person(sleeves_to=180)
    scene, garment = drawn_scene(sleeves_to=180), drawn_garment()
    assert isinstance(garment.outline, TopOutline)
    target = place_top(scene, garment)

    easel, bared = composition.paint_top(scene, warp_top(scene, garment, target), target, seed=0)
    result = easel.finish(photo, scene.left, scene.top)

    old = np.abs(result.astype(int) - (150, 150, 200)).max(2) < 12
    assert old[parts.upper > 0].mean() < 0.02
    face = parts.face.copy()
    face[95:] = 0  # below lies the neck, which a collar may hide
    assert np.array_equal(result[face > 0], photo[face > 0])
    legs = (parts.lower > 0) & (np.arange(480)[:, None] > 360)
    assert np.array_equal(result[legs], photo[legs])
    red = (result[..., 0] > 120) & (result[..., 1] < 60)
    assert red[150:250, 150:210].mean() > 0.4
    assert 0 <= bared.skin < 0.4


def test_between_hair_and_face_there_is_no_seam() -> None:
    _, parts = drawn_person()
    hairline = np.s_[50:60, 165:195]
    parts.hair[hairline] = 0.5
    parts.face[hairline] = 0.5

    head = composition.head_in_front(whole_scene(drawn_person()[0], parts))

    assert head[hairline].min() == 1


def test_hands_come_to_the_front_of_all_that_is_painted() -> None:
    photo, scene = drawn_person()[0], drawn_scene()
    hand = np.s_[scene.height // 2 :, :40]
    scene.hands[hand] = 1
    garment = drawn_garment()
    target = place_top(scene, garment)

    easel, _ = composition.paint_top(scene, warp_top(scene, garment, target), target, seed=0)
    result = easel.finish(photo, scene.left, scene.top)

    untouched = np.zeros(photo.shape[:2], bool)
    untouched[scene.top :, scene.left :][: scene.height, : scene.width][hand] = True
    assert np.array_equal(result[untouched], photo[untouched])


def test_what_is_enlarged_beyond_the_picture_is_cut_off() -> None:
    picture = np.full((709, 734, 3), 90, np.uint8)
    easel = Easel(536, 555)
    large, left, top = easel.enlarged(735 / 555, 0, 0)

    assert np.array_equal(large.finish(picture, left, top), picture)


def test_a_top_hides_the_skirt_beside_its_flank() -> None:
    """The pose has the flank 16 pixels too far in: a strip of the skirt is beyond it."""
    photo, parts = drawn_person()
    lower = parts.lower.copy()
    upper = parts.upper.copy()
    lower[230:HIPS_Y, 134:226], upper[230:HIPS_Y, 134:226] = 1, 0
    photo[230:HIPS_Y, 134:226] = TROUSERS
    scene = whole_scene(photo, replace(parts, lower=lower, upper=upper))
    target = place_top(scene, drawn_garment())
    layers = warp_top(scene, drawn_garment(), target)
    narrow = layers.body.cover * (np.abs(scene.x - SPINE_X) < TORSO_HALF - 10)

    easel, _ = paint_top(
        scene, replace(layers, body=replace(layers.body, cover=narrow)), target, seed=0
    )

    strip = easel.finish(photo, 0, 0)[236:262, 135:139].astype(int)
    assert np.abs(strip - TROUSERS).sum(2).min() > 60


def test_no_scrap_of_the_garment_floats_beside_it() -> None:
    photo, parts = drawn_person()
    scene = whole_scene(photo, parts)
    target = place_top(scene, drawn_garment())
    layers = warp_top(scene, drawn_garment(), target)
    cover = layers.body.cover.copy()
    cover[300:320, 40:52] = 1

    easel, _ = paint_top(
        scene, replace(layers, body=replace(layers.body, cover=cover)), target, seed=0
    )

    picture = easel.finish(photo, 0, 0)
    assert np.array_equal(picture[295:325, 35:57], photo[295:325, 35:57])
