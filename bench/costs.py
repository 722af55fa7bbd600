"""What one session costs each part, as `scripts/capacity.py` wants it: CPU, commits, bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from bench import http, load, server
from bench.pictures import photo_200_kb
from bench.post import database_cpu_s
from bench.server import Server
from bench.table import Figure

SESSIONS = 150
CONNECTIONS = 32  # polls that come together share reads, as they do on a busy server
LANES = 8
PATIENCE_S = 120.0


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    sessions = SESSIONS // 3 if quick else SESSIONS
    request = http.raw_create(photo_200_kb())
    with server.serving(folder / "a", WORKER_CONCURRENCY=0, QUEUE_LIMIT=1_000_000) as idle:
        create = _spent(idle, folder / "a", lambda: load.run(idle.port, [request], count=sessions))
        session_id = http.Client(idle.port).create(photo_200_kb())["id"]
        get = [http.raw_get(f"{http.SESSIONS}/{session_id}")]
        polls = 20 * sessions
        many: dict[str, Any] = {"count": polls, "connections": CONNECTIONS}
        poll = _spent(idle, folder / "a", lambda: load.run(idle.port, get, **many))
        notified, plain = _commits(folder / "a", "NOTIFY tryonai, 'x'"), _commits(folder / "a", "")
    with server.serving(folder / "b", QUEUE_LIMIT=1_000_000) as working:

        def make() -> None:
            load.run(working.port, [request], count=sessions)
            _drained(folder / "b", sessions)

        both = _spent(working, folder / "b", make)
        row_bytes = _row_bytes(folder / "b")
        _ask(folder / "b", "UPDATE tryon_sessions SET expires_at = now()")
        purge = _spent(working, folder / "b", lambda: _drained(folder / "b", 0, gone=True))
    parts = {
        "create": [one / sessions for one in create],
        "poll": [one / polls for one in poll],
        "job, beside the engine": [
            (one - other) / sessions for one, other in zip(both, create, strict=True)
        ],
        "purge": [one / sessions for one in purge],
    }
    figures = [
        Figure(
            name=f"CPU of a {name}, server",
            measured=1000 * ours,
            unit="ms",
            to_reach="",
            reached=True,
            details={"CPU of the database, ms": 1000 * behind},
        )
        for name, (ours, behind) in parts.items()
    ]
    lanes = Figure(
        name=f"commits with NOTIFY, {LANES} connections",
        measured=notified,
        unit="/s",
        floor=plain,
        floor_is="the same without",
        ratio=notified / plain,
        to_reach="",
        reached=True,
        details={"bytes of a row, with indexes": row_bytes},
    )
    return [*figures, lanes]


def _spent(running: Server, folder: Path, step: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU of the server and of its database."""
    ours, behind = running.cpu_s(), database_cpu_s(folder)
    step()
    return running.cpu_s() - ours, database_cpu_s(folder) - behind


def _ask(folder: Path, statement: str) -> list[tuple[float, ...]]:
    with closing(psycopg2.connect(**server.database_address(folder))) as connection:  # type: ignore[call-overload]
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def _drained(folder: Path, count: int, *, gone: bool = False) -> None:
    what = "count(*)" if gone else "count(*) FILTER (WHERE status IN ('completed', 'failed'))"
    deadline = time.monotonic() + PATIENCE_S
    while _ask(folder, f"SELECT {what} FROM tryon_sessions")[0][0] != count:
        if time.monotonic() > deadline:
            raise RuntimeError("the worker or the purge did not come to an end")
        time.sleep(0.2)


def _row_bytes(folder: Path) -> float:
    """Of a row with its share of the indexes."""
    _ask(folder, "VACUUM FULL tryon_sessions")
    ((size,),) = _ask(
        folder, "SELECT pg_total_relation_size('tryon_sessions') / count(*) FROM tryon_sessions"
    )
    return float(size)


def _commits(folder: Path, statement: str, seconds: float = 3.0) -> float:
    """A second, on several connections, each of which also writes something to be flushed."""
    _ask(folder, "CREATE TABLE IF NOT EXISTS bench_commits (n integer)")
    counts: list[int] = []
    until = time.monotonic() + seconds

    def commit() -> None:
        with closing(psycopg2.connect(**server.database_address(folder))) as connection:  # type: ignore[call-overload]
            done = 0
            while time.monotonic() < until:
                cursor = connection.cursor()
                cursor.execute(f"INSERT INTO bench_commits VALUES (1); {statement}")
                connection.commit()
                done += 1
            counts.append(done)

    threads = [threading.Thread(target=commit) for _ in range(LANES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds
