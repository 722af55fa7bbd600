"""200 webhooks to a receiver that fails at random, from a server that is killed in between.

The clock of the waits is turned forward: what waits for its next attempt is made due now and then,
so that a day passes in a minute. Leases run in real time.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg2
from standardwebhooks.webhooks import Webhook

from app.services.webhooks import secret_text
from app.signing import Keyring
from bench import http as ours
from bench import server
from bench.table import Figure
from tests.pictures import jpeg, photo

SETTINGS = {
    "LEASE_SECONDS": 2,
    "MOCK_SECONDS": 0.05,
    "MOCK_FAILURE_RATE": 0.2,
    "WORKER_CONCURRENCY": 2,
    "WEBHOOK_ALLOW_PRIVATE": "true",
}
LIFE_S = (0.5, 3.0)
PATIENCE_S = 240.0
# Of each attempt: an error, a redirect, or an end without an answer, whatever was understood.
FAILS = 0.4

HURRY = (
    "UPDATE webhook_deliveries SET next_at = now() WHERE state = 'pending' AND claimed_by IS NULL"
)
NEWS = "SELECT pg_notify('tryonai', 'delivery:00000000-0000-0000-0000-000000000000')"


@dataclass
class _Heard:
    """What the receiver has heard. ids: by session; taken: how often it said 2xx to each."""

    ids: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    bodies: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    taken: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    forged: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def _receiver(heard: _Heard, rng: random.Random) -> ThreadingHTTPServer:
    hook = Webhook(secret_text(Keyring([server.SECRET]).webhook_keys[0]))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with heard.lock:
                try:
                    session = hook.verify(body, headers)["data"]["id"]
                except Exception:  # noqa: BLE001 - of whatever kind
                    heard.forged += 1
                    return
                heard.ids[session].add(headers["webhook-id"])
                heard.bodies[session].add(body)
                fails = rng.random() < FAILS
                how = rng.choice(("500", "503", "302", "cut off")) if fails else "204"
                heard.said[how] += 1
                # A moment, so that kills meet calls under way.
                wait_s = rng.uniform(0, 0.1)
                heard.taken[session] += how == "204"
            time.sleep(wait_s)
            if how == "cut off":
                self.close_connection = True
                return
            self.send_response(int(how))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """The caller was killed."""

    receiver = Quiet(("127.0.0.1", 0), Handler)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    return receiver


class _Shopper(threading.Thread):
    """Makes so many sessions, each under a key, and repeats what was cut off."""

    def __init__(self, port: int, events: int, url: str) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.made: dict[str, str] = {}
        self.repeats = 0
        self._events = events
        self._url = url
        self._picture = jpeg(photo(256, 320))

    def run(self) -> None:
        for number in range(self._events):
            while str(number) not in self.made:
                try:
                    self._create(str(number))
                except (OSError, http.client.HTTPException, RuntimeError):
                    self.repeats += 1
                    time.sleep(0.1)

    def _create(self, key: str) -> None:
        client = ours.Client(self.port, timeout_s=10)
        try:
            status, body = client.send_create(
                self._picture, {"Idempotency-Key": key}, webhook_url=self._url
            )
        finally:
            client.close()
        if status not in (200, 201):
            raise RuntimeError(f"a create was answered with {status}")
        self.made[key] = json.loads(body)["id"]


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    events, kills = (40, 3) if quick else (200, 15)
    rng = random.Random(7)
    heard = _Heard()
    receiver = _receiver(heard, random.Random(8))
    running = server.launch(folder, **SETTINGS)
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    shopper = _Shopper(running.port, events, url)
    shopper.start()
    began = time.monotonic()
    try:
        for _ in range(kills):
            _hurry_for(folder, rng.uniform(*LIFE_S))
            running.kill()
            running = server.launch(folder, **SETTINGS)
            shopper.port = running.port
        shopper.join()
        while _pending(folder) and time.monotonic() - began < PATIENCE_S:
            _hurry_for(folder, 0.5)
        states = dict(_query(folder, "SELECT state, count(*) FROM webhook_deliveries GROUP BY 1"))
        attempts = _query(folder, "SELECT sum(attempts) FROM webhook_deliveries")[0][0]
        sessions = _query(folder, "SELECT count(*) FROM tryon_sessions")[0][0]
    finally:
        running.stop()
        receiver.shutdown()
        receiver.server_close()
    wrong = {
        "never taken by the receiver": sum(not heard.taken[one] for one in shopper.made.values()),
        "under two ids": sum(len(ids) > 1 for ids in heard.ids.values()),
        "with two bodies": sum(len(bodies) > 1 for bodies in heard.bodies.values()),
        "of no session, or badly signed": heard.forged
        + len(set(heard.ids) - set(shopper.made.values())),
        "sessions made twice by a repeated create": sessions - events,
    }
    return [
        Figure(
            name=f"webhooks lost or under two ids: receiver fails at random, {kills} × kill -9",
            measured=sum(wrong.values()),
            unit=f"of {events}",
            to_reach="0",
            reached=not any(wrong.values()),
            details={
                **wrong,
                "states": states,
                "attempts": attempts,
                "what the receiver said": dict(heard.said),
                "taken twice or more, with one id": sum(n > 1 for n in heard.taken.values()),
                "creates repeated": shopper.repeats,
                "seconds": round(time.monotonic() - began),
            },
        )
    ]


def _hurry_for(folder: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(psycopg2.Error):
            _query(folder, HURRY, NEWS)
        time.sleep(0.2)


def _pending(folder: Path) -> bool:
    """Whether a session is not final, or a delivery not at its end."""
    statement = (
        "SELECT (SELECT count(*) FROM tryon_sessions WHERE status IN ('created', 'processing'))"
        " + (SELECT count(*) FROM webhook_deliveries WHERE state = 'pending')"
    )
    return bool(_query(folder, statement)[0][0])


def _query(folder: Path, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last one."""
    connection = psycopg2.connect(**server.database_address(folder))  # type: ignore[call-overload]
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())
    finally:
        connection.close()
