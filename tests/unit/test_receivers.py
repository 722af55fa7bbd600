"""Which receivers of webhooks may be called, and what becomes of a call: real sockets."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import WebhookRefused
from app.services import receivers
from app.services.receivers import Caller, Outcome, Receivers, is_public, read_url
from tests.authority import certificate


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target"),
    [
        ("https://shop.example/hook", "https", "shop.example", 443, "/hook"),
        ("http://Shop.Example", "http", "shop.example", 80, "/"),
        ("https://shop.example:8443/a?b=c&d", "https", "shop.example", 8443, "/a?b=c&d"),
        ("https://shop.example?x=1", "https", "shop.example", 443, "/?x=1"),
        ("https://[2606:4700::1111]:443/", "https", "2606:4700::1111", 443, "/"),
        ("https://a_b.xn--bcher-kva.de./%7E", "https", "a_b.xn--bcher-kva.de.", 443, "/%7E"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(url: str, scheme: str, host: str, port: int, target: str) -> None:
    assert read_url(url) == receivers.Receiver(scheme, host, port, target)


@pytest.mark.parametrize(
    "url",
    [
        *("", "shop.example/hook", "//shop.example/", "https://", "https:///hook", "https://?"),
        *("ftp://shop.example/", "file:///etc/passwd", "gopher://shop.example/", "javascript:1"),
        *("https://user@shop.example/", "https://a:b@shop.example/", "https://@shop.example/"),
        *("https://shop.example:0/", "https://shop.example:22/", "https://shop.example:25/"),
        *("https://shop.example:1023/", "https://shop.example:65536/", "https://shop.example:x/"),
        *("https://shop.example/a b", "https://shop.example/\n", "https://shop.example/\x00"),
        *("https://shöp.example/", "https://shop.example\\@127.0.0.1/", "https://shop.example/ö"),
        *("https://[::1", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[a]/"),
        *("https://a,b.example/", "https://shop.example/" + "a" * 2048, "https://%31.example/"),
    ],
)
def test_what_is_no_receiver_is_refused(url: str) -> None:
    with pytest.raises(WebhookRefused):
        read_url(url)


@given(st.text(min_size=1))
def test_any_text_is_a_receiver_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://shop.example{text}"):
        try:
            receiver = read_url(url)
        except WebhookRefused:
            continue
        assert receiver.target.startswith("/")
        assert receiver.target.isascii()
        assert receiver.target.isprintable()


INSIDE = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.0.10"),
    *("192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8"),
    *("::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1"),
    *("64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1"),
    *("2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "5f00::1", "fc00::1"),
    *("fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "ff0e::1", "4000::1"),
]
OUTSIDE = [
    *("1.1.1.1", "8.8.8.8", "9.9.9.9", "100.63.255.255", "100.128.0.1", "172.15.255.255"),
    *("172.32.0.1", "192.1.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1"),
    *("64:ff9b::8.8.8.8", "2620:fe::fe"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_of_the_world_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_no_address_gets_in_by_another_spelling(address: ipaddress.IPv4Address) -> None:
    """NAT64 stands for the address itself; nothing else that embeds one is taken at all."""
    embedded = f"{address.packed[:2].hex()}:{address.packed[2:].hex()}"

    assert is_public(ipaddress.IPv6Address(f"64:ff9b::{address}")) == is_public(address)
    for other in (
        f"::{address}",
        f"::ffff:{address}",
        f"2002:{embedded}::1",
        f"2001:0:{embedded}::",
    ):
        assert not is_public(ipaddress.ip_address(other))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0x7f.0.0.1", "0177.0.0.1", "2130706433", "localhost"),
        *("[::1]", "[::ffff:127.0.0.1]", "10.1.2.3", "169.254.169.254", "0"),
    ],
)  # fmt: skip
def test_every_spelling_of_this_host_is_refused_at_the_door(host: str) -> None:
    refused = asyncio.run(Receivers(private=False).refusal(f"http://{host}:8080/"))

    assert refused is not None
    assert "public addresses" in refused.detail
    assert asyncio.run(Receivers(private=True).refusal(f"http://{host}:8080/")) is None


Lookup = Callable[..., list[Any]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str] | Exception]:
    """A name server of the test's: what each name resolves to, or the error."""
    known: dict[str, list[str] | Exception] = {}
    lookup: Lookup = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: object, **options: object) -> list[Any]:
        found = known.get(host)
        if found is None:
            return lookup(host, port, *rest, **options)
        if isinstance(found, Exception):
            raise found
        return [one for address in found for one in lookup(address, port, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def test_a_name_that_is_also_inside_is_refused(names: dict[str, list[str] | Exception]) -> None:
    names["shop.example"] = ["8.8.8.8", "10.0.0.1"]

    assert asyncio.run(Receivers(private=False).refusal("https://shop.example/")) is not None


def test_unknown_and_inside_are_refused_in_the_same_words(
    names: dict[str, list[str] | Exception],
) -> None:
    names["nobody.example"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    names["inside.example"] = ["10.0.0.1"]

    said = {
        str(asyncio.run(Receivers(private=False).refusal(f"https://{host}/")))
        for host in ("nobody.example", "inside.example")
    }

    assert len(said) == 1


def test_a_name_server_that_is_away_refuses_no_try_on(
    names: dict[str, list[str] | Exception],
) -> None:
    names["shop.example"] = socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    assert asyncio.run(Receivers(private=False).refusal("https://shop.example/")) is None


def test_a_slow_name_server_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20) and [])
    monkeypatch.setattr(receivers, "RESOLVE_S", 0.05)

    refused = asyncio.run(Receivers(private=False).refusal("https://shop.example/"))
    over.set()

    assert refused is None


@contextmanager
def answering(
    answer: Callable[[socket.socket], None], context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A server on loopback that deals with each connection as the test says; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                answer(connection)
            except OSError:
                pass
            finally:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)


def call(url: str, *, private: bool = True) -> Outcome:
    async def once() -> Outcome:
        caller = Caller(Receivers(private=private))
        try:
            return await caller.call(read_url(url), {"webhook-id": "msg_1"}, b'{"a":1}')
        finally:
            await caller.close()

    return asyncio.run(once())


def read_request(connection: socket.socket) -> bytes:
    received = b""
    while b'{"a":1}' not in received:
        received += connection.recv(4096)
    return received


def says(status_line: str, *headers: str, body: bytes = b"") -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        lines = [f"HTTP/1.1 {status_line}", f"Content-Length: {len(body)}", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)

    return answer


def test_a_call_is_a_post_of_the_body_to_the_named_host(
    names: dict[str, list[str] | Exception],
) -> None:
    heard: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        heard.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    names["shop.example"] = ["127.0.0.1"]
    with answering(answer) as port:
        outcome = call(f"http://shop.example:{port}/hook?key=s3cret")

    assert outcome == Outcome(status=204)
    assert heard[0].startswith(b"POST /hook?key=s3cret HTTP/1.1\r\n")
    assert f"Host: shop.example:{port}\r\n".encode() in heard[0]
    assert heard[0].endswith(b'\r\n\r\n{"a":1}')


def test_a_redirect_is_not_followed() -> None:
    def never(connection: socket.socket) -> None:
        followed.append(True)

    followed: list[bool] = []
    with answering(never) as inside:
        to = f"Location: http://127.0.0.1:{inside}/"
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Again", "308 For ever"):
            with answering(says(status, to)) as port:
                assert call(f"http://127.0.0.1:{port}/").status == int(status[:3])

    assert not followed


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(connection: socket.socket) -> None:
        asked.append(True)

    asked: list[bool] = []
    with answering(never) as proxy, answering(says("200 OK")) as port:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        outcome = call(f"http://127.0.0.1:{port}/")

    assert (outcome.status, asked) == (200, [])


def test_a_name_that_turns_inside_after_the_check_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: public when the create asked, loopback ever after."""
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    lookup: Lookup = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: object, **options: object) -> list[Any]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [one for address in found for one in lookup(address, port, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    connected: list[bool] = []
    with answering(lambda _: connected.append(True)) as port:
        url = f"http://rebinding.example:{port}/"
        assert asyncio.run(Receivers(private=False).refusal(url)) is None

        outcome = call(url, private=False)

    assert (outcome, connected) == (Outcome(error="address_refused"), [])


def test_it_connects_to_the_very_address_that_it_checked(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str] | Exception]
) -> None:
    """One resolution a connection: a second one could say something else."""
    asked: list[str] = []
    lookup: Lookup = socket.getaddrinfo

    def resolve(host: str, *rest: object, **options: object) -> list[Any]:
        asked.append(host)
        return lookup(host, *rest, **options)

    names["shop.example"] = ["127.0.0.1"]
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with answering(says("200 OK")) as port:
        call(f"http://shop.example:{port}/")

    assert asked.count("shop.example") == 1


def test_a_second_address_is_tried_where_the_first_is_dead(
    names: dict[str, list[str] | Exception],
) -> None:
    names["shop.example"] = ["127.0.0.2", "127.0.0.1"]
    with answering(says("200 OK")) as port:
        assert call(f"http://shop.example:{port}/").status == 200


def test_nobody_there_is_an_outcome(names: dict[str, list[str] | Exception]) -> None:
    names["nobody.example"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with answering(says("200 OK")) as port:
        pass

    assert call(f"http://127.0.0.1:{port}/") == Outcome(error="no_connection")
    assert call("http://nobody.example/") == Outcome(error="unknown_host")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 2", b"SSH-2.0-OpenSSH\r\n\r\n", b"\x00" * 200_000]
)
def test_what_is_no_answer_is_an_outcome(answer: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    with answering(speak) as port:
        assert call(f"http://127.0.0.1:{port}/") == Outcome(error="broken_off")


@pytest.mark.parametrize("piece", [b"x", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n"])
def test_a_receiver_that_dribbles_is_given_up_in_time(
    piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read succeeds; only the whole attempt has an end."""
    monkeypatch.setattr(receivers, "ATTEMPT_S", 0.3)
    over = threading.Event()

    def dribble(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(piece)
        while not over.wait(0.02):
            connection.sendall(b"a: b\r\n")

    with answering(dribble) as port:
        outcome = call(f"http://127.0.0.1:{port}/")
        over.set()

    assert outcome.error in ("timeout", "broken_off")


def test_of_an_answer_only_a_piece_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    def pour(connection: socket.socket) -> None:
        nonlocal sent
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.settimeout(20)
        while True:
            connection.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
            sent += 4096

    with answering(pour) as port:
        assert call(f"http://127.0.0.1:{port}/") == Outcome(status=200)

    assert sent < 20_000_000  # what the buffers of two sockets hold


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_interim_answers_without_end_are_broken_off(
    scheme: str,
    names: dict[str, list[str] | Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what was received, long before the attempt's time is over."""
    monkeypatch.setattr(receivers, "ATTEMPT_S", 5.0)
    files = certificate(tmp_path, "shop.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    names["shop.example"] = ["127.0.0.1"]

    def pour(connection: socket.socket) -> None:
        read_request(connection)
        connection.settimeout(20)
        while True:
            connection.sendall(b"HTTP/1.1 103 E\r\n\r\n" * 1000)

    with answering(pour, context if scheme == "https" else None) as port:
        outcome = call(f"{scheme}://shop.example:{port}/")

    assert outcome == Outcome(error="broken_off")


def test_a_body_that_never_ends_changes_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "ANSWER_S", 0.1)
    over = threading.Event()

    def promise(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        over.wait(20)

    with answering(promise) as port:
        outcome = call(f"http://127.0.0.1:{port}/")
        over.set()

    assert outcome == Outcome(status=200)


def test_tls_is_checked_against_the_name(
    names: dict[str, list[str] | Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And an authority of this machine's is trusted."""
    files = certificate(tmp_path, "shop.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    names["shop.example"] = names["other.example"] = ["127.0.0.1"]

    with answering(says("200 OK"), context) as port:
        good = call(f"https://shop.example:{port}/")
        bad = call(f"https://other.example:{port}/")

    assert (good, bad) == (Outcome(status=200), Outcome(error="tls"))
