"""DELETE and purge against a job at work, at random moments: nothing may return or be left."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from app import crud
from app.database import Db, engine_of, open_db
from app.services import cleanup
from app.services.storage import LocalStorage
from bench import http, server
from bench.table import Figure
from tests.pictures import jpeg, photo

ROUNDS = 500
AT_ONCE = 4
# One job takes about this long from its create, so that all its steps are met.
WITHIN_S = 0.12
SETTINGS = {"WORKER_CONCURRENCY": 2, "MOCK_SECONDS": 0.02, "PURGE_INTERVAL_MINUTES": 60}


@dataclass
class _Race:
    """met: in which state the erasure found its session. returned: answered after it was erased."""

    port: int
    db: Db
    uploads: Path
    met: Counter[str] = field(default_factory=Counter)
    returned: list[str] = field(default_factory=list)

    def run(self, number: int) -> str:
        rng = random.Random(number)  # the moments are random, and the same every time
        client = http.Client(self.port)
        session_id = str(client.create(_PICTURE)["id"])
        time.sleep(rng.uniform(0, WITHIN_S))
        by_request = rng.random() < 0.5
        self.met[f"{'DELETE' if by_request else 'purge'} of {self._state(session_id)}"] += 1
        if by_request:
            client.delete(f"{http.SESSIONS}/{session_id}")
        else:
            self._purge(session_id)
        status, _ = client.get(f"{http.SESSIONS}/{session_id}")
        if status != 404:
            self.returned.append(session_id)
        client.close()
        return session_id

    def _state(self, session_id: str) -> str:
        with self.db() as tx:
            seen = crud.get_session(tx, UUID(session_id))
        return seen.row.status.value if seen else "nothing"

    def _purge(self, session_id: str) -> None:
        """Let its time be over, and purge; another round's purge may have taken it along."""
        expire = "UPDATE tryon_sessions SET expires_at = now() WHERE id = :id"
        with self.db.begin() as tx:
            tx.execute(text(expire), {"id": session_id})
        while self._state(session_id) != "nothing":
            if not cleanup.purge(self.db, LocalStorage(self.uploads), server.ISSUER).ran:
                time.sleep(0.002)  # one at a time


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    rounds = 60 if quick else ROUNDS
    uploads = folder / "uploads"
    with server.serving(folder, **SETTINGS) as running, _database(folder) as db:
        race = _Race(running.port, db, uploads)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ids = list(pool.map(race.run, range(rounds)))
        client = http.Client(running.port)
        back = [one for one in ids if client.get(f"{http.SESSIONS}/{one}")[0] != 404]
        with db() as tx:
            rows = tx.scalar(text("SELECT count(*) FROM tryon_sessions"))
    # A server that has ended has finished or thrown away whatever it was at.
    files = [file for file in uploads.rglob("*") if file.is_file()]
    bad = len({*race.returned, *back}) + int(rows or 0) + len(files)
    return [
        Figure(
            name=f"back or left after {rounds} erasures of sessions at work",
            measured=bad,
            unit=f"of {rounds}",
            to_reach="0",
            reached=bad == 0,
            details={
                "sessions that returned": len({*race.returned, *back}),
                "rows": rows,
                "files": len(files),
                **dict(sorted(race.met.items())),
            },
        )
    ]


@contextmanager
def _database(folder: Path) -> Iterator[Db]:
    address = server.database_address(folder)
    db = open_db(
        f"postgresql+psycopg2://{address['user']}@/{address['dbname']}"
        f"?host={address['host']}&port={address['port']}",
        pool_size=2 * AT_ONCE,  # a purge holds its lock on one of two
    )
    yield db
    engine_of(db).dispose()


_PICTURE = jpeg(photo(256, 320))
