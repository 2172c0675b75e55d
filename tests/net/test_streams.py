"""The stream that a handler is given."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from trio.testing import check_half_closeable_stream, check_two_way_stream

from trioservice import TCPServer
from trioservice.net.addresses import Address, address_of
from trioservice.net.polls import Poll, open_poll
from trioservice.net.streams import SocketStream

from .support import LOCAL, connect, eventually, reset, running

Pair = tuple[SocketStream, SocketStream]


async def tcp_pair(poll: Poll | None = None) -> Pair:
    """Both ends of one TCP connection, each as a stream of ours."""
    with socket.create_server((LOCAL, 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return streams(poll, one, other)


async def unix_pair(poll: Poll | None = None) -> Pair:
    """Both ends of a pair of sockets, each as a stream of ours."""
    return streams(poll, *socket.socketpair())


async def clogged_pair(poll: Poll | None = None) -> Pair:
    """The same, but nothing more can be sent by either."""
    one, other = socket.socketpair()
    for sock in (one, other):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        for size in (1024, 1):
            with suppress(BlockingIOError):
                while True:
                    sock.send(b"x" * size)
    return streams(poll, one, other)


def streams(poll: Poll | None, one: socket.socket, other: socket.socket) -> Pair:
    pair = SocketStream(one, peer_of(one)), SocketStream(other, peer_of(other))
    if poll is not None:
        for stream in pair:
            stream.wait_by(poll)
    return pair


def peer_of(sock: socket.socket) -> Address:
    return address_of(sock.getpeername())


@asynccontextmanager
async def no_poll() -> AsyncIterator[None]:
    yield None


# Each waits by trio or by a poll, and nobody should be able to tell which.
both_ways = pytest.mark.parametrize("waiting", [no_poll, open_poll], ids=["by trio", "by a poll"])
Waiting = Callable[[], AbstractAsyncContextManager[Poll | None]]


@both_ways
async def test_it_keeps_every_promise_of_a_two_way_stream_over_tcp(waiting: Waiting) -> None:
    """Whatever trio promises of a stream holds for ours, over TCP."""
    async with waiting() as poll:
        await check_two_way_stream(partial(tcp_pair, poll), None)


@both_ways
async def test_it_keeps_every_promise_of_a_half_closeable_stream_even_when_clogged(waiting: Waiting) -> None:
    """A peer that does not read, and one that ended its half, are dealt with as trio promises."""
    async with waiting() as poll:
        await check_half_closeable_stream(partial(unix_pair, poll), partial(clogged_pair, poll))


async def test_it_knows_both_addresses_of_the_connection() -> None:
    """`peer` is who is at the other end, `local` is where we are."""
    one, other = await tcp_pair()
    async with one, other:
        assert one.peer == other.local
        assert other.peer == one.local
        assert one.local == one.socket.getsockname()


async def test_the_peer_is_known_after_it_has_gone() -> None:
    """Who it was can still be logged after a reset, when the system has forgotten it."""
    told: list[object] = []

    async def handler(stream: SocketStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(OSError, match="not connected"):
            stream.socket.getpeername()
        told.append(stream.peer)

    server = TCPServer(0, handler, host=LOCAL)
    async with running(server):
        client = await connect(server)
        address = client.socket.getsockname()
        await reset(client)
        await eventually(lambda: told)
    assert told == [address]


async def test_the_local_address_of_a_closed_stream_is_an_error_and_not_a_lie() -> None:
    """After the close there is no local address any more."""
    one, other = await tcp_pair()
    await one.aclose()
    await other.aclose()
    with pytest.raises(OSError, match=r"(?i)bad file descriptor|closed"):
        _ = one.local
    assert one.peer[0] == LOCAL


async def test_only_its_own_break_counts_as_one() -> None:
    """A broken connection to somebody else (a database) is no fault of this peer."""
    one, other = await tcp_pair()
    await other.aclose()
    async with one:
        with pytest.raises(trio.BrokenResourceError) as raised:
            await one.send_all(bytes(10_000_000))
    own, foreign = raised.value, trio.BrokenResourceError("the database has gone")
    assert one.broke_with(own)
    assert one.broke_with(ExceptionGroup("nursery", [own, ExceptionGroup("inner", [own])]))
    assert not one.broke_with(foreign)
    assert not one.broke_with(ExceptionGroup("nursery", [own, foreign]))


@both_ways
@pytest.mark.parametrize("how", ["send_all", "receive_some", "send_eof"])
async def test_every_way_to_notice_a_break_is_remembered(how: str, waiting: Waiting) -> None:
    """Whichever call meets the broken connection, it is the peer's break, and says what the system said."""
    async with waiting() as poll:
        one, other = await tcp_pair(poll)
        other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await other.aclose()
        async with one:
            with pytest.raises(trio.BrokenResourceError, match=r"the connection broke: \w+") as raised:
                await getattr(one, how)(*([b"x"] if how == "send_all" else []))
            assert one.broke_with(raised.value)
            assert isinstance(raised.value.__cause__, OSError)


async def test_small_answers_leave_at_once() -> None:
    """Nagle's algorithm is off, so an answer does not wait for the one before to be acknowledged."""
    options: list[int] = []

    async def handler(stream: SocketStream) -> None:
        options.append(stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    server = TCPServer(0, handler, host=LOCAL)
    async with running(server), await connect(server) as client:
        await client.receive_some()
    assert options == [1]
