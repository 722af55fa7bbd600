"""The engine under examination, wrapped: what it does is written down for who examines it.

It runs in the engine's process, as the engine of its spec. Orders and findings lie in files of a
folder that the two share, so that the frames between them are those of any other engine.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from app.engines import EngineInfo, EngineSpec, RunContext, TryOnRequest, TryOnResult, guard
from app.errors import EngineError, RunCancelled

ORDER, SEEN = "order.json", "seen.json"

_MOST = 20
"""Of each thing that is written down."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass
class Seen:
    """What a run did.

    outcome: picture, refused, cancelled or raised; said: the code, or the type that was raised.
    checks: how often it called check(); longest_s: the longest time without.
    writes: files outside of the scratch folder. hosts: that it was not let connect to.
    programs: that it was not let start.
    children: processes of it that are left.
    """

    outcome: str = "nothing"
    said: str = ""
    seconds: float = 0.0
    seed: int | None = None
    checks: int = 0
    longest_s: float = 0.0
    progress: list[tuple[str, float | None]] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    children: int = 0


class Probed:
    """folder: shared with who examines. The rest is the engine's own spec."""

    def __init__(self, target: str, options: Mapping[str, Any], folder: str) -> None:
        self._engine = EngineSpec("probed", target, options).make()
        self._folder = Path(folder)
        self._seen: Seen | None = None
        self._allowed: tuple[str, ...] = ()

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def load(self) -> None:
        self._engine.load()
        sys.addaudithook(self._look)

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        order = json.loads((self._folder / ORDER).read_text())
        seen = Seen()
        watched = _watched(context, seen, cancel_at=order["cancel_at"])
        self._allowed = (str(context.scratch), os.environ["HOME"], "/dev/", "/proc/")
        began = time.perf_counter()
        self._seen = seen
        try:
            result = self._engine.run(request, watched)
            seen.outcome, seen.seed = "picture", int(result.seed)
            return result
        except RunCancelled:
            seen.outcome = "cancelled"
            raise
        except EngineError as exc:
            seen.outcome, seen.said = "refused", str(exc.failure)
            raise
        except BaseException as exc:
            seen.outcome, seen.said = "raised", type(exc).__name__
            raise
        finally:
            self._seen = None
            seen.seconds = time.perf_counter() - began
            if not seen.checks:
                seen.longest_s = seen.seconds
            seen.hosts = guard.REFUSED[:_MOST]
            seen.programs = guard.NOT_STARTED[:_MOST]
            seen.children = len(psutil.Process().children(recursive=True))
            (self._folder / SEEN).write_text(json.dumps(asdict(seen)))

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        seen = self._seen
        if seen is None or event not in ("open", "os.mkdir", "os.rename"):
            return
        path = arguments[1] if event == "os.rename" else arguments[0]
        if event == "open" and not _is_writing(arguments[1], arguments[2]):
            return
        if isinstance(path, int) or path is None or len(seen.writes) >= _MOST:
            return
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - as cheap as it gets
        # What Python compiles lies where its source does, and is nobody's photo.
        if not name.startswith(self._allowed) and "__pycache__" not in name:
            seen.writes.append(name)


def _is_writing(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return isinstance(flags, int) and bool(flags & _WRITES)


def _watched(context: RunContext, seen: Seen, *, cancel_at: int | None) -> RunContext:
    """cancel_at: the call of check() that says that the session was erased."""
    last = time.perf_counter()

    def check() -> None:
        nonlocal last
        now = time.perf_counter()
        seen.checks += 1
        seen.longest_s = max(seen.longest_s, now - last)
        last = now
        if cancel_at is not None and seen.checks >= cancel_at:
            raise RunCancelled(for_good=True)
        context.check()

    def progress(stage: str, fraction: float | None = None) -> None:
        if len(seen.progress) < _MOST:
            seen.progress.append((stage, fraction))
        context.progress(stage, fraction)

    return replace(context, check=check, progress=progress)
