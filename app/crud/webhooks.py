"""Deliveries of webhooks."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ARRAY, Text, and_, bindparam, func, literal, select, update
from sqlalchemy.orm import Session, undefer
from sqlalchemy.sql.elements import ColumnElement

from app.crud.records import COUNT_TO, Claimed
from app.crud.terms import DELIVERIES, LIVE, interval, seconds
from app.models import Delivery, TryOnSession
from app.states import DeliveryState


def _due(*, busy: bool) -> ColumnElement[bool]:
    """Of deliveries joined with their sessions: to be made for a session that still lives."""
    pending = and_(Delivery.state == DeliveryState.PENDING, LIVE)
    if not busy:
        return pending
    others = TryOnSession.webhook_receiver != func.all(bindparam("busy", type_=ARRAY(Text)))
    return and_(pending, others)


def claim_delivery(
    tx: Session, *, by: str, lease_s: float, busy: Collection[str]
) -> Claimed | None:
    """Take the delivery that is due longest, but to none of these receivers, under a lease."""
    found = tx.execute(
        select(Delivery.id, TryOnSession)
        .options(undefer(TryOnSession.request_id), undefer(TryOnSession.traceparent))
        .join(TryOnSession, TryOnSession.id == Delivery.session_id)
        .where(_due(busy=True), Delivery.next_at <= func.now())
        .order_by(Delivery.next_at)
        .limit(1)
        .with_for_update(of=Delivery, skip_locked=True),
        {"busy": list(busy)},
    ).one_or_none()
    if found is None:
        return None
    delivery_id, row = found
    attempt = tx.scalars(
        update(Delivery)
        .where(Delivery.id == delivery_id)
        .values(
            attempts=Delivery.attempts + 1,
            claimed_by=by,
            next_at=func.now() + seconds(lease_s),
        )
        .returning(Delivery.attempts)
    ).one()
    return Claimed(delivery_id, attempt, row)


def next_delivery_s(tx: Session, *, busy: Collection[str]) -> float | None:
    """Seconds until the next delivery is due, to none of these receivers; None without any."""
    due = func.min(Delivery.next_at) - func.now()
    seconds = tx.scalar(
        select(func.extract("epoch", due))
        .join(TryOnSession, TryOnSession.id == Delivery.session_id)
        .where(_due(busy=True)),
        {"busy": list(busy)},
    )
    return None if seconds is None else float(seconds)


def end_attempt(
    tx: Session,
    delivery_id: UUID,
    *,
    attempt: int,
    state: DeliveryState,
    wait: timedelta | None,
    status: int | None,
    error: str | None,
) -> None:
    """Write down what became of an attempt, unless its lease has run out and another was made.

    wait: until the next attempt, for one that stays pending.
    """
    tx.execute(
        update(Delivery)
        .where(
            Delivery.id == delivery_id,
            Delivery.attempts == attempt,
            Delivery.state == DeliveryState.PENDING,
        )
        .values(
            state=state,
            claimed_by=None,
            next_at=None if wait is None else func.now() + interval(wait),
            ended_at=func.now() if wait is None else None,
            last_status=status,
            last_error=error,
        )
    )


def release_deliveries(tx: Session, *, by: str) -> None:
    """Let others make at once what this process has begun and does not finish.

    What somebody else holds is passed over: it is being erased, or its lease runs out. To wait for
    it while holding others could end in a deadlock with an erasure of many.
    """
    ours = (
        select(Delivery.id)
        .where(Delivery.state == DeliveryState.PENDING, Delivery.claimed_by == by)
        .order_by(Delivery.id)
        .with_for_update(skip_locked=True)
    )
    ids = list(tx.scalars(ours))
    tx.execute(
        update(Delivery).where(Delivery.id.in_(ids)).values(claimed_by=None, next_at=func.now())
    )


def deliveries(tx: Session, *, limit: int) -> list[tuple[Delivery, TryOnSession]]:
    """Of live sessions, newest first."""
    query = (
        select(Delivery, TryOnSession)
        .join(TryOnSession, TryOnSession.id == Delivery.session_id)
        .where(LIVE)
        .order_by(Delivery.created_at.desc())
        .limit(limit)
    )
    return [(delivery, row) for delivery, row in tx.execute(query)]


def pending_deliveries(tx: Session) -> int:
    """Webhooks still to be delivered, counted up to COUNT_TO.

    Those of sessions that have just expired are among them until the purge has been there.
    """
    pending = select(literal(1)).where(DELIVERIES.c.state == DeliveryState.PENDING)
    query = select(func.count()).select_from(pending.limit(COUNT_TO).subquery())
    return int(tx.connection().scalar(query) or 0)
