"""The keys of sessions, wrapped under those of SECRET_KEY."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary, Update, bindparam, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.crud.records import WRAPPED, Wrapped
from app.crud.terms import LIVE, TABLE
from app.models import TryOnSession
from app.services.crypto import ID_BYTES


def keys_by_secret(tx: Session) -> dict[bytes, int]:
    """How many live sessions have their key under each wrapping key, by the id of that."""
    id_ = _key_id(TryOnSession.wrapped_key)
    query = select(id_, func.count()).where(TryOnSession.wrapped_key.is_not(None), LIVE)
    return {bytes(found): count for found, count in tx.execute(query.group_by(id_))}


def newest_key(tx: Session) -> bytes | None:
    """The wrapped key of the live session that expires last, where it has one."""
    query = select(TryOnSession.wrapped_key).where(LIVE).order_by(TryOnSession.expires_at.desc())
    return tx.scalar(query.limit(1))


def to_rewrap(
    tx: Session, what: Wrapped, *, present: bytes, after: UUID | None, limit: int
) -> list[tuple[UUID, bytes]]:
    """Live sessions of which this is not under the present wrapping key, in the order of ids."""
    column = getattr(TryOnSession, what)
    query = (
        select(TryOnSession.id, column)
        .where(LIVE, _key_id(column) != present)
        .order_by(TryOnSession.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(TryOnSession.id > after)
    return [(id_, wrapped) for id_, wrapped in tx.execute(query) if wrapped is not None]


def rewrap(tx: Session, what: Wrapped, changes: Sequence[tuple[UUID, bytes, bytes]]) -> int:
    """Exchange what is wrapped: of a session, from what, to what. What has changed since stays.

    Returns how many were exchanged.
    """
    given = [{"session_id": id_, "was": was, "becomes": becomes} for id_, was, becomes in changes]
    return tx.connection().execute(_REWRAP[what], given).rowcount if given else 0


def _key_id(column: Any) -> ColumnElement[bytes]:
    return func.substring(column, 1, ID_BYTES, type_=LargeBinary)


_REWRAP: dict[Wrapped, Update] = {
    what: update(TABLE)
    .where(TABLE.c.id == bindparam("session_id"), TABLE.c[what] == bindparam("was"))
    .values({what: bindparam("becomes")})
    for what in WRAPPED
}
