"""`python -m bench`: measure, print one table, keep the figures as JSON.

Needs Linux, for PSS and for the peak of a process's memory. Exit status 1 when a figure is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil

from app import __version__, logs
from app.config import ROOT
from bench import (
    cached_polls,
    costs,
    encrypt,
    engine,
    expiry,
    idle,
    kill,
    metrics,
    overhead,
    page,
    paid,
    poll,
    post,
    purge,
    races,
    rows,
    server,
    start,
    turnaround,
    uploads,
    waits,
    webhooks,
)
from bench.table import Figure, save, show

PARTS: dict[str, Callable[..., list[Figure]]] = {
    "post": post.measure,
    "poll": poll.measure,
    "turnaround": turnaround.measure,
    "rows": rows.measure,
    "metrics": metrics.measure,
    "idle": idle.measure,
    "uploads": uploads.measure,
    "start": start.measure,
    "waits": waits.measure,
    "cached_polls": cached_polls.measure,
    "races": races.measure,
    "kill": kill.measure,
    "paid": paid.measure,
    "overhead": overhead.measure,
    "webhooks": webhooks.measure,
    "expiry": expiry.measure,
    "purge": purge.measure,
    "costs": costs.measure,
    "encrypt": encrypt.measure,
    "engine": engine.measure,
    "page": page.measure,
}


def main() -> int:
    names = ", ".join(PARTS)
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the service")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="NAME", help=names)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; under a minute")
    options = parser.parse_args()
    server.check_settings()
    logs.configure(style="console", level="warning")
    figures: list[Figure] = []
    began = time.monotonic()
    loads = [os.getloadavg()[0]]
    for name in options.parts or PARTS:
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="tryonai-bench-") as folder:
            figures += PARTS[name](Path(folder), quick=options.quick)
        loads.append(os.getloadavg()[0])
    surroundings = {
        "version": __version__,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "seconds": round(time.monotonic() - began),
        "python": platform.python_version(),
        "system": platform.system() + " " + platform.machine(),
        "cores": psutil.cpu_count(),
        "load before each part, and after": loads,
    }
    print(show(figures))
    save(figures, ROOT / "bench" / "out" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json", surroundings)
    print(f"\n{surroundings['seconds']} s on {surroundings['cores']} cores")
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
