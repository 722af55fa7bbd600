"""How long a session lives when its client asks for less."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.sessions import OWNER, URL, create, post
from tests.fixtures import MakeClient


def life(session: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(session["expires_at"]) - datetime.fromisoformat(
        session["created_at"]
    )


@pytest.mark.parametrize("seconds", [60, 3_600, 86_400])
def test_a_session_lives_as_long_as_was_asked_for(shared_client: TestClient, seconds: int) -> None:
    session = create(shared_client, retention_seconds=seconds)

    assert life(session) == timedelta(seconds=seconds)


def test_without_a_wish_it_is_the_operators_retention(shared_client: TestClient) -> None:
    assert life(create(shared_client)) == timedelta(hours=24)


@pytest.mark.parametrize("seconds", [59, 86_401, 0, -60, "", "soon", "1e3", "60.5", 2**70])
def test_what_is_no_retention_is_refused(shared_client: TestClient, seconds: object) -> None:
    answer = post(shared_client, retention_seconds=seconds)

    if seconds == "":  # an empty field of a form counts as none
        assert life(answer.json()) == timedelta(hours=24)
        return
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == "#/retention_seconds"


def test_a_wish_never_prolongs_the_operators_retention(make_client: MakeClient) -> None:
    client = make_client(retention_hours=0.5)

    session = create(client, retention_seconds=7_200)

    assert life(session) == timedelta(minutes=30)
    assert life(client.get(f"{URL}/{session['id']}", headers=OWNER).json()) == life(session)
