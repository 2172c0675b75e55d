"""What a handler has of one request: the request, its body, and how to answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from .addresses import Address
from .http_answers import Framing, compose
from .streams import Connection

if TYPE_CHECKING:
    from .http_answers import Stamp
    from .http_messages import Request
    from .tls import TLSStream

__all__ = ["Body", "ClientGone", "Exchange", "HTTPHandler"]

Pairs = Iterable[tuple[bytes, bytes]]

# A head and a body are sent as one, unless it takes longer to join them than to send twice.
_WORTH_JOINING = 256 * 1024

# In Python 3.11 an enumeration looks for its members each time, and each answer would ask three times.
_NONE, _LENGTH, _CHUNKED = Framing.NONE, Framing.LENGTH, Framing.CHUNKED

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientGone(trio.BrokenResourceError):
    """The client has ended the connection before it was answered."""


class Wire(Protocol):
    """What an exchange has of its connection."""

    stream: Connection
    tls: TLSStream | None
    notes: dict[str, Any]
    stamp: Stamp  # what the server adds to each answer

    @property
    def local(self) -> Address:
        """The address of our end."""

    def is_last(self) -> bool:
        """Whether the server wants this exchange to be the last."""

    def send_at_once(self, data: bytes) -> int:
        """Send as much of a part of the answer as needs no waiting, be it nothing; ``send`` the rest."""

    async def send(self, data: bytes) -> None:
        """Send a part of the answer."""

    async def send_file(self, fileno: int, offset: int, count: int) -> None:
        """Send a part of the answer out of a file."""

    async def receive_body(self) -> None:
        """Wait for more of the request's body."""

    async def wait_gone(self) -> None:
        """Return when the client has ended the connection."""

    def give_away(self, on_drain: Callable[[], object]) -> tuple[Connection, bytes]:
        """Let the connection be used for another protocol."""


class Exchange:
    """One request and its answer.

    Attributes:
        request: what is asked for.
        status: what it was answered with; 0 before that.
        bytes_sent: of the answer's body, so far.
        left: to be sent of the answer's body, if its length was told; otherwise 1 up to its end.
        close: the connection ends with this exchange.
        notes: what handlers keep for the later exchanges of the same connection.
    """

    # The parser makes it, and it is told its connection when its turn comes: one object for a request and
    # its answer, as to make one costs more than all that it is asked afterwards.
    __slots__ = (
        "_framing",
        "bytes_sent",
        "close",
        "expects_continue",
        "has_wish",
        "is_complete",
        "left",
        "notes",
        "pieces",
        "request",
        "size",
        "status",
        "wire",
    )

    wire: Wire
    notes: dict[str, Any]

    def __init__(self, request: Request, close: bool) -> None:
        self.request = request
        self.close = close
        # For the parser and the conversation.  Of the request's body: whether all has come, how much, and
        # what nobody has asked for yet.
        self.is_complete = False
        self.size = 0
        self.pieces: list[bytes] = []
        self.expects_continue = False
        self.has_wish = False  # for another protocol, be it one that the method or HTTP/1.0 does not allow
        # Of the answer.
        self.status = self.bytes_sent = self.left = 0
        self._framing = _NONE

    @property
    def peer(self) -> Address:
        """The address of the client."""
        return self.wire.stream.peer

    @property
    def local(self) -> Address:
        """The address that it came to."""
        return self.wire.local

    @property
    def tls(self) -> TLSStream | None:
        """The connection, if it is one with TLS, for what the handshake has brought."""
        return self.wire.tls

    @property
    def wish(self) -> bytes:
        """The protocol that the client would rather speak, in lower case; mostly ``b""``.

        In HTTP/1.0 there are no such wishes (RFC 9110, 7.8).
        """
        method, _, version, headers = self.request
        if not self.has_wish or method != "GET" or version == "1.0":
            return b""
        return headers.get(b"upgrade", b"").lower()

    # ---- the request's body

    @property
    def body(self) -> Body:
        """The request's body, as a stream to receive from."""
        return Body(self)

    async def receive(self, max_bytes: int | None = None) -> bytes:
        """The next bytes of the request's body, at least one; ``b""`` at its end.

        A client that waits for a word before it sends (``Expect: 100-continue``) is given it now.

        Args:
            max_bytes: no more than that.

        Raises:
            trio.BrokenResourceError: the client has ended the connection within the body.
            Refusal: what it sends is no body, or too much of it; let it pass, and it will be told.
        """
        while not self.pieces:
            if self.is_complete:
                return b""
            if self.expects_continue:
                self.expects_continue = False
                if not self.status:
                    await self.wire.send(_CONTINUE)
            await self.wire.receive_body()
        data = b"".join(self.pieces)
        self.pieces.clear()
        if max_bytes is not None and len(data) > max_bytes:
            self.pieces.append(data[max_bytes:])
            data = data[:max_bytes]
        return data

    @property
    def is_received(self) -> bool:
        """Whether there is nothing more to :meth:`receive`."""
        return self.is_complete and not self.pieces

    async def wait_disconnected(self) -> None:
        """Return when the client has ended the connection; for handlers that have nothing to send for long.

        Call it when the body has been received.
        """
        await self.wire.wait_gone()

    # ---- the answer

    async def respond(self, status: int, headers: Pairs = (), body: bytes = b"") -> None:
        """Answer, all at once.

        Args:
            status: from 200 on.
            headers: names and values; ``content-length``, ``date`` and ``server`` are added.
            body: all of it; it is not sent where the answer to such a request has none.

        Raises:
            ValueError: a status or a header that cannot be sent.
            RuntimeError: the request has been answered already.
            trio.BrokenResourceError: the client has gone.
        """
        data = self._begin(status, headers, len(body))
        if self._framing is _LENGTH:
            if len(body) <= _WORTH_JOINING:
                data += body
            else:
                self.status = status
                await self.wire.send(data)
                data = body
            self.left = 0
            self.bytes_sent = len(body)
        self.status = status
        sent = self.wire.send_at_once(data)
        if sent < len(data):
            await self.wire.send(data[sent:])

    async def start(self, status: int, headers: Pairs = (), body: bytes = b"") -> None:
        """Begin to answer; the rest is for :meth:`write`, and the answer ends when the handler returns.

        Args:
            status: from 200 on.
            headers: names and values.  Without a ``content-length`` among them the body is sent
                in chunks, or, to clients who do not know of those, up to the end of the connection.
            body: the beginning of the body, to be sent along with the head.

        Raises:
            ValueError: a status or a header that cannot be sent.
            RuntimeError: the request has been answered already.
            trio.BrokenResourceError: the client has gone.
        """
        data = self._begin(status, headers, None) + self._framed(body, False)
        self.status = status  # from now on: what cannot be sent has begun no answer
        await self.wire.send(data)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send more of the answer's body; returns when the system has taken it.

        Args:
            data: may be empty.
            last: it is the end of the answer, which is sent along.

        Raises:
            ValueError: that is more than ``content-length`` said.
            RuntimeError: the answer has not begun.
            trio.BrokenResourceError: the client has gone.
        """
        self._require_begun()
        framed = self._framed(data, last)
        if framed:
            await self.wire.send(framed)

    async def send_file(self, fileno: int, offset: int, count: int) -> None:
        """Send a part of a file as a part of the answer's body; over a plain socket, the kernel does it.

        The ``content-length`` has to be told for that; the file's position is neither used nor changed.

        Args:
            fileno: the descriptor of the open file.
            offset: where the part begins.
            count: how many bytes it has.

        Raises:
            ValueError: that is more than ``content-length`` said, or it said nothing.
            RuntimeError: the answer has not begun.
            EOFError: the file is shorter than that.
            trio.BrokenResourceError: the client has gone.
        """
        self._require_begun()
        if self._framing is _NONE:
            return
        if self._framing is not _LENGTH:
            raise ValueError("start(...) needs a content-length before send_file")
        self._take(count)
        await self.wire.send_file(fileno, offset, count)

    def upgrade(self, on_drain: Callable[[], object]) -> tuple[Connection, bytes]:
        """Take the connection over, to speak the other protocol that the client has asked for.

        Args:
            on_drain: is called when the server is to stop; let the connection end soon then.

        Returns:
            the connection, and what has come of it already.
        """
        self.close = True
        self.status = 101
        return self.wire.give_away(on_drain)

    async def finish(self) -> None:
        """See that the answer is whole; the server calls this when the handler has returned."""
        if not self.status:
            raise RuntimeError("the handler returned without an answer; await exchange.respond(...)")
        if self.left and self._framing is _LENGTH:
            raise RuntimeError(f"the answer's body is {self.left} bytes shorter than its content-length")
        if self.left:
            await self.write(b"", last=True)

    def _begin(self, status: int, headers: Pairs, length: int | None) -> bytes:
        if self.status:
            raise RuntimeError(f"this request has been answered already, with {self.status}")
        request, wire = self.request, self.wire
        # A client that waits for a word before it sends its body may never send it.
        close = self.close or self.expects_continue or wire.is_last()
        head = compose(request.method, request.http_version, status, headers, length, close)
        self._framing, self.left, self.close = head.framing, head.left, head.close
        return wire.stamp.put_on(head, time.time())

    def _require_begun(self) -> None:
        if not self.status:
            raise RuntimeError("the answer has not begun; await exchange.start(status, headers) first")

    def _framed(self, data: bytes, last: bool) -> bytes:
        framing = self._framing
        if framing is _NONE:
            return b""
        if framing is _LENGTH:
            self._take(len(data))
            return data
        self.bytes_sent += len(data)
        if framing is _CHUNKED:
            if data:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            if last:
                data += b"0\r\n\r\n"
        if last:
            self._framing, self.left = _NONE, 0
        return data

    def _take(self, size: int) -> None:
        """Count what is sent of a body framed by its length."""
        if size > self.left:
            raise ValueError(
                f"the answer's body is longer than its content-length, by {size - self.left} bytes"
            )
        self.left -= size
        self.bytes_sent += size


#: What a server calls for each request.
HTTPHandler = Callable[[Exchange], Awaitable[object]]


class Body(trio.abc.ReceiveStream):
    """The body of a request, as a stream."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; ``b""`` at the end; see :meth:`Exchange.receive`."""
        return await self._exchange.receive(max_bytes)

    async def aclose(self) -> None:
        """Nothing: what was not received is the server's to deal with."""
        await trio.lowlevel.checkpoint()
