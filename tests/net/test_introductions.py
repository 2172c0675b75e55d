"""What is said on a connection before its handler's turn: who the client is."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import NoReturn

import pytest
import trio
from trio.testing import MockClock

from trioservice import State
from trioservice.net.endpoints import server_endpoint
from trioservice.net.events import ConnectionFailed, ConnectionRejected, HandshakeFailed
from trioservice.net.introductions import Introduction
from trioservice.net.servers import StreamServer, TCPServer
from trioservice.net.tls import CertificateFiles, Certificates

from .support import LIMIT, LOCAL, ask, connect, echo, ended, eventually, running, who

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def told_v1(client: str, port: int = 4711) -> bytes:
    return f"PROXY TCP4 {client} 192.0.2.1 {port} 443\r\n".encode()


def told_v2(client: str, port: int = 4711) -> bytes:
    body = socket.inet_aton(client) + socket.inet_aton("192.0.2.1") + port.to_bytes(2) + (443).to_bytes(2)
    return SIGNATURE + b"\x21\x11" + len(body).to_bytes(2) + body


@pytest.mark.parametrize("told", [told_v1, told_v2], ids=["v1", "v2"])
@pytest.mark.parametrize("together", [True, False], ids=["together", "a byte at a time"])
async def test_the_handler_sees_the_client_that_the_proxy_tells(
    told: Callable[[str], bytes], together: bool
) -> None:
    """The addresses are the client's, and not a byte of what follows the header is lost."""
    server = TCPServer(0, who, host=LOCAL, proxy_protocol=["127.0.0.0/8"])
    async with running(server), await connect(server) as client:
        header = told("203.0.113.9")
        if together:
            await client.send_all(header + b"hello")
        else:
            for byte in header:
                await client.send_all(bytes([byte]))
            await client.send_all(b"hello")
        with trio.fail_after(LIMIT):
            answer = b"".join([part async for part in client])
        assert answer == b"('203.0.113.9', 4711) ('192.0.2.1', 443) hello"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00"], ids=["v1", "v2"])
async def test_a_proxys_own_check_keeps_the_proxys_address(header: bytes) -> None:
    """UNKNOWN and LOCAL tell of nobody else."""
    server = TCPServer(0, who, host=LOCAL, proxy_protocol=["127.0.0.0/8"])
    async with running(server), await connect(server) as client:
        port = client.socket.getsockname()[1]
        answer = await ask(client, header + b"hello", 1000)
        assert answer.startswith(f"('127.0.0.1', {port})".encode())
        assert answer.endswith(b" hello")


async def test_only_trusted_proxies_are_believed() -> None:
    """Whoever is no proxy of ours cannot claim to be somebody else; it is closed unheard."""
    server = TCPServer(0, who, host=LOCAL, proxy_protocol=["10.0.0.0/8"])
    async with running(server) as (_, events), await connect(server) as client:
        await client.send_all(told_v1("203.0.113.9") + b"hello")
        assert await ended(client)
        await eventually(lambda: events.of(ConnectionRejected))
        assert "proxy_protocol" in str(events.of(ConnectionRejected)[0])
        assert server.statistics().rejected == 1


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "PROXY"),
        (b"PROXY TCP4 nonsense\r\n", "PROXY"),
        (b"PROXY TC", "ended within its PROXY header"),
    ],
    ids=["none", "nonsense", "half"],
)
async def test_a_connection_without_a_proper_header_is_one_line(
    sent: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's fault is an INFO line without traceback, counted, and nobody else notices."""
    caplog.set_level(logging.INFO)
    server = TCPServer(0, who, host=LOCAL, proxy_protocol=["127.0.0.1"], name="srv")
    async with running(server) as (_, events), await connect(server) as client:
        await client.send_all(sent)
        await client.send_eof()
        assert await ended(client)
        await eventually(lambda: server.statistics().active == 0)
        (failure,) = events.of(HandshakeFailed)
        assert told in str(failure)
        assert not events.of(ConnectionFailed)
        assert server.statistics().failed == 1
        async with await connect(server) as other:
            assert b"hello" in await ask(other, told_v1("203.0.113.9") + b"hello", 1000)  # L16
    (record,) = [record for record in caplog.records if "handshake" in record.getMessage()]
    assert record.levelno == logging.INFO  # L16
    assert record.exc_info is None  # L16


async def test_a_client_that_dawdles_over_its_header_is_closed(autojump_clock: MockClock) -> None:
    """The handshake timeout bounds the header; others are served meanwhile."""
    server = TCPServer(0, who, host=LOCAL, proxy_protocol=["127.0.0.1"], handshake_timeout=7.0)
    async with running(server) as (_, events), await connect(server) as client:
        start = trio.current_time()
        await client.send_all(b"PROXY ")
        assert await ended(client)
        assert trio.current_time() - start == pytest.approx(7.0)
        await eventually(lambda: events.of(HandshakeFailed))
        assert "more than 7 s" in str(events.of(HandshakeFailed)[0])


async def test_behind_a_proxy_the_share_is_the_real_clients() -> None:
    """The limit per peer counts those whom the proxy tells, not the proxy."""
    server = TCPServer(0, who, host=LOCAL, proxy_protocol=["127.0.0.1"], max_connections_per_peer=1)
    async with running(server), await connect(server) as first, await connect(server) as second:
        await first.send_all(told_v1("203.0.113.9", 1))
        await eventually(lambda: server._peers.counts == {"203.0.113.9": 1})
        await second.send_all(told_v1("203.0.113.9", 2))
        assert await ended(second)
        async with await connect(server) as third:
            assert b"hello" in await ask(third, told_v1("203.0.113.10", 3) + b"hello", 1000)


async def test_an_endpoint_text_puts_a_server_behind_a_proxy() -> None:
    """`haproxy:` before another endpoint; this machine's proxies are believed."""
    server = StreamServer("haproxy:tcp:0:interface=127.0.0.1", who)
    async with running(server), await connect(server.addresses[0]) as client:
        assert b"203.0.113.9" in await ask(client, told_v1("203.0.113.9") + b"hello", 1000)


async def test_certificates_that_raise_end_one_connection_and_not_the_server() -> None:
    """What a user's own code has wrong is told with its traceback, and is no reason to stop."""

    class Vault(Certificates):
        @property
        def context(self) -> NoReturn:
            raise LookupError("the vault is closed")

        def load(self) -> None: ...

    server = TCPServer(0, echo, host=LOCAL, ssl_context=Vault())
    async with running(server) as (app, events), await connect(server) as client:
        assert await ended(client)
        await eventually(lambda: events.of(ConnectionFailed))
        (failure,) = events.of(ConnectionFailed)
        assert isinstance(failure.error, LookupError)
        assert failure.level == logging.ERROR
        assert app.state is State.RUNNING  # L16
        assert server.statistics().failed == 1


async def test_one_client_by_ipv4_and_by_mapped_ipv6_is_one_peer() -> None:
    """A proxy's habit of writing addresses does not double anybody's share."""
    server = TCPServer(0, who, host=LOCAL, proxy_protocol=LOCAL, max_connections_per_peer=1)
    async with running(server), await connect(server) as first, await connect(server) as second:
        await first.send_all(told_v1("203.0.113.9", 1))
        await eventually(lambda: server._peers.counts)
        await second.send_all(b"PROXY TCP6 ::ffff:203.0.113.9 ::1 2 443\r\n")
        assert await ended(second)


def test_no_proxy_can_be_before_standard_input() -> None:
    """A mistake in the endpoint is told when the server is made."""
    with pytest.raises(ValueError, match="no proxy can be before standard input"):
        StreamServer("haproxy:stdio:", echo)


def test_tls_is_spoken_once() -> None:
    """Two sources of certificates are a mistake, told where it is made."""
    endpoint = server_endpoint("haproxy:ssl:443:certKey=a.pem")
    with pytest.raises(ValueError, match="twice"):
        Introduction(endpoint, CertificateFiles("b.pem"))


def test_networks_that_are_none_are_refused_when_the_server_is_made() -> None:
    """A typing mistake must not open the door."""
    with pytest.raises(ValueError, match="trust is networks like"):
        TCPServer(0, echo, proxy_protocol=["10.0.0.0/33"])
