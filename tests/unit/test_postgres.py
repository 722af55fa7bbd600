"""Real servers, real kills. Most tests share one cluster: each leaves it stopped and whole."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

import app
from app.errors import DatabaseUnavailable
from app.postgres import EmbeddedPostgres, accounts, binaries, launch, settings
from app.postgres.accounts import Account
from app.postgres.cluster import Cluster
from app.postgres.settings import STATUS_LINE
from tests.conftest import NOT_APPLICABLE

REPOSITORY = Path(app.__file__).parents[1]
NOBODY = pwd.getpwnam("nobody")
ROOT = os.geteuid() == 0

# Starts, says its URL, waits for a line, stops. With a user id it becomes that user first.
USER = """
import os, sys
from pathlib import Path
from app.errors import DatabaseUnavailable
from app.postgres import EmbeddedPostgres, binaries
folder, copies, uid = sys.argv[1:]
binaries.COPIES = Path(copies)
if uid:
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
server = EmbeddedPostgres(Path(folder))
try:
    server.start()
except DatabaseUnavailable as exc:
    print(exc.detail, flush=True)
    sys.exit(3)
print(server.url, flush=True)
sys.stdin.readline()
server.stop()
"""


class Peer:
    """Another process that uses the cluster."""

    started: ClassVar[list[Peer]] = []

    def __init__(self, folder: Path, *, uid: int | None = None, path: Path | None = None) -> None:
        arguments = [str(folder), str(folder.parents[1] / "copies"), str(uid or "")]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", USER, *arguments],
            cwd=REPOSITORY,
            env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(self)

    def said(self) -> str:
        """The URL or the error, once it is there; other lines are its log."""
        assert self.process.stdout is not None
        lines: Iterator[str] = iter(self.process.stdout.readline, "")
        return next(line.strip() for line in lines if "[info" not in line)

    def stop(self) -> None:
        self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture(autouse=True)
def _no_peer_outlives_its_test() -> Iterator[None]:
    yield
    while Peer.started:
        peer = Peer.started.pop()
        if peer.process.returncode is None:
            peer.kill()


def postmaster(folder: Path) -> psutil.Process | None:
    """The living server of a folder, or None."""
    for file in folder.glob("pg*/postmaster.pid"):
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            process = psutil.Process(int(file.read_text().split()[0]))
            # A killed server's file may name an id that lives again, as another cluster's server.
            if process.status() != psutil.STATUS_ZOMBIE and file.parent.samefile(process.cwd()):
                return process
    return None


def running(folder: Path) -> psutil.Process:
    process = postmaster(folder)
    assert process is not None
    return process


def eventually(true: Callable[[], bool]) -> None:
    tick, deadline = threading.Event(), time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        tick.wait(0.01)


def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = create_engine(url)
    try:
        with engine.begin() as tx:
            result = tx.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def as_server(folder: Path) -> dict[str, int]:
    """How to start a process as the server's user."""
    if not ROOT:
        return {}
    owner = next(folder.glob("pg*")).stat()
    return {"user": owner.st_uid, "group": owner.st_gid}


@contextlib.contextmanager
def living(*command: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([str(part) for part in command], **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """Unlike `tmp_path`, which belongs to root alone if root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="tryonai test ")).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared(open_folder: Path) -> Path:
    folder = open_folder / "a cluster"
    with EmbeddedPostgres(folder) as server:
        ask(server.url, "CREATE TABLE kept (id int PRIMARY KEY, word text)")
        ask(server.url, "INSERT INTO kept VALUES (1, 'kept')")
    return folder


@pytest.fixture
def cluster(shared: Path) -> Iterator[Path]:
    """The shared cluster, stopped before and after."""
    yield shared
    assert postmaster(shared) is None


def test_it_is_what_the_product_needs(cluster: Path) -> None:
    with EmbeddedPostgres(cluster) as server:
        rows = ask(
            server.url,
            "SELECT rolsuper, current_database(), current_setting('server_encoding'),"
            " current_setting('TimeZone'), current_setting('fsync'), lower('Ä')"
            " FROM pg_roles WHERE rolname = current_user",
        )

    assert rows == [(False, "tryonai", "UTF8", "UTC", "on", "ä")]


def test_a_process_that_ends_does_not_wait_for_a_start_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.postgres.OWN_START_PATIENCE_S", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        begun.set()
        go_on.wait(30)
        raise DatabaseUnavailable

    monkeypatch.setattr("app.postgres.Cluster", hang)
    server = EmbeddedPostgres(tmp_path)
    starting = threading.Thread(target=_in_vain, args=(server.start,))
    starting.start()
    assert begun.wait(10)

    server.stop()

    assert starting.is_alive()
    go_on.set()
    starting.join(10)


def _in_vain(step: Callable[[], None]) -> None:
    with pytest.raises(DatabaseUnavailable):
        step()


def test_a_second_user_adopts_and_the_last_one_stops_it(cluster: Path) -> None:
    first, second = EmbeddedPostgres(cluster), EmbeddedPostgres(cluster)
    first.start()
    server = running(cluster)
    peer = Peer(cluster)
    second.start()
    assert peer.said() == first.url == second.url

    first.stop()
    first.stop()
    second.stop()
    assert running(cluster) == server

    peer.stop()
    assert not server.is_running()


def test_start_may_be_called_again_and_takes_one_share(cluster: Path) -> None:
    server = EmbeddedPostgres(cluster)
    server.start()
    server.start()

    server.stop()

    assert postmaster(cluster) is None
    with pytest.raises(DatabaseUnavailable):
        _ = server.url


@pytest.mark.slow
def test_two_at_once_make_one_cluster_over_a_half_made_one(open_folder: Path) -> None:
    folder = open_folder / "two"
    half = folder / "initdb.tmp" / "base"
    half.mkdir(parents=True)
    (half / "1").write_text("left by a crash")

    peers = [Peer(folder), Peer(folder)]
    urls = {peer.said() for peer in peers}
    server = running(folder)

    assert len(urls) == 1
    assert not (folder / "initdb.tmp").exists()
    peers[0].stop()
    assert running(folder) == server
    peers[1].stop()
    assert postmaster(folder) is None
    shutil.rmtree(folder)


@pytest.mark.slow
def test_nobody_follows_before_an_orphaned_initdb_has_ended(open_folder: Path) -> None:
    folder = open_folder / "orphan"
    peer = Peer(folder)
    eventually((folder / "initdb.tmp" / "global").exists)
    (initdb,) = psutil.Process(peer.process.pid).children()
    initdb.suspend()
    peer.kill()

    try:
        assert Cluster(folder).lock_if_free() is None
    finally:
        initdb.resume()
    with EmbeddedPostgres(folder) as server:
        assert ask(server.url, "SELECT 1") == [(1,)]
    shutil.rmtree(folder)


def test_it_outlives_a_killed_parent_and_is_adopted(cluster: Path) -> None:
    peer = Peer(cluster)
    peer.said()
    server = running(cluster)
    assert os.getsid(server.pid) not in (os.getsid(0), os.getsid(peer.process.pid))  # Ctrl-C

    peer.kill()

    assert running(cluster) == server
    with EmbeddedPostgres(cluster) as mine:
        assert running(cluster) == server
        assert ask(mine.url, "SELECT word FROM kept") == [("kept",)]


def test_a_killed_server_comes_back_while_another_process_holds_it(cluster: Path) -> None:
    peer = Peer(cluster)
    url = peer.said()
    mine = EmbeddedPostgres(cluster)
    mine.start()
    server = running(cluster)
    ask(url, "INSERT INTO kept VALUES (2, 'committed')")

    server.kill()
    mine.start()

    assert running(cluster) != server
    assert ask(mine.url, "DELETE FROM kept WHERE id = 2 RETURNING word") == [("committed",)]
    mine.stop()
    assert running(cluster)
    peer.stop()


def test_a_stale_pid_file_may_name_a_living_process(cluster: Path) -> None:
    with EmbeddedPostgres(cluster):
        file = next(cluster.glob("pg*/postmaster.pid"))
        lines = file.read_text().splitlines()
    # The same user's, or PostgreSQL would see for itself that it is none of its own.
    with living("/bin/sleep", "60", **as_server(cluster)) as stranger:
        lines[0] = str(stranger.pid)
        file.write_text("\n".join(lines) + "\n")
        if ROOT:
            os.chown(file, *as_server(cluster).values())

        with EmbeddedPostgres(cluster) as server:
            assert ask(server.url, "SELECT word FROM kept") == [("kept",)]

        assert stranger.poll() is None


def test_the_word_of_a_killed_server_is_not_taken_for_the_next_one(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one, whose socket is not there yet, would be taken for lost, and told to stop."""
    status: list[list[str]] = []
    start = launch._start_on_posix

    def look_then_start(files: Cluster, lock: int) -> None:
        status.append((files.data / "postmaster.pid").read_text().splitlines()[STATUS_LINE:])
        start(files, lock)

    with EmbeddedPostgres(cluster) as mine:
        running(cluster).kill()
        monkeypatch.setattr(launch, "_start_on_posix", look_then_start)
        mine.start()

    assert status == [[]]


def test_a_server_started_by_hand_is_left_alone(cluster: Path) -> None:
    data = next(cluster.glob("pg*"))
    command = (binaries.find() / "postgres", "-D", data, "-k", "", "-h", "")
    with living(*command, stderr=subprocess.DEVNULL, cwd="/", **as_server(cluster)) as by_hand:
        eventually(lambda: postmaster(cluster) is not None)

        with pytest.raises(DatabaseUnavailable, match="by hand"):
            EmbeddedPostgres(cluster).start()

        assert by_hand.poll() is None
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait()


def test_neither_programs_nor_forked_children_keep_it_alive(cluster: Path) -> None:
    killed_with_a_child = """
import os, signal, sys
from pathlib import Path
from app.postgres import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1])).start()
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
print("the child runs", flush=True)
sys.stdin.readline()
"""
    command = (sys.executable, "-c", killed_with_a_child, cluster)
    server = EmbeddedPostgres(cluster)
    server.start()
    pipe = subprocess.PIPE
    with (
        living(*command, cwd=REPOSITORY, stdin=pipe, stdout=pipe) as parent,
        living("/bin/sleep", "60"),
    ):
        assert parent.wait(timeout=60) == -signal.SIGKILL
        assert parent.stdout
        assert parent.stdout.readline() == b"the child runs\n"

        server.stop()

        assert postmaster(cluster) is None


@pytest.mark.slow
def test_a_child_forked_during_a_start_can_end(cluster: Path) -> None:
    forked = """
import os, sys
from pathlib import Path
from app.postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as server:
    with server._mutex:  # as another thread's call of start would
        child = os.fork()
        if not child:
            server.stop()
            os._exit(0)
        os.waitpid(child, 0)
"""
    command = (sys.executable, "-c", forked, cluster)
    with living(*command, cwd=REPOSITORY) as parent:
        assert parent.wait(timeout=60) == 0


def test_a_moved_folder_works_below_a_long_path(cluster: Path, open_folder: Path) -> None:
    long = open_folder / ("long" * 30) / "moved"
    long.parent.mkdir()
    cluster.rename(long)
    try:
        with EmbeddedPostgres(long) as server:
            host = Path(str(make_url(server.url).query["host"]))
            status = host.stat()

            assert len(os.fsencode(host / ".s.PGSQL.5432")) < 100
            assert (status.st_mode & 0o777, status.st_uid) == (0o700, running(long).uids().real)
            assert ask(server.url, "SELECT word FROM kept") == [("kept",)]

            shutil.rmtree(host)  # by a cleaner of the temp folder
            server.start()
            assert ask(server.url, "SELECT word FROM kept") == [("kept",)]
        assert not host.exists()
    finally:
        long.rename(cluster)


def test_the_log_holds_no_values(cluster: Path) -> None:
    secret = "b7e1-personal"
    with EmbeddedPostgres(cluster) as server:
        log = cluster / "postgres.log"
        for statement in (
            f"INSERT INTO kept VALUES (1, '{secret}')",
            f"SELECT CAST('{secret}' AS uuid)",
            f"{secret} is no statement",
        ):
            with pytest.raises(Exception, match=secret):
                ask(server.url, statement)
        with create_engine(server.url, poolclass=NullPool).connect() as tx:
            pid = tx.execute(text(f"SELECT pg_backend_pid(), '{secret}'")).scalar_one()
            psutil.Process(pid).kill()
            with pytest.raises(OperationalError):
                tx.execute(text("SELECT 1"))
        eventually(lambda: "was terminated by signal 9" in log.read_text())
        server.start()

        assert ask(server.url, "SELECT word FROM kept") == [("kept",)]
        assert secret not in log.read_text()


def test_the_log_is_bounded(cluster: Path) -> None:
    log = cluster / "postgres.log"
    with EmbeddedPostgres(cluster) as server:
        os.truncate(log, settings.MAX_LOG_BYTES + 1)

        server.start()

        assert log.stat().st_size < 10_000


def test_data_of_another_version_are_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "pg11").mkdir()
    (tmp_path / "pg11" / "PG_VERSION").write_text("11\n")

    with pytest.raises(DatabaseUnavailable, match=r"made by PostgreSQL 11 .* has \d\d"):
        EmbeddedPostgres(tmp_path).start()

    assert not list(tmp_path.glob("pg1[2-9]"))


def test_a_running_server_of_another_version_is_named(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedPostgres(cluster) as server:
        monkeypatch.setattr(binaries, "version_of", lambda _: 99)

        with pytest.raises(DatabaseUnavailable, match=r"made by PostgreSQL \d\d .* has 99"):
            EmbeddedPostgres(cluster).start()

        assert ask(server.url, "SELECT 1") == [(1,)]


def test_what_the_log_said_before_explains_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.log.write_text("FATAL: Permission denied\n")
    cluster.trim_log()

    assert cluster.failure("It is slow.").detail == "It is slow."

    with cluster.log.open("a") as log:
        log.write("PANIC: No space left on device\n")
    assert "full" in cluster.failure("It is slow.").detail


def test_a_link_into_a_closed_folder_opens_it_to_nobody(open_folder: Path) -> None:
    inner = open_folder / "home" / "inner"
    inner.mkdir(parents=True)
    (open_folder / "link").symlink_to(inner)
    stranger = Account(os.geteuid() + 1, os.getegid() + 1)
    inner.parent.chmod(0o755)
    assert stranger.can_enter(open_folder / "link")

    inner.parent.chmod(0o700)

    assert not stranger.can_enter(open_folder / "link")


def test_a_socket_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)

    with pytest.raises(DatabaseUnavailable, match="Somebody else"):
        accounts.make_private(tmp_path / "run", None)


def test_a_folder_one_may_not_write_to_is_explained(open_folder: Path) -> None:
    folder = open_folder / "closed"
    folder.mkdir(mode=0o555)

    peer = Peer(folder, uid=NOBODY.pw_uid if ROOT else None)

    detail = peer.said()
    peer.process.communicate()
    assert detail.startswith("This user may not write to the database folder")
    assert str(folder) not in detail


@pytest.mark.slow
@pytest.mark.skipif(not ROOT, reason=NOT_APPLICABLE + "the other tests have shown it")
def test_an_ordinary_user_needs_no_more(open_folder: Path) -> None:
    if not Account(NOBODY.pw_uid, NOBODY.pw_gid).can_enter(binaries.find()):
        pytest.skip(NOT_APPLICABLE + "the programs are below a folder that is closed to others")
    folder = open_folder / "ordinary"
    folder.mkdir()
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)

    peer = Peer(folder, uid=NOBODY.pw_uid)
    assert peer.said().startswith("postgresql+psycopg2://tryonai@/tryonai?host=")
    with EmbeddedPostgres(folder) as mine:  # root may share it, and leaves it to its owner
        assert ask(mine.url, "SELECT 1") == [(1,)]
        peer.stop()
    peer = Peer(folder, uid=NOBODY.pw_uid)
    peer.said()
    assert running(folder).uids().real == NOBODY.pw_uid
    peer.stop()


@pytest.mark.slow
@pytest.mark.skipif(not ROOT, reason=NOT_APPLICABLE + "only root starts a server as somebody else")
def test_root_opens_no_closed_folder(open_folder: Path) -> None:
    """Data and programs both lie below a folder that only root can enter."""
    home = open_folder / "closed home"
    installed = binaries.find().parents[1]
    (home / "packages").mkdir(parents=True)
    for source in installed.parent.glob(f"{installed.name}*"):
        (home / "packages" / source.name).symlink_to(source)
    home.chmod(0o700)
    folders = [home / "data", home, *home.parents]
    (home / "data").mkdir()
    before = [(f.stat().st_mode, f.stat().st_uid, f.stat().st_gid) for f in folders]
    (open_folder / "copies").mkdir(mode=0o755)

    peer = Peer(home / "data", path=home / "packages")
    peer.said()
    server = running(home / "data")

    assert server.uids().real != 0
    assert (home / "data") in Path(server.cwd()).parents
    assert before == [(f.stat().st_mode, f.stat().st_uid, f.stat().st_gid) for f in folders]
    peer.stop()
    assert not server.is_running()
