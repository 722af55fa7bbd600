"""The document that the browser client's types are made from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import Settings
from app.main import create_app

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_document_does_not_depend_on_the_settings_of_this_installation(tmp_path: Path) -> None:
    operators = {
        "ENGINES": "mock",
        "DATABASE_URL": "postgresql://nobody@192.0.2.1/nothing",
        "MAX_FILE_MB": "not a number",
    }
    out = tmp_path / "openapi.json"

    done = subprocess.run(
        [sys.executable, ROOT / "scripts/export_openapi.py", out],
        check=False,
        cwd=tmp_path,
        env={**os.environ, **operators},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    written = json.loads(out.read_text("utf-8"))
    assert written == create_app(Settings.model_construct()).openapi()
    form = written["components"]["schemas"]["CreateForm"]["properties"]
    assert form["engine"]["enum"] == ["warp", "mock"]
    assert out.read_bytes().endswith(b"}\n")
