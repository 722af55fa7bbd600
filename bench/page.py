"""The page in a browser: when its largest part is painted, what moves, and what it weighs."""

from __future__ import annotations

import gzip
import os
import shutil
import statistics
import sys
from pathlib import Path

from app.web import DIST
from bench import server
from bench.table import Figure, ratio

SLOWER = 4
"""What a phone of the middle class is behind a laptop; as Lighthouse reckons."""

LARGEST_PAINT_AT_MOST_S = 1.5
SHIFT_AT_MOST = 0.02
SCRIPT_AT_MOST_KB = 130.0

WATCH = """
window.figures = { largest: 0, shift: 0 };
new PerformanceObserver(list => {
    for (const one of list.getEntries()) figures.largest = one.startTime;
}).observe({ type: "largest-contentful-paint", buffered: true });
let window_ = { sum: 0, first: 0, last: 0 };  // as web.dev's CLS: 5 s at most, pauses below 1 s
new PerformanceObserver(list => {
    for (const one of list.getEntries()) {
        if (one.hadRecentInput) continue;
        const at = one.startTime;
        const goes_on = at - window_.last < 1000 && at - window_.first < 5000;
        if (!goes_on) window_ = { sum: 0, first: at, last: at };
        window_ = { ...window_, sum: window_.sum + one.value, last: at };
        figures.shift = Math.max(figures.shift, window_.sum);
    }
}).observe({ type: "layout-shift", buffered: true });
"""
_BARE = "<!doctype html><title>bare</title><p>The largest part of a page that has no other."


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Nothing where there is no page or no browser."""
    program = os.environ.get("E2E_CHROMIUM") or shutil.which("chromium")
    if program is None or not (DIST / "index.html").exists():
        print("bench: page needs Chromium and `python scripts/build_page.py`", file=sys.stderr)
        return []
    from playwright.sync_api import Page, Route, sync_playwright  # noqa: PLC0415 - a tool of tests

    def bare(route: Route) -> None:
        route.fulfill(body=_BARE, content_type="text/html")

    def watched(page: Page, address: str) -> None:
        page.add_init_script(WATCH)
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.wait_for_function("figures.largest > 0")

    largest: list[float] = []
    shifts: list[float] = []
    floors: list[float] = []
    with (
        server.serving(folder, ENGINE="mock", MOCK_SECONDS=1) as running,
        sync_playwright() as driver,
    ):
        alone = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=program, args=["--disable-gpu", *alone])
        for _ in range(3 if quick else 7):
            page = browser.new_page(viewport={"width": 412, "height": 823})
            page.route("**/bare", bare)
            watched(page, f"http://127.0.0.1:{running.port}/bare")
            floors.append(page.evaluate("figures.largest") / 1000)
            page.close()
            page = browser.new_page(viewport={"width": 412, "height": 823})
            watched(page, f"http://127.0.0.1:{running.port}/")
            largest.append(page.evaluate("figures.largest") / 1000)
            page.locator("input[name=person]").first.check()
            page.locator("input[name=garment]").first.check()
            page.get_by_role("button", name="Try it on").click()
            page.get_by_role("link", name="Download").wait_for()
            shifts.append(page.evaluate("figures.shift"))
            page.close()
        browser.close()
    packed = sum(len(gzip.compress(file.read_bytes(), 9)) for file in DIST.rglob("*.js"))
    return [_paint(largest, floors), _shift(shifts), _weight(packed / 1000)]


def _paint(seconds: list[float], floors: list[float]) -> Figure:
    median = statistics.median(seconds)
    return Figure(
        name=f"largest contentful paint, {SLOWER} × slower CPU",
        measured=median,
        unit="s",
        floor=statistics.median(floors),
        floor_is="a page of one paragraph from the same server",
        ratio=ratio(seconds, floors),
        to_reach=f"≤ {LARGEST_PAINT_AT_MOST_S:g} s",
        reached=median <= LARGEST_PAINT_AT_MOST_S,
        details={"each, s": seconds},
    )


def _shift(shifts: list[float]) -> Figure:
    return Figure(
        name="layout shift, from the first paint to a finished picture",
        measured=max(shifts),
        unit="",
        floor=0.0,
        floor_is="nothing moves",
        ratio=None,
        to_reach=f"≤ {SHIFT_AT_MOST:g}",
        reached=max(shifts) <= SHIFT_AT_MOST,
        details={"each": shifts},
    )


def _weight(kilobytes: float) -> Figure:
    return Figure(
        name="JavaScript, gzip",
        measured=kilobytes,
        unit="KB",
        floor=67.5,
        floor_is="React and its DOM alone",
        ratio=kilobytes / 67.5,
        to_reach=f"≤ {SCRIPT_AT_MOST_KB:g} KB",
        reached=kilobytes <= SCRIPT_AT_MOST_KB,
        details={"what": "all scripts of frontend/dist, level 9; 1 KB is 1000 bytes"},
    )
