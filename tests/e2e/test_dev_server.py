"""`npm run dev` on port 3000: through its proxy, and straight to the server by CORS."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Request, expect

from app.config import ROOT
from tests.e2e.conftest import MakeVisit, Serve
from tests.flows.conftest import wait_for

pytestmark = pytest.mark.e2e

FRONTEND = ROOT / "frontend"
PORT = 3000  # the one that CORS_ORIGINS names

StartDev = Callable[..., str]


@pytest.fixture
def dev() -> Iterator[StartDev]:
    """Start Vite, with these variables; answers with its address."""
    npm = shutil.which("npm")
    if npm is None or not (FRONTEND / "node_modules/.package-lock.json").exists():
        pytest.skip("the page's packages are not here: npm ci in frontend/")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"somebody else listens on port {PORT}")
    with ExitStack() as stack:

        def start(**variables: str) -> str:
            process = subprocess.Popen(
                [npm, "run", "dev", "--", "--host", "localhost"],
                cwd=FRONTEND,
                env={**os.environ, **variables},
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

            def stop() -> None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(20)

            stack.callback(stop)
            wait_for(lambda: _listens(process), within_s=60)
            return f"http://localhost:{PORT}"

        yield start


def _listens(process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Vite has ended"
    try:
        socket.create_connection(("localhost", PORT)).close()
    except OSError:
        return False
    return True


def test_the_page_under_work_reaches_the_server_through_its_proxy(
    serve: Serve, browser: Browser, dev: StartDev
) -> None:
    running = serve()
    address = dev(TRYONAI_SERVER=f"http://127.0.0.1:{running.port}")
    page = browser.new_page(base_url=address)
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)

    page.goto("/")
    page.locator("input[name=person][value=ada]").check(timeout=60_000)
    page.locator("input[name=garment][value=henley]").check()
    page.get_by_role("button", name="Try it on").click()

    expect(page.get_by_role("link", name="Download")).to_be_visible(timeout=60_000)
    assert {one.split("/")[2] for one in asked if one[:4] == "http"} == {f"localhost:{PORT}"}
    page.close()


def test_the_section_works_on_a_page_of_another_origin(visit: MakeVisit, browser: Browser) -> None:
    """As it is put into another site: every call the page makes is allowed there by CORS."""
    me = visit().open()
    me.choose()
    me.try_on()
    me.preview.get_by_role("button", name="Delete my photos now").click()
    me.page.get_by_role("alertdialog").get_by_role("button", name=re.compile("Delete")).click()
    expect(me.result).to_contain_text("Nothing of it is on the server any more.")
    calls = {
        (one.method, re.sub(r"[0-9a-f-]{36}", "{id}", one.url.split("?")[0]), names)
        for one in me.asked
        if "/api/" in one.url and (names := _unsafe_headers(one))
    }
    assert len(calls) > 4

    for method, url, names in calls:
        answer = me.context.request.fetch(
            url.replace("{id}", "0b9ef0e5-9d5c-4c0f-8d3c-0d6b5a7d9a11"),
            method="OPTIONS",
            headers={
                "Origin": f"http://localhost:{PORT}",
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": names,
            },
        )
        assert answer.ok, (method, url, names)
        assert answer.headers["access-control-allow-origin"] == f"http://localhost:{PORT}"


_SAFE = {"accept", "accept-language", "content-type", "user-agent", "referer", "origin"}


def _unsafe_headers(request: Request) -> str:
    """The headers of a call that a browser asks leave for, from another origin."""
    return ",".join(
        sorted(
            name
            for name in request.headers
            if name not in _SAFE and not name.startswith(("sec-", "upgrade-"))
        )
    )
