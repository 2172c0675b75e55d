"""The server: two doors to one desk, in a tree that starts and stops in the order that names need."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from net.support import connect, ended, eventually, running

from trioservice import Application, Service
from trioservice.events import StateChanged
from trioservice.lifecycle import State
from trioservice.plugins import dns as room
from trioservice.plugins.dns import DNSServer, ForwardResolver, HostsResolver, Resolver
from trioservice.plugins.dns.answers import made, respond
from trioservice.plugins.dns.events import QuestionFailed
from trioservice.plugins.dns.questions import read_query
from trioservice.plugins.dns.records import ASKED, encode

from .support import Dictionary, Slow, ask_tcp, ask_udp, question, raw_udp, receive_tcp, told, udp

LOCAL = "127.0.0.1"
GARBAGE = st.one_of(
    st.binary(max_size=300), st.binary(max_size=300).map(question("a.test").to_wire()[:12].__add__)
)


def server(*resolvers: Resolver, **options: Any) -> DNSServer:
    return DNSServer(0, resolvers or [Dictionary(a_test="192.0.2.1")], **{"host": LOCAL, **options})


ANSWER = respond(
    read_query(question("a.test", id=0).to_wire()), made(encode(ASKED, 1, 60, [b"\xc0\0\2\1"])), 512, False
)


async def test_both_doors_lead_to_the_same_answers() -> None:
    names = server()
    async with running(names), await connect(names.tcp) as stream:
        for message in (
            await ask_udp(names.udp.addresses[0], question("a.test")),
            await ask_tcp(stream, question("a.test")),
        ):
            assert told(message) == ["a.test. 60 IN A 192.0.2.1"]
        assert names.statistics().questions == 2


async def test_it_serves_ipv6() -> None:
    names = server(host="::1")
    async with running(names):
        assert told(await ask_udp(names.udp.addresses[0], question("a.test"))) == [
            "a.test. 60 IN A 192.0.2.1"
        ]


async def test_its_children_are_the_resolvers_that_are_services_and_the_doors(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("192.0.2.1 a.test\n")
    elsewhere = HostsResolver(tmp_path / "hosts", name="elsewhere")
    other = Application("other", elsewhere)
    names = server(HostsResolver(tmp_path / "hosts"), Dictionary(), ForwardResolver("10.0.0.1"), elsewhere)
    assert [child.name for child in names] == ["hosts", "forward", "udp", "tcp"]
    assert elsewhere.parent is other
    async with running(names) as (_, events):
        pass
    moves = [(event.path.rpartition("/")[2], event.new) for event in events.of(StateChanged)]
    started = [name for name, state in moves if state is State.RUNNING]
    stopped = [name for name, state in moves if state is State.STOPPED]
    assert started == ["hosts", "forward", "udp", "tcp", "DNSServer", "app"]
    assert stopped == ["tcp", "udp", "forward", "hosts", "DNSServer", "app"]


async def test_a_question_for_others_is_answered_when_they_have() -> None:
    slow = Slow()
    names = server(Dictionary(a_test="192.0.2.1"), slow)
    async with running(names):
        address = names.udp.addresses[0]
        with udp(address) as sock:
            await sock.connect(address)
            await sock.send(question("b.test").to_wire())
            await eventually(lambda: slow.waiting)
            await sock.send(question("a.test").to_wire())
            assert told(dns.message.from_wire(await sock.recv(9999))) == ["a.test. 60 IN A 192.0.2.1"]
            slow.go.set()
            assert told(dns.message.from_wire(await sock.recv(9999))) == ["b.test. 5 IN A 10.0.0.1"]


async def test_so_many_may_wait_and_no_more() -> None:
    slow = Slow()
    names = server(slow, max_waiting=1)
    async with running(names), await connect(names.tcp) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_udp, names.udp.addresses[0], question("a.test"))
            await eventually(lambda: slow.waiting)
            assert (await ask_udp(names.udp.addresses[0], question("b.test"))).rcode() == 2
            slow.go.set()
        slow.go = trio.Event()
        await send(stream, question("a.test", id=1), question("b.test", id=2))
        assert (await receive_tcp(stream)).id == 2
        slow.go.set()
        assert (await receive_tcp(stream)).id == 1


async def test_a_stop_waits_for_the_answers_that_are_on_their_way() -> None:
    slow = Slow()
    names = server(slow)
    answers: list[list[str]] = []
    async with running(names) as (app, _), await connect(names.tcp) as stream, trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(told(await ask_udp(names.udp.addresses[0], question("a.test"))))

        nursery.start_soon(ask)
        await send(stream, question("b.test"))
        await eventually(lambda: slow.waiting == 2)
        nursery.start_soon(app.stop)
        await eventually(lambda: names.tcp.state is State.STOPPING)
        slow.go.set()
        assert told(await receive_tcp(stream)) == ["b.test. 5 IN A 10.0.0.1"]
    assert answers == [["a.test. 5 IN A 10.0.0.1"]]


async def test_a_door_that_is_being_closed_answers_what_it_took_and_takes_nothing_for_others() -> None:
    slow = Slow()
    names = server(slow)
    async with running(names) as (app, _), trio.open_nursery() as nursery:
        address = names.udp.addresses[0]
        with udp(address) as sock:
            await sock.connect(address)
            await sock.send(question("a.test", id=1).to_wire())
            await eventually(lambda: slow.waiting)
            nursery.start_soon(app.stop)
            await eventually(lambda: names.udp.state is State.STOPPING)
            await trio.sleep(0.01)
            await sock.send(question("b.test", id=2).to_wire())
            declined = dns.message.from_wire(await sock.recv(9999))
            assert (declined.id, declined.rcode()) == (2, 2)
            slow.go.set()
            assert dns.message.from_wire(await sock.recv(9999)).id == 1


async def test_what_a_resolver_raises_is_told_and_ends_nothing() -> None:
    slow = Slow(LookupError("the library burns"))
    slow.go.set()
    names = server(slow)
    async with running(names) as (_, events):
        for _ in range(2):
            assert (await ask_udp(names.udp.addresses[0], question("a.test"))).rcode() == 2
        (event,) = events.of(QuestionFailed)
        assert str(event) == "a question ended with LookupError: the library burns"
        assert event.level == 40
        assert str(QuestionFailed("p", 0.0, LookupError("x"), 3)).endswith(
            "; and 3 more since the last such line"
        )
        assert names.statistics().failed == 2


async def test_it_can_be_started_again() -> None:
    """Rule L3."""
    names = server()
    async with running(names):
        for _ in range(2):
            assert told(await ask_udp(names.udp.addresses[0], question("a.test")))
            await names.restart()


# ---- limits


async def test_what_does_not_fit_into_a_datagram_comes_by_tcp() -> None:
    class Large(Resolver):
        def known(self, question: room.Question) -> room.Answer | None:
            return made(encode(ASKED, 16, 60, [b"\xc8" + b"x" * 200] * 30))

    names = server(Large())
    async with running(names), await connect(names.tcp) as stream:
        for options, limit in (({"use_edns": False}, 512), ({"payload": 4096}, 1232)):
            query = question("a.test", "TXT", **options)
            wire = await raw_udp(names.udp.addresses[0], query.to_wire())
            assert len(wire) <= limit
            assert dns.message.from_wire(wire).flags & dns.flags.TC
        message = await ask_tcp(stream, question("a.test", "TXT"))
        assert not message.flags & dns.flags.TC
        assert len(told(message)) == 1, "thirty alike are one to dnspython"


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(GARBAGE, max_size=8))
async def test_no_datagrams_crash_it_or_are_amplified(garbage: list[bytes]) -> None:
    names = server()
    async with running(names) as (_, events):
        address = names.udp.addresses[0]
        with udp(address) as sock:
            await sock.connect(address)
            for data in [*garbage, question("a.test", id=0).to_wire()]:
                await sock.send(data)
            most = max([len(data) + 11 for data in garbage], default=12)
            with trio.fail_after(5):
                while len(message := await sock.recv(9999)) != len(ANSWER) or message[2:] != ANSWER[2:]:
                    assert len(message) <= most
        assert names.udp.state is State.RUNNING
        assert not [event for event in events if event.level >= 40]


# ---- TCP


async def send(stream: trio.abc.SendStream, *messages: dns.message.Message) -> None:
    wires = [message.to_wire() for message in messages]
    await stream.send_all(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))


async def test_many_questions_of_one_connection_are_answered_as_they_can_be() -> None:
    """RFC 7766, section 6.2.1.1."""
    slow = Slow()
    names = server(Dictionary(a_test="192.0.2.1"), slow)
    async with running(names), await connect(names.tcp) as stream:
        await send(stream, question("b.test", id=1), question("a.test", id=2))
        assert (await receive_tcp(stream)).id == 2
        slow.go.set()
        assert (await receive_tcp(stream)).id == 1


async def test_a_question_may_come_byte_by_byte() -> None:
    names = server()
    wire = question("a.test").to_wire()
    async with running(names), await connect(names.tcp) as stream:
        for byte in struct.pack("!H", len(wire)) + wire:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.001)
        assert told(await receive_tcp(stream)) == ["a.test. 60 IN A 192.0.2.1"]


async def test_who_asks_without_end_is_not_read_from() -> None:
    slow = Slow()
    names = server(slow)
    async with running(names), await connect(names.tcp) as stream:
        await send(stream, *(question("a.test", id=number) for number in range(200)))
        await eventually(lambda: slow.waiting == 64)
        (conversation,) = names.tcp._conversations
        assert not conversation._transport.is_reading()
        assert slow.waiting == 64
        slow.go.set()
        assert {(await receive_tcp(stream)).id for _ in range(200)} == set(range(200))


async def test_who_will_ask_no_more_gets_his_answers() -> None:
    slow = Slow()
    names = server(slow)
    async with running(names), await connect(names.tcp) as stream:
        await send(stream, question("a.test"))
        await stream.send_eof()
        await eventually(lambda: slow.waiting)
        slow.go.set()
        assert told(await receive_tcp(stream))
        assert await ended(stream)


@pytest.mark.parametrize("said", [b"\xff\xff", b"\x00\x0c" + b"\0\1\x80\0" + b"\0" * 8, b"\0\0"])
async def test_who_says_what_no_client_says_is_hung_up_on(said: bytes) -> None:
    names = server()
    async with running(names) as (_, events), await connect(names.tcp) as stream:
        await stream.send_all(said)
        assert await ended(stream)
        assert not [event for event in events if event.level >= 40]


async def test_a_silent_connection_is_closed_and_does_not_hold_up_a_stop() -> None:
    names = server(idle_timeout=0.1)
    async with running(names), await connect(names.tcp) as stream:
        assert await ended(stream)
    names = server(idle_timeout=None)
    async with running(names) as (app, _), await connect(names.tcp) as stream:
        await ask_tcp(stream, question("a.test"))
        with trio.fail_after(2):
            await app.stop()


# ---- what cannot be


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_payload": 511}, "max_payload is a number of bytes from 512 to 4096, not 511"),
        ({"max_payload": 5000}, "max_payload"),
        ({"max_waiting": -1}, "max_waiting is a number from 0"),
        ({"allow_recursion": ["everybody"]}, "'everybody' is no network such as"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DNSServer(53, [Dictionary()], **options)


def test_a_resolver_is_an_object_that_knows() -> None:
    with pytest.raises(TypeError, match=r"resolvers are objects like HostsResolver"):
        DNSServer(53, ["/etc/hosts"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"resolvers are objects like HostsResolver"):
        DNSServer(53, [Service()])  # type: ignore[list-item]


def test_the_room_has_a_door_of_its_own() -> None:
    assert {name: getattr(room, name).__name__ for name in room.__all__} == {
        name: name for name in room.__all__
    }
    with pytest.raises(AttributeError, match="no attribute 'Sever'"):
        room.Sever  # noqa: B018
