"""What is taken for a garment, and what is refused, with which reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app import catalogue
from app.engines import Category
from app.engines.warp.garments import read_garment
from app.engines.warp.networks import Networks
from app.engines.warp.values import BottomOutline, Garment, TopOutline
from app.errors import EngineError, FailureCode
from tests import garment_pictures as pictures
from tests.unit.warp.conftest import flat_lay, rendered

Rgb = NDArray[np.uint8]
Draw = Callable[[Rgb], object]

CATEGORIES: tuple[Category, ...] = get_args(Category)

_WIDTH, _HEIGHT = 450, 600


def read(
    photo: Rgb, category: Category | Literal["auto"] = "auto", networks: Networks | None = None
) -> Garment:
    return read_garment(photo, category=category, photo_type="auto", side=512, networks=networks)


# --- taken ----------------------------------------------------------------------------------


@pytest.mark.parametrize("garment", catalogue.garments(), ids=lambda garment: garment.id)
def test_the_catalogues_garments_are_what_the_catalogue_says(garment: catalogue.Garment) -> None:
    found = read(flat_lay(garment.id))

    assert found.category == garment.category
    assert found.guessed
    kind = BottomOutline if found.category == "bottoms" else TopOutline
    assert isinstance(found.outline, kind)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["jpeg40", "turn8", "turn-8", "crop", "dark", "bright"])
@pytest.mark.parametrize("kind", ["t-shirt", "long sleeve", "sleeved dress", "trousers", "skirt"])
def test_mild_damage_does_not_matter(kind: str, how: str) -> None:
    drawn = pictures.draw(kind, pictures.LOOKS["shadow"])

    assert read(pictures.degrade(drawn.picture, how)).category == drawn.category


def test_the_picture_is_the_garment_with_its_colours_going_on_outwards() -> None:
    garment = read(pictures.draw("t-shirt", pictures.Look((30, 60, 40))).picture)

    assert max(garment.alpha.shape) <= 512
    assert garment.picture.dtype == np.float32
    assert garment.picture.shape == (*garment.alpha.shape, 3)
    assert garment.picture.max() < 140, "no ground, which is 244"
    assert garment.alpha[0].max() == garment.alpha[-1].max() == 0, "a margin all round"


def test_a_garment_in_a_large_photo_is_cropped_before_it_is_shrunk() -> None:
    drawn = pictures.draw("t-shirt", width=900)

    garment = read(drawn.picture)

    assert max(garment.alpha.shape) == 512


# --- refused --------------------------------------------------------------------------------


def refusal(
    photo: Rgb, category: Category | Literal["auto"] = "auto", networks: Networks | None = None
) -> EngineError:
    with pytest.raises(EngineError) as caught:
        read(photo, category, networks)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "category", "word"),
    [
        ("trousers", "tops", "trousers"),
        ("shorts", "one-pieces", "shorts"),
        ("skirt", "tops", "skirt"),
        ("t-shirt", "bottoms", "top"),
        ("sleeved dress", "tops", "dress"),
        ("sleeved dress", "bottoms", "dress"),
    ],
)
def test_another_category_is_named(kind: str, category: Category, word: str) -> None:
    error = refusal(pictures.draw(kind).picture, category)

    assert error.failure is FailureCode.GARMENT_UNSUPPORTED
    assert word in error.detail
    assert "category" in error.detail


def test_the_photo_type_model_is_refused_with_the_reason() -> None:
    with pytest.raises(EngineError, match="somebody wears"):
        read_garment(flat_lay("henley"), category="auto", photo_type="model", side=512)


@pytest.mark.parametrize("name", ["ada", "sam"])
def test_a_person_in_the_garments_photo_is_refused(name: str, networks: Networks) -> None:
    assert "somebody wears" in refusal(rendered(name), networks=networks).detail


def _grey() -> Rgb:
    return np.full((_HEIGHT, _WIDTH, 3), 242, np.uint8)


def _polygon(*points: tuple[int, int]) -> Draw:
    return lambda photo: cv2.fillPoly(photo, [np.array(points, np.int32)], (60, 90, 160))


def _circle(photo: Rgb) -> None:
    cv2.circle(photo, (225, 300), 150, (210, 90, 30), -1)


def _cup(photo: Rgb) -> None:
    cv2.ellipse(photo, (320, 320), (60, 80), 0, 0, 360, (60, 90, 160), 26)
    cv2.rectangle(photo, (120, 210), (315, 450), (60, 90, 160), -1)
    cv2.ellipse(photo, (218, 450), (98, 30), 0, 0, 360, (60, 90, 160), -1)


def _bag(photo: Rgb) -> None:
    cv2.rectangle(photo, (95, 270), (350, 480), (130, 40, 60), -1)
    cv2.ellipse(photo, (222, 278), (80, 128), 0, 180, 360, (110, 30, 50), 14)


def _cat(photo: Rgb) -> None:
    cv2.ellipse(photo, (225, 390), (105, 150), 0, 0, 360, (70, 60, 55), -1)
    cv2.circle(photo, (225, 200), 82, (70, 60, 55), -1)
    for sign in (-1, 1):
        ear = [(225 + 75 * sign, 180), (225 + 63 * sign, 82), (225 + 10 * sign, 135)]
        cv2.fillPoly(photo, [np.array(ear, np.int32)], (70, 60, 55))


def _tree(photo: Rgb) -> None:
    cv2.rectangle(photo, (200, 380), (250, 540), (100, 70, 40), -1)
    for x, y, radius in ((225, 200, 112), (150, 285, 82), (300, 285, 82), (225, 315, 98)):
        cv2.circle(photo, (x, y), radius, (50, 120, 50), -1)


def _face(photo: Rgb) -> None:
    cv2.ellipse(photo, (225, 285), (112, 150), 0, 0, 360, (224, 180, 150), -1)
    cv2.ellipse(photo, (225, 195), (128, 105), 0, 180, 360, (60, 40, 30), -1)
    for x in (184, 266):
        cv2.circle(photo, (x, 277), 10, (50, 40, 40), -1)


def _bars(photo: Rgb) -> None:
    for i, height in enumerate((150, 260, 110, 360, 225)):
        cv2.rectangle(photo, (60 + 71 * i, 488 - height), (105 + 71 * i, 488), (50, 110, 190), -1)
    cv2.line(photo, (45, 488), (420, 488), (30, 30, 30), 3)


def _parts(*polygons: tuple[tuple[int, int], ...]) -> Draw:
    """Polygons of the left half, each with its mirror image."""

    def draw(photo: Rgb) -> None:
        for points in polygons:
            for sign in (1, -1):
                half = [(225 + sign * (x - 225), y) for x, y in points]
                cv2.fillPoly(photo, [np.array(half, np.int32)], (60, 90, 160))

    return draw


NO_GARMENTS: dict[str, Draw] = {
    "ball": _circle,
    "cup": _cup,
    "bag": _bag,
    "cat": _cat,
    "tree": _tree,
    "face": _face,
    "chart": _bars,
    "phone": _polygon((142, 120), (308, 120), (308, 480), (142, 480)),
    "open book": _polygon((60, 165), (225, 195), (390, 165), (398, 435), (225, 465), (52, 435)),
    "lamp": _parts(
        ((225, 112), (170, 112), (110, 285), (225, 285)),
        ((225, 280), (217, 280), (217, 480), (225, 480)),
        ((225, 470), (170, 475), (170, 495), (225, 500)),
    ),
    "robot": _parts(
        ((225, 90), (165, 90), (165, 180), (225, 180)),
        ((225, 170), (210, 170), (210, 205), (225, 205)),
        ((225, 200), (142, 200), (142, 375), (225, 375)),
        ((136, 200), (102, 200), (102, 352), (136, 352)),
        ((214, 370), (158, 370), (158, 525), (214, 525)),
    ),
    "triangle": _polygon((225, 112), (60, 488), (390, 488)),
    "house": _polygon(
        (112, 290), (82, 290), (225, 142), (368, 290), (338, 290), (338, 510), (112, 510)
    ),
    "bottle": _polygon(
        (165, 225), (202, 150), (202, 68), (248, 68), (248, 150), (285, 225), (285, 525), (165, 525)
    ),
    "shoe": _polygon(
        (68, 390), (68, 285), (112, 248), (172, 248), (195, 300), (315, 345), (390, 390),
        (390, 412), (68, 412),
    ),
    "table": _polygon(
        (60, 225), (390, 225), (390, 262), (375, 262), (375, 488), (352, 488), (352, 262),
        (98, 262), (98, 488), (75, 488), (75, 262), (60, 262),
    ),
    "cross": _polygon(
        (180, 112), (270, 112), (270, 210), (368, 210), (368, 300), (270, 300), (270, 488),
        (180, 488), (180, 300), (82, 300), (82, 210), (180, 210),
    ),
}  # fmt: skip


# Most is the same whatever was asked for, and each costs as much.
_ASKED = ("auto", *(pytest.param(one, marks=pytest.mark.slow) for one in CATEGORIES))


@pytest.mark.parametrize("category", _ASKED)
@pytest.mark.parametrize("name", NO_GARMENTS)
def test_what_is_no_garment_is_refused(name: str, category: Category | Literal["auto"]) -> None:
    photo = _grey()
    NO_GARMENTS[name](photo)

    assert refusal(photo, category).failure in {
        FailureCode.GARMENT_UNSUPPORTED,
        FailureCode.GARMENT_NOT_FOUND,
    }


@pytest.mark.parametrize("category", CATEGORIES)
def test_what_is_no_garment_is_none_of_what_was_asked_for(category: Category) -> None:
    photo = _grey()
    NO_GARMENTS["cross"](photo)

    assert refusal(photo, category).failure is FailureCode.GARMENT_UNSUPPORTED


def test_an_empty_picture_has_no_garment() -> None:
    assert refusal(_grey()).failure is FailureCode.GARMENT_NOT_FOUND


def test_two_garments_are_one_too_many() -> None:
    one = pictures.draw("t-shirt", width=240).picture

    error = refusal(np.hstack([one, one]))

    assert error.failure is FailureCode.GARMENT_NOT_FOUND
    assert "more than one" in error.detail


def test_a_ground_that_is_not_plain_is_refused() -> None:
    rng = np.random.default_rng(3)
    drawn = pictures.draw("t-shirt")
    fabric = rng.integers(60, 250, (*drawn.coverage.shape, 3)).astype(np.float32)
    cover = drawn.coverage[..., None]

    photo = (drawn.picture * cover + fabric * (1 - cover)).astype(np.uint8)

    assert refusal(photo).failure is FailureCode.GARMENT_BACKGROUND


def test_a_garment_cut_off_by_the_edge_is_refused() -> None:
    drawn = pictures.draw("t-shirt")
    height, width = drawn.coverage.shape

    photo = np.ascontiguousarray(
        drawn.picture[height // 3 : height * 3 // 4, width // 4 : -width // 4]
    )

    assert refusal(photo).failure in {
        FailureCode.GARMENT_NOT_FOUND,
        FailureCode.GARMENT_BACKGROUND,
    }


def test_a_tiny_garment_is_too_small() -> None:
    drawn = pictures.draw("t-shirt")

    photo = cv2.resize(drawn.picture, (96, 128), interpolation=cv2.INTER_AREA)

    assert refusal(np.asarray(photo, np.uint8)).failure is FailureCode.IMAGE_TOO_SMALL


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (64, 64), (40, 900)])
def test_any_size_gives_a_garment_or_a_documented_refusal(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size[0])

    refusal(rng.integers(0, 256, (*size, 3)).astype(np.uint8))


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_too_thin_for_an_outline_is_no_garment(turned: bool) -> None:
    photo = np.full((4000, 256, 3), 240, np.uint8)
    photo[40:-40, 128:138] = (150, 20, 20)
    if turned:
        photo = np.ascontiguousarray(photo.transpose(1, 0, 2))

    assert refusal(photo).failure is FailureCode.GARMENT_UNSUPPORTED
