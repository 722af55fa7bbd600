"""Engines that behave as the tests ask; they run in an engine's process, found by dotted path."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from app.engines import (
    CATEGORIES,
    Caution,
    Cost,
    Egress,
    EngineInfo,
    Licence,
    RunContext,
    TryOnRequest,
    TryOnResult,
)
from app.errors import EngineError, EngineUnavailable, RunCancelled


class Acts:
    """Gives the photo of the person back, after the act that the request's category names."""

    info = EngineInfo(
        "acts",
        "1",
        "Acts",
        (Licence("acts", "Apache-2.0"),),
        max_side=4096,
        uses=(Path(sys.executable).name,),
    )

    def load(self) -> None:
        sys.stdout.write("loading\n")

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        context.check()
        result = TryOnResult(
            request.person,
            seed=request.seed,
            quality=0.5,
            timings_s={"act": 0.25},
            warnings=(Caution("echo", "This is the photo itself."),),
        )
        if request.category in ("auto", *CATEGORIES):
            return result
        instead = getattr(self, request.category)(context)
        if isinstance(instead, TryOnResult):
            return instead
        return result if instead is None else TryOnResult(instead, seed=0)

    def print_and_read(self, context: RunContext) -> None:
        sys.stdout.write("to stdout\n")
        os.write(1, b"to descriptor 1\n")
        subprocess.run([sys.executable, "-c", "print('from a program')"], check=True)
        assert not sys.stdin.read()

    def report_each_step(self, context: RunContext) -> None:
        for step in range(1000):
            context.progress("steps", step / 1000)
        context.progress("last", None)

    def wait(self, context: RunContext) -> NoReturn:
        context.progress("waiting", None)
        while True:
            context.check()
            time.sleep(0.01)

    def hang(self, context: RunContext) -> NoReturn:
        context.progress("hanging", None)
        while True:
            time.sleep(0.01)

    def start_programs_and_hang(self, context: RunContext) -> None:
        for apart in (False, True):
            sleeper = [sys.executable, "-c", "import time; time.sleep(100)"]
            context.progress(str(subprocess.Popen(sleeper, start_new_session=apart).pid), None)
        self.hang(context)

    def fork_and_die(self, context: RunContext) -> None:
        """The fork holds our pipes open."""
        pid = os.fork()
        if pid == 0:
            time.sleep(100)
        context.progress(str(pid), None)
        os._exit(3)

    def refuse(self, context: RunContext) -> None:
        raise EngineError("no_person", "Nobody is there.", log="0 found", retryable=True, stage="x")

    def overdo(self, context: RunContext) -> TryOnResult:
        import numpy as np  # noqa: PLC0415

        for fraction in (1.0000001, -0.1, float("nan"), np.float32(0.5)):
            context.progress("s" * 100 + "\0", float(fraction))
        return TryOnResult(
            np.zeros((4, 4, 3), np.uint8),
            seed=0,
            quality=float("nan"),
            warnings=(Caution("c\0" * 100, "a\0b\ud800" + "c" * 10_000),) * 100,
        )

    def boast(self, context: RunContext) -> TryOnResult:
        import numpy as np  # noqa: PLC0415

        return TryOnResult(np.zeros((4, 4, 3), np.uint8), seed=0, quality=1.01)

    def refuse_at_length(self, context: RunContext) -> None:
        raise EngineError("no_person", "No\0body" * 1000, log="\ud800", stage="\0" + "x" * 100)

    def warn_in_words(self, context: RunContext) -> TryOnResult:
        import numpy as np  # noqa: PLC0415

        return TryOnResult(np.zeros((4, 4, 3), np.uint8), seed=0, warnings=("words",))  # type: ignore[arg-type]

    def tell_environment(self, context: RunContext) -> None:
        for name in os.environ:
            context.progress(name, None)

    def tell_caches(self, context: RunContext) -> None:
        for name in ("HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE", "TRYONAI_DEVICE"):
            context.progress(f"{name}={os.environ.get(name)}"[-64:], None)

    def call_abroad(self, context: RunContext) -> None:
        try:
            socket.create_connection(("192.0.2.1", 9), timeout=1)
        except PermissionError as exc:
            context.progress(str(exc)[:64], None)

    def start_others(self, context: RunContext) -> None:
        """Each way there is, with what might be a file's name."""
        python = [sys.executable, "-c", ""]
        for start in (
            lambda: subprocess.run(["/usr/bin/env", "a photo.jpg"], check=False),
            lambda: subprocess.run("echo 'a photo.jpg'", shell=True, check=False),
            lambda: os.system("cat 'a photo.jpg'"),
            lambda: os.posix_spawn("/bin/ls", ["ls", "a photo.jpg"], {}),
            lambda: os.execv("/bin/cp", ["cp", "a photo.jpg"]),
            lambda: subprocess.run(python, check=True),  # as info.uses says
            platform.processor,  # asks uname
        ):
            try:
                start()
            except PermissionError as exc:
                context.progress(str(exc)[:64], None)

    def call_other_sockets(self, context: RunContext) -> None:
        with tempfile.TemporaryDirectory() as folder:  # as multiprocessing has them
            address = f"{folder}/socket"
            with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as ours:
                listener.bind(address)
                listener.listen()
                ours.connect(address)
        for other, place in (
            (socket.socket(socket.AF_UNIX), "/run/docker.sock"),
            (socket.socket(socket.AF_UNIX), "\0a-bus"),
            (socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), (0, 0)),
        ):
            try:
                with other:
                    other.connect(place)
            except PermissionError as exc:
                context.progress(str(exc)[:64], None)

    def call_itself(self, context: RunContext) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            socket.create_connection(listener.getsockname(), timeout=5).close()

    def go_on(self, context: RunContext) -> TryOnResult:
        """Tell what the last attempt left, and leave one more."""
        import numpy as np  # noqa: PLC0415

        step = (context.resume or {}).get("step", 0) + 1
        context.checkpoint({"step": step})
        return TryOnResult(
            np.zeros((4, 4, 3), np.uint8),
            seed=0,
            cost=Cost(Decimal("0.075"), "USD"),
            details={"step": str(step), "key": context.job_key},
        )

    def keep_and_wait(self, context: RunContext) -> None:
        context.checkpoint({"id": "a provider's job"})
        self.wait(context)

    def keep_nonsense(self, context: RunContext) -> None:
        context.checkpoint({"step": object()})

    def tell_of_a_cancel(self, context: RunContext) -> None:
        context.progress("waiting", None)
        try:
            while True:
                context.check()
                time.sleep(0.01)
        except RunCancelled as exc:
            context.progress(f"for good: {exc.for_good}", None)
            raise

    def leave_files(self, context: RunContext) -> None:
        assert not list(context.scratch.iterdir())
        (context.scratch / "photo").write_bytes(b"a face")
        folder = Path(tempfile.mkdtemp())
        assert folder.parent == context.scratch
        (folder / "photo").write_bytes(b"a face")
        context.progress("left files", None)

    def leave_files_and_hang(self, context: RunContext) -> None:
        self.leave_files(context)
        self.hang(context)

    def tell_a_secret(self, context: RunContext) -> None:
        raise ValueError("holiday-photo.jpg cannot be read")

    def run_out_of_memory(self, context: RunContext) -> None:
        raise MemoryError

    def scatter(self, context: RunContext) -> None:
        """Free 128 MB below a piece that stays, so that the heap cannot simply be cut off."""
        pieces = [bytearray(b"1") * 65536 for _ in range(2048)]
        self.kept = pieces.pop()
        context.progress("scattered", None)

    def leave(self, context: RunContext) -> None:
        sys.exit("an engine has no business to do this")

    def return_grey(self, context: RunContext) -> Any:
        import numpy as np  # noqa: PLC0415 - heavy; most processes of the tests never come here

        return np.zeros((4, 4), np.uint8)

    def return_floats(self, context: RunContext) -> Any:
        import numpy as np  # noqa: PLC0415

        return np.zeros((4, 4, 3))

    def return_text(self, context: RunContext) -> Any:
        return "a picture"


class Echo(Acts):
    """Says what it was asked for."""

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        asked = (request.category, request.garment_photo_type, request.mode)
        cautions = tuple(Caution("asked", str(one)) for one in asked)
        return TryOnResult(request.person, seed=request.seed, warnings=cautions)


class Sends(Acts):
    """Sends the photo to where a file says, as `host:port`."""

    info = EngineInfo(
        "sends",
        "1",
        "Sends",
        (Licence("sends", "Apache-2.0"),),
        egress=Egress("models.example", "the picture is made there"),
    )

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        host, _, port = Path(os.environ["RECEIVER_OF_TESTS"]).read_text().partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(request.person.tobytes())
        return TryOnResult(request.person, seed=request.seed)


class AtOnce(Acts):
    """Tells how many of its runs there were at once, at the most, by files in a folder."""

    info = EngineInfo("at-once", "2", "At once", (Licence("at-once", "Apache-2.0"),))

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        mine = self._folder / str(os.getpid())
        mine.touch()
        seen = 0
        for _ in range(20):
            seen = max(seen, len(list(self._folder.iterdir())))
            time.sleep(0.005)
        mine.unlink()
        return TryOnResult(request.person, seed=request.seed, details={"at once": str(seen)})


class Leaks(Acts):
    """Keeps 24 MB of each run, and tells in which process it was."""

    info = EngineInfo("leaks", "1", "Leaks", (Licence("leaks", "Apache-2.0"),))

    def load(self) -> None:
        self._kept: list[bytes] = []

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        self._kept.append(b"\1" * (24 << 20))
        for _ in range(20):  # long enough to be looked at
            context.check()
            time.sleep(0.01)
        return TryOnResult(request.person, seed=request.seed, details={"pid": str(os.getpid())})


class Refuses(Acts):
    """Sees nobody."""

    info = EngineInfo("refuses", "1", "Refuses", (Licence("refuses", "Apache-2.0"),))

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        raise EngineError("no_person")


class TopsOnly(Acts):
    info = EngineInfo(
        "tops-only",
        "1",
        "Tops only",
        (Licence("tops-only", "Apache-2.0"),),
        categories=("tops",),
        modes=("balanced",),
    )


class NotInstalled(Acts):
    def load(self) -> None:
        raise EngineUnavailable("the weights are missing; run scripts/fetch_weights.py")


class NeedsACard(Acts):
    def load(self) -> None:
        if os.environ.get("TRYONAI_DEVICE") != "cuda" or os.environ["CUDA_VISIBLE_DEVICES"] != "3":
            raise EngineUnavailable("it sees no card, or another")


class NeedsWeights(Acts):
    def load(self) -> None:
        if not Path(os.environ["WEIGHTS_OF_TESTS"]).exists():
            raise EngineUnavailable("the weights are missing")


class BreaksAtLoad(Acts):
    def load(self) -> None:
        raise OSError("/a/path/of/ours is torn")


class LoadsNoFile(Acts):
    def load(self) -> None:
        Path("no.weights").read_bytes()


class LoadsFromAfar(Acts):
    def load(self) -> None:
        socket.create_connection(("192.0.2.1", 80), timeout=1)


class ConnectsAsItRuns(Acts):
    def run(self, request: TryOnRequest, context: RunContext) -> NoReturn:
        socket.create_connection(("192.0.2.1", 80), timeout=1)
        raise AssertionError("it got out")


class CompilesAtLoad(Acts):
    """As a library does, which tells of what went wrong in its own words."""

    info = EngineInfo("compiles", "1", "Compiles", (Licence("compiles", "Apache-2.0"),))

    def load(self) -> None:
        try:
            subprocess.run(["date"], check=True, stdout=subprocess.DEVNULL)
        except OSError:
            raise RuntimeError("cannot compile") from None


class CompilesWithAnything(CompilesAtLoad):
    info = replace(CompilesAtLoad.info, uses=("*",))


class DiesAtLoad(Acts):
    def load(self) -> None:
        os._exit(7)


class LoadsForEver(Acts):
    def load(self) -> None:
        while True:
            time.sleep(0.01)
