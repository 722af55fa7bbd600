"""The kit passes what keeps the contract, and fails each broken engine for its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.__main__ import main
from app.config import load_settings
from app.engines.conformance.checks import CHECKS, examine, examining
from app.runtime import offered_engine
from tests.flows.test_plugins import plug_in
from tests.provider import KEY, providing

ROOT = Path(__file__).resolve().parents[2]


def examined(word: str, folder: Path, **settings: object) -> dict[str, bool | None]:
    found = load_settings(_env_file=None, **settings)
    with examining(
        offered_engine(word, found),
        folder,
        weights_dir=found.weights_dir,
        timeout_s=30,
        memory_mb=1500,
    ) as kit:
        return {name: finding.ok for name, finding in examine(kit)}


def failing(found: dict[str, bool | None]) -> set[str]:
    assert len(found) == len(CHECKS)
    return {name for name, ok in found.items() if ok is False}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["mock", "warp", "tests.broken_engines:Sound"])
def test_what_keeps_the_contract_passes(engine: str, tmp_path: Path, weights_dir: Path) -> None:
    found = examined(
        engine, tmp_path, mock_seconds=0.2, mock_failure_rate=0, weights_dir=weights_dir
    )

    assert failing(found) == set()


@pytest.mark.slow
def test_a_service_passes(
    tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHN_API_KEY", KEY)
    file = tmp_path / "engines.toml"
    with providing() as provider:
        provider.draws, provider.polls = True, 0
        file.write_text(
            '[fashn-api]\nengine = "remote"\nsecrets = ["FASHN_API_KEY"]\n'
            f'options = {{ mapping = "fashn", base_url = "{provider.url}" }}\n'
        )

        found = examined("fashn-api", tmp_path, engines_file=file, weights_dir=weights_dir)

    assert failing(found) == set()
    assert found["connects_to_nobody"] is None  # it sends, and says so
    assert found["keeps_the_face"]


@pytest.mark.slow
def test_a_chain_passes_although_its_first_engine_fails(tmp_path: Path, weights_dir: Path) -> None:
    file = tmp_path / "engines.toml"
    file.write_text(
        '[fails]\nengine = "mock"\noptions = { seconds = 0, failure_rate = 1 }\n'
        '[best]\nengine = "chain"\noptions = { engines = ["fails", "warp"] }\n'
    )

    found = examined("best", tmp_path, engines_file=file, weights_dir=weights_dir)

    assert failing(found) == set()
    assert found["keeps_the_face"]


@pytest.mark.slow
def test_a_chain_with_a_broken_engine_fails_for_its_reason(
    tmp_path: Path, weights_dir: Path
) -> None:
    file = tmp_path / "engines.toml"
    file.write_text(
        '[fails]\nengine = "mock"\noptions = { seconds = 0, failure_rate = 1 }\n'
        '[dices]\nengine = "tests.broken_engines:Dices"\n'
        '[best]\nengine = "chain"\noptions = { engines = ["fails", "dices"] }\n'
    )

    found = examined("best", tmp_path, engines_file=file, weights_dir=weights_dir)

    assert failing(found) == {"is_deterministic"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("Dices", "is_deterministic"),
        ("Deaf", "stops_when_cancelled"),
        ("Hoards", "keeps_its_memory"),
        ("Litters", "writes_into_scratch_only"),
        ("Telephones", "connects_to_nobody"),
        ("Repaints", "keeps_the_face"),
        ("Shells", "starts_what_it_names"),
        ("Breeds", "leaves_nothing_running"),
        ("Stumbles", "refuses_in_words"),
    ],
)
def test_a_broken_engine_fails_for_its_reason(
    engine: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_dir: Path
) -> None:
    (tmp_path / "kit").mkdir()
    monkeypatch.setenv("LITTER_OF_TESTS", str(tmp_path / "litter"))

    found = examined(f"tests.broken_engines:{engine}", tmp_path / "kit", weights_dir=weights_dir)

    assert failing(found) - {"keeps_its_deadline"} == {reason}


@pytest.mark.slow
def test_the_plug_in_of_the_docs_passes_and_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    weights_dir: Path,
) -> None:
    (tmp_path / "my_engine.py").write_text(plug_in())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("WEIGHTS_DIR", str(weights_dir))
    report = tmp_path / "report.html"

    status = main(["engine", "check", "my_engine:MyEngine", "--report", str(report)])

    said = capsys.readouterr().out
    assert status == 0, said
    assert said.endswith("All hold.\n")
    page = report.read_text("utf-8")
    assert page.count("data:image/jpeg") == 3 * 6
    assert "http" not in page


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "passes"), [("Sound", True), ("Dices", False)])
def test_the_kit_is_a_test_module_too(
    tmp_path: Path, weights_dir: Path, engine: str, passes: bool
) -> None:
    environment = {
        "PYTHONPATH": str(ROOT),
        "WEIGHTS_DIR": str(weights_dir),
        "TRYONAI_ENGINE": f"tests.broken_engines:{engine}",
    }
    command = [sys.executable, "-m", "pytest", "--pyargs", "app.engines.conformance"]

    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) is passes, done.stdout
    assert ("18 passed" if passes else "1 failed") in done.stdout
