"""Endpoints become listeners: doors at which stream connections arrive.

A listener is bound early and opened late.  Bound early, in the privileged phase, so that a
port in use or not permitted is known before anything runs (rule L18).  Opened late, when its
server starts, so that no client is kept waiting by a server that waits for its database.

Between two runs of its server a listener keeps its place and refuses connections: to be
refused is better than to hang in the queue of a server that is not there.  Only what systemd
or whoever started us listens on stays open, for that is what it is lent for: those who come
between two runs, or between two processes, wait.
"""

from __future__ import annotations

import errno
import functools
import socket
import struct
import sys
from abc import ABC, abstractmethod
from array import array
from contextlib import ExitStack, suppress

import trio

from . import stdio, system
from .addresses import Address, address_of, peer_of
from .binding import Place, SockAddr, bind_everywhere, bound_socket, cannot_listen, reuse_address
from .endpoints import (
    BACKLOG,
    FDEndpoint,
    HAProxyServerEndpoint,
    SSLServerEndpoint,
    StdioServerEndpoint,
    StreamServerEndpoint,
    SystemdEndpoint,
    TCPServerEndpoint,
    TLSServerEndpoint,
    UNIXServerEndpoint,
)
from .inherited import inherited_sockets
from .socket_files import SocketFile
from .streams import Connection, SocketStream

__all__ = [
    "InheritedListener",
    "Listener",
    "SocketListener",
    "StdioListener",
    "TCPListener",
    "UNIXListener",
    "bind",
]


class Listener(ABC):
    """A door: where connections arrive, one after another."""

    #: Nobody will come any more; a server whose listeners are all exhausted is finished.
    exhausted: bool = False
    #: Whoever waits when it is shut will be served by the next run, which may be another process's.
    keeps_queue: bool = False

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it is bound; the real port, if port 0 was asked for."""

    @abstractmethod
    def open(self) -> None:
        """Take connections from now on.

        Raises:
            CannotListenError: another program has taken the place meanwhile.
        """

    @abstractmethod
    def accept(self) -> Connection | None:
        """The next of those connections that wait at the door; ``None`` if there is none."""

    @abstractmethod
    async def wait(self) -> None:
        """Wait until somebody may be at the door."""

    @abstractmethod
    def refuse(self) -> None:
        """Let nobody in from now on; whoever waits already can still be accepted.

        A connection that is let in between the last look at the queue and the shutting of the door
        would be reset, and what its client has asked for be lost.
        """

    @abstractmethod
    def shut(self) -> None:
        """Take no more connections, and keep the place."""

    @abstractmethod
    def close(self) -> None:
        """Give up the place."""


# Linux's, which the socket module does not name (socket(7)).
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27

# A program of the packet filter that drops what begins a connection, which in TCP is what has the flag
# SYN (bit 1 of byte 13; RFC 9293, 3.1).  The last step of a handshake has it not, so that those under way
# come to their end.
_NO_SYN = (
    (0x30, 0, 0, 13),  # load byte 13
    (0x45, 0, 1, 0b10),  # go on with the next step if that bit is set, else with the one after
    (0x06, 0, 0, 0),  # keep nothing of the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all
)


def _drop_handshakes(sock: socket.socket) -> None:
    """Have the kernel drop the first step of any handshake with *sock*."""
    program = array("B", b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    address, _ = program.buffer_info()
    with suppress(OSError):  # some sandboxes have no packet filters
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), address))


class SocketListener(Listener):
    """A listener around a socket that listens, or can be told to."""

    def __init__(self, sock: socket.socket, backlog: int) -> None:
        self._sock: socket.socket | None = sock
        self._sockaddr = sock.getsockname()
        self._backlog = backlog
        self._open = False

    @property
    def address(self) -> Address:
        """Where it is bound."""
        return address_of(self._sockaddr)

    def open(self) -> None:
        """Listen."""
        assert self._sock is not None
        try:
            self._sock.listen(self._backlog)
        except OSError as error:
            raise cannot_listen(error, self.address, socket.SOCK_STREAM) from None
        self._open = True

    def accept(self) -> SocketStream | None:
        """The next of those who wait."""
        assert self._sock is not None
        try:
            sock, sockaddr = self._sock.accept()
        except BlockingIOError:
            return None
        return SocketStream(sock, peer_of(sock, sockaddr))

    def fileno(self) -> int:
        """The socket's descriptor, for those to whom it is lent."""
        assert self._sock is not None
        return self._sock.fileno()

    async def wait(self) -> None:
        """Wait until somebody may be there."""
        assert self._sock is not None
        await system.wait_readable(self._sock)

    def close(self) -> None:
        """Give up the socket."""
        if self._sock is not None:
            system.notify_closing(self._sock)
            self._sock.close()
            self._sock = None


class TCPListener(SocketListener):
    """A TCP port, which is kept while the door is shut.

    Linux can do that with one socket (``shutdown`` makes it stop listening and leaves it
    bound); where the system cannot, the socket is closed and bound again at the same address.
    """

    def __init__(self, family: socket.AddressFamily, sockaddr: SockAddr, place: Place, backlog: int) -> None:
        self._family = family
        self._place = place
        super().__init__(bound_socket(family, socket.SOCK_STREAM, sockaddr, place), backlog)

    def open(self) -> None:
        """Listen, at the port of before."""
        if self._sock is None:
            self._sock = bound_socket(self._family, socket.SOCK_STREAM, self._sockaddr, self._place)
        try:
            reuse_address(self._sock, True)  # connections of before may linger at the port
            self._bind_again(self._sock)
        except OSError as error:
            raise cannot_listen(error, self.address, socket.SOCK_STREAM) from None
        super().open()

    def _bind_again(self, sock: socket.socket) -> None:
        # A port that was asked for by number stays with a socket that was shut; one that the
        # kernel chose does not: anybody could have it, and listening again would choose another.
        try:
            sock.bind(self._sockaddr)
        except OSError as error:
            if error.errno != errno.EINVAL:  # that one means: still bound
                raise

    def refuse(self) -> None:
        """Let nobody begin a handshake.

        Who tries hears nothing, and tries again a second later, when the port refuses or is another's.
        """
        if self._open and self._sock is not None and sys.platform == "linux":
            _drop_handshakes(self._sock)

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
        with suppress(OSError):  # there is none
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        with suppress(OSError):  # whoever was quicker is named when this is opened again
            self._bind_again(self._sock)
        reuse_address(self._sock, False)  # while nobody listens, it would let others have the port


class UNIXListener(SocketListener):
    """A UNIX socket, whose path, lock and refusal are kept while the door is shut.

    A socket that is shut keeps an abstract name from others and cannot be opened again, so the
    next opening puts a new one in its place.
    """

    def __init__(self, endpoint: UNIXServerEndpoint) -> None:
        self._file = SocketFile(endpoint.path, endpoint.mode, endpoint.user, endpoint.group)
        self._spent = False
        super().__init__(self._bound(), endpoint.backlog)

    def _bound(self) -> socket.socket:
        with ExitStack() as undo:
            sock = undo.enter_context(system.open_socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.setblocking(False)
            self._file.bind(sock)
            undo.pop_all()
            return sock

    def open(self) -> None:
        """Listen, at the path of before."""
        if self._spent:
            super().close()
            self._sock = self._bound()
            self._spent = False
        super().open()

    def refuse(self) -> None:
        """Refuse connections; those that are there can be accepted, which with TCP they could not."""
        if self._open and self._sock is not None:
            with suppress(OSError):  # not everywhere can a door be shut that was open
                self._sock.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        """Refuse connections from now on, and keep the path."""
        if not self._open or self._sock is None:
            return
        self._open = False
        self._spent = True
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # not everywhere can a door be shut that was open
            super().close()
            return
        # A TCP socket would reset whoever waits still; with this one they would wait for ever.
        with suppress(OSError):  # which ends it: nobody is left, or no descriptor to take them in
            while True:
                self._sock.accept()[0].close()

    def close(self) -> None:
        """Give up the socket, its file and the lock."""
        self._file.release()
        super().close()


class InheritedListener(SocketListener):
    """A socket that others hold as well, and that therefore is never shut.

    Between two runs nobody is accepted, and nobody is refused: they wait for the next.
    """

    keeps_queue = True

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, BACKLOG)

    def open(self) -> None:
        """Take connections; listen, if nobody has done so."""
        assert self._sock is not None
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._open = True
        else:
            super().open()

    def refuse(self) -> None:
        """Do nothing: who comes now will be served by the next run."""

    def shut(self) -> None:
        """Take no more connections."""
        self._open = False


class StdioListener(Listener):
    """A door behind which somebody stands already, and through which nobody else comes."""

    def __init__(self) -> None:
        stdio.claim()
        self._bound = True

    @property
    def address(self) -> Address:
        """``"stdio"``."""
        return stdio.ADDRESS

    def open(self) -> None:
        """Let the one connection in."""
        self.exhausted = False

    def accept(self) -> stdio.StdioStream:
        """The one connection."""
        self.exhausted = True
        return stdio.StdioStream()

    async def wait(self) -> None:
        """Nothing: nobody has to be waited for."""
        await trio.lowlevel.checkpoint()

    def refuse(self) -> None:
        """Nothing: there is nobody to refuse."""

    def shut(self) -> None:
        """Nothing: nobody else would come in."""

    def close(self) -> None:
        """Let others have standard input and output."""
        if self._bound:
            self._bound = False
            stdio.release()


@functools.singledispatch
async def bind(endpoint: StreamServerEndpoint) -> list[Listener]:
    """Bind *endpoint*, without opening it yet.

    A package that brings a kind of endpoint of its own registers how to bind it:
    ``@bind.register``, for its class.

    Raises:
        CannotListenError: it cannot be had; nothing is kept then.
    """
    raise TypeError(
        f"{endpoint} ({type(endpoint).__name__}) is no endpoint that a stream server can listen on"
    )


@bind.register
async def _(endpoint: TCPServerEndpoint) -> list[Listener]:
    def listener(family: socket.AddressFamily, sockaddr: SockAddr) -> Listener:
        return TCPListener(family, sockaddr, endpoint, endpoint.backlog)

    return await bind_everywhere(endpoint, socket.SOCK_STREAM, listener)


@bind.register
async def _(endpoint: UNIXServerEndpoint) -> list[Listener]:
    return [UNIXListener(endpoint)]


@bind.register
async def _(endpoint: SystemdEndpoint | FDEndpoint) -> list[Listener]:
    return [InheritedListener(sock) for sock in inherited_sockets(endpoint, socket.SOCK_STREAM)]


@bind.register
async def _(endpoint: StdioServerEndpoint) -> list[Listener]:
    return [StdioListener()]


@bind.register
async def _(endpoint: SSLServerEndpoint | TLSServerEndpoint | HAProxyServerEndpoint) -> list[Listener]:
    return await bind(endpoint.below)
