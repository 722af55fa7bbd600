"""Several processes of one server: started, started again where one dies, and ended together.

Each is a program of its own and not a fork, so that none inherits a lock or a connection.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

ROOT = Path(__file__).resolve().parent.parent

# A child that dies is started again after this, doubling while it dies young.
AGAIN_S = 0.5
AGAIN_MOST_S = 10.0
YOUNG_S = 30.0
# A server ends within 15 s of SIGTERM.
PATIENCE_S = 20.0


class _Child:
    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.born = 0.0
        self.start_at = 0.0
        self.pause_s = AGAIN_S
        self.is_ready = False

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs `count` children until SIGTERM or SIGINT, which it passes on. POSIX only.

    command: of a child, which gets the numbers of two pipes appended: see `attach`.
    shared: further descriptors that children inherit.
    on_ready: called once, when all children are ready.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        count: int,
        shared: Sequence[int],
        on_ready: Callable[[], None],
    ) -> None:
        self._children = [_Child() for _ in range(count)]
        self._said, self._say = os.pipe()
        self._alive, self._life = os.pipe()
        self._command = [*command, f"--child={self._say},{self._alive}"]
        self._inherited = (*shared, self._say, self._alive)
        self._on_ready = on_ready
        self._told = False
        self._ending = False

    def run(self) -> int:
        """Exit status 1 where a child could not be started at all, or did not end in peace."""
        woken, waker = socket.socketpair()
        for one in (woken, waker):
            one.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with woken, waker, selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ)
            selector.register(self._said, selectors.EVENT_READ)
            while not self._ending and self._look():
                for key, _ in selector.select(self._rest_s()):
                    if key.fileobj is woken:
                        woken.recv(4096)
                    else:
                        self._hear()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
        return self._stop()

    def _end(self, *_: object) -> None:
        self._ending = True

    def _look(self) -> bool:
        """Start who is due; False where that is of no use."""
        now = time.monotonic()
        for child in self._children:
            if child.runs:
                continue
            if child.process is not None:
                status, child.process = child.process.returncode, None
                child.is_ready = False
                if not self._told and status == 1:
                    return False  # it has said why, and the next one would say the same
                old = now - child.born > YOUNG_S
                child.pause_s = AGAIN_S if old else min(child.pause_s * 2, AGAIN_MOST_S)
                child.start_at = now + child.pause_s
                log.warning("process.died", status=status, again_in_s=child.pause_s)
            if now >= child.start_at:
                child.born = now
                child.process = self._start()
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [str(ROOT), os.environ.get("PYTHONPATH")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        return subprocess.Popen(self._command, env=environment, pass_fds=self._inherited)

    def _rest_s(self) -> float | None:
        due = [child.start_at for child in self._children if not child.runs]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _hear(self) -> None:
        said = {int(line) for line in os.read(self._said, 4096).split()}
        for child in self._children:
            if child.runs and child.process and child.process.pid in said:
                child.is_ready = True
        if not self._told and all(child.is_ready for child in self._children):
            self._told = True
            self._on_ready()

    def _stop(self) -> int:
        # Who has died before is no part of how this end went.
        running = [child.process for child in self._children if child.runs and child.process]
        for process in running:
            process.terminate()
        until = time.monotonic() + PATIENCE_S
        statuses = []
        for process in running:
            try:
                statuses.append(process.wait(max(0.0, until - time.monotonic())))
            except subprocess.TimeoutExpired:
                log.warning("process.killed")
                process.kill()
                statuses.append(process.wait())
        for one in (self._said, self._say, self._alive, self._life):
            os.close(one)
        # One that was still starting has no answer to the signal yet but to die of it.
        peaceful = all(status in (0, -signal.SIGTERM) for status in statuses)
        return 0 if self._ending and peaceful else 1


def attach(pipes: str) -> Callable[[], None]:
    """In a child: end when the supervisor does, however that was; call the answer when ready.

    pipes: what the command line has got.
    """
    say, alive = map(int, pipes.split(","))

    def watch() -> None:
        os.read(alive, 1)  # returns when nobody holds the other end any more
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervised", daemon=True).start()

    def ready() -> None:
        os.write(say, b"%d\n" % os.getpid())  # whole or not at all: it is shorter than PIPE_BUF
        os.close(say)

    return ready


def command_line(*arguments: str) -> list[str]:
    """How one of our commands is started."""
    return [sys.executable, "-m", "app", *arguments]
