"""What went wrong, in a sentence that says what to do.

Beside the sentence in `detail`, errors carry notes with paths and the programs' own words, for the
operator's terminal and never for a caller.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import portalocker
import psutil
import psycopg2

from app.errors import DatabaseUnavailable

FULL = "The disk that holds the database is full: free some space, then try again."
CLOSED = (
    "This user may not write to the database folder: give it the right, choose another DATA_DIR, "
    "or set DATABASE_URL to a server of yours."
)
NOBODY = "The user that runs this has no name on this machine: run as another one."
SIGNS = {
    "No space left on device": FULL,
    "Disk quota exceeded": FULL,
    "Permission denied": CLOSED,
    "Operation not permitted": CLOSED,
    "Read-only file system": CLOSED,
    "could not look up effective user ID": NOBODY,
}


def unavailable(sentence: str, folder: Path, said: str = "") -> DatabaseUnavailable:
    error = DatabaseUnavailable(sentence)
    error.add_note(f"Folder: {folder}")
    if said.strip():
        error.add_note(said.strip()[-2000:])
    return error


def explained(sentence: str, folder: Path, said: str) -> DatabaseUnavailable:
    """With a better sentence than the given one, if what a program said allows it."""
    better = next((sentence for sign, sentence in SIGNS.items() if sign in said), None)
    return unavailable(better or sentence, folder, said)


@contextlib.contextmanager
def translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        subprocess.SubprocessError,
        psutil.Error,
        psycopg2.Error,
        portalocker.LockException,
    ) as exc:
        sentence = "The embedded database could not be started."
        raise explained(sentence, folder, str(exc)) from exc
