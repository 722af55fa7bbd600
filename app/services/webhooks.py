"""Tells a receiver that a session is final, as Standard Webhooks says (docs/adr/0012-webhooks.md).

The row of `webhook_deliveries` is the event: it is written with the final state, and its id is the
event's for all attempts. Source: https://www.standardwebhooks.com, the specification of 2023-11.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import random
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from anyio import CapacityLimiter, to_thread

from app import crud, tracing
from app.crud import Claimed
from app.database import Db, translate
from app.errors import WebhookRefused
from app.metrics import WEBHOOKS
from app.models import TryOnSession
from app.schemas import rfc3339
from app.services.crypto import PictureUnreadable, Vault
from app.services.receivers import ATTEMPT_S, Caller, Outcome, Receiver, read_url
from app.states import DeliveryState

log = structlog.get_logger(__name__)

T = TypeVar("T")

# After the first attempt, the second, and so on. It spans a day, which is more than a session
# lives with the defaults; a quarter more or less, so that those that failed together come apart.
WAITS = (
    *(timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10)),
    *(timedelta(minutes=30), timedelta(hours=1), timedelta(hours=2), timedelta(hours=4)),
    *(timedelta(hours=6), timedelta(hours=10)),
)
JITTER = 0.25
LEASE_S = 2 * ATTEMPT_S
# Calls of a process at once, and of these to one receiver, so that a dead one leaves room.
CALLS = 32
CALLS_TO_ONE = 4
# An attempt waits 5 s for a name, a lookup may take 30: while every name server is that slow, each
# attempt has a thread all the same.
LOOKUPS = 6 * CALLS
# What was not heard of is found after so long.
LOOK_S = 10.0
AGAIN_S = 2.0
# A process that ends lets calls finish for a moment; then others make them again.
GRACE_S = 1.0

GONE = 410


def event(row: TryOnSession) -> tuple[str, bytes]:
    """The event of a final session: its type and its body, the same for all attempts.

    Thin: who may have more asks for the session. No picture, no address of one, nothing that was
    sent with the create.
    """
    assert row.finished_at is not None
    kind = f"tryon.{row.status.value}"
    body = {
        "type": kind,
        "timestamp": rfc3339(row.finished_at),
        "data": {
            "id": str(row.id),
            "status": row.status.value,
            "error_code": row.error_code,
            "created_at": rfc3339(row.created_at),
            "finished_at": rfc3339(row.finished_at),
            "expires_at": rfc3339(row.expires_at),
        },
    }
    return kind, json.dumps(body, separators=(",", ":")).encode()


def message_id(delivery_id: UUID) -> str:
    return f"msg_{delivery_id.hex}"


def secret_text(key: bytes) -> str:
    """A key as receivers' libraries take it."""
    return "whsec_" + base64.b64encode(key).decode()


def signed(keys: Sequence[bytes], message: str, body: bytes, *, now: float) -> dict[str, str]:
    """The headers of one attempt. Several keys give several signatures: that is rotation."""
    timestamp = str(int(now))
    content = f"{message}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys]
    return {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }


def next_wait(attempts: int) -> timedelta | None:
    """How long to rest after so many attempts have failed; None when that was the last one."""
    if attempts > len(WAITS):
        return None
    return WAITS[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311


def where_to(vault: Vault, row: TryOnSession) -> Receiver | None:
    """Who is to be called; None where that cannot be read any more."""
    try:
        return read_url(vault.unseal_url(row.id, row.webhook_url or b""))
    except (PictureUnreadable, WebhookRefused):
        return None


class Courier:
    """Delivers from `start` to `stop`, on an event loop in a thread of its own.

    keys: of the signatures. clock: seconds since 1970, as the receiver's clock has them.
    before_call: told whose end a receiver is about to hear of, in a thread; it must not raise.
    """

    def __init__(
        self,
        db: Db,
        vault: Vault,
        caller: Caller,
        *,
        keys: Sequence[bytes],
        before_call: Callable[[UUID], object],
        clock: Callable[[], float],
        user_agent: str,
    ) -> None:
        self.name = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._db = db
        self._vault = vault
        self._caller = caller
        self._keys = keys
        self._before_call = before_call
        self._clock = clock
        self._user_agent = user_agent
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._ready = threading.Event()
        self._stopping = False
        self._calls: dict[asyncio.Task[None], UUID] = {}
        self._erased: set[UUID] = set()
        self._to: Counter[str] = Counter()

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """What is under way is broken off after a moment, and left to others."""
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join()

    def notify(self, _: UUID) -> None:
        """Say that something is to be delivered; from any thread."""
        self.ring()

    def cancel(self, session_id: UUID) -> None:
        """Break off the call of a session that is erased, if one is made; from any thread."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._break_off, session_id)

    def ring(self) -> None:
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._bell.set)

    def _break_off(self, session_id: UUID) -> None:
        self._erased.add(session_id)
        for call, called_for in self._calls.items():
            if called_for == session_id:
                call.cancel()

    def _end(self) -> None:
        self._stopping = True
        self._bell.set()

    def _run(self) -> None:
        asyncio.run(self._deliver_always())

    async def _deliver_always(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()
        self._database = CapacityLimiter(1)
        self._ready.set()
        while not self._stopping:
            self._bell.clear()
            try:
                rest_s = await self._take_all()
            except Exception as exc:  # a process edge: the courier must outlive everything
                log.warning(
                    "webhook.pause",
                    error=type(exc).__name__,
                    exc_info=translate(exc) is None,
                )
                rest_s = AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._bell.wait()
        await self._leave()

    async def _take_all(self) -> float:
        """Begin every call that is due and has room; returns how long to rest where nobody rings.

        A call that ends rings.
        """
        while not self._stopping and len(self._calls) < CALLS:
            busy = [one for one, count in self._to.items() if count >= CALLS_TO_ONE]
            self._erased.clear()
            claimed, due_s = await self._in_database(partial(self._claim, busy))
            if claimed is None:
                return LOOK_S if due_s is None else min(max(due_s, 0.0), LOOK_S)
            if claimed.session.id in self._erased:  # while the claim came back
                continue
            receiver = claimed.session.webhook_receiver or ""
            self._to[receiver] += 1
            call = asyncio.create_task(self._deliver(claimed))
            self._calls[call] = claimed.session.id
            call.add_done_callback(partial(self._hang_up, receiver))
        return LOOK_S

    def _claim(self, busy: list[str]) -> tuple[Claimed | None, float | None]:
        with self._db.begin() as tx:
            claimed = crud.claim_delivery(tx, by=self.name, lease_s=LEASE_S, busy=busy)
            due_s = None if claimed else crud.next_delivery_s(tx, busy=busy)
        if claimed is not None:
            self._before_call(claimed.session.id)
        return claimed, due_s

    def _hang_up(self, receiver: str, call: asyncio.Task[None]) -> None:
        del self._calls[call]
        self._to[receiver] -= 1
        if not self._to[receiver]:
            del self._to[receiver]
        self._bell.set()

    async def _deliver(self, claimed: Claimed) -> None:
        # A task has a context of its own.
        row = claimed.session
        structlog.contextvars.bind_contextvars(session_id=str(row.id), request_id=row.request_id)
        try:
            about = {"tryonai.attempt": claimed.attempt}
            with tracing.span("webhook", about, kind="CLIENT", parent=row.traceparent) as span:
                span.note({"tryonai.outcome": await self._attempt(claimed)})
        except Exception as exc:  # a process edge: the lease brings it back
            away = translate(exc)
            log.warning("webhook.broken", error=type(exc).__name__, exc_info=away is None)

    async def _attempt(self, claimed: Claimed) -> str:
        """Returns what the metric calls it."""
        began = self._loop.time()
        outcome = await self._call(claimed)
        state, wait = _judge(outcome, claimed.attempt)
        await self._in_database(partial(self._note, claimed, outcome, state, wait))
        WEBHOOKS.labels(_said(outcome)).inc()
        write = log.info if state is DeliveryState.DELIVERED else log.warning
        write(
            "webhook.attempt",
            attempt=claimed.attempt,
            state=state.value,
            status=outcome.status,
            error=outcome.error,
            seconds=round(self._loop.time() - began, 3),
        )
        return _said(outcome)

    async def _call(self, claimed: Claimed) -> Outcome:
        receiver = where_to(self._vault, claimed.session)
        if receiver is None:
            return Outcome(error="unreadable")
        _, body = event(claimed.session)
        headers = signed(self._keys, message_id(claimed.id), body, now=self._clock())
        headers |= {"content-type": "application/json", "user-agent": self._user_agent}
        return await self._caller.call(receiver, headers, body)

    def _note(
        self, claimed: Claimed, outcome: Outcome, state: DeliveryState, wait: timedelta | None
    ) -> None:
        with self._db.begin() as tx:
            crud.end_attempt(
                tx,
                claimed.id,
                attempt=claimed.attempt,
                state=state,
                wait=wait,
                status=outcome.status,
                error=outcome.error,
            )

    async def _leave(self) -> None:
        """End, and give back what was begun."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=GRACE_S)
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._caller.close()
        try:
            await self._in_database(self._release)
        except Exception as exc:
            if translate(exc) is None:
                raise
            log.warning("webhook.not_released", error=type(exc).__name__)  # the leases run out

    def _release(self) -> None:
        with self._db.begin() as tx:
            crud.release_deliveries(tx, by=self.name)

    async def _in_database(self, step: Callable[[], T]) -> T:
        return await to_thread.run_sync(step, limiter=self._database)


def _judge(outcome: Outcome, attempt: int) -> tuple[DeliveryState, timedelta | None]:
    """What a delivery is after an attempt, and how long it rests before the next."""
    if outcome.status is not None and 200 <= outcome.status < 300:
        return DeliveryState.DELIVERED, None
    if outcome.status == GONE:
        return DeliveryState.REFUSED, None
    wait = next_wait(attempt)
    return (DeliveryState.GIVEN_UP, None) if wait is None else (DeliveryState.PENDING, wait)


def _said(outcome: Outcome) -> str:
    """For the metric: a class of statuses, or the reason why there was none."""
    return outcome.error or f"{(outcome.status or 0) // 100}xx"
