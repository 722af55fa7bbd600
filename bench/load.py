"""The load generator: `python -m bench.load`, a process of its own so that its CPU is its own.

Raw sockets and keep-alive; each connection sends its next request when the last one is answered.
It understands just enough HTTP for answers with a Content-Length. One order comes as JSON on
stdin, one result goes as JSON to stdout; `run` is the other end.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import cast

import uvloop

from bench.table import percentile

PATIENCE_S = 120.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """What came back. statuses: how many answers of each."""

    per_s: float
    count: int
    p50_ms: float
    p99_ms: float
    latencies_ms: list[float]
    statuses: dict[str, int]


def run(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int = 1,
    seconds: float = PATIENCE_S,
    count: int = 10**9,
) -> Load:
    """Send the requests in turn, again and again, until the time or the count is over.

    Raises RuntimeError when an answer was no success: then nothing was measured.
    """
    order = {
        "port": port,
        "requests": [base64.b64encode(one).decode() for one in requests],
        "connections": connections,
        "seconds": seconds,
        "count": count,
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=PATIENCE_S,
    )
    load = Load(**json.loads(done.stdout))
    if set(load.statuses) - {"200", "201"}:
        raise RuntimeError(f"answers with other statuses: {load.statuses}")
    return load


class _Connection(asyncio.Protocol):
    def __init__(self, driver: _Driver) -> None:
        self._driver = driver
        self._received = bytearray()
        self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._needed:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._received, 0, end)
            self._needed = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= self._needed:
            self._driver.note(self._received[9:12].decode(), time.perf_counter() - self._sent_at)
            self._received.clear()
            self._needed = 0
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._driver.lose(exc)

    def _send(self) -> None:
        request = self._driver.next_request()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


class _Driver:
    def __init__(self, requests: Iterator[bytes], *, seconds: float, count: int) -> None:
        self._requests = requests
        self._until = time.perf_counter() + seconds
        self._left = count
        self._open = 0
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.finished = asyncio.Event()

    def next_request(self) -> bytes | None:
        if not self._left or time.perf_counter() > self._until:
            return None
        self._left -= 1
        return next(self._requests)

    def note(self, status: str, seconds: float) -> None:
        self.statuses[status] += 1
        self.latencies.append(seconds)

    def lose(self, exc: Exception | None) -> None:
        if exc is not None:
            self.statuses["broken"] += 1
        self._open -= 1
        if not self._open:
            self.finished.set()

    async def drive(self, port: int, connections: int) -> None:
        self._open = connections
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
        await self.finished.wait()


async def _drive(order: dict[str, object]) -> Load:
    requests = [base64.b64decode(one) for one in order["requests"]]  # type: ignore[attr-defined]
    driver = _Driver(cycle(requests), seconds=order["seconds"], count=order["count"])  # type: ignore[arg-type]
    began = time.perf_counter()
    await driver.drive(order["port"], order["connections"])  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    latencies = [1000 * one for one in driver.latencies]
    return Load(
        per_s=len(latencies) / seconds,
        count=len(latencies),
        p50_ms=statistics.median(latencies),
        p99_ms=percentile(latencies, 0.99),
        latencies_ms=[round(one, 4) for one in latencies],
        statuses=dict(driver.statuses),
    )


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(asdict(runner.run(_drive(json.load(sys.stdin)))), sys.stdout)


if __name__ == "__main__":
    main()
