"""The engine warp before its first picture: what it says of itself, and why it does not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.engines.registry import find
from app.engines.warp import WarpEngine
from app.errors import EngineUnavailable


def test_what_it_says_of_itself_costs_neither_opencv_nor_the_networks() -> None:
    heavy = "{'cv2', 'ai_edge_litert', 'numpy'}"
    program = f"import sys, app.engines.warp; sys.exit(bool({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_the_library_for_the_networks_it_names_it(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("app.engines.warp.")]:
        if not name.endswith(".weights"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)

    with pytest.raises(EngineUnavailable, match=r"ai-edge-litert.*Intel"):
        WarpEngine(weights_dir).load()


def test_a_person_parser_that_is_not_there_is_named_without_its_path(
    weights_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineUnavailable, match="PERSON_PARSER") as caught:
        WarpEngine(weights_dir, tmp_path / "gone.tflite").load()

    assert str(tmp_path) not in caught.value.detail


def test_loading_says_nothing_to_the_log_and_leaves_it_open(
    weights_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = find("warp", {"weights_dir": weights_dir}).make()

    engine.load()

    print("after", file=sys.stderr)  # noqa: T201
    assert capfd.readouterr().err == "after\n"
