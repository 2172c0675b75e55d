"""The fast lane: protocols, whose callbacks are called straight from the event poll.

A handler is a task of its own, and each message wakes it.  A *protocol* is an object whose
callbacks are called when something happens: the shape in which programs for Twisted and asyncio
are written (PEP 3156), and about half of the work for a server with many small messages.

What a callback can do with its connection is a *transport*.  :class:`Transport` keeps the rules,
whatever carries the bytes: what is written goes out in order or is reported lost; after
``connection_lost`` nothing is called; a callback that raises ends its own connection only.  And
who does not read is not read from: when more than the upper limit waits to be sent,
``pause_writing`` is called, and until that is down again nothing is taken from the peer, so that
even a protocol that knows nothing of this holds no more than a bounded amount of memory.

Two carry the bytes.  :class:`SocketTransport` is driven by a server's
:class:`~trioservice.net.polls.Poll`, so that no connection needs a task.  :class:`StreamTransport`
works over every connection there is (TLS, standard input and output), and on every system, with
two tasks.  :func:`converse` chooses, for those who have a task to spare.
"""

from __future__ import annotations

import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import trio

from .limits import buffer_limits
from .polls import DOUBTFUL, READABLE, Poll, open_poll
from .streams import MOST, Connection, SocketStream

__all__ = ["ProtocolFactory", "SocketTransport", "StreamProtocol", "StreamTransport", "Transport", "converse"]


class StreamProtocol(Protocol):
    """What is called, in this order: once, any number of times, at most once, once.

    ``pause_writing()`` and ``resume_writing()`` are called as well, if it has them; but for
    ``data_received`` it need not have the others either.
    """

    def connection_made(self, transport: Any, /) -> None:
        """The connection is there; *transport* is what can be done with it."""

    def data_received(self, data: bytes, /) -> None:
        """Some bytes have come."""

    def eof_received(self) -> bool | None:
        """The peer will send no more; unless this is true, the transport closes itself."""

    def connection_lost(self, exc: Exception | None, /) -> None:
        """The connection is gone; ``None`` if that was meant."""


#: Makes a protocol for one connection.
ProtocolFactory: TypeAlias = Callable[[], Any]

#: What is told of a connection's end: with what error, ``None`` if there was none.
Lost: TypeAlias = Callable[[Connection, Exception | None], None]

_BYTES = (bytes, bytearray, memoryview)

# So often is one socket read in one turn, if what comes is short and there may be more.
_READS = 8

_LIMITS = buffer_limits()


class Transport(ABC):
    """What a protocol can do with its connection; PEP 3156's, as asyncio has it."""

    __slots__ = (
        "_buffer",
        "_closing",
        "_error",
        "_full",
        "_has_written_eof",
        "_limits",
        "_lost",
        "_on_lost",
        "_paused",
        "_protocol",
        "_read_all",
        "_stream",
    )

    def __init__(self, stream: Connection, protocol: Any, on_lost: Lost) -> None:
        self._stream = stream
        self._protocol = protocol
        self._on_lost = on_lost
        self._buffer: bytearray | None = None  # what waits to be sent; None is the usual nothing
        self._limits = _LIMITS
        self._full = False  # the buffer is, or has been and is not half empty yet
        self._paused = False  # by the protocol
        self._read_all = False  # the peer has ended its half
        self._has_written_eof = False
        self._closing = False
        self._error: Exception | None = None  # what it is closed for
        self._lost = False

    # ---- what protocols ask for

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, now as far as there is room for it, the rest as soon as there is.

        Raises:
            TypeError: *data* is nothing made of bytes.
            RuntimeError: the end has been written already.
        """
        if self._has_written_eof:
            raise RuntimeError("write() after write_eof()")
        if not isinstance(data, _BYTES):
            raise TypeError(f"write() takes bytes, bytearray or memoryview, not {type(data).__name__}")
        if self._closing or not data:
            return
        if self._buffer is None:
            rest = self._send(data)
            if rest is None:
                return
            self._buffer = bytearray(rest)
        else:
            self._buffer += data
        if len(self._buffer) > self._limits[1]:
            self._fill()

    def writelines(self, list_of_data: Any) -> None:
        """Send all of them, one after another."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """End our half when all that was written is sent; the peer may go on sending."""
        if self._has_written_eof or self._closing:
            return
        if not self.can_write_eof():
            raise NotImplementedError("TLS ends both directions at once; close() does that")
        self._has_written_eof = True
        if self._buffer is None:
            self._send_eof()

    def can_write_eof(self) -> bool:
        """Whether one half can be ended without the other; not so with TLS."""
        return isinstance(self._stream, trio.abc.HalfCloseableStream)

    def close(self) -> None:
        """Close the connection when all that was written is sent; nothing is received any more."""
        if not self._closing:
            self._closing = True
            self._go_on()

    def abort(self) -> None:
        """Close the connection at once; what waits to be sent is lost."""
        self._closing = True
        self._buffer = None
        self._go_on()

    def is_closing(self) -> bool:
        """Whether it is closed, or being closed."""
        return self._closing

    def pause_reading(self) -> None:
        """Call ``data_received`` no more, until :meth:`resume_reading`."""
        self._paused = True

    def resume_reading(self) -> None:
        """Call ``data_received`` again."""
        if self._paused:
            self._paused = False
            self._go_on()

    def is_reading(self) -> bool:
        """Whether what the peer sends is taken."""
        return not (self._paused or self._full or self._read_all or self._closing)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say how much may wait to be sent.

        Args:
            high: above so many bytes ``pause_writing`` is called, and nothing is received; 64 KiB, or
                four times *low*.
            low: at so many, ``resume_writing``; a quarter of *high*.
        """
        self._limits = buffer_limits(high, low)
        if self._buffer is not None and len(self._buffer) > self._limits[1]:
            self._fill()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The lower and the upper limit."""
        return self._limits

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be sent."""
        return 0 if self._buffer is None else len(self._buffer)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Something else that is known of the connection.

        Args:
            name: ``"peername"``, ``"sockname"``, ``"socket"``; with TLS also ``"peercert"``,
                ``"cipher"`` and ``"ssl_object"``, which has ``version()`` and ``selected_alpn_protocol()``.
            default: what to return if it is not known.
        """
        find = _EXTRA_INFO.get(name)
        try:
            found = None if find is None else find(self._stream)
        except (AttributeError, OSError):
            found = None
        return default if found is None else found

    def set_protocol(self, protocol: Any) -> None:
        """Let another protocol go on with this connection."""
        self._protocol = protocol

    def get_protocol(self) -> Any:
        """Whose callbacks are called."""
        return self._protocol

    def __repr__(self) -> str:
        state = "lost" if self._lost else "closing" if self._closing else "open"
        return f"<{type(self).__name__} {state} {self._stream.peer}>"

    # ---- what differs with what carries the bytes

    @abstractmethod
    def _send(self, data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview | None:
        """Send some of *data* without waiting; what is left of it, if anything is."""

    @abstractmethod
    def _send_eof(self) -> None:
        """End our half, now."""

    @abstractmethod
    def _go_on(self) -> None:
        """See that what can be done now is done soon; not within the caller."""

    # ---- what happens

    def _call(self, callback: str, *args: object) -> object:
        """Call the protocol; what it raises ends the connection, and nothing else (rule L16)."""
        function = getattr(self._protocol, callback, None)
        if function is None:
            return None
        try:
            return function(*args)
        except Exception as error:  # noqa: BLE001 - L16: it is told when the connection is lost
            self._break(error)
            return None

    def _break(self, error: Exception) -> None:
        """Close the connection because of *error*."""
        if self._error is None:
            self._error = error
        self.abort()

    def _fill(self) -> None:
        if not self._full:
            self._full = True
            self._call("pause_writing")

    def _take_end(self) -> None:
        """The peer has ended its half."""
        self._read_all = True
        if not self._call("eof_received"):
            self.close()

    def _take_sent(self, size: int) -> None:
        """*size* bytes of the buffer have been sent."""
        assert self._buffer is not None
        del self._buffer[:size]
        left = len(self._buffer)
        if not left:
            self._buffer = None
        if self._full and left <= self._limits[0]:
            self._full = False
            self._call("resume_writing")

    def _lose(self) -> None:
        """Tell the protocol that the connection is gone; the last that it hears."""
        self._closing = self._lost = True
        self._buffer = None
        # It has us, and we have it: one less circle for the collector of garbage.
        protocol, self._protocol = self._protocol, None
        connection_lost = getattr(protocol, "connection_lost", None)
        if connection_lost is None:
            return
        try:
            connection_lost(_as_told_by_the_system(self._error))
        except Exception as error:  # noqa: BLE001 - L16, as in _call
            earlier, self._error = self._error, error
            if earlier is not None:
                self._error = ExceptionGroup("connection_lost failed as well", [earlier, error])


def _as_told_by_the_system(error: Exception | None) -> BaseException | None:
    """What ``connection_lost`` is given: an OSError where asyncio would give one."""
    return error.__cause__ or error if isinstance(error, trio.BrokenResourceError) else error


def _of_tls(name: str) -> Callable[[Any], Any]:
    return lambda stream: getattr(stream, name)()


_EXTRA_INFO: dict[str, Callable[[Any], Any]] = {
    "peername": lambda stream: stream.peer,
    "sockname": lambda stream: stream.local,
    "socket": lambda stream: getattr(stream, "below", stream).socket,
    "peercert": _of_tls("getpeercert"),
    "cipher": _of_tls("cipher"),
    "ssl_object": lambda stream: stream if hasattr(stream, "cipher") else None,
}


# ---- driven by a poll ---------------------------------------------------------------------------


class SocketTransport(Transport):
    """A transport over a socket, driven by a poll.

    One task calls for all connections.  So that a context variable which a callback sets is not seen by
    other connections, each turn has a context of its own, and what was set is gone when it is over.
    """

    __slots__ = ("_busy", "_poll")

    _stream: SocketStream

    def __init__(self, stream: SocketStream, protocol: Any, poll: Poll, on_lost: Lost) -> None:
        super().__init__(stream, protocol, on_lost)
        self._poll = poll
        self._busy = False  # with callbacks: what they ask for is done when they have returned

    def begin(self) -> None:
        """Let the connection be made, and be driven by the poll from then on."""
        self._busy = True
        contextvars.copy_context().run(self._call, "connection_made", self)
        if not self._closing or self._buffer is not None:
            try:
                self._stream.let_watch(self._poll, self)
            except OSError as error:  # the kernel has no room for one more
                self._break(error)
        self._busy = False
        self._settle()

    def ready(self, events: int) -> None:
        """What the poll tells."""
        if self._lost:
            return  # it was recalled for that
        self._busy = True
        try:
            contextvars.copy_context().run(self._do, events)
        except Exception as error:  # noqa: BLE001 - L16: it is told when the connection is lost
            self._break(error)
        self._busy = False
        if self._closing:
            self._settle()

    def _do(self, events: int) -> None:
        """What can be done now."""
        stream = self._stream
        if events & DOUBTFUL:
            stream.ready(events)
        elif events & READABLE:
            stream.is_readable = True
        if self._buffer is not None and events:
            self._flush()
        for _ in range(_READS):
            if not stream.is_readable or self._paused or self._full or self._read_all or self._closing:
                return
            data = stream.receive_nowait()
            if data is None:
                return
            if not data:
                self._take_end()
                return
            self._protocol.data_received(data)
            if len(data) == MOST:
                break
        self._poll.recall(self)  # others have their turn before there is more of this

    def _settle(self) -> None:
        """End, if it is to be closed and nothing is left to be sent."""
        if self._closing and self._buffer is None and not self._lost:
            self.end()

    def end(self) -> Exception | None:
        """Close the connection and tell the protocol, now; what waits to be sent is lost.

        Returns:
            with what error it has ended.
        """
        try:
            contextvars.copy_context().run(self._lose)
        finally:
            self._stream.abandon()
            error, self._error = self._error, None
            self._on_lost(self._stream, error)
        return error

    def _go_on(self) -> None:
        if not self._busy:
            self._poll.recall(self)

    def _send(self, data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview | None:
        try:
            sent = self._stream.send_nowait(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._break(error)
            return None
        if sent == len(data) and type(data) is bytes:
            return None
        with memoryview(data) as whole:
            return whole.cast("B")[sent:] if sent < whole.nbytes else None

    def _flush(self) -> None:
        assert self._buffer is not None
        with memoryview(self._buffer) as waiting:
            sent = self._stream.send_nowait(waiting)
        self._take_sent(sent)
        if self._buffer is None and self._has_written_eof:
            self._send_eof()

    def _send_eof(self) -> None:
        try:
            self._stream.send_eof_nowait()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._break(error)


# ---- driven by tasks ----------------------------------------------------------------------------


class StreamTransport(Transport):
    """A transport over any connection, driven by a task that receives and one that sends."""

    __slots__ = ("_has_sent_eof", "_news", "_receiving", "_talking")

    def __init__(self, stream: Connection, protocol: Any, on_lost: Lost) -> None:
        super().__init__(stream, protocol, on_lost)
        self._news = trio.lowlevel.ParkingLot()
        self._receiving = trio.CancelScope()
        self._talking = trio.CancelScope()
        self._has_sent_eof = False

    async def run(self) -> None:
        """Be the connection's whole life, from ``connection_made`` to ``connection_lost``."""
        try:
            self._call("connection_made", self)
            with self._talking:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_what_is_written)
                    with self._receiving:
                        await self._receive()
        finally:
            try:
                self._lose()
            finally:
                if self._talking.cancel_called:
                    self._stream.abandon()
                self._on_lost(self._stream, self._error)

    def abort(self) -> None:
        """Close the connection at once; what waits to be sent is lost."""
        super().abort()
        self._talking.cancel(reason="the transport was aborted")

    def _go_on(self) -> None:
        self._news.unpark_all()
        if self._closing:
            self._receiving.cancel(reason="the transport is closing")

    async def _receive(self) -> None:
        while not (self._read_all or self._closing):
            if self.is_reading():
                await self._receive_some()
            else:
                await self._news.park()

    async def _receive_some(self) -> None:
        try:
            data = await self._stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._break(error)
            return
        while (self._paused or self._full) and not self._closing:  # since it began to wait
            await self._news.park()
        if self._closing:
            return
        if data:
            self._call("data_received", data)
        else:
            self._take_end()

    async def _send_what_is_written(self) -> None:
        while True:
            try:
                if self._buffer is not None:
                    piece = bytes(self._buffer)
                    await self._stream.send_all(piece)
                    if self._buffer is not None:  # it was not aborted meanwhile
                        self._take_sent(len(piece))
                        self._news.unpark_all()  # whom a full buffer kept from receiving
                elif self._has_written_eof and not self._has_sent_eof:
                    self._has_sent_eof = True
                    await self._stream.send_eof()  # type: ignore[attr-defined]
                elif self._closing:
                    return
                else:
                    await self._news.park()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._break(error)

    def _send(self, data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview | None:
        self._news.unpark_all()
        return data

    def _send_eof(self) -> None:
        self._news.unpark_all()


async def converse(stream: Connection, protocol: Any, poll: Poll | None = None) -> None:
    """Let *protocol* have *stream* until the connection is lost.

    Args:
        stream: connected, and introduced.
        protocol: the object with the callbacks.
        poll: which drives it, if it is over a socket; by default one of its own.

    Raises:
        Exception: what the protocol raised, or the stream when it broke.
    """
    errors: list[Exception] = []

    def note(_: Connection, error: Exception | None) -> None:
        if error is not None:
            errors.append(error)

    try:
        if not isinstance(stream, SocketStream):
            await StreamTransport(stream, protocol, note).run()
        elif poll is not None:
            await _driven_by(poll, stream, protocol, note)
        else:
            async with open_poll() as own:
                if own is not None:
                    await _driven_by(own, stream, protocol, note)
                else:
                    await StreamTransport(stream, protocol, note).run()
    except BaseException as ended:
        if errors:
            raise BaseExceptionGroup("it was ended, and connection_lost failed", [ended, *errors]) from None
        raise
    if errors:
        raise errors[0]


async def _driven_by(poll: Poll, stream: SocketStream, protocol: Any, on_lost: Lost) -> None:
    lost = trio.Event()

    def tell(stream: Connection, error: Exception | None) -> None:
        on_lost(stream, error)
        lost.set()

    transport = SocketTransport(stream, protocol, poll, tell)
    transport.begin()
    try:
        await lost.wait()
    finally:
        if not lost.is_set():
            transport.end()
