"""A figure, and the table of all of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

COLUMNS = ("figure", "measured", "floor", "ratio", "to reach", "")


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    floor: what physics leaves, in the same unit, measured in the same run; None where there is
        none. floor_is: what it is.
    ratio: the median of the ratios pair by pair, which is not the ratio of the medians.
    details: what else was measured; for the JSON and for who reads on.
    """

    name: str
    measured: float
    unit: str
    to_reach: str
    reached: bool
    floor: float | None = None
    floor_is: str = ""
    ratio: float | None = None
    details: Mapping[str, object] = field(default_factory=dict)


def ratio(measured: Iterable[float], floors: Iterable[float]) -> float:
    """The median of the ratios pair by pair: each pair was measured in the same moments."""
    return statistics.median(one / floor for one, floor in zip(measured, floors, strict=True))


def percentile(values: Iterable[float], share: float) -> float:
    """share: 0–1; the nearest value that there is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(figures: Sequence[Figure]) -> str:
    """The table as Markdown, then what each line says beside its figure."""
    rows = [COLUMNS, *map(_cells, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for figure in figures:
        notes = {"floor": figure.floor_is} if figure.floor_is else {}
        lines += ["", f"{figure.name}:"]
        lines += [f"  {key}: {_text(value)}" for key, value in {**notes, **figure.details}.items()]
    return "\n".join(lines)


def save(figures: Sequence[Figure], file: Path, surroundings: Mapping[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {**surroundings, "figures": [asdict(figure) for figure in figures]}
    file.write_text(json.dumps(content, indent=2, default=str) + "\n")


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        f"{_text(figure.measured)} {figure.unit}".strip(),
        "" if figure.floor is None else f"{_text(figure.floor)} {figure.unit}".strip(),
        "" if figure.ratio is None else f"{figure.ratio:.3g}",
        figure.to_reach,
        "reached" if figure.reached else "MISSED",
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return str(value)
