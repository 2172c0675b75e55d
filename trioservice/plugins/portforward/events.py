"""What happens to a port that leads elsewhere."""

from __future__ import annotations

import logging

from ...errors import CannotConnectError
from ...events import Event
from ...net.addresses import Address, show_address
from ...records import record

__all__ = ["Forwarded", "NotForwarded"]


@record
class Forwarded(Event):
    """A connection was carried through to its end.

    Args:
        peer: who had come.
        seconds: how long it lasted.
        there: bytes that were carried to the far side; *back*: those that came from it.
    """

    peer: Address
    seconds: float
    there: int
    back: int

    @property
    def level(self) -> int:
        """Everyday life."""
        return logging.DEBUG

    def __str__(self) -> str:
        return (
            f"forwarded {show_address(self.peer)} for {self.seconds:.1f} s: "
            f"{self.there:,} bytes there, {self.back:,} bytes back"
        )


@record
class NotForwarded(Event):
    """Somebody came, and the far side could not be reached; the connection was closed."""

    peer: Address
    error: CannotConnectError

    @property
    def level(self) -> int:
        """Somebody outside was let down."""
        return logging.WARNING

    def __str__(self) -> str:
        return f"cannot forward {show_address(self.peer)}: {self.error}"
