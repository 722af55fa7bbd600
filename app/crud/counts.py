"""How many wait, what is in work, and who works: for health, metrics and an operator."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, literal, select, text
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.crud.records import COUNT_TO, EngineQueue, InWork, Queue
from app.crud.terms import LIVE, TABLE, is_live
from app.models import TryOnSession
from app.states import Status

PRESENCE_LOCK = 727_001
"""The first number of the shared advisory lock that a live worker process holds."""


def queue(tx: Session) -> Queue:
    """One statement that reads no more than it tells, however many rows there are."""
    waiting, processing, oldest_s, overdue_s = tx.connection().execute(_QUEUE).one()
    return Queue(waiting, processing, float(oldest_s or 0), max(0.0, float(overdue_s or 0)))


def _how_many(status: Status) -> ColumnElement[int]:
    found = select(literal(1)).where(TABLE.c.status == status, is_live(TABLE.c))
    return select(func.count()).select_from(found.limit(COUNT_TO).subquery()).scalar_subquery()


def _since(column: ColumnElement[datetime], *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    """Seconds since the first of these instants. Asked in order: `min` would read them all."""
    first = select(column).where(*conditions).order_by(column).limit(1).scalar_subquery()
    return func.extract("epoch", func.now() - first)


_QUEUE = select(
    _how_many(Status.CREATED),
    _how_many(Status.PROCESSING),
    _since(
        TABLE.c.created_at,
        TABLE.c.status == Status.CREATED,
        is_live(TABLE.c),
    ),
    _since(TABLE.c.expires_at),
)


def queues(tx: Session) -> list[EngineQueue]:
    """One an engine that has any, by name."""
    row = TryOnSession
    waits = row.status == Status.CREATED
    oldest = func.extract("epoch", func.now() - func.min(row.created_at).filter(waits))
    query = (
        select(
            row.engine,
            func.count().filter(waits),
            func.count().filter(~waits),
            func.coalesce(oldest, 0),
        )
        .where(row.status.in_([Status.CREATED, Status.PROCESSING]), LIVE)
        .group_by(row.engine)
        .order_by(row.engine)
    )
    return [
        EngineQueue(engine, waiting, processing, float(oldest_s))
        for engine, waiting, processing, oldest_s in tx.execute(query)
    ]


def in_work(tx: Session, *, limit: int) -> list[InWork]:
    """The longest first."""
    row = TryOnSession
    since = func.extract("epoch", func.now() - row.started_at)
    lease = func.extract("epoch", row.lease_until - func.now())
    query = (
        select(row, since, lease)
        .where(row.status == Status.PROCESSING, LIVE)
        .order_by(row.started_at)
        .limit(limit)
    )
    return [InWork(found, float(age), float(left)) for found, age, left in tx.execute(query)]


def as_present(worker: str) -> str:
    """The name of the connection by which a worker is seen to live."""
    return f"tryonai {worker}"


_PRESENT = (
    "pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
    " AND classid = :key AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def worker_names(tx: Session) -> list[str]:
    """Of the worker processes that are alive, on any host: each holds a shared lock.

    As they claim sessions. Where news go over Redis nobody holds it.
    """
    found = text(
        f"SELECT application_name FROM {_PRESENT} ORDER BY application_name"  # noqa: S608
    )
    names = tx.scalars(found, {"key": PRESENCE_LOCK})
    return [name.removeprefix(as_present("")) for name in names]
