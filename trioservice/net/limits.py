"""How much one peer may have, how much may wait for it, and how long one may be silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from .addresses import Address, UNIXPeer

if TYPE_CHECKING:
    from .streams import Connection

__all__ = ["IdleWatch", "PeerLimit", "buffer_limits"]


class PeerLimit:
    """Counts the connections of each peer: of one host, or of one user for UNIX sockets.

    Args:
        limit: so many may one peer have; ``None`` for no limit, and nothing is counted.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.counts: Counter[object] = Counter()
        self._whose: dict[Connection, object] = {}

    def admit(self, stream: Connection) -> bool:
        """Count a connection, if its peer may have one more."""
        if self._limit is None:
            return True
        whose = _whose(stream.peer)
        if self.counts[whose] >= self._limit:
            return False
        self.counts[whose] += 1
        self._whose[stream] = whose
        return True

    def forget(self, stream: Connection) -> None:
        """Count it no more."""
        if stream in self._whose:
            whose = self._whose.pop(stream)
            self.counts[whose] -= 1
            if not self.counts[whose]:
                del self.counts[whose]


def _whose(peer: Address) -> object:
    """What the connections of one peer have in common."""
    if isinstance(peer, UNIXPeer):
        return peer.uid
    # IPv4 by way of an IPv6 socket is the same host.
    return peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else peer


# How many times in a timeout it is looked who is idle: a sum of bytes compared now and then costs
# a connection nothing, where a deadline moved at each byte would cost it a tenth.
_LOOKS = 8


class IdleWatch:
    """Ends connections over which nothing has come or gone for a while.

    Args:
        timeout: seconds, give or take a quarter.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._watched: dict[Connection, _Watched] = {}

    def watch(self, stream: Connection, end: Callable[[], None]) -> None:
        """Call *end*, once, when *stream* is idle."""
        self._watched[stream] = _Watched(end, stream.progress(), trio.current_time())

    def forget(self, stream: Connection) -> None:
        """Watch it no more."""
        self._watched.pop(stream, None)

    async def run(self) -> None:
        """Look, now and then."""
        while True:
            await trio.sleep(self._timeout / _LOOKS)
            now = trio.current_time()
            watched = self._watched.items()
            for stream in [stream for stream, one in watched if one.is_idle(stream, now, self._timeout)]:
                self._watched.pop(stream).end()


@dataclass(slots=True)
class _Watched:
    end: Callable[[], None]
    progress: object  # of its bytes, when last looked at
    active_at: float

    def is_idle(self, stream: Connection, now: float, timeout: float) -> bool:
        progress = stream.progress()
        if progress != self.progress:
            self.progress, self.active_at = progress, now
        return now - self.active_at >= timeout


_HIGH = 64 * 1024  # asyncio's default


def buffer_limits(high: int | None = None, low: int | None = None) -> tuple[int, int]:
    """How much may wait to be sent, the lower and the upper limit, by asyncio's rules for what is left out.

    Raises:
        ValueError: *low* is more than *high*, or less than nothing.
    """
    if high is None:
        high = _HIGH if low is None else 4 * low
    if low is None:
        low = high // 4
    if not high >= low >= 0:
        raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
    return low, high
