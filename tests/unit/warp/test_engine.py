"""The stages together, on the catalogue's rendered people and garments."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import catalogue
from app.engines import Mode, RunContext, TryOnRequest, TryOnResult
from app.engines.warp.engine import EFFORTS, Pipeline
from app.engines.warp.pose import find_pose
from app.engines.warp.values import Rgb
from app.errors import EngineError, FailureCode, RunCancelled
from tests.unit.warp.conftest import rendered


@pytest.fixture(scope="module")
def pipeline(weights_dir: Path) -> Pipeline:
    return Pipeline(weights_dir)


def _garment(name: str) -> Rgb:
    with Image.open(catalogue.FOLDER / "garments" / f"{name}.webp") as picture:
        return np.asarray(picture.convert("RGB"))


def _context(stages: list[tuple[str, float | None]] | None = None) -> RunContext:
    told = [] if stages is None else stages
    return RunContext(
        progress=lambda stage, done: told.append((stage, done)),
        check=lambda: None,
        deadline=1e18,
        scratch=Path(),
    )


@pytest.fixture(scope="module")
def worn(pipeline: Pipeline) -> TryOnResult:
    return pipeline.run(TryOnRequest(rendered("mia"), _garment("tshirt-print")), _context())


def test_the_picture_is_as_large_as_the_photo(worn: TryOnResult) -> None:
    assert worn.picture.shape == rendered("mia").shape
    assert worn.picture.dtype == np.uint8


def test_the_garment_is_on_the_body_and_the_face_is_the_persons_own(
    pipeline: Pipeline, worn: TryOnResult
) -> None:
    photo = rendered("mia")
    pose, body = find_pose(pipeline._networks, photo)
    changed = (worn.picture != photo).any(2)

    x, y = (round(float(value)) for value in (body.shoulders * 0.6 + body.hips * 0.4))
    assert changed[y - 40 : y + 40, x - 40 : x + 40].mean() > 0.9
    eyes = pose.points[[2, 5]].mean(0)
    mouth = pose.points[[9, 10]].mean(0)
    left, right = round(float(eyes[0])) - 25, round(float(eyes[0])) + 25
    assert not changed[round(float(eyes[1])) - 15 : round(float(mouth[1])), left:right].any()


@pytest.mark.slow
@pytest.mark.parametrize("person", catalogue.people(), ids=lambda person: person.id)
def test_what_the_page_offers_becomes_a_good_picture(
    pipeline: Pipeline, person: catalogue.Person
) -> None:
    offered = [garment for garment in catalogue.garments() if person.suits(garment)]

    reached: dict[str, float] = {}
    for garment in offered:
        request = TryOnRequest(rendered(person.id), _garment(garment.id), category=garment.category)
        reached[garment.id] = pipeline.run(request, _context()).quality or 0.0

    assert {name: quality for name, quality in reached.items() if quality < 0.84} == {}


def test_far_from_the_garment_no_pixel_changes(worn: TryOnResult) -> None:
    changed = (worn.picture != rendered("mia")).any(2)

    assert not changed[:, :20].any()
    assert not changed[:60].any()
    assert changed.mean() < 0.6


def test_the_same_input_gives_the_same_bytes(pipeline: Pipeline, worn: TryOnResult) -> None:
    again = pipeline.run(TryOnRequest(rendered("mia"), _garment("tshirt-print")), _context())

    assert np.array_equal(again.picture, worn.picture)
    assert again.quality == worn.quality


def test_it_says_what_it_took_the_garment_for(pipeline: Pipeline, worn: TryOnResult) -> None:
    assert worn.category == "tops", "asked for was `auto`"


def test_a_person_in_a_mirror_gives_the_picture_in_a_mirror(
    pipeline: Pipeline, worn: TryOnResult
) -> None:
    photo = np.ascontiguousarray(rendered("mia")[:, ::-1])
    garment = np.ascontiguousarray(_garment("tshirt-print")[:, ::-1])

    other = pipeline.run(TryOnRequest(photo, garment), _context()).picture[:, ::-1]

    difference = np.abs(other.astype(np.float32) - worn.picture.astype(np.float32)).mean()
    assert float(difference) < 6  # levels; networks and key points are not quite even-handed


def test_it_says_how_good_it_is_and_how_long_each_stage_took(worn: TryOnResult) -> None:
    assert worn.quality is not None
    assert 0.5 < worn.quality <= 1
    assert {"pose", "garment", "parsing", "warping", "composition"} <= worn.timings_s.keys()


@dataclass
class Watched:
    """What a run has told, and shown."""

    told: list[tuple[str, float | None]] = field(default_factory=list)
    shown: dict[str, Rgb] = field(default_factory=dict)


@pytest.fixture(scope="module")
def watched(pipeline: Pipeline) -> Watched:
    seen = Watched()
    request = TryOnRequest(rendered("ada"), _garment("henley"))
    pipeline.run(request, _context(seen.told), on_picture=seen.shown.__setitem__)
    return seen


def test_progress_only_grows(watched: Watched) -> None:
    told = watched.told

    fractions = [fraction for _, fraction in told if fraction is not None]
    assert len(fractions) >= 6
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1


def test_it_can_be_cancelled_between_stages(pipeline: Pipeline) -> None:
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == 4:
            raise RunCancelled

    context = RunContext(lambda *_: None, check, 1e18, Path())
    with pytest.raises(RunCancelled):
        pipeline.run(TryOnRequest(rendered("leo"), _garment("henley")), context)


@pytest.mark.parametrize("mode", sorted(EFFORTS.keys() - {TryOnRequest.mode}))
def test_the_other_modes_give_a_picture_of_the_photos_size_too(
    pipeline: Pipeline, mode: Mode
) -> None:
    request = TryOnRequest(rendered("ken"), _garment("sweater"), mode=mode)

    result = pipeline.run(request, _context())

    assert result.picture.shape == request.person.shape
    changed = (result.picture != request.person).any(2)
    assert 0.05 < changed.mean() < 0.7
    assert not changed[:60].any()


def test_a_large_photo_is_shrunk_to_the_modes_bound(pipeline: Pipeline) -> None:
    large = np.asarray(Image.fromarray(rendered("ken")).resize((1500, 2000)))

    result = pipeline.run(TryOnRequest(large, _garment("sweater"), mode="fast"), _context())

    assert max(result.picture.shape[:2]) == EFFORTS["fast"].result


@pytest.mark.slow
@pytest.mark.parametrize("mode", EFFORTS)
def test_a_phones_photo_takes_hardly_more_memory_than_a_small_one(
    pipeline: Pipeline, mode: str
) -> None:
    small = Image.fromarray(rendered("leo"))
    sizes = (small.size, (1536, 2048))
    peaks = []
    for size in sizes:
        request = TryOnRequest(
            np.asarray(small.resize(size)),
            _garment("dress-leaves"),
            mode=mode,  # type: ignore[arg-type]
        )
        tracemalloc.start()
        try:
            pipeline.run(request, _context())
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    assert peaks[1] < peaks[0] + 50_000_000


def test_the_stages_pictures_can_be_looked_at(watched: Watched) -> None:
    shown = watched.shown

    assert {"garment", "parts"} <= shown.keys()
    assert all(picture.dtype == np.uint8 and picture.ndim == 3 for picture in shown.values())


def test_nobody_there_is_said_so(pipeline: Pipeline) -> None:
    plain = np.full((400, 300, 3), 180, np.uint8)

    with pytest.raises(EngineError) as caught:
        pipeline.run(TryOnRequest(plain, _garment("henley")), _context())

    assert caught.value.failure is FailureCode.NO_PERSON
