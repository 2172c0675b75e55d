"""Stream servers: accept, limit, introduce, isolate, drain.

One server is one leaf.  Its task accepts (``accepting``) within a nursery in
which every connection is a task.  So it can stop accepting while connections go on, and that is
all there is to a drain.

A connection's way is one method, ``StreamServer._serve``: it is *introduced* (who is the
client, according to a proxy; is there room for one more of his; the TLS handshake), then the
handler has it, then it is closed.  All of that happens in the connection's own task, so that
a client who dawdles holds up nobody else, and one that fails ends alone (rule L16).

With ``protocol=`` there is a shorter way, ``StreamServer._serve_by_poll``, for connections over a
socket with nobody to be introduced to: no task, only a transport
(:mod:`~trioservice.net.protocols`), which the server's poll drives.  Limits, counters and events are
the same on both ways, and so is the end: what is open when accepting ends is waited for.

There is one server, :class:`StreamServer`, for every endpoint; :class:`TCPServer`,
:class:`UNIXServer` and :class:`SSLServer` say in Python's words what its texts say.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from ssl import SSLContext
from typing import Any, TypedDict, Unpack, cast

import trio

from ..records import record
from ..service import Service
from .accepting import Acceptor
from .addresses import Address, show_address
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
from .handlers import awaitable, made, require_handler_or_protocol
from .introductions import Introduction, Unwelcome
from .limits import IdleWatch, PeerLimit
from .listeners import Listener, bind
from .polls import open_poll
from .protocols import ProtocolFactory, SocketTransport, converse
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

# While there are no more connections than so many, each waits by trio: a poll pays when it tells of
# several at once, and with one connection it would be a detour.
_FEW = 4


@record
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

    protocol: ProtocolFactory | None
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
    """A leaf that serves stream connections at an endpoint, each by a handler or a protocol of its own.

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
        protocol: instead of a handler, the fast lane: makes for each connection an object with the
            callbacks of PEP 3156's ``Protocol``; see :mod:`trioservice.net.protocols`.
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
        handler: StreamHandler | None = None,
        *,
        protocol: ProtocolFactory | None = None,
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
        require_handler_or_protocol(handler, protocol)
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
        self._make_protocol = protocol
        self._introduction = Introduction(endpoint, ssl_context)
        self._listeners: list[Listener] = []
        self._room = trio.lowlevel.ParkingLot()  # woken when a connection ends
        self._forget()

    def _forget(self) -> None:
        """Begin a new run (rule L3)."""
        self._accepted = self._rejected = self._failed = 0
        self._received = self._sent = 0  # by connections that have ended
        self._open: dict[Connection, SocketTransport | None] = {}  # with those that have no task
        self._peers = PeerLimit(self.max_connections_per_peer)
        self._idle = None if self.idle_timeout is None else IdleWatch(self.idle_timeout)
        self._acceptor = Acceptor(
            self._listeners,
            wait_for_room=self._wait_for_room,
            take=self._take,
            turn_away=self._turn_away,
            tell_delay=self._tell_delay,
        )
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

    @property
    def in_progress(self) -> str:
        """The connections that are open."""
        count = len(self._open)
        return f"{count} connection{'s' * (count > 1)}" if count else ""

    def reload_certificates(self) -> bool:
        """Load the files of the certificates again, for connections made from now on.

        If they cannot be loaded, the old ones stay, and the reason is an event.  A context of
        your own is yours to change; nothing happens then.

        Returns:
            whether the certificates are those that the files hold now.
        """
        try:
            self._load_certificates()
        except Exception as error:  # noqa: BLE001 - Certificates may be the user's; the old ones stay
            self.emit(CertificatesRejected(self.path, trio.current_time(), error))
            return False
        return True

    def _load_certificates(self) -> None:
        if self._introduction.certificates is not None:
            self._introduction.certificates.load()
            self.emit(CertificatesLoaded(self.path, trio.current_time()))

    # ---- its life

    async def on_reload(self) -> None:
        """Load the files of the certificates again, for connections made from now on."""
        self._load_certificates()

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Bind and read private keys, while the process may."""
        if self._introduction.certificates is not None:
            self._introduction.certificates.load()
        self._listeners = await bind(self.endpoint)
        stack.callback(self._release)

    def _release(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Accept until drained or cancelled; return when the last connection has ended."""
        self._forget()

        def opened() -> None:
            self.emit(Listening(self.path, trio.current_time(), self.addresses))
            task_status.started(self.addresses)

        async with open_poll() as self._poll, trio.open_nursery() as watch:
            if self._idle is not None:
                watch.start_soon(self._idle.run)
            async with trio.open_nursery() as self._tasks:
                try:
                    await self._acceptor.run(opened)
                    await self._transports_have_ended()
                finally:
                    with ExitStack() as ends:  # each of them, whatever another's protocol raises
                        for transport in self._transports():
                            ends.callback(transport.end)
            watch.cancel_scope.cancel(reason="the last connection has ended")

    async def drain(self) -> None:
        """Refuse new connections; :meth:`run` returns, and so ends this, when the last has ended."""
        self._acceptor.stop()
        await trio.sleep_forever()

    # ---- accepting

    async def _wait_for_room(self) -> None:
        """Return when there are fewer than ``max_connections``."""
        while self.max_connections is not None and len(self._open) >= self.max_connections:
            await self._room.park()

    def _take(self, stream: Connection) -> None:
        """Serve a connection, by a task of its own or, in the fast lane, by the poll."""
        self._accepted += 1
        self._open[stream] = None
        if self._takes_fast_lane(stream):
            self._serve_by_poll(stream)
            return
        if self._poll is not None and len(self._open) > _FEW and isinstance(stream, SocketStream):
            stream.wait_by(self._poll)
        name = f"{self.path} from {show_address(stream.peer)}"
        self._tasks.start_soon(self._serve, stream, name=name)

    def _turn_away(self, stream: Connection) -> None:
        """Close a connection that came too late."""
        self._accepted += 1
        self._reject(stream, "the server stops")
        stream.abandon()

    def _tell_delay(self, error: OSError, delay: float) -> None:
        """The process, or the machine, has no room for a connection."""
        now = trio.current_time()
        if self._delays.passes(now):
            self.emit(AcceptDelayed(self.path, now, error, delay))

    # ---- serving

    async def _serve(self, stream: Connection) -> None:
        """The way of one connection, whose errors end nothing else (rule L16)."""
        # All in one, since each coroutine more is a tenth of an idle connection's memory.
        connection: Connection | None = stream
        try:
            # A scope for the time that an introduction may take is dear, where there is none.
            connection = self._greet(stream) if self._introduction.is_short else await self._introduce(stream)
            if connection is None:
                return
            if self._idle is None:
                await self._conversation(connection)
            else:
                await self._converse_unless_idle(stream, connection, self._idle)
            if isinstance(connection, TLSStream):
                await self._say_goodbye(connection)
        except Exception as error:  # noqa: BLE001 - L16: it is told, counted, and ends this connection only
            self._tell_failure(connection or stream, error)
        except BaseExceptionGroup as group:
            # A handler that was cancelled and raised as well: each part goes its own way.
            errors, others = group.split(Exception)
            if errors is not None:
                self._tell_failure(connection or stream, errors)
            if others is not None:
                raise others from None
        finally:
            stream.abandon()
            self._leave(stream)

    def _leave(self, stream: Connection) -> None:
        del self._open[stream]
        self._peers.forget(stream)
        if self._idle is not None:
            self._idle.forget(stream)
        self._received += stream.bytes_received
        self._sent += stream.bytes_sent
        self._room.unpark_all()

    # ---- introducing

    async def _introduce(self, stream: Connection) -> Connection | None:
        """What comes before the handler's turn; ``None`` if it will not have one."""
        scope = trio.CancelScope(deadline=trio.current_time() + self.handshake_timeout)
        try:
            with scope:
                await self._introduction.of_client(stream)
                if self._greet(stream) is None:
                    return None
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

    def _greet(self, stream: Connection) -> Connection | None:
        """Now that it is known who the client is: the connection, or ``None`` if he has too many."""
        if self._peers.admit(stream):
            return stream
        self._reject(stream, f"it has {self.max_connections_per_peer} already (max_connections_per_peer)")
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

    # ---- handling, each connection by its task

    def _conversation(self, connection: Connection) -> Awaitable[object]:
        """The turn of the handler, or of the protocol."""
        if self._handler is not None:
            return awaitable("the handler", self._handler(connection))
        assert self._make_protocol is not None
        return converse(connection, made(self._make_protocol()), self._poll)

    async def _converse_unless_idle(
        self, stream: Connection, connection: Connection, idle: IdleWatch
    ) -> None:
        with trio.CancelScope() as scope:
            idle.watch(stream, partial(scope.cancel, reason="the connection was idle"))
            await self._conversation(connection)
        if scope.cancel_called:
            self._tell_idle(connection)
            stream.abandon()

    async def _say_goodbye(self, connection: TLSStream) -> None:
        # Without TLS's own end the peer could not tell it from an attacker's.
        with trio.move_on_after(self.handshake_timeout), suppress(trio.ClosedResourceError):
            await connection.aclose()  # unless the handler has closed what is below

    def _tell_failure(self, connection: Connection, error: Exception | BaseExceptionGroup) -> None:
        self._failed += 1
        now = trio.current_time()
        self.emit(ConnectionFailed(self.path, now, connection.peer, error, connection.broke_with(error)))

    def _tell_idle(self, connection: Connection) -> None:
        assert self.idle_timeout is not None
        self._failed += 1
        now = trio.current_time()
        self.emit(ConnectionTimedOut(self.path, now, connection.peer, self.idle_timeout))

    # ---- handling, all connections by the poll

    def _takes_fast_lane(self, stream: Connection) -> bool:
        """Whether it takes no task: a protocol, over a socket, with nothing to be said before."""
        return (
            self._make_protocol is not None
            and self._poll is not None
            and self._introduction.is_short
            and isinstance(stream, SocketStream)
        )

    def _serve_by_poll(self, stream: Connection) -> None:
        """The way of one connection, as in :meth:`_serve`."""
        assert isinstance(stream, SocketStream)
        assert self._poll is not None
        protocol = None
        try:
            protocol = self._protocol_for(stream)
        finally:
            if protocol is None:
                self._end(stream)
        if protocol is None:
            return
        transport = SocketTransport(stream, protocol, self._poll, self._end)
        self._open[stream] = transport
        if self._idle is not None:
            self._idle.watch(stream, partial(self._end_idle, stream, transport))
        transport.begin()

    def _protocol_for(self, stream: SocketStream) -> Any:
        """A protocol that is to have the connection; ``None`` if none will."""
        assert self._make_protocol is not None
        if self._greet(stream) is None:
            return None
        try:
            return made(self._make_protocol())
        except Exception as error:  # noqa: BLE001 - L16, as in _serve
            self._tell_failure(stream, error)
            return None

    def _end(self, stream: Connection, error: Exception | None = None) -> None:
        if error is not None:
            self._tell_failure(stream, error)
        stream.abandon()
        self._leave(stream)

    def _end_idle(self, stream: SocketStream, transport: SocketTransport) -> None:
        if transport.end() is None:
            self._tell_idle(stream)

    def _transports(self) -> Iterator[SocketTransport]:
        return (transport for transport in self._open.values() if transport is not None)

    async def _transports_have_ended(self) -> None:
        """Return when the last has, as a nursery does for tasks."""
        while any(True for _ in self._transports()):
            await self._room.park()


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
        **options: those of :class:`StreamServer`: ``protocol``, and from ``max_connections`` on.
    """

    def __init__(
        self,
        port: int,
        handler: Callable[[SocketStream], Awaitable[object]] | None = None,
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
        **options: those of :class:`StreamServer`: ``protocol``, and from ``max_connections`` on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: Callable[[SocketStream], Awaitable[object]] | None = None,
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
        handler: Callable[[TLSStream], Awaitable[object]] | None = None,
        ssl_context: SSLContext | Certificates | None = None,
        **options: Unpack[TCPServerOptions],
    ) -> None:
        if ssl_context is None:  # out of a configuration without it, and all would go in the clear
            raise TypeError(
                "ssl_context is Certificates or an ssl.SSLContext, not None; without TLS take TCPServer"
            )
        of_any_stream: StreamHandler | None = handler
        super().__init__(port, of_any_stream, ssl_context=ssl_context, **options)


# ---- what the arguments mean ------------------------------------------------------------------


def _limit(name: str, value: int | None) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} is a number from 1, or None for no limit, not {value!r}")
    return value


def _seconds(name: str, value: float) -> float:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is a number of seconds above 0, not {value!r}")
    return value
