"""A whole cluster on this machine, to look at: `python -m app cluster --demo`.

PostgreSQL is the embedded one, Redis the program that is installed, S3 SeaweedFS where that is, and
the folder of STORAGE otherwise; then two processes that answer, and two of Celery's that work.
Everything listens on loopback and keeps its data below DATA_DIR. All of it ends together, after a
kill -9 too: each program is on a leash, and our own, which share the embedded PostgreSQL, stop that
as the last ones out.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app import leash
from app.errors import TryOnError
from app.supervisor import ROOT, command_line

START_S = 60.0
BUCKET = "tryonai"


def demo(folder: Path, *, port: int, tell: Callable[[str], None]) -> None:
    """Until SIGTERM or Ctrl-C. Raises TryOnError where a program is missing or has ended.

    tell: takes lines for who looks.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        redis = stack.enter_context(_redis(logs))
        s3 = stack.enter_context(_s3(folder, logs))
        settings = {
            "TASK_QUEUE": "celery",
            "SESSION_CACHE": "redis",
            "WORKER_CONCURRENCY": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "DATABASE_POOL_SIZE": "5",  # of five processes on one that allows 60 connections
            **redis.settings,
            **s3.settings,
        }
        if s3.settings:
            _ours(settings, "storage", "init")
        where = s3.settings.get("AWS_ENDPOINT_URL", "the folder of STORAGE")
        url = redis.settings["REDIS_URL"]
        tell(f"Redis    {url}\nPictures {where}\nLogs     {logs}")
        tell(f"Who works: TASK_QUEUE=celery REDIS_URL={url} python -m app queues")
        needs = [*redis.holders, *s3.holders]
        worker = command_line("worker", "--concurrency", "2")
        server = command_line("serve", "--workers", "2", "--port", str(port))
        running = {
            name: stack.enter_context(_running(command, log, settings, needs))
            for name, command, log in (
                ("worker", worker, logs / "worker.log"),
                ("server", server, None),
            )
        }
        while not (ended := [name for name, one in running.items() if one.poll() is not None]):
            time.sleep(0.5)
        raise TryOnError(f"The {ended[0]} has ended; its last lines say why. Logs: {logs}")


@dataclass(frozen=True)
class _Store:
    """settings: what leads to it; none where there is none."""

    settings: Mapping[str, str]
    holders: Sequence[leash.Holder]


@contextmanager
def _redis(logs: Path) -> Iterator[_Store]:
    port = _free_port()
    command = [_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with _running(command, logs / "redis.log") as holder:
        _wait(port, holder, logs / "redis.log")
        yield _Store({"REDIS_URL": f"redis://127.0.0.1:{port}/0"}, [holder])


@contextmanager
def _s3(folder: Path, logs: Path) -> Iterator[_Store]:
    if shutil.which("weed") is None:
        yield _Store({}, [])
        return
    data = folder / "s3"
    data.mkdir(exist_ok=True)
    key, secret = "TRYONAIDEMO", secrets.token_urlsafe(24)
    identity = {
        "name": "tryonai",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Read", "Write", "List", "Tagging", "Admin"],
    }
    config = folder / "s3.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps({"identities": [identity]}))
    names = [f"{one}.port{kind}" for one in _S3_PORTS for kind in ("", ".grpc")]
    ports = {name: _free_port() for name in names}
    command = [
        *(_program("weed"), "-logtostderr", "mini", f"-dir={data}", f"-s3.config={config}"),
        # It would listen everywhere and call home.
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false"),
        *("-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-{name}={number}" for name, number in ports.items()),
    ]
    with _running(command, logs / "s3.log") as holder:
        _wait(ports["s3.port"], holder, logs / "s3.log")
        settings = {
            "STORAGE": f"s3://{BUCKET}/pictures",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
        }
        yield _Store(settings, [holder])


_S3_PORTS = ("s3", "master", "volume", "filer", "admin")


@contextmanager
def _running(
    command: Sequence[str],
    log: Path | None,
    settings: Mapping[str, str] | None = None,
    needs: Sequence[leash.Holder] = (),
) -> Iterator[leash.Holder]:
    """log: where it writes; None: where we do."""
    with ExitStack() as stack:
        out = None if log is None else stack.enter_context(log.open("ab"))
        held = leash.running(command, out=out, settings=settings or {}, needs=needs)
        yield stack.enter_context(held)


def _ours(settings: Mapping[str, str], *arguments: str) -> None:
    """One of our commands, again while what it needs is only just coming up."""
    until = time.monotonic() + START_S
    while True:
        done = subprocess.run(
            command_line(*arguments),
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.returncode:
            return
        if time.monotonic() > until:
            raise TryOnError(f"{' '.join(arguments)} failed: {done.stderr.strip()}")
        time.sleep(0.5)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise TryOnError(f"{name} is not installed; the demonstration needs it.")
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait(port: int, holder: leash.Holder, log: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if holder.poll() is not None:
                raise TryOnError(f"{log.stem} has ended at once: see {log}") from None
            if time.monotonic() > until:
                raise TryOnError(f"Nothing answers on port {port} after {START_S:.0f} s.") from None
            time.sleep(0.05)
        else:
            return
