"""Every process is replaced by another, one after the other, while shoppers go on.

As docs/operations.md has it for an upgrade; and with a new secret each time, as it has it for that.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.fixtures import SECRET
from tests.flows.conftest import PHOTO, TOKEN, URL, Program, Run, Server, Sql, wait_for
from tests.servers import Redis

pytestmark = pytest.mark.cluster

NEW = "the secret that comes after"
HEADERS = {"X-User-Token": TOKEN}


class Installation:
    """Two servers and two of Celery's workers."""

    def __init__(self, run: Run, **settings: Any) -> None:
        self._run, self._settings = run, settings
        self.ended: list[Program] = []
        self.servers = [self._server(SECRET) for _ in range(2)]
        self.workers = [self._worker(SECRET) for _ in range(2)]

    @property
    def programs(self) -> list[Program]:
        return [*self.ended, *self.servers, *self.workers]

    def replace_all(self, secret: str) -> None:
        """Servers first; who goes has been sent SIGTERM, and what follows it is there already."""
        for _ in self.servers[:]:
            self.servers.append(self._server(secret))
            self._end(self.servers[0])
            self.ended.append(self.servers.pop(0))
        for _ in self.workers[:]:
            self.workers.append(self._worker(secret))
            self._end(self.workers[0])
            self.ended.append(self.workers.pop(0))

    def _end(self, program: Program) -> None:
        """While it is still asked: nobody has taken it out of a balancer."""
        program.terminate()
        assert program.wait(30) == 0, program.text

    def _server(self, secret: str) -> Server:
        server = self._run(
            "serve", "--port", "0", worker_concurrency=0, secret_key=secret, **self._settings
        )
        assert isinstance(server, Server)
        return server.ready()

    def _worker(self, secret: str) -> Program:
        return self._run("worker", "--concurrency", "1", secret_key=secret, **self._settings)


class Shoppers:
    """Who create sessions and look after them, at whichever server a balancer would choose."""

    def __init__(self, installation: Installation) -> None:
        self._at = installation
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self.under_way: list[str] = []
        self.completed: list[str] = []
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []

    @contextmanager
    def shopping(self) -> Iterator[Shoppers]:
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()

    def _go_on(self) -> None:
        with httpx.Client(timeout=20, headers=HEADERS) as http:
            while not self._over.is_set() or self.under_way:
                if not self._over.wait(0.1):
                    self._create(http)
                for session_id in self.under_way[:]:
                    self._look(http, session_id)
                if self.completed:
                    path = f"{URL}/{random.choice(self.completed)}/output"
                    self._expect(200, self._ask(http, "GET", path))

    def _create(self, http: httpx.Client) -> None:
        files = {"person_image": ("me.jpg", PHOTO, "image/jpeg")}
        key = {"Idempotency-Key": str(uuid4())}
        answer = self._ask(http, "POST", URL, files=files, data={"user_token": TOKEN}, headers=key)
        if self._expect(201, answer) or answer.status_code == 200:
            self.under_way.append(answer.json()["id"])

    def _look(self, http: httpx.Client, session_id: str) -> None:
        answer = self._ask(http, "GET", f"{URL}/{session_id}")
        if self._expect(200, answer) and answer.json()["status"] in ("completed", "failed"):
            self.under_way.remove(session_id)
            self.completed.append(session_id)

    def _ask(self, http: httpx.Client, verb: str, path: str, **more: Any) -> httpx.Response:
        """One that does not answer is left out, as a balancer does."""
        while True:
            base = random.choice(self._at.servers).shopper.http.base_url
            try:
                return http.request(verb, base.join(path), **more)
            except httpx.TransportError as exc:
                self.answers[type(exc).__name__] += 1
                time.sleep(0.01)

    def _expect(self, status: int, answer: httpx.Response) -> bool:
        self.answers[str(answer.status_code)] += 1
        if answer.status_code not in (200, status):
            self.wrong.append(f"{answer.request.method} {answer.status_code} {answer.text}")
        return answer.status_code == status


@pytest.mark.parametrize("events", ["postgres", "redis"])
def test_a_rolling_restart_under_a_new_secret_loses_nothing(
    run: Run, redis: Redis, sql: Sql, events: str
) -> None:
    settings: dict[str, Any] = {
        "task_queue": "celery",
        "redis_url": redis.url,
        "mock_seconds": 0.3,
        "events": events,
    }
    at = Installation(run, database_pool_size=3, log_format="json", **settings)
    shoppers = Shoppers(at)
    with shoppers.shopping():
        wait_for(lambda: len(shoppers.completed) > 5, within_s=60)
        at.replace_all(f"{SECRET},{NEW}")
        at.replace_all(f"{NEW},{SECRET}")
        done = len(shoppers.completed)
        wait_for(lambda: len(shoppers.completed) > done + 5, within_s=60)
        rotating = run("rotate-keys", secret_key=f"{NEW},{SECRET}", **settings)
        assert rotating.wait(60) == 0, rotating.text

    found = sql("SELECT status::text, attempts FROM tryon_sessions")
    rows = Counter((row.status, row.attempts) for row in found)
    print(f"{rows}, {shoppers.answers}, {rotating.text.splitlines()[-1]}")  # noqa: T201
    assert shoppers.wrong == []
    assert {status for status, _ in rows} == {"completed"}
    lines = [line for one in at.programs for line in one.text.splitlines()]
    assert sum('"session.completed"' in line for line in lines) == rows.total()
