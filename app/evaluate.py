"""`python -m app evaluate`: engines side by side on one's own pairs of pictures.

What must stay (face, ground), what must come over (the garment's colour and pattern), likeness to
the true picture where somebody wears the very garment, seconds, memory, cost; and where networks
for them were given, LPIPS, FID and KID.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from app.engines import Category
from app.engines.codecs import decode
from app.engines.frames import Job, Output
from app.engines.pool import EnginePool
from app.engines.process import Watcher
from app.engines.registry import OfferedEngine
from app.errors import EngineError, EngineUnavailable, TryOnError
from app.sheets import Cell, Sheet, small

if TYPE_CHECKING:
    from app.learned import Features, Learned
    from app.likeness import Judge

Setting = Literal["paired", "unpaired"]
SETTINGS: tuple[Setting, ...] = ("paired", "unpaired")

_DRESS_CODE: dict[str, Category] = {
    "upper_body": "tops",
    "lower_body": "bottoms",
    "dresses": "one-pieces",
}
_CELL = 320

SHEET_ROWS = 60
"""Of all the pairs, on the sheet: thousands would be a picture that nothing opens."""


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
    """Of one engine: by measure, a figure for each picture.

    features: of the pictures that FID and KID look at.
    """

    engine: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    peak_mb: float = 0.0
    features: list[Features] = field(default_factory=list)

    def add(self, name: str, value: float | None) -> None:
        if value is not None:
            self.figures.setdefault(name, []).append(value)

    def refuse(self, code: str) -> Cell:
        """Count it; what the sheet shows instead of a picture."""
        self.refused[code] = self.refused.get(code, 0) + 1
        return Cell(None, code, good=False)

    def mean(self, name: str) -> float | None:
        return statistics.fmean(self.figures[name]) if self.figures.get(name) else None


def find_pairs(folder: Path, setting: Setting | None = None) -> list[Pair]:
    """The pairs of a folder laid out as VITON-HD's test set, or as DressCode.

    VITON-HD: test_pairs.txt beside test/, or beside image/ and cloth/ themselves. DressCode:
    upper_body/, lower_body/, dresses/, each with images/ and test_pairs_paired.txt or
    test_pairs_unpaired.txt. A line of a list is a person and a garment.
    setting: paired, everybody in what they wear, so that the photo itself is the truth; unpaired,
    in something else; None: as the lists have it.
    Raises Unusable.
    """
    found = list(dict.fromkeys([*_viton_hd(folder, setting), *_dress_code(folder, setting)]))
    if not found:
        kind = f"{setting} " if setting else ""
        raise Unusable(
            f"{folder} holds no {kind}pairs: test_pairs.txt and test/ (or image/, cloth/) as in "
            "VITON-HD, or upper_body/, lower_body/, dresses/ with images/ and test_pairs_*.txt as "
            "in DressCode."
        )
    missing = next(
        (p for pair in found for p in (pair.person, pair.garment) if not p.exists()), None
    )
    if missing is not None:
        raise Unusable(f"{missing} is in the list, and not there.")
    return found


def spread(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """At most so many, from everywhere in the list: its categories lie behind each other."""
    count = min(limit, len(pairs))
    return [pairs[number * len(pairs) // count] for number in range(count)]


def _viton_hd(folder: Path, setting: Setting | None) -> Iterator[Pair]:
    """In its list everybody is to wear something else; what they do wear has the photo's name."""
    pictures = folder / "test" if (folder / "test").is_dir() else folder
    for person, listed in _lines(folder / "test_pairs.txt"):
        garment = person if setting == "paired" else listed
        same = Path(person).stem == Path(garment).stem
        if not (same and setting == "unpaired"):
            photo = pictures / "image" / person
            yield Pair(photo, pictures / "cloth" / garment, truth=photo if same else None)


def _dress_code(folder: Path, setting: Setting | None) -> Iterator[Pair]:
    kinds = (setting,) if setting else SETTINGS
    for name, category in _DRESS_CODE.items():
        part = folder / name
        for kind in kinds:
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


def in_sets(pairs: Sequence[Pair]) -> list[Pair]:
    """Whose pictures FID and KID compare with the photos.

    As in papers, those of people in what they do not wear; where there are none, all.
    """
    return [pair for pair in pairs if pair.truth is None] or list(pairs)


def photos(pairs: Sequence[Pair]) -> list[Path]:
    """What FID and KID compare them with."""
    return list(dict.fromkeys(pair.person for pair in in_sets(pairs)))


class Comparison:
    """Engines, one after the other, on the same pairs.

    learned: measures by networks, as far as they are there.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        judge: Judge,
        learned: Learned,
        *,
        timeout_s: float,
        memory_mb: int,
    ) -> None:
        self._pairs = pairs
        self._judge = judge
        self._learned = learned
        self._timeout_s = timeout_s
        self._memory_mb = memory_mb
        self._in_sets = frozenset(in_sets(pairs))
        self._real: list[Features] = []

    def of(
        self,
        offered: OfferedEngine,
        *,
        sheet: Path,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Scores:
        """Have one engine make all pairs; its contact sheet is written to `sheet`.

        on_progress: told how many pairs are done.
        """
        scores = Scores(offered.info.name)
        pool = EnginePool(offered.spec, memory_mb=self._memory_mb, slots=1)
        shown = {pair: row for row, pair in enumerate(spread(self._pairs, SHEET_ROWS))}
        cells = Sheet(len(shown), 3, _CELL)
        try:
            for done, pair in enumerate(self._pairs, start=1):
                row = self._row(pool, pair, scores)
                if pair in shown:
                    for column, cell in enumerate(row):
                        cells.put(shown[pair], column, cell)
                on_progress(done)
        finally:
            pool.close()
            cells.save(sheet)
        self._compare_sets(scores)
        return scores

    def _row(self, pool: EnginePool, pair: Pair, scores: Scores) -> tuple[Cell, Cell, Cell]:
        """Person, garment, and what was made of them."""
        inputs = [_jpeg(file) for file in (pair.person, pair.garment)]
        person, garment = (
            Cell(None if data is None else small(decode(data), _CELL), file.stem)
            for data, file in zip(inputs, (pair.person, pair.garment), strict=True)
        )
        if inputs[0] is None or inputs[1] is None:
            return person, garment, scores.refuse("unreadable")
        job = Job(inputs[0], inputs[1], category=pair.category or "auto", output_format="png")
        return person, garment, self._one(pool, job, pair, scores)

    def _one(self, pool: EnginePool, job: Job, pair: Pair, scores: Scores) -> Cell:
        try:
            output = _run(pool, job, self._timeout_s, scores)
        except (EngineError, EngineUnavailable) as exc:
            return scores.refuse(str(exc.failure if isinstance(exc, EngineError) else exc.code))
        around = ("decode", "encode")
        seconds = sum(taken for name, taken in output.timings_s.items() if name not in around)
        scores.add("seconds", seconds)
        if output.cost is not None:
            unit = output.cost.unit
            scores.costs[unit] = scores.costs.get(unit, 0.0) + float(output.cost.amount)
        judged = self._judged(job, pair, output, scores)
        for name, value in judged.items():
            scores.add(name, value)
        told = " ".join(
            f"{name} {value:.2f}" for name, value in judged.items() if value is not None
        )
        return Cell(small(decode(output.data), _CELL), f"{seconds:.1f} s", told[:60])

    def _judged(
        self, job: Job, pair: Pair, output: Output, scores: Scores
    ) -> dict[str, float | None]:
        from app.likeness import at_size_of  # noqa: PLC0415 - OpenCV, and --help needs none

        person, learned = decode(job.person), self._learned
        made = at_size_of(person, decode(output.data))
        truth = None if pair.truth is None else person
        category = output.category or pair.category or "tops"
        judged = self._judge.judge(
            person, decode(job.garment), made, category=category, truth=truth
        )
        if truth is not None and learned.lpips is not None:
            judged["lpips"] = learned.lpips.between(truth, made)
        if learned.inception is not None and pair in self._in_sets:
            scores.features.append(learned.inception.features(made))
        return judged

    def _compare_sets(self, scores: Scores) -> None:
        inception = self._learned.inception
        if inception is None:
            return
        if not self._real:
            found = (_jpeg(one) for one in photos(self._pairs))
            self._real = [inception.features(decode(one)) for one in found if one is not None]
        scores.add("fid", inception.fid(self._real, scores.features))
        scores.add("kid", inception.kid(self._real, scores.features))


def _run(pool: EnginePool, job: Job, timeout_s: float, scores: Scores) -> Output:
    def look(*_: object) -> None:
        scores.peak_mb = max(scores.peak_mb, _children_mb())

    with pool.one() as process:
        watcher = Watcher(on_progress=look)
        output = process.run(job, watcher, timeout_s=pool.timeout_s or timeout_s)
    look()
    return output


def _jpeg(file: Path) -> bytes | None:
    """As the gate makes it: upright RGB without anything else. None: it is no picture."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - heavy, and the command line imports this

    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
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


MEASURES = ("face", "ground", "colour", "pattern", "ssim", "lpips", "fid", "kid", "seconds")


def report(found: Sequence[Scores], pairs: Sequence[Pair], learned: Learned) -> str:
    """Markdown: a row for each engine, and what is to be known of the figures."""
    paired = sum(pair.truth is not None for pair in pairs)
    lines = [
        *_table(found, len(pairs)),
        "",
        f"{len(pairs)} pairs, {paired} of them with a true picture.",
    ]
    if learned.inception is not None:
        made = ", ".join(f"{len(one.features)} of {one.engine}" for one in found)
        lines.append(f"FID and KID: {made}, against {len(photos(pairs))} photos.")
    lines += learned.remarks
    lines += [f"{file}: SHA-256 {digest}." for file, digest in learned.weights.items()]
    if learned.weights:
        lines.append(", ".join(f"{name} {one}" for name, one in learned.libraries.items()) + ".")
    return "\n".join(lines)


def _table(found: Sequence[Scores], pairs: int) -> list[str]:
    """Means over the pictures that were made; fid and kid are one figure each."""
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
    return lines


def as_json(found: Sequence[Scores], pairs: Sequence[Pair], learned: Learned) -> str:
    engines = [
        {
            "engine": one.engine,
            "means": {name: one.mean(name) for name in MEASURES},
            "each": one.figures,
            "refused": one.refused,
            "costs": one.costs,
            "peak_mb": round(one.peak_mb),
        }
        for one in found
    ]
    paired = sum(pair.truth is not None for pair in pairs)
    return json.dumps(
        {
            "pairs": len(pairs),
            "paired": paired,
            "weights": learned.weights,
            "libraries": learned.libraries,
            "remarks": learned.remarks,
            "engines": engines,
        },
        indent=2,
    )
