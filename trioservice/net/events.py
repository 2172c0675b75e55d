"""What happens to services that own sockets: this room's closed list of events."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..events import Event
from .listeners import Address, show_address

__all__ = ["AcceptDelayed", "ConnectionFailed", "Listening"]


@dataclass(frozen=True, slots=True)
class Listening(Event):
    """A server takes connections at *addresses*; for port 0, the port that it was given."""

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
            error = self.error
            while isinstance(
                error, BaseExceptionGroup
            ):  # from a nursery of the handler's; its parts are alike
                error = error.exceptions[0]
            return f"connection from {show_address(self.peer)} broke: {error.__cause__ or error}"
        return f"handler for {show_address(self.peer)} raised {type(self.error).__name__}: {self.error}"


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
