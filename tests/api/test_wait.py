"""Polls that wait: what ends them, at once; what does not; and that none is forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app import crud
from app.metrics import REGISTRY
from app.services import erasure, events, waits
from app.services.receipts import Reason
from tests.api.sessions import (
    OWNER,
    SOMEBODY_ELSE,
    URL,
    claim,
    create,
    expire,
    fail,
    parts,
    read,
)
from tests.fixtures import MakeClient

AT_ONCE_S = 5
"""Of the 30 that are asked for; a busy machine takes a while."""

Begin = Callable[..., Future[Response]]


def waiting() -> float:
    return REGISTRY.get_sample_value("tryonai_long_polls") or 0


def marks(client: TestClient) -> list[crud.Mark]:
    """What those have seen that wait."""
    waiters = list(parts(client).waits._waiters.values())  # at once: it is another thread's
    return [one.mark for same in waiters for one in same if one.mark is not None]


def reach(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Send a poll that waits; returns once it has seen the session as it is."""
    with ThreadPoolExecutor(32) as pool:

        def begin(
            client: TestClient, session: dict[str, Any], *, wait: int = 30, **headers: str
        ) -> Future[Response]:
            before = len(marks(client))
            headers = {**OWNER, "Prefer": f"wait={wait}", **headers}
            answer = pool.submit(client.get, f"{URL}/{session['id']}", headers=headers)
            reach(lambda: len(marks(client)) > before or answer.done())
            return answer

        yield begin


def tell_progress(client: TestClient, session_id: str, stage: str) -> None:
    with parts(client).db.begin() as tx:
        assert crud.report(tx, UUID(session_id), attempt=1, lease_s=30, stage=stage, progress=0.5)


def put_back(client: TestClient, session_id: str) -> None:
    with parts(client).db.begin() as tx:
        assert crud.put_back(tx, UUID(session_id), attempt=1)


def erase(client: TestClient, session_id: str) -> None:
    rt = parts(client)
    erasure.erase(rt.db, rt.storage, rt.issuer, [UUID(session_id)], reason=Reason.REQUEST)


def execute(client: TestClient, statement: str) -> None:
    with parts(client).db.begin() as tx:
        tx.execute(text(statement))


def end_well(client: TestClient, session_id: str) -> None:
    with parts(client).db.begin() as tx:
        assert crud.complete(
            tx,
            UUID(session_id),
            attempt=1,
            output_key="outputs/x/1.jpg",
            quality=None,
            warnings=[],
            stage=None,
        )


def end_badly(client: TestClient, session_id: str) -> None:
    with parts(client).db.begin() as tx:
        assert crud.fail(tx, UUID(session_id), attempt=1, code="no_person", reason="No person.")


@pytest.mark.parametrize(
    ("change", "status"),
    [(claim, "processing"), (end_well, "completed"), (end_badly, "failed"), (put_back, "created")],
)
def test_a_new_state_ends_the_wait(
    shared_client: TestClient, begin: Begin, change: Callable[..., object], status: str
) -> None:
    session = create(shared_client)
    if change is not claim:
        claim(shared_client, session["id"])
    answer = begin(shared_client, session)

    change(shared_client, session["id"])

    assert answer.result(AT_ONCE_S).json()["status"] == status
    assert answer.result().headers["Preference-Applied"] == "wait=30"
    assert waiting() == 0


def test_who_is_erased_while_waiting_hears_it_at_once(
    shared_client: TestClient, begin: Begin
) -> None:
    session = create(shared_client)
    answer = begin(shared_client, session)

    erase(shared_client, session["id"])

    gone = answer.result(AT_ONCE_S)
    assert (gone.status_code, gone.json()["code"]) in {
        (404, "session_not_found"),
        (410, "session_expired"),  # its files are just being deleted
    }
    assert waiting() == 0


def test_who_expires_while_waiting_hears_it_at_once(
    shared_client: TestClient, begin: Begin
) -> None:
    session = create(shared_client)
    soon = "UPDATE tryon_sessions SET expires_at = now() + '0.3 seconds' WHERE id = '%s'"
    execute(shared_client, soon % session["id"])

    gone = begin(shared_client, session).result(AT_ONCE_S)

    assert (gone.status_code, gone.json()["code"]) == (410, "session_expired")


def test_nothing_is_waited_for_where_there_is_nothing_to_come(
    shared_client: TestClient, begin: Begin
) -> None:
    ended, gone = create(shared_client), create(shared_client)
    fail(shared_client, ended["id"])
    expire(shared_client, gone["id"])
    etag = read(shared_client, ended).headers["ETag"]

    answers = [
        begin(shared_client, ended, wait=31),
        begin(shared_client, ended, **{"If-None-Match": etag}),
        begin(shared_client, create(shared_client), wait=0),
        begin(shared_client, create(shared_client), **{"If-None-Match": '"another"'}),
        begin(shared_client, gone),
        begin(shared_client, create(shared_client), **SOMEBODY_ELSE),
    ]

    found = [answer.result(AT_ONCE_S) for answer in answers]
    assert [one.status_code for one in found] == [200, 304, 200, 200, 410, 404]
    assert [one.headers.get("Preference-Applied") for one in found] == [
        *("wait=30", "wait=30", "wait=0", "wait=30"),
        *(None, None),
    ]


def test_without_a_change_it_is_answered_when_the_time_is_up(
    shared_client: TestClient, begin: Begin
) -> None:
    session = create(shared_client)
    claim(shared_client, session["id"])
    etag = read(shared_client, session).headers["ETag"]
    began = time.monotonic()
    plain = begin(shared_client, session, wait=1)
    conditional = begin(shared_client, session, wait=1, **{"If-None-Match": etag})

    with parts(shared_client).db.begin() as tx:
        assert crud.renew(tx, UUID(session["id"]), attempt=1, lease_s=60), "which nobody sees"

    assert (plain.result().status_code, plain.result().headers["ETag"]) == (200, etag)
    assert conditional.result().status_code == 304
    assert conditional.result().headers["Preference-Applied"] == "wait=1"
    assert 1 <= time.monotonic() - began < AT_ONCE_S


def test_a_preference_that_cannot_be_read_is_none(shared_client: TestClient) -> None:
    session = create(shared_client)

    for sent in ("wait=soon", "wait=-1", "wait", ",;=", "return=minimal"):
        answer = read(shared_client, session, Prefer=sent)

        assert answer.status_code == 200
        assert "Preference-Applied" not in answer.headers


def test_progress_is_told_but_not_too_often(
    shared_client: TestClient, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "PROGRESS_S", 0.5)
    session = create(shared_client)
    claim(shared_client, session["id"])
    began = time.monotonic()
    answer = begin(shared_client, session)

    for stage in ("segment", "warp"):
        tell_progress(shared_client, session["id"], stage)

    assert answer.result(AT_ONCE_S).json()["stage"] == "warp"
    assert time.monotonic() - began >= 0.5


def test_news_of_another_session_end_no_wait(shared_client: TestClient, begin: Begin) -> None:
    session, other = create(shared_client), create(shared_client)
    answer = begin(shared_client, session)

    fail(shared_client, other["id"])
    again = begin(shared_client, other)
    again.result(AT_ONCE_S)

    assert not answer.done()
    fail(shared_client, session["id"])
    assert answer.result(AT_ONCE_S).status_code == 200


def test_lost_news_cost_seconds_and_not_the_wait(
    shared_client: TestClient, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "LOOK_S", 0.1)
    sessions = [create(shared_client) for _ in range(2)]
    answers = [begin(shared_client, session) for session in sessions]

    execute(
        shared_client,
        "UPDATE tryon_sessions SET status = 'failed', updated_at = now()"
        f" WHERE id = '{sessions[0]['id']}'",
    )
    execute(shared_client, f"DELETE FROM tryon_sessions WHERE id = '{sessions[1]['id']}'")

    assert answers[0].result(AT_ONCE_S).json()["status"] == "failed"
    assert answers[1].result(AT_ONCE_S).status_code == 404


def test_what_happened_while_nobody_listened_is_seen_on_return(
    client: TestClient, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RETRY_S", 0)
    session = create(client)
    answer = begin(client, session)
    execute(client, "UPDATE tryon_sessions SET status = 'failed', updated_at = now()")

    execute(
        client,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%' AND datname = current_database()",
    )

    assert answer.result(waits.LOOK_S - 1).json()["status"] == "failed"


def test_an_outage_during_a_wait_does_not_end_it(
    shared_client: TestClient, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "LOOK_S", 0.05)
    looked: list[None] = []

    def fail_to_look(*_: object) -> None:
        looked.append(None)
        raise OperationalError("SELECT", {}, Exception("connection closed"))

    session = create(shared_client)
    answer = begin(shared_client, session)

    with monkeypatch.context() as patch:
        patch.setattr(crud, "marks", fail_to_look)
        reach(lambda: len(looked) > 1)
    fail(shared_client, session["id"])

    assert answer.result(AT_ONCE_S).status_code == 200


def test_many_wait_and_hold_no_connection(make_client: MakeClient, begin: Begin) -> None:
    client = make_client(database_pool_size=1)
    session = create(client)

    answers = [begin(client, session) for _ in range(20)]

    assert waiting() == 20
    assert read(client, session).status_code == 200
    fail(client, session["id"])
    assert {answer.result(AT_ONCE_S).status_code for answer in answers} == {200}
    assert waiting() == 0


def test_a_wait_counts_as_one_call_and_its_time_not_as_ours(
    make_shared_client: MakeClient, begin: Begin
) -> None:
    labels = {"method": "GET", "route": f"{URL}/{{session_id}}"}

    def spent_s() -> float:
        return REGISTRY.get_sample_value("tryonai_http_request_seconds_sum", labels) or 0

    client = make_shared_client(rate_limit_enabled=True)
    session = create(client)
    before = spent_s()

    begin(client, session, wait=1).result(AT_ONCE_S)

    assert spent_s() - before < 0.9
    assert read(client, session).headers["RateLimit"].startswith('"other";r=118;')


def test_a_page_of_another_origin_may_wait(shared_client: TestClient) -> None:
    answer = shared_client.options(
        f"{URL}/x",
        headers={
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "x-user-token,if-none-match,prefer",
        },
    )

    assert answer.status_code == 200
    assert "Prefer" in answer.headers["Access-Control-Allow-Headers"]
