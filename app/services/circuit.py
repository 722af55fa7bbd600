"""Whether Redis is worth asking: what waited for it in vain is not followed by others who wait.

Whoever asks a Redis in this process shares what is known of it, so that one that is away costs a
quarter of a second once a second, and not that for each call (docs/adr/0017).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import structlog

log = structlog.get_logger(__name__)

PATIENCE_S = 0.25
"""How long anybody waits for Redis."""

AWAY_S = 1.0
"""Between two looks at whether it is back, each by one call."""

T = TypeVar("T")


class Circuit:
    """For any number of threads and event loops."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._away = False
        self._ask_again_at = 0.0

    def ask(self, call: Callable[[], T]) -> T | None:
        """What a call of Redis returns; None where it fails, or is not made."""
        if not self.may_ask():
            return None
        try:
            answer = call()
        except Exception as exc:  # noqa: BLE001 - whatever it is, all work without Redis
            self.has_failed(exc)
            return None
        self.has_answered()
        return answer

    def may_ask(self) -> bool:
        """False while Redis is away, but for one who looks whether it is back.

        Who is told True says afterwards what came of it.
        """
        with self._guard:
            if not self._away:
                return True
            if time.monotonic() < self._ask_again_at:
                return False
            self._ask_again_at = time.monotonic() + AWAY_S
            return True

    def has_answered(self) -> None:
        if not self._away:  # looked at without the lock: it is so with nearly every call
            return
        with self._guard:
            was_away, self._away = self._away, False
        if was_away:
            log.info("redis.back")

    def has_failed(self, exc: Exception) -> None:
        with self._guard:
            was_away, self._away = self._away, True
            self._ask_again_at = time.monotonic() + AWAY_S
        if not was_away:
            log.warning("redis.away", error=type(exc).__name__)


@cache
def circuit_of(url: str) -> Circuit:  # noqa: ARG001 - what the cache tells them apart by
    """The one of this process for the Redis at this URL."""
    return Circuit()
