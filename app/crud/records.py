"""What goes into the queries and comes out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple
from uuid import UUID

from app.models import TryOnSession
from app.states import Status

POSITION_LIMIT = 1000
"""A queue position beyond this is not counted."""

COUNT_TO = 10_000
"""What waits, is in work or is to be delivered is counted so far: a count costs what it counts."""

Wrapped = Literal["wrapped_key", "webhook_url"]
WRAPPED: tuple[Wrapped, ...] = ("wrapped_key", "webhook_url")
"""The columns that are sealed under a key derived from SECRET_KEY."""


class News(StrEnum):
    """created: it waits for a worker, for the first time or again. changed: any other new state.

    progress: another stage, or further in the same. erased: gone, or about to be. delivery: there
    is a webhook to be delivered.
    """

    CREATED = "created"
    CHANGED = "changed"
    PROGRESS = "progress"
    ERASED = "erased"
    DELIVERY = "delivery"


@dataclass(frozen=True)
class NewSession:
    """What `add_session` needs. `owner` is the keyed hash; keys are the storage's.

    once: the hashes of an idempotency key by every secret, the present one's first, and the digest
    of the content.
    """

    id: UUID
    owner: str
    engine: str
    options: dict[str, Any]
    input_key: str
    garment_key: str | None
    retention: timedelta
    wrapped_key: bytes | None = None
    consent_version: str | None = None
    delete_inputs_early: bool = False
    stored: Mapping[str, Any] = field(default_factory=dict)
    once: tuple[Sequence[str], str] | None = None
    webhook_url: bytes | None = None
    webhook_receiver: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


class KeyTaken(Exception):
    """Another create has committed this idempotency key since we looked."""


class Seen(NamedTuple):
    """A row as it was read.

    now: the database's clock at that moment.
    position: in the queue: 1 for the next to be claimed; None for one that does not wait, or
    beyond POSITION_LIMIT.
    """

    row: TryOnSession
    now: datetime
    position: int | None

    @property
    def expired(self) -> bool:
        return self.row.is_over(self.now)

    @property
    def mark(self) -> Mark:
        return Mark(self.row.status, self.row.attempts, self.row.updated_at)


class Mark(NamedTuple):
    """By what one tells that a live session has changed; `updated_at` moves with every change."""

    status: Status
    attempts: int
    updated_at: datetime


class Queue(NamedTuple):
    """waiting, processing: numbers of live sessions, counted up to COUNT_TO.

    oldest_s: for how long the one waits that was made first.
    overdue_s: for how long the session that expired first is past its time; 0 where none is.
    """

    waiting: int
    processing: int
    oldest_s: float
    overdue_s: float


class EngineQueue(NamedTuple):
    """Numbers of live sessions of one engine. oldest_s: how long the first one waits."""

    engine: str
    waiting: int
    processing: int
    oldest_s: float


class InWork(NamedTuple):
    """A claimed session. since_s, lease_s: how long it is claimed, and for how long it still is."""

    row: TryOnSession
    since_s: float
    lease_s: float


class Claimed(NamedTuple):
    """A delivery of a webhook that is the caller's for one attempt, with its session."""

    id: UUID
    attempt: int
    session: TryOnSession


class Hidden(NamedTuple):
    """A session that nobody sees any more. ended: by itself, and not because it is erased.

    stored: what it remembers of its pictures.
    """

    stored: dict[str, Any]
    ended: bool


class Erased(NamedTuple):
    """A row that was deleted. now: when, by the database's clock."""

    id: UUID
    stored: dict[str, Any]
    reason: str
    now: datetime
