"""Simulated sockets as trio has them: all of its interface is there, or says why not."""

from __future__ import annotations

import errno
import inspect

import pytest
import trio
import trio.testing

from trioservice.testing import NotSimulatedError, SimNetwork
from trioservice.testing.trio_sockets import TrioSocket


def test_nothing_that_trio_offers_is_forgotten() -> None:
    offered = {name for name, _ in inspect.getmembers(trio.socket.SocketType) if not name.startswith("__")}
    # Where there is no such call (Windows has share) or only a rarely needed one, trio's own refuses.
    missing = offered - {*vars(TrioSocket)} - {"recvfrom_into", "recvmsg_into", "share"}
    assert not missing


async def test_a_stream_is_read_into_a_buffer() -> None:
    with SimNetwork():
        listener, client = trio.socket.socket(), trio.socket.socket()
        await listener.bind(("localhost", 80))
        listener.listen()
        await client.connect(("localhost", 80))
        server, peer = await listener.accept()
        assert peer == client.getsockname() == server.getpeername()
        await client.send(b"hello")
        assert server.is_readable()
        buffer = bytearray(3)
        assert await server.recv_into(buffer) == 3
        assert buffer == b"hel"
        assert not client.did_shutdown_SHUT_WR
        client.shutdown(trio.socket.SHUT_WR)
        assert client.did_shutdown_SHUT_WR
        assert await server.recv(9) == b"lo"
        for sock in (listener, client, server):
            sock.close()


async def test_who_is_cancelled_while_connecting_finds_it_closed(autojump_clock) -> None:
    with SimNetwork(latency=1), trio.socket.socket() as listener, trio.socket.socket() as client:
        await listener.bind(("127.0.0.1", 80))
        listener.listen()
        with trio.move_on_after(0.5):
            await client.connect(("127.0.0.1", 80))
        assert client.fileno() == -1


async def test_what_it_is() -> None:
    with SimNetwork(), trio.socket.socket() as sock:
        assert (sock.family, sock.type, sock.proto) == (trio.socket.AF_INET, trio.socket.SOCK_STREAM, 0)
        assert not sock.get_inheritable()
        sock.set_inheritable(False)
        assert repr(sock) == "<TrioSocket <StreamSocket localhost:0>>"


async def test_what_it_cannot_do_it_refuses() -> None:
    with SimNetwork(), trio.socket.socket() as sock, trio.socket.socket(type=trio.socket.SOCK_DGRAM) as other:
        for refused in (
            sock.detach,
            sock.dup,
            lambda: sock.set_inheritable(True),
            lambda: other.shutdown(trio.socket.SHUT_WR),
        ):
            with pytest.raises(NotSimulatedError):
                refused()
        with pytest.raises(NotSimulatedError, match="streams"):
            await sock.recvfrom(1)
        with pytest.raises(OSError, match=r".") as caught:
            other.listen()
        assert caught.value.errno == errno.EOPNOTSUPP


async def test_every_operation_is_a_checkpoint() -> None:
    with SimNetwork(), trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        for operate in (
            lambda: sock.bind(("127.0.0.1", 53)),
            lambda: sock.connect(("127.0.0.1", 53)),
            lambda: sock.send(b"x"),
            lambda: sock.recv(1),
            lambda: sock.sendto(b"x", ("127.0.0.1", 53)),
            lambda: sock.recvfrom(1),
            lambda: sock.sendmsg([b"x"], [], 0, ("127.0.0.1", 53)),
            lambda: sock.recvmsg(1),
            sock.wait_writable,
        ):
            with trio.testing.assert_checkpoints():
                await operate()
