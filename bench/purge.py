"""How many expired sessions a purge erases a second, with their files."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import text

from app.config import Settings
from app.runtime import Runtime, open_runtime
from app.services import cleanup, erasure
from bench import server
from bench.table import Figure, ratio

PER_S = 1_000
SESSIONS = 2_000
FILE_BYTES = 64 * 1024
KINDS = {erasure.INPUTS: "person.jpg", erasure.OUTPUTS: "1.jpg"}

FILL = """
INSERT INTO tryon_sessions (id, user_token, input_image_url, output_image_url, status, created_at,
    finished_at, expires_at, engine, options, attempts, progress, wrapped_key, stored)
SELECT id, md5(id::text) || md5(id::text), 'inputs/' || id || '/person.jpg',
    'outputs/' || id || '/1.jpg', 'completed', now() - interval '25 hours',
    now() - interval '25 hours', now() - interval '1 hour', 'mock',
    '{"garment_id": "tshirt-print"}', 1, 1.0, sha256(id::text::bytea) || sha256(id::text::bytea),
    jsonb_build_object('inputs/' || id || '/person.jpg', CAST(:written AS jsonb),
        'outputs/' || id || '/1.jpg', CAST(:written AS jsonb))
FROM unnest(CAST(:ids AS uuid[])) AS id
"""


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """In this process, on a disk that is through with the writing of the files."""
    ours: list[float] = []
    floors: list[float] = []
    cpu_ms: list[float] = []
    settings = Settings(
        data_dir=folder / "data",
        storage=str(folder / "uploads"),
        secret_key=server.SECRET,
        engines=("mock",),
        engine="mock",
        _env_file=None,
    )
    with open_runtime(settings) as runtime:
        runtime.prepare()
        for _ in range(2 if quick else 5):
            floors.append(_delete_bare(folder / "bare", _write_files(folder / "bare")))
            ids = _fill(runtime, folder / "uploads")
            began, cpu = time.perf_counter(), time.process_time()
            report = cleanup.purge(runtime.db, runtime.storage, runtime.issuer)
            ours.append(SESSIONS / (time.perf_counter() - began))
            cpu_ms.append(1000 * (time.process_time() - cpu) / SESSIONS)
            if report != cleanup.PurgeReport(sessions=len(ids)):
                raise RuntimeError(f"not everything was purged: {report}")
    measured = statistics.median(ours)
    return [
        Figure(
            name="purge of expired sessions, each with two files of 64 KB",
            measured=measured,
            unit="/s",
            floor=statistics.median(floors),
            floor_is=f"the same files deleted by {erasure.HANDS} threads, and two fsyncs",
            ratio=ratio(ours, floors),
            to_reach=f"≥ {PER_S:,}/s",
            reached=measured >= PER_S,
            details={"rounds, /s": ours, "floors, /s": floors, "CPU a session, ms": cpu_ms},
        )
    ]


def _fill(runtime: Runtime, uploads: Path) -> Sequence[UUID]:
    ids = _write_files(uploads)
    with runtime.db.begin() as tx:
        written = {"size": FILE_BYTES, "sha256": "0" * 64}  # whose, is not looked at
        tx.execute(text(FILL), {"ids": list(map(str, ids)), "written": json.dumps(written)})
    return ids


def _write_files(root: Path) -> list[UUID]:
    ids = [uuid4() for _ in range(SESSIONS)]
    for top, name in KINDS.items():
        for session_id in ids:
            folder = root / top / str(session_id)
            folder.mkdir(parents=True)
            (folder / name).write_bytes(os.urandom(FILE_BYTES))
    os.sync()
    return ids


def _delete_bare(root: Path, ids: list[UUID]) -> float:
    """Sessions a second."""

    def delete(session_id: UUID) -> None:
        for top, name in KINDS.items():
            (root / top / str(session_id) / name).unlink()
            (root / top / str(session_id)).rmdir()

    began = time.perf_counter()
    with ThreadPoolExecutor(erasure.HANDS) as pool:
        list(pool.map(delete, ids))
    for top in KINDS:
        fd = os.open(root / top, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    return len(ids) / (time.perf_counter() - began)
