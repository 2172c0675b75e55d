"""One look at many sockets: an event poll that belongs to a server.

trio waits for one socket by telling the kernel of it, and of each wait anew.  For a server with
many connections that is most of the work.  A :class:`Poll` tells the kernel of each socket once
(epoll, edge-triggered) and is itself the only thing that trio waits for; one task, the *pump*,
asks it what has happened and tells whoever watches the socket.  It begins with the first watcher:
a server that nobody calls, or only a few, has none.

Edge-triggered means that the kernel speaks of what is *new*.  So a watcher remembers: a socket is
as ready as it was last said to be, until a read comes back short or empty-handed.  But some
things are said once, together with what is read before them: that the other end has closed, and
that urgent data has come.  Those who forget that after a short read wait for ever.

Only Linux has epoll.  Elsewhere :data:`AVAILABLE` is false, and each connection waits by trio.
"""

from __future__ import annotations

import contextvars
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn, Protocol

import trio

from . import system

__all__ = [
    "AVAILABLE",
    "DOUBTFUL",
    "ENDED",
    "ENOUGH",
    "NEWS",
    "READABLE",
    "WRITABLE",
    "Failure",
    "Poll",
    "Watcher",
    "open_poll",
]

#: Whether this system has what a :class:`Poll` is made of.
AVAILABLE = hasattr(select, "epoll")

#: There is something to read, be it the end.
READABLE: int = getattr(select, "EPOLLIN", 1)
#: There is room to write.
WRITABLE: int = getattr(select, "EPOLLOUT", 4)
#: The other end will send no more, or has broken off.  It is said once.
ENDED: int = (
    getattr(select, "EPOLLRDHUP", 0x2000) | getattr(select, "EPOLLHUP", 16) | getattr(select, "EPOLLERR", 8)
)

#: A short read may not have read everything, as there is the end still, or urgent data.
DOUBTFUL: int = ENDED | getattr(select, "EPOLLPRI", 2)

_EVERYTHING = READABLE | WRITABLE | DOUBTFUL | getattr(select, "EPOLLET", 1 << 31)

# So many sockets are told of between two looks at what other tasks want.  The kernel keeps those
# that are left in their order, so that nobody is passed over.
_BATCH = 128


class _News:
    """With what a sleeping task is woken: that it may try again, or that it has what it waits for.

    It stands for an :class:`outcome.Value`, of which trio asks no more than this.  That can be used
    once, and making one for each message is a tenth of what a message costs; these serve for all.
    """

    def __init__(self, has_enough: bool) -> None:
        self._has_enough = has_enough

    def unwrap(self) -> bool:
        """Let it go on."""
        return self._has_enough


NEWS: Any = _News(False)
ENOUGH: Any = _News(True)


class Failure:
    """Likewise, that it has failed.

    Args:
        error: what it is to raise.
    """

    def __init__(self, error: Exception) -> None:
        self._error = error

    def unwrap(self) -> NoReturn:
        """Let it fail."""
        raise self._error


class Watcher(Protocol):
    """Whoever is told what has happened at a socket."""

    def ready(self, events: int) -> None:
        """*events* (:data:`READABLE`, :data:`WRITABLE`, :data:`ENDED`) may have happened: try, and see."""


class Poll:
    """Sockets and their watchers; made by :func:`open_poll`.

    Args:
        epoll: what the system has for that.
        nursery: of the pump.
    """

    def __init__(self, epoll: system.Epoll, nursery: trio.Nursery) -> None:
        self._epoll = epoll
        self._nursery = nursery
        # What the first watcher has set in its own context is not for those whom the pump tells.
        self._context = contextvars.copy_context()
        self._is_pumped = False
        self._watchers: dict[int, Watcher] = {}
        self._recalled: dict[Watcher, None] = {}  # each once, however often it asked
        self._recall = trio.lowlevel.ParkingLot()
        self._pumping = trio.CancelScope(shield=True)

    def watch(self, descriptor: int, watcher: Watcher) -> None:
        """Tell *watcher*, and nobody else, what happens at a socket, beginning with what is so already.

        Raises:
            OSError: the kernel can watch no more.
        """
        try:
            self._epoll.register(descriptor, _EVERYTHING)
        except FileExistsError:
            self._epoll.modify(descriptor, _EVERYTHING)
        self._watchers[descriptor] = watcher
        self._see_that_it_is_pumped()

    def forget(self, descriptor: int, watcher: Watcher) -> None:
        """Tell *watcher* nothing any more; the kernel forgets the socket when it is closed."""
        # Somebody may have closed it without a word, and its number be another's now.
        if self._watchers.get(descriptor) is watcher:
            del self._watchers[descriptor]

    def recall(self, watcher: Watcher) -> None:
        """Call *watcher* again soon, when others have had their turn, though nothing has happened."""
        self._recalled[watcher] = None
        self._recall.unpark()
        self._see_that_it_is_pumped()

    def _see_that_it_is_pumped(self) -> None:
        if not self._is_pumped:
            self._is_pumped = True
            self._context.run(self._nursery.start_soon, self.run)

    @trio.lowlevel.enable_ki_protection  # without the pump, all who wait would wait for ever
    async def run(self) -> None:
        """Be the pump, until :meth:`stop`; the first watcher has it begin."""
        with self._pumping:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_those_recalled)
                while True:
                    await system.wait_readable(self._epoll)
                    self._tell()

    def _tell(self) -> None:
        watchers = self._watchers
        for descriptor, events in self._epoll.poll(0, _BATCH):
            # One who was told before may have closed this one.
            watcher = watchers.get(descriptor)
            if watcher is not None:
                watcher.ready(events)

    @trio.lowlevel.enable_ki_protection
    async def _tell_those_recalled(self) -> None:
        while True:
            if self._recalled:
                await trio.lowlevel.checkpoint()
            else:
                await self._recall.park()
            recalled, self._recalled = self._recalled, {}
            for watcher in recalled:
                watcher.ready(0)

    def stop(self) -> None:
        """Let the pump end: nobody watches any more."""
        self._pumping.cancel(reason="nobody watches any more")


@asynccontextmanager
async def open_poll() -> AsyncIterator[Poll | None]:
    """A poll, for the length of an ``async with``; ``None`` where the system has none.

    Whoever watches has to end within it.  Until then its pump is shielded: a handler that is
    cancelled may have last words to say, and waits for room to say them.
    """
    if not AVAILABLE:
        yield None
        return
    epoll = system.open_epoll()
    try:
        async with trio.open_nursery() as nursery:
            poll = Poll(epoll, nursery)
            try:
                yield poll
            finally:
                poll.stop()
    finally:
        epoll.close()
