"""Parts of statements: the tables, what it means to be live, lengths of time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ARRAY, Interval, Table, Uuid, and_, func, literal
from sqlalchemy.sql.elements import ColumnElement

from app.models import Delivery, TryOnSession

TABLE = cast("Table", TryOnSession.__table__)
DELIVERIES = cast("Table", Delivery.__table__)


def is_live(row: Any) -> ColumnElement[bool]:
    """row: the class, an alias of it, or the columns of the table.

    Its time alone would not tell: where the clock is set back, what was erased has time left again.
    """
    return and_(row.expires_at > func.now(), row.erasing.is_(None))


LIVE = is_live(TryOnSession)


def row_of(columns: Sequence[Any]) -> TryOnSession:
    """A row as the ORM would have read it, but part of no session."""
    return TryOnSession(**dict(zip(TABLE.c.keys(), columns, strict=True)))


def among(session_ids: Collection[UUID]) -> ColumnElement[bool]:
    """One array and not a list of parameters, which would be written out for each call."""
    return TryOnSession.id == func.any(literal(list(session_ids), ARRAY(Uuid)))


def seconds(count: float) -> ColumnElement[timedelta]:
    return interval(timedelta(seconds=count))


def interval(length: timedelta) -> ColumnElement[timedelta]:
    return literal(length, Interval)
