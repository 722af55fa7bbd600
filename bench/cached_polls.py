"""What a poll costs with `SESSION_CACHE=redis`, beside one that reads the database (docs/adr/0017).

Real servers, without a worker, on a Redis of their own. *Found* is a session that is kept at each
poll; *not found* one that is polled once, so that it is asked for, read, and kept for nobody.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench import http, load, server
from bench.pictures import photo_200_kb
from bench.post import database_cpu_s
from bench.server import Server
from bench.table import Figure

SESSIONS = 320
POLLS = 4000
CONNECTIONS = 32
EVERY_S = 2.0
"""Between two polls of a client that does not wait for a change."""


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    if shutil.which("redis-server") is None:
        print("cached_polls: redis-server is not installed", file=sys.stderr)
        return []
    polls = POLLS // 4 if quick else POLLS
    with _redis(folder) as (redis, url):
        on = {"SESSION_CACHE": "redis", "REDIS_URL": url}
        with (
            server.serving(folder / "off", WORKER_CONCURRENCY=0, QUEUE_LIMIT=10_000) as off,
            server.serving(folder / "on", WORKER_CONCURRENCY=0, QUEUE_LIMIT=10_000, **on) as cached,
        ):
            parts = {
                "reads the database": _Target(off, folder / "off", None),
                "is kept": _Target(cached, folder / "on", redis),
            }
            return [
                *_costs(parts, polls),
                _figure("a session polled every 2 s, found", 100 * _found(parts["is kept"]), "%"),
            ]


class _Target:
    """A server whose sessions wait. redis: what it keeps them in."""

    def __init__(self, running: Server, folder: Path, redis: psutil.Process | None) -> None:
        self.running = running
        self._folder = folder
        self._redis = redis
        client = http.Client(running.port)
        picture = photo_200_kb()
        ids = [client.create(picture)["id"] for _ in range(SESSIONS)]
        self.requests = [http.raw_get(f"{http.SESSIONS}/{one}") for one in ids]
        self.paths = [f"{http.SESSIONS}/{one}" for one in ids]

    def spent_ms(
        self, requests: Sequence[bytes], count: int, connections: int
    ) -> tuple[list[float], float]:
        """CPU a poll of the server, of the database and of Redis; and how long one took."""
        before = self._cpu()
        done = load.run(self.running.port, requests, count=count, connections=connections)
        spent = [
            1000 * (after - first) / count for after, first in zip(self._cpu(), before, strict=True)
        ]
        return spent, done.p50_ms

    def _cpu(self) -> list[float]:
        redis = 0.0
        if self._redis is not None:
            times = self._redis.cpu_times()
            redis = times.user + times.system
        return [self.running.cpu_s(), database_cpu_s(self._folder), redis]


def _costs(parts: dict[str, _Target], polls: int) -> list[Figure]:
    figures = []
    for name, target in parts.items():
        few = target.requests[:CONNECTIONS]
        target.spent_ms(few, polls // 4, CONNECTIONS)
        time.sleep(3)  # what a new connection brings is not believed before, see session_cache.py
        for connections in (1, CONNECTIONS):
            spent, took_ms = target.spent_ms(few[:connections], polls, connections)
            label = f"poll of a session that {name}, {connections} at once"
            figures.append(_figure(label, spent[0], "ms", spent=spent, took_ms=took_ms))
    target = parts["is kept"]
    time.sleep(6)  # until nothing of them is kept
    for connections in (1, CONNECTIONS):
        half = SESSIONS // 2
        once = target.requests[:half] if connections == 1 else target.requests[half:]
        spent, took_ms = target.spent_ms(once, half, connections)
        label = f"poll of a session that is not found, {connections} at once"
        figures.append(_figure(label, spent[0], "ms", spent=spent, took_ms=took_ms))
    return figures


def _found(target: _Target, sessions: int = 20, rounds: int = 8) -> float:
    """The share of polls that find a session, each of which is polled every 2 s by one client."""
    client = http.Client(target.running.port)
    time.sleep(6)
    before = _counted(client)
    began = time.monotonic()
    for turn in range(rounds * sessions):
        time.sleep(max(0.0, began + turn * EVERY_S / sessions - time.monotonic()))
        client.get(target.paths[turn % sessions])
    return (_counted(client) - before) / (rounds * sessions)


def _counted(client: http.Client) -> float:
    name = b'tryonai_session_cache_total{outcome="hit"} '
    _, text = client.get("/metrics")
    return sum(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))


def _figure(
    name: str,
    measured: float,
    unit: str,
    *,
    spent: Sequence[float] = (),
    took_ms: float | None = None,
) -> Figure:
    names = ("CPU of the server, ms", "CPU of the database, ms", "CPU of Redis, ms")
    details: dict[str, object] = dict(zip(names, spent, strict=False))
    if took_ms is not None:
        details["median, ms"] = took_ms
    return Figure(
        name=name, measured=measured, unit=unit, to_reach="", reached=True, details=details
    )


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        yield psutil.Process(process.pid), f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()
