"""News between processes, over a socket whose path has a space (see the cluster of conftest)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app import crud
from app.database import Db, Told, on_commit
from app.services.events import Events


@pytest.fixture
def events(database_url: str) -> Iterator[Events]:
    events = Events(database_url, present="host:1:abcd")
    yield events
    events.stop()


def test_news_reach_who_asked_for_their_kind(events: Events, db: Db) -> None:
    heard: SimpleQueue[UUID] = SimpleQueue()
    session_id = uuid4()
    events.on(crud.News.CREATED, heard.put)
    events.start()
    assert events.connected.wait(10)

    with db.begin() as tx:
        crud.notify(tx, crud.News.ERASED, uuid4())
        crud.notify(tx, crud.News.CREATED, session_id)

    assert heard.get(timeout=10) == session_id
    assert heard.empty()


def test_a_lost_connection_comes_back_and_says_so(events: Events, db: Db) -> None:
    returns = threading.Semaphore(0)
    events.on_return(returns.release)
    events.start()
    assert returns.acquire(timeout=10)

    with db.begin() as tx:
        tx.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    assert returns.acquire(timeout=10)


def test_a_live_worker_is_counted_and_a_stopped_one_is_not(database_url: str, db: Db) -> None:
    events = Events(database_url, present="host:1:abcd")
    events.start()
    assert events.connected.wait(10)
    with db() as tx:
        assert crud.worker_names(tx) == ["host:1:abcd"]

    events.stop()

    # The server notices in its own time that somebody has hung up.
    tick, latest = threading.Event(), time.monotonic() + 10
    with db() as tx:
        while crud.worker_names(tx) and time.monotonic() < latest:
            tick.wait(0.01)
        assert not crud.worker_names(tx)


def test_who_only_answers_is_no_worker(database_url: str, db: Db) -> None:
    events = Events(database_url, present=None)
    events.start()
    assert events.connected.wait(10)

    with db() as tx:
        assert not crud.worker_names(tx)

    events.stop()


def test_a_process_that_ends_does_not_wait_for_a_database_that_is_slow_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.services.events.RETRY_S", 0)
    monkeypatch.setattr("app.services.events.PATIENCE_S", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def revive() -> None:
        begun.set()
        go_on.wait(30)

    events = Events("postgresql+psycopg2://localhost:1/nothing", present=None, revive=revive)
    events.start()
    assert begun.wait(10)

    events.stop()

    assert not go_on.is_set()
    go_on.set()
    events.stop()


def test_a_commit_tells_who_hears_it_and_no_rollback_does(database_url: str, db: Db) -> None:
    heard: list[Told] = []
    heard_too: list[Told] = []
    on_commit(db, heard.extend)
    on_commit(db, heard_too.extend)
    first, second, third = uuid4(), uuid4(), uuid4()

    with db.begin() as tx:
        crud.notify(tx, crud.News.CHANGED, first)
        crud.notify_all(tx, crud.News.ERASED, [second, third])
        assert not heard
    with suppress(ZeroDivisionError), db.begin() as tx:
        crud.notify(tx, crud.News.CHANGED, first)
        raise ZeroDivisionError

    assert heard == [("changed", first), ("erased", second), ("erased", third)]
    assert heard_too == heard
