"""What encryption adds to a create: a key, its wrapping, and 200 KB sealed."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.services.crypto import Vault
from app.signing import Keyring
from bench import server
from bench.pictures import photo_200_kb
from bench.table import Figure, ratio

AT_MOST_MS = 0.5
TIMES = 500


def measure(folder: Path, *, quick: bool) -> list[Figure]:  # noqa: ARG001 - the others need one
    picture = photo_200_kb()
    vault = Vault(Keyring([server.SECRET]).wrapping, encrypt=True)
    session_id = uuid4()
    name = f"inputs/{session_id}/person.jpg"
    cipher = AESGCM(os.urandom(32))
    ours: list[float] = []
    floors: list[float] = []
    opened: list[float] = []
    for _ in range(3 if quick else 7):
        began = time.process_time()
        for _ in range(TIMES):
            key = vault.new_key(session_id)
            stored = key.seal(name, picture)
        ours.append(_each_ms(began))
        began = time.process_time()
        for _ in range(TIMES):
            vault.key_of(session_id, key.wrapped).unseal(name, stored)
        opened.append(_each_ms(began))
        began = time.process_time()
        for _ in range(TIMES):
            cipher.encrypt(bytes(12), picture, None)
        floors.append(_each_ms(began))
    return [
        Figure(
            name="encryption of a create of 200 KB, CPU",
            measured=statistics.median(ours),
            unit="ms",
            floor=statistics.median(floors),
            floor_is="AES-256-GCM alone, of the same bytes",
            ratio=ratio(ours, floors),
            to_reach=f"≤ {AT_MOST_MS:g} ms",
            reached=statistics.median(ours) <= AT_MOST_MS,
            details={
                "rounds, ms": ours,
                "to read it again, key included, ms": statistics.median(opened),
            },
        )
    ]


def _each_ms(began: float) -> float:
    return 1000 * (time.process_time() - began) / TIMES
