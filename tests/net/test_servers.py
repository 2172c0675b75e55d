"""Servers: accept, limit, isolate, drain."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel

from trioservice import (
    Application,
    CannotListenError,
    MultiService,
    Service,
    ServicesFailed,
    SSLServer,
    StartInterrupted,
    State,
    StreamServer,
    TCPServer,
    current_service,
)
from trioservice.errors import paths_of
from trioservice.events import DrainCut, StateChanged
from trioservice.net.endpoints import TCPClientEndpoint
from trioservice.net.events import ConnectionFailed, Listening
from trioservice.net.listeners import SocketListener
from trioservice.net.streams import SocketStream

from .support import (
    LIMIT,
    LOCAL,
    Events,
    Gate,
    ask,
    connect,
    descriptors,
    echo,
    ended,
    eventually,
    is_refused,
    reset,
    running,
)

# ---- addresses and arguments


async def test_addresses_tell_what_is_really_bound_and_only_while_it_is() -> None:
    """For port 0 the real port is told, in `addresses`, as the start's value and as an event."""
    server = TCPServer(0, echo, host=LOCAL)
    assert server.addresses == ()
    async with running(server) as (_, events):
        ((host, port),) = server.addresses
        assert host == LOCAL
        assert port > 0
        assert [event.addresses for event in events.of(Listening)] == [((host, port),)]
        assert str(events.of(Listening)[0]) == f"listening on {host}:{port}"
    assert server.addresses == ()


async def test_a_server_by_itself_can_be_a_root_and_is_ready_with_its_addresses() -> None:
    """`await nursery.start(server.main)` returns the addresses, when clients can connect."""
    server = TCPServer(0, echo, host=LOCAL)
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(server.main)  # L2
        assert addresses == server.addresses
        async with await connect(addresses[0]) as client:
            assert await ask(client, b"hello") == b"hello"
        await server.stop()
    assert server.addresses == ()


async def test_port_0_on_all_interfaces_is_one_port_for_both_families() -> None:
    """One number serves clients of IPv4 and of IPv6."""
    server = TCPServer(0, echo)
    async with running(server):
        (any4, port), (any6, port6) = server.addresses
        assert (any4, any6, port6) == ("0.0.0.0", "::", port)
        for host in (LOCAL, "::1"):
            async with await connect((host, port)) as client:
                assert await ask(client, b"hello") == b"hello"
        assert server.statistics().accepted == 2


@pytest.mark.parametrize("port", [-1, 65536, "80", 80.0, None])
def test_a_port_that_cannot_be_one_is_refused_when_the_server_is_made(port: Any) -> None:
    """A wrong port is told where it is written, not when the application starts."""
    with pytest.raises(ValueError, match=r"port is .*0 to 65535.*, not"):
        TCPServer(port, echo)


def test_a_handler_that_is_none_and_a_limit_of_nothing_are_refused_when_the_server_is_made() -> None:
    """Mistakes in the arguments are told where they are written."""
    with pytest.raises(TypeError, match="handler is an async function"):
        TCPServer(0, "echo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_connections is a number from 1, or None"):
        TCPServer(0, echo, max_connections=0)


# ---- connections that fail


async def test_a_handler_that_raises_ends_its_connection_and_nothing_else() -> None:
    """A bug met by one client is one event, is counted, and does not disturb the others."""

    async def handler(stream: SocketStream) -> None:
        async for data in stream:
            if data == b"bug":
                raise ValueError("a bug")
            await stream.send_all(data)

    server = TCPServer(0, handler, host=LOCAL, name="srv")
    async with running(server) as (app, events):
        async with await connect(server) as good, await connect(server) as bad:
            assert await ask(good, b"one") == b"one"
            address = bad.socket.getsockname()
            assert await ask(bad, b"bug") == b"", "its connection is closed"
            assert await ask(good, b"two") == b"two"  # L16
        async with await connect(server) as later:
            assert await ask(later, b"three") == b"three"  # L16
        (failure,) = events.of(ConnectionFailed)  # L16
        assert failure.path == "app/srv"
        assert failure.peer == address
        assert isinstance(failure.error, ValueError)
        assert not failure.by_peer
        assert failure.level == logging.ERROR
        assert str(failure) == f"handler for {LOCAL}:{address[1]} raised ValueError: a bug"
        await eventually(lambda: server.statistics().active == 0)
        statistics = server.statistics()
        assert (statistics.accepted, statistics.active, statistics.failed) == (3, 0, 1)
        assert app.state is State.RUNNING


async def test_a_handler_that_raises_is_logged_once_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says which service, which peer and where the bug is."""

    async def handler(stream: SocketStream) -> None:
        raise LookupError("a bug")

    server = TCPServer(0, handler, host=LOCAL, name="srv")
    async with running(server), await connect(server) as client:
        await ask(client, b"")
        assert await client.receive_some() == b""
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage().startswith("app/srv: handler for 127.0.0.1:")  # L16
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_a_reset_is_one_line_without_traceback_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Clients that crash are everyday life, and the log treats them as that."""
    caplog.set_level(logging.INFO)
    server = TCPServer(0, echo, host=LOCAL, name="srv")
    async with running(server) as (_, events):
        client = await connect(server)
        assert await ask(client, b"hello") == b"hello"
        port = client.socket.getsockname()[1]
        await reset(client)
        await eventually(lambda: events.of(ConnectionFailed))
        (failure,) = events.of(ConnectionFailed)
        assert failure.by_peer
        async with await connect(server) as other:
            assert await ask(other, b"again") == b"again"  # L16
        assert server.statistics().failed == 1
    (record,) = [record for record in caplog.records if "broke" in record.getMessage()]
    assert record.levelno == logging.INFO  # L16
    assert record.exc_info is None  # L16
    assert record.getMessage() == (
        f"app/srv: connection with 127.0.0.1:{port} broke: [Errno 104] Connection reset by peer"
    )


async def test_a_handler_that_is_no_async_function_is_told_in_words() -> None:
    """The mistake is named, and not that None cannot be awaited."""
    server = TCPServer(0, lambda stream: None, host=LOCAL)  # type: ignore[arg-type, return-value]
    async with running(server) as (_, events), await connect(server) as client:
        assert await ended(client)
        await eventually(lambda: events.of(ConnectionFailed))
        assert "is it an async function?" in str(events.of(ConnectionFailed)[0])


@pytest.mark.parametrize("endpoint", [8080, None, b"tcp:80", TCPClientEndpoint("localhost", 80)])
def test_what_is_no_endpoint_is_refused_when_the_server_is_made(endpoint: Any) -> None:
    """Not when it is bound."""
    with pytest.raises(TypeError, match="endpoint is a text like 'tcp:8080'"):
        StreamServer(endpoint, echo)


def test_an_ssl_server_without_certificates_is_refused() -> None:
    """What was meant to be secret must not go in the clear because a setting was missing."""
    with pytest.raises(TypeError, match="without TLS take TCPServer"):
        SSLServer(0, echo, None)  # type: ignore[arg-type]


async def test_two_servers_of_one_tree_cannot_have_one_port() -> None:
    """It is known before anything is run (L18)."""
    ran = False

    class Early(Service):
        async def run(self, task_status: trio.TaskStatus[None]) -> None:
            nonlocal ran
            ran = True

    with socket.socket() as free:
        free.bind((LOCAL, 0))
        port = free.getsockname()[1]
    app = Application("app", Early(), TCPServer(port, echo, host=LOCAL), TCPServer(port, echo, host=LOCAL))
    with pytest.raises(ServicesFailed) as caught:
        await app.main()
    assert "Address already in use" in str(caught.value.exceptions[0])
    assert not ran  # L18


async def test_a_reset_that_two_tasks_of_a_handler_meet_is_still_the_peers_fault() -> None:
    """A reader and a writer each raise; both errors are the connection's."""
    met = trio.Event()

    async def handler(stream: SocketStream) -> None:
        async def read() -> None:
            try:
                await stream.receive_some()
            finally:
                met.set()

        async def write() -> None:
            with trio.CancelScope(shield=True), trio.fail_after(LIMIT):
                await met.wait()
                await stream.send_all(b"x")  # which is told as well that it is broken

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)

    server = TCPServer(0, handler, host=LOCAL)
    async with running(server) as (_, events):
        await reset(await connect(server))
        await eventually(lambda: events.of(ConnectionFailed))
        (failure,) = events.of(ConnectionFailed)
        assert isinstance(failure.error, ExceptionGroup)
        assert len(failure.error.exceptions) == 2
        assert failure.by_peer  # L16
        assert failure.level == logging.INFO


async def test_a_reset_before_the_server_has_looked_is_no_trouble_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that is gone before it is accepted is one failed connection."""
    looks = trio.Event()
    really = SocketListener.wait

    async def wait(listener: SocketListener) -> None:
        await looks.wait()
        await really(listener)

    monkeypatch.setattr(SocketListener, "wait", wait)
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (_, events):
        await reset(await connect(server))
        looks.set()
        async with await connect(server) as client:
            assert await ask(client, b"hello") == b"hello"
        await eventually(lambda: events.of(ConnectionFailed))
        assert [failure.by_peer for failure in events.of(ConnectionFailed)] == [True]  # L16


async def test_a_reset_that_comes_out_of_a_nursery_of_the_handlers_is_still_the_peers() -> None:
    """A handler that reads in a task of its own gets a group; the log line is the same."""

    async def handler(stream: SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)

    server = TCPServer(0, handler, host=LOCAL)
    async with running(server) as (_, events):
        await reset(await connect(server))
        await eventually(lambda: events.of(ConnectionFailed))
        (failure,) = events.of(ConnectionFailed)
        assert failure.by_peer
        assert failure.level == logging.INFO
        assert str(failure).endswith("broke: [Errno 104] Connection reset by peer")


async def test_a_group_of_the_handlers_own_errors_is_one_failure() -> None:
    """However many tasks of one handler fail, it is one connection that has failed."""

    async def fail(error: Exception) -> None:
        raise error

    async def handler(stream: SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ValueError("one"))
            nursery.start_soon(fail, LookupError("two"))

    server = TCPServer(0, handler, host=LOCAL)
    async with running(server) as (app, events):
        async with await connect(server) as client:
            assert await client.receive_some() == b""
        (failure,) = events.of(ConnectionFailed)
        assert isinstance(failure.error, ExceptionGroup)
        assert {type(error) for error in failure.error.exceptions} == {ValueError, LookupError}
        assert not failure.by_peer
        assert server.statistics().failed == 1
        assert app.state is State.RUNNING  # L16


async def test_a_handler_that_raises_while_it_is_cancelled_is_told_and_the_stop_goes_on() -> None:
    """An error in a handler's cleanup is told, and neither ends nor delays the others' stop."""

    async def stumble() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async def handler(stream: SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stumble)
            await trio.sleep_forever()

    server = TCPServer(0, handler, host=LOCAL, drain_timeout=0)
    async with running(server) as (app, events), await connect(server) as client:
        await eventually(lambda: server.statistics().active)
        with trio.fail_after(LIMIT):
            await app.stop()
        assert await client.receive_some() == b""
    (failure,) = events.of(ConnectionFailed)
    error = failure.error
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions  # L17: no Cancelled among them
    assert isinstance(error, ValueError)
    assert server.state is State.STOPPED


async def test_a_bare_error_out_of_a_cancelled_handler_is_told() -> None:
    """A handler that turns its cancellation into an error of its own has failed, and is counted."""

    async def handler(stream: SocketStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("instead")

    server = TCPServer(0, handler, host=LOCAL, drain_timeout=0)
    async with running(server) as (app, events), await connect(server):
        await eventually(lambda: server.statistics().active)
        await app.stop()
    assert [type(failure.error) for failure in events.of(ConnectionFailed)] == [ValueError]
    assert server.state is State.STOPPED


@pytest.mark.parametrize("beside", [None, ValueError("a bug")], ids=["alone", "beside an error"])
async def test_sys_exit_in_a_handler_ends_the_tree_in_order_and_comes_out_bare(
    beside: Exception | None,
) -> None:
    """A handler may end the whole process; only what else it raised is a failure of the connection."""

    async def handler(stream: SocketStream) -> None:
        if beside is None:
            raise SystemExit(3)
        raise BaseExceptionGroup("nursery", [beside, SystemExit(3)])

    server = TCPServer(0, handler, host=LOCAL)
    app = Application("app", server, handle_signals=False)
    events = Events()
    app.subscribe(events.append)

    async def knock() -> None:
        await server.wait_running()
        (await connect(server)).socket.close()

    async def serve_and_knock() -> None:
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(knock)
                nursery.start_soon(app.main)

    with pytest.raises(BaseExceptionGroup) as raised:
        await serve_and_knock()
    (error,) = raised.value.exceptions
    assert isinstance(error, SystemExit)  # L17
    assert error.code == 3
    told = [failure.error for failure in events.of(ConnectionFailed)]
    if beside is None:
        assert told == []
    else:
        (group,) = told
        assert isinstance(group, ExceptionGroup)
        assert group.exceptions == (beside,)  # L16
    assert app.running is False


async def test_a_handler_knows_its_service() -> None:
    """What a handler logs, or asks about itself, is the server's."""
    known: list[object] = []

    async def handler(stream: SocketStream) -> None:
        known.append(current_service())
        task = trio.lowlevel.current_task()
        known.append(task.name.partition(" from ")[0])

    server = TCPServer(0, handler, host=LOCAL, name="srv")
    async with running(server), await connect(server) as client:
        assert await client.receive_some() == b""
    assert known == [server, "app/srv"]  # L20


async def test_many_connections_at_once_are_all_served() -> None:
    """Three hundred clients who arrive together all get their own answer."""
    count = 300
    server = TCPServer(0, echo, host=LOCAL)
    answers: set[bytes] = set()

    async def client(number: int) -> None:
        async with await connect(server) as stream:
            answers.add(await ask(stream, b"client %03d" % number))
            await everybody.wait()

    async with running(server):
        everybody = trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(client, number)
            await eventually(lambda: len(answers) == count)
            assert server.statistics().active == count
            everybody.set()
        await eventually(lambda: server.statistics().active == 0)
    assert server.statistics().accepted == count


# ---- the limit


async def test_at_max_connections_the_others_wait_and_are_not_dropped() -> None:
    """The limit bounds what is served at once; whoever comes later is served later."""
    gate = Gate()
    server = TCPServer(0, gate, host=LOCAL, max_connections=2)
    async with running(server):
        clients = [await connect(server) for _ in range(6)]
        for client in clients:
            await client.send_all(b"hello")
        await eventually(lambda: gate.within == 2)
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().accepted == 2, "the others are in the kernel's queue"
        gate.open.set()
        for client in clients:
            assert await ask(client, b"", 5) == b"HELLO"
            await client.aclose()
        assert gate.most == 2
        assert server.statistics().accepted == 6


async def test_the_limit_holds_for_all_addresses_together_and_starves_none_of_them() -> None:
    """Clients of IPv4 and IPv6 share the places, and each family gets those that become free."""
    gate = Gate()
    server = TCPServer(0, gate, max_connections=1)
    async with running(server):
        port = server.addresses[0][1]
        for _ in range(3):
            gate.open = trio.Event()
            clients = [await connect((host, port)) for host in (LOCAL, "::1", LOCAL, "::1")]
            for client in clients:
                await client.send_all(b"hello")
            await eventually(lambda: gate.within == 1)
            for _ in range(20):
                await trio.testing.wait_all_tasks_blocked()
            gate.open.set()
            for client in clients:
                assert await ask(client, b"", 5) == b"HELLO"
                await client.aclose()
        assert gate.most == 1
        assert gate.entered == 12


async def test_a_handler_that_raises_gives_its_place_back() -> None:
    """Failed connections do not use up the limit."""

    async def handler(stream: SocketStream) -> None:
        raise ValueError("a bug")

    server = TCPServer(0, handler, host=LOCAL, max_connections=1)
    async with running(server):
        for _ in range(5):
            async with await connect(server) as client:
                assert await client.receive_some() == b""
        assert server.statistics().failed == 5


# ---- stopping


async def test_what_is_in_progress_are_its_connections() -> None:
    """For whoever waits for its stop."""
    server = TCPServer(0, Gate(), host=LOCAL)
    async with running(server):
        assert server.in_progress == ""
        async with await connect(server):
            await eventually(lambda: server.in_progress == "1 connection")
            async with await connect(server):
                await eventually(lambda: server.in_progress == "2 connections")
        await server.stop(drain=False)
        assert server.in_progress == ""


async def test_while_it_drains_new_connections_are_refused_and_the_old_are_answered() -> None:
    """A stop is polite: the door is shut at once, and who is inside is served."""
    gate = Gate()
    server = TCPServer(0, gate, host=LOCAL)
    async with running(server) as (app, events):
        address = server.addresses[0]
        async with await connect(server) as client, trio.open_nursery() as nursery:
            await client.send_all(b"hello")
            await eventually(lambda: gate.within)
            nursery.start_soon(app.stop)
            await eventually(lambda: server.state is State.STOPPING)
            await trio.testing.wait_all_tasks_blocked()
            assert is_refused(address)  # L10
            assert server.statistics().active == 1
            gate.open.set()
            assert await ask(client, b"", 5) == b"HELLO"  # L10
        assert gate.cancelled == 0
        assert events.of(DrainCut) == []
        assert server.state is State.STOPPED


async def test_a_drain_that_takes_too_long_is_cut() -> None:
    """After `drain_timeout` the handlers are cancelled, their connections closed, and that is told."""
    gate = Gate()
    server = TCPServer(0, gate, host=LOCAL, name="srv", drain_timeout=0.05)
    async with running(server) as (app, events):
        async with await connect(server) as client:
            await client.send_all(b"hello")
            await eventually(lambda: gate.within)
            began = trio.current_time()
            with trio.fail_after(LIMIT):
                await app.stop()
            assert trio.current_time() - began >= 0.05  # from the request on
            assert gate.cancelled == 1  # L10
            assert await ask(client, b"") == b""
        (cut,) = events.of(DrainCut)
        assert cut.path == "app/srv"
        assert 0 < cut.seconds < 5
        assert events.of(ConnectionFailed) == [], "L17: a cancelled handler has not failed"
        assert server.state is State.STOPPED


async def test_a_stop_without_drain_cancels_the_handlers_at_once() -> None:
    """`stop(drain=False)` does not wait for anybody."""
    gate = Gate()
    server = TCPServer(0, gate, host=LOCAL, drain_timeout=None)
    async with running(server) as (app, events):
        async with await connect(server) as client:
            await client.send_all(b"hello")
            await eventually(lambda: gate.within)
            with trio.fail_after(LIMIT):
                await app.stop(drain=False)
            assert gate.cancelled == 1  # L10
            assert await ask(client, b"") == b""
        assert all(cut.seconds == 0 for cut in events.of(DrainCut))


async def test_a_server_whose_last_connection_ends_during_the_drain_waits_no_longer() -> None:
    """The drain is over when the last handler is, not when its time is."""
    server = TCPServer(0, echo, host=LOCAL, drain_timeout=None)
    async with running(server, shutdown_timeout=3600) as (app, _):
        client = await connect(server)
        assert await ask(client, b"hello") == b"hello"
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(app.stop)
                await eventually(lambda: server.state is State.STOPPING)
                await client.aclose()  # L10


# ---- restarting


async def test_a_restart_keeps_the_port_and_the_socket() -> None:
    """Clients find a restarted server where it was, and nobody could take its place meanwhile."""
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (_, events):
        addresses = server.addresses
        sock = server._listeners[0]._sock
        for _ in range(3):
            async with await connect(server) as client:
                assert await ask(client, b"hello") == b"hello"
            with trio.fail_after(LIMIT):
                await server.restart()
            assert server.addresses == addresses  # L18
            assert server._listeners[0]._sock is sock  # L18
        assert len(events.of(Listening)) == 4
        assert server.statistics().accepted == 0, "a new run remembers nothing of the old one"  # L3


@pytest.mark.parametrize("can_unlisten", [True, False], ids=["shutdown", "without shutdown"])
async def test_one_that_is_stopped_alone_refuses_and_can_be_started_again_on_its_port(
    monkeypatch: pytest.MonkeyPatch, can_unlisten: bool
) -> None:
    """To be refused is better than to hang in the queue of a server that is not there."""
    if not can_unlisten:

        def shutdown(sock: socket.socket, how: int) -> None:
            raise OSError(errno.ENOTCONN, "Socket is not connected")

        monkeypatch.setattr(socket.socket, "shutdown", shutdown)
    server, other = TCPServer(0, echo, host=LOCAL), TCPServer(0, echo, host=LOCAL)
    async with running(server, other):
        addresses = server.addresses
        for _ in range(3):
            await server.stop()
            assert is_refused(addresses[0])
            assert server.addresses == addresses  # L18
            async with await connect(other) as client:
                assert await ask(client, b"hello") == b"hello"  # L6
            await server.start()
            assert server.addresses == addresses  # L18
            async with await connect(server) as client:
                assert await ask(client, b"hello") == b"hello"  # L3


async def test_a_removed_server_gives_its_port_up_and_can_be_run_elsewhere() -> None:
    """What has left the tree holds nothing any more."""
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server, keep := Service()) as (app, _):
        address = server.addresses[0]
        await app.remove_service(server)
        assert server.addresses == ()  # L18
        with socket.create_server(address):
            pass
        assert keep.running
    async with running(server), await connect(server) as client:
        assert await ask(client, b"hello") == b"hello"  # L3


async def test_a_server_added_to_a_running_tree_serves() -> None:
    """Servers may come and go while the rest runs."""
    async with running(Service()) as (app, _):
        server = TCPServer(0, echo, host=LOCAL)
        await app.start_service(server)  # L9
        async with await connect(server) as client:
            assert await ask(client, b"hello") == b"hello"


# ---- ports that cannot be had


async def test_a_port_in_use_fails_the_start_before_anything_has_run() -> None:
    """Whoever starts a second copy is told so, by path and with a hint, and nothing has begun."""
    ran: list[str] = []

    class First(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            ran.append("first")

    with socket.create_server((LOCAL, 0)) as taken:
        port = taken.getsockname()[1]
        server = TCPServer(port, echo, host=LOCAL, name="srv")
        app = Application("app", First(), MultiService(server, name="web"), handle_signals=False)
        with pytest.raises(ServicesFailed) as raised:
            await app.main()
    (error,) = raised.value.exceptions
    assert isinstance(error, CannotListenError)
    assert isinstance(error, OSError)
    assert error.errno == errno.EADDRINUSE
    assert paths_of(error) == ["app/web/srv"]  # L7
    assert f"cannot listen on {LOCAL}:{port}: Address already in use; " in str(error)
    assert ran == []  # L18
    assert server.addresses == ()


async def test_a_port_that_is_not_permitted_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 80 without the privilege is an error with its number and a hint."""

    def bind(sock: socket.socket, address: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ServicesFailed) as raised:
        await Application("app", TCPServer(80, echo), handle_signals=False).main()
    (error,) = raised.value.exceptions
    assert isinstance(error, CannotListenError)
    assert error.errno == errno.EACCES
    assert "ports below 1024 are privileged" in str(error)


async def test_two_servers_of_one_tree_on_one_port_are_told_apart() -> None:
    """The second is named, and the hint does not send its owner to look for another program only."""
    with socket.create_server((LOCAL, 0)) as free:
        port = free.getsockname()[1]
    one = TCPServer(port, echo, host=LOCAL, name="one")
    two = TCPServer(port, echo, host=LOCAL, name="two")
    with pytest.raises(ServicesFailed) as raised:
        await Application("app", one, two, handle_signals=False).main()
    (error,) = raised.value.exceptions
    assert isinstance(error, CannotListenError)
    assert paths_of(error) == ["app/two"]  # L7
    assert "another service of this one" in str(error)
    assert one.addresses == two.addresses == ()
    assert is_refused((LOCAL, port))


async def test_a_failed_start_releases_what_was_bound() -> None:
    """After a start that failed, every port is free again."""
    good = TCPServer(0, echo, host=LOCAL)
    ports: list[tuple[str, int]] = []

    class Bad(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            ports.extend(good.addresses)
            raise ValueError("no")

    before = descriptors()
    with pytest.raises(ServicesFailed):
        await Application("app", good, Bad(), handle_signals=False).main()
    assert len(ports) == 1
    with socket.create_server(ports[0]):  # L7
        pass
    assert descriptors() == before
    assert good.addresses == ()


# ---- leaks


class StepCounter(trio.abc.Instrument):
    """Calls back at the nth step that any task makes."""

    def __init__(self, nth: int, then: Callable[[], object]) -> None:
        self.left = nth
        self.then = then

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.then()


async def live(nth: int, how: str) -> bool:
    """One life of a server with a busy client, ended at its nth step; whether it lasted that long."""
    server = TCPServer(0, echo, host=LOCAL, drain_timeout=0.01)
    app = Application("app", server, handle_signals=False)

    async def client() -> None:
        try:
            await server.wait_running()
            address = server.addresses[0]
            for _ in range(3):
                async with await connect(address) as stream:
                    await ask(stream, b"hello")
        except (StartInterrupted, OSError, IndexError, trio.BrokenResourceError):
            pass  # the server has gone, or never came
        await app.stop()  # for the case that the nth step would never come

    def end() -> None:
        nursery.start_soon(app.stop) if how == "stopped" else scope.cancel()

    counter = StepCounter(nth, end)
    with trio.fail_after(LIMIT), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            trio.lowlevel.add_instrument(counter)
            try:
                await app.main()
            finally:
                trio.lowlevel.remove_instrument(counter)
            nursery.cancel_scope.cancel()
    assert server.addresses == ()
    assert server.statistics().active == 0
    return counter.left <= 0


@pytest.mark.parametrize("how", ["cancelled", "stopped"])
def test_ended_at_any_moment_it_leaks_no_descriptor(how: str) -> None:
    """Lives of a busy server, each ended one step later than the one before, leave nothing behind."""
    nth = 0
    interrupted = True
    before = descriptors()
    while interrupted and nth < 300:
        nth += 1
        interrupted = trio.run(live, nth, how)
        assert descriptors() == before, f"ended at step {nth}"
    assert 30 < nth < 300, "every moment has been tried, up to a life that was over before"


async def test_two_hundred_starts_and_stops_leave_no_descriptor_behind() -> None:
    """A server can be started and stopped for years."""
    server = TCPServer(0, echo)
    app = Application("app", server, handle_signals=False)
    before = None
    for _ in range(200):
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            await app.stop()
        if before is None:
            before = descriptors()
    assert descriptors() == before


async def test_two_hundred_restarts_leave_no_descriptor_behind() -> None:
    """Nor does restarting it in its tree."""
    server = TCPServer(0, echo)
    async with running(server) as (_, events):
        before = descriptors()
        for _ in range(200):
            await server.restart()
        assert descriptors() == before
        moves = [event.new for event in events.of(StateChanged) if event.path == server.path]
        assert moves.count(State.RUNNING) == 201
