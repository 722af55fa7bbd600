"""The engine fashn with the published weights, on a graphics card: by hand, where there is one.

    FASHN_WEIGHTS=/models/fashn-vton-1.5 python -m pytest -m gpu tests/flows/test_fashn_on_a_card.py

It leaves what it made in FASHN_SHOTS, where that is set: look at it.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import catalogue
from app.config import load_settings
from app.engines.conformance.checks import photo
from app.engines.conformance.faces import Faces
from app.engines.frames import Job, Output
from app.engines.process import EngineProcess, Watcher
from app.runtime import offered_engine
from tests.flows.test_conformance import examined, failing

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    if not (torch.cuda.is_available() and os.environ.get("FASHN_WEIGHTS")):
        pytest.skip("needs a card with CUDA, and FASHN_WEIGHTS: the folder of the published file")
    file = tmp_path_factory.mktemp("card") / "engines.toml"
    file.write_text(f'[fashn]\n[fashn.options]\nweights = "{os.environ["FASHN_WEIGHTS"]}"\n')
    return file


@pytest.fixture(scope="module")
def process(table: Path, weights_dir: Path) -> Iterator[EngineProcess]:
    settings = load_settings(_env_file=None, engines_file=table, weights_dir=weights_dir)
    spec = offered_engine("fashn", settings).spec
    engine = EngineProcess(spec, memory_mb=spec.memory_mb or 0)
    engine.start()
    yield engine
    engine.close()


def make(process: EngineProcess, person: str, garment: str, **of_job: object) -> Output:
    (someone,) = (one for one in catalogue.people() if one.id == person)
    (cloth,) = (one for one in catalogue.garments() if one.id == garment)
    job = Job(
        photo(someone),
        cloth.path.read_bytes(),
        output_format="png",
        key="card",
        category=cloth.category,
        garment_photo_type="flat-lay",
        **of_job,  # type: ignore[arg-type]
    )
    return process.run(job, Watcher(), timeout_s=600)


def test_people_are_dressed_and_remain_themselves(
    process: EngineProcess, weights_dir: Path
) -> None:
    garments = {one.category: one.id for one in catalogue.garments()}
    faces = Faces(weights_dir)
    for category, garment in garments.items():
        person = next(
            one
            for one in catalogue.people()
            if one.suits(next(g for g in catalogue.garments() if g.id == garment))
        )
        begun = time.perf_counter()
        made = make(process, person.id, garment, seed=1)
        print(f"{category}: {time.perf_counter() - begun:.1f} s, {made.details}")  # noqa: T201
        if folder := os.environ.get("FASHN_SHOTS"):
            (Path(folder) / f"{person.id}-{garment}.png").write_bytes(made.data)
        before = np.asarray(Image.open(io.BytesIO(photo(person))).convert("RGB"))
        after = np.asarray(Image.open(io.BytesIO(made.data)).convert("RGB"))
        apart = faces.apart(before, after)
        assert apart is not None
        assert apart < 16
        small = np.asarray(Image.fromarray(before).resize(after.shape[1::-1]))
        changed = np.abs(small.astype(int) - after).max(-1) > 30
        assert 0.02 < changed.mean() < 0.7  # the garment, and neither nothing nor everything


def test_the_same_seed_makes_the_same_picture(process: EngineProcess) -> None:
    first, again = (make(process, "ada", "henley", seed=7, mode="fast") for _ in range(2))

    assert first.data == again.data


def test_it_keeps_the_contract(table: Path, tmp_path: Path, weights_dir: Path) -> None:
    found = examined("fashn", tmp_path, engines_file=table, weights_dir=weights_dir)

    assert failing(found) == set()
