"""How many polls a second one server process answers."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import http, load, server
from bench.pictures import photo_200_kb
from bench.server import Server
from bench.table import Figure, ratio

AT_LEAST = 0.08
CONNECTIONS = 32


@dataclass
class _Series:
    """Rounds of one target."""

    per_s: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def add(self, running: Server, path: str, seconds: float) -> None:
        began = running.cpu_s()
        done = load.run(
            running.port, [http.raw_get(path)], connections=CONNECTIONS, seconds=seconds
        )
        self.cpu_ms.append(1000 * (running.cpu_s() - began) / done.count)
        self.per_s.append(done.per_s)
        self.p99_ms.append(done.p99_ms)


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    rounds, seconds = (3, 1.0) if quick else (5, 2.0)
    ours, floor, waiting = _Series(), _Series(), _Series()
    with (
        server.serving(folder / "working") as running,
        server.serving(folder / "waiting", WORKER_CONCURRENCY=0) as idle,
    ):
        path = f"{http.SESSIONS}/{completed(running)}"
        waiting_path = f"{http.SESSIONS}/{http.Client(idle.port).create(photo_200_kb())['id']}"
        _, body = http.Client(running.port).get(path)
        with server.bare(body) as bare:
            for target, where in ((running, path), (idle, waiting_path), (bare, "/")):
                _Series().add(target, where, 0.5)
            for _ in range(rounds):
                floor.add(bare, "/", seconds)
                ours.add(running, path, seconds)
                waiting.add(idle, waiting_path, seconds)
    found = ratio(ours.per_s, floor.per_s)
    return [
        Figure(
            name=f"poll of one server process, {CONNECTIONS} connections",
            measured=statistics.median(ours.per_s),
            unit="/s",
            floor=statistics.median(floor.per_s),
            floor_is="a bare FastAPI route that returns the same bytes",
            ratio=found,
            to_reach=f"≥ {AT_LEAST:g} × floor",
            reached=found >= AT_LEAST,
            details={
                "rounds, /s": ours.per_s,
                "floors, /s": floor.per_s,
                "CPU a poll, ms": statistics.median(ours.cpu_ms),
                "CPU of the floor, ms": statistics.median(floor.cpu_ms),
                "p99, ms": statistics.median(ours.p99_ms),
                "of a session that waits, /s": statistics.median(waiting.per_s),
                "of a session that waits, CPU ms": statistics.median(waiting.cpu_ms),
                "of a session that waits, ratio": ratio(waiting.per_s, floor.per_s),
            },
        )
    ]


def completed(running: Server, *, patience_s: float = 30) -> str:
    """The id of a session that has its picture."""
    client = http.Client(running.port)
    session_id = str(client.create(photo_200_kb())["id"])
    deadline = time.monotonic() + patience_s
    while client.session(session_id)["status"] != "completed":
        if time.monotonic() > deadline:
            raise RuntimeError("a session was not completed; see the log in the server's folder")
        time.sleep(0.01)
    client.close()
    return session_id
