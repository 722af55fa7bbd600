"""Layers on a photo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.engines.warp import composition
from app.engines.warp.composition import paint_top
from app.engines.warp.easel import Easel
from app.engines.warp.placement import Place
from app.engines.warp.targets import place_top
from app.engines.warp.values import Floats, Mask, Rgb, TopOutline
from app.engines.warp.warping import Cloth, Piece, warp_top
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

    assert np.array_equal(Easel(20, 20).finish(photo, Place(7, 9)), photo)


def test_only_what_is_covered_changes() -> None:
    photo, easel = _photo(), Easel(20, 20)

    easel.lay(_colour(100), _square())
    result = easel.finish(photo, Place(7, 9))

    assert (result[14:24, 12:22] == 100).all()
    untouched = np.ones(photo.shape[:2], bool)
    untouched[14:24, 12:22] = False
    assert np.array_equal(result[untouched], photo[untouched])


def test_two_half_covers_mix_as_they_should() -> None:
    photo = np.full((20, 20, 3), 200, np.uint8)
    easel = Easel(20, 20)

    easel.lay(_colour(0), _square(0.5))
    easel.lay(_colour(100), _square(0.5))

    assert easel.finish(photo, Place(0, 0))[10, 10, 0] == pytest.approx(
        200 * 0.25 + 100 * 0.5, abs=1
    )


def test_a_shadow_darkens_photo_and_paint() -> None:
    photo = np.full((20, 20, 3), 200, np.uint8)
    easel = Easel(20, 20)

    easel.lay(_colour(100), _square())
    easel.darken(np.full((20, 20), 0.5, np.float32))
    result = easel.finish(photo, Place(0, 0))

    assert (result[10, 10, 0], result[0, 0, 0]) == (50, 100)


def test_what_is_uncovered_is_the_photo_again() -> None:
    photo, easel = _photo(), Easel(20, 20)

    easel.lay(_colour(100), _square())
    easel.darken(np.full((20, 20), 0.5, np.float32))
    easel.uncover(np.ones((20, 20), np.float32))

    assert np.array_equal(easel.finish(photo, Place(7, 9)), photo)


def test_enlarged_it_changes_the_same_part() -> None:
    photo, easel = np.full((80, 100, 3), 200, np.uint8), Easel(20, 20)
    easel.lay(_colour(100), _square())

    result = easel.finish(photo, Place(7, 9, 2.0, 2.0))

    assert (result[30:46, 26:42] == 100).all()
    assert (result[:24] == 200).all()


def _striped_cloth(scale: int) -> tuple[Cloth, Rgb]:
    """Cloth of stripes that are too fine for the scene, and what a picture `scale` times as large
    shows of them."""
    stripes = np.zeros((20 * scale, 20 * scale, 3), np.float32)
    stripes[::2] = 200
    at = (np.arange(20, dtype=np.float32) + 0.5) * scale - 0.5
    field = np.dstack(np.meshgrid(at, at))
    box = np.s_[5:15, 5:15]
    piece = Piece(stripes, box, field[box])
    mean = np.full((10, 10, 3), 100, np.float32)
    return Cloth(box, mean, (piece,)), np.asarray(stripes, np.uint8)


def test_in_a_larger_picture_the_garment_is_drawn_anew() -> None:
    cloth, stripes = _striped_cloth(4)
    photo, light = np.full((80, 80, 3), 50, np.uint8), np.ones((20, 20), np.float32)
    easel = Easel(20, 20, sharp=True)

    easel.lay_cloth(cloth, light, _square())
    easel.darken(light * np.float32(0.5))
    result = easel.finish(photo, Place(0, 0, 4.0, 4.0))

    inner = np.s_[24:56, 24:56]
    assert np.abs(result[inner].astype(int) - stripes[inner] // 2).max() <= 1
    assert (result[:16] == 25).all()


def test_what_covers_the_garment_covers_it_in_a_larger_picture() -> None:
    cloth, _ = _striped_cloth(4)
    photo, ones = np.full((80, 80, 3), 50, np.uint8), np.ones((20, 20), np.float32)
    easel = Easel(20, 20, sharp=True)

    easel.lay_cloth(cloth, ones, _square())
    easel.lay(_colour(90), _square() * (np.arange(20) < 10))
    easel.uncover(_square() * (np.arange(20)[:, None] < 8))
    result = easel.finish(photo, Place(0, 0, 4.0, 4.0))

    assert np.abs(result[36:56, 24:36].astype(int) - 90).max() <= 1
    assert (result[24:28, 24:56] == 50).all()


def test_a_drawn_shirt_hides_the_old_one_and_spares_the_head() -> None:
    photo, parts = drawn_person(sleeves_to=180)
    scene, garment = drawn_scene(sleeves_to=180), drawn_garment()
    assert isinstance(garment.outline, TopOutline)
    target = place_top(scene, garment)

    easel, bared = composition.paint_top(scene, warp_top(scene, garment, target), target, seed=0)
    result = easel.finish(photo, scene.place)

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
    result = easel.finish(photo, scene.place)

    untouched = np.zeros(photo.shape[:2], bool)
    untouched[scene.place.top :, scene.place.left :][: scene.height, : scene.width][hand] = True
    assert np.array_equal(result[untouched], photo[untouched])


def test_what_is_enlarged_beyond_the_picture_is_cut_off() -> None:
    picture = np.full((709, 734, 3), 90, np.uint8)
    easel = Easel(536, 555)
    place = Place(0, 0, 735 / 555, 709 / 535)
    easel.lay(np.zeros((536, 555, 3), np.float32), np.ones((536, 555), np.float32))

    assert (easel.finish(picture, place) == 0).all()


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
    narrow = layers.cover * (np.abs(scene.x - SPINE_X) < TORSO_HALF - 10)

    easel, _ = paint_top(scene, replace(layers, cover=narrow), target, seed=0)

    strip = easel.finish(photo, scene.place)[236:262, 135:139].astype(int)
    assert np.abs(strip - TROUSERS).sum(2).min() > 60


def test_no_scrap_of_the_garment_floats_beside_it() -> None:
    photo, parts = drawn_person()
    scene = whole_scene(photo, parts)
    target = place_top(scene, drawn_garment())
    layers = warp_top(scene, drawn_garment(), target)
    cover = layers.cover.copy()
    cover[300:320, 40:52] = 1

    easel, _ = paint_top(scene, replace(layers, cover=cover), target, seed=0)

    picture = easel.finish(photo, scene.place)
    assert np.array_equal(picture[295:325, 35:57], photo[295:325, 35:57])
