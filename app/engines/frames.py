"""What the server and an engine's process say to each other: pickled values, each after its length.

Pickle, because both ends are this program at one version, and an engine's options may be any plain
value. Nothing here imports more than the standard library: the child loads it before anything else.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, TypeAlias, cast

from app.engines import Category, Caution, Cost, EngineSpec
from app.errors import FailureCode

OutputFormat = Literal["jpeg", "png", "webp"]


@dataclass(frozen=True)
class Job:
    """What to make. person, garment: encoded JPEG, PNG or WebP; decoded by the child alone.

    keep_garment: it is a catalogue's, nobody's own, and may stay decoded for the next run.
    key, resume: `job_key` and `resume` of RunContext.
    """

    person: bytes
    garment: bytes
    category: str = "auto"
    garment_photo_type: str = "auto"
    mode: str = "balanced"
    seed: int = 0
    output_format: OutputFormat = "jpeg"
    keep_garment: bool = False
    key: str = ""
    resume: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Maker:
    """What has made a picture. weights: the digests (sha256) of its files, by name."""

    engine: str
    version: str
    weights: Mapping[str, str]


@dataclass(frozen=True)
class Output:
    """data: the encoded picture, without metadata. The rest as in TryOnResult."""

    data: bytes
    width: int
    height: int
    seed: int
    quality: float | None
    timings_s: Mapping[str, float]
    cautions: tuple[Caution, ...]
    category: Category | None = None
    cost: Cost | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    maker: Maker | None = None


@dataclass(frozen=True)
class Hello:
    """The first frame. folder: removed when we are gone; scratch: the part of it for the engine."""

    spec: EngineSpec
    folder: str
    scratch: str


@dataclass(frozen=True)
class Run:
    job: Job
    timeout_s: float


@dataclass(frozen=True)
class Cancel:
    """Stop the run in hand at its next check(). for_good: nobody will take it up again."""

    for_good: bool = False


@dataclass(frozen=True)
class Kept:
    """The checkpoint with this number is durable."""

    number: int


@dataclass(frozen=True)
class Ready:
    """The engine is loaded."""


@dataclass(frozen=True)
class CannotLoad:
    reason: str


@dataclass(frozen=True)
class Progress:
    stage: str
    fraction: float | None


@dataclass(frozen=True)
class Checkpoint:
    """To be kept for the next attempt; the run waits for Kept. state: as JSON."""

    number: int
    state: str


@dataclass(frozen=True)
class Cancelled:
    """The run stopped because it was asked to."""


@dataclass(frozen=True)
class Failed:
    """An EngineError, by its parts. broken: the child is in no known state and must be replaced."""

    code: FailureCode
    detail: str = ""
    log: str = ""
    retryable: bool = False
    stage: str | None = None
    broken: bool = False


@dataclass(frozen=True)
class Gone:
    """Said by nobody: the pipe from the child has ended."""


ToChild: TypeAlias = Hello | Run | Cancel | Kept
FromChild: TypeAlias = (
    Ready | CannotLoad | Progress | Checkpoint | Output | Cancelled | Failed | Gone
)

_LENGTH = struct.Struct("!Q")


def pack(frame: ToChild | FromChild) -> bytes:
    body = pickle.dumps(frame, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def write(pipe: BinaryIO, packed: bytes) -> None:
    pipe.write(packed)
    pipe.flush()


def read(pipe: BinaryIO) -> ToChild | FromChild | None:
    """The next frame, or None when the other end has gone, even in the middle of one."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = pipe.read(length)
    if len(body) < length:
        return None
    return cast("ToChild | FromChild", pickle.loads(body))  # noqa: S301 - our own other half
