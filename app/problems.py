"""Errors as application/problem+json (RFC 9457): the only module that turns one into HTTP."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from app.database import translate
from app.errors import (
    BodyTooLarge,
    FileMissing,
    IdempotencyInProgress,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    ReceiptNotFound,
    RequestError,
    ServiceError,
    SessionNotFound,
    StorageFull,
    TooManyParts,
    TryOnError,
    UnsupportedMediaType,
    UserTokenInvalid,
    UserTokenRequired,
    ValidationFailed,
)
from app.schemas import FieldError, Problem

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
SCHEMA = MappingProxyType({"$ref": "#/components/schemas/Problem"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FILES = ("person_image", "garment_image")
_OF_FIELD = {"user_token": UserTokenInvalid}
_TIMED = (ServiceError, RateLimited, IdempotencyInProgress)
"""Errors that say when to try again."""
_OF_PATH = {"session_id": SessionNotFound, "receipt_id": ReceiptNotFound}
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


def response(
    error: TryOnError,
    *,
    request_id: str,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """The answer that tells a client of an error."""
    if not errors and isinstance(error, RequestError) and error.pointer:
        errors = [FieldError(pointer=f"#/{error.pointer}", detail=error.detail)]
    problem = Problem(
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
        errors=list(errors) or None,
    )
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **_headers(error), **(headers or {})},
    )


def of_exception(exc: BaseException) -> TryOnError | None:
    """What an exception means for the caller; None when it is a mistake of ours."""
    if isinstance(exc, TryOnError):
        return exc
    if isinstance(exc, OSError) and exc.errno in _FULL:
        return StorageFull()  # an upload that did not fit the temporary folder
    return translate(exc) if isinstance(exc, Exception) else None


def install(app: FastAPI) -> None:
    """Answer every error below the middleware as a problem."""

    async def on_error(request: Request, exc: Exception) -> Response:
        error = of_exception(exc)
        if error is None:
            raise exc  # to the logging middleware, which answers and logs it
        if isinstance(error, ServiceError):
            log.warning("request.refused", code=error.code, reason=error.detail)
        return response(error, request_id=_request_id(request))

    async def on_http(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        error = _of_http(exc)
        headers = dict(exc.headers or {})
        if isinstance(error, MethodNotAllowed):
            headers["Allow"] = ", ".join(_methods_at(request))
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        return response(error, request_id=_request_id(request), headers=headers)

    async def on_validation(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, RequestValidationError)
        error, errors = _of_validation(exc.errors(), sent=request.headers.get("content-type", ""))
        return response(error, request_id=_request_id(request), errors=errors)

    app.add_exception_handler(TryOnError, on_error)
    app.add_exception_handler(OSError, on_error)
    app.add_exception_handler(SQLAlchemyError, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)


def _headers(error: TryOnError) -> dict[str, str]:
    if isinstance(error, _TIMED):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, UserTokenRequired):
        return {"WWW-Authenticate": 'X-User-Token realm="sessions"'}
    return {}


def _request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def _of_http(exc: HTTPException) -> TryOnError:
    """What the framework itself refuses, and what it takes for a broken form."""
    if exc.__cause__ is not None and (meant := of_exception(exc.__cause__)) is not None:
        return meant
    text = str(exc.detail)
    if exc.status_code == HTTPStatus.NOT_FOUND:
        return NotFound("There is nothing at this address; /api/docs lists what there is.")
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed("Use one of the methods that Allow lists.")
    if exc.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return BodyTooLarge("The body is larger than this address takes.")
    if exc.status_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return UnsupportedMediaType("Send multipart/form-data.")
    if "Too many" in text:
        return TooManyParts("Send at most 2 files and 16 text fields.")
    if "exceeded maximum size" in text:
        return BodyTooLarge("A text field is longer than 4096 bytes.")
    return MalformedRequest("The form could not be read; send well-formed multipart/form-data.")


def _of_validation(found: Sequence[Any], *, sent: str) -> tuple[TryOnError, Sequence[FieldError]]:
    """The contract's code for what the fields' types refuse, and each field with its reason.

    sent: the body's media type.
    """
    if (place := next((one for one in found if one["loc"][0] == "path"), None)) is not None:
        # What cannot be an id is no session's: it is not there, like every other unknown one.
        return _OF_PATH.get(_field(place), NotFound)(), ()
    if found[0]["loc"][0] == "body" and sent and not sent.startswith(_FORMS):
        return UnsupportedMediaType("Send multipart/form-data."), ()
    errors = [FieldError(pointer=f"#/{_field(one)}", detail=_sentence(one)) for one in found]
    first, name = errors[0], _field(found[0])
    detail = f"{name}: {first.detail}"
    kind = FileMissing if name in _FILES else _OF_FIELD.get(name, ValidationFailed)
    return kind(detail), errors


def _field(error: Any) -> str:
    """The field's name. What the client sent as a name is cut to plain words: it is echoed."""
    # Of ("body", "seed", "constrained-int") the rest is what we call a type.
    name = str(error["loc"][1]) if len(error["loc"]) > 1 else "body"
    return "".join(c if c.isalnum() or c in "_.-" else "?" for c in name[:64])


def _sentence(error: Any) -> str:
    """Pydantic's message, without the value that was sent."""
    kind = error["type"]
    if kind == "missing":
        return "This field is required."
    if kind == "extra_forbidden":
        return "There is no such field."
    if _field(error) in _FILES:
        return "Send a file here, not text."
    message = str(error["msg"])
    return message if message.endswith(".") else f"{message}."


def _methods_at(request: Request) -> list[str]:
    """Every method that some route takes at this path; the framework names one route's only.

    Asked of the routes one by one, because an included router does not tell its own.
    """
    methods = {"OPTIONS"}
    for method in ("GET", "POST", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            methods |= {"GET", "HEAD"} if method == "GET" else {method}
    return sorted(methods)


def documented(*errors: type[TryOnError]) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the errors of a route: each status, with an example of each code.

    The schema is named, not given as a `model`: FastAPI would file that under the media type of
    the route's good answers. `app.document` puts the schema where it is named.
    """
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        examples = by_status.setdefault(
            error.status,
            {
                "description": HTTPStatus(error.status).phrase,
                "content": {MEDIA_TYPE: {"schema": dict(SCHEMA), "examples": {}}},
                **_documented_headers(error),
            },
        )["content"][MEDIA_TYPE]["examples"]
        problem = Problem(
            title=error.title,
            status=error.status,
            detail=error.title,
            code=error.code,
            request_id="4f9c2e710b6d4a53",
        )
        examples[error.code] = {
            "summary": error.title,
            "value": problem.model_dump(exclude_none=True),
        }
    return by_status


def _documented_headers(error: type[TryOnError]) -> dict[str, Any]:
    if issubclass(error, UserTokenRequired):
        return {
            "headers": {
                "WWW-Authenticate": {"description": "What to send.", "schema": {"type": "string"}}
            }
        }
    if not issubclass(error, _TIMED):
        return {}
    return {
        "headers": {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        }
    }
