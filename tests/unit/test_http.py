"""Clients that send slowly, on real connections to a real uvicorn."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import uvicorn

from app.http import BoundedHttpProtocol

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


class Hasty(BoundedHttpProtocol):
    head_s, pause_s, body_s = 0.2, 0.2, 0.6


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body, once all of it is there; at `/late` longer after than all limits."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    if scope["path"] == "/late":
        await asyncio.sleep(1)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        config = uvicorn.Config(echo, http=Hasty, lifespan="off", log_config=None)
        server = Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert started.wait(10)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        yield connection


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    came = b""
    while piece := connection.recv(4096):
        came += piece
    return came


def test_who_sends_nothing_is_let_go(connection: socket.socket) -> None:
    assert everything(connection) == b""  # browsers connect ahead of time, and ask nothing


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost:", HEAD, HEAD + b"half"])
def test_who_sends_no_more_is_told_so_and_let_go(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)

    assert everything(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_drips_is_ended_too(connection: socket.socket) -> None:
    head = HEAD.replace(b"10", b"1000")
    connection.sendall(head)
    connection.settimeout(0.05)  # a byte each time that nothing came

    came = b""
    for _ in range(200):
        try:
            came = connection.recv(4096)
        except TimeoutError:
            connection.sendall(b"x")
        else:
            break

    assert came.startswith(b"HTTP/1.1 408 ")


def test_one_request_after_another_has_its_time_each(connection: socket.socket) -> None:
    for _ in range(5):
        connection.sendall(HEAD[:20])
        connection.sendall(HEAD[20:] + b"0123456789")

        came = b""
        while not came.endswith(b"0123456789"):
            came += connection.recv(4096) or pytest.fail(f"only {came!r}")


def test_a_client_may_wait_longer_than_it_may_send(connection: socket.socket) -> None:
    connection.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")

    assert connection.recv(64).startswith(b"HTTP/1.1 200 ")
