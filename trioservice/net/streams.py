"""The stream that a handler is given: trio's, and it knows who is at the other end.

:class:`Connection` is what all of them share, whatever carries the bytes: addresses, counters,
and the knowledge of whether an error was the connection's own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import trio

from .addresses import Address, address_of

__all__ = ["Connection", "SocketStream", "StreamHandler"]

# A large send is made in pieces of this size, so that its progress can be counted.
_PIECE = 64 * 1024


class Connection(trio.abc.Stream):
    """One connection, as a :class:`trio.abc.Stream`.

    Attributes:
        peer: the address of the other end, as it was when the connection was made; it can be
            asked for after the peer has gone.  Behind a proxy that tells it (the PROXY
            protocol), the address of the real client.
        bytes_received: on the wire, so far.
        bytes_sent: handed to the system, so far; of a send that is under way, or was cut short,
            whole pieces of 64 KiB.
    """

    peer: Address
    bytes_received: int
    bytes_sent: int

    _broken_by: tuple[BaseException, ...] = ()

    @property
    @abstractmethod
    def local(self) -> Address:
        """The address of our end; behind a proxy that tells it, of the end that the client knows."""

    def progress(self) -> object:
        """Something that differs from before if bytes have moved since."""
        return self.bytes_received, self.bytes_sent

    @abstractmethod
    def abandon(self) -> None:
        """Close it at once, without a word to the peer and without a checkpoint."""

    def broke_with(self, error: BaseException) -> bool:
        """Whether *error*, or everything in that group, is what this stream raised when it broke."""
        if isinstance(error, BaseExceptionGroup):
            return all(self.broke_with(part) for part in error.exceptions)
        return any(error is one for one in self._broken_by)

    def _broke(self, error: trio.BrokenResourceError) -> NoReturn:
        # A reader and a writer may each be told; more than a few are tries after the end.
        self._broken_by = (*self._broken_by[-7:], error)
        raise error


class SocketStream(Connection, trio.abc.HalfCloseableStream):
    """A connection over a socket, TCP or UNIX, as a :class:`trio.abc.HalfCloseableStream`."""

    def __init__(self, sock: trio.socket.SocketType, peer: Address) -> None:
        self._stream = trio.SocketStream(sock)
        self._local: Address | None = None
        self._ahead = b""
        self.peer = peer
        self.bytes_received = 0
        self.bytes_sent = 0

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket below, for options."""
        return self._stream.socket

    @property
    def local(self) -> Address:
        """The address of our end; raises OSError once the connection is closed."""
        return self._local if self._local is not None else address_of(self._stream.socket.getsockname())

    def progress(self) -> object:
        """Something that differs from before if bytes have moved; out of the kernel's buffer, too.

        That can hold megabytes, over which a slow reader takes minutes while no send ends.
        """
        return self.bytes_received, self.bytes_sent, _unsent(self._stream.socket)

    def introduce(self, peer: Address, local: Address) -> None:
        """Go by the addresses that a proxy has told."""
        self.peer = peer
        self._local = local

    def put_back(self, data: bytes) -> None:
        """Let the next :meth:`receive_some` begin with *data*, which was read too far ahead."""
        self._ahead = data + self._ahead

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of *data*; raises :exc:`trio.BrokenResourceError` if the peer has gone."""
        try:
            if len(data) <= _PIECE:
                await self._stream.send_all(data)
                self.bytes_sent += len(data)
                return
            with memoryview(data) as whole, whole.cast("B") as pieces:
                for start in range(0, len(pieces), _PIECE):
                    with pieces[start : start + _PIECE] as piece:
                        await self._stream.send_all(piece)
                        self.bytes_sent += len(piece)
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until :meth:`send_all` could take some data."""
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes, at least one; ``b""`` when the peer has ended its half."""
        if self._ahead:
            return await self._from_ahead(max_bytes)
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self._broke(error)
        self.bytes_received += len(data)
        return data

    async def _from_ahead(self, max_bytes: int | None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._stream.socket.fileno() == -1:
            raise trio.ClosedResourceError("this stream was closed")
        await trio.lowlevel.checkpoint()
        data, self._ahead = self._ahead[:max_bytes], self._ahead[max_bytes:] if max_bytes else b""
        return data

    async def send_eof(self) -> None:
        """End our half; the peer may go on sending."""
        try:
            await self._stream.send_eof()
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def aclose(self) -> None:
        """Close both halves."""
        await self._stream.aclose()

    def abandon(self) -> None:
        """Close both halves, now."""
        self._stream.socket.close()


def _unsent(sock: trio.socket.SocketType) -> int:
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
