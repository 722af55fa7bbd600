"""Parsing, against the label masks that were rendered with the people."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.engines.warp.networks import Networks
from app.engines.warp.parsing import parse
from app.engines.warp.pose import find_pose
from tests.unit.warp.conftest import PEOPLE, TRUTH, rendered


@pytest.mark.parametrize("name", PEOPLE)
def test_the_silhouette_of_a_rendered_person_is_found(networks: Networks, name: str) -> None:
    photo = rendered(name)
    with Image.open(TRUTH / f"{name}_labels.png") as picture:
        truth = np.asarray(picture) > 0

    parts = parse(networks, photo, *find_pose(networks, photo))

    found = parts.person > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.97
