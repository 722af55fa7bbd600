"""The folder of an engine's process, which may hold photos while it runs.

Whoever is left removes it: the server when the process ends, the process when the server was
killed, and the next server that starts here when both were.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import portalocker

PREFIX = "tryonai-engine-"


class ScratchFolder:
    """root: all of it. path: the part that engines may use. Locked for as long as we live."""

    def __init__(self) -> None:
        while True:
            self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
            # Another server that starts in this moment may think that it is a leftover.
            lock = _lock(self.root, wait=True)
            if lock is not None and (self.root / "lock").exists():
                break
            _close(lock)
        self._lock: int | None = lock
        self.path = self.root / "run"
        self.path.mkdir()

    def remove(self) -> None:
        _close(self._lock)
        self._lock = None
        shutil.rmtree(self.root, ignore_errors=True)


def remove_leftovers() -> int:
    """Remove the folders of servers that were killed together with their engines; how many."""
    count = 0
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = _lock(root, wait=False) if _is_ours(root) else None
        if lock is not None:
            shutil.rmtree(root, ignore_errors=True)
            _close(lock)
            count += 1
    return count


def _is_ours(root: Path) -> bool:
    """Anybody may make a folder, or a link, of this name in the temporary folder."""
    try:
        found = root.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and (os.name == "nt" or found.st_uid == os.geteuid())


def _lock(root: Path, *, wait: bool) -> int | None:
    """Hold the folder's lock; None where it has gone, or where another holds it."""
    flags = portalocker.LOCK_EX if wait else portalocker.LOCK_EX | portalocker.LOCK_NB
    try:
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    try:
        portalocker.lock(descriptor, flags)
    except portalocker.LockException:
        os.close(descriptor)
        return None
    return descriptor


def _close(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
