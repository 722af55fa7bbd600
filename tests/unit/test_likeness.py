"""What `evaluate` measures, on pictures of which the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.evaluate import Pair, Scores, Unusable, find_pairs, table
from app.likeness import colour, pattern, ssim

RNG = np.random.default_rng(1)
NOISE = RNG.integers(0, 256, (96, 64, 3), dtype=np.uint8)
ALL = np.ones((96, 64), np.bool_)


def plain(*rgb: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((50, 3), rgb, np.uint8)


def test_ssim_is_1_of_the_same_and_falls_with_noise_and_blur() -> None:
    changed = (NOISE.astype(int) + RNG.normal(0, 40, NOISE.shape)).clip(0, 255).astype(np.uint8)

    assert ssim(NOISE, NOISE) == pytest.approx(1)
    assert ssim(NOISE, changed) < 0.9
    assert ssim(NOISE, np.full_like(NOISE, 128)) < 0.1


def test_a_colour_agrees_with_itself_and_a_little_with_its_shade() -> None:
    red = plain(200, 30, 30)

    assert colour(red, red) == pytest.approx(1)
    assert 0.5 < colour(red, plain(160, 24, 24)) < 1
    assert colour(red, plain(30, 30, 200)) == 0


def test_a_pattern_that_was_lost_tells() -> None:
    assert pattern(NOISE, ALL, NOISE, ALL) == pytest.approx(1)
    assert pattern(NOISE, ALL, np.full_like(NOISE, 90), ALL) < 0.3


def _picture(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(file)
    return file


def test_a_folder_as_viton_hd_is_read(tmp_path: Path) -> None:
    photo = _picture(tmp_path / "image" / "a.jpg")
    own, other = (_picture(tmp_path / "cloth" / name) for name in ("a.jpg", "b.jpg"))
    (tmp_path / "test_pairs.txt").write_text("a.jpg a.jpg\na.jpg b.jpg\n\n")

    assert find_pairs(tmp_path) == [Pair(photo, own, truth=photo), Pair(photo, other)]


def test_a_folder_as_dress_code_is_read(tmp_path: Path) -> None:
    images = tmp_path / "dresses" / "images"
    photo, garment = _picture(images / "1_0.jpg"), _picture(images / "1_1.jpg")
    (tmp_path / "dresses" / "test_pairs_paired.txt").write_text("1_0.jpg\t1_1.jpg\n")

    assert find_pairs(tmp_path) == [Pair(photo, garment, "one-pieces", photo)]


@pytest.mark.parametrize(("text", "said"), [(None, "no pairs"), ("a.jpg b.jpg", "not there")])
def test_a_folder_that_is_neither_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    if text:
        (tmp_path / "test_pairs.txt").write_text(text)

    with pytest.raises(Unusable, match=said):
        find_pairs(tmp_path)


def test_the_table_has_a_line_for_each_engine() -> None:
    one = Scores("one", refused={"no_person": 2}, costs={"USD": 0.5})
    one.add("face", 1.0)
    one.add("face", 2.0)

    last = table([one], 5).splitlines()[-1]

    assert last == "| one | 3 | 2 × no_person | 1.5 | – | – | – | – | – | 0 | 0.5 USD |"
