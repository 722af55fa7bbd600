"""How long a test waits for what should happen at once."""

from __future__ import annotations

import os


def patient(seconds: float) -> float:
    """That time where whoever wants a core has one; where several wait for each, times as much."""
    if not hasattr(os, "getloadavg"):  # on Windows
        return seconds
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
