"""A whole installation in a network namespace of its own, and all that tries to leave it.

Started as a program, as root and in a fresh namespace (`unshare --net`), where every address there
is leads to the loopback: nothing gets out, and whatever is sent to whomever passes one interface,
on which we listen. Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.flows.conftest import PHOTO, URL, wait_for

ROUTES = (
    "ip link set lo up",
    "ip route add local default dev lo",
    "ip -6 route add local default dev lo",
)
ALL_PROTOCOLS = 0x0003  # ETH_P_ALL
OUTGOING = 4  # PACKET_OUTGOING: each packet once
KINDS = {6: "tcp", 17: "udp"}
HEADERS = {"X-User-Token": "visitor-of-the-namespace"}
LAST_WORD = ("127.0.0.1", 9)


class Packet(NamedTuple):
    kind: str
    source: str
    source_port: int
    to: str
    to_port: int


class Ear(threading.Thread):
    """Hears every packet from its start to `finish`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        kind = socket.SOCK_DGRAM
        self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024 * 1024)
        self._heard: set[Packet] = set()
        self.start()

    def run(self) -> None:
        while True:
            data, address = self._socket.recvfrom(65535)
            packet = read(data) if address[2] == OUTGOING else None
            if packet is None:
                continue
            if (packet.to, packet.to_port) == LAST_WORD:
                return
            self._heard.add(packet)

    def finish(self) -> set[Packet]:
        """What was heard, once all that was sent before this has been looked at."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"", LAST_WORD)
        self.join(20)
        assert not self.is_alive()
        return self._heard


def read(data: bytes) -> Packet | None:
    """An IP packet; None for ICMP, with which the kernel answers the others."""
    four = data[0] >> 4 == 4
    family = socket.AF_INET if four else socket.AF_INET6
    kind = data[9] if four else data[6]
    source, to = (data[12:16], data[16:20]) if four else (data[8:24], data[24:40])
    rest = data[(data[0] & 15) * 4 if four else 40 :]
    if kind in (1, 58):
        return None
    ports = (int.from_bytes(rest[:2]), int.from_bytes(rest[2:4])) if kind in KINDS else (0, 0)
    return Packet(
        KINDS.get(kind, str(kind)),
        socket.inet_ntop(family, source),
        ports[0],
        socket.inet_ntop(family, to),
        ports[1],
    )


def try_to_leave() -> None:
    """Deliberately, in each way that one could: the ear must hear of all of them."""
    script = """if True:
        import socket
        from contextlib import suppress
        for address in (("203.0.113.9", 443), ("2001:db8::9", 443)):
            with suppress(OSError):
                socket.create_connection(address, 1)
        with suppress(OSError):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("203.0.113.53", 53))
        with suppress(OSError):
            socket.getaddrinfo("photos.example", 443)
    """
    subprocess.run([sys.executable, "-c", script], check=True)


def use(address: str) -> dict[str, Any]:
    """A shopper's whole visit: page, documents, a try-on, its pictures, its end."""
    with httpx.Client(base_url=address, timeout=60, trust_env=False, headers=HEADERS) as http:
        for path in ("/", "/api/docs", "/api/openapi.json", "/api/tryon/engines", "/api/health"):
            assert http.get(path).status_code == 200, path
        person = http.get("/api/tryon/people/ada/image").content
        made = http.post(
            URL,
            files={"person_image": person},
            data={"user_token": HEADERS["X-User-Token"], "garment_id": "henley"},
        )
        assert made.status_code == 201, made.text
        place = made.headers["Location"]

        def final() -> dict[str, Any] | None:
            session: dict[str, Any] = http.get(place).json()
            return session if session["status"] in ("completed", "failed") else None

        session = wait_for(final, within_s=90)
        sizes = [len(http.get(f"{place}/{one}").content) for one in ("input", "output")]
        refused = http.post(
            URL, files={"person_image": PHOTO}, data={"user_token": HEADERS["X-User-Token"]}
        )
        assert refused.status_code in (201, 422)
        assert http.delete(place).status_code == 204
        assert http.delete(URL).status_code == 204
        assert http.get(place).status_code == 404
    return {"session": session, "sizes": sizes}


def serve_and_use(folder: Path, weights: str) -> tuple[int, dict[str, Any]]:
    """The default installation, from its start to its end; the port it answered on."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"DATA_DIR": f"{folder}/data", "STORAGE": f"{folder}/uploads", "PORT": "0"}
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            stdout=out,
            stderr=out,
            env={**kept, **settings, "WEIGHTS_DIR": weights},
        )
    try:

        def address() -> re.Match[str] | None:
            assert server.poll() is None, log.read_text()
            return re.search(r"page +(http://127\.0\.0\.1:(\d+))/\n", log.read_text())

        found = wait_for(address, within_s=120)
        return int(found[2]), use(found[1])
    finally:
        server.terminate()
        server.wait(60)


def outside(heard: set[Packet], *, port: int) -> list[str]:
    """All but what shopper and server said to each other."""
    return sorted(
        f"{one.kind} {one.to} {one.to_port}"
        for one in heard
        if not (
            one.kind == "tcp"
            and one.source == one.to == "127.0.0.1"
            and port in (one.source_port, one.to_port)
        )
    )


def main(folder: Path, weights: str) -> None:
    for command in ROUTES:
        subprocess.run(command.split(), check=True)
    said: dict[str, Any] = {}
    ear = Ear()
    try_to_leave()
    said["attempts"] = outside(ear.finish(), port=0)
    ear = Ear()
    port, said["visit"] = serve_and_use(folder, weights)
    heard = ear.finish()
    said["outside"] = outside(heard, port=port)
    said["heard of the visit"] = len(heard) - len(said["outside"])
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
