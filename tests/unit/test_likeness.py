"""What `evaluate` measures, on pictures of which the answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import learned
from app.evaluate import (
    Pair,
    Scores,
    Setting,
    Unusable,
    find_pairs,
    in_sets,
    photos,
    report,
    spread,
)
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


@pytest.mark.parametrize("below", ["", "test"])
def test_a_folder_as_viton_hd_is_read(tmp_path: Path, below: str) -> None:
    photo = _picture(tmp_path / below / "image" / "a.jpg")
    own, other = (_picture(tmp_path / below / "cloth" / name) for name in ("a.jpg", "b.jpg"))
    (tmp_path / "test_pairs.txt").write_text("a.jpg a.jpg\na.jpg b.jpg\n\n")

    paired, unpaired = Pair(photo, own, truth=photo), Pair(photo, other)

    assert find_pairs(tmp_path) == [paired, unpaired]
    assert find_pairs(tmp_path, "paired") == [paired]
    assert find_pairs(tmp_path, "unpaired") == [unpaired]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [(None, [True, False]), ("paired", [True]), ("unpaired", [False])],
)
def test_a_folder_as_dress_code_is_read(
    tmp_path: Path, setting: Setting | None, expected: list[bool]
) -> None:
    images = tmp_path / "dresses" / "images"
    photo = _picture(images / "1_0.jpg")
    own, other = (_picture(images / name) for name in ("1_1.jpg", "2_1.jpg"))
    (tmp_path / "dresses" / "test_pairs_paired.txt").write_text("1_0.jpg\t1_1.jpg\n")
    (tmp_path / "dresses" / "test_pairs_unpaired.txt").write_text("1_0.jpg\t2_1.jpg\n")

    found = find_pairs(tmp_path, setting)

    pairs = {
        True: Pair(photo, own, "one-pieces", photo),
        False: Pair(photo, other, "one-pieces"),
    }
    assert found == [pairs[truth] for truth in expected]


def _pair(name: str, *, paired: bool) -> Pair:
    return Pair(Path(name), Path("g"), truth=Path(name) if paired else None)


def test_a_limit_takes_from_everywhere() -> None:
    pairs = [_pair(str(number), paired=True) for number in range(10)]

    assert spread(pairs, 3) == [pairs[0], pairs[3], pairs[6]]
    assert spread(pairs, 50) == pairs


def test_sets_are_of_people_in_what_they_do_not_wear_if_there_are_any() -> None:
    paired, unpaired = _pair("a", paired=True), _pair("b", paired=False)

    assert in_sets([paired, unpaired, unpaired]) == [unpaired, unpaired]
    assert in_sets([paired, paired]) == [paired, paired]
    assert photos([paired, unpaired, unpaired]) == [Path("b")]


def test_without_networks_the_report_says_why_once() -> None:
    said = report([Scores("one"), Scores("two")], [], learned.load(None))

    assert said.count("--metric-weights") == 1


def test_without_the_libraries_the_report_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    (said,) = learned.load(tmp_path).remarks

    assert said.startswith("LPIPS, FID and KID were not computed: torch is not installed: pip")


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

    pairs = [_pair("a", paired=number < 2) for number in range(5)]
    lines = report([one], pairs, learned.Learned()).splitlines()

    figures = "1.5 | – | – | – | – | – | – | – | –"
    assert lines[2] == f"| one | 3 | 2 × no_person | {figures} | 0 | 0.5 USD |"
    assert lines[4] == "5 pairs, 2 of them with a true picture."
