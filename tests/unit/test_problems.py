"""How what goes wrong becomes an answer."""

from __future__ import annotations

import errno
import json

import psycopg2
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import errors
from app.errors import (
    DatabaseUnavailable,
    EngineUnknown,
    RateLimited,
    RequestError,
    ServiceError,
    StorageFull,
    TryOnError,
    UserTokenRequired,
)
from app.problems import documented, of_exception, response
from app.schemas import FieldError


def everything() -> list[type[TryOnError]]:
    """All that a request can be answered with."""
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, RequestError | ServiceError)]


@pytest.mark.parametrize("error", everything())
def test_every_error_has_a_status_a_code_and_a_sentence(error: type[TryOnError]) -> None:
    answer = response(error(), request_id="the-request")

    body = json.loads(bytes(answer.body))
    assert answer.status_code == body["status"] == error.status
    assert 400 <= error.status < 600
    assert body["code"] == error.code
    assert body["title"] == error.title
    assert body["detail"]
    assert body["request_id"] == "the-request"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_code_has_one_status() -> None:
    statuses: dict[str, set[int]] = {}
    for error in everything():
        statuses.setdefault(error.code, set()).add(error.status)

    assert not {code: found for code, found in statuses.items() if len(found) > 1}


@pytest.mark.parametrize("error", [one for one in everything() if issubclass(one, ServiceError)])
def test_what_is_away_says_when_to_come_back(error: type[ServiceError]) -> None:
    assert int(response(error(), request_id="x").headers["Retry-After"]) > 0


def test_too_many_requests_say_when_there_is_room() -> None:
    answer = response(RateLimited(retry_after_s=17), request_id="x")

    assert answer.headers["Retry-After"] == "17"


def test_a_missing_token_says_what_to_send() -> None:
    answer = response(UserTokenRequired(), request_id="x")

    assert "X-User-Token" in answer.headers["WWW-Authenticate"]


def test_a_field_is_pointed_at() -> None:
    answer = response(EngineUnknown("engine: use one of mock.", pointer="engine"), request_id="x")

    assert json.loads(bytes(answer.body))["errors"] == [
        {"pointer": "#/engine", "detail": "engine: use one of mock."}
    ]


def test_given_fields_stand_as_they_are() -> None:
    fields = [FieldError(pointer="#/a", detail="A."), FieldError(pointer="#/b", detail="B.")]

    answer = response(EngineUnknown(pointer="engine"), request_id="x", errors=fields)

    assert [one["pointer"] for one in json.loads(bytes(answer.body))["errors"]] == ["#/a", "#/b"]


class Deadlock(psycopg2.Error):
    """As the server reports it; psycopg2 lets nobody else set the code."""

    pgcode = "40P01"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (EngineUnknown(), EngineUnknown),
        (OSError(errno.ENOSPC, "full"), StorageFull),
        (OSError(errno.EDQUOT, "full"), StorageFull),
        (PoolTimeout(), DatabaseUnavailable),
        (OperationalError("SELECT", {}, Exception("away")), DatabaseUnavailable),
        (OperationalError("UPDATE", {}, Deadlock("deadlock detected")), DatabaseUnavailable),
    ],
)
def test_what_is_foreseen_has_a_meaning(raised: Exception, kind: type[TryOnError]) -> None:
    assert type(of_exception(raised)) is kind


@pytest.mark.parametrize(
    "raised",
    [ValueError("x"), OSError(errno.EIO, "x"), IntegrityError("INSERT", {}, Exception("x"))],
)
def test_a_mistake_of_ours_has_none(raised: Exception) -> None:
    assert of_exception(raised) is None


def test_errors_of_one_status_are_documented_together() -> None:
    found = documented(errors.FileMissing, errors.FileEmpty, errors.NotFound)

    assert set(found) == {422, 404}
    examples = found[422]["content"]["application/problem+json"]["examples"]
    assert set(examples) == {"file_missing", "file_empty"}
