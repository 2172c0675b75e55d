"""Waiting by a poll: what edges hide, who is woken, and which operations let others have their turn."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import chain, repeat
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from trioservice import TCPServer
from trioservice.net import polls
from trioservice.net.events import ConnectionFailed
from trioservice.net.polls import Poll, open_poll
from trioservice.net.streams import MOST, SocketStream

from .lanes import MUCH, SMALL, Echo, lane
from .support import LIMIT, LOCAL, ask, connect, echo, ended, eventually, running

pytestmark = pytest.mark.skipif(not polls.AVAILABLE, reason="this system has no epoll")

both = pytest.mark.parametrize("kind", ["tcp", "unix"])


def sockets(kind: str) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection."""
    if kind == "unix":
        return socket.socketpair()
    with socket.create_server((LOCAL, 0)) as listener:
        return socket.create_connection(listener.getsockname()), listener.accept()[0]


@asynccontextmanager
async def by_poll(kind: str = "tcp") -> AsyncIterator[tuple[SocketStream, socket.socket]]:
    """A stream that waits by a poll, and does so already, and the plain socket at its other end."""
    theirs, ours = sockets(kind)
    with theirs:
        async with open_poll() as poll, SocketStream(ours, peer_of(kind, theirs)) as stream:
            assert poll is not None
            stream.wait_by(poll)
            with trio.move_on_after(0.01):
                await stream.receive_some()
            assert stream._watcher is stream  # or these tests prove nothing
            yield stream, theirs


def peer_of(kind: str, sock: socket.socket) -> Any:
    return sock.getsockname() if kind == "tcp" else "somebody"


async def heard(stream: SocketStream, size: int) -> bytes:
    """So many bytes; a stream that waits for ever is the failure that these tests look for."""
    got = b""
    with trio.move_on_after(2):
        while len(got) < size and (data := await stream.receive_some()):
            got += data
    return got


# ---- what an edge hides


@both
async def test_an_end_that_was_told_with_the_last_bytes_is_received(kind: str) -> None:
    """The bytes and the end are one edge; a short read does not hide the end."""
    async with by_poll(kind) as (stream, theirs):
        theirs.send(b"last words")
        theirs.close()
        await wait_all_tasks_blocked()
        assert await stream.receive_some() == b"last words"
        with trio.fail_after(2):
            assert await stream.receive_some() == b""
            assert await stream.receive_some() == b""


@both
async def test_an_end_that_comes_after_a_short_read_is_received(kind: str) -> None:
    """It is an edge of its own."""
    async with by_poll(kind) as (stream, theirs):
        theirs.send(b"words")
        assert await stream.receive_some() == b"words"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard, stream, 1)
            await wait_all_tasks_blocked()
            theirs.shutdown(socket.SHUT_WR)
        with trio.fail_after(2):
            assert await stream.receive_some() == b""


@both
async def test_little_by_little_everything_is_received(kind: str) -> None:
    """A receive that takes less than there is leaves the rest for the next, told or not."""
    async with by_poll(kind) as (stream, theirs):
        theirs.send(b"abcdefgh")
        await wait_all_tasks_blocked()
        with trio.fail_after(2):
            pieces = [await stream.receive_some(size) for size in (1, 3, 4)]
        assert pieces == [b"a", b"bcd", b"efgh"]
        theirs.send(b"more")
        assert await heard(stream, 4) == b"more"


@both
async def test_as_much_as_is_received_at_most_is_not_taken_for_all(kind: str) -> None:
    """Exactly the size of one read, and then the end."""
    async with by_poll(kind) as (stream, theirs):
        theirs.setblocking(True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, theirs.sendall, bytes(2 * MOST))
            assert len(await heard(stream, 2 * MOST)) == 2 * MOST
        theirs.close()
        with trio.fail_after(2):
            assert await stream.receive_some() == b""


async def test_urgent_data_does_not_hide_what_comes_after() -> None:
    """A read ends at them, though there is more."""
    async with by_poll() as (stream, theirs):
        theirs.send(b"one")
        theirs.send(b"!", socket.MSG_OOB)
        theirs.send(b"two")
        await wait_all_tasks_blocked()
        assert await heard(stream, 6) == b"onetwo"


async def test_passed_descriptors_do_not_hide_what_comes_after() -> None:
    """A UNIX socket ends a read at a message that brought descriptors, which we do not take."""
    async with by_poll("unix") as (stream, theirs):
        socket.send_fds(theirs, [b"one"], [0])
        theirs.send(b"two")
        socket.send_fds(theirs, [b"three"], [0])
        await wait_all_tasks_blocked()
        assert await heard(stream, 11) == b"onetwothree"


@both
async def test_what_was_put_back_comes_first_and_hides_nothing(kind: str) -> None:
    """Also when it is put back twice, and when the socket was known to be empty."""
    async with by_poll(kind) as (stream, theirs):
        stream.put_back(b"second")
        stream.put_back(b"first ")
        with trio.fail_after(2):
            assert await stream.receive_some(6) == b"first "
            assert await stream.receive_some() == b"second"
        theirs.send(b"third")
        assert await heard(stream, 5) == b"third"


@both
async def test_a_receive_that_was_cancelled_has_taken_nothing(kind: str) -> None:
    """Many are cancelled at all moments, and not a byte is missed."""
    async with by_poll(kind) as (stream, theirs):
        sent, got = bytes(range(200)), b""
        for number in sent:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def receive() -> None:
                        nonlocal got
                        got += await stream.receive_some()

                    if number % 2:
                        await wait_all_tasks_blocked()
                    theirs.send(bytes([number]))
                    if number % 3:
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
        theirs.close()
        got += await heard(stream, 1000)
        assert got == sent


# ---- who is woken


@both
async def test_a_close_wakes_whoever_waits_for_the_stream(kind: str) -> None:
    """A receiver and a sender, in two tasks; a third closes, and both are told."""
    told: list[str] = []
    async with by_poll(kind) as (stream, _):

        async def wait(name: str, operation: Callable[..., Any], *args: object) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await operation(*args)
            told.append(name)

        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, "receiver", stream.receive_some)
                nursery.start_soon(wait, "sender", stream.send_all, 10 * MUCH)
                await wait_all_tasks_blocked()
                await stream.aclose()
        await wait("late receiver", stream.receive_some)
        await wait("late sender", stream.send_all, b"x")
    assert sorted(told) == ["late receiver", "late sender", "receiver", "sender"]


async def test_of_two_that_receive_or_send_at_once_one_is_refused() -> None:
    """And the other never notices."""
    async with by_poll() as (stream, theirs), trio.open_nursery() as nursery:
        got: list[bytes] = []

        @nursery.start_soon
        async def receive() -> None:
            got.append(await stream.receive_some())

        nursery.start_soon(stream.send_all, 10 * MUCH)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BusyResourceError):
            await stream.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await stream.send_eof()
        theirs.send(b"hello")
        await eventually(lambda: got)
        assert got == [b"hello"]
        nursery.cancel_scope.cancel()


async def test_one_who_waits_for_room_is_woken_again_and_again() -> None:
    """A large send to a slow reader, under a stream of the reader's own: hundreds of wake-ups, both ways."""
    async with by_poll() as (stream, theirs):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        other = SocketStream(theirs.dup(), stream.peer)
        async with other, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, MUCH)
            nursery.start_soon(other.send_all, MUCH)
            got, back = bytearray(), bytearray()

            @nursery.start_soon
            async def read_back() -> None:
                while len(back) < len(MUCH):
                    back.extend(await stream.receive_some(random.randint(1, 20_000)))

            with trio.fail_after(LIMIT):
                while len(got) < len(MUCH):
                    got += await other.receive_some(10_000)
        assert got == back == MUCH


class Heard:
    """A watcher that remembers."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.events: list[int] = []
        self._then = then

    def ready(self, events: int) -> None:
        self.events.append(events)
        then, self._then = self._then, lambda: None
        then()


async def test_a_number_that_was_closed_and_used_again_within_one_look_disturbs_nobody() -> None:
    """The first watcher that is told closes the other, and watches a new socket by the same number."""
    async with open_poll() as poll:
        assert poll is not None
        ends = [*sockets("unix"), *sockets("unix")]
        theirs, ours = ends[::2], ends[1::2]
        late = Heard()
        told: list[Heard] = []

        def swap(index: int) -> None:
            victim = ours[index]
            number = victim.fileno()
            poll.forget(number, told[index])
            victim.close()
            new = sockets("unix")
            ends.extend(new)
            (same,) = [sock for sock in new if sock.fileno() == number]
            poll.watch(number, late)
            assert same

        for index, sock in enumerate(ours):
            heard = Heard(lambda index=index: swap(1 - index))
            told.append(heard)
            poll.watch(sock.fileno(), heard)
            theirs[index].send(b"x")
        await eventually(lambda: late.events)
        await wait_all_tasks_blocked()
        assert sorted(len(heard.events) for heard in told) == [0, 1]
        assert not any(events & polls.ENDED for events in late.events)
        for sock in ends:
            sock.close()


async def test_a_poll_has_tasks_only_when_somebody_watches_or_is_to_be_recalled() -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    async with open_poll() as poll:
        assert poll is not None
        await wait_all_tasks_blocked()
        assert tasks() == before
        late = Heard()
        poll.recall(late)
        await eventually(lambda: late.events)
        assert tasks() > before
    assert tasks() == before


async def test_whom_the_pump_tells_sees_nothing_of_what_the_first_watcher_had_in_mind() -> None:
    secret: ContextVar[str] = ContextVar("secret", default="")
    seen: list[str] = []
    theirs, ours = sockets("unix")
    async with open_poll() as poll:
        assert poll is not None
        secret.set("of the first")
        heard = Heard(lambda: seen.append(secret.get()))
        poll.watch(ours.fileno(), heard)
        theirs.send(b"x")
        await eventually(lambda: seen)
    assert seen == [""]
    theirs.close()
    ours.close()


async def test_the_pump_lives_as_long_as_last_words_are_said() -> None:
    """A whole server is cancelled; a handler's finally waits for room, under a shield, and says all."""
    clients: list[trio.SocketStream] = []

    async def handler(stream: SocketStream) -> None:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LIMIT):
                await stream.send_all(MUCH)

    server = TCPServer(0, handler, host=LOCAL)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.main)
        for _ in range(8):  # more than few, so that the last of them wait by the poll
            clients.append(await connect(server))
        await eventually(lambda: server.statistics().active == 8)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(LIMIT):
            for client in clients:
                size = 0
                async for data in client:
                    size += len(data)
                assert size == len(MUCH)
                await client.aclose()


# ---- letting others have their turn


@both
async def test_every_operation_is_a_checkpoint_but_the_send_that_was_earned(kind: str) -> None:
    """A receive that really waited earns one send, and no more than one."""
    async with by_poll(kind) as (stream, theirs):
        with assert_checkpoints():  # what the receive that was cancelled, to begin with, has earned at most
            await stream.send_all(b"x")
            await stream.send_all(b"x")
        theirs.send(b"there is something already")
        await wait_all_tasks_blocked()
        for operation in (
            lambda: stream.receive_some(1),
            lambda: stream.send_all(b"x"),
            lambda: stream.send_all(b""),
            lambda: stream.receive_some(),
        ):
            with assert_checkpoints():
                await operation()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive() -> None:
                with assert_checkpoints():
                    await stream.receive_some()
                with assert_no_checkpoints():
                    await stream.send_all(b"earned")
                with assert_checkpoints():
                    await stream.send_all(b"not earned")

            await wait_all_tasks_blocked()
            theirs.send(b"question")
        with assert_checkpoints():
            await stream.send_eof()
        with assert_checkpoints():
            await stream.aclose()


@both
async def test_what_was_earned_can_be_sent_at_once_and_nothing_else(kind: str) -> None:
    """Without a checkpoint, once; who has not waited, or has sent his end, is told that nothing was sent."""
    async with by_poll(kind) as (stream, theirs):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive() -> None:
                for sent in (6, 0):
                    assert await stream.receive_some() == b"question"
                    assert stream.send_at_once(b"answer") == sent
                    assert stream.send_at_once(b"more") == 0
                    await stream.send_eof()

            for _ in range(2):
                await wait_all_tasks_blocked()
                theirs.send(b"question")
        assert theirs.recv(99) == b"answer"


@both
async def test_a_receive_that_still_waits_has_earned_nothing(kind: str) -> None:
    """What another task sends meanwhile is a checkpoint."""
    async with by_poll(kind) as (stream, theirs), trio.open_nursery() as nursery:
        await stream.send_all(b"x")
        nursery.start_soon(stream.receive_some)
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            await stream.send_all(b"x")
        theirs.send(b"x")


@both
async def test_a_receive_that_was_cancelled_has_earned_nothing(kind: str) -> None:
    """Whoever is cancelled while he waits is told so again by the send of his last words."""
    async with by_poll(kind) as (stream, _):
        await stream.send_all(b"x")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def talk() -> None:
                    try:
                        await stream.receive_some()
                    finally:
                        with pytest.raises(trio.Cancelled):
                            await stream.send_all(b"last words")

                await wait_all_tasks_blocked()
                scope.cancel()


# ---- a kernel that has no room


async def test_streams_that_the_kernel_cannot_watch_wait_by_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream lane goes on as if nothing had happened."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room for one more watch")

    monkeypatch.setattr(Poll, "watch", full)
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (_, events):
        clients = [await connect(server) for _ in range(8)]
        await eventually(lambda: server.statistics().active == 8)
        for client in clients:
            assert await ask(client, b"hello") == b"hello"
            await client.aclose()
        assert events.of(ConnectionFailed) == []


async def test_a_protocol_that_the_kernel_cannot_watch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection ends, with the system's error; the next is served, as soon as there is room."""
    watch = Poll.watch

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room for one more watch")

    async with lane("fast tcp", Echo) as served:
        monkeypatch.setattr(Poll, "watch", full)
        client, protocol = await served.connect()
        await eventually(lambda: protocol.is_lost)
        assert await ended(client.below)
        assert protocol.said == ["made", ("lost", OSError)]
        (failure,) = served.events.of(ConnectionFailed)
        assert failure.error.errno == errno.ENOSPC
        monkeypatch.setattr(Poll, "watch", watch)
        client, _ = await served.connect()
        await client.send(b"hello")
        assert await client.receive(5) == b"hello"


# ---- anything in any order

SIZES = st.integers(1, 300_000)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), SIZES),
        st.tuples(st.just("receive"), st.integers(1, 100_000)),
        st.tuples(st.just("cancel"), st.integers(0, 3)),
        st.tuples(st.just("put back"), st.integers(1, 50)),
        st.tuples(st.just("rest"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(["tcp", "unix"]), ours=OPERATIONS, theirs=OPERATIONS, closes=st.booleans())
def test_any_interleaving_delivers_exactly_what_was_sent(
    kind: str, ours: list[tuple[str, int]], theirs: list[tuple[str, int]], closes: bool
) -> None:
    """Both ends send and receive pieces of any size; receives are cancelled; bytes are put back."""

    async def play() -> None:
        one, other = sockets(kind)
        async with open_poll() as poll:
            ends = SocketStream(one, peer_of(kind, other)), SocketStream(other, peer_of(kind, one))
            for end in ends:
                assert poll is not None
                end.wait_by(poll)
            sent = [_pattern(turn, salt) for salt, turn in enumerate((ours, theirs))]
            with trio.fail_after(LIMIT):
                async with trio.open_nursery() as nursery:
                    got: dict[int, bytes] = {}
                    for index, turn in enumerate((ours, theirs)):
                        nursery.start_soon(_send, ends[index], turn, sent[index], closes)
                        nursery.start_soon(
                            _receive, ends[index], turn, len(sent[1 - index]), closes, got, index
                        )
            assert got == {0: sent[1], 1: sent[0]}
            for end in ends:
                await end.aclose()

    trio.run(play)


def _pattern(turn: list[tuple[str, int]], salt: int) -> bytes:
    size = sum(size for what, size in turn if what == "send")
    return random.Random(salt).randbytes(size)


async def _send(stream: SocketStream, turn: list[tuple[str, int]], data: bytes, closes: bool) -> None:
    for what, size in turn:
        if what == "send":
            await stream.send_all(data[:size])
            data = data[size:]
        elif what == "rest":
            await trio.lowlevel.checkpoint()
    if closes:
        await stream.send_eof()


async def _receive(
    stream: SocketStream,
    turn: list[tuple[str, int]],
    size: int,
    closes: bool,
    got: dict[int, bytes],
    index: int,
) -> None:
    all_of_it = b""
    for what, number in chain(turn, repeat(("receive", MOST))):
        if len(all_of_it) == size:
            break
        if what == "receive":
            all_of_it += await stream.receive_some(number)
        elif what == "cancel":
            with trio.move_on_after(number / 10_000):
                all_of_it += await stream.receive_some()
        elif what == "put back" and all_of_it:
            number = min(number, len(all_of_it))
            stream.put_back(all_of_it[-number:])
            all_of_it = all_of_it[:-number]
    if closes:
        assert await stream.receive_some() == b""
    got[index] = all_of_it
