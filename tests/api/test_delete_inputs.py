"""delete_inputs=on_completion: from a session's end on, nobody has the uploaded pictures."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests import pictures
from tests.api.sessions import OWNER, URL, complete, create, fail, post, read

EARLY = {"delete_inputs": "on_completion"}


def end(client: TestClient, session: dict[str, Any], status: str) -> dict[str, Any]:
    if status == "completed":
        complete(client, session["id"], pictures.jpeg(pictures.photo()))
    else:
        fail(client, session["id"])
    seen: dict[str, Any] = read(client, session).json()
    assert seen["status"] == status
    return seen


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_they_are_gone_with_the_commit_that_ends_the_session(
    shared_client: TestClient, status: str
) -> None:
    session = create(shared_client, **EARLY, garment_image=pictures.png(pictures.photo(seed=1)))
    assert shared_client.get(session["input_image_url"]).status_code == 200

    seen = end(shared_client, session, status)

    assert (seen["input_image_url"], seen["garment_image_url"]) == (None, None)
    for name in ("input", "garment"):
        by_token = shared_client.get(f"{URL}/{session['id']}/{name}", headers=OWNER)
        by_address = shared_client.get(session[f"{name}_image_url"])
        for answer in (by_token, by_address):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
            assert "delete_inputs" in answer.json()["detail"]


def test_what_was_made_of_them_stays(shared_client: TestClient) -> None:
    seen = end(shared_client, create(shared_client, **EARLY), "completed")

    assert shared_client.get(seen["output_image_url"]).status_code == 200


def test_a_garment_of_the_catalogue_stays(shared_client: TestClient) -> None:
    seen = end(shared_client, create(shared_client, **EARLY, garment_id="henley"), "completed")

    assert seen["input_image_url"] is None
    assert shared_client.get(seen["garment_image_url"]).status_code == 200


@pytest.mark.parametrize("fields", [{}, {"delete_inputs": "on_expiry"}])
def test_otherwise_they_stay_until_the_session_goes(
    shared_client: TestClient, fields: dict[str, str]
) -> None:
    seen = end(shared_client, create(shared_client, **fields), "completed")

    assert shared_client.get(seen["input_image_url"]).status_code == 200


def test_another_word_is_refused(shared_client: TestClient) -> None:
    answer = post(shared_client, delete_inputs="now")

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == "#/delete_inputs"
