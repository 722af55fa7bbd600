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
# The middle one of three runs on 2026-11-22, each beside other work; the database's share varied
# from a half to twice that, by whether it was vacuumed meanwhile.
CREATE_S, CREATE_DB_S = 0.0114, 0.0012  # a photo of 200 KB
POLL_S, POLL_DB_S = 0.00048, 0.00004  # of many that come together
JOB_S, JOB_DB_S = 0.0078, 0.0052  # beside the engine
PURGE_S, PURGE_DB_S = 0.0009, 0.0013
ENGINE_S = 0.86  # `warp`, balanced, 768×1024
# What one session does: long polls, and its pictures, each counted as a poll.
POLLS = 6
NOTIFYING_COMMITS = 4  # create, claim, progress, end
# What there is one of, a second: commits that notify take one lock of the whole database cluster,
# which those of EVENTS=redis do not, and one process erases at a time.
NOTIFY_PER_S = {"postgres": 850, "redis": 4500}
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


def need(per_hour: float, *, engine_s: float = ENGINE_S, events: str = "postgres") -> Need:
    per_s = per_hour / 3600 * BURST
    servers = per_s * (CREATE_S + POLLS * POLL_S + PURGE_S) / FILL
    workers = per_s * (engine_s + JOB_S) / FILL
    processes = math.ceil(servers) + math.ceil(workers / SLOTS)
    return Need(
        per_s=per_s,
        servers=servers,
        workers=workers,
        database=per_s * (CREATE_DB_S + POLLS * POLL_DB_S + JOB_DB_S + PURGE_DB_S) / FILL,
        notify=per_s * NOTIFYING_COMMITS / NOTIFY_PER_S[events],
        purge=per_s / PURGE_PER_S,
        pictures=per_hour * RETENTION_H * PICTURE_BYTES,
        rows=per_hour * RETENTION_H * ROW_BYTES,
        connections=processes * CONNECTIONS,
    )


def machines(rates: list[float], *, engine_s: float = ENGINE_S, events: str = "postgres") -> str:
    needs = [need(rate, engine_s=engine_s, events=events) for rate in rates]
    fullest = full_at(engine_s=engine_s, events=events)
    lines = {
        "sessions an hour": [f"{rate:,.0f}" for rate in rates],
        "a second, in the busiest minute": [_short(one.per_s) for one in needs],
        "workers, cores": [_cores(one.workers) for one in needs],
        "servers, cores: one process each": [_cores(one.servers) for one in needs],
        "database, cores": [_cores(one.database) for one in needs],
        "database, connections with `DATABASE_POOL_SIZE=2`": [
            f"{one.connections:,}" for one in needs
        ],
        "commits that tell of news, of what one database takes": [
            _share(one.notify) for one in needs
        ],
        "erasing, of what one process takes": [_share(one.purge) for one in needs],
        "pictures stored": [_bytes(one.pictures) for one in needs],
        "rows stored": [_bytes(one.rows) for one in needs],
        "one is not enough of": [
            ", ".join(name for name, full in fullest.items() if full < rate) or "nothing"
            for rate in rates
        ],
    }
    rows = [[name, *cells] for name, cells in lines.items()]
    rows.insert(1, ["---"] * (len(rates) + 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def full_at(*, engine_s: float = ENGINE_S, events: str = "postgres") -> dict[str, float]:
    """At how many sessions an hour one of each part is full, the first one first."""
    hour = 3600 / BURST
    one = need(hour, engine_s=engine_s, events=events)  # one a second in the busiest minute
    parts = {
        "core of a worker": hour / one.workers,
        "server process": hour / one.servers,
        "lock of commits that tell of news": hour * FILL / one.notify,
        "database of 16 cores": hour * 16 / one.database,
        "process that erases": hour * FILL / one.purge,
        "disk of 4 TB": hour * 4e12 * FILL / one.pictures,
    }
    return dict(sorted(parts.items(), key=lambda part: part[1]))


def limits(*, engine_s: float = ENGINE_S, events: str = "postgres") -> str:
    head = "| one is full at | sessions an hour |\n| --- | --- |\n"
    parts = full_at(engine_s=engine_s, events=events).items()
    return head + "\n".join(f"| {name} | {_round(rate):,} |" for name, rate in parts)


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
    parser.add_argument("--events", choices=NOTIFY_PER_S, default="postgres", help="as EVENTS")
    options = parser.parse_args()
    rates = options.hour or [1e2, 1e4, 1e6]
    print(machines(rates, engine_s=options.engine_seconds, events=options.events))
    print()
    print(limits(engine_s=options.engine_seconds, events=options.events))


if __name__ == "__main__":
    main()
