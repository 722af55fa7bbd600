"""How a run of the tests is laid out; what they stand on is in `fixtures`.

Kept apart because the process that only hands tests out to others needs none of that: the
application takes more than a second to import.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pluggy
import pytest

pytest.register_assert_rewrite("tests.fixtures")

# Each worker takes 2 s of CPU to rewrite the asserts of all files. What comes of it pytest keeps
# beside them, in folders that git ignores; also where Python as a whole is told to keep nothing.
sys.dont_write_bytecode = False

# Nothing of what is imported and collected is garbage, and to look for it took a third of that
# time; `pytest_collection_finish` has it looked for again.
gc.disable()

# NumPy's linear algebra, which nobody here uses, otherwise starts a thread a core that spins for
# 30 ms of CPU, in each of a hundred engine processes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are cores, because many tests wait: for a timer, a deadline, an end."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return min(8, 1 + (os.cpu_count() or 1))


_LONG = ("flows/", "unit/test_postgres.py", "unit/test_engine_process.py", "unit/warp/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first, so that no core is left with one of them at the end."""
    items.sort(key=lambda item: not item.nodeid.removeprefix("tests/").startswith(_LONG))


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make, not among a quarter of a million older things."""
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Schemathesis, which takes a second of CPU a process to import, only where it is asked for."""
    if config.option.dist != "no" and not hasattr(config, "workerinput"):
        return  # all tests run in others
    config.pluginmanager.import_plugin("tests.fixtures")
    if not _LEFT_OUT["test_schemathesis.py"](config.option.markexpr):
        config.pluginmanager.import_plugin("schemathesis.pytest.plugin")


_LEFT_OUT: dict[str, Callable[[str], bool]] = {
    "test_schemathesis.py": lambda asked: "not slow" in asked,
    "e2e": lambda asked: "e2e" not in asked.replace("not e2e", ""),
    "test_fashn_network.py": lambda asked: "torch" not in asked.replace("not torch", ""),
    "test_fashn_runs.py": lambda asked: "torch" not in asked.replace("not torch", ""),
}
"""What takes long to import or cannot be, and where it is not asked for.

Generated requests are generated as their module is imported: 3 s of CPU in each process.
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    left_out = _LEFT_OUT.get(collection_path.name)
    if left_out is None:
        return None
    return left_out(config.option.markexpr) or None


NOT_APPLICABLE = "does not apply: "
"""How the reason of a skip begins that CI accepts, too: the case cannot exist on that machine."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Where CI runs, a skipped test is a failed one: what it needs should be there."""
    report = (yield).get_result()
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    if NOT_APPLICABLE not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped where CI should run it: {report.longrepr}"
