"""Receipts over HTTP: who gets one, where it is kept, and with which keys it is checked."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import text

from app import crud
from app.services import receipts
from tests import pictures
from tests.api.sessions import (
    OWNER,
    PROBLEM,
    SOMEBODY_ELSE,
    URL,
    claim,
    complete,
    create,
    expire,
    fail,
    parts,
    read,
)
from tests.fixtures import MakeClient

RECEIPTS = "/api/tryon/receipts"
KEYS = "/.well-known/tryonai-receipt-keys.json"
WANTED = {**OWNER, "Prefer": "return=representation"}
PHOTO = pictures.jpeg(pictures.photo())


def erase(client: TestClient, session: dict[str, Any], **headers: str) -> Response:
    answer: Response = client.delete(f"{URL}/{session['id']}", headers={**WANTED, **headers})
    return answer


def valid(client: TestClient, receipt: dict[str, Any]) -> dict[str, Any]:
    """The statement of a receipt that is good by the keys which the server publishes."""
    receipts.check(receipt, receipts.read_jwk_set(client.get(KEYS).text))
    statement: dict[str, Any] = receipt["statement"]
    return statement


@pytest.mark.parametrize("state", ["created", "processing", "completed", "failed", "expired"])
def test_who_erases_gets_a_receipt_that_can_be_checked(
    shared_client: TestClient, shared_uploads: Path, state: str
) -> None:
    session = create(shared_client, garment_image=PHOTO)
    if state == "completed":
        complete(shared_client, session["id"], PHOTO)
    elif state != "created":
        {"processing": claim, "failed": fail, "expired": expire}[state](
            shared_client, session["id"]
        )
    files = [file for file in shared_uploads.rglob(f"{session['id']}/*") if file.is_file()]
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    answer = erase(shared_client, session)

    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "return=representation"
    statement = valid(shared_client, answer.json())
    assert statement["reason"] == "request"
    assert statement["session_sha256"] == hashlib.sha256(session["id"].encode()).hexdigest()
    assert {one["sha256"] for one in statement["pictures"]} == digests
    assert sorted(one["role"] for one in statement["pictures"]) == ["garment", "input"] + (
        ["output"] if state == "completed" else []
    )
    assert statement["others"] == 0


def test_without_the_preference_the_receipt_is_kept_all_the_same(
    shared_client: TestClient,
) -> None:
    session = create(shared_client)

    answer = shared_client.delete(f"{URL}/{session['id']}", headers=OWNER)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "Preference-Applied" not in answer.headers
    by_session = shared_client.get(f"{RECEIPTS}/{session['id']}")
    assert by_session.status_code == 200
    assert valid(shared_client, by_session.json())["reason"] == "request"
    by_id = shared_client.get(f"{RECEIPTS}/{by_session.json()['id']}")
    assert by_id.json() == by_session.json()


@pytest.mark.parametrize("prefer", ["return=minimal", "respond-async", "return", ""])
def test_another_preference_changes_nothing(shared_client: TestClient, prefer: str) -> None:
    assert erase(shared_client, create(shared_client), Prefer=prefer).status_code == 204


def test_the_preference_may_stand_beside_others(shared_client: TestClient) -> None:
    answer = erase(shared_client, create(shared_client), Prefer='wait=2, Return="representation"')

    assert answer.status_code == 200


def test_erasing_again_is_answered_without_a_receipt(shared_client: TestClient) -> None:
    session = create(shared_client)
    first = erase(shared_client, session)

    again = erase(shared_client, session)

    assert (first.status_code, again.status_code, again.content) == (200, 204, b"")
    kept = shared_client.get(f"{RECEIPTS}/{session['id']}")
    assert kept.json() == first.json(), "one erasure, one receipt"


def test_a_stranger_gets_no_receipt(shared_client: TestClient) -> None:
    session = create(shared_client)

    answer = erase(shared_client, session, **SOMEBODY_ELSE)
    unknown = shared_client.delete(f"{URL}/{uuid4()}", headers=WANTED)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (unknown.status_code, unknown.content) == (204, b"")
    assert read(shared_client, session).status_code == 200
    assert shared_client.get(f"{RECEIPTS}/{session['id']}").status_code == 404


def test_erasing_everything_gives_a_receipt_each(shared_client: TestClient) -> None:
    token = "receipts-of-all"
    mine = [create(shared_client, user_token=token) for _ in range(3)]
    headers = {**WANTED, "X-User-Token": token}

    answer = shared_client.delete(URL, headers=headers)
    again = shared_client.delete(URL, headers=headers)

    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "return=representation"
    found = {valid(shared_client, one)["session_sha256"] for one in answer.json()["items"]}
    assert found == {hashlib.sha256(one["id"].encode()).hexdigest() for one in mine}
    assert (again.status_code, again.json()) == (200, {"items": []})


@pytest.mark.parametrize("id_", ["0d5f4bd2-6f0e-4b6e-9f2b-3a8f6f1f0c11", "0", "no-id", "x" * 300])
def test_what_is_not_there_is_receipt_not_found(shared_client: TestClient, id_: str) -> None:
    answer = shared_client.get(f"{RECEIPTS}/{id_}")

    assert (answer.status_code, answer.json()["code"]) == (404, "receipt_not_found")
    assert answer.headers["Content-Type"] == PROBLEM


def test_a_session_that_lives_has_no_receipt(shared_client: TestClient) -> None:
    session = create(shared_client)

    assert shared_client.get(f"{RECEIPTS}/{session['id']}").status_code == 404


def test_a_receipt_is_gone_after_its_time(shared_client: TestClient) -> None:
    session = create(shared_client)
    erase(shared_client, session)
    runtime = parts(shared_client)

    age = "UPDATE deletion_receipts SET erased_at = now() - :keep WHERE session_sha256 = :of"
    of = receipts.hash_of(UUID(session["id"]))
    with runtime.db.begin() as tx:
        tx.execute(text(age), {"keep": runtime.issuer.keep, "of": of})

    assert shared_client.get(f"{RECEIPTS}/{session['id']}").status_code == 404
    with runtime.db.begin() as tx:
        assert crud.remove_receipts(tx, keep=runtime.issuer.keep, limit=10) == 1


def test_an_operator_may_keep_none(make_client: MakeClient) -> None:
    client = make_client(receipt_retention_days=0)
    session = create(client)

    answer = erase(client, session)

    assert valid(client, answer.json())
    assert client.get(f"{RECEIPTS}/{session['id']}").status_code == 404
    with parts(client).db.begin() as tx:
        assert tx.scalar(text("SELECT count(*) FROM deletion_receipts")) == 0


def test_pictures_in_clear_leave_no_digest(make_client: MakeClient) -> None:
    client = make_client(encrypt_pictures=False)
    session = create(client, garment_image=PHOTO)

    statement = valid(client, erase(client, session).json())

    assert [one["sha256"] for one in statement["pictures"]] == [None, None]
    assert all(one["size"] > 100 for one in statement["pictures"])


def test_what_is_kept_leads_to_nobody(shared_client: TestClient) -> None:
    token = "a-token-that-nobody-finds"
    session = create(shared_client, user_token=token, consent_version="terms-7")
    complete(shared_client, session["id"], PHOTO)
    hashes = parts(shared_client).keyring.owners(token)
    erase(shared_client, session, **{"X-User-Token": token})

    with parts(shared_client).db.begin() as tx:
        rows = tx.scalars(text("SELECT to_jsonb(r)::text FROM deletion_receipts r")).all()

    kept = "".join(rows)
    for word in (session["id"], token, *hashes, "terms-7", "mock", "inputs/", "warp"):
        assert word not in kept


def test_the_keys_are_a_jwk_set_for_everybody(shared_client: TestClient) -> None:
    answer = shared_client.get(KEYS)

    assert answer.status_code == 200
    (key,) = answer.json()["keys"]
    assert (key["kty"], key["crv"], key["use"]) == ("OKP", "Ed25519", "sig")
    assert "d" not in key, "that would be the private part"
    assert "public" in answer.headers["Cache-Control"]


def test_the_keys_of_the_secret_before_stay_published(make_client: MakeClient) -> None:
    old = "the secret of before the rotation"
    before = make_client(secret_key=old)
    receipt = erase(before, create(before)).json()

    after = make_client(secret_key=f"the secret of after the rotation,{old}")

    assert valid(after, receipt)
    (new, former) = after.get(KEYS).json()["keys"]
    assert former == before.get(KEYS).json()["keys"][0]
    assert erase(after, create(after)).json()["key_id"] == new["kid"]


def test_the_documented_example_has_the_shape_of_a_receipt(shared_client: TestClient) -> None:
    document = shared_client.get("/api/openapi.json").json()
    example = document["components"]["schemas"]["DeletionReceipt"]["example"]
    receipt = erase(shared_client, create(shared_client)).json()

    assert example.keys() == receipt.keys()
    assert example["statement"].keys() == receipt["statement"].keys()
    assert json.dumps(example)
    assert parts(shared_client).issuer.keep == timedelta(days=100)
