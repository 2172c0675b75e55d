"""Where a socket is, and how to say so.

An address is what Python's socket module calls one, without its oddities: IPv6's flow and
scope are dropped (a scope that matters stands in the host, ``fe80::1%eth0``), and the NUL that
begins an abstract name is written ``@``, as systemd and ``ss`` write it.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..records import record

if TYPE_CHECKING:
    import trio

__all__ = ["Address", "Networks", "UNIXPeer", "show_address"]


@record
class UNIXPeer:
    """Who is at the other end of a UNIX connection, as the kernel vouches for it.

    Args:
        path: where the peer's own socket is bound; clients seldom are, so it is mostly ``""``.
        pid, uid, gid: of the process, as it was when it connected; ``None`` where the system does not tell.
    """

    path: str = ""
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None


#: Host and port (IPv4 and IPv6 alike), or the path of a UNIX socket, ``@name`` for an abstract one
#: and ``""`` for one without a name, or what is known of a UNIX peer.
Address: TypeAlias = tuple[str, int] | str | UNIXPeer


def address_of(sockaddr: object) -> Address:
    """What the socket module calls an address, as an :data:`Address`."""
    if isinstance(sockaddr, tuple):
        if len(sockaddr) == 2:  # IPv4: as it is
            return sockaddr
        host, port, *others = sockaddr
        return with_scope(str(host), others[1] if len(others) == 2 else 0), int(port)
    if sockaddr is None:  # the sender of a datagram has no address
        return ""
    if isinstance(sockaddr, bytes):  # an abstract name; others are str
        return sockaddr.decode("utf-8", "surrogateescape").replace("\0", "@", 1)
    return str(sockaddr).replace("\0", "@", 1)


def with_scope(host: str, scope: int) -> str:
    """An IPv6 address with the interface without which it means nothing: ``fe80::1%eth0``."""
    if not scope or "%" in host:
        return host
    try:
        return f"{host}%{socket.if_indextoname(scope)}"
    except OSError:  # the interface has gone
        return f"{host}%{scope}"


def sockaddr_of(path: str) -> str:
    """A UNIX path as the socket module wants it: an abstract name begins with NUL there."""
    return "\0" + path[1:] if path.startswith("@") else path


def peer_of(sock: socket.socket | trio.socket.SocketType, sockaddr: object) -> Address:
    """Who is at the other end of an accepted socket."""
    if isinstance(sockaddr, tuple):
        return address_of(sockaddr)
    path = str(address_of(sockaddr))
    if not hasattr(socket, "SO_PEERCRED"):  # Linux only
        return UNIXPeer(path)
    credentials = struct.Struct("iII")
    try:
        packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    except OSError:  # gone already
        return UNIXPeer(path)
    return UNIXPeer(path, *credentials.unpack(packed))


def show_address(address: Address) -> str:
    """For a log: ``127.0.0.1:80``, ``[::1]:80``, ``/run/x``, ``process 17 of user 1000``."""
    match address:
        case UNIXPeer(path="", pid=None):
            return "an unnamed socket"
        case UNIXPeer(path="", pid=pid, uid=uid):
            return f"process {pid} of user {uid}"
        case UNIXPeer(path=path):
            return _printable(path)
        case (host, port):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return _printable(str(address)) or "an unnamed socket"


def _printable(path: str) -> str:
    """A peer chooses its own name, and must not choose what our log says."""
    return path if path.isprintable() else repr(path)[1:-1]


class Networks:
    """Those who are believed what they say of others; ask by ``address in networks``.

    Args:
        networks: like ``"10.0.0.0/8"`` or ``"10.0.0.7"``, and ``"unix"`` for all UNIX sockets.

    Raises:
        ValueError: a text is none of these.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._unix = "unix" in networks
        self._networks = [ipaddress.ip_network(network) for network in networks if network != "unix"]

    def __contains__(self, address: Address) -> bool:
        if not isinstance(address, tuple):
            return self._unix
        host = ipaddress.ip_address(address[0])
        if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
            host = host.ipv4_mapped
        return any(host in network for network in self._networks)
