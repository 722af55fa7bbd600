"""Every query. Functions take a Session first, return rows, and never commit.

Instants are the database's `now()`. A session is *live* until `expires_at`, or until its erasure
begins; afterwards only the functions of the erasure touch it, so it is gone for everybody at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, Literal, NamedTuple, cast
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    Insert,
    Integer,
    Interval,
    LargeBinary,
    Select,
    Table,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, aliased, undefer
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.elements import ColumnElement

from app.database import will_tell
from app.models import DeletionReceipt, Delivery, TryOnSession
from app.services.crypto import ID_BYTES
from app.states import FINAL, SOURCES, DeliveryState, Status

CHANNEL = "tryonai"
"""The channel of NOTIFY; a payload reads `news:session id`."""


class News(StrEnum):
    """created: it waits for a worker, for the first time or again. changed: any other new state.

    progress: another stage, or further in the same. erased: gone, or about to be. delivery: there
    is a webhook to be delivered.
    """

    CREATED = "created"
    CHANGED = "changed"
    PROGRESS = "progress"
    ERASED = "erased"
    DELIVERY = "delivery"


Wrapped = Literal["wrapped_key", "webhook_url"]
WRAPPED: tuple[Wrapped, ...] = ("wrapped_key", "webhook_url")
"""The columns that are sealed under a key derived from SECRET_KEY."""

PRESENCE_LOCK = 727_001
"""The first number of the shared advisory lock that a live worker process holds."""

POSITION_LIMIT = 1000
"""A queue position beyond this is not counted."""

COUNT_TO = 10_000
"""What waits, is in work or is to be delivered is counted so far: a count costs what it counts."""

_NOW = timedelta(0)
"""As a value of a move: the database's present, see `move`."""


def _is_live(row: Any) -> ColumnElement[bool]:
    """row: the class, an alias of it, or the columns of the table.

    Its time alone would not tell: where the clock is set back, what was erased has time left again.
    """
    return and_(row.expires_at > func.now(), row.erasing.is_(None))


_live = _is_live(TryOnSession)


@dataclass(frozen=True)
class NewSession:
    """What `add_session` needs. `owner` is the keyed hash; keys are the storage's.

    once: the hashes of an idempotency key by every secret, the present one's first, and the digest
    of the content.
    """

    id: UUID
    owner: str
    engine: str
    options: dict[str, Any]
    input_key: str
    garment_key: str | None
    retention: timedelta
    wrapped_key: bytes | None = None
    consent_version: str | None = None
    delete_inputs_early: bool = False
    stored: Mapping[str, Any] = field(default_factory=dict)
    once: tuple[Sequence[str], str] | None = None
    webhook_url: bytes | None = None
    webhook_receiver: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


class KeyTaken(Exception):
    """Another create has committed this idempotency key since we looked."""


class Claimed(NamedTuple):
    """A delivery of a webhook that is the caller's for one attempt, with its session."""

    id: UUID
    attempt: int
    session: TryOnSession


class Seen(NamedTuple):
    """A row as it was read.

    now: the database's clock at that moment.
    position: in the queue: 1 for the next to be claimed; None for one that does not wait, or
    beyond POSITION_LIMIT.
    """

    row: TryOnSession
    now: datetime
    position: int | None

    @property
    def expired(self) -> bool:
        return self.row.is_over(self.now)

    @property
    def mark(self) -> Mark:
        return Mark(self.row.status, self.row.attempts, self.row.updated_at)


class Mark(NamedTuple):
    """By what one tells that a live session has changed; `updated_at` moves with every change."""

    status: Status
    attempts: int
    updated_at: datetime


class Queue(NamedTuple):
    """waiting, processing: numbers of live sessions, counted up to COUNT_TO.

    oldest_s: for how long the one waits that was made first.
    overdue_s: for how long the session that expired first is past its time; 0 where none is.
    """

    waiting: int
    processing: int
    oldest_s: float
    overdue_s: float


# --- writing --------------------------------------------------------------------------------


class _NextAttempt:
    """As a value of `attempts`: one more than before."""


class _Added(dict[str, Any]):
    """As a value of a JSON object: these members put into what it has."""


class _KeyOfOutput:
    """As a value of `wrapped_key`: none, where the inputs were all that it was for."""


def _add(*more: str) -> Insert:
    """The new row, the clock, and how many waited before it; and the news of it.

    RETURNING brings and does all of it in one trip: the count is of the moment before the
    statement, and NOTIFY speaks when the transaction is committed.

    more: further columns that are given. With an idempotency key that is taken there is no row.
    """
    waiting = (
        select(literal(1))
        .where(_TABLE.c.status == Status.CREATED, _is_live(_TABLE.c))
        .limit(bindparam("count_to", type_=Integer))
        .subquery()
    )
    ahead = select(func.count()).select_from(waiting).scalar_subquery()
    given: dict[str, Any] = {name: bindparam(name) for name in (*_GIVEN, *more)}
    expires_at = func.now() + bindparam("retention", type_=Interval)
    made = postgresql.insert(_TABLE).values(**given, expires_at=expires_at)
    if "idempotency_key" in more:
        key = _TABLE.c.idempotency_key
        made = made.on_conflict_do_nothing(index_elements=[key], index_where=key.is_not(None))
    return made.returning(func.now(), ahead, _TOLD, *_TABLE.c)


# Without a payload nobody is told, and the commit does without the lock that a NOTIFY takes.
_PAYLOAD = bindparam("payload", type_=Text)
_TOLD = case((_PAYLOAD.is_not(None), func.pg_notify(CHANNEL, _PAYLOAD)))
_GIVEN = (
    *("id", "user_token", "engine", "options", "input_image_url", "garment_image_url"),
    *("wrapped_key", "consent_version", "delete_inputs_early", "stored"),
    *("webhook_url", "webhook_receiver", "request_id", "traceparent"),
)
_TABLE = cast("Table", TryOnSession.__table__)
# What writes is made once, of the table and not of the class: to build such a statement, or to let
# the ORM prepare it, takes longer than to run it. Measured: a create's 0.94 ms of CPU became 0.52.
_ADD = _add()
_ADD_ONCE = _add("idempotency_key", "idempotency_digest")
# A session that is over has no use for its key, though its row may still be there.
_FREE_KEYS = (
    update(_TABLE)
    .where(
        _TABLE.c.idempotency_key == func.any(bindparam("keys", type_=ARRAY(Text))),
        not_(_is_live(_TABLE.c)),
    )
    .values(idempotency_key=None)
)


def add_session(tx: Session, new: NewSession, *, count_to: int) -> tuple[Seen, int]:
    """Make a session; returns it, and how many waited already, counted up to `count_to`.

    Raises KeyTaken.
    """
    values = {
        "id": new.id,
        "user_token": new.owner,
        "engine": new.engine,
        "options": new.options,
        "input_image_url": new.input_key,
        "garment_image_url": new.garment_key,
        "wrapped_key": new.wrapped_key,
        "consent_version": new.consent_version,
        "delete_inputs_early": new.delete_inputs_early,
        "webhook_url": new.webhook_url,
        "webhook_receiver": new.webhook_receiver,
        "request_id": new.request_id,
        "traceparent": new.traceparent,
        "stored": new.stored,
        "retention": new.retention,
        "count_to": max(count_to, POSITION_LIMIT),
        "payload": _payload(tx, News.CREATED, new.id),
    }
    statement = _ADD
    if new.once is not None:
        keys, digest = new.once
        tx.connection().execute(_FREE_KEYS, {"keys": list(keys)})
        values |= {"idempotency_key": keys[0], "idempotency_digest": digest}
        statement = _ADD_ONCE
    found = tx.connection().execute(statement, values).one_or_none()
    if found is None:
        raise KeyTaken
    now, count, _, *columns = found
    return Seen(_row(columns), now, count + 1 if count < POSITION_LIMIT else None), count


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
    given["payload"] = _payload(tx, news, session_id)
    found = tx.connection().execute(change, given).one_or_none()
    row = None if found is None else _row(found[1:])
    if row is not None and to in FINAL and row.webhook_url is not None:
        tx.connection().execute(_ANNOUNCE, {"id": uuid4(), "session_id": row.id})
        notify(tx, News.DELIVERY, row.id)
    return row


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
    row = _TABLE.c
    return (
        select(row.id)
        .where(
            row.status == Status.CREATED,
            _is_live(row),
            row.engine == func.any(bindparam("engines", type_=ARRAY(Text))),
            or_(row.lease_until.is_(None), row.lease_until <= func.now()),
        )
        .order_by(row.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


_WAITING = _waiting()
_WAITING_ONE = _WAITING.where(_TABLE.c.id == bindparam("only"))
_DELIVERIES = cast("Table", Delivery.__table__)
_ANNOUNCE = insert(_DELIVERIES).values(id=bindparam("id"), session_id=bindparam("session_id"))


@cache
def _moving(
    to: Status, kinds: tuple[tuple[str, type], ...], *, fenced: bool
) -> ReturningUpdate[Any]:
    """The statement of a move, for these columns with these kinds of values."""
    row = _TABLE.c
    values = {name: _expression(name, kind) for name, kind in kinds}
    change = (
        update(_TABLE)
        .where(
            row.id == bindparam("session_id"),
            row.status.in_(SOURCES[to]),
            _is_live(row),
        )
        .values(status=to, updated_at=func.now(), **values)
    )
    if fenced:
        change = change.where(row.attempts == bindparam("only_attempt"))
    return change.returning(_TOLD, *row)


def _expression(name: str, kind: type) -> ColumnElement[Any]:
    if kind is _NextAttempt:
        return _TABLE.c.attempts + 1
    if kind is _KeyOfOutput:
        return case((_TABLE.c.delete_inputs_early, None), else_=_TABLE.c.wrapped_key)
    if kind is _Added:
        return _TABLE.c[name].concat(bindparam(f"new_{name}", type_=_TABLE.c[name].type))
    if kind is timedelta:
        return func.now() + bindparam(f"new_{name}", type_=Interval)
    return bindparam(f"new_{name}", type_=_TABLE.c[name].type)


def _row(columns: Sequence[Any]) -> TryOnSession:
    """A row as the ORM would have read it, but part of no session."""
    return TryOnSession(**dict(zip(_TABLE.c.keys(), columns, strict=True)))


def next_due_s(tx: Session, *, engines: Collection[str]) -> float | None:
    """Seconds until a session that was put back may be claimed; None where none waits for that."""
    due = func.min(TryOnSession.lease_until) - func.now()
    seconds = tx.scalar(
        select(func.extract("epoch", due)).where(
            TryOnSession.status == Status.CREATED,
            _live,
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
            _live,
        )
        .values(lease_until=func.now() + _seconds(lease_s), **values)
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
            _live,
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


def notify(tx: Session, news: News, session_id: UUID) -> None:
    """Tell every process, once this transaction is committed."""
    notify_all(tx, news, [session_id])


def notify_all(tx: Session, news: News, session_ids: Sequence[UUID]) -> None:
    """The same of many, in one statement."""
    if will_tell(tx, [(news, session_id) for session_id in session_ids]):
        payloads = [f"{news}:{session_id}" for session_id in session_ids]
        tx.connection().execute(_NOTIFY_ALL, {"payloads": payloads})


def _payload(tx: Session, news: News, session_id: UUID) -> str | None:
    """What a statement tells that has `_TOLD` in it."""
    return f"{news}:{session_id}" if will_tell(tx, [(news, session_id)]) else None


_NOTIFY_ALL = select(func.pg_notify(CHANNEL, func.unnest(bindparam("payloads", type_=ARRAY(Text)))))


# --- reading --------------------------------------------------------------------------------


def _position() -> ColumnElement[int | None]:
    """See Seen.position. Looked for only where a session waits, and no further than the limit."""
    other = aliased(TryOnSession)
    ahead = (
        select(literal(1))
        .where(
            other.status == Status.CREATED,
            other.created_at < TryOnSession.created_at,
            _is_live(other),
        )
        .limit(POSITION_LIMIT)
        .correlate(TryOnSession)
        .subquery()
    )
    count = select(func.count()).select_from(ahead).scalar_subquery()
    waits = TryOnSession.status == Status.CREATED
    return case((waits, func.nullif(count, POSITION_LIMIT) + 1), else_=None)


_SEEN = select(TryOnSession, func.now(), _position())
# Made once: to build it takes longer than to run it, and it is every poll's.
_SEEN_ONE = _SEEN.where(TryOnSession.id == bindparam("session_id"))
_SEEN_BY_KEY = _SEEN.where(
    TryOnSession.idempotency_key == func.any(bindparam("keys", type_=ARRAY(Text))), _live
)
# One array and not a list of parameters: the statement stays the same however many are asked for.
_SEEN_MANY = _SEEN.where(TryOnSession.id == func.any(bindparam("session_ids", type_=ARRAY(Uuid))))

_MARKS = select(_TABLE.c.id, _TABLE.c.status, _TABLE.c.attempts, _TABLE.c.updated_at).where(
    _TABLE.c.id == func.any(bindparam("session_ids", type_=ARRAY(Uuid))),
    _is_live(_TABLE.c),
)


def get_session(tx: Session, session_id: UUID) -> Seen | None:
    found = tx.execute(_SEEN_ONE, {"session_id": session_id}).one_or_none()
    return None if found is None else Seen(*found)


def find_by_key(tx: Session, keys: Sequence[str]) -> Seen | None:
    """The live session that was made under an idempotency key, by its hashes."""
    found = tx.execute(_SEEN_BY_KEY, {"keys": list(keys)}).first()
    return None if found is None else Seen(*found)


def get_sessions(tx: Session, session_ids: Sequence[UUID]) -> dict[UUID, Seen]:
    """Those of these sessions that there are."""
    found = tx.execute(_SEEN_MANY, {"session_ids": session_ids})
    return {row.id: Seen(row, now, position) for row, now, position in found}


def marks(tx: Session, session_ids: Sequence[UUID]) -> dict[UUID, Mark]:
    """Those of these sessions that are live."""
    found = tx.connection().execute(_MARKS, {"session_ids": session_ids})
    return {session_id: Mark(*mark) for session_id, *mark in found}


def list_sessions(
    tx: Session,
    *,
    owners: Collection[str],
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[Seen]:
    """Live sessions of an owner, newest first, from the one after `before`."""
    query = (
        _SEEN.where(TryOnSession.user_token.in_(owners), _live)
        .order_by(TryOnSession.created_at.desc(), TryOnSession.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(
            tuple_(TryOnSession.created_at, TryOnSession.id) < tuple_(*map(literal, before))
        )
    return [Seen(*found) for found in tx.execute(query)]


def queue(tx: Session) -> Queue:
    """One statement that reads no more than it tells, however many rows there are."""
    waiting, processing, oldest_s, overdue_s = tx.connection().execute(_QUEUE).one()
    return Queue(waiting, processing, float(oldest_s or 0), max(0.0, float(overdue_s or 0)))


def _how_many(status: Status) -> ColumnElement[int]:
    found = select(literal(1)).where(_TABLE.c.status == status, _is_live(_TABLE.c))
    return select(func.count()).select_from(found.limit(COUNT_TO).subquery()).scalar_subquery()


def _since(column: ColumnElement[datetime], *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    """Seconds since the first of these instants. Asked in order: `min` would read them all."""
    first = select(column).where(*conditions).order_by(column).limit(1).scalar_subquery()
    return func.extract("epoch", func.now() - first)


_QUEUE = select(
    _how_many(Status.CREATED),
    _how_many(Status.PROCESSING),
    _since(
        _TABLE.c.created_at,
        _TABLE.c.status == Status.CREATED,
        _is_live(_TABLE.c),
    ),
    _since(_TABLE.c.expires_at),
)


def lost(tx: Session, *, limit: int) -> list[TryOnSession]:
    """Claimed sessions whose lease ran out, locked for this transaction."""
    query = (
        select(TryOnSession)
        .where(
            TryOnSession.status == Status.PROCESSING, TryOnSession.lease_until <= func.now(), _live
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
            _live,
            func.coalesce(TryOnSession.lease_until, TryOnSession.updated_at)
            <= func.now() - _seconds(for_s),
        )
        .order_by(TryOnSession.created_at)
        .limit(limit)
    )
    return [(session_id, engine) for session_id, engine in tx.execute(query)]


class EngineQueue(NamedTuple):
    """Numbers of live sessions of one engine. oldest_s: how long the first one waits."""

    engine: str
    waiting: int
    processing: int
    oldest_s: float


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
        .where(row.status.in_([Status.CREATED, Status.PROCESSING]), _live)
        .group_by(row.engine)
        .order_by(row.engine)
    )
    return [
        EngineQueue(engine, waiting, processing, float(oldest_s))
        for engine, waiting, processing, oldest_s in tx.execute(query)
    ]


class InWork(NamedTuple):
    """A claimed session. since_s, lease_s: how long it is claimed, and for how long it still is."""

    row: TryOnSession
    since_s: float
    lease_s: float


def in_work(tx: Session, *, limit: int) -> list[InWork]:
    """The longest first."""
    row = TryOnSession
    since = func.extract("epoch", func.now() - row.started_at)
    lease = func.extract("epoch", row.lease_until - func.now())
    query = (
        select(row, since, lease)
        .where(row.status == Status.PROCESSING, _live)
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


# --- keys -----------------------------------------------------------------------------------


def keys_by_secret(tx: Session) -> dict[bytes, int]:
    """How many live sessions have their key under each wrapping key, by the id of that."""
    id_ = _key_id(TryOnSession.wrapped_key)
    query = select(id_, func.count()).where(TryOnSession.wrapped_key.is_not(None), _live)
    return {bytes(found): count for found, count in tx.execute(query.group_by(id_))}


def newest_key(tx: Session) -> bytes | None:
    """The wrapped key of the live session that expires last, where it has one."""
    query = select(TryOnSession.wrapped_key).where(_live).order_by(TryOnSession.expires_at.desc())
    return tx.scalar(query.limit(1))


def to_rewrap(
    tx: Session, what: Wrapped, *, present: bytes, after: UUID | None, limit: int
) -> list[tuple[UUID, bytes]]:
    """Live sessions of which this is not under the present wrapping key, in the order of ids."""
    column = getattr(TryOnSession, what)
    query = (
        select(TryOnSession.id, column)
        .where(_live, _key_id(column) != present)
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
    what: update(_TABLE)
    .where(_TABLE.c.id == bindparam("session_id"), _TABLE.c[what] == bindparam("was"))
    .values({what: bindparam("becomes")})
    for what in WRAPPED
}


# --- webhooks -------------------------------------------------------------------------------


def _due(*, busy: bool) -> ColumnElement[bool]:
    """Of deliveries joined with their sessions: to be made for a session that still lives."""
    pending = and_(Delivery.state == DeliveryState.PENDING, _live)
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
            next_at=func.now() + _seconds(lease_s),
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
            next_at=None if wait is None else func.now() + _interval(wait),
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
        .where(_live)
        .order_by(Delivery.created_at.desc())
        .limit(limit)
    )
    return [(delivery, row) for delivery, row in tx.execute(query)]


def pending_deliveries(tx: Session) -> int:
    """Webhooks still to be delivered, counted up to COUNT_TO.

    Those of sessions that have just expired are among them until the purge has been there.
    """
    pending = select(literal(1)).where(_DELIVERIES.c.state == DeliveryState.PENDING)
    query = select(func.count()).select_from(pending.limit(COUNT_TO).subquery())
    return int(tx.connection().scalar(query) or 0)


# --- erasing --------------------------------------------------------------------------------


class Erased(NamedTuple):
    """A row that was deleted. now: when, by the database's clock."""

    id: UUID
    stored: dict[str, Any]
    reason: str
    now: datetime


_time_left_again = and_(TryOnSession.erasing.is_not(None), TryOnSession.expires_at > func.now())
"""Its erasure has begun, and then the clock was set back."""


def expire(
    tx: Session, session_ids: Collection[UUID], *, reason: str
) -> dict[UUID, dict[str, Any]]:
    """Make sessions invisible, and tell; returns those that there were, expired ones included.

    reason: why they are erased; of several who begin, the first one's counts.
    Each comes with what it remembers of its pictures.
    """
    change = (
        update(TryOnSession)
        .where(_among(_locked(tx, session_ids)))
        .values(
            expires_at=func.least(TryOnSession.expires_at, func.now()),
            erasing=func.coalesce(TryOnSession.erasing, reason),
        )
        .returning(TryOnSession.id, TryOnSession.stored)
    )
    found = {row.id: row.stored for row in tx.execute(change)}
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
    change = update(TryOnSession).where(_among(_locked(tx, session_ids)))
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
            query = query.where(row.expires_at > func.now() - _interval(within))
        return query.limit(skip + limit)

    # Not one query with OR: each has an index of its own.
    over = union_all(first(row.expires_at <= func.now()), first(_time_left_again)).subquery()
    query = select(over.c.id).order_by(over.c.expires_at, over.c.id).offset(skip).limit(limit)
    return list(tx.scalars(query))


def next_expiry_s(tx: Session, *, within: timedelta) -> float | None:
    """Seconds until a session falls due, at most 0 where one has so lately; None without any."""
    due = func.extract("epoch", func.min(TryOnSession.expires_at) - func.now())
    after = func.now() - _interval(within)
    next_s = select(due).where(TryOnSession.expires_at > after).scalar_subquery()
    begun = exists().where(_time_left_again)
    seconds = tx.scalar(select(case((begun, func.least(next_s, 0)), else_=next_s)))
    return None if seconds is None else float(seconds)


def remove(tx: Session, session_ids: Collection[UUID]) -> list[Erased]:
    """Delete rows after `expire`, whose files are gone already. Add their receipts!"""
    row = TryOnSession
    gone = delete(row).where(_among(_locked(tx, session_ids)), row.erasing.is_not(None))
    # The clock of the statement, not of its transaction, which began before it had the locks.
    found = gone.returning(row.id, row.stored, row.erasing, func.clock_timestamp())
    return [Erased(*columns) for columns in tx.execute(found)]


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
            row.erased_at > func.now() - _interval(keep),
        )
        .order_by(row.erased_at.desc())
        .limit(1)
    )
    return tx.scalar(query)


def remove_receipts(tx: Session, *, keep: timedelta, limit: int) -> int:
    """Delete receipts past their time, at most `limit`; how many."""
    due = (
        select(DeletionReceipt.id)
        .where(DeletionReceipt.erased_at <= func.now() - _interval(keep))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = delete(DeletionReceipt).where(DeletionReceipt.id.in_(due))
    return len(list(tx.scalars(gone.returning(DeletionReceipt.id))))


def existing(tx: Session, session_ids: Collection[UUID]) -> set[UUID]:
    """Which of these have a row."""
    return set(tx.scalars(select(TryOnSession.id).where(_among(session_ids))))


def sessions_after(
    tx: Session, after: UUID | None, *, limit: int
) -> list[tuple[TryOnSession, datetime]]:
    """Sessions of everybody, expired ones too, in the order of their ids; each with the clock."""
    query = select(TryOnSession, func.now()).order_by(TryOnSession.id).limit(limit)
    if after is not None:
        query = query.where(TryOnSession.id > after)
    return [(row, now) for row, now in tx.execute(query)]


def overdue_receipts(tx: Session, *, keep: timedelta) -> int:
    """How many receipts are older than that."""
    late = DeletionReceipt.erased_at <= func.now() - _interval(keep)
    return tx.scalar(select(func.count()).where(late)) or 0


def live_sessions(
    tx: Session, *, after: UUID | None, limit: int
) -> list[tuple[TryOnSession, datetime]]:
    """Live sessions of everybody in the order of their ids, each with the database's clock."""
    query = select(TryOnSession, func.now()).where(_live).order_by(TryOnSession.id).limit(limit)
    if after is not None:
        query = query.where(TryOnSession.id > after)
    return [(row, now) for row, now in tx.execute(query)]


def _locked(tx: Session, session_ids: Collection[UUID]) -> list[UUID]:
    """Lock these rows one after the other, everybody in the same order.

    A single UPDATE locks in the order of its plan, and two of them can end in a deadlock.
    """
    query = (
        select(TryOnSession.id)
        .where(_among(session_ids))
        .order_by(TryOnSession.id)
        .with_for_update()
    )
    return list(tx.scalars(query))


def _among(session_ids: Collection[UUID]) -> ColumnElement[bool]:
    """One array and not a list of parameters, which would be written out for each call."""
    return TryOnSession.id == func.any(literal(list(session_ids), ARRAY(Uuid)))


def _seconds(count: float) -> ColumnElement[timedelta]:
    return _interval(timedelta(seconds=count))


def _interval(length: timedelta) -> ColumnElement[timedelta]:
    return literal(length, Interval)
