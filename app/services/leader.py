"""One process at a time keeps the clock: who has an advisory lock of the database.

The lock is a transaction's, and the transaction is renewed with each look, in one message, so that
none is old, and a pooler that lends connections for one at a time keeps it together. The database
takes the lock from who dies at once, and from who stands still (a stopped process, a frozen host)
when it has not looked for 15 s. Such a one may believe for a moment longer that it leads: what a
leader does must be harmless beside another, this only saves doing it everywhere (docs/adr/0023).
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.database import AUTOCOMMIT, Db, engine_of

LOCK = 727_005
HELD_S = 15
"""For how long who looks no more is believed to lead. Longer than a look and a slow database."""


class Leader:
    """For one thread.

    db: with a connection for this alone.
    key: of the lock; others lead others.
    """

    def __init__(self, db: Db, *, key: int = LOCK) -> None:
        self._engine = engine_of(db)
        self._free = f"SELECT pg_try_advisory_xact_lock({key})"
        self._begin = f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{HELD_S}s'; "
        self._connection: Connection | None = None
        self._leads = False

    def leads(self) -> bool:
        """Whether this process does now; call it every few seconds, for so it stays.

        Raises what the database raises; then it does not.
        """
        try:
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(**AUTOCOMMIT)
            # Who does not lead asks in one statement, which gives the lock back when it ends.
            if self._leads or self._ask(self._free):
                end = "COMMIT; " if self._leads else ""
                self._leads = self._ask(f"{end}{self._begin}{self._free}")
                if not self._leads:
                    self._connection.exec_driver_sql("ROLLBACK")
        except SQLAlchemyError:
            self.resign()
            raise
        return self._leads

    def resign(self) -> None:
        """Let another lead."""
        if self._connection is not None:
            if self._leads:
                with suppress(SQLAlchemyError):  # it is lost, and the lock with it
                    self._connection.exec_driver_sql("ROLLBACK")
            self._leads = False
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _ask(self, statements: str) -> bool:
        assert self._connection is not None
        return bool(self._connection.exec_driver_sql(statements).scalar())
