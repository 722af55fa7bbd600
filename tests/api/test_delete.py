"""DELETE: erased in every state, as often as one likes, and by the owner only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from app.services import erasure
from app.services.storage import LocalStorage
from tests import pictures
from tests.api.sessions import (
    OWNER,
    SOMEBODY_ELSE,
    URL,
    claim,
    complete,
    create,
    expire,
    fail,
    read,
)

PHOTO = pictures.jpeg(pictures.photo())
STATES: dict[str, Callable[[TestClient, str], object]] = {
    "created": lambda client, id_: None,
    "processing": claim,
    "completed": lambda client, id_: complete(client, id_, PHOTO),
    "failed": fail,
    "expired": expire,
}


def files_of(folder: Path, session: dict[str, Any]) -> list[Path]:
    return [file for file in folder.rglob("*") if session["id"] in str(file)]


@pytest.mark.parametrize("state", STATES)
def test_a_session_is_erased_in_every_state(
    shared_client: TestClient, shared_uploads: Path, state: str
) -> None:
    session = create(shared_client, garment_image=PHOTO)
    STATES[state](shared_client, session["id"])
    assert files_of(shared_uploads, session)

    answer = shared_client.delete(f"{URL}/{session['id']}", headers=OWNER)

    assert (answer.status_code, answer.content) == (204, b"")
    assert read(shared_client, session).status_code == 404
    assert shared_client.get(session["input_image_url"]).status_code == 404
    assert not files_of(shared_uploads, session)
    assert session["id"] not in shared_client.get(URL, headers=OWNER).text


def test_erasing_again_changes_nothing(shared_client: TestClient) -> None:
    session = create(shared_client)

    answers = [shared_client.delete(f"{URL}/{session['id']}", headers=OWNER) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [204, 204, 204]


def test_erasing_what_never_was_is_no_error(shared_client: TestClient) -> None:
    assert shared_client.delete(f"{URL}/{uuid4()}", headers=OWNER).status_code == 204


def test_a_stranger_erases_nothing_and_learns_nothing(
    shared_client: TestClient, shared_uploads: Path
) -> None:
    session = create(shared_client)

    answer = shared_client.delete(f"{URL}/{session['id']}", headers=SOMEBODY_ELSE)

    assert (answer.status_code, answer.content) == (204, b"")
    assert read(shared_client, session).status_code == 200
    assert files_of(shared_uploads, session)


def test_a_signature_does_not_erase(shared_client: TestClient) -> None:
    session = create(shared_client)
    query = session["input_image_url"].partition("?")[2]

    answer = shared_client.delete(f"{URL}/{session['id']}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (401, "user_token_required")
    assert read(shared_client, session).status_code == 200


def test_an_owner_erases_everything_of_theirs_and_nothing_else(
    shared_client: TestClient, shared_uploads: Path
) -> None:
    mine = [create(shared_client, user_token="erase-all-1") for _ in range(3)]
    complete(shared_client, mine[0]["id"], PHOTO)
    expire(shared_client, mine[1]["id"])
    theirs = create(shared_client)

    answer = shared_client.delete(URL, headers={"X-User-Token": "erase-all-1"})

    assert (answer.status_code, answer.content) == (204, b"")
    assert not any(files_of(shared_uploads, one) for one in mine)
    assert read(shared_client, theirs).status_code == 200
    assert shared_client.delete(URL, headers={"X-User-Token": "erase-all-1"}).status_code == 204


def test_one_file_that_refuses_keeps_nothing_else_of_an_owner(
    client: TestClient, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BATCH", 2)
    refusing, *others = [create(client) for _ in range(5)]
    folder = storage.root / "inputs" / refusing["id"]
    shutil.rmtree(folder)
    folder.write_bytes(b"a file where a folder should be")

    answer = client.delete(URL, headers=OWNER)

    assert answer.status_code == 503
    assert read(client, refusing).status_code == 410
    assert [read(client, other).status_code for other in others] == [404] * 4
    folder.unlink()
    assert client.delete(URL, headers=OWNER).status_code == 204
    assert read(client, refusing).status_code == 404


@pytest.mark.parametrize("path", ["", "/c2e00f90-f5cc-4716-8171-ab92af6e60a5"])
def test_without_a_token_nothing_is_erased(shared_client: TestClient, path: str) -> None:
    answer = shared_client.delete(f"{URL}{path}")

    assert (answer.status_code, answer.json()["code"]) == (401, "user_token_required")


def test_a_place_in_the_queue_moves_up(client: TestClient) -> None:
    first, second = create(client), create(client)

    client.delete(f"{URL}/{first['id']}", headers=OWNER)

    assert read(client, second).json()["queue_position"] == 1
