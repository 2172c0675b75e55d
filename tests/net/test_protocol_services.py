"""Services with `protocol=`: isolation, limits, drains and seeing are those of the stream lane."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from certificates import trusting
from trio.testing import MockClock

from trioservice import (
    Application,
    MultiService,
    Service,
    ServicesFailed,
    SSLClient,
    State,
    StreamServer,
    TCPClient,
    TCPServer,
    UNIXClient,
    UNIXServer,
    current_service,
)
from trioservice.net import polls
from trioservice.net.events import ConnectionFailed, ConnectionRejected, ConnectionTimedOut, Disconnected
from trioservice.net.servers import SSLServer
from trioservice.retry import Retry

from .lanes import LOST, MUCH, NAME, OURS, Echo, Recorder, lane, server_context
from .support import LIMIT, LOCAL, ask, connect, ended, eventually, is_refused, running

pytestmark = pytest.mark.usefixtures("caplog")

ours = pytest.mark.parametrize("which", OURS)
QUICK = Retry(delay=0.01, delay_max=0.01, jitter=0.0)


# ---- failures of one, and of all


@ours
async def test_a_protocol_that_raises_ends_its_connection_and_nothing_else(
    which: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One event with path and peer, one log record with the traceback, one more in the counter."""

    class Buggy(Echo):
        def data_received(self, data: bytes) -> None:
            if data == b"bug":
                raise LookupError("a bug")
            super().data_received(data)

    async with lane(which, Buggy) as served:
        (good, _), (bad, protocol) = await served.connect(), await served.connect()
        await bad.send(b"bug")
        assert await bad.receive_all() == b""
        await good.send(b"hello")
        assert await good.receive(5) == b"hello"  # L16
        await eventually(lambda: served.events.of(ConnectionFailed))
        (failure,) = served.events.of(ConnectionFailed)  # L16
        assert (failure.path, str(failure.error), failure.by_peer) == ("app/srv", "a bug", False)
        if served.kind != "unix":
            assert failure.peer == bad.below.socket.getsockname()
        await eventually(lambda: served.server.statistics().active == 1)
        assert served.server.statistics().failed == 1
        assert protocol.said[-1] == ("lost", LookupError)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage().startswith("app/srv: handler for ")
    assert record.exc_info is not None


@ours
async def test_a_factory_that_raises_ends_its_connection_and_nothing_else(which: str) -> None:
    """The next connection is served."""
    fails = False

    def make() -> Recorder:
        if fails:
            raise LookupError("a bug")
        return Echo()

    async with lane(which, make) as served:
        good, _ = await served.connect()
        fails = True
        if served.kind == "unix":
            bad = await trio.open_unix_socket(str(served.path))
        else:
            bad = await connect(served.address)
        if served.kind != "tls":
            assert await ended(bad)
            (failure,) = served.events.of(ConnectionFailed)  # L16
            assert (failure.path, str(failure.error)) == ("app/srv", "a bug")
            assert served.server.statistics().failed == 1
        await bad.aclose()
        await good.send(b"hello")
        assert await good.receive(5) == b"hello"  # L16


@ours
async def test_an_error_in_connection_lost_is_told_even_after_a_reset(which: str) -> None:
    """What broke first does not hide the bug, nor the bug what broke first."""

    class Buggy(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise LookupError("a bug")

    async with lane(which, Buggy) as served:
        client, _ = await served.connect()
        await client.below.aclose()
        await eventually(lambda: served.events.of(ConnectionFailed))
        client, _ = await served.connect()
        await client.reset()
        await eventually(lambda: len(served.events.of(ConnectionFailed)) == 2)
        for failure in served.events.of(ConnectionFailed):
            assert "a bug" in repr(failure.error)
            assert not failure.by_peer
        assert served.server.statistics().failed == 2


CALLBACKS = ["factory", "connection_made", "data_received", "eof_received", "connection_lost"]


@pytest.mark.parametrize("which", ["fast", "portable"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("callback", CALLBACKS)
async def test_who_exits_in_a_callback_stops_the_tree_in_order(
    which: str, kind: type[BaseException], callback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other connections are lost in order, once each; main raises it bare; nothing is left open."""
    monkeypatch.setattr(polls, "AVAILABLE", which == "fast")
    made: list[Recorder] = []

    def leave(*_: object) -> None:
        raise kind(3)

    def make() -> Recorder:
        if made and callback == "factory":
            leave()
        made.append(Recorder())
        if len(made) == 2:
            original = getattr(made[1], callback)
            setattr(made[1], callback, lambda *args: (original(*args), leave()))
        return made[-1]

    server = TCPServer(0, protocol=make, host=LOCAL, name="srv")
    app = Application("app", server, handle_signals=False)
    raised: list[BaseException] = []

    async def run(task_status: Any) -> None:
        try:
            await app.main(task_status=task_status)
        except BaseException as error:  # noqa: BLE001 - it is what we look for
            raised.append(error)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        first = await connect(server)
        await eventually(lambda: made and made[0].said)
        second = await connect(server)
        with suppress(trio.BrokenResourceError):  # it may have been closed at once
            await second.send_all(b"x")
            await second.send_eof()
        with trio.fail_after(LIMIT):
            while not raised:  # noqa: ASYNC110 - what is waited for has no event
                await trio.sleep(0.001)
        assert await ended(first)
        assert await ended(second)
        await first.aclose()
        await second.aclose()
    assert [type(error) for error in raised] == [kind]  # L17
    assert app.state is not State.RUNNING
    assert server.statistics().active == 0
    assert made[0].said == ["made", LOST]
    for protocol in made[1:]:
        assert len([entry for entry in protocol.said if isinstance(entry, tuple)]) == 1


# ---- stopping


@ours
async def test_a_drain_waits_for_open_connections_and_then_they_are_lost(which: str) -> None:
    """New ones are refused, open ones are served up to drain_timeout; then connection_lost(None)."""
    async with lane(which, Echo, drain_timeout=1.5) as served:
        (one, first), (_, second) = await served.connect(), await served.connect()
        address = served.address
        async with trio.open_nursery() as nursery:
            began = trio.current_time()
            nursery.start_soon(served.server.stop)
            await trio.sleep(0.05)
            if served.kind != "unix":
                assert is_refused(address)
            await one.send(b"hello")
            assert await one.receive(5) == b"hello"
            await one.below.aclose()
        assert 1.4 < trio.current_time() - began < LIMIT  # L10
    assert first.is_lost
    assert second.said == ["made", LOST]


@ours
async def test_a_drain_ends_with_the_last_connection(which: str) -> None:
    """It does not wait longer than there is somebody to wait for."""
    async with lane(which, Echo, drain_timeout=3600) as served:
        clients = [(await served.connect())[0] for _ in range(3)]
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served.server.stop)
                await trio.sleep(0.01)
                for client in clients:
                    await client.below.aclose()


@ours
async def test_a_cancel_from_outside_ends_all_at_once_and_every_protocol_is_told(which: str) -> None:
    """No drain; connection_lost(None), once, also for one with a full buffer and one that raises."""

    class Stubborn(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise LookupError("a bug")

    made = iter([Recorder(), Stubborn(), Recorder()])
    with trio.CancelScope() as scope:
        async with lane(which, lambda: next(made), drain_timeout=3600) as served:
            protocols = [(await served.connect())[1] for _ in range(3)]
            protocols[0].transport.write(5 * MUCH)
            began = trio.current_time()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught  # L17
    assert trio.current_time() - began < LIMIT
    for protocol in protocols:
        assert [entry for entry in protocol.said if entry != "pause"] == ["made", LOST]


@pytest.mark.parametrize("which", ["fast tcp", "fast tls"])
async def test_a_server_can_be_started_again_and_remembers_nothing(which: str) -> None:
    """The same port, new counters, new connections (L3)."""
    async with lane(which, Echo) as served:
        for _ in range(3):
            address = served.address
            client, _ = await served.connect()
            await client.send(b"hello")
            assert await client.receive(5) == b"hello"
            assert served.server.statistics().accepted == 1
            await served.server.restart()
            assert served.address == address
            assert served.server.statistics().accepted == 0
            await client.below.aclose()


async def test_two_servers_with_protocols_share_a_port() -> None:
    """reuse_port: the kernel gives each connection to one of them, and both serve."""
    one = TCPServer(0, protocol=Echo, host=LOCAL, reuse_port=True, name="one")
    async with running(one) as (app, _):
        port = one.addresses[0][1]
        two = TCPServer(port, protocol=Echo, host=LOCAL, reuse_port=True, name="two")
        await app.start_service(two)
        for _ in range(64):
            async with await connect(one) as client:
                assert await ask(client, b"hello") == b"hello"
        taken = one.statistics().accepted, two.statistics().accepted
        assert min(taken) > 0
        assert sum(taken) == 64


# ---- limits and counters


@ours
async def test_who_is_idle_is_closed_and_who_talks_is_not(which: str) -> None:
    """idle_timeout: connection_lost(None), and an event."""
    async with lane(which, Echo, idle_timeout=1) as served:
        (_, silent), (talker, busy) = await served.connect(), await served.connect()
        with trio.fail_after(LIMIT):
            while not silent.is_lost:
                await talker.send(b"x")
                await talker.receive(1)
                await trio.sleep(0.01)
        assert not busy.is_lost
        (event,) = served.events.of(ConnectionTimedOut)
        assert (event.path, event.seconds) == ("app/srv", 1)
        await eventually(lambda: served.server.statistics().active == 1)
        assert served.server.statistics().failed == 1
    assert silent.said == ["made", LOST]


@ours
async def test_at_max_connections_the_others_wait_for_their_turn(which: str) -> None:
    """Not one more is made, and as one ends the next is."""
    async with lane(which, Echo, max_connections=2) as served:
        clients = [(await served.connect())[0] for _ in range(2)]
        if served.kind == "unix":
            waiting = await trio.open_unix_socket(str(served.path))
        else:
            waiting = await connect(served.address)
        await trio.sleep(0.03)
        assert len(served.made) == served.server.statistics().active == 2
        await clients[0].below.aclose()
        await eventually(lambda: served.server.statistics().accepted == 3)
        await waiting.aclose()


@ours
async def test_one_peer_has_so_many_connections_and_no_more(which: str) -> None:
    """max_connections_per_peer: closed without a protocol, told, and counted; a place freed is a place."""
    async with lane(which, Echo, max_connections_per_peer=1) as served:
        first, _ = await served.connect()
        for _ in range(2):
            if served.kind == "unix":
                late = await trio.open_unix_socket(str(served.path))
            else:
                late = await connect(served.address)
            assert await ended(late)
            await late.aclose()
        assert len(served.made) == 1
        assert served.server.statistics().rejected == 2
        assert "max_connections_per_peer" in str(served.events.of(ConnectionRejected)[0])
        await first.below.aclose()
        await eventually(lambda: served.server.statistics().active == 0)
        client, _ = await served.connect()
        await client.send(b"hello")
        assert await client.receive(5) == b"hello"


@pytest.mark.parametrize("which", ["fast", "portable"])
async def test_behind_a_proxy_protocols_know_the_real_client(
    which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many connections, headers that come late or with the first data, whole or in pieces."""
    monkeypatch.setattr(polls, "AVAILABLE", which == "fast")
    made: list[Echo] = []

    def make() -> Echo:
        made.append(Echo())
        return made[-1]

    server = TCPServer(0, protocol=make, host=LOCAL, proxy_protocol="127.0.0.0/8")
    async with running(server) as (_, events):
        clients = [await connect(server) for _ in range(12)]
        await trio.sleep(0.02)
        for number, client in enumerate(clients):
            header = b"PROXY TCP4 192.0.2.%d 198.51.100.1 4000 80\r\n" % number
            if number % 2:
                await client.send_all(header[:20])
                await trio.sleep(0.005)
                header = header[20:]
            assert await ask(client, header + b"hello", 5) == b"hello"
            assert await ask(client, b"again") == b"again"
        told = [protocol.transport.get_extra_info("peername")[0] for protocol in made]
        assert told == [f"192.0.2.{number}" for number in range(12)]
        assert made[0].transport.get_extra_info("sockname") == ("198.51.100.1", 80)
        assert events.of(ConnectionFailed) == []
        for client in clients:
            await client.aclose()


@pytest.mark.parametrize("which", ["fast tcp", "portable tcp", "fast unix"])
async def test_the_counters_count(which: str) -> None:
    """Bytes of open connections and of those that have ended."""
    async with lane(which, Echo) as served:
        for count in (1, 2):
            client, _ = await served.connect()
            await client.send(b"12345")
            await client.receive(5)
            statistics = served.server.statistics()
            assert (statistics.accepted, statistics.active) == (count, 1)
            assert (statistics.bytes_received, statistics.bytes_sent) == (5 * count, 5 * count)
            await client.below.aclose()
            await eventually(lambda: served.server.statistics().active == 0)
        assert served.server.statistics().failed == 0


@ours
async def test_the_service_is_known_in_every_callback(which: str, caplog: pytest.LogCaptureFixture) -> None:
    """current_service() is the server, and log records carry its path."""
    known: dict[str, Service | None] = {}

    def note(callback: str) -> None:
        known[callback] = current_service()
        logging.getLogger("mine").warning("in %s", callback)

    class Curious(Recorder):
        def __init__(self) -> None:
            super().__init__()
            note("factory")

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            note("connection_made")

        def data_received(self, data: bytes) -> None:
            note("data_received")

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            note("connection_lost")

    async with lane(which, Curious) as served:
        client, protocol = await served.connect()
        await client.send(b"x")
        await eventually(lambda: "data_received" in known)
        await client.stream.aclose()
        await eventually(lambda: protocol.is_lost)
        assert set(known.values()) == {served.server}  # L20
        assert len(known) == 4


# ---- clients


class Asker(Recorder):
    """Says hello, and closes when it was answered."""

    made: list[Asker] = []  # noqa: RUF012 - of one test at a time

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.write(b"hello")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.said[-1] == b"hello":
            self.transport.close()


@pytest.fixture(autouse=True)
def _nobody_has_asked_yet() -> None:
    Asker.made.clear()


def both_ends(kind: str, folder: Path, protocol: Any, **options: Any) -> tuple[StreamServer, Any]:
    """A server that echoes, and what makes a client of it once it is bound."""
    options = {"retry": QUICK, "protocol": protocol, "name": "client"} | options
    if kind == "unix":
        path = folder / "socket"
        return UNIXServer(path, protocol=Echo, drain_timeout=0.05), lambda: UNIXClient(path, **options)
    if kind == "tls":
        secure = SSLServer(0, ssl_context=server_context(), protocol=Echo, host=LOCAL, drain_timeout=0.05)
        return secure, lambda: SSLClient(
            *secure.addresses[0], ssl_context=trusting(), server_hostname=NAME, **options
        )
    plain = TCPServer(0, protocol=Echo, host=LOCAL, drain_timeout=0.05)
    return plain, lambda: TCPClient(*plain.addresses[0], **options)


kinds = pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])


@kinds
async def test_a_client_whose_protocol_aborts_has_not_failed(kind: str, tmp_path: Path) -> None:
    """An abort is meant; without a retry it is the client's end, and no error."""

    class Curt:
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transport.write(b"hello")

        def data_received(self, data: bytes) -> None:
            self.transport.abort()

    server, make = both_ends(kind, tmp_path, Curt, retry=None)
    async with running(server) as (app, events):
        client = make()
        await app.start_service(client)
        await eventually(lambda: client.state is State.FINISHED)
        assert client.statistics().failed == 0
        assert [failure.path for failure in events.of(ConnectionFailed) if failure.path == client.path] == []


async def test_a_protocol_that_raises_when_it_is_cut_for_being_idle_is_one_failure(
    autojump_clock: MockClock,
) -> None:
    """One connection fails once, and what it is told as is what its program did wrong."""

    class Sulky:
        def data_received(self, data: bytes) -> None: ...

        def connection_lost(self, exc: Exception | None) -> None:
            raise LookupError("a bug")

    server = TCPServer(0, protocol=Sulky, host=LOCAL, idle_timeout=8.0)
    async with running(server) as (_, events), await connect(server) as client:
        assert await client.receive_some() == b""
        await eventually(lambda: server.statistics().failed)
        assert server.statistics().failed == 1
        assert len(events.of(ConnectionFailed)) == 1


@pytest.mark.parametrize("kind", ["poll", "task"])
async def test_a_factory_that_makes_nothing_is_told_in_words(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that forgot its return ends the connection and says so."""
    if kind == "task":
        monkeypatch.setattr("trioservice.net.polls.AVAILABLE", False)
    server = TCPServer(0, protocol=lambda: None, host=LOCAL)
    async with running(server) as (_, events), await connect(server) as client:
        assert await ended(client)
        await eventually(lambda: events.of(ConnectionFailed))
        assert "protocol= gave None" in str(events.of(ConnectionFailed)[0])


@kinds
async def test_a_client_asks_by_its_protocol_and_connects_again(kind: str, tmp_path: Path) -> None:
    """Each connection has a protocol of its own."""
    server, make = both_ends(kind, tmp_path, Asker)
    async with running(server) as (app, events):
        client = make()
        await app.start_service(client)
        await eventually(lambda: len(Asker.made) > 3)
        for asker in Asker.made[:3]:
            assert asker.said == ["made", b"hello", LOST]
        assert events.of(ConnectionFailed) == []
        assert len(events.of(Disconnected)) >= 3
        await client.stop()
        assert Asker.made[-1].is_lost or not Asker.made[-1].said


@kinds
async def test_a_client_that_connects_once_is_finished_when_its_connection_is_lost(
    kind: str, tmp_path: Path
) -> None:
    """retry=None: the protocol's end is the service's."""
    server, make = both_ends(kind, tmp_path, Asker, retry=None)
    async with running(server) as (app, _):
        client = make()
        await app.start_service(client)
        await eventually(lambda: client.state is State.FINISHED)
        (asker,) = Asker.made
        assert asker.said == ["made", b"hello", LOST]


@kinds
@pytest.mark.parametrize("once", [True, False])
async def test_what_a_clients_protocol_raises_is_told_as_itself(
    kind: str, once: bool, tmp_path: Path
) -> None:
    """Without a wrapping: as an event, or, if it connects once, as the service's own failure."""

    class Buggy(Asker):
        def data_received(self, data: bytes) -> None:
            raise LookupError("a bug")

    server, make = both_ends(kind, tmp_path, Buggy, retry=None if once else QUICK)
    async with running(MultiService(server, name="servers")) as (app, events):
        client = make()
        if not once:
            await app.start_service(client)
            await eventually(lambda: events.of(ConnectionFailed))
            failure = events.of(ConnectionFailed)[0]
            assert (type(failure.error), failure.path) == (LookupError, "app/client")
        else:
            with pytest.raises(ServicesFailed) as raised:
                await client.main()
            assert [type(error) for error in raised.value.exceptions] == [LookupError]
        assert Buggy.made[0].said == ["made", ("lost", LookupError)]


@kinds
async def test_a_clients_stop_in_the_middle_tells_the_protocol(kind: str, tmp_path: Path) -> None:
    """connection_lost(None), at once, also with a full buffer."""

    class Endless(Asker):
        def connection_made(self, transport: Any) -> None:
            Recorder.connection_made(self, transport)
            transport.write(20 * MUCH)

        def data_received(self, data: bytes) -> None:
            self.transport.pause_reading()

    server, make = both_ends(kind, tmp_path, Endless)
    async with running(server) as (app, _):
        client = make()
        await app.start_service(client)
        await eventually(lambda: Asker.made and "pause" in Asker.made[0].said)
        with trio.fail_after(LIMIT):
            await client.stop()
        assert [entry for entry in Asker.made[0].said if entry != "resume"] == ["made", "pause", LOST]


@kinds
async def test_what_prepare_has_put_back_the_protocol_receives_first(kind: str, tmp_path: Path) -> None:
    """prepare= logs in, reads as much as it needs, and the protocol goes on."""

    async def log_in(stream: Any) -> None:
        await stream.send_all(b"login ")
        assert (await stream.receive_some()).startswith(b"login")
        if hasattr(stream, "put_back"):
            stream.put_back(b"rest ")

    server, make = both_ends(kind, tmp_path, Recorder, prepare=log_in, retry=None)
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server, make = both_ends(kind, tmp_path, factory, prepare=log_in, retry=None)
    async with running(server) as (app, _):
        await app.start_service(make())
        await eventually(lambda: made and made[0].said)
        made[0].transport.write(b"hello")
        expected = b"hello" if kind == "tls" else b"rest hello"
        await eventually(lambda: made[0].said == ["made", expected])


async def test_a_client_whose_server_breaks_off_is_told_and_connects_again() -> None:
    """connection_lost gets the system's error, the event says that it was the peer's."""

    class Rude(Recorder):
        def data_received(self, data: bytes) -> None:
            linger = b"\1\0\0\0\0\0\0\0"
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()

    server = TCPServer(0, protocol=Rude, host=LOCAL)
    async with running(server) as (app, events):
        await app.start_service(TCPClient(*server.addresses[0], protocol=Asker, retry=QUICK))
        await eventually(lambda: len(Asker.made) > 2)
        assert Asker.made[0].said == ["made", ("lost", ConnectionResetError)]
        assert events.of(ConnectionFailed)[0].by_peer


async def test_nothing_is_left_of_a_clients_poll() -> None:
    """A hundred connections later, as many descriptors are open as before."""
    server, make = both_ends("tcp", Path(), Asker, retry=Retry(delay=0.001, delay_max=0.001, jitter=0.0))
    async with running(server) as (app, _):
        client = make()
        await app.start_service(client)
        await eventually(lambda: len(Asker.made) > 5)
        before = len(os.listdir("/proc/self/fd"))
        await eventually(lambda: len(Asker.made) > 60)
        assert len(os.listdir("/proc/self/fd")) <= before + 4
