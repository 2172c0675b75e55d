"""A simulated socket as trio has them: the same methods, async.

Everything is trio's public :class:`trio.socket.SocketType`, so :class:`trio.SocketStream`,
:func:`trio.serve_tcp`, :func:`trio.open_tcp_stream` and whatever else stands on
:func:`trio.socket.socket` runs over it unmodified.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from .hosts import refusal
from .sim_datagrams import DatagramSocket
from .sim_sockets import NotSimulatedError, SimSocket
from .sim_streams import StreamSocket

if TYPE_CHECKING:
    from .network import SimNetwork

__all__ = ["TrioSocket", "TrioSockets"]

T = TypeVar("T")


class TrioSockets(trio.abc.SocketFactory):
    """What makes trio's sockets while there is a simulated network."""

    def __init__(self, network: SimNetwork) -> None:
        self._network = network

    def socket(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,
        proto: int = 0,
    ) -> TrioSocket:
        """A socket on the host that the current task is on."""
        return TrioSocket(self._network.new_socket(family, type))


class TrioSocket(trio.socket.SocketType):
    """What :func:`trio.socket.socket` gives while there is a simulated network.

    Args:
        below: the same socket, as the standard library would have it.
    """

    def __init__(self, below: SimSocket) -> None:
        self.below = below

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.below!r}>"

    def __enter__(self) -> TrioSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    # ---- what it is

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_UNIX."""
        return self.below.family

    @property
    def type(self) -> socket.SocketKind:
        """SOCK_STREAM or SOCK_DGRAM."""
        return self.below.kind

    @property
    def proto(self) -> int:
        """0."""
        return self.below.proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        """Whether our half was ended."""
        return isinstance(self.below, StreamSocket) and self.below.has_shut_writing

    def fileno(self) -> int:
        """A number that no real descriptor has; -1 once it is closed."""
        return self.below.fileno()

    def getsockname(self) -> Any:
        """Our own address."""
        return self.below.getsockname()

    def getpeername(self) -> Any:
        """Whom it is connected to."""
        return self.below.getpeername()

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        """What was set, or what the system would say."""
        return self.below.getsockopt(level, optname, buflen or 0)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Remember an option."""
        self.below.setsockopt(level, optname, value, optlen)

    def get_inheritable(self) -> bool:
        """Never: there is no process to inherit it."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Refuse to be inherited."""
        if inheritable:
            raise NotSimulatedError(
                "a simulated socket cannot be inherited: no other process has its network"
            )

    # ---- what needs no waiting

    def listen(self, backlog: int = 128) -> None:
        """Take connections."""
        self._stream.listen(backlog)

    def shutdown(self, flag: int) -> None:
        """End our half, or both."""
        if isinstance(self.below, DatagramSocket):
            self.below.shutdown(flag)
        self._stream.shutdown(flag)

    def is_readable(self) -> bool:
        """Whether to read would not be to wait."""
        return self.below.is_readable()

    def close(self) -> None:
        """Close it."""
        self.below.close()

    def detach(self) -> int:
        """Refuse: there is no descriptor to be had."""
        raise NotSimulatedError("a simulated socket has no descriptor that could be detached")

    def dup(self) -> TrioSocket:
        """Refuse: there is no descriptor to be had."""
        raise NotSimulatedError("a simulated socket has no descriptor that could be duplicated")

    @property
    def _stream(self) -> StreamSocket:
        if not isinstance(self.below, StreamSocket):
            raise refusal(errno.EOPNOTSUPP)
        return self.below

    @property
    def _datagrams(self) -> DatagramSocket:
        if not isinstance(self.below, DatagramSocket):
            raise NotSimulatedError(
                "SimNetwork has recv() and send() for streams, not recvfrom() or sendto()"
            )
        return self.below

    # ---- what may have to wait

    async def bind(self, address: Any) -> None:
        """Have an address."""
        await trio.lowlevel.checkpoint()
        self.below.bind(await self._resolved(address, local=True))

    async def connect(self, address: Any) -> None:
        """Connect; whoever is cancelled meanwhile finds it closed."""
        resolved = await self._resolved(address, local=False)
        await trio.lowlevel.checkpoint()
        assert isinstance(self.below, StreamSocket | DatagramSocket)
        try:
            self.below.connect(resolved)
        except BlockingIOError:
            await self._be_connected()

    async def _be_connected(self) -> None:
        try:
            await self.below.wait_writable()
        except trio.Cancelled:
            self.close()
            raise
        number = self.below.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise refusal(number)

    async def _resolved(self, address: Any, *, local: bool) -> Any:
        """*address* with numbers instead of names."""
        if self.below.is_unix:
            return address
        host, port = address
        flags = socket.AI_PASSIVE if local else 0
        found = await trio.socket.getaddrinfo(host or None, port, self.family, self.type, 0, flags)
        return found[0][4]

    async def wait_writable(self) -> None:
        """Wait until there may be room."""
        await self.below.wait_writable()

    async def accept(self) -> tuple[TrioSocket, Any]:
        """The next connection."""
        sock, address = await _done(self.below.wait_readable, self._stream.accept)
        return TrioSocket(sock), address

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        """What is there, at least a byte unless it is the end."""
        assert isinstance(self.below, StreamSocket | DatagramSocket)
        return await _done(self.below.wait_readable, self.below.recv, buflen, flags)

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As :meth:`recv`, into *buffer*."""
        return await _done(self.below.wait_readable, self._stream.recv_into, buffer, nbytes, flags)

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """The next datagram, and who sent it."""
        return await _done(self.below.wait_readable, self._datagrams.recvfrom, bufsize, flags)

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        """The next datagram, and what is known of it."""
        return await _done(self.below.wait_readable, self._datagrams.recvmsg, bufsize, ancbufsize, flags)

    async def send(self, data: Any, flags: int = 0, /) -> int:
        """Send what there is room for."""
        assert isinstance(self.below, StreamSocket | DatagramSocket)
        return await _done(self.below.wait_writable, self.below.send, data, flags)

    async def sendto(self, *args: Any) -> int:
        """Send a datagram to an address, which is the last argument."""
        *others, address = args
        resolved = await self._resolved(address, local=False)
        return await _done(self.below.wait_writable, self._datagrams.sendto, *others, resolved)

    async def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        """Send a datagram made of *buffers*."""
        resolved = None if address is None else await self._resolved(address, local=False)
        return await _done(
            self.below.wait_writable, self._datagrams.sendmsg, buffers, ancdata, flags, resolved
        )


async def _done(wait: Callable[[], Awaitable[None]], act: Callable[..., T], *args: Any) -> T:
    """What *act* returns once it need not wait; a checkpoint in any case."""
    await trio.lowlevel.checkpoint()
    while True:
        try:
            return act(*args)
        except BlockingIOError:
            await wait()
