"""From two clicks to proof that it is gone."""

from __future__ import annotations

import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.conftest import MakeVisit
from tests.e2e.test_pictures import Form, jpeg, upload
from tests.e2e.visits import PEOPLE, PHONE

pytestmark = pytest.mark.e2e

SMALL = jpeg(PEOPLE / "ada.webp", long_side=400)


def test_two_clicks_and_the_button_make_a_picture(visit: MakeVisit) -> None:
    me = visit().open()
    expect(me.press).to_be_disabled()
    expect(me.preview).to_contain_text("Add a photo and choose a garment first.")

    me.choose("ada", "henley")
    me.try_on()

    expect(me.preview).to_contain_text("AI preview, fit may differ")
    with me.page.expect_download() as download:
        me.result.get_by_role("link", name="Download").click()
    with Image.open(download.value.path()) as picture:
        assert (picture.format, picture.size) == ("JPEG", (768, 1024))
    assert download.value.suggested_filename == "tryon-preview.jpg"
    assert len(me.api("POST", "/api/tryon/sessions")) == 1


def test_a_visit_stays_far_below_the_limit_of_calls(visit: MakeVisit) -> None:
    """120 a minute are the default, and one address may be a whole shop."""
    me = visit({"RATE_LIMIT_ENABLED": "true"}).open()
    me.choose()
    me.try_on()
    me.page.reload()
    me.wait_for_picture()

    assert len([one for one in me.asked if "/api/tryon/" in one.url]) < 70


def test_the_handle_is_moved_by_keys_and_by_mouse(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose()
    me.try_on()
    slider = me.result.get_by_role("slider", name="Compare before and after")

    expect(slider).to_have_value("46")  # it has glided there
    slider.press("ArrowRight")
    expect(slider).to_have_value("47")
    slider.press("End")
    expect(slider).to_have_value("100")
    box = slider.bounding_box()
    assert box
    me.page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    me.page.mouse.down()
    me.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2, steps=4)
    me.page.mouse.up()
    expect(slider).to_have_value(re.compile("^(2[0-9]|30)$"))


def test_the_handle_is_moved_by_touch(visit: MakeVisit) -> None:
    me = visit(viewport=PHONE, has_touch=True, is_mobile=True).open()
    me.choose()
    me.try_on()
    slider = me.result.get_by_role("slider", name="Compare before and after")
    expect(slider).to_have_value("46")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box

    me.page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])

    expect(slider).to_have_value(re.compile("^(7[5-9]|8[0-5])$"))


def test_on_a_phone_the_result_comes_into_sight_by_itself(visit: MakeVisit) -> None:
    me = visit(viewport=PHONE, has_touch=True, is_mobile=True, reduced_motion="no-preference")
    me.open().choose()
    assert me.share_of(me.result) < 0.2
    me.press.focus()

    me.page.keyboard.press("Enter")

    me.wait_until(lambda: me.share_of(me.result) > 0.6)
    me.wait_for_picture()
    me.wait_until(lambda: me.share_of(me.picture) > 0.6)
    expect(me.press).to_be_focused()


def test_who_scrolls_away_meanwhile_is_left_there(visit: MakeVisit) -> None:
    me = visit({"ENGINE": "mock", "MOCK_SECONDS": 3}, viewport=PHONE).open()
    me.choose()
    me.press.click()
    me.wait_until(lambda: me.share_of(me.result) > 0.6)
    me.page.mouse.move(200, 300)
    me.page.mouse.wheel(0, -1500)
    me.wait_until(lambda: me.share_of(me.result) == 0)
    at = me.page.evaluate("scrollY")

    me.wait_for_picture()

    assert me.page.evaluate("scrollY") == at


def test_an_earlier_session_comes_into_sight_when_it_is_opened(visit: MakeVisit) -> None:
    me = visit(viewport=PHONE).open()
    me.choose()
    me.try_on()
    me.preview.get_by_role("button", name="Start over").click()
    show = me.sessions.get_by_role("button", name=re.compile("^Show"))
    show.scroll_into_view_if_needed()

    show.click()

    me.wait_for_picture()
    me.wait_until(lambda: me.share_of(me.picture) > 0.6)


def test_a_double_click_makes_one_session(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose()

    me.press.dblclick(no_wait_after=True)
    me.wait_for_picture()

    assert len(me.api("POST", "/api/tryon/sessions")) == 1
    expect(me.sessions.get_by_role("listitem")).to_have_count(1)


def test_the_stages_are_the_servers(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose()
    told = me.page.get_by_role("status").filter(has_text=re.compile("."))

    me.press.click()

    expect(told.first).to_be_attached()
    me.wait_for_picture()
    expect(me.page.get_by_role("status").filter(has_text="The picture is ready.")).to_have_count(1)
    expect(me.preview.get_by_role("list", name="Progress").get_by_role("listitem")).to_have_count(5)


def test_the_garment_is_changed_and_the_photo_stays(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose("ada", "henley")
    me.try_on()
    first = me.picture.get_attribute("src")

    me.garment.locator("input[value=sweater]").check()
    me.press.click()

    expect(me.picture).not_to_have_attribute("src", str(first), timeout=30_000)
    me.wait_for_picture()
    expect(me.sessions.get_by_role("listitem")).to_have_count(2)


def test_what_does_not_suit_the_photo_starts_from_no_button(visit: MakeVisit) -> None:
    """Ada is shown to the hips: her trousers would be a guess."""
    me = visit().open()
    me.choose("omar", "chinos")
    me.try_on()
    me.person.locator("input[value=ada]").check()
    expect(me.preview).to_contain_text("This sample shows the upper body only")

    me.press.click(force=True)
    me.press.focus()
    me.page.keyboard.press("Enter")

    expect(me.result.get_by_role("button", name="Make it again")).to_be_disabled()
    expect(me.press).to_have_accessible_description(re.compile("This sample shows the upper body"))
    assert len(me.api("POST", "/api/tryon/sessions")) == 1


def test_everything_is_deleted_by_keyboard_alone_with_proof(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose()
    me.try_on()
    button = me.preview.get_by_role("button", name="Delete my photos now")
    button.focus()
    me.page.keyboard.press("Enter")
    dialog = me.page.get_by_role("alertdialog", name="Delete everything now?")
    expect(dialog).to_contain_text("1 session with 2 pictures leaves the server at once.")

    # Escape keeps everything and gives the focus back; the focus cannot leave the dialog.
    me.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    me.page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    me.page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Delete 2")).to_be_focused()
    me.page.keyboard.press("Enter")

    expect(dialog).to_be_hidden()
    expect(me.preview.get_by_role("heading", name="1 session deleted")).to_be_visible()
    expect(me.result).to_contain_text("Nothing of it is on the server any more.")
    expect(me.picture).to_have_count(0)
    answer = me.context.request.get("/api/tryon/sessions", headers={"X-User-Token": me.token})
    assert answer.json()["items"] == []


def test_all_sessions_are_deleted_and_counted_however_many_there_are(visit: MakeVisit) -> None:
    """More than one page of the list: 100 are the most that the API gives at once."""
    me = visit({"ENGINE": "mock"}).open()
    for _ in range(101):
        form: Form = {"person_image": upload(SMALL, "me.jpg"), "user_token": me.token}
        answer = me.context.request.post("/api/tryon/sessions", multipart=form)
        assert answer.status == 201
    me.page.reload()

    me.preview.get_by_role("button", name="Delete my photos now").click()
    dialog = me.page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("101 sessions with ")
    dialog.get_by_role("button", name=re.compile("^Delete")).click()

    proof = me.preview.get_by_role("status").filter(has_text="101 sessions deleted")
    expect(proof.get_by_role("listitem")).to_have_count(101, timeout=60_000)


def test_one_session_of_several_is_deleted(visit: MakeVisit) -> None:
    me = visit().open()
    for garment in ("henley", "sweater"):
        me.choose("ada", garment)
        me.press.click()
        expect(me.page.get_by_role("status").filter(has_text="ready")).to_have_count(
            1, timeout=30_000
        )
    rows = me.sessions.get_by_role("listitem")
    expect(rows).to_have_count(2)

    rows.nth(1).get_by_role("button", name=re.compile("^Delete this session")).click()
    me.page.get_by_role("alertdialog").get_by_role("button", name="Delete 2").click()

    expect(rows).to_have_count(1)
    expect(me.picture).to_be_visible()


def test_an_earlier_session_is_shown_again(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose()
    me.try_on()
    me.preview.get_by_role("button", name="Start over").click()
    expect(me.picture).to_have_count(0)

    me.sessions.get_by_role("button", name=re.compile("^Show")).click()

    me.wait_for_picture()


def test_another_browser_sees_nothing_of_it(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose()
    me.try_on()

    other = visit().open()

    assert other.token != me.token
    expect(other.sessions.get_by_role("listitem")).to_have_count(0)
    expect(other.picture).to_have_count(0)
