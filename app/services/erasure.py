"""The one path by which anything is erased: on request, on expiry, by the purge."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from uuid import UUID

import structlog

from app import crud
from app.database import Db
from app.services.storage import Storage

log = structlog.get_logger(__name__)

INPUTS = "inputs"
OUTPUTS = "outputs"
BATCH = 100

HANDS = 4
"""Threads that delete files. Measured on a busy ext4: one deletes the files of 100 to 400 sessions
a second, because it waits for the disk at each; four delete those of 1,500 to 2,300."""

T = TypeVar("T")


def erase(
    db: Db,
    storage: Storage,
    session_ids: Collection[UUID],
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Erase sessions in any state; returns how many rows are gone.

    First they become invisible, and whoever works on one hears of it; then the files go, then the
    rows. A worker that finishes meanwhile finds no live row and deletes what it wrote; a crash in
    between leaves an expired row, which the next purge takes.
    """
    with db.begin() as tx:
        found = crud.expire(tx, session_ids)
        crud.notify_all(tx, crud.News.ERASED, found)
    if not found:
        return 0

    def delete(session_id: UUID) -> int | None:
        return None if stopped() else delete_files(storage, session_id)

    counts = dict(zip(found, _at_once(delete, found), strict=True))
    done = [session_id for session_id, count in counts.items() if count is not None]
    storage.settle(INPUTS, OUTPUTS)
    with db.begin() as tx:
        rows = crud.remove(tx, done)
    log.info("session.erased", sessions=rows, files=sum(filter(None, counts.values())))
    return rows


def delete_inputs(db: Db, storage: Storage, session_ids: Collection[UUID]) -> None:
    """Delete the uploaded pictures of sessions that live on without."""
    for session_id in session_ids:
        storage.delete_prefix(f"{INPUTS}/{session_id}")
    storage.settle(INPUTS)
    with db.begin() as tx:
        crud.forget_inputs(tx, session_ids)
    log.info("session.inputs_erased", sessions=len(session_ids))


def _at_once(step: Callable[[UUID], T], session_ids: Sequence[UUID]) -> list[T]:
    """Do it for each, some at a time: a disk takes many deletions as quickly as one."""
    if len(session_ids) == 1:
        return [step(session_ids[0])]
    with ThreadPoolExecutor(HANDS, thread_name_prefix="eraser") as pool:
        return list(pool.map(step, session_ids))


def delete_files(storage: Storage, session_id: UUID) -> int:
    """Delete every picture of a session; how many there were."""
    return storage.delete_prefix(f"{INPUTS}/{session_id}") + storage.delete_prefix(
        f"{OUTPUTS}/{session_id}"
    )
