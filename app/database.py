"""The database's frame: base class, naming convention, instants in UTC, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
from psycopg2 import errorcodes
from sqlalchemy import TIMESTAMP, Dialect, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from app.errors import DatabaseUnavailable, SettingsError, StorageFull, TryOnError

Db = sessionmaker[Session]

Told = tuple[str, UUID]
"""A piece of news: its kind, one of `crud.News`, and the session's id."""

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

# Long enough for a commit on a busy laptop, short enough that a request is answered.
CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000

AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant, in UTC on both sides."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


_NOTIFIES = "notifies"
_TOLD = "told"
_LISTENERS = "listeners"
_SETTLING = "settling"


def open_db(url: str, *, pool_size: int, notifies: bool = True) -> Db:
    """A session factory on a pooled engine; nothing is connected yet.

    Rows stay readable after the commit, because a use case answers with what it has written.

    notifies: whether its transactions tell other processes by PostgreSQL's NOTIFY.
    """
    return sessionmaker(
        _engine(url, pool_size=pool_size), expire_on_commit=False, info={_NOTIFIES: notifies}
    )


def on_commit(
    db: Db,
    hear: Callable[[Sequence[Told]], None],
    *,
    settle: Callable[[Collection[UUID]], None] | None = None,
) -> None:
    """Call back with the news of each transaction of this factory, right after its commit.

    In the thread that commits, which a request may wait for: the callback must not raise, nor block
    for longer than one waits for Redis. Callbacks come in the order in which they were given.
    Where the process dies just then, or the answer to the commit is lost, nobody is told.

    settle: what `settle` of this module waits for.
    """

    listeners = db.kw["info"].setdefault(_LISTENERS, [])
    if not listeners:
        event.listen(db, "after_commit", _tell)
    listeners.append(hear)
    if settle is not None:
        db.kw["info"].setdefault(_SETTLING, []).append(settle)


def _tell(tx: Session) -> None:
    if told := tx.info.pop(_TOLD, None):
        for hear in tx.info[_LISTENERS]:
            hear(told)


def settle(db: Db, session_ids: Collection[UUID]) -> None:
    """Return when nobody who heard of these by `on_commit` can show what they were before.

    Takes seconds where one of them cannot be reached: see `services/session_cache.py`.
    """
    for wait in db.kw.get("info", {}).get(_SETTLING, ()):
        wait(session_ids)


def will_tell(tx: Session, told: Sequence[Told]) -> bool:
    """Note what is told when this transaction commits; whether PostgreSQL is to tell it, too."""
    tx.info.setdefault(_TOLD, []).extend(told)
    return bool(tx.info.get(_NOTIFIES, True))


def open_reads(url: str, *, pool_size: int) -> Db:
    """The same database for single reads: without BEGIN and ROLLBACK around each.

    A pool of its own, because psycopg2 sends a SET whenever a connection changes between the two
    ways. On a shared pool those were two of five round trips of a poll, and 0.2 of its 0.5 ms CPU.
    """
    return sessionmaker(_engine(url, pool_size=pool_size, **AUTOCOMMIT), expire_on_commit=False)


def _engine(url: str, *, pool_size: int, **options: Any) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=1800,
        use_native_hstore=False,  # else each new connection asks for a type that we do not have
        hide_parameters=True,  # an error's text is logged: no token's hash, no key in it
        connect_args=connect_args(url),
        **options,
    )
    event.listen(engine, "handle_error", _keep_values_out)
    return engine


def _keep_values_out(context: ExceptionContext) -> None:
    """Cut an error down to its first line: the others quote rows, and errors are logged.

    Errors of class 22, data exceptions, quote a value in the first line too.
    """
    original, wrapped = context.original_exception, context.sqlalchemy_exception
    if not isinstance(original, psycopg2.Error) or original.pgcode is None:
        return
    first = "" if original.pgcode.startswith("22") else original.diag.message_primary or ""
    said = f"{original.pgcode} {first}".rstrip()
    original.args = (said,)
    if wrapped is not None:
        wrapped.args = (f"({type(original).__name__}) {said}",)


# The server's side of the same: who vanished lets go of locks and claims after 20 s, and not after
# two hours, which is Linux's default.
_SERVER_KEEPALIVES = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2"
)


def connect_args(url: str) -> dict[str, Any]:
    """What each connection is opened with, the listening ones included.

    A peer that vanished without a word (a pulled cable, a stopped host) is noticed after about
    20 s by keepalives, and a sent statement without an answer after as long.
    """
    options = f"-c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MS} {_SERVER_KEEPALIVES}"
    given = make_url(url).query.get("options")
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "tryonai",
        "options": f"{given} {options}" if isinstance(given, str) else options,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 20_000,
    }


def engine_of(db: Db) -> Engine:
    engine = db.kw["bind"]
    assert isinstance(engine, Engine)
    return engine


def translate(exc: Exception) -> TryOnError | None:
    """What a database error means for the caller; None when it is a mistake of ours."""
    if isinstance(exc, PoolTimeout):
        return DatabaseUnavailable("All database connections are in use. Try again in a moment.")
    if not isinstance(exc, DBAPIError):
        return None
    sqlstate = getattr(exc.orig, "pgcode", None)
    if sqlstate == errorcodes.DISK_FULL:
        return StorageFull("The database has no room left. Try again later.")
    if sqlstate == errorcodes.UNDEFINED_TABLE:
        return DatabaseUnavailable("The database is being prepared. Try again in a moment.")
    away = sqlstate is None or sqlstate[:2] in _AWAY
    if exc.connection_invalidated or (isinstance(exc, OperationalError) and away):
        error = DatabaseUnavailable("The database is away. Try again in a moment.")
        error.add_note(first_line(exc.orig or exc))
        return error
    return None


def first_line(exc: BaseException) -> str:
    """What an operator needs of a database error: libpq's has host and user, and no password.

    The others may quote rows.
    """
    return str(exc).strip().partition("\n")[0]


# Classes of SQLSTATE: connection exceptions, invalid authorisation (a server that is being set up),
# rollbacks such as a deadlock's, insufficient resources, object in an unfit state, operator
# intervention (an end of the server, a statement's timeout), system errors.
_AWAY = frozenset({"08", "28", "40", "53", "55", "57", "58"})


@contextmanager
def advisory_lock(db: Db, key: int) -> Iterator[bool]:
    """Whether this process holds the lock of that number, for as long as the block lasts.

    It is a transaction's, which a pooler that lends connections for one at a time keeps together;
    it has a connection of its own, because what is done under the lock may be slow, and reads
    nothing that would keep a vacuum waiting. The database lets go of it when the process dies.
    """
    with engine_of(db).connect() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}))


MIGRATION_LOCK = 727_004


def newest_revision() -> str:
    """The last migration's: their files are named by their revisions, which count up."""
    return max(file.name for file in MIGRATIONS.glob("versions/[0-9]*.py")).partition("_")[0]


def has_schema(db: Db) -> bool:
    """Whether any of our migrations has been here. Raises DatabaseUnavailable."""
    try:
        with db() as tx:
            return tx.scalar(text("SELECT to_regclass('alembic_version')")) is not None
    except DBAPIError as exc:
        raise translate(exc) or exc from exc


def _is_current(db: Db) -> bool:
    """Whether no migration is left to do; all of a start's are committed together."""
    if not has_schema(db):
        return False
    try:
        with db() as tx:
            found = tx.scalars(text("SELECT version_num FROM alembic_version")).all()
    except DBAPIError as exc:
        raise translate(exc) or exc from exc
    return found == [newest_revision()]


def migrate(db: Db) -> None:
    """Bring the schema up to date; any number of processes may do it at once.

    Raises DatabaseUnavailable, or SettingsError when a newer version has been here before.
    """
    if _is_current(db):
        return
    # Few starts need Alembic, and it takes a tenth of a second to import.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine_of(db).begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as exc:
        raise SettingsError(
            "The database was prepared by another version of this program: use that version, "
            f"or another database ({exc})."
        ) from exc
    except DBAPIError as exc:
        raise translate(exc) or exc from exc
