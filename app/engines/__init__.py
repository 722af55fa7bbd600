"""What an engine is: the protocol, its values, and how one is found by name.

A module that holds an engine must import cheaply: heavy libraries belong in `load`, because the
server imports the module only to read `info`; the engine itself lives in a child process
(`engines/process.py`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from app.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rgb: TypeAlias = NDArray[np.uint8]
    """(h, w, 3) uint8, sRGB."""

Category = Literal["tops", "bottoms", "one-pieces"]
PhotoType = Literal["flat-lay", "model"]
Mode = Literal["fast", "balanced", "quality"]

CATEGORIES: tuple[Category, ...] = ("tops", "bottoms", "one-pieces")
PHOTO_TYPES: tuple[PhotoType, ...] = ("flat-lay", "model")
MODES: tuple[Mode, ...] = ("fast", "balanced", "quality")


@dataclass(frozen=True)
class Licence:
    """subject: the code, or the name of a weight file. licence: its SPDX name."""

    subject: str
    licence: str


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

    min_side: the shortest side that a picture must have, pixels.
    egress: where photos are sent to; None when they stay on this machine.
    concurrency: how many runs one process can do at once.
    """

    name: str
    version: str
    title: str
    licences: tuple[Licence, ...]
    categories: tuple[Category, ...] = CATEGORIES
    photo_types: tuple[PhotoType, ...] = PHOTO_TYPES
    modes: tuple[Mode, ...] = MODES
    min_side: int = 64
    egress: Egress | None = None
    concurrency: int = 1


@dataclass(frozen=True)
class TryOnRequest:
    """person, garment: (h, w, 3) uint8, sRGB. `auto` leaves the choice to the engine."""

    person: Rgb
    garment: Rgb
    category: Category | Literal["auto"] = "auto"
    garment_photo_type: PhotoType | Literal["auto"] = "auto"
    mode: Mode = "balanced"
    seed: int = 0


@dataclass(frozen=True)
class RunContext:
    """What a run may use of its surroundings.

    progress: tells the stage, in at most 64 characters, and, where known, the fraction done, 0–1.
    check: raises RunCancelled or EngineError(engine_timeout); call it between stages.
    deadline: on time.monotonic(); the process is ended soon after it.
    scratch: an empty folder, removed after the run.
    """

    progress: Callable[[str, float | None], None]
    check: Callable[[], None]
    deadline: float
    scratch: Path


@dataclass(frozen=True)
class Caution:
    """Something the shopper should know about a delivered picture."""

    code: str
    message: str


@dataclass(frozen=True)
class TryOnResult:
    """picture: (h, w, 3) uint8, sRGB. quality: 0–1, or None. timings_s: seconds by stage.

    category: what the garment was taken for, where the engine knows.
    """

    picture: Rgb
    seed: int
    quality: float | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[Caution, ...] = ()
    category: Category | None = None


class Engine(Protocol):
    @property
    def info(self) -> EngineInfo: ...

    def load(self) -> None:
        """Make ready, once per process: weights, sessions. Raises EngineUnavailable."""

    def run(self, request: TryOnRequest, context: RunContext) -> TryOnResult:
        """Make one picture. Raises EngineError with the reason why not."""


@dataclass(frozen=True)
class EngineSpec:
    """Where an engine is found and what its constructor is given; travels to the child process."""

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Engine:
        """Construct the engine, without loading it."""
        module_name, _, attribute = self.target.partition(":")
        try:
            factory = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as exc:
            raise SettingsError(
                f'engine "{self.name}" cannot be imported from {self.target}: {exc}'
            ) from exc
        return cast("Engine", factory(**self.options))


BUILT_IN = MappingProxyType(
    {"warp": "app.engines.warp:WarpEngine", "mock": "app.engines.mock:MockEngine"}
)
"""Engines of this package, by name; imported only when asked for."""


def find(name: str, options: Mapping[str, Any] | None = None) -> EngineSpec:
    """The engine of this name: a built-in one, or `package.module:Class`.

    Raises SettingsError, with the names that there are.
    """
    target = BUILT_IN.get(name) or (name if ":" in name else None)
    if target is None:
        raise SettingsError(
            f'there is no engine "{name}"; there are {", ".join(BUILT_IN)}, '
            "and any other as package.module:Class"
        )
    return EngineSpec(name, target, dict(options or {}))
