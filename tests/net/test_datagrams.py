"""Datagrams: boundaries, order, isolation, limits, drain; UDP and UNIX sockets alike."""

from __future__ import annotations

import copy
import errno
import logging
import os
import pickle
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from trioservice import Application, CannotListenError, MultiService, ServicesFailed, State, current_service
from trioservice.errors import CannotConnectError, CannotSendError, DatagramTooLargeError, ServiceStateError
from trioservice.events import DrainCut
from trioservice.net import datagram_sockets
from trioservice.net.addresses import Address
from trioservice.net.datagram_sockets import DatagramSocket, bind_datagrams, connect_datagrams
from trioservice.net.datagrams import (
    DatagramClient,
    DatagramServer,
    DatagramService,
    UDPClient,
    UDPServer,
    UNIXDatagramClient,
    UNIXDatagramServer,
)
from trioservice.net.endpoints import (
    DatagramClientEndpoint,
    DatagramServerEndpoint,
    UDPClientEndpoint,
    UDPServerEndpoint,
)
from trioservice.net.events import DatagramDropped, DatagramFailed, DatagramRejected, Listening

from .support import LIMIT, LOCAL, eventually, needs_short_queues, running

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux does this")


async def echo(data: bytes, peer: Address, server: DatagramServer) -> None:
    """The handler that needs no introduction."""
    await server.send(data, peer)


class Gate:
    """A handler that answers when the test lets it."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.began: list[bytes] = []
        self.cancelled = 0

    async def __call__(self, data: bytes, peer: Address, server: DatagramServer) -> None:
        self.began.append(data)
        try:
            await self.open.wait()
            await server.send(data.upper(), peer)
        except trio.Cancelled:
            self.cancelled += 1
            raise


class Inbox:
    """A client's handler that keeps what comes."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.peers: list[Address] = []

    async def __call__(self, data: bytes, peer: Address, client: DatagramService) -> None:
        self.got.append(data)
        self.peers.append(peer)


@contextmanager
def plain(server: DatagramServer | tuple[str, int], host: str = LOCAL) -> Iterator[socket.socket]:
    """A socket without any service, connected to a UDP server."""
    address = server.addresses[0] if isinstance(server, DatagramServer) else server
    assert isinstance(address, tuple)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((host, address[1]))
        sock.setblocking(False)
        yield sock


async def receive(sock: socket.socket) -> bytes:
    """The next datagram."""
    with trio.fail_after(LIMIT):
        await trio.lowlevel.wait_readable(sock)
    return sock.recv(100_000)


async def ask(sock: socket.socket, data: bytes) -> bytes:
    """Send a datagram, and what comes back."""
    sock.send(data)
    return await receive(sock)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---- addresses and arguments


async def test_a_udp_server_answers_and_tells_where_it_is_bound() -> None:
    """For port 0 the real port is told, in `addresses`, as the start's value and as an event."""
    server = UDPServer(0, echo, host=LOCAL)
    assert server.addresses == ()
    async with running(server) as (_, events):
        ((host, port),) = server.addresses
        assert (host, port > 0) == (LOCAL, True)
        assert [event.addresses for event in events.of(Listening)] == [((host, port),)]
        with plain(server) as client:
            assert await ask(client, b"hello") == b"hello"
    assert server.addresses == ()


async def test_a_server_and_a_client_talk_under_one_parent() -> None:
    """Each transport has a server and a client, as services beside each other."""
    inbox = Inbox()
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server) as (app, _):
        client = UDPClient(LOCAL, server.addresses[0][1], inbox)
        await app.start_service(client)
        await client.send(b"hello")
        await eventually(lambda: inbox.got)
        assert (inbox.got, inbox.peers) == ([b"hello"], [server.addresses[0]])  # row 27
        for side in (server, client):
            statistics = side.statistics()
            assert (statistics.received, statistics.sent) == (1, 1)
            assert (statistics.bytes_received, statistics.bytes_sent) == (5, 5)
    assert client.state is State.STOPPED
    with pytest.raises(ServiceStateError, match="does not run, so nothing can be sent"):
        await client.send(b"late")
    with pytest.raises(ServiceStateError, match="is not bound, so nothing can be sent"):
        await server.send(b"late", (LOCAL, 9))


async def test_an_endpoint_is_a_text_or_a_description() -> None:
    """`DatagramServer` and `DatagramClient` take what an operator wrote."""
    inbox = Inbox()
    server = DatagramServer("udp:0:interface=127.0.0.1", echo)
    async with running(server) as (app, _):
        client = DatagramClient(f"udp:127.0.0.1:{server.addresses[0][1]}", inbox)
        await app.start_service(client)
        await client.send(b"hello")
        await eventually(lambda: inbox.got == [b"hello"])


@pytest.mark.parametrize("option", ["max_handlers", "queue_size", "max_datagram"])
@pytest.mark.parametrize("wrong", [0, -1, 1.5, None])
def test_a_limit_that_cannot_be_one_is_refused_when_the_server_is_made(option: str, wrong: Any) -> None:
    """Mistakes in the arguments are told where they are written."""
    with pytest.raises(ValueError, match=f"{option} is a number from 1"):
        UDPServer(0, echo, **{option: wrong})


def test_a_handler_that_is_none_is_refused_by_servers_and_taken_by_clients() -> None:
    """A server without a handler has no use; a client may only send."""
    with pytest.raises(TypeError, match="needs a handler"):
        UDPServer(0, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="handler is an async function"):
        UDPServer(0, "echo")  # type: ignore[arg-type]
    assert UDPClient(LOCAL, 9).state is State.STOPPED


def test_a_buffer_larger_than_any_datagram_is_refused() -> None:
    """It would be made anew for each of them."""
    with pytest.raises(ValueError, match="max_datagram is a number from 1 to 65535, not 65536"):
        UDPServer(0, echo, max_datagram=65_536)
    assert UDPServer(0, echo, max_datagram=65_535).max_datagram == 65_535


def test_an_endpoint_that_is_none_is_refused_when_the_service_is_made() -> None:
    """A port alone, nothing, or what is for the other side: the error says what is wanted."""
    for wrong in (7006, None, UDPClientEndpoint(LOCAL, 9)):
        with pytest.raises(TypeError, match="endpoint is a text like 'udp:7006', or the description of one"):
            DatagramServer(wrong, echo)  # type: ignore[arg-type]
    for wrong in (7006, None, UDPServerEndpoint(9)):
        with pytest.raises(TypeError, match=r"endpoint is a text like 'udp:example\.com:53', or the descr"):
            DatagramClient(wrong, echo)  # type: ignore[arg-type]


async def test_a_port_that_is_taken_fails_the_start() -> None:
    """A server that cannot be bound is never said to run."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOCAL, 0))
        port = other.getsockname()[1]
        with pytest.raises(ServicesFailed) as caught:
            await Application("app", UDPServer(port, echo, host=LOCAL), handle_signals=False).main()
    (error,) = caught.value.exceptions
    assert isinstance(error, CannotListenError)
    assert f"cannot listen on {LOCAL}:{port}" in str(error)


async def test_the_same_port_can_be_bound_again_at_once_after_the_end() -> None:
    """Nothing of a server stays behind in the kernel."""
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server):
        port = server.addresses[0][1]
    for _ in range(3):
        again = UDPServer(port, echo, host=LOCAL)
        async with running(again):
            with plain(again) as client:
                assert await ask(client, b"hello") == b"hello"  # row 20


async def test_a_server_can_be_told_the_port_of_all_interfaces_and_answers_from_the_one_asked() -> None:
    """A client that asked 127.0.0.2 would drop an answer from 127.0.0.1."""
    server = UDPServer(0, echo)
    async with running(server):
        assert [host for host, _ in server.addresses] == ["0.0.0.0", "::"]
        for host in (LOCAL, "127.0.0.2", "::1"):
            with plain(server, host) as client:
                assert await ask(client, host.encode()) == host.encode()


async def test_one_socket_for_both_families_answers_both() -> None:
    """`v6_only=False` lets an IPv6 socket take IPv4 too, and answer it from the address asked."""
    server = UDPServer(0, echo, host="::", v6_only=False)
    async with running(server):
        for host in ("127.0.0.2", "::1"):
            with plain(server, host) as client:
                assert await ask(client, b"hello") == b"hello"


async def test_a_server_of_several_sockets_answers_from_the_one_that_was_asked() -> None:
    """Also long after the handler has returned: the peer remembers where it was heard."""
    asked: list[Address] = []

    async def keep(data: bytes, peer: Address, server: DatagramServer) -> None:
        asked.append(peer)

    server = UDPServer(0, keep, host=(LOCAL, "127.0.0.2"))
    async with running(server):
        with plain(server, "127.0.0.2") as client:
            client.send(b"?")
            await eventually(lambda: asked)
            assert asked == [client.getsockname()]
            await server.send(b"!", asked[0])
            assert await receive(client) == b"!"


async def test_send_takes_any_address_of_a_family_that_it_is_bound_to() -> None:
    """A server may speak first; what it cannot reach, it says at once."""
    server = UDPServer(0, echo, host=LOCAL, name="srv")
    async with running(server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((LOCAL, 0))
            await server.send(memoryview(b"hello"), other.getsockname())
            assert await receive(other) == b"hello"
        with pytest.raises(ValueError, match=r"cannot be reached from 127\.0\.0\.1:\d+"):
            await server.send(b"x", ("::1", 9))
        with pytest.raises(ValueError, match="cannot be reached"):
            await server.send(b"x", "/run/x.sock")
        with pytest.raises(ValueError, match="'localhost' is a name"):
            await server.send(b"x", ("localhost", 9))


@pytest.mark.parametrize(
    "wrong",
    [
        (LOCAL,),
        (LOCAL, 80, 0),
        (LOCAL, "80"),
        (LOCAL, 70_000),
        (LOCAL, 0),
        (None, 80),
        [LOCAL, 80],
        None,
        b"x",
        5,
    ],
    ids=repr,
)
async def test_what_is_no_address_is_refused_in_one_sentence(wrong: Any) -> None:
    """Before anything is sent, and whatever the system would have said."""
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server):
        with pytest.raises(ValueError, match=r"send\(\) takes an address .* 1 to 65535, not ") as caught:
            await server.send(b"x", wrong)
        assert str(caught.value).endswith(repr(wrong))


@pytest.mark.parametrize("scope", ["nope0", "77777", "9" * 30])
async def test_an_interface_that_does_not_exist_is_named(scope: str) -> None:
    """With those that there are."""
    server = UDPServer(0, echo, host="::1")
    async with running(server):
        with pytest.raises(ValueError, match=f"there is no interface '{scope}' to send by; there are .*lo"):
            await server.send(b"x", (f"fe80::1%{scope}", 9))


async def test_a_server_of_both_families_sends_to_both() -> None:
    """Its one socket is of IPv6, and takes IPv4 addresses as everybody writes them."""
    both, only6 = UDPServer(0, echo, host="::", v6_only=False), UDPServer(0, echo, host="::")
    local6 = UDPServer(0, echo, host="::1", v6_only=False)
    async with running(both, only6, local6):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((LOCAL, 0))
            await both.send(b"hello", other.getsockname())
            assert await receive(other) == b"hello"
            for server in (only6, local6):
                with pytest.raises(ValueError, match="it is an address of another family"):
                    await server.send(b"hello", other.getsockname())


async def test_peers_and_events_can_be_copied_and_are_plain_then(tmp_path: Path) -> None:
    """A subscriber may put them into a queue to another process; what it gets is an address."""
    peers: list[Any] = []

    async def keep(data: bytes, peer: Address, server: DatagramServer) -> None:
        peers.append(peer)
        raise ValueError("told")

    udp, unix = UDPServer(0, keep, host=LOCAL), UNIXDatagramServer(tmp_path / "sock", keep)
    async with running(udp, unix) as (app, events):
        local = UNIXDatagramClient(tmp_path / "sock")
        await app.start_service(local)
        with plain(udp) as client:
            client.send(b"x")
            await eventually(lambda: len(peers) == 1)
        await local.send(b"x")
        await eventually(lambda: len(events.of(DatagramFailed)) == 2)
    for peer, event, kind in zip(peers, events.of(DatagramFailed), (tuple, str), strict=True):
        for copied in (pickle.loads(pickle.dumps(peer)), copy.deepcopy(peer), copy.deepcopy(event).peer):
            assert (type(copied), copied) == (kind, peer)
        assert pickle.loads(pickle.dumps(event)).peer == peer


async def test_a_peer_that_another_server_heard_is_reached_by_ones_own_socket() -> None:
    """A relay answers as itself."""
    outer, inner = UDPServer(0, echo, host=LOCAL, name="outer"), Inbox()

    async def relay(data: bytes, peer: Address, server: DatagramServer) -> None:
        await outer.send(data, peer)

    front = UDPServer(0, relay, host=LOCAL)
    async with running(outer, front):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((LOCAL, 0))
            client.sendto(b"x", front.addresses[0])  # type: ignore[arg-type]
            with trio.fail_after(LIMIT):
                await trio.lowlevel.wait_readable(client)
            assert client.recvfrom(10) == (b"x", outer.addresses[0])
    assert inner.got == []


async def test_a_link_local_peer_is_named_with_its_interface_and_can_be_answered() -> None:
    """`fe80::1` is another machine on each network, so the interface is part of the address."""
    peers: list[Address] = []

    async def keep(data: bytes, peer: Address, server: DatagramServer) -> None:
        peers.append(tuple(peer))  # type: ignore[arg-type]
        await server.send(data, peer)
        await server.send(b"again", tuple(peer))  # type: ignore[arg-type]

    server = UDPServer(0, keep)
    own = _link_local()
    async with running(server):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(socket.getaddrinfo(own, server.addresses[0][1])[0][4])
            assert await ask(client, b"hello") == b"hello"
            assert await receive(client) == b"again"
    assert peers == [(own, peers[0][1])]


def _link_local() -> str:
    with open("/proc/net/if_inet6") as table:
        for line in table:
            packed, _, _, scope, flags, name = line.split()
            if scope == "20" and int(flags, 16) & 0x40 == 0:
                return f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(packed))}%{name}"
    pytest.skip("no interface here has a link-local address")


@pytest.mark.parametrize(
    ("arrived_at", "index_told"),
    [("2001:db8::1", 0), ("fe80::1", 7), ("::1", 0), ("ff02::1", None), ("::ffff:239.1.2.3", None)],
)
def test_an_answer_names_the_interface_only_for_link_local_addresses(
    arrived_at: str, index_told: int | None
) -> None:
    """Elsewhere the way back may be another one; and a group is no address to answer from."""
    packed, option = socket.inet_pton(socket.AF_INET6, arrived_at), (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    told = datagram_sockets._from_there([(*option, packed + struct.pack("@I", 7))])
    assert list(told) == ([] if index_told is None else [(*option, packed + struct.pack("@I", index_told))])


def test_an_interface_that_has_gone_is_named_by_its_number() -> None:
    """Nothing else is known of it any more."""
    assert datagram_sockets._peer(("fe80::1", 9, 0, 77777)) == ("fe80::1%77777", 9)


async def test_a_socket_that_somebody_else_has_opened_is_served() -> None:
    """`fd:` is a socket left open for us; it is bound already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lent:
        lent.bind((LOCAL, 0))
        address, descriptor = lent.getsockname(), lent.detach()
    server = DatagramServer(f"fd:{descriptor}", echo)
    async with running(server):
        assert server.addresses == (address,)
        with plain(server) as client:
            assert await ask(client, b"hello") == b"hello"


def test_a_peer_prints_and_compares_as_what_it_is() -> None:
    """What it remembers besides is nobody's business."""
    peer, path = datagram_sockets._peer((LOCAL, 9)), datagram_sockets._peer(b"\0abstract")
    assert (peer, path, datagram_sockets._peer(None)) == ((LOCAL, 9), "@abstract", "")
    assert {peer: 1}[(LOCAL, 9)] == 1  # type: ignore[index]
    assert repr(peer) == f"('{LOCAL}', 9)"


async def test_other_packages_can_bring_kinds_of_their_own() -> None:
    """Whoever registers how to bind or connect a kind can use it; others are told."""

    class Nothing(DatagramServerEndpoint, DatagramClientEndpoint):
        kind = "nothing"

        def __str__(self) -> str:
            return "nothing:"

    with pytest.raises(TypeError, match="is no endpoint that a datagram server can be bound to"):
        await bind_datagrams(Nothing())
    with pytest.raises(TypeError, match="is no endpoint that a datagram client can send to"):
        await connect_datagrams(Nothing())


# ---- boundaries

payloads = st.lists(
    st.binary(max_size=64) | st.just(b"") | st.integers(0, 65_507).map(bytes) | st.just(bytes(65_507)),
    max_size=12,
)


async def exchange(
    server: DatagramServer, client_of: Callable[[DatagramServer, Inbox], DatagramClient], sent: list[bytes]
) -> None:
    """All of *sent* comes to the server and back, each in one piece, and in order."""
    heard, inbox = Inbox(), Inbox()

    async def keep_and_echo(data: bytes, peer: Address, server: DatagramServer) -> None:
        await heard(data, peer, server)
        await server.send(data, peer)

    server._handler = keep_and_echo
    async with running(server) as (app, _):
        client = client_of(server, inbox)
        await app.start_service(client)
        for number, data in enumerate(sent, 1):
            await client.send(data)
            if number % 2 == 0:  # the kernel's buffer holds two of the largest, and more is lost
                await eventually(lambda: len(inbox.got) == number)  # noqa: B023
        await eventually(lambda: len(inbox.got) == len(sent))
        assert heard.got == sent
        assert inbox.got == sent
        size = sum(map(len, sent))
        assert (client.statistics().bytes_sent, server.statistics().bytes_received) == (size, size)


@given(payloads)
@example([bytes(65_507), b"", b"x"])
@settings(deadline=None, max_examples=25)
def test_udp_datagrams_keep_their_boundaries(sent: list[bytes]) -> None:
    """Whatever is sent, empty and the largest included, arrives in the same pieces."""
    server = UDPServer(0, echo, host=LOCAL)
    trio.run(exchange, server, lambda server, inbox: UDPClient(*server.addresses[0], inbox), sent)


@given(payloads)
@example([bytes(65_507), b"", b"x"])
@settings(deadline=None, max_examples=25)
def test_unix_datagrams_keep_their_boundaries(sent: list[bytes]) -> None:
    """The same through a file."""
    with tempfile.TemporaryDirectory() as folder:
        server = UNIXDatagramServer(Path(folder, "sock"), echo)
        trio.run(exchange, server, lambda server, inbox: UNIXDatagramClient(server.addresses[0], inbox), sent)


async def test_what_is_longer_than_max_datagram_is_dropped_counted_and_told_once_a_second() -> None:
    """Half a datagram is no datagram."""
    inbox = Inbox()
    server = UDPServer(0, inbox, host=LOCAL, max_datagram=10)
    async with running(server) as (_, events):
        with plain(server) as client:
            for size in (10, 11, 5000, 9):
                client.send(bytes(size))
            await eventually(lambda: len(inbox.got) == 2)
            assert [len(data) for data in inbox.got] == [10, 9]
            statistics = server.statistics()
            assert (statistics.received, statistics.oversize, statistics.dropped) == (4, 2, 0)
            (told,) = events.of(DatagramRejected)
            assert told.level == logging.INFO
            assert str(told) == (
                f"rejected a datagram from {LOCAL}:{client.getsockname()[1]}: "
                "it has more than 10 bytes (max_datagram)"
            )


async def test_what_is_too_large_to_send_is_said_with_its_size_and_the_limit(tmp_path: Path) -> None:
    """A mistake of the sender's, who is told; the service goes on."""
    udp, unix = UDPServer(0, echo), UNIXDatagramServer(tmp_path / "sock", echo)
    async with running(udp, unix) as (app, _):
        client = UDPClient(LOCAL, udp.addresses[0][1])
        await app.start_service(client)
        with pytest.raises(DatagramTooLargeError, match=r"65508 bytes are too large .* at most 65507"):
            await client.send(bytes(65_508))
        with pytest.raises(DatagramTooLargeError, match=r"65528 bytes are too large .* at most 65527"):
            await udp.send(bytes(65_528), ("::1", udp.addresses[1][1]))
        local = UNIXDatagramClient(tmp_path / "sock")
        await app.start_service(local)
        limit = local._sockets[0].limit
        with pytest.raises(
            DatagramTooLargeError, match=rf"{limit + 1} bytes .* {tmp_path}/sock, .* {limit};"
        ):
            await local.send(bytes(limit + 1))
        await local.send(b"x")
        assert client.statistics().sent == 0
        assert local.statistics().sent == 1


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.EMSGSIZE, DatagramTooLargeError, "5 bytes are too large .*: a network on the way takes less"),
        (errno.EINVAL, OSError, "Invalid argument"),
        (errno.EHOSTUNREACH, CannotSendError, f"cannot send to {LOCAL}:9: No route to host"),
    ],
)
async def test_other_refusals_say_whose_fault_they_are(
    number: int, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is neither the network's nor the size's stays what the system calls it."""

    def refuse(self: DatagramSocket, data: bytes, to: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(DatagramSocket, "send", refuse)
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server):
        with pytest.raises(kind, match=said) as caught:
            await server.send(b"hello", (LOCAL, 9))
        assert isinstance(caught.value, CannotSendError) == (number == errno.EHOSTUNREACH)


# ---- isolation


async def test_a_handler_that_raises_ends_its_datagram_and_nothing_else(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """A bug is told with its traceback, at once, and then once a second with the number of others."""

    async def buggy(data: bytes, peer: Address, server: DatagramServer) -> None:
        if data == b"bug":
            raise ValueError("a bug")
        await server.send(data, peer)

    server = UDPServer(0, buggy, host=LOCAL, name="srv")
    async with running(server) as (app, events):
        with plain(server) as client:
            for data in (b"bug", b"bug", b"bug"):
                client.send(data)
            assert await ask(client, b"fine") == b"fine"  # L16
            await trio.sleep(1.5)
            client.send(b"bug")
            assert await ask(client, b"fine") == b"fine"  # L16
            peer = client.getsockname()
        first, second = events.of(DatagramFailed)  # L16
        assert (first.path, first.peer, first.by_peer, first.times) == ("app/srv", peer, False, 0)
        assert str(first) == f"handler for a datagram from {LOCAL}:{peer[1]} raised ValueError: a bug"
        assert second.times == 2
        assert str(second).endswith("a bug; and 2 more since the last such line")
        assert server.statistics().failed == 4
        assert app.state is State.RUNNING
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(records) == 2
    assert records[0].exc_info is not None


async def test_an_answer_that_the_network_refuses_is_one_line_without_traceback(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The peer has gone, and a handler needs no `try` for that; not even in a nursery of its own."""
    caplog.set_level(logging.INFO)

    async def nested(data: bytes, peer: Address, server: DatagramServer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send, data, peer)

    server = UNIXDatagramServer(tmp_path / "sock", nested, name="srv")
    async with running(server) as (_, events):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(tmp_path / "client"))
            os.unlink(tmp_path / "client")
            client.sendto(b"x", str(tmp_path / "sock"))
        await eventually(lambda: events.of(DatagramFailed))
        assert server.statistics().failed == 1
    (record,) = [record for record in caplog.records if "failed" in record.getMessage()]
    assert (record.levelno, record.exc_info) == (logging.INFO, None)  # L16
    assert record.getMessage() == (
        f"app/srv: datagram for {tmp_path}/client failed: "
        f"cannot send to {tmp_path}/client: No such file or directory"
    )


async def test_a_bug_is_told_however_much_the_network_refuses(autojump_clock: MockClock) -> None:
    """What a peer can provoke does not hide what we have to mend."""

    async def handler(data: bytes, peer: Address, server: DatagramServer) -> None:
        raise CannotSendError(errno.EPERM, "refused") if data == b"refused" else ValueError("a bug")

    server = UDPServer(0, handler, host=LOCAL)
    async with running(server) as (_, events):
        with plain(server) as client:
            for data in (b"refused", b"refused", b"bug", b"bug"):
                client.send(data)
            await eventually(lambda: server.statistics().failed == 4)
        assert [event.by_peer for event in events.of(DatagramFailed)] == [True, False]


async def test_a_bug_beside_a_refusal_is_a_bug() -> None:
    """What is not the network's fault is not hidden behind what is."""

    async def both(data: bytes, peer: Address, server: DatagramServer) -> None:
        raise ExceptionGroup("both", [CannotSendError(errno.EPERM, "refused"), ValueError("a bug")])

    server = UDPServer(0, both, host=LOCAL)
    async with running(server) as (_, events):
        with plain(server) as client:
            client.send(b"x")
            await eventually(lambda: events.of(DatagramFailed))
        assert not events.of(DatagramFailed)[0].by_peer


async def test_a_handler_that_raises_while_it_is_cancelled_ends_as_cancelled() -> None:
    """Its error is told, and the cancellation is not swallowed."""

    async def messy(data: bytes, peer: Address, server: DatagramServer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("a bug in the cleanup")

    server = UDPServer(0, messy, host=LOCAL, drain_timeout=0)
    async with running(server) as (_, events):
        with plain(server) as client:
            client.send(b"x")
            await eventually(lambda: server.statistics().active)
        await server.stop()
        assert [str(event.error) for event in events.of(DatagramFailed)] == [  # L17
            "Exceptions from Trio nursery (1 sub-exception)"
        ]


async def test_what_ends_programs_is_not_taken_for_an_error_of_a_datagram() -> None:
    """Not even beside one."""

    async def leave(data: bytes, peer: Address, server: DatagramServer) -> None:
        raise BaseExceptionGroup("both", [SystemExit(3), ValueError("a bug")])

    server = UDPServer(0, leave, host=LOCAL)
    app = Application("app", server, handle_signals=False)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            with plain(server) as client:
                client.send(b"x")
                with trio.fail_after(LIMIT):
                    await server.wait_stopped()
    assert caught.group_contains(SystemExit)  # L17
    assert server.statistics().failed == 1


async def test_a_client_of_a_closed_port_is_told_and_goes_on() -> None:
    """ICMP says of the datagram before that nobody is there; this one is sent all the same."""
    inbox = Inbox()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind((LOCAL, 0))
        port = reserved.getsockname()[1]
    client = UDPClient(LOCAL, port, inbox)
    async with running(client) as (app, events):
        for number in range(1, 6):
            await client.send(b"anybody?")
            assert client.statistics().sent == number
        await eventually(lambda: client.statistics().failed >= 4)
        (told,) = events.of(DatagramFailed)
        assert (told.by_peer, told.level, told.peer) == (True, logging.INFO, (LOCAL, port))
        assert "Connection refused" in str(told)
        await app.start_service(UDPServer(port, echo, host=LOCAL))
        await client.send(b"now?")
        await eventually(lambda: inbox.got == [b"now?"])  # L16
        assert client.running


async def test_complaints_that_come_with_recv_or_without_a_peer_end_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other systems raise them from any socket; and a kernel without memory is asked again."""
    troubles = [ConnectionResetError(errno.ECONNRESET, "reset"), OSError(errno.ENOMEM, "no memory")]
    receive_well = DatagramSocket.receive

    def receive_badly(self: DatagramSocket, most: int) -> tuple[bytes, Address]:
        if troubles:
            raise troubles.pop(0)
        return receive_well(self, most)

    monkeypatch.setattr(DatagramSocket, "receive", receive_badly)
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server) as (_, events):
        with plain(server) as client:
            assert await ask(client, b"hello") == b"hello"  # L16
        assert [str(event) for event in events.of(DatagramFailed)] == [
            "datagram for an unknown peer failed: [Errno 104] reset"
        ]


@pytest.mark.parametrize("call", [1, 2, 3, 4])
async def test_a_kernel_without_memory_is_asked_again(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads at that moment, the hearing task or a worker, nothing ends."""
    calls = 0
    receive_well = DatagramSocket.receive

    def receive_badly(self: DatagramSocket, most: int) -> tuple[bytes, Address]:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOMEM, "no memory")
        return receive_well(self, most)

    monkeypatch.setattr(DatagramSocket, "receive", receive_badly)
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server):
        with plain(server) as client:
            for _ in range(3):
                assert await ask(client, b"hello") == b"hello"  # L16
    assert calls > call


async def test_an_error_of_the_socket_itself_fails_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nobody's datagram is not hidden."""

    def broken(self: DatagramSocket, most: int) -> tuple[bytes, Address]:
        raise OSError(errno.ENOTSOCK, "no socket")

    monkeypatch.setattr(DatagramSocket, "receive", broken)
    server = UDPServer(0, echo, host=LOCAL)
    app = Application("app", server, handle_signals=False)
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            with plain(server) as client:
                client.send(b"x")
                await server.wait_stopped()
    assert caught.group_contains(OSError, match="no socket")


async def test_a_handler_that_is_no_async_function_is_told_as_such() -> None:
    """The likely mistake, by its name."""
    heard: list[bytes] = []

    def handler(data: bytes, peer: Address, server: DatagramServer) -> None:
        heard.append(data)

    server = UDPServer(0, handler, host=LOCAL)  # type: ignore[arg-type]
    async with running(server) as (_, events):
        with plain(server) as client:
            client.send(b"x")
            await eventually(lambda: events.of(DatagramFailed))
        (told,) = events.of(DatagramFailed)
        assert isinstance(told.error, TypeError)
        assert "the handler gave None, which cannot be awaited; is it an async function?" in str(told)
        assert (heard, told.by_peer, server.running) == ([b"x"], False, True)  # L16


async def test_handlers_know_the_current_service_and_not_each_others_context() -> None:
    """A context variable that one datagram's handler sets is not there for the next."""
    mark: ContextVar[str] = ContextVar("mark", default="none")
    seen: list[tuple[str, object]] = []

    async def handler(data: bytes, peer: Address, server: DatagramServer) -> None:
        seen.append((mark.get(), current_service()))
        mark.set(data.decode())

    server = UDPServer(0, handler, host=LOCAL, max_handlers=1)
    async with running(server):
        with plain(server) as client:
            for data in (b"1", b"2", b"3"):
                client.send(data)
            await eventually(lambda: len(seen) == 3)
    assert seen == [("none", server)] * 3  # L20


@pytest.mark.parametrize("max_handlers", [1, 2, 64])
async def test_what_a_waiting_handler_has_set_is_not_there_for_the_next(max_handlers: int) -> None:
    """The one who waits calls the next attendant, who gets nothing of its context."""
    mark: ContextVar[str] = ContextVar("mark", default="none")
    seen: list[str] = []

    async def handler(data: bytes, peer: Address, server: DatagramServer) -> None:
        seen.append(mark.get())
        mark.set(data.decode())
        await trio.sleep(0.001)

    server = UDPServer(0, handler, host=LOCAL, max_handlers=max_handlers)
    async with running(server):
        with plain(server) as client:
            for number in range(20):
                client.send(b"%d" % number)
            await eventually(lambda: len(seen) == 20)
    assert seen == ["none"] * 20  # L20


# ---- order and concurrency


async def test_handlers_start_and_answer_in_the_order_of_arrival() -> None:
    """Far more than one batch, two answers to each."""
    began: list[int] = []

    async def twice(data: bytes, peer: Address, server: DatagramServer) -> None:
        began.append(int(data))
        await server.send(data, peer)
        await server.send(data, peer)

    server = UDPServer(0, twice, host=LOCAL)
    async with running(server):
        with plain(server) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            for number in range(200):
                client.send(b"%d" % number)
            got = [int(await receive(client)) for _ in range(400)]
    assert began == list(range(200))
    assert got == sorted(got)


async def test_one_datagram_at_a_time_is_handled_by_one_task() -> None:
    """A server with one polite client makes no tasks."""
    tasks: list[trio.lowlevel.Task] = []

    async def handler(data: bytes, peer: Address, server: DatagramServer) -> None:
        tasks.append(trio.lowlevel.current_task())
        await server.send(data, peer)

    server = UDPServer(0, handler, host=LOCAL)
    async with running(server):
        with plain(server) as client:
            for _ in range(20):
                await ask(client, b"x")
    assert len(set(tasks)) == 1


async def test_a_slow_handler_does_not_hold_up_the_others() -> None:
    """One that waits is overtaken by those that do not."""
    gate = Gate()

    async def handler(data: bytes, peer: Address, server: DatagramServer) -> None:
        await (gate if data == b"slow" else echo)(data, peer, server)

    server = UDPServer(0, handler, host=LOCAL, max_handlers=2)
    async with running(server):
        with plain(server) as client:
            client.send(b"slow")
            for number in range(10):
                assert await ask(client, b"%d" % number) == b"%d" % number
            gate.open.set()
            assert await receive(client) == b"SLOW"


@pytest.mark.parametrize("most", [1, 3, 64])
async def test_no_more_than_max_handlers_are_at_work_and_none_is_lost(most: int) -> None:
    """The others wait in the queue, and are started in order."""
    gate = Gate()
    server = UDPServer(0, gate, host=LOCAL, max_handlers=most)
    async with running(server):
        with plain(server) as client:
            sent = [b"%d" % number for number in range(100)]
            for data in sent:
                client.send(data)
            await eventually(lambda: server.statistics().queued == 100 - most)
            assert gate.began == sent[:most]
            assert server.statistics().active == most
            gate.open.set()
            assert {await receive(client) for _ in sent} == set(sent)
        assert gate.began == sent
        assert server.statistics().active == 0


async def test_what_the_queue_cannot_hold_is_dropped_and_counted_exactly(autojump_clock: MockClock) -> None:
    """The newest are dropped; the old are served; the log is told once a second."""
    gate = Gate()
    server = UDPServer(0, gate, host=LOCAL, max_handlers=2, queue_size=3, name="srv")
    async with running(server) as (_, events):
        with plain(server) as client:
            for number in range(5):
                client.send(b"%d" % number)
                await eventually(lambda: server.statistics().received == number + 1)  # noqa: B023
            await eventually(lambda: server.statistics().active == 2)
            for number in range(5, 45):
                client.send(b"%d" % number)
            await eventually(lambda: server.statistics().received == 45)
            statistics = server.statistics()
            assert (statistics.dropped, statistics.queued, statistics.active) == (40, 3, 2)
            await trio.sleep(1.5)
            client.send(b"x")
            await eventually(lambda: server.statistics().dropped == 41)
            first, second = events.of(DatagramDropped)
            assert (first.times, second.times, first.level) == (0, 39, logging.WARNING)
            assert str(first) == (
                f"dropped a datagram from {LOCAL}:{client.getsockname()[1]}: 3 wait already (queue_size)"
            )
            gate.open.set()
            got = {await receive(client) for _ in range(5)}
        assert got == {b"0", b"1", b"2", b"3", b"4"}


async def test_a_queue_smaller_than_a_batch_drops_nothing_while_workers_are_idle() -> None:
    """No more is read at once than there is room for, and workers have their turn before more is."""
    inbox = Inbox()
    server = UDPServer(0, inbox, host=LOCAL, queue_size=2, max_handlers=1)
    async with running(server):
        with plain(server) as client:
            for turn in range(1, 21):
                for number in range(150):
                    client.send(b"%d" % number)
                await eventually(lambda: server.statistics().received == 150 * turn)  # noqa: B023
    assert server.statistics().dropped == 0
    assert inbox.got == [b"%d" % number for number in range(150)] * 20


async def test_a_sender_without_end_lets_others_run() -> None:
    """`send` is a checkpoint now and then, so it can be cancelled."""
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
            sink.bind((LOCAL, 0))
            with trio.move_on_after(0.05) as scope:
                while True:
                    await server.send(b"x", sink.getsockname())
    assert scope.cancelled_caught


# ---- the end, and again


async def test_a_drain_handles_what_has_arrived_and_takes_nothing_after_it() -> None:
    """Datagrams in the kernel's buffer, in the queue and in handlers are all answered."""
    gate = Gate()
    server = UDPServer(0, gate, host=LOCAL, max_handlers=2, queue_size=5)
    async with running(server):
        with plain(server) as client:
            assert server.in_progress == ""
            client.send(b"first")
            await eventually(lambda: server.statistics().active == 1)
            assert server.in_progress == "1 datagram"
            for number in range(5):
                client.send(b"%d" % number)
            await eventually(lambda: server.statistics().queued == 4)
            assert server.in_progress == "6 datagrams"
            async with trio.open_nursery() as nursery:
                client.send(b"in the buffer")
                nursery.start_soon(server.stop)
                await eventually(lambda: server.state is State.STOPPING)
                await eventually(lambda: server.statistics().received == 7)
                await trio.testing.wait_all_tasks_blocked()
                client.send(b"late")
                await trio.testing.wait_all_tasks_blocked()
                assert server.statistics().received == 7
                gate.open.set()
            got = {await receive(client) for _ in range(7)}
            assert got == {b"FIRST", b"0", b"1", b"2", b"3", b"4", b"IN THE BUFFER"}  # L10
            assert server.statistics().dropped == 0
            await server.start()
            assert await receive(client) == b"LATE"  # L18


async def test_a_drain_reads_all_that_the_kernel_holds_even_beyond_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What had arrived is not dropped for want of room, as the kernel had room for it."""

    async def deaf(self: DatagramSocket) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(DatagramSocket, "wait_readable", deaf)
    inbox = Inbox()
    server = UDPServer(0, inbox, host=LOCAL, max_handlers=1, queue_size=1)
    async with running(server):
        with plain(server) as client:
            for number in range(150):
                client.send(b"%d" % number)
            await server.stop()
        assert inbox.got == [b"%d" % number for number in range(150)]  # L10
        assert server.statistics().dropped == 0


async def test_a_drain_goes_on_when_the_kernel_has_no_memory_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As hearing does; what has arrived is taken at the next try."""
    troubles = 3
    receive_well = DatagramSocket.receive

    async def deaf(self: DatagramSocket) -> None:
        await trio.sleep_forever()

    def receive_badly(self: DatagramSocket, most: int) -> tuple[bytes, Address]:
        nonlocal troubles
        if troubles:
            troubles -= 1
            raise OSError(errno.ENOBUFS, "no room")
        return receive_well(self, most)

    monkeypatch.setattr(DatagramSocket, "wait_readable", deaf)
    monkeypatch.setattr(DatagramSocket, "receive", receive_badly)
    inbox = Inbox()
    server = UDPServer(0, inbox, host=LOCAL)
    async with running(server):
        with plain(server) as client:
            client.send(b"hello")
            await server.stop()
        assert inbox.got == [b"hello"]  # L10
        troubles = 1_000_000  # for ever
        await server.start()
        await server.stop()  # L16
        assert server.state is State.STOPPED


async def test_a_drain_that_is_cut_cancels_handlers_and_counts_what_was_left(
    autojump_clock: MockClock,
) -> None:
    """Nobody waits for a handler for ever."""
    gate = Gate()
    server = UDPServer(0, gate, host=LOCAL, max_handlers=1, drain_timeout=3)
    async with running(server) as (_, events):
        with plain(server) as client:
            for data in (b"a", b"b", b"c"):
                client.send(data)
            await eventually(lambda: server.statistics().queued == 2)
            began = trio.current_time()
            await server.stop()
            assert trio.current_time() - began == pytest.approx(3)  # L10
        assert len(events.of(DrainCut)) == 1
        assert (gate.began, gate.cancelled) == ([b"a"], 1)
        statistics = server.statistics()
        assert (statistics.active, statistics.queued, statistics.dropped) == (0, 0, 2)


async def test_a_flood_does_not_keep_a_drain_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sends faster than we read is not waited for."""
    endless = datagram_sockets._peer((LOCAL, 9))

    async def deaf(self: DatagramSocket) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(DatagramSocket, "wait_readable", deaf)
    monkeypatch.setattr(DatagramSocket, "receive", lambda self, most: (b"x", endless))
    inbox = Inbox()
    server = UDPServer(0, inbox, host=LOCAL)
    async with running(server):
        most = server._sockets[0].capacity
        await server.stop()
        assert len(inbox.got) == server.statistics().received == most


async def test_between_two_runs_the_socket_stays_bound_and_datagrams_wait() -> None:
    """A restart loses nothing that the kernel has room for; the new run counts anew."""
    inbox = Inbox()
    server = UDPServer(0, inbox, host=LOCAL)
    async with running(server):
        address = server.addresses
        with plain(server) as client:
            client.send(b"one")
            await eventually(lambda: inbox.got)
            await server.stop()
            assert server.addresses == address  # L18
            client.send(b"two")
            await server.start()
            await eventually(lambda: inbox.got == [b"one", b"two"])  # L18
            assert server.statistics().received == 1  # L3


async def test_two_hundred_restarts_leak_nothing(tmp_path: Path) -> None:
    """Descriptors, files, tasks: after each run everything is as before."""
    inbox = Inbox()
    server, unix = UDPServer(0, echo, host=LOCAL), UNIXDatagramServer(tmp_path / "sock", echo)
    async with running(server, unix) as (app, _):
        client = UDPClient(LOCAL, server.addresses[0][1], inbox)
        local = UNIXDatagramClient(tmp_path / "sock", inbox, bind_path=tmp_path / "mine")
        parts = [server, unix, client, local]
        for part in (client, local):
            await app.start_service(part)
        before = descriptors(), sorted(os.listdir(tmp_path)), trio.lowlevel.current_statistics().tasks_living
        for number in range(200):
            await parts[number % 4].restart()
            if number % 20 == 0:
                inbox.got.clear()
                await client.send(b"udp")
                await local.send(b"unix")
                await eventually(lambda: sorted(inbox.got) == [b"udp", b"unix"])  # row 28
        await eventually(
            lambda: (
                (descriptors(), sorted(os.listdir(tmp_path)), trio.lowlevel.current_statistics().tasks_living)
                <= before
            )
        )
    assert os.listdir(tmp_path) == []


async def test_a_server_in_a_branch_is_released_when_it_is_removed() -> None:
    """Its port is free, though its parent goes on."""
    server = UDPServer(0, echo, host=LOCAL)
    branch = MultiService(server, keep_running=True)
    async with running(branch):
        (address,) = server.addresses
        await branch.remove_service(server)
        assert server.addresses == ()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(address)


# ---- a system without room


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EAGAIN])
async def test_a_send_waits_until_there_is_room(
    number: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """A full buffer is emptied soon; the datagram is sent then, once."""
    troubles = 5
    send_well = DatagramSocket.send

    def send_badly(self: DatagramSocket, data: bytes, to: Any) -> int:
        nonlocal troubles
        if troubles:
            troubles -= 1
            raise OSError(number, "no room")
        return send_well(self, data, to)

    monkeypatch.setattr(DatagramSocket, "send", send_badly)
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server):
        with plain(server) as client:
            assert await ask(client, b"hello") == b"hello"
        assert troubles == 0
        assert server.statistics().sent == 1


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EAGAIN])
async def test_a_system_that_never_has_room_is_waited_for_about_a_second(
    number: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Then the sender is told."""

    def full(self: DatagramSocket, data: bytes, to: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(DatagramSocket, "send", full)
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server):
        began = trio.current_time()
        with pytest.raises(CannotSendError, match=os.strerror(number)):
            await server.send(b"x", (LOCAL, 9))
        assert 0.5 < trio.current_time() - began < 2
        assert server.statistics().sent == 0


@needs_short_queues
async def test_a_unix_peer_that_does_not_read_is_given_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A client with a full queue holds up no handler for ever, and none but its own."""

    async def much(data: bytes, peer: Address, server: DatagramServer) -> None:
        for _ in range(2000 if data == b"much" else 1):
            await server.send(data, peer)

    server = UNIXDatagramServer(tmp_path / "sock", much)
    async with running(server) as (_, events):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lazy:
            lazy.bind(str(tmp_path / "lazy"))
            lazy.sendto(b"much", str(tmp_path / "sock"))
            await eventually(lambda: server.statistics().sent > 5)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.bind(str(tmp_path / "other"))
                other.setblocking(False)
                other.connect(str(tmp_path / "sock"))
                assert await ask(other, b"little") == b"little"  # L16
            await eventually(lambda: events.of(DatagramFailed))
        assert str(events.of(DatagramFailed)[0]).endswith("Resource temporarily unavailable")


async def test_a_client_of_a_unix_server_that_does_not_read_waits_for_it(tmp_path: Path) -> None:
    """A connected socket knows when the other's queue has room, so nothing is lost."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "sock"))
        client = UNIXDatagramClient(tmp_path / "sock")
        async with running(client):
            async with trio.open_nursery() as nursery:
                for number in range(2000):
                    nursery.start_soon(client.send, b"%d" % number)
                await trio.testing.wait_all_tasks_blocked()
                assert client.statistics().sent < 2000
                for _ in range(2000):
                    await receive(server)
            assert client.statistics().sent == 2000


async def test_sends_that_wait_while_their_client_stops_say_so(tmp_path: Path) -> None:
    """Whichever of them is first in line: it is the service's state, not the socket's."""
    said: list[str] = []

    async def send() -> None:
        try:
            await client.send(b"x")
        except ServiceStateError as error:
            said.append(str(error))

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "sock"))
        client = UNIXDatagramClient(tmp_path / "sock", name="client")
        async with running(client), trio.open_nursery() as nursery:
            for _ in range(2000):
                nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            waiting = 2000 - client.statistics().sent
            assert waiting > 2
            await client.stop()
        assert said == ["'app/client' was stopped while this datagram waited, so it is not sent"] * waiting


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EAGAIN])
async def test_sends_that_wait_while_their_server_is_removed_say_so(
    number: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Also where they wait for the system, and try again with a socket that is closed."""
    said: list[str] = []

    def full(self: DatagramSocket, data: bytes, to: Any) -> int:
        raise OSError(errno.EBADF if self.is_closed else number, "no")

    async def send() -> None:
        try:
            await server.send(b"x", (LOCAL, 9))
        except ServiceStateError as error:
            said.append(str(error))

    monkeypatch.setattr(DatagramSocket, "send", full)
    server = UDPServer(0, echo, host=LOCAL, name="server")
    async with running(server) as (app, _), trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(send)
        await trio.sleep(0.1)
        await app.remove_service(server)
    assert [text.partition(" was ")[2] for text in said] == [
        "stopped while this datagram waited, so it is not sent"
    ] * 2


async def test_a_broadcast_has_to_be_allowed() -> None:
    """The system forbids it without the option, and the error names that."""
    plain_one, loud = UDPServer(0, echo, host=LOCAL), UDPServer(0, echo, host=LOCAL, broadcast=True)
    async with running(plain_one, loud):
        with pytest.raises(PermissionError, match="allow that by broadcast=True"):
            await plain_one.send(b"x", ("127.255.255.255", 9))
        await loud.send(b"x", ("127.255.255.255", 9))
        assert loud.statistics().sent == 1


# ---- UNIX sockets


async def test_a_unix_server_and_a_unix_client_talk(tmp_path: Path) -> None:
    """The client gets a name of its own from the kernel, so that the answer finds it."""
    inbox, path = Inbox(), tmp_path / "sock"
    server = UNIXDatagramServer(path, echo, mode=0o640)
    client = UNIXDatagramClient(path, inbox)
    async with running(server, client):
        assert server.addresses == (str(path),)
        assert path.stat().st_mode & 0o777 == 0o640
        assert str(client.addresses[0]).startswith("@")
        await client.send(b"hello")
        await eventually(lambda: inbox.got)
        assert (inbox.got, inbox.peers) == ([b"hello"], [str(path)])
    assert os.listdir(tmp_path) == []


async def test_a_unix_client_may_have_a_path_of_its_own(tmp_path: Path) -> None:
    """Servers then see who it is; the file is removed with it, and cannot be somebody else's."""
    peers: list[Address] = []

    async def handler(data: bytes, peer: Address, server: DatagramServer) -> None:
        peers.append(str(peer))
        await server.send(data, peer)

    inbox, path, own = Inbox(), tmp_path / "sock", tmp_path / "own"
    async with running(UNIXDatagramServer(path, handler)) as (app, _):
        client = UNIXDatagramClient(path, inbox, bind_path=own)
        await app.start_service(client)
        assert client.addresses == (str(own),)
        assert own.stat().st_mode & 0o777 == 0o666, "a server of another user must be able to answer"
        with pytest.raises(ServicesFailed) as caught:
            await app.start_service(UNIXDatagramClient(path, bind_path=own))
        assert caught.group_contains(CannotListenError, match="own")
        await client.send(b"hello")
        await eventually(lambda: inbox.got == [b"hello"])
        assert peers == [str(own)]
        await client.stop()
        assert not own.exists()


async def test_a_client_without_a_name_cannot_be_answered(tmp_path: Path) -> None:
    """That is the client's fault, and one line."""
    server = UNIXDatagramServer(tmp_path / "sock", echo)
    async with running(server) as (_, events):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(b"x", str(tmp_path / "sock"))
        await eventually(lambda: events.of(DatagramFailed))
        told = events.of(DatagramFailed)[0]
        assert (told.by_peer, told.peer) == (True, "")
        assert "without a name" in str(told)


async def test_a_unix_client_survives_its_server(tmp_path: Path) -> None:
    """It may start before it, outlive it, and find the next one at the same path."""
    inbox, path = Inbox(), tmp_path / "sock"
    client = UNIXDatagramClient(path, inbox)
    async with running(client) as (app, _):
        with pytest.raises(CannotSendError, match=f"cannot send to {path}: No such file"):
            await client.send(b"early")
        assert client.statistics().failed == 0, "whoever sent it was told, and nobody else is concerned"
        for number in (b"1", b"2", b"3"):
            server = UNIXDatagramServer(path, echo)
            await app.start_service(server)
            await client.send(number)
            await eventually(lambda: number in inbox.got)  # noqa: B023
            await app.remove_service(server)
        assert inbox.got == [b"1", b"2", b"3"]
        with pytest.raises(CannotSendError):
            await client.send(b"late")
        assert client.running  # L16


async def test_answers_of_a_server_that_has_gone_are_heard_before_the_next_one_is_asked(
    tmp_path: Path,
) -> None:
    """They had arrived; the kernel would empty our queue when it finds the old server gone."""
    mark: ContextVar[str] = ContextVar("mark", default="none")
    seen: list[tuple[bytes, str, object]] = []

    async def handler(data: bytes, peer: Address, client: DatagramService) -> None:
        seen.append((data, mark.get(), current_service()))

    path, own = tmp_path / "sock", tmp_path / "own"
    client = UNIXDatagramClient(path, handler, bind_path=own, queue_size=10)

    def serve() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(path))
        return sock

    with serve() as first:
        async with running(client):
            for number in range(5):
                first.sendto(b"%d" % number, str(own))
            first.close()
            os.unlink(path)
            with serve() as second:
                mark.set("the sender's")
                await client.send(b"hello")
                assert await receive(second) == b"hello"
                await eventually(lambda: len(seen) == 5)
                second.sendto(b"new", str(own))
                await eventually(lambda: len(seen) == 6)
            assert [data for data, _, _ in seen] == [b"0", b"1", b"2", b"3", b"4", b"new"]
            assert {(mark, service) for _, mark, service in seen} == {("none", client)}  # L20
            assert client.statistics().received == 6


async def test_a_unix_client_that_sends_while_it_is_drained_takes_nothing_more(tmp_path: Path) -> None:
    """To look before it sends is hearing, too, and that is over."""
    finish = trio.Event()

    async def wait(data: bytes, peer: Address, client: DatagramService) -> None:
        await finish.wait()

    path, own = tmp_path / "sock", tmp_path / "own"
    client = UNIXDatagramClient(path, wait, bind_path=own)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        async with running(client), trio.open_nursery() as nursery:
            server.sendto(b"first", str(own))
            await eventually(lambda: client.statistics().active == 1)
            nursery.start_soon(client.stop)
            await trio.testing.wait_all_tasks_blocked()
            server.sendto(b"late", str(own))
            await client.send(b"bye")
            assert client.statistics().received == 1  # L10
            finish.set()


async def test_a_unix_client_hears_its_server_only(tmp_path: Path) -> None:
    """Others are refused by the kernel, and what they sent while it had no server is thrown away."""
    inbox, path, own = Inbox(), tmp_path / "sock", tmp_path / "own"
    client = UNIXDatagramClient(path, inbox, bind_path=own)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        async with running(client) as (app, _):
            stranger.sendto(b"strange", str(own))
            await app.start_service(UNIXDatagramServer(path, echo))
            stranger.sendto(b"stranger", str(own))
            await client.send(b"hello")
            await eventually(lambda: inbox.got)
            with pytest.raises(PermissionError):
                stranger.sendto(b"strangest", str(own))
            await client.send(b"bye")
            await eventually(lambda: len(inbox.got) == 2)
            assert inbox.got == [b"hello", b"bye"]


@needs_linux
async def test_an_abstract_name_serves_as_well() -> None:
    """Without a file; the peer's name is written with `@` too, and can be answered by that."""
    name, inbox = f"@trioservice-{os.getpid()}", Inbox()

    async def handler(data: bytes, peer: Address, server: DatagramServer) -> None:
        await server.send(data, str(peer))

    server = UNIXDatagramServer(name, handler)
    client = UNIXDatagramClient(name, inbox)
    async with running(server, client):
        assert server.addresses == (name,)
        await client.send(b"hello")
        await eventually(lambda: inbox.got == [b"hello"])


# ---- UDP clients


async def test_a_udp_client_hears_its_server_only() -> None:
    """Nobody else can slip an answer in."""
    inbox, server = Inbox(), UDPServer(0, echo, host=LOCAL)
    async with running(server) as (app, _):
        client = UDPClient("localhost", server.addresses[0][1], inbox, bind_address=LOCAL)
        await app.start_service(client)
        ((host, port),) = client.addresses
        assert host == LOCAL
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"strange", (host, port))
        await client.send(b"hello")
        await eventually(lambda: inbox.got)
        assert inbox.got == [b"hello"]


async def test_a_client_without_a_handler_counts_what_comes_and_forgets_it() -> None:
    """For those who only send."""
    server = UDPServer(0, echo, host=LOCAL)
    async with running(server) as (app, _):
        client = UDPClient(LOCAL, server.addresses[0][1])
        await app.start_service(client)
        await client.send(b"hello")
        await eventually(lambda: client.statistics().received == 1)
        assert (client.statistics().queued, client.statistics().failed) == (0, 0)


@pytest.mark.parametrize(
    ("host", "options", "said"),
    [
        ("no-such-host.invalid", {}, "cannot reach no-such-host.invalid:9: .*is the host spelt right"),
        ("a" * 70 + ".example", {}, "is the host spelt right"),
        (
            LOCAL,
            {"bind_address": "192.0.2.77"},
            r"9 from 192.0.2.77 \(bind_address\): Cannot assign requested address",
        ),
        (LOCAL, {"bind_address": "::1"}, r"cannot reach 127.0.0.1:9 from ::1 \(bind_address\): "),
        ("127.255.255.255", {}, "cannot reach 127.255.255.255:9: Permission denied"),
    ],
)
async def test_a_client_that_cannot_reach_anybody_fails_to_start(
    host: str, options: dict[str, Any], said: str
) -> None:
    """A name that does not exist, or an address of ours that is none, is known at the start."""
    app = Application("app", UDPClient(host, 9, **options), handle_signals=False)
    with pytest.raises(ServicesFailed) as caught:
        await app.main()
    assert caught.group_contains(CannotConnectError, match=said)


async def test_a_broadcast_client_may_send_to_everybody() -> None:
    """`broadcast=True` is said once, where the client is made."""
    client = UDPClient("127.255.255.255", 9, broadcast=True)
    async with running(client):
        await client.send(b"x")
        assert client.statistics().sent == 1


# ---- attendants


async def test_a_handler_that_waits_is_found_by_its_line_and_can_be_any_awaitable() -> None:
    """It has begun by hand, and whoever asks what a service waits for sees through that."""
    gate, seen = trio.Event(), []

    class Later:
        def __await__(self) -> Any:
            return wait().__await__()

    async def wait() -> None:
        await gate.wait()
        seen.append(current_service())

    server = UDPServer(0, lambda data, peer, server: wait() if data == b"1" else Later(), host=LOCAL)
    async with running(server):
        with plain(server) as client:
            for data in (b"1", b"2"):
                client.send(data)
            await eventually(lambda: server.statistics().active == 2)
            tasks = server._nursery.child_tasks
            frames = [frame.f_code.co_name for task in tasks for frame, _ in task.iter_await_frames()]
            # L11: the coroutine's, and that of the event in it.  Into other awaitables trio cannot look.
            assert frames.count("wait") == 2
            gate.set()
            await eventually(lambda: seen == [server, server])
