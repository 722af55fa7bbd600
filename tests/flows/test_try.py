"""`python -m app try`: an engine on files, with no server."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog
from PIL import Image

from app import catalogue
from app.__main__ import main
from app.config import Settings
from tests import pictures

PERSON = catalogue.people()[0].path
GARMENT = next(one for one in catalogue.garments() if one.id == "henley").path


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, weights_dir_or_none: Path | None) -> Iterator[None]:
    """A quick mock is the default, and no setting comes from where the tests run."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    monkeypatch.setenv("ENGINE", "mock")
    monkeypatch.setenv("MOCK_SECONDS", "0")
    monkeypatch.setenv("MOCK_FAILURE_RATE", "0")
    if weights_dir_or_none is not None:
        monkeypatch.setenv("WEIGHTS_DIR", str(weights_dir_or_none))
    yield
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two persons, two garments, and a file that is no picture."""
    for kind in ("persons", "garments"):
        (tmp_path / kind).mkdir()
        for name in ("a.jpg", "b.PNG"):
            image = pictures.photo(96, 128)
            data = pictures.png(image) if name.endswith("PNG") else pictures.jpeg(image)
            (tmp_path / kind / name).write_bytes(data)
        (tmp_path / kind / "notes.txt").write_text("no picture")
    return tmp_path


def attempt(*arguments: object) -> int:
    return main(["try", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "kind"), [("o.jpg", "JPEG"), ("o.png", "PNG"), ("o.webp", "WEBP")]
)
def test_one_pair_gives_a_picture_and_its_timings(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    out = folder / name

    assert attempt(folder / "persons/a.jpg", folder / "garments/a.jpg", "-o", out) == 0

    with Image.open(io.BytesIO(out.read_bytes())) as image:
        assert (image.format, image.size) == (kind, (96, 128))
    told = capsys.readouterr()
    assert "mock 1: 96 × 128, balanced" in told.out
    assert all(stage in told.out for stage in ("person", "garment", "compose", "together"))
    assert "\r" not in told.err, "no bar where there is no terminal"


def test_folders_give_a_sheet_of_all_pairs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet, out = folder / "sheet.png", folder / "out"

    status = attempt(folder / "persons", folder / "garments", "--sheet", sheet, "-o", out)

    assert status == 0
    assert sorted(file.name for file in out.iterdir()) == [
        *("a--a.jpg", "a--b.jpg", "b--a.jpg", "b--b.jpg")
    ]
    with Image.open(sheet) as image:
        assert image.width > 3 * 96
        assert image.height > 3 * 400
    assert len(capsys.readouterr().out.splitlines()) == 5, "four pairs and a summary"


def test_a_file_that_cannot_be_read_is_left_out_of_the_sheet(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "garments/c.jpg").write_bytes(b"no picture at all")

    assert attempt(folder / "persons", folder / "garments", "--sheet", folder / "sheet.png") == 0

    told = capsys.readouterr()
    assert "c.jpg is neither JPEG, PNG nor WebP" in told.err
    assert "4 pairs, 4 × picture" in told.out


def test_ctrl_c_leaves_the_sheet_as_far_as_it_came(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.engines.mock._compose", _interrupts_after(3))

    status = attempt(folder / "persons", folder / "garments", "--sheet", folder / "sheet.png")

    assert status == 130
    assert len(capsys.readouterr().out.splitlines()) == 3
    with Image.open(folder / "sheet.png") as image:
        image.verify()


def _interrupts_after(times: int) -> object:
    calls = iter(range(times))

    def compose(request: object) -> object:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return np.zeros((8, 8, 3), np.uint8)

    return compose


def test_a_refusal_is_its_sentence_and_status_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOCK_FAILURE_RATE", "1")
    out = folder / "o.jpg"

    assert attempt(folder / "persons/a.jpg", folder / "garments/a.jpg", "-o", out) == 1

    assert "model_error: The model could not make a picture" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["persons/a.jpg", "garments/a.jpg"], "-o out.jpg"),
        (["persons/a.jpg", "garments/a.jpg", "-o", "o.gif"], "must end in"),
        (["persons/a.jpg", "garments/a.jpg", "-o", "none/o.jpg"], "no such folder"),
        (["persons", "garments/a.jpg", "-o", "o.jpg"], "--sheet"),
        (["persons/gone.jpg", "garments/a.jpg", "-o", "o.jpg"], "gone.jpg: No such file"),
        (["persons/notes.txt", "garments/a.jpg", "-o", "o.jpg"], "notes.txt is neither JPEG"),
        ([".", "garments", "--sheet", "o.jpg"], "holds no picture"),
        (["persons/a.jpg", "garments/a.jpg", "-o", "o.jpg", "--debug", "d"], "shows no stages"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_status_2(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(folder)

    assert attempt(*arguments) == 2

    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (folder / "o.jpg").exists()


def test_an_engine_that_cannot_be_loaded_says_what_to_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEIGHTS_DIR", str(folder))

    assert attempt(PERSON, GARMENT, "-o", folder / "o.jpg", "--engine", "warp") == 1

    assert "Run `python scripts/fetch_weights.py`" in capsys.readouterr().err


def test_an_engine_sees_the_first_device_of_its_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = '[on-a-card]\nengine = "tests.engines_for_tests:NeedsACard"\ndevices = ["cuda:3"]\n'
    (folder / "engines.toml").write_text(table)
    monkeypatch.setenv("ENGINES_FILE", str(folder / "engines.toml"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    pair = folder / "persons" / "a.jpg", folder / "garments" / "a.jpg"
    assert attempt(*pair, "--engine", "on-a-card", "--output", folder / "o.png") == 0

    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("LoadsNoFile", ["could not be loaded: FileNotFoundError\n", "no.weights", "py, line "]),
        ("LoadsFromAfar", ["could not be loaded: PermissionError", "it was refused 192.0.2.1"]),
    ],
)
def test_what_an_engine_does_not_load_for_is_told_without_a_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str], engine: str, said: list[str]
) -> None:
    pair = folder / "persons" / "a.jpg", folder / "garments" / "a.jpg"
    word = f"tests.engines_for_tests:{engine}"

    assert attempt(*pair, "--engine", word, "--output", folder / "o.png") == 1

    told = capsys.readouterr().err
    assert all(part in told for part in said)
    assert "Traceback" not in told


def test_an_engine_that_declares_no_egress_is_let_out_by_try_no_more_than_by_the_service(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    word = "tests.engines_for_tests:ConnectsAsItRuns"

    sheet = folder / "sheet.png"
    assert attempt(folder / "persons", folder / "garments", "--sheet", sheet, "--engine", word) == 1

    told = capsys.readouterr().err
    assert "192.0.2.1: this engine declares no egress, so it may not connect" in told
    with socket.create_server(("127.0.0.1", 0)):
        pass  # the tests' own process goes on as it was


def test_warp_puts_the_garment_on_and_shows_its_stages(
    tmp_path: Path, weights_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, debug = tmp_path / "o.png", tmp_path / "stages"

    status = attempt(PERSON, GARMENT, "-o", out, "--debug", debug, "--engine", "warp")

    assert status == 0
    with Image.open(out) as picture, Image.open(PERSON) as photo:
        changed = np.asarray(picture) != np.asarray(photo.convert("RGB"))
    assert changed.mean() > 0.1
    assert "pose" in capsys.readouterr().out
    assert list((debug / "ada--henley").glob("01-*.png"))
