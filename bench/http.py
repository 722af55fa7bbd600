"""Requests as bytes, and one way to send them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

SESSIONS = "/api/tryon/sessions"
TOKEN = "visitor-of-the-bench"

_BOUNDARY = "boundary-of-the-bench"


def form(picture: bytes, **fields: str) -> bytes:
    """The multipart body of a create; the name of the file is one that clients send."""
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        f"{value}\r\n".encode()
        for name, value in {"user_token": TOKEN, **fields}.items()
    ]
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="person_image"; '
        'filename="IMG_2041.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return b"".join([*parts, head.encode(), picture, f"\r\n--{_BOUNDARY}--\r\n".encode()])


def raw_create(picture: bytes) -> bytes:
    """A whole create as it goes over the wire."""
    body = form(picture)
    head = (
        f"POST {SESSIONS} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def raw_get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-User-Token: {TOKEN}\r\n\r\n".encode()


class Client:
    """One kept connection to a server on loopback."""

    def __init__(self, port: int, *, timeout_s: float = 30) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def create(self, picture: bytes, **fields: str) -> dict[str, Any]:
        status, body = self.send_create(picture, {}, **fields)
        if status != 201:
            raise RuntimeError(f"a create was answered with {status}: {body[:300]!r}")
        found: dict[str, Any] = json.loads(body)
        return found

    def send_create(
        self, picture: bytes, headers: Mapping[str, str] = MappingProxyType({}), **fields: str
    ) -> tuple[int, bytes]:
        kind = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        return self._ask("POST", SESSIONS, form(picture, **fields), {**kind, **headers})

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask("GET", path, None, {"X-User-Token": TOKEN})

    def delete(self, path: str) -> None:
        status, body = self._ask("DELETE", path, None, {"X-User-Token": TOKEN})
        if status != 204:
            raise RuntimeError(f"an erasure was answered with {status}: {body[:300]!r}")

    def session(self, session_id: str) -> dict[str, Any]:
        status, body = self.get(f"{SESSIONS}/{session_id}")
        if status != 200:
            raise RuntimeError(f"a poll was answered with {status}: {body[:300]!r}")
        found: dict[str, Any] = json.loads(body)
        return found

    def close(self) -> None:
        self._connection.close()

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()
