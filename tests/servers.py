"""Servers of other programs, each started by the test that needs it, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

START_S = 10


def program(name: str) -> str:
    """Where it is; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Server:
    """A program that listens; it may be killed, frozen and started again on the same address."""

    def __init__(self, command: list[str], *, answers: Callable[[], object], log: Path) -> None:
        self._command = command
        self._answers = answers
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                self._answers()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    pytest.fail(f"{self._command[0]} did not start: {self._log.read_text()}")
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()


class Redis(Server):
    """One that keeps nothing: what it has forgotten is what has to be made up for."""

    def __init__(self, folder: Path) -> None:
        path = program("redis-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = [path, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(folder)]
        super().__init__(command, answers=lambda: self.tell("PING"), log=folder / "redis.log")

    def tell(self, *words: str) -> str:
        """The first line of what it answers."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_S) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.recv(4096).decode().splitlines()[0]

    def ask(self, *words: str) -> bytes:
        """What it answers, whole; for what is short."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_S) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.recv(65536)

    def empty(self) -> None:
        self.ask("FLUSHALL")

    def keys(self) -> list[str]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_S) as connection:
            connection.sendall(b"KEYS *\r\n")
            return connection.recv(65536).decode().splitlines()[2::2]


class PgBouncer(Server):
    """A pooler that lends a connection for one transaction.

    url: of a database, as SQLAlchemy has it; here of the same one, through the pooler.
    """

    def __init__(self, folder: Path, url: str) -> None:
        path = program("pgbouncer")
        behind = make_url(url)
        host = behind.query["host"]
        assert isinstance(host, str)
        port = free_port()
        file = folder / "pgbouncer.ini"
        file.write_text(
            f"""
            [databases]
            {behind.database} = host='{host}' user={behind.username} pool_size=8
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            ignore_startup_parameters = options
            query_wait_timeout = 5
            """.replace(" " * 12, "")
        )
        self.url = f"postgresql://{behind.username}@127.0.0.1:{port}/{behind.database}"
        command = [path, str(file)]
        if os.getuid() == 0:  # it refuses to be root, and the socket is its owner's
            command[1:1] = ["--user", Path(host).owner()]
        super().__init__(
            command,
            answers=lambda: socket.create_connection(("127.0.0.1", port)).close(),
            log=folder / "pgbouncer.log",
        )
