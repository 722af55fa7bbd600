"""The one path by which anything is erased: on request, on expiry, by the purge."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog

from app import crud
from app.database import Db, settle
from app.errors import ServiceError
from app.services import receipts
from app.services.receipts import Document, Issuer, Reason, Stored, Written
from app.services.storage import PictureMissing, Storage

log = structlog.get_logger(__name__)

INPUTS = "inputs"
OUTPUTS = "outputs"
BATCH = 100

HANDS = 4
"""Threads that delete files. Measured on a busy ext4: one deletes the files of 100 to 400 sessions
a second, because it waits for the disk at each; four delete those of 1,500 to 2,300."""

T = TypeVar("T")


@dataclass
class Found:
    """What was deleted of a session.

    files: all of it. read: what its row did not remember, and was looked at before. others: how
    many of that could not be.
    """

    files: int = 0
    read: dict[str, Written] = field(default_factory=dict)
    others: int = 0


def erase(
    db: Db,
    storage: Storage,
    issuer: Issuer,
    session_ids: Collection[UUID],
    *,
    reason: Reason,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Document]:
    """Erase sessions in any state; returns the receipts of those whose rows are gone by this.

    First they become invisible, and whoever works on one hears of it; then the files go, then the
    rows, and with them, in the same transaction, come the receipts. A worker that finishes
    meanwhile finds no live row and deletes what it wrote; a crash in between leaves an expired row,
    which the next purge takes. When this returns no process shows any of them (docs/adr/0017).
    """
    with db.begin() as tx:
        known = crud.expire(tx, session_ids, reason=reason)
    if not known:
        return []

    def delete(session_id: UUID) -> Found | None:
        stored = known[session_id].stored
        return None if stopped() else delete_files(storage, session_id, known=stored)

    tried = zip(known, _at_once(delete, list(known)), strict=True)
    done = {session_id: found for session_id, found in tried if found is not None}
    storage.settle(INPUTS, OUTPUTS)
    # Before the rows go: who finds none says at once that all is gone. What ended by itself was
    # kept by nobody for longer.
    settle(db, [session_id for session_id, hidden in known.items() if not hidden.ended])
    with db.begin() as tx:
        rows = crud.remove(tx, done)
        signed = [_sign(issuer, row, done[row.id]) for row in rows]
        if issuer.keep:
            crud.add_receipts(tx, signed)
    log.info("session.erased", sessions=len(rows), files=sum(one.files for one in done.values()))
    return signed


def erase_what_can_be(
    db: Db,
    storage: Storage,
    issuer: Issuer,
    session_ids: Sequence[UUID],
    *,
    reason: Reason,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[list[Document], list[ServiceError]]:
    """Erase a batch at once; where the storage refuses, one by one, so that one does not stop all.

    Returns the receipts, and why others could not be erased: they are invisible and tried again.
    """
    try:
        return erase(db, storage, issuer, session_ids, reason=reason, stopped=stopped), []
    except ServiceError:
        signed: list[Document] = []
        refused: list[ServiceError] = []
        for session_id in session_ids:
            if stopped():
                break
            try:
                signed += erase(db, storage, issuer, [session_id], reason=reason)
            except ServiceError as exc:
                refused.append(exc)
                log.warning("erasure.refused", session_id=str(session_id), code=exc.code)
        return signed, refused


def hide(db: Db, session_ids: Sequence[UUID], *, reason: Reason) -> None:
    """Make sessions invisible that are about to be erased, however long that takes."""
    for start in range(0, len(session_ids), BATCH):
        with db.begin() as tx:
            crud.expire(tx, session_ids[start : start + BATCH], reason=reason)


def delete_inputs(db: Db, storage: Storage, session_ids: Collection[UUID]) -> int:
    """Delete the uploaded pictures of sessions that live on without; of how many it was refused."""
    done: list[UUID] = []
    for session_id in session_ids:
        try:
            storage.delete_prefix(f"{INPUTS}/{session_id}")
        except ServiceError as exc:
            log.warning("inputs.leftover", session_id=str(session_id), code=exc.code)
        else:
            done.append(session_id)
    storage.settle(INPUTS)
    with db.begin() as tx:
        crud.forget_inputs(tx, done)
    log.info("session.inputs_erased", sessions=len(done))
    return len(session_ids) - len(done)


def _at_once(step: Callable[[UUID], T], session_ids: Sequence[UUID]) -> list[T]:
    """Do it for each, some at a time: a disk takes many deletions as quickly as one."""
    if len(session_ids) == 1:
        return [step(session_ids[0])]
    left = iter(session_ids)  # of a list: each hand takes the next one
    done: dict[UUID, T] = {}

    def work() -> None:
        for session_id in left:
            done[session_id] = step(session_id)

    with ThreadPoolExecutor(HANDS, thread_name_prefix="eraser") as pool:
        hands = [pool.submit(work) for _ in range(HANDS)]
    for hand in hands:
        hand.result()
    return [done[session_id] for session_id in session_ids]


def delete_files(storage: Storage, session_id: UUID, *, known: Stored) -> Found:
    """Delete every file of a session.

    known: what its row remembers. What is there beside that, drafts and pictures of lost attempts,
    is read first, so that the receipt can tell of it.
    """
    found = Found()
    for prefix in (f"{INPUTS}/{session_id}", f"{OUTPUTS}/{session_id}"):
        listed = 0
        for one in storage.objects(prefix):
            listed += one.key in known or _read(storage, one.key, found)
        deleted = storage.delete_prefix(prefix)
        found.files += deleted
        found.others += max(0, deleted - listed)  # no objects of ours, or written just now
    return found


def _read(storage: Storage, key: str, found: Found) -> bool:
    try:
        found.read[key] = receipts.written(storage.get(key))
    except (PictureMissing, ServiceError):  # what cannot be read must go all the same
        return False
    return True


def _sign(issuer: Issuer, row: crud.Erased, found: Found) -> Document:
    return issuer.issue(
        row.id,
        reason=row.reason,
        erased_at=row.now,
        stored={**found.read, **row.stored},
        others=found.others,
    )
