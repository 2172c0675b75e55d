"""All exchanges over one connection, one after another.

It is one task, and handlers are called in it, so that a request costs neither a task nor a nursery.
Three things follow, and are seen to here.  A handler's context variables must not be there for
the next request, which behind a proxy is another person's.  A client that sends requests ahead of
time must not keep others from their turn.  And what ends a wait for a request must not end the
request that has just come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import trio

from ..events import Event
from .addresses import Address
from .events import RequestFailed
from .http_answers import Framing, Stamp, compose
from .http_exchange import ClientGone, Exchange, HTTPHandler
from .http_messages import Answered, HTTPLimits, Request
from .http_parsing import Parser, Refusal
from .http_patience import BODY, BUSY, FRESH, GIVEN_AWAY, HEAD, IDLE, LEAVING, NEXT, SENDING, Patience
from .streams import MOST, Connection, SocketStream
from .tls import TLSStream

__all__ = ["Conversation"]

# A body that no handler wanted is read to its end, if that is not further, to keep the connection.
_WORTH_READING = 64 * 1024

# So long may it take to tell a client that it took too long.
_LAST_WORD = 2.0

_TEXT = (b"content-type", b"text/plain; charset=utf-8")

_TOO_SLOW = {
    HEAD: Refusal(408, "the request's head did not come in time"),
    BODY: Refusal(408, "the request's body did not come in time"),
    BUSY: Refusal(503, "the request took too long"),
    SENDING: Refusal(408, "the answer was not taken in time"),
}


class Host(Protocol):
    """What a conversation has of its server."""

    limits: HTTPLimits
    patience: Patience
    stamp: Stamp
    is_draining: bool
    has_told_to_drain: bool  # those to whom connections were given away
    handling: int  # requests, at this moment
    answer: HTTPHandler
    on_answered: Callable[[Answered], object] | None
    given_away: dict[Conversation, Callable[[], object]]  # and who is told when the server stops

    @property
    def path(self) -> str:
        """Its place in the tree."""

    def emit(self, event: Event) -> None:
        """Tell what has happened."""

    def tell_refused(self, peer: Address, refusal: Refusal) -> None:
        """A client has sent what is no request."""

    def tell_too_slow(self, peer: Address, reason: str) -> None:
        """A request took too long."""


class Conversation:
    """A connection, from its first request to its end.

    Args:
        server: whose it is.
        stream: the connection.

    The attributes are what :class:`~trioservice.net.http_patience.Patience` looks at.
    """

    __slots__ = (
        "_ahead",
        "_context",
        "_exchange",
        "_has_gap",
        "_is_late",
        "_is_over",
        "_is_sending",
        "_is_torn",
        "_local",
        "_parser",
        "_patience",
        "_scope",
        "_senders",
        "_server",
        "_task",
        "asked_at",
        "doing",
        "notes",
        "progress",
        "since",
        "stamp",
        "stream",
        "tls",
        "waited",
    )

    def __init__(self, server: Host, stream: Connection) -> None:
        self._server = server
        self._patience = server.patience
        self._parser = Parser(server.limits)
        self._ahead = b""  # what came while it was only waited for the end
        self._is_over = False  # nothing more will come, or be taken
        self._is_late = False  # the present scope was cancelled, as time was over
        self._is_sending = False
        self._senders: trio.lowlevel.ParkingLot | None = None  # who wait for their turn
        self._is_torn = False  # a part of an answer was begun and is not whole: nothing can follow it
        self._has_gap = False  # a part was counted, and never begun
        self._exchange: Exchange | None = None
        self._task = trio.lowlevel.current_task()
        self._context = self._task.context.copy()
        self._scope = trio.CancelScope()
        self._local: Address | None = None
        self.notes: dict[str, Any] = {}
        self.stamp = server.stamp
        self.stream = stream
        self.tls = stream if isinstance(stream, TLSStream) else None
        self.doing = FRESH
        self.since = self.asked_at = self.waited = 0.0
        self.progress: object = None

    # ---- for those who look who is out of time

    @property
    def received(self) -> int:
        """How much has come of the present request's body."""
        return 0 if self._exchange is None else self._exchange.size

    def end(self) -> None:
        """Be cancelled, out of time."""
        self._is_late = True  # CancelScope.cancel_called looks at the clock each time
        self._scope.cancel(reason="the client took too long")

    def _does(self, doing: str) -> None:
        self.doing = doing
        self.since = self._patience.now

    # ---- its course

    async def run(self) -> None:
        """From the first request to the end of the connection."""
        self._patience.watch(self)
        try:
            while not self._is_over:
                self._is_late = False
                with trio.CancelScope() as self._scope:
                    await self._exchanges()
                if self._scope.cancelled_caught:
                    await self._out_of_time()
        finally:
            self._patience.forget(self)
            self._exchange = None  # which knows us
            self._server.given_away.pop(self, None)

    async def _exchanges(self) -> None:
        """Answer, until the end or until it took too long."""
        parser = self._parser
        requests = parser.requests
        while True:
            if requests:
                if self._is_late:  # a moment too late for a request that is there
                    return
                if not await self._answer(requests.popleft()):
                    break
                if requests:
                    await trio.lowlevel.checkpoint()
            elif parser.refusal is not None:
                await self._refuse(parser.refusal)
                break
            elif self._is_over or not await self.stream.receive_by(self._take):
                break
        self._is_over = True
        await self._leave()

    def _take(self, data: bytes | bytearray) -> bool:
        """Let the parser have what comes before a request; whether there is something to be done."""
        parser = self._parser
        parser.feed(data)
        if parser.requests or parser.refusal is not None:
            return True
        if self.doing is not HEAD:
            self._does(HEAD)
        return False

    async def _receive(self) -> bool:
        """Let the parser have what comes; false at the end."""
        if self._ahead or self._is_over:
            await trio.lowlevel.checkpoint()
            data: bytes | bytearray = self._ahead
            self._ahead = b""
        else:
            data = await self.stream.receive_some()
        if data:
            self._parser.feed(data)
        return bool(data)

    async def _answer(self, exchange: Exchange) -> bool:
        """Let the handler answer; whether the connection is kept."""
        server = self._server
        self._exchange, self.waited = exchange, 0.0
        self.doing, self.asked_at = BUSY, self._patience.now
        exchange.wire, exchange.notes = self, self.notes
        began = 0.0 if server.on_answered is None else trio.current_time()
        server.handling += 1
        try:
            await server.answer(exchange)
            if exchange.left or not exchange.status:
                await exchange.finish()
        except Exception as error:  # noqa: BLE001 - L16: it is told, and ends this request only
            await self._failed(exchange, error)
        except BaseExceptionGroup as group:
            raise self._without_failures(exchange, group) from None
        finally:
            server.handling -= 1
            self._task.context = self._context.copy()  # from the next step of this task on
            if server.on_answered is not None and exchange.status:
                took = trio.current_time() - began
                self._tell_answered(exchange.request, exchange.status, exchange.bytes_sent, took)
        if self._is_torn:
            self._cut()
            return False
        if exchange.close or not (exchange.is_complete or await self._discard(exchange)):
            return False
        self._exchange = None
        if exchange.has_wish or self._ahead:
            self._go_on(exchange)
        parser = self._parser
        self.doing = NEXT if parser.requests else IDLE if parser.is_between() else HEAD
        self.since = self._patience.now
        return True

    def _go_on(self, exchange: Exchange) -> None:
        """Let the parser have what came while nobody wanted it: no other protocol is spoken."""
        if exchange.has_wish:
            exchange.has_wish = False
            self._parser.go_on()
        ahead, self._ahead = self._ahead, b""
        if ahead:
            self._parser.feed(ahead)

    async def _discard(self, exchange: Exchange) -> bool:
        """Read what is left of a body that the handler did not want, if that is little."""
        most = exchange.size + _WORTH_READING
        while not exchange.is_complete:
            exchange.pieces.clear()
            if exchange.size > most or self._parser.refusal is not None:
                return False
            self._does(BODY)
            if not await self._receive():
                return False
            self.waited += self._patience.now - self.since
        return True

    async def _leave(self) -> None:
        """Close without taking away what the client has not read yet.

        To close a socket while there is something to be read from it, or to come, resets the connection,
        and the client's system throws away what it has received: our answer.
        """
        stream, exchange = self.stream, self._exchange
        has_more = self._parser.refusal is not None or not (exchange is None or exchange.is_complete)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if isinstance(stream, SocketStream):
                if not (has_more or stream.receive_nowait()):
                    return
                self._does(LEAVING)
                await stream.send_eof()
            elif has_more and self.tls is not None:
                # TLS does not end one half alone, but the answer has said that it is the last.
                self._does(LEAVING)
            else:
                return
            while await stream.receive_some():
                pass

    # ---- what goes wrong

    def _cut(self) -> None:
        """End the connection so that the client does not take an answer for whole (RFC 9112, 8)."""
        if isinstance(self.stream, SocketStream):
            self.stream.reset()
        else:
            self.stream.abandon()  # without TLS's word of goodbye

    async def _failed(self, exchange: Exchange, error: Exception) -> None:
        error = _alone(error)
        if exchange.status and not (exchange.left or self._is_torn) and not _is_of_client(error):
            self._tell_failed(exchange, error)  # what is done after the answer takes nothing from it
            return
        exchange.close = True
        if isinstance(error, ClientGone):
            if exchange.left:
                self._cut()
            return
        if self.stream.broke_with(error):
            raise error
        if not isinstance(error, Refusal):
            self._tell_failed(exchange, error)
            error = Refusal(500, "Internal Server Error")
        if self._is_late:
            await trio.lowlevel.checkpoint()  # which is cancelled, and then it is told that time is over
        if not exchange.status and not self._is_torn:
            await self._refuse(error)
        elif exchange.left:
            self._cut()

    def _without_failures(self, exchange: Exchange, group: BaseExceptionGroup) -> BaseExceptionGroup:
        """What is left, where a handler was cancelled and raised as well, when it is told what it raised."""
        failures, others = group.split(Exception)
        if failures is not None and not _is_of_client(_alone(failures)):
            self._tell_failed(exchange, failures)
        assert others is not None  # or it would be a group of Exceptions
        return others

    def _tell_failed(self, exchange: Exchange, error: Exception) -> None:
        request = f"{exchange.request.method} {exchange.request.target.decode('ascii', 'replace')}"
        server = self._server
        server.emit(RequestFailed(server.path, trio.current_time(), exchange.peer, request, error))

    async def _refuse(self, refusal: Refusal) -> None:
        """Answer, where no handler has."""
        server, exchange = self._server, self._exchange
        body = f"{refusal.reason}\n".encode()
        method, version = "GET", "1.0"  # as far as one can know, where no request could be read
        if exchange is not None:
            method, _, version, _ = exchange.request
        head = compose(method, version, refusal.status, [_TEXT], len(body), True)
        if head.framing is Framing.NONE:
            body = b""
        if exchange is None:
            server.tell_refused(self.stream.peer, refusal)
            self._tell_answered(None, refusal.status, len(body), 0.0)
        else:
            exchange.status, exchange.bytes_sent = refusal.status, len(body)
        await self.send(self.stamp.put_on(head, time.time()) + body)

    async def _out_of_time(self) -> None:
        """Say so, where the client can make sense of it."""
        if self._exchange is None and self._parser.requests:
            return  # it has come in the last moment
        if self.doing in (FRESH, IDLE) and isinstance(self.stream, SocketStream):
            data = self.stream.receive_nowait()
            if data:  # likewise
                self._parser.feed(data)
                self._does(HEAD)
                return
        self._is_over = True
        refusal = _TOO_SLOW.get(self.doing)
        if refusal is None:
            return
        self._server.tell_too_slow(self.stream.peer, refusal.reason)
        exchange = self._exchange
        has_begun = exchange is not None and exchange.status != 0
        if self._is_torn or (exchange is not None and has_begun and exchange.left):
            self._cut()
        if self._is_torn or has_begun:
            return
        with trio.move_on_after(_LAST_WORD):
            await self._refuse(refusal)
            await self._leave()
        if exchange is not None:
            took = self._patience.now - self.asked_at
            self._tell_answered(exchange.request, exchange.status, exchange.bytes_sent, took)

    def _tell_answered(self, request: Request | None, status: int, size: int, took: float) -> None:
        if self._server.on_answered is not None:
            self._server.on_answered(Answered(self.stream.peer, request, status, size, took))

    # ---- for the exchange

    @property
    def local(self) -> Address:
        """The address of our end; the system is asked once."""
        if self._local is None:
            self._local = self.stream.local
        return self._local

    def is_last(self) -> bool:
        """Whether the present exchange is to be the last: the server stops, and nothing more was asked."""
        if not self._server.is_draining or self._parser.requests:
            return False
        exchange = self._exchange
        if exchange is None or not exchange.is_complete:
            return True  # what comes next is of its body, and somebody may wait for that
        if not self._ahead and isinstance(self.stream, SocketStream):
            self._ahead = self.stream.receive_nowait() or b""
        self._go_on(exchange)  # it is answered in HTTP, and what came behind it is HTTP then
        return not self._parser.requests

    def send_at_once(self, data: bytes) -> int:
        """Send as much of a part of the answer as needs no waiting: mostly all, or nothing."""
        if self._is_sending or self._is_torn:
            return 0
        self._is_torn = True  # unless it comes back
        sent = self.stream.send_at_once(data)
        self._is_torn = False
        return sent

    async def send(self, data: bytes) -> None:
        """Send a part of the answer; who is cancelled meanwhile has torn it, and with it the connection."""
        if self._is_sending:
            await self._turn()
        self._begin_to_send()
        try:
            await self.stream.send_all(data)
            self._is_torn = self._has_gap
        finally:
            self._end_of_turn()

    async def send_file(self, fileno: int, offset: int, count: int) -> None:
        """Send a part of the answer out of a file."""
        if self._is_sending:
            await self._turn()
        self._begin_to_send()
        try:
            await self.stream.send_file(fileno, offset, count)
            self._is_torn = self._has_gap
        finally:
            self._end_of_turn()

    async def _turn(self) -> None:
        """Wait until those have sent who came before: an application may send in several tasks."""
        if self._senders is None:
            self._senders = trio.lowlevel.ParkingLot()
        try:
            await self._senders.park()
        except trio.Cancelled:
            self._has_gap = True
            raise

    def _begin_to_send(self) -> None:
        self._is_sending = True
        if self._is_torn:
            self._end_of_turn()
            raise trio.BrokenResourceError("a part of the answer was cut off before this one")
        self.doing, self.since, self._is_torn = SENDING, self._patience.now, True

    def _end_of_turn(self) -> None:
        if not self._is_late:  # which tells later for what it was out of time
            self.doing = BUSY
        if self._senders:
            self._senders.unpark()  # whose turn it is now
        else:
            self._is_sending = False

    async def receive_body(self) -> None:
        """Wait for more of the present request's body."""
        if self._parser.refusal is not None:
            raise self._parser.refusal
        self._does(BODY)
        try:
            if not await self._receive():
                self._is_over = True
                raise ClientGone("the client ended the connection within its request")
        finally:  # a handler may wait no longer than it wants
            self.waited += self._patience.now - self.since
            if not self._is_late:  # which tells later for what it was out of time
                self.doing = BUSY

    async def wait_gone(self) -> None:
        """Return when the client has ended the connection."""
        stream = self.stream
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            data: bytes | bytearray | None = None
            if isinstance(stream, SocketStream):  # at once: who only has a look may be cancelled by now
                data = stream.receive_nowait()
            while not self._is_over:
                if data is None:
                    data = await stream.receive_some()
                self._ahead += data
                # Who sends so much ahead waits for no answer; and its end could not be seen behind that.
                self._is_over = not data or len(self._ahead) >= MOST
                data = None

    def give_away(self, on_drain: Callable[[], object]) -> tuple[Connection, bytes]:
        """Let the connection be used for another protocol."""
        self._does(GIVEN_AWAY)
        server = self._server
        server.given_away[self] = on_drain
        if server.has_told_to_drain:
            on_drain()
        ahead, self._parser.ahead = self._parser.ahead + self._ahead, b""
        return self.stream, ahead


def _alone(error: Exception) -> Exception:
    """What is in a group, if all in it is one error, or the same end of a client told to several tasks."""
    while isinstance(error, ExceptionGroup):
        first, *others = error.exceptions
        if others and not all(isinstance(one, trio.BrokenResourceError) for one in error.exceptions):
            break
        error = first
    return error


def _is_of_client(error: Exception) -> bool:
    """Whether it is what a client has done, rather than the handler."""
    return isinstance(error, trio.BrokenResourceError | Refusal)
