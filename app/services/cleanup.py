"""What keeps the promises when nobody asks: take back lost work, purge, sweep; and their clock.

Each function may run at once in any number of processes, and again after a crash at any step.
"""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TypeVar
from uuid import UUID

import numpy as np
import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from app import crud
from app.database import Db, advisory_lock, translate
from app.errors import SENTENCES, FailureCode, ServiceError
from app.metrics import LEASES_LOST, ORPHANS, PURGED
from app.models import TryOnSession
from app.services import erasure
from app.services.leader import Leader
from app.services.queue import Broker, Queue
from app.services.receipts import Issuer, Reason
from app.services.storage import Storage, StoredObject

log = structlog.get_logger(__name__)

PURGE_LOCK = 727_002
SWEEP_LOCK = 727_003

# Files are written before their row: a younger file may belong to an upload that is under way.
SWEEP_AGE = timedelta(hours=1)

# Rows, and objects, that are compared at once; as many as a page of S3 lists.
SWEEP_BATCH = 1000
# They wait in memory until it is known that this is the right storage, 0.3 kB each. What is more is
# for the next sweep.
ORPHANS_AT_ONCE = 100_000
# So many live sessions that lack a picture, and none that has all: it is another's storage.
STRANGERS = 1000

# After a process began to lead: after each start of a laptop, which is seldom on for a whole day.
FIRST_PURGE = timedelta(seconds=1)
FIRST_SWEEP = timedelta(minutes=1)

# Between two looks at what falls due next; the shortest retention is twice as long, so that each
# session is seen before its time is over.
LOOK_EVERY_S = 30.0
# Between two purges: what falls due meanwhile goes together.
GATHER_S = 5.0
# What falls due is erased at once, and tried again for so long; then it is for the whole purge,
# which comes less often, and so tells the log less often of what cannot be erased.
LATELY = timedelta(minutes=2)

# A message takes milliseconds: what waits longer has none, or waits for a worker that is free.
OVERLOOKED_S = 5.0
OVERLOOKED = 10_000

RECEIPTS_AT_ONCE = 1000
# Larger than erasure.BATCH: with that a purge spent 0.50 ms of CPU a session, with this 0.35.
PURGE_BATCH = 400

T = TypeVar("T")
Stopped = Callable[[], bool]


def _never() -> bool:
    return False


@dataclass(frozen=True)
class PurgeReport:
    """ran: False when another process held the lock. failed: sessions left for the next time."""

    ran: bool = True
    sessions: int = 0
    failed: int = 0


@dataclass(frozen=True)
class SweepReport:
    """files: deleted without a row. rows: erased because their pictures are gone.

    failed: files and rows left for the next time. wrong_storage: nothing was touched, because this
    cannot be the folder of these rows.
    """

    ran: bool = True
    files: int = 0
    rows: int = 0
    failed: int = 0
    wrong_storage: bool = False


def recover(db: Db, queue: Queue, *, max_attempts: int) -> int:
    """Take back what was claimed and whose lease ran out; how many sessions that were."""
    code = FailureCode.WORKER_LOST
    back: list[TryOnSession] = []
    ended: list[TryOnSession] = []
    with db.begin() as tx:
        for row in crud.lost(tx, limit=erasure.BATCH):
            if row.attempts < max_attempts:
                crud.put_back(tx, row.id, attempt=row.attempts)
                back.append(row)
            else:
                crud.fail(tx, row.id, attempt=row.attempts, code=code, reason=SENTENCES[code])
                ended.append(row)
    LEASES_LOST.inc(len(back) + len(ended))
    for row in back:
        log.warning("session.lost", session_id=str(row.id), attempt=row.attempts, again=True)
        queue.notify(row.id, engine=row.engine)
    for row in ended:
        lost = log.bind(session_id=str(row.id), attempt=row.attempts)
        lost.warning("session.lost", again=False)
        lost.warning("session.failed", engine=row.engine, code=code, why="the lease ran out")
    return len(back) + len(ended)


def ring_again(db: Db, broker: Broker) -> int:
    """Tell workers again of what nobody has claimed: the broker may have lost its messages."""
    with db.begin() as tx:
        waiting = crud.overlooked(tx, for_s=OVERLOOKED_S, limit=OVERLOOKED)
    rung = broker.ring_again(waiting)
    if rung:
        log.info("queue.rung_again", sessions=rung)
    return rung


def finish_inputs(db: Db, storage: Storage) -> None:
    """Delete the uploaded pictures that a worker should have, when it ended a session."""
    refused = 0
    while True:
        with db.begin() as tx:
            due = crud.inputs_due(tx, limit=erasure.BATCH, skip=refused)
        if not due:
            return
        refused += erasure.delete_inputs(db, storage, due)


def purge(
    db: Db,
    storage: Storage,
    issuer: Issuer,
    *,
    within: timedelta | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
    stopped: Stopped = _never,
) -> PurgeReport:
    """Erase every session past its time, in batches; and receipts past theirs.

    within: only those that fell due so lately.
    on_progress: told how many are gone so far. stopped: asked before each session.
    """
    gone = failed = 0
    with advisory_lock(db, PURGE_LOCK) as held:
        if not held:
            return PurgeReport(ran=False)
        while not stopped():
            with db.begin() as tx:
                batch = crud.expired(tx, limit=PURGE_BATCH, skip=failed, within=within)
            if not batch:
                break
            signed, refused = erasure.erase_what_can_be(
                db, storage, issuer, batch, reason=Reason.EXPIRY, stopped=stopped
            )
            gone += len(signed)
            failed += len(refused)
            on_progress(gone)
        forgotten = _forget_receipts(db, issuer, stopped) if within is None else 0
    PURGED.inc(gone)
    if gone or failed or forgotten:
        log.info("purge.done", sessions=gone, failed=failed, receipts=forgotten)
    return PurgeReport(sessions=gone, failed=failed)


def purge_due(
    db: Db, storage: Storage, issuer: Issuer, *, within: timedelta, stopped: Stopped = _never
) -> float:
    """Erase what fell due lately, if anything did; how long to rest until more does, seconds."""
    with db() as tx:
        due_s = crud.next_expiry_s(tx, within=within)
    if due_s is None or due_s > 0:
        return LOOK_EVERY_S if due_s is None else min(max(due_s, GATHER_S), LOOK_EVERY_S)
    refused = purge(db, storage, issuer, within=within, stopped=stopped).failed
    return LOOK_EVERY_S if refused else GATHER_S


def sweep(
    db: Db,
    storage: Storage,
    issuer: Issuer,
    *,
    age: timedelta = SWEEP_AGE,
    stopped: Stopped = _never,
) -> SweepReport:
    """Make files and rows agree: delete files without a row, and rows whose pictures are gone.

    stopped: asked before each file and each row.
    """
    with advisory_lock(db, SWEEP_LOCK) as held:
        if not held:
            return SweepReport(ran=False)
        before = (datetime.now(UTC) - age).timestamp()
        listed, orphans = _examine_files(db, storage, before, stopped)
        # Before anything is deleted: only where some rows have their pictures is this the folder
        # that is meant, rather than an empty place where a disk is not mounted, or another's.
        whole, torn, doomed = _examine_rows(db, storage, listed, age, stopped)
        if torn and not whole and not stopped():
            log.error("sweep.wrong_storage", sessions=torn)
            return SweepReport(wrong_storage=True)
        files, stuck = _sweep_files(storage, orphans, before, stopped)
        rows, refused = _sweep_rows(db, storage, issuer, doomed, stopped)
    ORPHANS.set(files + stuck)
    log.info("sweep.done", files=files, rows=rows, failed=stuck + refused)
    return SweepReport(files=files, rows=rows, failed=stuck + refused)


class Scheduler:
    """Runs all of it in threads of this process: what is urgent as it falls due, the rest by clock.

    In the process that leads, so that others do not ask for the same; who begins to lead, as after
    a start, looks at everything.

    leader: asked every `recover_every`.
    purge_every: between two purges that look at everything; the others only at what fell due.
    broker: whose lost messages are made up for; None where NOTIFY rings.
    """

    def __init__(
        self,
        db: Db,
        storage: Storage,
        issuer: Issuer,
        queue: Queue,
        *,
        purge_every: timedelta,
        recover_every: timedelta,
        max_attempts: int,
        leader: Leader,
        broker: Broker | None = None,
    ) -> None:
        self.stopping = threading.Event()
        self._leader = leader
        self._leads = False
        self._known_at = time.monotonic()
        """When it was last known who leads."""
        stopped = self.stopping.is_set
        # What runs every few seconds, and for which people wait, goes by a clock that nobody sets:
        # APScheduler's is the wall clock, and stands still for as long as that is set back.
        self._soon = (
            _guarded(lambda: recover(db, queue, max_attempts=max_attempts)),
            _guarded(lambda: finish_inputs(db, storage)),
            *([] if broker is None else [_guarded(lambda: ring_again(db, broker))]),
        )
        self._recover_every_s = recover_every.total_seconds()
        self._recovering = threading.Thread(
            target=self._recover_always, name="recover", daemon=True
        )
        self._purge_due = partial(purge_due, db, storage, issuer, stopped=stopped)
        self._purging = threading.Thread(target=self._purge_always, name="purge", daemon=True)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        jobs: tuple[tuple[str, Callable[[], object], timedelta], ...] = (
            ("purge", lambda: purge(db, storage, issuer, stopped=stopped), purge_every),
            ("sweep", lambda: sweep(db, storage, issuer, stopped=stopped), timedelta(days=1)),
        )
        for name, job, every in jobs:
            self._scheduler.add_job(
                self._if_leading(job), "interval", id=name, seconds=every.total_seconds()
            )

    def start(self) -> None:
        self._scheduler.start()
        self._recovering.start()
        self._purging.start()

    def stop(self) -> None:
        """End after the session or the file that is just at hand."""
        self.stopping.set()
        self._recovering.join()
        self._scheduler.shutdown(wait=True)
        self._purging.join()

    def _if_leading(self, job: Callable[[], object]) -> Callable[[], None]:
        guarded = _guarded(job)
        return lambda: guarded() if self._leads else None

    def _recover_always(self) -> None:
        look = _guarded(self._look_who_leads)
        while True:
            look()
            if self._leads:
                for job in self._soon:
                    job()
            if self.stopping.wait(self._recover_every_s):
                break
        self._leader.resign()

    def _look_who_leads(self) -> None:
        led, self._leads = self._leads, False  # unless the database says so
        try:
            self._leads = self._leader.leads()
        finally:
            if led and not self._leads:
                ORPHANS.set(0)  # the next sweep is another's, and tells what is left
        self._known_at = time.monotonic()
        if self._leads and not led:
            log.info("cleanup.leads")
            now = datetime.now(UTC)
            self._scheduler.modify_job("purge", next_run_time=now + FIRST_PURGE)
            self._scheduler.modify_job("sweep", next_run_time=now + FIRST_SWEEP)

    def _purge_always(self) -> None:
        """Erase what falls due, as it does; what failed, and is older, is for the whole purge."""
        looked = time.monotonic()
        rest_s = FIRST_PURGE.total_seconds()
        while not self.stopping.wait(rest_s):
            if not self._leads:
                # What falls due while nobody leads is for who does then.
                looked, rest_s = max(looked, self._known_at), GATHER_S
                continue
            began = time.monotonic()
            # After an outage everything that fell due in it.
            within = LATELY + timedelta(seconds=began - looked)
            try:
                rest_s = self._purge_due(within=within)
                looked = began
            except Exception as exc:  # noqa: BLE001 - a process edge
                _tell(exc)
                rest_s = LOOK_EVERY_S


def _guarded(job: Callable[[], object]) -> Callable[[], None]:
    """A job that survives: what is away now may be back at the next tick."""

    def run() -> None:
        try:
            job()
        except Exception as exc:  # noqa: BLE001 - a process edge
            _tell(exc)

    return run


def _tell(exc: Exception) -> None:
    log.warning("cleanup.failed", error=type(exc).__name__, exc_info=translate(exc) is None)


def _forget_receipts(db: Db, issuer: Issuer, stopped: Stopped) -> int:
    gone = 0
    while not stopped():
        with db.begin() as tx:
            removed = crud.remove_receipts(tx, keep=issuer.keep, limit=RECEIPTS_AT_ONCE)
        gone += removed
        if removed < RECEIPTS_AT_ONCE:
            break
    return gone


class _Keys:
    """Many keys by their hashes, 8 bytes each; what is in it may be asked for once it is sorted.

    What is listed is never taken for missing. The other way round it happens to one missing key in
    10¹², where 10⁷ are listed.
    """

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, key: str) -> None:
        self._hashes.append(hash(key))

    def sort(self) -> None:
        np.frombuffer(self._hashes, np.int64).sort()

    def __contains__(self, key: str) -> bool:
        wanted = hash(key)
        at = bisect_left(self._hashes, wanted)
        return at < len(self._hashes) and self._hashes[at] == wanted


def _examine_files(
    db: Db, storage: Storage, before: float, stopped: Stopped
) -> tuple[_Keys, list[StoredObject]]:
    """List everything once: the keys that are there, and the old ones that have no row."""
    listed = _Keys()
    orphans: list[StoredObject] = []
    for prefix in (erasure.INPUTS, erasure.OUTPUTS):
        for objects in batches(storage.objects(prefix), SWEEP_BATCH):
            if stopped():
                break
            for stored in objects:
                listed.add(stored.key)
            room = ORPHANS_AT_ONCE - len(orphans)
            orphans += _without_row(db, [one for one in objects if one.modified < before])[:room]
    listed.sort()
    return listed, orphans


def _without_row(db: Db, objects: Sequence[StoredObject]) -> list[StoredObject]:
    owners = {stored.key: session_of(stored.key) for stored in objects}
    with db.begin() as tx:
        existing = crud.existing(tx, {one for one in owners.values() if one is not None})
    return [one for one in objects if one.is_draft or owners[one.key] not in existing]


def _examine_rows(
    db: Db, storage: Storage, listed: _Keys, age: timedelta, stopped: Stopped
) -> tuple[int, int, list[UUID]]:
    """How many live sessions have all their pictures, how many lack one, and who of them is old.

    Those keep no promise any more, unlike one that is being erased at this moment. What was not
    listed is asked for by itself: it may have been written since.
    """
    whole = torn = 0
    doomed: list[UUID] = []
    after: UUID | None = None
    while not stopped():
        with db.begin() as tx:
            page = crud.live_sessions(tx, after=after, limit=SWEEP_BATCH)
        if not page:
            break
        after = page[-1][0].id
        for row, now in page:
            if stopped() or (torn == STRANGERS and not whole):
                return whole, torn, doomed
            if all(key in listed or storage.exists(key) for key in keys_of(row)):
                whole += 1
                continue
            torn += 1
            if row.updated_at < now - age:
                doomed.append(row.id)
    return whole, torn, doomed


def _sweep_files(
    storage: Storage, orphans: Sequence[StoredObject], before: float, stopped: Stopped
) -> tuple[int, int]:
    """Delete these. Returns how many files went, and how many could not."""
    deleted = failed = 0
    for stored in orphans:
        if stopped():
            return deleted, failed
        prefix = stored.key.partition("/")[0]
        try:
            storage.delete(stored.key)
        except ServiceError as exc:
            failed += 1
            log.warning("sweep.refused", prefix=prefix, code=exc.code)
        else:
            deleted += 1
            log.warning("sweep.orphan", prefix=prefix, size=stored.size)
    for prefix in (erasure.INPUTS, erasure.OUTPUTS):
        storage.tidy(prefix, before=before)
    return deleted, failed


def _sweep_rows(
    db: Db, storage: Storage, issuer: Issuer, doomed: list[UUID], stopped: Stopped
) -> tuple[int, int]:
    """Erase these. Returns how many are gone, and how many could not be erased."""
    gone = failed = 0
    for batch in batches(doomed, erasure.BATCH):
        if stopped():
            break
        for session_id in batch:
            log.warning("sweep.incomplete", session_id=str(session_id))
        signed, refused = erasure.erase_what_can_be(
            db, storage, issuer, batch, reason=Reason.REPAIR, stopped=stopped
        )
        gone += len(signed)
        failed += len(refused)
    return gone, failed


def keys_of(row: TryOnSession) -> list[str]:
    """Of the pictures that a session should have."""
    inputs = () if row.inputs_are_gone else (row.input_image_url, row.garment_image_url)
    keys = (*inputs, row.output_image_url)
    return [key for key in keys if key is not None]


def session_of(key: str) -> UUID | None:
    """Whose file this is; None where its folder has no session's name."""
    try:
        return UUID(key.split("/")[1])
    except (IndexError, ValueError):
        return None


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """As itertools.batched of Python 3.12."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
