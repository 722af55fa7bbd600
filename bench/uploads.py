"""Six heavy uploads at once: what they take, and whether others are still answered."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import http, server
from bench.pictures import heavy
from bench.poll import completed
from bench.table import Figure

AT_MOST_MB = 300.0
AT_MOST_S = 1.0
MB = 1_000_000
KINDS = ("JPEG", "PNG", "WEBP")
EVERY_S = 0.02


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    pictures = [heavy(kind) for kind in KINDS * 2]
    waits: list[float] = []
    peaks: list[float] = []
    with server.serving(folder) as running:
        completed(running)
        health = http.Client(running.port)
        time.sleep(1)
        idle = running.rss_bytes()
        began = time.monotonic()
        with ThreadPoolExecutor(len(pictures)) as pool:
            for _ in range(1 if quick else 3):
                uploads = [pool.submit(_upload, running.port, one) for one in pictures]
                while not all(one.done() for one in uploads):
                    asked = time.monotonic()
                    status, _ = health.get("/api/health")
                    waits.append(time.monotonic() - asked)
                    assert status == 200, f"health was answered with {status}"
                    time.sleep(EVERY_S)
                peaks.append((running.peak_bytes() - idle) / MB)
                answers = [one.result() for one in uploads]
                assert answers == [201] * len(pictures), f"uploads were answered with {answers}"
        seconds = time.monotonic() - began
        time.sleep(2)
        left = (running.rss_bytes() - idle) / MB
    above = peaks[-1]
    return [
        Figure(
            name="six uploads of 25 MP and 10 MB at once, above idle",
            measured=above,
            unit="MB",
            to_reach=f"≤ {AT_MOST_MB:g} MB",
            reached=above <= AT_MOST_MB,
            details={
                "what": "peak of the server's resident size; two each of JPEG, PNG, WebP",
                "peak so far, after each time six, MB": peaks,
                "idle, MB": idle / MB,
                "still held 2 s later, MB": left,
                "seconds for all": seconds,
            },
        ),
        Figure(
            name="worst /api/health answer meanwhile",
            measured=max(waits),
            unit="s",
            to_reach=f"≤ {AT_MOST_S:g} s",
            reached=max(waits) <= AT_MOST_S,
            details={"answers": len(waits), "median, s": sorted(waits)[len(waits) // 2]},
        ),
    ]


def _upload(port: int, picture: bytes) -> int:
    client = http.Client(port, timeout_s=120)
    status, _ = client.send_create(picture)
    client.close()
    return status
