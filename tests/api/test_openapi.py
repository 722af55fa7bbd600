"""The document: complete, valid, and with an example of everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.config import Settings
from app.errors import ServiceError
from app.main import create_app
from app.problems import MEDIA_TYPE

DOCUMENT = create_app(Settings(_env_file=None)).openapi()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_document_is_valid() -> None:
    # Here, because they take half a second to import, in every process that collects tests.
    import jsonschema_rs  # noqa: PLC0415
    import schemathesis  # noqa: PLC0415

    assert DOCUMENT["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})


def test_every_name_that_is_used_is_there() -> None:
    names: set[str] = set()

    def look(part: Any) -> None:
        if isinstance(part, dict):
            names.update(value for key, value in part.items() if key == "$ref")
            for value in part.values():
                look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(DOCUMENT)

    there = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert names <= there
    assert not {"HTTPValidationError", "ValidationError"} & set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize(("method", "path", "operation"), list(operations()))
def test_every_error_is_a_problem_with_examples(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    for status, response in operation["responses"].items():
        if status[0] in "23" or path.startswith("/api/health"):
            continue
        (media_type,) = response["content"]
        content = response["content"][media_type]

        assert media_type == MEDIA_TYPE
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        for code, example in content["examples"].items():
            assert example["value"]["code"] == code
            assert example["value"]["status"] == int(status)


@pytest.mark.parametrize(("method", "path", "operation"), list(operations()))
def test_every_status_that_can_occur_is_named(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    wanted = set()
    if path.startswith("/api/tryon"):
        wanted |= {"413", "429"}
    if operation.get("security") and path != "/metrics":
        wanted |= {"401", "503"}
    if "{session_id}" in path:
        wanted |= {"404", "410"} if method == "GET" else {"404"}
    if method == "POST":
        wanted |= {"201", "400", "413", "415", "422", "429", "503", "507"}

    assert wanted <= set(operation["responses"])


def test_a_token_is_a_credential_and_no_parameter() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes["UserToken"]["name"] == "X-User-Token"
    assert schemes["UserToken"]["in"] == "header"
    for _, _, operation in operations():
        names = {one["name"].lower() for one in operation.get("parameters", [])}
        assert not names & {"x-user-token", "signature", "authorization"}


def test_a_create_is_a_form_with_pictures() -> None:
    body = DOCUMENT["paths"]["/api/tryon/sessions"]["post"]["requestBody"]

    (content,) = body["content"].values()
    assert list(body["content"]) == ["multipart/form-data"]
    assert content["encoding"]["person_image"]["contentType"] == "image/jpeg, image/png, image/webp"


def test_what_a_service_lacks_says_when_to_try_again() -> None:
    for _, path, operation in operations():
        for status in ("429", "503", "507"):
            response = operation["responses"].get(status)
            if response is not None and not path.startswith("/api/health"):
                assert "Retry-After" in response["headers"]
    assert ServiceError.retry_after_s > 0


def test_nothing_of_a_form_or_query_is_null() -> None:
    form = DOCUMENT["components"]["schemas"]["CreateForm"]
    fields = [*form["properties"].values()]
    for _, _, operation in operations():
        fields += [one["schema"] for one in operation.get("parameters", [])]

    assert not [field for field in fields if {"type": "null"} in field.get("anyOf", [])]
    assert form["properties"]["seed"]["minimum"] == 0
