"""Addresses become bound sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

from trioservice import CannotListenError
from trioservice.net.addresses import show_address
from trioservice.net.endpoints import (
    StreamServerEndpoint,
    TCPServerEndpoint,
    UNIXServerEndpoint,
    server_endpoint,
)
from trioservice.net.listeners import Listener, UNIXListener, bind

from .support import LOCAL, connect, is_refused

Bind = Callable[[socket.socket, Any], None]


@pytest.fixture
def patch_bind(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bind], None]:
    """Let a function of the test's look at every bind before it is done."""

    def patch(look: Bind) -> None:
        really = socket.socket.bind

        def bind(sock: socket.socket, address: Any) -> None:
            look(sock, address)
            really(sock, address)

        monkeypatch.setattr(socket.socket, "bind", bind)

    return patch


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def bind_tcp(host: str | None, port: int) -> list[Listener]:
    return await bind(TCPServerEndpoint(port, () if host is None else (host,)))


def close(listeners: list[Listener]) -> None:
    for listener in listeners:
        listener.close()


async def test_port_0_is_the_same_free_port_for_ipv4_and_ipv6() -> None:
    """A client finds the server under one port, whichever family its name resolves to."""
    listeners = await bind_tcp(None, 0)
    assert [listener.address[0] for listener in listeners] == ["0.0.0.0", "::"]
    one, other = (listener.address[1] for listener in listeners)
    assert one == other > 0
    close(listeners)


async def test_another_port_is_tried_when_the_second_family_has_taken_the_first_choice(
    patch_bind: Callable[[Bind], None],
) -> None:
    """Port 0 means any free port, so one that is free in half of the families is no error."""
    tried: list[int] = []

    def taken_three_times(sock: socket.socket, address: Any) -> None:
        if sock.family == socket.AF_INET6:
            tried.append(address[1])
            if len(tried) <= 3:
                raise OSError(errno.EADDRINUSE, "Address already in use")

    patch_bind(taken_three_times)
    before = descriptors()
    listeners = await bind_tcp(None, 0)
    assert len(tried) == 4
    assert descriptors() == before + 2, "what was bound on the way has been released"
    close(listeners)
    assert descriptors() == before


async def test_port_0_does_not_look_for_ever(patch_bind: Callable[[Bind], None]) -> None:
    """On a machine on which nothing is free, that is said."""
    tries = 0

    def taken(sock: socket.socket, address: Any) -> None:
        nonlocal tries
        if sock.family == socket.AF_INET6:
            tries += 1
            raise OSError(errno.EADDRINUSE, "Address already in use")

    patch_bind(taken)
    before = descriptors()
    with pytest.raises(CannotListenError, match="Address already in use"):
        await bind_tcp(None, 0)
    assert 3 < tries < 100
    assert descriptors() == before


async def test_a_name_with_two_addresses_is_bound_on_both() -> None:
    """`localhost` is an IPv4 and an IPv6 address, and the port is the same on both."""

    class Localhost(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
            tcp = socket.IPPROTO_TCP
            four = (socket.AF_INET, socket.SOCK_STREAM, tcp, "", (LOCAL, port))
            six = (socket.AF_INET6, socket.SOCK_STREAM, tcp, "", ("::1", port, 0, 0))
            return [four, six, four]  # a name may be listed twice in /etc/hosts

        async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Localhost())
    listeners = await bind_tcp("localhost", 0)
    port = listeners[0].address[1]
    assert [listener.address for listener in listeners] == [(LOCAL, port), ("::1", port)]
    close(listeners)


@pytest.mark.parametrize("missing", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
async def test_all_interfaces_of_a_machine_without_ipv6_are_those_of_ipv4(
    patch_bind: Callable[[Bind], None], missing: int
) -> None:
    """A container without IPv6 is no error, where nobody asked for IPv6 by name."""

    def without_ipv6(sock: socket.socket, address: Any) -> None:
        if sock.family == socket.AF_INET6:
            raise OSError(missing, "no IPv6 here")

    patch_bind(without_ipv6)
    listeners = await bind_tcp(None, 0)
    assert [listener.address[0] for listener in listeners] == ["0.0.0.0"]
    close(listeners)
    with pytest.raises(CannotListenError, match=r"\[::1\]:0: no IPv6 here"):
        await bind_tcp("::1", 0)


async def test_a_port_in_use_is_told_with_its_address_and_the_mend() -> None:
    """The message names the address, what the system said, and how to find the other program."""
    before = descriptors()
    with socket.create_server((LOCAL, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListenError) as raised:
            await bind_tcp(LOCAL, port)
    assert raised.value.errno == errno.EADDRINUSE
    message = str(raised.value)
    assert message.startswith(f"cannot listen on {LOCAL}:{port}: Address already in use; ")
    assert f"sport = :{port}" in message
    assert "choose another port" in message
    assert "\n" not in message
    assert descriptors() == before


async def test_none_is_kept_if_one_of_the_addresses_cannot_be_had() -> None:
    """A port that is in use in IPv6 alone is no half success."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        before = descriptors()
        with pytest.raises(CannotListenError, match=rf"\[::\]:{port}: Address already in use"):
            await bind_tcp(None, port)
        assert descriptors() == before


async def test_a_privileged_port_is_told_with_the_mends(patch_bind: Callable[[Bind], None]) -> None:
    """Who may not bind port 80 is told what they can do about it."""

    def forbidden(sock: socket.socket, address: Any) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    patch_bind(forbidden)
    with pytest.raises(CannotListenError) as raised:
        await bind_tcp(LOCAL, 80)
    assert raised.value.errno == errno.EACCES
    message = str(raised.value)
    assert message.startswith(f"cannot listen on {LOCAL}:80: Permission denied; ")
    assert "choose a higher one" in message
    assert "CAP_NET_BIND_SERVICE" in message


async def test_an_address_of_another_machine_is_told_as_such() -> None:
    """An address that is not ours is likely a typing error."""
    with pytest.raises(CannotListenError, match=r"192\.0\.2\.1 is no address of this machine"):
        await bind_tcp("192.0.2.1", 0)


async def test_an_unknown_host_is_told_by_its_name() -> None:
    """A name that nobody knows is an error that repeats it."""

    class Nobody(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Nobody())
    with pytest.raises(CannotListenError) as raised:
        await bind_tcp("nowhere.example", 0)
    assert str(raised.value) == (
        "cannot listen on host 'nowhere.example': Name or service not known; is it spelt right?"
    )


@pytest.mark.parametrize("host", ["x" * 70, "a..b", "ü" * 70])
async def test_what_cannot_be_a_host_name_is_an_error_of_the_same_kind(host: str) -> None:
    """Nonsense for a host is told like any other host that cannot be found."""

    async def encode(host: str, port: Any, *_: Any, **__: Any) -> Any:
        return host.encode("idna")

    class Idna(trio.abc.HostnameResolver):  # as the standard resolver would, without asking the network
        getaddrinfo = staticmethod(encode)

        async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Idna())
    with pytest.raises(CannotListenError, match="is it spelt right"):
        await bind_tcp(host, 0)


async def test_a_door_that_was_never_opened_refuses() -> None:
    """A bound port whose server has not started refuses, rather than let clients wait."""
    (listener,) = await bind_tcp(LOCAL, 0)
    assert is_refused(listener.address)  # L18
    listener.shut()
    listener.close()
    listener.close()


@pytest.mark.parametrize("can_unlisten", [True, False], ids=["shutdown", "without shutdown"])
@pytest.mark.parametrize("by_number", [True, False], ids=["by number", "port 0"])
async def test_between_two_runs_the_port_is_kept_and_refuses(
    monkeypatch: pytest.MonkeyPatch, can_unlisten: bool, by_number: bool
) -> None:
    """A server that is stopped for a moment answers on the same port afterwards."""
    if not can_unlisten:
        really = socket.socket.shutdown

        def shutdown(sock: socket.socket, how: int) -> None:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise OSError(errno.ENOTCONN, "Socket is not connected")
            really(sock, how)

        monkeypatch.setattr(socket.socket, "shutdown", shutdown)
    (listener,) = await bind_tcp(LOCAL, 0)
    address = listener.address
    if by_number:
        listener.close()
        (listener,) = await bind_tcp(*address)
    for _ in range(3):
        listener.open()
        assert listener.address == address  # L18
        client = await connect(address)
        taken = listener.accept()
        assert taken is not None
        assert taken.peer == client.socket.getsockname()
        taken.abandon()
        await client.aclose()
        assert listener.accept() is None
        listener.shut()
        listener.shut()
        assert is_refused(address)
    listener.close()


async def test_a_port_that_the_system_chose_stays_ours_while_the_door_is_shut() -> None:
    """No other program gets our port while a server is being restarted."""
    (listener,) = await bind_tcp(LOCAL, 0)
    listener.open()
    listener.shut()
    with (
        socket.socket() as other,
        pytest.raises(OSError, match="Address already in use"),  # L18
    ):
        other.bind(listener.address)
    listener.close()


async def test_a_name_means_the_addresses_that_there_are(
    monkeypatch: pytest.MonkeyPatch, patch_bind: Callable[[Bind], None]
) -> None:
    """`localhost` is ::1 too in many a table of hosts, also on machines without IPv6."""

    class Hosts(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: Any, port: Any, *_: Any) -> Any:
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOCAL, port)),
            ]

        async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
            raise AssertionError

    def no_ipv6(sock: socket.socket, address: Any) -> None:
        if sock.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    patch_bind(no_ipv6)
    trio.socket.set_custom_hostname_resolver(Hosts())
    (listener,) = await bind_tcp("server.example", 0)
    assert listener.address[0] == LOCAL
    listener.close()
    with pytest.raises(CannotListenError, match="Cannot assign requested address"):
        await bind_tcp("::1", 0)  # who says so exactly means it


def take(address: Any) -> socket.socket:
    """Another program's socket at *address*, that would share it if it could."""
    with ExitStack() as undo:
        other = undo.enter_context(socket.socket())
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(address)
        other.listen()
        undo.pop_all()
        return other


async def test_nobody_can_have_the_port_before_it_is_listened_on_or_while_the_door_is_shut() -> None:
    """What is bound early is known to be ours early, and stays so (L18)."""
    (listener,) = await bind_tcp(LOCAL, 0)
    for _ in range(3):
        with pytest.raises(OSError, match="Address already in use"):
            take(listener.address)  # L18
        listener.open()
        async with await connect(listener.address):
            taken = listener.accept()
            assert taken is not None
            taken.abandon()  # whose port lingers, and can be listened on again
        listener.shut()
    listener.close()
    take(listener.address).close()


async def test_a_port_that_was_lost_meanwhile_is_told_at_the_next_opening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a system cannot keep it, who took it is not found by chance in a log, but told."""

    def shutdown(sock: socket.socket, how: int) -> None:
        raise OSError(errno.ENOTCONN, "Socket is not connected")

    monkeypatch.setattr(socket.socket, "shutdown", shutdown)
    (listener,) = await bind_tcp(LOCAL, 0)
    listener.open()
    listener.shut()
    with take(listener.address), pytest.raises(CannotListenError, match="Address already in use"):
        listener.open()
    listener.close()


# ---- UNIX


def refuses(path: str) -> bool:
    """Whether a client is refused at once."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        try:
            client.connect("\0" + path[1:] if path.startswith("@") else path)
        except ConnectionRefusedError:
            return True
        return False


def place(tmp_path: Path, kind: str) -> str:
    return str(tmp_path / "s") if kind == "path" else f"@trioservice-test-{os.getpid()}"


@pytest.mark.parametrize("can_shut", [True, False], ids=["shutdown", "without shutdown"])
@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_between_two_runs_a_unix_path_is_kept_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, can_shut: bool
) -> None:
    """As a port is; and the mode is the same when it is listened on again."""
    if not can_shut:

        def shutdown(sock: socket.socket, how: int) -> None:
            raise OSError(errno.ENOTCONN, "Socket is not connected")

        monkeypatch.setattr(socket.socket, "shutdown", shutdown)
    path = place(tmp_path, kind)
    before = descriptors()
    (listener,) = await bind(UNIXServerEndpoint(path))
    assert refuses(path)  # L18
    listener.shut()
    for _ in range(3):
        listener.open()
        assert listener.address == path  # L18
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0" + path[1:] if kind == "abstract" else path)
            with trio.fail_after(10):
                await listener.wait()
            taken = listener.accept()
            assert taken is not None
            taken.abandon()
        assert listener.accept() is None
        if kind == "path":
            assert os.stat(path).st_mode & 0o777 == 0o600
        listener.shut()
        listener.shut()
        assert refuses(path)  # row 25
        if kind == "path":
            assert sorted(os.listdir(tmp_path)) == ["s", "s.lock"]  # L18
    listener.close()
    listener.close()
    assert os.listdir(tmp_path) == []
    assert descriptors() == before


async def test_an_abstract_name_is_kept_while_the_door_is_shut(tmp_path: Path) -> None:
    """It has no lock, so the socket that is shut keeps it."""
    path = place(tmp_path, "abstract")
    (listener,) = await bind(UNIXServerEndpoint(path))
    listener.open()
    listener.shut()
    with pytest.raises(CannotListenError, match="has the name"):  # L18
        await bind(UNIXServerEndpoint(path))
    listener.close()


async def test_those_who_wait_when_a_unix_door_is_shut_are_sent_away(tmp_path: Path) -> None:
    """The kernel resets those who wait at a TCP port; here they would wait for the next run."""
    path = place(tmp_path, "path")
    (listener,) = await bind(UNIXServerEndpoint(path))
    listener.open()
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for client in clients:
        client.settimeout(10)
        client.connect(path)
    listener.shut()
    for client in clients:
        assert client.recv(1) == b""
        client.close()
    listener.close()


async def test_a_unix_path_that_was_taken_meanwhile_is_told_at_the_next_opening(tmp_path: Path) -> None:
    """Somebody who ignores locks is told of, not fought; and when they have gone, all is well."""
    path = place(tmp_path, "path")
    (listener,) = await bind(UNIXServerEndpoint(path))
    listener.open()
    listener.shut()
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        for _ in range(2):
            with pytest.raises(CannotListenError, match="a server listens there"):
                listener.open()
    listener.open()
    assert not refuses(path)
    listener.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_a_path_that_cannot_be_opened_again_without_privileges_is_told(tmp_path: Path) -> None:
    """The mend is a folder that belongs to the user that one becomes."""
    (listener,) = await bind(UNIXServerEndpoint(place(tmp_path, "path")))
    listener.open()
    listener.shut()
    os.seteuid(65534)
    try:
        with pytest.raises(CannotListenError) as raised:
            listener.open()
    finally:
        os.seteuid(0)
    assert raised.value.errno == errno.EACCES
    assert f"user 65534 may not write to {tmp_path}" in str(raised.value)
    assert "after privileges were dropped" in str(raised.value)
    assert "s.lock" in os.listdir(tmp_path), "the path is still ours"
    listener.open()
    listener.close()


async def test_opening_and_shutting_200_times_leaves_nothing(tmp_path: Path) -> None:
    """No descriptor, no lock, no file."""
    before = descriptors()
    for _ in range(200):
        (listener,) = await bind(UNIXServerEndpoint(place(tmp_path, "path")))
        assert isinstance(listener, UNIXListener)
        listener.open()
        listener.shut()
        listener.open()
        listener.close()
    assert descriptors() == before
    assert os.listdir(tmp_path) == []


async def test_a_kind_that_nobody_can_bind_is_told() -> None:
    """As it is for a kind of endpoint that a package has announced and not registered."""

    @dataclass(frozen=True)
    class Pigeon(StreamServerEndpoint):
        kind: ClassVar[str] = "pigeon"

    with pytest.raises(TypeError, match=r"\(Pigeon\) is no endpoint that a stream server can listen on"):
        await bind(Pigeon())


async def test_the_layers_above_are_bound_by_what_is_below_them(tmp_path: Path) -> None:
    """`haproxy:unix:...` is a UNIX socket."""
    (listener,) = await bind(server_endpoint(f"haproxy:unix:{tmp_path}/s"))
    assert listener.address == f"{tmp_path}/s"
    listener.close()


@pytest.mark.parametrize(
    ("address", "shown"), [((LOCAL, 80), "127.0.0.1:80"), (("::1", 80), "[::1]:80"), (("::", 0), "[::]:0")]
)
def test_an_address_is_shown_as_it_stands_in_a_url(address: tuple[str, int], shown: str) -> None:
    """An IPv6 address has colons of its own, hence the brackets."""
    assert show_address(address) == shown
