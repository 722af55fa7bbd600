"""Where the processes of one server add up what each of them has counted (docs/adr/0018).

prometheus_client keeps the numbers of a process in files of its own, mapped into memory, where
PROMETHEUS_MULTIPROC_DIR names a folder when it is first imported. So nothing here imports it at the
top, and `shared` comes before anything that counts.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import portalocker
import psutil

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
ENDED = 0
"""In the names of files: all processes that have ended. Nobody has that number."""

_LOCK = "lock"
_OWNER = "owner"


@contextmanager
def shared(data_dir: Path) -> Iterator[Path]:
    """A folder for this process and those that it starts, named in the environment meanwhile.

    Folders of processes that were killed are removed. One that the environment names already is
    taken as it is.
    """
    if VARIABLE in os.environ:
        yield Path(os.environ[VARIABLE])
        return
    above = data_dir / "metrics"
    above.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(above)
    folder = Path(tempfile.mkdtemp(dir=above))
    with portalocker.Lock(folder / _OWNER, "w", flags=portalocker.LOCK_EX):
        os.environ[VARIABLE] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[VARIABLE]
            shutil.rmtree(folder, ignore_errors=True)


def current() -> Path | None:
    """The folder in which this process counts; None where it counts for itself."""
    return Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None


@contextmanager
def read(folder: Path) -> Iterator[None]:
    """While the block lasts nobody moves numbers from file to file; what ended has been added up.

    Raises OSError.
    """
    with portalocker.Lock(folder / _LOCK, "w", flags=portalocker.LOCK_EX):
        for file in folder.glob("*.db"):
            kind, _, pid = file.stem.rpartition("_")
            if int(pid) != ENDED and not psutil.pid_exists(int(pid)):
                _bury(file, kind)
        yield


def _bury(file: Path, kind: str) -> None:
    """Add an ended process's file to that of all who have ended. What is live is not added."""
    from prometheus_client.mmap_dict import MmapedDict  # noqa: PLC0415 - see above

    if not kind.startswith("gauge_live"):
        together = file.with_name(f"{kind}_{ENDED}.db")
        draft = together.with_suffix(".draft")
        with suppress(FileNotFoundError):
            shutil.copyfile(together, draft)
        sums = MmapedDict(str(draft))
        for key, value, at, _ in MmapedDict.read_all_values_from_file(str(file)):
            had, had_at = sums.read_value(key)
            if not kind.startswith("gauge"):
                sums.write_value(key, had + value, at)
            elif at > had_at:
                sums.write_value(key, value, at)
        sums.close()
        draft.replace(together)
    file.unlink()


def _remove_leftovers(above: Path) -> None:
    for folder in above.iterdir():
        with suppress(OSError, portalocker.LockException):
            flags = portalocker.LOCK_EX | portalocker.LOCK_NB
            with portalocker.Lock(folder / _OWNER, "w", flags=flags, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
