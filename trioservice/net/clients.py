"""Stream clients: connect, be introduced, talk, and do so again.

One client is one leaf and one task, and its life is one loop: an attempt to connect; the
handler, if it succeeds; a wait; the next attempt.  So there is never more than one connection,
and a stop is one cancellation, whatever the loop is at: looking a name up, connecting, shaking
hands, in the handler or asleep between two attempts.

An attempt begins with :func:`connect`, which knows how to reach each kind of endpoint, and ends
with ``prepare``, in which the user may log in, or look whom he has met and decline.  A
connection has one owner, :meth:`StreamClient._attempt`, and whatever becomes of it, there it is closed.

The waits are those of Twisted's ``ClientService``: attempts that fail in a row, and connections
that are lost, make the next wait longer by :class:`~trioservice.retry.Retry`, and a connection
that succeeds makes it short again.  A lost connection waits too, since a server that was
restarted should not meet all its clients in one instant.

There is one client, :class:`StreamClient`, for every endpoint; :class:`TCPClient`,
:class:`UNIXClient` and :class:`SSLClient` say in Python's words what its texts say.
"""

from __future__ import annotations

import errno
import math
import os
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import singledispatch
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any, TypeAlias, TypedDict, Unpack, cast

import trio

from ..errors import (
    CannotConnectError,
    ServiceError,
    ServicesFailed,
    ServiceStateError,
    StartInterrupted,
)
from ..lifecycle import State
from ..retry import Retry
from ..service import Service
from .addresses import Address, peer_of, show_address, sockaddr_of
from .endpoints import (
    SSLClientEndpoint,
    StreamClientEndpoint,
    TCPClientEndpoint,
    TLSClientEndpoint,
    UNIXClientEndpoint,
    client_endpoint,
)
from .events import Connected, ConnectFailed, ConnectionFailed, Disconnected, Unverified, reason_of
from .streams import Connection, SocketStream, StreamHandler
from .tls import TLSStream, client_context, verifies

__all__ = [
    "ClientOptions",
    "ClientStatistics",
    "SSLClient",
    "StreamClient",
    "TCPClient",
    "UNIXClient",
    "connect",
]

# How long a connection may take over its last words (TLS's close_notify); they are a courtesy.
_GOODBYE = 5.0

_Secure: TypeAlias = SSLClientEndpoint | TLSClientEndpoint


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """What a client has done since its present, or last, run began."""

    attempts: int = 0  #: attempts to connect, that under way included
    connected: int = 0  #: attempts that succeeded, *prepare* included; the others have failed
    failed: int = 0  #: connections that ended with an error, the peer's or the handler's
    bytes_received: int = 0  #: on the wire
    bytes_sent: int = 0  #: on the wire


class ClientOptions(TypedDict, total=False):
    """The options that all stream clients share; see :class:`StreamClient`."""

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
        ValueError: a part of the endpoint cannot be one.
        CertificateError: out of ``main``, if the files of a TLS endpoint cannot be loaded.
        CannotConnectError: out of ``main``, if *retry* allows no further attempt.
    """

    def __init__(
        self,
        endpoint: str | StreamClientEndpoint,
        handler: StreamHandler,
        *,
        ssl_context: SSLContext | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 - it is frozen
        prepare: Callable[[Any], Awaitable[object]] | None = None,
        ready_when_connected: bool = False,
        name: str | None = None,
        start_timeout: float | None = None,
        stop_timeout: float = 5.0,
    ) -> None:
        super().__init__(name=name, start_timeout=start_timeout, stop_timeout=stop_timeout)
        for argument, given in (("handler", handler), ("prepare", prepare)):
            if not (callable(given) or (given is None and argument == "prepare")):
                raise TypeError(f"{argument} is an async function that takes a stream, not {given!r}")
        self.endpoint = endpoint if isinstance(endpoint, StreamClientEndpoint) else client_endpoint(endpoint)
        self.retry = retry
        self.ready_when_connected = ready_when_connected
        self._handler = handler
        self._prepare = prepare
        self._ssl_context = ssl_context
        self._target = self.endpoint if ssl_context is None else _with_tls(self.endpoint)
        self._context: SSLContext | None = None
        self._waiters: list[_Waiter] = []
        self._alive = False
        self._forget()

    def _forget(self) -> None:
        """Begin a new run (rule L3)."""
        self._attempts = self._connected = self._failed = 0
        self._received = self._sent = 0  # by connections that have ended
        self._stream: Connection | None = None  # that is open, be it prepared or not
        self._connection: Connection | None = None  # that the handler has
        self._connected_at = 0.0

    @property
    def connection(self) -> Connection | None:
        """The connection that there is now: connected, prepared, and the handler's."""
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

        Before the start the next run is waited for, and likewise in a stop that a start is to follow.

        Args:
            max_failures: give up after so many failed attempts, counted from this call.

        Raises:
            CannotConnectError: the last of *max_failures*, or the one at which the service gave up.
            StartInterrupted: a stop came first.
            ServicesFailed: it failed to start.
            ServiceStateError: the caller is what it would wait for.
            ValueError: *max_failures* is less than 1.
        """
        if max_failures is not None and max_failures < 1:
            raise ValueError(f"max_failures is 1 or more, or None for no limit, not {max_failures!r}")
        stopping = self.state is State.STOPPING
        if self._connection is not None and not stopping:
            connection = self._connection
            await trio.lowlevel.checkpoint()
            return connection
        if self._run is not None and self._run.within():
            raise ServiceStateError(
                f"{self.path!r} would wait for its own connection for ever; in prepare, use the stream given"
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

    async def _hear_of_start(self, waiter: _Waiter) -> None:
        """A start that fails or is called off before :meth:`run` is called tells nobody else of it."""
        try:
            await self.wait_running()
        except (ServiceError, ServicesFailed) as failure:
            waiter.fail(failure)

    # ---- its life

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Read private keys, while the process may."""
        if isinstance(self._target, _Secure):
            self._context = self._ssl_context or _context_of(self._target)

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """Connect, again and again, until cancelled."""
        self._forget()
        self._alive = True
        for waiter in self._waiters:
            waiter.for_next_run = False
        if self._context is not None and not verifies(self._context):
            self.emit(Unverified(self.path, trio.current_time(), _shown(self._target)))
        if not self.ready_when_connected:
            task_status.started(None)
        try:
            await self._stay_connected(task_status)
        finally:
            self._alive = False
            for waiter in self._waiters:
                if not waiter.for_next_run:
                    waiter.fail(StartInterrupted(f"{self.path} was stopped before it was connected"))

    async def _stay_connected(self, task_status: trio.TaskStatus[object]) -> None:
        tries = 0  # failed attempts and lost connections in a row: the delay grows with them
        failures = 0  # failed attempts in a row: the limit limits them
        while True:
            error = await self._attempt(task_status)
            if error is not None:
                tries, failures = tries + 1, failures + 1
            elif self.retry is not None:
                tries, failures = 1, 0
            else:
                return
            delay = self._delay(tries, failures)
            if error is not None:
                self._tell_failed_attempt(error, failures, delay)
            if delay is None:
                assert error is not None
                raise error
            await trio.sleep(delay)

    def _delay(self, tries: int, failures: int) -> float | None:
        if self.retry is None or (self.retry.limit is not None and failures >= max(1, self.retry.limit)):
            return None
        return replace(self.retry, limit=None).next_delay(tries, random.random())

    def _tell_failed_attempt(self, error: CannotConnectError, failures: int, delay: float | None) -> None:
        # No throttle: how often this is told is for the user's own Retry to say, not for the peer.
        self.emit(ConnectFailed(self.path, trio.current_time(), error, failures, delay))
        for waiter in self._waiters:
            waiter.patience -= 1
            if waiter.patience == 0 or delay is None:
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
                await self._prepare(stream)
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt has failed
            return _rejected(stream, error)
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
            raise _cannot_connect(self._target, error) from error

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
        if self.retry is None:
            await self._talk(stream)
            return
        try:
            await self._talk(stream)
        except Exception as error:  # noqa: BLE001 - L16: it is told, counted, and ends this connection only
            self._tell_failure(stream, error)
        except BaseExceptionGroup as group:
            # A handler that was cancelled and raised as well: each part goes its own way.
            errors, others = group.split(Exception)
            if errors is not None:
                self._tell_failure(stream, errors)
            if others is not None:
                raise others from None

    async def _talk(self, stream: Connection) -> None:
        await self._handler(stream)
        with trio.move_on_after(_GOODBYE):
            await stream.aclose()

    def _tell_failure(self, stream: Connection, error: Exception | BaseExceptionGroup) -> None:
        self._failed += 1
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
        **options: those of :class:`StreamClient`, from ``retry`` on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handler: Callable[[SocketStream], Awaitable[object]],
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
        **options: those of :class:`StreamClient`, from ``retry`` on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: Callable[[SocketStream], Awaitable[object]],
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
        **options: those of :class:`StreamClient`, from ``retry`` on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handler: Callable[[TLSStream], Awaitable[object]],
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


# ---- reaching an endpoint ---------------------------------------------------------------------


@singledispatch
async def connect(endpoint: StreamClientEndpoint, ssl_context: SSLContext | None = None) -> Connection:
    """Connect to *endpoint*, once.

    A kind of endpoint of your own registers how it is reached; it is called with the endpoint alone::

        @connect.register
        async def reach(endpoint: SerialEndpoint) -> Connection: ...

    Args:
        endpoint: a description from :mod:`trioservice.net.endpoints`; its ``timeout`` is obeyed.
        ssl_context: for an endpoint that is TLS, instead of a context made of its files.

    Raises:
        CannotConnectError: there is no connection; ``str()`` says why, with the likely mend.
    """
    raise TypeError(
        f"nobody knows how to connect to {endpoint!r}; its kind's package must register it: "
        "@trioservice.net.clients.connect.register"
    )


@connect.register
async def _reach_tcp(endpoint: TCPClientEndpoint) -> Connection:
    with _trying(endpoint, endpoint.timeout):
        stream = await trio.open_tcp_stream(endpoint.host, endpoint.port, local_address=endpoint.bind_address)
        return _connection(stream)


@connect.register
async def _reach_unix(endpoint: UNIXClientEndpoint) -> Connection:
    with _trying(endpoint, endpoint.timeout):
        return _connection(await trio.open_unix_socket(sockaddr_of(endpoint.path)))


@connect.register
async def _reach_ssl(endpoint: SSLClientEndpoint, ssl_context: SSLContext | None = None) -> Connection:
    below = TCPClientEndpoint(endpoint.host, endpoint.port, endpoint.timeout, endpoint.bind_address)
    return await _secured(endpoint, below, endpoint.hostname or endpoint.host, ssl_context)


@connect.register
async def _reach_tls(endpoint: TLSClientEndpoint, ssl_context: SSLContext | None = None) -> Connection:
    below = endpoint.endpoint
    if below is None:
        below = TCPClientEndpoint(endpoint.host, endpoint.port, endpoint.timeout, endpoint.bind_address)
    return await _secured(endpoint, below, endpoint.host, ssl_context)


async def _secured(
    endpoint: _Secure, below: StreamClientEndpoint, server_hostname: str, context: SSLContext | None
) -> Connection:
    with _trying(endpoint, endpoint.timeout):
        stream = await connect(below)
        try:
            secure = TLSStream(stream, context or _context_of(endpoint), server_hostname=server_hostname)
            await secure.do_handshake()
        except BaseException:
            stream.abandon()
            raise
        return secure


def _connection(stream: trio.SocketStream) -> SocketStream:
    sock = stream.socket
    try:
        name = sock.getpeername()
        if sock.getsockname() == name:
            # A port that is free to be chosen for our end, while nobody listens there, can be
            # connected to itself (RFC 793's simultaneous open); sooner or later a client that
            # tries again and again is, and then keeps its own server from starting.
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
        return SocketStream(sock, peer_of(cast("socket.socket", sock), name))
    except BaseException:
        sock.close()
        raise


@contextmanager
def _trying(endpoint: StreamClientEndpoint, seconds: float) -> Iterator[None]:
    """Whatever goes wrong in here, or takes too long, is a :exc:`CannotConnectError`."""
    try:
        with trio.fail_after(seconds):
            yield
    except CannotConnectError:
        raise
    except trio.TooSlowError as error:
        raise _cannot_connect(endpoint, TimeoutError(f"no answer within {seconds:g} s")) from error
    except (OSError, UnicodeError, trio.BrokenResourceError) as error:
        raise _cannot_connect(endpoint, error) from error


def _context_of(endpoint: _Secure) -> SSLContext:
    """What the endpoint's files make."""
    if isinstance(endpoint, SSLClientEndpoint):
        trust_roots, cert = endpoint.ca_certs_dir, endpoint.cert_key
    else:
        trust_roots, cert = endpoint.trust_roots, endpoint.certificate
    return client_context(trust_roots=trust_roots, cert=cert, key=endpoint.private_key, alpn=endpoint.alpn)


def _with_tls(endpoint: StreamClientEndpoint) -> StreamClientEndpoint:
    """What ``ssl_context=`` makes of *endpoint*."""
    if isinstance(endpoint, _Secure):
        return endpoint
    if isinstance(endpoint, TCPClientEndpoint):
        return TLSClientEndpoint(endpoint.host, endpoint.port, endpoint.timeout, endpoint.bind_address)
    raise ValueError(
        f"ssl_context over {endpoint} needs the name that the server's certificate is for; "
        "give TLSClientEndpoint(name, endpoint=...), in text tls:NAME:endpoint=..., as the endpoint"
    )


# ---- what went wrong, and the likely mend -----------------------------------------------------


def _rejected(stream: Connection, error: Exception) -> CannotConnectError:
    shown = show_address(stream.peer)
    if stream.broke_with(error):
        what = f"the connection to {shown} broke in prepare: {reason_of(error)}"
    else:
        what = f"prepare declined the connection to {shown}: {type(error).__name__}: {error}"
    rejection = CannotConnectError(0, what)
    rejection.__cause__ = error
    return rejection


def _cannot_connect(endpoint: StreamClientEndpoint, error: Exception) -> CannotConnectError:
    """What the system said of *endpoint*, and the likely mend."""
    cause = _innermost(error)
    if isinstance(cause, SSLError):
        number, (said, mend) = 0, _of_tls(cause)
    elif isinstance(cause, (socket.gaierror, UnicodeError)):
        said, mend = getattr(cause, "strerror", None) or str(cause), "is the name spelt right?"
        number, said = 0, f"it has no address: {said}"
    elif isinstance(cause, OSError):
        number = cause.errno or (errno.ETIMEDOUT if isinstance(cause, TimeoutError) else 0)
        said = os.strerror(number) if cause.errno else str(cause)
        if "local_address=" in said:  # trio's word for it
            said = f"{getattr(endpoint, 'bind_address', None)} cannot be our end"
        mend = _mend(endpoint, number)
    else:  # a connection that ended within the handshake, without a reason
        number, said, mend = 0, str(cause) or "it ended the connection within the TLS handshake", _NO_TLS
    return CannotConnectError(
        number, f"cannot connect to {_shown(endpoint)}: {said}" + (mend and f"; {mend}")
    )


def _innermost(error: BaseException) -> BaseException:
    """The error that tells most: below trio's own, and of several addresses' the most telling."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = min(cause.exceptions, key=_vagueness)
    return error if cause is None else _innermost(cause)


def _vagueness(error: BaseException) -> int:
    """That a machine has no way to IPv6 tells nothing of the server; what its IPv4 address answers does."""
    number = getattr(error, "errno", None)
    return 2 if number is None else 1 if number in _NO_WAY else 0


_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_NO_TLS = "does it speak TLS there?"
_TOO_LATE = "is the address right, and does no firewall drop what is sent there?"


def _mend(endpoint: StreamClientEndpoint, number: int) -> str:
    if number == errno.ETIMEDOUT and isinstance(endpoint, _Secure):
        return f"{_TOO_LATE[:-1]}, and {_NO_TLS}"
    if number in (0, errno.EADDRNOTAVAIL) and getattr(endpoint, "bind_address", None) is not None:
        return "bind_address must be an address of this machine, of the same family as the server's"
    if isinstance(endpoint, UNIXClientEndpoint) and number in _MENDS_OF_FILES:
        return _MENDS_OF_FILES[number]
    return _MENDS.get(number, "")


_MENDS = {
    errno.ECONNREFUSED: "nobody listens there; is the server running, and the port right?",
    errno.ETIMEDOUT: _TOO_LATE,
    errno.ENETUNREACH: "there is no way to it; is the network up, and the address right?",
    errno.EHOSTUNREACH: "there is no way to it; is the machine up, and the address right?",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EACCES: "a firewall of this machine forbids it",
    errno.EPERM: "a firewall of this machine forbids it",
    errno.ECONNRESET: "it was taken and dropped at once; the server's own log should tell why",
}

_MENDS_OF_FILES = {
    errno.ENOENT: "there is no such socket; is the server running, and the path right?",
    errno.ECONNREFUSED: "nobody listens there any more; is the server running?",
    errno.EACCES: "this process may not write to it; `ls -l` shows who may",
    errno.EAGAIN: "the server does not take those who wait already; is it too busy, or stuck?",
    errno.EPROTOTYPE: "it is a socket for datagrams; a UNIXDatagramClient talks to it",
}


def _of_tls(error: SSLError) -> tuple[str, str]:
    if isinstance(error, SSLCertVerificationError):
        said = f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
        return said, _MENDS_OF_CERTIFICATES.get(error.verify_code, "")
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if " alert " in reason:
        return f"it refuses the TLS handshake: {reason}", "its own log should tell why"
    return f"the TLS handshake failed: {reason}", _NO_TLS


_UNKNOWN_AUTHORITY = "if that authority is to be trusted, name its file as trustRoots (caCertsDir for ssl:)"
_OTHER_NAME = "connect to a name that the certificate is for, or say which it is (hostname, server_hostname)"

# By the numbers of OpenSSL's x509_vfy.h.
_MENDS_OF_CERTIFICATES = {
    2: _UNKNOWN_AUTHORITY,
    9: "is a clock wrong?",
    10: "it must be renewed at the server",
    18: _UNKNOWN_AUTHORITY,
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}


def _shown(endpoint: StreamClientEndpoint) -> str:
    if isinstance(endpoint, UNIXClientEndpoint):
        return endpoint.path
    if isinstance(endpoint, (TCPClientEndpoint, SSLClientEndpoint)):
        return show_address((endpoint.host, endpoint.port))
    if isinstance(endpoint, TLSClientEndpoint) and endpoint.endpoint is None:
        return show_address((endpoint.host, endpoint.port))
    return str(endpoint)
