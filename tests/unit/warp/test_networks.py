"""What comes out of the networks is where the picture shows it."""

from __future__ import annotations

import numpy as np
import pytest

from app.engines.warp.networks import LANDMARK_SIDE, Networks
from tests import people
from tests.unit.warp.conftest import PEOPLE, rendered


@pytest.mark.parametrize("name", PEOPLE)
def test_a_face_is_found_where_it_is(networks: Networks, name: str) -> None:
    eye = people.joints(name)["left_eye"]

    (face,) = networks.find_faces(rendered(name), at_least=0.5)

    assert face.score > 0.8
    assert np.hypot(*(face.points[1] - eye)) < 0.02 * 1024  # the second point is the left eye


@pytest.mark.parametrize("name", PEOPLE)
def test_a_body_is_found_once(networks: Networks, name: str) -> None:
    (body,) = networks.find_bodies(rendered(name), at_least=0.5)

    hips = np.mean([people.joints(name)[f"{side}_hip"] for side in ("left", "right")], 0)
    assert np.hypot(*(body.points[0] - hips)) < 0.08 * 1024


def test_points_stay_where_they_are_in_a_wide_picture(networks: Networks) -> None:
    photo = rendered("mia")
    wide = np.pad(photo, ((0, 0), (500, 500), (0, 0)), mode="edge")

    (narrow_face,) = networks.find_faces(photo, at_least=0.5)
    (wide_face,) = networks.find_faces(wide, at_least=0.5)

    assert np.abs(wide_face.points - (500, 0) - narrow_face.points).max() < 20


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (224, 224)])
def test_a_picture_of_any_size_goes_in(networks: Networks, shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 130, np.uint8)

    assert networks.find_bodies(picture, at_least=0.5) == []
    assert networks.find_faces(picture, at_least=0.5) == []
    assert networks.segment(picture).shape == (256, 256)


def test_the_landmark_network_says_how_sure_it_is(networks: Networks) -> None:
    empty = networks.landmarks(np.zeros((LANDMARK_SIDE, LANDMARK_SIDE, 3), np.uint8))

    assert empty.score < 0.1
    assert empty.points.shape == (39, 2)
    assert empty.heat.shape == (64, 64, 39)
    assert 0 <= empty.mask.min() <= empty.mask.max() <= 1


def test_somebody_is_where_the_labels_say(networks: Networks) -> None:
    truth = people.labels("leo")[::4, ::3] > 0

    somebody = networks.segment(rendered("leo")) > 0.5

    assert (somebody & truth).sum() / (somebody | truth).sum() > 0.93
