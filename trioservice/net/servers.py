"""Servers: accept, limit, isolate, drain.

One server is one leaf.  Its task opens the listeners and starts, in a nursery, one acceptor
for each of them; every connection is a task in a second nursery around the first.  So the
server can stop accepting by cancelling the inner nursery while connections go on in the
outer one, and that is all there is to a drain.

What trio's own ``serve_tcp`` leaves to its user is done here: a connection that fails ends
alone (rule L16), a full descriptor table makes accepting wait instead of fail, and there is a
limit on connections, at which accepting stops, so that the others wait in the kernel's queue
rather than being dropped.

How connections are served (by a handler with a task of its own, as here, or by protocol
callbacks) is one method, ``TCPServer._serve``; everything else is the same for both.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import trio

from ..retry import Retry
from ..service import Service
from .events import AcceptDelayed, ConnectionFailed, Listening
from .listeners import Address, Listener, bind_tcp, show_address
from .streams import SocketStream, StreamHandler

__all__ = ["ServerStatistics", "TCPServer"]

# Nothing is wrong with the listener: the process, or the machine, has no room.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

# The connection died, or was forbidden, between the kernel's accept and ours (see accept(2)).
_LOST = {
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
}

# Descriptors come back when connections end, so we look soon, and not much less often later.
_ACCEPT_AGAIN = Retry(delay=0.02, delay_max=1.0, factor=2.0, jitter=0.0)
_TELL_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What a server has done since its present, or last, run began."""

    accepted: int  #: connections taken
    active: int  #: connections that are being served now
    failed: int  #: connections that ended with an error, the peer's or the handler's


class TCPServer(Service):
    """A leaf that serves TCP connections, each by a task of its own.

    ::

        async def echo(stream):
            async for data in stream:
                await stream.send_all(data)

        app = Application("echo", TCPServer(7001, echo))

    It is ready when it accepts connections.  When it is stopped, it first refuses new ones,
    then waits for its handlers up to ``drain_timeout``, then cancels them.

    Args:
        port: 0 to 65535; 0 is a free one, which :attr:`addresses` tells.
        handler: ``async def handler(stream)``; the stream is a
            :class:`~trioservice.net.streams.SocketStream` and is closed when the handler returns.
            What it raises ends its connection only, and is logged and counted.
        host: name or address of an interface; ``None`` for all, of IPv4 and IPv6.
        max_connections: at this number no more are accepted until one ends; ``None`` for no limit.
        name: as for :class:`~trioservice.service.Service`, like the other options.
        start_timeout: seconds within which it must be ready.
        drain_timeout: seconds that connections are given to end when the server is stopped.
        stop_timeout: seconds after its cancellation from which it is reported.

    Raises:
        ValueError: a port or a limit that cannot be one.
        CannotListenError: out of ``main``, if the address cannot be bound.
    """

    def __init__(
        self,
        port: int,
        handler: StreamHandler,
        *,
        host: str | None = None,
        max_connections: int | None = None,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise ValueError(f"port is a number from 0 to 65535, not {port!r}")
        if not callable(handler):
            raise TypeError(f"handler is an async function that takes a stream, not {handler!r}")
        if max_connections is not None and max_connections < 1:
            raise ValueError(f"max_connections is 1 or more, or None for no limit, not {max_connections!r}")
        self.port = port
        self.host = host
        self.max_connections = max_connections
        self._handler = handler
        self._listeners: list[Listener] = []
        self._accepted = self._active = self._failed = 0
        self._room = trio.Event()  # set, and made anew, when a connection ends
        self._told = -math.inf  # when AcceptDelayed was last told

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Host and port of everything it is bound to; empty while it is not bound."""
        return tuple(listener.address for listener in self._listeners)

    def statistics(self) -> ServerStatistics:
        """A snapshot of its counters."""
        return ServerStatistics(self._accepted, self._active, self._failed)

    # ---- its life

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Bind, while the process may."""
        self._listeners = await bind_tcp(self.host, self.port)
        stack.callback(self._release)

    def _release(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Accept until drained or cancelled; return when the last connection has ended."""
        self._accepted = self._active = self._failed = 0
        self._told = -math.inf
        async with trio.open_nursery() as connections:
            try:
                with trio.CancelScope() as self._accepting:
                    async with trio.open_nursery() as acceptors:
                        for listener in self._listeners:
                            listener.open()
                            acceptors.start_soon(self._accept, listener, connections)
                        self.emit(Listening(self.path, trio.current_time(), self.addresses))
                        task_status.started(self.addresses)
                waiting = self._waiting()
            finally:
                for listener in self._listeners:
                    listener.shut()
            await self._take_waiting(waiting, connections)

    async def drain(self) -> None:
        """Refuse new connections; :meth:`run` returns, and so ends this, when the last has ended."""
        self._accepting.cancel(reason="the server takes no new connections")
        await trio.sleep_forever()

    # ---- accepting

    async def _accept(self, listener: Listener, connections: trio.Nursery) -> None:
        """Take what comes to one listener."""
        tries = 0
        while True:
            await self._has_room()
            try:
                # Nothing is awaited between the look for room and the accept, so that two
                # listeners cannot both take the last place.
                taken = listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    await self._wait_for_descriptors(error, tries)
                    tries += 1
                elif error.errno in _LOST:
                    await trio.lowlevel.checkpoint()
                else:
                    raise
            else:
                tries = 0
                if taken is None:
                    await listener.wait()
                else:
                    self._take(*taken, connections)
                    await trio.lowlevel.checkpoint()

    async def _has_room(self) -> None:
        while self.max_connections is not None and self._active >= self.max_connections:
            await self._room.wait()

    async def _wait_for_descriptors(self, error: OSError, tries: int) -> None:
        delay = _ACCEPT_AGAIN.next_delay(tries)
        assert delay is not None
        now = trio.current_time()
        if now - self._told >= _TELL_EVERY:
            self._told = now
            self.emit(AcceptDelayed(self.path, now, error, delay))
        await trio.sleep(delay)

    def _waiting(self) -> deque[tuple[trio.socket.SocketType, Address]]:
        """Those whom the kernel has let in already: to shut the listener would reset them."""
        waiting: deque[tuple[trio.socket.SocketType, Address]] = deque()
        for listener in self._listeners:
            with suppress(OSError):  # no descriptor is left, so there is nothing that could be done
                while (taken := listener.accept()) is not None:
                    waiting.append(taken)
        return waiting

    async def _take_waiting(
        self, waiting: deque[tuple[trio.socket.SocketType, Address]], connections: trio.Nursery
    ) -> None:
        try:
            while waiting:
                await self._has_room()
                self._take(*waiting.popleft(), connections)
        finally:
            for sock, _ in waiting:
                sock.close()

    def _take(self, sock: trio.socket.SocketType, peer: Address, connections: trio.Nursery) -> None:
        self._accepted += 1
        self._active += 1
        connections.start_soon(self._serve, sock, peer, name=f"{self.path} from {show_address(peer)}")

    # ---- serving

    async def _serve(self, sock: trio.socket.SocketType, peer: Address) -> None:
        """One connection, whose errors end nothing else."""
        stream = SocketStream(sock, peer)
        try:
            with sock:  # not `async with stream`, whose checkpoint may put Cancelled in the error's place
                await self._handler(stream)
        except Exception as error:  # noqa: BLE001 - L16: it is told, counted, and ends this connection only
            self._tell_failure(stream, error)
        except BaseExceptionGroup as group:
            # A handler that was cancelled and raised as well: each part goes its own way.
            errors, others = group.split(Exception)
            if errors is not None:
                self._tell_failure(stream, errors)
            if others is not None:
                raise others from None
        finally:
            self._active -= 1
            self._room.set()
            self._room = trio.Event()

    def _tell_failure(self, stream: SocketStream, error: Exception | BaseExceptionGroup) -> None:
        self._failed += 1
        now = trio.current_time()
        self.emit(ConnectionFailed(self.path, now, stream.peer, error, stream.broke_with(error)))
