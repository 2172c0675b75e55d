"""Protocols of datagrams: told what asyncio would tell them, isolated, bounded, and seen to their end."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock

from trioservice import Application, ServicesFailed, State, current_service
from trioservice.errors import CannotSendError
from trioservice.net import datagram_protocols
from trioservice.net.datagram_protocols import DatagramProtocol, DatagramTransport
from trioservice.net.datagram_sockets import DatagramSocket
from trioservice.net.datagrams import (
    DatagramClient,
    DatagramServer,
    UDPClient,
    UDPServer,
    UNIXDatagramClient,
    UNIXDatagramServer,
)
from trioservice.net.events import DatagramFailed, DatagramRejected
from trioservice.net.multicast import MulticastServer

from .support import LIMIT, LOCAL, eventually, needs_short_queues, running


class Recorder:
    """A protocol that notes what it is told, and does besides what the test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.transport: Any = None
        self.addr: Any = None
        self.then: Callable[[bytes, Any], None] = lambda data, addr: None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.calls.append(("made",))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.addr = addr
        self.calls.append(("received", data))
        self.then(data, addr)

    def error_received(self, exc: Exception) -> None:
        self.calls.append(("error", type(exc)))

    def pause_writing(self) -> None:
        self.calls.append(("pause",))

    def resume_writing(self) -> None:
        self.calls.append(("resume",))

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(("lost", exc))

    @property
    def received(self) -> list[bytes]:
        return [call[1] for call in self.calls if call[0] == "received"]


class Echo(DatagramProtocol):
    """The protocol that needs no introduction."""

    def connection_made(self, transport: DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


def plain(server: DatagramServer) -> socket.socket:
    """A socket without any service, connected to a UDP server on this machine."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(LIMIT)
    sock.connect((LOCAL, server.addresses[0][1]))  # type: ignore[arg-type]
    return sock


async def answer(sock: socket.socket) -> bytes:
    with trio.fail_after(LIMIT):
        await trio.lowlevel.wait_readable(sock)
    return sock.recv(100_000)


# ---- the same sequences as with asyncio

Until = Callable[[Callable[[], object]], Awaitable[None]]
Body = Callable[[Recorder, socket.socket, Until], Awaitable[None]]


def by_asyncio(body: Body) -> list[tuple[Any, ...]]:
    """What a protocol is told by asyncio's own UDP server while *body* runs."""
    recorder = Recorder()

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        transport, _ = await loop.create_datagram_endpoint(lambda: recorder, local_addr=(LOCAL, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((LOCAL, 0))
            client.connect(transport.get_extra_info("sockname"))
            client.settimeout(LIMIT)
            await body(recorder, client, until)
            transport.close()
            await until(lambda: recorder.calls[-1][0] == "lost")

    asyncio.run(main())
    return recorder.calls


def by_us(body: Body) -> list[tuple[Any, ...]]:
    """What it is told by us."""
    recorder = Recorder()

    async def main() -> None:
        server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
        async with running(server):
            with plain(server) as client:
                await body(recorder, client, eventually)
                await server.stop()

    trio.run(main)
    return recorder.calls


async def some_are_received_and_answered(recorder: Recorder, client: socket.socket, until: Until) -> None:
    recorder.then = lambda data, addr: recorder.transport.sendto(data.upper(), addr)
    for data in (b"one", b"two", b"three"):
        client.send(data)
    await until(lambda: len(recorder.received) == 3)
    assert [client.recv(100) for _ in range(3)] == [b"ONE", b"TWO", b"THREE"]


async def an_empty_one_is_received(recorder: Recorder, client: socket.socket, until: Until) -> None:
    client.send(b"")
    await until(lambda: recorder.received)


async def one_raises_and_the_next_is_told(recorder: Recorder, client: socket.socket, until: Until) -> None:
    def fail(data: bytes, addr: Any) -> None:
        raise ValueError("a bug")

    recorder.then = fail
    client.send(b"1")
    client.send(b"2")
    await until(lambda: len(recorder.received) == 2)


async def it_closes_in_a_callback(recorder: Recorder, client: socket.socket, until: Until) -> None:
    def close(data: bytes, addr: Any) -> None:
        assert not recorder.transport.is_closing()
        recorder.transport.sendto(b"bye", addr)
        recorder.transport.close()
        recorder.transport.close()
        assert recorder.transport.is_closing()
        assert recorder.calls[-1] == ("received", b"1"), "connection_lost comes later"

    recorder.then = close
    client.send(b"1")
    client.send(b"2")
    await until(lambda: recorder.calls[-1][0] == "lost")
    assert client.recv(100) == b"bye"


async def it_aborts_in_a_callback(recorder: Recorder, client: socket.socket, until: Until) -> None:
    recorder.then = lambda data, addr: recorder.transport.abort()
    client.send(b"1")
    await until(lambda: recorder.calls[-1][0] == "lost")


async def it_is_closed_from_outside(recorder: Recorder, client: socket.socket, until: Until) -> None:
    recorder.transport.close()
    await until(lambda: recorder.calls[-1][0] == "lost")
    assert recorder.transport.is_closing()


async def too_large_an_answer_is_an_error(recorder: Recorder, client: socket.socket, until: Until) -> None:
    recorder.then = lambda data, addr: recorder.transport.sendto(bytes(70_000), addr)
    client.send(b"1")
    await until(lambda: ("error", OSError) in recorder.calls)
    client.send(b"2")
    await until(lambda: len(recorder.received) == 2)


async def text_is_refused(recorder: Recorder, client: socket.socket, until: Until) -> None:
    with pytest.raises(TypeError):
        recorder.transport.sendto("text", client.getsockname())


async def its_facts_are_told(recorder: Recorder, client: socket.socket, until: Until) -> None:
    transport = recorder.transport
    assert transport.get_extra_info("sockname") == client.getpeername()
    assert transport.get_extra_info("socket").getsockname() == client.getpeername()
    assert transport.get_extra_info("peername") is None
    assert transport.get_extra_info("cipher", "none") == "none"
    assert (transport.get_write_buffer_size(), transport.get_write_buffer_limits()) == (0, (16_384, 65_536))
    for given, limits in (((1000, None), (250, 1000)), ((None, 100), (100, 400)), ((7, 7), (7, 7))):
        transport.set_write_buffer_limits(*given)
        assert transport.get_write_buffer_limits() == limits
    for wrong in ((1, 2), (-1, -2), (5, -1)):
        with pytest.raises(ValueError, match="must be >= low"):
            transport.set_write_buffer_limits(*wrong)
    client.send(b"x")
    await until(lambda: recorder.received)
    assert recorder.addr == client.getsockname()


BODIES: list[Body] = [
    some_are_received_and_answered,
    an_empty_one_is_received,
    one_raises_and_the_next_is_told,
    it_closes_in_a_callback,
    it_aborts_in_a_callback,
    it_is_closed_from_outside,
    too_large_an_answer_is_an_error,
    text_is_refused,
    its_facts_are_told,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_a_protocol_is_told_what_asyncio_would_tell_it(body: Body) -> None:
    """The same callbacks, in the same order, from the first to the last."""
    ours = by_us(body)
    assert ours == by_asyncio(body)
    assert (ours[0], ours[-1]) == (("made",), ("lost", None))


def client_by_asyncio(path: str, body: Body, lazy: socket.socket) -> list[tuple[Any, ...]]:
    recorder = Recorder()

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: recorder, remote_addr=path, family=socket.AF_UNIX
        )
        await body(recorder, lazy, until)
        transport.close()
        await until(lambda: recorder.calls[-1][0] == "lost")

    asyncio.run(main())
    return recorder.calls


def client_by_us(path: str, body: Body, lazy: socket.socket) -> list[tuple[Any, ...]]:
    recorder = Recorder()

    async def main() -> None:
        async with running(UNIXDatagramClient(path, protocol=lambda: recorder)):
            await body(recorder, lazy, eventually)

    trio.run(main)
    return recorder.calls


async def a_lazy_peer_pauses_and_resumes(recorder: Recorder, lazy: socket.socket, until: Until) -> None:
    transport, sent = recorder.transport, 0
    transport.set_write_buffer_limits(20_000)
    while ("pause",) not in recorder.calls:
        assert sent < 5000
        transport.sendto(b"%1000d" % sent)
        sent += 1
    assert transport.get_write_buffer_size() > 20_000
    got: list[int] = []

    def all_read() -> bool:
        try:
            while True:
                got.append(int(lazy.recv(2000)))
        except BlockingIOError:
            return len(got) == sent

    await until(all_read)
    assert got == list(range(sent))
    await until(lambda: ("resume",) in recorder.calls)
    if isinstance(transport, DatagramTransport):  # asyncio's own count does not come back to 0 from 3.13 on
        assert transport.get_write_buffer_size() == 0


@pytest.mark.parametrize("by", [client_by_asyncio, client_by_us], ids=["asyncio", "us"])
def test_a_peer_that_does_not_read_pauses_the_protocol_and_loses_nothing(by: Any) -> None:
    """What the kernel does not take waits, in order, and the protocol hears of it once each way."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lazy:
        path = str(Path(folder, "sock"))
        lazy.bind(path)
        lazy.setblocking(False)
        calls = by(path, a_lazy_peer_pauses_and_resumes, lazy)
    assert calls == [("made",), ("pause",), ("resume",), ("lost", None)]


# ---- arguments


def test_a_server_takes_a_handler_or_a_protocol_and_a_client_may_have_neither() -> None:
    """The mistake is told where it is written."""

    async def handler(data: bytes, peer: Any, server: Any) -> None: ...

    for make in (
        lambda *given, **options: UDPServer(0, *given, **options),
        lambda *given, **options: DatagramServer("udp:0", *given, **options),
        lambda *given, **options: UNIXDatagramServer("/run/x", *given, **options),
        lambda *given, **options: MulticastServer(0, *given, **options),
    ):
        with pytest.raises(TypeError, match=r"needs a handler, .* or a protocol"):
            make()
        with pytest.raises(TypeError, match="to a handler or to a protocol, not to both"):
            make(handler, protocol=Echo)
        assert make(protocol=Echo).state is State.STOPPED
    for client in (UDPClient(LOCAL, 9), DatagramClient("udp:127.0.0.1:9"), UNIXDatagramClient("/run/x")):
        assert client.state is State.STOPPED
    with pytest.raises(TypeError, match="not to both"):
        UDPClient(LOCAL, 9, handler, protocol=Echo)
    with pytest.raises(TypeError, match="protocol is a callable that makes a protocol"):
        UDPServer(0, protocol=5)  # type: ignore[arg-type]


# ---- the lane


async def test_both_lanes_count_the_same() -> None:
    """`statistics()` means one thing, whoever hears."""

    async def echo(data: bytes, peer: Any, server: DatagramServer) -> None:
        await server.send(data, peer)

    counted = []
    for server in (
        UDPServer(0, echo, host=LOCAL, max_datagram=10),
        UDPServer(0, protocol=Echo, host=LOCAL, max_datagram=10),
    ):
        async with running(server) as (_, events):
            with plain(server) as client:
                client.send(bytes(11))
                for size in (0, 3, 10):
                    client.send(bytes(size))
                assert [len(await answer(client)) for _ in range(3)] == [0, 3, 10]
            assert len(events.of(DatagramRejected)) == 1
            counted.append(server.statistics())
    assert counted[0] == counted[1]
    assert (counted[0].received, counted[0].sent, counted[0].oversize) == (4, 3, 1)


async def test_a_protocol_is_made_for_each_socket_and_anew_in_each_run() -> None:
    """A new run remembers nothing of the old one."""
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = UDPServer(0, protocol=factory, host=(LOCAL, "127.0.0.2"))
    async with running(server):
        assert [one.transport.get_extra_info("sockname") for one in made] == list(server.addresses)
        await server.restart()
        assert len(made) == 4  # L3
        assert [one.calls for one in made[:2]] == [[("made",), ("lost", None)]] * 2
    assert made[3].calls == [("made",), ("lost", None)]


async def test_an_answer_comes_from_the_address_that_was_asked_also_later() -> None:
    """Of a server that is bound to all; an address that was kept remembers it."""
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        made[-1].then = lambda data, addr: made[0].transport.sendto(data, addr)
        return made[-1]

    async with running(server := UDPServer(0, protocol=factory, host="0.0.0.0")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.2", server.addresses[0][1]))  # type: ignore[arg-type]
            client.send(b"now")
            assert await answer(client) == b"now"
            made[0].transport.sendto(b"later", made[0].addr)
            assert await answer(client) == b"later"


async def test_ipv6_addresses_are_the_socket_modules_and_shorter_ones_are_taken_too() -> None:
    """As protocols that were written for asyncio expect them."""
    recorder = Recorder()
    async with running(server := UDPServer(0, protocol=lambda: recorder, host="::1")):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.connect(("::1", server.addresses[0][1]))  # type: ignore[arg-type]
            client.send(b"x")
            await eventually(lambda: recorder.received)
            assert recorder.addr == client.getsockname()
            for addr in (recorder.addr, tuple(recorder.addr), recorder.addr[:2]):
                recorder.transport.sendto(b"!", addr)
                assert await answer(client) == b"!"


async def test_what_is_no_address_is_refused_in_words() -> None:
    """Also a name, which would have to be looked up while nothing else happens."""
    recorder, local = Recorder(), Recorder()
    server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
    async with running(server) as (app, _):
        for addr, said in (
            (None, "needs an address"),
            (("localhost", 9), "is a name"),
            (("::1", 9), "another family"),
            (("::1", 9, 0, 0), "takes an address"),
            ("/run/x", "another family"),
        ):
            with pytest.raises(ValueError, match=said):
                recorder.transport.sendto(b"x", addr)
        await app.start_service(UDPClient(*server.addresses[0], protocol=lambda: local))  # type: ignore[arg-type]
        assert local.transport.get_extra_info("peername") == server.addresses[0]
        with pytest.raises(ValueError, match=r"sends to .* only"):
            local.transport.sendto(b"x", (LOCAL, 9))
        for addr in (None, server.addresses[0]):
            local.transport.sendto(b"x", addr)
        await eventually(lambda: recorder.received == [b"x", b"x"])
        recorder.transport.sendto(b"back", recorder.addr)
        await eventually(lambda: local.received == [b"back"])


async def test_unix_sockets_are_answered_by_their_path(tmp_path: Path) -> None:
    """By one with a path, one with an abstract name, and not by one without any."""
    recorder = Recorder()
    recorder.then = lambda data, addr: recorder.transport.sendto(data, addr)
    server = UNIXDatagramServer(tmp_path / "sock", protocol=lambda: recorder)
    async with running(server) as (app, events):
        pair = Recorder(), Recorder()
        for local, own in zip(pair, (tmp_path / "own", None), strict=True):
            client = UNIXDatagramClient(
                tmp_path / "sock", protocol=partial(next, iter([local])), bind_path=own
            )
            await app.start_service(client)
            local.transport.sendto(b"hello")
            await eventually(lambda: local.received)  # noqa: B023
            await app.remove_service(client)
        assert [local.received for local in pair] == [[b"hello"]] * 2
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(b"x", str(tmp_path / "sock"))
        await eventually(lambda: events.of(DatagramFailed))
        assert "needs an address" in str(events.of(DatagramFailed)[0])


async def test_a_callback_that_raises_is_told_counted_and_ends_nothing() -> None:
    """Whichever it is."""

    class Buggy:
        def __getattr__(self, name: str) -> Any:
            raise ValueError(f"{name} is a bug")

    server = UDPServer(0, protocol=Buggy, host=LOCAL)
    async with running(server) as (app, events):
        with plain(server) as client:
            client.send(b"x")
            client.send(b"x")
            await eventually(lambda: server.statistics().failed == 3)
        assert app.state is State.RUNNING  # L16
        (told,) = events.of(DatagramFailed)
        assert (str(told.error), told.by_peer) == ("connection_made is a bug", False)
    assert server.statistics().failed == 4  # connection_lost


async def test_callbacks_know_the_current_service_and_one_task() -> None:
    """They run in the task that hears, also when somebody else sends."""
    mark: ContextVar[str] = ContextVar("mark", default="none")
    seen: list[object] = []
    recorder = Recorder()
    recorder.then = lambda data, addr: seen.append((current_service(), mark.get()))
    server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
    async with running(server):
        mark.set("the test's")
        with plain(server) as client:
            client.send(b"x")
            await eventually(lambda: seen)
    assert seen == [(server, "none")]  # L20


async def test_a_client_of_a_closed_port_is_told_and_goes_on() -> None:
    """What ICMP says is an error received, and the datagram after it is sent all the same."""
    recorder = Recorder()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind((LOCAL, 0))
        port = reserved.getsockname()[1]
    client = UDPClient(LOCAL, port, protocol=lambda: recorder)
    async with running(client) as (app, events):
        for number in range(1, 4):
            recorder.transport.sendto(b"anybody?")
            assert client.statistics().sent == number
        await eventually(lambda: ("error", ConnectionRefusedError) in recorder.calls)
        assert events.of(DatagramFailed)[0].by_peer
        await app.start_service(UDPServer(port, protocol=Echo, host=LOCAL))
        recorder.transport.sendto(b"now?")
        await eventually(lambda: recorder.received == [b"now?"])  # L16


async def test_a_flood_starves_neither_a_timer_nor_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of one wake-up is bounded, and so is the rest that a drain hears."""
    recorder, turns = Recorder(), 10
    server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
    always = socket.socketpair()
    always[1].send(b"x")

    async def at_once(self: DatagramSocket) -> None:
        await trio.lowlevel.wait_readable(always[0])

    monkeypatch.setattr(DatagramSocket, "wait_readable", at_once)
    monkeypatch.setattr(DatagramSocket, "is_plain", False)
    monkeypatch.setattr(DatagramSocket, "hear", lambda self, most: (b"x", (LOCAL, 9)))
    async with running(server):
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        at_most = (turns + 3) * (datagram_protocols._BATCH + datagram_protocols._READ)
        assert 0 < len(recorder.received) < at_most
        before, most = len(recorder.received), server._sockets[0].capacity
        await server.stop()
        assert len(recorder.received) - before < most + at_most
    for end in always:
        end.close()


async def test_a_drain_tells_what_has_arrived_and_then_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one batch of it."""

    async def deaf(self: DatagramSocket) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(DatagramSocket, "wait_readable", deaf)
    recorder = Recorder()
    server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
    async with running(server):
        with plain(server) as client:
            sent = [b"%d" % number for number in range(150)]
            for data in sent:
                client.send(data)
            await server.stop()
    assert recorder.received == sent  # L10
    assert recorder.calls[-1] == ("lost", None)


async def test_a_cancel_tells_the_end_too() -> None:
    """And nothing is sent after it."""
    recorder = Recorder()
    server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
    app = Application("app", server, handle_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((LOCAL, 0))
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await eventually(lambda: recorder.calls[-1][0] == "lost")
            recorder.transport.sendto(b"late", other.getsockname())
            assert server.statistics().sent == 0
    assert recorder.calls == [("made",), ("lost", None)]


async def test_a_server_whose_transports_are_all_closed_is_finished() -> None:
    """And one of several hears on; a stopped one can be started again."""
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = UDPServer(0, protocol=factory, host=(LOCAL, "127.0.0.2"))
    other = UDPServer(0, protocol=Echo, host=LOCAL)
    async with running(server, other):
        made[1].transport.close()
        await eventually(lambda: made[1].calls == [("made",), ("lost", None)])
        with plain(server) as client:
            client.send(b"x")
            await eventually(lambda: made[0].received == [b"x"])
        made[0].transport.close()
        await eventually(lambda: server.state is State.FINISHED)  # L15
        await server.start()
        assert len(made) == 4


async def test_what_waits_is_bounded_and_what_is_too_much_is_lost_and_told(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """A system that never has room fills no memory; each datagram waits for about a second."""

    def full(self: DatagramSocket, data: bytes, to: Any) -> int:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    monkeypatch.setattr(DatagramSocket, "is_plain", False)
    monkeypatch.setattr(DatagramSocket, "send", full)
    monkeypatch.setattr(datagram_protocols, "_MOST", 10_000)
    recorder = Recorder()
    server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
    async with running(server) as (_, events):
        for _ in range(100):
            recorder.transport.sendto(bytes(744), (LOCAL, 9))
        assert recorder.transport.get_write_buffer_size() == 10_000
        assert server.statistics().failed == 90
        (told,) = events.of(DatagramFailed)
        assert isinstance(told.error, CannotSendError)
        assert str(told).endswith(f"cannot send to {LOCAL}:9: 10000 bytes wait already")
        await trio.sleep(2)
        assert recorder.transport.get_write_buffer_size() == 0
        assert recorder.calls.count(("error", OSError)) == 10
        assert (server.statistics().failed, server.statistics().sent) == (100, 0)


@needs_short_queues
async def test_a_lazy_unix_peer_holds_up_no_other(tmp_path: Path) -> None:
    """Its queue is full, theirs are not."""
    recorder = Recorder()
    server = UNIXDatagramServer(tmp_path / "sock", protocol=lambda: recorder)
    async with running(server):
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lazy,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
        ):
            for sock, name in ((lazy, "lazy"), (other, "other")):
                sock.bind(str(tmp_path / name))
                sock.setblocking(False)
            while not recorder.transport.get_write_buffer_size():
                recorder.transport.sendto(b"first", str(tmp_path / "lazy"))
            recorder.transport.sendto(b"hello", str(tmp_path / "other"))
            assert other.recv(100) == b"hello"  # L16
            recorder.transport.abort()
            await eventually(lambda: recorder.calls[-1] == ("lost", None))
            assert recorder.transport.get_write_buffer_size() == 0


async def test_a_close_sends_what_waits_first(tmp_path: Path) -> None:
    """And tells the end after it."""
    recorder = Recorder()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lazy:
        lazy.bind(str(tmp_path / "sock"))
        lazy.setblocking(False)
        async with running(UNIXDatagramClient(tmp_path / "sock", protocol=lambda: recorder)):
            while not recorder.transport.get_write_buffer_size():
                recorder.transport.sendto(b"x")
            recorder.transport.close()
            await trio.testing.wait_all_tasks_blocked()
            assert recorder.calls == [("made",)]
            got = 0

            def ended() -> bool:
                nonlocal got
                try:
                    while lazy.recv(100):
                        got += 1
                except BlockingIOError:
                    return recorder.calls[-1] == ("lost", None)
                return False

            await eventually(ended)
    assert got > 1


async def test_an_error_of_the_socket_itself_fails_the_service_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is nobody's datagram is not hidden."""

    def broken(self: DatagramSocket, most: int) -> tuple[bytes, Any]:
        raise OSError(errno.ENOTSOCK, "no socket")

    monkeypatch.setattr(DatagramSocket, "is_plain", False)
    monkeypatch.setattr(DatagramSocket, "hear", broken)
    recorder = Recorder()
    server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
    failed: list[BaseException] = []

    async def main(task_status: trio.TaskStatus[None]) -> None:
        try:
            await Application("app", server, handle_signals=False).main(task_status=task_status)
        except ServicesFailed as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        await nursery.start(main)
        with plain(server) as client:
            client.send(b"x")
    assert len(failed) == 1
    (lost,) = [call for call in recorder.calls if call[0] == "lost"]
    assert isinstance(lost[1], OSError)
    assert "no socket" in str(lost[1])


async def test_a_kernel_without_memory_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ends, and nothing that came is lost."""
    troubles = [OSError(errno.ENOMEM, "no memory"), ConnectionResetError(errno.ECONNRESET, "reset")]
    hear_well = DatagramSocket.hear

    def hear_badly(self: DatagramSocket, most: int) -> tuple[bytes, Any]:
        if troubles:
            raise troubles.pop(0)
        return hear_well(self, most)

    monkeypatch.setattr(DatagramSocket, "is_plain", False)
    monkeypatch.setattr(DatagramSocket, "hear", hear_badly)
    recorder = Recorder()
    server = UDPServer(0, protocol=lambda: recorder, host=LOCAL)
    async with running(server):
        with plain(server) as client:
            client.send(b"x")
            await eventually(lambda: recorder.received == [b"x"])  # L16
    assert recorder.calls[1] == ("error", ConnectionResetError)


async def test_a_multicast_server_takes_a_protocol_too() -> None:
    """It is a datagram server like the others."""
    server = MulticastServer(0, protocol=Echo, host=LOCAL)
    async with running(server):
        with plain(server) as client:
            client.send(b"hello")
            assert await answer(client) == b"hello"


def test_a_transport_prints_as_where_it_is_and_how() -> None:
    """For a log."""

    async def main() -> None:
        recorder = Recorder()
        async with running(server := UDPServer(0, protocol=lambda: recorder, host=LOCAL)):
            where = f"{LOCAL}:{server.addresses[0][1]}"
            assert repr(recorder.transport) == f"<DatagramTransport {where} open>"
            recorder.transport.close()
            assert repr(recorder.transport) == f"<DatagramTransport {where} closing>"
            await eventually(lambda: repr(recorder.transport) == f"<DatagramTransport {where} closed>")

    trio.run(main)
