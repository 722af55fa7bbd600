"""Legs on a drawn body: where they are, and how they are painted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.engines.warp.legs import bare_legs, seams, see_legs, skin_tone
from app.engines.warp.scene import Scene
from app.engines.warp.values import SIDES
from tests.unit.warp.drawn import (
    SKIN,
    SPINE_X,
    TORSO_HALF,
    drawn_person,
    whole_scene,
)

LEG_HALF = 18
KNEE_Y, ANKLE_Y = 390, 470


def _scene(*, bare_from: int | None = None) -> Scene:
    """Two legs with a gap between them; bare_from: where the trousers end."""
    photo, parts = drawn_person()
    x, y = np.arange(photo.shape[1])[None], np.arange(photo.shape[0])[:, None]
    apart = np.abs(np.abs(x - SPINE_X) - 30) < LEG_HALF
    legs = ((parts.lower > 0) & apart).astype(np.float32)
    bare = legs * (y >= (bare_from or photo.shape[0]))
    photo[bare > 0] = SKIN
    parts = replace(
        parts,
        lower=legs - bare,
        legs=bare.astype(np.float32),
        person=np.asarray(np.maximum(parts.person - parts.lower, legs), np.float32),
    )
    return whole_scene(photo, parts)


def test_a_leg_runs_from_hip_to_ankle() -> None:
    for side, leg in see_legs(_scene()).items():
        sign = -1 if side == "left" else 1
        np.testing.assert_allclose(leg.point(1.0), [SPINE_X + sign * 30, KNEE_Y], atol=2)
        np.testing.assert_allclose(leg.point(2.0), [SPINE_X + sign * 30, ANKLE_Y], atol=2)
        assert (leg.normal[:, 0] * sign > 0.9).all()


def test_edges_are_where_the_cloth_ends() -> None:
    for leg in see_legs(_scene()).values():
        knee = int(np.argmin(np.abs(leg.at - 1)))
        assert leg.outer[knee] == pytest.approx(LEG_HALF, abs=2)
        assert leg.inner[knee] == pytest.approx(LEG_HALF, abs=2)


def test_no_bare_leg_is_wider_than_the_trousers_over_it() -> None:
    for leg in see_legs(_scene()).values():
        outer, inner = leg.bare()
        below_hips = leg.at > 0.5
        assert (outer[below_hips] <= LEG_HALF + 1).all()
        assert (inner <= leg.inner + 1e-3).all()


def test_a_bare_shin_is_measured() -> None:
    for leg in see_legs(_scene(bare_from=400)).values():
        outer, _ = leg.bare()
        shin = (leg.at > 1.3) & (leg.at < 1.8)
        np.testing.assert_allclose(outer[shin], LEG_HALF, atol=2)


def test_legs_do_not_overlap() -> None:
    scene = _scene()
    small = scene.half()

    masks = [where for where, _ in bare_legs(small, see_legs(scene), small.parts.lower)]

    assert np.minimum(*masks).max() < 0.55  # soft edges may meet


def test_painted_legs_are_of_the_persons_skin_and_round() -> None:
    scene = _scene()
    small = scene.half()

    for where, colour in bare_legs(small, see_legs(scene), small.parts.lower):
        seen = colour[(where > 0.95) & (small.parts.lower > 0.5)]
        assert np.abs(np.median(seen, 0) - SKIN).max() < 25
        row = colour[180, where[180] > 0.9].sum(1)
        assert row[len(row) // 2] > row[0]
        assert row[len(row) // 2] > row[-1]


def test_the_skin_of_legs_that_show_is_taken_first() -> None:
    scene = _scene(bare_from=400)
    photo = scene.photo.copy()
    tanned = np.array([195, 148, 128], np.float32)
    photo[scene.parts.legs > 0] = tanned
    small = replace(scene, photo=photo).half()

    tone = skin_tone(small, small.parts.lower)

    np.testing.assert_allclose(tone, tanned, atol=2)


def test_a_painted_leg_goes_over_into_the_one_that_is_seen() -> None:
    scene = _scene(bare_from=400)
    photo = scene.photo.copy()
    shin = np.array([150, 105, 85], np.float32)
    photo[scene.parts.legs > 0] = shin
    photo[432:][scene.parts.legs[432:] > 0] = SKIN  # lighter further down: the tone is taken here
    scene = replace(scene, photo=photo)
    small = scene.half()

    for where, colour in bare_legs(small, see_legs(scene), small.parts.lower):
        row = 204  # just below where the trousers end, at half size
        middle = int(np.median(np.flatnonzero(where[row] > 0.95)))
        assert np.abs(colour[row, middle] - shin).max() < 25  # 62 without


def test_paint_goes_on_below_the_hem_where_its_shadow_lies_and_no_further() -> None:
    scene = _scene(bare_from=400)

    seam = seams(scene, see_legs(scene))

    middle = round(SPINE_X) + 30
    assert seam[402, middle] > 0.9
    assert seam[420:, middle].max() == 0
    assert seam[:398].max() == 0
    assert seam[400:, round(SPINE_X)].max() == 0  # between the legs


def test_where_trousers_end_is_found() -> None:
    for leg in see_legs(_scene(bare_from=430)).values():
        assert leg.cloth_ends == pytest.approx(1.5, abs=0.06)


def test_both_sides_are_there() -> None:
    assert set(see_legs(_scene())) == set(SIDES)
    assert TORSO_HALF > LEG_HALF
