"""The OpenAPI document: FastAPI's, with what it cannot know of our middleware and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app import catalogue, errors
from app.problems import documented
from app.schemas import Problem

_REFS = "#/components/schemas/{model}"
# FastAPI's own shape of a 422, which we never send.
_NOT_OURS = ("HTTPValidationError", "ValidationError")
_PICTURES = ("image/jpeg", "image/png", "image/webp")
_UNCOUNTED = ("/api/health", "/metrics", "/.well-known")


def describe(app: FastAPI, *, engines: Sequence[str]) -> dict[str, Any]:
    """The document of this server. engines: what its operator offers, the default one first."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=[
            {"name": "sessions", "description": "One try-on each: create, poll, fetch, erase."},
            {"name": "receipts", "description": "What shows that something was erased."},
            {"name": "catalogue", "description": "What can be asked for."},
            {"name": "health", "description": "How the service is."},
        ],
    )
    schemas = document["components"]["schemas"]
    _, problem = models_json_schema([(Problem, "serialization")], ref_template=_REFS)
    schemas.update(problem["$defs"])
    form = schemas["CreateForm"]
    _drop_null(form["properties"])
    form["properties"]["garment_id"]["enum"] = [one.id for one in catalogue.garments()]
    form["properties"]["engine"].update(enum=list(engines), default=engines[0])
    # A client sends its own garment, or names one.
    form["not"] = {"required": ["garment_image", "garment_id"]}
    paths = document["paths"]
    _describe_form(paths["/api/tryon/sessions"]["post"]["requestBody"])
    # Where the operator has set no token, none is needed.
    paths["/metrics"]["get"]["security"].insert(0, {})
    for path, operations in paths.items():
        for operation in operations.values():
            _complete(path, operation)
    for name in _NOT_OURS:
        schemas.pop(name, None)
    return document


def _drop_null(fields: dict[str, Any]) -> None:
    """What is left out of a form, a query or the headers is not sent as null."""
    for field in fields.values():
        kinds = field.pop("anyOf", [])
        if kinds:
            field.update(*(kind for kind in kinds if kind != {"type": "null"}))


def _describe_form(body: dict[str, Any]) -> None:
    """FastAPI sees no file in a form that is a model, and says that it is urlencoded."""
    ((_, content),) = body["content"].items()
    pictures = {"contentType": ", ".join(_PICTURES)}
    content["encoding"] = {"person_image": pictures, "garment_image": pictures}
    body["content"] = {"multipart/form-data": content}


def _complete(path: str, operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        _drop_null({"": parameter["schema"]})
        if parameter["name"] == "cursor":
            parameter["schema"]["format"] = "cursor"
    responses = operation["responses"]
    if _is_not_ours(responses.get("422")):
        del responses["422"]
    if not path.startswith(_UNCOUNTED):
        # From the middleware, whatever the route: these two are counted before it is looked for.
        limits = documented(errors.BodyTooLarge, errors.RateLimited)
        for status, response in limits.items():
            responses.setdefault(str(status), response)
    operation["responses"] = dict(sorted(responses.items()))
    for response in responses.values():
        headers = response.setdefault("headers", {})
        headers["X-Request-ID"] = {
            "description": "Names this request in the log; yours where you sent a sane one.",
            "schema": {"type": "string"},
        }
        if not path.startswith(_UNCOUNTED):
            headers["RateLimit"] = {
                "description": "What is left of the limit, where there is one.",
                "schema": {"type": "string"},
            }


def _is_not_ours(response: dict[str, Any] | None) -> bool:
    """Whether FastAPI has written this 422: for parameters of which any text is taken."""
    return response is not None and "application/json" in response.get("content", {})
