"""Photos leave only where engine, operator and session agree (app/services/egress.py)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import MakeClient
from tests.flows.conftest import Shopper, Sql, wait_for

SENDS = "tests.engines_for_tests:Sends"
NAME = "sends"
HOST = "models.example"


@dataclass
class Elsewhere:
    """Another server. received: how many bytes each connection has brought."""

    received: list[int] = field(default_factory=list)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    found = Elsewhere()
    listener = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                found.received.append(0)
                while piece := connection.recv(65536):
                    found.received[-1] += len(piece)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    file = tmp_path / "receiver"
    file.write_text(f"127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("RECEIVER_OF_TESTS", str(file))
    yield found
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(20)


def settings(**more: Any) -> dict[str, Any]:
    return {"engine": "mock", "engines": ("mock", SENDS), "worker_concurrency": 1, **more}


@pytest.mark.parametrize("word", [NAME, HOST])
def test_it_leaves_where_all_three_agree(
    make_client: MakeClient, elsewhere: Elsewhere, word: str
) -> None:
    shopper = Shopper(make_client(**settings(allowed_egress=(word,))))

    shopper.wait(shopper.submit(engine=NAME, allow_egress=True), "completed")

    assert len(elsewhere.received) == 1
    assert elsewhere.received[0] > 0


@pytest.mark.parametrize(
    ("allowed", "asked", "pointer"),
    [((), "true", "#/engine"), (("other.example",), "true", "#/engine"), ((NAME,), "", None)],
)
def test_otherwise_nothing_leaves(
    make_client: MakeClient,
    elsewhere: Elsewhere,
    allowed: tuple[str, ...],
    asked: str,
    pointer: str | None,
) -> None:
    shopper = Shopper(make_client(**settings(allowed_egress=allowed)))

    answer = shopper.post(engine=NAME, allow_egress=asked)

    assert (answer.status_code, answer.json()["code"]) == (422, "egress_not_allowed")
    assert answer.json()["errors"][0]["pointer"] == (pointer or "#/allow_egress")
    assert shopper.get().json()["items"] == []
    assert elsewhere.received == []


def test_a_default_engine_is_asked_for_like_any_other(
    make_client: MakeClient, elsewhere: Elsewhere
) -> None:
    shopper = Shopper(make_client(**settings(engine=SENDS, allowed_egress=(HOST,))))

    assert shopper.post().json()["code"] == "egress_not_allowed"


def test_leave_that_was_taken_back_holds_for_what_waits(
    make_client: MakeClient, elsewhere: Elsewhere, sql: Sql
) -> None:
    """The operator changes the setting and starts again; the session was accepted before."""
    allowing = settings(allowed_egress=(HOST,)) | {"worker_concurrency": 0}
    session_id = Shopper(make_client(**allowing)).submit(engine=NAME, allow_egress=True)

    shopper = Shopper(make_client(**settings()))
    session = shopper.wait(session_id, "failed")

    assert session["error_code"] == "engine_error"
    assert "were not" in session["error_reason"]
    assert elsewhere.received == []


def test_a_worker_asks_for_the_session_s_leave_too(
    make_client: MakeClient, elsewhere: Elsewhere, sql: Sql
) -> None:
    """Whatever has put the row there."""
    waiting = settings(allowed_egress=(HOST,)) | {"worker_concurrency": 0}
    client = make_client(**waiting)
    session_id = Shopper(client).submit(engine=NAME, allow_egress=True)
    sql("UPDATE tryon_sessions SET options = options - 'allow_egress'")

    shopper = Shopper(make_client(**settings(allowed_egress=(HOST,))))
    wait_for(lambda: shopper.see(session_id)["status"] == "failed")

    assert elsewhere.received == []


@pytest.mark.parametrize(("allowed", "told"), [((HOST,), True), ((), False)])
def test_the_engines_tell_where_photos_go(
    make_client: MakeClient, allowed: tuple[str, ...], told: bool
) -> None:
    client = make_client(**settings(allowed_egress=allowed))

    mock, sends = client.get("/api/tryon/engines").json()["items"]

    assert (mock["egress"], mock["egress_to"]) == (False, None)
    assert sends["egress"] is True
    assert sends["egress_to"] == {
        "host": HOST,
        "purpose": "the picture is made there",
        "allowed": told,
    }
