"""The states of a session, and the only moves between them.

            ┌──── retryable failure, released, or the lease ran out ────┐
            ▼                                                           │
    POST ▶ created ── claim: attempt + 1, lease ──▶ processing ─────────┼──▶ completed
                                                                        └──▶ failed

Erasure is no state: it makes `expires_at` the present and removes files and row.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class Status(StrEnum):
    CREATED = "created"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


SOURCES = MappingProxyType(
    {
        Status.CREATED: frozenset({Status.PROCESSING}),
        Status.PROCESSING: frozenset({Status.CREATED}),
        Status.COMPLETED: frozenset({Status.PROCESSING}),
        Status.FAILED: frozenset({Status.PROCESSING}),
    }
)
"""From which states each state may be reached."""

FINAL = frozenset({Status.COMPLETED, Status.FAILED})


class DeliveryState(StrEnum):
    """Of a webhook. REFUSED: the receiver has said that it wants no more (410)."""

    PENDING = "pending"
    DELIVERED = "delivered"
    REFUSED = "refused"
    GIVEN_UP = "given_up"
