"""The doorbell. The row is the job; this only tells workers to look.

Other processes hear of a session that waits by NOTIFY, which is part of the transaction that made
it wait (`crud.add_session`, `crud.put_back`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID


class Queue(Protocol):
    def notify(self, session_id: UUID, *, engine: str, after_s: float = 0) -> None:
        """Say that a session waits, for a worker that has this engine.

        after_s: it may not be claimed before.

        Never raises, because a lost ring costs seconds and not a job; and never blocks, because it
        is called on the event loop.
        """


class Broker(Queue, Protocol):
    """One whose messages may be lost, so that somebody has to look after them."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def length(self, engine: str) -> int | None:
        """How many messages wait for workers with this engine; None while it is away."""

    def ring_again(self, sessions: Sequence[tuple[UUID, str]]) -> int:
        """Say it again of these, with their engines, where it was not said lately; of how many."""


class Bell:
    """The queue of one process: wakes its waiting slots."""

    def __init__(self) -> None:
        self._slots: list[threading.Event] = []

    def slot(self) -> threading.Event:
        """An event of one's own: clear it, look, and only then wait for it."""
        event = threading.Event()
        self._slots.append(event)
        return event

    def notify(self, session_id: UUID, *, engine: str, after_s: float = 0) -> None:
        # When the next one is due, slots ask the database themselves.
        self.ring()

    def hear(self, session_id: UUID) -> None:
        """News of a session that waits."""
        self.ring()

    def ring(self) -> None:
        for event in self._slots:
            event.set()
