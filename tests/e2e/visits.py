"""One visitor: a browser's context, what went wrong in it, and the words of the page."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    ViewportSize,
    expect,
)

from app.config import ROOT
from bench import server

SHOTS = Path(os.environ.get("E2E_SHOTS") or ROOT / "tests/e2e/shots")
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
TALL: ViewportSize = {"width": 1440, "height": 1500}
TALL_PHONE: ViewportSize = {"width": 390, "height": 2700}
PEOPLE = ROOT / "app/catalogue/people"
GARMENTS = ROOT / "app/catalogue/garments"

# What the axe-core rules of WCAG 2.2, levels A and AA, are called.
_WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_SLOW_MS = 30_000  # of an engine on a machine that has other things to do

expect.set_options(timeout=10_000)


@dataclass(frozen=True)
class Running:
    """A server of the tests, and the folder of its data."""

    port: int
    folder: Path


class Visit:
    """The page as one visitor sees it."""

    def __init__(
        self, browser: Browser, running: Running, url: str, context: dict[str, Any]
    ) -> None:
        self.server, self.url = running, url
        self.forgiven: list[str] = []
        self.asked: list[Request] = []
        self._complaints: list[str] = []
        options = {"viewport": DESKTOP, "reduced_motion": "reduce", **context}
        self.context = browser.new_context(base_url=url, **options)
        self.context.set_default_timeout(10_000)
        self.page = self.watched(self.context.new_page())

    def watched(self, page: Page) -> Page:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._complaints.append(f"error: {error}"))
        page.on("request", self._on_request)
        return page

    def forgive(self, pattern: str) -> None:
        """Messages of the console like this belong to the test."""
        self.forgiven.append(pattern)

    def go_offline(self) -> None:
        """Whatever is still loading then fails, samples' pictures too."""
        self.forgive("ERR_INTERNET_DISCONNECTED")
        self.context.set_offline(True)

    def go_online(self) -> None:
        self.context.set_offline(False)

    def close(self) -> list[str]:
        """What went wrong: errors in the console, requests to other hosts."""
        self.context.close()
        return [
            one
            for one in self._complaints
            if not any(re.search(pattern, one) for pattern in self.forgiven)
        ]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            place = message.location.get("url", "")
            self._complaints.append(f"{message.type}: {message.text} ({place})")

    def _on_request(self, request: Request) -> None:
        self.asked.append(request)
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and not request.url.startswith(self.url):
            self._complaints.append(f"another host: {request.url}")

    # The page

    def open(self) -> Visit:
        self.page.goto("/")
        expect(self.people.first).to_be_attached()
        return self

    @property
    def preview(self) -> Locator:
        return self.page.get_by_role("region", name="Product Preview")

    @property
    def person(self) -> Locator:
        return self.preview.get_by_role("region", name="Your photo")

    @property
    def garment(self) -> Locator:
        return self.preview.get_by_role("region", name="Garment", exact=True)

    @property
    def result(self) -> Locator:
        return self.preview.get_by_role("region", name="Result")

    @property
    def sessions(self) -> Locator:
        return self.preview.get_by_role("region", name="My sessions")

    @property
    def people(self) -> Locator:
        return self.person.get_by_role("radio")

    @property
    def garments(self) -> Locator:
        return self.garment.get_by_role("radio")

    @property
    def press(self) -> Locator:
        return self.preview.get_by_role("button", name=re.compile("^Try (it on|again in)"))

    @property
    def picture(self) -> Locator:
        return self.result.get_by_role("img", name="The AI preview of the garment on the person")

    @property
    def token(self) -> str:
        return str(self.page.evaluate("localStorage.getItem('tryonai.token')"))

    def choose(self, person: str = "ada", garment: str = "henley") -> None:
        """By the names of the catalogue."""
        self.person.locator(f"input[value={person}]").check()
        self.garment.locator(f"input[value={garment}]").check()
        expect(self.press).to_be_enabled()

    def try_on(self) -> None:
        self.press.click()
        self.wait_for_picture()

    def wait_for_picture(self) -> None:
        expect(self.picture).to_be_visible(timeout=_SLOW_MS)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """While the page goes on: what no locator can wait for."""
        deadline = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline, "it did not come about within 10 s"
            self.page.wait_for_timeout(50)

    def share_of(self, place: Locator) -> float:
        """How much of its height is on the screen, below the navigation, 0-1."""
        script = """element => {
            const { top, bottom } = element.getBoundingClientRect();
            const nav = document.querySelector("header").getBoundingClientRect().bottom;
            return (Math.min(bottom, innerHeight) - Math.max(top, nav)) / (bottom - top);
        }"""
        return max(0.0, float(place.evaluate(script)))

    # The server

    def tell_database(self, statement: str) -> None:
        address: dict[str, Any] = {**server.database_address(self.server.folder)}
        with psycopg2.connect(**address) as connection:
            connection.cursor().execute(statement)

    def api(self, method: str, path: str) -> list[Request]:
        """What the page has asked for."""
        return [
            one
            for one in self.asked
            if one.method == method and urlsplit(one.url).path.startswith(path)
        ]

    # What it looks like

    def look(self, name: str, *, at: Locator | None = None) -> None:
        """Keep pictures of this state, wide and narrow, and hold it against WCAG in both themes.

        at: what is to be seen on the phone's screen; the result where nothing is named.
        """
        found: list[str] = []
        for theme in ("dark", "light"):
            self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            found += [f"{theme}: {one}" for one in self.violations()]
        before = self.page.viewport_size or DESKTOP
        for kind, size in (("desktop", TALL), ("phone", TALL_PHONE), ("phone-screen", PHONE)):
            self.page.set_viewport_size(size)
            place = (at or self.result) if kind == "phone-screen" else self.preview
            place.evaluate("element => element.scrollIntoView({ block: 'start' })")
            self.shoot(f"{name}-{kind}")
        self.page.set_viewport_size(before)
        assert not found, "\n".join(found)

    def shoot(self, name: str, *, whole: bool = False) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=whole)

    def violations(self) -> list[str]:
        """What axe finds: the rule, and where."""
        rules = {"runOnly": {"type": "tag", "values": _WCAG}}
        return [
            f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
            for one in Axe().run(self.page, options=rules).response["violations"]
            for node in one["nodes"]
        ]
