"""From a host and a port to a bound socket; tests/net/test_listeners.py has what listeners make of it."""

from __future__ import annotations

import errno
import socket

import pytest

from trioservice import CannotListenError
from trioservice.net.binding import bound_socket, cannot_listen, hosts
from trioservice.net.endpoints import TCPServerEndpoint, UDPServerEndpoint

LOCAL = ("127.0.0.1", 0)


@pytest.mark.parametrize(("given", "meant"), [(None, ()), ("::1", ("::1",)), (["a", "b"], ("a", "b"))])
def test_one_host_several_or_none_are_all_meant_well(
    given: str | list[str] | None, meant: tuple[str]
) -> None:
    """A single name is not a sequence of letters."""
    assert hosts(given) == meant


def test_an_empty_list_of_hosts_is_a_mistake_and_not_all_of_them() -> None:
    """A configuration that lost its entries must not open the server to the world."""
    with pytest.raises(ValueError, match="give None for all"):
        hosts([])


@pytest.mark.parametrize(
    ("kind", "place"),
    [(socket.SOCK_STREAM, TCPServerEndpoint(0)), (socket.SOCK_DGRAM, UDPServerEndpoint(0))],
)
async def test_an_address_in_use_is_told_with_the_command_that_finds_who_has_it(
    kind: socket.SocketKind, place: TCPServerEndpoint | UDPServerEndpoint
) -> None:
    """`ss` takes another letter for datagrams."""
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(LOCAL)
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListenError) as caught:
            bound_socket(socket.AF_INET, kind, ("127.0.0.1", port), place)
    letter = "t" if kind == socket.SOCK_STREAM else "u"
    assert f"`ss -l{letter}np 'sport = :{port}'` names it" in str(caught.value)
    assert caught.value.errno == errno.EADDRINUSE


async def test_every_option_is_set_before_the_socket_is_bound() -> None:
    """Afterwards it would be too late for most of them."""
    place = TCPServerEndpoint(0, ("::",), reuse_port=True, v6_only=False)
    with bound_socket(socket.AF_INET6, socket.SOCK_STREAM, ("::", 0, 0, 0), place) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert not sock.getblocking()


async def test_an_option_that_the_system_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an AttributeError about the socket module."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(CannotListenError, match="reuse_port is not available on this system"):
        bound_socket(socket.AF_INET, socket.SOCK_STREAM, LOCAL, TCPServerEndpoint(0, reuse_port=True))


async def test_a_device_that_does_not_exist_is_told() -> None:
    """The mend is the command that lists those there are."""
    with pytest.raises(CannotListenError, match=r"ip link|CAP_NET_RAW"):
        bound_socket(socket.AF_INET, socket.SOCK_STREAM, LOCAL, TCPServerEndpoint(0, device="nothere0"))


def test_what_nobody_foresaw_is_told_as_the_system_says_it() -> None:
    """A sentence without a mend is better than a wrong one."""
    error = cannot_listen(OSError(errno.EIO, "Input/output error"), ("127.0.0.1", 7), socket.SOCK_STREAM)
    assert str(error) == "cannot listen on 127.0.0.1:7: Input/output error"
