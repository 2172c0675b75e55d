"""Simulated datagram sockets, UDP and UNIX.

A UDP datagram crosses on its own: it may be lost, arrive twice, or be overtaken, and nobody tells the
sender.  Only if nobody is at the port at which it arrives does that come back, to a sender that is
connected.  Between UNIX sockets nothing is lost: whoever sends to a full queue is told to wait.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Any

from .hosts import ANY, LOOPBACK, Host, named, refusal
from .links import Link
from .sim_sockets import NotSimulatedError, SimSocket, refuse_flags

__all__ = ["DatagramSocket"]

_LARGEST = 65_507
# What each datagram costs its receiver's buffer besides its bytes, about as on Linux.
_OVERHEAD = 256

# Linux's number, under which a socket asks at which address of ours a datagram arrived.
_PKTINFO = (socket.IPPROTO_IP, 8)

_Ancillary = list[tuple[int, int, bytes]]


class DatagramSocket(SimSocket):
    """A socket of datagrams."""

    def __init__(self, host: Host, family: int, kind: int = socket.SOCK_DGRAM) -> None:
        super().__init__(host, family, kind)
        self._inbox: deque[tuple[bytes, Any, str]] = deque()  # and at which address it came
        self._load = 0
        self._far: DatagramSocket | None = None  # the one that a UNIX socket is connected to
        self._blocked: dict[DatagramSocket, None] = {}  # who waits for room here

    def _note(self, address: Any, what: str) -> None:
        self.network.note(f"{'unix' if self.is_unix else 'udp'} {self.label} > {self._show(address)} {what}")

    # ---- whom it is connected to

    def connect(self, address: Any) -> None:
        """Send to *address* from now on, and hear nobody else."""
        self._require_open()
        if self.is_unix:
            found = self.host.at_path(address, self.kind)
            assert isinstance(found, DatagramSocket)
            if not found._hears(self, self.sockaddr):
                raise refusal(errno.EPERM)
            before, self._far, self.peername = self._far, found, named(address)
            if before is not None and before is not found:
                self._let_go_of(before)
            return
        self.host.find(address[0])
        self._bind_somewhere(address[0])
        if self.sockaddr[0] == ANY:
            self.sockaddr = self.host.source_for(address[0]), self.sockaddr[1]
        self.peername = LOOPBACK if address[0] == ANY else address[0], address[1]

    def _hears(self, sender: DatagramSocket, source: Any) -> bool:
        if self.is_unix:
            return self._far is None or self._far is sender
        return self.peername in (None, source)

    # ---- sending

    def send(self, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """Send a datagram to whom it is connected to."""
        refuse_flags(flags)
        return self._send(data, None)

    def sendto(self, data: bytes | bytearray | memoryview, *where: Any) -> int:
        """Send a datagram to an address, which is the last argument."""
        refuse_flags(where[0] if len(where) > 1 else 0)
        return self._send(data, where[-1])

    def sendmsg(
        self, buffers: Iterable[Any], ancillary: Iterable[Any] = (), flags: int = 0, address: Any = None
    ) -> int:
        """Send a datagram made of *buffers*; it may be said from which address of ours."""
        refuse_flags(flags)
        source = None
        for level, kind, packed in ancillary:
            if (level, kind) != _PKTINFO:
                raise NotSimulatedError("SimNetwork does not pass descriptors or credentials by sendmsg()")
            source = socket.inet_ntoa(packed[4:8])
        return self._send(b"".join(buffers), address or None, source)

    def _send(self, data: Any, address: Any, source: str | None = None) -> int:
        self._require_open()
        if address is None and self.peername is None:
            raise refusal(errno.EDESTADDRREQ if not self.is_unix else errno.ENOTCONN)
        self._raise_trouble()
        data = bytes(data)
        if len(data) > (self._told(socket.SO_SNDBUF) - 32 if self.is_unix else _LARGEST):
            raise refusal(errno.EMSGSIZE)
        if self.is_unix:
            self._hand_over(data, address)
        else:
            self._set_out(data, address or self.peername, source)
        return len(data)

    def _hand_over(self, data: bytes, address: Any) -> None:
        far = self._far
        if address is not None:
            found = self.host.at_path(address, self.kind)
            assert isinstance(found, DatagramSocket)
            far = found
        assert far is not None
        if far.is_closed:  # which is noticed by who is connected to it, and not by who sends to its name
            self._far = self.peername = None
            self._let_go_of(far)
            raise refusal(errno.ECONNREFUSED)
        if not far._hears(self, self.sockaddr):
            raise refusal(errno.EPERM)
        if far._is_full(data):
            far._blocked[self] = None
            raise refusal(errno.EAGAIN)
        self._note(named(address or self.peername), f"{len(data)} bytes")
        far._take(data, self.sockaddr if self._bound else None, "")

    def _let_go_of(self, far: DatagramSocket) -> None:
        """Be connected to *far* no more: on Linux, what has come goes with that, and *far* may hear of it."""
        if not self._inbox:
            return
        self._inbox.clear()
        self._load = 0
        self._release()
        if far._far is self and not far.is_closed:
            far.trouble = errno.ECONNRESET
            far.changed()

    def _set_out(self, data: bytes, address: tuple[str, int], source: str | None) -> None:
        if address[0] == "255.255.255.255" or address[0] == "<broadcast>":
            raise NotSimulatedError("SimNetwork does not simulate broadcast; test that with real sockets")
        there = self.host.find(address[0])
        self._bind_somewhere(ANY)
        ours = source or (self.sockaddr[0] if self.sockaddr[0] != ANY else self.host.source_for(address[0]))
        link = self.host.link_to(there)
        arrivals = link.datagram()
        if not arrivals:
            self._note(address, f"{len(data)} bytes lost")
        for taken in arrivals:
            land = partial(self._land, data, address, (ours, self.sockaddr[1]), there, link)
            if taken:
                self.network.at(self.network.now + taken, land)
            else:
                land()

    def _land(self, data: bytes, address: tuple[str, int], source: Any, there: Host, link: Link) -> None:
        if link.is_cut:
            self._note(address, f"{len(data)} bytes lost, the way is cut")
            return
        # One that is connected to the sender is meant before one that hears everybody.
        for sock in sorted(there.those_at(self.kind, *address), key=lambda sock: sock.peername is None):
            if isinstance(sock, DatagramSocket) and sock._hears(self, source):
                is_full = sock._is_full(data)
                self._note(address, f"{len(data)} bytes{' lost, no room' if is_full else ''}")
                if not is_full:
                    sock._take(data, source, address[0])
                return
        self._note(address, f"{len(data)} bytes, nobody is there")
        there.link_to(self.host).carry(partial(self._hear_that_nobody_is_at, address))

    def _hear_that_nobody_is_at(self, address: tuple[str, int]) -> None:
        if self.peername == address and not self.is_closed:
            self.trouble = errno.ECONNREFUSED
            self.changed()

    # ---- receiving

    def _is_full(self, data: bytes) -> bool:
        # However small the buffer, one is let in.
        return bool(self._inbox) and self._load + len(data) + _OVERHEAD > self.capacity

    def _take(self, data: bytes, source: Any, address: str) -> None:
        self._inbox.append((data, source, address))
        self._load += len(data) + _OVERHEAD
        self.changed()

    def _next(self) -> tuple[bytes, Any, str]:
        self._require_open()
        self._raise_trouble()
        if not self._inbox:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        data, source, address = self._inbox.popleft()
        self._load -= len(data) + _OVERHEAD
        self._release()
        return data, source, address

    def recv(self, size: int, flags: int = 0) -> bytes:
        """The next datagram, up to *size* bytes of it."""
        return self.recvfrom(size, flags)[0]

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """The next datagram, likewise, and who sent it."""
        refuse_flags(flags)
        data, source, _ = self._next()
        return data[:size], source

    def recvmsg(self, size: int, ancillary: int = 0, flags: int = 0) -> tuple[bytes, _Ancillary, int, Any]:
        """The next datagram, likewise, and at which address of ours it came, if that was asked for."""
        refuse_flags(flags)
        data, source, address = self._next()
        told = []
        if ancillary and address and self._options.get(_PKTINFO):
            packed = socket.inet_aton(LOOPBACK if address == ANY else address)
            told = [(*_PKTINFO, bytes(4) + packed + packed)]
        cut = getattr(socket, "MSG_TRUNC", 0x20) if len(data) > size else 0
        return data[:size], told, cut, source

    # ---- the rest of life

    def shutdown(self, how: int) -> None:
        """What is of no use for datagrams."""
        raise NotSimulatedError("SimNetwork does not simulate shutdown() of datagram sockets; close them")

    def _leave(self) -> None:
        self._release()

    def _release(self) -> None:
        """There is room for those who wait to send."""
        blocked, self._blocked = self._blocked, {}
        for sender in blocked:
            sender.changed()

    def is_readable(self) -> bool:
        """Whether there is a datagram, or something that the network has to say."""
        return bool(self._inbox) or self.trouble is not None

    def is_writable(self) -> bool:
        """Whether there is room; of sockets that are not connected nobody knows, so there is."""
        far = self._far
        return far is None or far.is_closed or self not in far._blocked
