"""What the platform takes of a job, with an engine that does nothing: 768 × 1024, balanced."""

from __future__ import annotations

import statistics
import time
from datetime import datetime
from pathlib import Path

from app import catalogue
from app.engines import TryOnResult, codecs
from bench import http, server
from bench.table import Figure, percentile, ratio
from tests.pictures import jpeg, photo

AT_MOST_MS = 60.0
POLL_S = 0.03
ENGINE = "bench.noop:NoOp"


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    picture = jpeg(photo(768, 1024))
    with server.serving(folder, ENGINE=ENGINE, ENGINES=ENGINE) as running:
        client = http.Client(running.port)
        for _ in range(3):  # the engine's process is warm
            _job_ms(client, picture)
        taken, floors = [], []
        for _ in range(20 if quick else 100):
            floors.append(_codecs_ms(picture))
            taken.append(_job_ms(client, picture))
    median = statistics.median(taken)
    return [
        Figure(
            name="the platform's part of a job, 768×1024, engine of 0 s",
            measured=median,
            unit="ms",
            floor=statistics.median(floors),
            floor_is="decoding both pictures and encoding one, in one process",
            ratio=ratio(taken, floors),
            to_reach=f"≤ {AT_MOST_MS:g} ms",
            reached=median <= AT_MOST_MS,
            details={
                "what": "created to completed by the row's stamps: claim, read, decipher, decode, "
                "encode, encipher, write, commit",
                "p90, ms": percentile(taken, 0.9),
                "jobs": len(taken),
            },
        )
    ]


def _codecs_ms(picture: bytes) -> float:
    """What any way from files to a file takes."""
    garment = catalogue.garments()[0].path.read_bytes()
    began = time.perf_counter()
    person, _ = codecs.decode(picture), codecs.decode(garment)
    codecs.encode(TryOnResult(person, seed=0), "jpeg")
    return 1000 * (time.perf_counter() - began)


def _job_ms(client: http.Client, picture: bytes) -> float:
    row = client.create(picture)
    while (row := client.session(row["id"]))["status"] != "completed":
        time.sleep(POLL_S)
    begun, ended = (datetime.fromisoformat(row[name]) for name in ("created_at", "finished_at"))
    return 1000 * (ended - begun).total_seconds()
