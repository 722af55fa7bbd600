"""POST /api/tryon/sessions: what is taken, what is refused, and that a refusal leaves nothing."""

from __future__ import annotations

import errno
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from uuid import UUID

import pytest
from anyio import to_thread
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from app.routers import tryon
from app.runtime import UPLOAD_THREADS
from app.services import images
from tests import pictures
from tests.fixtures import MakeClient

URL = "/api/tryon/sessions"
TOKEN = "visitor-0001"


def post(client: TestClient, *, person: bytes | None = None, **fields: object) -> Response:
    """A create with a good photo and token, but for what is given otherwise; None leaves out."""
    files = {"person_image": ("me.jpg", person or pictures.jpeg(pictures.photo()), "image/jpeg")}
    data = {"user_token": TOKEN, **fields}
    for name in [name for name, value in data.items() if isinstance(value, bytes)]:
        files[name] = ("file", data.pop(name), "application/octet-stream")  # type: ignore[assignment]
    answer: Response = client.post(
        URL, files=files, data={name: str(v) for name, v in data.items() if v is not None}
    )
    return answer


def test_one_photo_and_a_token_are_enough(client: TestClient) -> None:
    answer = post(client)

    session = answer.json()
    assert answer.status_code == 201
    assert UUID(session["id"]).version == 4
    assert answer.headers["Location"] == f"{URL}/{session['id']}"
    assert answer.headers["Retry-After"] == "1"
    assert (session["status"], session["queue_position"]) == ("created", 1)
    assert session["garment_id"] == "tshirt-print"
    assert 0 <= session["seed"] < 2**32
    assert session["created_at"].endswith("Z")


def test_what_was_asked_for_is_echoed(client: TestClient) -> None:
    session = post(
        client,
        garment_image=pictures.png(pictures.photo(seed=1)),
        category="Upper_Body",
        mode="quality",
        seed=4_294_967_295,
    ).json()

    assert (session["category"], session["mode"]) == ("tops", "quality")
    assert (session["seed"], session["garment_id"]) == (4_294_967_295, None)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"user_token": None}, 422, "user_token_invalid"),
        ({"user_token": "short"}, 422, "user_token_invalid"),
        ({"user_token": "a" * 256}, 422, "user_token_invalid"),
        ({"user_token": "no spaces here"}, 422, "user_token_invalid"),
        ({"user_token": "line-break-ends\n"}, 422, "user_token_invalid"),
        ({"webhook": "https://8.8.8.8/"}, 422, "validation_failed"),
        ({"category": "shoes"}, 422, "validation_failed"),
        ({"mode": "best"}, 422, "validation_failed"),
        ({"seed": -1}, 422, "validation_failed"),
        ({"seed": 2**32}, 422, "validation_failed"),
        ({"output_format": "gif"}, 422, "validation_failed"),
        ({"garment_photo_type": "mannequin"}, 422, "validation_failed"),
        ({"engine": "warp9"}, 422, "engine_unknown"),
        ({"garment_id": "nothing-like-it"}, 422, "garment_unknown"),
        ({"garment_id": "tshirt-print", "garment_image": b"x"}, 422, "validation_failed"),
        ({"garment_image": b""}, 422, "file_empty"),
        ({"garment_image": b"GIF89a" + bytes(99)}, 415, "unsupported_media_type"),
        ({"garment_image": b"\xff\xd8\xff" + bytes(99)}, 422, "image_invalid"),
        ({"person": b"%PDF-1.7" + bytes(99)}, 415, "unsupported_media_type"),
    ],
)
def test_bad_input_is_refused_with_its_code_and_leaves_nothing(
    shared_client: TestClient,
    shared_uploads: Path,
    fields: dict[str, object],
    status: int,
    code: str,
) -> None:
    answer = post(shared_client, **fields)  # type: ignore[arg-type]

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"], "the field is named"
    assert not [file for file in shared_uploads.rglob("*") if file.is_file()]
    assert shared_client.get(URL, headers={"X-User-Token": TOKEN}).json()["items"] == []


def test_a_missing_photo_is_said_so(shared_client: TestClient) -> None:
    answer = shared_client.post(URL, data={"user_token": TOKEN}, files={"garment_image": b"x"})

    assert (answer.status_code, answer.json()["code"]) == (422, "file_missing")


def test_text_in_place_of_a_photo_is_said_so(shared_client: TestClient) -> None:
    answer = shared_client.post(URL, data={"user_token": TOKEN, "person_image": "me.jpg"})

    assert (answer.status_code, answer.json()["code"]) == (422, "file_missing")
    assert answer.json()["detail"] == "person_image: Send a file here, not text."


def test_a_third_file_is_too_many(shared_client: TestClient) -> None:
    photo = pictures.jpeg(pictures.photo())

    answer = shared_client.post(
        URL, data={"user_token": TOKEN}, files=[("person_image", photo)] * 3
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "too_many_parts")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("retention_seconds", ["60", "86400"]),
        ("allow_egress", ["false", "true"]),
        ("user_token", [TOKEN, TOKEN]),
    ],
)
def test_a_field_that_is_sent_twice_is_refused(
    shared_client: TestClient, name: str, values: list[str]
) -> None:
    answer = shared_client.post(
        URL,
        data={"user_token": TOKEN, name: values},
        files={"person_image": pictures.jpeg(pictures.photo())},
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == f"#/{name}"


def test_the_largest_file_is_taken_and_one_byte_more_is_not(client: TestClient) -> None:
    photo = pictures.jpeg(pictures.photo())
    most = 10 * 1024 * 1024

    taken = post(client, person=photo + bytes(most - len(photo)))
    refused = post(client, person=photo + bytes(most - len(photo) + 1))

    assert taken.status_code == 201
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")


def test_a_body_over_the_limit_is_refused_unread(client: TestClient) -> None:
    answer = client.post(URL, content=b"", headers={"Content-Length": str(10**10)})

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_chunked_body_over_the_limit_is_refused(make_client: MakeClient) -> None:
    client = make_client(max_file_mb=0.1)
    boundary = b"--b\r\nContent-Disposition: form-data; name=person_image; filename=x\r\n\r\n"

    answer = client.post(
        URL,
        content=iter([boundary, *[bytes(65536)] * 10]),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_the_stored_picture_is_upright_and_carries_nothing(
    make_client: MakeClient, tmp_path: Path
) -> None:
    client = make_client(encrypt_pictures=False)
    tagged = pictures.jpeg(pictures.photo(96, 128), exif=pictures.exif(6, "MARKER-IN-EXIF"))

    post(client, person=tagged)

    (stored,) = (tmp_path / "uploads" / "inputs").rglob("*.jpg")
    image = Image.open(io.BytesIO(stored.read_bytes()))
    assert image.size == (128, 96)
    assert not image.getexif()
    assert b"MARKER" not in stored.read_bytes()


def test_when_too_many_wait_one_more_is_refused(make_client: MakeClient) -> None:
    client = make_client(queue_limit=2)
    assert [post(client).status_code for _ in range(2)] == [201, 201]

    answer = post(client)

    assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0


def test_json_is_said_to_be_no_form(client: TestClient) -> None:
    answer = client.post(URL, json={"user_token": TOKEN})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_full_temporary_folder_is_507(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.datastructures.UploadFile.write", full)

    answer = post(client)

    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")


def test_uploads_that_wait_for_each_other_keep_no_poll_waiting(client: TestClient) -> None:
    large = pictures.png(Image.new("RGB", (2000, 1100)))  # heavy by its pixels, quick to decode

    def leave_few() -> None:
        to_thread.current_default_thread_limiter().total_tokens = 4

    assert client.portal is not None
    client.portal.call(leave_few)
    with ThreadPoolExecutor(10) as pool, images._ONE_HEAVY:
        # More than there are threads for requests; none can go on.
        uploads = [pool.submit(post, client, person=large) for _ in range(9)]
        threads = client.app.state.runtime.upload_threads  # type: ignore[attr-defined]
        tick, most = threading.Event(), time.monotonic() + 30
        while threads.borrowed_tokens < threads.total_tokens and time.monotonic() < most:
            tick.wait(0.01)
        answer = client.get(URL, headers={"X-User-Token": TOKEN})
        assert answer.status_code == 200
        assert not any(upload.done() for upload in uploads)

    assert {upload.result().status_code for upload in uploads} == {201}


def test_an_upload_that_gets_no_turn_is_told_to_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tryon, "SLOT_WAIT_S", 0.1)
    large = pictures.png(Image.new("RGB", (2000, 1100)))

    with ThreadPoolExecutor(UPLOAD_THREADS + 1) as pool, images._ONE_HEAVY:
        uploads = [pool.submit(post, client, person=large) for _ in range(UPLOAD_THREADS + 1)]
        refused = next(as_completed(uploads, timeout=30)).result()

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert sorted(one.result().status_code for one in uploads) == [201] * UPLOAD_THREADS + [503]
    assert post(client).status_code == 201


def test_an_id_that_cannot_be_one_is_unknown(client: TestClient) -> None:
    owner = {"X-User-Token": TOKEN}

    for path in (f"{URL}/no-uuid", f"{URL}/no-uuid/output"):
        answer = client.get(path, headers=owner)
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
