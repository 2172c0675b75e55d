"""Stream clients: connect, be introduced, talk, and do so again.

One client is one leaf and one task, and its life is one loop: an attempt to connect; the
handler, if it succeeds; a wait; the next attempt.  So there is never more than one connection,
and a stop is one cancellation, whatever the loop is at: looking a name up, connecting, shaking
hands, in the handler or asleep between two attempts.

An attempt begins with :func:`~trioservice.net.connecting.connect`, which knows how to reach each
kind of endpoint, and ends with ``prepare``, in which the user may log in, or look whom he has
met and decline.  A connection has one owner, ``StreamClient._attempt``, and whatever becomes of
it, there it is closed.

The waits are those of Twisted's ``ClientService``: attempts that fail in a row, and connections
that are lost, make the next wait longer by :class:`~trioservice.retry.Retry`, and a connection
that succeeds makes it short again.  A lost connection waits too, since a server that was
restarted should not meet all its clients in one instant.

There is one client, :class:`StreamClient`, for every endpoint; :class:`TCPClient`,
:class:`UNIXClient` and :class:`SSLClient` say in Python's words what its texts say.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from ssl import SSLContext
from typing import Any, TypedDict, Unpack

import trio

from ..errors import (
    CannotConnectError,
    ServiceError,
    ServicesFailed,
    ServiceStateError,
    StartInterrupted,
    failed,
)
from ..lifecycle import State
from ..records import record
from ..retry import Retry
from ..service import Service
from .addresses import Address
from .connecting import (
    Secure,
    cannot_connect,
    check_context,
    check_endpoint,
    connect,
    context_of,
    rejected,
    shown,
    with_tls,
)
from .endpoints import (
    SSLClientEndpoint,
    StreamClientEndpoint,
    TCPClientEndpoint,
    UNIXClientEndpoint,
    client_endpoint,
)
from .events import Connected, ConnectFailed, ConnectionFailed, Disconnected, Unverified
from .handlers import awaitable, made, require_function, require_handler_or_protocol
from .protocols import ProtocolFactory, converse
from .streams import Connection, SocketStream, StreamHandler
from .tls import TLSStream, verifies

__all__ = [
    "ClientOptions",
    "ClientStatistics",
    "SSLClient",
    "StreamClient",
    "TCPClient",
    "UNIXClient",
]

# How long a connection may take over its last words (TLS's close_notify); they are a courtesy.
_GOODBYE = 5.0


@record
class ClientStatistics:
    """What a client has done since its present, or last, run began."""

    attempts: int = 0  #: attempts to connect, that under way included
    connected: int = 0  #: attempts that succeeded, *prepare* included; the others have failed
    failed: int = 0  #: connections that ended with an error, the peer's or the handler's
    bytes_received: int = 0  #: on the wire
    bytes_sent: int = 0  #: on the wire


class ClientOptions(TypedDict, total=False):
    """The options that all stream clients share; see :class:`StreamClient`."""

    protocol: ProtocolFactory | None
    retry: Retry | None
    prepare: Callable[[Any], Awaitable[object]] | None
    ready_when_connected: bool
    name: str | None
    start_timeout: float | None
    stop_timeout: float


class StreamClient(Service):
    """A leaf that keeps one stream connection to an endpoint, and has *handler* use it.

    ::

        StreamClient("unix:/run/stock.sock", watch_stock)
        StreamClient(config["upstream"], talk, retry=Retry(delay_max=10), ready_when_connected=True)

    When an attempt fails, and when a connection has ended (the handler returned or raised, or
    the connection broke), it waits as *retry* says and connects again.  A stop ends the attempt,
    the wait or the connection at once; there is no drain, as a handler that talks for ever has no
    end to wait for.  One that has last words says them in a ``finally:``.

    Args:
        endpoint: where to connect: a text like ``"tcp:example.com:80"``, or a description from
            :mod:`trioservice.net.endpoints`.
        handler: ``async def handler(stream)``; the stream is a
            :class:`~trioservice.net.streams.Connection` and is closed when the handler returns.
            What it raises ends its connection only, and is logged and counted.
        protocol: instead of a handler, makes for each connection an object with the callbacks of
            PEP 3156's ``Protocol``; see :mod:`trioservice.net.protocols`.
        ssl_context: speak TLS in this context; for an endpoint that is TLS, instead of one made
            from its files.
        retry: how soon again; its ``limit`` is the number of attempts that may fail in a row,
            after which the service fails too.  ``None`` connects once: an attempt that fails, or
            what the handler raises, is the service's failure, and the handler's return is its end.
        prepare: ``async def prepare(stream)``, called on each connection before the handler.  If
            it raises, the connection is closed and the attempt has failed.
        ready_when_connected: be ready when first connected, which holds up what stands after it
            in the tree; attempts go on until *start_timeout*.  By default it is ready at once.
        name: as for :class:`~trioservice.service.Service`, like the other options.
        start_timeout: seconds within which it must be ready.
        stop_timeout: seconds after its cancellation from which it is reported.

    Raises:
        EndpointError: the text is no endpoint.
        ValueError: a part of the endpoint cannot be one; or *ssl_context* is a server's.
        TypeError: an argument is nothing of its kind.
        CertificateError: out of ``main``, if the files of a TLS endpoint cannot be loaded.
        CannotConnectError: out of ``main``, if *retry* allows no further attempt.
    """

    def __init__(
        self,
        endpoint: str | StreamClientEndpoint,
        handler: StreamHandler | None = None,
        *,
        protocol: ProtocolFactory | None = None,
        ssl_context: SSLContext | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 - it is frozen
        prepare: Callable[[Any], Awaitable[object]] | None = None,
        ready_when_connected: bool = False,
        name: str | None = None,
        start_timeout: float | None = None,
        stop_timeout: float = 5.0,
    ) -> None:
        super().__init__(name=name, start_timeout=start_timeout, stop_timeout=stop_timeout)
        require_handler_or_protocol(handler, protocol)
        if prepare is not None:
            require_function("prepare", prepare)
        if not (retry is None or isinstance(retry, Retry)):
            raise TypeError(f"retry is a Retry, like Retry(limit=5), or None to connect once, not {retry!r}")
        self.endpoint = endpoint if isinstance(endpoint, StreamClientEndpoint) else client_endpoint(endpoint)
        self.retry = retry
        self.ready_when_connected = ready_when_connected
        self._handler = handler
        self._make_protocol = protocol
        self._prepare = prepare
        self._ssl_context = ssl_context
        check_endpoint(self.endpoint)
        self._target = self.endpoint
        if ssl_context is not None:
            check_context(ssl_context)
            self._target = with_tls(self.endpoint)
            check_endpoint(self._target)
        self._context: SSLContext | None = None
        self._waiters: list[_Waiter] = []
        self._alive = False
        self._forget()

    def _forget(self) -> None:
        """Begin a new run (rule L3)."""
        self._attempts = self._connected = self._failed = 0
        self._failures = 0  # failed attempts in a row: the limit limits them
        self._received = self._sent = 0  # by connections that have ended
        self._stream: Connection | None = None  # that is open, be it prepared or not
        self._connection: Connection | None = None  # that the handler has
        self._connected_at = 0.0

    @property
    def connection(self) -> Connection | None:
        """The connection that there is now, connected, prepared, and the handler's."""
        return self._connection

    def statistics(self) -> ClientStatistics:
        """A snapshot of its counters."""
        stream = self._stream
        return ClientStatistics(
            attempts=self._attempts,
            connected=self._connected,
            failed=self._failed,
            bytes_received=self._received + (stream.bytes_received if stream is not None else 0),
            bytes_sent=self._sent + (stream.bytes_sent if stream is not None else 0),
        )

    # ---- waiting for it

    async def wait_connected(self, max_failures: int | None = None) -> Connection:
        """The connection: at once if there is one, else the next.

        Before the first start that is waited for, and likewise in a stop that a start is to follow.
        What has ended, by a stop or by itself, has no next connection until somebody starts it again.

        Args:
            max_failures: give up after so many failed attempts, counted from this call.

        Raises:
            CannotConnectError: the last of *max_failures*, or the one at which the service gave up.
            StartInterrupted: a stop came first, or it has ended already.
            ServicesFailed: it failed to start.
            ServiceStateError: the caller is what it would wait for.
            ValueError: *max_failures* is no whole number, or less than 1.
        """
        if not (max_failures is None or (isinstance(max_failures, int) and max_failures >= 1)):
            raise ValueError(
                f"max_failures is a whole number, 1 or more, or None for no limit, not {max_failures!r}"
            )
        stopping = self.state is State.STOPPING
        if self._connection is not None and not stopping:
            connection = self._connection
            await trio.lowlevel.checkpoint()
            return connection
        if self._run is not None and self._run.within():
            raise ServiceStateError(
                f"{self.path!r} would wait for its own connection for ever; in prepare, use the stream given"
            )
        if self._has_ended() and not self._is_to_start():
            raise StartInterrupted(
                f"{self.path} is {self.state.value}, so it will not connect; start it again"
            )
        waiter = _Waiter(math.inf if max_failures is None else max_failures, for_next_run=stopping)
        self._waiters.append(waiter)
        try:
            async with trio.open_nursery() as nursery:
                if stopping or not self._alive:
                    nursery.start_soon(self._hear_of_start, waiter)
                await waiter.told.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._waiters.remove(waiter)
        return waiter.outcome()

    def _has_ended(self) -> bool:
        if self.state is State.STOPPED:
            return self._attempts > 0  # else it never ran, and whoever waits expects that it will
        return self.state in {State.FINISHED, State.FAILED}

    def _is_to_start(self) -> bool:
        """Whether it, or a branch it is in, has its turn still to come in a start that is under way."""
        part: Service = self
        while part.parent is not None:
            host = part.parent._run
            if host is not None and part in host.pending:
                return True
            part = part.parent
        return False

    async def _hear_of_start(self, waiter: _Waiter) -> None:
        """A start that fails or is called off before :meth:`run` is called tells nobody else of it."""
        try:
            await self.wait_running()
        except (ServiceError, ServicesFailed) as failure:
            waiter.fail(failure)

    # ---- its life

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Read private keys, while the process may."""
        if isinstance(self._target, Secure):
            self._context = self._ssl_context or context_of(self._target)

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """Connect, again and again, until cancelled."""
        self._forget()
        self._alive = True
        for waiter in self._waiters:
            waiter.for_next_run = False
        if self._context is not None and not verifies(self._context):
            self.emit(Unverified(self.path, trio.current_time(), shown(self._target)))
        if not self.ready_when_connected:
            task_status.started(None)
        try:
            await self._stay_connected(task_status)
        finally:
            self._alive = False
            for waiter in self._waiters:
                if not waiter.for_next_run:
                    waiter.fail(self._why_not_connected())

    def _why_not_connected(self) -> Exception:
        assert self._run is not None
        if late := self._run.plain_errors():  # its start_timeout: nothing else is known before run() is over
            return failed(self.path, late)
        how = "was stopped" if self.state is State.STOPPING else "ended"
        return StartInterrupted(f"{self.path} {how} before it was connected")

    async def _stay_connected(self, task_status: trio.TaskStatus[object]) -> None:
        tries = 0  # failed attempts and lost connections in a row: the delay grows with them
        while True:
            error = await self._attempt(task_status)
            if error is not None:
                tries, self._failures = tries + 1, self._failures + 1
            elif self.retry is not None:
                tries, self._failures = 1, 0
            else:
                return
            delay = self._delay(tries)
            if error is not None:
                self._tell_failed_attempt(error, delay)
            if delay is None:
                assert error is not None
                raise error
            await trio.sleep(delay)

    def _delay(self, tries: int) -> float | None:
        if self.retry is None:
            return None
        if self.retry.limit is not None and self._failures >= max(1, self.retry.limit):
            return None
        return replace(self.retry, limit=None).next_delay(tries, random.random())

    def _tell_failed_attempt(self, error: CannotConnectError, delay: float | None) -> None:
        # No throttle: how often this is told is for the user's own Retry to say, not for the peer.
        self.emit(ConnectFailed(self.path, trio.current_time(), error, self._failures, delay))
        for waiter in self._waiters:
            waiter.patience -= 1
            if waiter.patience <= 0 or delay is None:
                waiter.fail(error)

    async def _attempt(self, task_status: trio.TaskStatus[object]) -> CannotConnectError | None:
        """One attempt and, if it succeeds, all of the connection's life; if not, why not."""
        self._attempts += 1
        try:
            stream = await self._reach()
        except CannotConnectError as error:
            return error
        self._stream = stream
        try:
            local = stream.local  # asked for now: who knows what the user does to his stream
            rejection = await self._introduce(stream)
            if rejection is None:
                self._tell_connected(stream, local, task_status)
                await self._handle(stream)
            return rejection
        finally:
            stream.abandon()
            self._leave(stream)

    async def _introduce(self, stream: Connection) -> CannotConnectError | None:
        """What comes before the handler's turn; why it will not have one."""
        try:
            if self._prepare is not None:
                await awaitable("prepare", self._prepare(stream))
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt has failed
            return rejected(stream, error)
        except BaseExceptionGroup as group:
            # As with the handler's: what was cancelled ends, and what it raised besides is told.
            errors, others = group.split(Exception)
            if errors is not None:
                rejection, now = rejected(stream, errors), trio.current_time()
                self.emit(ConnectFailed(self.path, now, rejection, self._failures + 1, None))
            if others is not None:
                raise others from None
        return None

    def _tell_connected(
        self, stream: Connection, local: Address, task_status: trio.TaskStatus[object]
    ) -> None:
        self._connected += 1
        self._connected_at = trio.current_time()
        self._connection = stream
        self.emit(Connected(self.path, self._connected_at, stream.peer, local))
        if self.ready_when_connected and self._connected == 1:
            task_status.started(stream.peer)
        for waiter in self._waiters:
            waiter.succeed(stream)

    async def _reach(self) -> Connection:
        try:
            if self._context is not None:
                return await connect(self._target, self._context)
            return await connect(self._target)
        except CannotConnectError:
            raise
        except OSError as error:  # out of a kind of endpoint that is not ours
            raise cannot_connect(self._target, error) from error

    def _leave(self, stream: Connection) -> None:
        self._received += stream.bytes_received
        self._sent += stream.bytes_sent
        self._stream = None
        if self._connection is not None:
            self._connection = None
            now = trio.current_time()
            self.emit(Disconnected(self.path, now, stream.peer, now - self._connected_at))

    async def _handle(self, stream: Connection) -> None:
        """The handler's turn."""
        try:
            await self._talk(stream)
        except Exception as error:  # L16: it is told, counted, and ends this connection only
            self._tell_failure(stream, error)
            if self.retry is None:
                raise
        except BaseExceptionGroup as group:
            # A handler that was cancelled and raised as well: each part goes its own way.
            errors, others = group.split(Exception)
            if errors is not None:
                self._tell_failure(stream, errors)
                if self.retry is None:
                    raise
            if others is not None:
                raise others from None

    async def _talk(self, stream: Connection) -> None:
        if self._handler is not None:
            await awaitable("the handler", self._handler(stream))
        else:
            assert self._make_protocol is not None
            await converse(stream, made(self._make_protocol()))
        with trio.move_on_after(_GOODBYE), suppress(trio.ClosedResourceError):
            await stream.aclose()  # unless what is below was closed, by an abort or by hand

    def _tell_failure(self, stream: Connection, error: Exception | BaseExceptionGroup) -> None:
        self._failed += 1
        if self.retry is None:
            return  # it is the service's own failure, and told as that
        now = trio.current_time()
        self.emit(ConnectionFailed(self.path, now, stream.peer, error, stream.broke_with(error)))


class TCPClient(StreamClient):
    r"""A leaf that keeps a TCP connection.

    ::

        async def greet(stream):
            await stream.send_all(b"hello\n")
            async for data in stream:
                print(data)

        app = Application("greeter", TCPClient("example.com", 7001, greet))

    Args:
        host: name or address; all addresses of a name are tried (Happy Eyeballs).
        port: 1 to 65535.
        handler: ``async def handler(stream)``, with a :class:`~trioservice.net.streams.SocketStream`.
        timeout: seconds for one attempt, the look-up of the name included.
        bind_address: our own address to connect from.
        **options: those of :class:`StreamClient`: ``protocol``, and from ``retry`` on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handler: Callable[[SocketStream], Awaitable[object]] | None = None,
        *,
        timeout: float = 30.0,
        bind_address: str | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(TCPClientEndpoint(host, port, timeout, bind_address), handler, **options)


class UNIXClient(StreamClient):
    """A leaf that keeps a connection over a UNIX socket.

    ``stream.peer`` is a :class:`~trioservice.net.addresses.UNIXPeer`: the kernel vouches for the
    process and the user that listen at the path.

    Args:
        path: of the server's socket, or ``"@name"`` for an abstract name (Linux).
        handler: ``async def handler(stream)``, with a :class:`~trioservice.net.streams.SocketStream`.
        timeout: seconds for one attempt; it takes time where the server's queue is full.
        **options: those of :class:`StreamClient`: ``protocol``, and from ``retry`` on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: Callable[[SocketStream], Awaitable[object]] | None = None,
        *,
        timeout: float = 30.0,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(UNIXClientEndpoint(os.fspath(path), timeout), handler, **options)


class SSLClient(StreamClient):
    """A leaf that keeps a TLS connection over TCP.

    ::

        SSLClient("shop.example", 443, handler)

    The server's certificate is verified: it must be for *host*, and from an authority that this
    machine trusts.  A context of your own that verifies nothing is told as a warning at every start.

    Args:
        host: as for :class:`TCPClient`, like *port*, *timeout* and *bind_address*.
        port: see *host*.
        handler: ``async def handler(stream)``, with a :class:`~trioservice.net.tls.TLSStream`.
        ssl_context: a context of your own, for authorities or a certificate of your own
            (``ssl.create_default_context(cafile="our-ca.pem")``).
        server_hostname: the name that the certificate must be for, if that is not *host*.
        timeout: see *host*; the TLS handshake included.
        bind_address: see *host*.
        **options: those of :class:`StreamClient`: ``protocol``, and from ``retry`` on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handler: Callable[[TLSStream], Awaitable[object]] | None = None,
        ssl_context: SSLContext | None = None,
        *,
        server_hostname: str | None = None,
        timeout: float = 30.0,
        bind_address: str | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        endpoint = SSLClientEndpoint(
            host, port, hostname=server_hostname, timeout=timeout, bind_address=bind_address
        )
        super().__init__(endpoint, handler, ssl_context=ssl_context, **options)


class _Waiter:
    """Somebody who waits for a connection."""

    def __init__(self, patience: float, *, for_next_run: bool) -> None:
        self.patience = patience  # failures, until it gives up
        self.for_next_run = for_next_run
        self.told = trio.Event()
        self._connection: Connection | None = None
        self._failure: Exception | None = None

    def succeed(self, connection: Connection) -> None:
        if not self.told.is_set():
            self._connection = connection
            self.told.set()

    def fail(self, failure: Exception) -> None:
        if not self.told.is_set():
            self._failure = failure
            self.told.set()

    def outcome(self) -> Connection:
        if self._connection is not None:
            return self._connection
        assert self._failure is not None
        if isinstance(self._failure, CannotConnectError):
            # Many may be told of one error; each raises one of its own, with a traceback of its own.
            raise CannotConnectError(*self._failure.args) from self._failure.__cause__
        raise self._failure
