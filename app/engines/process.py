"""An engine in a process of its own, kept warm between runs.

A crash, a hang or a hunger for memory fails one run, never the server; the next run gets a fresh
process. Why it is built this way stands in docs/adr/0004-engine-processes.md.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, cast

import psutil
import structlog

from app.engines import EngineSpec, guard
from app.engines import frames as say
from app.engines.frames import Job, Output
from app.engines.scratch import ScratchFolder
from app.errors import EngineError, EngineUnavailable, FailureCode, RunCancelled

__all__ = ["EngineProcess", "Job", "Output", "Watcher"]

log = structlog.get_logger(__name__)

POLL_S = 0.05
"""How often the deadline, the cancel event and the memory are looked at."""

GRACE_S = 0.5
"""How long a run that was asked to stop may take to do so."""

_LEAK = 0.25
"""Of the memory that is left to runs: with more of it gone before a run begins, engines leak."""

LOAD_TIMEOUT_S = 300.0
"""Several gigabytes of weights from a slow disk take minutes; more is a hang."""

_LINE_BYTES = 4000
"""Of what an engine prints, in one line of the log."""

ABROAD_GRACE_S = 3.0
"""The same for one whose work is done elsewhere, and has to be ended there."""

# Linux, if it was built with CONFIG_PROC_CHILDREN, as distributions are.
_KERNEL_LISTS_CHILDREN = Path("/proc/thread-self/children").exists()

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Watcher:
    """Who follows a run, and may end it.

    cancelled: once set, the run ends within about a second.
    on_progress: told the stage, and how much of it is done, 0–1, where that is known.
    on_checkpoint: keeps what it is given, JSON, durably; the run waits for it. What it raises ends
        the run.
    for_good: whether a cancelled run will not be taken up by another attempt.
    """

    cancelled: threading.Event = field(default_factory=threading.Event)
    on_progress: Callable[[str, float | None], None] = lambda *_: None
    on_checkpoint: Callable[[str], None] = lambda _: None
    for_good: Callable[[], bool] = lambda: True


class EngineProcess:
    """One engine, one process, one run at a time; a second run waits for the first.

    memory_mb: how much the process and all that it starts may occupy together (resident size; what
    a graphics card holds is not counted).
    number: of this process among those of its engine, which take its devices in turn.
    """

    def __init__(self, spec: EngineSpec, *, memory_mb: int, number: int = 0) -> None:
        self._spec = spec
        self._device = spec.devices[number % len(spec.devices)] if spec.devices else None
        self._memory_mb = memory_mb
        self._child: _Child | None = None
        self._turn = threading.Lock()
        self._closed = threading.Event()

    @property
    def alive(self) -> bool:
        child = self._child
        return child is not None and not child.ended

    @property
    def ready(self) -> bool:
        """Whether the engine is loaded."""
        child = self._child
        return child is not None and child.ready and not child.ended

    def start(self) -> None:
        """Load the engine ahead of the first run. Raises EngineUnavailable, with the reason."""
        never = threading.Event()
        try:
            with self._its_turn(never):
                self._warm(never)
        except RunCancelled as exc:
            raise EngineUnavailable("the engine was closed") from exc

    def run(self, job: Job, watcher: Watcher, *, timeout_s: float) -> Output:
        """Make one picture.

        timeout_s: for the run alone; loading, where it is needed, has its own bound.

        Raises EngineError: the engine's own, or engine_timeout, engine_out_of_memory, engine_error
        where the process ended by itself. Out of memory by what earlier runs have left, it may be
        tried again. Raises EngineUnavailable when the engine could not be loaded, and RunCancelled.
        """
        cancelled = watcher.cancelled
        with self._its_turn(cancelled):
            child = self._warm(cancelled)
            child.context = structlog.contextvars.get_contextvars()
            try:
                answer = self._follow(child, say.Run(job, timeout_s), watcher)
            except BaseException:
                child.end()
                raise
            if isinstance(answer, say.Failed) and answer.broken:
                child.end()
            else:
                child.empty_scratch()
        if cancelled.is_set():
            raise RunCancelled
        if isinstance(answer, say.Failed):
            raise EngineError(
                answer.code,
                answer.detail,
                log=answer.log,
                retryable=answer.retryable or self._was_full(child, answer),
                stage=answer.stage,
            )
        return answer

    def _was_full(self, child: _Child, answer: say.Failed) -> bool:
        out_of_memory = answer.code == FailureCode.ENGINE_OUT_OF_MEMORY
        return out_of_memory and child.leaked_mb(self._memory_mb) > 0

    def close(self) -> None:
        """End the process, whatever it does; a run in hand raises RunCancelled. Final."""
        self._closed.set()
        self._end_child()
        # A child that was just being started belongs to whoever has the turn, who now sees that we
        # are closed; but a callback that hangs must not keep us.
        if self._turn.acquire(timeout=2):
            self._end_child()
            self._turn.release()

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()

    @contextmanager
    def _its_turn(self, cancelled: threading.Event) -> Iterator[None]:
        while not self._turn.acquire(timeout=POLL_S):
            if cancelled.is_set() or self._closed.is_set():
                raise RunCancelled
        try:
            yield
        finally:
            self._turn.release()

    def _warm(self, cancelled: threading.Event) -> _Child:
        """A child whose engine is loaded. Raises EngineUnavailable, RunCancelled."""
        if self._closed.is_set():
            raise RunCancelled
        if self._child is None or self._child.ended:
            self._end_child()
            self._child = _Child(self._spec, self._device)
        child = self._child
        if child.ready:
            return child
        try:
            self._await_ready(child, cancelled)
        except EngineUnavailable:
            child.end()
            raise
        except EngineError as exc:
            child.end()
            reason = exc.log or exc.detail
            raise EngineUnavailable(f'engine "{self._spec.name}" does not load: {reason}') from exc
        return child

    def _await_ready(self, child: _Child, cancelled: threading.Event) -> None:
        for frame in self._watch(child):
            match frame:
                case say.Ready():
                    child.ready = True
                    return
                case say.CannotLoad(reason):
                    raise EngineUnavailable(reason)
            if cancelled.is_set():
                raise RunCancelled  # the child goes on loading, for the next run
            if time.monotonic() > child.born + LOAD_TIMEOUT_S:
                log = f"not ready after {LOAD_TIMEOUT_S:.0f} s"
                raise EngineError(FailureCode.ENGINE_TIMEOUT, log=log)

    def _follow(self, child: _Child, order: say.Run, watcher: Watcher) -> Output | say.Failed:
        """Watch one run to its end. Where this raises, the child must be ended."""
        cancelled = watcher.cancelled
        grace_s = ABROAD_GRACE_S if self._spec.abroad else GRACE_S
        deadline = time.monotonic() + order.timeout_s
        asked_at: float | None = None
        stage: str | None = None
        child.begin()
        child.tell(order)
        try:
            for frame in self._watch(child):
                match frame:
                    case Output():
                        return frame
                    case say.Failed():
                        return replace(frame, stage=frame.stage or stage)
                    case say.Cancelled():  # where nobody cancelled, we asked because it was late
                        log = f"stopped at the deadline of {order.timeout_s:g} s"
                        return say.Failed(FailureCode.ENGINE_TIMEOUT, log=log, stage=stage)
                    case say.Progress():
                        stage = frame.stage
                        watcher.on_progress(stage, frame.fraction)
                    case say.Checkpoint():
                        watcher.on_checkpoint(frame.state)
                        child.tell(say.Kept(frame.number))
                now = time.monotonic()
                if asked_at is None and (cancelled.is_set() or now > deadline):
                    child.tell(say.Cancel(for_good=cancelled.is_set() and watcher.for_good()))
                    asked_at = now
                elif asked_at is not None and now > asked_at + grace_s:
                    if cancelled.is_set():
                        raise RunCancelled
                    log = f"killed {grace_s:g} s after the deadline of {order.timeout_s:g} s"
                    raise EngineError(FailureCode.ENGINE_TIMEOUT, log=log)
        except EngineError as exc:
            exc.stage = exc.stage or stage
            raise
        raise AssertionError("watching a child ends with an answer or an error")

    def _watch(self, child: _Child) -> Iterator[say.FromChild | None]:
        """What the child says, and None now and then, until it ends or takes too much."""
        looked_at = time.monotonic()
        while True:
            had_ended = child.ended  # asked first: its last words may still be in the pipe
            frame = child.hear(POLL_S)
            if self._closed.is_set():
                raise RunCancelled
            if isinstance(frame, say.Gone) or (frame is None and had_ended):
                raise EngineError(FailureCode.ENGINE_ERROR, log=child.obituary())
            yield frame
            # By time and not by frame: looking costs up to some milliseconds of CPU.
            if time.monotonic() < looked_at + POLL_S:
                continue
            looked_at = time.monotonic()
            used_mb = child.memory_bytes() >> 20
            if used_mb > self._memory_mb:
                log = f"{used_mb} MB in use, at most {self._memory_mb} MB allowed"
                leaked_mb = child.leaked_mb(self._memory_mb)
                if leaked_mb:
                    log += f", {leaked_mb} of them left by runs before"
                raise EngineError(
                    FailureCode.ENGINE_OUT_OF_MEMORY, log=log, retryable=leaked_mb > 0
                )


class _Child:
    """The process itself, its pipes and the two threads that serve them.

    Reading and writing have threads so that a child which is stopped, or holds its interpreter's
    lock, cannot block us: a pipe takes 64 KiB and a photo is larger.
    """

    def __init__(self, spec: EngineSpec, device: str | None) -> None:
        self.ready = False
        self.born = time.monotonic()
        self._runs = 0
        self._begun_mb = self._usual_mb = 0
        self.context: dict[str, Any] = {}
        """For the log: whose run it is."""
        self._name = spec.name
        self._said: SimpleQueue[say.FromChild] = SimpleQueue()
        self._to_say: SimpleQueue[bytes | None] = SimpleQueue()
        self._ending = threading.Lock()
        self._over = False
        # Ours and not the child's, so that it goes even when the child is killed. One for all runs,
        # because making and removing a folder on a busy disk takes milliseconds.
        self._folder = ScratchFolder()
        self.scratch = self._folder.path
        try:
            self.tell(say.Hello(spec, str(self._folder.root), str(self.scratch)))
            home = self._folder.root / "home"
            home.mkdir()
            self._process = _spawn(
                guard.environment(
                    home, allowed=spec.secrets, device=device, offline=not spec.abroad
                )
            )
        except BaseException:
            self._folder.remove()
            raise
        self._root = psutil.Process(self._process.pid)
        self._family: list[psutil.Process] = []
        self._family_seen_at = float("-inf")
        self._threads = [
            threading.Thread(target=self._read, daemon=True, name="engine-reader"),
            threading.Thread(target=self._write, daemon=True, name="engine-writer"),
            threading.Thread(target=self._pass_on, daemon=True, name="engine-printer"),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def ended(self) -> bool:
        return self._over or self._process.poll() is not None

    def tell(self, frame: say.ToChild) -> None:
        self._to_say.put(say.pack(frame))

    def hear(self, timeout_s: float) -> say.FromChild | None:
        with suppress(Empty):
            return self._said.get(timeout=timeout_s)
        return None

    def memory_bytes(self) -> int:
        """Resident size of the process and its descendants; shared pages count in each."""
        if time.monotonic() > self._family_seen_at + 10 * POLL_S:  # may look through all processes
            self._family_seen_at = time.monotonic()
            with suppress(psutil.Error):
                self._family = _descendants(self._root)
        total = 0
        for process in (self._root, *self._family):
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def begin(self) -> None:
        """Note how large it is before a run; what its first run has loaded, it keeps rightly."""
        self._runs += 1
        self._begun_mb = self.memory_bytes() >> 20
        if self._runs <= 2:
            self._usual_mb = self._begun_mb

    def leaked_mb(self, bound_mb: int) -> int:
        """What runs before this one have left; 0 where it is little of what there was for them.

        A run that runs out of memory then is not to blame, and may work in a fresh process.
        """
        left_mb = self._begun_mb - self._usual_mb
        return left_mb if left_mb > _LEAK * (bound_mb - self._usual_mb) else 0

    def obituary(self) -> str:
        """How the process ended by itself."""
        self._let_it_end()
        code = self._process.returncode
        if code is None:
            return "the engine's process closed its pipe"
        if code >= 0:
            return f"the engine's process ended by itself with status {code}"
        name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        hint = ", perhaps by the kernel for want of memory" if name == "SIGKILL" else ""
        return f"the engine's process was ended by {name}{hint}"

    def end(self) -> None:
        """Kill the process and what it started, and reap it. From any thread, more than once."""
        with self._ending:
            if not self._over:
                self._over = True
                self._kill()
                self._to_say.put(None)
                self._folder.remove()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=1)

    def _kill(self) -> None:
        """Once only, and soon after the process ended: its number may be given to another."""
        family = set(self._family)  # orphans are no one's children, so those we have seen count too
        with suppress(psutil.Error):
            family.update(self._root.children(recursive=True))
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        for process in family:  # who left the group
            with suppress(psutil.Error):
                process.kill()
        with suppress(subprocess.TimeoutExpired):  # a driver's call may hold it for a while
            self._process.wait(timeout=5)

    def empty_scratch(self) -> None:
        """Remove the files of a run; what cannot go now is tried again after the next."""
        with suppress(OSError):  # the folder has gone, if the child died after its answer
            for entry in self.scratch.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)

    def _read(self) -> None:
        with cast("BinaryIO", self._process.stdout) as pipe:
            try:
                while (frame := say.read(pipe)) is not None:
                    self._said.put(cast("say.FromChild", frame))
                    del frame  # a waiting thread holds no picture
            except (OSError, ValueError, pickle.UnpicklingError):
                pass  # torn by the end of the child
        self._let_it_end()
        self._said.put(say.Gone())
        self.end()  # also when nobody is watching, between two runs

    def _let_it_end(self) -> None:
        """Its pipe ends a moment before it does, and how it ended should be its own doing."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=GRACE_S)

    def _write(self) -> None:
        # The child may have ended: then whoever watches it knows.
        with suppress(OSError), cast("BinaryIO", self._process.stdin) as pipe:
            while (packed := self._to_say.get()) is not None:
                say.write(pipe, packed)
                del packed  # a waiting thread holds no picture

    def _pass_on(self) -> None:
        """What the engine prints, a library's warnings among it, as lines of the log.

        Where nobody has configured one, as it comes.
        """
        with suppress(OSError, ValueError), cast("BinaryIO", self._process.stderr) as pipe:
            while printed := pipe.readline(_LINE_BYTES):
                line = printed.decode("utf-8", "replace")
                if not structlog.is_configured():
                    sys.stderr.write(line)
                elif line := line.strip():
                    log.info("engine.printed", **{"engine": self._name, **self.context}, line=line)


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    """What a process has started, and what those have. Raises NoSuchProcess when it has gone.

    On Linux from the lists that the kernel keeps, where it was built to: 0.2 ms of CPU instead of
    12 beside 500 processes (2026-11). A list may leave one out while another ends
    (proc_pid_task(5)), which does for a look that is repeated.
    """
    if not root.is_running():
        raise psutil.NoSuchProcess(root.pid)
    if not _KERNEL_LISTS_CHILDREN:
        return root.children(recursive=True)
    family = [root]
    for parent in family:  # grows on the way
        if parent.is_running():  # and its number is not another's
            family += _listed_children(parent.pid)
    return family[1:]


def _listed_children(pid: int) -> Iterator[psutil.Process]:
    """What one process has started and still runs; whoever ends meanwhile is passed over."""
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are enough
            with suppress(OSError):
                for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                    with suppress(psutil.Error):
                        yield psutil.Process(int(child))


def _spawn(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the program. Its place in a session of its own keeps the terminal's Ctrl-C from it."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":  # never run there
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        return subprocess.Popen(
            # -P: a folder named `app` where the server was started must not be taken for ours.
            [sys.executable, "-P", "-m", "app.engines.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, "PYTHONPATH": path},
            **apart,
        )
    except OSError as exc:
        raise EngineUnavailable(f"no process could be started for the engine: {exc}") from exc
