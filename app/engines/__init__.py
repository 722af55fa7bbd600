"""What an engine is: the protocol and its values.

A module that holds an engine must import cheaply: heavy libraries belong in `load`, because the
server imports the module only to read `info`; the engine itself lives in a child process
(`engines/process.py`). How one is found: `engines/registry.py`. For authors: docs/engines.md.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from app.errors import EngineUnavailable, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]
    Rgb: TypeAlias = NDArray[np.uint8]
    """(h, w, 3) uint8, sRGB."""

Category = Literal["tops", "bottoms", "one-pieces"]
PhotoType = Literal["flat-lay", "model"]
Mode = Literal["fast", "balanced", "quality"]

Need = Literal["person", "pose", "mask", "category"]

CATEGORIES: tuple[Category, ...] = ("tops", "bottoms", "one-pieces")
PHOTO_TYPES: tuple[PhotoType, ...] = ("flat-lay", "model")
MODES: tuple[Mode, ...] = ("fast", "balanced", "quality")
NEEDS: tuple[Need, ...] = ("person", "pose", "mask", "category")


@dataclass(frozen=True)
class Licence:
    """subject: the code, or the name of a weight file. licence: its SPDX name.

    commercial: whether it allows commercial use; None: as its SPDX name says (`licences.py`).
    """

    subject: str
    licence: str
    commercial: bool | None = None


@dataclass(frozen=True)
class Weight:
    """One file of weights. sha256: of the file, in hexadecimal. The rest as in Licence."""

    file: str
    sha256: str
    licence: str
    commercial: bool | None = None

    def found_in(self, folder: Path) -> Path:
        """Where it lies, for `load`: there, and the very file. Two seconds for each gigabyte.

        Raises EngineUnavailable, with what the operator has to do.
        """
        found = folder / self.file
        try:
            with found.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as exc:
            raise EngineUnavailable(f"the weights {found} cannot be read: {exc.strerror}") from exc
        if digest != self.sha256:
            raise EngineUnavailable(
                f"the weights {found} are not those that the engine was made for: their SHA-256 is "
                f"{digest}, not {self.sha256}"
            )
        return found


@dataclass(frozen=True)
class Egress:
    """Where an engine sends photos. host: to whom. purpose: what for, in a few words.

    Both are shown to clients and shoppers.
    """

    host: str
    purpose: str


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says of itself.

    name: short, as clients write it: a–z, 0–9, `.`, `_`, `-`.
    licences: of its code and of what it brings along, the weights apart. weights: its files.
    min_side: the shortest side that a picture must have, pixels.
    max_side: the longest that it makes use of, pixels; larger pictures are shrunk to it while they
        are decoded. None: it gets them as they are.
    egress: where photos are sent to; None when they stay on this machine.
    needs: what the pre-flight step makes for each request: `person` (checks alone), `pose`, `mask`,
        `category` (never `auto`). See TryOnRequest.
    deterministic: the same pictures, options and seed give the same picture.
    uses: what else on this machine it needs: programs that it starts, by name (`gcc`; `*` for any),
        sockets that it connects to, by path. What they do, no guard sees.
    concurrency: how many processes of it a worker may run at once; None: one a slot.
    memory_mb, timeout_s: what its process, and one run, should be allowed; None: as for all.
    """

    name: str
    version: str
    title: str
    licences: tuple[Licence, ...]
    weights: tuple[Weight, ...] = ()
    categories: tuple[Category, ...] = CATEGORIES
    photo_types: tuple[PhotoType, ...] = PHOTO_TYPES
    modes: tuple[Mode, ...] = MODES
    min_side: int = 64
    max_side: int | None = None
    egress: Egress | None = None
    needs: tuple[Need, ...] = ()
    deterministic: bool = True
    uses: tuple[str, ...] = ()
    concurrency: int | None = None
    memory_mb: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class Pose:
    """Where the joints of the one person are.

    points: (33, 2) float32, x before y, pixels of `person`; in BlazePose's order (0 the nose, 11
        and 12 the person's left and right shoulder, 23 and 24 the hips). Points outside the frame
        are extrapolated.
    presence: (33,) float32, 0–1, that a point lies within the frame. visibility: that it is not
        hidden.
    """

    points: Floats
    presence: Floats
    visibility: Floats


@dataclass(frozen=True)
class TryOnRequest:
    """person, garment: (h, w, 3) uint8, sRGB. `auto` leaves the choice to the engine.

    pose, mask: there where `info.needs` asks for them. mask: (h, w) uint8 of the size of `person`,
    255 where the garment may come, 0 on what must stay: face, hair, hands, ground.
    """

    person: Rgb
    garment: Rgb
    category: Category | Literal["auto"] = "auto"
    garment_photo_type: PhotoType | Literal["auto"] = "auto"
    mode: Mode = "balanced"
    seed: int = 0
    pose: Pose | None = None
    mask: NDArray[np.uint8] | None = None


def _keep_nothing(_: Mapping[str, Any]) -> None:
    """Where nobody comes after us, there is nothing to remember."""


@dataclass(frozen=True)
class RunContext:
    """What a run may use of its surroundings.

    progress: tells the stage, in at most 64 characters, and, where known, the fraction done, 0–1.
    check: raises RunCancelled or EngineError(engine_timeout); call it between stages, and at least
        every half second.
    deadline: on time.monotonic(); the process is ended soon after it.
    scratch: an empty folder, removed after the run.
    job_key: the same in all attempts at one session, and of no other; it tells nothing of it.
    checkpoint: remembers a few plain values, durably when it returns, for the next attempt, should
        this one be cut off. Raises RunCancelled where this attempt is out of date.
    resume: what the last attempt has remembered; None for the first.
    """

    progress: Callable[[str, float | None], None]
    check: Callable[[], None]
    deadline: float
    scratch: Path
    job_key: str = ""
    checkpoint: Callable[[Mapping[str, Any]], None] = _keep_nothing
    resume: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Caution:
    """Something the shopper should know about a delivered picture."""

    code: str
    message: str


@dataclass(frozen=True)
class Cost:
    """What somebody has charged for a picture. unit: a currency (ISO 4217), or `credits`."""

    amount: Decimal
    unit: str


@dataclass(frozen=True)
class TryOnResult:
    """picture: (h, w, 3) uint8, sRGB. quality: 0–1, or None. timings_s: seconds by stage.

    category: what the garment was taken for, where the engine knows.
    details: what else one must know to tell how it was made: the provider's model, its id of the
        run; short texts, shown to the session's owner.
    """

    picture: Rgb
    seed: int
    quality: float | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[Caution, ...] = ()
    category: Category | None = None
    cost: Cost | None = None
    details: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    @property
    def info(self) -> EngineInfo: ...

    def load(self) -> None:
        """Make ready, once a process: weights, sessions, a first run. Raises EngineUnavailable."""

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        """Make one picture. Raises EngineError with the reason why not."""


@dataclass(frozen=True)
class EngineSpec:
    """Where an engine is found and what it is given; travels to the child process.

    options: its constructor's. secrets: variables of the environment that it alone may read.
    devices: `cpu`, `cuda:1` …, taken in turn by its processes; empty: whatever there is.
    preflight: the folder of the pre-flight step's model files.
    uses: beside what its info says.
    concurrency, memory_mb, timeout_s: as in EngineInfo, where the operator has decided.
    steps: of a chain: its engines, in their order.
    abroad: it sends photos elsewhere, and what it has begun there takes a while to end.
    """

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    preflight: Path | None = None
    concurrency: int | None = None
    memory_mb: int | None = None
    timeout_s: float | None = None
    abroad: bool = False
    steps: tuple[tuple[EngineSpec, EngineInfo], ...] = ()

    def make(self) -> Engine:
        """Construct the engine, without loading it. Raises SettingsError."""
        if self.steps:
            names = ", ".join(info.name for _, info in self.steps)
            raise SettingsError(f'"{self.name}" is a chain: try its engines one by one ({names})')
        module_name, _, attribute = self.target.partition(":")
        try:
            factory = getattr(importlib.import_module(module_name), attribute)
            return cast("Engine", factory(**self.options))
        except SettingsError:
            raise
        except (Exception, SystemExit) as exc:  # an edge: what is imported is not ours
            raise SettingsError(
                f'engine "{self.name}" cannot be made from {self.target}: '
                f"{type(exc).__name__}: {exc}"
            ) from exc
