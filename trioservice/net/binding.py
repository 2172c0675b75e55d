"""From a host and a port to a bound socket: what stream and datagram servers share.

Everything that has to be said to a socket before ``bind`` is said here, and what the system
answers is turned into one sentence with the likely mend.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple, Protocol, TypeVar

import trio

from ..errors import CannotListenError
from . import system
from .addresses import Address, address_of, show_address

__all__ = ["bind_everywhere", "bound_socket", "cannot_listen", "hosts", "reuse_address"]

B = TypeVar("B", bound="Bound")


class Place(Protocol):
    """What ``tcp`` and ``udp`` endpoints have in common."""

    @property
    def port(self) -> int: ...
    @property
    def interface(self) -> tuple[str, ...]: ...
    @property
    def reuse_port(self) -> bool: ...
    @property
    def v6_only(self) -> bool: ...
    @property
    def device(self) -> str | None: ...
    @property
    def versions(self) -> tuple[int, ...]: ...


class Bound(Protocol):
    """Whatever is made around a bound socket."""

    @property
    def address(self) -> Address: ...
    def close(self) -> None: ...


SockAddr = tuple[object, ...]


def hosts(host: str | Sequence[str] | None) -> tuple[str, ...]:
    """One host, several or none, as an endpoint has its interfaces."""
    if host is None:
        return ()
    several = (host,) if isinstance(host, str) else tuple(host)
    if not several:
        raise ValueError("it is an empty list, which could mean all or none; give None for all")
    return several


async def bind_everywhere(
    place: Place, kind: socket.SocketKind, make: Callable[[socket.AddressFamily, SockAddr], B]
) -> list[B]:
    """Bind *place*'s port on each of its interfaces; on all of IPv4 and IPv6 if it names none.

    Port 0 is the same free port on all of them.

    Args:
        place: the endpoint.
        kind: SOCK_STREAM or SOCK_DGRAM.
        make: makes what is wanted from an address family and a socket address.

    Raises:
        CannotListenError: one of them cannot be had; none is kept then.
    """
    addresses = await _resolved(place, kind)
    for attempt in range(10):
        try:
            return _bind_all(addresses, place, make)
        except CannotListenError as error:
            # The port that the kernel chose for the first family may be taken in the second.
            if place.port != 0 or error.errno != errno.EADDRINUSE or attempt == 9:
                raise
    raise AssertionError("the last attempt returns or raises")


class _Wanted(NamedTuple):
    """One address to bind, and for whose sake."""

    family: socket.AddressFamily
    sockaddr: SockAddr
    name: str | None  # of a host with several addresses, one of which is enough; None for all interfaces


async def _resolved(place: Place, kind: socket.SocketKind) -> list[_Wanted]:
    if not place.interface:
        everywhere = {4: (socket.AF_INET, ("0.0.0.0", place.port)), 6: (socket.AF_INET6, ("::", place.port))}
        return [_Wanted(*everywhere[version], None) for version in place.versions]
    family = {(4, 6): socket.AF_UNSPEC, (6,): socket.AF_INET6}[place.versions]
    found: dict[tuple[socket.AddressFamily, SockAddr], _Wanted] = {}
    for host in place.interface:
        try:
            answers = await trio.socket.getaddrinfo(
                host, place.port, family=family, type=kind, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError) as error:  # the latter for what cannot be a name at all
            said = getattr(error, "strerror", None) or str(error)
            message = f"cannot listen on host {host!r}: {said}; is it spelt right?"
            raise CannotListenError(errno.EADDRNOTAVAIL, message) from None
        for answer, _, _, _, sockaddr in answers:
            found.setdefault((answer, sockaddr), _Wanted(answer, sockaddr, host))
    return list(found.values())


def _bind_all(
    addresses: Sequence[_Wanted], place: Place, make: Callable[[socket.AddressFamily, SockAddr], B]
) -> list[B]:
    bound: list[B] = []
    with ExitStack() as undo:
        for wanted in addresses:
            host, _, *rest = wanted.sockaddr
            port = _port_of(bound[0]) if bound else place.port
            try:
                made = make(wanted.family, (host, port, *rest))
            except CannotListenError as error:
                # A name, like "all interfaces", means the addresses there are; a machine without
                # IPv6 is complete, even if its table of hosts says that localhost is ::1 as well.
                others = [
                    other
                    for other in addresses
                    if other.name == wanted.name and other.family != wanted.family
                ]
                if not others or wanted.family != socket.AF_INET6 or error.errno not in _NO_SUCH_FAMILY:
                    raise
                continue
            undo.callback(made.close)
            bound.append(made)
        undo.pop_all()
    return bound


_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def _port_of(bound: Bound) -> int:
    assert isinstance(bound.address, tuple)
    return bound.address[1]


def bound_socket(
    family: socket.AddressFamily, kind: socket.SocketKind, sockaddr: SockAddr, place: Place
) -> socket.socket:
    """A non-blocking socket, bound to *sockaddr* with the options of *place*.

    Raises:
        CannotListenError: the system refuses; it says why.
    """
    with ExitStack() as undo:
        try:
            sock = undo.enter_context(system.open_socket(family, kind))
            sock.setblocking(False)
            _set_options(sock, family, kind, place)
            sock.bind(sockaddr)
            reuse_address(sock, False)
        except OSError as error:
            raise cannot_listen(error, address_of(sockaddr), kind) from None
        undo.pop_all()
        return sock


def _set_options(
    sock: socket.socket, family: socket.AddressFamily, kind: socket.SocketKind, place: Place
) -> None:
    if kind == socket.SOCK_STREAM:
        reuse_address(sock, True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, place.v6_only or not place.interface)
    if place.reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, _option("SO_REUSEPORT", "reuse_port"), 1)
    if place.device is not None:
        device = place.device.encode() + b"\0"
        sock.setsockopt(socket.SOL_SOCKET, _option("SO_BINDTODEVICE", "device"), device)


def reuse_address(sock: socket.socket, on: bool) -> None:
    """Let a stream socket have a port at which connections of before linger.

    To be on for ``bind`` and ``listen`` only: two sockets that both have it share a port as long
    as neither listens, and a port that is bound early would not be ours.
    """
    if sock.type == socket.SOCK_STREAM and os.name == "posix":  # elsewhere it lets two programs share a port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, on)


def _option(name: str, field: str) -> int:
    if not hasattr(socket, name):
        raise OSError(errno.ENOPROTOOPT, f"{field} is not available on this system, which has no {name}")
    return int(getattr(socket, name))


def cannot_listen(error: OSError, address: Address, kind: socket.SocketKind) -> CannotListenError:
    """What the system said of *address*, and the likely mend."""
    shown = show_address(address)
    said = error.strerror or str(error)
    mend = _mend(error.errno or 0, address, kind)
    return CannotListenError(error.errno or 0, f"cannot listen on {shown}: {said}" + (mend and f"; {mend}"))


def _mend(number: int, address: Address, kind: socket.SocketKind) -> str:
    host, port = address if isinstance(address, tuple) else ("", 0)
    look = f"ss -l{'t' if kind == socket.SOCK_STREAM else 'u'}np 'sport = :{port}'"
    return {
        errno.EADDRINUSE: (
            f"another program, or another service of this one, listens there (`{look}` names it); "
            "stop it or choose another port"
        ),
        errno.EACCES: (
            "ports below 1024 are privileged; choose a higher one, or grant CAP_NET_BIND_SERVICE "
            "(systemd: AmbientCapabilities=)"
        ),
        errno.EPERM: "binding to a device needs CAP_NET_RAW",
        errno.ENODEV: "there is no such device; `ip link` lists them",
        errno.EADDRNOTAVAIL: f"{host} is no address of this machine; `ip address` lists those it has",
    }.get(number, "")
