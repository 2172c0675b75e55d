"""Sockets that were open before we were."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from trioservice import CannotListenError, ServicesFailed, State
from trioservice.net import inherited
from trioservice.net.endpoints import FDEndpoint, SystemdEndpoint, server_endpoint
from trioservice.net.inherited import Inheritance, inherited_sockets
from trioservice.net.listeners import bind
from trioservice.net.servers import StreamServer

from .support import LIMIT, LOCAL, ask, connect, echo, running

PID = 4711
Pass = Callable[..., Inheritance]


def environ(count: object = 1, names: str | None = None, pid: object = PID) -> dict[str, str]:
    """As systemd would set it."""
    said = {"HOME": "/root", "LISTEN_FDS": str(count), "LISTEN_PID": str(pid)}
    return said if names is None else said | {"LISTEN_FDNAMES": names}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def open_tcp(listen: bool = True) -> socket.socket:
    sock = socket.socket()
    sock.bind((LOCAL, 0))
    if listen:
        sock.listen()
    return sock


def open_udp() -> socket.socket:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind((LOCAL, 0))
    return sock


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pass]:
    """Pass sockets to this process, at some descriptors in a row."""
    at: list[int] = []

    def pass_(*socks: socket.socket | int, names: str | None = None) -> Inheritance:
        start = 150  # far from what a test opens
        for offset, sock in enumerate(socks):
            os.dup2(sock if isinstance(sock, int) else sock.fileno(), start + offset, inheritable=True)
            at.append(start + offset)
            if isinstance(sock, socket.socket):
                sock.close()
        monkeypatch.setattr(inherited, "_FIRST", start)
        inheritance = Inheritance(environ(len(socks), names), PID)
        monkeypatch.setattr(inherited, "inheritance", lambda: inheritance)
        return inheritance

    yield pass_
    for descriptor in at:
        with suppress(OSError):  # one that a service has adopted and closed
            os.close(descriptor)


def refused(endpoint: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> CannotListenError:
    """What is said to a service that cannot have *endpoint*."""
    before = descriptors()
    described = server_endpoint(endpoint)
    assert isinstance(described, SystemdEndpoint | FDEndpoint)
    with pytest.raises(CannotListenError) as raised:
        inherited_sockets(described, kind)
    assert descriptors() == before
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"cannot listen on {described}: ")
    return raised.value


# ---- what systemd says


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        (SystemdEndpoint("web"), [3]),
        (SystemdEndpoint("admin"), [4, 5]),
        (SystemdEndpoint(index=0), [3]),
        (SystemdEndpoint(index=2), [5]),
    ],
    ids=str,
)
def test_a_socket_is_found_by_name_or_by_index(endpoint: SystemdEndpoint, found: list[int]) -> None:
    """Several with one name, as a unit with two ListenStream= passes them, are all meant."""
    assert Inheritance(environ(3, "web:admin:admin"), PID).descriptors(endpoint) == found  # row 94


@pytest.mark.parametrize("names", [None, "", "web"])
def test_the_only_one_needs_no_name(names: str | None) -> None:
    """`systemd:` is the one that was passed; without LISTEN_FDNAMES it is called unknown, as in systemd."""
    inheritance = Inheritance(environ(1, names), PID)
    assert inheritance.descriptors(SystemdEndpoint()) == [3]
    assert inheritance.descriptors(SystemdEndpoint(names or "unknown")) == [3]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "as LISTEN_FDS is not set"),
        (environ(pid=1), "as LISTEN_PID says that they are for 1 and this is 4711"),
        (environ(pid=""), "as LISTEN_PID says that they are for nobody and this is 4711"),
        ({"LISTEN_FDS": "1"}, "as LISTEN_PID says that they are for nobody and this is 4711"),
        (environ("one"), "as LISTEN_FDS is 'one'"),
        (environ("-1"), "as LISTEN_FDS is '-1'"),
        (environ("٣"), "as LISTEN_FDS is '٣'"),
        (environ("9" * 20), f"as LISTEN_FDS is '{'9' * 20}'"),
        (environ(0), "as LISTEN_FDS is '0'"),
        (environ(1, "web:admin"), "as LISTEN_FDNAMES has 2 names and LISTEN_FDS is 1"),
        (environ(2, "web"), "as LISTEN_FDNAMES has 1 names and LISTEN_FDS is 2"),
    ],
)
def test_what_is_not_for_us_or_makes_no_sense_is_none_and_the_error_says_why(
    said: dict[str, str], why: str
) -> None:
    """A variable that another process left for another process is not believed."""
    inheritance = Inheritance(dict(said), PID)
    for endpoint in (SystemdEndpoint("web"), SystemdEndpoint(index=0), SystemdEndpoint()):
        with pytest.raises(CannotListenError) as raised:
            inheritance.descriptors(endpoint)  # row 94
        assert f"no socket was passed to us, {why}; " in str(raised.value)
        assert "systemd-socket-activate -l 8080 " in str(raised.value)
        assert ("--fdname=web" in str(raised.value)) is (endpoint.name == "web")


def test_the_variables_are_removed_and_a_second_reading_finds_none() -> None:
    """Programs that we start do not take our sockets for theirs; whatever else is set stays."""
    for said in (environ(2, "a:b"), environ(pid=1), environ("one")):
        said["LISTEN_PIDFDID"] = "1"
        Inheritance(said, PID)
        assert said == {"HOME": "/root"}
    said = environ()
    Inheritance(said, PID)
    with pytest.raises(CannotListenError, match="LISTEN_FDS is not set"):
        Inheritance(said, PID).descriptors(SystemdEndpoint())  # row 94


def test_the_process_reads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is kept, so a tree that is run again in the same process finds its sockets."""
    inherited.inheritance.cache_clear()
    monkeypatch.setenv("LISTEN_FDS", "0")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    try:
        assert inherited.inheritance() is inherited.inheritance()
        assert "LISTEN_FDS" not in os.environ
    finally:
        inherited.inheritance.cache_clear()


def test_what_was_not_passed_is_told_with_what_was() -> None:
    """A name that was mistyped in a unit is found by looking at the message."""
    inheritance = Inheritance(environ(2, "web:admin"), PID)
    for endpoint in (SystemdEndpoint("wbe"), SystemdEndpoint(index=2)):
        with pytest.raises(CannotListenError) as raised:
            inheritance.descriptors(endpoint)
        assert str(raised.value) == (
            f"cannot listen on {endpoint}: it was not passed to us, only "
            "index 0 named 'web', index 1 named 'admin'"
        )
    with pytest.raises(CannotListenError, match=r"several sockets were passed to us, index 0 .*; say which"):
        inheritance.descriptors(SystemdEndpoint())


# ---- the sockets themselves


def test_a_passed_socket_is_a_duplicate_that_does_not_block_and_is_not_passed_on(passed: Pass) -> None:
    """The original stays open, and neither is inherited by programs that we start."""
    passed(open_tcp())
    assert not os.get_inheritable(150)
    (sock,) = inherited_sockets(SystemdEndpoint(), socket.SOCK_STREAM)
    with sock:
        assert sock.fileno() != 150
        assert sock.gettimeout() == 0.0
        assert not os.get_blocking(sock.fileno())
        assert not os.get_inheritable(sock.fileno())
        assert os.path.samestat(os.fstat(sock.fileno()), os.fstat(150))


def test_fd_is_the_descriptor_itself_once(passed: Pass) -> None:
    """It is adopted and closed; a number that is free again is not taken for the same socket."""
    passed(open_tcp())
    os.set_blocking(150, True)
    (sock,) = inherited_sockets(FDEndpoint(150), socket.SOCK_STREAM)
    assert sock.fileno() == 150  # row 95
    assert not os.get_blocking(150)  # row 95
    assert not os.get_inheritable(150)
    sock.close()
    with open_tcp() as later:
        os.dup2(later.fileno(), 150)
        error = refused("fd:150")  # row 95
        assert error.errno == errno.EBUSY
        os.close(150)


@pytest.mark.parametrize("endpoint", ["systemd:index=0", "fd:150"])
class TestRefusals:
    """What is at the descriptor is told, is not what was wanted, and stays as it was."""

    def check(self, endpoint: str, number: int, *said: str) -> None:
        before = os.fstat(150)
        for _ in range(2):
            error = refused(endpoint)
            assert error.errno == number
            for part in said:
                assert part in str(error)
        assert os.path.samestat(before, os.fstat(150)), "it is not ours, so it is not closed"

    def test_a_file(self, passed: Pass, endpoint: str, tmp_path: Path) -> None:
        """It is no socket."""
        with open(tmp_path / "f", "w") as file:
            passed(file.fileno())
        self.check(endpoint, errno.ENOTSOCK, "descriptor 150 is open, but no socket")

    def test_datagrams(self, passed: Pass, endpoint: str) -> None:
        """A server of the other kind can serve it."""
        passed(open_udp())
        self.check(endpoint, errno.EPROTOTYPE, "it takes datagrams; serve it by a DatagramServer")

    def test_packets(self, passed: Pass, endpoint: str) -> None:
        """A type that no server here serves."""
        passed(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        self.check(endpoint, errno.EPROTOTYPE, "it is of another type", "SOCK_SEQPACKET")

    def test_another_family(self, passed: Pass, endpoint: str) -> None:
        """Nor such a family."""
        passed(socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM))
        self.check(endpoint, errno.EAFNOSUPPORT, "it is of another family", "AF_NETLINK")

    def test_a_connection(self, passed: Pass, endpoint: str) -> None:
        """As a unit with Accept=yes passes it."""
        one, other = socket.socketpair()
        passed(one)
        self.check(endpoint, errno.EISCONN, "it is a connection", "Accept=no", "stdio:")
        other.close()

    def test_nothing(self, passed: Pass, endpoint: str) -> None:
        """The descriptor is closed."""
        passed(open_tcp())
        os.close(150)
        error = refused(endpoint)
        assert error.errno == errno.EBADF
        assert "descriptor 150 is not open; was it passed to this process?" in str(error)


def test_a_datagram_server_is_given_datagram_sockets_and_no_others(passed: Pass) -> None:
    """The other kind is refused the other way round."""
    passed(open_tcp(), open_udp(), names="s:d")
    (sock,) = inherited_sockets(SystemdEndpoint("d"), socket.SOCK_DGRAM)
    assert sock.type == socket.SOCK_DGRAM
    sock.close()
    error = refused("systemd:s", socket.SOCK_DGRAM)
    assert error.errno == errno.EPROTOTYPE
    assert "it takes connections; serve it by a StreamServer" in str(error)


def test_none_is_kept_if_one_of_several_is_of_the_wrong_kind(passed: Pass) -> None:
    """Half of a unit's sockets are no success."""
    passed(open_tcp(), open_udp(), names="x:x")
    refused("systemd:x")
    refused("systemd:x", socket.SOCK_DGRAM)


# ---- served


async def test_a_server_serves_a_passed_socket_again_and_again(passed: Pass) -> None:
    """In one tree, in the next one, and in two that are run one after another."""
    passed(open_tcp(), names="web")
    before = descriptors()
    for _ in range(3):
        server = StreamServer("systemd:web", echo)
        async with running(server):
            async with await connect(server.addresses[0]) as client:
                assert await ask(client, b"hello") == b"hello"
            await server.restart()
            async with await connect(server.addresses[0]) as client:
                assert await ask(client, b"hello") == b"hello"
        assert server.addresses == ()
    assert descriptors() == before


async def test_who_comes_between_two_runs_waits_for_the_next(passed: Pass) -> None:
    """A socket that others hold as well is not ours to shut, and they are not ours to send away."""
    passed(open_tcp(), names="web")
    server = StreamServer("systemd:web", echo)
    async with running(server):
        (address,) = server.addresses
        await server.stop()
        between = await connect(address)
        await between.send_all(b"hello")
        await server.start()
        with trio.fail_after(LIMIT):
            assert await between.receive_some() == b"hello"
        await between.aclose()
    later = await connect(address)
    async with running(StreamServer("systemd:web", echo, drain_timeout=0)):
        assert await ask(later, b"later") == b"later"
    await later.aclose()


async def test_who_waits_when_the_server_is_stopped_is_left_to_the_next_run(passed: Pass) -> None:
    """They may be the next process's; a drain is for those who were let in."""
    passed(open_tcp(), names="web")
    server = StreamServer("systemd:web", echo, max_connections=1)
    async with running(server), trio.open_nursery() as nursery:
        (address,) = server.addresses
        first = await connect(address)
        assert await ask(first, b"one") == b"one"
        waiting = await connect(address)
        await waiting.send_all(b"two")
        nursery.start_soon(server.stop)
        await trio.testing.wait_all_tasks_blocked()
        await first.aclose()
        with trio.fail_after(LIMIT):
            await server.wait_stopped()
            assert server.statistics().accepted == 1
            await server.start()
            assert await waiting.receive_some() == b"two"
        await waiting.aclose()


async def test_one_server_serves_all_sockets_of_one_name(passed: Pass, tmp_path: Path) -> None:
    """TCP and UNIX side by side, if the unit says so."""
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "s"))
    unix.listen()
    passed(open_tcp(), open_tcp(), unix, names="web:other:web")
    server = StreamServer("systemd:web", echo)
    async with running(server):
        assert len(server.addresses) == 2
        assert server.addresses[1] == str(tmp_path / "s")
        async with await connect(server.addresses[0]) as client:
            assert await ask(client, b"hello") == b"hello"
        async with await trio.open_unix_socket(tmp_path / "s") as client:
            assert await ask(client, b"hello") == b"hello"
    assert os.listdir(tmp_path) == ["s"], "the file is systemd's"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
async def test_every_family_is_read_from_the_socket(passed: Pass, family: int) -> None:
    """Nobody has to say it."""
    sock = socket.socket(family)
    sock.bind({socket.AF_INET: (LOCAL, 0), socket.AF_INET6: ("::1", 0), socket.AF_UNIX: ""}[family])
    sock.listen()
    name = sock.getsockname()
    passed(sock)
    server = StreamServer("systemd:", echo)
    async with running(server):  # row 94
        client = trio.socket.socket(family)
        await client.connect(name)
        async with trio.SocketStream(client) as stream:
            assert await ask(stream, b"hello") == b"hello"


async def test_a_socket_that_does_not_listen_yet_is_made_to_when_its_server_starts(passed: Pass) -> None:
    """Not earlier: nobody is to wait for a server that waits for its database."""
    passed(open_tcp(listen=False))
    (listener,) = await bind(server_endpoint("systemd:"))
    address = listener.address
    with pytest.raises(OSError, match="refused"):
        await connect(address)  # L18
    listener.open()
    await (await connect(address)).aclose()
    listener.close()


async def test_a_backlog_that_was_chosen_by_others_is_left_to_them(
    passed: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Backlog=` of the unit holds."""
    passed(open_tcp())
    calls: list[object] = []
    monkeypatch.setattr(socket.socket, "listen", lambda *args: calls.append(args))
    (listener,) = await bind(server_endpoint("systemd:"))
    listener.open()
    assert calls == []
    listener.close()


async def test_fd_is_closed_with_the_service_and_cannot_be_served_again(passed: Pass) -> None:
    """It survives restarts of the service within its tree."""
    passed(open_tcp())
    server = StreamServer("fd:150", echo)
    async with running(server):
        (address,) = server.addresses
        for _ in range(2):
            async with await connect(address) as client:
                assert await ask(client, b"hello") == b"hello"
            await server.restart()  # L18
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(150)  # row 95
    server = StreamServer("fd:150", echo)
    with pytest.raises(ServicesFailed) as raised:
        await server.main()
    (error,) = raised.value.exceptions
    assert "descriptor 150 has been given to a service already" in str(error)  # row 95
    assert server.state is State.FAILED
