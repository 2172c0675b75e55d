"""SSLServer from end to end: handshakes, certificates, and peers that misbehave."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from certificates import certificate, stranger, trusting, write_authority, write_pair, write_pem

from trioservice import Application, ServicesFailed, State
from trioservice.events import Event
from trioservice.net.events import (
    CertificatesLoaded,
    CertificatesRejected,
    ConnectionFailed,
    ConnectionTimedOut,
    HandshakeFailed,
)
from trioservice.net.servers import SSLServer, StreamServer
from trioservice.net.tls import CertificateError, CertificateFiles, CertificateFolder, TLSStream

from .support import LIMIT, LOCAL, eventually, running

NAME = "shop.example"

#: A client, with TLS by trio alone: nothing of ours is at both ends.
Client = trio.SSLStream[trio.SocketStream]


async def echo(stream: TLSStream) -> None:
    """The handler that needs no introduction."""
    async for data in stream:
        await stream.send_all(data)


def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate(NAME).configure_cert(context)
    return context


def ssl_server(
    handler: Callable[[TLSStream], Awaitable[object]] = echo, context: Any = None, **options: Any
) -> SSLServer:
    return SSLServer(0, handler, context or server_context(), host=LOCAL, name="srv", **options)


async def plain(server: StreamServer) -> trio.SocketStream:
    """A client that has connected and said nothing."""
    address = server.addresses[0]
    assert isinstance(address, tuple)
    return await trio.open_tcp_stream(*address)


@asynccontextmanager
async def secure(
    server: StreamServer, context: ssl.SSLContext | None = None, name: str = NAME
) -> AsyncIterator[Client]:
    """A client with whom the handshake is made, as far as the client can tell."""
    stream = trio.SSLStream(await plain(server), context or trusting(), server_hostname=name)
    try:
        with trio.fail_after(LIMIT):
            await stream.do_handshake()
        yield stream
    finally:
        with trio.move_on_after(LIMIT), suppress(trio.ClosedResourceError):  # the test may have cut it
            await stream.aclose()


async def ask(client: Client, question: bytes) -> bytes:
    """Send *question* and wait for as many bytes."""
    answer = b""
    with trio.fail_after(LIMIT):
        await client.send_all(question)
        while len(answer) < len(question):
            more = await client.receive_some()
            if not more:
                break
            answer += more
    return answer


async def until_closed(client: trio.SocketStream) -> bytes:
    """All that the server says until it closes the connection, however it does."""
    said = b""
    with trio.fail_after(LIMIT):
        try:
            async for data in client:
                said += data
        except trio.BrokenResourceError:
            pass
    return said


async def reset(client: trio.SocketStream) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await client.aclose()


def client_hello() -> bytes:
    """What a client says first."""
    outgoing = ssl.MemoryBIO()
    client = trusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the log says of connections."""
    return [record for record in caplog.records if ": connection " in record.getMessage()]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---- what goes well


async def test_a_handler_is_given_a_stream_with_which_the_handshake_is_made() -> None:
    """It knows its peer, its version, and speaks."""
    seen: list[object] = []

    async def handler(stream: TLSStream) -> None:
        seen.extend([stream.peer, stream.local, stream.version(), stream.selected_alpn_protocol()])
        await echo(stream)

    server = ssl_server(handler)
    async with running(server):
        async with secure(server) as client:
            assert await ask(client, b"hello") == b"hello"
            assert seen == [
                client.transport_stream.socket.getsockname(),
                server.addresses[0],
                "TLSv1.3",
                None,
            ]
            for _ in range(10):
                assert await ask(client, b"x" * 100_000) == b"x" * 100_000
        await eventually(lambda: server.statistics().active == 0)
        statistics = server.statistics()
        assert (statistics.accepted, statistics.failed) == (1, 0)
        assert statistics.bytes_received > 1_000_000, "as on the wire"
        assert statistics.bytes_sent > 1_000_000


async def test_a_handler_that_returns_ends_the_connection_in_tls() -> None:
    """The client can tell our end from an attacker's."""

    async def handler(stream: TLSStream) -> None:
        await stream.send_all(b"all there is")

    server = ssl_server(handler)
    async with running(server), secure(server) as client:
        assert await client.receive_some() == b"all there is"
        assert await client.receive_some() == b"", "a strict client takes anything else for an attack"


async def test_a_handler_that_raises_does_not_end_the_connection_in_tls() -> None:
    """Half an answer must not look like a whole one."""

    async def handler(stream: TLSStream) -> None:
        await stream.send_all(b"half an ans")
        raise ValueError("a bug")

    server = ssl_server(handler)
    async with running(server) as (app, events), secure(server) as client:
        assert await client.receive_some() == b"half an ans"
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await eventually(lambda: events.of(ConnectionFailed))
        (failure,) = events.of(ConnectionFailed)  # L16
        assert not failure.by_peer
        assert failure.level == logging.ERROR
        assert app.state is State.RUNNING


async def test_a_handler_may_close_the_stream_itself() -> None:
    """Once is enough, and twice does no harm."""

    async def handler(stream: TLSStream) -> None:
        await stream.aclose()

    server = ssl_server(handler)
    async with running(server) as (_, events):
        async with secure(server) as client:
            assert await client.receive_some() == b""
        await eventually(lambda: server.statistics().active == 0)
        assert events.of(ConnectionFailed) == []


@pytest.mark.parametrize("kind", ["ssl", "tls"])
async def test_a_text_serves_as_well(tmp_path: Path, kind: str) -> None:
    """Both kinds of endpoint, with one certificate and with a folder."""
    cert, key = write_pair(tmp_path, certificate(NAME))
    write_pem(tmp_path / f"{NAME}.pem", certificate(NAME))
    text = f"ssl:0:certKey={cert}:privateKey={key}" if kind == "ssl" else f"tls:{tmp_path}:port=0"
    server = StreamServer(f"{text}:interface={LOCAL}", echo)
    async with running(server), secure(server) as client:
        assert await ask(client, b"hello") == b"hello"


async def test_files_that_cannot_be_used_end_the_start_before_anything_is_bound(tmp_path: Path) -> None:
    """The error out of `main` names the file and the mend."""
    server = ssl_server(context=CertificateFiles(tmp_path / "gone.pem"))
    app = Application("app", server, handle_signals=False)
    with pytest.raises(ServicesFailed) as caught:
        await app.main()
    (error,) = caught.value.exceptions
    assert isinstance(error, CertificateError)
    assert "gone.pem" in str(error)
    assert server.addresses == ()


# ---- certificates


async def test_the_name_that_a_client_asks_for_chooses_the_certificate(tmp_path: Path) -> None:
    """And one whose name is unknown is refused, told so, and is one line of the log."""
    for name in ("one.example", "two.example"):
        write_pem(tmp_path / f"{name}.pem", certificate(name))
    asked: list[str | None] = []

    async def handler(stream: TLSStream) -> None:
        asked.append(stream.server_name)

    server = ssl_server(handler, CertificateFolder(tmp_path))
    async with running(server) as (_, events):
        for name in ("one.example", "two.example"):
            async with secure(server, name=name) as client:  # which checks the name
                assert await client.receive_some() == b""
        assert asked == ["one.example", "two.example"]
        with pytest.raises(trio.BrokenResourceError) as caught:
            async with secure(server, name="three.example"):
                pass
        assert "UNRECOGNIZED_NAME" in str(caught.value.__cause__)
        await eventually(lambda: events.of(HandshakeFailed))
        (failure,) = events.of(HandshakeFailed)
        assert str(failure).endswith(
            "handshake: it asked for 'three.example', and there is no certificate for that, nor a default.pem"
        )


async def test_certificates_loaded_again_are_for_new_connections_and_leave_old_ones_alone(
    tmp_path: Path,
) -> None:
    """Broken files leave all as it was, and are told."""
    path = write_pem(tmp_path / "all.pem", certificate(NAME, "old.example"))
    server = ssl_server(context=CertificateFiles(path))

    async def sees() -> set[str]:
        async with secure(server) as client:
            return {value for _, value in client.getpeercert()["subjectAltName"]}

    async with running(server) as (_, events), secure(server) as old:
        assert await sees() == {NAME, "old.example"}
        write_pem(path, certificate(NAME, "new.example"))
        assert server.reload_certificates()
        assert await sees() == {NAME, "new.example"}
        assert await ask(old, b"still here") == b"still here"
        path.write_text("half a certi")
        assert not server.reload_certificates()
        with pytest.raises(CertificateError):
            await server.on_reload()
        assert await sees() == {NAME, "new.example"}
        assert await ask(old, b"still here") == b"still here"
        (loaded,) = events.of(CertificatesLoaded)
        assert str(loaded) == "certificates loaded again"
        (rejected,) = events.of(CertificatesRejected)
        assert isinstance(rejected.error, CertificateError)
        assert str(path) in str(rejected)
        assert rejected.level == logging.ERROR


async def test_a_restart_keeps_the_certificates_and_the_place() -> None:
    """What privileges were needed for was acquired once."""
    server = ssl_server()
    async with running(server):
        before = server.addresses
        await server.restart()
        assert server.addresses == before  # L18
        async with secure(server) as client:
            assert await ask(client, b"hello") == b"hello"


async def test_a_client_must_show_a_certificate_where_one_is_demanded(tmp_path: Path) -> None:
    """None, a stranger's, and the right one, which the handler can look at."""
    path, ca = write_pem(tmp_path / "all.pem", certificate(NAME)), write_authority(tmp_path / "ca.pem")
    seen: list[object] = []

    async def handler(stream: TLSStream) -> None:
        cert = stream.getpeercert()
        assert cert is not None
        seen.append(cert["subjectAltName"])
        await echo(stream)

    server = ssl_server(handler, CertificateFiles(path, client_ca=ca))
    async with running(server) as (_, events):
        for leaf, reason, alert in (
            (None, "peer did not return a certificate", "CERTIFICATE_REQUIRED"),
            (certificate("client.example", by=stranger()), "certificate verify failed", "UNKNOWN_CA"),
        ):
            with pytest.raises(trio.BrokenResourceError) as caught:
                async with secure(server, trusting(leaf)) as client:
                    await client.receive_some()
            assert alert in str(caught.value.__cause__)
            assert reason in str(events.of(HandshakeFailed)[-1])
        assert seen == []
        async with secure(server, trusting(certificate("client.example"))) as client:
            assert await ask(client, b"hello") == b"hello"
        assert seen == [(("DNS", "client.example"),)]
        assert server.statistics().failed == 2


async def test_old_versions_are_refused() -> None:
    """TLS 1.1 is not spoken, by default or at all, and the client is told so."""
    old = trusting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    server = ssl_server()
    async with running(server) as (_, events):
        with pytest.raises(trio.BrokenResourceError) as caught:
            async with secure(server, old):
                pass
        assert "PROTOCOL_VERSION" in str(caught.value.__cause__)
        (failure,) = events.of(HandshakeFailed)
        assert "unsupported protocol" in str(failure)


async def test_the_protocol_that_both_ends_want_is_known_to_the_handler(tmp_path: Path) -> None:
    """ALPN, in the order that the server prefers."""
    path = write_pem(tmp_path / "all.pem", certificate(NAME))

    async def handler(stream: TLSStream) -> None:
        await stream.send_all(str(stream.selected_alpn_protocol()).encode())

    server = ssl_server(handler, CertificateFiles(path, alpn=("h2", "http/1.1")))
    async with running(server):
        for offered, chosen in ((["http/1.1", "h2"], b"h2"), (["http/1.1"], b"http/1.1"), (["x"], b"None")):
            context = trusting()
            context.set_alpn_protocols(offered)
            async with secure(server, context) as client:
                assert await client.receive_some() == chosen


# ---- peers that misbehave


@pytest.mark.parametrize(
    ("said", "reason"),
    {
        b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n": "http request",
        b"\x00" * 64: "",
        b"\xff" * 4096: "",
        b"hello\r\n": "",
        client_hello()[:60]: "EOF occurred in violation of protocol",
        b"": "EOF occurred in violation of protocol",
    }.items(),
    ids=["http", "zeros", "ones", "words", "half a hello", "nothing"],
)
async def test_what_is_no_tls_costs_one_line_and_nobody_else_notices(
    caplog: pytest.LogCaptureFixture, said: bytes, reason: str
) -> None:
    """Garbage, another protocol, or a client that gives up: no traceback, and no handler's turn."""
    caplog.set_level(logging.INFO)
    server = ssl_server()
    async with running(server) as (app, events), secure(server) as bystander:
        assert await ask(bystander, b"one") == b"one"
        client = await plain(server)
        async with client:
            address = client.socket.getsockname()
            await client.send_all(said)
            await client.send_eof()
            answer = await until_closed(client)
            assert answer == b"" or answer[:2] == b"\x15\x03", "nothing, or an alert"
        await eventually(lambda: events.of(HandshakeFailed))
        assert await ask(bystander, b"two") == b"two"  # L16
        assert app.state is State.RUNNING
        statistics = server.statistics()
        assert (statistics.accepted, statistics.active, statistics.failed) == (2, 1, 1)
    (record,) = told(caplog)  # L16
    assert record.levelno == logging.INFO  # L16
    assert record.exc_info is None  # L16
    prefix = f"app/srv: connection from {LOCAL}:{address[1]} got no further than its handshake: "
    assert record.getMessage().startswith(prefix)
    assert reason in record.getMessage()
    assert "\n" not in record.getMessage()


async def test_a_client_that_never_speaks_has_so_long_and_no_longer() -> None:
    """Neither before its first word nor within the handshake, and others do not wait for it."""
    server = ssl_server(handshake_timeout=0.2)
    async with running(server) as (_, events):
        silent, halfway = await plain(server), await plain(server)
        async with silent, halfway:
            await halfway.send_all(client_hello())
            async with secure(server) as client:
                assert await ask(client, b"hello") == b"hello"
                assert await until_closed(silent) == b""
                assert await until_closed(halfway) != b"", "it had an answer to its hello"
                assert await ask(client, b"still here") == b"still here"
        await eventually(lambda: len(events.of(HandshakeFailed)) == 2)
        for failure in events.of(HandshakeFailed):
            assert str(failure).endswith("it took more than 0.2 s")
            assert failure.level == logging.INFO


async def before_the_hello(server: StreamServer) -> None:
    await reset(await plain(server))


async def after_the_hello(server: StreamServer) -> None:
    client = await plain(server)
    await client.send_all(client_hello())
    await reset(client)


async def in_the_data(server: StreamServer) -> None:
    async with secure(server) as client:
        assert await ask(client, b"hello") == b"hello"
        await client.send_all(b"and then")
        await reset(client.transport_stream)


async def before_the_end(server: StreamServer) -> None:
    async with secure(server) as client:
        assert await ask(client, b"hello") == b"hello"
        await reset(client.transport_stream)


async def without_the_end(server: StreamServer) -> None:
    async with secure(server) as client:
        assert await ask(client, b"hello") == b"hello"
        await client.transport_stream.aclose()


async def garbage_in_the_data(server: StreamServer) -> None:
    async with secure(server) as client:
        assert await ask(client, b"hello") == b"hello"
        await client.transport_stream.send_all(b"garbage" * 100)
        await until_closed(client.transport_stream)


@pytest.mark.parametrize(
    ("misbehave", "event"),
    [
        (before_the_hello, HandshakeFailed),
        (after_the_hello, HandshakeFailed),
        (in_the_data, ConnectionFailed),
        (before_the_end, ConnectionFailed),
        (without_the_end, ConnectionFailed),
        (garbage_in_the_data, ConnectionFailed),
    ],
    ids=lambda value: value.__name__,
)
async def test_a_connection_that_breaks_at_any_moment_costs_one_line_and_nobody_else_notices(
    caplog: pytest.LogCaptureFixture,
    misbehave: Callable[[StreamServer], Awaitable[None]],
    event: type[Event],
) -> None:
    """Resets, ends that are none, garbage: one INFO line each, without traceback."""
    caplog.set_level(logging.INFO)
    server = ssl_server()
    async with running(server) as (app, events), secure(server) as bystander:
        await eventually(lambda: server.statistics().active == 1)
        await misbehave(server)
        await eventually(lambda: events.of(event))
        await eventually(lambda: server.statistics().active == 1)
        assert await ask(bystander, b"hello") == b"hello"  # L16
        assert app.state is State.RUNNING
        assert server.statistics().failed == 1
        assert len(events.of(HandshakeFailed) + events.of(ConnectionFailed)) == 1
    (record,) = told(caplog)  # L16
    assert record.levelno == logging.INFO, record.getMessage()  # L16
    assert record.exc_info is None  # L16


async def test_a_client_that_says_its_end_in_tls_is_heard_to_the_end() -> None:
    """What it has said is complete, and the handler may still answer."""
    answered: list[bytes] = []

    async def handler(stream: TLSStream) -> None:
        question = b""
        async for data in stream:
            question += data
        await stream.send_all(b"an answer")
        answered.append(question)

    server = ssl_server(handler)
    async with running(server) as (_, events):
        async with secure(server) as client:
            await client.send_all(b"question")
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(LIMIT):
                await client.unwrap()  # says the end, and takes nothing but the end for an answer
        await eventually(lambda: server.statistics().active == 0)
        assert answered == [b"question"]
        assert events.of(ConnectionFailed) == []


async def test_a_client_that_does_not_read_ends_nothing_but_itself() -> None:
    """Where an answer cannot leave, the connection is idle, and its end is not waited for."""

    async def pour(stream: TLSStream) -> None:
        while True:
            await stream.send_all(b"x" * 1_000_000)

    server = ssl_server(pour, idle_timeout=0.4)
    async with running(server) as (_, events):
        async with secure(server):
            await eventually(lambda: events.of(ConnectionTimedOut))
            await eventually(lambda: server.statistics().active == 0)
        assert server.statistics().failed == 1


async def test_a_client_that_does_not_hear_the_end_is_not_waited_for() -> None:
    """A full pipe cannot take even our last word; the server gives it so long and no longer."""

    async def fill(stream: TLSStream) -> None:
        with trio.move_on_after(0.1):
            while True:
                await stream.below.send_all(b"x" * 1_000_000)

    server = ssl_server(fill, handshake_timeout=0.2)
    async with running(server), secure(server):
        await eventually(lambda: server.statistics().accepted == 1)
        await eventually(lambda: server.statistics().active == 0)


# ---- the end


async def test_a_stop_lets_connections_finish_and_ends_them_in_tls() -> None:
    """Those that are at work are drained; new ones are refused."""
    working, go_on = trio.Event(), trio.Event()

    async def handler(stream: TLSStream) -> None:
        question = await stream.receive_some()
        working.set()
        await go_on.wait()
        await stream.send_all(question.upper())

    server = ssl_server(handler)
    async with running(server) as (app, events), secure(server) as client:
        await client.send_all(b"hello")
        await working.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.stop)
            await eventually(lambda: server.state is State.STOPPING)
            go_on.set()
            assert await client.receive_some() == b"HELLO"  # L10
            assert await client.receive_some() == b""
        assert events.of(ConnectionFailed) == []


async def test_a_stop_ends_handshakes_that_are_under_way() -> None:
    """Neither the drain nor the stop waits for one who does not speak longer than it may."""
    server = ssl_server(drain_timeout=0.1)
    async with running(server) as (app, _):
        client = await plain(server)
        async with client:
            await eventually(lambda: server.statistics().active)
            with trio.fail_after(LIMIT / 2):
                await app.stop()
            assert await until_closed(client) == b""


async def test_connections_of_every_fate_leave_no_descriptor_behind() -> None:
    """Whether they were served, refused, reset or cut."""
    server = ssl_server()
    async with running(server):
        before = descriptors()
        for misbehave in (before_the_hello, after_the_hello, in_the_data, without_the_end):
            for _ in range(10):
                await misbehave(server)
        await eventually(lambda: server.statistics().active == 0)
        assert server.statistics().accepted == 40
        await eventually(lambda: descriptors() == before)


async def test_two_hundred_restarts_leave_no_descriptor_behind(tmp_path: Path) -> None:
    """Certificates are loaded, and connections served, without a trace."""
    path = write_pem(tmp_path / "all.pem", certificate(NAME))
    server = ssl_server(context=CertificateFiles(path, chain=write_authority(tmp_path / "ca.pem")))
    async with running(server):
        before = descriptors()
        for _ in range(200):
            await server.restart()
            assert server.reload_certificates()
        async with secure(server) as client:
            assert await ask(client, b"hello") == b"hello"
        await eventually(lambda: descriptors() == before)
