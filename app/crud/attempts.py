"""A session's way through its states, claim by claim."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    Interval,
    Select,
    Text,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.elements import ColumnElement

from app.crud.news import TOLD, notify, payload
from app.crud.records import News
from app.crud.terms import DELIVERIES, LIVE, TABLE, is_live, row_of, seconds
from app.models import TryOnSession
from app.states import FINAL, SOURCES, Status

_NOW = timedelta(0)
"""As a value of a move: the database's present, see `move`."""


class _NextAttempt:
    """As a value of `attempts`: one more than before."""


class _Added(dict[str, Any]):
    """As a value of a JSON object: these members put into what it has."""


class _KeyOfOutput:
    """As a value of `wrapped_key`: none, where the inputs were all that it was for."""


def move(
    tx: Session, session_id: UUID, to: Status, *, only_attempt: int | None = None, **values: Any
) -> TryOnSession | None:
    """Change a live session's state, if it is in a state from which that is allowed; and tell.

    only_attempt: the attempt that the caller has claimed; another one's row is left alone.
    values: further columns; a timedelta is an instant so long after the present.

    Returns the row, or None: somebody else was first, or it is erased. That a session is final is
    written down for its webhook in the same transaction.
    """
    kinds = tuple((name, type(value)) for name, value in values.items())
    change = _moving(to, kinds, fenced=only_attempt is not None)
    given: dict[str, Any] = {f"new_{name}": value for name, value in values.items()}
    news = News.CREATED if to is Status.CREATED else News.CHANGED
    given |= {"session_id": session_id, "only_attempt": only_attempt}
    given["payload"] = payload(tx, news, session_id)
    found = tx.connection().execute(change, given).one_or_none()
    row = None if found is None else row_of(found[1:])
    if row is not None and to in FINAL and row.webhook_url is not None:
        tx.connection().execute(_ANNOUNCE, {"id": uuid4(), "session_id": row.id})
        notify(tx, News.DELIVERY, row.id)
    return row


_ANNOUNCE = insert(DELIVERIES).values(id=bindparam("id"), session_id=bindparam("session_id"))


@cache
def _moving(
    to: Status, kinds: tuple[tuple[str, type], ...], *, fenced: bool
) -> ReturningUpdate[Any]:
    """The statement of a move, for these columns with these kinds of values."""
    row = TABLE.c
    values = {name: _expression(name, kind) for name, kind in kinds}
    change = (
        update(TABLE)
        .where(
            row.id == bindparam("session_id"),
            row.status.in_(SOURCES[to]),
            is_live(row),
        )
        .values(status=to, updated_at=func.now(), **values)
    )
    if fenced:
        change = change.where(row.attempts == bindparam("only_attempt"))
    return change.returning(TOLD, *row)


def _expression(name: str, kind: type) -> ColumnElement[Any]:
    if kind is _NextAttempt:
        return TABLE.c.attempts + 1
    if kind is _KeyOfOutput:
        return case((TABLE.c.delete_inputs_early, None), else_=TABLE.c.wrapped_key)
    if kind is _Added:
        return TABLE.c[name].concat(bindparam(f"new_{name}", type_=TABLE.c[name].type))
    if kind is timedelta:
        return func.now() + bindparam(f"new_{name}", type_=Interval)
    return bindparam(f"new_{name}", type_=TABLE.c[name].type)


def claim(
    tx: Session,
    *,
    worker: str,
    lease_s: float,
    engines: Collection[str],
    only: UUID | None = None,
) -> TryOnSession | None:
    """Take the session that has waited longest, for one of these engines, under a lease.

    only: this one, if it waits.
    """
    waiting, given = (_WAITING, {}) if only is None else (_WAITING_ONE, {"only": only})
    session_id = tx.connection().scalar(waiting, {"engines": list(engines), **given})
    if session_id is None:
        return None
    return move(
        tx,
        session_id,
        Status.PROCESSING,
        attempts=_NextAttempt(),
        claimed_by=worker,
        lease_until=timedelta(seconds=lease_s),
        started_at=_NOW,
        stage=None,
        progress=0.0,
    )


def _waiting() -> Select[Any]:
    row = TABLE.c
    return (
        select(row.id)
        .where(
            row.status == Status.CREATED,
            is_live(row),
            row.engine == func.any(bindparam("engines", type_=ARRAY(Text))),
            or_(row.lease_until.is_(None), row.lease_until <= func.now()),
        )
        .order_by(row.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


_WAITING = _waiting()
_WAITING_ONE = _WAITING.where(TABLE.c.id == bindparam("only"))


def next_due_s(tx: Session, *, engines: Collection[str]) -> float | None:
    """Seconds until a session that was put back may be claimed; None where none waits for that."""
    due = func.min(TryOnSession.lease_until) - func.now()
    seconds = tx.scalar(
        select(func.extract("epoch", due)).where(
            TryOnSession.status == Status.CREATED,
            LIVE,
            TryOnSession.engine.in_(engines),
            TryOnSession.lease_until > func.now(),
        )
    )
    return None if seconds is None else float(seconds)


def renew(tx: Session, session_id: UUID, *, attempt: int, lease_s: float) -> bool:
    """Prolong the lease of a claimed session; False when it is not ours.

    Nothing that anybody sees has changed, so nobody is told and `updated_at` stays.
    """
    return _prolong(tx, session_id, attempt=attempt, lease_s=lease_s)


def report(
    tx: Session,
    session_id: UUID,
    *,
    attempt: int,
    lease_s: float,
    stage: str | None,
    progress: float | None,
) -> bool:
    """The same, and note how far it is, and tell."""
    ours = _prolong(
        tx,
        session_id,
        attempt=attempt,
        lease_s=lease_s,
        updated_at=func.now(),
        stage=stage,
        progress=progress,
    )
    if ours:
        notify(tx, News.PROGRESS, session_id)
    return ours


def _prolong(
    tx: Session, session_id: UUID, *, attempt: int, lease_s: float, **values: object
) -> bool:
    renewed = tx.execute(
        update(TryOnSession)
        .where(
            TryOnSession.id == session_id,
            TryOnSession.status == Status.PROCESSING,
            TryOnSession.attempts == attempt,
            LIVE,
        )
        .values(lease_until=func.now() + seconds(lease_s), **values)
        .returning(TryOnSession.id)
    )
    return renewed.first() is not None


def keep_checkpoint(tx: Session, session_id: UUID, *, attempt: int, checkpoint: bytes) -> bool:
    """Remember what the next attempt at a claimed session should know; False when it is not ours.

    Nothing that anybody sees has changed.
    """
    kept = tx.execute(
        update(TryOnSession)
        .where(
            TryOnSession.id == session_id,
            TryOnSession.status == Status.PROCESSING,
            TryOnSession.attempts == attempt,
            LIVE,
        )
        .values(checkpoint=checkpoint)
        .returning(TryOnSession.id)
    )
    return kept.first() is not None


def put_back(
    tx: Session, session_id: UUID, *, attempt: int, wait_s: float = 0
) -> TryOnSession | None:
    """Let a claimed session wait again, for another attempt: at once, or not before `wait_s`.

    `lease_until` holds that instant: it belongs to the last attempt, until the next one begins.
    """
    return move(
        tx,
        session_id,
        Status.CREATED,
        only_attempt=attempt,
        claimed_by=None,
        lease_until=timedelta(seconds=wait_s) if wait_s else None,
        started_at=None,
        stage=None,
        progress=None,
    )


def fail(
    tx: Session, session_id: UUID, *, attempt: int, code: str, reason: str, stage: str | None = None
) -> TryOnSession | None:
    """End a claimed session without a picture. `reason` is for the shopper."""
    values: dict[str, Any] = {} if stage is None else {"stage": stage}
    return move(
        tx,
        session_id,
        Status.FAILED,
        only_attempt=attempt,
        finished_at=_NOW,
        lease_until=None,
        error_code=code,
        error_reason=reason,
        checkpoint=None,
        wrapped_key=_KeyOfOutput(),
        **values,
    )


def complete(
    tx: Session,
    session_id: UUID,
    *,
    attempt: int,
    output_key: str,
    quality: float | None,
    warnings: Sequence[dict[str, str]],
    stage: str | None,
    wrapped_key: bytes | None = None,
    stored: Mapping[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
) -> TryOnSession | None:
    """End a claimed session with its picture, which is stored already.

    wrapped_key: a new one, the picture's; nobody can read from now on what lies under the old one.
    stored: what is to be remembered of the picture for the receipt.
    options: where the engine has decided what was left open, all of them with that.
    """
    decided: dict[str, Any] = {} if options is None else {"options": options}
    if wrapped_key is not None:
        decided["wrapped_key"] = wrapped_key
    return move(
        tx,
        session_id,
        Status.COMPLETED,
        only_attempt=attempt,
        finished_at=_NOW,
        lease_until=None,
        output_image_url=output_key,
        quality=quality,
        warnings=list(warnings),
        stage=stage,
        progress=1.0,
        stored=_Added(stored or {}),
        provenance=provenance,
        checkpoint=None,
        **decided,
    )


def lost(tx: Session, *, limit: int) -> list[TryOnSession]:
    """Claimed sessions whose lease ran out, locked for this transaction."""
    query = (
        select(TryOnSession)
        .where(
            TryOnSession.status == Status.PROCESSING, TryOnSession.lease_until <= func.now(), LIVE
        )
        .order_by(TryOnSession.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(tx.scalars(query))


def overlooked(tx: Session, *, for_s: float, limit: int) -> list[tuple[UUID, str]]:
    """Sessions that could have been claimed for so long, with their engines; the oldest first."""
    query = (
        select(TryOnSession.id, TryOnSession.engine)
        .where(
            TryOnSession.status == Status.CREATED,
            LIVE,
            func.coalesce(TryOnSession.lease_until, TryOnSession.updated_at)
            <= func.now() - seconds(for_s),
        )
        .order_by(TryOnSession.created_at)
        .limit(limit)
    )
    return [(session_id, engine) for session_id, engine in tx.execute(query)]
