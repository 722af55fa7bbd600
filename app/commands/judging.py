"""`evaluate`, `engine check`: what engines are worth, without a server."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from app import evaluate as evaluation
from app import learned
from app.commands.terminal import progress
from app.config import Settings
from app.engines.conformance import checks, report
from app.errors import TryOnError
from app.likeness import Judge
from app.runtime import offered_engine


def evaluate(settings: Settings, options: argparse.Namespace) -> int:
    """Prints the table; exit status 1 where an engine made no picture at all."""
    words = (options.engines or ",".join(settings.engines)).split(",")
    offered = [offered_engine(word.strip(), settings) for word in words]
    for one in offered:
        if one.info.egress is not None and not options.pay:
            host = one.info.egress.host
            raise TryOnError(f"{one.info.name} sends the pictures to {host}: say --pay to let it.")
    listed = evaluation.find_pairs(options.pairs, options.setting)
    pairs = evaluation.spread(listed, options.limit)
    options.output.mkdir(parents=True, exist_ok=True)
    measured = learned.load(options.metric_weights)
    comparison = evaluation.Comparison(
        pairs,
        Judge(settings.weights_dir),
        measured,
        timeout_s=settings.engine_timeout,
        memory_mb=settings.engine_memory_mb,
    )
    found: list[evaluation.Scores] = []
    for one in offered:
        name = one.info.name
        sheet = options.output / f"{name}.png"
        found.append(comparison.of(one, sheet=sheet, on_progress=progress(f"pairs, {name}")))
        # After each: who ends it at the third engine keeps what two have cost.
        text = evaluation.report(found, pairs, measured)
        (options.output / "table.md").write_text(text + "\n", "utf-8")
        scores = evaluation.as_json(found, pairs, measured)
        (options.output / "scores.json").write_text(scores, "utf-8")
    print(text)
    return 1 if any(not one.figures for one in found) else 0


def check_engine(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when a check does not hold."""
    settings = settings.model_copy(update={"allow_noncommercial": True})  # it is told, not refused
    offered = offered_engine(options.engine, settings)
    if offered.info.egress is not None and not options.pay:
        raise TryOnError(
            f"{offered.info.name} sends pictures to {offered.info.egress.host}, some thirty times: "
            "say --pay if that is meant. They are the catalogue's: nobody is in them."
        )
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="tryonai-conformance-") as folder,
        checks.examining(
            offered,
            Path(folder),
            weights_dir=settings.weights_dir,
            timeout_s=settings.engine_timeout,
            memory_mb=settings.engine_memory_mb,
        ) as kit,
    ):
        for name, one in checks.examine(kit):
            found.append((name, one))
            mark = {True: "ok", False: "FAILS", None: "-"}[one.ok]
            print(f"{mark:<6} {report.sentence(name):<26} {one.said}".rstrip(), flush=True)
        if options.report is not None:
            options.report.write_text(report.page(offered.info, found, kit.shown), "utf-8")
    failed = sum(one.ok is False for _, one in found)
    print(f"{offered.info.name}: {failed} of {len(found)} do not hold" if failed else "All hold.")
    return 1 if failed else 0
