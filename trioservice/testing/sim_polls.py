"""An event poll of simulated sockets, in the place of :class:`select.epoll`, edge-triggered.

With it a server's fast lane runs as it does on Linux: the poll tells of each socket at which
something has happened, once, in the order in which it happened.
"""

from __future__ import annotations

import errno
import select
from typing import TYPE_CHECKING

import trio

from ..net.system import Simulated
from .hosts import refusal

if TYPE_CHECKING:
    from .network import SimNetwork

__all__ = ["SimEpoll"]

_IN: int = getattr(select, "EPOLLIN", 1)
_OUT: int = getattr(select, "EPOLLOUT", 4)
_ERR: int = getattr(select, "EPOLLERR", 8)
_ENDED: int = getattr(select, "EPOLLRDHUP", 0x2000)


class SimEpoll(Simulated):
    """As much of an epoll as a :class:`~trioservice.net.polls.Poll` needs."""

    def __init__(self, network: SimNetwork) -> None:
        self._network = network
        self._wanted: dict[int, int] = {}
        self._ready: dict[int, None] = {}
        self._waiting = trio.lowlevel.ParkingLot()
        self._descriptor = network.next_descriptor()

    def fileno(self) -> int:
        """A number that no real descriptor has."""
        return self._descriptor

    def register(self, descriptor: int, events: int, /) -> None:
        """Tell of *events* at a socket from now on, beginning with what is so already.

        Raises:
            FileExistsError: it is told of already.
            OSError: EPERM, as it is no socket of this network.
        """
        if descriptor in self._wanted:
            raise refusal(errno.EEXIST)
        self.modify(descriptor, events)

    def modify(self, descriptor: int, events: int, /) -> None:
        """Tell of *events* instead, beginning with what is so already."""
        sock = self._network.socket_with(descriptor)
        if sock is None:
            raise refusal(errno.EPERM)
        self._wanted[descriptor] = events
        sock.watched_by(self)
        self.tell_of(descriptor)

    def forget(self, descriptor: int) -> None:
        """The socket is closed."""
        self._wanted.pop(descriptor, None)
        self._ready.pop(descriptor, None)

    def tell_of(self, descriptor: int) -> None:
        """Something has happened at a socket."""
        if descriptor not in self._ready and self._events(descriptor):
            self._ready[descriptor] = None
            self._waiting.unpark_all()

    def _events(self, descriptor: int) -> int:
        """What is so, of what is wanted."""
        sock = self._network.socket_with(descriptor)
        if sock is None:
            return 0
        events = (sock.is_readable() and _IN) | (sock.is_writable() and _OUT) | (sock.has_ended() and _ENDED)
        return (events & self._wanted[descriptor]) | (_ERR if sock.trouble else 0)

    def poll(self, timeout: float, most: int, /) -> list[tuple[int, int]]:
        """At which sockets something has happened, and what is so there now."""
        told = [*self._ready][:most]
        for descriptor in told:
            del self._ready[descriptor]
        return [(descriptor, events) for descriptor in told if (events := self._events(descriptor))]

    async def wait_readable(self) -> None:
        """Wait until something has happened."""
        if self._ready:
            await trio.lowlevel.checkpoint()
        else:
            await self._waiting.park()

    def close(self) -> None:
        """Give it up."""
        for descriptor in self._wanted:
            sock = self._network.socket_with(descriptor)
            if sock is not None:
                sock.unwatched_by(self)
        self._wanted.clear()
        self._ready.clear()
