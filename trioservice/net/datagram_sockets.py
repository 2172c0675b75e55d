"""Sockets of datagrams: what a server hears and answers by, and a client's line to its server.

A :class:`DatagramSocket` reads and sends without waiting, and its datagrams remember how they
came, so that an answer goes back by the same socket and from the address that was asked; a
machine with several addresses would otherwise answer from the wrong one.  Endpoints become such
sockets here: :func:`bind_datagrams` for servers, :func:`connect_datagrams` for clients.

What is heard and sent is counted, and what goes wrong is told, in a :class:`Ledger`, by handlers
and protocols alike; and what the system says of a datagram means the same to both.
"""

from __future__ import annotations

import errno
import functools
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import trio

from ..errors import CannotConnectError
from . import system
from .addresses import Address, address_of, show_address, sockaddr_of
from .binding import SockAddr, bind_everywhere, bound_socket
from .endpoints import (
    DatagramClientEndpoint,
    DatagramServerEndpoint,
    FDEndpoint,
    SystemdEndpoint,
    UDPClientEndpoint,
    UDPServerEndpoint,
    UNIXDatagramClientEndpoint,
    UNIXDatagramServerEndpoint,
)
from .events import DatagramDropped, DatagramFailed, DatagramRejected, Throttle
from .inherited import inherited_sockets
from .socket_files import SocketFile

if TYPE_CHECKING:
    from ..service import Service

__all__ = [
    "ATTEMPTS",
    "HEARD",
    "LARGEST",
    "NETWORK",
    "NO_ROOM",
    "AskedAddress",
    "ConnectedSocket",
    "DatagramSocket",
    "Destination",
    "InternetSender",
    "Ledger",
    "UNIXSender",
    "bind_datagrams",
    "connect_datagrams",
]

# Where a datagram is sent: what the socket module calls the address.
Destination: TypeAlias = Any

#: What no UDP datagram exceeds, as its length is a number of 16 bits; a buffer of this size is made for each.
LARGEST = 65_535

#: Somebody else's doing: there is nobody at that port, no way to that host, a firewall, or a
#: UNIX socket that has gone.
NETWORK = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOENT,
    errno.ENOPROTOOPT,
    errno.ENOTCONN,
    errno.EPERM,
    errno.EPROTO,
    errno.EPROTOTYPE,
    errno.ETIMEDOUT,
}
#: Heard from the network as well, but said of what we send they are ours.
HEARD = NETWORK | {errno.EACCES, errno.EMSGSIZE, errno.EOPNOTSUPP}

#: The system, or the peer's queue, has no room now and may have it soon.
NO_ROOM = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM}
ATTEMPTS = 10  #: for that, with pauses of 1, 2, 4 ... ms: about a second in all


class Ledger:
    """What one run of a service of datagrams counts, and tells.

    A peer must not be able to fill our log, so of each sort one event is told in a second.

    Args:
        service: whose it is.
    """

    __slots__ = (
        "_bugs",
        "_complaints",
        "_drops",
        "_rejections",
        "_service",
        "bytes_received",
        "bytes_sent",
        "dropped",
        "failed",
        "oversize",
        "received",
        "sent",
    )

    def __init__(self, service: Service) -> None:
        self.received = self.sent = self.dropped = self.oversize = self.failed = 0
        self.bytes_received = self.bytes_sent = 0
        self._service = service
        self._drops, self._rejections, self._complaints, self._bugs = (Throttle() for _ in range(4))

    def fail(self, peer: Address | None, error: BaseException, by_peer: bool) -> None:
        """A datagram ended with *error*: of ours, or of a peer or the network."""
        self.failed += 1
        throttle, now = self._complaints if by_peer else self._bugs, trio.current_time()
        if throttle.passes(now):
            times = throttle.held_back()
            self._service.emit(DatagramFailed(self._service.path, now, peer, error, by_peer, times))

    def drop(self, peer: Address, queue_size: int) -> None:
        """A datagram found no place in the queue."""
        self.dropped += 1
        now = trio.current_time()
        if self._drops.passes(now):
            times = self._drops.held_back()
            self._service.emit(DatagramDropped(self._service.path, now, peer, queue_size, times))

    def reject(self, peer: Address, max_datagram: int) -> None:
        """A datagram was longer than it may be."""
        self.oversize += 1
        now = trio.current_time()
        if self._rejections.passes(now):
            reason = f"it has more than {max_datagram} bytes (max_datagram)"
            times = self._rejections.held_back()
            self._service.emit(DatagramRejected(self._service.path, now, peer, reason, times))


class AskedAddress(tuple[Any, ...]):
    """What the socket module calls a sender, which remembers at which address of ours it asked.

    A copy, pickled or deep, is an address and no more.
    """

    control: Sequence[tuple[int, int, bytes]]

    def __reduce__(self) -> tuple[type[tuple[object, ...]], tuple[tuple[object, ...]]]:
        return tuple, (tuple(self),)


class InternetSender(tuple[str, int]):
    """Host and port of a sender, which remembers by which of our sockets and addresses it reached us.

    A copy, pickled or deep, is an address and no more: a socket can be in no other process.
    """

    socket: DatagramSocket
    to: Destination = None  #: ``None`` if it is what the socket module calls the sender

    def __reduce__(self) -> tuple[type[tuple[object, ...]], tuple[tuple[object, ...]]]:
        return tuple, (tuple(self),)


class UNIXSender(str):
    """The path of a sender, which remembers by which of our sockets it reached us, as above."""

    socket: DatagramSocket
    to: Destination

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class DatagramSocket:
    """A bound socket, and how a datagram is taken from it and put into it, without waiting.

    A socket that is bound to all addresses would answer from whichever address the routing
    prefers, and a peer that asked another one drops that.  So such a socket is told (IP_PKTINFO,
    on Linux) at which address each datagram arrived, and answers from there.

    Args:
        sock: bound; it becomes ours.
        file: of a UNIX socket; it is removed with it.
    """

    #: The one that it is connected to.
    peer: Address | None = None
    #: What the socket module calls that.
    peername: Destination = None
    #: What the network says of one datagram is raised when the next is sent.
    complains_late: bool = False
    #: What has arrived is lost when the next is sent and the peer has gone.
    forgets: bool = False

    def __init__(self, sock: socket.socket, file: SocketFile | None = None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.family = sock.family
        self.address = address_of(sock.getsockname())
        self.is_unix = sock.family == _UNIX
        self._file = file
        self._writing = trio.Lock()
        self._asked = _ask_for_local_address(sock)
        self.in_vain = 0  #: how often it was looked at again without finding anything
        self._is_simple = self.family == socket.AF_INET and not self._asked
        self._told: Sequence[tuple[int, int, bytes]] = ()  # what the kernel told last, and what to tell it
        self._control: Sequence[tuple[int, int, bytes]] = ()
        self._speaks4 = sock.family == socket.AF_INET or _is_dual(sock)

    @property
    def limit(self) -> int:
        """The largest datagram that it can send, in bytes."""
        if self.family == socket.AF_INET:
            return 65_507  # 65,535, less the headers of IP and UDP
        if self.family == socket.AF_INET6:
            return 65_527  # the header of IPv6 does not count
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - 32

    @property
    def capacity(self) -> int:
        """More datagrams than the kernel can hold for it: even an empty one costs 256 bytes and more."""
        return max(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 256, 1024)

    @property
    def is_plain(self) -> bool:
        """Whether :meth:`hear` and :meth:`send` do no more than the socket's ``recvfrom`` and ``sendto``."""
        return self.peer is None and not self._asked

    def hear(self, most: int) -> tuple[bytes, Destination]:
        """The next datagram, up to *most* bytes of it, and what the socket module calls its sender.

        Raises:
            BlockingIOError: there is none now.
            OSError: the network complains about an earlier one that was sent.
        """
        if not self._asked:
            return self.sock.recvfrom(most)
        data, told, _, sockaddr = self.sock.recvmsg(most, 64)
        if told != self._told:
            self._told, self._control = told, _from_there(told)
        asker = AskedAddress(sockaddr)
        asker.control = self._control
        return data, asker

    def receive(self, most: int) -> tuple[bytes, Address]:
        """The next datagram, likewise, with its sender as an :data:`~trioservice.net.addresses.Address`.

        Raises:
            BlockingIOError: there is none now.
            OSError: the network complains about an earlier one that was sent.
        """
        if self._is_simple:
            data, sockaddr = self.sock.recvfrom(most)
            return data, self._sender(sockaddr)
        data, sockaddr = self.hear(most)
        peer = _peer(sockaddr)
        peer.socket = self
        peer.to = sockaddr
        return data, peer

    @functools.cached_property
    def _sender(self) -> type[InternetSender]:
        """The class of those whom this socket hears, which spares each of them a dictionary."""
        return type("InternetSender", (InternetSender,), {"socket": self, "__doc__": InternetSender.__doc__})

    def looks_on(self, *, again: bool) -> bool:
        """Whether to look for more at once, after something has come, instead of waiting for it.

        A quick peer has answered by then, and to look is ten times cheaper than to be told.  A slow one
        has not, and looking in vain costs a twentieth of a datagram; so after a few times in a row it is
        tried now and then only.

        Args:
            again: what has come was found by looking on.
        """
        self.in_vain = 0 if again else self.in_vain + 1
        return self.in_vain <= 4 or self.in_vain % 16 == 0

    def send(self, data: bytes | bytearray | memoryview, to: Destination) -> int:
        """Send a datagram; what the system refuses is an OSError."""
        if self._asked and type(to) is AskedAddress and to.control:
            return self.sock.sendmsg([data], to.control, 0, to)
        return self.sock.sendto(data, to)

    def destination(self, peer: Address) -> Destination | None:
        """How to send to *peer*; ``None`` if that takes a socket of another family.

        Raises:
            ValueError: *peer* is no address.
        """
        if isinstance(peer, str):
            return sockaddr_of(peer) if self.is_unix else None
        host, port = _host_and_port(peer)
        if ":" in host:
            return _sockaddr6(host, port) if self.family == socket.AF_INET6 else None
        _require_numeric(socket.AF_INET, host)
        if not self._speaks4:
            return None
        return (host, port) if self.family == socket.AF_INET else (f"::ffff:{host}", port, 0, 0)

    @property
    def is_closed(self) -> bool:
        """Whether it has been given up."""
        return self.sock.fileno() == -1

    async def wait_readable(self) -> None:
        """Wait until there may be a datagram, or a complaint."""
        await system.wait_readable(self.sock)

    async def wait_writable(self) -> None:
        """Wait until one may be sent; trio lets only one task do so, so others queue."""
        async with self._writing:
            if self.is_closed:
                raise trio.ClosedResourceError("this socket was closed")
            await system.wait_writable(self.sock)

    def close(self) -> None:
        """Give it up."""
        if self._file is not None:
            self._file.release()
        system.notify_closing(self.sock)
        self.sock.close()


_UNIX = getattr(socket, "AF_UNIX", None)

# Python names them only from 3.14 on.  The numbers are Linux's, where alone they are used.
_IP_PKTINFO = 8
_MAPPED = bytes(10) + b"\xff\xff"  # the beginning of an IPv4 address within IPv6
_LINUX = sys.platform == "linux"


def _ask_for_local_address(sock: socket.socket) -> bool:
    """Let the kernel tell at which of our addresses datagrams arrive, where it may be any."""
    if not _LINUX or sock.family == _UNIX or sock.getsockname()[0] not in ("0.0.0.0", "::"):
        return False
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return True


def _from_there(told: Sequence[tuple[int, int, bytes]]) -> Sequence[tuple[int, int, bytes]]:
    """What to tell the kernel so that an answer comes from the address at which the question arrived.

    The interface is left to the routing, except for link-local addresses, which mean nothing without.
    """
    for level, kind, packed in told:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return [(level, kind, bytes(4) + packed[4:8] + bytes(4))]
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            address, index = packed[:16], packed[16:20]
            mapped = address.startswith(_MAPPED)
            if address[0] == 0xFF or (mapped and address[12] >> 4 == 0xE):
                return ()  # a multicast group is nobody's own address
            is_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
            return [(level, kind, address + (index if is_local else bytes(4)))]
    return ()


def _peer(sockaddr: Any) -> InternetSender | UNIXSender:
    if isinstance(sockaddr, tuple):
        return InternetSender(cast(tuple[str, int], address_of(sockaddr)))
    return UNIXSender(address_of(sockaddr))


def _is_dual(sock: socket.socket) -> bool:
    """Whether it is an IPv6 socket that reaches IPv4 as well."""
    # Bound to an address of IPv6 it is of IPv6 only, and the system says so.
    return sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _host_and_port(peer: object) -> tuple[str, int]:
    match peer:
        case tuple((str(host), int(port))) if 1 <= port <= 65_535:
            return host, port
    raise ValueError(
        "send() takes an address as the handler is given it, like ('192.0.2.1', 53) or '/run/x.sock', "
        f"with a port from 1 to 65535, not {peer!r}"
    )


def _sockaddr6(host: str, port: int) -> tuple[str, int, int, int]:
    host, _, scope = host.partition("%")
    _require_numeric(socket.AF_INET6, host)
    return host, port, 0, _index_of(scope) if scope else 0


def _index_of(scope: str) -> int:
    try:
        if not scope.isdecimal():
            return socket.if_nametoindex(scope)
        socket.if_indextoname(int(scope))
    except (OSError, OverflowError):
        known = ", ".join(name for _, name in socket.if_nameindex())
        raise ValueError(f"there is no interface {scope!r} to send by; there are {known}") from None
    return int(scope)


def _require_numeric(family: int, host: str) -> None:
    # The socket module would look a name up, and nothing else would happen until it was found.
    try:
        socket.inet_pton(family, host)
    except OSError:
        raise ValueError(
            f"send() takes an address as the handler is given it, like ('192.0.2.1', 53), and {host!r} is a "
            "name; look it up before (trio.socket.getaddrinfo), or use a UDPClient"
        ) from None


# ---- where servers are bound -------------------------------------------------------------------


@functools.singledispatch
async def bind_datagrams(endpoint: DatagramServerEndpoint) -> list[DatagramSocket]:
    """Bind *endpoint*.

    A package that brings a kind of endpoint of its own registers how to bind it:
    ``@bind_datagrams.register``, for its class.

    Raises:
        CannotListenError: it cannot be had; nothing is kept then.
    """
    raise TypeError(
        f"{endpoint} ({type(endpoint).__name__}) is no endpoint that a datagram server can be bound to"
    )


@bind_datagrams.register
async def _(endpoint: UDPServerEndpoint) -> list[DatagramSocket]:
    def bound(family: socket.AddressFamily, sockaddr: SockAddr) -> DatagramSocket:
        sock = bound_socket(family, socket.SOCK_DGRAM, sockaddr, endpoint)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, endpoint.broadcast)
        return DatagramSocket(sock)

    return await bind_everywhere(endpoint, socket.SOCK_DGRAM, bound)


@bind_datagrams.register
async def _(endpoint: UNIXDatagramServerEndpoint) -> list[DatagramSocket]:
    file = SocketFile(endpoint.path, endpoint.mode, endpoint.user, endpoint.group)
    return [_unix_socket(file)]


@bind_datagrams.register
async def _(endpoint: SystemdEndpoint | FDEndpoint) -> list[DatagramSocket]:
    return [DatagramSocket(sock) for sock in inherited_sockets(endpoint, socket.SOCK_DGRAM)]


def _unix_socket(file: SocketFile) -> DatagramSocket:
    with ExitStack() as undo:
        sock = undo.enter_context(system.open_socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        file.bind(sock)
        undo.pop_all()
        return DatagramSocket(sock, file)


# ---- whom clients speak to ---------------------------------------------------------------------


class ConnectedSocket(DatagramSocket):
    """A socket that is connected: it hears its one peer only, and what the network says of it."""

    peer: Address
    complains_late = True

    def __init__(self, sock: socket.socket, peer: Address, file: SocketFile | None = None) -> None:
        super().__init__(sock, file)
        self.peer = peer
        self.peername = sock.getpeername() if self.family != _UNIX else sockaddr_of(str(peer))

    def hear(self, most: int) -> tuple[bytes, Destination]:
        """The next datagram, which can only be its peer's."""
        return self.sock.recv(most), self.peername

    def receive(self, most: int) -> tuple[bytes, Address]:
        """The next datagram, likewise."""
        return self.hear(most)[0], self.peer

    def send(self, data: bytes | bytearray | memoryview, to: Destination) -> int:
        """Send a datagram to the peer, whatever *to* is."""
        return self.sock.send(data)


class _UNIXConnectedSocket(ConnectedSocket):
    """A line to whichever socket is at a path now.

    A UNIX socket is connected to a socket and not to a path, so when the server has started anew it
    is connected again.  Sending to the path each time would do that too, but would hear anybody
    who sends to our address; the kernel refuses those on behalf of a connected socket.
    """

    complains_late = False
    forgets = True  # Linux empties our queue when it finds that the other end is closed

    def __init__(self, sock: socket.socket, path: str, file: SocketFile | None) -> None:
        super().__init__(sock, path, file)
        self._connected = False
        with suppress(OSError):  # the server may come later; whoever sends before is told
            self._connect()

    def hear(self, most: int) -> tuple[bytes, Destination]:
        data = self.sock.recv(most)
        if not self._connected:
            raise BlockingIOError  # from nobody whom we know
        return data, self.peername

    def send(self, data: bytes | bytearray | memoryview, to: Destination) -> int:
        if self._connected:
            try:
                return self.sock.send(data)
            except (ConnectionError, FileNotFoundError):
                self._connected = False
        self._connect()
        return self.sock.send(data)

    def _connect(self) -> None:
        self.sock.connect(self.peername)
        with suppress(BlockingIOError):
            for _ in range(self.capacity):  # what others sent while it was not connected
                self.sock.recv(1)
        self._connected = True


@functools.singledispatch
async def connect_datagrams(endpoint: DatagramClientEndpoint) -> ConnectedSocket:
    """A socket that is connected to *endpoint*; open to other packages like :func:`bind_datagrams`.

    Raises:
        CannotConnectError: there is no such host, no way to it, or our own address cannot be had.
    """
    raise TypeError(
        f"{endpoint} ({type(endpoint).__name__}) is no endpoint that a datagram client can send to"
    )


@connect_datagrams.register
async def _(endpoint: UDPClientEndpoint) -> ConnectedSocket:
    shown = show_address((endpoint.host, endpoint.port))
    try:
        found = await trio.socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:  # the latter for what cannot be a name at all
        said = getattr(error, "strerror", None) or str(error)
        message = f"cannot reach {shown}: {said}; is the host spelt right?"
        raise CannotConnectError(0, message) from None
    refused = OSError(errno.EADDRNOTAVAIL, "no address of its fits bind_address")
    for family, _, _, _, sockaddr in found:
        try:
            return _udp_line(endpoint, family, sockaddr)
        except OSError as error:
            refused = error
    ours = "" if endpoint.bind_address is None else f" from {endpoint.bind_address} (bind_address)"
    said = refused.strerror or str(refused)
    raise CannotConnectError(refused.errno or 0, f"cannot reach {shown}{ours}: {said}")


def _udp_line(endpoint: UDPClientEndpoint, family: int, sockaddr: Any) -> ConnectedSocket:
    with ExitStack() as undo:
        sock = undo.enter_context(system.open_socket(family, socket.SOCK_DGRAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, endpoint.broadcast)
        if endpoint.bind_address is not None:
            # An address of the other family is a name that cannot be found in this one.
            sock.bind((endpoint.bind_address, 0))
        sock.connect(sockaddr)
        undo.pop_all()
        return ConnectedSocket(sock, address_of(sockaddr))


@connect_datagrams.register
async def _(endpoint: UNIXDatagramClientEndpoint) -> ConnectedSocket:
    file = None
    with ExitStack() as undo:
        sock = undo.enter_context(system.open_socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        if endpoint.bind_path is not None:
            # The server may be another user's.  Anybody else is refused by the kernel, whatever the mode.
            file = SocketFile(endpoint.bind_path, 0o666)
            file.bind(sock)
            undo.callback(file.release)
        elif _LINUX:
            sock.bind("")  # an abstract name that nobody has
        line = _UNIXConnectedSocket(sock, endpoint.path, file)
        undo.pop_all()
        return line
