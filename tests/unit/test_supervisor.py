"""Who looks after several processes, with children of the test's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.supervisor import ROOT

SUPERVISOR = """
import sys
from app import supervisor
supervisor.AGAIN_S = 0.02
child = [sys.executable, "-c", sys.argv[1]]
told = lambda: print("READY", flush=True)
sys.exit(supervisor.Supervisor(child, count=int(sys.argv[2]), shared=(), on_ready=told).run())
"""

# Each takes the next number, whichever of them starts first.
NUMBERED = """
import os, signal, sys
from itertools import count
from app.supervisor import attach
ready = attach(sys.argv[-1].partition("=")[2])
def take(number):
    try:
        return bool(os.close(os.open(f"taken-{number}", os.O_CREAT | os.O_EXCL))) or True
    except FileExistsError:
        return False
number = next(one for one in count(1) if take(one))
"""

Supervise = Callable[[str, int], subprocess.Popen[str]]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    with ExitStack() as stack:

        def start(child: str, count: int) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SUPERVISOR, child, str(count)],
                    cwd=tmp_path,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield start


def lines_until(process: subprocess.Popen[str], wanted: str, times: int = 1) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.strip())
        if sum(wanted in one for one in lines) == times:
            return lines
    pytest.fail(f"it has ended: {lines}")


def test_one_that_is_ready_twice_is_not_two_that_are_ready(
    supervise: Supervise, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "wait")
    child = f"""{NUMBERED}
if number == 1:
    open("wait").read()
    print("the slow one", flush=True)
ready()
if number in (2, 3):
    os._exit(3)
print("stays", flush=True)
signal.pause()
"""
    supervisor = supervise(child, 2)

    before = lines_until(supervisor, "stays")
    assert sum("process.died" in line for line in before) == 2
    assert "READY" not in before
    (tmp_path / "wait").write_text("")
    after = lines_until(supervisor, "READY")

    assert "the slow one" in after
    supervisor.terminate()
    assert supervisor.wait(20) == 0


def test_one_that_dies_at_once_is_started_again_after_longer_and_longer(
    supervise: Supervise,
) -> None:
    supervisor = supervise("import sys; sys.exit(3)", 1)

    lines = lines_until(supervisor, "process.died", times=5)

    pauses = [float(one) for one in re.findall(r"again_in_s\S*?=\S*?([\d.]+)", "\n".join(lines))]
    assert pauses == [0.04, 0.08, 0.16, 0.32, 0.64]
    assert all("status" in line for line in lines)
    supervisor.terminate()
    assert supervisor.wait(20) == 0
