"""The engine fashn at work: a small network of random weights, through all of the real code.

Collected only where tests with torch are asked for (tests/conftest.py).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.engines import RunContext, TryOnRequest
from app.engines.fashn import FashnEngine, pictures
from app.errors import EngineError, FailureCode, RunCancelled
from tests import fashn_weights, people
from tests.fashn_weights import SIZES, TINY
from tests.fixtures import MakeClient
from tests.flows.conftest import Shopper
from tests.flows.test_conformance import examined, failing
from tests.unit.test_fashn import standing

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

torch.set_num_threads(1)  # more would wait for each other on such small networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the small network's file, and the file's digest."""
    where = tmp_path_factory.mktemp("weights")
    return where, fashn_weights.write(where, TINY)


def options(folder: tuple[Path, str]) -> dict[str, Any]:
    where, sha256 = folder
    return {
        **{"weights": str(where), "sha256": sha256, "licence": "CC0-1.0"},
        "network": SIZES,
    }


# --- one run --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def load(folder: tuple[Path, str]) -> Callable[..., FashnEngine]:
    def make(**more: Any) -> FashnEngine:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRYONAI_DEVICE", "cpu")
            engine = FashnEngine(**options(folder), **more)
            engine.load()
        return engine

    return make


@pytest.fixture(scope="module")
def engine(load: Callable[..., FashnEngine]) -> FashnEngine:
    return load()


PERSON = np.random.default_rng(1).integers(0, 256, (1000, 700, 3), np.uint8)
GARMENT = np.random.default_rng(2).integers(0, 256, (300, 400, 3), np.uint8)
REQUEST = TryOnRequest(
    PERSON, GARMENT, category="tops", garment_photo_type="flat-lay", mode="fast", pose=standing()
)


def surroundings(tmp_path: Path, **changes: Any) -> RunContext:
    context = RunContext(
        progress=lambda *_: None,
        check=lambda: None,
        deadline=time.monotonic() + 60,
        scratch=tmp_path,
    )
    return replace(context, **changes)


def test_a_picture_is_the_frames_part_that_shows_the_photo(
    engine: FashnEngine, tmp_path: Path
) -> None:
    result = engine.run(replace(REQUEST, seed=5), surroundings(tmp_path))

    assert result.picture.shape == (823, 576, 3)
    assert (result.seed, result.category) == (5, "tops")
    assert result.details == {
        **{"device": "cpu", "precision": "float32", "steps": "20"},
        "face": "the photo's",
    }


def test_seed_category_garment_and_person_each_change_the_picture(
    engine: FashnEngine, tmp_path: Path
) -> None:
    def made(**changes: Any) -> Any:
        request = replace(REQUEST, **{"seed": 5, **changes})
        return engine.run(request, surroundings(tmp_path)).picture

    first = made()
    assert (made() == first).all()
    changes: tuple[dict[str, Any], ...] = (
        {"seed": 6},
        {"category": "bottoms"},
        {"garment": 255 - GARMENT},
        {"person": 255 - PERSON},
        {"pose": replace(standing(), points=standing().points + 40)},
    )
    for change in changes:
        assert (made(**change) != first).mean() > 0.01, change


def test_each_step_is_told_and_each_block_may_be_the_last(
    engine: FashnEngine, tmp_path: Path
) -> None:
    told: list[tuple[str, float | None]] = []
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    engine.run(REQUEST, surroundings(tmp_path, progress=lambda *one: told.append(one), check=look))

    assert told == [("preparing", 0.0), *(("sampling", step / 20) for step in range(1, 21))]
    assert looks == 1 + 20 * (2 + 2 + 2)


def test_what_ends_a_run_comes_through(engine: FashnEngine, tmp_path: Path) -> None:
    told: list[float | None] = []

    def look() -> None:
        if len(told) == 4:
            raise RunCancelled(for_good=True)

    with pytest.raises(RunCancelled):
        engine.run(
            REQUEST,
            surroundings(tmp_path, progress=lambda _, part: told.append(part), check=look),
        )
    assert told[-1] == 3 / 20


def test_a_card_that_is_full_is_worth_another_attempt(engine: FashnEngine, tmp_path: Path) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    context = surroundings(tmp_path)
    with pytest.raises(EngineError) as caught:
        # The first look is before the network, whose memory this is about.
        engine.run(REQUEST, replace(context, check=_after_the_first(full)))

    assert caught.value.failure is FailureCode.ENGINE_OUT_OF_MEMORY
    assert caught.value.retryable
    assert engine.run(REQUEST, context).picture.size


def _after_the_first(act: Callable[[], None]) -> Callable[[], None]:
    calls = iter([lambda: None])
    return lambda: next(calls, act)()  # noqa: PLW0108 - each call takes another one


def test_the_face_is_the_photos_own_unless_it_is_told_otherwise(
    engine: FashnEngine, load: Callable[..., FashnEngine], tmp_path: Path
) -> None:
    kept = engine.run(REQUEST, surroundings(tmp_path)).picture
    redrawn = load(keep_face=False).run(REQUEST, surroundings(tmp_path)).picture

    photo = pictures.shrink(PERSON, TINY)
    at = pictures.place(photo, TINY)
    before = at.cut(pictures.frame(photo, TINY))
    top, left = round(150 * 823 / 1000), round(350 * 576 / 700)
    face = slice(top - 10, top + 10), slice(left - 10, left + 10)
    assert (kept[face] == before[face]).all()
    assert (redrawn[face] != before[face]).mean() > 0.9
    assert (kept[400:] == redrawn[400:]).all()


def test_the_pass_that_a_card_begins_with_changes_nothing(
    load: Callable[..., FashnEngine], engine: FashnEngine, tmp_path: Path
) -> None:
    warm = load()
    assert warm._pipeline is not None
    warm._pipeline._warm_up()

    made, before = (one.run(REQUEST, surroundings(tmp_path)) for one in (warm, engine))

    assert (made.picture == before.picture).all()


def test_bfloat16_comes_near(load: Callable[..., FashnEngine], tmp_path: Path) -> None:
    exact, short = (
        load(precision=one).run(REQUEST, surroundings(tmp_path)) for one in ("fp32", "bf16")
    )

    assert short.details["precision"] == "bfloat16"
    apart = np.abs(exact.picture.astype(int) - short.picture)
    assert 0 < apart.mean() < 4


# --- as an engine among others --------------------------------------------------------------


@pytest.fixture
def table(folder: tuple[Path, str], tmp_path: Path) -> Path:
    """An ENGINES_FILE with the small network."""
    where, sha256 = folder
    sizes = ", ".join(f"{name} = {value}" for name, value in SIZES.items())
    file = tmp_path / "engines.toml"
    file.write_text(
        f'[fashn]\ndevices = ["cpu"]\n[fashn.options]\nweights = "{where}"\n'
        f'sha256 = "{sha256}"\nlicence = "CC0-1.0"\nnetwork = {{ {sizes} }}\n'
    )
    return file


def test_it_keeps_the_contract(
    table: Path, tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "kit").mkdir()

    found = examined("fashn", tmp_path / "kit", engines_file=table, weights_dir=weights_dir)

    assert failing(found) == set()


def test_a_session_on_it_remembers_the_weights(
    make_client: MakeClient, table: Path, folder: tuple[Path, str], weights_dir: Path
) -> None:
    client = make_client(
        **{"engine": "fashn", "engines": ("fashn",), "engines_file": table},
        **{"worker_concurrency": 1, "weights_dir": weights_dir},
    )
    shopper = Shopper(client)

    answer = client.post(
        "/api/tryon/sessions",
        files={"person_image": ("me.jpg", people.photo("ada"), "image/jpeg")},
        data={"user_token": shopper.token, "mode": "fast", "output_format": "png"},
    )
    session = shopper.wait(answer.json()["id"], "completed", within_s=120)

    assert session["provenance"]["engine"] == "fashn"
    assert session["provenance"]["weights"]["model.safetensors"] == folder[1]
    made = Image.open(io.BytesIO(shopper.get(f"{session['id']}/output").content))
    assert made.size == (576, 768)


def test_nobody_is_dressed_where_nobody_is(
    make_client: MakeClient, table: Path, weights_dir: Path
) -> None:
    client = make_client(
        **{"engine": "fashn", "engines": ("fashn",), "engines_file": table},
        **{"worker_concurrency": 1, "weights_dir": weights_dir},
    )
    shopper = Shopper(client)

    nobody = io.BytesIO()
    Image.new("RGB", (600, 800), (128, 128, 128)).save(nobody, "PNG")
    answer = client.post(
        "/api/tryon/sessions",
        files={"person_image": ("wall.png", nobody.getvalue(), "image/png")},
        data={"user_token": shopper.token},
    )
    session = shopper.wait(answer.json()["id"], "failed", within_s=120)

    assert session["error_code"] == "no_person"
