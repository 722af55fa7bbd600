"""The engine `warp`: seconds by mode and stage beside their floors, memory, what stays untouched.

On the rendered people and the catalogue's garments, in the engine's own process.
"""

from __future__ import annotations

import io
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path

import numpy as np
import psutil
from PIL import Image, ImageChops, ImageOps

from app import catalogue
from app.config import load_settings
from app.engines import MODES, EngineSpec
from app.engines.frames import OutputFormat
from app.engines.process import EngineProcess, Job, Output, Watcher
from app.errors import EngineError
from app.runtime import offered_engine
from bench.table import Figure
from tests import people

AT_MOST_S = {"fast": 0.35, "balanced": 0.7}
AT_MOST_MB = 300.0
FIRST_AT_MOST_S = 1.5
MB = 1_000_000
LARGE_SIZES = ((3024, 4032), (4000, 3000), (4330, 5773))
"""Pixels: phones' photos, upright and across, and 25 megapixels, the most that the gate lets in."""
RESTS_S = 4.0
"""By then an idle process has handed back what it can."""

OUTSIDE_THE_RUN = ("decode", "encode")
"""Done by the process around the engine, for every engine the same."""


def measure(_folder: Path, *, quick: bool) -> list[Figure]:
    settings = load_settings()
    spec = offered_engine("warp", settings).spec
    pairs = list(_pairs())
    floors = _floors_s(settings.weights_dir, rounds=5 if quick else 20)
    with _engine(spec) as (engine, process):
        loaded = process.memory_info().rss
        _peak_bytes(process, forget=True)
        some = pairs[:: 4 if quick else 1]
        seen = {mode: _try(engine, process, some, mode) for mode in MODES}
        peak = _peak_bytes(process) - loaded
        between = process.memory_info().rss - loaded
        time.sleep(RESTS_S)
        rested = process.memory_info().rss - loaded
        large = [
            _large(engine, process, pairs, size=size, loaded=loaded, quick=quick)
            for size in LARGE_SIZES
        ]
        changed = _changed(engine, islice(pairs, 8) if quick else pairs)
    first = [_first_picture_s(spec, pairs[0]) for _ in range(2 if quick else 5)]
    return [
        *(_seconds(mode, seen[mode], floors) for mode in ("balanced", "fast", "quality")),
        _memory(peak=peak, between=between, rested=rested, loaded=loaded),
        *large,
        _first(first),
        _untouched(changed),
    ]


@dataclass(frozen=True)
class Pair:
    """person, garment: encoded, as an engine's process is given them."""

    name: str
    person: bytes
    garment: bytes

    def enlarged(self, size: tuple[int, int]) -> Pair:
        return Pair(self.name, _enlarged(self.person, size), _enlarged(self.garment, size))

    def job(self, mode: str = "balanced", output_format: OutputFormat = "jpeg") -> Job:
        return Job(person=self.person, garment=self.garment, mode=mode, output_format=output_format)


def _enlarged(data: bytes, size: tuple[int, int]) -> bytes:
    """The picture in the middle of a larger one, with grain, as a JPEG of a phone's size."""
    with Image.open(io.BytesIO(data)) as image:
        plain = image.convert("RGB")
    ground = plain.getpixel((2, 2))
    large = ImageOps.pad(plain, size, Image.Resampling.BICUBIC, color=ground)  # type: ignore[arg-type]
    grain = Image.merge("RGB", [Image.effect_noise(size, 8.0)] * 3)
    out = io.BytesIO()
    ImageChops.add(large, grain, offset=-128).save(out, "JPEG", quality=92)
    return out.getvalue()


def _pairs() -> Iterator[Pair]:
    for person, garment in product(people.NAMES, catalogue.garments()):
        data = garment.path.read_bytes()
        yield Pair(f"{person} in {garment.id}", people.photo(person), data)


@contextmanager
def _engine(spec: EngineSpec) -> Iterator[tuple[EngineProcess, psutil.Process]]:
    before = set(psutil.Process().children())
    engine = EngineProcess(spec, memory_mb=8192)
    try:
        engine.start()
        (process,) = set(psutil.Process().children()) - before
        yield engine, process
    finally:
        engine.close()


def _run(engine: EngineProcess, job: Job) -> Output:
    return engine.run(job, Watcher(), timeout_s=60)


@dataclass
class _Seen:
    """Of one mode, warm: seconds by run and by stage; what was refused, by its code."""

    seconds: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    stages: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    qualities: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def try_on(self, engine: EngineProcess, process: psutil.Process, pair: Pair, mode: str) -> None:
        began, cpu = time.perf_counter(), _cpu_s(process)
        try:
            made = _run(engine, pair.job(mode))
        except EngineError as exc:
            self.refused[f"{pair.name}: {exc.failure}"] += 1
            return
        self.whole.append(time.perf_counter() - began)
        self.cpu.append(_cpu_s(process) - cpu)
        for stage, taken in made.timings_s.items():
            self.stages[stage].append(taken)
        inside = [s for stage, s in made.timings_s.items() if stage not in OUTSIDE_THE_RUN]
        self.seconds.append(sum(inside))
        if made.quality is not None:
            self.qualities.append(made.quality)


def _try(engine: EngineProcess, process: psutil.Process, pairs: Sequence[Pair], mode: str) -> _Seen:
    seen = _Seen()
    _run(engine, pairs[0].job(mode))  # what the first run of a mode does: buffers, caches
    for pair in pairs:
        seen.try_on(engine, process, pair, mode)
    return seen


def _cpu_s(process: psutil.Process) -> float:
    """User and system time so far, of all its threads; ticks are 10 ms."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _seconds(mode: str, seen: _Seen, floors: dict[str, float]) -> Figure:
    median, floor = statistics.median(seen.seconds), sum(floors.values())
    most = AT_MOST_S.get(mode)
    stages = {
        f"{stage}, ms": 1000 * statistics.median(taken) for stage, taken in seen.stages.items()
    }
    return Figure(
        name=f"one picture of 768×1024, {mode}, warm, median",
        measured=median,
        unit="s",
        floor=floor,
        floor_is="the four networks, decoding both pictures and one resize, each once",
        ratio=median / floor,
        to_reach="" if most is None else f"≤ {most:g} s",
        reached=most is None or median <= most,
        details={
            "what": f"the engine's own work in {len(seen.seconds)} pairs",
            **stages,
            "with decoding, encoding and the way to the process, s": statistics.median(seen.whole),
            "CPU of the process for that, all threads, s": statistics.median(seen.cpu),
            "slowest, s": max(seen.seconds),
            **{f"floor: {name}, ms": 1000 * taken for name, taken in floors.items()},
            "quality, lowest and median": (
                [min(seen.qualities), statistics.median(seen.qualities)] if seen.qualities else "–"
            ),
            "refused": ", ".join(seen.refused) or "none",
        },
    )


def _memory(*, peak: float, between: float, rested: float, loaded: float) -> Figure:
    return Figure(
        name="the engine's process at its peak, above idle, photos of 768×1024",
        measured=peak / MB,
        unit="MB",
        to_reach=f"≤ {AT_MOST_MB:g} MB",
        reached=peak / MB <= AT_MOST_MB,
        details={
            "what": "peak of the resident size over all modes, above that with the models loaded",
            "with the models loaded, MB": loaded / MB,
            "between two runs, above that, MB": between / MB,
            f"{RESTS_S:g} s after the last, above that, MB": rested / MB,
        },
    )


def _large(
    engine: EngineProcess,
    process: psutil.Process,
    pairs: Sequence[Pair],
    *,
    size: tuple[int, int],
    loaded: float,
    quick: bool,
) -> Figure:
    """The same with both pictures of a phone's size; each person in another garment."""
    garments = len(catalogue.garments())
    some = pairs[:: garments + 1][: 2 if quick else None]
    width, height = size
    _peak_bytes(process, forget=True)
    seen: dict[str, _Seen] = {mode: _Seen() for mode in MODES}
    for pair in (pair.enlarged(size) for pair in some):
        for mode in MODES:
            seen[mode].try_on(engine, process, pair, mode)
    peak = _peak_bytes(process) - loaded
    runs = sum(len(one.whole) for one in seen.values())
    return Figure(
        name=f"the same, both pictures of {width}×{height}, {width * height / 1e6:.0f} megapixels",
        measured=peak / MB,
        unit="MB",
        to_reach=f"≤ {AT_MOST_MB:g} MB",
        reached=peak / MB <= AT_MOST_MB and runs > 0,
        details={
            "what": f"peak of {runs} pictures, all modes, after those of 768×1024",
            **{
                f"{mode}, with decoding and encoding, median, s": statistics.median(one.whole)
                for mode, one in seen.items()
                if one.whole
            },
            "refused": ", ".join(sorted({name for one in seen.values() for name in one.refused}))
            or "none",
        },
    )


def _peak_bytes(process: psutil.Process, *, forget: bool = False) -> int:
    """The largest resident size so far. forget: begin anew, which Linux allows by writing 5."""
    folder = Path(f"/proc/{process.pid}")
    if forget:
        (folder / "clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
    assert found
    return int(found[1]) * 1024


def _first_picture_s(spec: EngineSpec, pair: Pair) -> float:
    began = time.perf_counter()
    with _engine(spec) as (engine, _):
        _run(engine, pair.job())
        return time.perf_counter() - began


def _first(seconds: Sequence[float]) -> Figure:
    median = statistics.median(seconds)
    return Figure(
        name="first picture after start, models included",
        measured=median,
        unit="s",
        to_reach=f"≤ {FIRST_AT_MOST_S:g} s",
        reached=median <= FIRST_AT_MOST_S,
        details={
            "what": "from starting the engine's process to its first file",
            "each, s": seconds,
        },
    )


# --- what it leaves alone -------------------------------------------------------------------


def _changed(engine: EngineProcess, pairs: Iterable[Pair]) -> dict[tuple[str, str], int]:
    """How many pixels that must not change did, by what they show and by pair."""
    found: dict[tuple[str, str], int] = {}
    for pair in pairs:
        try:
            made = _run(engine, pair.job(output_format="png"))
        except EngineError:
            continue
        apart = people.difference(made.data, pair.person)
        for what, mask in people.kept(pair.name.split()[0]).items():
            found[what, pair.name] = int((apart[mask] > 0).sum())
    return found


def _untouched(changed: dict[tuple[str, str], int]) -> Figure:
    total = sum(changed.values())
    pairs = {pair for _, pair in changed}
    by_kind: Counter[str] = Counter()
    for (what, _), count in changed.items():
        by_kind[what] += count
    worst = sorted(changed.items(), key=lambda one: -one[1])[:3]
    return Figure(
        name="pixels changed outside the garment's region",
        measured=float(total),
        unit="",
        to_reach="0",
        reached=total == 0 and bool(pairs),
        details={
            "what": f"face, hair, hands, far ground, after the true labels, in {len(pairs)} pairs",
            **by_kind,
            "worst": ", ".join(f"{pair}: {what} {count}" for (what, pair), count in worst),
        },
    )


# --- floors ---------------------------------------------------------------------------------


def _floors_s(weights_dir: Path, *, rounds: int) -> dict[str, float]:
    """What has to be done by any engine on these networks, medians, in this process."""
    import cv2  # noqa: PLC0415 - the other parts of the bench need neither

    from app.engines.warp.networks import LANDMARK_SIDE, Networks  # noqa: PLC0415

    networks = Networks(weights_dir)
    person = people.photo(people.NAMES[0])
    garment = catalogue.garments()[0].path.read_bytes()
    photo = _pixels(person)
    square = np.ascontiguousarray(photo[:LANDMARK_SIDE, :LANDMARK_SIDE])
    steps = {
        "decoding": lambda: (_pixels(person), _pixels(garment)),
        "one resize": lambda: cv2.resize(photo, (576, 768), interpolation=cv2.INTER_AREA),
        "bodies": lambda: networks.find_bodies(photo, at_least=0.5),
        "landmarks, twice": lambda: (networks.landmarks(square), networks.landmarks(square)),
        "person or ground": lambda: networks.segment(photo),
        "faces": lambda: networks.find_faces(photo, at_least=0.5),
    }
    return {name: _median_s(step, rounds) for name, step in steps.items()}


def _median_s(step: object, rounds: int) -> float:
    assert callable(step)
    step()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _pixels(data: bytes) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))
