"""News between processes: one connection a process, that listens for PostgreSQL's NOTIFY.

Where news come by another way, over Redis, it only notices when the database goes and returns.

News are hints. What was missed while the connection was away is made up for by `on_return`, which
tells every subscriber to look for itself.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import cast
from uuid import UUID

import psycopg2
import structlog
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from psycopg2.extensions import connection as Connection  # noqa: N812
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from app import crud
from app.database import connect_args, first_line
from app.errors import TryOnError

log = structlog.get_logger(__name__)

RETRY_S = 1.0
# Often enough to notice a connection that died without a word before the next lease runs out.
CHECK_S = 10.0
# What `revive` does may take a minute; a process that ends waits for it no longer than this.
PATIENCE_S = 2.0


class Events:
    """Listens in a thread of its own from `start` to `stop`.

    present: the name of a worker: hold the shared lock by which `crud.workers` finds live ones.
    revive: called when the database is away, and may bring an embedded one back; and when it has
        returned, which may be another one, before anybody is told.
    listens: False for a connection that holds nothing, no lock either: behind a pooler that lends
        one for a transaction at a time, that would be somebody else's.
    """

    def __init__(
        self,
        url: str,
        *,
        present: str | None,
        revive: Callable[[], None] = lambda: None,
        listens: bool = True,
    ) -> None:
        self._url = url
        self._present = present if listens else None
        self._listens = listens
        self._revive = revive
        self._on: dict[str, list[Callable[[UUID], None]]] = {}
        self._on_return: list[Callable[[], None]] = []
        self._stopping = threading.Event()
        self._woken, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._listen_always, name="events", daemon=True)
        self.connected = threading.Event()

    def on(self, kind: str, callback: Callable[[UUID], None]) -> None:
        """Call back for each piece of news of that kind. The callback must not block."""
        self._on.setdefault(kind, []).append(callback)

    def on_return(self, callback: Callable[[], None]) -> None:
        """Call back whenever listening has begun (again)."""
        self._on_return.append(callback)

    def hear(self, kind: str, session_id: UUID) -> None:
        """Pass on a piece of news, wherever it came from."""
        for callback in self._on.get(kind, []):
            callback(session_id)

    def has_returned(self) -> None:
        """Tell who listens that news may have been missed."""
        for callback in self._on_return:
            callback()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._waker.send(b"x")
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            log.warning("events.not_stopped")  # it ends with the process, at the latest
            return
        self._waker.close()
        self._woken.close()

    def _listen_always(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (psycopg2.Error, SQLAlchemyError, TryOnError) as exc:
                log.warning("events.disconnected", error=type(exc).__name__, reason=_reason(exc))
            except Exception:  # a process edge: listening must never end
                log.exception("events.failed")
            finally:
                self.connected.clear()
            if not self._stopping.wait(RETRY_S):
                self._try_to_revive()

    def _try_to_revive(self) -> None:
        try:
            self._revive()
        except Exception as exc:  # noqa: BLE001 - tried again in a second, for as long as it takes
            notes = exc.notes if isinstance(exc, TryOnError) else ()
            log.warning("database.away", error=type(exc).__name__, notes=notes)

    def _listen(self) -> None:
        # Through SQLAlchemy, because it and libpq write a space in a URL in two ways.
        engine = create_engine(
            self._url,
            poolclass=NullPool,
            use_native_hstore=False,
            connect_args=connect_args(self._url),
            hide_parameters=True,
        )
        pooled = engine.raw_connection()
        connection = cast("Connection", pooled.driver_connection)
        pooled.detach()  # a pool that takes back a broken connection logs a traceback
        with closing(connection):
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            with connection.cursor() as cursor, selectors.DefaultSelector() as selector:
                selector.register(connection, selectors.EVENT_READ)
                selector.register(self._woken, selectors.EVENT_READ)
                if self._present is not None:
                    cursor.execute("SET application_name TO %s", (crud.as_present(self._present),))
                    cursor.execute("SELECT pg_advisory_lock_shared(%s, 0)", (crud.PRESENCE_LOCK,))
                cursor.execute(f"LISTEN {crud.CHANNEL}" if self._listens else "SELECT 1")
                self.connected.set()
                self._revive()
                self.has_returned()
                while not self._stopping.is_set():
                    if not selector.select(CHECK_S):
                        cursor.execute("SELECT 1")
                    connection.poll()
                    while connection.notifies:
                        self._tell(connection.notifies.pop(0).payload)

    def _tell(self, payload: str) -> None:
        kind, _, text = payload.partition(":")
        try:
            session_id = UUID(text)
        except ValueError:
            return  # somebody else uses our channel
        self.hear(kind, session_id)


def _reason(exc: Exception) -> str:
    return first_line(exc.orig if isinstance(exc, DBAPIError) and exc.orig else exc)
