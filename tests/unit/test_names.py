"""Lookups of names: what a slow name server holds up, and what it does not."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator

import pytest
from anyio import to_thread

from app.services.names import Resolver

AT_ONCE = 2


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No name is answered before this is set."""
    over = threading.Event()

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert over.wait(20)
        return [(0, 0, 0, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield over
    over.set()


def resolving() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "resolver"]


def test_names_that_hang_take_only_threads_of_their_own(answers: threading.Event) -> None:
    before = len(resolving())
    resolver = Resolver(at_once=AT_ONCE)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await resolver.resolve("shop.example", 443)

    async def many() -> None:
        await asyncio.gather(*(give_up() for _ in range(20)))
        assert to_thread.current_default_thread_limiter().borrowed_tokens == 0
        assert len(resolving()) - before == AT_ONCE

        answers.set()  # and now all is well again
        found = await resolver.resolve("shop.example", 443)
        assert found == [ipaddress.ip_address("192.0.2.1")]

    asyncio.run(many())


def test_names_that_hang_do_not_keep_the_process_from_ending(answers: threading.Event) -> None:
    async def ask() -> None:
        asking = asyncio.create_task(Resolver(at_once=1).resolve("shop.example", 443))
        await asyncio.sleep(0)
        asking.cancel()

    asyncio.run(ask())

    assert all(thread.daemon for thread in resolving())
    assert resolving()


def test_what_cannot_be_a_name_is_the_callers_to_deal_with() -> None:
    with pytest.raises(UnicodeError):
        asyncio.run(Resolver(at_once=1).resolve("a" * 64 + ".example", 443))
