"""How each part is, for the health page and for `doctor`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from app import __version__, crud
from app.engines.pool import EnginePool
from app.engines.registry import BUILT_IN
from app.errors import EngineUnavailable, StorageFull
from app.problems import of_exception
from app.runtime import EXAMINED, Runtime, faults_of_store
from app.schemas import EngineState, Health, Part

OK = Part(status="ok")

_NEED_DATABASE = ("queue", "worker", "clock", "keys")
_HINT = "Look at DATABASE_URL: does its server run, and does it let this host and user in?"

# Below this a few uploads may fill the disk.
LOW_DISK_BYTES = 500 * 1024 * 1024
# Beyond this, signed addresses live visibly shorter or longer than they should.
CLOCK_S = 30.0


def examine(rt: Runtime) -> Health:
    """The state of every part; `unavailable` only without database or storage."""
    queue = _queue(rt)
    parts = {
        "database": _part(lambda: _check_database(rt)),
        "storage": _part(rt.storage.check, hint="Look at STORAGE, and at our rights there."),
        "queue": queue if isinstance(queue, Part) else OK,
        "worker": _part(lambda: _check_worker(rt)),
        "engine": _engine(rt),
    }
    vital = {parts["database"].status, parts["storage"].status}
    every = {part.status for part in parts.values()}
    counts = queue if isinstance(queue, crud.Queue) else None
    return Health(
        status="unavailable" if "unavailable" in vital else "ok" if every == {"ok"} else "degraded",
        version=__version__,
        parts=parts,
        waiting=counts.waiting if counts else None,
        processing=counts.processing if counts else None,
        overdue_s=counts.overdue_s if counts else None,
        engines={name: _state_of(rt, name) for name in rt.engines},
    )


def examine_all(rt: Runtime) -> dict[str, Part]:
    """The same for the operator, and what is too slow or too seldom wanted for a health page."""
    parts = examine(rt).parts | {
        "engine": _try_engine(rt),
        "disk": _disk(rt),
        **_bucket(rt),
        **_cache(rt),
        "clock": _part(lambda: _clock(rt)),
        "keys": _part(lambda: _check_keys(rt)),
    }
    if parts["database"].status != "ok":
        parts["database"] = _part(lambda: _check_database(rt), hint=_HINT, noted=True)
        unknown = Part(status="unavailable", detail="Not known without the database.")
        parts |= dict.fromkeys(_NEED_DATABASE, unknown)
    return parts


def _bucket(rt: Runtime) -> dict[str, Part]:
    """What of a store of somebody else's would break a promise, where it can be asked for that."""
    if not rt.settings.storage.startswith(EXAMINED):
        return {}

    def check() -> Part:
        if faults := faults_of_store(rt.settings):
            return Part(status="degraded", detail=" ".join(faults))
        return OK

    return {"bucket": _part(check)}


def _cache(rt: Runtime) -> dict[str, Part]:
    """What of the Redis of SESSION_CACHE would outlive an erasure, encrypted, in a file."""
    if rt.cache is None or not rt.cache.saves():
        return {}
    detail = (
        "The Redis of SESSION_CACHE saves to disk: what it saved, encrypted, stays in its file "
        'after an erasure. Set save "" and appendonly no.'
    )
    return {"cache": Part(status="degraded", detail=detail)}


def _disk(rt: Runtime) -> Part:
    """Room on the disk of the pictures, and of the embedded database."""
    folders = [rt.settings.storage_folder or rt.settings.data_dir, rt.settings.data_dir]
    free = min(shutil.disk_usage(_existing(folder)).free for folder in folders)
    if free < LOW_DISK_BYTES:
        return Part(status="degraded", detail=f"{free // 2**20} MiB are free: make room.")
    return OK


def _try_engine(rt: Runtime) -> Part:
    """Make the default engine ready, in a child process of its own."""
    spec = rt.engines[rt.default_engine].spec
    process = EnginePool(spec, memory_mb=rt.settings.engine_memory_mb, slots=1)
    try:
        process.start(0)
    except EngineUnavailable as exc:
        return Part(status="degraded", detail=f"{spec.name}: {exc.detail}")
    finally:
        process.close()
    return OK


def _clock(rt: Runtime) -> Part:
    """This host's clock beside the database's, which counts."""
    with rt.reads() as tx:
        began = time.monotonic()
        now = tx.scalar(select(func.clock_timestamp()))
        trip_s = time.monotonic() - began
    assert isinstance(now, datetime)
    apart = abs((datetime.now(UTC) - now).total_seconds()) - trip_s
    if apart > CLOCK_S:
        return Part(
            status="degraded",
            detail=f"The clocks of this host and the database are {apart:.0f} s apart: set them.",
        )
    return OK


def _check_keys(rt: Runtime) -> Part:
    """Under which secrets the keys of sessions are kept."""
    with rt.reads() as tx:
        counts = crud.keys_by_secret(tx)
    present, *older = rt.vault.ids
    rewrap = sum(counts.pop(id_, 0) for id_ in older)
    counts.pop(present, None)
    if lost := sum(counts.values()):
        return Part(
            status="degraded",
            detail=f"Sessions whose pictures cannot be read: {lost}. The secret of their keys is "
            "not in SECRET_KEY: add it behind the present one, or let them expire.",
        )
    if rewrap:
        return Part(
            status="degraded",
            detail=f"Sessions whose key is under an older secret: {rewrap}. "
            "`python -m app rotate-keys` wraps them under the first one.",
        )
    return OK


def _part(check: Callable[[], Part | None], *, hint: str = "", noted: bool = False) -> Part:
    """noted: with what only the operator may read."""
    try:
        return check() or OK
    except Exception as exc:
        error = of_exception(exc)
        if error is None:
            raise
        notes = error.notes if noted else ()
        detail = " ".join([error.detail, *notes, hint]).rstrip()
        # A full disk still serves what it has.
        if isinstance(error, StorageFull):
            return Part(status="degraded", detail=detail)
        return Part(status="unavailable", detail=detail)


def _check_database(rt: Runtime) -> None:
    with rt.reads() as tx:
        tx.scalar(select(1))
    rt.check_prepared()


def _queue(rt: Runtime) -> crud.Queue | Part:
    try:
        with rt.reads() as tx:
            counts = crud.queue(tx)
    except Exception as exc:
        error = of_exception(exc)
        if error is None:
            raise
        return Part(status="degraded", detail=error.detail)
    if counts.waiting >= rt.settings.queue_limit:
        return Part(status="degraded", detail=f"{counts.waiting} sessions wait: add workers.")
    return counts


def _check_worker(rt: Runtime) -> Part:
    if rt.worker is not None and rt.worker.alive:
        return OK
    alive = rt.workers()
    if alive:
        return OK
    if alive is None:
        return Part(status="degraded", detail="Not known without Redis, where workers are counted.")
    return Part(
        status="degraded",
        detail="No worker is running: start one with `python -m app worker`, "
        "or set WORKER_CONCURRENCY above 0.",
    )


def _engine(rt: Runtime) -> Part:
    trouble = dict(rt.worker.engine_trouble) if rt.worker is not None else {}
    if trouble:
        reasons = "".join(f" {trouble[name]}" for name in trouble if name in BUILT_IN)
        # Everybody may read this page, and the reason of an engine that is not ours may name paths.
        return Part(
            status="degraded",
            detail=f"Does not load: {', '.join(trouble)}.{reasons} The log says why; "
            "`python -m app doctor` tries the default engine.",
        )
    return OK


def _state_of(rt: Runtime, name: str) -> EngineState:
    """As this process knows it; where it has no worker, others do."""
    worker = rt.worker
    if worker is None:
        return EngineState(status="ok")
    if name in worker.engine_trouble:
        return EngineState(status="degraded", ready=worker.ready(name))
    return EngineState(status="ok", ready=worker.ready(name))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that there is."""
    return next(path for path in (folder, *folder.parents) if path.exists())
