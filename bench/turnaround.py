"""From the request that creates a session to the poll that finds it completed."""

from __future__ import annotations

import io
import statistics
import time
from datetime import datetime
from pathlib import Path

from PIL import Image

from app import catalogue
from app.engines import RunContext, TryOnRequest
from app.engines.mock import MockEngine
from app.services import images
from app.services.images import ImageLimits
from bench import http, server
from bench.pictures import photo_200_kb
from bench.poll import completed
from bench.table import Figure, percentile, ratio

AT_MOST_MS = 40.0
POLL_S = 0.002


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    ours: list[float] = []
    floors: list[float] = []
    inside: list[float] = []
    with server.serving(folder) as running:
        completed(running)  # the engine's process is warm
        client = http.Client(running.port)
        for _ in range(25 if quick else 100):
            floors.append(_work_ms(folder))
            wall, stamped = _turn_ms(client)
            ours.append(wall)
            inside.append(stamped)
    median = statistics.median(ours)
    return [
        Figure(
            name="created → completed, one at a time, mock of 0 s",
            measured=median,
            unit="ms",
            floor=statistics.median(floors),
            floor_is="the gate and the mock's own work, called in one process",
            ratio=ratio(ours, floors),
            to_reach=f"≤ {AT_MOST_MS:g} ms",
            reached=median <= AT_MOST_MS,
            details={
                "what": f"request of the create to the completing poll, polled each "
                f"{1000 * POLL_S:g} ms",
                "p90, ms": percentile(ours, 0.9),
                "created_at to finished_at, median ms": statistics.median(inside),
            },
        )
    ]


def _turn_ms(client: http.Client) -> tuple[float, float]:
    began = time.perf_counter()
    row = client.create(photo_200_kb())
    while row["status"] != "completed":
        time.sleep(POLL_S)
        row = client.session(row["id"])
    wall = time.perf_counter() - began
    created, finished = (datetime.fromisoformat(row[f"{one}_at"]) for one in ("created", "finished"))
    return 1000 * wall, 1000 * (finished - created).total_seconds()


def _work_ms(folder: Path) -> float:
    """What has to be done for one session even with nothing around it."""
    import numpy as np  # as the engine's process has it: loaded when it is warm

    limits = ImageLimits(max_bytes=10**7, max_pixels=25_000_000)
    garment = catalogue.garments()[0].path.read_bytes()
    began = time.perf_counter()
    person = images.load(io.BytesIO(photo_200_kb()), field="person_image", limits=limits)
    pictures = [
        np.array(Image.open(io.BytesIO(data)).convert("RGB")) for data in (person.data, garment)
    ]
    context = RunContext(lambda *_: None, lambda: None, time.monotonic() + 60, folder)
    result = MockEngine(seconds=0, failure_rate=0).run(TryOnRequest(*pictures), context)
    Image.fromarray(result.picture).save(io.BytesIO(), "JPEG", quality=92, subsampling=0)
    return 1000 * (time.perf_counter() - began)
