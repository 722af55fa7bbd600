"""A program that ends with whoever started it, however that ends: `python leash.py PROGRAM …`.

It is for programs that would not notice themselves. Who starts it holds the other end of its stdin,
as of an engine's process (docs/adr/0004): when that closes, which the kernel does after a kill -9
too, the program gets SIGTERM, and if need be its process group SIGKILL. POSIX only.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TextIO

# One of ours lets what is in work finish for 10 s, and ends within 15.
PATIENCE_S = 20.0


Holder = subprocess.Popen[bytes]
"""The process that holds a program, and ends with it."""


@contextmanager
def running(
    command: Sequence[str],
    *,
    out: IO[bytes] | None,
    settings: Mapping[str, str],
    needs: Sequence[Holder] = (),
) -> Iterator[Holder]:
    """A program that runs at most until the block ends.

    out: where it writes; None: where we do. settings: variables beside our own.
    needs: whose programs are to end after this one, also when we are killed.
    """
    holder = subprocess.Popen(
        [sys.executable, "-P", __file__, *command],  # -P: modules of ours have names of Python's
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=out,
        pass_fds=[_pipe(one).fileno() for one in needs],
        start_new_session=True,  # Ctrl-C in a terminal is for us
    )
    try:
        yield holder
    finally:
        _pipe(holder).close()
        holder.wait()
        with suppress(ProcessLookupError):  # what the program has left behind
            os.killpg(holder.pid, signal.SIGKILL)


def _pipe(holder: Holder) -> IO[bytes]:
    assert holder.stdin is not None
    return holder.stdin


def main(command: Sequence[str]) -> int:
    """Hold the program until it ends, or until stdin or a signal says so; its exit status."""
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    # Before the program is there: a signal in between would leave it without a holder.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    watched: list[socket.socket | TextIO] = [woken, sys.stdin]
    until: float | None = None
    while program.poll() is None:
        left_s = None if until is None else max(0.0, until - time.monotonic())
        ready, _, _ = select.select(watched, [], [], left_s)
        if not ready:
            os.killpg(0, signal.SIGKILL)
        told = set(woken.recv(4096)) if woken in ready else set()
        if until is None and (sys.stdin in ready or told - {signal.SIGCHLD}):
            program.terminate()
            watched, until = [woken], time.monotonic() + PATIENCE_S
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
