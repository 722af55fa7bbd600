"""What the tests of the API do with sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import text

from app import crud
from app.errors import SENTENCES, FailureCode
from app.models import TryOnSession
from app.runtime import Runtime
from app.services import erasure
from app.services.crypto import PictureKey
from app.states import Status
from tests import pictures

URL = "/api/tryon/sessions"
TOKEN = "visitor-0001"
OWNER = {"X-User-Token": TOKEN}
SOMEBODY_ELSE = {"X-User-Token": "visitor-0002"}
PROBLEM = "application/problem+json"

_PHOTO = pictures.jpeg(pictures.photo())


def post(client: TestClient, *, person: bytes = _PHOTO, **fields: object) -> Response:
    """A create with a good photo and token, but for what is given otherwise."""
    files = {"person_image": ("me.jpg", person, "image/jpeg")}
    data = {"user_token": TOKEN, **fields}
    for name in [name for name, value in data.items() if isinstance(value, bytes)]:
        files[name] = ("file", data.pop(name), "application/octet-stream")  # type: ignore[assignment]
    answer: Response = client.post(
        URL, files=files, data={name: str(value) for name, value in data.items()}
    )
    return answer


def create(client: TestClient, **fields: object) -> dict[str, Any]:
    answer = post(client, **fields)  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text
    return cast("dict[str, Any]", answer.json())


def read(client: TestClient, session: dict[str, Any], **headers: str) -> Response:
    answer: Response = client.get(f"{URL}/{session['id']}", headers={**OWNER, **headers})
    return answer


def parts(client: TestClient) -> Runtime:
    """The parts of the application that this client speaks to."""
    return cast("Runtime", cast("FastAPI", client.app).state.runtime)


def claim(client: TestClient, session_id: str) -> TryOnSession:
    """Begin an attempt, as a worker does."""
    with parts(client).db.begin() as tx:
        row = crud.move(
            tx,
            UUID(session_id),
            Status.PROCESSING,
            attempts=1,
            started_at=timedelta(0),
            lease_until=timedelta(seconds=30),
            progress=0.0,
        )
    assert row is not None
    return row


def key_of(client: TestClient, row: TryOnSession) -> PictureKey:
    return parts(client).vault.key_of(row.id, row.wrapped_key)


def stored(client: TestClient, session_id: str) -> TryOnSession:
    """The row."""
    with parts(client).reads() as tx:
        seen = crud.get_session(tx, UUID(session_id))
    assert seen is not None
    return seen.row


def complete(client: TestClient, session_id: str, picture: bytes, suffix: str = "jpg") -> None:
    """An attempt that delivers this picture."""
    row = claim(client, session_id)
    key = f"{erasure.OUTPUTS}/{session_id}/1.{suffix}"
    parts(client).storage.put(key, key_of(client, row).seal(key, picture))
    with parts(client).db.begin() as tx:
        done = crud.complete(
            tx, row.id, attempt=1, output_key=key, quality=0.5, warnings=[], stage="compose"
        )
    assert done is not None


def fail(client: TestClient, session_id: str) -> None:
    """An attempt that ends without a picture."""
    row = claim(client, session_id)
    code = FailureCode.NO_PERSON
    with parts(client).db.begin() as tx:
        assert crud.fail(tx, row.id, attempt=1, code=code, reason=SENTENCES[code])


def expire(client: TestClient, session_id: str) -> None:
    """Let a session's time be over, as the database's clock would."""
    with parts(client).db.begin() as tx:
        tx.execute(
            text("UPDATE tryon_sessions SET expires_at = now() WHERE id = :id"),
            {"id": UUID(session_id)},
        )
