"""The optional parser: believed where it agrees with what is seen; no other file is taken."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.engines.warp import networks as networks_module
from app.engines.warp.networks import Networks
from app.engines.warp.parsing import parse
from app.engines.warp.pose import find_pose
from app.engines.warp.second_opinion import opinion
from app.engines.warp.silhouette import find_silhouette
from app.engines.warp.view import View
from app.errors import EngineUnavailable
from tests import people
from tests.unit.warp.conftest import rendered

CLASS_OF = {
    people.GROUND: 0,
    people.HAIR: 1,
    people.SKIN: 2,
    people.EYES: 3,
    people.UPPER: 4,
    people.LOWER: 4,
    people.SHOES: 4,
}


class Knows:
    """A parser that knows the truth about one person's view, as logits."""

    def __init__(self, name: str, view: View) -> None:
        box = np.s_[view.top : view.top + view.height, view.left : view.left + view.width]
        labels = cv2.resize(people.labels(name)[box], (256, 256), interpolation=cv2.INTER_NEAREST)
        classes = np.vectorize(CLASS_OF.__getitem__)(labels)
        self.logits = np.where(np.eye(6)[classes] > 0, 9, 0).astype(np.float32)

    def __call__(self, _picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [self.logits[None]]


@pytest.fixture
def seen(networks: Networks) -> View:
    return View.of(rendered("mia"), *find_pose(networks, rendered("mia")))


def test_who_knows_the_parts_makes_them_no_worse(
    networks: Networks, seen: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    pose, body = find_pose(networks, rendered("mia"))
    alone = parse(networks, rendered("mia"), pose, body)

    monkeypatch.setattr(networks, "_person_parser", Knows("mia", seen))
    helped = parse(networks, rendered("mia"), pose, body)

    truth = people.labels("mia")
    for part, label in {"hair": people.HAIR, "upper": people.UPPER}.items():
        without, beside = (
            np.abs(getattr(parts, part) - (truth == label)).mean() for parts in (alone, helped)
        )
        assert beside <= without + 0.001, part


def test_what_it_says_becomes_a_cost_for_every_part_and_pixel(
    networks: Networks, seen: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = find_silhouette(networks, seen).inside
    monkeypatch.setattr(networks, "_person_parser", Knows("mia", seen))

    costs = opinion(networks, seen, inside)

    assert costs is not None
    assert costs.shape == (inside.sum(), 7)
    assert np.isfinite(costs).all()
    assert costs.min() >= 0


def test_one_that_sees_another_person_is_not_believed(
    networks: Networks, seen: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = find_silhouette(networks, seen).inside
    wrong = Knows("mia", seen)
    wrong.logits = np.roll(wrong.logits, 90, axis=1)
    monkeypatch.setattr(networks, "_person_parser", wrong)

    assert opinion(networks, seen, inside) is None


def test_without_the_file_there_is_no_opinion(networks: Networks, seen: View) -> None:
    assert opinion(networks, seen, np.ones(seen.shape, bool)) is None


@pytest.mark.parametrize("kind", ["no model", "another model"])
def test_another_file_is_refused_with_the_setting_s_name(
    weights_dir: Path, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "parser.tflite"
    if kind == "no model":
        file.write_bytes(b"<html>not found</html>")
    else:
        file = weights_dir / networks_module.SELFIE_SEGMENTATION

    with pytest.raises(EngineUnavailable, match="PERSON_PARSER") as caught:
        Networks(weights_dir, file)

    assert str(tmp_path) not in caught.value.detail
