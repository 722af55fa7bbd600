"""`python -m app try`: an engine alone, with no server and no database.

This is how the work on pictures is done: one pair with its timings and stages, or a contact sheet
of every person in every garment. The engine runs in this process, so that its models load once.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from app.engines import (
    Category,
    Engine,
    EngineSpec,
    Mode,
    PhotoType,
    RunContext,
    TryOnRequest,
    TryOnResult,
    codecs,
    guard,
    loading,
)
from app.engines.frames import OutputFormat
from app.errors import EngineError, RequestError, TryOnError
from app.services import images
from app.services.images import ImageLimits
from app.sheets import CELL_HEIGHT, Cell, Sheet, save_png, small

if TYPE_CHECKING:
    from app.engines import Rgb

FORMATS: dict[str, OutputFormat] = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
}
"""By the suffix of a file: what is written, and what a folder is searched for."""

PICTURE, BROKE = "picture", "broke"
"""How a pair went that was not refused with a code."""

WEBP_MOST = 16383
"""Pixels of a side that the format can hold."""

_BAR = 24
"""Characters of the progress bar."""


@dataclass(frozen=True)
class Choices:
    """What is asked for of every picture, and where what is made goes.

    output: a file, or a folder where there are several pairs. debug: a folder for the stages.
    cell_height: of a picture on the sheet, pixels.
    """

    category: Category | Literal["auto"] = "auto"
    garment_photo_type: PhotoType | Literal["auto"] = "auto"
    mode: Mode = "balanced"
    seed: int = 0
    output: Path | None = None
    sheet: Path | None = None
    debug: Path | None = None
    cell_height: int = CELL_HEIGHT


class Unusable(TryOnError):
    """A file or a choice that must change before anything is tried."""


def run(
    spec: EngineSpec, person: Path, garment: Path, choices: Choices, limits: ImageLimits
) -> int:
    """Try one pair, or all pairs where one of the two is a folder.

    Returns 0, or 1 where a single picture was refused or the engine broke. Raises Unusable,
    EngineUnavailable.
    """
    persons, garments = _pictures_of(person), _pictures_of(garment)
    several = person.is_dir() or garment.is_dir()
    _check(choices, several=several)
    with _first_device(spec), _guarded(spec) as gate:
        with loading.explained(spec):
            engine = loading.make(spec, gate)
            preflight = _preflight(spec, engine)
        door = _Door(replace(limits, min_side=engine.info.min_side))
        bench = _Bench(engine, choices, preflight)
        if not several:  # read first: a bad file is told before the models are loaded
            pair = door.read(persons[0]), door.read(garments[0])
            _load(spec, engine)
            return _try_one(bench, *pair, f"{persons[0].stem}--{garments[0].stem}")
        _load(spec, engine)
        return _try_all(bench, door, persons, garments)


def _load(spec: EngineSpec, engine: Engine) -> None:
    with loading.explained(spec):
        engine.load()


@contextmanager
def _guarded(spec: EngineSpec) -> Iterator[guard.Gate]:
    """Hosts, sockets and programs are refused to the engine as they will be in the service."""
    guard.forget_refused()
    gate = guard.Gate(_complain, folder=Path(tempfile.gettempdir()), uses=spec.uses)
    gate.arm()
    try:
        yield gate
    finally:
        gate.open()


@contextmanager
def _first_device(spec: EngineSpec) -> Iterator[None]:
    """The engine sees what the first of its processes would."""
    shown = guard.visible(spec.devices[0] if spec.devices else None)
    before = {name: os.environ.get(name) for name in shown}
    os.environ.update(shown)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _preflight(spec: EngineSpec, engine: Engine) -> Callable[[TryOnRequest], TryOnRequest]:
    if not engine.info.needs or spec.preflight is None:
        return lambda request: request
    from app.engines.preflight import Preflight  # noqa: PLC0415 - heavy, and few need it

    return Preflight(engine.info.needs, spec.preflight).prepare


def _pictures_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in FORMATS)
    if not found:
        raise Unusable(f"{path} holds no picture: {', '.join(FORMATS)} are looked for.")
    return found


def _check(choices: Choices, *, several: bool) -> None:
    if several and choices.sheet is None:
        raise Unusable("Name the file for the contact sheet of all pairs: --sheet sheet.png.")
    if not several and choices.output is None and choices.sheet is None:
        raise Unusable("Name the file for the picture: -o out.jpg.")
    files = [choices.sheet] if several else [choices.sheet, choices.output]
    for file in filter(None, files):
        if file.suffix.lower() not in FORMATS:
            raise Unusable(f"{file}: its name must end in one of {', '.join(FORMATS)}.")
        if not file.absolute().parent.is_dir():
            raise Unusable(f"{file}: there is no such folder; make it first.")


class _Door:
    """Lets pictures in as the server does: the same limits, the same new JPEG."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits

    def read(self, file: Path) -> bytes:
        """A JPEG, and not its pixels: a folder of photos would not fit into memory."""
        try:
            with file.open("rb") as stream:
                picture = images.load(stream, field=file.name, limits=self._limits)
        except RequestError as exc:
            raise Unusable(exc.detail) from exc
        except OSError as exc:
            raise Unusable(f"{file}: {exc.strerror}.") from exc
        return picture.data


@dataclass(frozen=True)
class _Made:
    """One try: a result, or the error in its place; seconds of the engine alone."""

    result: TryOnResult | None
    seconds: float
    error: EngineError | None = None


class _Bench:
    """The engine, and what is asked of it."""

    def __init__(
        self,
        engine: Engine,
        choices: Choices,
        preflight: Callable[[TryOnRequest], TryOnRequest] = lambda request: request,
    ) -> None:
        self.engine = engine
        self._preflight = preflight
        self.choices = choices
        if choices.debug is not None and not hasattr(engine, "on_picture"):
            raise Unusable(f'--debug: the engine "{engine.info.name}" shows no stages.')

    def make(
        self, person: bytes, garment: bytes, name: str, tell: Callable[[str, float | None], None]
    ) -> _Made:
        choices = self.choices
        max_side = self.engine.info.max_side
        request = TryOnRequest(
            person=codecs.decode(person, max_side=max_side),
            garment=codecs.decode(garment, max_side=max_side),
            category=choices.category,
            garment_photo_type=choices.garment_photo_type,
            mode=choices.mode,
            seed=choices.seed,
        )
        with tempfile.TemporaryDirectory(prefix="tryonai-try-") as scratch, self._shown(name):
            context = RunContext(tell, lambda: None, math.inf, Path(scratch))
            began = time.perf_counter()
            try:
                result = self.engine.run(self._preflight(request), context)
            except EngineError as exc:
                return _Made(None, time.perf_counter() - began, exc)
            return _Made(result, time.perf_counter() - began)

    @contextmanager
    def _shown(self, name: str) -> Iterator[None]:
        """The stages' pictures go into the folder of --debug, numbered as they come."""
        if self.choices.debug is None:
            yield
            return
        folder = self.choices.debug / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("[0-9][0-9]-*.png"):
            old.unlink()
        numbers = count(1)

        def show(stage: str, picture: Rgb) -> None:
            save_png(picture, folder / f"{next(numbers):02}-{stage}.png")

        vars(self.engine)["on_picture"] = show
        try:
            yield
        finally:
            vars(self.engine)["on_picture"] = None


# --- one pair -------------------------------------------------------------------------------


def _try_one(bench: _Bench, person: bytes, garment: bytes, name: str) -> int:
    choices = bench.choices
    bar = _Bar()
    made = bench.make(person, garment, name, bar.show)
    bar.clear()
    if choices.sheet is not None:
        sheet = Sheet(1, 3, choices.cell_height)
        sheet.put(0, 0, _input(person, choices.cell_height))
        sheet.put(0, 1, _input(garment, choices.cell_height))
        sheet.put(0, 2, _cell(made, choices.cell_height))
        _save(sheet, choices.sheet)
    if made.result is None:
        assert made.error is not None
        _complain(f"{made.error.failure}: {made.error.detail}")
        if made.error.log:
            _complain(f"  {made.error.log}")
        return 1
    if choices.output is not None:
        _write(made.result, choices.output)
    for line in _report(bench, made.result, made.seconds):
        _say(line)
    return 0


def _report(bench: _Bench, result: TryOnResult, seconds: float) -> Iterator[str]:
    height, width = result.picture.shape[:2]
    info = bench.engine.info
    taken_for = "" if result.category is None else f", {result.category}"
    yield f"{info.name} {info.version}: {width} × {height}, {bench.choices.mode}{taken_for}"
    for stage, taken in result.timings_s.items():
        yield f"  {stage:<14} {1000 * taken:7.0f} ms"
    yield f"  {'together':<14} {1000 * seconds:7.0f} ms"
    if result.quality is not None:
        yield f"quality {result.quality:.2f}"
    for one in result.warnings:
        yield f"{one.code}: {one.message}"


def _write(result: TryOnResult, file: Path) -> None:
    data, _, _ = codecs.encode(result, FORMATS[file.suffix.lower()])
    with _writing(file):
        file.write_bytes(data)


def _save(sheet: Sheet, file: Path) -> None:
    with _writing(file):
        sheet.save(file)


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise Unusable(f"{file} could not be written: {exc.strerror or exc}.") from exc


# --- all pairs ------------------------------------------------------------------------------


def _try_all(bench: _Bench, door: _Door, persons: Sequence[Path], garments: Sequence[Path]) -> int:
    """Every person in every garment. What is done when Ctrl-C comes is on the sheet."""
    choices = bench.choices
    assert choices.sheet is not None
    sheet = Sheet(1 + len(persons), 1 + len(garments), choices.cell_height)
    if choices.sheet.suffix.lower() == ".webp" and max(sheet.at_most) > WEBP_MOST:
        raise Unusable(f"{choices.sheet}: too large for a WebP; name it .png or .jpg.")
    if choices.output is not None:
        with _writing(choices.output):
            choices.output.mkdir(parents=True, exist_ok=True)
    seen: list[tuple[str, float]] = []
    try:
        for one in _pairs(bench, door, persons, garments, sheet):
            seen.append(one)
    except KeyboardInterrupt:
        _complain("stopped; the sheet shows what was made until then.")
        _save(sheet, choices.sheet)
        raise
    _save(sheet, choices.sheet)
    _say(_summary(seen))
    return 1 if any(outcome == BROKE for outcome, _ in seen) else 0


def _summary(seen: Sequence[tuple[str, float]]) -> str:
    counts = Counter(outcome for outcome, _ in seen)
    parts = [f"{len(seen)} pairs", *(f"{count} × {one}" for one, count in counts.most_common())]
    if PICTURE in counts:
        seconds = statistics.median(taken for outcome, taken in seen if outcome == PICTURE)
        parts.append(f"a picture took {seconds:.2f} s (median)")
    return ", ".join(parts)


def _pairs(
    bench: _Bench, door: _Door, persons: Sequence[Path], garments: Sequence[Path], sheet: Sheet
) -> Iterator[tuple[str, float]]:
    """Make each, and put it on the sheet. Tells how it went, a code where refused, and seconds."""
    height = bench.choices.cell_height
    bar = _Bar(len(persons) * len(garments))
    clothes = [_read_or_tell(door, file) for file in garments]
    for column, (file, garment) in enumerate(zip(garments, clothes, strict=True), 1):
        sheet.put(0, column, _input(garment, height, file.stem))
    for row, person_file in enumerate(persons, 1):
        person = _read_or_tell(door, person_file)
        sheet.put(row, 0, _input(person, height, person_file.stem))
        for column, (garment_file, garment) in enumerate(zip(garments, clothes, strict=True), 1):
            bar.next()
            if person is None or garment is None:
                continue
            name = f"{person_file.stem}--{garment_file.stem}"
            made = _make_or_tell(bench, person, garment, name, bar)
            cell = Cell(None, BROKE, good=False) if made is None else _cell(made, height)
            sheet.put(row, column, cell)
            bar.clear()
            _say(f"{name:<40} {cell.said}  {cell.noted}".rstrip())
            _keep(bench.choices.output, name, made)
            yield _outcome(made)
    bar.clear()


def _outcome(made: _Made | None) -> tuple[str, float]:
    if made is None:
        return BROKE, 0.0
    return (str(made.error.failure) if made.error else PICTURE), made.seconds


def _read_or_tell(door: _Door, file: Path) -> bytes | None:
    try:
        return door.read(file)
    except Unusable as exc:
        _complain(exc.detail)
        return None


def _make_or_tell(
    bench: _Bench, person: bytes, garment: bytes, name: str, bar: _Bar
) -> _Made | None:
    try:
        return bench.make(person, garment, name, bar.show)
    except Exception:  # noqa: BLE001 - the other pairs are wanted, too
        bar.clear()
        traceback.print_exc()
        return None


def _input(data: bytes | None, height: int, name: str = "") -> Cell:
    return Cell(None if data is None else small(codecs.decode(data), height), name)


def _cell(made: _Made, height: int) -> Cell:
    if made.result is None:
        assert made.error is not None
        return Cell(None, made.error.failure, made.error.detail, good=False)
    quality = "" if made.result.quality is None else f"quality {made.result.quality:.2f} · "
    warnings = ", ".join(one.code for one in made.result.warnings)
    said = f"{quality}{made.seconds:.2f} s"
    return Cell(small(made.result.picture, height), said, warnings)


def _keep(folder: Path | None, name: str, made: _Made | None) -> None:
    if folder is not None and made is not None and made.result is not None:
        _write(made.result, folder / f"{name}.jpg")


# --- what is printed ------------------------------------------------------------------------


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class _Bar:
    """How far it is, on a terminal; a pipe gets only the results. total: pairs to make."""

    def __init__(self, total: int = 1) -> None:
        self._total = total
        self._number = 1 if total == 1 else 0
        self._shown = sys.stderr.isatty()

    def next(self) -> None:
        self._number += 1

    def show(self, stage: str, fraction: float | None) -> None:
        if not self._shown:
            return
        done = (self._number - 1 + (fraction or 0)) / self._total
        filled = round(_BAR * min(1.0, done))
        which = f" {self._number}/{self._total}" if self._total > 1 else ""
        line = f"[{'#' * filled}{'.' * (_BAR - filled)}]{which} {stage}"
        sys.stderr.write(f"\r{line:<78}")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r" + " " * 78 + "\r")
            sys.stderr.flush()
