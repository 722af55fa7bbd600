"""The page and the documentation: they need no other host."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

_ADDRESS = re.compile(r"""(?:src|href|url)\s*[=:(]\s*["']?([^"'\s>)]+)""", re.IGNORECASE)


@pytest.mark.parametrize("path", ["/", "/api/docs", "/api/redoc"])
def test_a_page_names_no_other_host(shared_client: TestClient, path: str) -> None:
    answer = shared_client.get(path)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    addresses = _ADDRESS.findall(answer.text)
    assert addresses
    assert not [one for one in addresses if "//" in one]


@pytest.mark.parametrize("path", ["/api/docs", "/api/redoc", "/"])
def test_what_a_page_loads_is_there(shared_client: TestClient, path: str) -> None:
    for address in set(_ADDRESS.findall(shared_client.get(path).text)):
        if address.startswith("/"):
            answer = shared_client.get(address)

            assert answer.status_code == 200, address
            assert answer.content


def test_no_script_of_the_documentation_fetches_from_elsewhere(shared_client: TestClient) -> None:
    """ReDoc shows its maker's logo, from its maker's server."""
    script = shared_client.get("/api/docs/assets/redoc.standalone.js")

    assert len(script.content) > 500_000
    assert "cdn.redoc.ly" not in script.text


def test_the_documentation_may_load_nothing_from_elsewhere(shared_client: TestClient) -> None:
    for path in ("/api/docs", "/api/redoc"):
        policy = shared_client.get(path).headers["Content-Security-Policy"]

        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy


def test_the_document_of_the_documentation_is_there(shared_client: TestClient) -> None:
    answer = shared_client.get("/api/openapi.json")

    assert answer.status_code == 200
    assert answer.json()["info"]["title"] == "TryOnAI"


def test_the_page_may_load_nothing_from_elsewhere(shared_client: TestClient) -> None:
    answer = shared_client.get("/")

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe" not in policy or "script-src" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/api/docs/assets/../main.py", "/api/docs/assets/%2e%2e/x"])
def test_nothing_beside_the_assets_is_served(shared_client: TestClient, path: str) -> None:
    assert shared_client.get(path).status_code == 404
