"""Ground that the cut-out leaves in the armpits."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.engines.warp.armpits import heal
from app.engines.warp.arrays import lab
from app.engines.warp.values import Floats, Garment
from tests.unit.warp.drawn import drawn_garment, drawn_outline

_GROUND = (225, 225, 225)


def _lab_ground() -> Floats:
    return np.asarray(lab(np.array([[_GROUND]], np.uint8))[0, 0], np.float32)


def _specked(garment: Garment) -> Floats:
    """The garment's picture with shadowed ground at its left armpit."""
    picture = garment.picture.copy()
    cv2.circle(picture, (68, 72), 4, (150, 150, 150), -1)
    return picture


def test_ground_at_an_armpit_becomes_cloth() -> None:
    garment = drawn_garment()

    healed = heal(_specked(garment), garment.alpha, drawn_outline(), _lab_ground())

    speck = np.s_[66:79, 62:75]
    off = np.abs(healed - garment.picture)[speck][garment.alpha[speck] > 0]
    assert float(off.max()) < 8, "it was 120"
    far = np.s_[100:, :]
    assert np.array_equal(healed[far], garment.picture[far]), "the print stays"


@pytest.mark.parametrize("colour", [(235, 235, 233), (120, 120, 122)])
def test_a_garment_in_the_grounds_own_hue_is_left_alone(colour: tuple[int, int, int]) -> None:
    garment = drawn_garment()
    picture = np.full_like(garment.picture, colour)
    cv2.circle(picture, (68, 72), 4, (100, 100, 100), -1)

    healed = heal(picture, garment.alpha, drawn_outline(), _lab_ground())

    assert healed is picture
