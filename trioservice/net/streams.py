"""The stream that a handler is given: trio's, and it knows who is at the other end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from .listeners import Address, address_of

__all__ = ["SocketStream", "StreamHandler"]


class SocketStream(trio.abc.HalfCloseableStream):
    """One connection, as a :class:`trio.abc.HalfCloseableStream`.

    Attributes:
        peer: the address of the other end, as it was when the connection was accepted; it can
            be asked for after the peer has gone.
    """

    def __init__(self, sock: trio.socket.SocketType, peer: Address) -> None:
        self._stream = trio.SocketStream(sock)
        self._broken_by: BaseException | None = None
        self.peer = peer

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket below, for options."""
        return self._stream.socket

    @property
    def local(self) -> Address:
        """The address of our end; raises OSError once the connection is closed."""
        return address_of(self._stream.socket.getsockname())

    def broke_with(self, error: BaseException) -> bool:
        """Whether *error*, or everything in that group, is what this stream raised when it broke."""
        if isinstance(error, BaseExceptionGroup):
            return all(self.broke_with(part) for part in error.exceptions)
        return error is self._broken_by

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of *data*; raises :exc:`trio.BrokenResourceError` if the peer has gone."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            self._broken_by = error
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until :meth:`send_all` could take some data."""
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.BrokenResourceError as error:
            self._broken_by = error
            raise

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes, at least one; ``b""`` when the peer has ended its half."""
        try:
            return await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self._broken_by = error
            raise

    async def send_eof(self) -> None:
        """End our half; the peer may go on sending."""
        try:
            await self._stream.send_eof()
        except trio.BrokenResourceError as error:
            self._broken_by = error
            raise

    async def aclose(self) -> None:
        """Close both halves."""
        await self._stream.aclose()


#: What a server calls for each connection; the stream is closed when it returns.
StreamHandler = Callable[[SocketStream], Awaitable[object]]
