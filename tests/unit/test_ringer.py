"""Rings for a broker: they keep nobody waiting, and one that is away is tried again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

import pytest

from app.services import broker
from app.services.broker import Ringer


class Redis:
    """A broker that may be away, or stand still."""

    def __init__(self) -> None:
        self.sent: list[tuple[UUID, str]] = []
        self.arrived = threading.Condition()
        self.away = False
        self.moves = threading.Event()
        self.moves.set()
        self.marked: set[UUID] = set()

    def send(self, session_id: UUID, engine: str) -> None:
        self.moves.wait()
        if self.away:
            raise ConnectionError
        with self.arrived:
            self.sent.append((session_id, engine))
            self.arrived.notify_all()

    def mark(self, session_ids: Sequence[UUID]) -> list[bool]:
        if self.away:
            raise ConnectionError
        new = [one not in self.marked for one in session_ids]
        self.marked.update(session_ids)
        return new

    def has(self, count: int) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.sent) >= count, timeout=5)


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def ringer(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ringer]:
    monkeypatch.setattr(broker, "RETRY_S", 0.02)
    ringer = Ringer(redis.send, redis.mark)
    ringer.start()
    yield ringer
    redis.moves.set()
    ringer.stop()


def test_a_ring_names_the_session_and_its_engine(ringer: Ringer, redis: Redis) -> None:
    session_id = uuid4()

    ringer.notify(session_id, engine="mock")

    assert redis.has(1)
    assert redis.sent == [(session_id, "mock")]


def test_nobody_waits_for_a_broker_that_stands_still(ringer: Ringer, redis: Redis) -> None:
    redis.moves.clear()

    for _ in range(100):  # would never return
        ringer.notify(uuid4(), engine="mock")
    redis.moves.set()

    assert redis.has(100)


def test_what_a_broker_that_is_away_did_not_take_is_sent_when_it_is_back(
    ringer: Ringer, redis: Redis
) -> None:
    redis.away = True
    ringer.notify(uuid4(), engine="mock")
    assert ringer.ring_again([(uuid4(), "mock")]) == 0
    redis.away = False

    assert redis.has(1)


def test_one_that_is_not_due_keeps_no_other_waiting(ringer: Ringer, redis: Redis) -> None:
    late, soon = uuid4(), uuid4()

    ringer.notify(late, engine="mock", after_s=0.2)
    ringer.notify(soon, engine="mock")

    assert redis.has(2)
    assert [session_id for session_id, _ in redis.sent] == [soon, late]


def test_a_session_is_rung_for_again_once_and_not_at_every_look(
    ringer: Ringer, redis: Redis
) -> None:
    waiting = [(uuid4(), "mock"), (uuid4(), "other")]

    assert ringer.ring_again(waiting) == 2
    assert ringer.ring_again([*waiting, (uuid4(), "mock")]) == 1

    assert redis.has(3)


def test_rings_beyond_a_number_are_dropped(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "MOST_RINGS", 2)
    ringer = Ringer(redis.send, redis.mark)
    for _ in range(5):
        ringer.notify(uuid4(), engine="mock")

    ringer.start()
    ringer.stop()

    assert len(redis.sent) == 2
