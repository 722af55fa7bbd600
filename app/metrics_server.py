"""`/metrics` of a process that answers no other call: a worker."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from app import metrics
from app.signing import same


@contextmanager
def answering(listener: socket.socket, *, token: str | None) -> Iterator[None]:
    """Answer from a thread of its own while the block lasts; then the socket is closed.

    token: without it, as Bearer, there is nothing at the address.
    """
    server = ThreadingHTTPServer(("", 0), partial(_Handler, token), bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    timeout = 10  # of a caller who says nothing
    server_version, sys_version = "TryOnAI", ""

    def __init__(self, token: str | None, *rest: Any) -> None:
        self._token = token
        super().__init__(*rest)

    def do_GET(self) -> None:
        if self.path != "/metrics" or not self._is_allowed():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = metrics.render()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a scrape every few seconds would drown the rest."""

    def _is_allowed(self) -> bool:
        if self._token is None:
            return True
        kind, _, sent = self.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and same(sent, self._token)
