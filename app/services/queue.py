"""The doorbell. The row is the job; this only tells workers to look."""

from __future__ import annotations

import threading
from typing import Protocol
from uuid import UUID

import structlog

from app import crud
from app.database import Db

log = structlog.get_logger(__name__)

CREATED = "created"
ERASED = "erased"


class Queue(Protocol):
    def notify(self, session_id: UUID) -> None:
        """Say that a session waits. Never raises: a lost ring costs seconds, not a job."""


class Bell:
    """Wakes every waiting slot of this process."""

    def __init__(self) -> None:
        self._slots: list[threading.Event] = []

    def slot(self) -> threading.Event:
        """An event of one's own: clear it, look, and only then wait for it."""
        event = threading.Event()
        self._slots.append(event)
        return event

    def ring(self) -> None:
        for event in self._slots:
            event.set()


class InProcessQueue:
    """Rings this process's bell at once, and every other process's by NOTIFY.

    reads: NOTIFY changes nothing, and alone it needs no transaction around it.
    """

    def __init__(self, reads: Db, bell: Bell) -> None:
        self._reads = reads
        self._bell = bell

    def notify(self, session_id: UUID) -> None:
        self._bell.ring()
        try:
            with self._reads() as tx:
                crud.notify(tx, CREATED, session_id)
        except Exception as exc:  # noqa: BLE001 - the sweep will find the session
            log.warning("queue.not_rung", error=type(exc).__name__)
