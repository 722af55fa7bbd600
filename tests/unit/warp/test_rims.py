"""The edge of an arm that hangs before a patterned skirt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.engines.warp.rims import with_rims
from app.engines.warp.scene import Scene
from tests.unit.warp.drawn import SKIN, TROUSERS, drawn_person, whole_scene

_ARM_BEGINS, _ASTRAY = 234, 5
"""Pixels: where the drawn left arm begins, and how far the labels take it too far in."""
_ROWS = slice(200, 275)


def _before_stripes(*, strays: bool) -> Scene:
    """A skirt in two colours up to the arm; the labels have some of it as arm."""
    photo, parts = drawn_person()
    lower, arms, upper = parts.lower.copy(), parts.arms.copy(), parts.upper.copy()
    cloth = np.s_[_ROWS, 134:_ARM_BEGINS]
    lower[cloth], upper[cloth] = 1, 0
    photo[cloth] = TROUSERS
    photo[204:275:8, 134:_ARM_BEGINS] = 240
    if strays:
        rim = np.s_[_ROWS, _ARM_BEGINS - _ASTRAY : _ARM_BEGINS]
        lower[rim], arms[rim] = 0, 1
    return whole_scene(photo, replace(parts, lower=lower, arms=arms, upper=upper))


def test_what_has_the_cloths_colours_is_cloth() -> None:
    scene = with_rims(_before_stripes(strays=True))

    rim = np.s_[210:265, _ARM_BEGINS - _ASTRAY : _ARM_BEGINS - 1]
    assert float(scene.parts.arms[rim].max()) < 0.1
    assert float(scene.parts.lower[rim].min()) > 0.9


def test_a_dress_is_cloth_too() -> None:
    seen = _before_stripes(strays=True)
    parts = seen.parts
    dress = np.maximum(parts.upper, parts.lower)
    worn = replace(parts, upper=dress, lower=np.zeros_like(dress))

    scene = with_rims(replace(seen, parts=worn))

    rim = np.s_[210:265, _ARM_BEGINS - _ASTRAY : _ARM_BEGINS - 1]
    assert float(scene.parts.arms[rim].max()) < 0.1
    assert float(scene.parts.upper[rim].min()) > 0.9


def test_the_arm_itself_stays() -> None:
    seen = _before_stripes(strays=True)

    scene = with_rims(seen)

    skin = (seen.photo == np.array(SKIN, np.float32)).all(-1) & (seen.parts.arms > 0)
    skin[:, _ARM_BEGINS - 1 : _ARM_BEGINS + 3] = False  # the edge itself is soft
    assert np.array_equal(scene.parts.arms[skin], seen.parts.arms[skin])


def test_labels_that_are_right_stay() -> None:
    seen = _before_stripes(strays=False)

    scene = with_rims(seen)

    assert np.array_equal(scene.parts.arms, seen.parts.arms)
    assert np.array_equal(scene.parts.lower, seen.parts.lower)
