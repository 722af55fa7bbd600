"""Engines in order: where one cannot make the picture, the next tries, and the session is told.

Each keeps a process of its own, so that a crash or a hunger for memory of the first is no matter of
the second's. A chain is used like a process of one engine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from app.engines import Caution, EngineInfo, EngineSpec
from app.engines.frames import Job, Output
from app.engines.process import EngineProcess, Watcher
from app.errors import EngineError, EngineUnavailable, FailureCode, RunCancelled

FINAL = frozenset(
    {
        FailureCode.NO_PERSON,
        FailureCode.SEVERAL_PEOPLE,
        FailureCode.PERSON_FROM_BEHIND,
        FailureCode.IMAGE_TOO_SMALL,
        FailureCode.CONTENT_REFUSED,
    }
)
"""Refusals of the photo, which no other engine could use either, or should."""

_LEAST_S = 1.0
"""With less time left, no further engine is begun."""


@dataclass(frozen=True)
class _Step:
    spec: EngineSpec
    info: EngineInfo
    process: EngineProcess


class ChainProcess:
    """spec: one with steps. The rest is as in EngineProcess."""

    def __init__(self, spec: EngineSpec, *, memory_mb: int, number: int = 0) -> None:
        self._steps = [
            _Step(
                step,
                info,
                EngineProcess(step, memory_mb=step.memory_mb or memory_mb, number=number),
            )
            for step, info in spec.steps
        ]

    @property
    def alive(self) -> bool:
        return any(step.process.alive for step in self._steps)

    @property
    def ready(self) -> bool:
        return any(step.process.ready for step in self._steps)

    def start(self) -> None:
        """Load what loads. Raises EngineUnavailable where nothing does."""
        reasons = []
        for step in self._steps:
            try:
                step.process.start()
            except EngineUnavailable as exc:
                reasons.append(exc.detail)
        if len(reasons) == len(self._steps):
            raise EngineUnavailable(" ".join(reasons))

    def run(self, job: Job, watcher: Watcher, *, timeout_s: float) -> Output:
        """Make one picture, by the first that can. Raises what the last one raised."""
        deadline = time.monotonic() + timeout_s
        left = job.resume or {}
        passed: list[tuple[str, str]] = [tuple(one) for one in left.get("passed", ())]
        if len(passed) >= len(self._steps):  # and the last one may work later: all are asked anew
            passed = []
        last: EngineError | EngineUnavailable = EngineError(
            FailureCode.GARMENT_UNSUPPORTED, log="no engine of the chain does this category"
        )
        state = left.get("state")
        for step in self._steps[len(passed) :]:
            left_s = deadline - time.monotonic()
            if left_s < _LEAST_S and passed:
                break
            if job.category not in ("auto", *step.info.categories):
                passed.append((step.info.name, FailureCode.GARMENT_UNSUPPORTED))
                continue
            try:
                output = step.process.run(
                    _for(step, job, state),
                    replace(watcher, on_checkpoint=_nested(watcher.on_checkpoint, passed)),
                    timeout_s=min(step.spec.timeout_s or left_s, left_s),
                )
            except RunCancelled:
                raise
            except (EngineError, EngineUnavailable) as exc:
                code = exc.failure if isinstance(exc, EngineError) else exc.code
                if code in FINAL:
                    raise
                last, state = exc, None
                passed.append((step.info.name, code))
                # Whatever it has begun elsewhere is over: nobody asks it again.
                watcher.on_checkpoint(json.dumps({"passed": passed}))
                continue
            return replace(output, cautions=(*_told(passed, step.info.name), *output.cautions))
        if isinstance(last, EngineError):
            last.log = "; ".join([*(f"{name}: {code}" for name, code in passed), last.log])
        raise last

    def close(self) -> None:
        for step in self._steps:
            step.process.close()


def _for(step: _Step, job: Job, state: Any) -> Job:
    mode = job.mode if job.mode in step.info.modes else step.info.modes[0]
    return replace(job, mode=mode, resume=state)


def _nested(
    on_checkpoint: Callable[[str], None], passed: list[tuple[str, str]]
) -> Callable[[str], None]:
    """A checkpoint of one engine, and which were asked before it."""

    def keep(state: str) -> None:
        on_checkpoint(json.dumps({"passed": passed, "state": json.loads(state)}))

    return keep


def _told(passed: list[tuple[str, str]], by: str) -> tuple[Caution, ...]:
    return tuple(
        Caution("engine_passed_over", f"{name} could not make it ({code}); {by} did.")
        for name, code in passed
    )
