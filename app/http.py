"""uvicorn's protocol, with bounds on what a client may send, and how slowly.

uvicorn itself has none: a header of 300 MB, joined piece by piece, held the event loop for two
minutes, and a client that sends a byte now and then keeps its connection for ever.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of a request line and all headers together."""

HEAD_S = 20.0
"""From the first moment of a connection, or the first byte of a later request, to the end of the
head."""

PAUSE_S = 30.0
"""Between two pieces of a body: longer than a phone takes from one cell to the next."""

BODY_S = 600.0
"""For a whole body: two photos of 10 MiB, over a line of 300 kbit/s."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends a connection whose head grows beyond the bound, and one that sends too slowly."""

    head_s, pause_s, body_s = HEAD_S, PAUSE_S, BODY_S

    _head_bytes = 0
    _in_body = False
    _clock: asyncio.TimerHandle | None = None
    _began = _heard = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_body:
            self._heard = self.loop.time()
        else:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._end(_TOO_LARGE)
                return
            self._head_bytes += len(data)
            if self._clock is None:
                self._wait_for_head()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._stop_clock()
        self._began = self._heard = self.loop.time()
        self._clock = self.loop.call_later(self.pause_s, self._look_at_body)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body, self._head_bytes = False, 0
        self._stop_clock()
        super().on_message_complete()

    def _wait_for_head(self) -> None:
        self._clock = self.loop.call_later(self.head_s, self._end_slow_head)

    def _end_slow_head(self) -> None:
        # Browsers connect ahead of time, and would take an answer for that to their next request.
        self._end(_TOO_SLOW if self._head_bytes else b"")

    def _look_at_body(self) -> None:
        now = self.loop.time()
        if self.flow.read_paused:
            self._heard = now  # it is we who do not read
        left = min(self._heard + self.pause_s, self._began + self.body_s) - now
        if left <= 0:
            self._end(_TOO_SLOW)
        else:
            # One look a pause, and not a timer moved with each piece that comes.
            self._clock = self.loop.call_later(left, self._look_at_body)

    def _end(self, answer: bytes) -> None:
        self._stop_clock()
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(answer)
        self.transport.close()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
