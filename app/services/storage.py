"""Where pictures are kept: objects under keys. What every storage promises, and the local disk.

A key is a relative path of plain words, `inputs/<session id>/person.jpg`. What was written is
durable when `put` returns, and is there whole or not at all. Other ones: `services/objects` and
`services/cloudinary`.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import structlog

from app.errors import ServiceError, StorageFull, StorageUnavailable, TryOnError
from app.metrics import STORAGE_FAILURES

log = structlog.get_logger(__name__)

_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9.][a-z0-9_.-]*)*")
# Who deletes begins anew while it finds something: the two may meet several times in a row.
_PUT_TRIES = 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DRAFT = ".draft-"

Verb = Literal["read", "written", "deleted", "listed"]
Reason = Literal["unavailable", "denied", "no_bucket", "throttled", "full", "refused"]

_WHY: Mapping[Reason, str] = {
    "unavailable": "their store does not answer",
    "denied": "their store does not let us",
    "no_bucket": "their bucket is not there",
    "throttled": "their store was asked more often than it takes",
    "refused": "their store failed",
}


class PictureMissing(TryOnError):
    """There is no object under this key."""

    status, code, title = 404, "not_found", "The picture is not there any more"


@dataclass(frozen=True)
class StoredObject:
    """size: bytes. modified: seconds since the epoch, by the storage's clock."""

    key: str
    size: int
    modified: float

    @property
    def is_draft(self) -> bool:
        """Whether its writer was interrupted, or is still at it."""
        return DRAFT in self.key


class Storage(Protocol):
    def put(self, key: str, data: bytes) -> None:
        """Store an object durably, or raise StorageFull or StorageUnavailable and leave nothing.

        data: a byte or more; stores make no difference between an empty object and none.
        """

    def get(self, key: str) -> bytes:
        """Raises PictureMissing."""

    def open(self, key: str) -> tuple[BinaryIO, int]:
        """A reader, which the caller closes, and the size. Raises PictureMissing."""

    def delete_prefix(self, prefix: str) -> int:
        """Delete every object below `prefix/`; how many there were. Nothing there is no error.

        It is gone for everybody at once, and after a crash, too, when `settle` has returned.
        """

    def settle(self, *prefixes: str) -> None:
        """Make durable what was deleted right below these: once for as many as one likes."""

    def delete(self, key: str) -> None: ...

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """Everything below `prefix/`, drafts that were never finished included.

        What is no object of ours, by its name, is passed over.
        """

    def tidy(self, prefix: str, *, before: float) -> None:
        """Remove what holds no object below `prefix/`, if it is older, in seconds of the epoch."""

    def exists(self, key: str) -> bool: ...

    def check(self) -> None:
        """Raises StorageUnavailable or StorageFull when nothing could be stored now."""


@dataclass(frozen=True)
class Access:
    """How an object store is reached; what is None, its client looks for where every client does.

    timeout_s: what one request may take; with its tries about twice that at most.
    """

    timeout_s: float
    endpoint: str | None = None
    region: str | None = None
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


class LocalStorage:
    """Objects as files below one folder, for their owner alone to read.

    Any number of this user's processes may share the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._told_of_strangers = False

    def put(self, key: str, data: bytes) -> None:
        target = self._path(key)
        with _translated("written"):
            for again in reversed(range(_PUT_TRIES)):
                try:
                    self._put(target, data)
                    break
                except FileNotFoundError:
                    # Somebody deletes the folder at this moment: its next one is ours.
                    if not again:
                        raise
        log.info("storage.put", size=len(data))

    def get(self, key: str) -> bytes:
        with _translated("read"):
            return self._path(key).read_bytes()

    def open(self, key: str) -> tuple[BinaryIO, int]:
        with _translated("read"):
            file = self._path(key).open("rb")
            return file, os.fstat(file.fileno()).st_size

    def delete_prefix(self, prefix: str) -> int:
        folder = self._path(prefix)
        with _translated("deleted"):
            if not self.root.is_dir():
                # Not mounted, perhaps: what lies there would be taken for erased.
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            return _delete_folder(str(folder))

    def settle(self, *prefixes: str) -> None:
        with _translated("deleted"):
            for prefix in prefixes:
                with suppress(FileNotFoundError):
                    _sync_folder(self._path(prefix))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated("deleted"):
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()  # refused while it holds something
        log.info("storage.deleted", objects=1)

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        folder = str(self._path(prefix))
        above = len(folder) - len(prefix)
        for file in _files(folder):
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue
            key = file.path[above:].replace(os.sep, "/")
            if is_key(key):
                yield StoredObject(key, stat.st_size, stat.st_mtime)
            elif not self._told_of_strangers:
                # A file manager's, like .DS_Store. Its name may tell of somebody.
                self._told_of_strangers = True
                log.warning("storage.strange_file", prefix=prefix)

    def tidy(self, prefix: str, *, before: float) -> None:
        # A crash between a folder and its first file. Where a put is at it now, it makes another.
        for folder, folders, names in os.walk(self._path(prefix)):
            path = Path(folder)
            with suppress(OSError):  # refused while it holds something
                if not folders and not names and path.stat().st_mtime < before:
                    path.rmdir()

    def exists(self, key: str) -> bool:
        with _translated("read"):
            return self._path(key).is_file()

    def check(self) -> None:
        # Among the inputs, so that the sweep finds a probe that a crash has left.
        probe = self.root / "inputs" / f"{DRAFT}{secrets.token_hex(8)}"
        with _translated("written"):
            probe.parent.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"\0" * 4096)
            finally:
                with suppress(OSError):
                    probe.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        check_key(key)
        return self.root / key

    def _put(self, target: Path, data: bytes) -> None:
        # Plain strings from here on: pathlib was a third of what a create's put takes of the CPU.
        folder = str(target.parent)
        draft = f"{folder}/{DRAFT}{secrets.token_hex(8)}"
        new = _make_folder(folder)
        try:
            self._write(draft, data)
            os.replace(draft, target)  # noqa: PTH105 - rename would not replace, on Windows
        except OSError:
            with suppress(OSError):
                os.unlink(draft)  # noqa: PTH108
            raise
        with suppress(FileNotFoundError):  # deleted again already
            _sync_folder(folder)
            if new:
                # Last: where the file system keeps a journal, as ext4 does, the others have written
                # this one down too. Before them it was a third trip to the disk.
                _sync_folder(os.path.dirname(folder))  # noqa: PTH120

    @staticmethod
    def _write(file: str, data: bytes) -> None:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(fd, "wb", buffering=0) as out:
            left = memoryview(data)
            while left:  # a signal or a nearly full disk may cut a write short
                left = left[out.write(left) :]
            os.fsync(fd)


def store_failed(verb: Verb, reason: Reason, *, status: int | None = None) -> ServiceError:
    """Count and log what a store of somebody else's refused; what is to be raised for it.

    status: of its HTTP answer. Its own words hold keys and addresses, and are told to nobody.
    """
    STORAGE_FAILURES.labels(verb, reason).inc()
    log.error("storage.failed", verb=verb, reason=reason, status=status)
    if reason == "full":
        return StorageFull()
    return StorageUnavailable(f"The pictures could not be {verb}: {_WHY[reason]}.")


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None and ".." not in text


def check_key(text: str) -> None:
    """Raises ValueError: a mistake of ours, for no client names a key."""
    if not is_key(text):
        raise ValueError("a storage key is made of plain words")


@contextmanager
def _translated(verb: Verb) -> Iterator[None]:
    """Say in our words what the file system said, without a path."""
    try:
        yield
    except OSError as exc:
        away = isinstance(exc, FileNotFoundError)
        if away and verb == "read":
            raise PictureMissing from exc
        full = exc.errno in _FULL
        STORAGE_FAILURES.labels(verb, "full" if full else "unavailable").inc()
        if full:
            raise StorageFull from exc
        log.error("storage.failed", verb=verb, errno=errno.errorcode.get(exc.errno or 0))
        why = ": their folder is away" if away else ""
        raise StorageUnavailable(f"The pictures could not be {verb}{why}.") from exc


def _make_folder(folder: str) -> bool:
    """Of a session: almost every put is the first of one. For the owner alone to enter.

    Returns whether it is new.
    """
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102
    except FileExistsError:
        return False
    except FileNotFoundError:
        os.makedirs(folder, 0o700, exist_ok=True)  # noqa: PTH103
    return True


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    """All below a folder. As os.walk with paths, at an eighth of the CPU: an erasure asks twice."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:  # deleted meanwhile, or closed to us
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            yield entry


def _delete_folder(folder: str) -> int:
    """Delete a folder with all that is in it; how many files there were.

    As shutil.rmtree, at half the CPU: a purge does this 2,000 times a second.
    """
    count = 0
    while True:
        try:
            with os.scandir(folder) as found:
                entries = list(found)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    count += _delete_folder(entry.path)
                    continue
                with suppress(FileNotFoundError):  # somebody else deletes the same
                    os.unlink(entry.path)  # noqa: PTH108
                    count += 1
            os.rmdir(folder)  # noqa: PTH106
        except FileNotFoundError:
            return count
        except OSError as exc:
            if exc.errno != errno.ENOTEMPTY:  # a file was written meanwhile: once more
                raise
        else:
            return count


def _sync_folder(folder: str | Path) -> None:
    """Make a rename durable; Windows cannot open a folder and does not need to."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
