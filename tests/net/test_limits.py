"""What a server counts, what it does not put up with, and the options of its sockets."""

from __future__ import annotations

import logging
import socket

import pytest
import trio
from trio.testing import MockClock

from trioservice.net.events import ConnectionRejected, ConnectionTimedOut
from trioservice.net.servers import ServerStatistics, TCPServer
from trioservice.net.streams import SocketStream

from .support import LOCAL, ask, connect, echo, ended, eventually, running, who

# ---- counting


async def test_the_counters_tell_what_went_over_the_wire() -> None:
    """Bytes of connections that are open and of those that have ended, in one snapshot."""
    server = TCPServer(0, echo, host=LOCAL)
    assert server.statistics() == ServerStatistics()
    async with running(server):
        async with await connect(server) as first, await connect(server) as second:
            await ask(first, b"12345")
            await ask(second, b"123")
            both = ServerStatistics(accepted=2, active=2, bytes_received=8, bytes_sent=8)
            await eventually(lambda: server.statistics() == both)
        await eventually(lambda: server.statistics().active == 0)
        assert server.statistics() == ServerStatistics(accepted=2, bytes_received=8, bytes_sent=8)


async def test_a_new_run_counts_from_nothing() -> None:
    """What the last run did is history (L3)."""
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server):
        async with await connect(server) as client:
            await ask(client, b"hello")
        await server.restart()
        assert server.statistics() == ServerStatistics()  # L3


# ---- per peer


async def test_one_peer_cannot_take_more_than_its_share() -> None:
    """At its limit a host's next connection is closed; those it has go on, and when one goes one may come."""
    server = TCPServer(0, echo, host=LOCAL, max_connections_per_peer=2, name="srv")
    async with running(server) as (_, events):
        async with await connect(server) as first:
            async with await connect(server) as second:
                assert await ask(first, b"one") == b"one"
                assert await ask(second, b"two") == b"two"
                async with await connect(server) as third:
                    assert await ended(third)
                assert await ask(first, b"still") == b"still"  # L16
            await eventually(lambda: server.statistics().active == 1)
            async with await connect(server) as next_one:
                assert await ask(next_one, b"next") == b"next"
        await eventually(lambda: server.statistics().active == 0)
        (rejection,) = events.of(ConnectionRejected)
        assert rejection.path == "app/srv"
        assert "max_connections_per_peer" in str(rejection)
        assert server.statistics().rejected == 1
        assert server.statistics().failed == 0
        assert not server._peers.counts, "peers that have gone are forgotten"


async def test_a_flood_of_rejected_connections_is_one_line_a_second(autojump_clock: MockClock) -> None:
    """A peer that is not welcome cannot fill the log; the next line tells how many there were."""
    server = TCPServer(0, echo, host=LOCAL, max_connections_per_peer=1)
    async with running(server) as (_, events), await connect(server) as keeper:
        await ask(keeper, b"in")
        for _ in range(20):
            async with await connect(server) as client:
                assert await ended(client)
        assert len(events.of(ConnectionRejected)) == 1
        await trio.sleep(1.1)
        async with await connect(server) as client:
            assert await ended(client)
        _, later = events.of(ConnectionRejected)
        assert later.times == 19
        assert "and 19 more" in str(later)
        assert server.statistics().rejected == 21


# ---- idle


async def test_an_idle_connection_is_closed_and_a_slow_but_living_one_is_not(
    autojump_clock: MockClock,
) -> None:
    """Silence in both directions ends a connection; a byte now and then keeps it."""
    server = TCPServer(0, echo, host=LOCAL, idle_timeout=8.0, name="srv")
    async with (
        running(server) as (_, events),
        await connect(server) as silent,
        await connect(server) as talker,
    ):
        start = trio.current_time()
        for _ in range(10):
            await trio.sleep(5)
            assert await ask(talker, b".") == b"."
        assert await silent.receive_some() == b""
        assert await ask(talker, b"still") == b"still"
        (timeout,) = events.of(ConnectionTimedOut)
        assert 8.0 <= timeout.time - start <= 10.0  # a quarter more, as documented
        assert "idle for 8 s" in str(timeout)
        assert timeout.level == logging.INFO
        assert server.statistics().failed == 1


async def test_while_a_server_drains_idle_connections_still_time_out(autojump_clock: MockClock) -> None:
    """A drain does not wait longer for the silent than the server does anyway."""
    server = TCPServer(0, echo, host=LOCAL, idle_timeout=4.0, drain_timeout=60)
    async with running(server, shutdown_timeout=100), await connect(server) as client:
        await ask(client, b"hello")
        before = trio.current_time()
        await server.stop()
        assert trio.current_time() - before < 6


async def test_a_slow_reader_of_a_large_answer_is_not_idle(autojump_clock: MockClock) -> None:
    """One long send that makes progress keeps its connection, though the handler does nothing else."""
    size = 8 * 1024 * 1024
    complete = False

    async def handler(stream: SocketStream) -> None:
        nonlocal complete
        await stream.send_all(bytes(size))
        complete = True

    server = TCPServer(0, handler, host=LOCAL, idle_timeout=4.0)
    async with running(server), await connect(server) as client:
        got = 0
        while got < size:
            got += len(await client.receive_some(1024 * 1024))
            await trio.sleep(1.0)
        assert complete
        assert server.statistics().failed == 0


async def test_a_very_slow_reader_is_not_idle_while_the_kernel_still_sends(autojump_clock: MockClock) -> None:
    """All is with the kernel already, and what leaves it counts."""
    size = 400 * 1024
    cut = True

    async def handler(stream: SocketStream) -> None:
        nonlocal cut
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
        await stream.send_all(bytes(size))
        await stream.receive_some()
        cut = False

    server = TCPServer(0, handler, host=LOCAL, idle_timeout=4.0)
    async with running(server):
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await sock.connect(server.addresses[0])
        async with trio.SocketStream(sock) as client:
            got = 0
            while got < size:
                data = await client.receive_some(8192)
                assert data, "it was cut"
                got += len(data)
                await trio.sleep(0.9)
        await eventually(lambda: not cut)


async def test_a_handler_that_outlives_its_idle_timeout_is_counted_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """Even if it hides the cancellation."""

    async def handler(stream: SocketStream) -> None:
        try:
            await stream.receive_some()
        except trio.Cancelled:
            return

    server = TCPServer(0, handler, host=LOCAL, idle_timeout=1.0)
    async with running(server) as (_, events), await connect(server) as client:
        assert await ended(client)
        assert len(events.of(ConnectionTimedOut)) == 1
        assert server.statistics().failed == 1


async def test_a_peer_that_does_not_read_costs_no_memory() -> None:
    """The handler waits in its send; nothing is queued for a peer that does not take it."""
    chunk = bytes(64 * 1024)

    async def handler(stream: SocketStream) -> None:
        while True:
            await stream.send_all(chunk)

    server = TCPServer(0, handler, host=LOCAL, drain_timeout=0)
    async with running(server), await connect(server):
        seen = -1
        while seen != (seen := server.statistics().bytes_sent):  # noqa: ASYNC110 - standstill has no event
            await trio.sleep(0.05)
        assert 0 < seen < 64 * 1024 * 1024, "only the kernel's buffers are full"


# ---- options of the socket


async def test_several_hosts_are_served_under_one_port() -> None:
    """A tuple of interfaces is as many listeners."""
    server = TCPServer(0, echo, host=("127.0.0.1", "127.0.0.2", "::1"))
    async with running(server):
        port = server.addresses[0][1]
        assert server.addresses == (("127.0.0.1", port), ("127.0.0.2", port), ("::1", port))
        for address in server.addresses:
            async with await connect(address) as client:
                assert await ask(client, b"hello") == b"hello"


async def test_with_reuse_port_two_servers_share_a_port() -> None:
    """And without it they cannot."""
    one = TCPServer(0, echo, host=LOCAL, reuse_port=True, name="one")
    async with running(one):
        port = one.addresses[0][1]
        async with running(TCPServer(port, echo, host=LOCAL, reuse_port=True)) as (app, _):
            (other,) = app
            assert other.addresses == one.addresses  # type: ignore[attr-defined]


async def test_one_ipv6_socket_takes_ipv4_too_where_that_is_asked_for() -> None:
    """`v6_only=False` is the system's mapping of IPv4 into IPv6."""
    server = TCPServer(0, who, host="::", v6_only=False)
    async with running(server):
        ((_, port),) = server.addresses
        async with await connect((LOCAL, port)) as client:
            assert b"::ffff:127.0.0.1" in await ask(client, b"hello", 1000)


async def test_a_server_can_be_bound_to_a_device() -> None:
    """What comes by another device is not for it."""
    server = TCPServer(0, echo, host=LOCAL, device="lo")
    try:
        async with running(server), await connect(server) as client:
            device = server._listeners[0]._sock.getsockopt(  # type: ignore[attr-defined]
                socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16
            )
            assert device == b"lo\0"
            assert await ask(client, b"hello") == b"hello"
    except ExceptionGroup as group:
        if "CAP_NET_RAW" not in str(group.exceptions[0]):
            raise
        pytest.skip("binding to a device is not permitted here")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_connections_per_peer", 0),
        ("idle_timeout", 0.0),
        ("idle_timeout", float("inf")),
        ("handshake_timeout", -1.0),
    ],
)
def test_limits_that_make_no_sense_are_refused_when_the_server_is_made(name: str, value: float) -> None:
    """A mistake is told where it is written."""
    with pytest.raises(ValueError, match=name):
        TCPServer(0, echo, **{name: value})  # type: ignore[misc]
