"""Whom the server runs as, and what belongs to that user alone.

Only files made here change hands, and no mode above them changes.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.errors import DatabaseUnavailable
from app.postgres.failures import unavailable
from app.postgres.settings import WINDOWS


@dataclass(frozen=True)
class Account:
    """Whom the server runs as when we are root."""

    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """By the mode bits, on the path as it is written and on the one behind its links."""
        real = folder.resolve()
        on_the_way = {folder, *folder.parents, real, *real.parents}
        return all(self._may_pass(f.stat()) for f in on_the_way)

    def _may_pass(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def of_server(home: Path) -> Account | None:
    """None unless we are root, as whom PostgreSQL refuses to run."""
    if WINDOWS or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - Windows has none

    owners = [folder.stat().st_uid for folder in (*home.glob("pg[0-9]*"), home)]
    for look_up in (
        *(partial(pwd.getpwuid, owner) for owner in owners if owner),
        partial(pwd.getpwnam, "postgres"),
        partial(pwd.getpwnam, "nobody"),
    ):
        with contextlib.suppress(KeyError):
            return Account(look_up().pw_uid, look_up().pw_gid)
    raise DatabaseUnavailable(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it: "
        "add one, run as an ordinary user, or set DATABASE_URL."
    )


def give(folder: Path, account: Account | None) -> None:
    """Hand a folder made by root, or copied by it, to the server's user."""
    if account is None or folder.lstat().st_uid != 0:
        return
    for path in (*folder.rglob("*"), folder):  # the folder last: it says that all is done
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def make_private(folder: Path, account: Account | None) -> Path:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    owner = account.uid if account else os.geteuid()
    if found.st_uid == 0 != owner and stat.S_ISDIR(found.st_mode):
        os.chown(folder, owner, -1, follow_symlinks=False)
        found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise unavailable(
            "Somebody else made the folder of the database's socket: remove it, or choose "
            "another DATA_DIR.",
            folder,
        )
    return folder


def open_own(file: Path, flags: int, account: Account | None) -> int:
    """Open a file of ours, made if missing, never through a link that somebody laid there."""
    descriptor = os.open(file, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    found = os.fstat(descriptor)
    if account and found.st_uid == 0 and found.st_nlink == 1:
        os.fchown(descriptor, account.uid, account.gid)
    return descriptor


def kept(file: Path, make: Callable[[], str]) -> str:
    """A value that is made once and readable by its owner only."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
            out.write(make())
    return file.read_text()
