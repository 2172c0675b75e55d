"""HTTP/1.1 over the streams of this room.

One connection is one task, and in it the requests are handled one after another: HTTP/1.1 has no
other order.  A handler is an async function of an
:class:`~trioservice.net.http_exchange.Exchange`, one request and its answer.  Its ``receive`` reads
from the socket itself, and its ``write`` returns when the system has taken what is written; nobody
reads what nobody asks for, and that is all there is to back-pressure.

HTTP is a room of its own in this one: ``http_messages`` and ``http_answers`` know what is said,
``http_parsing`` reads it, ``http_patience`` looks who is out of time, ``http_exchange`` is what a
handler is given, ``http_conversation`` is one connection, and this is the server.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Unpack

import trio

from .addresses import Address
from .endpoints import StreamServerEndpoint
from .events import RequestRefused, RequestTimedOut, Throttle
from .handlers import require_function
from .http_answers import Stamp, phrase_of
from .http_conversation import Conversation
from .http_exchange import ClientGone, Exchange, HTTPHandler
from .http_messages import Answered, Headers, HTTPLimits, Request
from .http_parsing import Refusal
from .http_patience import Patience
from .servers import ServerOptions, StreamServer
from .streams import Connection

__all__ = [
    "Answered",
    "ClientGone",
    "Exchange",
    "HTTPHandler",
    "HTTPLimits",
    "HTTPServer",
    "HTTPServerOptions",
    "Headers",
    "Refusal",
    "Request",
    "phrase_of",
]


class HTTPServerOptions(ServerOptions, total=False):
    """The options that all HTTP servers share; see :class:`HTTPServer`."""

    limits: HTTPLimits | None
    on_answered: Callable[[Answered], object] | None
    lame_duck: float
    server_header: bytes


class HTTPServer(StreamServer):
    r"""A leaf that serves HTTP/1.1.

    ::

        async def hello(exchange):
            await exchange.respond(200, [(b"content-type", b"text/plain")], b"hello\n")

        app = Application("hello", HTTPServer("tcp:8080", hello))

    When it is stopped, every request that it was sent is answered: it takes no new connections,
    each answer says that it is the last of its connection, and connections over which nothing
    comes are closed.

    Args:
        endpoint: as for :class:`~trioservice.net.servers.StreamServer`.
        handler: ``async def handler(exchange)``, with an
            :class:`~trioservice.net.http_exchange.Exchange`; what it raises is answered
            with 500, logged, and ends nothing else.
        limits: how much a client may ask for, and how long it may take.
        on_answered: is called with an :class:`~trioservice.net.http_messages.Answered` after each answer.
        lame_duck: seconds for which, when it is stopped, it goes on to take connections: a load
            balancer that has seen that it is no longer ready needs time to go elsewhere.
        server_header: what the server is called in its answers; ``b""`` to keep that to oneself.
        **options: those of :class:`~trioservice.net.servers.StreamServer`; but by default requests are
            given as much time to end, when it is stopped, as the Application gives (``drain_timeout=None``).

    Raises:
        ValueError: as for StreamServer; a time that cannot be one.
        TypeError: the handler cannot be called; limits that are none.
    """

    def __init__(
        self,
        endpoint: str | StreamServerEndpoint,
        handler: HTTPHandler,
        *,
        limits: HTTPLimits | None = None,
        on_answered: Callable[[Answered], object] | None = None,
        lame_duck: float = 0.0,
        server_header: bytes = b"trioservice",
        **options: Unpack[ServerOptions],
    ) -> None:
        require_function("handler", handler, "an exchange")
        if not (limits is None or isinstance(limits, HTTPLimits)):
            raise TypeError(f"limits are HTTPLimits(...), not {limits!r}")
        if not (on_answered is None or callable(on_answered)):
            raise TypeError(f"on_answered is a function that takes an Answered, not {on_answered!r}")
        if not isinstance(server_header, bytes):
            raise TypeError(f"server_header is bytes, not {server_header!r}")
        if not isinstance(lame_duck, int | float) or not 0 <= lame_duck < math.inf:
            raise ValueError(f"lame_duck is a number of seconds, not {lame_duck!r}")
        options.setdefault("drain_timeout", None)
        super().__init__(endpoint, self._converse, **options)
        self.limits = limits or HTTPLimits()
        self.on_answered = on_answered
        self.lame_duck = lame_duck
        self.stamp = Stamp(server_header)
        self._handle = handler
        # The handler itself, where nothing has to be in between.
        self.answer = handler if self.limits.concurrency is None else self._answer_if_there_is_room

    def _forget(self) -> None:
        super()._forget()
        self.is_draining = self.has_told_to_drain = False
        self.handling = 0
        self.given_away: dict[Conversation, Callable[[], object]] = {}
        self._refusals, self._cuts = Throttle(), Throttle()

    # ---- its life

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Serve until drained or cancelled; return when the last connection has ended."""
        self.patience = Patience(self.limits)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.patience.run)
            await super().run(task_status)
            nursery.cancel_scope.cancel(reason="the last connection has ended")

    async def drain(self) -> None:
        """Let each answer be the last of its connection, and take no new ones."""
        self.is_draining = True
        await trio.sleep(self.lame_duck)
        self.patience.lose()
        self.has_told_to_drain = True
        for on_drain in list(self.given_away.values()):
            on_drain()
        await super().drain()

    def _converse(self, stream: Connection) -> Awaitable[None]:
        return Conversation(self, stream).run()

    # ---- for its conversations

    async def _answer_if_there_is_room(self, exchange: Exchange) -> None:
        most = self.limits.concurrency
        answer = self._handle if most is None or self.handling <= most else self._excuse
        await answer(exchange)

    async def _excuse(self, exchange: Exchange) -> None:
        seconds = str(self.limits.retry_after).encode("ascii")
        headers = [(b"retry-after", seconds), (b"content-type", b"text/plain")]
        await exchange.respond(503, headers, b"too many requests at one time; try again\n")

    def tell_refused(self, peer: Address, refusal: Refusal) -> None:
        """A client has sent what is no request."""
        now = trio.current_time()
        if self._refusals.passes(now):
            times = self._refusals.held_back()
            self.emit(RequestRefused(self.path, now, peer, refusal.status, refusal.reason, times))

    def tell_too_slow(self, peer: Address, reason: str) -> None:
        """A request took too long."""
        now = trio.current_time()
        if self._cuts.passes(now):
            self.emit(RequestTimedOut(self.path, now, peer, reason, self._cuts.held_back()))
