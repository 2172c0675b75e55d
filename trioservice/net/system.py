"""What we ask of the operating system: sockets, what is known of them, and to be woken.

There is one place to ask, so that there can be another answer.  A test may have a network of its own
(:class:`trioservice.testing.SimNetwork`), whose sockets live in memory; it puts itself in the
system's place by :func:`use`, for one :func:`trio.run`, as it does for trio by
:func:`trio.socket.set_custom_socket_factory`.  The rest of this room does not know.

Sockets that somebody hands us (systemd, standard input) are real beside simulated ones, so it is the
socket that says how it is waited for, and not the system of the run.  For a real one that is a look
at its type, and trio does the rest.
"""

from __future__ import annotations

import select
import socket
from abc import abstractmethod
from collections.abc import Awaitable
from typing import Protocol

import trio

__all__ = [
    "Epoll",
    "Simulated",
    "SimulatedSocket",
    "System",
    "as_trio_socket",
    "detached",
    "notify_closing",
    "open_epoll",
    "open_socket",
    "use",
    "wait_readable",
    "wait_writable",
]


class Epoll(Protocol):
    """As much of :class:`select.epoll` as a poll needs."""

    def register(self, descriptor: int, events: int, /) -> None:
        """Tell of *events* at a socket from now on."""

    def modify(self, descriptor: int, events: int, /) -> None:
        """Tell of *events* instead of those of before."""

    def poll(self, timeout: float, most: int, /) -> list[tuple[int, int]]:
        """At which sockets something has happened, and what."""

    def fileno(self) -> int:
        """Its own descriptor, which is readable when something has happened."""

    def close(self) -> None:
        """Give it up."""


class System:
    """The operating system."""

    def open_socket(self, family: int, kind: int) -> socket.socket:
        """A new socket."""
        return socket.socket(family, kind)

    def open_epoll(self) -> Epoll:
        """A new event poll, of a system that has them."""
        return select.epoll()

    def detached(self, sock: trio.socket.SocketType) -> socket.socket:
        """What is below a socket of trio's, which is of no use afterwards."""
        return socket.socket(fileno=sock.detach())


# Without ABC's metaclass: each wait asks whether its socket is one, which that would make five times as dear.
class Simulated:
    """What is no object of the operating system, though it does what one does."""

    @abstractmethod
    async def wait_readable(self) -> None:
        """Wait until there may be something to take."""


class SimulatedSocket(Simulated):
    """A socket that does what one of the standard library does."""

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until there may be room."""

    @abstractmethod
    def notify_closing(self) -> None:
        """Wake those who wait: it is closed under them."""

    @abstractmethod
    def as_trio_socket(self) -> trio.socket.SocketType:
        """The same socket, as trio's socket module has them."""


_wait_readable = trio.lowlevel.wait_readable
_wait_writable = trio.lowlevel.wait_writable

_system: trio.lowlevel.RunVar[System] = trio.lowlevel.RunVar("the system", default=System())


def use(system: System) -> System:
    """Ask *system* from now on, within this :func:`trio.run`; return the one that was asked before."""
    before = _system.get()
    _system.set(system)
    return before


def open_socket(family: int, kind: int) -> socket.socket:
    """A new socket, of which nothing is set yet."""
    return _system.get().open_socket(family, kind)


def open_epoll() -> Epoll:
    """A new event poll."""
    return _system.get().open_epoll()


# These two are no coroutines of their own: an idle connection is little more than those that wait in it.
def wait_readable(this: socket.socket | Epoll) -> Awaitable[None]:
    """Wait until there may be something to take."""
    return this.wait_readable() if isinstance(this, Simulated) else _wait_readable(this)


def wait_writable(sock: socket.socket) -> Awaitable[None]:
    """Wait until there may be room."""
    return sock.wait_writable() if isinstance(sock, SimulatedSocket) else _wait_writable(sock)


def notify_closing(sock: socket.socket) -> None:
    """Wake those who wait for *sock*, which is about to be closed."""
    if isinstance(sock, SimulatedSocket):
        sock.notify_closing()
    else:
        trio.lowlevel.notify_closing(sock)


def as_trio_socket(sock: socket.socket) -> trio.socket.SocketType:
    """*sock* as trio's socket module has them; both are one socket."""
    return (
        sock.as_trio_socket() if isinstance(sock, SimulatedSocket) else trio.socket.from_stdlib_socket(sock)
    )


def detached(sock: trio.socket.SocketType) -> socket.socket:
    """What is below a socket that trio has made, which is of no use afterwards."""
    return _system.get().detached(sock)
