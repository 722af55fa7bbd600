"""What the shopper agreed to: stored with the session, and nothing else about the person."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.api.sessions import OWNER, URL, create, post, stored
from tests.fixtures import MakeClient


def consent_of(client: TestClient, **fields: object) -> str | None:
    """What is stored of a create with these fields."""
    return stored(client, create(client, **fields)["id"]).consent_version


@pytest.mark.parametrize("version", ["1", "photo-terms 2026-11", "Einwilligung § 3 ✓", "x" * 64])
def test_the_version_is_kept_with_the_session(shared_client: TestClient, version: str) -> None:
    assert consent_of(shared_client, consent_version=version) == version


@pytest.mark.parametrize("version", ["x" * 65, " ", " 1", "a\x00b", "a\nb", "1\n", "\x7f", "\x85"])
def test_what_nobody_could_read_aloud_is_refused(shared_client: TestClient, version: str) -> None:
    answer = post(shared_client, consent_version=version)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == "#/consent_version"


def test_without_the_setting_it_may_be_left_out(shared_client: TestClient) -> None:
    assert consent_of(shared_client) is None


def test_an_operator_may_require_it(make_client: MakeClient) -> None:
    client = make_client(consent_required=True)

    for fields in ({}, {"consent_version": ""}):
        answer = post(client, **fields)  # type: ignore[arg-type]

        assert (answer.status_code, answer.json()["code"]) == (422, "consent_required")
        assert answer.json()["errors"][0]["pointer"] == "#/consent_version"
    assert client.get(URL, headers=OWNER).json()["items"] == []
    assert consent_of(client, consent_version="1") == "1"
