"""What happens to services that own sockets: this room's closed list of events."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..events import Event
from .addresses import Address, show_address

__all__ = [
    "AcceptDelayed",
    "CertificatesLoaded",
    "CertificatesRejected",
    "ConnectionFailed",
    "ConnectionRejected",
    "ConnectionTimedOut",
    "HandshakeFailed",
    "Listening",
    "Throttle",
]


class Throttle:
    """Lets one event of its kind pass in *period* seconds, and counts the others.

    For what a peer can provoke at will: nobody must be able to fill our log.
    """

    def __init__(self, period: float = 1.0) -> None:
        self._period = period
        self._told_at = float("-inf")
        self._held_back = 0

    def passes(self, now: float) -> bool:
        """Whether an event at *now* is to be told."""
        if now - self._told_at < self._period:
            self._held_back += 1
            return False
        self._told_at = now
        return True

    def held_back(self) -> int:
        """How many were not told since this was last asked."""
        held_back, self._held_back = self._held_back, 0
        return held_back


def and_more(times: int) -> str:
    """For an event that stands for others as well."""
    return f"; and {times} more since the last such line" if times else ""


@dataclass(frozen=True, slots=True)
class Listening(Event):
    """A server takes connections, or datagrams, at *addresses*; for port 0, the port that it was given."""

    addresses: tuple[Address, ...]

    def __str__(self) -> str:
        return f"listening on {', '.join(map(show_address, self.addresses))}"


@dataclass(frozen=True, slots=True)
class ConnectionFailed(Event):
    """One connection ended with an error, which ended nothing else (rule L16).

    Args:
        peer: who was at the other end.
        error: what came out of the handler.
        by_peer: the connection itself broke; no fault of ours, and worth one line only.
    """

    peer: Address
    error: BaseException
    by_peer: bool

    @property
    def level(self) -> int:
        """A peer that goes away is everyday life; a handler that raises is a bug to be mended."""
        return logging.INFO if self.by_peer else logging.ERROR

    def __str__(self) -> str:
        if self.by_peer:
            return f"connection from {show_address(self.peer)} broke: {reason_of(self.error)}"
        return f"handler for {show_address(self.peer)} raised {type(self.error).__name__}: {self.error}"


def reason_of(error: BaseException) -> str:
    """What a broken connection's error comes from, in one line."""
    while isinstance(error, BaseExceptionGroup):  # from a nursery of the handler's; its parts are alike
        error = error.exceptions[0]
    return str(error.__cause__ or error) or type(error).__name__


@dataclass(frozen=True, slots=True)
class HandshakeFailed(Event):
    """A connection ended before its handler's turn: no TLS, no PROXY header, or not in time.

    Args:
        peer: who was at the other end.
        error: what was wrong.
    """

    peer: Address
    error: BaseException

    def __str__(self) -> str:
        who = show_address(self.peer)
        return f"connection from {who} got no further than its handshake: {reason_of(self.error)}"


@dataclass(frozen=True, slots=True)
class ConnectionRejected(Event):
    """A connection was closed because of who made it; told at most once a second.

    Args:
        peer: who made it.
        reason: the rule that forbids it.
        times: how many others were rejected since the last such event.
    """

    peer: Address
    reason: str
    times: int

    def __str__(self) -> str:
        return f"rejected a connection from {show_address(self.peer)}: {self.reason}{and_more(self.times)}"


@dataclass(frozen=True, slots=True)
class ConnectionTimedOut(Event):
    """A connection was closed because no byte had passed, in either direction, for *seconds*."""

    peer: Address
    seconds: float

    def __str__(self) -> str:
        return f"connection from {show_address(self.peer)} was idle for {self.seconds:g} s, and is closed"


@dataclass(frozen=True, slots=True)
class CertificatesLoaded(Event):
    """A server has loaded its certificates again; connections made from now on see them."""

    def __str__(self) -> str:
        return "certificates loaded again"


@dataclass(frozen=True, slots=True)
class CertificatesRejected(Event):
    """A server was asked to load its certificates again and could not; it keeps the old ones."""

    error: Exception

    @property
    def level(self) -> int:
        """Sooner or later the old ones expire."""
        return logging.ERROR

    def __str__(self) -> str:
        return f"certificates not loaded again, the old ones stay: {self.error}"


@dataclass(frozen=True, slots=True)
class AcceptDelayed(Event):
    """The process has no descriptor (or memory) left for a new connection; told at most once a second.

    New connections wait in the kernel's queue; those that exist go on.
    """

    error: OSError
    seconds: float

    @property
    def level(self) -> int:
        """Clients are waiting."""
        return logging.WARNING

    def __str__(self) -> str:
        return (
            f"cannot accept connections: {self.error.strerror}; trying again in {self.seconds:.2f} s. "
            "Raise the limit (ulimit -n) or set max_connections below it"
        )
