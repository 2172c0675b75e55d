"""The stream that a handler is given: trio's, and it knows who is at the other end.

:class:`Connection` is what all of them share, whatever carries the bytes: addresses, counters,
and the knowledge of whether an error was the connection's own.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import weakref
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

import trio

from . import system
from .addresses import Address, address_of
from .polls import DOUBTFUL, ENDED, ENOUGH, NEWS, READABLE, WRITABLE, Failure, Poll, Watcher

__all__ = ["MOST", "Connection", "SocketStream", "StreamHandler", "Taker"]

#: What a receive takes at most, unless it is asked for another number.  For each the interpreter takes so
# much memory and gives back what was not needed; from 64 KiB on the C library tidies up each time.
MOST = 60 * 1024

# So much of a file is sent between two looks at what other tasks want.
_MOST_OF_FILE = 1024 * 1024

# What is done for every message is looked up once.
_current_task = trio.lowlevel.current_task
_reschedule = trio.lowlevel.reschedule
_wait_task_rescheduled = trio.lowlevel.wait_task_rescheduled

# After an end, to try is to be told of it.
_INCOMING = READABLE | DOUBTFUL
_OUTGOING = WRITABLE | ENDED

_SENDING = "another task is already sending on this stream"
_RECEIVING = "another task is already receiving from this stream"
_CLOSED = "this stream was closed"


#: Takes what has come, and says whether that is enough.
Taker = Callable[[bytes | bytearray], bool]


class Connection(trio.abc.Stream):
    """One connection, as a :class:`trio.abc.Stream`.

    Attributes:
        peer: the address of the other end, as it was when the connection was made; it can be
            asked for after the peer has gone.  Behind a proxy that tells it (the PROXY
            protocol), the address of the real client.
        bytes_received: on the wire, so far.
        bytes_sent: handed to the system, so far.
    """

    peer: Address
    bytes_received: int
    bytes_sent: int

    # Weakly: an error has a traceback, which has us.
    _broken_by: tuple[weakref.ref[BaseException], ...] = ()

    @property
    @abstractmethod
    def local(self) -> Address:
        """The address of our end; behind a proxy that tells it, of the end that the client knows."""

    def progress(self) -> object:
        """Something that differs from before if bytes have moved since."""
        return self.bytes_received, self.bytes_sent

    async def receive_by(self, take: Taker) -> bool:
        """Have *take* take what comes, piece by piece, until it says that it has enough.

        Where a poll tells of many sockets, it is called by the poll, in the moment in which the bytes
        come, and the receiver sleeps until there is enough.  So one piece of code takes what all of
        them have sent before another makes use of it: to a processor that is a difference of a fifth.

        Args:
            take: is given at least one byte, and must neither wait nor do anything with this stream.

        Returns:
            whether there was enough; if not, the peer has ended its half.

        Raises:
            trio.BrokenResourceError: the connection broke.
            Exception: what *take* has raised.
        """
        while data := await self.receive_some():
            if take(data):
                return True
        return False

    def send_at_once(self, data: bytes) -> int:
        """Send what needs no checkpoint and no waiting, and say how much that was; mostly all, or nothing."""
        return 0

    async def send_file(self, fileno: int, offset: int, count: int) -> None:
        """Send a part of an open file, whose position is neither used nor changed.

        Args:
            fileno: the file's descriptor.
            offset: where the part begins.
            count: how many bytes it has.

        Raises:
            EOFError: the file has less.
            trio.BrokenResourceError: the peer has gone.
        """
        end = offset + count
        while offset < end:
            data = os.pread(fileno, min(end - offset, MOST), offset)
            if not data:
                raise _too_short(end - offset)
            await self.send_all(data)
            offset += len(data)

    @abstractmethod
    def abandon(self) -> None:
        """Close it at once, without a word to the peer and without a checkpoint."""

    def broke_with(self, error: BaseException) -> bool:
        """Whether *error*, or everything in that group, is what this stream raised when it broke."""
        if isinstance(error, BaseExceptionGroup):
            return all(self.broke_with(part) for part in error.exceptions)
        return any(error is one() for one in self._broken_by)

    def _broke(self, error: trio.BrokenResourceError) -> NoReturn:
        # A reader and a writer may each be told; more than a few are tries after the end.
        self._broken_by = (*self._broken_by[-7:], weakref.ref(error))
        raise error


class SocketStream(Connection, trio.abc.HalfCloseableStream):
    """A connection over a socket, TCP or UNIX, as a :class:`trio.abc.HalfCloseableStream`.

    It does what :class:`trio.SocketStream` does, with less work.  After a short read there is
    nothing more to read, so the next one waits at once.  And every operation lets others have
    their turn, with one exception: a receive that really waited has done so, and earns the send
    that follows it.

    Args:
        sock: connected; it becomes ours.
        peer: who is at the other end.
    """

    __slots__ = (
        "_ahead",
        "_descriptor",
        "_earned",
        "_has_sent_eof",
        "_is_doubtful",
        "_is_sending",
        "_is_unix",
        "_local",
        "_poll",
        "_reader",
        "_sock",
        "_take",
        "_watcher",
        "_writer",
        "bytes_received",
        "bytes_sent",
        "is_readable",
        "peer",
    )

    def __init__(self, sock: socket.socket, peer: Address) -> None:
        sock.setblocking(False)
        self._sock = sock
        self.peer = peer
        self.bytes_received = 0
        self.bytes_sent = 0
        self._local: Address | None = None
        self._ahead = b""
        self._earned = False  # the right to one send that is no checkpoint
        self._has_sent_eof = False
        self._is_sending = False  # a large send, of which others must not get between the pieces
        # What is known of the socket, and who waits for better news; see polls.
        self.is_readable = True
        # A short read means that there is no more, but not always: the end, and urgent data, may have
        # been told together with what was read; and a UNIX socket does not join what was sent with
        # credentials, or descriptors, and without.
        self._is_unix = not isinstance(peer, tuple)
        self._is_doubtful = self._is_unix
        self._poll: Poll | None = None
        self._watcher: Watcher | None = None
        self._descriptor = -1  # that is watched
        self._reader: trio.lowlevel.Task | None = None
        self._take: Taker | None = None  # for the reader, while it sleeps
        self._writer: trio.lowlevel.Task | None = None

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket below, for options; what closes it is :meth:`aclose`."""
        return system.as_trio_socket(self._sock)

    @property
    def local(self) -> Address:
        """The address of our end; raises OSError once the connection is closed."""
        return self._local if self._local is not None else address_of(self._sock.getsockname())

    def progress(self) -> object:
        """Something that differs from before if bytes have moved; out of the kernel's buffer, too.

        That can hold megabytes, over which a slow reader takes minutes while no send ends.
        """
        return self.bytes_received, self.bytes_sent, _unsent(self._sock)

    def introduce(self, peer: Address, local: Address) -> None:
        """Go by the addresses that a proxy has told."""
        self.peer = peer
        self._local = local

    def put_back(self, data: bytes) -> None:
        """Let the next :meth:`receive_some` begin with *data*, which was read too far ahead."""
        self._ahead = data + self._ahead
        self.is_readable = True

    # ---- receiving

    # Two ways in, one coroutine: in an idle server, those that wait here are most of its memory.

    def receive_some(self, max_bytes: int | None = None) -> Coroutine[Any, Any, bytes]:
        """The next bytes, at least one; ``b""`` when the peer has ended its half."""
        if max_bytes is None:
            max_bytes = MOST
        elif max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
        return self._receive(max_bytes, False)

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._receive(MOST, True)

    async def _receive(self, max_bytes: int, iterating: bool) -> bytes:
        data = None
        if self.is_readable:
            await trio.lowlevel.checkpoint_if_cancelled()
            data = self.receive_nowait(max_bytes)
            if data is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
        while data is None:
            if self._watcher is not None or self._watch():
                if self._reader is not None:
                    raise trio.BusyResourceError(_RECEIVING)
                self._reader = _current_task()
                await _wait_task_rescheduled(self._stop_reading)
                data = self.receive_nowait(max_bytes)
            else:
                # One among few: a quick peer answers while others have their turn, and not to sleep
                # then is to be quicker, too.
                await trio.lowlevel.checkpoint()
                data = self.receive_nowait(max_bytes)
                if data is None:
                    await system.wait_readable(self._sock)
                    data = self.receive_nowait(max_bytes)
            self._earned = True
        if iterating and not data:
            raise StopAsyncIteration
        return data

    async def receive_by(self, take: Taker) -> bool:
        """See :meth:`Connection.receive_by`."""
        while True:
            if self.is_readable or not (self._watcher is not None or self._watch()):
                data = await self._receive(MOST, False)
                if not data or take(data):
                    return bool(data)
            elif self._reader is not None:
                raise trio.BusyResourceError(_RECEIVING)
            else:
                self._reader, self._take = _current_task(), take
                has_enough = await _wait_task_rescheduled(self._stop_reading)
                self._earned = True
                if has_enough:
                    return True

    def _take_ahead(self, max_bytes: int) -> bytes:
        if self._sock.fileno() == -1:
            raise trio.ClosedResourceError(_CLOSED)
        data, self._ahead = self._ahead[:max_bytes], self._ahead[max_bytes:]
        return data

    def _stop_reading(self, _: object) -> trio.lowlevel.Abort:
        self._reader = self._take = None
        return trio.lowlevel.Abort.SUCCEEDED

    def receive_nowait(self, max_bytes: int = MOST) -> bytes | None:
        """What is there, without waiting; ``None`` if that is nothing; ``b""`` at the end."""
        if self._ahead:
            return self._take_ahead(max_bytes)
        try:
            data = self._sock.recv(max_bytes)
        except BlockingIOError:
            self.is_readable = False
            self._is_doubtful = self._is_unix
            return None
        except OSError as error:
            self._fail(error)
        size = len(data)
        self.bytes_received += size
        self.is_readable = size == max_bytes or size == 0 or self._is_doubtful
        return data

    # ---- sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of *data*; raises :exc:`trio.BrokenResourceError` if the peer has gone."""
        if self._is_sending or self._has_sent_eof:
            self._refuse_to_send()
        earned, self._earned = self._earned, False
        if not earned:
            await trio.lowlevel.checkpoint_if_cancelled()
        sent = self.send_nowait(data)
        if sent < (len(data) if type(data) is bytes else memoryview(data).nbytes):
            await self._send_rest(data, sent)
        elif not earned:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def send_at_once(self, data: bytes) -> int:
        """Send what there is room for, if a receive has earned it; and say how much that was."""
        if not self._earned or self._is_sending or self._has_sent_eof:
            return 0
        self._earned = False
        return self.send_nowait(data)

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Send what there is room for, without waiting, and say how much that was."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._fail(error)
        self.bytes_sent += sent
        return sent

    async def _send_rest(self, data: bytes | bytearray | memoryview, sent: int) -> None:
        self._is_sending = True
        try:
            with memoryview(data) as whole, whole.cast("B") as rest:
                while sent < len(rest):
                    await self._room()
                    with rest[sent:] as piece:
                        sent += self.send_nowait(piece)
        finally:
            self._is_sending = False

    async def _room(self) -> None:
        """Wait until the kernel takes more."""
        if self._watcher is not None or self._watch():
            self._writer = _current_task()
            await _wait_task_rescheduled(self._stop_writing)
        else:
            await system.wait_writable(self._sock)

    async def send_file(self, fileno: int, offset: int, count: int) -> None:
        """Send a part of an open file; the kernel does it by itself (sendfile), if it can."""
        end = offset + count
        if not isinstance(self._sock, system.Simulated):
            if self._is_sending or self._has_sent_eof:
                self._refuse_to_send()
            self._earned = False
            self._is_sending = True
            try:
                offset = await self._let_kernel_send(fileno, offset, end)
            finally:
                self._is_sending = False
        await super().send_file(fileno, offset, end - offset)

    async def _let_kernel_send(self, fileno: int, offset: int, end: int) -> int:
        """Send from *offset* to *end*, or, if it is a kind of file that the kernel cannot send, so far."""
        await trio.lowlevel.checkpoint()
        while offset < end:
            try:
                sent = os.sendfile(self._sock.fileno(), fileno, offset, min(end - offset, _MOST_OF_FILE))
            except BlockingIOError:
                await self._room()
                continue
            except OSError as error:
                if error.errno == errno.EINVAL:
                    break
                self._fail(error)
            if not sent:
                raise _too_short(end - offset)
            self.bytes_sent += sent
            offset += sent
            await trio.lowlevel.checkpoint()
        return offset

    def _stop_writing(self, _: object) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until :meth:`send_all` could take some data."""
        if self._is_sending or self._has_sent_eof:
            self._refuse_to_send()
        if self._sock.fileno() == -1:
            raise trio.ClosedResourceError(_CLOSED)
        self._is_sending = True
        try:
            await system.wait_writable(self._sock)
        finally:
            self._is_sending = False

    async def send_eof(self) -> None:
        """End our half; the peer may go on sending."""
        if self._is_sending:
            raise trio.BusyResourceError(_SENDING)
        await trio.lowlevel.checkpoint()
        self.send_eof_nowait()

    def send_eof_nowait(self) -> None:
        """End our half, without letting others have their turn."""
        if not self._has_sent_eof:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                self._fail(error)
            self._has_sent_eof = True

    def _refuse_to_send(self) -> NoReturn:
        if self._is_sending:
            raise trio.BusyResourceError(_SENDING)
        raise trio.ClosedResourceError("nothing can be sent after the end was sent (send_eof)")

    # ---- what is known of the socket

    def wait_by(self, poll: Poll) -> None:
        """Wait by *poll*, which has to outlive this stream, when there is first something to wait for.

        By default it waits by trio, which costs less where there are few.
        """
        self._poll = poll

    def let_watch(self, poll: Poll, watcher: Watcher) -> None:
        """Let *watcher* be told what happens, which tells this stream by :meth:`ready`.

        Raises:
            OSError: the kernel has no room for one more.
        """
        descriptor = self._sock.fileno()
        poll.watch(descriptor, watcher)
        self._poll, self._watcher, self._descriptor = poll, watcher, descriptor

    def _watch(self) -> bool:
        """See that :meth:`ready` is called; false if this stream waits by trio."""
        if self._poll is not None:
            try:
                self.let_watch(self._poll, self)
            except OSError:
                self._poll = None
        return self._poll is not None

    def ready(self, events: int) -> None:
        """What the poll tells."""
        if events & _INCOMING:
            self.is_readable = True
            if events & DOUBTFUL:
                self._is_doubtful = True
            reader = self._reader
            if reader is not None:
                news = NEWS if self._take is None else self._let_take(self._take)
                if news is not None:
                    self._reader = self._take = None
                    _reschedule(reader, news)
        writer = self._writer
        if writer is not None and events & _OUTGOING:
            self._writer = None
            _reschedule(writer, NEWS)

    def _let_take(self, take: Taker) -> Any:
        """Take what has come, for a reader that sleeps; with what that is to be woken, if it is."""
        try:
            data = self.receive_nowait()
            if data and take(data):
                return ENOUGH
        except Exception as error:  # noqa: BLE001 - L16: it is the reader's, and nobody else's
            return Failure(error)
        # If there is more, or the end, nothing will tell of it again.
        return NEWS if self.is_readable else None

    def _fail(self, error: OSError) -> NoReturn:
        if self._sock.fileno() == -1:
            raise trio.ClosedResourceError(_CLOSED) from None
        broken = trio.BrokenResourceError(f"the connection broke: {error.strerror or error}")
        broken.__cause__ = error
        self._broke(broken)

    # ---- closing

    async def aclose(self) -> None:
        """Close both halves."""
        self.abandon()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Close both halves, now, and have the peer told that there was more to say."""
        with suppress(OSError):  # it is closed already
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abandon()

    def abandon(self) -> None:
        """Close both halves, now."""
        if self._poll is not None and self._watcher is not None:
            self._poll.forget(self._descriptor, self._watcher)
            self._watcher = None
        if self._sock.fileno() == -1:
            return
        if self._poll is None or self._is_sending:
            system.notify_closing(self._sock)
        self._sock.close()
        self._poll = None
        self.is_readable = True  # to try is to be told that it is closed
        for waiter in (self._reader, self._writer):
            if waiter is not None:
                _reschedule(waiter, NEWS)
        self._reader = self._take = self._writer = None


def _too_short(missing: int) -> EOFError:
    return EOFError(f"the file ends {missing} bytes before the end of what was to be sent of it")


def _unsent(sock: socket.socket) -> int:
    """How many bytes the kernel holds that the peer has not taken; 0 where it does not tell."""
    import array  # only servers with an idle_timeout ask
    import fcntl
    import termios

    number = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, number)
    except (OSError, ValueError):  # closed, or of a system that has other ways
        return 0
    return number[0]


#: What a server calls for each connection; the stream is closed when it returns.
StreamHandler = Callable[[Any], Awaitable[object]]
