"""Datagrams: UDP and UNIX datagram sockets as services.

A server and a client of datagrams do the same: they hear datagrams, hand each of them to a
handler, and send some.  What they share is :class:`DatagramService`; a server adds where it is
bound, a client whom it speaks to.

A datagram that nobody takes is lost, so hearing and handling are apart.  For each socket one
task waits, once, and then reads a batch without waiting; *workers* take what it has read from a
bounded queue.  Handlers may wait (for a database, say) without holding up each other, so there
can be many workers; but most handlers never do, and for them one worker does everything, in
order, with no task made and no task switched between two datagrams.  The rule that gives both: who
takes a datagram first calls one more worker if there is more to take.  So datagrams are
begun in the order in which they came, whatever their handlers do.

A worker that has emptied the queue looks once at the socket itself before it rests: a quick peer
has sent again by then, and that spares two rounds of the event loop (measured: a third of the cost).

When the queue is full the newest are dropped, and counted: the sender of a datagram expects
nothing, so making him wait, as a stream would, is not possible, and those that came first are served.

Whatever a peer or the network does ends no service (rule L16).  ICMP tells a sender about its
*earlier* datagrams, and the socket module raises that from whatever is called next; it is told
and counted, and the next datagram is sent or heard all the same.
"""

from __future__ import annotations

import contextvars
import errno
import itertools
import math
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict, Unpack

import trio

from ..errors import CannotSendError, DatagramTooLargeError, ServiceStateError
from ..service import Service
from .addresses import Address, address_of, show_address
from .binding import hosts
from .datagram_sockets import (
    DatagramSocket,
    Destination,
    InternetSender,
    UNIXSender,
    bind_datagrams,
    connect_datagrams,
)
from .endpoints import (
    DatagramClientEndpoint,
    DatagramServerEndpoint,
    UDPClientEndpoint,
    UDPServerEndpoint,
    UNIXDatagramClientEndpoint,
    UNIXDatagramServerEndpoint,
    datagram_client_endpoint,
    datagram_server_endpoint,
)
from .events import DatagramDropped, DatagramFailed, DatagramRejected, Listening, Throttle
from .handlers import awaitable, require_function

__all__ = [
    "DatagramClient",
    "DatagramHandler",
    "DatagramOptions",
    "DatagramServer",
    "DatagramService",
    "DatagramStatistics",
    "UDPClient",
    "UDPServer",
    "UNIXDatagramClient",
    "UNIXDatagramServer",
]

#: What is called for each datagram, with its bytes, who sent it, and the server or client that heard it.
DatagramHandler: TypeAlias = Callable[[bytes, Any, Any], Awaitable[object]]

# So much is done between two looks at what other tasks want: the datagrams that are read at
# once, handled at once, and sent at once.  It costs a busy server 64 times less, and an idle one nothing.
_BATCH = 64

# Workers that stay when there is nothing to do: one for the next datagram, and one whom that one
# calls if there is another behind it.
_SPARE = 2

# What no UDP datagram exceeds, as its length is a number of 16 bits.  A buffer of this size is made for each.
_LARGEST = 65_535

# Somebody else's doing: there is nobody at that port, no way to that host, a firewall, or a
# UNIX socket that has gone.
_NETWORK = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOENT,
    errno.ENOPROTOOPT,
    errno.ENOTCONN,
    errno.EPERM,
    errno.EPROTO,
    errno.EPROTOTYPE,
    errno.ETIMEDOUT,
}
# Heard from the network as well, but said of what we send they are ours.
_HEARD = _NETWORK | {errno.EACCES, errno.EMSGSIZE, errno.EOPNOTSUPP}

# The system, or the peer's queue, has no room now and may have it soon.
_NO_ROOM = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM}
_ATTEMPTS = 10  # for that, with pauses of 1, 2, 4 ... ms: about a second in all


# ---- what servers and clients share ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DatagramStatistics:
    """What a server or client of datagrams has done since its present, or last, run began."""

    received: int = 0  #: datagrams that came, whatever became of them
    sent: int = 0  #: datagrams that the system has taken
    dropped: int = 0  #: of those received, dropped because the queue was full
    oversize: int = 0  #: of those received, dropped because they were longer than ``max_datagram``
    failed: int = 0  #: handlers that raised, and complaints of the network
    active: int = 0  #: handlers at work now
    queued: int = 0  #: datagrams that wait for a handler now
    bytes_received: int = (
        0  #: in those received; of an oversize one, no more than was read: ``max_datagram`` + 1
    )
    bytes_sent: int = 0  #: in those sent


class DatagramOptions(TypedDict, total=False):
    """The options that all servers and clients of datagrams share; see :class:`DatagramService`."""

    max_handlers: int
    queue_size: int
    max_datagram: int
    name: str | None
    start_timeout: float | None
    drain_timeout: float | None
    stop_timeout: float


class DatagramService(Service):
    """What servers and clients of datagrams have in common: a queue, workers, counters, and isolation.

    Not to be used by itself: :class:`DatagramServer` and :class:`DatagramClient` derive from it.

    Args:
        handler: see there; ``None`` lets what comes be counted and forgotten.
        max_handlers: so many handlers may be at work at once.  With 1, datagrams are handled strictly one
            after another.
        queue_size: so many datagrams may wait for a handler; when they are that many, the newest are dropped.
        max_datagram: in bytes, at most 65,535; longer ones are dropped, as what could be kept of them is
            less than was sent.
        name: as for :class:`~trioservice.service.Service`, like the other options.
        start_timeout: seconds within which it must be ready.
        drain_timeout: seconds that datagrams which have arrived are given when it is stopped.
        stop_timeout: seconds after its cancellation from which it is reported.

    Raises:
        ValueError: a limit that cannot be one.
    """

    def __init__(
        self,
        handler: DatagramHandler | None,
        *,
        max_handlers: int = 64,
        queue_size: int = 1024,
        max_datagram: int = _LARGEST,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )
        if handler is not None:
            require_function("handler", handler, "data, peer and service")
        self.max_handlers = _limit("max_handlers", max_handlers)
        self.queue_size = _limit("queue_size", queue_size)
        self.max_datagram = _limit("max_datagram", max_datagram, _LARGEST)
        self._handler = handler
        self._sockets: Sequence[DatagramSocket] = ()
        self._forget()

    def _forget(self) -> None:
        """Begin a new run (rule L3)."""
        self._received = self._sent = self._dropped = self._oversize = self._failed = self._active = 0
        self._bytes_received = self._bytes_sent = 0
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._idle = trio.lowlevel.ParkingLot()
        self._workers = 0
        self._called = False  # a worker is on its way to the queue
        self._ending = False  # nothing will come any more
        self._steps = _BATCH
        self._drops, self._rejections, self._complaints, self._bugs = (Throttle() for _ in range(4))

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Its own addresses, that is everything that it is bound to; empty while it is not bound."""
        return tuple(sock.address for sock in self._sockets)

    def statistics(self) -> DatagramStatistics:
        """A snapshot of its counters."""
        return DatagramStatistics(
            received=self._received,
            sent=self._sent,
            dropped=self._dropped,
            oversize=self._oversize,
            failed=self._failed,
            active=self._active,
            queued=len(self._queue),
            bytes_received=self._bytes_received,
            bytes_sent=self._bytes_sent,
        )

    # ---- its life

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Hear and handle until drained or cancelled; return when the last handler has."""
        self._context = contextvars.copy_context()
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    with trio.CancelScope() as self._hearing:
                        async with trio.open_nursery() as ears:
                            for sock in self._sockets:
                                ears.start_soon(self._hear, sock)
                            task_status.started(self.addresses)
                finally:
                    self._ending = True
                for sock in self._sockets:
                    self._take_the_rest(sock)
                if self._queue:
                    self._call_worker()
                self._idle.unpark_all()
        finally:
            self._dropped += len(self._queue)
            self._queue.clear()

    async def drain(self) -> None:
        """Hear nothing more; :meth:`run` returns, and so ends this, when what has arrived is handled."""
        self._hearing.cancel(reason="the service takes no new datagrams")
        await trio.sleep_forever()

    # ---- hearing

    async def _hear(self, sock: DatagramSocket) -> None:
        """Take what comes to one socket."""
        while True:
            await sock.wait_readable()
            # No more than there is room for, so that idle workers have a turn before any is
            # dropped.  Where there is no room and no worker to make some, what comes is taken and dropped.
            room = self.queue_size - len(self._queue)
            if not room and self._called:
                continue
            try:
                self._take(sock, min(room, _BATCH) or _BATCH)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                await trio.sleep(0.02)  # the kernel has no memory
            if self._queue:
                self._call_worker()

    def _take(self, sock: DatagramSocket, most: int) -> None:
        """Take up to *most* datagrams without waiting."""
        self._latest = sock
        for _ in range(most):
            try:
                data, peer = sock.receive(self.max_datagram + 1)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _HEARD:
                    raise
                self._complain(sock.peer, error)
            else:
                self._admit(data, peer)

    def _take_the_rest(self, sock: DatagramSocket) -> None:
        """Take what has arrived until now, before hearing ends."""
        for _ in range(_ATTEMPTS):
            try:
                # More than the kernel can hold has come since, so a peer that does not stop is no
                # reason to go on.
                self._take(sock, sock.capacity)
            except OSError as error:  # as when hearing, but nobody waits for the kernel's memory now
                if error.errno not in _NO_ROOM:
                    raise
            else:
                return

    def _admit(self, data: bytes, peer: Address) -> None:
        """Queue a datagram, or drop it."""
        self._received += 1
        self._bytes_received += len(data)
        if len(data) > self.max_datagram:
            self._oversize += 1
            self._reject(peer, f"it has more than {self.max_datagram} bytes (max_datagram)")
        elif self._handler is None:
            pass
        elif len(self._queue) >= self.queue_size and not self._ending:
            self._drop(peer)
        else:
            self._queue.append((data, peer))

    # ---- handling

    def _call_worker(self) -> None:
        """See that one more worker looks at the queue, if there may be one more."""
        if self._called:
            return
        if self._idle:
            self._idle.unpark()
        elif self._workers < self.max_handlers:
            self._workers += 1
            self._nursery.start_soon(self._work, name=f"{self.path} worker")
        else:
            return
        self._called = True

    async def _work(self) -> None:
        """Be a worker."""
        context = contextvars.copy_context()
        try:
            await self._work_while_clean(context)
        finally:
            self._workers -= 1
        if self._queue:
            context.run(self._call_worker)

    async def _work_while_clean(self, context: contextvars.Context) -> None:
        """Handle datagrams, one after another, while there are any.

        If a handler leaves a context variable set, the next one must not find it; only a new task
        has a new context, so this one ends.
        """
        while True:
            self._called = False
            while self._queue:
                await self._handle_next()
                if _differs(context):
                    return
            if self._more():
                continue
            if self._ending or len(self._idle) >= _SPARE:
                return
            await self._idle.park()

    def _more(self) -> bool:
        """Whether more has come meanwhile, where the last came from.

        A quick peer has answered already, and to look is ten times cheaper than to be told.
        """
        if not self._ending:
            with suppress(OSError):  # those that matter are told to the task that hears
                self._take(self._latest, min(_BATCH, self.queue_size))
        return bool(self._queue)

    async def _handle_next(self) -> None:
        data, peer = self._queue.popleft()
        if self._queue:
            self._call_worker()
        self._steps -= 1
        self._active += 1
        try:
            await awaitable("the handler", self._handler(data, peer, self))  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - L16: it is told, counted, and ends this datagram only
            self._tell_failure(peer, error)
        except BaseExceptionGroup as group:
            # A handler that was cancelled and raised as well: each part goes its own way.
            errors, others = group.split(Exception)
            if errors is not None:
                self._tell_failure(peer, errors)
            if others is not None:
                raise others from None
        finally:
            self._active -= 1
        if self._steps <= 0:
            self._steps = _BATCH
            self._called = True  # this one is on its way to the queue, too
            await trio.lowlevel.checkpoint()
            self._called = False

    # ---- sending

    async def _send(
        self, sock: DatagramSocket, data: bytes | bytearray | memoryview, to: Destination
    ) -> None:
        self._steps -= 1
        if self._steps < -_BATCH:
            # Workers have their checkpoint between two datagrams, and so handlers that do no more
            # than answer answer in order; this is for those that send without end.
            self._steps = _BATCH
            await trio.lowlevel.checkpoint()
        for attempt in itertools.count():
            if sock.forgets and not self._ending:
                self._take_what_may_be_forgotten(sock)
            try:
                self._bytes_sent += sock.send(data, to)
            except OSError as error:
                try:
                    await self._overcome(sock, data, to, error, attempt)
                except trio.ClosedResourceError:
                    raise self._not_sent() from None
            else:
                self._sent += 1
                return

    def _take_what_may_be_forgotten(self, sock: DatagramSocket) -> None:
        """Take as much as there is room for; where there is none, it would be dropped by us."""
        with suppress(OSError):  # those that matter are told to the task that hears
            self._take(sock, self.queue_size - len(self._queue))
        if self._queue:
            self._context.run(self._call_worker)  # a worker has nothing of the sender's context

    def _not_sent(self) -> ServiceStateError:
        return ServiceStateError(f"{self.path!r} was stopped while this datagram waited, so it is not sent")

    async def _overcome(
        self,
        sock: DatagramSocket,
        data: bytes | bytearray | memoryview,
        to: Destination,
        error: OSError,
        attempt: int,
    ) -> None:
        """Return when it may be tried again; raise if *error* is the last word."""
        if sock.is_closed:
            raise self._not_sent() from None
        if error.errno in _NO_ROOM and attempt < _ATTEMPTS:
            if attempt == 0 and isinstance(error, BlockingIOError):
                await sock.wait_writable()
            else:
                # A buffer of the system's, or the queue of a UNIX peer, is full, and nothing tells
                # when it is no longer.
                await trio.sleep(0.001 * 2**attempt)
        elif error.errno in _NETWORK and sock.complains_late and attempt == 0:
            self._complain(sock.peer, error)  # saying so has cleared it
        else:
            peer = address_of(to[0]) if sock.peer is None else sock.peer
            raise _refusal(error, data, sock, peer) from None

    # ---- telling

    def _tell_failure(self, peer: Address, error: Exception | BaseExceptionGroup) -> None:
        by_peer = _is_networks(error)
        self._failed += 1
        self._emit_failure(self._complaints if by_peer else self._bugs, peer, error, by_peer)

    def _complain(self, peer: Address | None, error: OSError) -> None:
        """The network complains about something that was sent before."""
        self._failed += 1
        self._emit_failure(self._complaints, peer, error, True)

    def _emit_failure(
        self, throttle: Throttle, peer: Address | None, error: BaseException, by_peer: bool
    ) -> None:
        now = trio.current_time()
        if throttle.passes(now):
            self.emit(DatagramFailed(self.path, now, peer, error, by_peer, throttle.held_back()))

    def _drop(self, peer: Address) -> None:
        self._dropped += 1
        now = trio.current_time()
        if self._drops.passes(now):
            self.emit(DatagramDropped(self.path, now, peer, self.queue_size, self._drops.held_back()))

    def _reject(self, peer: Address, reason: str) -> None:
        now = trio.current_time()
        if self._rejections.passes(now):
            self.emit(DatagramRejected(self.path, now, peer, reason, self._rejections.held_back()))


def _differs(context: contextvars.Context) -> bool:
    """Whether a context variable has another value now than in *context*."""
    now = contextvars.copy_context()
    return len(now) != len(context) or any(now.get(variable) is not context[variable] for variable in context)


def _is_networks(error: BaseException) -> bool:
    """Whether what a handler raised, or all of that group, is what :meth:`send` said of the network."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_networks(part) for part in error.exceptions)
    return isinstance(error, CannotSendError)


def _refusal(
    error: OSError, data: bytes | bytearray | memoryview, sock: DatagramSocket, peer: Address
) -> Exception:
    """What is raised to whoever sends; errors that are nobody else's fault stay what they are."""
    shown, size = show_address(peer), memoryview(data).nbytes
    if error.errno == errno.EMSGSIZE:
        if size > sock.limit:
            return DatagramTooLargeError(
                f"{size} bytes are too large for a datagram to {shown}, which has at most {sock.limit}; "
                "send it in parts, or over a stream"
            )
        return DatagramTooLargeError(
            f"{size} bytes are too large for a datagram to {shown}: a network on the way takes less and this "
            "socket may not divide it; send it in parts"
        )
    if error.errno == errno.EACCES and not sock.is_unix:
        return PermissionError(
            error.errno, f"cannot send to {shown}: it is a broadcast address; allow that by broadcast=True"
        )
    if error.errno in _NO_ROOM | _NETWORK or sock.is_unix:
        return CannotSendError(error.errno or 0, f"cannot send to {shown}: {error.strerror or error}")
    return error


# ---- servers -----------------------------------------------------------------------------------


class DatagramServer(DatagramService):
    """A leaf that is bound to an endpoint and has a handler called for each datagram.

    ::

        async def echo(data, peer, server):
            await server.send(data, peer)

        DatagramServer("unix-datagram:/run/echo.sock:mode=660", echo)
        DatagramServer(config["listen"], echo, max_handlers=10)

    Handlers start in the order in which the datagrams came, and run beside each other when they
    wait; those that do no more than answer, answer in that order.  What a handler raises is logged and
    counted, and ends nothing.

    When it is stopped, it handles what has arrived, up to ``drain_timeout``.  Between two runs
    it stays bound, and what arrives waits in the kernel's buffer, which is small.

    Args:
        endpoint: where to be bound: a text like ``"udp:5353"``, or a description from
            :mod:`trioservice.net.endpoints`.
        handler: ``async def handler(data, peer, server)``: the bytes, who sent them, and this server.
            *peer* is ``(host, port)`` or a path.
        **options: those of :class:`DatagramService`.

    Raises:
        EndpointError: the text is no endpoint.
        ValueError: a limit that cannot be one.
        CannotListenError: out of ``main``, if the address cannot be bound.
    """

    def __init__(
        self,
        endpoint: str | DatagramServerEndpoint,
        handler: DatagramHandler,
        **options: Unpack[DatagramOptions],
    ) -> None:
        if isinstance(endpoint, str):
            endpoint = datagram_server_endpoint(endpoint)
        if not isinstance(endpoint, DatagramServerEndpoint):
            raise TypeError(
                f"endpoint is a text like 'udp:7006', or the description of one for servers, not {endpoint!r}"
            )
        if handler is None:
            raise TypeError("a datagram server needs a handler: an async function of data, peer and server")
        super().__init__(handler, **options)
        self.endpoint = endpoint

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Bind, while the process may."""
        self._sockets = await bind_datagrams(self.endpoint)
        stack.callback(self._release)

    def _release(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets = ()

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Hear and handle until drained or cancelled; return when the last handler has."""
        self._forget()
        self.emit(Listening(self.path, trio.current_time(), self.addresses))
        await super().run(task_status)

    async def send(self, data: bytes | bytearray | memoryview, peer: Address) -> None:
        """Send *data*, as one datagram, to *peer*.

        A *peer* as it was given to the handler is answered by the socket, and from the address, to
        which it sent.  Any other is reached by the first socket of its family.

        It waits only if the system has no room; otherwise it is a checkpoint at every 129th time at
        the latest.

        Args:
            data: at most 65,507 bytes over IPv4; it may be empty.
            peer: ``(host, port)`` with a numeric host (``"fe80::1%eth0"`` where the interface matters),
                or the path of a UNIX socket.

        Raises:
            DatagramTooLargeError: *data* is larger than any datagram can be; nothing was sent.
            CannotSendError: the network, or the peer, refuses it; a handler may let that through, and it is
                one line of the log.
            ServiceStateError: the server is not bound, or was stopped while this waited.
            ValueError: *peer* is no address, or of a family that the server is not bound to.
        """
        sock, to = self._way_to(peer)
        await self._send(sock, data, to)

    def _way_to(self, peer: Address) -> tuple[DatagramSocket, Destination]:
        if peer == "":
            message = "cannot answer a UNIX socket without a name; the client has to bind it to one"
            raise CannotSendError(errno.ENOTCONN, message)
        if isinstance(peer, InternetSender | UNIXSender) and peer.socket in self._sockets:
            return peer.socket, peer.to
        if not self._sockets:
            raise ServiceStateError(f"{self.path!r} is not bound, so nothing can be sent; start it before")
        for sock in self._sockets:
            to = sock.destination(peer)
            if to is not None:
                return sock, to
        bound = ", ".join(map(show_address, self.addresses))
        raise ValueError(f"{peer!r} cannot be reached from {bound}: it is an address of another family")


class UDPServer(DatagramServer):
    """A leaf that has a handler called for each UDP datagram.

    ::

        async def echo(data, peer, server):
            await server.send(data, peer)

        app = Application("echo", UDPServer(7006, echo))

    Args:
        port: 0 to 65535; 0 is a free one, which ``addresses`` tells.
        handler: ``async def handler(data, peer, server)``, as for :class:`DatagramServer`.
        host: names or addresses of interfaces, one or several; ``None`` for all, of IPv4 and IPv6.
        reuse_port: let several sockets, also of several processes, share the port (SO_REUSEPORT).
        v6_only: an IPv6 socket takes no IPv4 datagrams; ``False`` lets ``host="::"`` take both.
        device: only what comes through this network device (SO_BINDTODEVICE; Linux).
        broadcast: it may send to broadcast addresses.
        **options: those of :class:`DatagramService`, from ``max_handlers`` on.
    """

    def __init__(
        self,
        port: int,
        handler: DatagramHandler,
        *,
        host: str | Sequence[str] | None = None,
        reuse_port: bool = False,
        v6_only: bool = True,
        device: str | None = None,
        broadcast: bool = False,
        **options: Unpack[DatagramOptions],
    ) -> None:
        endpoint = UDPServerEndpoint(port, hosts(host), reuse_port, v6_only, device, broadcast)
        super().__init__(endpoint, handler, **options)


class UNIXDatagramServer(DatagramServer):
    """A leaf that has a handler called for each datagram that is sent to a UNIX socket.

    *peer* is the path of the sender's socket, ``"@name"`` for an abstract one, and ``""`` for one
    without a name, which cannot be answered.

    Args:
        path: of the socket's file, or ``"@name"`` for an abstract name (Linux); kept as by
            :class:`~trioservice.net.servers.UNIXServer`.
        handler: ``async def handler(data, peer, server)``, as for :class:`DatagramServer`.
        mode: who may send, as the file's mode; none but the owner by default.
        user: whom the file is to belong to, by name or number.
        group: likewise.
        **options: those of :class:`DatagramService`, from ``max_handlers`` on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: DatagramHandler,
        *,
        mode: int = 0o600,
        user: str | int | None = None,
        group: str | int | None = None,
        **options: Unpack[DatagramOptions],
    ) -> None:
        names = (None if name is None else str(name) for name in (user, group))
        super().__init__(UNIXDatagramServerEndpoint(os.fspath(path), mode, *names), handler, **options)


# ---- clients -----------------------------------------------------------------------------------


class DatagramClient(DatagramService):
    """A leaf that sends datagrams to one server, and has a handler called for each that comes back.

    ::

        async def answer(data, peer, client): ...

        client = DatagramClient("udp:time.example:123", answer)
        ...
        await client.send(question)

    The host's name is looked up, and the socket connected, at each start: only the server's
    datagrams are heard.  Whether anybody is there, nothing tells at the start.  If the network tells later
    ("connection refused"), that is one line of the log, and it is tried again with each datagram.

    Args:
        endpoint: whom to send to: a text like ``"udp:example.com:53"``, or a description from
            :mod:`trioservice.net.endpoints`.
        handler: ``async def handler(data, peer, client)``; ``None`` if nothing that comes back is wanted.
        **options: those of :class:`DatagramService`.

    Raises:
        EndpointError: the text is no endpoint.
        ValueError: a limit that cannot be one.
        CannotConnectError: out of ``main``, if there is no such host or no way to it.
        CannotListenError: out of ``main``, if its own path cannot be had.
    """

    def __init__(
        self,
        endpoint: str | DatagramClientEndpoint,
        handler: DatagramHandler | None = None,
        **options: Unpack[DatagramOptions],
    ) -> None:
        super().__init__(handler, **options)
        if isinstance(endpoint, str):
            endpoint = datagram_client_endpoint(endpoint)
        if not isinstance(endpoint, DatagramClientEndpoint):
            raise TypeError(
                "endpoint is a text like 'udp:example.com:53', or the description of one for clients, "
                f"not {endpoint!r}"
            )
        self.endpoint = endpoint

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Hear and handle until drained or cancelled; return when the last handler has."""
        self._forget()
        line = await connect_datagrams(self.endpoint)
        self._sockets = (line,)
        try:
            await super().run(task_status)
        finally:
            self._sockets = ()
            line.close()

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, as one datagram, to the server.

        It waits only if the system has no room; otherwise it is a checkpoint at every 129th time at
        the latest.

        Raises:
            DatagramTooLargeError: *data* is larger than any datagram can be; nothing was sent.
            CannotSendError: the network, or the server's socket, refuses this datagram.
            ServiceStateError: the client does not run, or was stopped while this waited.
        """
        if not self._sockets:
            raise ServiceStateError(f"{self.path!r} does not run, so nothing can be sent; start it before")
        await self._send(self._sockets[0], data, (None, ()))


class UDPClient(DatagramClient):
    """A leaf that sends UDP datagrams to one server and hears its answers.

    Of the addresses of a name it takes the first to which there is a way from here.  Whether the server
    hears at that one nothing tells, so no other is tried: ``localhost`` may mean ``::1``, and a server at
    ``127.0.0.1`` is then not found.

    Args:
        host: name or address of the server.
        port: 1 to 65535.
        handler: ``async def handler(data, peer, client)``, as for :class:`DatagramClient`.
        bind_address: our own address to send from.
        broadcast: *host* may be a broadcast address.
        **options: those of :class:`DatagramService`, from ``max_handlers`` on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handler: DatagramHandler | None = None,
        *,
        bind_address: str | None = None,
        broadcast: bool = False,
        **options: Unpack[DatagramOptions],
    ) -> None:
        super().__init__(UDPClientEndpoint(host, port, bind_address, broadcast), handler, **options)


class UNIXDatagramClient(DatagramClient):
    """A leaf that sends datagrams to a UNIX socket and hears its answers.

    It need not start after the server, and goes on when that starts anew.  It finds the new one when it
    sends: until then the new one's datagrams are refused by the kernel, so a client that only listens has to
    say something, now and then, to be heard of again.

    Args:
        path: of the server's socket; ``"@name"`` for an abstract name.
        handler: ``async def handler(data, peer, client)``, as for :class:`DatagramClient`.
        bind_path: our own path, where answers arrive; the file is removed at the end.  By default an
            abstract name that the kernel chooses (Linux; elsewhere there are no answers without this).
        **options: those of :class:`DatagramService`, from ``max_handlers`` on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: DatagramHandler | None = None,
        *,
        bind_path: str | os.PathLike[str] | None = None,
        **options: Unpack[DatagramOptions],
    ) -> None:
        own = None if bind_path is None else os.fspath(bind_path)
        super().__init__(UNIXDatagramClientEndpoint(os.fspath(path), own), handler, **options)


# ---- what the arguments mean -------------------------------------------------------------------


def _limit(name: str, value: int, most: float = math.inf) -> int:
    if not (isinstance(value, int) and 1 <= value <= most):
        wanted = "from 1" if most == math.inf else f"from 1 to {most}"
        raise ValueError(f"{name} is a number {wanted}, not {value!r}")
    return value
