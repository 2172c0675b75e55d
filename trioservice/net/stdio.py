"""``stdio:``: one connection that is there from the start, over standard input and output.

That is how inetd, ``socat EXEC:``, ssh and tests speak to a program, and how a server's handler
becomes a filter in a pipeline.  The one connection is served, and the server is finished when
its handler returns; an application with nothing else to do ends then.

Standard input and output belong to the process, not to us: we work on duplicates, and what
had to be changed on the originals (waiting without blocking is a property of the open file,
which duplicates share, and so may standard error and even our parent) is put back at the end.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
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
    for descriptor in (_STDIN, _STDOUT):
        try:
            os.fstat(descriptor)
        except OSError:
            message = f"cannot listen on stdio: descriptor {descriptor} is closed; leave it open for us"
            raise CannotListenError(errno.EBADF, message) from None
    inheritance().take(ADDRESS, _STDIN, _STDOUT)


def release() -> None:
    """Let others have them."""
    inheritance().give_back(_STDIN, _STDOUT)


class StdioStream(Connection, trio.abc.HalfCloseableStream):
    """Standard input and output as one stream, whose ``peer`` and ``local`` are ``"stdio"``.

    While it is open, do not ``print``: that would be said to the peer, and could fail because
    standard output does not block now.  When it is closed, descriptors 0 and 1 are as they were,
    except that after :meth:`send_eof` descriptor 1 leads to ``/dev/null``.
    """

    def __init__(self) -> None:
        self.peer = ADDRESS
        self.bytes_received = 0
        self.bytes_sent = 0
        with ExitStack() as undo:
            # An end puts back, when it is closed, what it found.  Where both are the same open file,
            # the first has found what was there before us, and the stack closes it last.
            self._in = _end(_STDIN, undo)
            self._out = _end(_STDOUT, undo)
            self._undo = undo.pop_all()

    @property
    def local(self) -> Address:
        """``"stdio"``."""
        return ADDRESS

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of *data*; raises :exc:`trio.BrokenResourceError` if nobody reads it any more."""
        try:
            with memoryview(data) as whole, whole.cast("B") as pieces:
                for start in range(0, max(len(pieces), 1), _PIECE):
                    with pieces[start : start + _PIECE] as piece:
                        await self._out.send_all(piece)
                        self.bytes_sent += len(piece)
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until :meth:`send_all` could take some data."""
        await self._out.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes, at least one; ``b""`` at the end of standard input."""
        try:
            data = await self._in.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self._broke(error)
        self.bytes_received += len(data)
        return data

    async def send_eof(self) -> None:
        """End our half, so that whoever reads standard output sees its end."""
        self._out.close()
        if stat.S_ISSOCK(os.fstat(_STDOUT).st_mode):
            with suppress(OSError), socket.socket(fileno=os.dup(_STDOUT)) as sock:  # gone already
                sock.shutdown(socket.SHUT_WR)
        else:
            # A pipe ends when its last descriptor is closed, and ours was a duplicate.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDOUT)
            os.close(nowhere)
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Let go of standard input and output, as they were."""
        self.abandon()
        await trio.lowlevel.checkpoint()

    def abandon(self) -> None:
        """Let go of them, now."""
        self._undo.close()


# ---- the two ends -----------------------------------------------------------------------------


class _End(Protocol):
    """Half of a stream."""

    async def send_all(self, data: memoryview, /) -> None: ...
    async def wait_send_all_might_not_block(self) -> None: ...
    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...
    def close(self) -> None: ...


def _end(descriptor: int, undo: ExitStack) -> _End:
    mode = os.fstat(descriptor).st_mode
    duplicate = os.dup(descriptor)
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor):
        end: _End = trio.lowlevel.FdStream(duplicate)
    else:
        end = _FileEnd(duplicate)
    undo.callback(end.close)
    return end


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
