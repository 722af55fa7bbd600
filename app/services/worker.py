"""One attempt, from claim to end; and the threads that make attempts.

A slot is a thread with engine processes of its own. The keeper, one more thread, prolongs the
leases of all that is in work, and cancels what is no longer ours.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar, cast
from uuid import UUID

import structlog

from app import catalogue, crud
from app.database import Db, translate
from app.engines import EngineSpec, scratch
from app.engines.frames import Job, Output, OutputFormat
from app.engines.process import EngineProcess
from app.errors import (
    EgressNotAllowed,
    EngineError,
    EngineUnavailable,
    FailureCode,
    RunCancelled,
    ServiceError,
)
from app.metrics import JOB_SECONDS, JOBS
from app.models import TryOnSession
from app.services import erasure, receipts
from app.services.crypto import PictureKey, PictureUnreadable, Vault
from app.services.egress import EgressRules
from app.services.queue import Bell
from app.services.receipts import Written
from app.services.storage import PictureMissing, Storage

log = structlog.get_logger(__name__)

# How often a changed stage may be written; a shopper's page polls every 2 s at most.
PROGRESS_S = 0.5
# What is away is asked again after this, doubling up to the second.
AGAIN_S = 0.25
AGAIN_MOST_S = 10.0
RETRY_MOST_S = 60.0
SUFFIXES = {"jpeg": "jpg", "png": "png", "webp": "webp"}

T = TypeVar("T")
Processes: TypeAlias = Mapping[str, EngineProcess]
"""A slot's own, by engine; each is started when it is first needed."""


@dataclass(frozen=True)
class WorkerLimits:
    """What a worker may take.

    concurrency: slots.
    timeout_s, memory_mb: what one run may take.
    retry_s: between the first failure that another attempt may mend and that attempt; doubles with
        each further one.
    """

    concurrency: int
    lease_s: float
    max_attempts: int
    timeout_s: float
    memory_mb: int
    retry_s: float = 2.0


@dataclass(eq=False)
class Attempt:
    """A claimed session in work. Everything but the two events belongs to its slot."""

    session_id: UUID
    number: int
    engine: str
    cancelled: threading.Event = field(default_factory=threading.Event)
    stage: str | None = None
    progress: float | None = 0.0
    changed: bool = False

    def report(self, stage: str, progress: float | None) -> None:
        self.stage, self.progress, self.changed = stage, progress, True


class Worker:
    """Works off waiting sessions from `start` to `stop`.

    leases: the same database on a connection of its own, which the keeper never waits for: where
        it shared the pool with requests, a loaded server lost the leases of its own work.
    """

    def __init__(
        self,
        db: Db,
        storage: Storage,
        bell: Bell,
        engines: Mapping[str, EngineSpec],
        *,
        vault: Vault,
        egress: EgressRules,
        leases: Db,
        default_engine: str,
        limits: WorkerLimits,
    ) -> None:
        self.name = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._db = db
        self._vault = vault
        self._leases = leases
        self._egress = egress
        self._storage = storage
        self._engines = engines
        self._default_engine = default_engine
        self._limits = limits
        self._bell = bell
        self._stopping = threading.Event()
        self._attempts: list[Attempt] = []
        self._guard = threading.Lock()
        self._processes: list[Processes] = [
            {
                name: EngineProcess(spec, memory_mb=limits.memory_mb)
                for name, spec in engines.items()
            }
            for _ in range(limits.concurrency)
        ]
        self._slots = [
            threading.Thread(
                target=self._slot, args=(bell.slot(), processes), name=f"slot-{n}", daemon=True
            )
            for n, processes in enumerate(self._processes)
        ]
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._mender = threading.Thread(target=self._mend, name="mender", daemon=True)
        self._ended = threading.Event()
        self.engine_trouble: dict[str, str] = {}
        """Engines that could not be made ready, with the reason; nothing is claimed for them."""

    def start(self) -> None:
        leftovers = scratch.remove_leftovers()
        if leftovers:
            log.info("scratch.removed", folders=leftovers)
        for thread in (self._keeper, self._mender, *self._slots):
            thread.start()

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in (*self._slots, self._keeper, self._mender))

    def cancel(self, session_id: UUID) -> None:
        """End the attempt at this session, if one is made here: it is erased or another's."""
        with self._guard:
            # More than one, where a lease was lost and another slot has taken over.
            found = [one for one in self._attempts if one.session_id == session_id]
        for attempt in found:
            attempt.cancelled.set()

    def stop(self, *, grace_s: float) -> None:
        """Claim nothing more, let what is in work finish for a while, then release it."""
        self._stopping.set()
        self._bell.ring()
        deadline = time.monotonic() + grace_s
        for slot in self._slots:
            slot.join(max(0.0, deadline - time.monotonic()))
        with self._guard:
            rest = list(self._attempts)
        for attempt in rest:
            attempt.cancelled.set()
        for processes in self._processes:
            _close(processes)  # one that loads its weights hears of nothing else
        for thread in (*self._slots, self._mender):
            thread.join()
        self._ended.set()
        self._keeper.join()

    # --- slots ---

    def _slot(self, bell: threading.Event, processes: Processes) -> None:
        # What cannot be loaded must be known before the first session is claimed for it.
        self._warm_up(processes, self._default_engine)
        pause = AGAIN_S
        while True:
            bell.clear()  # before each look: a ring after it, a stop's too, ends the wait
            if self._stopping.is_set():
                break
            try:
                bell.wait(self.work_one(processes))
                pause = AGAIN_S
            except Exception as exc:  # a process edge: a slot must outlive everything
                away = translate(exc)
                log.warning("worker.pause", error=type(exc).__name__, exc_info=away is None)
                self._stopping.wait(pause)
                pause = min(pause * 2, AGAIN_MOST_S)
        _close(processes)

    def _warm_up(self, processes: Processes, engine: str) -> bool:
        try:
            processes[engine].start()
        except EngineUnavailable as exc:
            if not self._stopping.is_set():
                self._note_trouble(engine, exc)
            return False
        return True

    def work_one(self, processes: Processes) -> float:
        """Claim one session and make one attempt at it.

        Returns how long to rest where nobody rings; 0 after an attempt.
        """
        able = [name for name in self._engines if name not in self.engine_trouble]
        with self._db.begin() as tx:
            row = crud.claim(tx, worker=self.name, lease_s=self._limits.lease_s, engines=able)
            due_s = crud.next_due_s(tx, engines=able) if row is None else None
        if row is None:
            rest_s = self._limits.lease_s / 3
            return rest_s if due_s is None else min(due_s, rest_s)
        attempt = Attempt(row.id, row.attempts, row.engine)
        with structlog.contextvars.bound_contextvars(
            session_id=str(row.id), attempt=row.attempts, engine=row.engine
        ):
            log.info("session.claimed", waited_s=_waited_s(row))
            with self._guard:
                self._attempts.append(attempt)
            try:
                self._make(row, attempt, processes)
            finally:
                with self._guard:
                    self._attempts.remove(attempt)
        return 0

    def _make(self, row: TryOnSession, attempt: Attempt, processes: Processes) -> None:
        began = time.monotonic()
        try:
            outcome = self._run(row, attempt, processes)
        except RunCancelled:
            outcome = self._release(attempt) if self._stopping.is_set() else "cancelled"
        except EngineUnavailable as exc:
            # Nobody has looked at the session's pictures: it waits for the engine, however long.
            self._note_trouble(row.engine, exc)
            outcome = self._try_later(attempt, "unavailable", why=exc.detail)
        except EngineError as exc:
            if exc.retryable and attempt.number < self._limits.max_attempts:
                outcome = self._try_later(attempt, exc.failure, why=exc.log)
            else:
                outcome = self._give_up(row, attempt, exc)
        seconds = time.monotonic() - began
        JOBS.labels(row.engine, outcome).inc()
        JOB_SECONDS.labels(row.engine).observe(seconds)
        log.info("attempt.ended", outcome=outcome, seconds=round(seconds, 3))

    def _run(self, row: TryOnSession, attempt: Attempt, processes: Processes) -> str:
        """The way that everybody hopes for. Returns `completed`, or `late`."""
        self._check_egress(row)
        job = self._insist(attempt, lambda: self._read(row))
        output = processes[row.engine].run(
            job,
            timeout_s=self._limits.timeout_s,
            on_progress=attempt.report,
            cancelled=attempt.cancelled,
        )
        key = f"{erasure.OUTPUTS}/{row.id}/{attempt.number}.{SUFFIXES[job.output_format]}"
        lock = self._lock_of_output(row)
        sealed = lock.seal(key, output.data)
        written = receipts.written(sealed)
        try:
            self._insist(attempt, lambda: self._storage.put(key, sealed))
            done = self._insist(
                attempt, lambda: self._complete(row, attempt, key, output, lock, written)
            )
        except RunCancelled:
            done = None
        if done is None and not self._is_kept(row.id, key):
            self._throw_away(key)
            return "late"
        self._let_inputs_go(row)
        log.info("session.completed", size=len(output.data), timings_s=dict(output.timings_s))
        return "completed"

    def _check_egress(self, row: TryOnSession) -> None:
        """The door has, but the operator may have changed his mind since: before a byte is read."""
        try:
            self._egress.check(row.engine, asked=row.options.get("allow_egress") is True)
        except EgressNotAllowed as exc:
            raise EngineError(
                FailureCode.ENGINE_ERROR,
                "Your photos may not be sent to this engine any more, and were not. "
                "Please try another one.",
                log="photos may not leave for this engine: see ALLOWED_EGRESS",
                stage="read",
            ) from exc

    def _read(self, row: TryOnSession) -> Job:
        options = row.options
        try:
            lock = self._vault.key_of(row.id, row.wrapped_key)
            person = self._read_stored(row.input_image_url, lock)
            garment = self._read_garment(row, lock)
        except PictureMissing as exc:
            raise EngineError(
                FailureCode.ENGINE_ERROR, log="a stored picture is missing", stage="read"
            ) from exc
        except PictureUnreadable as exc:
            # Another worker may have that secret, while a new one is being given to all of them.
            log.error("picture.unreadable", unknown_secret=exc.unknown_secret)
            raise EngineError(
                FailureCode.ENGINE_ERROR,
                log="a stored picture cannot be read",
                stage="read",
                retryable=exc.unknown_secret,
            ) from exc
        return Job(
            person=person,
            garment=garment,
            category=_left_open(row, "category"),
            garment_photo_type=_left_open(row, "garment_photo_type"),
            mode=options["mode"],
            seed=options["seed"],
            output_format=cast("OutputFormat", options["output_format"]),
            keep_garment=row.garment_image_url is None,
        )

    def _read_stored(self, key: str | None, lock: PictureKey) -> bytes:
        if key is None:
            raise PictureMissing
        return lock.unseal(key, self._storage.get(key))

    def _lock_of_output(self, row: TryOnSession) -> PictureKey:
        """The session's key; where the inputs go now, a new one: theirs goes with the commit."""
        if row.delete_inputs_early and row.wrapped_key is not None:
            return self._vault.another_key(row.id)
        return self._vault.key_of(row.id, row.wrapped_key)

    def _read_garment(self, row: TryOnSession, lock: PictureKey) -> bytes:
        if row.garment_image_url is not None:
            return self._read_stored(row.garment_image_url, lock)
        garment = catalogue.garment(row.options["garment_id"] or "")
        if garment is None:
            raise PictureMissing
        return garment.path.read_bytes()

    def _complete(
        self,
        row: TryOnSession,
        attempt: Attempt,
        key: str,
        output: Output,
        lock: PictureKey,
        written: Written,
    ) -> TryOnSession | None:
        with self._db.begin() as tx:
            return crud.complete(
                tx,
                attempt.session_id,
                attempt=attempt.number,
                output_key=key,
                quality=output.quality,
                warnings=[{"code": one.code, "message": one.message} for one in output.cautions],
                stage=attempt.stage,
                # Only what is new: who rotates keys may have wrapped the present one anew.
                wrapped_key=None if lock.wrapped == row.wrapped_key else lock.wrapped,
                stored={key: written},
                options=output.category and row.options | {"category": output.category},
            )

    def _try_later(self, attempt: Attempt, outcome: str, *, why: str) -> str:
        wait_s = min(self._limits.retry_s * 2 ** (attempt.number - 1), RETRY_MOST_S)

        def put_back() -> TryOnSession | None:
            with self._db.begin() as tx:
                return crud.put_back(tx, attempt.session_id, attempt=attempt.number, wait_s=wait_s)

        ended = self._end(attempt, put_back)
        if ended is None:
            log.warning("session.retried", code=outcome, why=why, wait_s=wait_s)
        return ended or outcome

    def _give_up(self, row: TryOnSession, attempt: Attempt, exc: EngineError) -> str:
        def fail() -> TryOnSession | None:
            with self._db.begin() as tx:
                return crud.fail(
                    tx,
                    attempt.session_id,
                    attempt=attempt.number,
                    code=exc.failure,
                    reason=exc.detail,
                    stage=exc.stage or attempt.stage,
                )

        ended = self._end(attempt, fail)
        if ended is None:
            log.warning("session.failed", code=exc.failure, why=exc.log)
            self._let_inputs_go(row)
        return ended or exc.failure

    def _end(self, attempt: Attempt, step: Callable[[], TryOnSession | None]) -> str | None:
        """Insist on the move that ends an attempt; why it was not made, or None when it was."""
        try:
            done = self._insist(attempt, step)
        except RunCancelled:
            return "cancelled"
        return "late" if done is None else None

    def _release(self, attempt: Attempt) -> str:
        """Let the session wait again at once, because this worker ends."""
        with self._db.begin() as tx:
            released = crud.put_back(tx, attempt.session_id, attempt=attempt.number)
        return "cancelled" if released is None else "released"

    def _is_kept(self, session_id: UUID, key: str) -> bool:
        """Whether the row has this picture after all.

        A commit whose answer was lost with the connection looks like a failure, and finds the row
        completed when it is tried again: by ourselves.
        """
        with self._db.begin() as tx:
            seen = crud.get_session(tx, session_id)
        return seen is not None and seen.row.output_image_url == key

    def _let_inputs_go(self, row: TryOnSession) -> None:
        """Delete the uploaded pictures of a session that has ended, where that was asked for."""
        if not row.delete_inputs_early:
            return
        try:
            erasure.delete_inputs(self._db, self._storage, [row.id])
        except Exception as exc:
            away = exc if isinstance(exc, ServiceError) else translate(exc)
            if away is None:
                raise
            log.warning("inputs.leftover", code=getattr(away, "code", None))  # see finish_inputs

    def _throw_away(self, key: str) -> None:
        try:
            self._storage.delete(key)
        except ServiceError as exc:
            log.warning("output.leftover", code=exc.code)  # the purge takes the whole folder

    def _insist(self, attempt: Attempt, step: Callable[[], T]) -> T:
        """Try a step until it works: what is done is not lost because a disk is full for a while.

        The keeper prolongs the lease meanwhile. Raises RunCancelled when the session is erased or
        taken over, or this worker ends.
        """
        pause = AGAIN_S
        while True:
            try:
                return step()
            except Exception as exc:
                away = exc if isinstance(exc, ServiceError) else translate(exc)
                if away is None:
                    raise
                log.warning("worker.insists", code=getattr(away, "code", None))
                if attempt.cancelled.wait(pause):
                    raise RunCancelled from exc
                pause = min(pause * 2, AGAIN_MOST_S)

    def _note_trouble(self, engine: str, exc: EngineUnavailable) -> None:
        self.engine_trouble[engine] = exc.detail
        log.error("engine.unavailable", engine=engine, reason=exc.detail)

    # --- the mender ---

    def _mend(self) -> None:
        """Load again, now and then, what did not load; the slots work on for other engines."""
        while not self._stopping.wait(self._limits.lease_s):
            for engine in list(self.engine_trouble):
                try:
                    ready = all(self._warm_up(one, engine) for one in self._processes)
                except Exception:  # a process edge
                    log.exception("engine.not_mended", engine=engine)
                    continue
                if ready:
                    del self.engine_trouble[engine]
                    log.info("engine.mended", engine=engine)
                    self._bell.ring()

    # --- the keeper ---

    def _keep(self) -> None:
        every = self._limits.lease_s / 3
        renewed: dict[Attempt, float] = {}
        while not self._ended.wait(min(PROGRESS_S, every)):
            with self._guard:
                attempts = list(self._attempts)
            now = time.monotonic()
            for attempt in attempts:
                due = now - renewed.get(attempt, 0.0) >= every
                if (due or attempt.changed) and not attempt.cancelled.is_set():
                    self._renew(attempt)
                    renewed[attempt] = now
            renewed = {one: renewed.get(one, now) for one in attempts}

    def _renew(self, attempt: Attempt) -> None:
        changed, attempt.changed = attempt.changed, False
        change: Callable[..., bool] = crud.renew
        if changed:
            change = partial(crud.report, stage=attempt.stage, progress=attempt.progress)
        try:
            with self._leases.begin() as tx:
                ours = change(
                    tx, attempt.session_id, attempt=attempt.number, lease_s=self._limits.lease_s
                )
        except Exception as exc:  # noqa: BLE001 - tried again at the next turn
            attempt.changed = attempt.changed or changed
            log.warning("worker.lease_not_renewed", error=type(exc).__name__)
            return
        if not ours:
            attempt.cancelled.set()


def _close(processes: Processes) -> None:
    """From any thread; what runs or loads ends at once."""
    for process in processes.values():
        process.close()


def _left_open(row: TryOnSession, option: str) -> str:
    """What the client asked for; where that is `auto`, what the catalogue knows of its garment."""
    asked = str(row.options[option])
    known = catalogue.garment(row.options["garment_id"] or "")
    if asked != "auto" or row.garment_image_url is not None or known is None:
        return asked
    return str(getattr(known, option))


def _waited_s(row: TryOnSession) -> float | None:
    if row.started_at is None:
        return None
    return round((row.started_at - row.created_at).total_seconds(), 3)
