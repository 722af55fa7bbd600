"""`/metrics` of a process that answers no other call: a worker."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app import metrics
from app.http import BoundedHttpProtocol
from app.signing import same

CONNECTIONS = 16
"""At a time; more are closed as they come: they would use up the worker's open files."""

LIFE_S = 10.0
"""Of a connection, whatever its caller does. Prometheus waits no longer either."""


@contextmanager
def answering(listener: socket.socket, *, token: str | None) -> Iterator[None]:
    """Answer from a thread of its own while the block lasts; then the socket is closed.

    token: without it, as Bearer, there is nothing at the address.
    """
    config = uvicorn.Config(
        _application(token),
        http=_BriefHttpProtocol,
        loop="asyncio",  # uvloop would take part in the forks of Celery's main process
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    arguments = {"sockets": [listener]}
    thread = threading.Thread(target=server.run, kwargs=arguments, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _application(token: str | None) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        close = {"Connection": "close"}
        if (request.method, request.url.path) == ("GET", "/metrics") and _is_allowed(request):
            response = Response(metrics.render(), headers=close, media_type=CONTENT_TYPE_LATEST)
        else:
            response = Response(status_code=404, headers=close)
        await response(scope, receive, send)

    def _is_allowed(request: Request) -> bool:
        if token is None:
            return True
        kind, _, sent = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and same(sent, token)

    return answer


class _BriefHttpProtocol(BoundedHttpProtocol):
    """One request a connection, and few connections."""

    _end_of_life: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._end_of_life = self.loop.call_later(LIFE_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end_of_life is not None:
            self._end_of_life.cancel()
        super().connection_lost(exc)
