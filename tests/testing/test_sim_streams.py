"""Simulated streams beside the kernel's: whatever is done to both, both answer the same."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import check_half_closeable_stream

from trioservice.net import system
from trioservice.net.streams import SocketStream
from trioservice.testing import NotSimulatedError, SimNetwork
from trioservice.testing.trio_sockets import TrioSocket

from .support import as_the_kernel_does, beside_the_kernel, live

Pair = tuple[socket.socket, socket.socket]
Make = Callable[[int, int], socket.socket]

ENDS = st.integers(0, 1)
STEPS = st.one_of(
    st.tuples(st.just("send"), ENDS, st.integers(0, 50)),
    st.tuples(st.just("recv"), ENDS, st.integers(1, 60)),
    st.tuples(st.just("shutdown"), ENDS, st.sampled_from([socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR])),
    st.tuples(st.just("close"), ENDS, st.none()),
    st.tuples(st.just("reset"), ENDS, st.none()),
    st.tuples(st.just("getpeername"), ENDS, st.none()),
)


def listening(make: Make, family: int, address: object) -> socket.socket:
    listener = make(family, socket.SOCK_STREAM)
    listener.setblocking(False)
    listener.bind(address)
    listener.listen()
    return listener


def connected(make: Make, family: int, address: object) -> Pair:
    """The two ends of a connection."""
    with listening(make, family, address) as listener:
        client = make(family, socket.SOCK_STREAM)
        client.setblocking(False)
        try:
            client.connect(listener.getsockname())
        except BlockingIOError:
            if isinstance(client, socket.socket):
                select.select([], [client], [], 10)
        server, _ = listener.accept()
        for sock in (client, server):
            sock.setblocking(False)
            if family == socket.AF_INET:  # what is sent is there at once
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, server


def do(pair: Pair, step: tuple[str, int, int | None]) -> object:
    """What a step gives, in words that both worlds share."""
    what, end, value = step
    sock = pair[end]
    try:
        match what:
            case "send":
                return sock.send(bytes(value))
            case "recv":
                return len(sock.recv(value))
            case "shutdown":
                return sock.shutdown(value)
            case "reset":
                if sock.fileno() != -1:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return sock.close()
            case "close":
                return sock.close()
            case _:
                return sock.getpeername() is not None
    except OSError as error:
        return errno.errorcode[error.errno]


def is_readable(sock: socket.socket) -> bool:
    if sock.fileno() == -1:
        return False
    return (
        bool(select.select([sock], [], [], 0)[0]) if isinstance(sock, socket.socket) else sock.is_readable()
    )


@contextmanager
def closing(pair: Pair) -> Iterator[Pair]:
    try:
        yield pair
    finally:
        for sock in pair:
            sock.close()


def told(make: Make, family: int, address: object, steps: list, pause: float = 0.0) -> list[object]:
    """What each step gives at a new connection, and which of its ends are readable then."""
    answers = []
    with closing(connected(make, family, address)) as pair:
        for step in steps:
            answer = do(pair, step)
            time.sleep(pause)
            answers.append((step, answer, [is_readable(sock) for sock in pair]))
    return answers


@pytest.mark.real
@beside_the_kernel
@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=12))
@example([("send", 0, 5), ("close", 1, None), ("recv", 0, 9), ("send", 0, 5), ("send", 0, 5), ("recv", 0, 9)])
@example([("shutdown", 0, socket.SHUT_WR), ("recv", 1, 9), ("send", 1, 5), ("recv", 0, 9), ("send", 0, 1)])
@example([("send", 0, 5), ("reset", 0, None), ("recv", 1, 3), ("recv", 1, 9), ("recv", 1, 9), ("send", 1, 1)])
@example([("close", 1, None), ("send", 0, 1), ("send", 0, 1), ("getpeername", 0, None)])
@example([("shutdown", 0, socket.SHUT_RDWR), ("send", 1, 1), ("send", 0, 1)])
def test_a_tcp_connection_answers_as_the_kernel_does(steps: list) -> None:
    async def simulated() -> list[object]:
        with SimNetwork() as network:
            return told(network.new_socket, socket.AF_INET, ("127.0.0.1", 0), steps)

    answers = live(simulated)
    assert as_the_kernel_does(answers, told, socket.AF_INET, ("127.0.0.1", 0), steps)


@pytest.mark.real
@beside_the_kernel
@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=12))
@example([("send", 1, 1), ("shutdown", 0, socket.SHUT_WR), ("close", 0, None), ("recv", 1, 1)])
@example([("send", 0, 1), ("close", 1, None), ("shutdown", 0, socket.SHUT_WR), ("send", 0, 1)])
def test_a_unix_connection_answers_as_the_kernel_does(steps: list) -> None:
    async def simulated() -> list[object]:
        with SimNetwork() as network:
            return told(network.new_socket, socket.AF_UNIX, "/run/x", steps)

    answers = live(simulated)
    assert as_the_kernel_does(answers, told, socket.AF_UNIX, "", steps)


Connect = Callable[[], Awaitable[tuple[TrioSocket, TrioSocket]]]


async def connected_by_trio() -> tuple[TrioSocket, TrioSocket]:
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = trio.socket.socket()
        await client.connect(listener.getsockname())
        return client, (await listener.accept())[0]


async def clogged_by_trio() -> tuple[TrioSocket, TrioSocket]:
    """Into either of them nothing more fits."""
    pair = await connected_by_trio()
    for sock in pair:
        with suppress(BlockingIOError):
            while True:
                sock.below.send(bytes(1000))
    return pair


@pytest.mark.parametrize(
    "conditions", [{}, {"latency": (0.001, 0.01), "segment": 500}], ids=["at once", "in time"]
)
async def test_our_streams_do_what_trio_asks_of_streams(conditions: dict, autojump_clock) -> None:
    with SimNetwork(**conditions) as network:
        network.host("localhost").buffer = 5000

        async def ours(connect: Connect = connected_by_trio) -> tuple[SocketStream, SocketStream]:
            return tuple(SocketStream(sock.below, ("", 0)) for sock in await connect())

        await check_half_closeable_stream(ours, partial(ours, clogged_by_trio))


@pytest.mark.parametrize(
    "conditions", [{}, {"latency": (0.001, 0.01), "segment": 500}], ids=["at once", "in time"]
)
async def test_streams_of_trio_do_too(conditions: dict, autojump_clock) -> None:
    with SimNetwork(**conditions) as network:
        network.host("localhost").buffer = 5000

        async def of_trio(
            connect: Connect = connected_by_trio,
        ) -> tuple[trio.SocketStream, trio.SocketStream]:
            return tuple(trio.SocketStream(sock) for sock in await connect())

        await check_half_closeable_stream(of_trio, partial(of_trio, clogged_by_trio))


async def test_who_waits_for_a_socket_that_is_closed_is_told(autojump_clock) -> None:
    async def wait(sock) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await system.wait_readable(sock)

    with SimNetwork():
        client, server = await connected_by_trio()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, client.below)
            await trio.testing.wait_all_tasks_blocked()
            client.close()
        server.close()


async def test_a_connection_that_nobody_wants_any_more_is_reset(autojump_clock) -> None:
    with SimNetwork(latency=1), trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 80))
        listener.listen()
        with trio.move_on_after(1.5):
            await trio.open_tcp_stream("127.0.0.1", 80)
        server, _ = await listener.accept()
        with pytest.raises(ConnectionResetError):
            await server.recv(1)
        server.close()


async def test_an_attempt_that_failed_can_be_made_again(autojump_clock) -> None:
    with SimNetwork(latency=1), trio.socket.socket() as client, trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 80))
        with pytest.raises(ConnectionRefusedError):
            await client.connect(("127.0.0.1", 80))
        listener.listen()
        await client.connect(("127.0.0.1", 80))
        await trio.sleep(200)
        assert await client.send(b"hello") == 5


async def test_who_waits_at_a_door_that_is_shut_is_reset(autojump_clock) -> None:
    with SimNetwork(), trio.socket.socket() as client:
        with trio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", 80))
            listener.listen()
            await client.connect(("127.0.0.1", 80))
        with pytest.raises(ConnectionResetError):
            await client.recv(1)


async def test_flags_are_refused(autojump_clock) -> None:
    with SimNetwork():
        client, server = await connected_by_trio()
        with client, server, pytest.raises(NotSimulatedError, match="flags"):
            await client.recv(1, socket.MSG_PEEK)


async def test_what_is_sent_later_waits_for_what_was_sent_before(autojump_clock) -> None:
    with SimNetwork() as network:
        client, server = await connected_by_trio()
        with client, server:
            network.link_between("localhost", "localhost", latency=10)
            await client.send(b"first")
            network.link_between("localhost", "localhost", latency=0)
            await client.send(b"second")
            assert await server.recv(5) == b"first"
            assert trio.current_time() == 10
