"""Servers as the bench starts them: the real program, each in folders of its own, on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from app.config import ROOT, Settings, load_settings
from app.services.receipts import Issuer
from app.signing import Keyring

SECRET = "a secret that only the bench knows"
ISSUER = Issuer(Keyring([SECRET]).receipt_seeds, keep=timedelta(days=100))
READY_S = 60.0
STOP_S = 30.0

_ADDRESS = re.compile(rb"http://127\.0\.0\.1:(\d+)/")


class Server:
    """A process that printed its address, with its CPU time and memory."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ps = psutil.Process(process.pid)
        self.port = _read_port(process)

    def cpu_s(self) -> float:
        """User and system time so far, without children; ticks are 10 ms."""
        times = self._ps.cpu_times()
        return float(times.user + times.system)

    def rss_bytes(self) -> int:
        return int(self._ps.memory_info().rss)

    def peak_bytes(self) -> int:
        """The largest resident size so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def family(self) -> list[psutil.Process]:
        return [self._ps, *self._ps.children(recursive=True)]

    def kill(self) -> None:
        """kill -9 of the server alone; its children notice by themselves."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        if self._process.stdout:
            self._process.stdout.close()


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """The caller's environment without any setting of ours, and the bench's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in Settings.model_fields
    }
    ours = {
        "DATA_DIR": folder / "data",
        "STORAGE": folder / "uploads",
        "SECRET_KEY": SECRET,
        "ENGINE": "mock",
        "ENGINES": "mock",
        "MOCK_SECONDS": 0,
        "MOCK_FAILURE_RATE": 0,
        "RATE_LIMIT_ENABLED": "false",
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
    }
    return {**kept, **{name: str(value) for name, value in {**ours, **settings}.items()}}


def launch(folder: Path, **settings: object) -> Server:
    """Start the server and wait until it is ready. Its log goes to a file, as under a service."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env=environment(folder, **settings),
        )
    return Server(process)


@contextmanager
def serving(folder: Path, **settings: object) -> Iterator[Server]:
    server = launch(folder, **settings)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def bare(body: bytes) -> Iterator[Server]:
    """A bare FastAPI route that answers with these bytes, under the same options."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin
    process.stdin.write(body)
    process.stdin.close()
    server = Server(process)
    try:
        wait_for(f"http://127.0.0.1:{server.port}/")
        yield server
    finally:
        server.stop()


def wait_for(url: str) -> None:
    """Until somebody answers there."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urlopen(url) as answer:
                answer.read()
            return
        except URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)


def database(folder: Path) -> list[psutil.Process]:
    """The processes of the embedded database of a server's folder."""
    lines = _postmaster(folder)
    process = psutil.Process(int(lines[0]))
    return [process, *process.children(recursive=True)]


def database_address(folder: Path) -> dict[str, str]:
    """How psycopg2 reaches it."""
    lines = _postmaster(folder)
    return {"host": lines[4], "port": lines[3], "dbname": "tryonai", "user": "tryonai"}


def pss_bytes(processes: Sequence[psutil.Process]) -> int:
    """Proportional set size: what is shared counts once."""
    return sum(int(process.memory_full_info().pss) for process in processes)


def check_settings() -> None:
    """`.env` may choose a database, which nothing in the environment can undo."""
    if load_settings().database_url is not None:
        raise SystemExit("bench: unset DATABASE_URL, also in .env; each server gets its own one.")


def _postmaster(folder: Path) -> list[str]:
    (file,) = (folder / "data" / "postgres").glob("pg*/postmaster.pid")
    return file.read_text().splitlines()


def _read_port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout
    for line in process.stdout:
        found = _ADDRESS.search(line)
        if found:
            return int(found[1])
    raise RuntimeError("the server ended before it was ready; see the log in its folder")
