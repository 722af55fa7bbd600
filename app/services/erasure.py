"""The one path by which anything is erased: on request, on expiry, by the purge."""

from __future__ import annotations

from collections.abc import Callable, Collection
from uuid import UUID

import structlog

from app import crud
from app.database import Db
from app.services.storage import Storage

log = structlog.get_logger(__name__)

INPUTS = "inputs"
OUTPUTS = "outputs"
BATCH = 100


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
        for session_id in found:
            crud.notify(tx, crud.News.ERASED, session_id)
    if not found:
        return 0
    files = 0
    done: list[UUID] = []
    for session_id in found:
        if stopped():
            break
        files += delete_files(storage, session_id)
        done.append(session_id)
    with db.begin() as tx:
        rows = crud.remove(tx, done)
    log.info("session.erased", sessions=rows, files=files)
    return rows


def delete_inputs(db: Db, storage: Storage, session_ids: Collection[UUID]) -> None:
    """Delete the uploaded pictures of sessions that live on without."""
    for session_id in session_ids:
        storage.delete_prefix(f"{INPUTS}/{session_id}")
    with db.begin() as tx:
        crud.forget_inputs(tx, session_ids)
    log.info("session.inputs_erased", sessions=len(session_ids))


def delete_files(storage: Storage, session_id: UUID) -> int:
    """Delete every picture of a session; how many there were."""
    return storage.delete_prefix(f"{INPUTS}/{session_id}") + storage.delete_prefix(
        f"{OUTPUTS}/{session_id}"
    )
