"""kill -9 of the server at any step of a run at a provider: nothing may be paid twice.

The provider is a local server that answers as FASHN's API does, and counts the runs that it takes.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

from bench import http, server
from bench.kill import _await_the_end
from bench.table import Figure
from tests.pictures import jpeg, photo
from tests.provider import KEY, Provider, providing

STEPS = ("run", "taken", "answered", "asked", "told", "any moment")
RUN_S = 1.5
"""About how long a run takes, from the create on; a kill at any moment comes within it."""

MISSED_S = 8.0
SETTINGS = {
    "ENGINE": "fashn-api",
    "ENGINES": "fashn-api",
    "ALLOWED_EGRESS": "127.0.0.1",
    "FASHN_API_KEY": KEY,
    "LEASE_SECONDS": 1,
    "MAX_ATTEMPTS": 20,
    "WORKER_CONCURRENCY": 2,
}


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    rounds = 12 if quick else 200
    with providing() as provider:
        file = folder / "engines.toml"
        file.write_text(
            '[fashn-api]\nengine = "remote"\nsecrets = ["FASHN_API_KEY"]\n'
            f'options = {{ mapping = "fashn", base_url = "{provider.url}" }}\n'
        )
        hit = _kill_often(folder, provider, rounds, ENGINES_FILE=file, **SETTINGS)
        running = server.launch(folder, ENGINES_FILE=file, **SETTINGS)
        try:
            rows = _await_the_end(folder)
        finally:
            running.stop()
    paid = provider.paid
    twice = sum(count > 1 for count in paid.values())
    return [
        Figure(
            name=f"provider calls paid twice, {rounds} × kill -9 at any step",
            measured=twice,
            unit=f"of {len(paid)}",
            to_reach="0",
            reached=twice == 0 and len(rows) == rounds and _all_final(rows),
            details={
                "killed at": dict(hit),
                "states": dict(Counter(row["status"] for row in rows.values())),
                "failed with": dict(Counter(row["error_code"] for row in rows.values())),
                "attempts": dict(Counter(row["attempts"] for row in rows.values())),
                "what": "failed is what was killed while nobody could know whether it was taken",
            },
        )
    ]


def _all_final(rows: dict[str, dict[str, object]]) -> bool:
    return all(row["status"] in ("completed", "failed") for row in rows.values())


def _kill_often(folder: Path, provider: Provider, rounds: int, **settings: object) -> Counter[str]:
    """A session a round, and a kill during its run; at which steps, those that were met."""
    rng = random.Random(7)
    hit: Counter[str] = Counter()
    picture = jpeg(photo(96, 128))
    for seed in range(rounds):
        running = server.launch(folder, **settings)
        step = STEPS[seed % len(STEPS)]
        killed = threading.Event()

        def kill(now: str, of: int) -> None:
            if (now, of) == (step, seed) and not killed.is_set():  # noqa: B023 - of this round
                running.kill()  # noqa: B023
                killed.set()  # noqa: B023

        provider.at = kill
        http.Client(running.port).create(picture, seed=str(seed), allow_egress="true")
        if step == "any moment":
            time.sleep(rng.uniform(0, RUN_S))
        met = killed.wait(0 if step == "any moment" else MISSED_S)
        hit[step if met or step == "any moment" else f"{step}, missed"] += 1
        provider.at = lambda _step, _seed: None
        running.kill()
        running.stop()
    return hit
