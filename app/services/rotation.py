"""A new SECRET_KEY: sessions' keys and receivers are wrapped anew; files stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog

from app import crud
from app.database import Db, translate
from app.services.crypto import ID_BYTES, PictureUnreadable, Vault

log = structlog.get_logger(__name__)

BATCH = 500


@dataclass(frozen=True)
class Rotation:
    """rewrapped: keys of sessions, and addresses of their webhooks, now under the present secret.

    unreadable: those that cannot be opened: their secret is missing, or they are damaged.
    """

    rewrapped: int = 0
    unreadable: int = 0


def rotate(
    db: Db, vault: Vault, *, on_progress: Callable[[int], None] = lambda _: None
) -> Rotation:
    """Wrap what is wrapped of every live session under the first secret, in batches.

    May be broken off and run again at any time, beside any number of servers: what is done is
    passed over, and a key that changes meanwhile is new and needs nothing.
    """
    rewrapped = unreadable = 0
    for what in crud.WRAPPED:
        after: UUID | None = None
        while True:
            with db.begin() as tx:
                batch = crud.to_rewrap(tx, what, present=vault.ids[0], after=after, limit=BATCH)
                changes = _rewrap(vault, what, batch)
                rewrapped += crud.rewrap(tx, what, changes)
            if not batch:
                break
            unreadable += len(batch) - len(changes)
            after = batch[-1][0]
            on_progress(rewrapped)
    log.info("keys.rotated", rewrapped=rewrapped, unreadable=unreadable)
    return Rotation(rewrapped, unreadable)


def check_newest(db: Db, vault: Vault) -> None:
    """Log an error where the youngest session's key is under a secret that is not here.

    One row tells of a SECRET_KEY that was exchanged or lost, before somebody misses a picture.
    """
    try:
        with db() as tx:
            newest = crud.newest_key(tx)
    except Exception as exc:
        if translate(exc) is None:
            raise
        return  # away again
    if newest is not None and newest[:ID_BYTES] not in vault.ids:
        log.error("keys.unknown_secret", hint="add the secret of before to SECRET_KEY: new,old")


def _rewrap(
    vault: Vault, what: crud.Wrapped, batch: list[tuple[UUID, bytes]]
) -> list[tuple[UUID, bytes, bytes]]:
    changes = []
    step = vault.rewrap if what == "wrapped_key" else vault.reseal_url
    for session_id, wrapped in batch:
        try:
            changes.append((session_id, wrapped, step(session_id, wrapped)))
        except PictureUnreadable as exc:
            log.error(
                "picture.unreadable", session_id=str(session_id), unknown_secret=exc.unknown_secret
            )
    return changes
