"""Set up this folder and start: what setup.sh and setup.bat hand over to.

Needs a Python, 3.11 or newer, and nothing else: no package, no pip, no python3-venv. Every step
looks first whether it was done before, so that a second run only starts the server.

The environment is `.venv`. A stamp in it says what was installed, by which Python and where. When
other packages are asked for, they are installed into it; when its Python is gone or another one,
when it was moved or its installation interrupted, it is made anew, never mended.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parent.parent
ENV, ENV_EXAMPLE = ROOT / ".env", ROOT / ".env.example"
VENV = ROOT / ".venv"
STAMP = VENV / "setup.json"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
RUNTIME, DEV = ROOT / "requirements.txt", ROOT / "requirements-dev.txt"

# pip comes along, because Debian's Python has neither pip nor ensurepip, and so that everybody
# installs with the same one. A wheel runs from its own file. To change it: CONTRIBUTING.md.
PIP_WHEEL = ROOT / "scripts/vendor/pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"

# pip's settings that would lead packages past .venv. The others are the user's to choose.
WHERE_TO = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON"}

# An answer to "are you there, and who are you"; another minor version cannot see the packages.
WHO = """\
import os, sys, sysconfig as config
if sys.version_info >= (3, 11):
    print(sys.implementation.cache_tag, config.get_platform(), os.fsencode(sys.prefix))
"""

MADE_BY_SETUP = "# made by setup"

HELP = """\
usage: ./setup.sh [command] [arguments]      (Windows: setup.bat)

  run      make .venv and .env, fetch the model files and build the page where they are
           missing, then start PostgreSQL and the server (the default); arguments go
           to `python -m app serve`
  test     install what the tests need, then run them; arguments go to pytest
  install  only make .venv and .env, fetch the model files and build the page
  env      only make .env, with fresh secrets
  help     print this

PYTHON=/path/to/python3 names the Python to make .venv with. pip's own settings
(PIP_INDEX_URL, pip.conf) and, where none of them names a source, uv's are respected."""


Command = list[str | Path]


class SetupError(Exception):
    """Set-up cannot go on; the message is one sentence that says what to change."""


def say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    command, *rest = arguments or ["run"]
    os.chdir(ROOT)
    match command:
        case "run":
            install(RUNTIME)
            make_env()
            fetch_weights()
            build_page()
            return become("-m", "app", "serve", *rest)
        case "test":
            install(DEV)
            fetch_weights()
            return become("-m", "pytest", *rest)
        case "install":
            install(RUNTIME)
            make_env()
            fetch_weights()
            build_page()
        case "env":
            make_env()
        case "help" | "-h" | "--help":
            print(HELP)
        case _:
            raise SetupError(f"there is no command {command!r}; ./setup.sh help lists them.")
    return 0


def become(*arguments: str) -> int:
    """Run the environment's Python in place of this process, so that signals reach it."""
    command = [str(PYTHON), *arguments]
    if os.name == "nt":  # exec there returns to the prompt at once
        return subprocess.call(command)
    return os.execv(PYTHON, command)  # noqa: S606  no shell is wanted


# The settings


def make_env() -> None:
    """Write .env from .env.example, unless there is one."""
    if os.path.lexists(ENV):
        with ENV.open():  # whoever cannot read it shall hear it from us
            return
    with locked():
        if os.path.lexists(ENV):
            return
        text = with_secrets(ENV_EXAMPLE.read_text(encoding="utf-8"))
        draft = ROOT / ".env.draft"  # then renamed: a crash leaves no half of a file
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(text, encoding="utf-8")
        draft.rename(ENV)
    say("made .env with fresh secrets")


def with_secrets(example: str) -> str:
    """Fill in every empty `NAME=` below a comment that says `# made by setup`."""
    lines, marked = [], False
    for line in example.splitlines():
        if line.startswith("#"):
            marked = marked or MADE_BY_SETUP in line
            lines.append(line)
            continue
        fill = marked and re.fullmatch(r"[A-Z][A-Z0-9_]*=\s*", line)
        lines.append(line.rstrip() + fresh_secret(line) if fill else line)
        marked = False
    return "\n".join(lines) + "\n"


def fresh_secret(line: str) -> str:
    """Text for keys of ours; for others' as they write it: Standard Webhooks."""
    if line.startswith("WEBHOOK_SECRET="):
        return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(32)


# The environment


def install(requirements: Path) -> None:
    """See that .venv holds exactly the pinned packages of a requirements file."""
    if installed(requirements):
        return
    with locked() as lock:
        if installed(requirements):  # somebody else did while we waited
            return
        if not keepable():
            make_venv()
        write_stamp(None)  # from here to the end, an interruption means: start over
        say(f"installing the packages of {requirements.name} (once; a minute or two)")
        add_pip(lock)
        fetch(requirements, lock)
        write_stamp(who(), *([RUNTIME, DEV] if requirements == DEV else [RUNTIME]))


def installed(requirements: Path) -> bool:
    stamp = read_stamp()
    return (
        stamp is not None
        and stamp.get(requirements.name) == digest(requirements)
        and stamp.get("who") == who()
    )


def keepable() -> bool:
    """Whether packages can be installed into .venv as it is.

    One without a stamp was made by hand, perhaps with packages that took hours: it is kept, too.
    """
    answer, stamp = who(), read_stamp()
    return answer is not None and (stamp is None or stamp.get("who") == answer)


def make_venv() -> None:
    """Make .venv with the Python that runs this, or the one below it if that is .venv's own."""
    say(f"making .venv {'anew ' if VENV.exists() else ''}with Python {sys.version.split()[0]}")
    if os.pathsep in str(ROOT):
        raise SetupError(
            f"no environment works in a folder with {os.pathsep!r} in its path: move it."
        )
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    write_stamp(None)  # first, so that a half-made one is not taken for one made by hand
    venv.create(VENV, symlinks=os.name != "nt", with_pip=False)


def add_pip(lock: int) -> None:
    if not PIP_WHEEL.exists() or digest(PIP_WHEEL) != PIP_SHA256:
        raise SetupError(f"{PIP_WHEEL.relative_to(ROOT)} is missing or damaged: fetch it again.")
    pip: Command = [PYTHON, "-I", f"{PIP_WHEEL}/pip", "--isolated", "--disable-pip-version-check"]
    call(*pip, "install", "-q", "--no-index", "--no-deps", PIP_WHEEL, lock=lock)


def fetch(requirements: Path, lock: int, *, into: Path | None = None) -> None:
    """Install with uv if it is there and pip was not told where packages come from; or with pip.

    into: a folder in place of .venv.
    """
    quiet: Command = [] if sys.stderr.isatty() else ["-q"]
    # Only wheels: a package built here would need a compiler, and would fail late and at length.
    pins: Command = ["--require-hashes", "--only-binary=:all:", "-r", requirements]
    if into is not None:
        pins += ["--target", into]
    uv = shutil.which("uv")
    if uv and not pip_has_sources():
        into_venv = [uv, "pip", "install", "--python", PYTHON, *quiet]
        if call(*into_venv, *pins, lock=lock, check=False) == 0:
            return
        say("uv could not; trying pip")
    pip: Command = [PYTHON, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    if into is not None:
        # From its file: a .venv made by hand may have none. And what goes on without the packages
        # shall not wait long for a line that is down.
        pip[2:4] = [f"{PIP_WHEEL}/pip", "--retries=1"]
    call(*pip, "install", "--no-user", *quiet, *pins, lock=lock)


def pip_has_sources() -> bool:
    """Whether pip's settings (environment and files) say where packages come from."""
    listed = subprocess.run(
        [PYTHON, "-I", "-m", "pip", "config", "list"],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    ).stdout
    return bool(re.search(r"\.(index-url|extra-index-url|find-links|no-index|proxy)=", listed))


def call(*command: str | Path, lock: int, check: bool = True) -> int:
    """Run a step. It holds the lock, too: if it outlives us, the next set-up waits for it."""
    env = {name: value for name, value in os.environ.items() if name not in WHERE_TO}
    fds = () if os.name == "nt" else (lock,)
    status = subprocess.call([*map(str, command)], env=env, stdin=subprocess.DEVNULL, pass_fds=fds)
    if check and status != 0:
        raise SetupError(
            "the packages could not be installed; the lines above say why. Then run it again."
        )
    return status


# The model files


def fetch_weights() -> None:
    """Put the model files in place. Without them everything runs but the engine that needs them."""
    with locked() as lock:
        command: Command = [PYTHON, ROOT / "scripts/fetch_weights.py"]
        if call(*command, lock=lock, check=False) != 0:
            say("going on without the engine warp; to try again, run this again")


# The page


def build_page() -> None:
    """Build the browser page. Without it everything runs, and `/` says what is missing."""
    if (ROOT / "frontend/package.json").exists():
        subprocess.call([PYTHON, ROOT / "scripts/build_page.py"], stdin=subprocess.DEVNULL)


# What was done


def who() -> str | None:
    """The environment's Python, its platform and its place; None if it is not the one we want."""
    try:
        done = subprocess.run(
            [PYTHON, "-I", "-c", WHO],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    answer = done.stdout.strip()
    wrong = os.environ.get("PYTHON") and not answer.startswith(f"{sys.implementation.cache_tag} ")
    return None if wrong else answer or None


def read_stamp() -> dict[str, str | None] | None:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(answer: str | None, *files: Path) -> None:
    STAMP.write_text(
        json.dumps({"who": answer} | {file.name: digest(file) for file in files}), encoding="utf-8"
    )


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def owner(path: Path) -> str:
    if sys.platform != "win32":
        with suppress(KeyError):  # an owner without a name
            return path.owner()
    return "someone else"


@contextmanager
def locked() -> Iterator[int]:
    """One set-up of this folder at a time. The system drops the lock of a killed process."""
    with (ROOT / "setup.sh").open("rb") as file:
        if not lock(file, wait=False):
            say("waiting for another set-up of this folder")
            lock(file, wait=True)
        yield file.fileno()


if sys.platform == "win32":

    def lock(_file: BinaryIO, *, wait: bool) -> bool:  # noqa: ARG001
        """Nothing guards two at once there."""
        return True

else:
    import fcntl

    def lock(file: BinaryIO, *, wait: bool) -> bool:
        """Take the lock; False where another has it and we are not to wait."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # some network file systems have no locks
        return True


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as problem:
        sys.exit(f"setup: {problem}")
    except PermissionError as problem:
        sys.exit(
            f"setup: {problem.filename}: {problem.strerror}. This folder belongs to {owner(ROOT)}: "
            "run setup as that user, or in a copy of your own."
        )
    except OSError as problem:
        sys.exit(f"setup: {problem.filename or ROOT}: {problem.strerror}.")
    except KeyboardInterrupt:
        sys.exit(130)
