"""Making a cluster and starting its server.

The Windows branches were written from the manual and have never run.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from app.postgres import accounts, locks, settings
from app.postgres.cluster import Cluster
from app.postgres.failures import unavailable
from app.postgres.settings import PORT, STATUS_LINE, SUPERUSER, WINDOWS


def start(cluster: Cluster, lock: int, *, deadline: float) -> None:
    """Start the server, which inherits the lock; make the cluster first if there is none."""
    try:
        if not (cluster.data / "PG_VERSION").exists():
            _initialise(cluster, lock, deadline)
        accounts.give(cluster.data, cluster.account)
        _disarm_leftovers(cluster)
        if WINDOWS:
            _start_on_windows(cluster)
        else:
            _start_on_posix(cluster, lock)
    finally:
        locks.close(lock)


def _initialise(cluster: Cluster, lock: int, deadline: float) -> None:
    """Make the cluster beside its place and rename it there, so that it is never half-made."""
    draft = cluster.home / "initdb.tmp"
    if draft.exists():  # whoever made it is dead: we hold both locks
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    accounts.give(draft, cluster.account)
    arguments = ["-D", _data_argument(cluster, draft), "-U", SUPERUSER, "-E", "UTF8"]
    arguments += ["--locale=C"]
    if cluster.version >= 17:  # asks no locale of the machine
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if cluster.password:
        arguments += ["-A", "scram-sha-256", "--pwfile", str(cluster.home / "password")]
    else:
        arguments += ["-A", "trust"]  # who can enter the socket's folder is its owner or root
    # Segments of 4 MB instead of 16 keep the log of changes small. -N does not wait for the
    # disk, which took up to 4 s; the system writes the files within half a minute.
    arguments += ["--wal-segsize=4", "--no-instructions", "-N"]
    # With the lock: if we are killed, initdb works on for a second, and nobody may follow before
    # it has ended, because it would write into their draft or remove it.
    inherited = () if WINDOWS else (lock,)
    left = max(deadline - time.monotonic(), 1.0)
    try:
        cluster.run("initdb", *arguments, cwd=draft, timeout=left, pass_fds=inherited)
        draft.rename(cluster.data)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _disarm_leftovers(cluster: Cluster) -> None:
    """Deal with what a killed server left: it may name a process id that lives again."""
    file = cluster.data / "postmaster.pid"
    if file.exists() and cluster.postmaster() is not None:
        raise unavailable(
            "A PostgreSQL server that was started by hand uses the database folder: "
            "stop it with `pg_ctl stop`, then try again.",
            cluster.data,
        )
    if WINDOWS:
        file.unlink(missing_ok=True)
        return
    if file.exists():
        # PostgreSQL takes its parent's id for stale, and still makes sure that nobody is
        # attached to the shared memory named further down. Without the file it would not.
        # The status goes: `url_if_ready` would take the old server's word for the new
        # one's, miss its socket, and have it stop.
        lines = [str(os.getpid()), *file.read_text().splitlines()[1:STATUS_LINE]]
        own = accounts.open_own(file, os.O_WRONLY | os.O_TRUNC, cluster.account)
        with os.fdopen(own, "w") as out:
            out.writelines(f"{line}\n" for line in lines)
    for left in cluster.socket_folder().glob(".s.PGSQL.*"):
        left.unlink(missing_ok=True)


def _start_on_posix(cluster: Cluster, lock: int) -> None:
    """Not by pg_ctl, which looks every 100 ms only and leaves the server to process 1."""
    values = settings.of_version(cluster.version) | {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": f'"{cluster.socket_folder()}"',
        "unix_socket_permissions": "0700",
    }
    command = [str(cluster.programs / "postgres"), "-D", _data_argument(cluster, cluster.data)]
    for name, value in values.items():
        command += ["-c", f"{name}={value}"]
    output = cluster.open_log()
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            start_new_session=True,
            **cluster.process_options(cluster.data),
        )
    finally:
        os.close(output)
    # Whoever stops it, it must not stay a zombie; in a container nobody else may collect it.
    threading.Thread(target=server.wait, name="postgres-reaper", daemon=True).start()


def _start_on_windows(cluster: Cluster) -> None:
    """By pg_ctl, which drops an administrator's rights as PostgreSQL demands."""
    port = accounts.kept(cluster.home / "port", _free_port)
    values = settings.of_version(cluster.version) | {"listen_addresses": "127.0.0.1", "port": port}
    options = " ".join(f"-c {name}={value}" for name, value in values.items())
    arguments = ["-D", str(cluster.data), "-l", str(cluster.log), "-o", options, "-w", "start"]
    cluster.run("pg_ctl", *arguments)


def _data_argument(cluster: Cluster, folder: Path) -> str:
    """The folder as the server's user can name it.

    Below a closed folder such as /root no path leads to it for that user; but the server
    works from within the folder, where we take it, and Linux has a name for that.
    """
    if cluster.account is None or cluster.account.can_enter(folder):
        return str(folder)
    if not Path("/proc/self/cwd").exists():
        raise unavailable(
            "The database's user cannot enter the folder of the data: choose a DATA_DIR that "
            "everybody can enter, or run as an ordinary user.",
            folder,
        )
    return "/proc/self/cwd"


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])
