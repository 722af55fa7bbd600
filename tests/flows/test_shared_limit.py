"""The rate limit of several servers, counted in a real Redis (docs/adr/0017)."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest

from tests.flows.conftest import Serve, Server, wait_for
from tests.servers import Redis

pytestmark = pytest.mark.cluster

FROZEN_S = 4.0
STALL_S = 0.3


def _limited(serve: Serve, redis: Redis, **settings: Any) -> Server:
    return serve(rate_limit_enabled=True, redis_url=redis.url, worker_concurrency=0, **settings)


def test_servers_count_together_and_keep_no_address(serve: Serve, redis: Redis) -> None:
    two = [_limited(serve, redis, rate_limit_other="6/minute").ready() for _ in range(2)]

    answers = [server.shopper.get() for _ in range(4) for server in two]

    assert [one.status_code for one in answers] == [200] * 6 + [429] * 2
    keys = redis.keys()
    assert keys
    assert not [key for key in keys if "127.0.0.1" in key]


def test_a_redis_that_is_away_makes_calls_no_error(serve: Serve, redis: Redis) -> None:
    server = _limited(serve, redis, rate_limit_other="50/minute").ready()
    assert server.shopper.get().status_code == 200

    redis.kill()
    alone = [server.shopper.get().status_code for _ in range(51)]
    redis.start()

    assert alone == [200] * 50 + [429], "it counts for itself"
    assert "limit.alone" in server.text
    wait_for(lambda: server.shopper.get().status_code == 200, within_s=5)
    assert "limit.shared" in server.text


class Knocking:
    """Asks what needs neither Redis nor the database: for how long does the loop stand still?"""

    def __init__(self, server: Server) -> None:
        self._address = str(server.shopper.http.base_url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._knock)
        self.longest_s = 0.0

    def _knock(self) -> None:
        with httpx.Client(base_url=self._address) as http:
            while not self._over.wait(0.01):
                began = time.monotonic()
                assert http.get("/api/health/live").status_code == 200
                self.longest_s = max(self.longest_s, time.monotonic() - began)

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_a_frozen_redis_stops_nobody(serve: Serve, redis: Redis) -> None:
    server = _limited(serve, redis, rate_limit_other="10000/minute").ready()

    def call() -> list[float]:
        """How long each call took that is counted."""
        until = time.monotonic() + FROZEN_S
        calls = []
        while time.monotonic() < until:
            began = time.monotonic()
            assert server.shopper.get().status_code == 200
            calls.append(time.monotonic() - began)
        return calls

    with Knocking(server) as floor:
        usual = call()
    with Knocking(server) as knocking:
        redis.freeze()
        frozen = call()
        redis.thaw()

    # On a machine that does something else besides, all of it stands still at times.
    assert knocking.longest_s <= STALL_S + floor.longest_s
    assert max(frozen) <= STALL_S + max(usual)
    print(  # noqa: T201
        f"loop {knocking.longest_s:.3f} s ({floor.longest_s:.3f} before), "
        f"calls {max(frozen):.3f} s ({max(usual):.3f} before)"
    )
