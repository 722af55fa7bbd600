"""What keeps the promises when nobody asks: take back lost work, purge, sweep; and their clock.

Each function may run at once in any number of processes, and again after a crash at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar
from uuid import UUID

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from app import crud
from app.database import Db, advisory_lock, translate
from app.errors import SENTENCES, FailureCode, ServiceError
from app.metrics import LEASES_LOST, PURGED
from app.services import erasure
from app.services.queue import Queue
from app.services.storage import Storage

log = structlog.get_logger(__name__)

PURGE_LOCK = 727_002
SWEEP_LOCK = 727_003

# Files are written before their row: a younger file may belong to an upload that is under way.
SWEEP_AGE = timedelta(hours=1)

T = TypeVar("T")


@dataclass(frozen=True)
class PurgeReport:
    """ran: False when another process held the lock. failed: sessions left for the next time."""

    ran: bool = True
    sessions: int = 0
    failed: int = 0


@dataclass(frozen=True)
class SweepReport:
    """files: deleted without a row. rows: erased because their pictures are gone."""

    ran: bool = True
    files: int = 0
    rows: int = 0


def recover(db: Db, queue: Queue, *, max_attempts: int) -> int:
    """Take back what was claimed and whose lease ran out; how many sessions that were."""
    back: list[UUID] = []
    with db.begin() as tx:
        lost = crud.lost(tx, limit=erasure.BATCH)
        for row in lost:
            again = row.attempts < max_attempts
            log.warning("session.lost", session_id=str(row.id), attempt=row.attempts, again=again)
            if again:
                crud.put_back(tx, row.id, attempt=row.attempts)
                back.append(row.id)
            else:
                code = FailureCode.WORKER_LOST
                crud.fail(tx, row.id, attempt=row.attempts, code=code, reason=SENTENCES[code])
    LEASES_LOST.inc(len(lost))
    for session_id in back:
        queue.notify(session_id)
    return len(lost)


def purge(
    db: Db, storage: Storage, *, on_progress: Callable[[int], None] = lambda _: None
) -> PurgeReport:
    """Erase every session past its time: files, then row, in batches.

    on_progress: told how many are gone so far.
    """
    gone = failed = 0
    with advisory_lock(db, PURGE_LOCK) as held:
        if not held:
            return PurgeReport(ran=False)
        while True:
            with db.begin() as tx:
                batch = crud.expired(tx, limit=erasure.BATCH, skip=failed)
            if not batch:
                break
            erased, refused = _erase_what_can_be(db, storage, batch)
            gone += erased
            failed += refused
            on_progress(gone)
    PURGED.inc(gone)
    if gone or failed:
        log.info("purge.done", sessions=gone, failed=failed)
    return PurgeReport(sessions=gone, failed=failed)


def sweep(db: Db, storage: Storage, *, age: timedelta = SWEEP_AGE) -> SweepReport:
    """Make files and rows agree: delete files without a row, and rows whose pictures are gone."""
    with advisory_lock(db, SWEEP_LOCK) as held:
        if not held:
            return SweepReport(ran=False)
        files, seen = _sweep_files(db, storage, older_than=datetime.now(UTC) - age)
        rows = _sweep_rows(db, storage, age=age, storage_is_empty=seen == 0)
    log.info("sweep.done", files=files, rows=rows)
    return SweepReport(files=files, rows=rows)


class Scheduler:
    """Runs the three on their intervals, in threads of this process."""

    def __init__(
        self,
        db: Db,
        storage: Storage,
        queue: Queue,
        *,
        purge_every: timedelta,
        recover_every: timedelta,
        max_attempts: int,
    ) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        now = datetime.now(UTC)
        jobs: tuple[tuple[Callable[[], object], timedelta, timedelta], ...] = (
            (lambda: recover(db, queue, max_attempts=max_attempts), recover_every, timedelta(0)),
            (lambda: purge(db, storage), purge_every, timedelta(seconds=1)),
            # A laptop is seldom on for a whole day: once soon after the start, then daily.
            (lambda: sweep(db, storage), timedelta(days=1), timedelta(minutes=1)),
        )
        for job, every, first in jobs:
            self._scheduler.add_job(
                _guarded(job), "interval", seconds=every.total_seconds(), next_run_time=now + first
            )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        self._scheduler.shutdown(wait=True)


def _guarded(job: Callable[[], object]) -> Callable[[], None]:
    """A job that survives: what is away now may be back at the next tick."""

    def run() -> None:
        try:
            job()
        except Exception as exc:  # a process edge
            away = translate(exc)
            log.warning("cleanup.failed", error=type(exc).__name__, exc_info=away is None)

    return run


def _erase_what_can_be(db: Db, storage: Storage, batch: list[UUID]) -> tuple[int, int]:
    """Erase a batch at once; where the storage refuses, one by one, so that one does not stop all.

    Returns how many are gone, and how many could not be erased.
    """
    try:
        return erasure.erase(db, storage, batch), 0
    except ServiceError:
        gone = failed = 0
        for session_id in batch:
            try:
                gone += erasure.erase(db, storage, [session_id])
            except ServiceError as exc:
                failed += 1
                log.warning("purge.refused", session_id=str(session_id), code=exc.code)
        return gone, failed


def _sweep_files(db: Db, storage: Storage, *, older_than: datetime) -> tuple[int, int]:
    """Delete files without a row. Returns how many, and how many files were seen at all."""
    deleted = seen = 0
    for prefix in (erasure.INPUTS, erasure.OUTPUTS):
        for objects in _batches(storage.objects(prefix), erasure.BATCH):
            seen += len(objects)
            owners = {stored.key: _session_of(stored.key) for stored in objects}
            with db.begin() as tx:
                existing = crud.existing(tx, [one for one in owners.values() if one is not None])
            for stored in objects:
                orphan = owners[stored.key] not in existing or stored.is_draft
                if orphan and stored.modified < older_than.timestamp():
                    storage.delete(stored.key)
                    deleted += 1
                    log.warning("sweep.orphan", prefix=prefix, size=stored.size)
    return deleted, seen


def _sweep_rows(db: Db, storage: Storage, *, age: timedelta, storage_is_empty: bool) -> int:
    """Erase rows whose pictures are gone: a session without its pictures can keep no promise."""
    incomplete: list[UUID] = []
    after: UUID | None = None
    while True:
        with db.begin() as tx:
            page = crud.pictures(tx, older_than=age, after=after, limit=erasure.BATCH)
        if not page:
            break
        if storage_is_empty:
            # Rows, and not one file: the folder is not mounted, rather than every picture lost.
            log.error("sweep.storage_is_empty")
            return 0
        after = page[-1][0]
        incomplete += [id_ for id_, keys in page if not all(map(storage.exists, keys))]
    for session_id in incomplete:
        log.warning("sweep.incomplete", session_id=str(session_id))
    return sum(
        erasure.erase(db, storage, list(batch)) for batch in _batches(incomplete, erasure.BATCH)
    )


def _session_of(key: str) -> UUID | None:
    try:
        return UUID(key.split("/")[1])
    except (IndexError, ValueError):
        return None


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
