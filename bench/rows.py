"""Whether a poll notices how many sessions there are."""

from __future__ import annotations

import statistics
from pathlib import Path

import psycopg2

from app.signing import Keyring
from bench import http, load, server
from bench.table import Figure, ratio

WITHIN = 0.20
FEW = 1_000
WAITING = 200
POLLED = 100

# Sessions of the last day and the next: 1 in 25 has expired and waits for the purge. As many wait
# with few rows as with many: a queue's length is not the table's.
FILL = """
INSERT INTO tryon_sessions (id, user_token, input_image_url, output_image_url, status, error_code,
    error_reason, created_at, updated_at, expires_at, engine, options, attempts, claimed_by,
    started_at, finished_at, stage, progress, lease_until)
SELECT id, CASE WHEN n %% %(every)s = 0 THEN %(owner)s ELSE md5(n::text) || md5(id::text) END,
    'inputs/' || id || '/person.jpg',
    CASE WHEN s = 'completed' THEN 'outputs/' || id || '/1.jpg' END, s::tryon_status,
    CASE WHEN s = 'failed' THEN 'model_error' END,
    CASE WHEN s = 'failed' THEN 'The model could not make a picture this time.' END,
    made, made, made + interval '24 hours', 'mock', %(options)s,
    CASE WHEN s = 'created' THEN 0 ELSE 1 END, CASE WHEN s <> 'created' THEN 'host:1:00000000' END,
    CASE WHEN s <> 'created' THEN made END,
    CASE WHEN s IN ('completed', 'failed') THEN made + interval '3 seconds' END,
    CASE WHEN s <> 'created' THEN 'compose' END, CASE WHEN s <> 'created' THEN 1.0 END,
    CASE WHEN s = 'processing' THEN now() + interval '1 hour' END
FROM (
    SELECT n, gen_random_uuid() AS id,
        CASE WHEN n <= %(waiting)s THEN 'created' WHEN n <= %(waiting)s + 4 THEN 'processing'
            WHEN n %% 10 = 1 THEN 'failed' ELSE 'completed' END AS s,
        now() - CASE WHEN n <= %(waiting)s + 4 THEN interval '1 second'
            ELSE interval '25 hours' * n / %(count)s END AS made
    FROM generate_series(1, %(count)s) AS n
) AS drawn
"""
OPTIONS = (
    '{"category": "auto", "garment_photo_type": "auto", "mode": "balanced", "seed": 1,'
    ' "output_format": "jpeg", "garment_id": "tshirt-print"}'
)


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    many = 100_000 if quick else 1_000_000
    polls, rounds = (150, 5) if quick else (300, 7)
    latencies: dict[tuple[int, str], list[float]] = {}
    with (
        server.serving(folder / "few", WORKER_CONCURRENCY=0) as small,
        server.serving(folder / "many", WORKER_CONCURRENCY=0) as large,
    ):
        targets = [
            (small, FEW, fill(folder / "few", FEW)),
            (large, many, fill(folder / "many", many)),
        ]
        for turn in range(rounds + 1):
            for running, count, requests in targets:
                for state, asked in requests.items():
                    done = load.run(running.port, asked, count=polls)
                    if turn:  # the first one warms caches
                        latencies.setdefault((count, state), []).append(done.p50_ms)
    found = ratio(latencies[many, "final"], latencies[FEW, "final"])
    return [
        Figure(
            name=f"poll latency with {many:,} rows",
            measured=statistics.median(latencies[many, "final"]),
            unit="ms",
            floor=statistics.median(latencies[FEW, "final"]),
            floor_is=f"the same with {FEW:,} rows, a server and a database of its own",
            ratio=found,
            to_reach=f"≤ {1 + WITHIN:g} × floor",
            reached=found <= 1 + WITHIN,
            details={
                f"of one of {WAITING} that wait, ms": statistics.median(latencies[many, "waiting"]),
                "the same, ratio": ratio(latencies[many, "waiting"], latencies[FEW, "waiting"]),
            },
        )
    ]


def fill(folder: Path, count: int) -> dict[str, list[bytes]]:
    """Insert the rows; polls of sessions that are through, and of sessions that wait."""
    owner = Keyring([server.SECRET]).owner(http.TOKEN)
    with psycopg2.connect(**server.database_address(folder)) as connection:  # type: ignore[call-overload]
        cursor = connection.cursor()
        values = {
            "count": count,
            "every": count // (5 * POLLED) or 1,
            "waiting": WAITING,
            "owner": owner,
            "options": OPTIONS,
        }
        cursor.execute(FILL, values)
        cursor.execute(
            "UPDATE tryon_sessions SET user_token = %s WHERE status = 'created'", (owner,)
        )
    connection.autocommit = True
    cursor.execute("VACUUM ANALYZE tryon_sessions")
    found: dict[str, list[bytes]] = {}
    for state, statuses in {"final": "'completed', 'failed'", "waiting": "'created'"}.items():
        cursor.execute(
            f"SELECT id FROM tryon_sessions WHERE user_token = %s AND status IN ({statuses})"
            " AND expires_at > now() + interval '1 hour' ORDER BY id LIMIT %s",
            (owner, POLLED),
        )
        found[state] = [http.raw_get(f"{http.SESSIONS}/{row[0]}") for row in cursor.fetchall()]
        assert len(found[state]) == POLLED, f"{len(found[state])} {state} rows to poll"
    connection.close()
    return found
