"""Looks names up in threads of its own.

Nothing ends a lookup before its time, which a slow name server makes half a minute: in threads that
others share it would hold them up.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Resolver:
    """For any number of event loops.

    at_once: lookups, and so threads. One that its caller has given up keeps its thread to its end;
    who comes while all are taken waits. None keeps the process from ending.
    """

    def __init__(self, *, at_once: int) -> None:
        self._at_once = at_once
        self._asked: SimpleQueue[tuple[Future[list[Address]], str, int]] = SimpleQueue()
        self._guard = threading.Lock()
        self._threads = 0
        self._idle = threading.Semaphore(0)

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a host, in the order in which to try them.

        Raises OSError, and UnicodeError for what cannot be a name.
        """
        answer: Future[list[Address]] = Future()
        self._asked.put((answer, host, port))
        with self._guard:
            if not self._idle.acquire(blocking=False) and self._threads < self._at_once:
                self._threads += 1
                threading.Thread(target=self._work, name="resolver", daemon=True).start()
        return await asyncio.wrap_future(answer)

    def _work(self) -> None:
        while True:
            answer, host, port = self._asked.get()
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(_look_up(host, port))
                except Exception as exc:  # noqa: BLE001 - the thread's edge: it is the caller's
                    answer.set_exception(exc)
            del answer
            self._idle.release()


def _look_up(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))
