"""Polls that wait, on real connections: of a worker's session, hung up, and at the server's end."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import httpx

from tests.flows.conftest import TOKEN, URL, Serve, Server, wait_for


def wait(server: Server, session_id: str, **headers: str) -> httpx.Response:
    headers = {**server.shopper.headers, "Prefer": "wait=30", **headers}
    return server.shopper.http.get(f"{URL}/{session_id}", headers=headers, timeout=40)


def waiting(server: Server) -> int:
    lines = server.shopper.http.get("/metrics").text.splitlines()
    (line,) = (line for line in lines if line.startswith("tryonai_long_polls "))
    return int(float(line.split()[1]))


def test_a_shopper_follows_a_session_to_its_end_without_asking_twice(serve: Serve) -> None:
    server = serve(mock_seconds=0.5).ready()
    session_id = server.shopper.submit()
    seen: list[str] = []
    etag, began = "", time.monotonic()

    while seen[-1:] != ["completed"]:
        answer = wait(server, session_id, **{"If-None-Match": etag})
        seen, etag = [*seen, answer.json()["status"]], answer.headers["ETag"]

    assert len(seen) <= 5, "waits, is worked on, is done; and perhaps progress in between"
    assert time.monotonic() - began < 5


def test_news_come_from_another_process(serve: Serve) -> None:
    front = serve(worker_concurrency=0).ready()
    session_id = front.shopper.submit()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(wait, front, session_id)
        wait_for(lambda: waiting(front))

        serve().ready()

        assert answer.result(10).json()["status"] in ("processing", "completed")


def test_who_hangs_up_is_forgotten_at_once(serve: Serve) -> None:
    server = serve(worker_concurrency=0).ready()
    session_id = server.shopper.submit()
    request = (
        f"GET {URL}/{session_id} HTTP/1.1\r\nHost: x\r\nX-User-Token: {TOKEN}\r\n"
        "Prefer: wait=30\r\n\r\n"
    )
    address = ("127.0.0.1", server.shopper.http.base_url.port or 0)

    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(closing(socket.create_connection(address)))
            connection.sendall(request.encode())
        wait_for(lambda: waiting(server) == 20)

    wait_for(lambda: waiting(server) == 0, within_s=5)
    assert "Traceback" not in server.text


def test_a_server_that_ends_answers_all_who_wait(serve: Serve) -> None:
    server = serve(worker_concurrency=0).ready()
    session_id = server.shopper.submit()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(wait, server, session_id) for _ in range(8)]
        wait_for(lambda: waiting(server) == 8)

        server.terminate()

        found = [answer.result(5) for answer in answers]
    assert {(one.status_code, one.json()["status"]) for one in found} == {(200, "created")}
    assert server.wait(within_s=3) == 0
    assert "Traceback" not in server.text
