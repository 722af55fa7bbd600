"""What only a real connection shows: heads without end, and clients that send before they read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.flows.conftest import Serve, Server

CREATE = (
    b"POST /api/tryon/sessions HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n"
)


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(worker_concurrency=0, rate_limit_enabled=True, rate_limit_create="1/hour").ready()


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    with closing(
        socket.create_connection(("127.0.0.1", server.shopper.http.base_url.port or 0), timeout=10)
    ) as connection:
        yield connection


def test_a_head_without_end_is_ended(server: Server, connection: socket.socket) -> None:
    connection.sendall(b"GET /api/health/live HTTP/1.1\r\nHost: x\r\nX-A: ")

    with suppress(ConnectionError):
        for _ in range(64):
            connection.sendall(bytes(64 * 1024).replace(b"\0", b"a"))
        assert connection.recv(64).startswith(b"HTTP/1.1 431 ")
        assert connection.recv(1024)
        assert connection.recv(1024) == b""

    assert server.shopper.get().status_code == 200


@pytest.mark.parametrize("size", [15_000_000, 30_000_000])
def test_a_client_that_sends_before_it_reads_gets_its_refusal(
    server: Server, connection: socket.socket, size: int
) -> None:
    server.shopper.submit()  # the one that is allowed

    connection.sendall(CREATE % size)
    connection.sendall(bytes(size))

    assert connection.recv(64).startswith(b"HTTP/1.1 429 ")
