"""Webhooks end to end: real servers that deliver to real receivers on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app import crud
from app.database import Db
from app.services import webhooks
from app.services.receivers import ATTEMPT_S
from app.services.webhooks import secret_text
from app.signing import Keyring
from tests.fixtures import SECRET, MakeClient
from tests.flows.conftest import TOKEN, Run, Serve, Shopper, Sql, wait_for

DUE = "UPDATE webhook_deliveries SET next_at = now() WHERE state = 'pending' AND claimed_by IS NULL"
LEASES_OVER = "UPDATE webhook_deliveries SET next_at = now() WHERE claimed_by IS NOT NULL"
RING = "SELECT pg_notify('tryonai', 'delivery:00000000-0000-0000-0000-000000000000')"


@dataclass
class Hook:
    """A receiver of webhooks. answers: a status for each call to come, the last one for ever."""

    url: str
    answers: list[int]
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.calls]


@contextmanager
def receiving(*answers: int, holding: bool = False) -> Iterator[Hook]:
    """holding: no call is answered before the test sets `hold`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return  # who called was killed as it did
            hook.calls.append(({k.lower(): v for k, v in self.headers.items()}, body))
            hook.hold.wait(30)
            status = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
            self.send_response(status)
            self.send_header("Location", hook.url)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Who calls may be gone before the answer."""

    with Server(("127.0.0.1", 0), Handler) as server:
        hook = Hook(f"http://127.0.0.1:{server.server_port}/hook?key=s3cret-of-url", list(answers))
        if not holding:
            hook.hold.set()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hook
        finally:
            hook.hold.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def shopper(make_client: MakeClient) -> Shopper:
    """Uses a server with a worker, whose engine is quick, and which may call loopback."""
    return Shopper(make_client(worker_concurrency=1, webhook_allow_private=True))


@pytest.fixture
def delivery(sql: Sql) -> Callable[[], Any]:
    def read() -> Any:
        rows = sql(
            "SELECT id, session_id, state, attempts, last_status, last_error, claimed_by,"
            " next_at - now() AS wait FROM webhook_deliveries"
        )
        return rows[0] if rows else None

    return read


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [({}, "completed", None), ({"mock_failure_rate": 1}, "failed", "model_error")],
)
def test_a_final_session_is_told_of_once_and_signed(
    make_client: MakeClient,
    delivery: Callable[[], Any],
    options: dict[str, Any],
    status: str,
    code: str | None,
) -> None:
    client = make_client(worker_concurrency=1, webhook_allow_private=True, **options)
    with receiving(200) as hook:
        session_id = Shopper(client).submit(webhook_url=hook.url)
        wait_for(lambda: delivery() and delivery().state == "delivered")
        session = Shopper(client).see(session_id)

    ((headers, body),) = hook.calls
    told = Webhook(secret_text(Keyring([SECRET]).webhook_keys[0])).verify(body, headers)
    assert told["type"] == f"tryon.{status}"
    assert told["timestamp"] == session["finished_at"]
    assert told["data"] == {
        "id": session_id,
        "status": status,
        "error_code": code,
        **{name: session[name] for name in ("created_at", "finished_at", "expires_at")},
    }
    assert headers["webhook-id"] == f"msg_{delivery().id.hex}"
    assert headers["content-type"] == "application/json"


def test_each_secret_of_a_rotation_signs(make_client: MakeClient) -> None:
    secrets = [secret_text(bytes([n]) * 32) for n in (1, 2)]
    client = make_client(
        worker_concurrency=1, webhook_allow_private=True, webhook_secret=",".join(secrets)
    )
    with receiving(200) as hook:
        Shopper(client).submit(webhook_url=hook.url)
        wait_for(lambda: hook.calls)

    headers, body = hook.calls[0]
    for secret in secrets:
        Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(bytes(32))).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[0]).verify(body.replace(b"completed", b"failed"), headers)


def test_without_a_url_nobody_is_told(shopper: Shopper, delivery: Callable[[], Any]) -> None:
    shopper.wait(shopper.submit(), "completed")

    assert delivery() is None


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_failed_call_is_made_again_with_the_same_id(
    shopper: Shopper, delivery: Callable[[], Any], sql: Sql, status: int
) -> None:
    with receiving(status, 200) as hook:
        shopper.submit(webhook_url=hook.url)
        failed = wait_for(lambda: (one := delivery()) and one.last_status and one)
        assert (failed.state, failed.last_status, failed.attempts) == ("pending", status, 1)
        assert 3 < failed.wait.total_seconds() < 7
        sql(DUE)
        sql(RING)
        done = wait_for(
            lambda: (one := delivery()) and one.state == "delivered" and one, within_s=15
        )

    assert (len(hook.calls), len(set(hook.ids())), done.attempts) == (2, 1, 2)
    assert hook.calls[0][1] == hook.calls[1][1]


def test_410_ends_it(shopper: Shopper, delivery: Callable[[], Any]) -> None:
    with receiving(410) as hook:
        shopper.submit(webhook_url=hook.url)
        wait_for(lambda: delivery() and delivery().state == "refused")

    assert delivery().wait is None


def test_waits_grow_over_a_day_and_then_end() -> None:
    waits = [webhooks.next_wait(attempt) for attempt in range(1, len(webhooks.WAITS) + 2)]

    assert waits[-1] is None
    kept = [one.total_seconds() for one in waits if one is not None]
    assert 0.75 * 86_000 < sum(kept) < 1.25 * 86_500
    for wait, middle in zip(kept, webhooks.WAITS, strict=True):
        assert 0.75 <= wait / middle.total_seconds() <= 1.25


def test_a_delivery_dies_with_its_session(
    shopper: Shopper, delivery: Callable[[], Any], sql: Sql
) -> None:
    with receiving(500) as hook:
        session_id = shopper.submit(webhook_url=hook.url)
        wait_for(lambda: delivery() and delivery().last_status)

        assert shopper.delete(session_id).status_code == 204

    assert delivery() is None
    assert len(hook.calls) == 1


def test_a_call_under_way_is_broken_off_with_its_session(shopper: Shopper) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = listener.getsockname()[1]
        session_id = shopper.submit(webhook_url=f"http://127.0.0.1:{port}/")
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(ATTEMPT_S / 2)
            assert connection.recv(4096)
            shopper.wait(session_id, "completed")

            assert shopper.delete(session_id).status_code == 204

            while connection.recv(4096):
                pass  # what was still sent


def test_of_an_expired_session_nobody_is_told(
    make_client: MakeClient, delivery: Callable[[], Any], sql: Sql
) -> None:
    shopper = Shopper(make_client(worker_concurrency=1, webhook_allow_private=True))
    with receiving(500, 200) as hook, receiving(200) as other:
        session_id = shopper.submit(webhook_url=hook.url)
        wait_for(lambda: delivery() and delivery().last_status)
        sql("UPDATE tryon_sessions SET expires_at = now()")
        sql(DUE)
        shopper.submit(webhook_url=other.url)
        wait_for(lambda: other.calls)

    assert shopper.get(session_id).status_code == 410
    assert len(hook.calls) == 1


def test_a_dead_receiver_delays_nobody_else(shopper: Shopper, sql: Sql) -> None:
    with receiving(200, holding=True) as dead, receiving(200) as alive:
        for _ in range(3 * webhooks.CALLS_TO_ONE):
            shopper.submit(webhook_url=dead.url)
        wait_for(lambda: len(dead.calls) == webhooks.CALLS_TO_ONE)
        began = time.monotonic()
        shopper.wait(shopper.submit(webhook_url=alive.url), "completed")
        wait_for(lambda: alive.calls)

        assert time.monotonic() - began < 10
        assert len(dead.calls) == webhooks.CALLS_TO_ONE


@pytest.mark.slow
def test_who_may_not_go_out_leaves_delivery_to_others(serve: Serve, sql: Sql) -> None:
    with receiving(200) as hook:
        settings: dict[str, Any] = {"webhook_allow_private": True}
        inside = serve(webhook_delivery=False, **settings).ready().shopper
        session_id = inside.submit(webhook_url=hook.url)
        inside.wait(session_id, "completed")
        assert sql("SELECT state::text, attempts FROM webhook_deliveries") == [("pending", 0)]

        serve(worker_concurrency=0, **settings).ready()

        wait_for(lambda: hook.calls)
    assert len(hook.calls) == 1


@pytest.mark.slow
def test_a_call_that_its_process_did_not_finish_is_made_by_another(
    serve: Serve, delivery: Callable[[], Any], sql: Sql
) -> None:
    """kill -9 while the receiver thinks; the lease is not waited for here."""
    with receiving(200, holding=True) as hook:
        first = serve(webhook_allow_private=True).ready()
        first.shopper.submit(webhook_url=hook.url)
        wait_for(lambda: hook.calls)
        first.kill()
        hook.hold.set()
        assert (delivery().state, delivery().attempts) == ("pending", 1)
        sql(LEASES_OVER)
        serve(webhook_allow_private=True).ready()
        wait_for(lambda: delivery().state == "delivered")

    assert len(hook.calls) == 2
    assert len(set(hook.ids())) == 1


@pytest.mark.slow
def test_a_process_that_ends_leaves_its_calls_to_others(
    run: Run, serve: Serve, delivery: Callable[[], Any], sql: Sql
) -> None:
    """Also a worker without HTTP delivers."""
    with receiving(200, holding=True) as hook:
        server = serve(webhook_allow_private=True).ready()
        server.shopper.submit(webhook_url=hook.url)
        wait_for(lambda: hook.calls)
        server.terminate()
        assert server.wait() == 0
        left = delivery()
        hook.hold.set()
        run("worker", webhook_allow_private=True)
        wait_for(lambda: delivery().state == "delivered")

    assert (left.state, left.claimed_by) == ("pending", None)
    assert left.wait.total_seconds() <= 0
    assert len(set(hook.ids())) == 1


def test_what_is_given_back_waits_for_no_erasure(make_client: MakeClient, db: Db, sql: Sql) -> None:
    """The two lock several deliveries each, in different orders: waiting could be a deadlock."""
    shopper = Shopper(make_client())
    for _ in range(2):
        session_id = shopper.submit()
        sql(
            "INSERT INTO webhook_deliveries (id, session_id, claimed_by) VALUES (:id, :id, 'a')",
            id=session_id,
        )

    with db.begin() as erasing, db.begin() as leaving:
        erasing.execute(text("DELETE FROM tryon_sessions WHERE id = :id"), {"id": session_id})
        leaving.execute(text("SET LOCAL lock_timeout = '5s'"))
        crud.release_deliveries(leaving, by="a")

    assert sql("SELECT claimed_by FROM webhook_deliveries") == [(None,)]


@pytest.mark.slow
def test_none_is_lost_and_none_has_two_ids_under_kills_and_failures(serve: Serve, sql: Sql) -> None:
    """The small form of `python -m bench webhooks`."""
    failing = [500, 302, 200, 503, 404, 200] * 3
    made = []
    with receiving(*failing, 200) as hook:
        for _ in range(3):
            server = serve(webhook_allow_private=True, lease_seconds=1).ready()
            made += [server.shopper.submit(webhook_url=hook.url) for _ in range(5)]
            calls = len(hook.calls)
            wait_for(lambda calls=calls: len(hook.calls) > calls)  # type: ignore[misc]
            server.kill()
        serve(webhook_allow_private=True, lease_seconds=1).ready()

        def all_told() -> bool:
            for statement in (DUE, LEASES_OVER, RING):
                sql(statement)
            told = sql("SELECT count(*) FROM webhook_deliveries WHERE state = 'delivered'")
            return bool(told == [(len(made),)])

        wait_for(all_told, within_s=60)

    events = {
        (json.loads(body)["data"]["id"], headers["webhook-id"]) for headers, body in hook.calls
    }
    assert sorted(session_id for session_id, _ in events) == sorted(made)


def test_a_session_that_is_given_up_is_told_of(
    make_client: MakeClient, delivery: Callable[[], Any], sql: Sql
) -> None:
    """By whoever finds that its worker is lost for the last time."""
    shopper = Shopper(make_client(webhook_allow_private=True, max_attempts=1, lease_seconds=0.5))
    with receiving(200) as hook:
        shopper.submit(webhook_url=hook.url)
        sql(
            "UPDATE tryon_sessions SET status = 'processing', attempts = 1, started_at = now(),"
            " lease_until = now()"
        )
        wait_for(lambda: hook.calls)

    assert json.loads(hook.calls[0][1])["data"]["error_code"] == "worker_lost"


def test_the_event_is_written_with_the_state_or_not_at_all(shopper: Shopper, sql: Sql) -> None:
    """Where the event cannot be written, the session is not final: it is tried again."""
    sql("ALTER TABLE webhook_deliveries ADD CONSTRAINT never CHECK (attempts < 0)")
    with receiving(200) as hook:
        session_id = shopper.submit(webhook_url=hook.url)
        wait_for(lambda: shopper.see(session_id)["status"] == "processing")
        assert shopper.see(session_id)["status"] != "completed"
        sql("ALTER TABLE webhook_deliveries DROP CONSTRAINT never")


def test_nothing_of_the_url_is_logged_or_stored_in_clear(
    serve: Serve, run: Run, delivery: Callable[[], Any], sql: Sql
) -> None:
    with receiving(500, 200) as hook:
        server = serve(webhook_allow_private=True, log_level="debug").ready()
        session_id = server.shopper.submit(webhook_url=hook.url)
        wait_for(lambda: delivery() and delivery().last_status)
        told = run("webhooks", log_level="error")
        assert told.wait() == 0
        server.terminate()
        server.wait()
        rows = str(sql("SELECT t::text FROM tryon_sessions t"))

    assert f"session {session_id}" in told.text
    assert "last 500" in told.text
    assert "127.0.0.1" in told.text
    for seen in (told.text, server.text, rows):
        assert "s3cret-of-url" not in seen
        assert "/hook" not in seen
        assert TOKEN not in seen
    assert "webhook.attempt" in server.text


def test_the_secret_is_printed_for_receivers(run: Run) -> None:
    told = run("webhooks", "--secret", log_level="error")

    assert told.wait() == 0
    assert told.text.split() == [secret_text(Keyring([SECRET]).webhook_keys[0])]


def test_a_database_that_comes_back_is_delivered_from(
    shopper: Shopper, delivery: Callable[[], Any], sql: Sql
) -> None:
    with receiving(200, holding=True) as hook:
        shopper.submit(webhook_url=hook.url)
        wait_for(lambda: hook.calls)
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        hook.hold.set()
        wait_for(lambda: sql(LEASES_OVER) or (sql(RING) and delivery().state == "delivered"))

    assert len(set(hook.ids())) == 1
