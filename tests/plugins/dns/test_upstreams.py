"""One question to one server: what is believed, what is passed over, and how it fails."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio

from trioservice import TCPServer, UDPServer
from trioservice.plugins.dns.names import from_text
from trioservice.plugins.dns.questions import Question
from trioservice.plugins.dns.upstreams import NoAnswerError, Upstream, upstream_of

from .support import parsed

LOCAL = "127.0.0.1"
ASKED = Question(from_text("a.test"), 1)
OK = b"\xc0\0\2\1"

Answering = Callable[[dns.message.Message], Awaitable[list[bytes]]]


def answer(query: dns.message.Message) -> dns.message.Message:
    message = dns.message.make_response(query)
    message.answer.append(dns.rrset.from_text("a.test.", 60, "IN", "A", "192.0.2.1"))
    return message


@asynccontextmanager
async def server(by_udp: Answering, by_tcp: Answering | None = None) -> AsyncIterator[Upstream]:
    """A server that says what the test wants."""

    async def datagram(data: bytes, peer: object, server: UDPServer) -> None:
        for message in await by_udp(parsed(data)):
            await server.send(message, peer)  # type: ignore[arg-type]

    async def stream(stream: trio.abc.Stream) -> None:
        assert by_tcp is not None
        (length,) = struct.unpack("!H", await stream.receive_some(2))
        for message in await by_tcp(parsed(await stream.receive_some(length))):
            await stream.send_all(message)

    udp = UDPServer(_free_for_both(), datagram, host=LOCAL)
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(udp.main)
        if by_tcp is not None:
            tcp = TCPServer(address[1], stream, host=LOCAL)
            await nursery.start(tcp.main)
        yield Upstream(*address)
        nursery.cancel_scope.cancel()


def _free_for_both() -> int:
    """A port that neither TCP nor UDP uses; the kernel knows of each apart."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            stream.bind((LOCAL, 0))
            port: int = stream.getsockname()[1]
            with suppress(OSError):
                datagrams.bind((LOCAL, port))
                return port


async def test_it_asks_for_recursion_in_a_message_that_everybody_understands() -> None:
    asked: list[dns.message.Message] = []

    async def by_udp(query: dns.message.Message) -> list[bytes]:
        asked.append(query)
        return [answer(query).to_wire()]

    async with server(by_udp) as upstream:
        for question in (ASKED, ASKED._replace(dnssec_ok=True, checking_disabled=True)):
            assert (await upstream.ask(question, 5)).body.endswith(OK)
    plain, signed = asked
    assert plain.flags == dns.flags.RD
    assert signed.flags == dns.flags.RD | dns.flags.CD
    assert (plain.payload, plain.ednsflags, signed.ednsflags) == (1232, 0, dns.flags.DO)


async def test_ids_and_ports_are_not_to_be_guessed() -> None:
    ids, ports = set(), set()

    async def datagram(data: bytes, peer: tuple[str, int], server: UDPServer) -> None:
        ids.add(data[:2])
        ports.add(peer[1])
        await server.send(answer(parsed(data)).to_wire(), peer)

    udp = UDPServer(0, datagram, host=LOCAL)
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(udp.main)
        for _ in range(50):
            await Upstream(*address).ask(ASKED, 5)
        nursery.cancel_scope.cancel()
    assert len(ids) > 40
    assert len(ports) > 40


async def test_forgeries_are_passed_over_and_the_true_answer_is_awaited() -> None:
    async def by_udp(query: dns.message.Message) -> list[bytes]:
        true = answer(query).to_wire()
        forged = true.replace(OK, b"\x06\6\6\6")
        other_id = bytes([true[0] ^ 1]) + forged[1:]
        other_name = answer(dns.message.make_query("b.test", "A", use_edns=0, id=query.id)).to_wire()
        return [b"", b"garbage", query.to_wire(), other_id, other_name, true]

    async with server(by_udp) as upstream:
        assert (await upstream.ask(ASKED, 5)).body.endswith(OK)


async def test_what_does_not_fit_is_asked_for_by_tcp() -> None:
    async def by_udp(query: dns.message.Message) -> list[bytes]:
        message = dns.message.make_response(query)
        message.flags |= dns.flags.TC
        return [message.to_wire()]

    async def by_tcp(query: dns.message.Message) -> list[bytes]:
        wire = answer(query).to_wire()
        length = struct.pack("!H", len(wire))
        return [length[:1], length[1:] + wire[:20], wire[20:]]

    async with server(by_udp, by_tcp) as upstream:
        assert (await upstream.ask(ASKED, 5)).body.endswith(OK)

    async def hangs_up(query: dns.message.Message) -> list[bytes]:
        return [b"\0\x20half"]

    async with server(by_udp, hangs_up) as upstream:
        with pytest.raises(NoAnswerError, match="closed the connection within its answer"):
            await upstream.ask(ASKED, 5)

    async with server(by_udp) as upstream:
        with pytest.raises(NoAnswerError):
            await upstream.ask(ASKED, 5)


async def test_who_says_nothing_is_not_waited_for_longer_than_that() -> None:
    async def by_udp(query: dns.message.Message) -> list[bytes]:
        return []

    async with server(by_udp) as upstream:
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.05 s"):
            await upstream.ask(ASKED, 0.05)


async def test_who_refuses_has_not_answered() -> None:
    async def by_udp(query: dns.message.Message) -> list[bytes]:
        message = dns.message.make_response(query)
        message.set_rcode(dns.rcode.REFUSED)
        return [message.to_wire()]

    async with server(by_udp) as upstream:
        with pytest.raises(NoAnswerError, match="it answers with code 5"):
            await upstream.ask(ASKED, 5)


async def test_nobody_is_there() -> None:
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((LOCAL, 0))
        port = sock.getsockname()[1]
    with pytest.raises(NoAnswerError, match="refused"):
        await Upstream(LOCAL, port).ask(ASKED, 5)


@pytest.mark.parametrize(
    ("text", "upstream", "shown"),
    [
        ("9.9.9.9", Upstream("9.9.9.9", 53), "9.9.9.9:53"),
        (" 9.9.9.9:5353", Upstream("9.9.9.9", 5353), "9.9.9.9:5353"),
        ("2620:FE::fe", Upstream("2620:fe::fe", 53), "[2620:fe::fe]:53"),
        ("[2620:fe::fe]", Upstream("2620:fe::fe", 53), "[2620:fe::fe]:53"),
        ("[2620:fe::fe]:5353", Upstream("2620:fe::fe", 5353), "[2620:fe::fe]:5353"),
    ],
)
def test_an_upstream_is_an_address_and_perhaps_a_port(text: str, upstream: Upstream, shown: str) -> None:
    assert upstream_of(text) == upstream
    assert str(upstream) == shown
    assert upstream_of(shown) == upstream


@pytest.mark.parametrize(
    "text", ["", "dns.example", "9.9.9.9:0", "9.9.9.9:x", "[::1", "[::1]53", "1.2.3.4.5"]
)
def test_a_name_is_no_upstream_as_somebody_would_have_to_be_asked_for_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|^\[::1"):
        upstream_of(text)
