"""One connection over standard input and output."""

from __future__ import annotations

import errno
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trioservice import Application, CannotListenError, ServicesFailed, State
from trioservice.net import stdio
from trioservice.net.events import ConnectionFailed, Listening
from trioservice.net.inherited import Inheritance
from trioservice.net.listeners import StdioListener
from trioservice.net.servers import StreamServer
from trioservice.net.stdio import StdioStream

from .support import LIMIT, echo, running

Plug = Callable[[int, int], None]

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="a matter of Linux")


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plug]:
    """Let other descriptors of this process stand for its standard input and output.

    pytest has its own plans with 0 and 1.
    """
    inheritance = Inheritance({}, 0)
    monkeypatch.setattr(stdio, "inheritance", lambda: inheritance)
    monkeypatch.setattr(stdio, "_STDIN", 160)
    monkeypatch.setattr(stdio, "_STDOUT", 161)

    def plug(stdin: int, stdout: int) -> None:
        os.dup2(stdin, 160)
        os.dup2(stdout, 161)

    yield plug
    for descriptor in (160, 161):
        try:
            os.close(descriptor)
        except OSError:
            continue  # the test has closed it


@pytest.fixture
def pipes(plug: Plug) -> Iterator[tuple[int, int]]:
    """Where to write what is read, and to read what is written, by way of pipes."""
    theirs, ours = os.pipe()
    back, forth = os.pipe()
    plug(theirs, forth)
    os.close(theirs)
    os.close(forth)
    yield ours, back
    for descriptor in (ours, back):
        try:
            os.close(descriptor)
        except OSError:
            continue


def plug_files(plug: Plug, stdin: Path | str, stdout: Path | str) -> None:
    with open(stdin, "rb") as source, open(stdout, "wb") as sink:
        plug(source.fileno(), sink.fileno())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def only_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after privileges were dropped, and where there is no /proc."""

    def duplicate(descriptor: int, access: int) -> int:
        return os.dup(descriptor)

    monkeypatch.setattr(stdio, "_opened_again", duplicate)


def blocking() -> list[bool]:
    return [os.get_blocking(descriptor) for descriptor in (160, 161)]


async def upper(stream: StdioStream) -> None:
    async for data in stream:
        await stream.send_all(data.upper())


async def test_the_one_connection_is_served_and_then_the_server_is_finished(pipes: tuple[int, int]) -> None:
    """And an application with nothing else to do is finished too."""
    ours, back = pipes
    before = descriptors()
    server = StreamServer("stdio:", upper)
    app = Application("app", server, handle_signals=False)
    os.write(ours, b"hello")
    os.close(ours)
    with trio.fail_after(LIMIT):
        await app.main()
    assert (server.state, app.state) == (State.FINISHED, State.FINISHED)  # L15
    assert os.read(back, 100) == b"HELLO"
    statistics = server.statistics()
    assert (statistics.accepted, statistics.active, statistics.failed) == (1, 0, 0)
    assert (statistics.bytes_received, statistics.bytes_sent) == (5, 5)
    assert blocking() == [True, True]
    assert descriptors() == before - 1  # ours


async def test_the_address_is_stdio_everywhere(pipes: tuple[int, int]) -> None:
    """As the peer, as our own, in `addresses` and in the log."""
    seen: list[object] = []

    async def handler(stream: StdioStream) -> None:
        seen.extend((stream.peer, stream.local))
        await trio.sleep_forever()

    server = StreamServer("stdio:", handler, drain_timeout=0)
    async with running(server) as (_, events):
        assert server.addresses == ("stdio",)
        assert str(events.of(Listening)[0]) == "listening on stdio"
        with trio.fail_after(LIMIT):
            while not seen:
                await trio.lowlevel.checkpoint()
    assert seen == ["stdio", "stdio"]
    assert server.state is State.STOPPED


@pytest.mark.parametrize("end", ["returns", "raises", "is stopped"])
@pytest.mark.parametrize("was_blocking", [True, False])
@pytest.mark.usefixtures("only_duplicates")
async def test_descriptors_are_as_they_were_however_it_ends(
    pipes: tuple[int, int], end: str, was_blocking: bool
) -> None:
    """Whoever shares them, our parent perhaps, does not expect them to be different."""
    for descriptor in (160, 161):
        os.set_blocking(descriptor, was_blocking)
    during: list[bool] = []
    entered = trio.Event()

    async def handler(stream: StdioStream) -> None:
        during.extend(blocking())
        entered.set()
        if end == "raises":
            raise ValueError("a bug")
        if end == "is stopped":
            await trio.sleep_forever()

    before = descriptors()
    server = StreamServer("stdio:", handler, drain_timeout=0)
    async with running(server) as (_, events):
        with trio.fail_after(LIMIT):
            await entered.wait()
            if end != "is stopped":
                await server.wait_stopped()
    assert during == [False, False]
    assert blocking() == [was_blocking, was_blocking]
    assert descriptors() == before
    assert len(events.of(ConnectionFailed)) == (end == "raises")  # L16


async def test_one_open_file_for_both_directions_is_restored_as_well(plug: Plug) -> None:
    """A socket (socat, inetd) is shared by both, and standard error too, so its mode is not changed."""
    one, other = socket.socketpair()
    with one, other:
        plug(one.fileno(), one.fileno())
        async with StdioStream() as stream:
            assert blocking() == [True, True]
            other.sendall(b"hello")
            assert await stream.receive_some() == b"hello"
            await stream.send_all(b"x" * 1000)
            assert other.recv(2000) == b"x" * 1000
            await stream.send_eof()
            other.settimeout(LIMIT)
            assert other.recv(1) == b""
            other.sendall(b"still there")
            assert await stream.receive_some() == b"still there"
        assert blocking() == [True, True]


@pytest.mark.usefixtures("only_duplicates")
async def test_a_terminal_for_both_directions_is_restored_as_well(plug: Plug) -> None:
    """What one end changes the other has, and finds as if it had been so."""
    ours, theirs = pty.openpty()
    plug(theirs, theirs)
    os.close(theirs)
    async with StdioStream():
        assert blocking() == [False, False]
    assert blocking() == [True, True]
    os.close(ours)


@LINUX
@pytest.mark.parametrize("kind", ["pipe", "terminal", "socket"])
async def test_standard_error_that_is_the_same_file_goes_on_to_block(
    plug: Plug, autojump_clock: MockClock, kind: str
) -> None:
    """After `2>&1`, a log that could not wait would lose lines."""
    ours, theirs = {"pipe": os.pipe, "terminal": pty.openpty, "socket": a_pair}[kind]()
    source, writer = os.pipe()
    plug(source if kind == "pipe" else theirs, theirs)
    before = descriptors()
    async with StdioStream() as stream:
        assert os.get_blocking(theirs)
        assert blocking() == [True, True]
        with trio.move_on_after(1) as scope:
            await stream.send_all(b"x" * 1_000_000)  # more than anything holds
        assert scope.cancelled_caught
        assert os.read(ours, 5) == b"xxxxx"
        with trio.move_on_after(1) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
    assert descriptors() == before
    for descriptor in (ours, theirs, source, writer):
        os.close(descriptor)


def a_pair() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


async def test_a_socket_is_a_stream_like_any_other(plug: Plug) -> None:
    """It waits where it must, breaks when the peer is gone, and is closed when it is closed."""
    one, other = socket.socketpair()
    plug(one.fileno(), one.fileno())
    one.close()
    got = bytearray()
    stream = StdioStream()

    def read() -> None:
        while len(got) < 1_000_000:
            got.extend(other.recv(65536))

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, read)
            await stream.send_all(b"x" * 1_000_000)
        assert len(got) == stream.bytes_sent == 1_000_000
        await stream.wait_send_all_might_not_block()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            await stream.aclose()
        for act in (stream.receive_some(), stream.send_all(b""), stream.wait_send_all_might_not_block()):
            with pytest.raises(trio.ClosedResourceError):
                await act
        async with StdioStream() as again:
            other.close()
            with pytest.raises(trio.BrokenResourceError) as raised:
                await again.send_all(b"x")
            assert again.broke_with(raised.value)  # L16


async def test_a_socket_that_is_reset_broke_for_its_reader(plug: Plug) -> None:
    """It is the peer's doing, and no bug of the handler's."""
    one, other = socket.socketpair()
    with one:
        plug(one.fileno(), one.fileno())
    os.write(160, b"never read")
    other.close()
    async with StdioStream() as stream:
        with pytest.raises(trio.BrokenResourceError, match="reset by peer") as raised:
            await stream.receive_some()
        assert stream.broke_with(raised.value)  # L16


@pytest.mark.parametrize("was_blocking", [True, False])
async def test_a_default_timeout_for_sockets_does_not_make_us_wait(
    plug: Plug, autojump_clock: MockClock, was_blocking: bool
) -> None:
    """Some library may have set it, for the whole process."""
    one, other = socket.socketpair()
    with one, other:
        plug(one.fileno(), one.fileno())
        os.set_blocking(160, was_blocking)
        socket.setdefaulttimeout(LIMIT)
        try:
            stream = StdioStream()
        finally:
            socket.setdefaulttimeout(None)
        with trio.move_on_after(1) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        assert blocking() == [was_blocking, was_blocking]
        await stream.aclose()


async def test_whatever_breaks_is_the_connections_own_error(
    pipes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while one waits to send."""

    async def breaks() -> None:
        raise trio.BrokenResourceError("gone")

    async with StdioStream() as stream:
        monkeypatch.setattr(stream._out, "wait_send_all_might_not_block", breaks)
        with pytest.raises(trio.BrokenResourceError) as raised:
            await stream.wait_send_all_might_not_block()
        assert stream.broke_with(raised.value)  # L16


async def test_a_half_closed_pipe_ends_for_its_reader_at_once(pipes: tuple[int, int]) -> None:
    """Though descriptor 1, which it was, lives on."""
    ours, back = pipes
    before = descriptors()
    async with StdioStream() as stream:
        await stream.send_all(b"all")
        await stream.send_eof()
        assert os.read(back, 10) == b"all"
        assert os.read(back, 10) == b""
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"more")
        os.write(ours, b"still there")
        assert await stream.receive_some() == b"still there"
    os.write(161, b"nobody reads that")
    assert descriptors() == before


async def test_what_is_large_comes_whole(pipes: tuple[int, int]) -> None:
    """In both directions at once, far beyond what a pipe holds."""
    ours, back = pipes
    sent, got = os.urandom(1_000_000), bytearray()

    def write() -> None:
        with os.fdopen(os.dup(ours), "wb") as file:
            file.write(sent)
        os.close(ours)

    def read() -> None:
        while len(got) < len(sent):
            got.extend(os.read(back, 65536))

    async with StdioStream() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, write)
        nursery.start_soon(trio.to_thread.run_sync, read)
        with trio.fail_after(LIMIT):
            whole = b"".join([bytes(data) async for data in stream])
            await stream.send_all(whole)
        assert stream.bytes_received == stream.bytes_sent == len(sent)
    assert bytes(got) == sent


async def test_a_reader_who_has_gone_is_one_line_of_the_log(pipes: tuple[int, int]) -> None:
    """`| head -1` is no bug of the handler's."""
    ours, back = pipes
    os.close(back)
    os.write(ours, b"hello")
    server = StreamServer("stdio:", upper)
    async with running(server) as (_, events):
        with trio.fail_after(LIMIT):
            await server.wait_stopped()
    (failure,) = events.of(ConnectionFailed)
    assert failure.by_peer  # L16
    assert str(failure) == "connection with stdio broke: [Errno 32] Broken pipe"


async def test_files_and_dev_null_can_be_read_and_written(plug: Plug, tmp_path: Path) -> None:
    """`< input > output` works, though the system cannot tell when a file is ready."""
    (tmp_path / "in").write_bytes(b"hello " * 50_000)
    plug_files(plug, tmp_path / "in", tmp_path / "out")
    server = StreamServer("stdio:", upper)
    with trio.fail_after(LIMIT):
        await Application("app", server, handle_signals=False).main()
    assert (tmp_path / "out").read_bytes() == b"HELLO " * 50_000
    assert server.statistics().failed == 0
    plug_files(plug, os.devnull, os.devnull)
    async with StdioStream() as stream:
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"hello")
        assert await stream.receive_some(10) == b""
    for act in (stream.receive_some(), stream.send_all(b"x"), stream.wait_send_all_might_not_block()):
        with pytest.raises(trio.ClosedResourceError):
            await act


async def test_a_file_is_read_from_where_it_stands_in_bits_as_asked(plug: Plug, tmp_path: Path) -> None:
    """The position is shared with whoever had it before."""
    (tmp_path / "in").write_bytes(b"head body")
    plug_files(plug, tmp_path / "in", os.devnull)
    assert os.read(160, 5) == b"head "
    async with StdioStream() as stream:
        assert await stream.receive_some(2) == b"bo"
        assert await stream.receive_some() == b"dy"


async def test_a_second_service_cannot_have_them_while_the_first_has(pipes: tuple[int, int]) -> None:
    """Two who read from one input would get half each."""
    first = StdioListener()
    with pytest.raises(CannotListenError) as raised:
        StdioListener()
    assert raised.value.errno == errno.EBUSY
    assert "descriptor 160 has been given to a service already" in str(raised.value)
    await first.wait()
    first.close()
    first.close()
    second = StdioListener()
    first.close()
    with pytest.raises(CannotListenError):
        StdioListener()
    second.close()
    with pytest.raises(ServicesFailed):
        await Application(
            "app", StreamServer("stdio:", echo), StreamServer("stdio:", echo), handle_signals=False
        ).main()  # L7
    StdioListener().close()


async def test_a_new_run_is_a_new_connection(pipes: tuple[int, int]) -> None:
    """Whoever starts the server again means to go on."""
    ours, back = pipes

    async def one(stream: StdioStream) -> None:
        await stream.send_all(await stream.receive_some())

    server = StreamServer("stdio:", one, drain_timeout=0)
    async with running(server, StreamServer("tcp:0:interface=127.0.0.1", echo)):
        for word in (b"one", b"two"):
            os.write(ours, word)
            with trio.fail_after(LIMIT):
                await server.wait_stopped()
            assert os.read(back, 10) == word
            assert server.state is State.FINISHED  # L15
            await server.start()  # L3
        await server.stop()


@pytest.mark.parametrize("closed", [160, 161])
async def test_a_descriptor_that_is_closed_is_told(pipes: tuple[int, int], closed: int) -> None:
    """`<&-` in a shell is rarely meant for us."""
    os.close(closed)
    before = descriptors()
    with pytest.raises(CannotListenError) as raised:
        StdioListener()
    assert raised.value.errno == errno.EBADF
    assert str(raised.value) == (
        f"cannot listen on stdio: descriptor {closed} is closed; leave it open for us"
    )
    assert descriptors() == before


@pytest.mark.parametrize(("redirection", "closed"), [("<&-", 0), (">&-", 1)])
def test_what_was_opened_in_place_of_a_closed_descriptor_is_never_taken(
    tmp_path: Path, redirection: str, closed: int
) -> None:
    """The first file that a program opens then gets the number, and may be a database."""
    code = f"""
import os, sys
from trioservice.errors import CannotListenError
from trioservice.net.stdio import claim
database = os.open({str(tmp_path / "database")!r}, os.O_RDWR | os.O_CREAT)
assert database == {closed}, database
try:
    claim()
except CannotListenError as error:
    print(error, file=sys.stderr)
"""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, code],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    message = f"cannot listen on stdio: descriptor {closed} is closed; leave it open for us"
    assert done.stderr == f"{message}\n"
