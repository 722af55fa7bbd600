"""The files and processes of one server: where they are, who lives, how they stop."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from app.errors import DatabaseUnavailable
from app.postgres import accounts, binaries, locks
from app.postgres.failures import explained, unavailable
from app.postgres.settings import MAX_LOG_BYTES, PATIENCE_S, POLL_S, SOCKET_NAME, WINDOWS

MAX_SOCKET_BYTES = 99  # sun_path holds 104 on macOS and 108 on Linux
# libpq splits hosts at commas, and a folder that begins with @ is an abstract socket.
PLAIN_PATH = re.compile(r"/[\w ./+@~-]*")


class Cluster:
    """One server's folder. Who changes anything holds `start.lock`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.account = accounts.of_server(home)
        self.binaries = binaries.find()
        self.version = binaries.version_of(self.binaries)
        self.data = home / f"pg{self.version}"
        self.log = home / "postgres.log"
        self._log_start = 0

    @cached_property
    def programs(self) -> Path:
        return binaries.reachable(self.binaries, self.account)

    @property
    def password(self) -> str | None:
        """Windows has no socket that keeps others out."""
        return accounts.kept(self.home / "password", secrets.token_urlsafe) if WINDOWS else None

    @contextlib.contextmanager
    def reserved(self, deadline: float) -> Iterator[None]:
        while (lock := locks.take(self.home / "start.lock", self.account)) is None:
            if time.monotonic() > deadline:
                raise unavailable(
                    "Another process has been starting or stopping the embedded database "
                    "for a minute; stop it, then try again.",
                    self.home,
                )
            time.sleep(POLL_S)
        try:
            yield
        finally:
            locks.close(lock)

    def lock_if_free(self) -> int | None:
        """The server's lock, if no process of this cluster lives."""
        if WINDOWS and self.postmaster():
            return None
        return locks.take(self.home / "server.lock", self.account)

    def check_version(self) -> None:
        """Refuse data of another version, rather than begin anew beside them."""
        others = [p.name for p in self.home.glob("pg[0-9]*") if (p / "PG_VERSION").exists()]
        if others and self.data.name not in others:
            raise unavailable(
                f"The data were made by PostgreSQL {others[0][2:]} and this installation has "
                f"{self.version}: go back to the former, or carry them over with pg_upgrade, or "
                "move them away to begin with an empty database.",
                self.home / others[0],
            )

    def postmaster(self) -> psutil.Process | None:
        """The living server that `postmaster.pid` names, whoever started it."""
        try:
            with (self.data / "postmaster.pid").open() as file:
                process = psutil.Process(int(file.readline()))
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            if not process.name().startswith("postgres"):
                return None
            if not WINDOWS and process.uids().real != self.data.stat().st_uid:
                return None
            # A container may forbid this look; then the name and the user have to do.
            with contextlib.suppress(psutil.AccessDenied):
                return process if self.data.samefile(process.cwd()) else None
            return process
        except (OSError, ValueError, psutil.Error):
            return None

    def interrupt(self) -> bool:
        """Ask for a fast shutdown: transactions roll back, and what was committed is kept."""
        process = self.postmaster()
        if process is None:  # not there yet, or killed, and its children are just leaving
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
        return True

    def shut_down(self, deadline: float) -> None:
        """Stop the server and wait until its last process is gone."""
        if WINDOWS:
            if self.postmaster():
                self.run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")
            return
        asked = False
        while (free := self.lock_if_free()) is None:
            if time.monotonic() > deadline:
                raise self.failure("The embedded database is slow to stop; it was left to it.")
            asked = asked or self.interrupt()
            time.sleep(POLL_S)
        locks.close(free)
        folder = self.socket_folder()
        if folder.parent != self.home:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def socket_folder(self) -> Path:
        """A folder that only the server's user can enter, its path short enough for a socket.

        The same for every process and every start, whatever TMPDIR says: the URL stays good.
        """
        own = self.home / "run"
        if _fits(own) and (self.account is None or self.account.can_enter(self.home)):
            return accounts.make_private(own, self.account)
        uid = self.account.uid if self.account else os.geteuid()
        name = f"tryonai-{uid}-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]}"
        for base in (Path("/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 - made private
            open_to_us = self.account.can_enter(base) if self.account else os.access(base, os.W_OK)
            if open_to_us and _fits(base / name):
                return accounts.make_private(base / name, self.account)
        raise unavailable(
            "The path to the database's socket would be too long: choose a shorter DATA_DIR.",
            own,
        )

    def open_log(self) -> int:
        """Appending, so that it can be emptied in place while the server has it open."""
        output = accounts.open_own(self.log, os.O_WRONLY | os.O_APPEND, self.account)
        if os.fstat(output).st_size > MAX_LOG_BYTES:
            os.ftruncate(output, 0)
        self._log_start = os.fstat(output).st_size
        return output

    def trim_log(self) -> None:
        os.close(self.open_log())

    def failure(self, sentence: str) -> DatabaseUnavailable:
        """An error with what the log says since we last opened it."""
        try:
            said = self.log.read_bytes()[self._log_start :].decode(errors="replace")
        except OSError:
            said = ""
        return explained(sentence, self.home, said)

    def process_options(self, folder: Path) -> dict[str, Any]:
        # Little of the environment: it may hold secrets, and the server runs as another user.
        kept = {"SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} & os.environ.keys()
        environment = {name: os.environ[name] for name in kept}
        environment |= {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        options: dict[str, Any] = {"cwd": folder, "env": environment}
        if self.account is not None:
            options |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return options

    def run(self, program: str, *arguments: str, **options: Any) -> None:
        """Run a program to its end as the server's user, in `home` unless `cwd` is given."""
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            **{"timeout": PATIENCE_S} | self.process_options(self.home) | options,
        )
        if done.returncode:
            sentence = f"The embedded database could not be set up: {program} failed."
            raise explained(sentence, self.home, done.stderr)


def _fits(folder: Path) -> bool:
    path = str(folder)
    length = len(os.fsencode(path)) + 1 + len(SOCKET_NAME)
    return length <= MAX_SOCKET_BYTES and PLAIN_PATH.fullmatch(path) is not None
