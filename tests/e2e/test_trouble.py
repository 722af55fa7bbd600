"""What goes wrong, and how it goes on."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Route, expect

from app.config import ROOT
from tests.e2e.conftest import MakeVisit
from tests.e2e.test_pictures import Form, jpeg, upload
from tests.e2e.visits import PEOPLE

pytestmark = pytest.mark.e2e

# An engine that takes its time, so that there is a middle to do something in.
SLOW = {"ENGINE": "mock", "MOCK_SECONDS": 3}
NEVER_READY = {"ENGINE": "mock", "MOCK_SECONDS": 3600, "ENGINE_TIMEOUT": 3600}
SMALL = jpeg(PEOPLE / "ada.webp", long_side=128)
BEHIND = ROOT / "tests/data/people/mia_behind.webp"


def test_a_reload_in_the_middle_goes_on(visit: MakeVisit) -> None:
    me = visit(SLOW).open()
    me.choose()
    me.press.click()
    expect(me.preview.get_by_role("button", name="Cancel")).to_be_visible()

    me.page.reload()

    expect(me.preview.get_by_role("button", name="Cancel")).to_be_visible()
    me.wait_for_picture()
    assert len(me.api("POST", "/api/tryon/sessions")) == 1
    # The columns are as they were, and one click changes the garment.
    expect(me.person.locator("input[value=ada]")).to_be_checked()
    expect(me.garment.locator("input[value=henley]")).to_be_checked()


def test_a_connection_that_is_lost_is_told_and_it_goes_on_by_itself(visit: MakeVisit) -> None:
    me = visit(SLOW).open()
    me.choose()
    me.press.click()
    expect(me.preview.get_by_role("button", name="Cancel")).to_be_visible()

    me.go_offline()
    expect(me.preview.get_by_role("alert")).to_contain_text("You are offline.")
    me.go_online()

    expect(me.preview.get_by_text("You are offline.")).to_have_count(0)
    me.wait_for_picture()


def test_offline_the_button_says_why_and_wakes_by_itself(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose()
    me.go_offline()
    expect(me.press).to_be_disabled()
    expect(me.press).to_have_accessible_description(re.compile("You are offline"))

    me.go_online()

    expect(me.press).to_be_enabled()
    me.try_on()


def test_an_upload_whose_answer_is_lost_makes_one_session(visit: MakeVisit) -> None:
    me = visit().open()
    me.forgive("ERR_CONNECTION_RESET|ERR_FAILED")
    lost: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.request.url)
            route.fetch()  # the server has it
            route.abort("connectionreset")
        else:
            route.continue_()

    me.page.route("**/api/tryon/sessions", lose_the_first_answer)
    me.choose()
    me.press.click()

    me.wait_for_picture()
    assert len(me.api("POST", "/api/tryon/sessions")) == 2
    expect(me.sessions.get_by_role("listitem")).to_have_count(1)


def test_a_photo_that_does_not_work_says_what_to_do_and_keeps_the_garment(
    visit: MakeVisit,
) -> None:
    me = visit().open()
    me.person.locator("input[type=file]").first.set_input_files(BEHIND)
    me.garment.locator("input[value=henley]").check()
    me.press.click()
    failure = me.result.get_by_role("alert")
    expect(failure).to_contain_text("Seen from behind.", timeout=30_000)
    expect(me.result).to_contain_text("person_from_behind")
    me.look("failed")

    me.result.locator("label", has_text="Choose another photo").locator("input").set_input_files(
        PEOPLE / "ada.webp"
    )
    me.press.click()

    me.wait_for_picture()
    expect(me.garment.locator("input[value=henley]")).to_be_checked()


def test_a_failure_of_the_engine_keeps_the_pictures_and_is_tried_again(visit: MakeVisit) -> None:
    me = visit({"ENGINE": "mock", "MOCK_SECONDS": 0, "MOCK_FAILURE_RATE": 1, "MAX_ATTEMPTS": 1})
    me.open()
    me.choose()
    me.press.click()
    expect(me.result.get_by_role("alert")).to_contain_text("Your pictures are still here.")
    me.look("failed-engine")

    me.result.get_by_role("button", name="Try again").click()

    expect(me.sessions.get_by_role("listitem")).to_have_count(2)
    assert len(me.api("POST", "/api/tryon/sessions")) == 2


def test_too_many_tries_count_down_and_the_button_wakes_by_itself(visit: MakeVisit) -> None:
    me = visit({"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_CREATE": "1/8 second"}).open()
    me.forgive("429")
    me.choose()
    me.try_on()
    me.garment.locator("input[value=sweater]").check()

    me.press.click()

    expect(me.press).to_have_text(re.compile(r"Try again in 0:0\d"))
    expect(me.press).to_be_disabled()
    me.look("limited")
    expect(me.press).to_be_enabled(timeout=15_000)
    me.press.click()
    expect(me.sessions.get_by_role("listitem")).to_have_count(2, timeout=30_000)


def test_what_expires_before_ones_eyes_is_listed_with_its_receipt_until_it_is_forgotten(
    visit: MakeVisit,
) -> None:
    me = visit().open()
    me.forgive("404")  # the receipt comes seconds later
    for garment in ("henley", "sweater"):
        me.choose("ada", garment)
        me.press.click()
        expect(me.sessions.get_by_text("Ready")).to_have_count(
            1 if garment == "henley" else 2, timeout=30_000
        )
    me.tell_database("UPDATE tryon_sessions SET expires_at = now() + interval '6 seconds'")
    me.page.reload()
    me.wait_for_picture()

    expect(me.result).to_contain_text("This look has expired")
    expect(me.picture).to_have_count(0)
    rows = me.sessions.get_by_role("listitem")
    expect(rows.filter(has_text="Erased when its time was over")).to_have_count(2)
    # Nobody told the server that the time has changed: it looks twice a minute.
    receipts = rows.get_by_role("link", name=re.compile("^Receipt"))
    expect(receipts).to_have_count(2, timeout=90_000)
    me.look("expired")
    receipt = me.context.request.get(str(receipts.first.get_attribute("href"))).json()
    assert receipt["statement"]["reason"] == "expiry"
    kept = me.page.evaluate("Object.entries(localStorage).map(one => one.join(' ')).join()")
    assert kept.count(me.token) == 1
    assert not re.search("signature|image|data:|blob:", kept)

    me.page.reload()
    rows.first.get_by_role("button", name=re.compile("^Forget this entry")).click()
    expect(rows).to_have_count(1)
    me.page.reload()
    rows.get_by_role("button", name=re.compile("^Forget this entry")).click()
    expect(me.sessions).to_contain_text("Nothing yet.")
    assert me.page.evaluate("localStorage.getItem('tryonai.known')") is None


def test_a_session_that_expired_meanwhile_is_told_after_a_reload(visit: MakeVisit) -> None:
    me = visit().open()
    me.forgive("410|404")
    me.choose()
    me.try_on()
    me.tell_database("UPDATE tryon_sessions SET expires_at = now()")

    me.page.reload()

    expect(me.result).to_contain_text("This look has expired")


def test_a_try_on_is_cancelled_and_nothing_of_it_stays(visit: MakeVisit) -> None:
    me = visit(NEVER_READY).open()
    me.choose()
    me.press.click()
    expect(me.result.get_by_role("progressbar")).to_be_visible(timeout=20_000)
    me.look("working")

    me.preview.get_by_role("button", name="Cancel").click()

    expect(me.press).to_be_enabled()
    expect(me.sessions.get_by_role("listitem")).to_have_count(0)


def test_the_place_in_the_queue_is_shown(visit: MakeVisit) -> None:
    first = visit(NEVER_READY).open()
    first.choose()
    first.press.click()
    expect(first.result.get_by_role("progressbar")).to_be_visible(timeout=20_000)

    second = visit(NEVER_READY).open()
    second.choose()
    second.press.click()

    expect(second.result).to_contain_text("in the queue")
    expect(second.preview).to_contain_text("You may close this page; it goes on.")
    second.look("queued")
    for one in (second, first):
        one.preview.get_by_role("button", name="Cancel").click()
        expect(one.press).to_be_enabled()


def test_a_server_that_is_away_is_told(visit: MakeVisit) -> None:
    me = visit().open()
    me.forgive("503")
    me.page.route(
        re.compile("/api/health|/api/tryon/sessions"),
        lambda route: (
            route.fulfill(
                status=503,
                headers={"Retry-After": "5"},
                content_type="application/problem+json",
                json={
                    "type": "about:blank",
                    "title": "The service is not available",
                    "status": 503,
                    "detail": "The database is away. Try again in a moment.",
                    "code": "unavailable",
                    "request_id": "4f9c2e710b6d4a53",
                },
            )
            if urlsplit(route.request.url).path != "/api/health/live"
            else route.continue_()
        ),
    )
    me.choose()
    me.press.click()

    expect(me.result.get_by_role("alert")).to_contain_text("out of order for a moment")
    expect(me.result.get_by_role("alert")).to_contain_text("You can go on in 0:0")
    me.look("unavailable")


def test_a_server_that_comes_back_is_found_without_a_reload(visit: MakeVisit) -> None:
    me = visit()
    me.forgive("503|ERR_FAILED")
    away = re.compile("/api/")
    me.page.route(away, lambda route: route.fulfill(status=503))
    me.page.goto("/")
    expect(me.garment).to_contain_text("The sample garments could not be loaded.")
    expect(me.page.get_by_role("link", name="Server not available")).to_be_visible()
    expect(me.preview).to_contain_text("The server has not said yet what it has of yours.")
    me.look("away", at=me.garment)

    me.page.unroute(away)

    expect(me.page.get_by_role("link", name="Server ready")).to_be_visible(timeout=20_000)
    me.choose()
    expect(me.preview).to_contain_text("Nothing of yours is on the server.")


def test_a_refusal_speaks_of_what_the_visitor_sees(visit: MakeVisit) -> None:
    """The server says `person_image`; here it is a photo."""
    me = visit().open()
    me.forgive("422")

    def send_a_small_one(route: Route) -> None:
        form: Form = {"person_image": upload(SMALL, "me.jpg"), "user_token": me.token}
        route.fulfill(response=me.context.request.post("/api/tryon/sessions", multipart=form))

    me.page.route("**/api/tryon/sessions", send_a_small_one)
    me.choose()
    me.press.click()

    refusal = me.result.get_by_role("alert")
    expect(refusal).to_contain_text("A picture has the wrong size.")
    expect(refusal).to_contain_text("Your photo: 96 × 128 pixels; each side needs at least 256.")
    me.look("refused")
