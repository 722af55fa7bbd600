"""A create that may be repeated under a key: the same key makes one session (docs/adr/0011).

Source: IETF draft-ietf-httpapi-idempotency-key-header-07; a draft.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import structlog
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import DBAPIError

from app import crud
from app.database import Db, engine_of
from app.errors import IdempotencyInProgress, IdempotencyMismatch
from app.signing import Keyring, same_owner

log = structlog.get_logger(__name__)

_CHUNK = 256 * 1024
_LOCK = text("SELECT pg_try_advisory_lock(:number)")
_UNLOCK = text("SELECT pg_advisory_unlock(:number)")


@dataclass(frozen=True)
class Repeatable:
    """A create under a key, as rows carry it: by every secret, the present one's first.

    keys: hashes of owner and key. digests: of the content.
    """

    keys: tuple[str, ...]
    digests: tuple[str, ...]


def repeatable(
    keyring: Keyring, *, token: str, key: str, content: Mapping[str, str | BinaryIO]
) -> Repeatable:
    """content: the form's values; of a file its reader, which stands at its beginning again."""
    return Repeatable(keyring.idempotency_keys(token, key), keyring.digests(_digest(content)))


def once(
    db: Db, running: Running, one: Repeatable, make: Callable[[], crud.Seen]
) -> tuple[crud.Seen, bool]:
    """Make a session, unless this key has made one already; True with one that it has.

    Raises IdempotencyInProgress while another does, IdempotencyMismatch where the content differs.
    """
    with running.alone(one.keys):
        if (seen := _made(db, one)) is not None:
            return seen, True
        try:
            return make(), False
        except crud.KeyTaken:
            # By a process whose lock was lost with its connection. It may be erased already.
            if (seen := _made(db, one)) is not None:
                return seen, True
            raise IdempotencyInProgress from None


def _made(db: Db, one: Repeatable) -> crud.Seen | None:
    with db.begin() as tx:
        seen = crud.find_by_key(tx, one.keys)
    if seen is None:
        return None
    if not same_owner(seen.row.idempotency_digest or "", one.digests):
        raise IdempotencyMismatch(
            "Idempotency-Key: this key came with other content before. Use a new key for a new "
            "session, or send exactly the same again.",
            pointer="Idempotency-Key",
        )
    log.info("session.replayed", session_id=str(seen.row.id))
    return seen


class Running:
    """The keys whose creates run at this moment, in all processes.

    Each is an advisory lock, all of a process on one connection, which it has only while it holds
    any. A session of PostgreSQL gets its own lock again and again, so our own are kept in memory.

    db: without transactions, as `open_reads` makes it, and with a connection for this alone. None
        where no lock may outlive a transaction: then two processes may make the same create at
        once, the index lets one of them commit, and the other answers with that one's session.
    """

    def __init__(self, db: Db | None) -> None:
        self._engine = None if db is None else engine_of(db)
        self._guard = threading.Lock()
        self._held: set[str] = set()
        self._connection: Connection | None = None

    @contextmanager
    def alone(self, keys: tuple[str, ...]) -> Iterator[None]:
        """Raises IdempotencyInProgress where somebody is at one of these keys."""
        with self._guard:
            self._take(keys)
        try:
            yield
        finally:
            with self._guard:
                self._give_back(keys)

    def _take(self, keys: tuple[str, ...]) -> None:
        if self._held.intersection(keys):
            raise IdempotencyInProgress
        if self._engine is None:
            self._held.update(keys)
            return
        taken: list[str] = []
        try:
            for key in keys:
                if not self._tell(_LOCK, key):
                    raise IdempotencyInProgress
                taken.append(key)
        except IdempotencyInProgress:
            self._held.update(taken)
            self._give_back(tuple(taken))
            raise
        self._held.update(keys)

    def _give_back(self, keys: tuple[str, ...]) -> None:
        self._held.difference_update(keys)
        try:
            for key in keys:
                if self._connection is not None:
                    self._tell(_UNLOCK, key)
        except DBAPIError as exc:
            log.warning("idempotency.unlock", error=type(exc).__name__)
        if not self._held and self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tell(self, statement: TextClause, key: str) -> bool:
        if self._connection is None:
            assert self._engine is not None
            self._connection = self._engine.connect()
        try:
            return bool(self._connection.scalar(statement, {"number": _number(key)}))
        except DBAPIError:
            # With the connection all its locks are gone: the index still tells two creates apart.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
            raise


def _number(key: str) -> int:
    return int.from_bytes(bytes.fromhex(key)[:8], signed=True)


def _digest(content: Mapping[str, str | BinaryIO]) -> bytes:
    """Of all values by their names, each as a digest of its own: no two can run into each other."""
    whole = hashlib.sha256()
    for name in sorted(content):
        value = content[name]
        reader = io.BytesIO(value.encode()) if isinstance(value, str) else value
        for part in (io.BytesIO(name.encode()), reader):
            whole.update(_digest_of(part))
        reader.seek(0)
    return whole.digest()


def _digest_of(reader: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while chunk := reader.read(_CHUNK):
        digest.update(chunk)
    return digest.digest()
