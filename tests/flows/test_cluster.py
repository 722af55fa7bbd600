"""The whole cluster on loopback, while one part after another is killed.

PostgreSQL, Redis and an S3 server of this test's own, two servers, three of Celery's workers.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from sqlalchemy import text

from app.database import Db, engine_of, migrate, open_db
from app.postgres import EmbeddedPostgres
from app.services import cleanup
from app.services.objects import ObjectStorage
from tests import seaweed
from tests.flows.conftest import ISSUER, PHOTO, URL, Program, Run, Server, wait_for
from tests.seaweed import SeaweedFS
from tests.servers import Redis

pytestmark = pytest.mark.cluster

SESSIONS = 300
RUN_S = 0.3
LEASE_S = 5
TAKEN_OVER_S = LEASE_S + 10
TOKEN = {"user_token": "visitor-of-the-cluster"}


class Cluster:
    """servers, workers: those that are to run now; who is killed is replaced."""

    def __init__(
        self, run: Run, settings: dict[str, Any], postgres: EmbeddedPostgres, folder: Path
    ) -> None:
        self._run = run
        self._settings = settings
        self._postgres = postgres
        self._folder = folder
        self.programs: list[Program] = []
        self.servers: list[Server] = []
        self.workers: list[Program] = []

    def add_server(self) -> None:
        server = self._start("serve", "--port", "0", worker_concurrency=0)
        assert isinstance(server, Server)
        self.servers.append(server.ready())

    def add_worker(self) -> None:
        self.workers.append(self._start("worker", "--concurrency", "1"))

    def _start(self, *arguments: str, **settings: object) -> Program:
        program = self._run(*arguments, **{**self._settings, **settings})
        self.programs.append(program)
        return program

    def restart_postgres(self) -> None:
        file = next(self._folder.rglob("postmaster.pid"))
        os.kill(int(file.read_text().splitlines()[0]), signal.SIGQUIT)
        self._postgres.start()

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [line for program in self.programs for line in program.text.splitlines()]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line.get("event") == event]


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedPostgres, Path]]:
    folder = tmp_path_factory.mktemp("pg")
    for one in (folder, folder.parent):
        one.chmod(0o711)
    with EmbeddedPostgres(folder) as server:
        yield server, folder


@pytest.fixture
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweed.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def own_db(postgres: tuple[EmbeddedPostgres, Path]) -> Iterator[Db]:
    db = open_db(postgres[0].url, pool_size=2)
    migrate(db)
    yield db
    engine_of(db).dispose()


@pytest.fixture
def whole(
    run: Run,
    redis: Redis,
    s3: SeaweedFS,
    postgres: tuple[EmbeddedPostgres, Path],
    own_db: Db,
) -> Cluster:
    settings = {
        "database_url": postgres[0].url,
        "database_pool_size": 4,
        "task_queue": "celery",
        "session_cache": "redis",
        "redis_url": redis.url,
        "lease_seconds": LEASE_S,
        "mock_seconds": RUN_S,
        "max_attempts": 10,
        "log_format": "json",
        **s3.environment(),
    }
    cluster = Cluster(run, settings, *postgres)
    for _ in range(2):
        cluster.add_server()
    return cluster


class Client:
    """Makes one session, however often it has to ask: a key makes each of them one."""

    def __init__(self, whole: Cluster) -> None:
        self._cluster = whole
        self._http = httpx.Client(timeout=10)

    def submit(self) -> str:
        key = {"Idempotency-Key": str(uuid4())}

        def asked() -> str | None:
            server = self._cluster.servers[-1 if uuid4().int % 2 else 0]
            files = {"person_image": ("me.jpg", PHOTO, "image/jpeg")}
            try:
                address = server.shopper.http.base_url.join(URL)
                answer = self._http.post(address, files=files, data=TOKEN, headers=key)
            except httpx.HTTPError:
                return None
            assert answer.status_code in (200, 201, 409, 503), answer.text
            return str(answer.json()["id"]) if answer.status_code < 300 else None

        return wait_for(asked, within_s=60)

    def close(self) -> None:
        self._http.close()


def submit_all(whole: Cluster, count: int) -> Callable[[], list[str]]:
    """In a thread; the answer waits for it."""
    ids: list[str] = []

    def submit() -> None:
        client = Client(whole)
        ids.extend(client.submit() for _ in range(count))
        client.close()

    thread = threading.Thread(target=submit, daemon=True)
    thread.start()

    def joined() -> list[str]:
        thread.join()
        return ids

    return joined


def states(db: Db) -> Counter[str]:
    with db() as tx:
        rows = tx.execute(
            text("SELECT status::text, count(*) AS number FROM tryon_sessions GROUP BY 1")
        )
        return Counter({row.status: row.number for row in rows})


def final(db: Db) -> int:
    found = states(db)
    return found["completed"] + found["failed"]


def kill_one_after_another(whole: Cluster, redis: Redis, s3: SeaweedFS, db: Db) -> None:
    """Each when the one before is made up for: sessions end again."""

    def kill_worker() -> None:
        whole.workers.pop(0).kill()
        whole.add_worker()

    def kill_child() -> None:
        psutil.Process(whole.workers[0].pid).children()[0].kill()

    def kill_server() -> None:
        whole.add_server()
        whole.servers.pop(0).kill()

    def restart(server: Redis | SeaweedFS) -> None:
        server.kill()
        server.start()

    def postgres() -> None:
        engine_of(db).dispose()
        whole.restart_postgres()

    steps: list[Callable[[], object]] = [
        kill_worker,
        kill_server,
        kill_child,
        lambda: restart(redis),
        lambda: restart(s3),
        postgres,
        kill_worker,
        lambda: restart(redis),
    ]
    for step in steps:
        done = final(db)
        assert done < SESSIONS, "all was done before all was killed"
        step()
        wait_for(lambda: final(db) > min(done + 5, SESSIONS - 1), within_s=90)  # noqa: B023


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_done_twice_while_everything_is_killed(
    whole: Cluster, redis: Redis, s3: SeaweedFS, own_db: Db
) -> None:
    for _ in range(3):
        whole.add_worker()
    began = time.monotonic()
    submitted = submit_all(whole, SESSIONS)
    wait_for(lambda: final(own_db) >= 5, within_s=60)

    kill_one_after_another(whole, redis, s3, own_db)
    ids = submitted()
    wait_for(lambda: final(own_db) == SESSIONS, within_s=180)
    took_s = time.monotonic() - began

    with own_db() as tx:
        rows = tx.execute(text("SELECT id::text, status::text, error_code FROM tryon_sessions"))
        found = {row.id: row for row in rows}
    assert set(found) == set(ids)
    assert not [row for row in found.values() if row.status == "failed" and not row.error_code]
    completed = Counter(line["session_id"] for line in whole.logged("session.completed"))
    assert not [one for one, times in completed.items() if times > 1]

    storage = ObjectStorage(f"s3://{seaweed.BUCKET}", s3.access)
    swept = cleanup.sweep(own_db, storage, ISSUER, age=timedelta(0))
    assert swept.failed == swept.rows == 0
    server = whole.servers[-1]
    assert server.shopper.http.delete(URL, headers={"X-User-Token": TOKEN["user_token"]}).is_success
    wait_for(lambda: states(own_db).total() == 0)
    left = [one for prefix in ("inputs", "outputs") for one in storage.objects(prefix)]
    assert left == []
    print(  # noqa: T201
        f"{took_s:.0f} s; {Counter(row.status for row in found.values())}; "
        f"{len(whole.logged('session.lost'))} taken over, {swept.files} orphans swept"
    )


def test_a_session_is_taken_over_soon_after_its_worker_died(whole: Cluster, own_db: Db) -> None:
    whole.add_worker()
    taken: list[float] = []
    for _ in range(3):
        client = Client(whole)
        session_id = client.submit()
        client.close()
        wait_for(lambda: states(own_db)["processing"] or final(own_db) > len(taken), within_s=30)
        whole.workers.pop().kill()
        died = time.monotonic()
        whole.add_worker()
        wait_for(lambda: final(own_db) == len(taken) + 1, within_s=60)
        taken.append(time.monotonic() - died)
        assert session_id

    assert max(taken) <= TAKEN_OVER_S + RUN_S
    print(f"taken over and completed after {[round(one, 1) for one in taken]} s")  # noqa: T201


def test_an_idle_worker_starts_at_once(whole: Cluster, own_db: Db) -> None:
    whole.add_worker()
    client = Client(whole)
    for count in range(1, 21):
        client.submit()
        wait_for(lambda: final(own_db) == count, within_s=30)  # noqa: B023
    client.close()

    with own_db() as tx:
        waits = tx.scalars(
            text(
                "SELECT extract(epoch FROM started_at - created_at) * 1000 FROM tryon_sessions"
                " ORDER BY created_at OFFSET 3"
            )
        )
        median_ms = statistics.median(map(float, waits))
    print(f"created to started: {median_ms:.1f} ms")  # noqa: T201
    assert median_ms <= 25


def test_throughput_grows_with_the_workers(whole: Cluster, own_db: Db) -> None:
    whole._settings["mock_seconds"] = 1
    rates = {}
    before = 0
    for workers in (1, 2, 4):
        while len(whole.workers) < workers:
            whole.add_worker()
        client = Client(whole)
        for _ in range(2 * workers):  # until each has loaded its engine
            client.submit()
        before += 2 * workers
        wait_for(lambda: final(own_db) == before, within_s=60)  # noqa: B023
        for _ in range(8 * workers):
            client.submit()
        client.close()
        before += 8 * workers
        wait_for(lambda: final(own_db) == before, within_s=120)  # noqa: B023
        rates[workers] = _rate(own_db, 8 * workers)

    shown = {workers: round(rate, 2) for workers, rate in rates.items()}
    print(f"sessions a second by workers: {shown}")  # noqa: T201
    assert rates[2] >= 0.9 * 2 * rates[1]
    assert rates[4] >= 0.9 * 4 * rates[1]


def _rate(db: Db, count: int) -> float:
    """Of the last ones, from the first start to the last end."""
    with db() as tx:
        began, ended = tx.execute(
            text(
                "SELECT min(started_at), max(finished_at) FROM (SELECT * FROM tryon_sessions"
                " ORDER BY created_at DESC LIMIT :count) AS last"
            ),
            {"count": count},
        ).one()
    assert isinstance(began, datetime)
    return count / float((ended - began).total_seconds())
