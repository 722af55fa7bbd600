"""From exec to ready: with the database of the last run, and with an empty folder."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench import server
from bench.table import Figure

AT_MOST_S = 3.0


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    warm: list[float] = []
    empty: list[float] = []
    floors: list[float] = []
    with server.serving(folder / "warm"):
        pass  # what the first start after an installation does: byte code, the database
    for turn in range(3 if quick else 5):
        began = time.monotonic()
        with server.bare(b"{}"):
            floors.append(time.monotonic() - began)
        warm.append(_start_s(folder / "warm"))
        empty.append(_start_s(folder / f"empty-{turn}"))
    return [_figure("warm", warm, floors), _figure("empty data folder", empty, floors)]


def _start_s(folder: Path) -> float:
    began = time.monotonic()
    with server.serving(folder) as running:
        server.wait_for(f"http://127.0.0.1:{running.port}/api/health")
        return time.monotonic() - began


def _figure(name: str, seconds: list[float], floors: list[float]) -> Figure:
    median = statistics.median(seconds)
    return Figure(
        name=f"second start, {name}",
        measured=median,
        unit="s",
        floor=statistics.median(floors),
        floor_is="a bare FastAPI route under uvicorn, from exec to its first answer",
        ratio=median / statistics.median(floors),
        to_reach=f"< {AT_MOST_S:g} s",
        reached=median < AT_MOST_S,
        details={"what": "exec to /api/health answering", "each, s": seconds},
    )
