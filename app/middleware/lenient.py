"""Understands two ways of asking that FastAPI's routes do not know: HEAD, and a slash at the end.

Every resource that has GET has HEAD too (RFC 9110, section 9.1). And a slash too many is no other
resource: a redirect would send the token and the pictures a second time, to an address that is made
of the Host header, over plain HTTP behind most proxies.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Lenient:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith("/api/") and path.endswith("/"):
            # The log and the metrics have seen the path as it came.
            scope["path"] = path.rstrip("/")
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # A copy: the server must know that this was a HEAD, whose answer has a length but no body.
        inner = {**scope, "method": "GET"}
        await self._app(inner, receive, send_head)
        if "route" in inner:
            scope["route"] = inner["route"]  # for the metrics
