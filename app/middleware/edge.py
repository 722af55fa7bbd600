"""What stands between the routes and the world: pages of other origins, and mistakes of ours."""

from __future__ import annotations

import structlog
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.errors import MalformedRequest, TryOnError

log = structlog.get_logger(__name__)


class Cors(CORSMiddleware):
    """Starlette's, but a refused preflight is a problem like every other refusal."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        refusal = MalformedRequest(
            "A page of this origin, or with this method or these headers, may not call this "
            "server; the operator lists origins in CORS_ORIGINS."
        )
        headers = {k: v for k, v in response.headers.items() if not k.startswith("content-")}
        request_id = structlog.contextvars.get_contextvars()["request_id"]
        return problems.response(refusal, request_id=request_id, headers=headers)


class ProcessEdge:
    """Logs what nobody has foreseen, and answers it as 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as exc:
            log.exception("request.failed", error=type(exc).__name__)
            if begun:
                raise  # the connection must break: half an answer is none
            error = TryOnError("The server made a mistake. Tell the operator the request_id.")
            answer = problems.response(error, request_id=scope["state"]["request_id"])
            await answer(scope, receive, send)
