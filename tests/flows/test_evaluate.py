"""`python -m app evaluate`: engines side by side on a folder of pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from app import catalogue
from app.__main__ import main
from tests.provider import KEY, providing


@pytest.mark.slow
def test_engines_are_compared_and_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    weights_dir: Path,
) -> None:
    for folder, files in {
        "image": [one.path for one in catalogue.people()[:2]],
        "cloth": [catalogue.garments()[0].path],
    }.items():
        (tmp_path / folder).mkdir()
        for file in files:
            with Image.open(file) as image:
                image.convert("RGB").save(tmp_path / folder / f"{file.stem}.jpg", quality=95)
    garment = catalogue.garments()[0].id
    people = [one.id for one in catalogue.people()[:2]]
    lines = [f"{person}.jpg {garment}.jpg" for person in people]
    (tmp_path / "test_pairs.txt").write_text("\n".join(lines))
    monkeypatch.setenv("WEIGHTS_DIR", str(weights_dir))
    monkeypatch.setenv("MOCK_SECONDS", "0")
    monkeypatch.setenv("MOCK_FAILURE_RATE", "0")
    out = tmp_path / "out"

    status = main(
        ["evaluate", "--pairs", str(tmp_path), "--engines", "warp,mock", "--output", str(out)]
    )

    assert status == 0
    assert "\n| warp | 2 | 0 |" in capsys.readouterr().out
    warp, mock = json.loads((out / "scores.json").read_text())["engines"]
    assert warp["means"]["colour"] > mock["means"]["colour"] + 0.3
    assert warp["means"]["face"] == pytest.approx(0, abs=0.5)
    assert mock["means"]["ground"] > warp["means"]["ground"]
    for name in ("warp", "mock"):
        with Image.open(out / f"{name}.png") as sheet:
            assert sheet.height > 600


@pytest.mark.slow
def test_a_service_is_asked_where_somebody_pays_and_its_cost_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    weights_dir: Path,
) -> None:
    pairs = tmp_path / "pairs"
    for folder, file in (("image", catalogue.people()[0]), ("cloth", catalogue.garments()[0])):
        (pairs / folder).mkdir(parents=True)
        with Image.open(file.path) as image:
            image.convert("RGB").save(pairs / folder / "a.jpg", quality=95)
    (pairs / "cloth" / "torn.jpg").write_bytes(b"no picture")
    (pairs / "test_pairs.txt").write_text("a.jpg a.jpg\na.jpg torn.jpg\n")
    monkeypatch.setenv("WEIGHTS_DIR", str(weights_dir))
    monkeypatch.setenv("FASHN_API_KEY", KEY)
    monkeypatch.setenv("ENGINES_FILE", str(tmp_path / "engines.toml"))
    command = ["evaluate", "--pairs", str(pairs), "--engines", "fashn-api", "--output"]
    with providing() as provider:
        provider.draws, provider.polls = True, 0
        (tmp_path / "engines.toml").write_text(
            '[fashn-api]\nengine = "remote"\nsecrets = ["FASHN_API_KEY"]\n'
            f'options = {{ mapping = "fashn", base_url = "{provider.url}" }}\n'
        )

        unpaid = main([*command, str(tmp_path / "out")])
        paid = main([*command, str(tmp_path / "out"), "--pay"])

    said = capsys.readouterr()
    assert "sends the pictures to 127.0.0.1: say --pay" in said.err
    assert (unpaid != 0, paid) == (True, 0)
    assert sum(provider.paid.values()) == 1
    assert "\n| fashn-api | 1 | 1 × unreadable |" in "\n" + said.out
    assert "| 1 credits |" in said.out
