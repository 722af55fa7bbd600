"""Refuses by address and by size, from the headers, before a byte of the body is read."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.errors import BodyTooLarge, MalformedRequest, RateLimited, TryOnError
from app.services.ratelimit import Limiter, Verdict, client_key

SESSIONS = "/api/tryon/sessions"
_UNCOUNTED = ("/api/health", "/api/health/live", "/api/health/ready")
# Files that never change: pages ask for two dozen at once, and browsers keep them.
_FILES = re.compile(r"/api/docs/assets/.+|/api/tryon/(garments|people)/[^/]+/image")

# A call that creates nothing needs no body; some clients send a few bytes all the same.
OTHER_BODY_BYTES = 64 * 1024

# Enough for a photo on a slow line; more than that is not worth a connection.
LINGER_S = 5.0
LINGER_BYTES = 32 * 1024 * 1024


class Limits:
    """limiter: None where the operator has switched it off. create_bytes: of a whole create."""

    def __init__(self, app: ASGIApp, *, limiter: Limiter | None, create_bytes: int) -> None:
        self._app = app
        self._limiter = limiter
        self._create_bytes = create_bytes
        # Counts what comes without a Content-Length. FastAPI's own `max_body_size` would stand
        # outermost, and answer in plain text in place of us.
        self._counting = RequestBodyLimitMiddleware(app, max_body_size=create_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        creates = scope["method"] == "POST" and scope["path"].rstrip("/") == SESSIONS
        verdict = await self._count(scope, creates=creates)
        refusal = _over_rate(verdict) or self._over_size(scope, creates=creates)

        async def send_with_policy(message: Message) -> None:
            if verdict is not None and message["type"] == "http.response.start":
                _tell(MutableHeaders(scope=message), verdict)
            await send(message)

        if refusal is None:
            app = self._counting if creates else self._app
            await app(scope, receive, send_with_policy)
            return
        answer = problems.response(
            refusal,
            request_id=scope["state"]["request_id"],
            headers={"Connection": "close"} if _has_body(scope) else {},
        )
        await answer(scope, receive, _lingering(scope, receive, send_with_policy))

    async def _count(self, scope: Scope, *, creates: bool) -> Verdict | None:
        path = scope["path"]
        counted = (
            scope["method"] != "OPTIONS"
            and path.startswith("/api/")
            and path.rstrip("/") not in _UNCOUNTED
            and not _FILES.fullmatch(path)
        )
        if self._limiter is None or not counted:
            return None
        # Redis may be another's to read: what stands for the client there tells nobody its address.
        client = client_key(scope["state"]["client"])
        keyring = scope["app"].state.runtime.keyring
        return await self._limiter.hit("create" if creates else "other", keyring.caller(client))

    def _over_size(self, scope: Scope, *, creates: bool) -> TryOnError | None:
        text = Headers(scope=scope).get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            return MalformedRequest("Content-Length is not a number.")
        most = self._create_bytes if creates else OTHER_BODY_BYTES
        if int(text) <= most:
            return None
        return BodyTooLarge(f"The body has {int(text)} bytes; at most {most} are taken.")


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _lingering(scope: Scope, receive: Receive, send: Send) -> Send:
    """Send an answer at once, but close only after what is under way has arrived, or a while.

    A connection that is closed on unread bytes is reset, and a client that is still sending may
    then never see the answer: browsers show a network error in place of a 429.
    """

    async def send_and_linger(message: Message) -> None:
        if message["type"] != "http.response.body" or not _has_body(scope):
            await send(message)
            return
        await send({**message, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await _throw_away(receive)
        await send({"type": "http.response.body", "body": b""})

    return send_and_linger


async def _throw_away(receive: Receive) -> None:
    left = LINGER_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _over_rate(verdict: Verdict | None) -> TryOnError | None:
    if verdict is None or verdict.allowed:
        return None
    return RateLimited(
        f"At most {verdict.limit} calls of this kind in {verdict.window_s} s; "
        f"try again in {verdict.reset_s} s.",
        retry_after_s=verdict.reset_s,
    )


def _tell(headers: MutableHeaders, verdict: Verdict) -> None:
    """Source: IETF draft-ietf-httpapi-ratelimit-headers-10; a draft, so `Retry-After` counts."""
    headers["RateLimit-Policy"] = f'"{verdict.scope}";q={verdict.limit};w={verdict.window_s}'
    headers["RateLimit"] = f'"{verdict.scope}";r={verdict.remaining};t={verdict.reset_s}'
