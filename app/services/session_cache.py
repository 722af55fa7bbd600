"""What polls ask for, kept in Redis for seconds: by leases, so that nothing late comes back.

Who finds nothing is given a lease on the place, reads the row, and may fill the place while it
still holds that lease. Whoever changes a row empties the place after the commit, lease and all: a
reader who read before the commit had its lease before it, and fills in vain. Lease and entry end by
themselves, so that `end_s` after a commit nothing of before is left, with or without Redis.

Only sessions that wait or are worked on are kept, for who polls one that is final stops. Source:
Nishtala et al., Scaling Memcache at Facebook (NSDI 2013), section 3.2.1. See docs/adr/0017.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.crud import News, Seen
from app.database import Told
from app.errors import ServiceError
from app.metrics import SESSION_CACHE
from app.models import TryOnSession
from app.services.circuit import circuit_of
from app.services.redis_client import open_redis
from app.states import FINAL, Status

LEASE_S = 1.0
# Clocks that do not run alike, and Redis's, which counts milliseconds.
_MARGIN_S = 0.05
_FORGET_S = 60.0

_NONCE_BYTES = 12
_LEASE, _ENTRY = b"L", b"1"
"""How what stands in a place begins: a lease, or an entry of this version."""

# Of each place what stands there; where nothing did, now our lease does.
_READ = """
local found = {}
for place, key in ipairs(KEYS) do
  found[place] = redis.call('GET', key)
  if not found[place] then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    found[place] = ARGV[1]
  end
end
return found
"""
# One value a place, after the lease under which they were read.
_FILL = """
for place, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then
    redis.call('SET', key, ARGV[place + 2], 'PX', ARGV[2])
  end
end
"""

_OPTIONS = ("category", "mode", "seed", "garment_id")
_PLAIN = ("user_token", "engine", "attempts", "stage", "progress", "delete_inputs_early")
_INSTANTS = ("created_at", "updated_at", "expires_at", "started_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """What a reader got.

    found: as the database had them, at most `end_s` ago. leased: those whose places it may fill
    with what it reads from now on.
    """

    found: dict[UUID, Seen] = field(default_factory=dict)
    leased: frozenset[UUID] = frozenset()
    lease: bytes = b""
    at: float = 0.0


class SessionCache:
    """For all threads of a process; `read` and `fill` for one at a time.

    url: of Redis. keys: 32 bytes each; the first seals, all of them open.
    lease_s: within this a reader has to fill. keep_s: how long an entry is kept then. Both are the
        same for all processes of an installation.

    Raises SettingsError where Redis's client is not installed.
    """

    def __init__(
        self, url: str, keys: Sequence[bytes], *, keep_s: float, lease_s: float = LEASE_S
    ) -> None:
        self._circuit = circuit_of(url)
        self._keys = [AESGCM(key) for key in keys]
        self._lease_ms = int(lease_s * 1000)
        self._keep_ms = int(keep_s * 1000)
        self.end_s = lease_s + keep_s + _MARGIN_S
        """So long after a commit no entry of before it is left."""
        self._connected_at: float | None = None
        # Of its own: no other thread's call makes it connect anew.
        setting = "SESSION_CACHE=redis"
        self._reader: Any = open_redis(url, setting=setting, on_connect=self._note_connection)
        self._writer: Any = open_redis(url, setting=setting)
        self._read_script = self._reader.register_script(_READ)
        self._fill_script = self._reader.register_script(_FILL)
        self._guard = threading.Lock()
        self._ends: dict[UUID, float] = {}
        self._released = asyncio.Event()

    def read(self, session_ids: Sequence[UUID]) -> Asked:
        """Those that are kept, and a lease on those of the others that nobody else reads now."""
        if self._is_newly_connected():
            SESSION_CACHE.labels("miss").inc(len(session_ids))
            return Asked()
        connection, at = self._connected_at, time.time()
        lease = _LEASE + secrets.token_bytes(16)
        places = [_place(one) for one in session_ids]
        reply: list[bytes] | None = self._circuit.ask(
            lambda: self._read_script(keys=places, args=[lease, self._lease_ms])
        )
        if reply is None:
            SESSION_CACHE.labels("error").inc(len(session_ids))
            return Asked()
        if self._connected_at != connection:
            reply = []
        found = {}
        for session_id, place, value in zip(session_ids, places, reply, strict=False):
            if seen := self._open(session_id, place, value, at=at):
                found[session_id] = seen
        SESSION_CACHE.labels("hit").inc(len(found))
        SESSION_CACHE.labels("miss").inc(len(session_ids) - len(found))
        ours = frozenset(
            one for one, value in zip(session_ids, reply, strict=False) if value == lease
        )
        return Asked(found, ours, lease, at)

    def fill(self, asked: Asked, rows: Mapping[UUID, Seen]) -> None:
        """Keep what was read after `asked`: of places that are still leased to it."""
        entries = {
            place: self._seal(place, seen, at=asked.at)
            for session_id, seen in rows.items()
            if session_id in asked.leased and self._may_keep(seen)
            for place in [_place(session_id)]
        }
        if entries:
            args: list[Any] = [asked.lease, self._keep_ms, *entries.values()]
            self._circuit.ask(lambda: self._fill_script(keys=list(entries), args=args))

    def hear(self, told: Sequence[Told]) -> None:
        """Forget what has changed, right after the commit; for `database.on_commit`."""
        changed = {session_id for _, session_id in told}
        erased = {session_id for kind, session_id in told if kind == News.ERASED}
        end = time.monotonic() + self.end_s
        confirmed = self.forget(changed)
        if not confirmed:
            SESSION_CACHE.labels("unconfirmed").inc(len(changed))
        with self._guard:
            for session_id in erased:
                if confirmed:
                    self._ends.pop(session_id, None)
                else:
                    # The first of several counts: since then the row is nobody's to read.
                    self._ends.setdefault(session_id, end)
            if self._ends:
                past = time.monotonic() - _FORGET_S
                self._ends = {one: end for one, end in self._ends.items() if end > past}

    def forget(self, session_ids: Collection[UUID]) -> bool:
        """Empty these places, so that no process finds older ones; whether Redis has confirmed it.

        Also before somebody is told by another way what has been read in the database: who was
        told the end is not told by a poll that it is worked on.
        """
        places = [_place(one) for one in session_ids]
        return self._circuit.ask(lambda: self._writer.delete(*places)) is not None

    def settle(self, session_ids: Collection[UUID]) -> None:
        """Wait until no process finds any of these erased ones here.

        That is so already where Redis has confirmed it; else `end_s` after the commit.
        """
        if (rest_s := self._rest_s(session_ids)) > 0:
            time.sleep(rest_s)

    async def settled(self, session_ids: Collection[UUID]) -> None:
        """The same, without a thread: thousands may wait.

        Raises ServiceError where this process ends first.
        """
        if not (rest_s := self._rest_s(session_ids)):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await self._released.wait()
            raise ServiceError(
                "The server ends. What is to be erased is shown to nobody any more; ask again."
            )

    def release(self) -> None:
        """Let go of who waits by `settled`; on their event loop."""
        self._released.set()

    def _rest_s(self, session_ids: Collection[UUID]) -> float:
        with self._guard:
            end = max((self._ends.get(one, 0.0) for one in session_ids), default=0.0)
        return max(0.0, end - time.monotonic())

    def saves(self) -> bool | None:
        """Whether this Redis writes what it has to a disk; None where it does not say."""
        try:
            snapshots = self._writer.config_get("save")["save"]
            log = self._writer.config_get("appendonly")["appendonly"]
        except Exception:  # noqa: BLE001 - away, or this user may not ask
            return None
        return bool(snapshots) or log != "no"

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _note_connection(self, connection: Any) -> None:
        connection.on_connect()
        self._connected_at = time.monotonic()

    def _is_newly_connected(self) -> bool:
        """Whether what Redis brings is not to be believed yet.

        A connection ends with the Redis that it leads to. The next one may have read a file of a
        moment ago, or have been a replica: it may have what was confirmed to be forgotten. All of
        that ends by itself, within `end_s`.
        """
        at = self._connected_at
        return at is not None and time.monotonic() < at + self.end_s

    def _may_keep(self, seen: Seen) -> bool:
        left_s = (seen.row.expires_at - seen.now).total_seconds()
        return seen.row.status not in FINAL and not seen.expired and left_s > self.end_s

    def _seal(self, place: str, seen: Seen, *, at: float) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        packed = json.dumps(_pack(seen) | {"at": at}).encode()
        return _ENTRY + nonce + self._keys[0].encrypt(nonce, packed, place.encode())

    def _open(self, session_id: UUID, place: str, value: bytes, *, at: float) -> Seen | None:
        """An entry; None for a lease, one of another version or secret, or one past its time.

        at: by this host's clock. Redis's may stand still, with the machine that it runs on.
        """
        if not value.startswith(_ENTRY):
            return None
        nonce, sealed = value[1 : 1 + _NONCE_BYTES], value[1 + _NONCE_BYTES :]
        for key in self._keys:
            try:
                packed = json.loads(key.decrypt(nonce, sealed, place.encode()))
            except InvalidTag:
                continue
            return None if abs(at - packed["at"]) > self.end_s else _unpack(session_id, packed)
        return None


def _place(session_id: UUID) -> str:
    """The key. Redis learns no id: that is 122 random bits, which no hash of them gives away.

    Not under a secret: while one is exchanged, processes do not have the same, and all of them have
    to empty the same place.
    """
    digest = hashlib.sha256(b"tryonai session " + session_id.bytes).hexdigest()
    return f"tryonai:session:{digest[:32]}"


def _pack(seen: Seen) -> dict[str, Any]:
    """What the answer to a poll and the look at its owner need, and no more."""
    row = seen.row
    return {
        "status": row.status,
        "position": seen.position,
        "now": _microseconds(seen.now),
        "options": {name: row.options[name] for name in _OPTIONS},
        **{name: getattr(row, name) for name in _PLAIN},
        **{name: _microseconds(getattr(row, name)) for name in _INSTANTS},
    }


def _unpack(session_id: UUID, packed: Mapping[str, Any]) -> Seen:
    instants = {name: _instant(packed[name]) for name in _INSTANTS}
    plain = {name: packed[name] for name in _PLAIN}
    row = TryOnSession(
        id=session_id,
        status=Status(packed["status"]),
        options=packed["options"],
        warnings=[],
        **plain,
        **instants,
    )
    now = _instant(packed["now"])
    assert now is not None
    return Seen(row, now, packed["position"])


def _microseconds(instant: datetime | None) -> int | None:
    return None if instant is None else (instant - _EPOCH) // timedelta(microseconds=1)


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
