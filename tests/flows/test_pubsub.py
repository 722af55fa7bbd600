"""News between processes over Redis, where nobody listens to PostgreSQL (docs/adr/0023)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.crud import CHANNEL, News
from app.database import Db, engine_of
from app.errors import SettingsError
from app.runtime import open_runtime
from app.services.leader import LOCK
from app.services.pubsub import ALIVE_S, Envelopes
from tests.fixtures import MakeSettings
from tests.flows.conftest import PHOTO, URL, Knocking, Run, Serve, Shopper, Sql, wait_for
from tests.servers import PgBouncer, Redis

# Longer than a test may take: who hears nothing would not look by himself.
LEASE_S = 300
STALL_S = 0.3
SESSIONS = 60

cluster = pytest.mark.cluster


def test_a_message_tells_all_of_it_to_who_has_a_key_and_nothing_to_others() -> None:
    told = [(str(kind), uuid4()) for kind in News]
    sender = Envelopes([b"1" * 32])
    message = sender.seal(told)

    assert list(Envelopes([b"2" * 32, b"1" * 32]).open(message)) == told
    assert not list(Envelopes([b"2" * 32]).open(message))
    assert not list(sender.open(message)), "who told it knows"
    assert message != sender.seal(told)
    assert not [one for _, one in told if one.bytes in message or str(one).encode() in message]
    assert not list(sender.open(b"somebody else's"))


def test_without_a_redis_it_is_said_what_is_missing(make_settings: MakeSettings) -> None:
    with (
        pytest.raises(SettingsError, match="EVENTS=redis needs REDIS_URL"),
        open_runtime(make_settings(events="redis")),
    ):
        pass


@pytest.fixture
def settings(redis: Redis) -> dict[str, Any]:
    return {"events": "redis", "redis_url": redis.url, "lease_seconds": LEASE_S}


def is_worker(state: str, shopper: Shopper) -> Callable[[], bool]:
    return lambda: shopper.health().json()["parts"]["worker"]["status"] == state


def wait_long(shopper: Shopper, session_id: str) -> dict[str, Any]:
    """What long polls bring, the last one with a final state."""
    headers = shopper.headers | {"Prefer": "wait=20"}
    while True:
        answer = shopper.http.get(f"{URL}/{session_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        if seen["status"] in ("completed", "failed"):
            return seen


@cluster
def test_a_worker_hears_of_a_session_and_a_third_server_of_its_end(
    serve: Serve, run: Run, settings: dict[str, Any], sql: Sql
) -> None:
    doors = [serve(worker_concurrency=0, **settings) for _ in range(2)]
    first, second = [door.ready().shopper for door in doors]
    run("worker", mock_seconds=0.5, **settings)
    wait_for(is_worker("ok", first))
    first.wait(first.submit(), "completed")  # now its engine is loaded

    began = time.monotonic()
    seen = wait_long(second, first.submit())

    # By itself the worker looks after a hundred seconds, and who waits is compared after three.
    assert time.monotonic() - began < 2.5
    assert seen["status"] == "completed"
    assert not sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    assert not sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 727001")


@cluster
def test_what_one_server_erases_another_stops_to_work_on(
    serve: Serve, settings: dict[str, Any]
) -> None:
    door = serve(worker_concurrency=0, **settings)
    works = serve(mock_faults="1:hang", **settings)
    first, second = door.ready().shopper, works.ready().shopper
    session_id, following = second.submit(seed=1), second.submit(seed=1)
    wait_for(lambda: first.see(session_id)["stage"] == "garment")

    assert first.delete(session_id).status_code == 204

    first.wait(following, "processing", within_s=3)
    assert "outcome=cancelled" in works.text


@cluster
def test_no_change_notifies(serve: Serve, settings: dict[str, Any], db: Db) -> None:
    with closing(engine_of(db).raw_connection()) as pooled:
        listening: Any = pooled.driver_connection
        listening.autocommit = True
        cursor = listening.cursor()
        cursor.execute(f"LISTEN {CHANNEL}")
        door = serve(**settings).ready().shopper
        session_id = door.submit()
        door.wait(session_id, "completed")
        assert door.delete(session_id).status_code == 204

        cursor.execute(f"NOTIFY {CHANNEL}, 'the end'")
        listening.poll()

        assert [one.payload for one in listening.notifies] == ["the end"]


@cluster
def test_a_worker_counts_for_as_long_as_it_lives(
    serve: Serve, run: Run, redis: Redis, settings: dict[str, Any]
) -> None:
    door = serve(worker_concurrency=0, **settings).ready().shopper
    two = [run("worker", **settings) for _ in range(2)]

    def counted() -> str | None:
        lines = door.http.get("/metrics").text.splitlines()
        return next((one.split()[1] for one in lines if one.startswith("tryonai_workers ")), None)

    wait_for(lambda: counted() == "2.0")
    two[0].terminate()
    wait_for(lambda: counted() == "1.0", within_s=ALIVE_S / 2)
    two[1].kill()
    wait_for(is_worker("degraded", door), within_s=ALIVE_S + 5)

    redis.kill()

    part = door.health().json()["parts"]["worker"]
    assert part == {"status": "degraded", "detail": part["detail"]}
    assert "without Redis" in part["detail"]
    assert counted() is None


@cluster
@pytest.mark.timeout(300)
def test_whatever_redis_does_all_sessions_end_and_nobody_waits_for_it(
    serve: Serve, run: Run, redis: Redis, settings: dict[str, Any]
) -> None:
    settings |= {"lease_seconds": 3, "queue_limit": 1000}
    doors = [serve(worker_concurrency=0, **settings).ready() for _ in range(2)]
    for _ in range(2):
        run("worker", mock_seconds=0.05, **settings)
    first, second = [door.shopper for door in doors]
    wait_for(is_worker("ok", first))
    steps = {10: redis.kill, 20: redis.start, 30: redis.freeze, 45: redis.thaw}
    with Knocking(doors[0]) as floor:
        first.wait(first.submit(), "completed")
    ids = []

    with Knocking(doors[0]) as knocking:
        for number in range(SESSIONS):
            steps.get(number, lambda: None)()
            ids.append(first.submit())
            if number % 5 == 0:
                assert second.see(ids[-1])["status"] != "failed"
        ended = [wait_long(second, session_id)["status"] for session_id in ids]

    assert ended == ["completed"] * SESSIONS
    assert knocking.longest_s <= STALL_S + floor.longest_s
    assert doors[0].text.count("news.away") <= 4, "once an outage and thread"
    assert "dropped" in first.http.get("/metrics").text
    print(f"loop {knocking.longest_s:.3f} s ({floor.longest_s:.3f} before)")  # noqa: T201


@pytest.fixture
def pooler(database_url: str, tmp_path: Path) -> Iterator[PgBouncer]:
    tmp_path.chmod(0o711)
    server = PgBouncer(tmp_path, database_url)
    yield server
    server.close()


@cluster
def test_all_of_it_works_behind_a_pooler_of_transactions(
    serve: Serve, run: Run, pooler: PgBouncer, settings: dict[str, Any], sql: Sql
) -> None:
    settings |= {"database_url": pooler.url}
    doors = [serve(worker_concurrency=0, **settings) for _ in range(2)]
    first, second = [door.ready().shopper for door in doors]
    worker = run("worker", mock_seconds=0.2, **settings)
    wait_for(is_worker("ok", first))

    ids = [first.submit() for _ in range(10)]
    assert [wait_long(second, one)["status"] for one in ids] == ["completed"] * 10
    key = {"Idempotency-Key": str(uuid4())}
    form: dict[str, Any] = {"data": {"user_token": first.token}}
    made = [
        one.http.post(URL, files={"person_image": ("me.jpg", PHOTO)}, headers=key, **form)
        for one in (first, second, first)
    ]
    assert len({one.json()["id"] for one in made}) == 1
    assert first.delete(ids[0]).status_code == 204
    assert second.get(ids[0]).status_code == 404
    sql("UPDATE tryon_sessions SET expires_at = now()")
    for _ in range(2):
        purging = run("purge", **settings)
        assert purging.wait() == 0, purging.text
    assert sql("SELECT count(*) FROM tryon_sessions")[0][0] == 0

    worker.kill()
    left = sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid <> :led", led=LOCK)
    assert not left, "what a process locks nobody else's transaction inherits"
