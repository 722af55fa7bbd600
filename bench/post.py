"""What a create costs the server: the upload taken apart, decoded, redrawn, stored, committed."""

from __future__ import annotations

import io
import statistics
import time
from contextlib import suppress
from pathlib import Path

import psutil
from PIL import Image

from bench import http, load, server
from bench.pictures import photo_200_kb
from bench.table import Figure, ratio

AT_MOST = 3.0
POSTS = 40  # a round; at 10 ms a tick of the clock of CPU time that is about 3 %
DECODES = 60


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Without a worker: its work is another figure's, and its threads would count here."""
    picture = photo_200_kb()
    request = http.raw_create(picture)
    ours: list[float] = []
    floors: list[float] = []
    walls: list[float] = []
    behind: list[float] = []
    with server.serving(folder, WORKER_CONCURRENCY=0, QUEUE_LIMIT=1_000_000) as running:
        load.run(running.port, [request], count=POSTS // 2)  # connections, caches, threads
        for _ in range(3 if quick else 7):
            floors.append(_decode_ms(picture))
            database = database_cpu_s(folder)
            began = running.cpu_s()
            done = load.run(running.port, [request], count=POSTS)
            ours.append(1000 * (running.cpu_s() - began) / POSTS)
            behind.append(1000 * (database_cpu_s(folder) - database) / POSTS)
            walls.append(done.p50_ms)
    found = ratio(ours, floors)
    return [
        Figure(
            name="POST of a 200 KB JPEG, CPU of the server",
            measured=statistics.median(ours),
            unit="ms",
            floor=statistics.median(floors),
            floor_is="a full Pillow decode of the same file, CPU",
            ratio=found,
            to_reach=f"≤ {AT_MOST:g} × floor",
            reached=found <= AT_MOST,
            details={
                "rounds, ms": ours,
                "floors, ms": floors,
                "latency at one connection, median ms": statistics.median(walls),
                "CPU of the database beside it, ms": statistics.median(behind),
            },
        )
    ]


def _decode_ms(picture: bytes) -> float:
    began = time.process_time()
    for _ in range(DECODES):
        with Image.open(io.BytesIO(picture)) as image:
            image.load()
    return 1000 * (time.process_time() - began) / DECODES


def database_cpu_s(folder: Path) -> float:
    """Of all its processes, those that have ended too, which the first one has collected."""
    first, *others = server.database(folder)
    times = first.cpu_times()
    spent = times.user + times.system + times.children_user + times.children_system
    for process in others:
        with suppress(psutil.NoSuchProcess):
            one = process.cpu_times()
            spent += one.user + one.system
    return float(spent)
