"""Where a drawn garment goes on a drawn body."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.engines.warp.arms import exits, see_arm
from app.engines.warp.targets import (
    TORSO_ROWS,
    old_hem,
    place_sleeve,
    place_top,
    shoulder_tip,
    torso_half_widths,
)
from app.engines.warp.values import SIDES
from tests.unit.warp.drawn import (
    HIPS_Y,
    SHOULDER_HALF,
    SPINE_X,
    TORSO_HALF,
    drawn_garment,
    drawn_outline,
    drawn_person,
    drawn_scene,
    points,
    whole_scene,
)


def test_a_ray_ends_where_the_mask_does() -> None:
    mask = np.zeros((20, 30), np.float32)
    mask[:, :17] = 1

    found = exits(mask, points((5, 10), (5, 10)), points((1, 0), (0, 1)), 25)

    assert found[0] == pytest.approx(12, abs=1)
    assert np.isinf(found[1])  # the frame is no edge of the body


def test_both_sides_of_an_even_body_are_alike() -> None:
    scene = drawn_scene()
    axis = float(scene.body.shoulders[0])

    target = place_top(scene, drawn_garment())

    for name in ("neck", "tip", "pit", "shoulder", "side"):
        left, right = getattr(target.left, name), getattr(target.right, name)
        np.testing.assert_allclose(axis - left[..., 0], right[..., 0] - axis, atol=2.5)
        np.testing.assert_allclose(left[..., 1], right[..., 1], atol=2.5)


def test_the_sides_hide_the_torso() -> None:
    scene = drawn_scene()
    axis = float(scene.body.shoulders[0])

    target = place_top(scene, drawn_garment())

    for side in SIDES:
        aside = np.abs(target.side(side).side[1:, 0] - axis)
        assert (aside >= TORSO_HALF).all()
        assert (aside <= 1.4 * TORSO_HALF).all()


def test_a_shoulder_ends_on_the_silhouette() -> None:
    scene = drawn_scene()

    for side in SIDES:
        x, y = shoulder_tip(scene, side)

        above = scene.parts.person[round(float(y)) - 3, round(float(x))]
        below = scene.parts.person[round(float(y)) + 3, round(float(x))]
        assert (above, below) == (0, 1)


def test_a_sleeve_is_wider_than_the_arm_and_starts_at_the_seam() -> None:
    scene = drawn_scene()

    target = place_top(scene, drawn_garment())

    for side in SIDES:
        sleeve = target.side(side).sleeve
        assert sleeve is not None
        np.testing.assert_allclose(sleeve.outer[0], target.side(side).tip, atol=0.1)
        np.testing.assert_allclose(sleeve.inner[0], target.side(side).pit, atol=0.1)
        aside = np.abs(sleeve.outer[-1, 0] - float(scene.body.shoulders[0]))
        assert aside >= TORSO_HALF + 30 - 2
        assert 0.1 < sleeve.reach < 0.7


def test_without_sleeves_there_are_none() -> None:
    target = place_top(drawn_scene(), drawn_garment(sleeves=False))

    assert target.left.sleeve is None
    assert target.left.tip[0] > target.left.pit[0] - SHOULDER_HALF


def test_the_old_hem_is_found() -> None:
    assert old_hem(drawn_scene()) == pytest.approx(1.0, abs=0.03)


def test_the_new_top_reaches_the_old_hem_where_it_may() -> None:
    target = place_top(drawn_scene(), drawn_garment())

    assert 0.85 <= target.stretch <= 1.22
    assert target.hem_down == pytest.approx(target.old_hem_down, abs=0.25)
    assert HIPS_Y > 0


@pytest.mark.parametrize(("sleeves_to", "least", "most"), [(0, 0, 0), (200, 0.3, 0.6)])
def test_an_old_sleeve_ends_where_it_ends(sleeves_to: float, least: float, most: float) -> None:
    scene = drawn_scene(sleeves_to=sleeves_to)

    for side in SIDES:
        assert least <= see_arm(scene, side).bare_from <= most


def test_a_short_sleeve_that_touches_the_body_is_no_part_of_the_torso() -> None:
    photo, parts = drawn_person(sleeves_to=195)
    gap = np.zeros_like(parts.upper)
    gap[112:195, :] = parts.person[150] == 0  # between torso and arm, and beside the arms
    gap[:, : int(SPINE_X) - TORSO_HALF - 8] = gap[:, int(SPINE_X) + TORSO_HALF + 8 :] = 0
    upper = np.maximum(parts.upper, gap)
    scene = whole_scene(photo, replace(parts, upper=upper, person=np.maximum(parts.person, gap)))

    for side in SIDES:
        arm = see_arm(scene, side)
        wide = torso_half_widths(scene, side, arm)
        assert 0.15 < arm.bare_from < 0.5
        assert wide[TORSO_ROWS < 0.45].max() < TORSO_HALF + 12


@pytest.mark.parametrize(("long", "least", "most"), [(True, 1.0, 1.0), (False, 0.1, 0.7)])
def test_a_long_sleeve_ends_at_the_wrist_however_small_its_garment_is_made(
    long: bool, least: float, most: float
) -> None:
    flat = drawn_outline().right.sleeve
    assert flat is not None

    sleeve = place_sleeve(
        drawn_scene(),
        flat,
        "right",
        tip=points((SPINE_X + 54, 118))[0],
        pit=points((SPINE_X + 48, 163))[0],
        scale=1.0,
        long=long,
    )

    assert least <= sleeve.reach <= most
