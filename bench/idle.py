"""Memory of an installation that does nothing at the moment."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench import server
from bench.poll import completed
from bench.table import Figure

AT_MOST_MB = 250.0
MB = 1_000_000


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    fresh: list[float] = []
    used: list[float] = []
    floors: list[float] = []
    parts: dict[str, float] = {}
    for turn in range(1 if quick else 3):
        with server.bare(b"{}") as bare:
            floors.append(server.pss_bytes(bare.family()) / MB)
        here = folder / str(turn)
        with server.serving(here) as running:
            time.sleep(1)
            fresh.append(server.pss_bytes(running.family() + server.database(here)) / MB)
            completed(running)
            time.sleep(1)
            own, *children = running.family()
            kinds = {"server": [own], "engine": children, "database": server.database(here)}
            parts = {name: server.pss_bytes(one) / MB for name, one in kinds.items()}
            used.append(sum(parts.values()))
    median = statistics.median(used)
    return [
        Figure(
            name="idle memory, server, engine and database (PSS)",
            measured=median,
            unit="MB",
            floor=statistics.median(floors),
            floor_is="a bare FastAPI route under uvicorn",
            ratio=median / statistics.median(floors),
            to_reach=f"≤ {AT_MOST_MB:g} MB",
            reached=median <= AT_MOST_MB,
            details={
                "what": "after one session, so that the engine has loaded all it needs",
                **{f"{name}, MB": size for name, size in parts.items()},
                "before the first session, MB": statistics.median(fresh),
            },
        )
    ]
