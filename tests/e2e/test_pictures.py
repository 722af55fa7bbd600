"""Every way a picture gets into the page, and what is refused before it is sent."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.e2e.conftest import MakeVisit
from tests.e2e.visits import GARMENTS, PEOPLE, PHONE

pytestmark = pytest.mark.e2e

Form = dict[str, str | float | bool | bytes | FilePayload]
"""What Playwright takes as a multipart form."""

HENLEY, SWEATER = GARMENTS / "henley.webp", GARMENTS / "sweater.webp"


def jpeg(file: Path, *, long_side: int | None = None, exif: Image.Exif | None = None) -> bytes:
    """A picture of the catalogue as a camera would have written it."""
    with Image.open(file) as picture:
        rgb = picture.convert("RGB")
        if long_side is not None:
            scale = long_side / max(rgb.size)
            rgb = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)))
        out = io.BytesIO()
        rgb.save(out, "JPEG", quality=90, exif=exif or Image.Exif())
        return out.getvalue()


def upload(data: bytes, name: str = "me.jpg", kind: str = "image/jpeg") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": data}


def transfer(page: Page, files: dict[str, bytes]) -> Any:
    """A DataTransfer of the page with these JPEG files in it."""
    packed = {name: base64.b64encode(data).decode() for name, data in files.items()}
    return page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, text] of Object.entries(files)) {
                const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
            }
            return transfer;
        }""",
        packed,
    )


def drop(page: Page, at: Locator, files: dict[str, bytes]) -> None:
    carried = {"dataTransfer": transfer(page, files), "bubbles": True, "cancelable": True}
    for event in ("dragenter", "dragover", "drop"):
        at.dispatch_event(event, carried)


def paste(page: Page, files: dict[str, bytes]) -> None:
    page.evaluate(
        """transfer => document.activeElement.dispatchEvent(
            new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }))""",
        transfer(page, files),
    )


def sent_photo(visit: Any) -> Image.Image:
    """The photo as the server has it: what the session shows before the change."""
    items = visit.context.request.get(
        "/api/tryon/sessions", headers={"X-User-Token": visit.token}
    ).json()["items"]
    answer = visit.context.request.get(items[0]["input_image_url"])
    return Image.open(io.BytesIO(answer.body()))


def test_own_files_make_a_picture_and_large_ones_are_made_smaller_first(visit: MakeVisit) -> None:
    me = visit().open()
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "A camera's maker"
    exif[ExifTags.Base.Orientation] = 1
    photo = jpeg(PEOPLE / "ada.webp", long_side=3200, exif=exif)

    me.person.get_by_label("Upload").first.set_input_files(upload(photo))
    expect(me.person.get_by_role("img", name="The photo that will be used")).to_be_visible()
    me.garment.locator("input[type=file]").set_input_files(HENLEY)
    expect(me.garment.get_by_role("img", name="Your own garment")).to_be_visible()
    with me.page.expect_request(lambda one: one.method == "POST") as request:
        me.press.click()
    me.wait_for_picture()

    body = request.value.post_data_buffer
    assert body is None or b"A camera's maker" not in body
    assert sent_photo(me).size == (1536, 2048)
    row = me.sessions.get_by_role("listitem")
    expect(row).to_contain_text("Own garment")


def test_the_same_file_can_be_chosen_again(visit: MakeVisit) -> None:
    me = visit().open()
    shown = me.person.get_by_role("img", name="The photo that will be used")
    for _ in range(2):
        me.person.locator("input[type=file]").first.set_input_files(PEOPLE / "ken.webp")
        expect(shown).to_be_visible()
        me.person.get_by_role("button", name="Remove your photo").click()
        expect(shown).to_have_count(0)


def test_files_are_dropped_on_their_column_and_anywhere(visit: MakeVisit) -> None:
    me = visit().open()

    drop(me.page, me.garment, {"shirt.jpg": jpeg(HENLEY)})
    expect(me.garment.get_by_role("img", name="Your own garment")).to_be_visible()
    drop(me.page, me.page.get_by_role("heading", level=1), {"me.jpg": jpeg(PEOPLE / "ada.webp")})

    expect(me.person.get_by_role("img", name="The photo that will be used")).to_be_visible()
    expect(me.press).to_be_enabled()
    assert me.page.url == me.url + "/", "the browser has not opened the file"


def test_two_files_that_are_dropped_together_are_photo_and_garment(visit: MakeVisit) -> None:
    me = visit().open()

    drop(
        me.page,
        me.page.locator("body"),
        {"me.jpg": jpeg(PEOPLE / "ada.webp"), "shirt.jpg": jpeg(HENLEY)},
    )

    expect(me.garment.get_by_role("img", name="Your own garment")).to_be_visible()
    expect(me.press).to_be_enabled()


def test_a_picture_is_pasted(visit: MakeVisit) -> None:
    me = visit().open()

    paste(me.page, {"image.png": jpeg(PEOPLE / "ada.webp")})
    expect(me.person.get_by_role("img", name="The photo that will be used")).to_be_visible()
    paste(me.page, {"image.png": jpeg(HENLEY)})

    expect(me.garment.get_by_role("img", name="Your own garment")).to_be_visible()


def test_a_phone_is_offered_its_camera(visit: MakeVisit) -> None:
    me = visit(viewport=PHONE, has_touch=True, is_mobile=True).open()

    camera = me.person.locator("input[type=file][capture]")

    expect(camera).to_have_attribute("capture", "user")
    expect(camera).to_be_visible()


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (upload(b"", "empty.jpg"), "empty.jpg is empty."),
        (upload(b"%PDF-1.7 nothing to see", "cv.pdf"), "cv.pdf cannot be read here."),
        (upload(jpeg(PEOPLE / "ada.webp", long_side=240), "tiny.jpg"), "tiny.jpg is 180 × 240"),
    ],
    ids=["empty", "no picture", "too small"],
)
def test_what_cannot_be_used_is_refused_with_its_reason_before_it_is_sent(
    visit: MakeVisit, file: FilePayload, why: str
) -> None:
    me = visit().open()

    me.person.locator("input[type=file]").first.set_input_files(file)

    expect(me.person.get_by_role("alert")).to_contain_text(why)
    expect(me.press).to_be_disabled()
    assert me.api("POST", "/api/") == []
    # And the way on is open.
    me.person.locator("input[type=file]").first.set_input_files(PEOPLE / "ada.webp")
    expect(me.person.get_by_role("alert")).to_have_count(0)
    expect(me.person.get_by_role("img", name=re.compile("^The photo"))).to_be_visible()
