"""Idempotency-Key: a create that is repeated makes no second session (docs/adr/0011)."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import select, text

from app.database import Db, engine_of, open_reads
from app.errors import IdempotencyInProgress
from app.models import TryOnSession
from app.services import images
from app.services.idempotency import Running, repeatable
from app.services.leader import LOCK
from tests import pictures
from tests.api.sessions import OWNER, TOKEN, URL, expire, parts, stored
from tests.fixtures import SECRET, MakeClient

PHOTO = pictures.jpeg(pictures.photo())
OTHER_PHOTO = pictures.jpeg(pictures.photo(seed=1))
KEY = "order 17, second try"


def post(
    client: TestClient, *, key: str | None = KEY, person: bytes = PHOTO, **fields: object
) -> Response:
    answer: Response = client.post(
        URL,
        files={"person_image": ("me.jpg", person, "image/jpeg")},
        data={"user_token": TOKEN, **{name: str(value) for name, value in fields.items()}},
        headers={} if key is None else {"Idempotency-Key": key},
    )
    return answer


@pytest.fixture
def client(shared_client: TestClient) -> Iterator[TestClient]:
    """The file's application; each test finds it without a session."""
    yield shared_client
    with parts(shared_client).db.begin() as tx:
        tx.execute(text("DELETE FROM tryon_sessions"))


def sessions(client: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(URL, headers=OWNER).json()["items"]
    return found


def test_a_repeat_is_answered_with_the_first_session(client: TestClient) -> None:
    first, second = post(client, seed=7), post(client, seed=7)

    assert (first.status_code, second.status_code) == (201, 200)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.headers["Location"] == first.headers["Location"]
    assert second.json()["id"] == first.json()["id"]
    assert len(sessions(client)) == 1


def test_two_keys_are_refused(client: TestClient) -> None:
    answer = client.post(
        URL,
        files={"person_image": ("me.jpg", PHOTO, "image/jpeg")},
        data={"user_token": TOKEN},
        headers=[("Idempotency-Key", KEY), ("Idempotency-Key", "another")],
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["detail"] == "Idempotency-Key: Send it once."
    assert sessions(client) == []


def test_a_file_s_name_is_no_content(client: TestClient) -> None:
    first = post(client)

    again = client.post(
        URL,
        files={"person_image": ("another name.jpeg", PHOTO, "image/pjpeg")},
        data={"user_token": TOKEN},
        headers={"Idempotency-Key": KEY},
    )

    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


@pytest.mark.parametrize("change", [{"person": OTHER_PHOTO}, {"seed": 8}, {"garment_id": "henley"}])
def test_other_content_under_the_same_key_is_refused(
    client: TestClient, change: dict[str, Any]
) -> None:
    post(client, seed=7)

    answer = post(client, **{"seed": 7, **change})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert len(sessions(client)) == 1


def test_only_what_was_sent_is_content(client: TestClient) -> None:
    """A field that a later version adds, with a default, must not tell a repeat from its create."""
    session_id = post(client, seed=7).json()["id"]

    content: dict[str, str | BinaryIO] = {
        "user_token": TOKEN,
        "seed": "7",
        "person_image": io.BytesIO(PHOTO),
    }
    one = repeatable(parts(client).keyring, token=TOKEN, key=KEY, content=content)
    assert stored(client, session_id).idempotency_digest == one.digests[0]


def test_a_key_is_its_owner_s_alone(client: TestClient) -> None:
    first, other = post(client), post(client, user_token="visitor-0002")

    assert (first.status_code, other.status_code) == (201, 201)
    assert first.json()["id"] != other.json()["id"]


def test_other_keys_and_none_make_sessions_of_their_own(client: TestClient) -> None:
    keys = (KEY, KEY + "b", None, None)

    assert len({post(client, key=key).json()["id"] for key in keys}) == len(keys)


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\tin it", "naïve"])
def test_a_key_that_is_no_key_is_refused(client: TestClient, key: str) -> None:
    answer = client.post(
        URL,
        files={"person_image": PHOTO},
        data={"user_token": TOKEN},
        headers=[(b"Idempotency-Key", key.encode("latin-1"))],
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("key", ["k", "k" * 255, '"quoted, as the draft has it"'])
def test_a_key_may_have_up_to_255_characters(client: TestClient, key: str) -> None:
    assert post(client, key=key).status_code == 201


def test_a_refused_create_uses_no_key_up(client: TestClient) -> None:
    refused = post(client, person=b"no picture")

    made = post(client)

    assert (refused.status_code, made.status_code) == (415, 201)


def test_a_key_ends_with_its_session(client: TestClient) -> None:
    first = post(client).json()
    expire(client, first["id"])
    second = post(client, seed=1)
    client.delete(f"{URL}/{second.json()['id']}", headers=OWNER)

    third = post(client, seed=2)

    assert (second.status_code, third.status_code) == (201, 201)


def test_a_repeat_is_answered_where_no_more_would_be_taken(make_client: MakeClient) -> None:
    client = make_client(queue_limit=1)
    first = post(client)

    assert post(client, key=None).status_code == 503
    assert post(client).json()["id"] == first.json()["id"]


def test_a_key_holds_over_a_change_of_the_secret(make_client: MakeClient) -> None:
    first = post(make_client())
    rotated = make_client(secret_key=f"a new secret that is long enough,{SECRET}")

    again, other = post(rotated), post(rotated, seed=3)

    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert other.json()["code"] == "idempotency_mismatch"


@contextmanager
def decoding_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every decode stands still until the block ends; the event says that one has begun."""
    began, go_on = threading.Event(), threading.Event()
    load = images.load

    def held(*arguments: Any, **options: Any) -> images.Picture:
        began.set()
        assert go_on.wait(20)
        return load(*arguments, **options)

    monkeypatch.setattr(images, "load", held)
    try:
        yield began
    finally:
        go_on.set()


def test_while_the_first_runs_a_repeat_is_told_to_wait(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that another server has got."""
    here, there = make_client(), make_client()

    with ThreadPoolExecutor() as pool:
        with decoding_held(monkeypatch) as began:
            first = pool.submit(post, here)
            assert began.wait(20)
            repeats = [post(here), post(there)]
        made = first.result()

    for answer in repeats:
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_in_progress")
        assert answer.headers["Retry-After"] == "1"
    assert made.status_code == 201
    assert post(there).json()["id"] == made.json()["id"]


def test_of_many_at_once_one_makes_the_session(make_client: MakeClient) -> None:
    clients = [make_client(), make_client()]
    for client in clients:  # FastAPI silences a warning at first use, which two cannot do at once
        client.get(URL, headers=OWNER)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, clients * 6))

    assert [one.status_code for one in answers].count(201) == 1
    assert {one.status_code for one in answers} <= {201, 200, 409}
    assert len(sessions(clients[0])) == 1


def test_a_lost_lock_makes_no_second_session(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, db: Db, tmp_path: Path
) -> None:
    here, there = make_client(), make_client()
    ended = text(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
        f" AND objid <> {LOCK}"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    with ThreadPoolExecutor() as pool:
        with decoding_held(monkeypatch) as began:
            first = pool.submit(post, here)
            assert began.wait(20)
            with db.begin() as tx:
                assert tx.scalars(ended).all() == [True]
            began.clear()
            second = pool.submit(post, there)
            assert began.wait(20)
        answers = sorted((first.result(), second.result()), key=lambda one: one.status_code)

    assert [one.status_code for one in answers] == [200, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(list((tmp_path / "uploads" / "inputs").iterdir())) == 1


def locks(db: Db) -> int:
    """How many anybody holds in this database."""
    of_this = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    with db() as tx:
        held = text(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {of_this}")
        return int(tx.scalar(held) or 0)


def test_a_process_that_dies_leaves_no_key_locked(database_url: str) -> None:
    key = "ab" * 32
    dying, another = (open_reads(database_url, pool_size=1) for _ in range(2))
    died, running = Running(dying), Running(another)

    with died.alone((key,)):
        with pytest.raises(IdempotencyInProgress), running.alone((key,)):
            pass
        assert died._connection is not None
        died._connection.connection.driver_connection.close()  # type: ignore[union-attr]
        while locks(another):  # the database notices when it gets round to it
            threading.Event().wait(0.01)
        with running.alone((key,)):
            pass

    engine_of(dying).dispose()
    engine_of(another).dispose()


def test_nothing_is_stored_that_tells_key_or_content(client: TestClient) -> None:
    made = post(client)

    with parts(client).db() as tx:
        row = tx.scalars(select(TryOnSession)).one()
        whole = str(tx.execute(text("SELECT t::text FROM tryon_sessions t")).scalar())
    assert row.id == UUID(made.json()["id"])
    assert (len(row.idempotency_key or ""), len(row.idempotency_digest or "")) == (64, 64)
    assert KEY not in whole
