"""Colours are told apart by hue, in light and in shade."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.engines.warp.arrays import lab
from app.engines.warp.colours import WORST, Mixture, Palette, shade_free, typical
from app.engines.warp.hem import _ROWS, _read
from app.engines.warp.values import Floats


def colours(*rgb: tuple[int, int, int]) -> Floats:
    return np.asarray(shade_free(lab(np.array([rgb], np.uint8)))[0], np.float32)


def in_shade(rgb: tuple[int, int, int], light: float) -> tuple[int, int, int]:
    """The same thing where less light falls: shade is linear in light, not in sRGB."""
    linear = (np.array(rgb) / 255) ** 2.2 * light
    r, g, b = (int(value) for value in (linear ** (1 / 2.2) * 255).round())
    return r, g, b


@pytest.mark.parametrize("rgb", [(220, 170, 150), (200, 70, 80), (90, 120, 200), (210, 180, 60)])
def test_shade_changes_lightness_and_hardly_hue(rgb: tuple[int, int, int]) -> None:
    lit, shaded = colours(rgb, in_shade(rgb, 0.4))

    assert shaded[0] < lit[0] - 20
    change = float(np.hypot(*(shaded[1:] - lit[1:])))
    raw = lab(np.array([[rgb, in_shade(rgb, 0.4)]], np.uint8))[0]
    assert change < 0.6 * float(np.hypot(*(raw[1, 1:] - raw[0, 1:])))


def test_grey_has_no_hue() -> None:
    assert np.abs(colours((20, 20, 20), (128, 128, 128), (250, 250, 250))[:, 1:]).max() < 1


def cloth(rgb: tuple[int, int, int], seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(rgb, 6, (40, 40, 3)), 0, 255).astype(np.uint8)
    return shade_free(lab(pixels)).reshape(-1, 3)


def test_what_was_learned_costs_less_than_what_was_not() -> None:
    red, blue = cloth((170, 30, 40), 1), cloth((40, 60, 150), 2)
    mixture = Mixture.learned(red, 3)
    assert mixture is not None

    assert mixture.cost(cloth((170, 30, 40), 3)).max() < mixture.cost(blue).min()
    assert mixture.cost(blue).max() < WORST + 10  # bounded, so that shape can overrule it


def test_a_palette_costs_what_its_pixels_cost() -> None:
    pixels = np.concatenate([cloth((170, 30, 40), 1), cloth((40, 60, 150), 2)])
    mixture = Mixture.learned(pixels[:1600], 2)
    assert mixture is not None

    palette = Palette.counted(pixels)

    assert len(palette.cells) < len(pixels)
    assert np.abs(palette.cost(mixture) - mixture.cost(pixels)).mean() < 0.5
    assert (palette.cost(None) == WORST).all()


def test_too_few_pixels_teach_nothing() -> None:
    assert Mixture.learned(cloth((10, 20, 30), 0)[:20], 3) is None


def test_typical_colours_are_those_that_are_there() -> None:
    pixels = np.concatenate([cloth((170, 30, 40), 1), cloth((40, 60, 150), 2)])

    found = typical(pixels, 2)

    means = np.stack([pixels[:1600].mean(0), pixels[1600:].mean(0)])
    for mean in means:
        assert np.hypot(*(found - mean)[:, 1:].T).min() < 3


def test_learning_is_the_same_each_time() -> None:
    cv2.setRNGSeed(77)
    first = Mixture.learned(cloth((90, 80, 30), 4), 3)
    cv2.setRNGSeed(5)
    second = Mixture.learned(cloth((90, 80, 30), 4), 3)

    assert first is not None
    assert second is not None
    assert np.array_equal(first.means, second.means)


# --- the hem --------------------------------------------------------------------------------

STEP = 0.025
"""Torso lengths in a row of the strip: from 0.12 to 1.92."""


def strip(*bands: tuple[float, int | None]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Counts and what is clothed, of bands that end at a place and have a colour, or are bare."""
    counts = np.zeros((_ROWS, 8), np.float32)
    row = 0
    for end, colour in bands:
        last = min(_ROWS, round((end - 0.12) / STEP))
        if colour is not None:
            counts[row:last, colour] = 50
        row = last
    return counts, counts.sum(1) > 0


def test_a_top_ends_where_the_colours_change() -> None:
    hem = _read(*strip((0.9, 0), (9, 3)), STEP)

    assert hem.top_ends == hem.bottom_begins == pytest.approx(0.9, abs=STEP)
    assert hem.change > 0.9
    assert not hem.one_piece
    assert not hem.belly_shows


def test_a_print_is_no_hem() -> None:
    hem = _read(*strip((0.3, 0), (0.5, 1), (1.0, 0), (9, 3)), STEP)

    assert hem.top_ends == pytest.approx(1.0, abs=STEP)


def test_a_short_top_shows_the_belly() -> None:
    hem = _read(*strip((0.65, 0), (0.8, None), (9, 3)), STEP)

    assert hem.top_ends == pytest.approx(0.65, abs=STEP)
    assert hem.bottom_begins == pytest.approx(0.8, abs=STEP)
    assert hem.belly_shows


def test_a_dress_has_no_lower_half() -> None:
    hem = _read(*strip((1.6, 0), (9, None)), STEP)

    assert hem.one_piece
    assert hem.legs_begin == pytest.approx(1.6, abs=STEP)


def test_bare_legs_come_out_of_a_skirt() -> None:
    hem = _read(*strip((0.9, 0), (1.5, 3), (9, None)), STEP)

    assert not hem.one_piece
    assert hem.bottom_begins == pytest.approx(0.9, abs=STEP)
    assert hem.legs_begin == pytest.approx(1.5, abs=STEP)


def test_one_colour_from_head_to_foot_is_cut_at_the_hips() -> None:
    hem = _read(*strip((9, 2)), STEP)

    assert not hem.one_piece
    assert 0.9 < hem.top_ends < 1.05
