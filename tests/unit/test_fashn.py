"""What of the engine fashn needs no torch: what it says of itself, and the pictures it prepares."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.config import load_settings
from app.engines import Pose, RunContext, TryOnRequest
from app.engines.fashn import PUBLISHED as FILE
from app.engines.fashn import FashnEngine, pictures, skeleton
from app.engines.fashn.architecture import Architecture
from app.errors import EngineError, EngineUnavailable, SettingsError
from app.runtime import offered_engine

PUBLISHED = Architecture()


def offered(tmp_path: Path, options: str, **settings: Any) -> Any:
    file = tmp_path / "engines.toml"
    file.write_text(f"[fashn]\noptions = {{ {options} }}\n")
    return offered_engine("fashn", load_settings(_env_file=None, engines_file=file, **settings))


def test_it_states_the_published_file_and_needs_no_table(tmp_path: Path) -> None:
    found = offered_engine("fashn", load_settings(_env_file=None, weights_dir=tmp_path))

    assert found.info.weights[0].sha256 == FILE.sha256
    assert found.info.weights[0].licence == "Apache-2.0"
    assert found.spec.options == {"weights": tmp_path / "fashn-vton-1.5"}
    assert found.info.photo_types == ("flat-lay",)


def test_a_file_of_ones_own_needs_a_licence(tmp_path: Path) -> None:
    own = f'weights = "/models", sha256 = "{"a" * 64}"'

    with pytest.raises(SettingsError, match=r"model\.safetensors is under unknown"):
        offered(tmp_path, own)
    info = offered(tmp_path, f'{own}, licence = "MIT"').info
    assert (info.weights[0].sha256, info.weights[0].licence) == ("a" * 64, "MIT")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('weights = "w", precision = "fp8"', "precision must be one of auto, bf16, fp32"),
        ('weights = "w", network = { heads = 3 }', "axes must add up"),
        ('weights = "w", network = { patch = 7 }', "patch must divide"),
        ('weights = "w", network = { hidden = 1280.0 }', "hidden must be a whole number"),
        ('weights = "w", network = { axes = [15, 57, 56] }', "three even numbers"),
        ('weights = "w", network = { depth = 3 }', "has no depth; it has"),
        ('weights = "w", sha256 = "abc", licence = "MIT"', "64 hexadecimal digits"),
        ('weights = "w", parser = true', "cannot be made"),
    ],
)
def test_options_that_cannot_be_are_refused_at_the_start(
    options: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=said):
        offered(tmp_path, options)


def test_missing_and_other_weights_are_told_from_each_other(tmp_path: Path) -> None:
    engine = FashnEngine(tmp_path)

    with pytest.raises(
        EngineUnavailable, match=r"model\.safetensors cannot be read.*docs/engines\.md"
    ):
        engine.load()
    (tmp_path / FILE.file).write_bytes(b"half a file")
    digest = hashlib.sha256(b"half a file").hexdigest()
    with pytest.raises(EngineUnavailable, match=f"SHA-256 is {digest}, not {FILE.sha256}"):
        engine.load()


def test_without_torch_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE.file).write_bytes(b"weights")
    for name in [one for one in sys.modules if one.startswith("app.engines.fashn.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(EngineUnavailable, match="torch is not installed"):
        FashnEngine(tmp_path, sha256=hashlib.sha256(b"weights").hexdigest(), licence="MIT").load()


def test_what_it_says_of_itself_costs_no_framework() -> None:
    heavy = "{'cv2', 'torch', 'safetensors', 'numpy', 'PIL'}"
    program = f"import sys, app.engines.fashn; sys.exit(bool({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_garment_that_somebody_wears_is_refused(tmp_path: Path) -> None:
    engine = FashnEngine(tmp_path)
    engine._pipeline = object()  # type: ignore[assignment]
    nothing = np.zeros((256, 256, 3), np.uint8)
    request = TryOnRequest(nothing, nothing, garment_photo_type="model")
    context = RunContext(lambda *_: None, lambda: None, 0.0, tmp_path)

    with pytest.raises(EngineError, match="garment alone"):
        engine.run(request, context)


# --- pictures -------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_picture_lies_whole_in_the_middle_of_the_frame(height: int, width: int) -> None:
    at = pictures.place(np.zeros((height, width), np.uint8), PUBLISHED)

    # Cut off, not rounded: 863 where 864 / 357 × 357 comes out a hair below.
    assert PUBLISHED.height - at.height <= 1 or PUBLISHED.width - at.width <= 1
    assert 0 <= PUBLISHED.height - at.height - 2 * at.top <= 1
    assert 0 <= PUBLISHED.width - at.width - 2 * at.left <= 1
    if min(at.height, at.width) >= 100:
        assert at.width / at.height == pytest.approx(width / height, rel=0.02)


@pytest.mark.parametrize("size", [(864, 576), (1024, 768), (4000, 3000), (901, 1601), (300, 200)])
def test_a_frame_holds_the_picture_and_black(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 200, np.uint8)

    small = pictures.shrink(picture, PUBLISHED)
    framed = pictures.frame(small, PUBLISHED)

    assert max(small.shape) <= 864
    at = pictures.place(small, PUBLISHED)
    assert (at.cut(framed) == 200).all()
    assert (framed == 200).all(-1).sum() == at.height * at.width


def test_a_frame_of_its_own_size_is_the_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (864, 576, 3), np.uint8)

    assert (pictures.frame(pictures.shrink(picture, PUBLISHED), PUBLISHED) == picture).all()


def test_a_drawing_keeps_its_greys() -> None:
    drawing = skeleton.draw(standing(), 1, 1000, 700)

    framed = pictures.frame(drawing, PUBLISHED)

    assert set(np.unique(framed)) <= set(np.unique(drawing))


# --- the drawing ----------------------------------------------------------------------------


def standing() -> Pose:
    """Somebody who stands in a picture of 1000 × 700 and faces us."""
    points = np.zeros((33, 2), np.float32)
    for index, at in {
        **{0: (350, 150), 2: (370, 130), 5: (330, 130), 7: (395, 140), 8: (305, 140)},
        **{9: (362, 180), 10: (338, 180), 11: (430, 260), 12: (270, 260)},
        **{13: (470, 400), 14: (230, 400), 15: (480, 530), 16: (220, 530)},
        **{23: (400, 540), 24: (300, 540), 25: (400, 750), 26: (300, 750)},
        **{27: (400, 940), 28: (300, 940)},
    }.items():
        points[index] = at
    return Pose(points, np.ones(33, np.float32), np.ones(33, np.float32))


def without(pose: Pose, *points: int, what: str = "presence") -> Pose:
    changed = getattr(pose, what).copy()
    changed[list(points)] = 0.1
    return replace(pose, **{what: changed})


def limb(drawing: NDArray[np.uint8], a: tuple[int, int], b: tuple[int, int]) -> int:
    """The grey in the middle between two joints."""
    return int(drawing[(a[1] + b[1]) // 2, (a[0] + b[0]) // 2])


def test_limbs_and_joints_have_greys_of_their_own() -> None:
    drawing = skeleton.draw(standing(), 1, 1000, 700)

    # The right arm is the left one in the picture. Greys: 20, 32, 45, 58, 71 … 123, 162, 175, by
    # 0.6 and by 1.3.
    assert limb(drawing, (270, 260), (230, 400)) == 27
    assert limb(drawing, (230, 400), (220, 530)) == 34
    assert limb(drawing, (430, 260), (470, 400)) == 42
    assert limb(drawing, (300, 750), (300, 940)) == 73
    assert limb(drawing, (400, 750), (400, 940)) == 97
    assert drawing[260, 270] == 26
    assert drawing[150, 350] == 227
    assert drawing[940, 400] == 210


@pytest.mark.parametrize("what", ["presence", "visibility"])
def test_what_is_not_seen_is_not_drawn(what: str) -> None:
    whole = skeleton.draw(standing(), 1, 1000, 700)
    drawing = skeleton.draw(without(standing(), 14, what=what), 1, 1000, 700)

    assert drawing[400, 230] == 0
    assert limb(drawing, (270, 260), (230, 400)) == limb(drawing, (230, 400), (220, 530)) == 0
    assert drawing[530, 220] == whole[530, 220] > 0


def test_the_neck_needs_both_shoulders() -> None:
    seen = skeleton.body_points(without(standing(), 11), 1, 1000, 700)[1]

    assert not seen[1]
    assert seen[2]


def test_points_beyond_the_picture_are_not_drawn() -> None:
    drawing = skeleton.draw(standing(), 1, 800, 700)

    assert drawing[750, 300] > 0
    assert limb(drawing, (300, 540), (300, 750)) > 0
    assert drawing[799, 300] == 0


def test_the_face_is_kept_and_neither_shirt_nor_ground() -> None:
    weight = skeleton.face(standing(), 1, 1000, 700)

    assert weight.dtype == np.float32
    assert weight[130, 330] == weight[130, 370] == weight[180, 350] == 1
    assert weight[260:].max() == 0
    assert weight[130, :250].max() == 0
    assert ((weight > 0) & (weight < 1)).any()


def test_the_face_lies_where_the_smaller_picture_has_it() -> None:
    large, small = (
        skeleton.face(standing(), 1, 1000, 700),
        skeleton.face(standing(), 0.5, 500, 350),
    )

    assert np.abs(large[::2, ::2] - small).max() < 0.1


def test_what_is_kept_is_the_photos_own() -> None:
    photo, made = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 200, np.uint8)
    weight = np.zeros((4, 4), np.float32)
    weight[0], weight[1] = 1, 0.5

    kept = pictures.keep(made, photo, weight)

    assert [int(row[0, 0]) for row in kept] == [100, 150, 200, 200]
