"""Engines that break the contract, each in one way; `Sound` breaks nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from app.engines import EngineInfo, Licence, RunContext, TryOnRequest, TryOnResult
from app.errors import RunCancelled


class Sound:
    """Colours the middle of the photo by the garment, below the face."""

    info = EngineInfo("sound", "1", "Sound", (Licence("sound", "MIT"),), photo_types=("flat-lay",))

    def load(self) -> None:
        pass

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        context.progress("colour", 0.0)
        for _ in range(5):
            context.check()
            time.sleep(0.01)
        picture = request.person.copy()
        height, width = picture.shape[:2]
        part = picture[height // 2 : height - height // 10, width // 4 : width - width // 4]
        part[:] = part // 2 + request.garment.mean((0, 1)).astype("uint8") // 2 + 20
        return TryOnResult(picture, seed=request.seed)


class Dices(Sound):
    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        result = super().run(request, context)
        result.picture[-1, -1] = list(os.urandom(3))
        return result


class Deaf(Sound):
    """Goes on when it was cancelled."""

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        with suppress(RunCancelled):
            for _ in range(5):
                context.check()
        return super().run(request, RunContext(context.progress, lambda: None, 0, context.scratch))


class Hoards(Sound):
    def load(self) -> None:
        self.kept: list[bytes] = []

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        self.kept.append(b"\1" * (32 << 20))
        return super().run(request, context)


class Litters(Sound):
    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        Path(os.environ["LITTER_OF_TESTS"]).write_bytes(b"a photo")
        return super().run(request, context)


class Telephones(Sound):
    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        with suppress(OSError):
            socket.create_connection(("192.0.2.1", 9), timeout=1)
        return super().run(request, context)


class Repaints(Sound):
    """The face, too."""

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        result = super().run(request, context)
        return TryOnResult(255 - result.picture, seed=request.seed)


class Breeds(Sound):
    """Starts a process with each run, and forgets it."""

    info = replace(Sound.info, uses=(Path(sys.executable).name,))

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        return super().run(request, context)


class Shells(Sound):
    """Has another program tell the time."""

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        with suppress(OSError):
            subprocess.run(["date"], check=False, stdout=subprocess.DEVNULL)
        return super().run(request, context)


class Stumbles(Sound):
    """Raises what is no refusal where the photo is one colour."""

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        if request.person.std() < 1:
            raise ZeroDivisionError("nobody there")
        return super().run(request, context)
