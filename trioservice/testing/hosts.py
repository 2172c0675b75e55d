"""The hosts of a simulated network: who has which port, which path, and how many descriptors.

A host is what a machine and its one process are to the sockets on it.  It has an address, its own
``localhost``, its own ports, which it gives away in order, and UNIX paths that are names only: no
file is made.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import trio

from .links import Link

if TYPE_CHECKING:
    from .network import SimNetwork
    from .sim_sockets import SimSocket

__all__ = ["ANY", "LOOPBACK", "Host", "Names", "named", "refusal"]

ANY = "0.0.0.0"
LOOPBACK = "127.0.0.1"

# The dynamic ports of RFC 6335.
_FIRST_FREE, _LAST_FREE = 49_152, 65_535

# What its one process is, to those who ask the kernel for the peer of a UNIX socket.
_FIRST_PID = 1000


def refusal(number: int, said: str | None = None) -> OSError:
    """What the system would raise."""
    return OSError(number, said or os.strerror(number))


class Host:
    """A machine in a simulated network; made by the network.

    Attributes:
        name: by which it is found, and called in the log.
        address: its address on the network.
        pid: of its one process.
        uid: of the user whose process that is; the first of its group's, too.
        buffer: how many bytes a socket takes in unread; a small number makes a slow peer.
        descriptors: how many sockets it may have open; ``None`` for any number.
    """

    def __init__(self, network: SimNetwork, name: str, number: int) -> None:
        self.network = network
        self.name = name
        self.address = f"10.0.{number // 250}.{number % 250 + 1}"
        self.pid = _FIRST_PID + number
        self.uid = self.gid = 1000
        self.buffer = 212_992
        self.descriptors: int | None = None
        self.sockets: dict[SimSocket, None] = {}
        self._at_ports: dict[tuple[int, int], list[SimSocket]] = {}
        self._at_paths: dict[str | bytes, SimSocket] = {}
        self._next_port = _FIRST_FREE
        self._next_name = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.address}>"

    def admit(self, sock: SimSocket) -> None:
        """Give *sock* a descriptor.

        Raises:
            OSError: EMFILE, as no more may be open.
        """
        if self.descriptors is not None and len(self.sockets) >= self.descriptors:
            self.network.note(f"{self.name} has no descriptor left")
            raise refusal(errno.EMFILE)
        self.sockets[sock] = None

    def link_to(self, other: Host) -> Link:
        """The way to *other*, which may be this one."""
        return self.network.link(self.name, other.name)

    # ---- IPv4

    def find(self, address: str) -> Host:
        """The host at *address*, as seen from here.

        Raises:
            OSError: ENETUNREACH, as there is none.
        """
        found = self.reach(address)
        if found is None:
            raise refusal(errno.ENETUNREACH, f"SimNetwork has no host at {address}")
        return found

    def reach(self, address: str) -> Host | None:
        """The host at *address*, as seen from here; ``None`` if there is none."""
        return self if self._is_mine(address) else self.network.host_at(address)

    def _is_mine(self, address: str) -> bool:
        return address in (ANY, self.address) or address.startswith("127.")

    def source_for(self, address: str) -> str:
        """From which of its addresses it speaks to *address*."""
        return LOOPBACK if address == ANY or address.startswith("127.") else self.address

    def bind(self, sock: SimSocket, address: str, port: int) -> tuple[str, int]:
        """Let *sock* have a port, any that is free if that is 0.

        Raises:
            OSError: it is taken, or the address is another's.
        """
        address = address or ANY
        if not self._is_mine(address):
            raise refusal(errno.EADDRNOTAVAIL)
        port = port or self._free_port(sock.kind)
        others = self._at_ports.setdefault((sock.kind, port), [])
        if any(_collide(sock, address, other) for other in others):
            raise refusal(errno.EADDRINUSE)
        others.append(sock)
        return address, port

    def _free_port(self, kind: int) -> int:
        for _ in range(_FIRST_FREE, _LAST_FREE + 1):
            port = self._next_port
            self._next_port = _FIRST_FREE if port == _LAST_FREE else port + 1
            if not self._at_ports.get((kind, port)):
                return port
        raise refusal(errno.EADDRINUSE)

    def those_at(self, kind: int, address: str, port: int) -> Iterator[SimSocket]:
        """Who has a port, and is reached by *address*."""
        # 0.0.0.0 as a destination means this very host.
        address = LOOPBACK if address == ANY else address
        for sock in self._at_ports.get((kind, port), ()):
            if sock.sockaddr[0] in (ANY, address):
                yield sock

    # ---- UNIX

    def bind_path(self, sock: SimSocket, path: str | bytes) -> str | bytes:
        """Let *sock* have a path, or an abstract name; any name that is free if it is empty.

        Raises:
            OSError: EADDRINUSE, as another has it.
        """
        name = named(path)
        if not name:
            name = b"\0%05x" % self._next_name
            self._next_name += 1
        if name in self._at_paths:
            raise refusal(errno.EADDRINUSE)
        self._at_paths[name] = sock
        return name

    def at_path(self, path: str | bytes, kind: int) -> SimSocket:
        """Who has *path*.

        Raises:
            OSError: nobody has, or another kind of socket.
        """
        name = named(path)
        found = self._at_paths.get(name)
        if found is None:
            # A path would have a file; a name that nobody has is one that nobody listens at.
            raise refusal(errno.ENOENT if isinstance(name, str) else errno.ECONNREFUSED)
        if found.kind != kind:
            raise refusal(errno.EPROTOTYPE)
        return found

    # ---- leaving

    def forget(self, sock: SimSocket) -> None:
        """*sock* is closed, and what it had can be another's."""
        self.sockets.pop(sock, None)
        sockaddr = sock.sockaddr
        if sock.family != socket.AF_INET:
            if self._at_paths.get(sockaddr) is sock:
                del self._at_paths[sockaddr]
        elif sock in (those := self._at_ports.get((sock.kind, sockaddr[1]), [])):
            those.remove(sock)


class Names(trio.abc.HostnameResolver):
    """Finds hosts by their names, and names by their addresses; nothing else is known of."""

    def __init__(self, network: SimNetwork) -> None:
        self._network = network

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """The address of a host.

        Raises:
            socket.gaierror: there is none of that name.
        """
        await trio.lowlevel.checkpoint()
        name = (host or b"").decode()
        found = self._network.find_host(name)
        if found is None or family not in (0, socket.AF_INET):
            self._network.note(f"{self._network.here.name} finds no host {name}")
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = LOOPBACK if name == "localhost" else found.address
        return socket.getaddrinfo(address, port, socket.AF_INET, type, proto, flags | socket.AI_NUMERICHOST)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """The name of a host."""
        await trio.lowlevel.checkpoint()
        host, port = sockaddr[:2]
        found = self._network.host_at(host)
        return found.name if found is not None and not flags & socket.NI_NUMERICHOST else host, str(port)


def named(path: str | bytes) -> str | bytes:
    """A UNIX address as ``getsockname`` tells it: bytes for an abstract name, text for a path."""
    if isinstance(path, str):
        return os.fsencode(path) if path.startswith("\0") else path
    return bytes(path) if path[:1] == b"\0" else os.fsdecode(path)


def _collide(sock: SimSocket, address: str, other: SimSocket) -> bool:
    overlap = ANY in (address, other.sockaddr[0]) or address == other.sockaddr[0]
    return overlap and not (sock.shares_port and other.shares_port)
