"""`TRYONAI_ENGINE=my_engine:MyEngine pytest --pyargs app.engines.conformance`

A variable and no option: pytest reads options before it knows of a package's conftest.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.engines.conformance.checks import Kit, examining
from app.runtime import offered_engine


@pytest.fixture(scope="session")
def kit() -> Iterator[Kit]:
    word = os.environ.get("TRYONAI_ENGINE")
    if not word:
        pytest.skip("which engine? Set TRYONAI_ENGINE to a word as in ENGINES.")
    settings = load_settings(allow_noncommercial=True)
    with (
        tempfile.TemporaryDirectory(prefix="tryonai-conformance-") as folder,
        examining(
            offered_engine(word, settings),
            Path(folder),
            weights_dir=settings.weights_dir,
            timeout_s=settings.engine_timeout,
            memory_mb=settings.engine_memory_mb,
        ) as kit,
    ):
        yield kit
