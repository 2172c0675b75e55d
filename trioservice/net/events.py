"""What happens to services that own sockets: this room's closed list of events."""

from __future__ import annotations

import logging

from ..events import Event
from ..records import record
from .addresses import Address, show_address

__all__ = [
    "AcceptDelayed",
    "CertificatesLoaded",
    "CertificatesRejected",
    "ConnectFailed",
    "Connected",
    "ConnectionFailed",
    "ConnectionRejected",
    "ConnectionTimedOut",
    "DatagramDropped",
    "DatagramFailed",
    "DatagramRejected",
    "Disconnected",
    "HandshakeFailed",
    "Listening",
    "RequestFailed",
    "RequestRefused",
    "RequestTimedOut",
    "Throttle",
    "Unverified",
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


@record
class Listening(Event):
    """A server takes connections, or datagrams, at *addresses*; for port 0, the port that it was given."""

    addresses: tuple[Address, ...]

    def __str__(self) -> str:
        return f"listening on {', '.join(map(show_address, self.addresses))}"


@record
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
            return f"connection with {show_address(self.peer)} broke: {reason_of(self.error)}"
        return f"handler for {show_address(self.peer)} raised {type(self.error).__name__}: {self.error}"


def reason_of(error: BaseException) -> str:
    """What a broken connection's error comes from, in one line."""
    while isinstance(error, BaseExceptionGroup):  # from a nursery of the handler's; its parts are alike
        error = error.exceptions[0]
    return str(error.__cause__ or error) or type(error).__name__


@record
class RequestFailed(Event):
    """A handler raised *error*, which ended its request and nothing else (rule L16).

    Args:
        peer: who has asked.
        request: the method and the target that were asked for.
        error: what came out of the handler.
    """

    peer: Address
    request: str
    error: BaseException

    @property
    def level(self) -> int:
        """A bug to be mended."""
        return logging.ERROR

    def __str__(self) -> str:
        said = f"{type(self.error).__name__}: {self.error}"
        return f"handler for {self.request} from {show_address(self.peer)} raised {said}"


@record
class RequestRefused(Event):
    """What a client sent was no request that is taken here; told at most once a second.

    Args:
        peer: who has asked.
        status: with which it was answered.
        reason: what was wrong.
        times: how many others were refused since the last such event.
    """

    peer: Address
    status: int
    reason: str
    times: int

    def __str__(self) -> str:
        who = show_address(self.peer)
        return f"refused a request from {who} with {self.status}: {self.reason}{and_more(self.times)}"


@record
class RequestTimedOut(Event):
    """A request took longer than the limits allow; told at most once a second.

    Args:
        peer: who has asked.
        reason: what took so long.
        times: how many others took too long since the last such event.
    """

    peer: Address
    reason: str
    times: int

    def __str__(self) -> str:
        return f"request from {show_address(self.peer)} cut: {self.reason}{and_more(self.times)}"


@record
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


@record
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


@record
class ConnectionTimedOut(Event):
    """A connection was closed because no byte had passed, in either direction, for *seconds*."""

    peer: Address
    seconds: float

    def __str__(self) -> str:
        return f"connection from {show_address(self.peer)} was idle for {self.seconds:g} s, and is closed"


@record
class CertificatesLoaded(Event):
    """A server has loaded its certificates again; connections made from now on see them."""

    def __str__(self) -> str:
        return "certificates loaded again"


@record
class CertificatesRejected(Event):
    """A server was asked to load its certificates again and could not; it keeps the old ones."""

    error: Exception

    @property
    def level(self) -> int:
        """Sooner or later the old ones expire."""
        return logging.ERROR

    def __str__(self) -> str:
        return f"certificates not loaded again, the old ones stay: {self.error}"


@record
class Connected(Event):
    """A client has connected, and has been prepared.

    Args:
        peer: the server's address.
        local: the address of our end.
    """

    peer: Address
    local: Address

    def __str__(self) -> str:
        return f"connected to {show_address(self.peer)}"


@record
class ConnectFailed(Event):
    """An attempt to connect has failed.

    Args:
        error: why, as a :exc:`~trioservice.errors.CannotConnectError`.
        tries: how many in a row have failed, this one included.
        delay: seconds until the next; ``None`` if there will be none.
    """

    error: Exception
    tries: int
    delay: float | None

    @property
    def level(self) -> int:
        """What this service is there for does not happen meanwhile."""
        return logging.WARNING

    def __str__(self) -> str:
        again = "giving up" if self.delay is None else f"trying again in {self.delay:.1f} s"
        return f"{self.error} (attempt {self.tries}; {again})"


@record
class Disconnected(Event):
    """A client's connection, *seconds* old, is closed."""

    peer: Address
    seconds: float

    def __str__(self) -> str:
        return f"disconnected from {show_address(self.peer)} after {self.seconds:.1f} s"


@record
class Unverified(Event):
    """A client was given a TLS context that does not verify whom it speaks to; told at every start."""

    server: str

    @property
    def level(self) -> int:
        """There is no quiet way to verify nothing."""
        return logging.WARNING

    def __str__(self) -> str:
        return (
            f"does not verify that it speaks to {self.server}: anybody on the way can read and change "
            "everything. Leave ssl_context out, or let it trust an authority of yours"
        )


@record
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


@record
class DatagramFailed(Event):
    """One datagram ended with an error, which ended nothing else (rule L16).

    Those of the peers and those of the handler are each told at most once a second.

    Args:
        peer: who sent it, or was sent it; ``None`` if nothing tells.
        error: what came out of the handler, or what the network said of a datagram sent before.
        by_peer: the peer or the network refused it; no fault of ours, and worth one line only.
        times: how many others of the sort there were since the last such event.
    """

    peer: Address | None
    error: BaseException
    by_peer: bool
    times: int

    @property
    def level(self) -> int:
        """A peer that has gone is everyday life; a handler that raises is a bug to be mended."""
        return logging.INFO if self.by_peer else logging.ERROR

    def __str__(self) -> str:
        who = "an unknown peer" if self.peer is None else show_address(self.peer)
        if self.by_peer:
            return f"datagram for {who} failed: {reason_of(self.error)}{and_more(self.times)}"
        raised = f"{type(self.error).__name__}: {self.error}"
        return f"handler for a datagram from {who} raised {raised}{and_more(self.times)}"


@record
class DatagramDropped(Event):
    """A datagram was dropped because *queue_size* others wait already; told at most once a second.

    Args:
        peer: who sent it.
        queue_size: how many wait.
        times: how many others were dropped since the last such event.
    """

    peer: Address
    queue_size: int
    times: int

    @property
    def level(self) -> int:
        """More comes than can be handled, and somebody's datagrams are lost."""
        return logging.WARNING

    def __str__(self) -> str:
        return (
            f"dropped a datagram from {show_address(self.peer)}: {self.queue_size} wait already (queue_size)"
            f"{and_more(self.times)}"
        )


@record
class DatagramRejected(Event):
    """A datagram was dropped because of what it is; told at most once a second.

    Args:
        peer: who sent it.
        reason: the rule that forbids it.
        times: how many others were rejected since the last such event.
    """

    peer: Address
    reason: str
    times: int

    def __str__(self) -> str:
        return f"rejected a datagram from {show_address(self.peer)}: {self.reason}{and_more(self.times)}"
