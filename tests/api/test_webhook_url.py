"""The form's webhook_url: what is taken, what is refused; deliveries are tests/flows's."""

from __future__ import annotations

import socket

import pytest
from fastapi.testclient import TestClient

from tests import pictures
from tests.api.sessions import OWNER, URL, parts, post
from tests.fixtures import MakeClient


@pytest.mark.parametrize(
    "url",
    [
        *("shop.example", "ftp://8.8.8.8/", "http://user:password@8.8.8.8/", "http://8.8.8.8:22/"),
        *("http://127.0.0.1/", "http://localhost:8000/", "http://[::1]/", "https://10.0.0.1/"),
        *("http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/", "http://0/"),
    ],
)
def test_a_receiver_inside_or_odd_is_refused(shared_client: TestClient, url: str) -> None:
    answer = post(shared_client, webhook_url=url)

    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_refused")
    assert answer.json()["errors"][0]["pointer"] == "#/webhook_url"
    assert shared_client.get(URL, headers=OWNER).json()["items"] == []


def test_a_public_address_is_taken_and_told_to_nobody(client: TestClient) -> None:
    answer = post(client, webhook_url="https://8.8.8.8/hook?key=s3cret")

    assert answer.status_code == 201
    assert "s3cret" not in answer.text
    assert parts(client).courier is not None


def test_no_name_is_looked_up_for_a_create_that_has_no_room(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **_: looked_up.append(asked))
    parts(client).door.shut()

    answer = post(client, webhook_url="https://shop.example/")

    assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
    assert looked_up == []


def test_a_receiver_is_part_of_what_a_key_repeats(make_client: MakeClient) -> None:
    client = make_client(webhook_allow_private=True)

    def send(url: str) -> int:
        answer = client.post(
            URL,
            files={"person_image": pictures.jpeg(pictures.photo())},
            data={"user_token": "visitor-0001", "webhook_url": url},
            headers={"Idempotency-Key": "one"},
        )
        return int(answer.status_code)

    assert [send("http://127.0.0.1:9999/a"), send("http://127.0.0.1:9999/a")] == [201, 200]
    assert send("http://127.0.0.1:9999/b") == 422
