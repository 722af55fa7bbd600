"""Whatever processes do at once, no poll finds what was erased, or what a change has replaced.

The database is a table here, so that a reader can be stopped between any two steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from app.crud import News, Seen
from app.models import TryOnSession
from app.services.session_cache import Asked, SessionCache
from app.signing import Keyring
from app.states import Status
from tests.fixtures import SECRET
from tests.flows.conftest import wait_for
from tests.servers import Redis, free_port

pytestmark = pytest.mark.cluster

KEYS = Keyring([SECRET]).caching
LEASE_S = KEEP_S = 0.05
PLACES = 1

places = st.integers(0, PLACES - 1)
near = st.integers(0, 1)
anybody = st.sampled_from([0, 0, 1, 1, 2])


@pytest.fixture
def processes(redis: Redis) -> Iterator[list[SessionCache]]:
    """Two that reach Redis, and a third that does not, but changes what the others have kept."""
    urls = [redis.url, redis.url, f"redis://127.0.0.1:{free_port()}"]
    made = [SessionCache(url, KEYS, lease_s=LEASE_S, keep_s=KEEP_S) for url in urls]
    yield made
    for one in made:
        one.close()


@dataclass
class Row:
    """version: None once erased. confirmed: no older one may be found any more."""

    id: UUID
    version: int | None = 0
    confirmed: int = 0
    gone: bool = False


@dataclass
class Reader:
    """One that has read, and not filled yet."""

    process: int
    asked: Asked
    rows: dict[UUID, Seen]


@dataclass
class Change:
    """One that is committed, and of which nobody is told yet."""

    process: int
    row: Row
    version: int | None


def seen(row: Row) -> dict[UUID, Seen]:
    if row.version is None:
        return {}
    now = datetime.now(UTC)
    found = TryOnSession(
        id=row.id,
        user_token="owner",
        status=Status.CREATED,
        engine="mock",
        options={"category": "tops", "mode": "fast", "seed": 1, "garment_id": None},
        attempts=row.version,
        delete_inputs_early=False,
        created_at=now,
        updated_at=now,
        expires_at=now + timedelta(hours=1),
    )
    return {row.id: Seen(found, now, 1)}


class Polling(RuleBasedStateMachine):
    redis: Redis
    processes: list[SessionCache]
    found = 0

    def __init__(self) -> None:
        super().__init__()
        self.rows = [Row(uuid4()) for _ in range(PLACES)]
        self.readers: list[Reader] = []
        self.changes: list[Change] = []
        for one in self.processes[:2]:  # whoever has connected anew is not told anything
            one.read([uuid4()])
            wait_for(lambda: not one._is_newly_connected())  # noqa: B023

    @rule(place=places, process=near)
    def ask(self, place: int, process: int) -> None:
        row = self.rows[place]
        asked = self.processes[process].read([row.id])
        if row.id in asked.found:
            type(self).found += 1
            assert not row.gone, "it was erased, and that was answered"
            assert asked.found[row.id].row.attempts >= row.confirmed
        else:
            self.readers.append(Reader(process, asked, seen(row)))

    @rule(place=places, process=near)
    def poll(self, place: int, process: int) -> None:
        """Without a stop between, and at the other one right after."""
        self.ask(place, process)
        if self.readers:
            self.fill(len(self.readers) - 1)
        self.ask(place, 1 - process)

    @rule(place=places)
    def create(self, place: int) -> None:
        self.rows[place] = Row(uuid4())

    @precondition(lambda self: self.readers)
    @rule(which=st.integers(min_value=0))
    def fill(self, which: int) -> None:
        reader = self.readers.pop(which % len(self.readers))
        self.processes[reader.process].fill(reader.asked, reader.rows)

    @rule(place=places, process=anybody)
    def change(self, place: int, process: int) -> None:
        row = self.rows[place]
        if row.version is not None:
            row.version += 1
            self.changes.append(Change(process, row, row.version))

    @rule(place=places, process=anybody)
    def erase(self, place: int, process: int) -> None:
        row = self.rows[place]
        if row.version is not None:
            row.version = None
            self.changes.append(Change(process, row, None))

    @precondition(lambda self: self.changes)
    @rule(which=st.integers(min_value=0))
    def tell(self, which: int) -> None:
        change = self.changes.pop(which % len(self.changes))
        process, row = self.processes[change.process], change.row
        if change.version is None:
            process.hear([(News.ERASED, row.id)])
            process.settle([row.id])
            row.gone = True
            return
        process.hear([(News.CHANGED, row.id)])
        if change.process == 2:
            time.sleep(process.end_s)  # what Redis does not confirm holds after this
        row.confirmed = max(row.confirmed, change.version)

    @rule()
    def forget(self) -> None:
        self.redis.empty()

    @rule()
    def pause(self) -> None:
        """For longer than a lease holds: entries end, and readers are late."""
        time.sleep(LEASE_S)


def test_no_poll_finds_what_was_erased_or_replaced(
    redis: Redis, processes: list[SessionCache]
) -> None:
    Polling.redis, Polling.processes = redis, processes

    run_state_machine_as_test(
        Polling,
        settings=settings(
            max_examples=100,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

    assert Polling.found > 20, "they did find what was kept"
