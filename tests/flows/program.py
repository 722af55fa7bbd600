"""Our command line in a process of the tests, which can be told at which step to die."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

# All that a process needs is imported once, before the processes are forked.
import alembic.command  # noqa: F401
import uvicorn

from app import main, runtime  # noqa: F401
from app.__main__ import main as command_line
from app.config import Settings
from app.services.storage import LocalStorage

# What all of them share is no garbage of any: to look at it takes each 0.1 s, and copies it.
gc.freeze()


def run(
    arguments: Sequence[str],
    environment: dict[str, str],
    output: Path,
    *,
    dies_at: str | None = None,
    grace_s: float | None = None,
    ends_before_loop: bool = False,
) -> None:
    """Be `python -m app ARGUMENTS`, but without the `.env` of this checkout.

    environment: all of it. output: takes what is printed and logged.
    dies_at: see `Dying`. grace_s: instead of WORKER_GRACE_S.
    ends_before_loop: SIGTERM comes just before the loop begins.
    """
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.clear()
    os.environ.update(environment)
    Settings.model_config["env_file"] = None
    if dies_at is not None:
        Dying.point = dies_at
        vars(runtime)["LocalStorage"] = Dying
    if grace_s is not None:
        runtime.WORKER_GRACE_S = grace_s
    if ends_before_loop:
        _send_sigterm_before(uvicorn.Server)
    sys.exit(command_line(arguments))


def _send_sigterm_before(server: type[uvicorn.Server]) -> None:
    begin = server.run

    def run(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.write(1, b"the loop begins\n")
        begin(self, sockets)

    server.run = run  # type: ignore[method-assign]


class Dying(LocalStorage):
    """A disk under a process that is killed with -9 at one point.

    The points: `read inputs`, `draft in inputs`, `stored in inputs`, `draft in outputs`,
    `stored in outputs`, `deleting inputs`, `deleted inputs`, `deleted outputs`.
    """

    point = ""

    def get(self, key: str) -> bytes:
        self._reach(f"read {_top(key)}")
        return super().get(key)

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        self._reach(f"stored in {_top(key)}")

    def delete_prefix(self, prefix: str) -> int:
        self._reach(f"deleting {_top(prefix)}")
        count = super().delete_prefix(prefix)
        self._reach(f"deleted {_top(prefix)}")
        return count

    @staticmethod
    def _write(file: str, data: bytes) -> None:
        LocalStorage._write(file, data)
        Dying._reach(f"draft in {Path(file).parent.parent.name}")

    @classmethod
    def _reach(cls, point: str) -> None:
        if point == cls.point:
            os.kill(os.getpid(), signal.SIGKILL)


def _top(key: str) -> str:
    return key.partition("/")[0]
