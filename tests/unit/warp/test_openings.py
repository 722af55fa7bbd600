"""Jackets and cardigans that hang open show what is worn under them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.engines.warp.composition import paint_top
from app.engines.warp.garments import read_garment
from app.engines.warp.targets import place_top
from app.engines.warp.values import Garment, Rgb
from app.engines.warp.warping import warp_top
from tests import garment_pictures as pictures
from tests.unit.warp.conftest import flat_lay
from tests.unit.warp.drawn import SHIRT, drawn_garment, drawn_person, whole_scene


def read(photo: Rgb) -> Garment:
    return read_garment(photo, category="auto", photo_type="auto", side=512)


def drawn(kind: str, look: str) -> Garment:
    return read(pictures.draw(kind, pictures.LOOKS[look]).picture)


@pytest.mark.parametrize("look", ["shadow", "white on grey", "striped, shadow"])
def test_an_open_front_is_found_where_it_is(look: str) -> None:
    garment = drawn("cardigan", look)

    assert garment.opening is not None
    assert garment.cautions == ("open_front",)
    row = garment.opening[round(0.6 * len(garment.opening))]
    inside = np.flatnonzero(row > 0.5)
    true_width = 2 * pictures.CUTS["cardigan"].open_front / 0.86  # the garment is 0.86 wide
    assert len(inside) / len(row) == pytest.approx(true_width, abs=0.02)
    assert float(inside.mean()) == pytest.approx(len(row) / 2, abs=0.02 * len(row))


@pytest.mark.parametrize("look", ["print", "striped, shadow", "white panel"])
@pytest.mark.parametrize("kind", ["t-shirt", "long sleeve"])
def test_a_closed_front_is_no_open_one(kind: str, look: str) -> None:
    assert drawn(kind, look).opening is None


@pytest.mark.parametrize("name", ["shirt", "henley", "polo", "hoodie"])
def test_buttons_and_plackets_are_no_openings(name: str) -> None:
    assert read(flat_lay(name)).opening is None


def test_what_is_worn_under_it_is_left_alone() -> None:
    garment, scene = drawn_garment(), whole_scene(*drawn_person())
    opening = np.zeros_like(garment.alpha)
    opening[:, 100:140] = 1
    garment = replace(garment, opening=opening)
    target = place_top(scene, garment)

    easel, bared = paint_top(scene, warp_top(scene, garment, target), target, seed=0)

    picture = easel.finish(scene.photo.astype(np.uint8), scene.place)
    chest, beside = picture[180:240, 176:185], picture[180:240, 145:150]
    assert np.abs(chest.astype(int) - SHIRT).max() <= 2
    assert np.abs(beside.astype(int) - SHIRT).min(axis=2).max() > 20
    assert bared.left < 0.05, "it is no rest of the old garment"
