"""A whole cluster on this machine, to look at: `python -m app cluster --demo`.

PostgreSQL is the embedded one, Redis the program that is installed, S3 SeaweedFS where that is, and
the folder of STORAGE otherwise; then two processes that answer, and two of Celery's that work.
Everything listens on loopback, ends together, and keeps its data below DATA_DIR.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from app.errors import TryOnError
from app.supervisor import ROOT, command_line

START_S = 60.0
END_S = 20.0
BUCKET = "tryonai"


def demo(
    folder: Path, *, database_url: str, secret: str, port: int, tell: Callable[[str], None]
) -> int:
    """Until one of them ends, or Ctrl-C. Raises TryOnError where a program is missing.

    tell: takes lines for who looks.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        redis = stack.enter_context(_redis(logs))
        storage = stack.enter_context(_s3(folder, logs))
        settings = {
            "DATABASE_URL": database_url,
            "SECRET_KEY": secret,
            "REDIS_URL": redis,
            "TASK_QUEUE": "celery",
            "WORKER_CONCURRENCY": "0",
            "PYTHONPATH": str(ROOT),
            **storage,
        }
        if storage:
            _ours(settings, "storage", "init")
        where = storage.get("AWS_ENDPOINT_URL", "the folder of STORAGE")
        tell(f"Redis    {redis}\nPictures {where}\nLogs     {logs}")
        tell(f"Who works: TASK_QUEUE=celery REDIS_URL={redis} python -m app queues")
        worker = command_line("worker", "--concurrency", "2")
        server = command_line("serve", "--workers", "2", "--port", str(port))
        running = [
            stack.enter_context(_running(worker, logs / "worker", settings)),
            stack.enter_context(_running(server, None, settings)),
        ]
        while all(one.poll() is None for one in running):
            time.sleep(0.5)
    return 1


@contextmanager
def _redis(logs: Path) -> Iterator[str]:
    port = _free_port()
    command = [_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with _running(command, logs / "redis", {}):
        _wait(port)
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _s3(folder: Path, logs: Path) -> Iterator[Mapping[str, str]]:
    """The settings of one; none where there is no such program."""
    if shutil.which("weed") is None:
        yield {}
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
    with _running(command, logs / "s3", {}):
        _wait(ports["s3.port"])
        yield {
            "STORAGE": f"s3://{BUCKET}/pictures",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
        }


_S3_PORTS = ("s3", "master", "volume", "filer", "admin")


@contextmanager
def _running(
    command: list[str], log: Path | None, settings: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """log: where it writes; None: where we do."""
    with ExitStack() as stack:
        out = None if log is None else stack.enter_context(log.with_suffix(".log").open("ab"))
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
            process.kill()
            process.wait()


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


def _wait(port: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise TryOnError(f"Nothing answers on port {port} after {START_S:.0f} s.") from None
            time.sleep(0.05)
        else:
            return
