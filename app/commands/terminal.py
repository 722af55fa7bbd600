"""What commands print while they work."""

from __future__ import annotations

import sys
from collections.abc import Callable


def progress(verb: str) -> Callable[[int], None]:
    """Counts on a terminal; a pipe gets only the result."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda count: print(f"\r{verb}: {count}", end="", file=sys.stderr, flush=True)
