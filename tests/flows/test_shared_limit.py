"""The rate limit of several servers, counted in a real Redis (docs/adr/0017)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.conftest import Serve, Server, wait_for
from tests.servers import Redis

pytestmark = pytest.mark.cluster


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
    assert "redis.away" in server.text
    wait_for(lambda: server.shopper.get().status_code == 200, within_s=5)
    assert "redis.back" in server.text
