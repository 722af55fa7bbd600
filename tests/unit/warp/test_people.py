"""Unsuitable photos are refused with the right reason, and usable ones are not."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app import catalogue
from app.engines.warp import people
from app.engines.warp.networks import Networks
from app.engines.warp.pose import find_pose
from app.errors import EngineError, FailureCode
from tests.unit.warp.conftest import PEOPLE, flat_lay, from_truth, rendered

Picture = NDArray[np.uint8]


def refusal(networks: Networks, photo: Picture) -> EngineError | None:
    try:
        find_pose(networks, np.ascontiguousarray(photo))
    except EngineError as error:
        return error
    return None


# --- nobody ---------------------------------------------------------------------------------


def plain(level: int) -> Picture:
    return np.full((800, 600, 3), level, np.uint8)


def noise() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (800, 600, 3), dtype=np.uint8)


def landscape() -> Picture:
    down = np.linspace(0, 1, 800)[:, None, None]
    column = np.array([90, 140, 230]) * (1 - down) + np.array([90, 150, 60]) * down
    return np.repeat(column, 1100, 1).astype(np.uint8)


def cat() -> Picture:
    picture = np.full((900, 700, 3), (200, 210, 220), np.uint8)
    fur = (120, 90, 70)
    cv2.ellipse(picture, (350, 600), (160, 220), 0, 0, 360, fur, -1)
    cv2.circle(picture, (350, 330), 130, fur, -1)
    for x in (270, 430):
        ear = np.array([[x - 50, 260], [x + 50, 260], [x, 130]], np.int32)
        cv2.fillPoly(picture, [ear], fur)
        cv2.circle(picture, (x + (20 if x < 350 else -20), 310), 22, (240, 240, 120), -1)
    return picture


def stick_man() -> Picture:
    picture = np.full((1000, 700, 3), 255, np.uint8)
    cv2.circle(picture, (350, 150), 90, (0, 0, 0), 6)
    for a, b in (((350, 240), (350, 600)), ((350, 300), (200, 450)), ((350, 300), (500, 450))):
        cv2.line(picture, a, b, (0, 0, 0), 6)
    for foot in (250, 450):
        cv2.line(picture, (350, 600), (foot, 900), (0, 0, 0), 6)
    return picture


def checks() -> Picture:
    squares = np.indices((16, 12)).sum(0) % 2 * 255
    return np.repeat(np.kron(squares, np.ones((50, 50)))[..., None], 3, 2).astype(np.uint8)


NOBODY = {
    "black": plain(0),
    "grey": plain(128),
    "white": plain(255),
    "noise": noise(),
    "a landscape": landscape(),
    "a cat": cat(),
    "a stick man": stick_man(),
    "checks": checks(),
    "one pixel": np.zeros((1, 1, 3), np.uint8),
    "a line": np.zeros((3, 900, 3), np.uint8),
}


@pytest.mark.parametrize("what", NOBODY)
def test_where_nobody_is_nobody_is_found(networks: Networks, what: str) -> None:
    error = refusal(networks, NOBODY[what])

    assert error is not None
    assert error.failure is FailureCode.NO_PERSON


@pytest.mark.parametrize("name", [garment.id for garment in catalogue.garments()])
def test_a_garment_is_nobody(networks: Networks, name: str) -> None:
    error = refusal(networks, flat_lay(name))

    assert error is not None
    assert error.failure is FailureCode.NO_PERSON


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_that_lies_on_its_side_must_be_turned(networks: Networks, quarters: int) -> None:
    error = refusal(networks, np.rot90(rendered("leo"), quarters))

    assert error is not None
    assert error.failure is FailureCode.NO_PERSON
    assert "Turn the photo" in error.detail


# --- several, from behind, outside, too small ------------------------------------------------


def with_somebody_small() -> Picture:
    """Ada, and Leo at a third of her size further back."""
    photo = np.array(rendered("ada"))
    small = cv2.resize(rendered("leo"), None, fx=0.32, fy=0.32, interpolation=cv2.INTER_AREA)
    wide = np.pad(photo, ((0, 0), (0, 260), (0, 0)), mode="edge")
    height, width = small.shape[:2]
    wide[400 : 400 + height, 770 : 770 + width] = small
    return wide


SEVERAL = {
    "two": np.hstack([rendered("ada"), rendered("leo")]),
    "three": np.hstack([rendered("mia"), rendered("ken"), rendered("ruth")]),
    "two close together": np.hstack([rendered("sam")[:, :640], rendered("mia")[:, 130:]]),
    "somebody further back": with_somebody_small(),
}


def test_a_second_person_without_a_head_is_one_too_many(networks: Networks) -> None:
    headless = np.vstack([rendered("leo")[260:], np.repeat(rendered("leo")[-1:], 260, 0)])

    error = refusal(networks, np.hstack([rendered("mia"), headless]))

    assert error is not None
    assert error.failure is FailureCode.SEVERAL_PEOPLE


@pytest.mark.parametrize("name", ["ada", "ken", "mia", "ruth", "sam"])
def test_a_body_behind_a_board_cannot_be_dressed(networks: Networks, name: str) -> None:
    photo = np.array(rendered(name))
    photo[460:] = (90, 90, 90)

    error = refusal(networks, photo)

    assert error is not None
    assert error.failure is FailureCode.BODY_OUT_OF_FRAME
    assert "hides the body" in error.detail


@pytest.mark.parametrize("what", SEVERAL)
def test_several_people_are_too_many(networks: Networks, what: str) -> None:
    error = refusal(networks, SEVERAL[what])

    assert error is not None
    assert error.failure is FailureCode.SEVERAL_PEOPLE


def test_a_face_printed_on_a_shirt_is_not_another_person(networks: Networks) -> None:
    photo = np.array(rendered("leo"))
    face = cv2.resize(rendered("mia")[180:330, 300:480], (120, 100), interpolation=cv2.INTER_AREA)
    photo[600:700, 324:444] = face

    assert refusal(networks, photo) is None


def test_the_back_of_a_person_carries_no_front(networks: Networks) -> None:
    error = refusal(networks, from_truth("mia_behind"))

    assert error is not None
    assert error.failure is FailureCode.PERSON_FROM_BEHIND


def test_the_side_of_a_person_carries_no_front(networks: Networks) -> None:
    error = refusal(networks, from_truth("ada_aside"))

    assert error is not None
    assert error.failure is FailureCode.PERSON_FROM_BEHIND
    assert "from the side" in error.detail


def test_a_hidden_face_is_asked_for(networks: Networks) -> None:
    photo = np.array(rendered("mia"))
    cv2.ellipse(photo, (390, 240), (95, 115), 0, 0, 360, (70, 90, 160), -1)

    error = refusal(networks, photo)

    assert error is not None
    assert error.failure is FailureCode.PERSON_FROM_BEHIND


OUTSIDE = {
    "a head alone": rendered("ada")[60:420, 180:580],
    "no head": rendered("leo")[400:],
    "half a body": rendered("mia")[:, :400],
    "one shoulder": rendered("leo")[:, 260:],
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_head_and_shoulders_must_be_in_the_photo(networks: Networks, what: str) -> None:
    error = refusal(networks, OUTSIDE[what])

    assert error is not None
    assert error.failure is FailureCode.BODY_OUT_OF_FRAME


@pytest.mark.parametrize("width", [64, 96, 150])
def test_a_thumbnail_is_too_small(networks: Networks, width: int) -> None:
    size = (width, width * 4 // 3)
    photo = np.asarray(cv2.resize(rendered("ruth"), size, interpolation=cv2.INTER_AREA), np.uint8)

    error = refusal(networks, photo)

    assert error is not None
    assert error.failure is FailureCode.IMAGE_TOO_SMALL


def test_hips_are_needed_below_the_waist_only(networks: Networks) -> None:
    photo = np.ascontiguousarray(rendered("ken")[:800])
    pose, body = find_pose(networks, photo)

    people.check_hips(photo, body, "tops")

    assert "hips_out_of_frame" in people.cautions(photo, pose, body)
    for category in ("bottoms", "one-pieces"):
        with pytest.raises(EngineError) as refused:
            people.check_hips(photo, body, category)
        assert refused.value.failure is FailureCode.BODY_OUT_OF_FRAME


# --- usable ---------------------------------------------------------------------------------


def turned(degrees: float) -> Callable[[Picture], Picture]:
    def turn(photo: Picture) -> Picture:
        height, width = photo.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        return np.asarray(
            cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE),
            np.uint8,
        )

    return turn


def compressed(photo: Picture) -> Picture:
    _, data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 20])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def grainy(photo: Picture) -> Picture:
    grain = np.random.default_rng(0).normal(0, 15, photo.shape)
    return np.clip(photo + grain, 0, 255).astype(np.uint8)


USABLE: dict[str, Callable[[Picture], Picture]] = {
    "as it is": lambda photo: photo,
    "mirrored": lambda photo: photo[:, ::-1],
    "darker": lambda photo: (photo * 0.5).astype(np.uint8),
    "brighter": lambda photo: np.clip(photo * 1.4, 0, 255).astype(np.uint8),
    "warm": lambda photo: np.clip(photo * np.array([1.1, 1, 0.8]), 0, 255).astype(np.uint8),
    "grainy": grainy,
    "compressed": compressed,
    "leaning to the left": turned(10),
    "leaning to the right": turned(-10),
    "with room around": lambda photo: np.pad(photo, ((150, 0), (250, 250), (0, 0)), mode="edge"),
    "on white": lambda photo: np.pad(photo, ((0, 0), (300, 300), (0, 0)), constant_values=255),
    "half the size": lambda photo: photo[::2, ::2],
    "cut at the hips": lambda photo: photo[:900],
    "cut above the hips": lambda photo: photo[:800],
}


@pytest.mark.slow
@pytest.mark.parametrize("change", USABLE)
@pytest.mark.parametrize("name", PEOPLE)
def test_a_usable_photo_is_taken(networks: Networks, name: str, change: str) -> None:
    assert refusal(networks, USABLE[change](rendered(name))) is None


def test_an_upright_front_needs_no_caution(networks: Networks) -> None:
    photo = rendered("mia")
    pose, body = find_pose(networks, photo)

    assert people.cautions(photo, pose, body) == ()
