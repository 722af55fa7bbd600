"""What Sentry is told: enough to find a mistake, nothing of a shopper."""

from __future__ import annotations

import base64
import gzip
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.errors import SettingsError
from app.reports import reporting
from app.signing import Keyring
from tests.fixtures import SECRET
from tests.flows.conftest import Run, Serve, Shopper, Sql, wait_for
from tests.flows.test_logs import ADDRESS, PHOTO, TOKEN, do_everything

WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"MARKER of the webhooks secret").decode()


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """A Sentry of our own: its DSN, and each envelope as it came."""
    pytest.importorskip("sentry_sdk", reason="install requirements-cluster.txt")
    came: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            encoding = self.headers.get("Content-Encoding", "identity")
            assert encoding in ("gzip", "identity")
            came.append(gzip.decompress(body) if encoding == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://public@127.0.0.1:{server.server_port}/1", came
        finally:
            server.shutdown()
            thread.join()


def events(envelopes: list[bytes]) -> dict[str, dict[str, Any]]:
    """Those of all envelopes, by our name for them."""
    found = {}
    for envelope in envelopes:
        lines = [json.loads(line) for line in envelope.splitlines() if line]
        assert [line["type"] for line in lines[1::2]] == ["event"]
        found[lines[2]["logentry"]["message"]] = lines[2]
    return found


@pytest.mark.slow
def test_sentry_is_told_of_mistakes_and_of_nobody(serve: Serve, sql: Sql) -> None:
    with listening() as (dsn, came):
        server = serve(
            sentry_dsn=dsn,
            metrics_token="MARKER-of-the-metrics",
            webhook_secret=WEBHOOK_SECRET,
            trusted_proxies="127.0.0.1",
            mock_faults="1:error,2:crash",
            max_file_mb=1,
        ).ready()
        server.shopper.http.headers["Authorization"] = "Bearer MARKER-of-a-header"
        server.shopper.http.headers["Cookie"] = "session=MARKER-of-a-cookie"
        signed = do_everything(server, sql)
        server.terminate()
        assert server.wait() == 0

    told = events(came)
    assert {"request.failed", "worker.pause", "session.failed"} <= told.keys()
    everything = b"\n".join(came)
    for secret in (
        *("MARKER", "marker", SECRET, WEBHOOK_SECRET, ADDRESS, TOKEN, *signed),
        *Keyring([SECRET]).owners(TOKEN),
        *("signature=", "inputs/", "outputs/", "JFIF", "cookie", "authorization", "postgresql"),
        *("person_image", "user_token", "me.jpg", os.environ.get("HOME", "MARKER") + "/"),
        base64.b64encode(PHOTO)[300:340].decode(),
    ):
        assert secret.encode() not in everything, secret
    assert PHOTO[300:340] not in everything
    assert not {"request", "user", "breadcrumbs", "extra", "contexts", "modules"} & {
        name for event in told.values() for name in event
    }
    assert not any("vars" in frame for event in told.values() for frame in frames(event))


def frames(event: dict[str, Any]) -> list[dict[str, Any]]:
    values = event.get("exception", {}).get("values", [])
    return [frame for value in values for frame in value["stacktrace"]["frames"]]


@pytest.mark.slow
def test_what_failed_in_an_engine_is_told_by_its_worker(serve: Serve, run: Run, sql: Sql) -> None:
    with listening() as (dsn, came):
        server = serve(worker_concurrency=0, sentry_dsn=dsn).ready()
        worker = run("worker", sentry_dsn=dsn, mock_faults="1:error", log_format="json")
        shopper: Shopper = server.shopper
        shopper.wait(shopper.submit(seed=1), "failed")
        event = wait_for(lambda: events(came).get("session.failed"))
        sql("ALTER TABLE tryon_sessions ADD CONSTRAINT n CHECK (status <> 'processing') NOT VALID")
        shopper.submit(seed=0)
        pause = wait_for(lambda: events(came).get("worker.pause"))
        worker.terminate()
        worker.wait()

    assert event["tags"]["code"] == "engine_error"
    assert event["tags"]["engine"] == "mock"
    assert event["release"].startswith("tryonai@")
    (value,) = event["exception"]["values"]
    assert value["type"] == "RuntimeError"
    assert value["stacktrace"]["frames"][-1]["filename"] == "mock.py"
    assert value["stacktrace"]["frames"][-1]["function"] == "_misbehave"
    kinds = [one["type"] for one in pause["exception"]["values"]]
    assert kinds == ["CheckViolation", "IntegrityError"]
    assert pause["exception"]["values"][0]["value"] == "SQLSTATE 23514"
    ours = [frame for frame in frames(pause) if frame["in_app"]]
    assert ours[0]["filename"] == "app/services/worker.py"


def test_an_address_that_is_none_is_refused_with_a_sentence() -> None:
    pytest.importorskip("sentry_sdk", reason="install requirements-cluster.txt")
    with pytest.raises(SettingsError, match="SENTRY_DSN"), reporting("no address", release="1"):
        pass
