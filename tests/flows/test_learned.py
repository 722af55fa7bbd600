"""LPIPS, FID and KID by the libraries themselves, on networks that nobody has trained."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from app import catalogue, learned
from app.__main__ import main
from app.learned import ALEXNET, FILES_IN, INCEPTION, Learned
from app.likeness import ssim
from tests.torch_parts import import_torchvision, write_networks

if TYPE_CHECKING:
    from app.engines import Rgb
    from app.learned import Features

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    for name in ("torch", "torchmetrics", "torchvision", "torch_fidelity"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    import_torchvision()
    import torch  # noqa: PLC0415

    # Two that wait for each other on a busy machine took four times as long as one.
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def networks(libraries: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for --metric-weights."""
    folder = tmp_path_factory.mktemp("networks")
    write_networks(folder)
    return folder


@pytest.fixture(scope="module")
def measures(networks: Path) -> Learned:
    return learned.load(networks)


@pytest.fixture
def copied(networks: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt; its files are links until somebody writes them anew."""
    shutil.copytree(networks, tmp_path / "networks", copy_function=os.link)
    return tmp_path / "networks"


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, *_: object, **__: object) -> None:
        raise AssertionError(f"{url} was to be fetched")

    monkeypatch.setattr("torch.hub.download_url_to_file", fetch)


def people() -> list[Rgb]:
    found = []
    for one in catalogue.people():
        with Image.open(one.path) as image:
            found.append(np.array(image.convert("RGB").resize((192, 256))))
    return found


def noisy(picture: Rgb, strength: float) -> Rgb:
    noise = np.random.default_rng(1).normal(0, strength, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def test_lpips_is_0_of_the_same_and_grows_with_noise(measures: Learned) -> None:
    person, *_ = people()
    assert measures.lpips is not None

    found = [measures.lpips.between(person, noisy(person, of)) for of in (0, 10, 40)]

    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[0] < found[1] < found[2]


def test_fid_and_kid_are_nearly_0_of_the_same_and_grow_with_noise(measures: Learned) -> None:
    assert measures.inception is not None
    network = measures.inception

    def seen(strength: float) -> list[Features]:
        """A part of the features: the laws are the same, and the roots take seconds of all."""
        return [network.features(noisy(one, strength))[:256] for one in people()[:5]]

    real, *sets = seen(0), seen(0), seen(20), seen(80)

    fids = [network.fid(real, made) or 0.0 for made in sets]
    kids = [network.kid(real, made) or 0.0 for made in sets]

    assert abs(fids[0]) < 0.01 * fids[2]
    assert fids[0] < fids[1] < fids[2]
    assert kids[0] <= 1e-6  # not biased: what is the same comes out below 0
    assert kids[0] < kids[1] < kids[2]


def test_one_picture_is_no_set(measures: Learned) -> None:
    assert measures.inception is not None
    one = [measures.inception.features(people()[0])]

    assert measures.inception.fid(one, one) is None
    assert measures.inception.kid(one, one) is None


def test_our_ssim_is_that_of_the_library() -> None:
    import torch  # noqa: PLC0415
    from torchmetrics.functional.image import (  # noqa: PLC0415
        structural_similarity_index_measure as of_library,
    )

    person, *_ = people()
    grey, made = (np.repeat(one[..., :1], 3, 2) for one in (person, noisy(person, 20)))
    tensors = (torch.from_numpy(one[..., 0].copy()).double()[None, None] for one in (grey, made))

    assert ssim(grey, made) == pytest.approx(float(of_library(*tensors, data_range=255)), abs=2e-3)


def test_the_report_has_the_digests_and_says_that_the_files_are_not_the_published_ones(
    measures: Learned, networks: Path
) -> None:
    names = [ALEXNET[0], INCEPTION[0]]

    assert measures.weights == {
        name: hashlib.sha256((networks / FILES_IN / name).read_bytes()).hexdigest()
        for name in names
    }
    assert [one.split()[0] for one in measures.remarks] == names
    assert set(measures.libraries) == set(learned.LIBRARIES)


def test_the_other_name_of_a_file_will_do(copied: Path) -> None:
    (copied / FILES_IN / INCEPTION[0]).rename(copied / FILES_IN / INCEPTION[1])

    assert INCEPTION[1] in learned.load(copied).weights


def _tear(file: Path) -> None:
    torn = file.read_bytes()[:100_000]
    file.unlink()
    file.write_bytes(torn)


def _write_a_program(file: Path) -> None:
    """What a pickle may do, the libraries would."""
    import torch  # noqa: PLC0415

    file.unlink()
    torch.save(_Program(file.with_name("was run")), file)


class _Program:
    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._file,)


def _write_another_network(file: Path) -> None:
    import torch  # noqa: PLC0415

    file.unlink()
    torch.save({"features.0.weight": torch.zeros(1)}, file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "is missing"),
        (_tear, "is torn, or no such network"),
        (_write_a_program, "is torn, or no such network (UnpicklingError)"),
        (_write_another_network, "is torn, or no such network (RuntimeError)"),
    ],
)
@pytest.mark.parametrize(
    ("name", "subject"), [(ALEXNET[0], "LPIPS was"), (INCEPTION[0], "FID and KID were")]
)
def test_a_file_that_is_of_no_use_is_told_and_the_other_is_used(
    copied: Path, spoil: Callable[[Path], None], said: str, name: str, subject: str
) -> None:
    file = copied / FILES_IN / name
    spoil(file)

    found = learned.load(copied)

    assert len(found.weights) == 1
    (sentence,) = (one for one in found.remarks if str(file) in one)
    assert sentence.startswith(f"{subject} not computed: {file} {said}")
    assert not file.with_name("was run").exists()


def test_a_torchvision_for_another_torch_is_told(
    networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.setattr(sys, "meta_path", [Fails(), *sys.meta_path])

    (said,) = learned.load(networks).remarks

    assert "torchvision was made for another torch (operator torchvision::nms does not" in said


def _dress_code(folder: Path) -> None:
    """Four people in what they wear, drawn as their own photos, and three in something else."""
    part = folder / "upper_body"
    (part / "images").mkdir(parents=True)
    garments = [one for one in catalogue.garments() if one.category == "tops"]
    names = []
    for number, person in enumerate(catalogue.people()[:4]):
        for kind, path in ((0, person.path), (1, garments[number].path)):
            with Image.open(path) as image:
                image.convert("RGB").save(part / "images" / f"{number:06}_{kind}.jpg", quality=95)
        names.append(f"{number:06}")
    paired = [f"{name}_0.jpg\t{name}_1.jpg" for name in names]
    unpaired = [f"{a}_0.jpg\t{b}_1.jpg" for a, b in pairwise(names)]
    (part / "test_pairs_paired.txt").write_text("\n".join(paired))
    (part / "test_pairs_unpaired.txt").write_text("\n".join(unpaired))


def test_engines_are_compared_on_paired_and_unpaired_pictures(
    networks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    weights_dir: Path,
) -> None:
    _dress_code(tmp_path / "pairs")
    monkeypatch.setenv("WEIGHTS_DIR", str(weights_dir))
    monkeypatch.setenv("MOCK_SECONDS", "0")
    monkeypatch.setenv("MOCK_FAILURE_RATE", "0")
    folders = ["--pairs", str(tmp_path / "pairs"), "--output", str(tmp_path / "out")]

    status = main(["evaluate", *folders, "--engines", "mock", "--metric-weights", str(networks)])

    said = capsys.readouterr().out
    assert status == 0
    assert "7 pairs, 4 of them with a true picture." in said
    assert "FID and KID: 3 of mock, against 3 photos." in said
    assert ", torchmetrics " in said
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(scores["weights"]) == {ALEXNET[0], INCEPTION[0]}
    each = scores["engines"][0]["each"]
    counts = {name: len(each[name]) for name in ("ssim", "lpips", "fid", "kid", "seconds")}
    assert counts == {"ssim": 4, "lpips": 4, "fid": 1, "kid": 1, "seconds": 7}
    assert all(value > 0 for value in (*each["lpips"], *each["fid"]))
