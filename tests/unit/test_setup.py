"""The set-up scripts, as far as they can be tried without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="setup.bat could not be tried")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what set-up needs, in a place that quoting mistakes do not survive."""
    folder = tmp_path / "a pläce with 'quotes' & spaces"
    (folder / "scripts").mkdir(parents=True)
    for name in ["setup.sh", ".env.example", "scripts/bootstrap.py"]:
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def bootstrap(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/bootstrap.py of that copy, as a module."""
    spec = importlib.util.spec_from_file_location("bootstrap", folder / "scripts/bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("PYTHON", raising=False)
    return module


def setup(
    folder: Path, *arguments: str, umask: int = 0o022, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(folder / "setup.sh"), *arguments],
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=umask,
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable} | env,
    )


def settings(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


# The shell part


@pytest.mark.parametrize("shell", ["sh", *filter(shutil.which, ["bash", "dash", "zsh", "ksh"])])
@pytest.mark.parametrize("script", ["setup.sh", "scripts/requirements.sh"])
def test_every_shell_can_read_the_scripts(shell: str, script: str) -> None:
    assert subprocess.run([shell, "-n", ROOT / script], check=False).returncode == 0


def test_help_names_every_command(folder: Path) -> None:
    done = setup(folder, "help")

    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in ["run", "test", "install", "env", "help"])


def test_an_unknown_command_changes_nothing(folder: Path) -> None:
    done = setup(folder, "isntall")

    assert done.returncode == 1
    assert done.stderr == "setup: there is no command 'isntall'; ./setup.sh help lists them.\n"
    assert not (folder / ".env").exists()


@pytest.mark.parametrize("answer", ["exit 1", "exit 127"])
def test_a_python_that_cannot_do_the_work_is_refused_in_one_line(
    folder: Path, tmp_path: Path, answer: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho noise; echo noise >&2\n{answer}\n")
    python.chmod(0o755)

    done = setup(folder, "env", PYTHON=str(python))

    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"setup: PYTHON=.* is not a Python 3\.11 or newer with .*\n", done.stderr)


def test_where_there_is_no_python_one_line_says_what_to_install(
    folder: Path, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ["dirname", "sh"]:
        (tools / name).symlink_to(str(shutil.which(name)))

    done = setup(folder, PATH=str(tools), PYTHON="")

    assert done.returncode == 1
    assert re.fullmatch(r"setup: no Python 3\.11 or newer was found: install one .*\n", done.stderr)


# .env


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_env_is_for_its_owner_alone(folder: Path, umask: int) -> None:
    done = setup(folder, "env", umask=umask)

    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert not (folder / ".env.draft").exists()


def test_secrets_are_fresh_each_time_and_the_rest_is_the_example(folder: Path) -> None:
    env = folder / ".env"
    seen = []
    for _ in range(2):
        assert setup(folder, "env").returncode == 0
        seen.append(settings(env))
        env.unlink()

    example = settings(folder / ".env.example")
    filled = {name for name in example if seen[0][name] != example[name]}
    assert "SECRET_KEY" in filled
    secrets = [values[name] for values in seen for name in filled]
    assert len(set(secrets)) == len(secrets)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}|whsec_[A-Za-z0-9+/]{43}=", one) for one in secrets)


@pytest.mark.parametrize("content", ["SECRET_KEY=mine\n", ""])
def test_env_is_never_overwritten(folder: Path, content: str) -> None:
    (folder / ".env").write_text(content)

    assert setup(folder, "env").returncode == 0

    assert (folder / ".env").read_text() == content


def test_only_marked_and_empty_settings_get_a_secret(bootstrap: ModuleType) -> None:
    example = (
        "# one\n# made by setup\n# another line\nA_KEY=\n"
        "B=\n"
        "# made by setup\nC=chosen\n"
        "# made by setup\n\nD=\n"
        "# made by setup\n#E=\n"
        "F=\n"
    )

    lines = bootstrap.with_secrets(example).splitlines()

    changed = [line for line in lines if line not in example.splitlines()]
    assert len(changed) == 2
    assert [line.split("=")[0] for line in changed] == ["A_KEY", "F"]
    assert len(lines) == len(example.splitlines())


# .venv


def stamped(folder: Path, stamp: object) -> None:
    (folder / ".venv").mkdir(exist_ok=True)
    (folder / ".venv/setup.json").write_text(json.dumps(stamp))


def test_nothing_is_installed_twice(
    bootstrap: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PYTHON", Path(sys.executable))
    bootstrap.RUNTIME.write_text("one==1\n")
    stamped(folder, {})
    bootstrap.write_stamp(bootstrap.who(), bootstrap.RUNTIME)

    assert bootstrap.installed(bootstrap.RUNTIME)
    bootstrap.RUNTIME.write_text("one==2\n")
    assert not bootstrap.installed(bootstrap.RUNTIME)
    assert bootstrap.keepable()


@pytest.mark.parametrize(
    "stamp",
    [
        {"who": None},
        {"who": "cpython-311 linux-x86_64 b'/moved/away/.venv'", "requirements.txt": "…"},
        {},
        "not what we write",
    ],
)
def test_a_moved_or_interrupted_environment_is_not_kept(
    bootstrap: ModuleType, folder: Path, stamp: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PYTHON", Path(sys.executable))
    stamped(folder, stamp)

    assert not bootstrap.keepable()


def test_an_environment_made_by_hand_is_kept(
    bootstrap: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PYTHON", Path(sys.executable))
    (folder / ".venv").mkdir()

    assert bootstrap.keepable()


def test_an_environment_whose_python_is_gone_is_not_kept(
    bootstrap: ModuleType, folder: Path
) -> None:
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").symlink_to("/nonexistent/python3")

    assert not bootstrap.keepable()


def test_the_lock_is_free_again_when_its_holder_is_gone(
    bootstrap: ModuleType, folder: Path
) -> None:
    with (folder / "setup.sh").open("rb") as other:
        with bootstrap.locked():
            assert not bootstrap.lock(other, wait=False)

        assert bootstrap.lock(other, wait=False)


def test_the_pip_that_comes_along_is_the_one_we_name(bootstrap: ModuleType) -> None:
    wheel = ROOT / bootstrap.PIP_WHEEL.relative_to(bootstrap.ROOT)

    assert bootstrap.digest(wheel) == bootstrap.PIP_SHA256
    assert [file.name for file in wheel.parent.glob("*.whl")] == [wheel.name]


# The pins


def pins(file: str) -> dict[str, str]:
    """Name and the rest of the line of every pin."""
    text = (ROOT / file).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==([^\\\n]+)", text, re.MULTILINE))


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_has_a_hash_and_names_no_place(file: str) -> None:
    text = (ROOT / file).read_text()
    entries = re.findall(r"^[^\s#].*(?:\n    --hash=.*)*", text, re.MULTILINE)

    assert len(entries) == len(pins(file)) > 0
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|^\s*--(?!hash=)|@|(?:^|\s)\.{0,2}/", text, re.MULTILINE)


def test_tests_run_on_what_users_run() -> None:
    runtime, dev = pins("requirements.txt"), pins("requirements-dev.txt")

    for name, pin in runtime.items():
        # What tests need on every machine, users may need on some.
        assert dev[name].strip() in (pin.strip(), pin.partition(";")[0].strip())


def test_every_pin_is_one_that_the_project_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        "requirements.txt": project["dependencies"],
        "requirements-dev.txt": project["optional-dependencies"]["dev"],
    }

    for file, dependencies in wanted.items():
        pinned = pins(file)
        for dependency in map(Requirement, dependencies):
            version = pinned[canonicalize_name(dependency.name)].split(";")[0].strip()
            assert dependency.specifier.contains(version), f"{file}: {dependency}, not {version}"
