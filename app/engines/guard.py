"""What an engine's process keeps from its engine: other hosts and programs, folders, secrets.

A guard against mistakes, not against malice: a library that phones home, a hub that fetches what
was not asked for, a cache of photos that outlives the run. Code that wants out finds a way; what is
not seen at all: multiprocessing's start method `spawn`, and libraries that are not Python.
"""

from __future__ import annotations

import ipaddress
import os
import re
import site
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path, PurePath
from typing import Any

_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKS_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_STARTS = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.startfile"})
_SEEN = _CONNECTS | _LOOKS_UP | _STARTS

_TELL = frozenset(
    {"getconf", "ldconfig", "lsb_release", "lscpu", "nvidia-smi", "rocm-smi", "rocminfo"}
    | {"sw_vers", "sysctl", "uname"}
)
"""Programs that libraries ask what machine this is, and that nobody has to name."""

ANY_PROGRAM = "*"
"""In `uses`, for what starts a compiler, which starts what it likes."""

REFUSED: list[str] = []
"""The hosts and sockets that this process was not let connect to, the first few."""

NOT_STARTED: list[str] = []
"""The programs that it was not let start, likewise."""


def forget_refused() -> None:
    """Begin anew, in a process that has had a gate before."""
    REFUSED.clear()
    NOT_STARTED.clear()


_MOST = 20
_NAME_CHARACTERS = 80
"""Of a program or a socket, in a log: what stands there may be anything."""

_SECRET = re.compile(
    r"(^|_)(KEY|KEYS|TOKEN|TOKENS|SECRET|SECRETS|CREDENTIAL|CREDENTIALS|AUTH|COOKIE|COOKIES|DSN|"
    r"HEADERS|URL|URI)($|_)|PASS$|PASSWORD|PASSWD|PASSPHRASE|PASSFILE|PASSCODE|^NETRC$|^XAUTHORITY$"
)
_SERVICES = re.compile(
    r"^(AWS|AZURE|BOTO|CELERY|CLOUDSDK|DBUS|DOCKER|GCLOUD|GCP|GOOGLE|KUBE\w*|OTEL|REDIS|S3|SENTRY|SSH"
    r"|VAULT)_|^KUBECONFIG$|^PG[A-Z]+$"
)
"""Of clients of other services, of which an engine has no need: some hold secrets, some say where
a file with them lies."""

_LOGIN = re.compile(r"://[^/\s@]+@")
"""A user's name, and mostly a password, in an address."""

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DIFFUSERS_OFFLINE": "1"}


class Gate:
    """Refuses other hosts, sockets and programs until it is opened.

    `arm` it before the engine is imported. folder: the process's own, in which sockets lie freely.
    uses: programs by name and sockets by path that are not refused. on_refused: told a sentence.
    """

    def __init__(
        self, on_refused: Callable[[str], None], *, folder: Path, uses: Collection[str] = ()
    ) -> None:
        self._open = False
        self._on_refused = on_refused
        self._folder = os.path.join(folder, "")  # noqa: PTH118 - with its last slash
        self._uses = _TELL | set(uses)

    def arm(self) -> None:
        """For as long as the process lives: there is no way to take an audit hook away."""
        sys.addaudithook(self._look)

    def allow(self, uses: Collection[str]) -> None:
        """What the engine says of itself, too."""
        self._uses |= set(uses)

    def open(self) -> None:
        self._open = True

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Called for each import, file and frame: it must be quick where it does not matter.
        if event not in _SEEN or self._open:
            return
        if event in _STARTS:
            self._look_at_program(_program(event, arguments))
        elif event in _LOOKS_UP:
            self._look_at_host(arguments[0])
        else:
            self._look_at_address(arguments[0].family, arguments[1])

    def _look_at_address(self, family: int, address: Any) -> None:
        if address is None:  # connected before
            return
        if family in (socket.AF_INET, socket.AF_INET6):
            self._look_at_host(address[0])
        elif family == getattr(socket, "AF_UNIX", None):
            # multiprocessing's own lie in the folder for temporary files.
            path = os.path.abspath(os.fsdecode(address))  # noqa: PTH100 - as cheap as it gets
            if not path.startswith(self._folder) and path not in self._uses:
                self._refuse_socket(os.fsdecode(address))
        else:
            self._refuse_socket(f"a socket of family {socket.AddressFamily(family).name}")

    def _look_at_host(self, host: Any) -> None:
        if not host or is_local(host):
            return
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        said = f"{name}: this engine declares no egress, so it may not connect"
        self._refuse(REFUSED, name, said)

    def _refuse_socket(self, address: str) -> None:
        name = _printable(address)
        self._refuse(REFUSED, name, f"{name}: this engine may not connect to it; {_HOW}")

    def _look_at_program(self, name: str) -> None:
        if name not in self._uses and ANY_PROGRAM not in self._uses:
            said = f"{name}: this engine may not start this program; {_HOW}"
            self._refuse(NOT_STARTED, name, said)

    def _refuse(self, known: list[str], name: str, said: str) -> None:
        if name not in known and len(known) < _MOST:
            known.append(name)
            self._on_refused(said)
        raise PermissionError(said)


_HOW = (
    "where it has to, name it in `uses` of the engine's info, or of its table in ENGINES_FILE "
    "(docs/engines.md)"
)


def _program(event: str, arguments: tuple[Any, ...]) -> str:
    """Its name, without the folder: what is given to it may name a file."""
    first = arguments[0]
    if isinstance(first, int):
        return f"descriptor {first}"
    if first is None:  # Popen's executable, where the arguments say it
        first = arguments[1] if isinstance(arguments[1], str | bytes) else arguments[1][0]
    text = os.fsdecode(first)
    # A shell's line, or Windows' line of arguments; a path may have spaces.
    if event == "os.system" or (arguments[0] is None and isinstance(arguments[1], str)):
        text = text.split()[0] if text.split() else ""
    return _printable(PurePath(text).name)


def _printable(text: str) -> str:
    return ascii(text)[1:-1][:_NAME_CHARACTERS]


def is_local(host: object) -> bool:
    """Whether an address is this machine's own; of names only localhost is."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in ("localhost", "localhost.localdomain", "")


def _is_held_back(name: str, value: str, *, offline: bool) -> bool:
    """name: in capitals, because settings are read in any case of letters."""
    # A proxy on this machine would be a way out that the gate does not see.
    ways_out = offline and name.endswith("_PROXY")
    secret = _SECRET.search(name) or _SERVICES.search(name) or _LOGIN.search(value)
    return ways_out or secret is not None


def environment(
    home: Path, *, allowed: Collection[str], device: str | None, offline: bool
) -> dict[str, str]:
    """What an engine's process finds in its environment: all but what looks like a secret.

    A list of what is let through would keep libraries from the variables that they are set up by
    (CUDA_…, OMP_…, HF_HOME), which nobody has ever written down.

    home: stands for the user's folder and all caches. allowed: secrets that this engine may read.
    offline: tell the usual hubs not to look for newer files.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in allowed or not _is_held_back(name.upper(), value, offline=offline)
    }
    # Packages installed for the user alone are found by HOME, too.
    kept.setdefault("PYTHONUSERBASE", site.getuserbase())
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        kept[name] = str(home)
    kept.setdefault("MPLCONFIGDIR", str(home))
    return {**(_OFFLINE if offline else {}), **kept, **visible(device)}


def visible(device: str | None) -> dict[str, str]:
    """The variables that show a process its device: of `cuda:1` the one card, as its number 0."""
    if device is None:
        return {}
    number = device.partition(":")[2] if device.startswith("cuda:") else None
    shown = {"CUDA_VISIBLE_DEVICES": number} if number else {}
    if device in ("cpu", "mps"):
        shown = {"CUDA_VISIBLE_DEVICES": ""}
    return {"TRYONAI_DEVICE": device.partition(":")[0], **shown}
