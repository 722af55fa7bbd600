"""GET /api/tryon/sessions/{id}/input, /garment, /output."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app import catalogue
from app.signing import Keyring
from tests import pictures
from tests.api.sessions import OWNER, SOMEBODY_ELSE, URL, complete, create, parts, read
from tests.fixtures import SECRET

PHOTO = pictures.photo()


@pytest.mark.parametrize(
    ("suffix", "data", "media_type"),
    [
        ("jpg", pictures.jpeg(PHOTO), "image/jpeg"),
        ("png", pictures.png(PHOTO), "image/png"),
        ("webp", pictures.webp(PHOTO), "image/webp"),
    ],
)
def test_the_output_is_what_the_engine_made(
    shared_client: TestClient, suffix: str, data: bytes, media_type: str
) -> None:
    session = create(shared_client)
    complete(shared_client, session["id"], data, suffix)

    answer = shared_client.get(f"{URL}/{session['id']}/output", headers=OWNER)

    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Content-Length"] == str(len(data))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["Content-Disposition"] == f'inline; filename="tryon-output.{suffix}"'


def test_every_address_of_a_session_loads_without_a_header(shared_client: TestClient) -> None:
    session = create(shared_client, garment_image=pictures.png(pictures.photo(seed=1)))
    complete(shared_client, session["id"], pictures.jpeg(PHOTO))
    session = read(shared_client, session).json()

    for name in ("input", "garment", "output"):
        answer = shared_client.get(session[f"{name}_image_url"])

        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == PHOTO.size


def test_a_garment_of_the_catalogue_is_its_picture(shared_client: TestClient) -> None:
    session = create(shared_client, garment_id="henley")

    answer = shared_client.get(session["garment_image_url"])

    henley = catalogue.garment("henley")
    assert henley is not None
    assert answer.content == henley.path.read_bytes()
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Content-Disposition"] == 'inline; filename="tryon-garment.webp"'
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_before_there_is_an_output_it_is_not_ready(shared_client: TestClient) -> None:
    session = create(shared_client)

    answer = shared_client.get(f"{URL}/{session['id']}/output", headers=OWNER)

    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


def test_a_strangers_token_finds_nothing(shared_client: TestClient) -> None:
    session = create(shared_client)

    answer = shared_client.get(f"{URL}/{session['id']}/input", headers=SOMEBODY_ELSE)

    assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")


def test_a_signature_is_enough_whatever_token_is_sent_beside_it(shared_client: TestClient) -> None:
    session = create(shared_client)

    answer = shared_client.get(session["input_image_url"], headers=SOMEBODY_ELSE)

    assert answer.status_code == 200


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_a_signature_holds_for_its_picture_of_its_session_only(shared_client: TestClient) -> None:
    one, other = create(shared_client), create(shared_client)
    signed = query_of(one["input_image_url"])

    for path in (f"{one['id']}/garment", f"{one['id']}/output", f"{other['id']}/input"):
        answer = shared_client.get(f"{URL}/{path}", params=signed)

        assert (answer.status_code, answer.json()["code"]) == (401, "user_token_required")


@pytest.mark.parametrize(
    "change",
    [
        {"signature": ""},
        {"signature": "x"},
        {"signature": "\x00"},
        {"signature": "ÿ🧥"},
        {"signature": "A" * 4000},
        {"expires": ""},
        {"expires": "0"},
        {"expires": "-1"},
        {"expires": "9999999999"},
        {"expires": "1e10"},
        {"expires": "٣"},
        {"expires": "\x00"},
    ],
)
def test_a_wrong_signature_counts_as_none(
    shared_client: TestClient, change: dict[str, str]
) -> None:
    session = create(shared_client)
    signed = {**query_of(session["input_image_url"]), **change}

    answer = shared_client.get(f"{URL}/{session['id']}/input", params=signed)

    assert (answer.status_code, answer.json()["code"]) == (401, "user_token_required")


def test_an_expired_signature_counts_as_none(shared_client: TestClient) -> None:
    session = create(shared_client)
    then = datetime.now(UTC) - timedelta(minutes=8)
    signed = Keyring([SECRET]).sign_url(UUID(session["id"]), "input", now=then)

    answer = shared_client.get(f"{URL}/{session['id']}/input?{signed}")

    assert (answer.status_code, answer.json()["code"]) == (401, "user_token_required")


def test_no_token_stands_in_an_address(shared_client: TestClient) -> None:
    session = create(shared_client, user_token="found-if-it-is-there")

    urls = [session[f"{name}_image_url"] for name in ("input", "garment")]

    assert all(set(query_of(url)) == {"expires", "signature"} for url in urls)
    assert not any("found-if-it-is-there" in url for url in urls)


def test_the_addresses_are_relative_and_stay_the_same_for_a_while(
    shared_client: TestClient,
) -> None:
    session = create(shared_client)

    assert session["input_image_url"].startswith(f"/api/tryon/sessions/{session['id']}/input?")
    assert int(query_of(session["input_image_url"])["expires"]) % 150 == 0


def test_a_picture_that_is_gone_is_no_mistake_of_ours(shared_client: TestClient) -> None:
    session = create(shared_client)
    parts(shared_client).storage.delete_prefix(f"inputs/{session['id']}")

    answer = shared_client.get(session["input_image_url"])

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["/uploads", "/static", "/files", "/inputs", "/media", "/api/uploads", "/api/docs/assets/.."],
)
def test_the_folder_of_the_pictures_is_served_nowhere(
    client: TestClient, tmp_path: Path, path: str
) -> None:
    create(client)
    (stored,) = (tmp_path / "uploads").rglob("*.jpg")

    answer = client.get(f"{path}/{stored.relative_to(tmp_path / 'uploads').as_posix()}")

    assert answer.status_code == 404


@pytest.mark.parametrize("picture", ["person", "inputs", "output.jpg"])
def test_there_is_no_other_picture(shared_client: TestClient, picture: str) -> None:
    session = create(shared_client)

    answer = shared_client.get(f"{URL}/{session['id']}/{picture}", headers=OWNER)

    assert answer.status_code in (404, 422)
