"""Simulated datagrams beside the kernel's, and what only a simulated network does to them."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trioservice.testing import NotSimulatedError, SimNetwork

from .support import as_the_kernel_does, beside_the_kernel, live

Make = Callable[[int, int], socket.socket]

# Three sockets: two that are bound and one that is not; what one does may concern another.
WHO = st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("sendto"), WHO, st.integers(0, 1)),
    st.tuples(st.just("connect"), WHO, st.integers(0, 1)),
    st.tuples(st.just("send"), WHO, st.none()),
    st.tuples(st.just("recvfrom"), WHO, st.none()),
    st.tuples(st.just("getpeername"), WHO, st.none()),
    st.tuples(st.just("close"), WHO, st.none()),
)


def do(socks: list[socket.socket], names: list, step: tuple) -> object:
    """What a step gives, in words that both worlds share."""
    what, who, whom = step
    sock = socks[who]
    try:
        match what:
            case "sendto":
                return sock.sendto(b"hello", names[whom])
            case "connect":
                return sock.connect(names[whom])
            case "send":
                return sock.send(b"hello")
            case "recvfrom":
                data, peer = sock.recvfrom(3)
                return data, names.index(peer) if peer in names else None
            case "getpeername":
                return names.index(sock.getpeername())
            case _:
                return sock.close()
    except OSError as error:
        return errno.errorcode[error.errno]


def told(make: Make, family: int, addresses: list, steps: list, pause: float = 0.0) -> list[object]:
    """What each step gives, beginning with new sockets."""
    answers = []
    with ExitStack() as stack:
        socks = [make(family, socket.SOCK_DGRAM) for _ in range(3)]
        for sock in socks:
            stack.callback(sock.close)
            sock.setblocking(False)
        for sock, address in zip(socks, addresses, strict=False):
            sock.bind(address)
        names = [sock.getsockname() for sock in socks[:2]]
        for step in steps:
            answers.append((step, do(socks, names, step)))
            time.sleep(pause)
    return answers


@pytest.mark.real
@beside_the_kernel
@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=10))
@example([("connect", 0, 1), ("close", 1, None), ("send", 0, None), ("recvfrom", 0, None), ("send", 0, None)])
@example([("connect", 0, 1), ("sendto", 2, 0), ("recvfrom", 0, None)])
def test_udp_answers_as_the_kernel_does(steps: list) -> None:
    async def simulated() -> list[object]:
        with SimNetwork() as network:
            return told(network.new_socket, socket.AF_INET, addresses, steps)

    addresses = 2 * [("127.0.0.1", 0)]
    assert as_the_kernel_does(live(simulated), told, socket.AF_INET, addresses, steps)


@pytest.mark.real
@beside_the_kernel
@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=10))
@example([("connect", 0, 1), ("close", 1, None), ("sendto", 0, 1), ("sendto", 0, 0), ("send", 0, None)])
@example([("sendto", 0, 0), ("connect", 0, 0), ("connect", 0, 1), ("recvfrom", 0, None)])
@example([("connect", 0, 1), ("connect", 1, 0), ("send", 1, None), ("connect", 0, 0), ("send", 1, None)])
def test_unix_datagrams_answer_as_the_kernel_does(steps: list) -> None:
    async def simulated() -> list[object]:
        with SimNetwork() as network:
            return told(network.new_socket, socket.AF_UNIX, addresses, steps)

    addresses = ["", ""]
    assert as_the_kernel_does(live(simulated), told, socket.AF_UNIX, addresses, steps)


def udp() -> trio.socket.SocketType:
    return trio.socket.socket(type=trio.socket.SOCK_DGRAM)


async def test_a_full_queue_drops_what_comes(autojump_clock) -> None:
    with SimNetwork() as network, udp() as one, udp() as other:
        network.host("localhost").buffer = 1000
        await one.bind(("127.0.0.1", 53))
        for _ in range(10):
            await other.sendto(bytes(100), ("127.0.0.1", 53))
        assert sum("no room" in line for line in network.log) == 8


async def test_who_sends_to_a_full_unix_queue_waits(autojump_clock) -> None:
    with SimNetwork() as network:
        network.host("localhost").buffer = 1000
        one, other = (trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) for _ in range(2))
        with one, other:
            await one.bind("/run/one")
            await other.connect("/run/one")
            async with trio.open_nursery() as nursery:

                async def send() -> None:
                    for number in range(20):
                        await other.send(b"%d" % number)

                nursery.start_soon(send)
                await trio.sleep(1)
                assert [await one.recv(9) for _ in range(20)] == [b"%d" % number for number in range(20)]


async def test_what_crosses_a_cut_is_lost(autojump_clock) -> None:
    with SimNetwork(latency=1) as network, udp() as one, udp() as other:
        await one.bind(("127.0.0.1", 53))
        await other.sendto(b"before", ("127.0.0.1", 53))
        network.partition("localhost", "localhost")
        await other.sendto(b"within", ("127.0.0.1", 53))
        await trio.sleep(2)
        network.heal("localhost", "localhost")
        await other.sendto(b"after", ("127.0.0.1", 53))
        assert await one.recv(9) == b"after"


async def test_too_large_a_datagram_is_refused(autojump_clock) -> None:
    with SimNetwork(), udp() as one:
        with pytest.raises(OSError, match="long") as caught:
            await one.sendto(bytes(65_508), ("127.0.0.1", 53))
        assert caught.value.errno == errno.EMSGSIZE


async def test_a_message_is_made_of_buffers_and_cut_to_size(autojump_clock) -> None:
    with SimNetwork(), udp() as one, udp() as other:
        await one.bind(("127.0.0.1", 53))
        await other.connect(("127.0.0.1", 53))
        await other.sendmsg([b"hel", b"lo"])
        assert await one.recvmsg(3) == (b"hel", [], socket.MSG_TRUNC, other.getsockname())


async def test_descriptors_are_not_passed_on(autojump_clock) -> None:
    with SimNetwork(), udp() as one, pytest.raises(NotSimulatedError, match="descriptors"):
        await one.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, bytes(4))], 0, ("127.0.0.1", 53))
