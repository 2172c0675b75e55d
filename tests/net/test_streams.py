"""The stream that a handler is given."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from trio.testing import check_half_closeable_stream, check_two_way_stream, wait_all_tasks_blocked

from trioservice import TCPServer
from trioservice.net.addresses import Address, address_of
from trioservice.net.polls import Poll, open_poll
from trioservice.net.streams import SocketStream

from .support import LIMIT, LOCAL, connect, eventually, reset, running

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


# ---- having what comes taken


def until(enough: bytes) -> tuple[list[bytes], Callable[[bytes | bytearray], bool]]:
    """What was taken, and who takes: until *enough* has come."""
    taken: list[bytes] = []

    def take(data: bytes | bytearray) -> bool:
        taken.append(bytes(data))
        return enough in b"".join(taken)

    return taken, take


async def asleep(poll: Poll | None, ours: SocketStream, theirs: SocketStream) -> None:
    """Have *ours* wait once, so that it is known to the poll, if there is one."""
    await theirs.send_all(b"x")
    assert await ours.receive_some() == b"x"
    with trio.move_on_after(0.01):
        await ours.receive_some()
    assert poll is None or ours._watcher is ours  # or these tests prove nothing


@both_ways
async def test_what_comes_is_taken_piece_by_piece_until_there_is_enough(waiting: Waiting) -> None:
    async with waiting() as poll:
        ours, theirs = await tcp_pair(poll)
        async with ours, theirs:
            await asleep(poll, ours, theirs)
            taken, take = until(b"c")
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def send() -> None:
                    for piece in (b"a", b"b", b"c"):
                        await theirs.send_all(piece)
                        await eventually(lambda: b"".join(taken).endswith(piece))  # noqa: B023

                assert await ours.receive_by(take)
            assert taken == [b"a", b"b", b"c"]
            await theirs.send_all(b"later")
            assert await ours.receive_some() == b"later"


@both_ways
async def test_what_comes_with_the_end_is_taken_and_then_the_end_is_told(waiting: Waiting) -> None:
    async with waiting() as poll:
        ours, theirs = await tcp_pair(poll)
        async with ours, theirs:
            await asleep(poll, ours, theirs)
            taken, take = until(b"never")
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def send() -> None:
                    theirs.send_nowait(b"the last")
                    theirs.send_eof_nowait()

                with trio.fail_after(LIMIT):
                    assert not await ours.receive_by(take)
            assert taken == [b"the last"]


@both_ways
async def test_what_a_taker_raises_is_its_receivers_and_nobody_elses(waiting: Waiting) -> None:
    def take(data: bytes | bytearray) -> bool:
        raise ValueError("not this")

    async with waiting() as poll:
        (ours, theirs), (other, another) = await tcp_pair(poll), await tcp_pair(poll)
        async with ours, theirs, other, another:
            for pair in ((ours, theirs), (other, another)):
                await asleep(poll, *pair)
            theirs.send_nowait(b"a")
            with pytest.raises(ValueError, match="not this"):
                await ours.receive_by(take)
            another.send_nowait(b"a")
            assert await other.receive_by(until(b"a")[1])


@both_ways
async def test_a_receiver_whose_peer_breaks_off_is_told_so(waiting: Waiting) -> None:
    async with waiting() as poll:
        ours, theirs = await tcp_pair(poll)
        async with ours, theirs:
            await asleep(poll, ours, theirs)
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def break_off() -> None:
                    await wait_all_tasks_blocked()
                    theirs.reset()

                with pytest.raises(trio.BrokenResourceError) as caught:
                    await ours.receive_by(until(b"never")[1])
            assert ours.broke_with(caught.value)


@both_ways
async def test_a_receiver_that_is_cancelled_or_whose_stream_is_closed_takes_no_more(waiting: Waiting) -> None:
    async with waiting() as poll:
        ours, theirs = await tcp_pair(poll)
        async with ours, theirs:
            await asleep(poll, ours, theirs)
            taken, take = until(b"never")
            with trio.move_on_after(0.01):
                await ours.receive_by(take)
            await theirs.send_all(b"for the next")
            await wait_all_tasks_blocked()
            assert await ours.receive_some() == b"for the next"
            assert not taken
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def close() -> None:
                    await wait_all_tasks_blocked()
                    with pytest.raises(trio.BusyResourceError):
                        await ours.receive_by(take)
                    ours.abandon()

                with pytest.raises(trio.ClosedResourceError):
                    await ours.receive_by(take)


@both_ways
async def test_who_waits_for_room_is_woken_while_another_has_not_enough(waiting: Waiting) -> None:
    """One edge tells of both; that a piece was not enough must not hide that there is room."""
    async with waiting() as poll:
        ours, theirs = await tcp_pair(poll)
        async with ours, theirs:
            await asleep(poll, ours, theirs)
            while ours.send_nowait(b"x" * 65536):
                pass
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.receive_by, until(b"never")[1])
                nursery.start_soon(ours.send_all, b"y")
                await wait_all_tasks_blocked()
                theirs.send_nowait(b"z")  # it comes in the moment in which there is room
                while data := theirs.receive_nowait():
                    assert data.strip(b"x") == b""
                with trio.fail_after(LIMIT):
                    await eventually(lambda: (theirs.receive_nowait() or b"").endswith(b"y"))
                nursery.cancel_scope.cancel()


class StepsOf(trio.abc.Instrument):
    """Counts the steps of the tasks that have a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name == self.name


async def test_a_poll_that_tells_of_too_little_wakes_no_receiver() -> None:
    """A slow peer's pieces cost no task its sleep."""
    steps = StepsOf("the receiver")
    async with open_poll() as poll:
        ours, theirs = await tcp_pair(poll)
        async with ours, theirs:
            await asleep(poll, ours, theirs)
            taken, take = until(b"c")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.receive_by, take, name="the receiver")
                await wait_all_tasks_blocked()
                trio.lowlevel.add_instrument(steps)
                theirs.send_nowait(b"a")
                await eventually(lambda: taken == [b"a"])
                await wait_all_tasks_blocked()
                assert not steps.count
                theirs.send_nowait(b"c")
            assert steps.count == 1
    trio.lowlevel.remove_instrument(steps)
