"""Each state in both themes, wide and narrow: for people who look, and for those who cannot.

The pictures lie in tests/e2e/shots, or where E2E_SHOTS says.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import MakeVisit
from tests.e2e.test_pictures import drop, upload
from tests.e2e.visits import DESKTOP, GARMENTS, PHONE

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["desktop", "phone"])
def test_the_page_at_rest(visit: MakeVisit, theme: str, kind: str) -> None:
    me = visit(viewport=DESKTOP if kind == "desktop" else PHONE, color_scheme=theme).open()
    me.page.wait_for_load_state("networkidle")

    me.shoot(f"page-{theme}-{kind}", whole=True)
    me.shoot(f"page-{theme}-{kind}-screen")

    assert me.violations() == []


def test_the_menu_of_a_phone(visit: MakeVisit) -> None:
    me = visit(viewport=PHONE, has_touch=True, is_mobile=True).open()
    me.page.wait_for_load_state("networkidle")

    me.shoot("menu-phone-screen")

    assert me.violations() == []


def test_everything_is_chosen(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose("ada", "henley")
    me.preview.get_by_text("Options", exact=True).click()
    me.look("chosen", at=me.person)


def test_an_upload_under_way(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose("ada", "henley")
    me.page.route("**/api/tryon/sessions", lambda route: None)  # never answered
    me.press.click()
    expect(me.preview.get_by_role("button", name="Stop the upload")).to_be_visible()

    me.look("uploading")

    me.preview.get_by_role("button", name="Stop the upload").click()
    expect(me.press).to_be_enabled()


def test_a_picture_and_its_warnings(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose("ada", "henley")
    me.try_on()
    me.look("completed")
    me.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    me.page.set_viewport_size({"width": 1440, "height": 1500})
    me.preview.evaluate("element => element.scrollIntoView({ block: 'start' })")
    me.shoot("completed-dark-desktop")


def test_the_picture_of_the_readme(visit: MakeVisit) -> None:
    me = visit(viewport={"width": 1280, "height": 1200}).open()
    me.choose("ada", "polo")
    me.try_on()
    me.page.mouse.move(0, 0)
    me.preview.locator(".panel").first.evaluate(
        "panel => scrollTo(0, panel.getBoundingClientRect().top + scrollY - 240)"
    )
    me.page.wait_for_load_state("networkidle")
    me.shoot("readme")


def test_the_question_before_all_is_deleted_and_the_proof_after(visit: MakeVisit) -> None:
    me = visit().open()
    me.choose()
    me.try_on()
    me.preview.get_by_role("button", name="Delete my photos now").click()
    dialog = me.page.get_by_role("alertdialog")
    expect(dialog).to_be_visible()
    me.look("asking", at=dialog)

    dialog.get_by_role("button", name="Delete 2").click()

    proof = me.preview.get_by_role("status").filter(has_text="deleted")
    expect(proof).to_be_visible()
    me.look("deleted", at=proof)


def test_a_file_that_cannot_be_used(visit: MakeVisit) -> None:
    me = visit().open()
    file = upload(b"%PDF-1.7 nothing to see", "a very long name of a document that is no photo.pdf")
    me.person.locator("input[type=file]").first.set_input_files(file)
    expect(me.person.get_by_role("alert")).to_be_visible()

    me.look("rejected", at=me.person)


def test_a_file_that_hovers(visit: MakeVisit) -> None:
    me = visit().open()
    transfer = me.page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["x"], "me.jpg", { type: "image/jpeg" }));
            return transfer;
        }"""
    )
    carried = {"dataTransfer": transfer, "bubbles": True, "cancelable": True}
    me.person.dispatch_event("dragenter", carried)

    expect(me.page.get_by_text("Drop it as your photo")).to_be_visible()
    me.look("dropping", at=me.person)


def test_own_pictures_and_a_connection_that_is_lost(visit: MakeVisit) -> None:
    me = visit().open()
    drop(me.page, me.garment, {"shirt.webp": (GARMENTS / "henley.webp").read_bytes()})
    expect(me.garment.get_by_role("img", name="Your own garment")).to_be_visible()
    me.go_offline()
    expect(me.preview.get_by_role("alert")).to_be_visible()

    me.look("offline", at=me.garment)


def test_many_sessions(visit: MakeVisit) -> None:
    me = visit().open()
    for garment in ("henley", "sweater", "tshirt-print", "longsleeve-striped", "henley"):
        me.choose("ada", garment)
        me.press.click()
        me.page.get_by_role("status").filter(has_text="The picture is ready.").wait_for(
            state="attached", timeout=30_000
        )
    expect(me.sessions.get_by_role("listitem")).to_have_count(4)
    me.look("sessions", at=me.sessions)

    me.sessions.get_by_role("button", name="Show 1 more").click()

    expect(me.sessions.get_by_role("listitem")).to_have_count(5)
