"""File locks, as open descriptors: whoever dies lets go of its own."""

from __future__ import annotations

import os
from pathlib import Path

import portalocker

from app.postgres.accounts import Account, open_own
from app.postgres.settings import WINDOWS

_opened: set[int] = set()


def take(file: Path, account: Account | None) -> int | None:
    """Hold a lock alone; None if somebody else holds it."""
    descriptor = _open(file, account)
    alone = False
    try:
        alone = _hold_alone(descriptor)
    finally:
        if not alone:
            close(descriptor)
    return descriptor if alone else None


def share(file: Path, account: Account | None) -> int:
    """Hold a lock together with others; wait for who holds it alone."""
    descriptor = _open(file, account)
    try:
        portalocker.lock(descriptor, portalocker.LOCK_SH)
    except BaseException:
        close(descriptor)
        raise
    return descriptor


def was_last(shared: int) -> bool:
    """Let go of a shared lock, and hold it alone if nobody else shares it."""
    portalocker.unlock(shared)
    return _hold_alone(shared)


def close(descriptor: int) -> None:
    # Never unlocked: that would take it from the server too, which shares this open file.
    _opened.discard(descriptor)
    os.close(descriptor)


def _open(file: Path, account: Account | None) -> int:
    # Not inherited by programs we start; `launch` passes one on explicitly.
    descriptor = open_own(file, os.O_RDWR, account)
    _opened.add(descriptor)
    return descriptor


def _hold_alone(descriptor: int) -> bool:
    try:
        portalocker.lock(descriptor, portalocker.LOCK_EX | portalocker.LOCK_NB)
    except portalocker.AlreadyLocked:
        return False
    return True


def _forget() -> None:
    """A forked child must not keep its parent's shares alive."""
    for descriptor in _opened:
        os.close(descriptor)
    _opened.clear()


if not WINDOWS:
    os.register_at_fork(after_in_child=_forget)
