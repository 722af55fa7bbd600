"""What holds for the page as a whole, whatever is done with it."""

from __future__ import annotations

import gzip
import re

import pytest
from playwright.sync_api import expect

from app.web import DIST
from bench.page import SHIFT_AT_MOST, WATCH
from tests.e2e.conftest import MakeVisit
from tests.e2e.visits import Visit

pytestmark = pytest.mark.e2e

MOST_SCRIPT_BYTES = 130_000
_SMALL = {"width": 360, "height": 640}
# 200 % on a screen of 1280: the page is given half of it (WCAG 1.4.4, 1.4.10).
_ZOOMED = {"width": 640, "height": 400}
# 400 %: WCAG 1.4.10 asks for it.
_REFLOWED = {"width": 320, "height": 256}


def test_the_script_is_small_enough(built_page: None) -> None:
    scripts = list(DIST.rglob("*.js"))

    assert scripts
    assert sum(len(gzip.compress(file.read_bytes(), 9)) for file in scripts) <= MOST_SCRIPT_BYTES


def test_nothing_holds_up_the_first_paint_but_the_style(built_page: None) -> None:
    text = (DIST / "index.html").read_text()

    fetched = re.findall(r"<script[^>]*src[^>]*>", text)
    assert fetched
    assert all('type="module"' in tag for tag in fetched)
    assert len(re.findall(r'<link[^>]*rel="stylesheet"', text)) == 1
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    inline = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert sum(map(len, inline)) < 400


@pytest.mark.parametrize("size", [_SMALL, _ZOOMED, _REFLOWED], ids=["360 px", "200 %", "400 %"])
def test_nobody_has_to_scroll_sideways(visit: MakeVisit, size: dict[str, int]) -> None:
    me = visit(viewport=size).open()
    me.choose()
    me.try_on()

    overflow = me.page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(one => one.getBoundingClientRect().right > innerWidth + 1
                && !one.closest("pre, .sr-only, [class*=overflow]"))
            .map(one => one.outerHTML.slice(0, 120))"""
    )
    assert overflow == []
    assert me.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    expect(me.result.get_by_role("link", name="Download")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 1280, 1024])
def test_the_three_columns_end_together(visit: MakeVisit, width: int) -> None:
    """Also where the catalogue has grown: no column leaves white space under what it shows."""
    me = visit(viewport={"width": width, "height": 900}).open()

    assert _spread_of_ends(me) < 2
    me.choose()
    me.try_on()
    assert _spread_of_ends(me) < 2


def _spread_of_ends(me: Visit) -> float:
    ends = [
        float(
            column.evaluate(
                """column => Math.max(...[...column.querySelectorAll(":not(.sr-only)")]
                    .filter(one => one.checkVisibility())
                    .map(one => one.getBoundingClientRect().bottom))"""
            )
        )
        for column in (me.person, me.garment, me.result)
    ]
    return max(ends) - min(ends)


@pytest.mark.parametrize("width", [1440, 412])
def test_nothing_moves_by_itself_from_the_first_paint_to_the_picture(
    visit: MakeVisit, width: int
) -> None:
    me = visit(viewport={"width": width, "height": 823})
    me.page.add_init_script(WATCH)
    me.open()
    me.page.wait_for_load_state("networkidle")
    me.choose()
    me.try_on()
    expect(me.result.get_by_role("link", name="Download")).to_be_visible()

    assert me.page.evaluate("figures.shift") <= SHIFT_AT_MOST


def test_targets_are_large_enough_for_a_thumb(visit: MakeVisit) -> None:
    me = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).open()
    me.choose()
    me.try_on()

    small = me.page.evaluate(
        """() => [...document.querySelectorAll("#preview button, #preview label, #preview select")]
            .filter(one => one.checkVisibility() && !one.closest(".sr-only"))
            .map(one => [one.getBoundingClientRect(), one])
            .filter(([box]) => box.width < 40 || box.height < 40)
            .map(([box, one]) => `${box.width}×${box.height} ${one.outerHTML.slice(0, 120)}`)"""
    )
    assert small == []


def test_the_whole_flow_works_on_a_plain_http_address(visit: MakeVisit) -> None:
    """There the browser has neither randomUUID nor a clipboard nor a camera for pages."""
    me = visit(host="tryon.test").open()
    assert me.page.evaluate("isSecureContext") is False
    assert me.page.evaluate("crypto.randomUUID === undefined && !navigator.mediaDevices")

    me.choose()
    me.try_on()
    me.preview.get_by_role("button", name="Delete my photos now").click()
    me.page.get_by_role("alertdialog").get_by_role("button", name="Delete 2").click()

    expect(me.result).to_contain_text("Nothing of it is on the server any more.")


@pytest.mark.parametrize("path", ["/api/docs", "/api/redoc"])
def test_the_documentation_asks_no_other_host(visit: MakeVisit, path: str) -> None:
    me = visit()

    me.page.goto(path)

    expect(me.page.get_by_text("/api/tryon/sessions").first).to_be_attached(timeout=20_000)
    me.page.wait_for_load_state("networkidle")


def test_every_link_leads_somewhere(visit: MakeVisit) -> None:
    me = visit().open()

    links = set(me.page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)"))

    assert len(links) > 5
    for link in links:
        address, _, fragment = link.partition("#")
        if fragment:
            assert me.page.locator(f"#{fragment}").count() == 1, link
        answer = me.context.request.get(address)
        assert answer.ok, link


def test_a_choice_of_colours_is_kept(visit: MakeVisit) -> None:
    me = visit(color_scheme="light").open()
    paper = "getComputedStyle(document.body).backgroundColor"
    light = me.page.evaluate(paper)

    me.page.get_by_role("button", name="Use dark colours").click()
    dark = me.page.evaluate(paper)
    me.page.reload()

    assert dark != light
    assert me.page.evaluate(paper) == dark


def test_the_first_paint_has_the_chosen_colours(visit: MakeVisit) -> None:
    """Before any script has come: nobody is dazzled at night."""
    me = visit(color_scheme="light").open()
    me.forgive("ERR_FAILED")
    me.page.get_by_role("button", name="Use dark colours").click()
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = me.page.evaluate(paper)
    me.page.route(re.compile(r"/assets/.*\.js$"), lambda route: route.abort())

    me.page.reload()

    assert me.page.locator("html").get_attribute("data-theme") == "dark"
    assert me.page.evaluate(paper) == dark


def test_the_page_can_be_used_by_keyboard_alone(visit: MakeVisit) -> None:
    me = visit().open()
    me.page.keyboard.press("Tab")
    expect(me.page.get_by_role("link", name="Skip to the try-on")).to_be_focused()
    me.page.keyboard.press("Enter")

    def tab_to(text: str) -> None:
        for _ in range(40):
            me.page.keyboard.press("Tab")
            focused = me.page.evaluate(
                "document.activeElement.getAttribute('name') || document.activeElement.innerText"
            )
            if focused == text:
                return
        pytest.fail(f"{text} is not reached")

    tab_to("person")
    me.page.keyboard.press("Space")
    tab_to("garment")
    me.page.keyboard.press("Space")
    me.page.keyboard.press("ArrowRight")
    expect(me.press).to_be_enabled()
    tab_to("Try it on")
    me.page.keyboard.press("Enter")

    me.wait_for_picture()


def test_without_scripts_the_page_says_what_it_needs(visit: MakeVisit) -> None:
    me = visit(java_script_enabled=False)
    me.forgive("preload")  # of the picture that a script would have shown

    me.page.goto("/")

    expect(me.page.locator("noscript p")).to_contain_text("needs JavaScript")
    expect(me.page.locator("noscript a[href='/api/docs']")).to_be_visible()
