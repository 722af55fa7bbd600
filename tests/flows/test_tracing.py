"""One word, and one trace, for all that becomes of a create, whichever process has part in it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.config import ROOT
from tests.flows.conftest import TOKEN, URL, Run, Serve, Sql, environment, wait_for
from tests.flows.test_webhooks import receiving

REQUEST_ID = "the-request-of-a-test"


@contextmanager
def collecting() -> Iterator[tuple[str, list[Any]]]:
    """A collector of OTLP over HTTP; its address, and the spans that came."""
    pytest.importorskip("opentelemetry.sdk", reason="install requirements-cluster.txt")
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: PLC0415

    came: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            asked = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
            for resource in asked.resource_spans:
                came.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", came
        finally:
            server.shutdown()
            thread.join()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@pytest.mark.slow
def test_one_trace_leads_from_the_create_to_the_webhook(serve: Serve, run: Run, sql: Sql) -> None:
    with collecting() as (collector, spans), receiving(200) as hook:
        options: dict[str, Any] = {
            "otel_exporter_otlp_endpoint": collector,
            "fastapi_otel_auto_configure": "true",  # the framework's own, which must stay off
            "webhook_allow_private": True,
        }
        server = serve(worker_concurrency=0, trusted_proxies="127.0.0.1", **options).ready()
        worker = run("worker", **options)
        theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        server.shopper.http.headers["traceparent"] = theirs
        assert server.shopper.post(mode="MARKER").status_code == 422
        session_id = server.shopper.submit(webhook_url=hook.url)
        server.shopper.wait(session_id, "completed")
        wait_for(lambda: hook.calls)
        assert sql("SELECT traceparent FROM tryon_sessions")[0][0].startswith(theirs[:36])
        for process in (worker, server):
            process.terminate()
            process.wait()

        by_name = {span.name: span for span in spans}
        done = "http.response.status_code"
        post = next(span for span in spans if attributes(span).get(done) == 201)
        attempt, run_ = by_name["attempt"], by_name["run"]
        assert {span.trace_id.hex() for span in spans} == {theirs.split("-")[1]}
        assert post.parent_span_id.hex() == theirs.split("-")[2]
        for name in ("queue", "attempt", "webhook"):
            assert by_name[name].parent_span_id == post.span_id, name
        for name in ("read", "run", "store", "commit"):
            assert by_name[name].parent_span_id == attempt.span_id, name
        for name in ("decode", "encode"):
            assert by_name[name].parent_span_id == run_.span_id, name
        assert by_name["queue"].end_time_unix_nano <= attempt.end_time_unix_nano
        assert attributes(post) == {
            "http.request.method": "POST",
            "http.route": URL,
            "http.response.status_code": 201,
        }
        assert attributes(attempt) == {
            "tryonai.engine": "mock",
            "tryonai.attempt": 1,
            "tryonai.mode": "balanced",
            "tryonai.outcome": "completed",
        }
        everything = str(spans)
        for personal in (session_id, TOKEN, "me.jpg", "s3cret-of-url", "MARKER"):
            assert personal not in everything


@pytest.mark.slow
def test_a_stranger_does_not_choose_what_is_recorded(serve: Serve, sql: Sql) -> None:
    theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with collecting() as (collector, _):
        server = serve(otel_exporter_otlp_endpoint=collector, worker_concurrency=0).ready()
        server.shopper.http.headers["traceparent"] = theirs
        server.shopper.submit()

        found = sql("SELECT traceparent FROM tryon_sessions")[0][0]
        assert found
        assert theirs.split("-")[1] not in found


@pytest.mark.slow
def test_nothing_of_it_is_imported_unless_it_is_asked_for(
    database_url: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", IMPORTS]
    settings = environment(tmp_path, database_url=database_url)
    found = subprocess.run(
        command, check=True, env=settings, cwd=ROOT, capture_output=True, text=True
    )

    assert found.stdout.splitlines()[-1:] == ["[]"], found.stderr


IMPORTS = """
import sys
from app.config import Settings
Settings.model_config["env_file"] = None
from app.runtime import serving
from app.main import create_app
settings = Settings()
with serving(settings, concurrency=1) as runtime:
    create_app(settings, runtime)
others = ("opentelemetry.exporter", "sentry_sdk")
print([name for name in sys.modules if name.startswith(others)])
"""


@pytest.mark.slow
def test_every_line_about_a_session_names_the_request_that_made_it(serve: Serve, run: Run) -> None:
    with receiving(200) as hook:
        options: dict[str, Any] = {
            "webhook_allow_private": True,
            "log_format": "json",
            "mock_faults": "7:retry",
        }
        server = serve(worker_concurrency=0, **options).ready()
        worker = run("worker", **options)
        server.shopper.http.headers["X-Request-ID"] = REQUEST_ID
        session_id = server.shopper.submit(webhook_url=hook.url)
        server.shopper.http.headers["X-Request-ID"] = "another-request"
        server.shopper.wait(session_id, "completed")
        told = wait_for(lambda: _lines(server.text + worker.text, "webhook.attempt"))

        claimed = _lines(worker.text, "session.claimed")
        done = _lines(worker.text, "session.completed")
        created = _lines(server.text, "session.created")
        for line in (*created, *claimed, *done, *told):
            assert (line["request_id"], line["session_id"]) == (REQUEST_ID, session_id), line
        assert len(claimed) == len(done) == len(created) == 1


def _lines(text: str, event: str) -> list[dict[str, Any]]:
    """Those of an event; each line of a log is one object."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


@pytest.mark.slow
def test_what_an_engine_prints_is_a_line_like_the_others(run: Run) -> None:
    engine = "tests.engines_for_tests:Acts"
    worker = run("worker", engine=engine, engines=engine, log_format="json", mock_seconds=None)

    (line,) = wait_for(lambda: _lines(worker.text, "engine.printed"))

    assert (line["engine"], line["line"]) == ("acts", "loading")
    others = [one for one in worker.text.splitlines() if not one.startswith("{")]
    assert others == ["Working with 1 slot(s); Ctrl-C ends."]
