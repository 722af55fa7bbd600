"""Polls from a real Redis: what is erased is gone from every process, whatever happens to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import checks, crud
from app.crud import Seen
from app.database import Db, engine_of, on_commit, open_db
from app.errors import SettingsError
from app.runtime import open_runtime
from app.services import erasure, sessions
from app.services.receipts import Reason
from app.services.session_cache import SessionCache
from app.services.storage import LocalStorage
from app.signing import Keyring
from tests.fixtures import SECRET, MakeSettings
from tests.flows.conftest import ISSUER, URL, Run, Serve, Server, Sql, wait_for
from tests.servers import Redis, free_port

pytestmark = pytest.mark.cluster

KEYS = Keyring([SECRET]).caching
SHORT_S = 0.3
OWNER = "0123456789abcdef" * 4

Caches = Callable[..., SessionCache]


@pytest.fixture
def caches() -> Iterator[Caches]:
    """One for each process that there is to be; believed from the start."""
    made: list[SessionCache] = []

    def make(url: str, keys: Any = KEYS, **times: float) -> SessionCache:
        cache = SessionCache(url, keys, **{"lease_s": SHORT_S, "keep_s": SHORT_S, **times})
        made.append(cache)
        cache.read([uuid4()])
        wait_for(lambda: not cache._is_newly_connected())
        return cache

    yield make
    for one in made:
        one.close()


@pytest.fixture
def telling(database_url: str) -> Iterator[Callable[[SessionCache], Db]]:
    """A database as a process with this cache has it."""
    made: list[Db] = []

    def make(cache: SessionCache) -> Db:
        db = open_db(database_url, pool_size=2)
        on_commit(db, cache.hear, settle=cache.settle)
        made.append(db)
        return db

    yield make
    for one in made:
        engine_of(one).dispose()


def add(db: Db, *, retention: timedelta = timedelta(hours=1)) -> UUID:
    new = crud.NewSession(
        id=uuid4(),
        owner=OWNER,
        engine="mock",
        options={"category": "tops", "mode": "fast", "seed": 1, "garment_id": "henley"},
        input_key="inputs/a/person.jpg",
        garment_key=None,
        retention=retention,
    )
    with db.begin() as tx:
        crud.add_session(tx, new, count_to=1)
    return new.id


def see(db: Db, session_id: UUID) -> dict[UUID, Seen]:
    with db() as tx:
        return crud.get_sessions(tx, [session_id])


def keep(cache: SessionCache, db: Db, session_id: UUID) -> None:
    """Have it in the cache."""
    cache.fill(cache.read([session_id]), see(db, session_id))
    assert cache.read([session_id]).found, "it is kept"


def kept_in(redis: Redis) -> list[str]:
    return [key for key in redis.keys() if "session" in key]  # noqa: SIM118 - no dictionary


def erase(db: Db, tmp_path: Path, session_id: UUID) -> float:
    """As DELETE does; how long it took, seconds."""
    began = time.monotonic()
    done = erasure.erase(db, LocalStorage(tmp_path), ISSUER, [session_id], reason=Reason.REQUEST)
    assert len(done) == 1
    return time.monotonic() - began


def test_a_kept_session_is_what_the_database_has(redis: Redis, caches: Caches, db: Db) -> None:
    ours, others = caches(redis.url), caches(redis.url)
    session_id = add(db)
    with db.begin() as tx:
        crud.claim(tx, worker="w", lease_s=9, engines=["mock"])
        crud.report(tx, session_id, attempt=1, lease_s=9, stage="warp", progress=0.5)

    keep(ours, db, session_id)

    read, kept = see(db, session_id)[session_id], others.read([session_id]).found[session_id]
    keyring = Keyring([SECRET])
    assert kept._replace(row=read.row, now=read.now) == read
    assert sessions.present(kept._replace(now=read.now), keyring) == sessions.present(read, keyring)
    assert sessions.allow(kept, owners=[OWNER]) is kept


def test_redis_learns_nothing(redis: Redis, caches: Caches, db: Db) -> None:
    session_id = add(db)
    keep(caches(redis.url), db, session_id)

    content = b"".join(redis.ask("GET", key) + key.encode() for key in kept_in(redis))

    assert content
    for told in (str(session_id), session_id.hex, OWNER, "mock", "henley", "created"):
        assert told.encode() not in content


def test_what_another_secret_or_version_has_written_is_not_there(
    redis: Redis, caches: Caches, db: Db
) -> None:
    stranger = caches(redis.url, Keyring(["another secret of this length"]).caching)
    ours = caches(redis.url)
    session_id = add(db)
    keep(ours, db, session_id)

    of_another_secret = stranger.read([session_id])
    for key in kept_in(redis):
        redis.ask("SET", key, "9and-something", "PX", "9000")
    of_another_version = ours.read([session_id])

    for asked in (of_another_secret, of_another_version):
        assert not asked.found
        assert not asked.leased


def test_an_entry_that_outlives_its_time_is_not_believed(
    redis: Redis, caches: Caches, db: Db
) -> None:
    """As one does where Redis's clock stands still, with the machine that it runs on."""
    cache = caches(redis.url)
    session_id = add(db)
    keep(cache, db, session_id)

    (key,) = kept_in(redis)
    redis.ask("PERSIST", key)

    wait_for(lambda: not cache.read([session_id]).found, within_s=5)
    assert kept_in(redis) == [key]


def test_without_a_redis_it_is_said_what_is_missing(make_settings: MakeSettings) -> None:
    with (
        pytest.raises(SettingsError, match="SESSION_CACHE=redis needs REDIS_URL"),
        open_runtime(make_settings(session_cache="redis")),
    ):
        pass


def test_doctor_tells_of_a_redis_that_saves(redis: Redis, make_settings: MakeSettings) -> None:
    settings = make_settings(session_cache="redis", redis_url=redis.url, secret_key=SECRET)
    with open_runtime(settings) as runtime:
        before = checks.examine_all(runtime)
        redis.ask("CONFIG", "SET", "appendonly", "yes")
        after = checks.examine_all(runtime)

    assert "cache" not in before
    assert "saves to disk" in (after["cache"].detail or "")


def test_what_is_final_or_ends_soon_is_not_kept(redis: Redis, caches: Caches, db: Db) -> None:
    cache = caches(redis.url)
    ends, final = add(db, retention=timedelta(seconds=cache.end_s - 0.1)), add(db)
    with db.begin() as tx:
        crud.claim(tx, worker="w", lease_s=9, engines=["mock"], only=final)
        crud.fail(tx, final, attempt=1, code="engine_error", reason="no")

    for session_id in (ends, final):
        cache.fill(cache.read([session_id]), see(db, session_id))

    assert not cache.read([ends, final]).found


def test_each_change_takes_what_was_kept_with_it(
    redis: Redis, caches: Caches, telling: Callable[[SessionCache], Db], db: Db
) -> None:
    ours, others = caches(redis.url), caches(redis.url)
    changing = telling(ours)
    session_id = add(db)

    def report(tx: Any) -> object:
        return crud.report(tx, session_id, attempt=1, lease_s=9, stage="warp", progress=0.5)

    changes: list[Callable[[Any], object]] = [
        lambda tx: crud.claim(tx, worker="w", lease_s=9, engines=["mock"]),
        report,
        lambda tx: crud.put_back(tx, session_id, attempt=1),
        lambda tx: crud.expire(tx, [session_id], reason=Reason.REQUEST),
    ]
    for change in changes:
        keep(others, db, session_id)

        with changing.begin() as tx:
            assert change(tx)

        asked = others.read([session_id])
        assert not asked.found
        assert asked.leased
        redis.empty()  # the next turn begins without this lease


def test_a_late_reader_brings_nothing_back(
    redis: Redis,
    caches: Caches,
    telling: Callable[[SessionCache], Db],
    db: Db,
    tmp_path: Path,
) -> None:
    ours, others = caches(redis.url), caches(redis.url)
    session_id = add(db)
    late = others.read([session_id])
    rows = see(db, session_id)

    took_s = erase(telling(ours), tmp_path, session_id)
    others.fill(late, rows)

    assert late.leased
    assert not others.read([session_id]).found
    assert took_s < ours.end_s, "Redis has confirmed it"


def test_a_redis_that_lost_its_memory_takes_nothing_from_late_readers(
    redis: Redis, caches: Caches, db: Db
) -> None:
    cache = caches(redis.url)
    session_id = add(db)
    late = cache.read([session_id])

    redis.empty()
    cache.fill(late, see(db, session_id))

    assert not cache.read([session_id]).found


def test_an_erasure_that_redis_does_not_confirm_waits_until_nothing_is_left(
    redis: Redis,
    caches: Caches,
    telling: Callable[[SessionCache], Db],
    db: Db,
    tmp_path: Path,
) -> None:
    """The eraser does not reach Redis, and the reader does: kept, and read late besides."""
    others = caches(redis.url)
    cut_off = SessionCache(
        f"redis://127.0.0.1:{free_port()}", KEYS, lease_s=SHORT_S, keep_s=SHORT_S
    )
    kept, late = add(db), add(db)
    keep(others, db, kept)
    asked, rows = others.read([late]), see(db, late)
    erasing = telling(cut_off)

    gone = threading.Thread(target=erase, args=(erasing, tmp_path, late))
    gone.start()
    wait_for(lambda: see(db, late)[late].expired)
    others.fill(asked, rows)
    assert others.read([late]).found, "the danger is real"
    gone.join()
    took_s = erase(erasing, tmp_path, kept)

    assert not others.read([kept, late]).found
    assert took_s >= cut_off.end_s
    cut_off.close()


def test_a_redis_that_is_restored_brings_nothing_back(
    redis: Redis,
    caches: Caches,
    telling: Callable[[SessionCache], Db],
    db: Db,
    tmp_path: Path,
) -> None:
    """From a file of before the erasure, while the entry still has time."""
    ours, others = caches(redis.url), caches(redis.url)
    for one in (ours, others):
        one._keep_ms = 20_000
    session_id = add(db)
    keep(others, db, session_id)
    redis.ask("SAVE")
    erase(telling(ours), tmp_path, session_id)
    assert not others.read([session_id]).found

    redis.kill()
    redis.start()

    assert kept_in(redis), "the danger is real"
    new = SessionCache(redis.url, KEYS, keep_s=SHORT_S)
    for one in (ours, others, new):
        assert not one.read([session_id]).found
        assert one._is_newly_connected()
    new.close()


class Poller:
    """Polls one server again and again; the last answer's status."""

    def __init__(self, server: Server, session_id: str) -> None:
        self._server = server
        self._id = session_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self.statuses: list[int] = []

    def _poll(self) -> None:
        while not self._over.is_set():
            self.statuses.append(self._server.shopper.get(self._id).status_code)

    def __enter__(self) -> Poller:
        self._thread.start()
        wait_for(lambda: self.statuses)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def counted(server: Server, outcome: str) -> float:
    text = server.shopper.http.get("/metrics").text
    name = f'tryonai_session_cache_total{{outcome="{outcome}"}} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if name in line)


def warm(server: Server) -> None:
    """Until it has been connected to Redis for long enough."""
    session_id = server.shopper.submit()

    def found() -> bool:
        assert server.shopper.get(session_id).status_code == 200
        return counted(server, "hit") > 0

    wait_for(found)


@pytest.fixture
def cached(redis: Redis) -> dict[str, Any]:
    return {"session_cache": "redis", "session_cache_seconds": 1, "redis_url": redis.url}


@pytest.fixture
def two(serve: Serve, cached: dict[str, Any]) -> list[Server]:
    made = [serve(worker_concurrency=0, **cached).ready() for _ in range(2)]
    for server in made:
        warm(server)
    return made


def test_what_one_server_has_erased_is_gone_from_the_other(two: list[Server]) -> None:
    for _ in range(10):
        session_id = two[0].shopper.submit()
        with Poller(two[1], session_id) as poller:
            wait_for(lambda: len(poller.statuses) > 5)
            assert two[0].shopper.delete(session_id).status_code == 204

            assert [one.shopper.get(session_id).status_code for one in two] == [404, 404]
        first_gone = next(i for i, status in enumerate(poller.statuses) if status != 200)
        assert 200 not in poller.statuses[first_gone:]


@pytest.mark.parametrize("how", ["frozen", "killed", "emptied"])
def test_so_it_is_while_redis_is_away(two: list[Server], redis: Redis, how: str) -> None:
    session_id = two[0].shopper.submit()
    with Poller(two[1], session_id) as poller:
        wait_for(lambda: len(poller.statuses) > 5)
        {"frozen": redis.freeze, "killed": redis.kill, "emptied": redis.empty}[how]()
        began = time.monotonic()
        assert two[0].shopper.delete(session_id).status_code == 204
        took_s = time.monotonic() - began
        {"frozen": redis.thaw, "killed": redis.start, "emptied": redis.empty}[how]()

        assert [one.shopper.get(session_id).status_code for one in two] == [404, 404]
    assert set(poller.statuses) <= {200, 410, 404}
    assert took_s < 5


def test_what_ended_by_itself_is_erased_without_a_wait(
    telling: Callable[[SessionCache], Db], tmp_path: Path
) -> None:
    """Nobody keeps a session for longer than it lives: a purge waits for no Redis."""
    cut_off = SessionCache(f"redis://127.0.0.1:{free_port()}", KEYS, lease_s=30, keep_s=30)
    db = telling(cut_off)

    took_s = erase(db, tmp_path, add(db, retention=timedelta(0)))

    assert took_s < 30
    cut_off.close()


MORE_THAN_THREADS = 45


def test_erasures_that_wait_for_redis_hold_no_threads(
    serve: Serve, redis: Redis, cached: dict[str, Any], sql: Sql
) -> None:
    """The framework has 40 for all requests: with one a wait, the last five would be late."""
    server = serve(worker_concurrency=0, **cached | {"session_cache_seconds": 5}).ready()
    ids = [server.shopper.submit() for _ in range(MORE_THAN_THREADS)]
    redis.kill()

    def count_hidden() -> bool:
        hidden = sql("SELECT count(*) FROM tryon_sessions WHERE erasing IS NOT NULL")[0][0]
        return bool(hidden == MORE_THAN_THREADS)

    with ThreadPoolExecutor(MORE_THAN_THREADS) as pool:
        erasing = [pool.submit(server.shopper.delete, one) for one in ids]
        wait_for(count_hidden)

        assert not any(one.done() for one in erasing), "all of them wait at once"
        assert server.shopper.get().json()["items"] == []
        assert {one.result().status_code for one in erasing} == {204}

    assert not sql("SELECT 1 FROM tryon_sessions")


def test_an_erasure_that_waits_for_redis_keeps_no_server_from_its_end(
    serve: Serve, redis: Redis, cached: dict[str, Any], sql: Sql
) -> None:
    server = serve(worker_concurrency=0, **cached | {"session_cache_seconds": 30}).ready()
    session_id = server.shopper.submit()
    redis.kill()

    with ThreadPoolExecutor(1) as pool:
        erasing = pool.submit(server.shopper.delete, session_id)
        wait_for(lambda: sql("SELECT 1 FROM tryon_sessions WHERE erasing IS NOT NULL"))
        server.terminate()
        answer = erasing.result()

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert server.wait() == 0
    assert "Traceback" not in server.text


def waits_long(server: Server, session_id: str) -> None:
    headers = server.shopper.headers | {"Prefer": "wait=20"}
    address = f"{URL}/{session_id}"
    while server.shopper.http.get(address, headers=headers).json()["status"] != "completed":
        pass


def test_who_was_told_the_end_is_not_told_by_a_poll_that_it_waits(
    serve: Serve, run: Run, cached: dict[str, Any]
) -> None:
    """By a long poll; the worker tells the cache nothing, as one that dies."""
    cached |= {"session_cache_seconds": 5}
    two = [serve(worker_concurrency=0, **cached).ready() for _ in range(2)]
    for server in two:
        warm(server)
    waited = two[0].shopper.submit()
    with (
        Poller(two[1], waited),  # so that it is kept, whenever the worker begins
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(waits_long, two[0], waited)
        run("worker", "--concurrency", "1", mock_seconds=0.3)
        waiting.result()
        assert two[1].shopper.see(waited)["status"] == "completed"


def test_polls_tell_each_change(serve: Serve, run: Run, cached: dict[str, Any]) -> None:
    server = serve(worker_concurrency=0, **cached).ready()
    warm(server)
    session_id = server.shopper.submit()
    run("worker", "--concurrency", "1", mock_seconds=1, **cached)
    seen: list[str] = []
    while not seen or seen[-1] not in ("completed", "failed"):
        status = server.shopper.see(session_id)["status"]
        if status not in seen[-1:]:
            seen.append(status)

    assert seen == ["created", "processing", "completed"]
