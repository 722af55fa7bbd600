"""The pose, against the joints that the people were rendered with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.engines.warp.networks import Networks
from app.engines.warp.pose import find_pose
from tests import people
from tests.unit.warp.conftest import PEOPLE, rendered

POINTS = {"nose": 0, "left_eye": 2, "right_eye": 5, "left_elbow": 13, "right_elbow": 14}
POINTS |= {"left_wrist": 15, "right_wrist": 16, "left_shoulder": 11, "right_shoulder": 12}
POINTS |= {"left_hip": 23, "right_hip": 24}
WITHIN = {"shoulder": 0.04, "hip": 0.06}
"""Of the height: the joints inside a body are not the points that a pose network marks."""
MIRRORED = [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21]
MIRRORED += [24, 23, 26, 25, 28, 27, 30, 29, 32, 31]


@pytest.mark.parametrize("name", PEOPLE)
def test_points_are_near_the_joints(networks: Networks, name: str) -> None:
    truth = people.joints(name)

    pose, _ = find_pose(networks, rendered(name))

    for joint, at in POINTS.items():
        within = WITHIN.get(joint.partition("_")[2], 0.025) * 1024
        assert np.hypot(*(pose.points[at] - truth[joint])) < within, joint


@pytest.mark.parametrize("name", PEOPLE)
def test_the_frame_stands_upright_on_the_hips(networks: Networks, name: str) -> None:
    pose, body = find_pose(networks, rendered(name))

    assert body.up[1] < -0.99
    assert body.across[0] > 0.99
    down = body.down_torso(pose.points[[11, 23], 0], pose.points[[11, 23], 1])
    assert down == pytest.approx([0, 1], abs=0.05)


def test_a_mirrored_photo_has_the_mirrored_pose(networks: Networks) -> None:
    photo = rendered("ruth")

    pose, _ = find_pose(networks, photo)
    mirrored, _ = find_pose(networks, np.ascontiguousarray(photo[:, ::-1]))

    expected = pose.points[MIRRORED] * (-1, 1) + (767, 0)
    shown = pose.presence[MIRRORED] > 0.9
    assert np.hypot(*(mirrored.points - expected).T)[shown].max() < 0.025 * 1024


def test_a_smaller_photo_has_the_same_pose(networks: Networks) -> None:
    photo = rendered("leo")
    half = np.asarray(cv2.resize(photo, (384, 512), interpolation=cv2.INTER_AREA), np.uint8)

    pose, body = find_pose(networks, photo)
    small, small_body = find_pose(networks, half)

    shown = pose.presence > 0.9
    assert np.hypot(*(2 * small.points - pose.points).T)[shown].max() < 0.015 * 1024
    assert 2 * small_body.shoulder_width == pytest.approx(body.shoulder_width, rel=0.03)
    assert small.mask.shape == (512, 384)


def test_the_mask_is_the_person(networks: Networks) -> None:
    pose, _ = find_pose(networks, rendered("ken"))

    truth = people.labels("ken") > 0
    found = pose.mask > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.9


def test_the_same_photo_has_the_same_pose(networks: Networks) -> None:
    first, _ = find_pose(networks, rendered("sam"))
    second, _ = find_pose(networks, rendered("sam"))

    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.mask, second.mask)
