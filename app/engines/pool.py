"""The processes of one engine in one worker: at most so many, the warm ones first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from app.engines import EngineSpec
from app.engines.chain import ChainProcess
from app.engines.process import EngineProcess

Process: TypeAlias = EngineProcess | ChainProcess


class EnginePool:
    """size: how many runs there may be at once; each has a process, with the model in it.

    timeout_s: what one run may take; None: as for all.
    """

    def __init__(self, spec: EngineSpec, *, memory_mb: int, slots: int) -> None:
        self.size = min(slots, spec.concurrency or slots)
        self.timeout_s = spec.timeout_s
        self._memory_mb = spec.memory_mb or memory_mb
        kind = ChainProcess if spec.steps else EngineProcess
        self._processes: list[Process] = [
            kind(spec, memory_mb=self._memory_mb, number=number) for number in range(self.size)
        ]
        self._free = list(reversed(self._processes))
        self._guard = threading.Lock()

    @property
    def busy(self) -> int:
        return self.size - len(self._free)

    @property
    def ready(self) -> int:
        """Processes in which the engine is loaded."""
        return sum(process.ready for process in self._processes)

    def start(self, number: int) -> None:
        """Load the engine in one of its processes. Raises EngineUnavailable."""
        self._processes[number % self.size].start()

    def start_all(self) -> None:
        for process in self._processes:
            process.start()

    @contextmanager
    def one(self) -> Iterator[Process]:
        """A process for a run. Who asks has seen that one is free, and asks alone."""
        with self._guard:
            process = self._free.pop()
        try:
            yield process
        finally:
            with self._guard:
                self._free.append(process)

    def close(self) -> None:
        """From any thread; what runs or loads ends at once."""
        for process in self._processes:
            process.close()
