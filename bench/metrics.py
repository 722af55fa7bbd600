"""What a scrape costs with a million sessions, as many waiting as are counted, and webhooks."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from pathlib import Path

import psycopg2

from app.crud import COUNT_TO
from bench import http, rows, server
from bench.server import Server
from bench.table import Figure, ratio

AT_MOST_MS = 20.0
WAIT = "UPDATE tryon_sessions SET status = 'created', lease_until = NULL WHERE id IN (SELECT id"
WAIT += " FROM tryon_sessions WHERE expires_at > now() + interval '1 hour' LIMIT %s)"
WEBHOOKS = "INSERT INTO webhook_deliveries (id, session_id) SELECT gen_random_uuid(), id"
WEBHOOKS += " FROM tryon_sessions WHERE status <> 'created' LIMIT %s"


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    many = 100_000 if quick else 1_000_000
    with (
        server.serving(folder / "few", WORKER_CONCURRENCY=0) as small,
        server.serving(folder / "many", WORKER_CONCURRENCY=0) as large,
    ):
        rows.fill(folder / "few", rows.FEW)
        rows.fill(folder / "many", many)
        usual = _scrapes(large)
        with closing(psycopg2.connect(**server.database_address(folder / "many"))) as connection:  # type: ignore[call-overload]
            connection.autocommit = True
            cursor = connection.cursor()
            for statement in (WAIT, WEBHOOKS):
                cursor.execute(statement, (2 * COUNT_TO,))
        worst = _scrapes(large)
        floor = _scrapes(small)
    found = statistics.median(worst)
    return [
        Figure(
            name=f"`/metrics` with {many:,} sessions, {2 * COUNT_TO:,} of them waiting",
            measured=found,
            unit="ms",
            floor=statistics.median(floor),
            floor_is=f"the same with {rows.FEW:,} sessions",
            ratio=ratio(worst, floor),
            to_reach=f"≤ {AT_MOST_MS:g} ms",
            reached=found <= AT_MOST_MS,
            details={
                f"with {rows.WAITING} waiting, ms": statistics.median(usual),
                "slowest, ms": max(worst),
            },
        )
    ]


def _scrapes(running: Server, count: int = 60) -> list[float]:
    client = http.Client(running.port)
    for _ in range(5):
        client.get("/metrics")
    found = []
    for _ in range(count):
        began = time.perf_counter()
        status, _ = client.get("/metrics")
        found.append(1000 * (time.perf_counter() - began))
        assert status == 200
    client.close()
    return found
