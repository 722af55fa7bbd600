"""The program of an engine's process: `python -m app.engines.child`, started by EngineProcess.

It holds one engine and makes one picture at a time. It never outlives the server: when the pipe
from the server ends, for whatever reason, so does this process, in the middle of a run too.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

from app.engines import (
    CATEGORIES,
    Caution,
    Cost,
    Engine,
    EngineSpec,
    RunContext,
    TryOnRequest,
    Weight,
    codecs,
    guard,
    loading,
)
from app.engines import frames as say
from app.errors import EngineError, EngineUnavailable, FailureCode, RunCancelled, TryOnError

if TYPE_CHECKING:
    from app.engines import Rgb
    from app.engines.preflight import Preflight

_WATCHDOG_S = 5.0
"""After the deadline. The server kills a late run long before this; see `_watchdog`."""

_LOOKS_S = 0.05
"""How often a run that waits for its checkpoint looks whether it was cancelled."""

_RESTS_S = 2.0
"""Without a run for so long, memory goes back to the system; after each run it would be missed."""

_LARGE_BYTES = 2 * 2**20
"""Of both files: before such a run memory goes back, too. What the last one has left in pieces is
of no use to arrays as large as these, and would stand beside them."""

# What an engine says ends up in rows and logs: as much as the row's column takes, and a screenful.
_STAGE_CHARACTERS = 64
_TEXT_CHARACTERS = 500
_LOG_CHARACTERS = 4000
_CAUTIONS = 20
_DETAILS = 20
_CHECKPOINT_BYTES = 8192


def main() -> None:
    inbox, outbox = _take_pipes()
    _settle()
    hello = say.read(inbox)
    if not isinstance(hello, say.Hello):
        return
    server = _Server(inbox, outbox, hello)
    threading.Thread(target=server.listen, daemon=True).start()
    loaded = _load(hello.spec, server)
    while loaded is not None:
        server.tell(_answer(loaded, server.next_run(), server))


class _Server:
    """The server, as seen from here. `cancelled` is about the run in hand."""

    def __init__(self, inbox: BinaryIO, outbox: BinaryIO, hello: say.Hello) -> None:
        self._inbox, self._outbox = inbox, outbox
        self.folder = hello.folder
        self.scratch = hello.scratch
        self._lock = threading.Lock()  # engines report progress from their own threads
        self._runs: SimpleQueue[say.Run] = SimpleQueue()
        self._kept: SimpleQueue[int] = SimpleQueue()
        self._checkpoints = count(1)
        self.cancelled = threading.Event()
        self.for_good = False

    def tell(self, frame: say.FromChild) -> None:
        packed = say.pack(frame)
        # The server has gone: `listen` knows it too, and ends us.
        with self._lock, suppress(BrokenPipeError):
            say.write(self._outbox, packed)

    def next_run(self) -> say.Run:
        try:
            return self._runs.get(timeout=_RESTS_S)
        except Empty:
            _hand_memory_back()
            return self._runs.get()

    def listen(self) -> None:
        """Take what the server says, until it has gone."""
        while (frame := say.read(self._inbox)) is not None:
            match frame:
                case say.Cancel(for_good):
                    self.for_good = for_good
                    self.cancelled.set()
                case say.Kept(number):
                    self._kept.put(number)
                case say.Run():
                    # Here and not where the run begins: a Cancel for the last run may have come
                    # after its end, one for this run may come before its beginning.
                    self.cancelled.clear()
                    self.for_good = False
                    self._runs.put(frame)
            del frame  # a waiting thread holds no picture
        _end(self.folder)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise RunCancelled(for_good=self.for_good)

    def keep(self, state: Mapping[str, Any]) -> None:
        """Have a checkpoint kept, and wait until it is."""
        self.check()
        number = next(self._checkpoints)
        self.tell(say.Checkpoint(number, _checkpoint(state)))
        while True:
            with suppress(Empty):
                if self._kept.get(timeout=_LOOKS_S) == number:
                    return
            self.check()


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes to ourselves: what an engine prints goes to stderr, what it reads is empty.

    os.dup makes descriptors that programs started by the engine do not inherit.
    """
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    cast("Any", sys.stdout).reconfigure(line_buffering=True)
    return inbox, outbox


def _settle() -> None:
    """Be a good child: leave signals to the server, no photo in a core dump, die before it."""
    faulthandler.enable()  # prints frames only, never arguments
    # Ctrl-C and service managers may signal every process; the server decides when we end, so that
    # it can finish the runs in hand.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        # 1, not 0: a limit of 0 stops files alone, 1 also stops the pipe to a crash collector
        # (Linux, fs/coredump.c).
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (1 if hard else 0, hard))
    if sys.platform == "linux":
        with suppress(OSError):  # when the kernel runs out of memory: this process, not the server
            Path("/proc/self/oom_score_adj").write_text("500")


def _hand_memory_back() -> None:
    """Have glibc return what was freed; elsewhere that happens by itself, or not at all.

    Of 303 MB after a picture, an engine that works in arrays kept 194, in 20 ms.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _end(folder: str) -> NoReturn:
    """End this process and all that the engine started, at once, with the photos of the run."""
    shutil.rmtree(folder, ignore_errors=True)
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


@dataclass(frozen=True)
class _Loaded:
    """An engine that is ready, and the step before it where it needs one."""

    engine: Engine
    preflight: Preflight | None


def _load(spec: EngineSpec, server: _Server) -> _Loaded | None:
    gate = guard.Gate(_tell_refused, folder=Path(server.folder), uses=spec.uses)
    gate.arm()
    try:
        # Printed whole: there is no photo yet that a traceback could show.
        with loading.explained(spec, on_broken=traceback.print_exception):
            engine = loading.make(spec, gate)
            preflight = _preflight(engine, spec.preflight)
            engine.load()
    except TryOnError as exc:
        server.tell(say.CannotLoad(_text(exc.detail)))
        return None
    server.tell(say.Ready())
    return _Loaded(engine, preflight)


def _preflight(engine: Engine, folder: Path | None) -> Preflight | None:
    if not engine.info.needs:
        return None
    if folder is None:
        raise EngineUnavailable("there is no folder of model files for the pre-flight step")
    from app.engines.preflight import Preflight  # noqa: PLC0415 - heavy, and few need it

    return Preflight(engine.info.needs, folder)


def _tell_refused(said: str) -> None:
    sys.stderr.write(f"engine: {said}\n")


def _answer(loaded: _Loaded, order: say.Run, server: _Server) -> say.FromChild:
    try:
        with _watchdog(order.timeout_s + _WATCHDOG_S), _temporary_files_in(server.scratch):
            return _run(loaded, order, server)
    except RunCancelled:
        return say.Cancelled()
    except EngineError as exc:
        return say.Failed(
            exc.failure,
            _text(exc.detail),
            _text(exc.log, _LOG_CHARACTERS),
            bool(exc.retryable),
            None if exc.stage is None else _text(exc.stage, _STAGE_CHARACTERS),
        )
    except MemoryError as exc:
        return say.Failed(FailureCode.ENGINE_OUT_OF_MEMORY, log=_frames(exc), broken=True)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a process edge
        return say.Failed(FailureCode.ENGINE_ERROR, log=_frames(exc), broken=True)


def _run(loaded: _Loaded, order: say.Run, server: _Server) -> say.Output:
    deadline = time.monotonic() + order.timeout_s

    def check() -> None:
        server.check()
        if time.monotonic() >= deadline:
            raise EngineError(FailureCode.ENGINE_TIMEOUT)

    if len(order.job.person) + len(order.job.garment) > _LARGE_BYTES:
        _hand_memory_back()
    begun = time.perf_counter()
    request = _decode(order.job, loaded.engine.info.max_side)
    decoded = time.perf_counter()
    context = RunContext(
        progress=_progress_to(server),
        check=check,
        deadline=deadline,
        scratch=Path(server.scratch),
        job_key=order.job.key,
        checkpoint=server.keep,
        resume=order.job.resume,
    )
    if loaded.preflight is not None:
        context.progress("preflight", None)
        request = loaded.preflight.prepare(request)
    prepared = time.perf_counter()
    engine = loaded.engine
    result = engine.run(request, context)
    made = time.perf_counter()
    data, width, height = codecs.encode(result, order.job.output_format)
    return say.Output(
        data,
        width,
        height,
        seed=int(result.seed),
        quality=_part(result.quality),
        timings_s={
            "decode": decoded - begun,
            **({"preflight": prepared - decoded} if loaded.preflight else {}),
            **{_text(stage): float(seconds) for stage, seconds in result.timings_s.items()},
            "encode": time.perf_counter() - made,
        },
        cautions=tuple(
            Caution(_text(one.code, _STAGE_CHARACTERS), _text(one.message))
            for one in result.warnings[:_CAUTIONS]
        ),
        category=result.category if result.category in CATEGORIES else None,
        cost=result.cost and Cost(Decimal(result.cost.amount), _text(result.cost.unit, 16)),
        details={
            _text(name, _STAGE_CHARACTERS): _text(said)
            for name, said in islice(result.details.items(), _DETAILS)
        },
        maker=say.Maker(
            engine.info.name,
            engine.info.version,
            {
                weight.file: weight.sha256
                for weight in (*engine.info.weights, *_looked_with(loaded))
            },
        ),
    )


def _looked_with(loaded: _Loaded) -> tuple[Weight, ...]:
    return () if loaded.preflight is None else loaded.preflight.weights


def _checkpoint(state: Mapping[str, Any]) -> str:
    """What a row can keep. Raises TypeError, ValueError: an engine's mistake."""
    text = json.dumps(dict(state), allow_nan=False)
    if len(text) > _CHECKPOINT_BYTES:
        raise ValueError(f"a checkpoint of {len(text)} bytes; at most {_CHECKPOINT_BYTES}")
    return text


def _progress_to(server: _Server) -> Callable[[str, float | None], None]:
    """Pass progress on, by whole per cents: an engine may report each of its thousand steps."""
    last: tuple[str, int | None] | None = None

    def progress(stage: str, fraction: float | None = None) -> None:
        nonlocal last
        name, part = _text(stage, _STAGE_CHARACTERS), _part(fraction)
        now = (name, None if part is None else round(100 * part))
        if now != last:
            last = now
            server.tell(say.Progress(name, part))

    return progress


def _text(said: object, most: int = _TEXT_CHARACTERS) -> str:
    """What PostgreSQL can store: no NUL, no half of a surrogate pair, and not without end."""
    return str(said).replace("\0", "").encode("utf-8", "replace").decode()[:most]


def _part(said: float | None) -> float | None:
    """A fraction, 0–1; None where none was given, NaN included."""
    if said is None or math.isnan(said):
        return None
    return min(1.0, max(0.0, float(said)))


def _decode(job: say.Job, max_side: int | None = None) -> TryOnRequest:
    decode = _kept if job.keep_garment else codecs.decode
    garment = decode(job.garment, max_side=max_side)
    return TryOnRequest(
        person=codecs.decode(job.person, max_side=max_side),
        garment=garment.copy() if job.keep_garment else garment,
        category=cast("Any", job.category),
        garment_photo_type=cast("Any", job.garment_photo_type),
        mode=cast("Any", job.mode),
        seed=job.seed,
    )


@lru_cache(maxsize=4)
def _kept(data: bytes, *, max_side: int | None) -> Rgb:
    """A garment that is likely to be asked for again: 13 ms to decode as WebP, 0.4 ms to copy."""
    return codecs.decode(data, max_side=max_side)


def _frames(exc: BaseException) -> str:
    """Where it happened and the type, but not what it says: a message may hold a file's name."""
    where = " < ".join(
        f"{Path(frame.f_code.co_filename).name}:{line} {frame.f_code.co_qualname}"
        for frame, line in reversed(list(traceback.walk_tb(exc.__traceback__))[-12:])
    )
    return f"{type(exc).__name__} in {where}"


@contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    """End this process when a run that holds the interpreter's lock has lost its server.

    `listen` cannot run then; faulthandler's clock is a C thread that needs no lock.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    """Temporary files of the engine and of what it starts go when the run's folder goes."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = None
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


if __name__ == "__main__":
    main()
