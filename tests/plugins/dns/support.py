"""What the tests of names share: dnspython as the referee, questions, and ways to ask them."""

from __future__ import annotations

import string
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import trio
from hypothesis import strategies as st

from trioservice.net.addresses import Address
from trioservice.plugins.dns.answers import Answer, made
from trioservice.plugins.dns.names import from_text
from trioservice.plugins.dns.questions import Question
from trioservice.plugins.dns.records import ASKED, encode
from trioservice.plugins.dns.resolvers import Resolver

LIMIT = 10.0

_LETTERS = string.ascii_letters + string.digits + "-_"
labels = st.text(_LETTERS, min_size=1, max_size=63)
#: Names as people write them, in all sizes that there can be.
names = st.lists(labels, min_size=1, max_size=12).map(".".join).filter(lambda name: len(name) <= 253)


class Dictionary(Resolver):
    """A resolver that knows the addresses it was given, and counts how often it was asked."""

    def __init__(self, **addresses: str) -> None:
        self.asked = 0
        self.addresses = {from_text(name.replace("_", ".")): address for name, address in addresses.items()}

    def known(self, question: Question) -> Answer | None:
        self.asked += 1
        address = self.addresses.get(question.name)
        if address is None:
            return None
        packed = bytes(map(int, address.split(".")))
        return made(encode(ASKED, 1, 60, [packed])) if question.type == 1 else made()


class Slow(Resolver):
    """A resolver that asks others: it answers when the test lets it."""

    recursive = True

    def __init__(self, answer: Answer | Exception | None = None) -> None:
        self.answer = (
            made(encode(ASKED, 1, 5, [b"\x0a\0\0\1"]), authoritative=False) if answer is None else answer
        )
        self.go = trio.Event()
        self.waiting = 0
        self.asked: list[Question] = []

    def known(self, question: Question) -> Answer | None:
        return None

    async def find(self, question: Question) -> Answer:
        self.asked.append(question)
        self.waiting += 1
        try:
            await self.go.wait()
        finally:
            self.waiting -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def question(name: str, type: str = "A", **options: object) -> dns.message.Message:
    """A query as dnspython makes it, with EDNS unless that is unwanted."""
    options.setdefault("use_edns", 0)
    return dns.message.make_query(name, type, **options)  # type: ignore[arg-type]


def parsed(message: object) -> dns.message.Message:
    """An answer as dnspython reads it."""
    assert isinstance(message, bytes)
    return dns.message.from_wire(message)


def code(message: object) -> str:
    return dns.rcode.to_text(parsed(message).rcode())


def told(message: dns.message.Message) -> list[str]:
    """The records of the answer, each as a line, sorted."""
    return sorted(line for rrset in message.answer for line in rrset.to_text().splitlines())


async def ask_udp(address: Address, query: dns.message.Message) -> dns.message.Message:
    """What a server says by UDP."""
    return parsed(await raw_udp(address, query.to_wire()))


async def raw_udp(address: Address, data: bytes) -> bytes:
    with trio.fail_after(LIMIT), udp(address) as sock:
        await sock.connect(address)
        await sock.send(data)
        return await sock.recv(65535)


@contextmanager
def udp(address: Address) -> Iterator[trio.socket.SocketType]:
    family = trio.socket.AF_INET6 if ":" in address[0] else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        yield sock


async def ask_tcp(stream: trio.abc.Stream, query: dns.message.Message) -> dns.message.Message:
    """What a server says by TCP."""
    wire = query.to_wire()
    await stream.send_all(struct.pack("!H", len(wire)) + wire)
    return await receive_tcp(stream)


async def receive_tcp(stream: trio.abc.Stream) -> dns.message.Message:
    data = b""
    with trio.fail_after(LIMIT):
        while len(data) < 2 or len(data) < 2 + struct.unpack_from("!H", data)[0]:
            more = await stream.receive_some(
                1 if len(data) < 2 else 2 + struct.unpack_from("!H", data)[0] - len(data)
            )
            assert more, "the connection ended within an answer"
            data += more
    return parsed(data[2:])
