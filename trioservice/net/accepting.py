"""How connections are taken from listeners, and what becomes of those who still wait at the end.

trio's own ``serve_listeners`` leaves this to its user: a full descriptor table makes accepting
wait instead of fail; a connection that died in the queue is no error; where there is a limit on
connections, accepting stops at it, so that the others wait in the kernel's queue rather than
being dropped.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain, islice

import trio

from ..errors import CannotListenError
from ..retry import Retry
from .addresses import show_address
from .listeners import Listener
from .streams import Connection

__all__ = ["Acceptor"]

# Nothing is wrong with the listener: the process, or the machine, has no room.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

# The connection died, or was forbidden, between the kernel's accept and ours (see accept(2)).
_LOST = {
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.ETIMEDOUT,
    errno.EINTR,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
}

# So many are taken between two looks at what other tasks want.
_BATCH = 64


class Acceptor:
    """Takes connections from listeners.

    Args:
        listeners: bound, and not open yet.
        wait_for_room: returns, at once if possible, when one more may be taken.
        take: is given each connection.
        turn_away: is given those that come too late.
        tell_delay: is told that none can be taken because of an error, and tried again after so many seconds.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        wait_for_room: Callable[[], Awaitable[None]],
        take: Callable[[Connection], None],
        turn_away: Callable[[Connection], None],
        tell_delay: Callable[[OSError, float], None],
    ) -> None:
        self._listeners = listeners
        self._wait_for_room = wait_for_room
        self._take = take
        self._turn_away = turn_away
        self._tell_delay = tell_delay
        self._accepting = trio.CancelScope()

    async def run(self, opened: Callable[[], None]) -> None:
        """Open the listeners, call *opened*, take what comes until :meth:`stop`, and shut them.

        Whoever waits at a listener then is taken as well, as there is room; if this is cancelled they are
        turned away.

        Raises:
            CannotListenError: a listener cannot be opened, or not be listened on any more.
        """
        try:
            with self._accepting:
                async with trio.open_nursery() as acceptors:
                    for listener in self._listeners:
                        listener.open()
                        acceptors.start_soon(self._accept, listener)
                    opened()
            for listener in self._listeners:
                listener.refuse()
            waiting = self._those_waiting()
        finally:
            for listener in self._listeners:
                for stream in _queue_at(listener):
                    self._turn_away(stream)
                listener.shut()
        await self._take_those(waiting)

    def stop(self) -> None:
        """Take no new connections."""
        self._accepting.cancel(reason="the server takes no new connections")

    async def _accept(self, listener: Listener) -> None:
        """Take what comes to one listener."""
        tries = 0
        while not listener.exhausted:
            try:
                emptied = await self._accept_some(listener)
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise _cannot_accept(listener, error) from error
                # Descriptors come back when connections end, so we look soon, and not much less often later.
                delay = Retry(delay=0.02, delay_max=1.0, factor=2.0, jitter=0.0).next_delay(tries)
                assert delay is not None
                self._tell_delay(error, delay)
                await trio.sleep(delay)
                tries += 1
            else:
                tries = 0
                if emptied:
                    await listener.wait()
                else:
                    await trio.lowlevel.checkpoint()

    async def _accept_some(self, listener: Listener) -> bool:
        """Take those who wait, a bounded number of them; whether that was all."""
        for _ in range(_BATCH):
            await self._wait_for_room()
            try:
                # Nothing is awaited between the look for room and the accept, so that two
                # listeners cannot both take the last place.
                stream = listener.accept()
            except OSError as error:
                if error.errno not in _LOST:
                    raise
            else:
                if stream is None:
                    return True
                self._take(stream)
                if listener.exhausted:
                    break
        return False

    def _those_waiting(self) -> deque[Connection]:
        """Those whom the kernel has let in already: to shut the door would reset them.

        They wait in here for their turn.  So that those who have it can still open a file, no
        more are taken in than half of the descriptors that are free.
        """
        queue = chain.from_iterable(_queue_at(listener) for listener in self._listeners)
        return deque(islice(queue, _free_descriptors() // 2))

    async def _take_those(self, waiting: deque[Connection]) -> None:
        try:
            while waiting:
                await self._wait_for_room()
                self._take(waiting.popleft())
        finally:
            for stream in waiting:
                self._turn_away(stream)


def _queue_at(listener: Listener) -> Iterator[Connection]:
    """Those who wait at a door now, and would be lost if it were shut."""
    while not (listener.keeps_queue or listener.exhausted):
        try:
            stream = listener.accept()
        except OSError as error:
            if error.errno in _LOST:
                continue
            return  # no descriptor is left to take them in with
        if stream is None:
            return
        yield stream


def _free_descriptors() -> int:
    """About how many more can be opened: the system gives each time the lowest number that is free."""
    try:
        import resource
    except ImportError:  # where there are no such limits
        return sys.maxsize
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 0
    os.close(lowest)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft - lowest


def _cannot_accept(listener: Listener, error: OSError) -> CannotListenError:
    shown = show_address(listener.address)
    said = error.strerror or str(error)
    message = (
        f"cannot accept connections at {shown} any more: {said}; has another process shut the socket down?"
    )
    return CannotListenError(error.errno or 0, message)
