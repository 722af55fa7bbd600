"""The embedded PostgreSQL: found, made, started, shared and stopped.

One folder is one cluster, and any number of processes may use it at once. File locks say who does,
because the kernel drops them whatever kills a process; a list of process ids would lie:

    start.lock    held while one process looks, makes, starts or stops: looking and acting are one
    users.lock    shared by every user; who can hold it alone is the last one, and stops the server
    server.lock   inherited by initdb, the server and all their children; free means that none lives

The server runs in its own session, so that Ctrl-C in a terminal reaches us and not it. Started by
root it runs as the folder's owner, else as `postgres` or `nobody`. The Windows branches were
written from the manual and have never run.

Imports go one way: `settings` and `failures`; `accounts`; `locks` and `binaries`; `cluster`;
`launch` and `reach`; and this one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from pathlib import Path

import structlog

from app.errors import DatabaseUnavailable
from app.postgres import launch, locks, reach
from app.postgres.cluster import Cluster
from app.postgres.failures import translated
from app.postgres.settings import OWN_START_PATIENCE_S, PATIENCE_S, POLL_S, STOP_PATIENCE_S

log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """A PostgreSQL server in a folder, shared by all who use that folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._share: int | None = None
        self._pid = 0  # the process that took the share; a forked child has none
        self._cluster: Cluster | None = None
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
        with self._mutex, translated(self._folder):
            deadline = time.monotonic() + PATIENCE_S
            folder = self._folder.resolve()
            folder.mkdir(parents=True, exist_ok=True)
            cluster = Cluster(folder)
            with cluster.reserved(deadline):
                # First: a server of the other version may still run, and would not be found.
                cluster.check_version()
                new = self._take_share(cluster)
                try:
                    cluster.trim_log()
                    self._url = _bring_up(cluster, deadline)
                except BaseException:
                    if new:
                        with contextlib.suppress(DatabaseUnavailable):
                            self._leave(cluster)
                    raise

    def stop(self) -> None:
        """Give the share back; the last user stops the server. Never raises."""
        # Looked at first, because a fork may have copied the mutex while a thread held it.
        if self._pid not in (0, os.getpid()):
            return
        if not self._mutex.acquire(timeout=OWN_START_PATIENCE_S):
            # Another thread of ours is in `start`, for a minute perhaps. It ends with the process,
            # and so does its share; the server is found by the next user.
            log.warning("postgres.not_stopped", reason="It is being started.")
            return
        try:
            self._give_back()
        finally:
            self._mutex.release()

    def _give_back(self) -> None:
        cluster = self._cluster
        if cluster is None:
            return
        try:
            with (
                translated(cluster.home),
                cluster.reserved(time.monotonic() + STOP_PATIENCE_S),
            ):
                self._leave(cluster)
        except DatabaseUnavailable as exc:
            log.warning("postgres.not_stopped", reason=exc.detail)
            self._drop_share()

    def _take_share(self, cluster: Cluster) -> bool:
        users = cluster.home / "users.lock"
        if self._share is not None and self._pid == os.getpid():
            # A folder that was removed under us took the file of our share with it.
            if users.exists() and os.path.samestat(os.fstat(self._share), users.stat()):
                return False
            self._drop_share()
        self._share = locks.share(users, cluster.account)  # never waits: we hold start.lock
        self._pid, self._cluster = os.getpid(), cluster
        atexit.register(self.stop)
        return True

    def _drop_share(self) -> None:
        if self._share is not None:
            locks.close(self._share)
        self._share = self._cluster = self._url = None
        atexit.unregister(self.stop)

    def _leave(self, cluster: Cluster) -> None:
        assert self._share is not None
        try:
            # Letting go first is safe: who wants a share needs start.lock.
            if locks.was_last(self._share):
                cluster.shut_down(time.monotonic() + STOP_PATIENCE_S)
        finally:
            self._drop_share()


def _bring_up(cluster: Cluster, deadline: float) -> str:
    launched = False
    while time.monotonic() < deadline:
        if (free := cluster.lock_if_free()) is not None:
            if launched:
                locks.close(free)
                raise cluster.failure("The embedded database stopped while it was starting.")
            launch.start(cluster, free, deadline=deadline)
            launched = True
        if (url := reach.url_if_ready(cluster)) is not None:
            if launched:
                log.info("postgres.started", version=cluster.version)
            return url
        time.sleep(POLL_S)
    raise cluster.failure(
        f"The embedded database did not answer within {PATIENCE_S:.0f} s; try again, or "
        "stop the programs that use its folder."
    )
