"""How an engine comes into a process: behind its gate, and with a sentence where it does not."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.engines import Engine, EngineSpec, guard
from app.errors import EngineUnavailable, TryOnError


def make(spec: EngineSpec, gate: guard.Gate) -> Engine:
    """Construct the engine, without loading it, and let it out where it says that it sends.

    gate: armed. Raises SettingsError.
    """
    engine = spec.make()
    gate.allow(engine.info.uses)
    if engine.info.egress is not None:
        gate.open()
    return engine


@contextmanager
def explained(
    spec: EngineSpec, *, on_broken: Callable[[BaseException], object] = lambda _: None
) -> Iterator[None]:
    """Around what makes an engine ready: whatever it breaks with becomes EngineUnavailable.

    on_broken: told first, where that was no error of ours. What was said by it is a note, because
    it may name files.
    """
    try:
        yield
    except TryOnError:
        raise
    except (Exception, SystemExit) as exc:  # an edge: what is loaded is not ours
        on_broken(exc)
        said = f'engine "{spec.name}" could not be loaded: {type(exc).__name__}'
        refused = ", ".join([*guard.REFUSED, *guard.NOT_STARTED])
        if refused:  # most likely why; libraries wrap what they were told
            said += f"; it was refused {refused}, see `uses` in docs/engines.md"
        error = EngineUnavailable(said)
        error.add_note(f"{exc} ({_where(exc)})")
        raise error from exc


def _where(exc: BaseException) -> str:
    """The last line of the engine's own that it came from, or of what it called."""
    last = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
