"""Whose call it is, and how many of them there may be."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.ratelimit import ClientAddress, RateLimiter, Scope, Verdict, client_key

NOBODY = ClientAddress(())
PROXIES = ClientAddress(("10.0.0.0/8", "fd00::/8", "192.0.2.7"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "203.0.113.1, 10.0.0.2, 192.0.2.7", "203.0.113.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("203.0.113.9", "203.0.113.1", "203.0.113.9"),
        ("192.0.2.8", "203.0.113.1", "192.0.2.8"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "2001:db8::1 , fd00::2", "2001:db8::1"),
        ("10.0.0.1", "203.0.113.1, unknown", "unknown"),
        ("::ffff:10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("", "203.0.113.1", ""),
    ],
)
def test_the_client_is_the_nearest_hop_that_no_proxy_vouches_for(
    peer: str, forwarded_for: str | None, client: str
) -> None:
    assert PROXIES.of(peer, forwarded_for or "") == client


@given(st.ip_addresses().map(str), st.text())
def test_without_trusted_proxies_the_peer_is_the_client(peer: str, forwarded_for: str) -> None:
    assert NOBODY.of(peer, forwarded_for) == peer


@given(st.text(), st.text())
def test_no_header_breaks_it(peer: str, forwarded_for: str) -> None:
    assert isinstance(client_key(PROXIES.of(peer, forwarded_for)), str)


@given(st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_network_of_ipv6_is_one_client(network: int, host: int, other: int) -> None:
    one, two = (str(ipaddress.IPv6Address((network << 64) + number)) for number in (host, other))

    assert client_key(one) == client_key(two)


def test_addresses_that_mean_the_same_are_one_client() -> None:
    assert client_key("::ffff:203.0.113.1") == client_key("203.0.113.1")
    assert client_key("2001:DB8::1") == client_key("2001:db8:0:0::2")
    assert client_key("203.0.113.1") != client_key("203.0.113.2")


async def _hit(limiter: RateLimiter, *calls: tuple[Scope, str]) -> list[Verdict]:
    return [await limiter.hit(*call) for call in calls]


def test_calls_are_counted_by_client_and_kind() -> None:
    limiter = RateLimiter(create="2/minute", other="3/minute")

    creates = asyncio.run(_hit(limiter, ("create", "a"), ("create", "a"), ("create", "a")))

    assert [one.allowed for one in creates] == [True, True, False]
    assert [one.remaining for one in creates] == [1, 0, 0]
    assert (creates[0].limit, creates[0].window_s) == (2, 60)
    assert all(1 <= one.reset_s <= 61 for one in creates)
    others = asyncio.run(_hit(limiter, ("other", "a"), ("create", "b")))
    assert all(one.allowed for one in others)
