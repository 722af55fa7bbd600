"""What is told to every process, once the transaction is committed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Text, bindparam, case, func, select
from sqlalchemy.orm import Session

from app.crud.records import News
from app.database import will_tell

CHANNEL = "tryonai"
"""The channel of NOTIFY; a payload reads `news:session id`."""

# Without a payload nobody is told, and the commit does without the lock that a NOTIFY takes.
_PAYLOAD = bindparam("payload", type_=Text)
TOLD = case((_PAYLOAD.is_not(None), func.pg_notify(CHANNEL, _PAYLOAD)))


def notify(tx: Session, news: News, session_id: UUID) -> None:
    """Tell every process, once this transaction is committed."""
    notify_all(tx, news, [session_id])


def notify_all(tx: Session, news: News, session_ids: Sequence[UUID]) -> None:
    """The same of many, in one statement."""
    if will_tell(tx, [(news, session_id) for session_id in session_ids]):
        payloads = [f"{news}:{session_id}" for session_id in session_ids]
        tx.connection().execute(_NOTIFY_ALL, {"payloads": payloads})


def payload(tx: Session, news: News, session_id: UUID) -> str | None:
    """What a statement tells that has `TOLD` in it."""
    return f"{news}:{session_id}" if will_tell(tx, [(news, session_id)]) else None


_NOTIFY_ALL = select(func.pg_notify(CHANNEL, func.unnest(bindparam("payloads", type_=ARRAY(Text)))))
