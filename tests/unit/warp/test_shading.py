"""The light of the old garment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.engines.warp import shading
from tests.unit.warp.drawn import drawn_scene


def test_an_even_garment_has_no_relief() -> None:
    relief = shading.old_relief(drawn_scene().half())

    assert float(np.abs(relief - 1).max()) < 0.02


def test_a_shadow_on_the_old_garment_falls_on_the_new_one() -> None:
    scene = drawn_scene().half()
    photo = scene.photo.copy()
    rows = (scene.down > 0.45) & (scene.down < 0.6) & (scene.parts.upper > 0.9)
    photo[rows] *= 0.8

    relief = shading.old_relief(replace(scene, photo=photo))

    middle = np.abs(scene.aside) < 5
    assert float(relief[middle & rows].mean()) < 0.93
    assert float(relief[middle & (scene.down > 0.75) & (scene.down < 0.9)].mean()) > 0.97


def test_a_button_does_not_come_through() -> None:
    scene = drawn_scene().half()
    photo = scene.photo.copy()
    y, x = np.argwhere((np.abs(scene.down - 0.5) < 0.01) & (np.abs(scene.aside) < 1))[0]
    photo[y - 1 : y + 2, x - 1 : x + 2] = 20

    relief = shading.old_relief(replace(scene, photo=photo))

    assert float(np.abs(relief - 1).max()) < 0.03


def test_a_pattern_is_not_taken_for_light() -> None:
    scene = drawn_scene().half()
    loud = replace(scene, parts=replace(scene.parts, upper_texture=60.0))

    assert shading.believed(loud) == 0
    assert (shading.old_relief(loud) == 1).all()


def test_a_sleeve_is_lighter_in_its_middle() -> None:
    aside = np.linspace(0, 1, 21, dtype=np.float32)[None]

    light = shading.sleeve_light(np.full_like(aside, 0.5), aside)[0]

    assert light[8] == pytest.approx(1, abs=0.01)
    assert light[-1] < 0.9
