"""How often one client may call: counted by address, apart for creates, before a body is read."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from tests.api.sessions import OWNER, PROBLEM, URL, create, post
from tests.fixtures import MakeClient

# Each test has an application with counters of its own; the database they share.


@pytest.fixture
def limited(make_shared_client: MakeClient) -> TestClient:
    """With the limits that are the default."""
    return make_shared_client(rate_limit_enabled=True)


def invalid(client: TestClient, **headers: str) -> int:
    """A create that is refused for its content: it counts all the same, and costs little."""
    return int(client.post(URL, headers=headers).status_code)


def test_the_eleventh_create_within_a_minute_is_refused(limited: TestClient) -> None:
    answers = [post(limited) for _ in range(10)]
    refused = post(limited)

    assert {answer.status_code for answer in answers} == {201}
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["Content-Type"] == PROBLEM
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert refused.headers["RateLimit-Policy"] == '"create";q=10;w=60'
    assert answers[0].headers["RateLimit"].startswith('"create";r=9;t=')
    assert answers[9].headers["RateLimit"].startswith('"create";r=0;t=')
    assert refused.headers["RateLimit"].startswith('"create";r=0;t=')


def test_polls_are_counted_apart_and_not_starved(limited: TestClient) -> None:
    session = create(limited)
    assert [invalid(limited) for _ in range(10)][-1] == 429

    answers = [limited.get(f"{URL}/{session['id']}", headers=OWNER) for _ in range(120)]
    refused = limited.get(f"{URL}/{session['id']}", headers=OWNER)

    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers["RateLimit-Policy"] == '"other";q=120;w=60'
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")


def test_one_too_many_is_answered_before_its_body_is_read(limited: TestClient) -> None:
    assert [invalid(limited) for _ in range(10)][-1] == 422
    events: list[object] = []

    async def receive() -> Message:
        events.append("read")
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        events.append(message.get("status", "sent"))

    scope = {
        "type": "http",
        "method": "POST",
        "path": URL,
        "query_string": b"",
        "headers": [(b"content-length", b"1000000")],
        "client": ("testclient", 50000),
    }
    assert limited.portal is not None
    limited.portal.call(limited.app, scope, receive, send)

    assert events[0] == 429


def test_a_refused_body_counts(limited: TestClient) -> None:
    for _ in range(10):
        assert limited.post(URL, headers={"Content-Length": str(10**9)}).status_code == 413

    assert invalid(limited) == 429


def test_a_slash_at_the_end_is_no_way_around(limited: TestClient) -> None:
    assert [invalid(limited) for _ in range(10)][-1] == 422

    assert limited.post(f"{URL}/").status_code == 429
    assert limited.post(f"{URL}//").status_code in (404, 429)


def test_health_metrics_preflights_and_files_are_not_counted(
    make_shared_client: MakeClient,
) -> None:
    client = make_shared_client(rate_limit_enabled=True, rate_limit_other="1/minute")
    assert client.get("/api/tryon/garments").status_code == 200
    assert client.get("/api/tryon/garments").status_code == 429

    for path in ("/api/health", "/api/health/live", "/api/health/ready", "/metrics", "/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers
    assert client.options(URL).status_code == 204
    for file in (
        "docs/assets/swagger-ui.css",
        "tryon/garments/polo/image",
        "tryon/people/ada/image",
    ):
        assert client.get(f"/api/{file}").status_code == 200


def test_a_made_up_address_is_not_believed(limited: TestClient) -> None:
    statuses = [invalid(limited, **{"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(11)]

    assert statuses == [422] * 10 + [429]


def test_a_trusted_proxy_tells_its_clients_apart(make_shared_client: MakeClient) -> None:
    client = proxied(make_shared_client, "10.0.0.1")

    many = [invalid(client, **{"X-Forwarded-For": "203.0.113.1"}) for _ in range(3)]
    other = invalid(client, **{"X-Forwarded-For": "203.0.113.2"})
    forged = invalid(client, **{"X-Forwarded-For": "203.0.113.9, 203.0.113.1"})

    assert many == [422, 422, 429]
    assert other == 422
    assert forged == 429


def test_several_proxies_are_looked_through(make_shared_client: MakeClient) -> None:
    client = proxied(make_shared_client, "10.0.0.1")
    hops = "203.0.113.1, 10.1.2.3, 10.9.9.9"

    assert [invalid(client, **{"X-Forwarded-For": hops}) for _ in range(3)] == [422, 422, 429]
    assert invalid(client, **{"X-Forwarded-For": "203.0.113.2, 10.1.2.3"}) == 422


def test_an_ipv6_network_is_one_client(make_shared_client: MakeClient) -> None:
    client = proxied(make_shared_client, "fd00::1")

    statuses = [invalid(client, **{"X-Forwarded-For": f"2001:db8:1:2::{n}"}) for n in range(3)]

    assert statuses == [422, 422, 429]
    assert invalid(client, **{"X-Forwarded-For": "2001:db8:1:3::1"}) == 422


@pytest.mark.parametrize("sent", ["", ",", "unknown", "203.0.113.1:1234", "\x0b", "x" * 5000])
def test_an_odd_forwarded_for_is_no_mistake_of_ours(
    make_shared_client: MakeClient, sent: str
) -> None:
    client = proxied(make_shared_client, "10.0.0.1")

    assert invalid(client, **{"X-Forwarded-For": sent}) == 422


def proxied(make_shared_client: MakeClient, peer: str) -> TestClient:
    """An application that hears every call from this proxy, with two creates a minute."""
    client = make_shared_client(
        rate_limit_enabled=True,
        rate_limit_create="2/minute",
        trusted_proxies=("10.0.0.0/8", "fd00::/8"),
    )
    client._transport.client = (peer, 50000)
    return client
