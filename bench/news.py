"""News by NOTIFY and over Redis (docs/adr/0023): how late, and how many commits a second.

Needs `redis-server`: python -m bench.news
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2

from app import logs
from app.crud import News
from app.services.pubsub import PubSub
from bench import http, server
from bench.pictures import photo_200_kb
from bench.table import percentile

TURNS = 60
LANES = 8
RUN_S = 0.15
COMMITTING_S = 3.0
ROUNDS = 5


@contextmanager
def redis() -> Iterator[str]:
    """One that keeps nothing, and its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("this needs redis-server")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    process = subprocess.Popen(
        [program, "--port", port, "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


class Pair:
    """A server that only answers and one that works, on one database."""

    def __init__(self, stack: ExitStack, folder: Path, **settings: object) -> None:
        settings |= {"MOCK_SECONDS": RUN_S, "LEASE_SECONDS": 300}
        door = stack.enter_context(server.serving(folder, WORKER_CONCURRENCY=0, **settings))
        stack.enter_context(server.serving(folder, **settings))
        self.client = http.Client(door.port)
        self._waiting = HTTPConnection("127.0.0.1", door.port, timeout=60)
        self.started_ms: list[float] = []
        self.answered_ms: list[float] = []

    def turn(self, *, counts: bool = True) -> None:
        session_id = self.client.create(photo_200_kb())["id"]
        while (row := self._wait(session_id))["status"] != "completed":
            pass
        answered = datetime.now(UTC)
        row = self.client.session(session_id)
        created, started, finished = (
            datetime.fromisoformat(row[name])
            for name in ("created_at", "started_at", "finished_at")
        )
        if counts:
            self.started_ms.append(1000 * (started - created).total_seconds())
            self.answered_ms.append(1000 * (answered - finished).total_seconds())

    def _wait(self, session_id: str) -> dict[str, Any]:
        headers = {"X-User-Token": http.TOKEN, "Prefer": "wait=20"}
        self._waiting.request("GET", f"{http.SESSIONS}/{session_id}", headers=headers)
        found: dict[str, Any] = json.loads(self._waiting.getresponse().read())
        return found


def latencies(folder: Path, url: str) -> None:
    with ExitStack() as stack:
        pairs = {
            "NOTIFY": Pair(stack, folder / "a"),
            "Redis": Pair(stack, folder / "b", EVENTS="redis", REDIS_URL=url),
        }
        for pair in pairs.values():
            pair.turn(counts=False)  # its engine is loaded
        for _ in range(TURNS):
            for pair in pairs.values():
                pair.turn()
    for name, pair in pairs.items():
        for what, found in (("started", pair.started_ms), ("answered", pair.answered_ms)):
            print(
                f"{name:<8} {what:<9} median {statistics.median(found):6.1f} ms, "
                f"p90 {percentile(found, 0.9):6.1f} ms"
            )


def commits(folder: Path, url: str) -> None:
    """With one piece of news each, in turns."""
    notify = "SELECT pg_notify('tryonai', 'changed:' || gen_random_uuid())"
    pubsub = PubSub(url, name="bench", keys=[bytes(32)])

    def tell() -> None:
        pubsub.tell([(News.CHANGED, uuid4())])

    with server.serving(folder / "c", WORKER_CONCURRENCY=0):
        address = server.database_address(folder / "c")
        _ask(address, "CREATE TABLE bench_commits (n integer)")
        kinds: dict[str, tuple[str, Callable[[], None]]] = {
            "nobody": ("", lambda: None),
            "NOTIFY": (notify, lambda: None),
            "Redis": ("", tell),
        }
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(ROUNDS):
            for name, (statement, after) in kinds.items():
                found[name].append(_commits(address, statement, after))
    for name, rates in found.items():
        print(f"{name:<8} median {statistics.median(rates):6.0f} commits/s")
    pubsub.stop()


def _commits(address: Any, statement: str, after: Callable[[], None]) -> float:
    counts: list[int] = []
    until = time.monotonic() + COMMITTING_S
    threads = [
        threading.Thread(target=partial(_commit, address, statement, after, until, counts))
        for _ in range(LANES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / COMMITTING_S


def _commit(
    address: Any, statement: str, after: Callable[[], None], until: float, counts: list[int]
) -> None:
    with closing(psycopg2.connect(**address)) as connection:
        done = 0
        while time.monotonic() < until:
            connection.cursor().execute(f"INSERT INTO bench_commits VALUES (1); {statement}")
            connection.commit()
            after()
            done += 1
    counts.append(done)


def _ask(address: Any, statement: str) -> None:
    with closing(psycopg2.connect(**address)) as connection, connection:
        connection.cursor().execute(statement)


if __name__ == "__main__":
    server.check_settings()
    logs.configure(style="console", level="warning")
    with tempfile.TemporaryDirectory(prefix="tryonai-bench-") as folder, redis() as url:
        latencies(Path(folder), url)
        commits(Path(folder), url)
