"""The fast lane of datagrams: protocols, whose callbacks are called straight from the task that hears.

A handler is awaited; a protocol is told.  Its callbacks are those of PEP 3156, which asyncio and
Twisted programmers know, and they return at once, so nothing stands between the socket and them: no queue,
no coroutine, no second task.  For each socket one task waits, once, reads a few datagrams, calls, reads
again, and lets others have their turn after so many.

Sending waits for nothing either.  What the system does not take at once is kept, up to a bound, and sent
when there is room; ``pause_writing`` tells the protocol when it should send less.  Above the bound
a datagram is lost, counted and told, as datagrams may be, rather than that memory is filled.

The addresses are the socket module's own: ``(host, port)`` over IPv4, ``(host, port, flowinfo, scope_id)``
over IPv6, a path, or ``None`` for a UNIX socket without a name.  That is what protocols which
were written for asyncio are used to, and it is the shortest way.  One that a callback was given
remembers which of our addresses it had asked, and is answered from there.
"""

from __future__ import annotations

import contextvars
import errno
import os
import socket
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, TypeAlias

import trio

from ..errors import CannotSendError
from .addresses import Address, address_of, show_address
from .datagram_sockets import (
    ATTEMPTS,
    HEARD,
    NETWORK,
    NO_ROOM,
    AskedAddress,
    DatagramSocket,
    Destination,
    Ledger,
)
from .limits import buffer_limits

__all__ = ["DatagramProtocol", "DatagramProtocolFactory", "DatagramTransport"]

# So many datagrams are read between two looks at what other tasks want, and so many of them at once.  A peer
# that waits for answers is then woken once for several of them (measured: a twelfth of the cost of an echo).
_BATCH = 64
_READ = 16

# Above so many bytes that wait to be sent a datagram is lost.  Each costs some memory besides its bytes.
_MOST = 1024 * 1024
_COST = 256

_PATIENCE = 1.0  # seconds that a datagram waits for room, as with handlers


class DatagramProtocol:
    """What a protocol may be told, all of it ignored; a base to derive from, or a list to follow.

    Any object with these methods will do, such as one that derives from ``asyncio.DatagramProtocol``.
    What one of them raises is logged and counted, and ends nothing (rule L16).
    """

    def connection_made(self, transport: DatagramTransport) -> None:
        """The socket is bound and heard from now on.

        Args:
            transport: to answer by.
        """

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A datagram has come.

        Args:
            data: its bytes.
            addr: who sent it, as the socket module says it; :meth:`DatagramTransport.sendto` takes it.
        """

    def error_received(self, exc: OSError) -> None:
        """The system has refused a datagram that was sent, or the network complains of an earlier one.

        Args:
            exc: what it says.
        """

    def pause_writing(self) -> None:
        """More waits to be sent than the upper limit of the transport."""

    def resume_writing(self) -> None:
        """It is no more than the lower limit again."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, always: nothing is heard after it, and nothing can be sent.

        Args:
            exc: an error of the socket itself; ``None`` after ``close()``, ``abort()``, or the end of
                the service.
        """


#: What makes a protocol: mostly its class.  Any object with the methods of :class:`DatagramProtocol` will do.
DatagramProtocolFactory: TypeAlias = Callable[[], Any]


class DatagramTransport:
    """What a protocol answers by: one socket, in one run of its service.

    Its methods are for the thread in which trio runs.  None of them waits.
    """

    def __init__(
        self,
        sock: DatagramSocket,
        factory: DatagramProtocolFactory,
        ledger: Ledger,
        max_datagram: int,
        nursery: trio.Nursery,
    ) -> None:
        self._sock = sock
        self._ledger = ledger
        self._max_datagram = max_datagram
        self._nursery = nursery
        self._context = contextvars.copy_context()
        self._hearing = trio.CancelScope()
        self._closing = False  # it hears nothing more
        self._finishing = False  # nothing but what has arrived
        self._aborted = False  # what waits is thrown away
        self._lost = False  # the protocol has been told of the end
        self._heard_from: Destination = None  # who sent what the protocol is being told
        # A plain socket is asked directly; what stands between costs as much as the callback.
        self._hear = sock.sock.recvfrom if sock.is_plain else sock.hear
        self._send: Callable[[Any, Any], int] = sock.sock.sendto if sock.is_plain else sock.send
        self._waiting: deque[tuple[bytes, Destination, float]] = deque()
        self._waiting_for: Counter[Destination] = Counter()
        self._size = 0
        self._flushed: trio.Event | None = None
        self._paused = False
        self.set_write_buffer_limits()
        self._protocol = factory()
        self._call("connection_made", self)

    def __repr__(self) -> str:
        state = "closed" if self._lost else "closing" if self._closing else "open"
        return f"<{type(self).__name__} {show_address(self._sock.address)} {state}>"

    # ---- what a protocol may ask and say

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send *data* as one datagram; what the system refuses is told by ``error_received``.

        What it has no room for now is sent later, in order, if that is within a second.  After
        ``connection_lost`` nothing is sent.

        Args:
            data: its bytes; there may be none.
            addr: as a callback was given it, or ``(host, port)`` with a numeric host, or a path; to be left
                out where the socket is connected, as a client's is.

        Raises:
            TypeError: *data* is not bytes.
            ValueError: *addr* is no address, of another family, or not whom the socket is connected to.
        """
        if addr is not self._heard_from or addr is None:
            addr = self._destination(addr)
        if self._waiting and self._has_to_wait(addr):
            self._keep(data, addr)
            return
        try:
            size = self._send(data, addr)
        except OSError as error:
            if not self._lost:
                self._not_sent(data, addr, error)
        else:
            ledger = self._ledger
            ledger.sent += 1
            ledger.bytes_sent += size

    def close(self) -> None:
        """Hear nothing more in this run; ``connection_lost`` follows when what waits has been sent."""
        if not self._closing:
            self._closing = True
            self._hearing.cancel(reason="its protocol has closed the transport")

    def abort(self) -> None:
        """The same, but what waits is thrown away."""
        self._aborted = True
        self._throw_away()
        self.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or soon will be."""
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The ``"socket"``, its own address (``"sockname"``), or whom it is connected to (``"peername"``).

        Args:
            name: one of these.
            default: what is given for anything else.
        """
        sock = self._sock.sock
        match name:
            case "socket":
                return sock
            case "sockname":
                return sock.getsockname()
            case "peername" if self._sock.peername is not None:
                return self._sock.peername
        return default

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be sent; each datagram counts 256 more than it has, for what it costs."""
        return self._size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The lower and the upper limit."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say when ``pause_writing`` and ``resume_writing`` are to be called.

        Args:
            high: in bytes; 64 KiB by default, or four times *low*.
            low: in bytes; by default a quarter of *high*.

        Raises:
            ValueError: *low* is more than *high*, or less than nothing.
        """
        self._low, self._high = buffer_limits(high, low)

    # ---- its life, which the service conducts

    async def attend(self) -> None:
        """Hear until closed, finished or cancelled, and see the protocol to its end."""
        error: Exception | None = None
        try:
            with self._hearing:
                await self._hear_until_cancelled()
            if not self._closing:
                await self._hear_the_rest()
                self._closing = True
            while self._flushed is not None:
                await self._flushed.wait()
        except OSError as caught:
            error = caught
            raise
        finally:
            self.lose(error)

    def finish(self) -> None:
        """Hear nothing but what has arrived, and close then."""
        self._finishing = True
        self._hearing.cancel(reason="the service takes no new datagrams")

    def lose(self, error: Exception | None) -> None:
        """This is the end: tell the protocol, once."""
        if self._lost:
            return
        self._lost = self._closing = self._aborted = True
        self._throw_away()
        self._send = _sends_nothing
        self._call("connection_lost", error)

    # ---- hearing

    async def _hear_until_cancelled(self) -> None:
        while not (self._closing or self._finishing):
            await self._sock.wait_readable()
            try:
                self._hear_and_tell(1)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                await trio.sleep(0.02)  # the kernel has no memory

    async def _hear_the_rest(self) -> None:
        """Hear what has arrived until now; others have their turn meanwhile, but a peer cannot prolong it."""
        left = self._sock.capacity
        for attempt in range(left):
            try:
                heard = self._hear_and_tell(_READ)
            except OSError as error:  # as when hearing, but nobody waits for the kernel's memory now
                if error.errno not in NO_ROOM or attempt >= ATTEMPTS:
                    raise
            else:
                left -= heard
                if heard < _BATCH or left <= 0 or self._closing:
                    return
            await trio.lowlevel.checkpoint()

    def _hear_and_tell(self, at_once: int) -> int:
        """Take up to *at_once* datagrams, then more, tell the protocol, and return how many there were."""
        heard = 0
        while heard < _BATCH and not self._closing:
            batch, trouble = self._take(at_once)
            self._tell(batch)
            heard += len(batch)
            if trouble is not None:
                if trouble.errno not in HEARD:
                    raise trouble
                heard += 1
                self._complain(self._sock.peername, trouble)
            elif not batch or not self._sock.looks_on(again=at_once == _READ):
                break
            at_once = _READ
        return heard

    def _take(self, most: int) -> tuple[list[tuple[bytes, Destination]], OSError | None]:
        """Up to *most* datagrams, without waiting, and what has gone wrong after them."""
        batch: list[tuple[bytes, Destination]] = []
        hear, size = self._hear, self._max_datagram + 1
        try:
            for _ in range(most):
                batch.append(hear(size))
        except BlockingIOError:
            pass
        except OSError as error:
            return batch, error
        return batch, None

    def _tell(self, batch: list[tuple[bytes, Destination]]) -> None:
        """Tell the protocol what has come."""
        ledger, limit, protocol = self._ledger, self._max_datagram, self._protocol
        ledger.received += len(batch)
        ledger.bytes_received += sum([len(data) for data, _ in batch])
        for data, addr in batch:
            if len(data) > limit:
                ledger.reject(address_of(addr), limit)
            elif self._closing:
                ledger.dropped += 1  # it had been read when the protocol closed
            else:
                self._heard_from = addr
                try:
                    protocol.datagram_received(data, addr)
                except Exception as error:  # noqa: BLE001 - L16: it is told, counted, and ends nothing
                    ledger.fail(address_of(addr), error, False)
        self._heard_from = None

    # ---- sending

    def _destination(self, addr: Any) -> Destination:
        """What the socket module calls *addr*, which a user has given."""
        sock = self._sock
        if sock.peername is not None:
            if addr is None or addr == sock.peername:
                return sock.peername
            raise ValueError(f"this transport sends to {sock.peername!r} only; leave {addr!r} out")
        if addr is None:
            raise ValueError("sendto() needs an address: this transport is connected to nobody")
        if isinstance(addr, AskedAddress):
            return addr
        scoped = sock.family == socket.AF_INET6 and isinstance(addr, tuple) and len(addr) == 4
        to = sock.destination(addr[:2] if scoped else os.fsdecode(addr) if isinstance(addr, bytes) else addr)
        if to is None:
            bound = show_address(sock.address)
            raise ValueError(f"{addr!r} cannot be reached from {bound}: it is an address of another family")
        return addr if scoped else to

    def _not_sent(self, data: bytes | bytearray | memoryview, addr: Destination, error: OSError) -> None:
        """The system has not taken a datagram."""
        if error.errno in NO_ROOM:
            self._keep(data, addr)
            return
        self._complain(addr, error)
        if self._sock.complains_late and error.errno in NETWORK and not self._lost:
            # That was said of an earlier one, and saying so has cleared it.
            try:
                self._count(self._send(data, addr))
            except OSError as another:
                self._complain(addr, another)

    def _count(self, size: int) -> None:
        self._ledger.sent += 1
        self._ledger.bytes_sent += size

    def _complain(self, addr: Destination, error: OSError) -> None:
        self._ledger.fail(None if addr is None else address_of(addr), error, True)
        self._call("error_received", error)

    def _has_to_wait(self, addr: Destination) -> bool:
        """Whether a datagram has to stand behind those that wait."""
        return not self._room_is_the_peers or addr in self._waiting_for

    @property
    def _room_is_the_peers(self) -> bool:
        """Whether each peer has room, or none, by itself: a UNIX socket puts into the other's queue."""
        return self._sock.is_unix and self._sock.peername is None

    def _keep(self, data: bytes | bytearray | memoryview, addr: Destination) -> None:
        """Keep a datagram until there is room, if it is not too much already."""
        kept = memoryview(data).tobytes()
        if self._size >= _MOST:
            message = f"cannot send to {show_address(address_of(addr))}: {self._size} bytes wait already"
            self._ledger.fail(address_of(addr), CannotSendError(errno.ENOBUFS, message), True)
            return
        self._waiting.append((kept, addr, trio.current_time() + _PATIENCE))
        self._waiting_for[addr] += 1
        self._size += len(kept) + _COST
        if self._flushed is None:
            self._flushed = trio.Event()
            # The flush has nothing of the sender's context.
            self._context.run(self._nursery.start_soon, self._flush)
        if self._size > self._high and not self._paused:
            self._paused = True
            self._call("pause_writing")

    async def _flush(self) -> None:
        """Send what waits."""
        fruitless = 0
        while self._waiting:
            if fruitless:
                # A buffer of the system's, or the queue of a UNIX peer, is full, and nothing tells
                # when it is no longer.
                await trio.sleep(0.001 * 2 ** min(fruitless, 6))
            else:
                with trio.move_on_after(_PATIENCE):
                    await self._sock.wait_writable()
            fruitless = 0 if self._send_some() else fruitless + 1
            if self._paused and self._size <= self._low:
                self._paused = False
                self._call("resume_writing")
        assert self._flushed is not None
        self._flushed.set()
        self._flushed = None

    def _send_some(self) -> bool:
        """Send some of what waits, in order for each peer; whether fewer wait now."""
        before, now = len(self._waiting), trio.current_time()
        passed: list[tuple[bytes, Destination, float]] = []
        full: set[Destination] = set()
        for _ in range(min(before, _BATCH)):
            if not self._waiting:  # thrown away, by a callback
                return True
            data, addr, until = item = self._waiting[0]
            trouble = None if addr in full else self._try(data, addr)
            if addr in full or (trouble is not None and trouble.errno in NO_ROOM and now < until):
                if not self._room_is_the_peers:
                    break
                full.add(addr)
                passed.append(item)
                self._waiting.popleft()
                continue
            self._let_go()
            if trouble is not None:
                self._complain(addr, trouble)
        if not self._aborted:
            self._waiting.extendleft(reversed(passed))
        return len(self._waiting) < before

    def _try(self, data: bytes, addr: Destination) -> OSError | None:
        try:
            self._count(self._send(data, addr))
        except OSError as error:
            return error
        return None

    def _let_go(self) -> None:
        """The first of those that wait has gone."""
        data, addr, _ = self._waiting.popleft()
        self._size -= len(data) + _COST
        self._waiting_for[addr] -= 1
        if not self._waiting_for[addr]:
            del self._waiting_for[addr]

    def _throw_away(self) -> None:
        self._waiting.clear()
        self._waiting_for.clear()
        self._size = 0

    # ---- telling

    def _call(self, callback: str, *args: object) -> None:
        try:
            getattr(self._protocol, callback)(*args)
        except Exception as error:  # noqa: BLE001 - L16: it is told, counted, and ends nothing
            peer: Address | None = self._sock.peer
            self._ledger.fail(peer, error, False)


def _sends_nothing(data: object, addr: object) -> int:
    """What sending is after the end."""
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
