"""How often one client may call: slowapi's limiter, asked from our own middleware.

slowapi's decorator would decide only after the whole body was read and parsed (docs/adr/0005).
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from typing import Literal, Protocol

from limits import RateLimitItem, parse
from slowapi import Limiter as SlowapiLimiter

Scope = Literal["create", "other"]


@dataclass(frozen=True)
class Verdict:
    """limit, window_s: the policy. remaining: calls left. reset_s: until there is room again."""

    scope: Scope
    allowed: bool
    limit: int
    window_s: int
    remaining: int
    reset_s: int


class Limiter(Protocol):
    async def hit(self, scope: Scope, client: str) -> Verdict:
        """Count one call of this client, unless it is over the limit already."""

    async def close(self) -> None: ...


class RateLimiter:
    """Counts in this process's memory, in a moving window: no burst of twice the limit."""

    def __init__(self, *, create: str, other: str) -> None:
        self._items: dict[Scope, RateLimitItem] = {"create": parse(create), "other": parse(other)}
        self._limiter = SlowapiLimiter(key_func=lambda: "", strategy="moving-window").limiter

    async def close(self) -> None:
        pass

    async def hit(self, scope: Scope, client: str) -> Verdict:
        item = self._items[scope]
        allowed = self._limiter.hit(item, scope, client)
        reset_at, remaining = self._limiter.get_window_stats(item, scope, client)
        return verdict(scope, item, allowed=allowed, remaining=remaining, reset_at=reset_at)


def verdict(
    scope: Scope, item: RateLimitItem, *, allowed: bool, remaining: int, reset_at: float
) -> Verdict:
    """reset_at: seconds since 1970."""
    return Verdict(
        scope=scope,
        allowed=allowed,
        limit=item.amount,
        window_s=item.get_expiry(),
        remaining=remaining,
        reset_s=max(1, int(reset_at - time.time()) + 1),
    )


def client_key(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 network that an IPv6 host is given."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)


def _without_port(hop: str) -> str:
    """Some gateways write the port too: `203.0.113.9:5501`, `[2001:db8::1]:5501`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    address, colon, _ = hop.partition(":")
    return address if colon and hop.count(":") == 1 else hop


class ClientAddress:
    """Tells whose call it is: the peer, or the nearest hop that no trusted proxy vouches for."""

    def __init__(self, trusted_proxies: tuple[str, ...]) -> None:
        self._trusted = tuple(ipaddress.ip_network(one, strict=False) for one in trusted_proxies)

    def of(self, peer: str, forwarded_for: str) -> str:
        """peer: who holds the connection. forwarded_for: every `X-Forwarded-For`, joined."""
        hops = [_without_port(hop.strip()) for hop in forwarded_for.split(",") if hop.strip()]
        address = peer
        while hops and self.trusts(address):
            address = hops.pop()
        return address

    def trusts(self, address: str) -> bool:
        """Whether it is one of the operator's proxies."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped  # how a socket that listens on `::` names an IPv4 peer
        return any(ip in network for network in self._trusted if network.version == ip.version)
