"""What an engine's process keeps from its engine: other hosts, the user's folders, secrets.

A guard against mistakes, not against malice: a library that phones home, a hub that fetches what
was not asked for, a cache of photos that outlives the run. Code that wants out finds a way.
"""

from __future__ import annotations

import ipaddress
import os
import re
import site
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKS_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})

REFUSED: list[str] = []
"""The hosts that this process was not let connect to, the first few."""

_MOST = 20

_SECRET = re.compile(
    r"(^|_)(KEY|KEYS|TOKEN|SECRET|SECRETS|PASSWORD|PASSWD|PGPASSWORD|DSN|HEADERS)$"
)
_SECRETS = frozenset({"DATABASE_URL", "REDIS_URL", "AWS_ACCESS_KEY_ID"})
"""Settings, and libpq's, of which an engine has no need, nor what it imports or starts."""

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DIFFUSERS_OFFLINE": "1"}


class Gate:
    """Refuses connections to other hosts until it is opened; `arm` before the engine is imported.

    on_refused: told the host.
    """

    def __init__(self, on_refused: Callable[[str], None]) -> None:
        self._open = False
        self._on_refused = on_refused

    def arm(self) -> None:
        """For as long as the process lives: there is no way to take an audit hook away."""
        sys.addaudithook(self._look)

    def open(self) -> None:
        self._open = True

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Called for each import, file and frame: it must be quick where it does not matter.
        if event[:7] != "socket." or self._open:
            return
        host = None
        if event in _CONNECTS:
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else None
        elif event in _LOOKS_UP:
            host = arguments[0]
        if host and not is_local(host):
            name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
            if name not in REFUSED and len(REFUSED) < _MOST:
                REFUSED.append(name)
                self._on_refused(name)
            raise PermissionError(f"{name}: this engine declares no egress, so it may not connect")


def is_local(host: object) -> bool:
    """Whether an address is this machine's own; a path of a socket is, a name only localhost."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in ("localhost", "localhost.localdomain", "")


def _is_held_back(name: str, *, offline: bool) -> bool:
    """name: in capitals, because settings are read in any case of letters."""
    # A proxy on this machine would be a way out that the gate does not see.
    ways_out = offline and name.endswith("_PROXY")
    return ways_out or name in _SECRETS or _SECRET.search(name) is not None


def environment(
    home: Path, *, allowed: Collection[str], device: str | None, offline: bool
) -> dict[str, str]:
    """What an engine's process finds in its environment.

    home: stands for the user's folder and all caches. allowed: secrets that this engine may read.
    offline: tell the usual hubs not to look for newer files.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in allowed or not _is_held_back(name.upper(), offline=offline)
    }
    # Packages installed for the user alone are found by HOME, too.
    kept.setdefault("PYTHONUSERBASE", site.getuserbase())
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        kept[name] = str(home)
    kept.setdefault("MPLCONFIGDIR", str(home))
    return {**(_OFFLINE if offline else {}), **kept, **_visible(device)}


def _visible(device: str | None) -> dict[str, str]:
    """`cuda:1` as CUDA shows it to a process: the one card, which is its number 0."""
    if device is None:
        return {}
    number = device.partition(":")[2] if device.startswith("cuda:") else None
    shown = {"CUDA_VISIBLE_DEVICES": number} if number else {}
    if device in ("cpu", "mps"):
        shown = {"CUDA_VISIBLE_DEVICES": ""}
    return {"TRYONAI_DEVICE": device.partition(":")[0], **shown}
