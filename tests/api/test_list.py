"""GET /api/tryon/sessions: my sessions, newest first, page by page."""

from __future__ import annotations

import base64

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app import crud
from tests import pictures
from tests.api.sessions import OWNER, URL, complete, create, expire, parts, read
from tests.fixtures import MakeClient


def ids(client: TestClient, token: str, **params: object) -> tuple[list[str], str | None]:
    answer = client.get(URL, headers={"X-User-Token": token}, params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return [one["id"] for one in body["items"]], body["next_cursor"]


def test_my_sessions_come_newest_first_and_only_mine(shared_client: TestClient) -> None:
    mine = [create(shared_client, user_token="list-mine-1")["id"] for _ in range(3)]
    create(shared_client, user_token="list-theirs-1")

    listed, cursor = ids(shared_client, "list-mine-1")

    assert listed == mine[::-1]
    assert cursor is None


def test_a_listed_session_is_the_same_as_a_polled_one(shared_client: TestClient) -> None:
    token = {"X-User-Token": "list-mine-2"}
    session = create(shared_client, user_token="list-mine-2")

    (item,) = shared_client.get(URL, headers=token).json()["items"]
    polled = shared_client.get(f"{URL}/{session['id']}", headers=token).json()

    assert item == polled


def test_each_that_waits_is_listed_with_its_place(client: TestClient) -> None:
    mine = [create(client)["id"] for _ in range(4)]
    complete(client, mine[0], pictures.jpeg(pictures.photo()))
    create(client, user_token="list-theirs-7")
    last = create(client)

    items = client.get(URL, headers=OWNER).json()["items"]

    places = {item["id"]: item["queue_position"] for item in items}
    assert [places[one] for one in (*mine, last["id"])] == [None, 1, 2, 3, 5]
    assert last["queue_position"] == 5


def test_a_place_beyond_the_limit_is_not_told(make_client: MakeClient) -> None:
    client = make_client(queue_limit=2000)
    create(client)
    with parts(client).db.begin() as tx:
        tx.execute(
            text(
                "INSERT INTO tryon_sessions"
                " (id, user_token, engine, options, input_image_url, created_at, expires_at)"
                " SELECT gen_random_uuid(), 'other', engine, options, input_image_url,"
                " created_at - interval '1 s', expires_at"
                " FROM tryon_sessions, generate_series(1, :count)"
            ),
            {"count": crud.POSITION_LIMIT - 1},
        )

    (first,) = client.get(URL, headers=OWNER).json()["items"]
    second = create(client)

    assert first["queue_position"] == crud.POSITION_LIMIT
    assert second["queue_position"] is None
    assert read(client, second).json()["queue_position"] is None


def test_pages_hold_everything_once_although_new_ones_come_in(shared_client: TestClient) -> None:
    token = "list-mine-3"
    mine = [create(shared_client, user_token=token)["id"] for _ in range(5)]

    first, cursor = ids(shared_client, token, limit=2)
    create(shared_client, user_token=token)
    second, cursor = ids(shared_client, token, limit=2, cursor=cursor)
    create(shared_client, user_token=token)
    third, end = ids(shared_client, token, limit=2, cursor=cursor)

    assert first + second + third == mine[::-1]
    assert end is None


def test_a_page_that_is_just_full_is_the_last(shared_client: TestClient) -> None:
    for _ in range(2):
        create(shared_client, user_token="list-mine-4")

    _, cursor = ids(shared_client, "list-mine-4", limit=2)

    assert cursor is None


def test_a_cursor_outlives_its_session(shared_client: TestClient) -> None:
    token = "list-mine-5"
    mine = [create(shared_client, user_token=token)["id"] for _ in range(3)]
    _, cursor = ids(shared_client, token, limit=1)

    shared_client.delete(f"{URL}/{mine[-1]}", headers={"X-User-Token": token})

    assert ids(shared_client, token, cursor=cursor)[0] == [mine[1], mine[0]]


def test_another_owners_cursor_shows_nothing_of_theirs(shared_client: TestClient) -> None:
    for _ in range(2):
        create(shared_client, user_token="list-mine-6")
    _, cursor = ids(shared_client, "list-mine-6", limit=1)

    assert ids(shared_client, "list-nobody-6", cursor=cursor) == ([], None)


def test_an_expired_session_is_not_listed(shared_client: TestClient) -> None:
    session = create(shared_client, user_token="list-mine-7")

    expire(shared_client, session["id"])

    assert ids(shared_client, "list-mine-7") == ([], None)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.5", "", "9" * 40])
def test_a_limit_out_of_bounds_is_refused(shared_client: TestClient, limit: str) -> None:
    answer = shared_client.get(URL, headers=OWNER, params={"limit": limit})

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == "#/limit"


def encoded(text: str | bytes) -> str:
    return base64.urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "",
        "=",
        "%00",
        "\x00",
        "ÿ",
        "🧥",
        "a" * 201,
        encoded(""),
        encoded(b"\xff\xfe"),
        encoded("2026-11-22T10:00:00+00:00"),
        encoded("2026-11-22T10:00:00 7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d"),
        encoded("2026-11-22T10:00:00+00:00 not-an-id"),
        encoded("99999-11-22T10:00:00+00:00 7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d"),
    ],
)
def test_a_bad_cursor_is_refused(shared_client: TestClient, cursor: str) -> None:
    answer = shared_client.get(URL, headers=OWNER, params={"cursor": cursor})

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize(
    "instant",
    [
        "0001-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-11-22T10:00:00+00:00:01",
    ],
)
def test_a_cursor_at_the_end_of_time_is_no_mistake_of_ours(
    shared_client: TestClient, instant: str
) -> None:
    cursor = encoded(f"{instant} 7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d")

    answer = shared_client.get(URL, headers=OWNER, params={"cursor": cursor})

    assert answer.status_code in (200, 422)


def test_without_a_token_there_is_no_list(shared_client: TestClient) -> None:
    answer = shared_client.get(URL)

    assert (answer.status_code, answer.json()["code"]) == (401, "user_token_required")
