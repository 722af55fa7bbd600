"""A real browser on the real server: page, API, worker, engine and embedded database.

In a process of its own, `pytest -m e2e tests/e2e -n 0`: Playwright leaves an event loop running in
the main thread, on which other tests trip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from app.config import ROOT
from bench import server
from tests.e2e.visits import Running, Visit

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_OPTIONS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name that is neither localhost nor https: what a visitor on a local network has.
    "--host-resolver-rules=MAP tryon.test 127.0.0.1",
]

Serve = Callable[..., Running]
MakeVisit = Callable[..., Visit]


@pytest.fixture(scope="session")
def built_page() -> None:
    """The page of what the sources are now."""
    command = [sys.executable, str(ROOT / "scripts/build_page.py")]
    if subprocess.run(command, check=False).returncode != 0:
        pytest.skip("the page could not be built; the lines above say why")


@pytest.fixture(scope="session")
def serve(
    built_page: None, weights_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """A server with these settings, shared by all tests that ask for the same ones."""
    server.check_settings()
    running: dict[str, Running] = {}
    with ExitStack() as stack:

        def serve(**settings: object) -> Running:
            key = repr(sorted(settings.items()))
            if key not in running:
                folder = tmp_path_factory.mktemp("server")
                values = {"ENGINE": "warp", "ENGINES": "warp,mock", "WEIGHTS_DIR": weights_dir}
                started = server.serving(folder, **{**values, **settings})
                running[key] = Running(stack.enter_context(started).port, folder)
            return running[key]

        yield serve


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium; E2E_CHROMIUM names another."""
    program = os.environ.get("E2E_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium here: install it, or name it in E2E_CHROMIUM")
    # Its sandbox refuses to work for root.
    alone = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=program, args=[*_OPTIONS, *alone])


@pytest.fixture
def visit(serve: Serve, browser: Browser) -> Iterator[MakeVisit]:
    """Open the page as a new visitor. After the test nothing may have gone wrong in silence.

    `settings` are the server's; everything else is the browser's context's.
    """
    visits: list[Visit] = []

    def make(
        settings: dict[str, object] | None = None, *, host: str = "127.0.0.1", **context: object
    ) -> Visit:
        running = serve(**(settings or {}))
        visits.append(Visit(browser, running, f"http://{host}:{running.port}", context))
        return visits[-1]

    yield make
    complaints = [visit.close() for visit in visits]
    assert not any(complaints), complaints
