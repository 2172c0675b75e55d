"""Stream servers: accept, limit, introduce, isolate, drain.

One server is one leaf.  Its task opens the listeners and starts, in a nursery, one acceptor
for each of them; every connection is a task in a second nursery around the first.  So the
server can stop accepting by cancelling the inner nursery while connections go on in the
outer one, and that is all there is to a drain.

What trio's own ``serve_tcp`` leaves to its user is done here: a connection that fails ends
alone (rule L16), a full descriptor table makes accepting wait instead of fail, and there is a
limit on connections, at which accepting stops, so that the others wait in the kernel's queue
rather than being dropped.

A connection's way is one method, ``StreamServer._serve``: it is *introduced* (who is the
client, according to a proxy; is there room for one more of his; the TLS handshake), then the
handler has it, then it is closed.  All of that happens in the connection's own task, so that
a client who dawdles holds up nobody else.

There is one server, :class:`StreamServer`, for every endpoint; :class:`TCPServer`,
:class:`UNIXServer` and :class:`SSLServer` say in Python's words what its texts say.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from ssl import SSLContext
from typing import TypedDict, Unpack, cast

import trio

from ..errors import CannotListenError
from ..retry import Retry
from ..service import Service
from .addresses import Address, UNIXPeer, show_address
from .binding import hosts
from .endpoints import (
    BACKLOG,
    HAProxyServerEndpoint,
    StreamServerEndpoint,
    TCPServerEndpoint,
    UNIXServerEndpoint,
    server_endpoint,
)
from .events import (
    AcceptDelayed,
    CertificatesLoaded,
    CertificatesRejected,
    ConnectionFailed,
    ConnectionRejected,
    ConnectionTimedOut,
    HandshakeFailed,
    Listening,
    Throttle,
)
from .handlers import awaitable, require_function
from .introductions import Introduction, Unwelcome
from .listeners import Listener, bind
from .proxy_protocol import ProxyProtocolError
from .streams import Connection, SocketStream, StreamHandler
from .tls import Certificates, TLSStream

__all__ = [
    "SSLServer",
    "ServerOptions",
    "ServerStatistics",
    "StreamServer",
    "TCPServer",
    "TCPServerOptions",
    "UNIXServer",
]

# Nothing is wrong with the listener: the process, or the machine, has no room.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

# The connection died, or was forbidden, between the kernel's accept and ours (see accept(2)).
_LOST = {
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.ETIMEDOUT,
    errno.EINTR,
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

# How many times in an idle_timeout it is looked who is idle: a sum of bytes compared now and
# then costs a connection nothing, where a deadline moved at each byte would cost it a tenth.
_LOOKS = 8


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What a server has done since its present, or last, run began."""

    accepted: int = 0  #: connections taken
    active: int = 0  #: connections that are open now
    rejected: int = 0  #: connections closed because of who made them
    failed: int = 0  #: connections that ended with an error (the peer's or the handler's) or out of time
    bytes_received: int = 0  #: on the wire
    bytes_sent: int = 0  #: on the wire


class ServerOptions(TypedDict, total=False):
    """The options that all stream servers share; see :class:`StreamServer`."""

    max_connections: int | None
    max_connections_per_peer: int | None
    idle_timeout: float | None
    handshake_timeout: float
    proxy_protocol: str | Sequence[str] | None
    name: str | None
    start_timeout: float | None
    drain_timeout: float | None
    stop_timeout: float


class TCPServerOptions(ServerOptions, total=False):
    """The options that :class:`SSLServer` shares with :class:`TCPServer`, which explains them."""

    host: str | Sequence[str] | None
    backlog: int
    reuse_port: bool
    v6_only: bool
    device: str | None


class StreamServer(Service):
    """A leaf that serves stream connections at an endpoint, each by a task of its own.

    ::

        StreamServer("unix:/run/echo.sock:mode=660", echo)
        StreamServer(config["listen"], echo, max_connections=1000)

    It is ready when it accepts connections.  When it is stopped, it first refuses new ones,
    then waits for its handlers up to ``drain_timeout``, then cancels them.

    Args:
        endpoint: where to listen: a text like ``"tcp:8080"``, or a description from
            :mod:`trioservice.net.endpoints`.
        handler: ``async def handler(stream)``; the stream is a
            :class:`~trioservice.net.streams.Connection` and is closed when the handler returns.
            What it raises ends its connection only, and is logged and counted.
        ssl_context: speak TLS: :class:`~trioservice.net.tls.Certificates`, which can be loaded
            again, or an :class:`ssl.SSLContext` of your own.
        max_connections: at this number no more are accepted until one ends; ``None`` for no limit.
        max_connections_per_peer: of one host (of one user, for UNIX sockets); more are closed at once.
        idle_timeout: seconds without a byte in either direction after which a connection is
            closed and its handler cancelled, give or take a quarter; ``None`` for no limit.
        handshake_timeout: seconds that a client has for its TLS handshake and its PROXY header.
        proxy_protocol: networks like ``"10.0.0.0/8"`` (and ``"unix"``) of proxies; connections
            must come from there and begin with a PROXY header, version 1 or 2.
        name: as for :class:`~trioservice.service.Service`, like the other options.
        start_timeout: seconds within which it must be ready.
        drain_timeout: seconds that connections are given to end when the server is stopped.
        stop_timeout: seconds after its cancellation from which it is reported.

    Raises:
        EndpointError: the text is no endpoint.
        ValueError: a port or a limit that cannot be one.
        CannotListenError: out of ``main``, if the address cannot be bound.
        CertificateError: out of ``main``, if the certificates cannot be loaded.
    """

    def __init__(
        self,
        endpoint: str | StreamServerEndpoint,
        handler: StreamHandler,
        *,
        ssl_context: SSLContext | Certificates | None = None,
        max_connections: int | None = None,
        max_connections_per_peer: int | None = None,
        idle_timeout: float | None = None,
        handshake_timeout: float = 10.0,
        proxy_protocol: str | Sequence[str] | None = None,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )
        require_function("handler", handler)
        if isinstance(endpoint, str):
            endpoint = server_endpoint(endpoint)
        if not isinstance(endpoint, StreamServerEndpoint):
            raise TypeError(f"endpoint is a text like 'tcp:8080', or a description of one, not {endpoint!r}")
        if proxy_protocol is not None:
            endpoint = HAProxyServerEndpoint(endpoint, hosts(proxy_protocol))
        self.endpoint = endpoint
        self.max_connections = _limit("max_connections", max_connections)
        self.max_connections_per_peer = _limit("max_connections_per_peer", max_connections_per_peer)
        self.idle_timeout = None if idle_timeout is None else _seconds("idle_timeout", idle_timeout)
        self.handshake_timeout = _seconds("handshake_timeout", handshake_timeout)
        self._handler = handler
        self._introduction = Introduction(endpoint, ssl_context)
        self._listeners: list[Listener] = []
        self._room = trio.Event()  # set, and made anew, when a connection ends
        self._forget()

    def _forget(self) -> None:
        """Begin a new run (rule L3)."""
        self._accepted = self._rejected = self._failed = 0
        self._received = self._sent = 0  # by connections that have ended
        self._open: dict[Connection, _Served] = {}
        self._peers: Counter[object] = Counter()
        self._delays, self._rejections = Throttle(), Throttle()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Everything that it is bound to; empty while it is not bound."""
        return tuple(listener.address for listener in self._listeners)

    def statistics(self) -> ServerStatistics:
        """A snapshot of its counters."""
        return ServerStatistics(
            accepted=self._accepted,
            active=len(self._open),
            rejected=self._rejected,
            failed=self._failed,
            bytes_received=self._received + sum(stream.bytes_received for stream in self._open),
            bytes_sent=self._sent + sum(stream.bytes_sent for stream in self._open),
        )

    def reload_certificates(self) -> bool:
        """Load the files of the certificates again, for connections made from now on.

        If they cannot be loaded, the old ones stay, and the reason is an event.  A context of
        your own is yours to change; nothing happens then.

        Returns:
            whether the certificates are those that the files hold now.
        """
        if self._introduction.certificates is None:
            return True
        try:
            self._introduction.certificates.load()
        except Exception as error:  # noqa: BLE001 - Certificates may be the user's; the old ones stay
            self.emit(CertificatesRejected(self.path, trio.current_time(), error))
            return False
        self.emit(CertificatesLoaded(self.path, trio.current_time()))
        return True

    # ---- its life

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Bind and read private keys, while the process may."""
        if self._introduction.certificates is not None:
            self._introduction.certificates.load()
        self._listeners = await bind(self.endpoint)
        stack.callback(self._release)

    def _release(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Accept until drained or cancelled; return when the last connection has ended."""
        self._forget()
        async with trio.open_nursery() as watch:
            if self.idle_timeout is not None:
                watch.start_soon(self._watch_for_idlers, self.idle_timeout)
            async with trio.open_nursery() as connections:
                await self._accept_all(connections, task_status)
            watch.cancel_scope.cancel(reason="the last connection has ended")

    async def _accept_all(
        self, connections: trio.Nursery, task_status: trio.TaskStatus[tuple[Address, ...]]
    ) -> None:
        try:
            with trio.CancelScope() as self._accepting:
                async with trio.open_nursery() as acceptors:
                    for listener in self._listeners:
                        listener.open()
                        acceptors.start_soon(self._accept, listener, connections)
                    self.emit(Listening(self.path, trio.current_time(), self.addresses))
                    task_status.started(self.addresses)
            waiting = self._those_waiting()
        finally:
            for listener in self._listeners:
                for stream in _queue_at(listener):
                    self._accepted += 1
                    self._turn_away(stream)
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
        while not listener.exhausted:
            await self._has_room()
            try:
                # Nothing is awaited between the look for room and the accept, so that two
                # listeners cannot both take the last place.
                stream = listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    await self._wait_for_descriptors(error, tries)
                    tries += 1
                elif error.errno in _LOST:
                    await trio.lowlevel.checkpoint()
                else:
                    raise _cannot_accept(listener, error) from error
            else:
                tries = 0
                if stream is None:
                    await listener.wait()
                else:
                    self._take(stream, connections)
                    await trio.lowlevel.checkpoint()

    async def _has_room(self) -> None:
        while self.max_connections is not None and len(self._open) >= self.max_connections:
            await self._room.wait()

    async def _wait_for_descriptors(self, error: OSError, tries: int) -> None:
        delay = _ACCEPT_AGAIN.next_delay(tries)
        assert delay is not None
        now = trio.current_time()
        if self._delays.passes(now):
            self.emit(AcceptDelayed(self.path, now, error, delay))
        await trio.sleep(delay)

    def _those_waiting(self) -> deque[Connection]:
        """Those whom the kernel has let in already: to shut the door would reset them.

        They wait in here for their turn.  So that those who have it can still open a file, no
        more are taken in than half of the descriptors that are free.
        """
        queue = chain.from_iterable(_queue_at(listener) for listener in self._listeners)
        return deque(islice(queue, _free_descriptors() // 2))

    async def _take_waiting(self, waiting: deque[Connection], connections: trio.Nursery) -> None:
        try:
            while waiting:
                await self._has_room()
                self._take(waiting.popleft(), connections)
        finally:
            for stream in waiting:
                self._accepted += 1
                self._turn_away(stream)

    def _turn_away(self, stream: Connection) -> None:
        self._reject(stream, "the server stops")
        stream.abandon()

    def _take(self, stream: Connection, connections: trio.Nursery) -> None:
        self._accepted += 1
        self._open[stream] = _Served()
        name = f"{self.path} from {show_address(stream.peer)}"
        connections.start_soon(self._serve, stream, name=name)

    # ---- serving

    async def _serve(self, stream: Connection) -> None:
        """The way of one connection, whose errors end nothing else."""
        try:
            connection = await self._introduce(stream)
            if connection is not None:
                await self._handle(connection, self._open[stream])
        finally:
            stream.abandon()
            self._leave(stream)

    def _leave(self, stream: Connection) -> None:
        served = self._open.pop(stream)
        if served.whose is not None:
            self._peers[served.whose] -= 1
            if not self._peers[served.whose]:
                del self._peers[served.whose]
        self._received += stream.bytes_received
        self._sent += stream.bytes_sent
        self._room.set()
        self._room = trio.Event()

    # ---- introducing

    async def _introduce(self, stream: Connection) -> Connection | None:
        """What comes before the handler's turn; ``None`` if it will not have one."""
        scope = trio.CancelScope(deadline=trio.current_time() + self.handshake_timeout)
        try:
            with scope:
                await self._introduction.of_client(stream)
                self._count_peer(stream)
                return await self._introduction.of_server(stream)
        except Unwelcome as reason:
            self._reject(stream, str(reason))
        except (trio.BrokenResourceError, ProxyProtocolError) as error:
            self._tell_handshake(stream, error)
        except Exception as error:  # noqa: BLE001 - L16: out of Certificates, or a context, of the user's
            self._tell_failure(stream, error)
        if scope.cancelled_caught:
            self._tell_handshake(stream, TimeoutError(f"it took more than {self.handshake_timeout:g} s"))
        return None

    def _reject(self, stream: Connection, reason: str) -> None:
        self._rejected += 1
        now = trio.current_time()
        if self._rejections.passes(now):
            held_back = self._rejections.held_back()
            self.emit(ConnectionRejected(self.path, now, stream.peer, reason, held_back))

    def _tell_handshake(self, stream: Connection, error: Exception) -> None:
        self._failed += 1
        self.emit(HandshakeFailed(self.path, trio.current_time(), stream.peer, error))

    def _count_peer(self, stream: Connection) -> None:
        limit = self.max_connections_per_peer
        if limit is None:
            return
        whose = _whose(stream.peer)
        if self._peers[whose] >= limit:
            raise Unwelcome(f"it has {limit} already (max_connections_per_peer)")
        self._peers[whose] += 1
        self._open[stream].whose = whose

    # ---- handling

    async def _handle(self, connection: Connection, served: _Served) -> None:
        """The handler's turn."""
        try:
            with self._unless_idle(connection, served):
                await awaitable("the handler", self._handler(connection))
                if isinstance(connection, TLSStream):
                    await self._say_goodbye(connection)
        except Exception as error:  # noqa: BLE001 - L16: it is told, counted, and ends this connection only
            self._tell_failure(connection, error)
        except BaseExceptionGroup as group:
            # A handler that was cancelled and raised as well: each part goes its own way.
            errors, others = group.split(Exception)
            if errors is not None:
                self._tell_failure(connection, errors)
            if others is not None:
                raise others from None

    async def _say_goodbye(self, connection: TLSStream) -> None:
        # Without TLS's own end the peer could not tell it from an attacker's.
        with trio.move_on_after(self.handshake_timeout), suppress(trio.ClosedResourceError):
            await connection.aclose()  # unless the handler has closed what is below

    def _tell_failure(self, connection: Connection, error: Exception | BaseExceptionGroup) -> None:
        self._failed += 1
        now = trio.current_time()
        self.emit(ConnectionFailed(self.path, now, connection.peer, error, connection.broke_with(error)))

    @contextmanager
    def _unless_idle(self, connection: Connection, served: _Served) -> Iterator[None]:
        if self.idle_timeout is None:
            yield
            return
        with trio.CancelScope() as scope:
            served.scope = scope
            served.active_at = trio.current_time()
            yield
        if scope.cancel_called:
            self._failed += 1
            now = trio.current_time()
            self.emit(ConnectionTimedOut(self.path, now, connection.peer, self.idle_timeout))

    async def _watch_for_idlers(self, idle_timeout: float) -> None:
        while True:
            await trio.sleep(idle_timeout / _LOOKS)
            now = trio.current_time()
            for stream, served in self._open.items():
                progress = stream.progress()
                if progress != served.progress:
                    served.progress, served.active_at = progress, now
                elif served.scope is not None and now - served.active_at >= idle_timeout:
                    served.scope.cancel(reason="the connection was idle")


class TCPServer(StreamServer):
    """A leaf that serves TCP connections.

    ::

        async def echo(stream):
            async for data in stream:
                await stream.send_all(data)

        app = Application("echo", TCPServer(7001, echo))

    Args:
        port: 0 to 65535; 0 is a free one, which :attr:`addresses` tells.
        handler: ``async def handler(stream)``, with a :class:`~trioservice.net.streams.SocketStream`.
        host: names or addresses of interfaces, one or several; ``None`` for all, of IPv4 and IPv6.
        backlog: how many connections may wait to be accepted; the kernel has a limit of its own.
        reuse_port: let several sockets, also of several processes, share the port (SO_REUSEPORT).
        v6_only: an IPv6 socket takes no IPv4 connections; ``False`` lets ``host="::"`` take both.
        device: only what comes through this network device (SO_BINDTODEVICE; Linux).
        ssl_context: as for :class:`StreamServer`; :class:`SSLServer` demands it.
        **options: those of :class:`StreamServer`, from ``max_connections`` on.
    """

    def __init__(
        self,
        port: int,
        handler: Callable[[SocketStream], Awaitable[object]],
        *,
        host: str | Sequence[str] | None = None,
        backlog: int = BACKLOG,
        reuse_port: bool = False,
        v6_only: bool = True,
        device: str | None = None,
        ssl_context: SSLContext | Certificates | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        endpoint = TCPServerEndpoint(port, hosts(host), backlog, reuse_port, v6_only, device)
        super().__init__(endpoint, handler, ssl_context=ssl_context, **options)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of everything that it is bound to; empty while it is not bound."""
        return cast(tuple[tuple[str, int], ...], super().addresses)


class UNIXServer(StreamServer):
    """A leaf that serves connections over a UNIX socket.

    ``stream.peer`` is a :class:`~trioservice.net.addresses.UNIXPeer`, whose ``uid`` the kernel vouches for.

    Args:
        path: of the socket's file, or ``"@name"`` for an abstract name (Linux).  The file has
            its mode and owner before anybody can connect; one that a dead server has left is
            replaced, a live server's never; it is removed at the end if it is still ours.
        handler: ``async def handler(stream)``, with a :class:`~trioservice.net.streams.SocketStream`.
        mode: who may connect, as the file's mode; none but the owner by default.
        backlog: how many connections may wait to be accepted.
        user: whom the file is to belong to, by name or number.
        group: likewise.
        ssl_context: as for :class:`StreamServer`.
        **options: those of :class:`StreamServer`, from ``max_connections`` on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: Callable[[SocketStream], Awaitable[object]],
        *,
        mode: int = 0o600,
        backlog: int = BACKLOG,
        user: str | int | None = None,
        group: str | int | None = None,
        ssl_context: SSLContext | Certificates | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        names = (None if name is None else str(name) for name in (user, group))
        endpoint = UNIXServerEndpoint(os.fspath(path), mode, backlog, *names)
        super().__init__(endpoint, handler, ssl_context=ssl_context, **options)


class SSLServer(TCPServer):
    """A leaf that serves TLS connections over TCP.

    ::

        SSLServer(443, handler, CertificateFiles("shop.pem", "shop.key"))

    Handshakes are made in each connection's own task and bounded by ``handshake_timeout``.

    Args:
        port: 0 to 65535; 0 is a free one.
        handler: ``async def handler(stream)``, with a :class:`~trioservice.net.tls.TLSStream`.
        ssl_context: :class:`~trioservice.net.tls.Certificates`, which can be loaded again while
            the server runs (:meth:`StreamServer.reload_certificates`), or an
            :class:`ssl.SSLContext` of your own.
        **options: those of :class:`TCPServer`, from ``host`` on.
    """

    def __init__(
        self,
        port: int,
        handler: Callable[[TLSStream], Awaitable[object]],
        ssl_context: SSLContext | Certificates,
        **options: Unpack[TCPServerOptions],
    ) -> None:
        if ssl_context is None:  # out of a configuration without it, and all would go in the clear
            raise TypeError(
                "ssl_context is Certificates or an ssl.SSLContext, not None; without TLS take TCPServer"
            )
        of_any_stream: StreamHandler = handler
        super().__init__(port, of_any_stream, ssl_context=ssl_context, **options)


# ---- what the arguments mean ------------------------------------------------------------------


@dataclass(slots=True)
class _Served:
    """What the server knows of one open connection."""

    whose: object = None  # as which peer it was counted
    scope: trio.CancelScope | None = None  # of its handler, where being idle ends it
    progress: object = None  # of its bytes, when last looked at
    active_at: float = 0.0


def _whose(peer: Address) -> object:
    """What the connections of one peer have in common."""
    if isinstance(peer, UNIXPeer):
        return peer.uid
    # IPv4 by way of an IPv6 socket is the same host.
    return peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else peer


def _queue_at(listener: Listener) -> Iterator[Connection]:
    """Those who wait at a door now, and would be lost if it were shut."""
    while not (listener.keeps_queue or listener.exhausted):
        try:
            stream = listener.accept()
        except OSError as error:
            if error.errno in _LOST:
                continue
            return  # no descriptor is left to take them in with
        if stream is None:
            return
        yield stream


def _free_descriptors() -> int:
    """About how many more can be opened: the system gives each time the lowest number that is free."""
    try:
        import resource
    except ImportError:  # where there are no such limits
        return sys.maxsize
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 0
    os.close(lowest)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft - lowest


def _cannot_accept(listener: Listener, error: OSError) -> CannotListenError:
    shown = show_address(listener.address)
    said = error.strerror or str(error)
    message = (
        f"cannot accept connections at {shown} any more: {said}; has another process shut the socket down?"
    )
    return CannotListenError(error.errno or 0, message)


def _limit(name: str, value: int | None) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} is a number from 1, or None for no limit, not {value!r}")
    return value


def _seconds(name: str, value: float) -> float:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is a number of seconds above 0, not {value!r}")
    return value
