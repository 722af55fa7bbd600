"""GET /api/tryon/sessions/{id}: every field, the ETag, and who may see it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from tests import pictures
from tests.api.sessions import (
    OWNER,
    PROBLEM,
    SOMEBODY_ELSE,
    URL,
    claim,
    complete,
    create,
    expire,
    fail,
    read,
)

FIELDS = {
    *("id", "status", "engine", "category", "mode", "seed", "garment_id", "stage", "progress"),
    *("created_at", "updated_at", "started_at", "finished_at", "expires_at", "queue_position"),
    *("attempts", "warnings", "quality", "provenance", "error_code", "error_reason"),
    *("input_image_url", "garment_image_url", "output_image_url"),
}


def test_a_session_that_waits_has_every_field(client: TestClient) -> None:
    created = create(client, seed=7, mode="fast")

    answer = read(client, created)

    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == FIELDS
    assert body == created
    assert UUID(body["id"]).version == 4
    assert (body["status"], body["seed"], body["mode"], body["engine"]) == (
        "created",
        7,
        "fast",
        "mock",
    )
    assert (body["attempts"], body["queue_position"], body["warnings"]) == (0, 1, [])
    for name in ("started_at", "finished_at", "stage", "progress", "quality", "output_image_url"):
        assert body[name] is None
    lived = datetime.fromisoformat(body["expires_at"]) - datetime.fromisoformat(body["created_at"])
    assert lived == timedelta(hours=24)
    assert all(body[name].endswith("Z") for name in ("created_at", "updated_at", "expires_at"))


def test_the_place_in_the_queue_counts_from_one(client: TestClient) -> None:
    sessions = [create(client) for _ in range(3)]

    assert [read(client, one).json()["queue_position"] for one in sessions] == [1, 2, 3]

    claim(client, sessions[0]["id"])

    assert [read(client, one).json()["queue_position"] for one in sessions] == [None, 1, 2]


def test_a_session_in_work_says_so(shared_client: TestClient) -> None:
    session = create(shared_client)

    claim(shared_client, session["id"])

    body = read(shared_client, session).json()
    assert (body["status"], body["progress"], body["attempts"]) == ("processing", 0.0, 1)
    assert body["started_at"] is not None
    assert body["finished_at"] is None
    assert body["queue_position"] is None


def test_a_completed_session_has_its_picture(shared_client: TestClient) -> None:
    session = create(shared_client)

    complete(shared_client, session["id"], pictures.jpeg(pictures.photo()))

    body = read(shared_client, session).json()
    assert (body["status"], body["progress"], body["stage"]) == ("completed", 1.0, "compose")
    assert body["quality"] == 0.5
    assert body["output_image_url"].startswith(f"{URL}/{session['id']}/output?expires=")
    assert body["started_at"] <= body["finished_at"]


def test_a_failed_session_says_why(shared_client: TestClient) -> None:
    session = create(shared_client)

    fail(shared_client, session["id"])

    body = read(shared_client, session).json()
    assert (body["status"], body["error_code"]) == ("failed", "no_person")
    assert body["error_reason"].startswith("No person was found.")
    assert body["output_image_url"] is None


def test_an_unchanged_session_is_not_sent_twice(shared_client: TestClient) -> None:
    session = create(shared_client)
    etag = read(shared_client, session).headers["ETag"]

    for sent in (etag, f"W/{etag}", f'"other", {etag}', f'"a,b", W/{etag}, "c"', "*"):
        answer = read(shared_client, session, **{"If-None-Match": sent})

        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert "Content-Type" not in answer.headers


def test_an_etag_counts_on_whichever_line_it_stands(shared_client: TestClient) -> None:
    session = create(shared_client)
    etag = read(shared_client, session).headers["ETag"]

    for lines in (['"other"', etag], [etag, '"other"'], ['"a", "b"', f'"c", W/{etag}']):
        headers = [("If-None-Match", line) for line in lines]
        answer = shared_client.get(f"{URL}/{session['id']}", headers=[*OWNER.items(), *headers])
        assert answer.status_code == 304


@pytest.mark.parametrize("sent", ['"other"', "other", "", '""', 'W/"other", "more"'])
def test_another_etag_gets_the_body(shared_client: TestClient, sent: str) -> None:
    session = create(shared_client)

    answer = read(shared_client, session, **{"If-None-Match": sent})

    assert answer.status_code == 200
    assert answer.json()["id"] == session["id"]


def test_a_changed_session_has_another_etag(shared_client: TestClient) -> None:
    session = create(shared_client)
    before = read(shared_client, session).headers["ETag"]

    claim(shared_client, session["id"])

    after = read(shared_client, session, **{"If-None-Match": before})
    assert after.status_code == 200
    assert after.headers["ETag"] != before


def test_the_answer_is_kept_by_nobody_else(shared_client: TestClient) -> None:
    answer = read(shared_client, create(shared_client))

    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_an_expired_session_is_gone_at_once(shared_client: TestClient) -> None:
    session = create(shared_client)

    expire(shared_client, session["id"])

    for path in ("", "/input", "/garment", "/output"):
        answer = shared_client.get(f"{URL}/{session['id']}{path}", headers=OWNER)
        assert (answer.status_code, answer.json()["code"]) == (410, "session_expired")
    signed = shared_client.get(session["input_image_url"])
    assert (signed.status_code, signed.json()["code"]) == (410, "session_expired")


def test_a_strangers_question_does_not_tell_whether_a_session_is_there(
    shared_client: TestClient,
) -> None:
    live, expired = create(shared_client)["id"], create(shared_client)["id"]
    expire(shared_client, expired)
    same_id = {"X-Request-ID": "the-same-for-all"}

    answers = [
        shared_client.get(f"{URL}/{id_}", headers={**SOMEBODY_ELSE, **same_id})
        for id_ in (live, expired, str(uuid4()))
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "session_not_found"
    names = [{name for name in answer.headers if name != "date"} for answer in answers]
    assert names[0] == names[1] == names[2]


@pytest.mark.parametrize("token", ["", None])
def test_without_a_token_nothing_is_told(shared_client: TestClient, token: str | None) -> None:
    session = create(shared_client)
    headers = {} if token is None else {"X-User-Token": token}

    answer = shared_client.get(f"{URL}/{session['id']}", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "user_token_required")
    assert "X-User-Token" in answer.headers["WWW-Authenticate"]
    assert answer.headers["Content-Type"] == PROBLEM


def test_a_token_in_the_address_counts_for_nothing(shared_client: TestClient) -> None:
    session = create(shared_client)
    query = "user_token=visitor-0001&X-User-Token=visitor-0001&token=visitor-0001"

    answer = shared_client.get(f"{URL}/{session['id']}?{query}")

    assert answer.status_code == 401


def test_no_token_stands_in_what_is_answered(shared_client: TestClient) -> None:
    token = "a-token-that-would-be-found"
    session = create(shared_client, user_token=token)

    answer = shared_client.get(f"{URL}/{session['id']}", headers={"X-User-Token": token})

    assert answer.status_code == 200
    assert token not in answer.text
    assert token not in str(answer.headers)
