"""One line for each request and one for its answer, with an id that all lines between carry."""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from uuid import UUID, uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import tracing
from app.metrics import REQUEST_SECONDS, REQUESTS
from app.services.ratelimit import ClientAddress
from app.signing import Keyring

log = structlog.get_logger("app.requests")

_SANE_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")

# Asked every few seconds by machines: their lines would drown the others.
_QUIET = frozenset({"/api/health", "/api/health/live", "/api/health/ready", "/metrics"})


class RequestLogging:
    def __init__(self, app: ASGIApp, *, clients: ClientAddress) -> None:
        self._app = app
        self._clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent_id = headers.get("x-request-id", "")
        request_id = sent_id if _SANE_ID.match(sent_id) else uuid4().hex
        peer = scope["client"][0] if scope.get("client") else ""
        address = self._clients.of(peer, ", ".join(headers.getlist("x-forwarded-for")))
        scope.setdefault("state", {}).update(request_id=request_id, client=address)
        keyring: Keyring = scope["app"].state.runtime.keyring
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        # A stranger's word would decide which of his calls are recorded, and under which number.
        parent = headers.get("traceparent") if self._clients.trusts(peer) else None
        with _traced(scope["method"], parent) as span:
            await self._watched(scope, receive, send, request_id, keyring.client(address), span)

    async def _watched(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: str,
        client: str,
        span: tracing.Span,
    ) -> None:
        began = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        write = log.debug if scope["path"] in _QUIET else log.info
        path = clean_path(scope["path"])
        write("request", method=method, path=path, client=client)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", None) or "unmatched"
            REQUESTS.labels(method, route, str(status)).inc()
            _note(span, method, route, status)
            # What was waited on purpose says nothing about how quick we are.
            waited_s = scope["state"].get("waited_s", 0.0)
            REQUEST_SECONDS.labels(method, route).observe(seconds - waited_s)
            write(
                "response",
                method=method,
                path=path,
                status=status,
                ms=round(seconds * 1000, 1),
                client=client,
            )


def _traced(method: str, parent: str | None) -> AbstractContextManager[tracing.Span]:
    """Calls that change something; polls would drown them."""
    if method not in _CHANGING:
        return nullcontext(tracing.Span())
    return tracing.span(method, kind="SERVER", parent=parent)


def _note(span: tracing.Span, method: str, route: str, status: int) -> None:
    span.name(f"{method} {route}")
    span.note(
        {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status))


_CHANGING = frozenset({"POST", "DELETE"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_WORDS = frozenset(
    ("api", "tryon", "sessions", "input", "garment", "output", "engines", "garments", "people")
).union(("image", "health", "live", "ready", "metrics", "docs", "redoc", "openapi.json", "assets"))


def clean_path(path: str) -> str:
    """A path for the log: our own words and session ids; what strangers type becomes `*`."""
    parts = path.split("/", 8)
    return "/".join(
        part if part in _WORDS or _is_id(part) else "*" if part else "" for part in parts
    )


def _is_id(part: str) -> bool:
    try:
        return str(UUID(part)) == part
    except ValueError:
        return False
