"""`python -m app evaluate`: engines side by side on one's own pairs of pictures.

What is measured needs no network but warp's own, and no reference but where there is one: what must
stay (face, ground), what must come over (the garment's colour and pattern), likeness to the true
picture where somebody wears the very garment, seconds, memory, cost.
"""

from __future__ import annotations

import json
import statistics
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from app.engines import Category
from app.engines.codecs import decode
from app.engines.frames import Job, Output
from app.engines.pool import EnginePool
from app.engines.registry import OfferedEngine
from app.errors import EngineError, EngineUnavailable, TryOnError
from app.sheets import Cell, Sheet, small

if TYPE_CHECKING:
    from app.likeness import Judge

_DRESS_CODE: dict[str, Category] = {
    "upper_body": "tops",
    "lower_body": "bottoms",
    "dresses": "one-pieces",
}
_CELL = 320


class Unusable(TryOnError):
    """The folder of pairs is in no layout that is known."""


@dataclass(frozen=True)
class Pair:
    """truth: the picture of that person in that garment, where there is one."""

    person: Path
    garment: Path
    category: Category | None = None
    truth: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.person.stem} in {self.garment.stem}"


@dataclass
class Scores:
    """Of one engine: by measure, a figure for each picture."""

    engine: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    peak_mb: float = 0.0

    def add(self, name: str, value: float | None) -> None:
        if value is not None:
            self.figures.setdefault(name, []).append(value)

    def mean(self, name: str) -> float | None:
        return statistics.fmean(self.figures[name]) if self.figures.get(name) else None


def find_pairs(folder: Path) -> list[Pair]:
    """The pairs of a folder laid out as VITON-HD's test set, or as DressCode.

    VITON-HD: image/, cloth/ and test_pairs.txt. DressCode: upper_body/, lower_body/, dresses/, each
    with images/ and test_pairs_paired.txt or test_pairs_unpaired.txt. A line of a list is a person
    and a garment; where they are of one name the photo itself is the truth.
    Raises Unusable.
    """
    found = [*_viton_hd(folder), *_dress_code(folder)]
    if not found:
        raise Unusable(
            f"{folder} holds no pairs: image/, cloth/ and test_pairs.txt as in VITON-HD, or "
            "upper_body/, lower_body/, dresses/ with images/ and test_pairs_*.txt as in DressCode."
        )
    missing = next(
        (p for pair in found for p in (pair.person, pair.garment) if not p.exists()), None
    )
    if missing is not None:
        raise Unusable(f"{missing} is in the list, and not there.")
    return found


def _viton_hd(folder: Path) -> Iterator[Pair]:
    for person, garment in _lines(folder / "test_pairs.txt"):
        photo = folder / "image" / person
        same = Path(person).stem == Path(garment).stem
        yield Pair(photo, folder / "cloth" / garment, truth=photo if same else None)


def _dress_code(folder: Path) -> Iterator[Pair]:
    for name, category in _DRESS_CODE.items():
        part = folder / name
        for kind in ("paired", "unpaired"):
            for person, garment in _lines(part / f"test_pairs_{kind}.txt"):
                photo = part / "images" / person
                truth = photo if kind == "paired" else None
                yield Pair(photo, part / "images" / garment, category, truth)


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    if not file.exists():
        return
    for line in file.read_text("utf-8").splitlines():
        words = line.split()
        if len(words) >= 2:
            yield words[0], words[1]


def evaluate(
    offered: OfferedEngine,
    pairs: Sequence[Pair],
    judge: Judge,
    *,
    sheet: Path,
    timeout_s: float,
    memory_mb: int,
) -> Scores:
    """Have one engine make all pairs; its contact sheet is written to `sheet`."""
    scores = Scores(offered.info.name)
    pool = EnginePool(offered.spec, memory_mb=memory_mb, slots=1)
    cells = Sheet(len(pairs), 3, _CELL)
    try:
        for row, pair in enumerate(pairs):
            person, garment = _jpeg(pair.person), _jpeg(pair.garment)
            cells.put(row, 0, Cell(small(decode(person), _CELL), pair.person.stem))
            cells.put(row, 1, Cell(small(decode(garment), _CELL), pair.garment.stem))
            job = Job(person, garment, category=pair.category or "auto", output_format="png")
            cells.put(row, 2, _one(pool, job, pair, judge, scores, timeout_s))
            scores.peak_mb = max(scores.peak_mb, _children_mb())
    finally:
        pool.close()
        cells.save(sheet)
    return scores


def _one(
    pool: EnginePool, job: Job, pair: Pair, judge: Judge, scores: Scores, timeout_s: float
) -> Cell:
    try:
        output = _run(pool, job, timeout_s)
    except (EngineError, EngineUnavailable) as exc:
        code = str(exc.failure if isinstance(exc, EngineError) else exc.code)
        scores.refused[code] = scores.refused.get(code, 0) + 1
        return Cell(None, code, good=False)
    around = ("decode", "encode")
    seconds = sum(taken for name, taken in output.timings_s.items() if name not in around)
    scores.add("seconds", seconds)
    if output.cost is not None:
        unit = output.cost.unit
        scores.costs[unit] = scores.costs.get(unit, 0.0) + float(output.cost.amount)
    truth = None if pair.truth is None else decode(job.person)
    category = output.category or pair.category or "tops"
    judged = judge.judge(
        decode(job.person), decode(job.garment), decode(output.data), category=category, truth=truth
    )
    for name, value in judged.items():
        scores.add(name, value)
    told = " ".join(f"{name} {value:.2f}" for name, value in judged.items() if value is not None)
    return Cell(small(decode(output.data), _CELL), f"{seconds:.1f} s", told[:60])


def _run(pool: EnginePool, job: Job, timeout_s: float) -> Output:
    with pool.one() as process:
        return process.run(
            job,
            timeout_s=pool.timeout_s or timeout_s,
            on_progress=lambda *_: None,
            cancelled=threading.Event(),
        )


def _jpeg(file: Path) -> bytes:
    """As the gate makes it: upright RGB without anything else."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - heavy, and the command line imports this

    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    data = BytesIO()
    upright.save(data, "JPEG", quality=95, subsampling=0)
    return data.getvalue()


def _children_mb() -> float:
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_info().rss / 2**20
        except psutil.Error:
            continue
    return total


MEASURES = ("face", "ground", "colour", "pattern", "ssim", "seconds")


def table(found: Sequence[Scores], pairs: int) -> str:
    """Markdown; means over the pictures that were made."""
    head = ("engine", "made", "refused", *MEASURES, "peak MB", "cost")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in found:
        refused = sum(one.refused.values())
        figures = [one.mean(name) for name in MEASURES]
        cells = [
            one.engine,
            str(pairs - refused),
            ", ".join(f"{count} × {code}" for code, count in one.refused.items()) or "0",
            *("–" if value is None else f"{value:.3g}" for value in figures),
            f"{one.peak_mb:.0f}",
            ", ".join(f"{amount:g} {unit}" for unit, amount in one.costs.items()) or "–",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def as_json(found: Sequence[Scores]) -> str:
    return json.dumps(
        [
            {
                "engine": one.engine,
                "means": {name: one.mean(name) for name in MEASURES},
                "each": one.figures,
                "refused": one.refused,
                "costs": one.costs,
                "peak_mb": round(one.peak_mb),
            }
            for one in found
        ],
        indent=2,
    )
