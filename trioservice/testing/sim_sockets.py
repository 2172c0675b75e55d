"""What all simulated sockets share: a descriptor, names, options, and who waits for them.

They have the non-blocking half of :class:`socket.socket`, and raise what that raises.  What they
cannot do they refuse by :exc:`NotSimulatedError`, which is no :exc:`OSError`: no program takes it for
a network's moods.
"""

from __future__ import annotations

import errno
import socket
import struct
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from ..net.addresses import address_of
from ..net.system import SimulatedSocket
from .hosts import Host, refusal

if TYPE_CHECKING:
    from .sim_polls import SimEpoll
    from .trio_sockets import TrioSocket

__all__ = ["NotSimulatedError", "SimSocket", "refuse_flags"]

_UNIX = getattr(socket, "AF_UNIX", None)
_SHARED = getattr(socket, "SO_REUSEPORT", None)
_CREDENTIALS = getattr(socket, "SO_PEERCRED", None)

# What would make a socket a member of a multicast group.
_GROUPS = {
    (socket.IPPROTO_IP, getattr(socket, "IP_ADD_MEMBERSHIP", None)),
    (socket.IPPROTO_IPV6, getattr(socket, "IPV6_JOIN_GROUP", None)),
}


class NotSimulatedError(NotImplementedError):
    """A simulated network has no such thing; the text says what it was."""


class SimSocket(SimulatedSocket):
    """A socket in memory.

    Args:
        host: whose it is.
        family: AF_INET or AF_UNIX.
        kind: SOCK_STREAM or SOCK_DGRAM.
    """

    proto = 0

    def __init__(self, host: Host, family: int, kind: int) -> None:
        self.host = host
        self.network = host.network
        self.family = socket.AddressFamily(family)
        self.kind = self.type = socket.SocketKind(kind)
        self.is_unix = family == _UNIX
        self.sockaddr: Any = "" if self.is_unix else ("0.0.0.0", 0)
        self.peername: Any = None
        self.is_closed = False
        self.trouble: int | None = None  # an errno, which is raised once
        self._bound = False
        self._options: dict[tuple[int, int], Any] = {}
        self._descriptor = self.network.know(self)
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()
        self._polls: dict[SimEpoll, None] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}{' closed' if self.is_closed else ''}>"

    @property
    def label(self) -> str:
        """For the log: ``shop:80``, ``shop:/run/x``."""
        if self.is_unix:
            return self._show(self.sockaddr)
        return f"{self.host.name}:{self.sockaddr[1]}"

    def _show(self, address: Any) -> str:
        """An address that we speak to, in the same way."""
        if self.is_unix:
            return f"{self.host.name}:{address_of(address)}"
        host, port = address
        there = self.host.reach(host)
        return f"{there.name if there else host}:{port}"

    # ---- life

    def fileno(self) -> int:
        """A number that no real descriptor has; -1 once it is closed."""
        return -1 if self.is_closed else self._descriptor

    def setblocking(self, flag: bool) -> None:
        """Nothing: it never blocks."""

    def close(self) -> None:
        """Close it, as the system does for a process that ends, too."""
        if self.is_closed:
            return
        self._leave()
        self.is_closed = True
        self.host.forget(self)
        self.network.forget(self._descriptor)
        for poll in [*self._polls]:
            poll.forget(self._descriptor)
        self.notify_closing()

    @abstractmethod
    def _leave(self) -> None:
        """What closing means for others."""

    def __enter__(self) -> SimSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_open(self) -> None:
        if self.is_closed:
            raise refusal(errno.EBADF)

    def _raise_trouble(self) -> None:
        """What the network had to say, once."""
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise refusal(trouble)

    # ---- names

    def bind(self, address: Any) -> None:
        """Have an address: host and port, both numbers, or a path."""
        self._require_open()
        if self._bound:
            raise refusal(errno.EINVAL)
        if self.is_unix:
            self.sockaddr = self.host.bind_path(self, address)
        else:
            self.sockaddr = self.host.bind(self, *address)
        self._bound = True

    def _bind_somewhere(self, destination: str) -> None:
        if not self._bound:
            self.bind((self.host.source_for(destination), 0))

    def getsockname(self) -> Any:
        """Our own address."""
        self._require_open()
        return self.sockaddr

    def getpeername(self) -> Any:
        """Whom it is connected to."""
        self._require_open()
        if self.peername is None:
            raise refusal(errno.ENOTCONN)
        return self.peername

    # ---- options

    @property
    def capacity(self) -> int:
        """How many bytes may be here unread."""
        wanted = self._options.get((socket.SOL_SOCKET, socket.SO_RCVBUF))
        return int(self.host.buffer if wanted is None else wanted)

    @property
    def shares_port(self) -> bool:
        """Whether others that say so as well may have its port (SO_REUSEPORT)."""
        return bool(_SHARED and self._options.get((socket.SOL_SOCKET, _SHARED)))

    def setsockopt(self, level: int, option: int, value: Any, length: int | None = None) -> None:
        """Remember an option; those that matter here are obeyed."""
        self._require_open()
        if (level, option) in _GROUPS:
            raise NotSimulatedError("SimNetwork does not simulate multicast; test that with real sockets")
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int, length: int = 0) -> Any:
        """What was set, or what the system would say."""
        self._require_open()
        if level == socket.SOL_SOCKET:
            told = self._told(option)
            if told is not None:
                return told
        return self._options.get((level, option), bytes(length) if length else 0)

    def _told(self, option: int) -> Any:
        if option == socket.SO_ERROR:
            trouble, self.trouble = self.trouble, None
            return trouble or 0
        if option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            return self._options.get((socket.SOL_SOCKET, option), self.host.buffer)
        if option == _CREDENTIALS:
            # Both ends of a UNIX connection are on one host, and that is one process.
            return struct.pack("iII", self.host.pid, self.host.uid, self.host.gid)
        return None

    # ---- waiting

    @abstractmethod
    def is_readable(self) -> bool:
        """Whether to read would not be to wait."""

    @abstractmethod
    def is_writable(self) -> bool:
        """Whether to write would not be to wait."""

    def has_ended(self) -> bool:
        """Whether the other end will send no more."""
        return False

    async def wait_readable(self) -> None:
        """Wait until :meth:`is_readable`."""
        await self._wait(self.is_readable, self._readers)

    async def wait_writable(self) -> None:
        """Wait until :meth:`is_writable`."""
        await self._wait(self.is_writable, self._writers)

    async def _wait(self, is_ready: Callable[[], bool], lot: trio.lowlevel.ParkingLot) -> None:
        if lot:  # as with a real one
            raise trio.BusyResourceError("another task is already waiting for this socket")
        if not self.is_closed and not is_ready():
            await lot.park()
        else:
            await trio.lowlevel.checkpoint()
        if self.is_closed:
            raise trio.ClosedResourceError("another task closed this socket")

    def notify_closing(self) -> None:
        """Wake those who wait."""
        self._readers.unpark_all()
        self._writers.unpark_all()

    def changed(self) -> None:
        """Something has happened here: wake those for whom it may have been."""
        if self._readers and self.is_readable():
            self._readers.unpark_all()
        if self._writers and self.is_writable():
            self._writers.unpark_all()
        for poll in self._polls:
            poll.tell_of(self._descriptor)

    def watched_by(self, poll: SimEpoll) -> None:
        """Tell *poll* what happens."""
        self._polls[poll] = None

    def unwatched_by(self, poll: SimEpoll) -> None:
        """Tell *poll* nothing any more."""
        self._polls.pop(poll, None)

    # ---- what others call it

    def as_trio_socket(self) -> TrioSocket:
        """The same socket, as trio has them."""
        from .trio_sockets import TrioSocket  # which has us below it

        return TrioSocket(self)


def refuse_flags(flags: int) -> None:
    """Flags of a receive or send ask for what is not there.

    Raises:
        NotSimulatedError: there are some.
    """
    if flags:
        raise NotSimulatedError(
            f"SimNetwork simulates no flags of recv and send (MSG_...), such as {flags:#x}"
        )
