"""Engines that stay loaded from one test's worker to the next one's: a start takes 0.2 s of CPU."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from app.engines import EngineSpec
from app.engines.pool import EnginePool
from app.engines.process import EngineProcess

if TYPE_CHECKING:
    from app.engines.process import _Child

_idle: dict[str, list[_Child]] = defaultdict(list)


class WarmPool(EnginePool):
    """A pool of the mock engine hands on what is loaded, and idle, as it closes.

    Of other engines, which keep things between runs, each has processes of its own, as in the
    product; so have the programs that tests start.
    """

    def __init__(self, spec: EngineSpec, *, memory_mb: int, slots: int) -> None:
        super().__init__(spec, memory_mb=memory_mb, slots=slots)
        if spec.name == "mock":
            self._processes = [
                _Kept(spec, memory_mb=self._memory_mb, number=number) for number in range(self.size)
            ]
            self._free = list(reversed(self._processes))


class _Kept(EngineProcess):
    def __init__(self, spec: EngineSpec, *, memory_mb: int, number: int) -> None:
        super().__init__(spec, memory_mb=memory_mb, number=number)
        self._kept = _idle[repr(spec)]
        if self._kept:
            self._child = self._kept.pop()

    def close(self) -> None:
        """Whoever has the turn now, or comes later, is told what the product tells them."""
        if self._turn.acquire(blocking=False):
            if self.ready and self._child is not None:
                self._kept.append(self._child)
                self._child = None
            self._turn.release()
        super().close()


def end_all() -> None:
    """So that whoever looks for engines finds none of an earlier test."""
    for kept in _idle.values():
        for child in kept:
            child.end()
    _idle.clear()
