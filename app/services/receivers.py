"""Receivers of webhooks: which addresses may be called, and the call itself.

A client names the address, so a call must not reach what only this host can reach (SSRF): neither
by its address, nor by a name that resolves to one, nor by a name that resolves to another one each
time (DNS rebinding). So the very address that is connected to is the one that was checked.
See docs/adr/0012-webhooks.md.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from app.errors import WebhookRefused
from app.services.names import Address, Resolver

if TYPE_CHECKING:
    import httpcore

URL_CHARACTERS = 2048
# Of a whole attempt, resolution, headers and what is read of the body included, however slowly a
# receiver dribbles; and of reaching it. Source: Standard Webhooks asks for 15 to 30 s.
ATTEMPT_S = 15.0
CONNECT_S = 5.0
# A create waits so long for the name's addresses; an attempt will look again.
RESOLVE_S = 2.0
# So many names of creates are looked up at once, those included for which nobody waits any more.
LOOKUPS = 16
# Received in a whole attempt: a head as large as any server sends, and more than the body's part.
# Without it interim answers (1xx), of which HTTP allows any number, keep a core busy to the end.
RECEIVED_BYTES = 64 * 1024
# Enough to let a receiver finish its answer; nobody reads it.
ANSWER_BYTES = 8 * 1024
ANSWER_S = 1.0
# With one of each kind dead, the next is tried within the time to connect.
ADDRESSES = 4

_SENDABLE = re.compile(r"[!-~]+")
_UNSENDABLE = frozenset('"<>\\^`{|}')
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PORTS = {"http": 80, "https": 443}
_FIRST_USER_PORT = 1024

_V6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_V6_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; some count as global, and lead to one's own NAT
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # Teredo, ORCHID and more of the kind
        "2001:db8::/32",
        "2002::/16",  # 6to4, whatever it embeds
        "3fff::/20",
    )
]


class AddressRefused(Exception):
    """A receiver's name leads to an address that is not public."""


@dataclass(frozen=True)
class Receiver:
    """Where a webhook goes. target: path and query, which may be secret, as may the whole URL."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def name(self) -> str:
        """Who is called, without what may be secret: for the operator."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt: the status of the answer, or why there is none."""

    status: int | None = None
    error: str | None = None


def read_url(url: str) -> Receiver:
    """Take a URL apart, once: what is checked is what is called. Raises WebhookRefused."""
    if len(url) > URL_CHARACTERS or not _SENDABLE.fullmatch(url) or _UNSENDABLE.intersection(url):
        raise _refused(f"use a URL of at most {URL_CHARACTERS} characters, percent-encoded")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("this is no URL") from None
    scheme = parts.scheme
    if scheme not in _PORTS:
        raise _refused("use https or http")
    if "@" in parts.netloc:
        raise _refused("leave the credentials out; every call is signed")
    if not (_HOST.fullmatch(host) or _literal(host)):
        raise _refused("its host must be a name or an address")
    port = _PORTS[scheme] if port is None else port
    if port not in _PORTS.values() and port < _FIRST_USER_PORT:
        raise _refused("use port 80, 443, or one from 1024 to 65535")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Receiver(scheme, host, port, target)


def is_public(address: Address) -> bool:
    """Whether it is anybody's to reach, and nothing that stands for another one which is not."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _V6_TRANSLATED:  # NAT64: how a network without IPv4 names public hosts
            return is_public(ipaddress.IPv4Address(address.packed[-4:]))
        if address not in _V6_PUBLIC or address.scope_id is not None:
            return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


class Receivers:
    """What an installation allows.

    private: every address, those of this host included. lookups: of names, at once.
    """

    def __init__(self, *, private: bool, lookups: int = LOOKUPS) -> None:
        self._private = private
        self._resolver = Resolver(at_once=lookups)

    async def refusal(self, url: str) -> WebhookRefused | None:
        """Why a create may not name this URL.

        A name that nobody knows is refused like one that leads inside, and in the same words: who
        asks must not learn which names there are. Where no answer comes in time the URL is taken:
        a try-on does not fail for a name server, and each attempt looks again.
        """
        try:
            receiver = read_url(url)
        except WebhookRefused as exc:
            return exc
        try:
            with anyio.fail_after(RESOLVE_S):
                await self.addresses(receiver.host, receiver.port)
        except socket.gaierror as exc:
            return None if exc.errno == socket.EAI_AGAIN else _inside()
        except (AddressRefused, UnicodeError):
            return _inside()
        except (TimeoutError, OSError):
            return None
        return None

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Those to connect to. One that is not public spoils all: nobody honest has both.

        Raises AddressRefused, OSError.
        """
        found = await self._resolver.resolve(host, port)
        if not (self._private or all(map(is_public, found))):
            raise AddressRefused
        return found[:ADDRESSES]


class Caller:
    """Makes the calls of a process, on the event loop of one thread."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def call(self, receiver: Receiver, headers: Mapping[str, str], body: bytes) -> Outcome:
        """POST once. Whatever happens is an outcome; a redirect is an answer like any other."""
        # Here, because a server that nobody asks for webhooks needs no HTTP client.
        import httpcore  # noqa: PLC0415

        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await self._post(receiver, headers, body)
        except (TimeoutError, httpcore.TimeoutException):
            return Outcome(error="timeout")
        except AddressRefused:
            return Outcome(error="address_refused")
        except socket.gaierror:
            return Outcome(error="unknown_host")
        except (httpcore.ProtocolError, httpcore.ReadError, httpcore.WriteError):
            return Outcome(error="broken_off")
        except (httpcore.ConnectError, OSError, UnicodeError) as exc:
            return Outcome(error="tls" if _is_tls(exc) else "no_connection")

    async def _post(self, receiver: Receiver, headers: Mapping[str, str], body: bytes) -> Outcome:
        import httpcore  # noqa: PLC0415

        url = httpcore.URL(
            scheme=receiver.scheme.encode(),
            host=receiver.host.encode(),
            port=None if receiver.port == _PORTS[receiver.scheme] else receiver.port,
            target=receiver.target.encode(),
        )
        timeouts = {"connect": CONNECT_S, "read": ATTEMPT_S, "write": ATTEMPT_S}
        async with self._opened().stream(
            "POST",
            url,
            headers=list(headers.items()),
            content=body,
            extensions={"timeout": timeouts},
        ) as answer:
            with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
                async with asyncio.timeout(ANSWER_S):
                    await _throw_away(answer.aiter_stream())
            return Outcome(status=answer.status)

    def _opened(self) -> httpcore.AsyncConnectionPool:
        """The pool: no redirects, no proxies, nothing of the environment; a connection a call."""
        if self._pool is None:
            import httpcore  # noqa: PLC0415

            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=_trusting(),
                max_keepalive_connections=0,
                network_backend=_backend(self._receivers),
            )
        return self._pool

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None


def _backend(receivers: Receivers) -> httpcore.AsyncNetworkBackend:
    import httpcore  # noqa: PLC0415

    class Checked(httpcore.AnyIOBackend):
        """Connects to an address that was checked; the name stays for TLS and for Host."""

        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
            local_address: str | None = None,
            socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
        ) -> httpcore.AsyncNetworkStream:
            connect = super().connect_tcp
            with anyio.fail_after(timeout):
                addresses = await receivers.addresses(host, port)
                for address in addresses[:-1]:
                    with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                        share_s = CONNECT_S / ADDRESSES
                        return _bounded(
                            await connect(
                                str(address), port, share_s, local_address, socket_options
                            )
                        )
                return _bounded(
                    await connect(str(addresses[-1]), port, None, local_address, socket_options)
                )

    return Checked()


def _bounded(stream: httpcore.AsyncNetworkStream) -> httpcore.AsyncNetworkStream:
    """The stream of one attempt, which breaks off after RECEIVED_BYTES, those of TLS left out."""
    import httpcore  # noqa: PLC0415

    class Bounded(httpcore.AsyncNetworkStream):
        _left = RECEIVED_BYTES

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
            if not self._left:
                raise httpcore.ReadError("too much was received")
            piece = await stream.read(min(max_bytes, self._left), timeout)
            self._left -= len(piece)
            return piece

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
            await stream.write(buffer, timeout)

        async def aclose(self) -> None:
            await stream.aclose()

        async def start_tls(
            self,
            ssl_context: ssl.SSLContext,
            server_hostname: str | None = None,
            timeout: float | None = None,  # noqa: ASYNC109
        ) -> httpcore.AsyncNetworkStream:
            return _bounded(await stream.start_tls(ssl_context, server_hostname, timeout))

        def get_extra_info(self, info: str) -> Any:
            return stream.get_extra_info(info)

    return Bounded()


def _trusting() -> ssl.SSLContext:
    """The authorities of this machine, where an operator adds his own, and the well-known ones."""
    import certifi  # noqa: PLC0415

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


async def _throw_away(answer: AsyncIterator[bytes]) -> None:
    left = ANSWER_BYTES
    async for piece in answer:
        left -= len(piece)
        if left <= 0:
            return


def _is_tls(exc: BaseException | None) -> bool:
    while exc is not None:
        if isinstance(exc, ssl.SSLError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _literal(host: str) -> bool:
    """Whether it is an IPv6 address; without a zone, which means something on this host alone."""
    try:
        return "%" not in host and bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def _refused(what: str) -> WebhookRefused:
    return WebhookRefused(f"webhook_url: {what}.", pointer="webhook_url")


def _inside() -> WebhookRefused:
    return _refused(
        "its host must resolve to public addresses. The operator may allow others "
        "(WEBHOOK_ALLOW_PRIVATE)"
    )
