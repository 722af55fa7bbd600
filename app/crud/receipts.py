"""Receipts of what was erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.orm import Session

from app.crud.terms import interval
from app.models import DeletionReceipt


def add_receipts(tx: Session, receipts: Sequence[Mapping[str, Any]]) -> None:
    """Keep these documents."""
    rows = [
        {
            "id": UUID(receipt["id"]),
            "session_sha256": receipt["statement"]["session_sha256"],
            "erased_at": datetime.fromisoformat(receipt["statement"]["erased_at"]),
            "document": receipt,
        }
        for receipt in receipts
    ]
    if rows:
        tx.execute(insert(DeletionReceipt), rows)


def find_receipt(
    tx: Session, *, keep: timedelta, id_: UUID | None = None, session_sha256: str | None = None
) -> dict[str, Any] | None:
    """The receipt with this id, or of this session, if it is not past its time; the newest."""
    row = DeletionReceipt
    query = (
        select(row.document)
        .where(
            or_(row.id == id_, row.session_sha256 == session_sha256),
            row.erased_at > func.now() - interval(keep),
        )
        .order_by(row.erased_at.desc())
        .limit(1)
    )
    return tx.scalar(query)


def remove_receipts(tx: Session, *, keep: timedelta, limit: int) -> int:
    """Delete receipts past their time, at most `limit`; how many."""
    due = (
        select(DeletionReceipt.id)
        .where(DeletionReceipt.erased_at <= func.now() - interval(keep))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = delete(DeletionReceipt).where(DeletionReceipt.id.in_(due))
    return len(list(tx.scalars(gone.returning(DeletionReceipt.id))))


def overdue_receipts(tx: Session, *, keep: timedelta) -> int:
    """How many receipts are older than that."""
    late = DeletionReceipt.erased_at <= func.now() - interval(keep)
    return tx.scalar(select(func.count()).where(late)) or 0
