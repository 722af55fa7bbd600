"""The address of a worker's metrics, and callers who mean it ill or are only slow."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import httpx
import psutil
import pytest

from app import metrics, metrics_server
from app.metrics_server import CONNECTIONS, answering

TOKEN = "the-operators-token"
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-operators-token\r\n"
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(metrics_server, "LIFE_S", 0.5)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
        answering(listener, token=TOKEN),
    ):
        yield listener.getsockname()


def ask(address: tuple[str, int], path: str = "/metrics", token: str = TOKEN) -> httpx.Response:
    url = f"http://127.0.0.1:{address[1]}{path}"
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"})


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.02)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def callers(address: tuple[str, int]) -> set[tuple[str, int]]:
    """Whom the server has not let go of."""
    return {
        (one.raddr.ip, one.raddr.port)
        for one in psutil.Process().net_connections("tcp")
        if one.laddr == address and one.status == psutil.CONN_ESTABLISHED
    }


def test_metrics_are_told_to_who_knows_the_token(address: tuple[str, int]) -> None:
    assert "tryonai_jobs" in ask(address).text
    assert ask(address).headers["content-type"].startswith("text/plain; version=")
    assert ask(address, token="x").status_code == 404
    assert ask(address, path="/").status_code == 404
    assert httpx.post(f"http://127.0.0.1:{address[1]}/metrics").status_code == 404


def test_callers_who_say_nothing_take_up_no_more_than_a_few_places(
    address: tuple[str, int],
) -> None:
    ask(address)
    threads = threading.active_count()
    with ExitStack() as stack:
        first = [stack.enter_context(socket.create_connection(address)) for _ in range(CONNECTIONS)]
        more = [stack.enter_context(socket.create_connection(address)) for _ in range(20)]
        until = time.monotonic() + 5
        while not all(map(is_closed, more)):
            assert time.monotonic() < until
        assert threading.active_count() == threads

        while not all(map(is_closed, first)):
            assert time.monotonic() < until

    assert ask(address).status_code == 200


def test_a_caller_who_drips_is_ended(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(GET)
        until = time.monotonic() + 5
        while not is_closed(connection):
            assert time.monotonic() < until
            connection.send(b"x")


def test_a_caller_who_does_not_read_is_ended(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "render", lambda: bytes(50_000_000))
    with socket.create_connection(address) as connection:
        connection.sendall(GET + b"\r\n")
        connection.recv(1)
        until = time.monotonic() + 5
        while connection.getsockname() in callers(address):
            assert time.monotonic() < until


def test_a_connection_that_breaks_leaves_no_address_anywhere(
    address: tuple[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    for said in (b"", b"GET", GET, GET + b"\r\n", b"\0\r\n\r\n"):
        with socket.create_connection(address) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.sendall(said)
    assert ask(address).status_code == 200

    out, err = capfd.readouterr()
    assert "127.0.0.1" not in out + err
    assert "Traceback" not in out + err
