"""Addresses become bound sockets.

A listener is bound early and opened late.  Bound early, in the privileged phase, so that a
port in use or not permitted is known before anything runs (rule L18).  Opened late, when its
server starts, so that no client is kept waiting by a server that waits for its database.

Between two runs of its server a listener keeps its port and refuses connections: to be
refused is better than to hang in the queue of a server that is not there.  Linux can do that
with one socket (``shutdown`` makes it stop listening and leaves it bound); where the system
cannot, the socket is closed and bound again at the same address.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, suppress
from typing import TypeAlias

import trio

from ..errors import CannotListenError

__all__ = ["Address", "Listener", "bind_tcp", "show_address"]

#: Where a socket is: host and port, for IPv4 and IPv6 alike.
Address: TypeAlias = tuple[str, int]

# Go, nginx and Node pass a few hundred, trio 65,535; the kernel truncates to its somaxconn
# anyway, so asking for much lets the administrator decide in one place.
BACKLOG = 65_535


class Listener:
    """A bound socket whose door can be opened and shut."""

    def __init__(self, family: socket.AddressFamily, sockaddr: tuple[object, ...]) -> None:
        self._family = family
        self._sock: socket.socket | None = _bound_socket(family, sockaddr)
        self._sockaddr = self._sock.getsockname()
        self._open = False

    @property
    def address(self) -> Address:
        """Where it is bound; the real port, if port 0 was asked for."""
        return address_of(self._sockaddr)

    def open(self) -> None:
        """Take connections from now on.

        Raises:
            CannotListenError: another program has taken the port meanwhile.
        """
        if self._sock is None:
            self._sock = _bound_socket(self._family, self._sockaddr)
        try:
            self._bind_again(self._sock)
            self._sock.listen(BACKLOG)
        except OSError as error:
            raise _explained(error, self.address) from None
        self._open = True

    def _bind_again(self, sock: socket.socket) -> None:
        # A port that was asked for by number stays with a socket that was shut; one that the
        # kernel chose does not: anybody could have it, and listening again would choose another.
        try:
            sock.bind(self._sockaddr)
        except OSError as error:
            if error.errno != errno.EINVAL:  # that one means: still bound
                raise

    def accept(self) -> tuple[trio.socket.SocketType, Address] | None:
        """The next of those connections that wait at the door; ``None`` if there is none."""
        assert self._sock is not None
        try:
            sock, sockaddr = self._sock.accept()
        except BlockingIOError:
            return None
        return trio.socket.from_stdlib_socket(sock), address_of(sockaddr)

    async def wait(self) -> None:
        """Wait until somebody may be at the door."""
        assert self._sock is not None
        await trio.lowlevel.wait_readable(self._sock)

    def shut(self) -> None:
        """Refuse connections from now on, and keep the port."""
        if not self._open or self._sock is None:
            return
        self._open = False
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # only Linux can un-listen
            self.close()
            return
        with suppress(OSError):  # whoever was quicker is named when this is opened again
            self._bind_again(self._sock)

    def close(self) -> None:
        """Give up the port."""
        if self._sock is not None:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._sock = None


async def bind_tcp(host: str | None, port: int) -> list[Listener]:
    """Bind *port* on every address of *host*, on all interfaces of IPv4 and IPv6 for ``None``.

    Port 0 is the same free port on all of them.

    Raises:
        CannotListenError: one of them cannot be had; none is kept then.
    """
    places = await _resolved(host, port)
    for _ in range(10):
        try:
            return _bind_all(places, port, wildcard=host is None)
        except CannotListenError as error:
            # The port that the kernel chose for the first family may be taken in the second.
            if port != 0 or error.errno != errno.EADDRINUSE:
                raise
    return _bind_all(places, port, wildcard=host is None)


async def _resolved(host: str | None, port: int) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    if host is None:
        return [(socket.AF_INET, ("0.0.0.0", port)), (socket.AF_INET6, ("::", port))]
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # the latter for what cannot be a name at all
        said = getattr(error, "strerror", None) or str(error)
        message = f"cannot listen on host {host!r}: {said}; is it spelt right?"
        raise CannotListenError(errno.EADDRNOTAVAIL, message) from None
    return list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))


def _bind_all(
    places: list[tuple[socket.AddressFamily, tuple[object, ...]]], port: int, *, wildcard: bool
) -> list[Listener]:
    listeners: list[Listener] = []
    with ExitStack() as undo:
        for family, (host, _, *rest) in places:
            chosen = listeners[0].address[1] if listeners else port
            try:
                listener = Listener(family, (host, chosen, *rest))
            except CannotListenError as error:
                # All interfaces means those there are; a machine without IPv6 is complete.
                if wildcard and family == socket.AF_INET6 and error.errno in _NO_SUCH_FAMILY:
                    continue
                raise
            undo.callback(listener.close)
            listeners.append(listener)
        undo.pop_all()
    return listeners


_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def _bound_socket(family: socket.AddressFamily, sockaddr: tuple[object, ...]) -> socket.socket:
    with ExitStack() as undo:
        try:
            sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            if os.name == "posix":  # elsewhere the option lets two programs share a port
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
            sock.setblocking(False)
            sock.bind(sockaddr)
        except OSError as error:
            raise _explained(error, address_of(sockaddr)) from None
        undo.pop_all()
        return sock


def _explained(error: OSError, address: Address) -> CannotListenError:
    """What the system said, and the likely mend."""
    host, port = address
    mends = {
        errno.EADDRINUSE: (
            f"another program, or another service of this one, listens there (`ss -ltnp 'sport = :{port}'` "
            "names it); stop it or choose another port"
        ),
        errno.EACCES: (
            "ports below 1024 are privileged; choose a higher one, or grant CAP_NET_BIND_SERVICE "
            "(systemd: AmbientCapabilities=)"
        ),
        errno.EADDRNOTAVAIL: f"{host} is no address of this machine; `ip address` lists those it has",
    }
    said = error.strerror or str(error)
    mend = mends.get(error.errno or 0, "")
    message = f"cannot listen on {show_address(address)}: {said}" + (f"; {mend}" if mend else "")
    return CannotListenError(error.errno or 0, message)


def address_of(sockaddr: tuple[object, ...]) -> Address:
    """Host and port of what the socket module calls an address."""
    host, port, *_ = sockaddr
    return str(host), int(str(port))


def show_address(address: Address) -> str:
    """As it stands in a URL: ``127.0.0.1:80``, ``[::1]:80``."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
