"""Connections are taken from listeners, whatever stands in the way."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from trioservice import (
    Application,
    ServicesFailed,
    State,
    TCPServer,
    UNIXServer,
)
from trioservice.errors import paths_of
from trioservice.net.events import AcceptDelayed, ConnectionRejected
from trioservice.net.listeners import SocketListener, TCPListener, UNIXListener

from .support import (
    LIMIT,
    LOCAL,
    Gate,
    ask,
    connect,
    descriptors,
    echo,
    eventually,
    is_refused,
    running,
)

# ---- several at once


async def test_those_who_wait_together_are_taken_in_few_turns_and_no_more_than_a_batch_in_each() -> None:
    """Accepting a crowd costs a few rounds of the loop, and an endless crowd does not hold it up."""
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server):
        callers = [socket.create_connection(server.addresses[0]) for _ in range(300)]
        taken = [0]
        with trio.fail_after(LIMIT):
            while taken[-1] < 300:
                await trio.lowlevel.checkpoint()
                taken.append(server.statistics().accepted)
        rounds = [later - earlier for earlier, later in pairwise(taken) if later > earlier]
        assert len(rounds) <= 5
        assert max(rounds) <= 2 * 64, "between two of our turns there may be two of the acceptor's"
        for caller in callers:
            caller.close()


# ---- accepting that fails


async def test_without_descriptors_the_server_waits_and_says_so_once_a_second(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """A full descriptor table is a warning a second, whatever the number of listeners, and not the end."""
    tries = 0

    def accept(listener: SocketListener) -> None:
        nonlocal tries
        tries += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(SocketListener, "accept", accept)
    server = TCPServer(0, echo)
    async with running(server) as (app, events):
        assert len(server.addresses) == 2
        await trio.sleep(20.5)
        assert app.state is State.RUNNING  # L16
        told = events.of(AcceptDelayed)
        assert 10 <= len(told) <= 21
        assert all(later.time - earlier.time >= 1 for earlier, later in pairwise(told))
        assert told[0].level == logging.WARNING
        assert "Too many open files" in str(told[0])
        assert "max_connections" in str(told[0])
        assert tries < 80, "it does not spin"


def no_descriptors_left() -> AbstractContextManager[None]:
    """No file, no socket can be opened by this process."""
    return few_descriptors_left(0)


@contextmanager
def few_descriptors_left(number: int) -> Iterator[None]:
    """So many files and sockets can be opened by this process, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_those_who_came_while_descriptors_were_short_are_served_later() -> None:
    """Clients wait in the kernel's queue until there is room again, and none is lost."""
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (app, events):
        first = await connect(server)
        assert await ask(first, b"first") == b"first"
        sockets = [socket.socket() for _ in range(5)]
        for sock in sockets:
            sock.settimeout(LIMIT)
        with no_descriptors_left():
            for sock in sockets:
                sock.connect(server.addresses[0])
            await eventually(lambda: events.of(AcceptDelayed))
            assert await ask(first, b"still") == b"still"  # L16
            assert server.statistics().accepted == 1
        clients = [trio.SocketStream(trio.socket.from_stdlib_socket(sock)) for sock in sockets]
        for client in clients:
            assert await ask(client, b"later") == b"later"  # L16
        assert app.state is State.RUNNING
        for client in [first, *clients]:
            await client.aclose()


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPERM, errno.EPROTO])
async def test_a_connection_that_died_before_it_was_accepted_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What the network did to one client while it queued is not the next one's trouble."""
    troubles = 3
    really = SocketListener.accept

    def accept(listener: SocketListener) -> object:
        nonlocal troubles
        if troubles:
            troubles -= 1
            raise OSError(number, os.strerror(number))
        return really(listener)

    monkeypatch.setattr(SocketListener, "accept", accept)
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (app, events):
        async with await connect(server) as client:
            assert await ask(client, b"hello") == b"hello"  # L16
        assert troubles == 0
        assert events.of(AcceptDelayed) == []
        assert app.state is State.RUNNING


async def test_a_listener_that_is_truly_broken_fails_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that can never accept again must not look as if it ran."""

    def accept(listener: SocketListener) -> None:
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))

    monkeypatch.setattr(SocketListener, "accept", accept)
    with trio.fail_after(LIMIT), pytest.raises(ServicesFailed) as raised:
        await Application("app", TCPServer(0, echo, host=LOCAL, name="srv"), handle_signals=False).main()
    (error,) = raised.value.exceptions
    assert isinstance(error, OSError)
    assert paths_of(error) == ["app/srv"]  # L14


# ---- those who wait at the end


async def test_connections_that_the_kernel_had_taken_before_the_stop_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who was let in before the door was shut is not turned away, even if nobody had seen them yet."""

    async def never(listener: SocketListener) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(SocketListener, "wait", never)
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (app, _):
        address = server.addresses[0]
        await trio.testing.wait_all_tasks_blocked()  # it has looked, and will not look again
        clients = [await connect(server) for _ in range(20)]
        assert server.statistics().accepted == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.stop)
            for client in clients:
                assert await ask(client, b"hello") == b"hello"  # L10
            assert is_refused(address)
            for client in clients:
                await client.aclose()
    assert server.statistics().accepted == 20


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can refuse those who come and keep those who wait"
)
@pytest.mark.parametrize("kind", [TCPListener, UNIXListener])
async def test_nobody_is_let_in_between_the_last_look_and_the_shutting_of_the_door(
    kind: type[SocketListener], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The door would shut on them: their connection would be reset, and what they asked for be lost."""
    family = socket.AF_INET if kind is TCPListener else socket.AF_UNIX
    let_in = []
    shut = kind.shut

    def shut_late(listener: SocketListener) -> None:
        with socket.socket(family) as late:
            late.settimeout(0.05)
            let_in.append(late.connect_ex(listener.address) == 0)
        shut(listener)

    monkeypatch.setattr(kind, "shut", shut_late)
    server = TCPServer(0, echo, host=LOCAL) if kind is TCPListener else UNIXServer(str(tmp_path / "s"), echo)
    async with running(server):
        await server.stop()
        assert let_in == [False]
        await server.start()
        async with trio.SocketStream(trio.socket.socket(family)) as client:
            await client.socket.connect(server.addresses[0])
            assert await ask(client, b"hello") == b"hello", "the next run lets people in again"
    assert let_in == [False, False]


async def test_the_limit_holds_while_it_drains() -> None:
    """Those who had queued for a place are served one after the other, though the door is shut."""
    gate = Gate()
    server = TCPServer(0, gate, host=LOCAL, max_connections=1)
    async with running(server) as (app, _):
        address = server.addresses[0]
        clients = [await connect(server) for _ in range(5)]
        for client in clients:
            await client.send_all(b"hello")
        await eventually(lambda: gate.within == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.stop)
            await eventually(lambda: server.state is State.STOPPING)
            await trio.testing.wait_all_tasks_blocked()
            assert is_refused(address)  # L10
            gate.open.set()
            for client in clients:
                assert await ask(client, b"", 5) == b"HELLO"
                await client.aclose()
    assert gate.most == 1
    assert server.statistics().accepted == 5


async def test_those_who_still_queue_when_the_drain_is_cut_are_let_go() -> None:
    """Nobody's connection stays open after the stop, seen or unseen."""
    gate = Gate()
    server = TCPServer(0, gate, host=LOCAL, max_connections=1, drain_timeout=0.05)
    before = descriptors()
    async with running(server) as (app, _):
        clients = [await connect(server) for _ in range(5)]
        await eventually(lambda: gate.within == 1)
        with trio.fail_after(LIMIT):
            await app.stop()
        for client in clients:
            try:
                assert await ask(client, b"") == b""
                assert await client.receive_some() == b""
            except trio.BrokenResourceError:
                pass  # a reset is an end too
            await client.aclose()
    await eventually(lambda: descriptors() <= before + 3)  # trio's own, of this test's loop
    assert gate.entered == 1


async def test_a_queue_longer_than_there_are_descriptors_is_served_as_far_as_they_go() -> None:
    """A drain leaves descriptors to the handlers that finish; whom it turns away is counted and told."""
    gate = Gate()
    server = TCPServer(0, gate, host=LOCAL, max_connections=1)
    sockets = [socket.socket() for _ in range(40)]
    async with running(server) as (app, events), trio.open_nursery() as nursery:
        first = await connect(server)
        await eventually(lambda: server.statistics().accepted == 1)
        for sock in sockets:
            sock.connect(server.addresses[0])
        with few_descriptors_left(20):
            nursery.start_soon(app.stop)
            await eventually(lambda: is_refused(server.addresses[0]))  # L10
            os.close(os.dup(0))  # there is one left
        await eventually(lambda: events.of(ConnectionRejected))
        assert "the server stops" in str(events.of(ConnectionRejected)[0])
        gate.open.set()
        await first.aclose()
        for sock in sockets:
            sock.close()
    statistics = server.statistics()
    assert statistics.accepted >= 41  # and whoever was at the door to see whether it is shut
    assert statistics.rejected >= 30
    assert gate.entered == statistics.accepted - statistics.rejected > 1
