"""From a session's expiry to the last byte of it gone, under load."""

from __future__ import annotations

import statistics
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2

from app.services import erasure
from bench import http, load, server
from bench.table import Figure, percentile
from tests.pictures import jpeg, photo

AT_MOST_S = 75.0
RETENTION_S = 60
CREATES_PER_S = 10.0
# Of the load's requests one in so many is a create: so the worker, too, has always something to do.
POLLS_A_CREATE = 30
LOOK_EVERY_S = 0.1
PATIENCE_S = RETENTION_S + 2 * AT_MOST_S


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """With the defaults, apart from a queue that takes whatever comes."""
    count = 30 if quick else 200
    picture = jpeg(photo(256, 320))
    with server.serving(folder, QUEUE_LIMIT=1_000_000) as running:
        client = http.Client(running.port)
        kept = client.create(picture)
        loading = _Load(running.port, kept["id"], picture)
        loading.start()
        due: dict[str, datetime] = {}
        for _ in range(count):
            session = client.create(picture, retention_seconds=str(RETENTION_S))
            due[session["id"]] = datetime.fromisoformat(session["expires_at"])
            time.sleep(1 / CREATES_PER_S)
        client.close()
        late = _watch(folder, due)
        loading.finish()
        _check_kept(running.port, kept["id"])
    return [
        Figure(
            name=f"from expiry to the last byte gone, worst of {count}",
            measured=max(late),
            unit="s",
            to_reach=f"≤ {AT_MOST_S:g} s",
            reached=max(late) <= AT_MOST_S,
            details={
                "what": f"row and folders of sessions of {RETENTION_S} s, looked for every "
                f"{LOOK_EVERY_S:g} s, beside polls and creates on 4 connections",
                "median, s": statistics.median(late),
                "p90, s": percentile(late, 0.9),
                "answers of the load, /s": loading.per_s,
            },
        )
    ]


class _Load(threading.Thread):
    """Polls and creates without a pause, until it is told to finish."""

    def __init__(self, port: int, session_id: str, picture: bytes) -> None:
        super().__init__(daemon=True)
        self._port = port
        poll = http.raw_get(f"{http.SESSIONS}/{session_id}")
        self._requests = [http.raw_create(picture), *[poll] * POLLS_A_CREATE]
        self._over = threading.Event()
        self._rates: list[float] = []

    @property
    def per_s(self) -> float:
        return statistics.median(self._rates)

    def run(self) -> None:
        while not self._over.is_set():
            done = load.run(self._port, self._requests, connections=4, seconds=5)
            self._rates.append(done.per_s)

    def finish(self) -> None:
        self._over.set()
        self.join()


def _watch(folder: Path, due: dict[str, datetime]) -> list[float]:
    """Seconds from each expiry to the look that found nothing of the session any more.

    Raises RuntimeError where something is left in the end.
    """
    left = dict(due)
    late: list[float] = []
    deadline = time.monotonic() + PATIENCE_S
    connection = psycopg2.connect(**server.database_address(folder))  # type: ignore[call-overload]
    connection.autocommit = True
    with connection.cursor() as cursor:
        while left:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(left)} sessions are not gone after {PATIENCE_S:g} s")
            rows = _rows(cursor, list(left))
            now = datetime.now(UTC)
            for session_id in [one for one in left if one not in rows]:
                if not _has_files(folder / "uploads", session_id):
                    late.append((now - left.pop(session_id)).total_seconds())
            time.sleep(LOOK_EVERY_S)
    connection.close()
    return late


def _rows(cursor: Any, ids: list[str]) -> set[str]:
    cursor.execute("SELECT id::text FROM tryon_sessions WHERE id = ANY(%s::uuid[])", (ids,))
    return {row[0] for row in cursor.fetchall()}


def _has_files(uploads: Path, session_id: str) -> bool:
    return any((uploads / top / session_id).exists() for top in (erasure.INPUTS, erasure.OUTPUTS))


def _check_kept(port: int, session_id: str) -> None:
    """What had longer to live is there."""
    client = http.Client(port)
    client.session(session_id)
    client.close()
