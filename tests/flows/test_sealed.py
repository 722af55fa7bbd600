"""The default installation calls nobody: it is run where nothing can leave, and listened to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.config import ROOT
from tests.conftest import NOT_APPLICABLE


@pytest.fixture
def folder() -> Iterator[Path]:
    """Others than root may pass through it, as to the embedded database's folder they must."""
    made = Path(tempfile.mkdtemp(prefix="tryonai-sealed-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.mark.slow
def test_nothing_tries_to_leave_the_default_installation(folder: Path, weights_dir: Path) -> None:
    """Server, embedded database and `warp`: started, used for a real try-on, erased from, ended.

    What would be missed shows in the first step: attempts made on purpose must all be heard.
    """
    if sys.platform != "linux":
        pytest.skip(f"{NOT_APPLICABLE}network namespaces are Linux's")
    if os.geteuid() != 0:
        pytest.skip("a network namespace and a raw socket need root")

    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.flows.sealed", folder, weights_dir],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    attempts = said["attempts"]
    for sent in ("tcp 203.0.113.9 443", "tcp 2001:db8::9 443", "udp 203.0.113.53 53"):
        assert sent in attempts
    # And what the resolver asked for a name, at whichever address this machine has it.
    assert {one for one in attempts if one.endswith(" 53")} > {"udp 203.0.113.53 53"}
    assert said["visit"]["session"]["status"] == "completed"
    assert min(said["visit"]["sizes"]) > 1000
    assert said["heard of the visit"] > 0
    assert said["outside"] == []
