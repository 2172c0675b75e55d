"""``stdio:``: one connection that is there from the start, over standard input and output.

That is how inetd, ``socat EXEC:``, ssh and tests speak to a program, and how a server's handler
becomes a filter in a pipeline.  The one connection is served, and the server is finished when
its handler returns; an application with nothing else to do ends then.

Standard input and output belong to the process, not to us, and the open files behind them to
others as well: to standard error after ``2>&1``, at a terminal and under inetd, and maybe to our
parent.  Not to block is a mode of the open file, and a log whose file does not block loses lines.
So we leave the mode alone: a socket is told with each call not to wait, and a pipe or a terminal
is opened once more, for us.  Where that cannot be (see ``_opened_again``), the mode is
changed while we serve, and put back at the end.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from contextlib import ExitStack, suppress
from typing import Protocol

import trio

from ..errors import CannotListenError
from .addresses import Address
from .inherited import inheritance
from .streams import Connection

__all__ = ["ADDRESS", "StdioStream", "claim", "release"]

#: As whom both ends go.
ADDRESS = "stdio"

_STDIN, _STDOUT = 0, 1
_PIECE = 256 * 1024  # how much is sent before it is counted, as for sockets


def claim() -> None:
    """Have standard input and output for oneself alone.

    Raises:
        CannotListenError: another has them, or they are closed.
    """
    # Where a descriptor was closed from the start, Python has no stream; what is open there by now
    # was opened by somebody since, a database perhaps.
    for descriptor, at_start in ((_STDIN, sys.__stdin__), (_STDOUT, sys.__stdout__)):
        if at_start is None or not _is_open(descriptor):
            message = f"cannot listen on stdio: descriptor {descriptor} is closed; leave it open for us"
            raise CannotListenError(errno.EBADF, message)
    inheritance().take(ADDRESS, _STDIN, _STDOUT)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def release() -> None:
    """Let others have them."""
    inheritance().give_back(_STDIN, _STDOUT)


class StdioStream(Connection, trio.abc.HalfCloseableStream):
    """Standard input and output as one stream, whose ``peer`` and ``local`` are ``"stdio"``.

    While it is open, do not ``print``: that would be said to the peer.  When it is closed,
    descriptors 0 and 1 are as they were, except that after :meth:`send_eof` descriptor 1 leads to
    ``/dev/null``.

    Standard error may be the same open file, and stays as it is, with one exception: where a pipe
    or a terminal cannot be opened once more (it is another user's, since privileges were dropped;
    the system is not Linux), the file does not block while the stream is open, and lines of the
    log that it cannot take at once are lost.  Let standard error lead elsewhere then.
    """

    def __init__(self) -> None:
        self.peer = ADDRESS
        self.bytes_received = 0
        self.bytes_sent = 0
        self._sending, self._receiving = _OneAtATime("sends"), _OneAtATime("receives")
        self._closed = False
        with ExitStack() as undo:
            # An end puts back, when it is closed, what it found.  Where both are the same open file,
            # the first has found what was there before us, and the stack closes it last.
            self._in = _end(_STDIN, os.O_RDONLY, undo)
            self._out = _end(_STDOUT, os.O_WRONLY, undo)
            self._undo = undo.pop_all()

    @property
    def local(self) -> Address:
        """``"stdio"``."""
        return ADDRESS

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of *data*; raises :exc:`trio.BrokenResourceError` if nobody reads it any more."""
        try:
            with self._sending, memoryview(data) as whole, whole.cast("B") as pieces:
                for start in range(0, max(len(pieces), 1), _PIECE):
                    with pieces[start : start + _PIECE] as piece:
                        await self._out.send_all(piece)
                        self.bytes_sent += len(piece)
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until :meth:`send_all` could take some data."""
        try:
            with self._sending:
                await self._out.wait_send_all_might_not_block()
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes, at least one; ``b""`` at the end of standard input."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
        try:
            with self._receiving:
                data = await self._in.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self._broke(error)
        self.bytes_received += len(data)
        return data

    async def send_eof(self) -> None:
        """End our half, so that whoever reads standard output sees its end."""
        with self._sending:
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            self._end_output()
            await trio.lowlevel.checkpoint()

    def _end_output(self) -> None:
        self._out.close()
        if stat.S_ISSOCK(os.fstat(_STDOUT).st_mode):
            with suppress(OSError), socket.socket(fileno=os.dup(_STDOUT)) as sock:  # gone already
                sock.shutdown(socket.SHUT_WR)
        else:
            # A pipe ends when its last descriptor is closed, and ours was a duplicate.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDOUT)
            os.close(nowhere)

    async def aclose(self) -> None:
        """Let go of standard input and output, as they were."""
        self.abandon()
        await trio.lowlevel.checkpoint()

    def abandon(self) -> None:
        """Let go of them, now."""
        self._closed = True
        self._undo.close()


class _OneAtATime:
    """Two tasks that send at once would mix their bytes, so the second is told (trio's rule for streams)."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(f"another task {self._what} already")
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False


# ---- the two ends -----------------------------------------------------------------------------


class _End(Protocol):
    """Half of a stream."""

    async def send_all(self, data: memoryview, /) -> None: ...
    async def wait_send_all_might_not_block(self) -> None: ...
    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...
    def close(self) -> None: ...


def _end(descriptor: int, access: int, undo: ExitStack) -> _End:
    mode = os.fstat(descriptor).st_mode
    end: _End
    if stat.S_ISSOCK(mode):
        end = _SocketEnd(os.dup(descriptor))
    elif stat.S_ISFIFO(mode) or os.isatty(descriptor):
        end = trio.lowlevel.FdStream(_opened_again(descriptor, access))
    else:
        end = _FileEnd(os.dup(descriptor))
    undo.callback(end.close)
    return end


def _opened_again(descriptor: int, access: int) -> int:
    """What *descriptor* leads to, as an open file of our own; a duplicate if that cannot be had.

    Linux opens it by this path, if we may open the pipe or the terminal itself.  Elsewhere there
    is no such path (what BSD has in ``/dev/fd`` makes duplicates).
    """
    try:
        return os.open(f"/proc/self/fd/{descriptor}", access | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return os.dup(descriptor)


class _SocketEnd:
    """An end that is a socket, of which each call says that it must not wait."""

    def __init__(self, descriptor: int) -> None:
        was_blocking = os.get_blocking(descriptor)
        self._sock = socket.socket(fileno=descriptor)
        self._sock.settimeout(None)  # socket.setdefaulttimeout would have Python itself wait
        os.set_blocking(descriptor, was_blocking)

    async def send_all(self, data: memoryview, /) -> None:
        self._open()
        await trio.lowlevel.checkpoint()
        while data:
            try:
                data = data[self._open().send(data, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self._open())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self._open().recv(max_bytes or 65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def _open(self) -> socket.socket:
        if self._sock.fileno() == -1:
            raise trio.ClosedResourceError("this stream was closed")
        return self._sock

    def close(self) -> None:
        if self._sock.fileno() != -1:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()


class _FileEnd:
    """An end that is a file, or a device like ``/dev/null``.

    The system does not tell when such a thing can be read or written, because it nearly always can;
    where a disk is slow, a thread waits for it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def send_all(self, data: memoryview, /) -> None:
        while data:
            data = data[await trio.to_thread.run_sync(os.write, self._open(), data) :]

    async def wait_send_all_might_not_block(self) -> None:
        self._open()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await trio.to_thread.run_sync(os.read, self._open(), max_bytes or 65536)

    def _open(self) -> int:
        if self._descriptor == -1:
            raise trio.ClosedResourceError("this stream was closed")
        return self._descriptor

    def close(self) -> None:
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1
