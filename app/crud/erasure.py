"""What is over goes: the uploads first where a client asked for that, then rows."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, case, delete, exists, func, select, union_all, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.crud.news import notify_all
from app.crud.records import Erased, Hidden, News
from app.crud.terms import among, interval
from app.models import TryOnSession
from app.states import FINAL

_time_left_again = and_(TryOnSession.erasing.is_not(None), TryOnSession.expires_at > func.now())
"""Its erasure has begun, and then the clock was set back."""


def expire(tx: Session, session_ids: Collection[UUID], *, reason: str) -> dict[UUID, Hidden]:
    """Make sessions invisible, and tell; returns those that there were, expired ones included.

    reason: why they are erased; of several who begin, the first one's counts.
    """
    row = TryOnSession
    ended = and_(row.erasing.is_(None), row.expires_at <= func.now())
    were = {one[0]: bool(one[1]) for one in _lock(tx, session_ids, ended)}
    change = (
        update(row)
        .where(among(list(were)))
        .values(
            expires_at=func.least(row.expires_at, func.now()),
            erasing=func.coalesce(row.erasing, reason),
        )
        .returning(row.id, row.stored)
    )
    found = {one.id: Hidden(one.stored, ended=were[one.id]) for one in tx.execute(change)}
    notify_all(tx, News.ERASED, list(found))
    return found


def inputs_due(tx: Session, *, limit: int, skip: int = 0) -> list[UUID]:
    """Sessions that are final and whose uploaded pictures should be gone by now.

    Without the first `skip`.
    """
    query = (
        select(TryOnSession.id)
        .where(
            TryOnSession.delete_inputs_early,
            TryOnSession.input_image_url.is_not(None),
            TryOnSession.status.in_(FINAL),
        )
        .order_by(TryOnSession.finished_at, TryOnSession.id)
        .offset(skip)
        .limit(limit)
    )
    return list(tx.scalars(query))


def forget_inputs(tx: Session, session_ids: Collection[UUID]) -> None:
    """Note that the uploaded pictures of these are gone."""
    change = update(TryOnSession).where(among(_locked(tx, session_ids)))
    tx.execute(change.values(input_image_url=None, garment_image_url=None))


def ids_of(tx: Session, *, owners: Collection[str]) -> list[UUID]:
    """An owner's sessions, expired ones included."""
    query = select(TryOnSession.id).where(TryOnSession.user_token.in_(owners))
    return list(tx.scalars(query))


def expired(
    tx: Session, *, limit: int, skip: int = 0, within: timedelta | None = None
) -> list[UUID]:
    """Sessions that are over, longest first, without the first `skip`.

    within: only those that fell due so lately.
    """
    row = TryOnSession

    def first(over: ColumnElement[bool]) -> Select[UUID, datetime]:
        query = select(row.id, row.expires_at).where(over).order_by(row.expires_at, row.id)
        if within is not None:
            query = query.where(row.expires_at > func.now() - interval(within))
        return query.limit(skip + limit)

    # Not one query with OR: each has an index of its own.
    over = union_all(first(row.expires_at <= func.now()), first(_time_left_again)).subquery()
    query = select(over.c.id).order_by(over.c.expires_at, over.c.id).offset(skip).limit(limit)
    return list(tx.scalars(query))


def next_expiry_s(tx: Session, *, within: timedelta) -> float | None:
    """Seconds until a session falls due, at most 0 where one has so lately; None without any."""
    due = func.extract("epoch", func.min(TryOnSession.expires_at) - func.now())
    after = func.now() - interval(within)
    next_s = select(due).where(TryOnSession.expires_at > after).scalar_subquery()
    begun = exists().where(_time_left_again)
    seconds = tx.scalar(select(case((begun, func.least(next_s, 0)), else_=next_s)))
    return None if seconds is None else float(seconds)


def remove(tx: Session, session_ids: Collection[UUID]) -> list[Erased]:
    """Delete rows after `expire`, whose files are gone already. Add their receipts!"""
    row = TryOnSession
    gone = delete(row).where(among(_locked(tx, session_ids)), row.erasing.is_not(None))
    # The clock of the statement, not of its transaction, which began before it had the locks.
    found = gone.returning(row.id, row.stored, row.erasing, func.clock_timestamp())
    return [Erased(*columns) for columns in tx.execute(found)]


def _locked(tx: Session, session_ids: Collection[UUID]) -> list[UUID]:
    return [found.id for found in _lock(tx, session_ids)]


def _lock(tx: Session, session_ids: Collection[UUID], *more: ColumnElement[bool]) -> list[Any]:
    """Lock these rows one after the other, everybody in the same order; ids, and more of them.

    A single UPDATE locks in the order of its plan, and two of them can end in a deadlock.
    """
    query = (
        select(TryOnSession.id, *more)
        .where(among(session_ids))
        .order_by(TryOnSession.id)
        .with_for_update()
    )
    return list(tx.execute(query))
