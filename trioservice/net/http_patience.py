"""How long an HTTP server waits for its clients.

A deadline of trio's, moved for each request, would cost a request a tenth of its time.  So a
connection only notes what it does, and since when; the server looks at all of them now and then,
and cancels those that are out of time.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio

from .http_messages import HTTPLimits
from .streams import Connection

__all__ = [
    "BODY",
    "BUSY",
    "FRESH",
    "GIVEN_AWAY",
    "HEAD",
    "IDLE",
    "LEAVING",
    "NEXT",
    "SENDING",
    "Patience",
    "Waiting",
]

#: Nothing has come of the first request.
FRESH = "fresh"
#: Nothing has come of a next request.
IDLE = "idle"
#: A next request is there, and has not had its turn.
NEXT = "next"
#: A part of a request's head has come.
HEAD = "head"
#: The handler waits for the body.
BODY = "body"
#: An answer is being sent.
SENDING = "sending"
#: The handler does what it does.
BUSY = "busy"
#: All is said, and the client is given time to read it.
LEAVING = "leaving"
#: It is no HTTP any more.
GIVEN_AWAY = "given away"

# When the server stops, a client is likely to be about to ask for something if it has just
# connected or been answered.  Whoever has been quiet for so long is not.
_LAST_WAIT = 1.0

# For each so many bytes of a body, a second more is waited for it.
_SLOWEST = 500

_LEAVE = 2.0

# How often it is looked, as a part of the shortest time, and how rarely at most.
_LOOKS = 8
_RARELY = 0.5


class Waiting(Protocol):
    """What a connection notes."""

    stream: Connection
    doing: str
    since: float
    asked_at: float  # when the head of the present request was complete
    waited: float  # for the body of the present request, before
    progress: object  # of what is sent, when last looked at

    @property
    def received(self) -> int:
        """Of the body of the present request."""

    def end(self) -> None:
        """Be cancelled: it is out of time."""


class Patience:
    """Looks who is out of time.

    Args:
        limits: how long it is waited for what.

    Attributes:
        now: the time, of :func:`trio.current_time`, as it was at the last look.
    """

    def __init__(self, limits: HTTPLimits) -> None:
        self._limits = limits
        self._times = {
            FRESH: limits.header_timeout,
            HEAD: limits.header_timeout,
            IDLE: limits.keep_alive,
            LEAVING: _LEAVE,
        }
        shortest = min(*self._times.values(), limits.body_timeout, limits.request_timeout or math.inf)
        self._pause = self._slack = min(shortest / _LOOKS, _RARELY)
        self._watched: dict[Waiting, None] = {}
        self._somebody = trio.lowlevel.ParkingLot()
        self.now = 0.0

    def watch(self, one: Waiting) -> None:
        """Look at *one*, too."""
        if not self._watched:
            self.now = trio.current_time()
            self._somebody.unpark()
        one.since = self.now
        self._watched[one] = None

    def forget(self, one: Waiting) -> None:
        """Look at it no more."""
        del self._watched[one]

    def lose(self) -> None:
        """Wait no longer than a moment for what has not begun: the server stops."""
        for doing in (FRESH, IDLE):
            self._times[doing] = min(self._times[doing], _LAST_WAIT)
        self._pause = min(self._pause, _LAST_WAIT / _LOOKS)
        self._look()

    async def run(self) -> None:
        """Look, now and then, while there is anybody."""
        while True:
            if not self._watched:
                await self._somebody.park()
            await trio.sleep(self._pause)
            self._look()

    def _look(self) -> None:
        self.now = now = trio.current_time()
        for one in [one for one in self._watched if self._is_out_of_time(one, now)]:
            one.end()

    def _is_out_of_time(self, one: Waiting, now: float) -> bool:
        # What was noted is the time of the last look before.
        limits, now = self._limits, now - self._slack
        time = now - one.since
        most = limits.request_timeout
        if most is not None and one.doing in (BODY, SENDING, BUSY) and now - one.asked_at > most:
            return True
        if one.doing is BODY:
            return one.waited + time > limits.body_timeout + one.received / _SLOWEST
        if one.doing is SENDING:
            progress = one.stream.progress()
            if progress != one.progress:
                one.progress, one.since = progress, self.now
                return False
            return time > limits.send_timeout
        return time > self._times.get(one.doing, math.inf)
