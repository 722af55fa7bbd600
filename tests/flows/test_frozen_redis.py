"""A Redis that takes connections and says nothing, under all that uses it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.flows.conftest import Knocking, Run, Serve, Server
from tests.servers import Redis

pytestmark = pytest.mark.cluster

FROZEN_S = 4.0
USUAL_S = 2.0
STALL_S = 0.3
# A call waits for Redis a quarter of a second at a time; the rest is what else the machine does.
CALL_S = 1.0
# With a cache of sessions an erasure is answered when nobody can be served the old row any more:
# after a lease, an entry's three seconds, and a margin.
UNCONFIRMED_S = 4.05


class Using:
    """What shoppers do with two servers; longest_s: of each kind of call."""

    def __init__(self, first: Server, second: Server) -> None:
        self._first, self._second = first.shopper, second.shopper
        self.kept: list[str] = []
        self.longest_s: dict[str, float] = defaultdict(float)

    def use(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._round()

    def _round(self) -> None:
        """Each answer as it has to be, at both of them."""
        with self._timed("create"):
            kept, erased = self._first.submit(), self._first.submit()
        for shopper in (self._first, self._second):
            for session_id in (kept, erased, self.kept[0] if self.kept else kept):
                with self._timed("poll"):
                    assert shopper.see(session_id)["id"] == session_id
        with self._timed("list"):
            assert kept in self._second.get().text
        with self._timed("erase"):
            assert self._first.delete(erased).status_code == 204
        for shopper in (self._second, self._first):
            with self._timed("poll"):
                assert shopper.get(erased).status_code == 404
        self.kept.append(kept)

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.longest_s[kind] = max(self.longest_s[kind], time.monotonic() - began)


def settings(redis: Redis) -> dict[str, Any]:
    """With everything in Redis that can be."""
    return {
        "redis_url": redis.url,
        "task_queue": "celery",
        "events": "redis",
        "rate_limit_enabled": True,
        "rate_limit_create": "10000/minute",
        "rate_limit_other": "100000/minute",
    }


@pytest.mark.parametrize("cache", ["off", "redis"])
def test_a_frozen_redis_stops_nobody_and_makes_nothing_wrong(
    serve: Serve, run: Run, redis: Redis, cache: str
) -> None:
    all_of_it = settings(redis) | {"session_cache": cache}
    servers = [serve(worker_concurrency=0, **all_of_it).ready() for _ in range(2)]
    run("worker", "--concurrency", "1", **all_of_it)
    usual, frozen = Using(*servers), Using(*servers)
    servers[0].shopper.wait(servers[0].shopper.submit(), "completed")

    with Knocking(servers[0]) as floor:
        usual.use(USUAL_S)
    frozen.kept = usual.kept[:1]
    with Knocking(servers[0]) as knocking, Knocking(servers[1]) as other:
        redis.freeze()
        frozen.use(FROZEN_S)
        redis.thaw()

    loop_s = max(knocking.longest_s, other.longest_s)
    shown = ", ".join(
        f"{kind} {longest:.3f} s ({usual.longest_s[kind]:.3f})"
        for kind, longest in frozen.longest_s.items()
    )
    print(f"cache {cache}: loop {loop_s:.3f} s ({floor.longest_s:.3f} before), {shown}")  # noqa: T201
    # On a machine that does something else besides, all of it stands still at times.
    assert loop_s <= STALL_S + floor.longest_s
    for kind, longest in frozen.longest_s.items():
        confirmed_s = UNCONFIRMED_S if (kind, cache) == ("erase", "redis") else 0
        assert longest <= CALL_S + confirmed_s + usual.longest_s[kind], kind
    for session_id in usual.kept + frozen.kept:
        servers[1].shopper.wait(session_id, "completed", within_s=60)
