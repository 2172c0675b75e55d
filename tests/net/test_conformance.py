"""What Twisted's own tests assert of its services, row by row, where no other test is named for it."""

from __future__ import annotations

import gc
import os
import re
import socket
import weakref
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trioservice
from trioservice import (
    Application,
    CannotListenError,
    Service,
    ServicesFailed,
    State,
    StreamServer,
    TCPServer,
    UDPServer,
    UNIXServer,
)
from trioservice.errors import paths_of
from trioservice.net.endpoints import StreamServerEndpoint
from trioservice.net.listeners import Listener, bind
from trioservice.net.streams import Connection, SocketStream

from .support import LIMIT, LOCAL, ask, connect, echo, is_refused, running
from .test_restarts import SERVICES


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def echo_datagram(data: bytes, peer: Any, server: Any) -> None:
    await server.send(data, peer)


# ---- row 21


async def test_row_21_a_server_bound_in_the_privileged_phase_serves() -> None:
    """While privileges are still there it is bound and refuses; afterwards that very socket serves."""
    server = TCPServer(0, echo, host=LOCAL)
    seen: list[tuple[object, bool]] = []

    def drop(app: Application) -> None:
        seen.append((server.addresses, is_refused(server.addresses[0])))

    app = Application("app", server, uid=os.getuid(), bound=drop, handle_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        assert seen == [(server.addresses, True)]  # row 21, L18
        async with await connect(server) as client:
            assert await ask(client, b"hello") == b"hello"  # row 21
        await app.stop()


# ---- row 22


async def test_row_22_after_a_stop_a_new_connection_is_refused() -> None:
    """Whether it is stopped alone or with its tree; and a datagram is answered by nobody."""
    server, udp = TCPServer(0, echo, host=LOCAL), UDPServer(0, echo_datagram, host=LOCAL)
    async with running(server, udp, Service()) as (app, _):
        address, udp_address = server.addresses[0], udp.addresses[0]
        await server.stop()
        assert is_refused(address)  # row 22
        await app.stop()
        assert is_refused(address)  # row 22
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect(udp_address)
            client.send(b"x")
            with pytest.raises(ConnectionRefusedError):
                client.recv(1)  # row 22


# ---- row 24


async def test_row_24_after_a_stop_no_port_and_no_connection_is_kept() -> None:
    """What the user still holds of a server that has ended is the description."""
    streams: list[weakref.ref[SocketStream]] = []

    async def handler(stream: SocketStream) -> None:
        streams.append(weakref.ref(stream))
        await echo(stream)

    server = TCPServer(0, handler, host=LOCAL, max_connections_per_peer=5, idle_timeout=60, drain_timeout=0)
    async with running(server):
        client = await connect(server)
        assert await ask(client, b"hello") == b"hello"
        listener = weakref.ref(server._listeners[0])
    await client.aclose()
    gc.collect()
    assert server.addresses == ()
    assert [stream() for stream in streams] == [None]  # row 24
    assert listener() is None  # row 24
    assert (server.statistics().active, server._open, server._peers.counts) == (0, {}, {})  # row 24


# ---- row 27


def test_row_27_everything_is_there() -> None:
    """Each transport has a server and a client among the everyday names, and each is a Service."""
    names = [
        f"{kind}{role}"
        for kind in ("TCP", "UNIX", "SSL", "UDP", "UNIXDatagram")
        for role in ("Server", "Client")
    ]
    names += [
        "MulticastServer",
        "TimerService",
        "StreamServer",
        "StreamClient",
        "DatagramServer",
        "DatagramClient",
    ]
    for name in names:
        assert name in trioservice.__all__, name  # row 27
        assert issubclass(getattr(trioservice, name), Service)  # row 27


# ---- row 28


class MemoryListener(Listener):
    """A door in memory."""

    def __init__(self, endpoint: MemoryEndpoint) -> None:
        self._endpoint = endpoint
        self._open = False

    @property
    def address(self) -> str:
        return "memory"

    def open(self) -> None:
        self._open = True

    def accept(self) -> Connection | None:
        return self._endpoint.queue.pop(0) if self._endpoint.queue else None

    async def wait(self) -> None:
        await self._endpoint.comes.wait()
        self._endpoint.comes = trio.Event()

    def refuse(self) -> None: ...

    def shut(self) -> None:
        self._open = False

    def close(self) -> None: ...


class MemoryConnection(Connection):
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.peer = "memory"
        self.bytes_received = self.bytes_sent = 0

    @property
    def local(self) -> str:
        return "memory"

    async def send_all(self, data: Any) -> None:
        await self._stream.send_all(data)
        self.bytes_sent += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self._stream.receive_some(max_bytes)
        self.bytes_received += len(data)
        return bytes(data)

    async def aclose(self) -> None:
        self.abandon()
        await trio.lowlevel.checkpoint()

    def abandon(self) -> None:
        self._stream.send_stream.close()
        self._stream.receive_stream.close()


class MemoryEndpoint(StreamServerEndpoint):
    kind: ClassVar[str] = "memory"

    def __init__(self) -> None:
        self.queue: list[Connection] = []
        self.comes = trio.Event()

    def __str__(self) -> str:
        return "memory:"

    def connect(self) -> trio.StapledStream[Any, Any]:
        ours, theirs = trio.testing.memory_stream_pair()
        self.queue.append(MemoryConnection(theirs))
        self.comes.set()
        return ours


@bind.register
async def _(endpoint: MemoryEndpoint) -> list[Listener]:
    return [MemoryListener(endpoint)]


async def test_row_28_a_server_runs_on_another_clock_and_on_streams_of_memory_also_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    """Nothing in a server needs the system; a test of hours takes milliseconds."""
    endpoint = MemoryEndpoint()
    server = StreamServer(endpoint, echo, idle_timeout=3600)
    began = trio.current_time()
    async with running(server):
        for _ in range(2):
            client = endpoint.connect()
            await client.send_all(b"hello")
            assert await client.receive_some() == b"hello"  # row 28
            assert await client.receive_some() == b"", "idle"  # row 28: the clock is the injected one
            await server.restart()
    assert 7200 <= trio.current_time() - began <= 9000 + 10


# ---- rows 38 and 39


async def test_row_38_a_bind_error_comes_out_of_start(tmp_path: Path) -> None:
    """Of the root's main, of start_service and of start, for streams, datagrams and UNIX alike."""
    (tmp_path / "file").touch()
    with socket.create_server((LOCAL, 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((LOCAL, 0))

        def servers() -> list[Service]:
            return [
                TCPServer(tcp.getsockname()[1], echo, host=LOCAL, name="srv"),
                UDPServer(udp.getsockname()[1], echo_datagram, host=LOCAL, name="srv"),
                UNIXServer(tmp_path / "file", echo, name="srv"),
            ]

        for server in servers():
            with pytest.raises(ServicesFailed) as raised:
                await Application("app", server, handle_signals=False).main()  # row 38
            (error,) = raised.value.exceptions
            assert isinstance(error, CannotListenError)
            assert paths_of(error) == ["app/srv"]
            assert server.state is not State.RUNNING
        async with running(Service()) as (app, _):
            for server in servers():
                with pytest.raises((ServicesFailed, CannotListenError)):
                    await app.start_service(server)  # row 38
                assert server.parent is None  # L9
            assert app.running


async def test_row_39_an_error_that_comes_later_fails_the_start_too() -> None:
    """A name server that answers after a while that there is no such host."""

    class Slow(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            await trio.sleep(0.01)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: Any) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Slow())
    for server in (
        TCPServer(0, echo, host="no.example", name="srv"),
        UDPServer(0, echo_datagram, host="no.example", name="srv"),
    ):
        with pytest.raises(ServicesFailed) as raised:
            await Application("app", server, handle_signals=False).main()  # row 39
        (error,) = raised.value.exceptions
        assert isinstance(error, CannotListenError)
        assert "no.example" in str(error)
        assert paths_of(error) == ["app/srv"]


# ---- row 40


async def test_row_40_what_was_bound_in_the_privileged_phase_is_not_bound_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither when it is started nor when it is restarted (a port asked for by number, and a path)."""
    with socket.create_server((LOCAL, 0)) as free:
        port = free.getsockname()[1]
    bound: list[object] = []
    really = socket.socket.bind

    def watched(sock: socket.socket, address: Any) -> None:
        really(sock, address)
        bound.append(address)

    monkeypatch.setattr(socket.socket, "bind", watched)
    after_privileged: list[object] = []

    class Spy(Service):
        async def privileged_start(self, stack: AsyncExitStack) -> None:
            after_privileged.extend(bound)

    server, unix = TCPServer(port, echo, host=LOCAL), UNIXServer(tmp_path / "s", echo)
    udp = UDPServer(0, echo_datagram, host=LOCAL)
    async with running(server, unix, udp, Spy()):
        assert len(after_privileged) == 3
        assert bound == after_privileged  # row 40
        tcp_socket, udp_socket = server._listeners[0]._sock, udp._sockets[0]  # type: ignore[attr-defined]
        await server.restart()
        await udp.restart()
        assert server._listeners[0]._sock is tcp_socket  # type: ignore[attr-defined]  # row 40
        assert udp._sockets[0] is udp_socket  # row 40
        assert bound == after_privileged


# ---- row 41


async def test_row_41_a_stop_closes_the_port_waits_for_that_and_then_it_does_not_run() -> None:
    """When `stop` returns another program can have the port, and the server says that it is stopped."""
    server = TCPServer(0, echo, host=LOCAL)
    app = Application("app", server, handle_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        assert server.running
        address = server.addresses[0]
        await app.stop()
        assert (server.state, app.state, server.running) == (State.STOPPED, State.STOPPED, False)  # row 41
        with socket.socket() as other:
            other.bind(address)  # row 41
            other.listen()
    assert server.addresses == ()


# ---- rows 42 and 43


class Hanging(trio.abc.HostnameResolver):
    """A name server that never answers, and may complain when nobody waits any more."""

    def __init__(self, complaint: Exception | None = None) -> None:
        self.asked = trio.Event()
        self.complaint = complaint

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        self.asked.set()
        try:
            await trio.sleep_forever()
        finally:
            if self.complaint is not None:
                raise self.complaint

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("later", [False, True], ids=["at the start", "added later"])
async def test_row_42_a_stop_cancels_a_pending_listen_without_an_error(
    kind: str, later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Looking up the host takes for ever; a stop ends that, and nothing is logged as a failure."""
    resolver = Hanging()
    trio.socket.set_custom_hostname_resolver(resolver)
    server: Service = (
        TCPServer(0, echo, host="slow.example")
        if kind == "tcp"
        else UDPServer(0, echo_datagram, host="slow.example")
    )
    other = TCPServer(0, echo, host=None)  # bound before, and released by the stop
    before = descriptors()
    app = Application("app", other, *(() if later else (server,)), handle_signals=False)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            if later:
                await nursery.start(app.main)
                app.add_service(server)
            else:
                nursery.start_soon(app.main)
            await resolver.asked.wait()
            await app.stop()  # row 42
    assert app.state is State.STOPPED
    assert server.addresses == other.addresses == ()  # type: ignore[attr-defined]
    assert descriptors() <= before + 2
    assert [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []  # row 42


async def test_row_43_another_error_out_of_that_cancel_is_not_lost() -> None:
    """Twisted logs it; here it comes out of main (L13)."""
    resolver = Hanging(LookupError("the name server's own trouble"))
    trio.socket.set_custom_hostname_resolver(resolver)
    app = Application("app", TCPServer(0, echo, host="slow.example", name="srv"), handle_signals=False)
    with trio.fail_after(LIMIT), pytest.raises(BaseExceptionGroup) as raised:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.main)
            await resolver.asked.wait()
            await app.stop()
    found = raised.value
    assert found.subgroup(LookupError) is not None  # row 43


# ---- row 45, with a real connection


# ---- row 54, for all services


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    return SERVICES[request.param](tmp_path)


async def test_row_54_a_stop_is_idempotent_before_while_and_after(service: Service) -> None:
    """Of every kind of network service: each caller waits for the same end."""
    await service.stop()  # row 54: before the start
    assert service.state is State.STOPPED
    async with running(service) as (_app, _):
        ended: list[State] = []

        async def stop() -> None:
            await service.stop()
            ended.append(service.state)

        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(stop)  # row 54: while it stops
        assert ended == [State.STOPPED] * 3
        await service.stop()  # row 54: after
        await service.start()
        assert service.state is State.RUNNING
        # A second start changes nothing (row 51, for all services).
        await service.start()
        assert service.state is State.RUNNING
    await service.stop()
    assert service.state is State.STOPPED


# ---- the list itself


def test_every_row_that_applies_has_a_test() -> None:
    """But for pickling (34), the choice of a reactor (37), and what a fork within a reactor takes (75, 76).

    Rows 1 to 18 are the tree itself, and were there first; 97 is a service that there is not.
    """
    tests = Path(__file__).parents[1]
    held: set[int] = set()
    for path in tests.rglob("test_*.py"):
        for marked in re.findall(
            r"\b[Rr]ows? ([\d, and]*\d)|test_row_(\d+)", path.read_text(encoding="utf-8")
        ):
            held |= {int(number) for number in re.findall(r"\d+", " ".join(marked))}
    applicable = {*range(19, 97), 98} - {34, 37, 75, 76}
    assert applicable - held == set(), "rows without a test: say `row N` where one is held"
