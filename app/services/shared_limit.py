"""The rate limit of several processes: counted in Redis, and by each for itself while that is away.

Nothing waits for Redis longer than a quarter of a second, and then nothing asks it for a while:
slower, and more than once the limit at worst, but never an error (docs/adr/0017).
"""

from __future__ import annotations

import asyncio
from typing import Any

from limits import RateLimitItem, parse

from app.metrics import LIMITER_ERRORS
from app.services.circuit import PATIENCE_S, circuit_of
from app.services.ratelimit import RateLimiter, Scope, Verdict, verdict
from app.services.redis_client import ask_once, missing


class SharedLimiter:
    """url: of Redis. create, other: as for RateLimiter, which counts where Redis cannot.

    Raises SettingsError where Redis's client is not installed. For the coroutines of one loop.
    """

    def __init__(self, url: str, *, create: str, other: str) -> None:
        try:
            from limits.aio.storage import RedisStorage  # noqa: PLC0415 - a laptop has no Redis
            from limits.aio.strategies import MovingWindowRateLimiter  # noqa: PLC0415
            from redis.asyncio.retry import Retry  # noqa: PLC0415
        except ImportError as exc:
            raise missing("REDIS_URL") from exc
        storage = RedisStorage(
            f"async+{url}",
            implementation="redispy",
            key_prefix="tryonai:limit",
            **ask_once(Retry),
        )
        bridge: Any = storage.bridge  # its kind has what the protocol does not name
        self._redis = bridge.get_connection()
        self._limiter = MovingWindowRateLimiter(storage)
        self._items: dict[Scope, RateLimitItem] = {"create": parse(create), "other": parse(other)}
        self._alone = RateLimiter(create=create, other=other)
        self._circuit = circuit_of(url)

    async def hit(self, scope: Scope, client: str) -> Verdict:
        if not self._circuit.may_ask():
            LIMITER_ERRORS.inc()
            return await self._alone.hit(scope, client)
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._ask(scope, client)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the limit is not worth a failed call
            LIMITER_ERRORS.inc()
            self._circuit.has_failed(exc)
            return await self._alone.hit(scope, client)
        self._circuit.has_answered()
        return found

    async def close(self) -> None:
        await self._redis.aclose()

    async def _ask(self, scope: Scope, client: str) -> Verdict:
        item = self._items[scope]
        allowed = await self._limiter.hit(item, scope, client)
        stats = await self._limiter.get_window_stats(item, scope, client)
        return verdict(
            scope, item, allowed=allowed, remaining=stats.remaining, reset_at=stats.reset_time
        )
