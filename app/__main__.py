"""The command line: `python -m app COMMAND`; `--help` lists them.

Exit status: 0 done, 1 failed with a sentence that says what to change, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import pkgutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from app import __version__, logs
from app.config import Settings, load_settings
from app.engines import CATEGORIES, MODES, PHOTO_TYPES
from app.errors import TryOnError


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        logs.configure(style=settings.log_format, level=settings.log_level)
        # Only now: what `serve` needs would be half a second of everybody's `--help`.
        command: Callable[[Settings, argparse.Namespace], int]
        command = pkgutil.resolve_name(f"app.commands.{options.command}")
        return command(settings, options)
    except TryOnError as exc:
        print(f"tryonai: {exc.detail}", file=sys.stderr)
        for note in exc.notes:
            print(textwrap.indent(note, "  "), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Self-hosted virtual try-on")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: str, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=command)
        return one

    serving = add("serve", "serving:serve", "start the server, with its worker and its database")
    serving.add_argument("--host", help="instead of HOST")
    serving.add_argument(
        "--port", type=_between(0, 65535), help="instead of PORT; 0 takes any free one"
    )
    serving.add_argument(
        "--workers", type=_between(1, 256), default=1, help="processes that answer, instead of one"
    )
    for name in ("--listener", "--child"):  # how those are started
        serving.add_argument(name, help=argparse.SUPPRESS)
    working = add("worker", "serving:work", "work off sessions, without answering HTTP")
    working.add_argument(
        "--concurrency", type=_between(1, 64), help="slots, instead of WORKER_CONCURRENCY"
    )
    working.add_argument("--engines", type=_words, help="instead of ENGINES, comma-separated")
    purging = add("purge", "upkeep:purge", "erase what has expired, once; for cron")
    purging.add_argument("--sweep", action="store_true", help="also make files and rows agree")
    add(
        "rotate-keys",
        "upkeep:rotate_keys",
        "wrap the keys of all sessions under the first SECRET_KEY",
    )
    showing = add("cluster", "serving:cluster", "start a whole cluster on this machine, to look at")
    showing.add_argument(
        "--demo", action="store_true", required=True, help="it is for looking at, not for use"
    )
    showing.add_argument("--port", type=_between(0, 65535), help="instead of PORT")
    add("queues", "upkeep:queues", "show what waits, the workers, and what each is doing")
    telling = add("webhooks", "upkeep:webhooks", "show the webhooks of live sessions, newest first")
    telling.add_argument("--limit", type=_between(1, 100_000), default=100)
    telling.add_argument(
        "--secret", action="store_true", help="print what receivers check signatures with"
    )
    auditing = add("audit", "upkeep:audit", "look whether what is stored is as it was promised")
    auditing.add_argument("--json", action="store_true", help="counts and findings as JSON")
    checking = add("verify-receipt", "proofs:verify_receipt", "check receipts of erasures, offline")
    checking.add_argument("file", help="one receipt, or several as the API gives them; - for stdin")
    checking.add_argument(
        "--keys", type=Path, metavar="FILE", help="a saved key set, instead of this installation's"
    )
    checking.add_argument("--session", metavar="ID", help="also whether it is of this session")
    storing = add("storage", "upkeep:storage_init", "prepare the bucket of an s3:// STORAGE")
    storing.add_argument(
        "what", choices=["init"], help="make it, suspend versioning, set a life cycle; may be rerun"
    )
    add("init-db", "upkeep:init_db", "prepare the database; may be run again")
    _add_try(add("try", "trying:try_on", "run an engine on files or folders, without a server"))
    _add_evaluate(
        add("evaluate", "judging:evaluate", "compare engines on pairs of pictures of yours")
    )
    _add_engine(add("engine", "judging:check_engine", "see whether an engine keeps the contract"))
    doctoring = add("doctor", "upkeep:doctor", "check every part and say what to do")
    doctoring.add_argument("--json", action="store_true", help="print what is in force as JSON")
    return parser


def _add_try(trying: argparse.ArgumentParser) -> None:
    add = trying.add_argument
    add("person", type=Path, help="a photo, or a folder of them")
    add("garment", type=Path, help="a picture, or a folder of them")
    add("-o", "--output", type=Path, help="the file to write; with folders, a folder")
    add("--sheet", type=Path, help="all of it in one picture: persons down, garments across")
    add("--cell-height", type=_between(64, 2048), help="of a picture on it, pixels", default=400)
    add("--debug", type=Path, metavar="FOLDER", help="write there what each stage makes")
    add("--category", choices=("auto", *CATEGORIES), default="auto")
    add("--garment-photo-type", choices=("auto", *PHOTO_TYPES), default="auto")
    add("--mode", choices=MODES, default="balanced")
    add("--seed", type=_between(0, 2**32 - 1), default=0)
    add("--engine", help="instead of ENGINE; any, also package.module:Class")


def _add_evaluate(evaluating: argparse.ArgumentParser) -> None:
    add = evaluating.add_argument
    add("--pairs", type=Path, required=True, help="a folder laid out as VITON-HD or DressCode")
    add("--engines", help="words as in ENGINES, comma-separated; all of ENGINES without")
    add("--output", type=Path, required=True, help="the folder for the table and the sheets")
    add("--limit", type=_between(1, 100_000), default=50, help="pairs at most, from all over")
    add("--setting", choices=("paired", "unpaired"), help="people in what they wear, or in others'")
    add(
        "--metric-weights",
        type=Path,
        metavar="FOLDER",
        help="with checkpoints/, for LPIPS, FID and KID, see docs/engines.md; nothing is fetched",
    )
    add("--pay", action="store_true", help="also engines that send pictures elsewhere")


def _add_engine(engine: argparse.ArgumentParser) -> None:
    actions = engine.add_subparsers(required=True, metavar="ACTION")
    text = "run the conformance checks on an engine, in a process as the server's"
    checking = actions.add_parser("check", help=text, description=text)
    checking.add_argument("engine", help="a word as in ENGINES, also package.module:Class")
    checking.add_argument(
        "--report", type=Path, metavar="FILE", help="findings and pictures as one HTML page"
    )
    checking.add_argument(
        "--pay",
        action="store_true",
        help="also one that sends pictures elsewhere: some thirty runs, which may cost money",
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _between(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"use a number from {least} to {most}")
        return int(text)

    return read


if __name__ == "__main__":
    raise SystemExit(main())
