"""What peers and a short machine can do to a service, and what it must not do to anybody else."""

from __future__ import annotations

import errno
import logging
import os
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import check_half_closeable_stream, check_two_way_stream

from trioservice import Application, State, TCPServer, UDPServer
from trioservice.net import stdio
from trioservice.net.datagram_sockets import DatagramSocket
from trioservice.net.events import ConnectionFailed, HandshakeFailed
from trioservice.net.inherited import Inheritance
from trioservice.net.listeners import SocketListener
from trioservice.net.stdio import StdioStream
from trioservice.net.streams import SocketStream

from .support import LIMIT, LOCAL, ask, connect, echo, eventually, reset, running
from .test_ssl_servers import secure, ssl_server
from .test_streams import tcp_pair
from .test_tls import tls_pair

# ---- trio's own checks


async def test_half_closeable_over_tcp() -> None:
    """Streams into which nothing more fits are in test_sim_streams: TCP finds room long after it had none."""
    await check_half_closeable_stream(tcp_pair, None)


async def test_half_closeable_over_stdio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "inheritance", lambda: Inheritance({}, 0))
    monkeypatch.setattr(stdio, "_STDIN", 160)
    monkeypatch.setattr(stdio, "_STDOUT", 161)

    class Alone(StdioStream):
        """Whose process ends with it."""

        open = True

        def abandon(self) -> None:
            super().abandon()
            if self.open:
                self.open = False
                os.close(160)
                os.close(161)

    async def pair() -> tuple[Any, Any]:
        (theirs, ours), (back, forth) = os.pipe(), os.pipe()
        os.dup2(theirs, 160)
        os.dup2(forth, 161)
        os.close(theirs)
        os.close(forth)
        other = trio.StapledStream(trio.lowlevel.FdStream(ours), trio.lowlevel.FdStream(back))
        return Alone(), other

    async def clogged() -> tuple[Any, Any]:
        one, other = await pair()
        for descriptor in (161, other.send_stream.fileno()):
            os.set_blocking(descriptor, False)
            with suppress(BlockingIOError):
                while True:
                    os.write(descriptor, bytes(4096))
        return one, other

    with trio.fail_after(30):
        await check_half_closeable_stream(pair, clogged)


async def test_two_way_over_tls() -> None:
    with trio.fail_after(30):
        await check_two_way_stream(tls_pair, None)


# ---- RST at every phase (TCP)


def one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert all(record.exc_info is None for record in caplog.records)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_rst_within_the_proxy_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = TCPServer(0, echo, host=LOCAL, proxy_protocol=["127.0.0.1"])
    async with running(server) as (app, events):
        for said in (b"", b"PROXY TC"):
            client = await connect(server)
            if said:
                await client.send_all(said)
                await trio.sleep(0.05)
            await reset(client)
        await eventually(lambda: len(events.of(HandshakeFailed)) == 2)
        assert server.statistics().failed == 2
        assert app.state is State.RUNNING
    one_line(caplog)


async def test_rst_while_a_large_answer_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def pour(stream: SocketStream) -> None:
        while True:
            await stream.send_all(bytes(1_000_000))

    server = TCPServer(0, pour, host=LOCAL)
    async with running(server) as (app, events):
        client = await connect(server)
        await client.receive_some(10)
        await trio.sleep(0.05)
        await reset(client)
        await eventually(lambda: events.of(ConnectionFailed))
        assert events.of(ConnectionFailed)[0].by_peer
        assert app.state is State.RUNNING
    one_line(caplog)


async def test_rst_while_it_drains(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = TCPServer(0, echo, host=LOCAL, drain_timeout=60)
    async with running(server) as (_app, _events):
        client = await connect(server)
        assert await ask(client, b"x") == b"x"
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.stop)
                await trio.sleep(0.05)
                await reset(client)
        assert server.state is State.STOPPED
        assert server.statistics().failed == 1
    one_line(caplog)


async def test_rst_in_the_queue_at_the_limit_and_at_a_drain(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = TCPServer(0, echo, host=LOCAL, max_connections=1, drain_timeout=60)
    async with running(server) as (_app, _events):
        first = await connect(server)
        assert await ask(first, b"x") == b"x"
        await reset(await connect(server))
        polite = await connect(server)
        await polite.send_all(b"polite")
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.stop)
                await trio.sleep(0.05)
                await first.aclose()
                assert await polite.receive_some() == b"polite"
                await polite.aclose()
        assert server.statistics().accepted == 3
        assert server.statistics().failed == 1
    one_line(caplog)


async def test_rst_while_we_say_goodbye_in_tls(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    gate = trio.Event()

    async def brief(stream: Any) -> None:
        await stream.receive_some()
        await gate.wait()

    server = ssl_server(brief)
    async with running(server) as (app, _events):
        async with secure(server) as client:
            await client.send_all(b"x")
            await eventually(lambda: server.statistics().active == 1)
            await trio.sleep(0.05)
            await reset(client.transport_stream)
            await trio.sleep(0.05)
            gate.set()
        await eventually(lambda: server.statistics().active == 0)
        assert app.state is State.RUNNING
    one_line(caplog)


# ---- half-open, slow


async def test_a_client_that_half_closes_over_tcp_is_answered_to_the_end() -> None:
    async def count(stream: SocketStream) -> None:
        size = 0
        async for data in stream:
            size += len(data)
        await stream.send_all(b"%d" % size)

    server = TCPServer(0, count, host=LOCAL)
    async with running(server), await connect(server) as client:
        await client.send_all(bytes(1000))
        await client.send_eof()
        with trio.fail_after(LIMIT):
            assert await client.receive_some() == b"1000"
            assert await client.receive_some() == b""


async def test_slow_readers_cost_no_memory_in_python_either() -> None:
    async def pour(stream: SocketStream) -> None:
        chunk = bytes(64 * 1024)
        while True:
            await stream.send_all(chunk)

    server = TCPServer(0, pour, host=LOCAL, drain_timeout=0)
    tls = ssl_server(pour)
    for one in (server, tls):
        async with running(one):
            clients = [await connect(one) for _ in range(20)]
            tracemalloc.start()
            await trio.sleep(0.5)
            before = tracemalloc.get_traced_memory()[0]
            await trio.sleep(0.5)
            after = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            assert after - before < 1_000_000
            for client in clients:
                await client.aclose()
            if one is tls:
                break


# ---- no memory, no descriptors, at the worst moment


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN])
async def test_a_kernel_without_memory_while_a_datagram_server_drains(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop is no failure."""

    async def handler(data: bytes, peer: Any, server: Any) -> None: ...

    server = UDPServer(0, handler, host=LOCAL)
    receive_well = DatagramSocket.receive

    def receive_badly(self: DatagramSocket, most: int) -> Any:
        raise OSError(number, os.strerror(number))

    app = Application("app", server, handle_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        monkeypatch.setattr(DatagramSocket, "receive", receive_badly)
        await app.stop()
        monkeypatch.setattr(DatagramSocket, "receive", receive_well)


async def test_one_that_died_in_the_queue_does_not_take_the_others_with_it_at_a_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ECONNABORTED of one who waited; who waits behind him is served, as without a drain."""
    gate = trio.Event()

    async def handler(stream: SocketStream) -> None:
        said = await stream.receive_some()
        await gate.wait()
        await stream.send_all(said)

    server = TCPServer(0, handler, host=LOCAL, max_connections=1)
    async with running(server), await connect(server) as first, trio.open_nursery() as nursery:
        await first.send_all(b"one")
        await eventually(lambda: server.statistics().active)
        second = await connect(server)
        await second.send_all(b"two")
        really, troubles = SocketListener.accept, [errno.ECONNABORTED]

        def accept(listener: SocketListener) -> Any:
            if troubles:
                number = troubles.pop()
                raise OSError(number, os.strerror(number))
            return really(listener)

        monkeypatch.setattr(SocketListener, "accept", accept)
        nursery.start_soon(server.stop)
        await trio.sleep(0.05)
        gate.set()
        assert await ask(second, b"", 3) == b"two"
        await second.aclose()
