"""What 2,000 polls that wait cost one server process: memory, and how quick other answers are."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg2

from bench import http, server
from bench.pictures import photo_200_kb
from bench.server import Server
from bench.table import Figure, percentile, ratio

WAITERS = 2000
SESSIONS = 50
AT_MOST_MB = 150
AS_FAST = 1.1

_WAIT = "Prefer: wait=30\r\n"


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Without a worker, so that nothing changes unless we change it."""
    _allow_files()
    with server.serving(folder, WORKER_CONCURRENCY=0) as running:
        client = http.Client(running.port)
        ids = [str(client.create(photo_200_kb())["id"]) for _ in range(SESSIONS)]
        client.close()
        return asyncio.run(_measure(folder, running, ids, rounds=2 if quick else 5))


async def _measure(folder: Path, running: Server, ids: list[str], *, rounds: int) -> list[Figure]:
    calls = {"poll": f"{http.SESSIONS}/{ids[0]}", "health": "/api/health/live"}
    alone: dict[str, list[float]] = {name: [] for name in calls}
    beside: dict[str, list[float]] = {name: [] for name in calls}
    tails: list[float] = []
    grown: list[int] = []
    told: list[float] = []
    idle_cpu: list[float] = []
    async with _waiting(running.port, ids, count=20):
        pass  # what the first ones make the process load, stays
    before = _pss(running)  # once: what has grown is reused by the next round, not given back
    for _ in range(rounds):
        for name, path in calls.items():
            alone[name].append(statistics.median(await _latencies_ms(running.port, path)))
        async with _waiting(running.port, ids) as answers:
            grown.append(_pss(running) - before)
            for name, path in calls.items():
                latencies = await _latencies_ms(running.port, path)
                beside[name].append(statistics.median(latencies))
                tails.append(percentile(latencies, 0.99))
            idle_cpu.append(await _cpu_share(running))
            told.append(await _time_to_tell_ms(folder, ids, answers))
    return [
        Figure(
            name=f"memory of {WAITERS:,} polls that wait, above idle (PSS)",
            measured=max(grown) / 1e6,
            unit="MB",
            to_reach=f"≤ {AT_MOST_MB} MB",
            reached=max(grown) <= AT_MOST_MB * 1e6,
            details={
                "rounds, MB": [one / 1e6 for one in grown],
                "a waiter, kB": max(grown) / WAITERS / 1000,
                "CPU meanwhile, share of a core": statistics.median(idle_cpu),
                "from a change of all to the last of them told, ms": told,
            },
        ),
        *(
            Figure(
                name=f"{name} beside {WAITERS:,} that wait",
                measured=statistics.median(beside[name]),
                unit="ms",
                floor=statistics.median(alone[name]),
                floor_is="the same with nobody waiting",
                ratio=ratio(beside[name], alone[name]),
                to_reach=f"≤ {AS_FAST:g} × floor",
                reached=ratio(beside[name], alone[name]) <= AS_FAST,
                details={"rounds, ms": beside[name], "p99 of all, worst round, ms": max(tails)},
            )
            for name in calls
        ),
    ]


def _pss(running: Server) -> int:
    """Of the server without its engine and database."""
    return server.pss_bytes(running.family()[:1])


@asynccontextmanager
async def _waiting(
    port: int, ids: list[str], *, count: int = WAITERS
) -> AsyncIterator[list[asyncio.Task[bytes]]]:
    """So many connections, each with a poll that waits, spread over the sessions."""
    requests = [
        http.raw_get(f"{http.SESSIONS}/{one}").replace(b"\r\n\r\n", f"\r\n{_WAIT}\r\n".encode())
        for one in ids
    ]
    gate = asyncio.Semaphore(100)
    writers: list[asyncio.StreamWriter] = []
    answers: list[asyncio.Task[bytes]] = []

    async def begin(number: int) -> None:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            writer.write(requests[number % len(requests)])
            await writer.drain()
            answers.append(asyncio.create_task(reader.readuntil(b"\r\n")))

    await asyncio.gather(*map(begin, range(count)))
    await _until_waiting(port, count)
    try:
        yield answers
    finally:
        for writer in writers:
            writer.close()
        await asyncio.gather(*answers, return_exceptions=True)
        await _until_waiting(port, 0)


async def _until_waiting(port: int, count: int) -> None:
    wanted = f"\ntryonai_long_polls {float(count)}\n".encode()
    client = http.Client(port)
    deadline = time.monotonic() + 20
    while wanted not in (await asyncio.to_thread(client.get, "/metrics"))[1]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"there are not {count} polls that wait")
        await asyncio.sleep(0.05)
    client.close()


async def _latencies_ms(port: int, path: str, *, count: int = 200) -> list[float]:
    def ask() -> list[float]:
        client = http.Client(port)
        found = []
        for _ in range(count):
            began = time.perf_counter()
            status, _ = client.get(path)
            found.append(1000 * (time.perf_counter() - began))
            if status != 200:
                raise RuntimeError(f"a call was answered with {status}")
        client.close()
        return found

    return await asyncio.to_thread(ask)


async def _cpu_share(running: Server, *, seconds: float = 4) -> float:
    """Of one core, while nothing happens but the look at all who wait."""
    began = running.cpu_s()
    await asyncio.sleep(seconds)
    return (running.cpu_s() - began) / seconds


async def _time_to_tell_ms(
    folder: Path, ids: list[str], answers: list[asyncio.Task[bytes]]
) -> float:
    """Change every session in one transaction, with its news, and wait for the last answer."""
    began = time.perf_counter()
    await asyncio.to_thread(_change, folder, ids)
    lines = await asyncio.wait_for(asyncio.gather(*answers), 20)
    if set(lines) != {b"HTTP/1.1 200 OK\r\n"}:
        raise RuntimeError(f"polls that waited were answered with {set(lines)}")
    return 1000 * (time.perf_counter() - began)


def _change(folder: Path, ids: list[str]) -> None:
    with (
        psycopg2.connect(**server.database_address(folder)) as connection,  # type: ignore[call-overload]
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "UPDATE tryon_sessions SET attempts = attempts + 1, updated_at = now()"
            " WHERE id = ANY(%s::uuid[])",
            (ids,),
        )
        cursor.execute(
            "SELECT pg_notify('tryonai', 'changed:' || id) FROM unnest(%s) AS id", (ids,)
        )


def _allow_files() -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, min(most, 4 * WAITERS)), most))
