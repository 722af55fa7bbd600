#!/usr/bin/env python3
"""How many machines so many sessions an hour take: the tables of docs/operations.md, "Capacity".

`python scripts/capacity.py` prints them; `--hour 50000` for a number of yours, `--engine-seconds`
for another engine. What a session costs was measured by `python -m bench costs engine purge`.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

# Of one core of the machine that bench/README.md tells of, seconds of CPU.
CREATE_S, CREATE_DB_S = 0.0123, 0.0012  # a photo of 200 KB
POLL_S, POLL_DB_S = 0.00057, 0.00004  # of many that come together
JOB_S, JOB_DB_S = 0.0095, 0.0031  # beside the engine
PURGE_S, PURGE_DB_S = 0.0009, 0.0002
ENGINE_S = 0.86  # `warp`, balanced, 768×1024
# What one session does: long polls, and its pictures, each counted as a poll.
POLLS = 6
NOTIFYING_COMMITS = 4  # create, claim, progress, end
# What there is one of, a second: commits that notify take one lock of the whole database cluster,
# and one process erases at a time.
NOTIFY_PER_S = 850
PURGE_PER_S = 1900
PICTURE_BYTES = 270_000  # the photo and what was made of it
ROW_BYTES = 2_130  # with its share of the indexes
RETENTION_H = 24
CONNECTIONS = 6  # of a process with DATABASE_POOL_SIZE=2
SLOTS = 4  # of a worker process
# The busiest minute has twice the hour's mean, and nothing is planned fuller than this.
BURST = 2.0
FILL = 0.6


@dataclass(frozen=True)
class Need:
    """What a rate of sessions takes. Cores are those of the bench's machine, at FILL."""

    per_s: float
    servers: float
    workers: float
    database: float
    notify: float
    purge: float
    pictures: float
    rows: float
    connections: int


def need(per_hour: float, *, engine_s: float = ENGINE_S) -> Need:
    per_s = per_hour / 3600 * BURST
    servers = per_s * (CREATE_S + POLLS * POLL_S + PURGE_S) / FILL
    workers = per_s * (engine_s + JOB_S) / FILL
    processes = math.ceil(servers) + math.ceil(workers / SLOTS)
    return Need(
        per_s=per_s,
        servers=servers,
        workers=workers,
        database=per_s * (CREATE_DB_S + POLLS * POLL_DB_S + JOB_DB_S + PURGE_DB_S) / FILL,
        notify=per_s * NOTIFYING_COMMITS / NOTIFY_PER_S,
        purge=per_s / PURGE_PER_S,
        pictures=per_hour * RETENTION_H * PICTURE_BYTES,
        rows=per_hour * RETENTION_H * ROW_BYTES,
        connections=processes * CONNECTIONS,
    )


def machines(rates: list[float], *, engine_s: float = ENGINE_S) -> str:
    needs = [need(rate, engine_s=engine_s) for rate in rates]
    lines = {
        "sessions an hour": [f"{rate:,.0f}" for rate in rates],
        "a second, in the busiest minute": [_short(one.per_s) for one in needs],
        "workers, cores": [_cores(one.workers) for one in needs],
        "servers, cores: one process each": [_cores(one.servers) for one in needs],
        "database, cores": [_cores(one.database) for one in needs],
        "database, connections with `DATABASE_POOL_SIZE=2`": [
            f"{one.connections:,}" for one in needs
        ],
        "commits that notify, of what one cluster takes": [_share(one.notify) for one in needs],
        "erasing, of what one process takes": [_share(one.purge) for one in needs],
        "pictures stored": [_bytes(one.pictures) for one in needs],
        "rows stored": [_bytes(one.rows) for one in needs],
    }
    rows = [[name, *cells] for name, cells in lines.items()]
    rows.insert(1, ["---"] * (len(rates) + 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def limits(*, engine_s: float = ENGINE_S) -> str:
    """At how many sessions an hour one of each part is full, the first one first."""
    one = need(3600 / BURST, engine_s=engine_s)  # one a second in the busiest minute
    hour = 3600 / BURST
    parts = {
        "a core of a worker": hour / one.workers,
        "a server process": hour / one.servers,
        "the lock of commits that notify": hour * FILL / one.notify,
        "a database of 16 cores": hour * 16 / one.database,
        "one process that erases": hour * FILL / one.purge,
        "a disk of 4 TB": hour * 4e12 * FILL / one.pictures,
    }
    ordered = sorted(parts.items(), key=lambda part: part[1])
    head = "| full at | sessions an hour |\n| --- | --- |\n"
    return head + "\n".join(f"| {name} | {_round(rate):,} |" for name, rate in ordered)


def _round(number: float) -> int:
    """To two digits: more was not measured."""
    step = int(10 ** max(0, math.floor(math.log10(number)) - 1))
    return round(number / step) * step


def _short(number: float) -> str:
    return f"{_round(number):,}" if number >= 10 else f"{number:.2g}"


def _cores(number: float) -> str:
    if number >= 10:
        return f"{_round(number):,}"
    return f"{number:.1f}" if number >= 1 else f"{number:.1g}"


def _share(share: float) -> str:
    return f"{100 * share:.1g} %" if share < 0.01 else f"{100 * share:.0f} %"


def _bytes(count: float) -> str:
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 1000:
        count, unit = count / 1000, next(units)
    return f"{count:.2g} {unit}" if count < 100 else f"{_round(count)} {unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Machines for so many sessions an hour")
    parser.add_argument("--hour", type=float, action="append", help="sessions; again for more")
    parser.add_argument("--engine-seconds", type=float, default=ENGINE_S, help="of CPU, a picture")
    options = parser.parse_args()
    print(machines(options.hour or [1e2, 1e4, 1e6], engine_s=options.engine_seconds))
    print()
    print(limits(engine_s=options.engine_seconds))


if __name__ == "__main__":
    main()
