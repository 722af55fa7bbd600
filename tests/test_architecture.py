"""Imports point down, and only `runtime` knows every implementation (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEVELS = {
    # facts: no database, no FastAPI
    "app": 0,
    "app.config": 0,
    "app.errors": 0,
    "app.metrics": 0,
    "app.signing": 0,
    "app.states": 0,
    "app.catalogue": 0,
    "app.services": 0,
    "app.services.containers": 0,
    # tools and data
    "app.logs": 1,
    "app.engines": 1,
    "app.services.images": 1,
    "app.services.ratelimit": 1,
    "app.services.storage": 1,
    "app.schemas": 2,
    "app.database": 2,
    "app.postgres.settings": 0,
    "app.postgres.failures": 1,
    "app.postgres.accounts": 2,
    "app.postgres.binaries": 3,
    "app.postgres.locks": 3,
    "app.postgres.cluster": 4,
    "app.postgres.launch": 5,
    "app.postgres.reach": 5,
    "app.postgres": 6,
    "app.engines.frames": 2,
    "app.engines.mock": 2,
    "app.engines.child": 3,
    "app.engines.process": 3,
    "app.models": 3,
    "app.crud": 4,
    # use cases
    "app.services.events": 5,
    "app.services.queue": 5,
    "app.services.erasure": 6,
    "app.services.cleanup": 7,
    "app.services.sessions": 7,
    "app.services.worker": 7,
    # wiring
    "app.runtime": 8,
    # edges
    "app.problems": 9,
    "app.deps": 9,
    "app.checks": 10,
    "app.document": 10,
    "app.middleware": 0,
    "app.middleware.edge": 10,
    "app.middleware.lenient": 10,
    "app.middleware.limits": 10,
    "app.middleware.logging": 10,
    "app.routers": 0,
    "app.routers.*": 11,
    "app.main": 12,
    "app.__main__": 13,
}

IMPLEMENTATIONS = {
    "app.services.storage": {"LocalStorage"},
    "app.services.queue": {"Bell"},
    "app.services.worker": {"Worker"},
    "app.services.cleanup": {"Scheduler"},
    "app.services.events": {"Events"},
    "app.postgres": {"EmbeddedPostgres"},
}


def modules() -> dict[str, Path]:
    found = {}
    for file in sorted((ROOT / "app").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def level(module: str) -> int | None:
    if module in LEVELS:
        return LEVELS[module]
    return next((LEVELS[one] for one in LEVELS if "*" in one and fnmatchcase(module, one)), None)


def imports(file: Path) -> Iterator[tuple[str, str | None]]:
    """Each module of ours that this file imports, and the name taken from it, if any.

    Those inside functions and under TYPE_CHECKING too: what a module must know of is the same.
    """
    for node in _statements(file):
        if isinstance(node, ast.Import):
            yield from ((one.name, None) for one in node.names if one.name.split(".")[0] == "app")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "app":
            assert not node.level
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                yield (whole, None) if whole in MODULES else (str(node.module), one.name)


def _statements(file: Path) -> Iterator[ast.AST]:
    """All but what runs only where the file is started as a program: there it is its own edge."""
    tree = ast.parse(file.read_text())
    for node in tree.body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"):
            yield from ast.walk(node)


def test_no_import_is_relative() -> None:
    """A reader and this test can tell where a name comes from."""
    relative = [
        name
        for name, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert not relative


def test_every_module_has_a_level() -> None:
    assert not [name for name in MODULES if level(name) is None]


def test_every_level_has_a_module() -> None:
    gone = [one for one in LEVELS if not any(fnmatchcase(name, one) for name in MODULES)]

    assert not gone


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_lower_ones_only(module: str) -> None:
    own = level(module)
    assert own is not None

    not_lower = {
        other for other, _ in imports(MODULES[module]) if other != "app" and _not_below(other, own)
    }

    assert not not_lower


def _not_below(other: str, own: int) -> bool:
    found = level(other)
    return found is None or found >= own > 0 or found > own


@pytest.mark.parametrize("module", MODULES)
def test_only_runtime_picks_implementations(module: str) -> None:
    if module == "app.runtime" or module in IMPLEMENTATIONS:
        return

    known = {
        name for other, name in imports(MODULES[module]) if name in IMPLEMENTATIONS.get(other, ())
    }

    assert not known


def test_facts_and_tools_know_nothing_of_http() -> None:
    for name, file in MODULES.items():
        own = level(name)
        if own is not None and own <= LEVELS["app.runtime"]:
            assert not {"fastapi", "starlette"} & set(_packages(file)), name


def _packages(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name.split(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
