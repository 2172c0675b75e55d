"""Corners that are easily forgotten: each of these was a planted bug once that nobody noticed."""

from __future__ import annotations

import array
import errno
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trioservice import TCPServer
from trioservice.net.events import AcceptDelayed, ConnectionRejected, ConnectionTimedOut
from trioservice.net.listeners import SocketListener
from trioservice.net.servers import UNIXServer
from trioservice.net.streams import SocketStream

from .support import LIMIT, LOCAL, ask, connect, echo, ended, eventually, running, who
from .test_introductions import told_v1
from .test_streams import tcp_pair
from .test_unix_servers import client_of


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_a_machine_without_room_is_waited_for(
    number: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Not only a full table of this process: the machine's, and its memory, too."""
    troubles, really = [number] * 3, SocketListener.accept

    def accept(listener: SocketListener) -> object:
        if troubles:
            raise OSError(troubles.pop(), "no room")
        return really(listener)

    monkeypatch.setattr(SocketListener, "accept", accept)
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (_, events), await connect(server) as client:
        assert await ask(client, b"hello") == b"hello"
        assert events.of(AcceptDelayed)


async def test_a_client_that_only_sends_is_not_idle(autojump_clock: MockClock) -> None:
    """Bytes in one direction are enough."""
    got = 0

    async def swallow(stream: SocketStream) -> None:
        nonlocal got
        async for data in stream:
            got += len(data)

    server = TCPServer(0, swallow, host=LOCAL, idle_timeout=8.0)
    async with running(server) as (_, events), await connect(server) as client:
        for _ in range(10):
            await client.send_all(b".")
            await trio.sleep(5)
        assert not events.of(ConnectionTimedOut)
        assert server.statistics().failed == 0
        assert got == 10


async def test_a_shortage_that_has_ended_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """The next one is waited for from the shortest delay on."""
    troubles, really = [errno.EMFILE] * 12, SocketListener.accept

    def accept(listener: SocketListener) -> object:
        if troubles:
            raise OSError(troubles.pop(), "no room")
        return really(listener)

    monkeypatch.setattr(SocketListener, "accept", accept)
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (_, events):
        async with await connect(server) as client:
            with trio.fail_after(60):
                assert await ask_long(client) == b"x"
        await trio.sleep(5)
        troubles.append(errno.EMFILE)
        async with await connect(server) as client:
            assert await ask(client, b"y") == b"y"
        assert events.of(AcceptDelayed)[-1].seconds == pytest.approx(0.02)


async def ask_long(client: trio.SocketStream) -> bytes:
    await client.send_all(b"x")
    return bytes(await client.receive_some())


async def test_at_the_limit_the_acceptor_sleeps() -> None:
    """It waits for one to end, each time anew, and does not spin."""
    server = TCPServer(0, echo, host=LOCAL, max_connections=1)
    async with running(server):
        for _ in range(2):
            async with await connect(server) as client:
                assert await ask(client, b"x") == b"x"
            await eventually(lambda: server.statistics().active == 0)
        async with await connect(server) as client, await connect(server):
            assert await ask(client, b"x") == b"x"
            with trio.fail_after(LIMIT):
                await trio.testing.wait_all_tasks_blocked(0.05)


# ---- introductions.py, streams.py


async def test_one_user_is_one_peer_by_whatever_socket_he_comes(tmp_path: Path) -> None:
    """A share belongs to a user, not to a process or a path."""
    server = UNIXServer(tmp_path / "s", echo, max_connections_per_peer=1)
    async with running(server) as (_, events):
        async with (
            client_of(tmp_path / "s") as first,
            client_of(tmp_path / "s", bound_to=tmp_path / "c") as second,
        ):
            assert await ask(first, b"hello") == b"hello"
            assert await ended(second)
        assert len(events.of(ConnectionRejected)) == 1


async def test_a_proxy_is_known_by_its_ipv4_address_also_at_a_socket_for_both() -> None:
    """Though the socket says ::ffff: before it."""
    server = TCPServer(0, who, host="::", v6_only=False, proxy_protocol=["127.0.0.0/8"])
    async with running(server), await connect((LOCAL, server.addresses[0][1])) as client:
        assert b"203.0.113.9" in await ask(client, told_v1("203.0.113.9") + b"hello", 1000)


@pytest.mark.parametrize(("trusted", "believed"), [(["unix"], True), (["10.0.0.0/8"], False)])
async def test_proxies_at_unix_sockets_are_believed_only_if_that_is_said(
    tmp_path: Path, trusted: list[str], believed: bool
) -> None:
    """Whoever may open the file is not for that a proxy."""
    server = UNIXServer(tmp_path / "s", who, proxy_protocol=trusted)
    async with running(server), client_of(tmp_path / "s") as client:
        with suppress(trio.BrokenResourceError):  # it may be closed before it has spoken
            await client.send_all(told_v1("203.0.113.9") + b"hello")
        if believed:
            assert b"203.0.113.9" in await ask(client, b"", 1000)
        else:
            assert await ended(client)
            await eventually(lambda: server.statistics().rejected == 1)


async def test_what_was_read_ahead_is_given_in_any_pieces_and_not_after_the_close() -> None:
    """Not a byte is lost, not one too many given, and each receive is a checkpoint."""
    one, other = await tcp_pair()
    async with other:
        one.put_back(b"hello")
        with trio.testing.assert_checkpoints():
            assert await one.receive_some(2) == b"he"
        with pytest.raises(ValueError, match="max_bytes"):
            await one.receive_some(0)
        with trio.fail_after(LIMIT):
            assert await one.receive_some(2) == b"ll"
        one.put_back(b"!")
        assert await one.receive_some() == b"!o"
        one.put_back(b"late")
        await one.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await one.receive_some()


# ---- binding.py, listeners.py


async def test_what_is_no_bytes_is_sent_whole() -> None:
    """A view of numbers has more bytes than items."""
    numbers = array.array("I", range(300_000))
    one, other = await tcp_pair()
    got = bytearray()

    async def read() -> None:
        async for data in other:
            got.extend(data)

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await one.send_all(memoryview(numbers))
            await one.aclose()
    assert got == numbers.tobytes()
    assert one.bytes_sent == len(got)
    await other.aclose()


async def test_on_all_interfaces_each_family_has_its_socket_whatever_v6_only_says() -> None:
    """So the one cannot take the other's port."""
    server = TCPServer(0, echo, v6_only=False)
    async with running(server):
        assert [host for host, _ in server.addresses] == ["0.0.0.0", "::"]


async def test_the_backlog_is_the_one_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By both kinds of listener."""
    asked: list[object] = []
    really = socket.socket.listen

    def listen(sock: socket.socket, *backlog: int) -> None:
        asked.append(backlog)
        really(sock, *backlog)

    monkeypatch.setattr(socket.socket, "listen", listen)
    async with running(
        TCPServer(0, echo, host=LOCAL, backlog=7), UNIXServer(tmp_path / "s", echo, backlog=8)
    ):
        assert asked == [(7,), (8,)]
