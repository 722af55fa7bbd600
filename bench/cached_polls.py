"""What a poll's read would cost from a cache in Redis, beside the shared read (docs/adr/0017).

`python -m bench.cached_polls REDIS_URL`: CPU of this process a session, for one and for 32 that are
asked for together. The cache is given every advantage: its rows are always there and never checked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from app import crud
from app.crud import Seen
from app.database import migrate, open_db, open_reads
from app.models import TryOnSession
from app.postgres import EmbeddedPostgres
from app.services.polls import Polls
from app.states import Status

ROUNDS = 400
_FIELDS = (
    *("user_token", "engine", "options", "input_image_url", "garment_image_url", "attempts"),
    *("output_image_url", "stage", "progress", "warnings", "quality", "delete_inputs_early"),
)
_INSTANTS = ("created_at", "updated_at", "expires_at", "started_at", "finished_at")


def main(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        db = open_db(postgres.url, pool_size=2)
        migrate(db)
        ids = [uuid4() for _ in range(32)]
        for session_id in ids:
            with db.begin() as tx:
                crud.add_session(tx, _new(session_id), count_to=1)
        reads = open_reads(postgres.url, pool_size=2)
        asyncio.run(_measure(url, Polls(reads), ids))


def _new(session_id: UUID) -> crud.NewSession:
    options = {"category": "tops", "mode": "balanced", "seed": 1, "garment_id": "henley"}
    return crud.NewSession(
        id=session_id,
        owner="a" * 64,
        engine="mock",
        options=options,
        input_key=f"inputs/{session_id}/person.jpg",
        garment_key=None,
        retention=timedelta(hours=1),
    )


async def _measure(url: str, polls: Polls, ids: list[UUID]) -> None:
    from redis.asyncio import Redis  # noqa: PLC0415 - an extra

    redis = Redis.from_url(url)
    for session_id in ids:
        seen = await polls.read(session_id)
        assert seen is not None
        await redis.set(f"bench:{session_id}", _packed(seen), ex=60)

    async def cached(some: list[UUID]) -> object:
        found = await redis.mget([f"bench:{one}" for one in some])
        return [_unpacked(one) for one in found if one is not None]

    async def shared(some: list[UUID]) -> object:
        return await asyncio.gather(*map(polls.read, some))

    for count in (1, 32):
        for name, read in (("shared read", shared), ("Redis", cached)):
            cpu, wall = await _cost(read, ids[:count])
            print(f"{count:>3} together, {name:<12} {cpu:.3f} ms CPU, {wall:.3f} ms a session")
    await redis.aclose()


async def _cost(
    read: Callable[[list[UUID]], Awaitable[object]], ids: list[UUID]
) -> tuple[float, float]:
    for _ in range(20):
        await read(ids)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(ROUNDS):
        await read(ids)
    scale = 1000 / ROUNDS / len(ids)
    return (time.process_time() - cpu) * scale, (time.perf_counter() - wall) * scale


def _packed(seen: Seen) -> str:
    row = seen.row
    values = {name: getattr(row, name) for name in _FIELDS}
    instants = {name: _seconds(getattr(row, name)) for name in _INSTANTS}
    known = {"id": str(row.id), "status": row.status, "now": _seconds(seen.now)}
    return json.dumps({**values, **instants, **known})


def _seconds(instant: object) -> float | None:
    return instant.timestamp() if hasattr(instant, "timestamp") else None


def _unpacked(text: bytes | str) -> TryOnSession:
    values = json.loads(text)
    values.pop("now")
    return TryOnSession(**values | {"id": UUID(values["id"]), "status": Status(values["status"])})


if __name__ == "__main__":
    main(sys.argv[1])
