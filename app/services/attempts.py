"""One attempt at a session, from claim to end; and the keeper of the leases meanwhile.

Whoever works makes its attempts here: slots that look for themselves, and workers that a message
tells of a session. The keeper, a thread, prolongs the leases of all that is in work, and cancels
what is no longer ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

import structlog

from app import catalogue, crud, tracing
from app.database import Db, translate
from app.engines.frames import Job, Output, OutputFormat
from app.engines.pool import EnginePool, Process
from app.engines.process import Watcher
from app.errors import (
    EgressNotAllowed,
    EngineError,
    EngineUnavailable,
    FailureCode,
    RunCancelled,
    ServiceError,
)
from app.metrics import JOB_SECONDS, JOBS, WAIT_SECONDS
from app.models import TryOnSession
from app.services import erasure, receipts
from app.services.crypto import PictureKey, PictureUnreadable, Vault
from app.services.egress import EgressRules
from app.services.queue import Queue
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


@dataclass(frozen=True)
class WorkerLimits:
    """What a worker may take.

    concurrency: attempts at once.
    timeout_s, memory_mb: what one run may take, where its engine says nothing else.
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
    """A claimed session in work. Everything but what cancels it belongs to who makes it.

    erased: by its owner or its time, so that nobody will take up what was begun.
    """

    session_id: UUID
    number: int
    engine: str
    cancelled: threading.Event = field(default_factory=threading.Event)
    erased: bool = False
    stage: str | None = None
    progress: float | None = 0.0
    changed: bool = False

    def report(self, stage: str, progress: float | None) -> None:
        self.stage, self.progress, self.changed = stage, progress, True


class Attempts:
    """Those of one worker. `start` and `stop` are the keeper's.

    queue: told of what is put back. engines: their processes, by name.
    leases: the same database on a connection of its own, which the keeper never waits for: where
        it shared the pool with requests, a loaded server lost the leases of its own work.
    """

    def __init__(
        self,
        db: Db,
        storage: Storage,
        queue: Queue,
        engines: Mapping[str, EnginePool],
        *,
        vault: Vault,
        egress: EgressRules,
        leases: Db,
        limits: WorkerLimits,
    ) -> None:
        self.name = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._db = db
        self._vault = vault
        self._leases = leases
        self._egress = egress
        self._storage = storage
        self._queue = queue
        self._engines = engines
        self._limits = limits
        self._in_work: list[Attempt] = []
        self._guard = threading.Lock()
        self._claiming = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._ended = threading.Event()
        self.stopping = threading.Event()
        """Once set, what is cancelled is put back."""
        self.trouble: dict[str, str] = {}
        """Engines that could not be made ready, with the reason; nothing is claimed for them."""

    def start(self) -> None:
        self._keeper.start()

    @property
    def alive(self) -> bool:
        return self._keeper.is_alive()

    def stop(self) -> None:
        """When nothing is in work any more."""
        self._ended.set()
        self._keeper.join()

    def cancel(self, session_id: UUID) -> None:
        """End the attempt at this session, if one is made here: it is erased or another's."""
        with self._guard:
            # More than one, where a lease was lost and another slot has taken over.
            found = [one for one in self._in_work if one.session_id == session_id]
        for attempt in found:
            attempt.erased = True
            attempt.cancelled.set()

    def cancel_all(self) -> None:
        with self._guard:
            rest = list(self._in_work)
        for attempt in rest:
            attempt.cancelled.set()

    def make_one(self, *, only: UUID | None = None) -> bool:
        """Claim a session and make one attempt at it; False where there is none to claim.

        only: this session, and not the one that has waited longest.
        """
        with ExitStack() as stack:
            # One at a time: what is free as one looks is still free when it has claimed.
            with self._claiming:
                if self.stopping.is_set():
                    return False
                with self._db.begin() as tx:
                    row = crud.claim(
                        tx,
                        worker=self.name,
                        lease_s=self._limits.lease_s,
                        engines=self._able(),
                        only=only,
                    )
                if row is None:
                    return False
                process = stack.enter_context(self._engines[row.engine].one())
            self._attempt(row, process)
        return True

    def _attempt(self, row: TryOnSession, process: Process) -> None:
        attempt = Attempt(row.id, row.attempts, row.engine)
        known: dict[str, Any] = {"session_id": str(row.id)}
        known |= {"attempt": row.attempts, "engine": row.engine}
        if row.request_id is not None:
            known["request_id"] = row.request_id
        with structlog.contextvars.bound_contextvars(**known), _traced(row) as span:
            waited_s = _waited_s(row)
            log.info("session.claimed", waited_s=waited_s)
            if row.attempts == 1 and waited_s is not None:
                WAIT_SECONDS.labels(row.engine).observe(waited_s)
            with self._guard:
                self._in_work.append(attempt)
            try:
                outcome = self._make(row, attempt, process)
                span.note({"tryonai.outcome": outcome})
                if outcome in tuple(FailureCode):
                    span.fail(outcome)
            finally:
                with self._guard:
                    self._in_work.remove(attempt)

    def rest_s(self) -> float:
        """How long to rest, where nobody rings, before something may be there to claim."""
        with self._db.begin() as tx:
            due_s = crud.next_due_s(tx, engines=self._able())
        most_s = self._limits.lease_s / 3
        return most_s if due_s is None else min(due_s, most_s)

    def note_trouble(self, engine: str, exc: EngineUnavailable) -> None:
        self.trouble[engine] = exc.detail
        log.error("engine.unavailable", engine=engine, reason=exc.detail)

    def _able(self) -> list[str]:
        """The engines that load and have a process free."""
        return [
            name
            for name, pool in self._engines.items()
            if name not in self.trouble and pool.busy < pool.size
        ]

    def _make(self, row: TryOnSession, attempt: Attempt, process: Process) -> str:
        """Returns the outcome."""
        began = time.monotonic()
        try:
            outcome = self._run(row, attempt, process)
        except RunCancelled:
            outcome = self._release(attempt) if self.stopping.is_set() else "cancelled"
        except EngineUnavailable as exc:
            # Nobody has looked at the session's pictures: it waits for the engine, however long.
            self.note_trouble(row.engine, exc)
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
        return outcome

    def _run(self, row: TryOnSession, attempt: Attempt, process: Process) -> str:
        """The way that everybody hopes for. Returns `completed`, or `late`."""
        self._check_egress(row)
        with tracing.span("read"):
            job = self._insist(attempt, lambda: self._read(row))
        with tracing.span("run"):
            output = process.run(
                job,
                Watcher(
                    attempt.cancelled,
                    on_progress=attempt.report,
                    on_checkpoint=partial(self._keep_checkpoint, row, attempt),
                    for_good=lambda: attempt.erased,
                ),
                timeout_s=self._engines[row.engine].timeout_s or self._limits.timeout_s,
            )
            _trace_stages(output, ended=time.time())
        key = f"{erasure.OUTPUTS}/{row.id}/{attempt.number}.{SUFFIXES[job.output_format]}"
        lock = self._lock_of_output(row)
        sealed = lock.seal(key, output.data)
        written = receipts.written(sealed)
        try:
            with tracing.span("store"):
                self._insist(attempt, lambda: self._storage.put(key, sealed))
            with tracing.span("commit"):
                done = self._insist(
                    attempt, lambda: self._complete(row, attempt, key, output, lock, written)
                )
        except RunCancelled:
            if not self._is_kept(row.id, key):
                self._throw_away(key)
                raise
        else:
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
            left = row.checkpoint and lock.unseal(_checkpoint_name(row), row.checkpoint)
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
            key=hashlib.sha256(f"tryonai job {row.id}".encode()).hexdigest()[:32],
            resume=json.loads(left) if left else None,
        )

    def _keep_checkpoint(self, row: TryOnSession, attempt: Attempt, state: str) -> None:
        """Have the next attempt know it. Raises RunCancelled where this one is out of date."""
        lock = self._vault.key_of(row.id, row.wrapped_key)
        sealed = lock.seal(_checkpoint_name(row), state.encode())

        def keep() -> bool:
            with self._db.begin() as tx:
                return crud.keep_checkpoint(
                    tx, attempt.session_id, attempt=attempt.number, checkpoint=sealed
                )

        if not self._insist(attempt, keep):
            attempt.cancelled.set()
            raise RunCancelled

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
                provenance=_provenance(row, output),
            )

    def _try_later(self, attempt: Attempt, outcome: str, *, why: str) -> str:
        wait_s = min(self._limits.retry_s * 2 ** (attempt.number - 1), RETRY_MOST_S)

        def put_back() -> TryOnSession | None:
            with self._db.begin() as tx:
                return crud.put_back(tx, attempt.session_id, attempt=attempt.number, wait_s=wait_s)

        ended = self._end(attempt, put_back)
        if ended is None:
            log.warning("session.retried", code=outcome, why=why, wait_s=wait_s)
            self._queue.notify(attempt.session_id, engine=attempt.engine, after_s=wait_s)
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
        if released is None:
            return "cancelled"
        self._queue.notify(attempt.session_id, engine=attempt.engine)
        return "released"

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
            # The erasure takes the whole folder, or has already: then it is the sweep's.
            log.warning("output.leftover", code=exc.code)

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

    # --- the keeper ---

    def _keep(self) -> None:
        every = self._limits.lease_s / 3
        renewed: dict[Attempt, float] = {}
        while not self._ended.wait(min(PROGRESS_S, every)):
            with self._guard:
                attempts = list(self._in_work)
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


def _checkpoint_name(row: TryOnSession) -> str:
    """What a checkpoint is sealed for: it is never taken for a picture, or another session's."""
    return f"checkpoints/{row.id}"


def _provenance(row: TryOnSession, output: Output) -> dict[str, Any]:
    """What somebody needs who wants to make the picture again, from the same two."""
    maker, cost = output.maker, output.cost
    return {
        "engine": maker.engine if maker else row.engine,
        "version": maker.version if maker else "",
        "weights": dict(maker.weights) if maker else {},
        "seed": output.seed,
        "category": output.category or _left_open(row, "category"),
        "options": {
            "garment_photo_type": _left_open(row, "garment_photo_type"),
            "mode": row.options["mode"],
            "output_format": row.options["output_format"],
        },
        "cost": cost and {"amount": str(cost.amount), "unit": cost.unit},
        "details": dict(output.details),
    }


def _traced(row: TryOnSession) -> AbstractContextManager[tracing.Span]:
    """The attempt as a step of the create's trace, after the wait, which is over."""
    about: dict[str, str | int] = {
        "tryonai.engine": row.engine,
        "tryonai.attempt": row.attempts,
    }
    if row.attempts == 1 and row.started_at is not None:
        began, ended = row.created_at, row.started_at
        tracing.past("queue", about, began=began, ended=ended, parent=row.traceparent)
    about["tryonai.mode"] = row.options["mode"]
    return tracing.span("attempt", about, kind="CONSUMER", parent=row.traceparent)


def _trace_stages(output: Output, *, ended: float) -> None:
    """The engine's stages, from the last one back: it tells how long each took, one by one."""
    for stage, seconds in reversed(list(output.timings_s.items())):
        tracing.past(stage, began=ended - seconds, ended=ended)
        ended -= seconds


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
