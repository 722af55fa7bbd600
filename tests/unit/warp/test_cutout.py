"""Garments cut out of drawn photos, compared with what was drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.engines.warp.cutout import find_silhouette, fit_ground, matte
from tests import garment_pictures as pictures

_LEAST_OVERLAP = {
    "studio": 0.99,
    "white on white": 0.97,
    "white on grey": 0.97,
    "shadow": 0.97,
    "strong shadow": 0.96,
    "striped, shadow": 0.93,
    "grey, shadow": 0.95,
    "white, shadow": 0.93,
    "black on dark": 0.96,
    "light on dark": 0.99,
    "on blue": 0.98,
    "on wood colour": 0.97,
    "white panel": 0.95,
    "print": 0.96,
    "phone": 0.96,
}


@pytest.mark.parametrize("look", pictures.LOOKS)
def test_the_mask_is_the_garment_without_its_shadow(look: str) -> None:
    drawn = pictures.draw("t-shirt", pictures.LOOKS[look])

    mask = find_silhouette(drawn.picture).mask > 0

    size = (mask.shape[1], mask.shape[0])
    truth = cv2.resize(drawn.coverage, size, interpolation=cv2.INTER_AREA) > 0.5
    assert (mask & truth).sum() / (mask | truth).sum() > _LEAST_OVERLAP[look]


@pytest.mark.parametrize("kind", ["long sleeve", "trousers", "strap top"])
def test_gaps_between_sleeves_and_legs_are_ground(kind: str) -> None:
    drawn = pictures.draw(kind, pictures.LOOKS["strong shadow"])

    mask = find_silhouette(drawn.picture).mask > 0

    size = (mask.shape[1], mask.shape[0])
    truth = cv2.resize(drawn.coverage, size, interpolation=cv2.INTER_AREA) > 0.5
    assert (mask & ~truth).sum() / truth.sum() < 0.03


def test_the_edge_has_no_halo_of_the_ground() -> None:
    drawn = pictures.draw("t-shirt", pictures.Look((30, 60, 40), (250, 250, 250)))

    cutout = matte(drawn.picture, find_silhouette(drawn.picture).mask, 1024)

    covered = cutout.alpha > 0.3
    assert cutout.picture[covered].max() < 140, "the print aside, nothing is as light as the ground"


def test_the_coverage_of_the_edge_is_what_was_drawn() -> None:
    drawn = pictures.draw("t-shirt")

    cutout = matte(drawn.picture, find_silhouette(drawn.picture).mask, 1024)

    left, top = (int(value) for value in cutout.origin)
    height, width = cutout.alpha.shape
    truth = drawn.coverage[top : top + height, left : left + width]
    mixed = (truth > 0.02) & (truth < 0.98)
    assert np.abs(cutout.alpha - truth)[mixed].mean() < 0.12


def test_the_crop_fits_the_side_asked_for() -> None:
    drawn = pictures.draw("dress")

    cutout = matte(drawn.picture, find_silhouette(drawn.picture).mask, 200)

    assert max(cutout.alpha.shape) == 200
    assert cutout.picture.shape == (*cutout.alpha.shape, 3)
    assert cutout.picture.dtype == np.float32


def test_the_ground_is_found_behind_a_vignette() -> None:
    look = pictures.Look((40, 60, 120), (200, 195, 190), vignette=0.3)
    drawn = pictures.draw("t-shirt", look)
    lab = cv2.cvtColor(drawn.picture, cv2.COLOR_RGB2LAB).astype(np.float32)

    ground = fit_ground(lab)

    bare = drawn.coverage == 0
    assert np.median(np.abs(ground.surface - lab).max(2)[bare]) < 2
    assert ground.plain > 0.95


def test_a_plain_picture_has_no_silhouette() -> None:
    plain = np.full((300, 200, 3), 180, np.uint8)

    assert not find_silhouette(plain).mask.any()
