"""Imports point down, and only `runtime` knows every implementation (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Packages of several levels stand in the document as one, or say which module they mean.
WITHIN_POSTGRES = {
    "app.postgres.settings": 0.1,
    "app.postgres.failures": 0.2,
    "app.postgres.accounts": 0.3,
    "app.postgres.binaries": 0.4,
    "app.postgres.locks": 0.4,
    "app.postgres.cluster": 0.5,
    "app.postgres.launch": 0.6,
    "app.postgres.reach": 0.6,
}
# Queries by subject, which do not know each other; `app.crud` shows them all as one.
WITHIN_CRUD = {
    "app.crud.records": 2.1,
    "app.crud.terms": 2.1,
    "app.crud.news": 2.2,
    "app.crud.attempts": 2.3,
    "app.crud.counts": 2.3,
    "app.crud.erasure": 2.3,
    "app.crud.keys": 2.3,
    "app.crud.receipts": 2.3,
    "app.crud.sessions": 2.3,
    "app.crud.webhooks": 2.3,
}
# The stages of the engine, below what the server knows of it. Those of one level do not know each
# other; what they share lies in `values` and `arrays`.
WITHIN_WARP = {
    "app.engines.warp.quality": 1.01,
    "app.engines.warp.values": 1.01,
    "app.engines.warp.weights": 1.01,
    "app.engines.warp.arrays": 1.02,
    "app.engines.warp.colours": 1.02,
    "app.engines.warp.networks": 1.02,
    "app.engines.warp.placement": 1.02,
    "app.engines.warp.contours": 1.03,
    "app.engines.warp.cutout": 1.03,
    "app.engines.warp.people": 1.03,
    "app.engines.warp.scene": 1.03,
    "app.engines.warp.view": 1.03,
    "app.engines.warp.arms": 1.04,
    "app.engines.warp.kinds": 1.04,
    "app.engines.warp.outline_bottom": 1.04,
    "app.engines.warp.outline_top": 1.04,
    "app.engines.warp.pose": 1.04,
    "app.engines.warp.shading": 1.04,
    "app.engines.warp.shapes": 1.04,
    "app.engines.warp.silhouette": 1.04,
    "app.engines.warp.armpits": 1.05,
    "app.engines.warp.hands": 1.05,
    "app.engines.warp.hem": 1.05,
    "app.engines.warp.legs": 1.05,
    "app.engines.warp.openings": 1.05,
    "app.engines.warp.rims": 1.05,
    "app.engines.warp.garments": 1.06,
    "app.engines.warp.places": 1.06,
    "app.engines.warp.targets": 1.06,
    "app.engines.warp.lower": 1.07,
    "app.engines.warp.removal": 1.07,
    "app.engines.warp.second_opinion": 1.07,
    "app.engines.warp.tidying": 1.07,
    "app.engines.warp.warping": 1.07,
    "app.engines.warp.easel": 1.08,
    "app.engines.warp.parsing": 1.08,
    "app.engines.warp.composition": 1.09,
    "app.engines.warp.lower_layers": 1.10,
    "app.engines.warp.wearing": 1.11,
    "app.engines.warp.engine": 1.12,
}
EMPTY_PACKAGES = {
    *("app", "app.commands", "app.engines.conformance", "app.middleware", "app.routers"),
    "app.services",
}


def read_levels() -> dict[str, float]:
    """The table of docs/architecture.md: what is told there is what holds."""
    _, _, rest = (ROOT / "docs" / "architecture.md").read_text().partition("## Levels of imports")
    levels: dict[str, float] = {**WITHIN_POSTGRES, **WITHIN_CRUD, **WITHIN_WARP}
    for number, cell in re.findall(r"^\| (\d+) \| (.+) \|$", rest, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cell):
            levels["app." + name.replace("/", ".")] = int(number)
    return levels


LEVELS = read_levels()

# Low, because they need little of ours; they are HTTP all the same.
EDGES = {
    *("app.problems", "app.document", "app.metrics_server", "app.web"),
    *("app.middleware.edge", "app.middleware.lenient"),
    *("app.middleware.limits", "app.middleware.logging"),
}

IMPLEMENTATIONS = {
    "app.services.storage": {"LocalStorage"},
    "app.services.queue": {"Bell"},
    "app.services.worker": {"Worker"},
    "app.services.attempts": {"Attempts"},
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


def level(module: str) -> float | None:
    return -1 if module in EMPTY_PACKAGES else LEVELS.get(module)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


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
    for node in tree_of(file).body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"):
            yield from ast.walk(node)


def test_no_import_is_relative() -> None:
    """A reader and this test can tell where a name comes from."""
    relative = [
        name
        for name, file in MODULES.items()
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert not relative


def test_every_module_has_a_level() -> None:
    assert not [name for name in MODULES if level(name) is None]


def test_every_level_has_a_module() -> None:
    assert not set(LEVELS) - set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_lower_ones_only(module: str) -> None:
    own = level(module)
    assert own is not None

    not_lower = {other for other, _ in imports(MODULES[module]) if not _below(other, own)}

    assert not not_lower


def _below(other: str, own: float) -> bool:
    found = level(other)
    return found is not None and found < own


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
        if own is not None and own <= LEVELS["app.runtime"] and name not in EDGES:
            assert not {"fastapi", "starlette"} & set(_packages(file)), name


def _packages(file: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (one.name.split(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
