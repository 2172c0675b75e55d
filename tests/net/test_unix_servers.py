"""Servers over UNIX sockets, as their users see them."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from trioservice import CannotListenError, ServicesFailed
from trioservice.net.addresses import UNIXPeer
from trioservice.net.events import ConnectionRejected, Listening
from trioservice.net.servers import StreamServer, UNIXServer
from trioservice.net.streams import SocketStream

from .support import LIMIT, ask, echo, eventually, running


@asynccontextmanager
async def client_of(path: str | Path, bound_to: Path | None = None) -> AsyncIterator[trio.SocketStream]:
    """A client of the server at *path*."""
    name = str(path)
    sock = trio.socket.socket(socket.AF_UNIX)
    with sock:
        if bound_to is not None:
            await sock.bind(str(bound_to))
        with trio.fail_after(LIMIT):
            await sock.connect("\0" + name[1:] if name.startswith("@") else name)
        async with trio.SocketStream(sock) as stream:
            yield stream


async def is_refused(path: Path) -> bool:
    try:
        async with client_of(path):
            return False
    except ConnectionRefusedError:
        return True


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_unix_server_works_stops_starts_again_and_works(tmp_path: Path) -> None:
    """In one life of its tree the path is the same; between two runs it refuses."""
    server = UNIXServer(tmp_path / "s", echo)
    assert server.addresses == ()
    async with running(server) as (_, events):
        for _ in range(3):  # row 23
            assert server.addresses == (str(tmp_path / "s"),)
            async with client_of(tmp_path / "s") as client:
                assert await ask(client, b"hello") == b"hello"
            await server.stop()
            assert await is_refused(tmp_path / "s")  # row 25
            assert sorted(os.listdir(tmp_path)) == ["s", "s.lock"]  # L18
            await server.start()
        assert str(events.of(Listening)[0]) == f"listening on {tmp_path}/s"
    assert server.addresses == ()
    assert os.listdir(tmp_path) == []


async def test_the_peer_is_the_process_that_the_kernel_vouches_for(tmp_path: Path) -> None:
    """Who connects need not say who they are."""
    peers: list[UNIXPeer] = []

    async def handler(stream: SocketStream) -> None:
        assert isinstance(stream.peer, UNIXPeer)
        peers.append(stream.peer)
        assert stream.local == str(tmp_path / "s")
        await echo(stream)

    async with running(UNIXServer(tmp_path / "s", handler)):
        async with client_of(tmp_path / "s") as client:
            assert await ask(client, b"hello") == b"hello"
        async with client_of(tmp_path / "s", bound_to=tmp_path / "mine") as client:
            assert await ask(client, b"hello") == b"hello"
    for peer in peers:
        assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert [peer.path for peer in peers] == ["", str(tmp_path / "mine")]


async def test_a_handler_may_half_close(tmp_path: Path) -> None:
    """The stream is a HalfCloseableStream, as over TCP."""

    async def handler(stream: SocketStream) -> None:
        await stream.send_all(b"all I have")
        await stream.send_eof()
        assert await stream.receive_some() == b"thanks"
        heard.set()

    heard = trio.Event()
    async with running(UNIXServer(tmp_path / "s", handler)), client_of(tmp_path / "s") as client:
        assert await ask(client, b"", 100) == b"all I have"
        await client.send_all(b"thanks")
        with trio.fail_after(LIMIT):
            await heard.wait()


async def test_mode_is_given_by_argument_or_by_text(tmp_path: Path) -> None:
    """Octal in both, and nobody but the owner unless it is said."""
    text = f"unix:{tmp_path}/b:mode=660"
    servers = (
        UNIXServer(tmp_path / "a", echo),
        StreamServer(text, echo),
        UNIXServer(tmp_path / "c", echo, mode=0o666, user=os.geteuid(), group=str(os.getegid())),
    )
    async with running(*servers):
        modes = [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in "abc"]
        assert modes == [0o600, 0o660, 0o666]
        async with client_of(tmp_path / "b") as client:
            assert await ask(client, b"hello") == b"hello"
    assert os.listdir(tmp_path) == []


async def test_an_abstract_name_is_served_and_shown_with_its_sign() -> None:
    """`@name` in arguments, texts, addresses and logs alike."""
    name = f"@trioservice-servers-{os.getpid()}"
    for server in (UNIXServer(name, echo), StreamServer(f"unix:{name}", echo)):
        async with running(server) as (_, events):
            assert server.addresses == (name,)
            assert str(events.of(Listening)[0]) == f"listening on {name}"
            async with client_of(name) as client:
                assert await ask(client, b"hello") == b"hello"
            await server.restart()
            async with client_of(name) as client:
                assert await ask(client, b"hello") == b"hello"


async def test_a_path_in_use_fails_the_start_and_disturbs_nobody(tmp_path: Path) -> None:
    """Nothing of the second tree runs; the first goes on."""
    async with running(UNIXServer(tmp_path / "s", echo)):
        with pytest.raises(ServicesFailed) as raised:
            await UNIXServer(tmp_path / "s", echo, name="second").main()  # L7
        (error,) = raised.value.exceptions
        assert isinstance(error, CannotListenError)
        assert "another service of this process has it" in str(error)
        async with client_of(tmp_path / "s") as client:
            assert await ask(client, b"hello") == b"hello"


async def test_max_connections_per_peer_counts_users(tmp_path: Path) -> None:
    """Processes come and go; the user is who can be held to a limit."""
    server = UNIXServer(tmp_path / "s", echo, max_connections_per_peer=1)
    async with running(server) as (_, events):
        async with client_of(tmp_path / "s") as first:
            assert await ask(first, b"hello") == b"hello"
            async with client_of(tmp_path / "s") as second:
                assert await ask(second, b"", 1) == b""
            (rejected,) = events.of(ConnectionRejected)
            assert f"process {os.getpid()} of user {os.geteuid()}" in str(rejected)  # L16
        await eventually(lambda: server.statistics().active == 0)


async def test_a_drain_serves_those_who_were_let_in_already(tmp_path: Path) -> None:
    """Who has connected before the stop is answered, whatever the limit on connections."""
    gate = trio.Event()

    async def handler(stream: SocketStream) -> None:
        said = await stream.receive_some()
        await gate.wait()
        await stream.send_all(said)

    server = UNIXServer(tmp_path / "s", handler, max_connections=1)
    async with (
        running(server),
        client_of(tmp_path / "s") as first,
        client_of(tmp_path / "s") as second,
        trio.open_nursery() as nursery,
    ):
        await first.send_all(b"one")
        await second.send_all(b"two")
        await eventually(lambda: server.statistics().active)
        nursery.start_soon(server.stop)
        await trio.testing.wait_all_tasks_blocked()
        assert await is_refused(tmp_path / "s")  # row 25
        gate.set()
        assert await ask(first, b"", 3) == b"one"  # L10
        assert await ask(second, b"", 3) == b"two"  # L10


async def test_restarting_200_times_leaves_nothing(tmp_path: Path) -> None:
    """No descriptor, no lock, no file; and it answers each time."""
    server = UNIXServer(tmp_path / "s", echo)
    async with running(server):
        async with client_of(tmp_path / "s") as client:
            assert await ask(client, b"hello") == b"hello"
        await eventually(lambda: server.statistics().active == 0)
        before = descriptors()
        for _ in range(200):
            await server.restart()
        assert descriptors() == before
        async with client_of(tmp_path / "s") as client:
            assert await ask(client, b"hello") == b"hello"
    assert os.listdir(tmp_path) == []
