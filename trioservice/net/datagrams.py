"""Datagrams: UDP and UNIX datagram sockets as services.

A server and a client of datagrams do the same: they hear datagrams, hand each of them to a
handler, and send some.  What they share is :class:`DatagramService`; a server adds where it is
bound, a client whom it speaks to.

A datagram that nobody takes is lost, so hearing must not wait for handling.  Handlers may wait (for
a database, say) without holding up each other, so there can be many tasks at work; but most handlers
never do, and for them one task hears and handles everything, in order, with no task made and no
task switched between two datagrams.  The rule that gives both: an *attendant* hears a socket, and
begins the handlers of what it has heard itself, by hand.  The moment one of them has to wait, its
attendant is lost for everything else, and calls another in its place, who hears and handles on.  So
datagrams are begun in the order in which they came, whatever their handlers do.

What an attendant has heard, and cannot handle as ``max_handlers`` are at work already, waits in a bounded
queue for the first of them to end.

When the queue is full the newest are dropped, and counted: the sender of a datagram expects
nothing, so making him wait, as a stream would, is not possible, and those that came first are served.

Given a protocol instead of a handler, there is nothing to wait for: see
:mod:`trioservice.net.datagram_protocols`.

Whatever a peer or the network does ends no service (rule L16).  ICMP tells a sender about its
*earlier* datagrams, and the socket module raises that from whatever is called next; it is told
and counted, and the next datagram is sent or heard all the same.
"""

from __future__ import annotations

import contextvars
import errno
import math
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from types import CoroutineType
from typing import Any, TypeAlias, TypedDict, Unpack

import trio

from ..errors import CannotSendError, DatagramTooLargeError, ServiceStateError
from ..records import record
from ..service import Service
from .addresses import Address, address_of, show_address
from .binding import hosts
from .datagram_protocols import DatagramProtocolFactory, DatagramTransport
from .datagram_sockets import (
    ATTEMPTS,
    HEARD,
    LARGEST,
    NETWORK,
    NO_ROOM,
    DatagramSocket,
    Destination,
    InternetSender,
    Ledger,
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
from .events import Listening
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

# So much is done between two looks at what other tasks want: the datagrams that are read at once,
# handled at once, and sent at once.  It costs a busy server 64 times less, and an idle one nothing.
_BATCH = 64

# Of these so many are read at once, before the first of them is handled.  A peer that waits for answers is
# then woken once for several of them (measured: a twelfth of the cost of an echo).
_READ = 16

# Attendants that stay when there is nothing to do: one for the next handler that has to wait, and one
# to end it.
_SPARE = 2


# ---- what servers and clients share ------------------------------------------------------------


@record
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

    protocol: DatagramProtocolFactory | None
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
        handler: see there; ``None``, without a protocol, lets what comes be counted and forgotten.
        protocol: instead of a handler: what makes, for each socket and anew in each run, an object with the
            callbacks of :class:`~trioservice.net.datagram_protocols.DatagramProtocol`.
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
        TypeError: both a handler and a protocol, or what is neither.
        ValueError: a limit that cannot be one.
    """

    def __init__(
        self,
        handler: DatagramHandler | None,
        *,
        protocol: DatagramProtocolFactory | None = None,
        max_handlers: int = 64,
        queue_size: int = 1024,
        max_datagram: int = LARGEST,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )
        if handler is not None:
            if protocol is not None:
                raise TypeError("datagrams go to a handler or to a protocol, not to both")
            require_function("handler", handler, "data, peer and service")
        if protocol is not None and not callable(protocol):
            raise TypeError(f"protocol is a callable that makes a protocol, like its class, not {protocol!r}")
        self.max_handlers = _limit("max_handlers", max_handlers)
        self.queue_size = _limit("queue_size", queue_size)
        self.max_datagram = _limit("max_datagram", max_datagram, LARGEST)
        self._handler = handler
        self._protocol = protocol
        self._sockets: Sequence[DatagramSocket] = ()
        self._forget()

    def _forget(self) -> None:
        """Begin a new run (rule L3)."""
        self._ledger = Ledger(self)
        self._active = 0
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._deaf: deque[DatagramSocket] = deque()  # those that nobody hears
        self._ears: set[_Ear] = set()
        self._idle = trio.lowlevel.ParkingLot()
        self._called = False  # an attendant is on its way
        self._transports: list[DatagramTransport] = []
        self._ending = trio.Event()  # nothing will come any more
        self._ended = False
        self._steps = _BATCH
        self._trouble: OSError | None = None  # why the last datagram could not be sent

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Its own addresses, that is everything that it is bound to; empty while it is not bound."""
        return tuple(sock.address for sock in self._sockets)

    def statistics(self) -> DatagramStatistics:
        """A snapshot of its counters."""
        ledger = self._ledger
        return DatagramStatistics(
            received=ledger.received,
            sent=ledger.sent,
            dropped=ledger.dropped,
            oversize=ledger.oversize,
            failed=ledger.failed,
            active=self._active,
            queued=len(self._queue),
            bytes_received=ledger.bytes_received,
            bytes_sent=ledger.bytes_sent,
        )

    @property
    def in_progress(self) -> str:
        """The datagrams that are handled, or wait for that."""
        count = self._active + len(self._queue)
        return f"{count} datagram{'s' * (count > 1)}" if count else ""

    # ---- its life

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Hear and handle until drained or cancelled; return when the last handler has."""
        if self._protocol is None:
            await self._run_handlers(task_status)
        else:
            await self._run_protocols(self._protocol, task_status)

    async def _run_handlers(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        self._context = contextvars.copy_context()
        self._deaf.extend(self._sockets)
        try:
            async with trio.open_nursery() as self._nursery:
                for _ in self._sockets:
                    self._nursery.start_soon(self._attend, name=f"{self.path} attendant")
                task_status.started(self.addresses)
                try:
                    await self._ending.wait()
                finally:
                    self._ended = True
                for sock in self._sockets:
                    self._take_the_rest(sock)
                self._call()
                self._idle.unpark_all()
        finally:
            self._ledger.dropped += len(self._queue)
            self._queue.clear()

    async def _run_protocols(
        self, factory: DatagramProtocolFactory, task_status: trio.TaskStatus[tuple[Address, ...]]
    ) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for sock in self._sockets:
                    transport = DatagramTransport(sock, factory, self._ledger, self.max_datagram, nursery)
                    self._transports.append(transport)
                for transport in self._transports:
                    nursery.start_soon(transport.attend, name=f"{self.path} protocol")
                task_status.started(self.addresses)
        finally:
            for transport in self._transports:
                transport.lose(None)

    async def drain(self) -> None:
        """Hear nothing more; :meth:`run` returns, and so ends this, when what has arrived is handled."""
        self._ended = True
        self._ending.set()
        for ear in self._ears:
            if ear.listens:
                ear.scope.cancel(reason="the service takes no new datagrams")
        for transport in self._transports:
            transport.finish()
        await trio.sleep_forever()

    # ---- attendants

    def _call(self) -> None:
        """Call one more attendant."""
        if self._called:
            return
        if self._idle:
            self._idle.unpark()
        else:
            self._nursery.start_soon(self._attend, name=f"{self.path} attendant")
        self._called = True

    def _call_if_needed(self) -> None:
        if (self._deaf and not self._ended) or (self._queue and self._active < self.max_handlers):
            self._call()

    async def _attend(self) -> None:
        """Be an attendant.

        If a handler leaves a context variable set, the next one must not find it; only a new task
        has a new context, so this one ends.
        """
        context = contextvars.copy_context()
        while await self._handle_what_waits(context):
            if self._deaf and not self._ended:
                if not await self._hear(self._deaf.popleft(), context):
                    break
            elif self._ended or len(self._idle) >= _SPARE:
                break
            else:
                self._called = False
                await self._idle.park()
        self._called = False
        context.run(self._call_if_needed)

    # ---- hearing

    async def _hear(self, sock: DatagramSocket, context: contextvars.Context) -> bool:
        """Hear one socket, until a handler has to wait; whether the next datagram may be handled here."""
        ear = _Ear(sock)
        self._ears.add(ear)
        self._called = False
        try:
            with ear.scope:
                while not (ear.relieved or self._ended):
                    ear.listens = True
                    await sock.wait_readable()
                    ear.listens = False
                    self._steps = _BATCH
                    # A drain that comes at this very moment finds nobody listening any more.
                    if not self._ended and not await self._hear_a_batch(ear, context):
                        return False
            return True
        finally:
            self._ears.discard(ear)
            if not ear.relieved:
                self._deaf.append(sock)

    async def _hear_a_batch(self, ear: _Ear, context: contextvars.Context) -> bool:
        """Take and handle what has come to a socket, and what comes meanwhile; the result is as above."""
        most, left = 1, _BATCH
        while left > 0 and not (ear.relieved or self._ended):
            # No more than there is room for.  Where there is none, and nobody on the way to make
            # some, what comes is taken and dropped.
            room = self.queue_size - len(self._queue)
            if not room and self._called:
                return True
            try:
                taken = self._take(ear.sock, min(most, room, left) or left)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                return await self._handle_what_waits(context, ear) and await self._pause(ear)
            if self._queue and not await self._handle_what_waits(context, ear):
                return False
            if not taken:
                break
            left -= taken
            if not ear.sock.looks_on(again=most == _READ):
                break
            most = _READ
        return True

    async def _pause(self, ear: _Ear) -> bool:
        """The kernel has no memory."""
        if not (ear.relieved or self._ended):
            ear.listens = True
            await trio.sleep(0.02)
            ear.listens = False
        return True

    def _take(self, sock: DatagramSocket, most: int) -> int:
        """Take up to *most* datagrams without waiting, and tell how many there were."""
        queue, size, heard, heard_bytes = self._queue, self.max_datagram, 0, 0
        # What had arrived when hearing ended is not dropped for want of room, as the kernel had room for it.
        room = 0 if self._handler is None else math.inf if self._ended else self.queue_size
        try:
            for taken in range(most):
                try:
                    data, peer = sock.receive(size + 1)
                except BlockingIOError:
                    return taken
                except OSError as error:
                    if error.errno not in HEARD:
                        raise
                    self._ledger.fail(sock.peer, error, True)
                    continue
                heard += 1
                heard_bytes += len(data)
                if len(data) <= size and len(queue) < room:
                    queue.append((data, peer))
                else:
                    self._put_away(data, peer)
            return most
        finally:
            self._ledger.received += heard
            self._ledger.bytes_received += heard_bytes

    def _put_away(self, data: bytes, peer: Address) -> None:
        """Nobody will handle this datagram."""
        if len(data) > self.max_datagram:
            self._ledger.reject(peer, self.max_datagram)
        elif self._handler is not None:
            self._ledger.drop(peer, self.queue_size)

    def _take_the_rest(self, sock: DatagramSocket) -> None:
        """Take what has arrived until now, before hearing ends."""
        for _ in range(ATTEMPTS):
            try:
                # More than the kernel can hold has come since, so a peer that does not stop is no
                # reason to go on.
                self._take(sock, sock.capacity)
            except OSError as error:  # as when hearing, but nobody waits for the kernel's memory now
                if error.errno not in NO_ROOM:
                    raise
            else:
                return

    # ---- handling

    async def _handle_what_waits(self, context: contextvars.Context, ear: _Ear | None = None) -> bool:
        """Handle datagrams, one after another, while there are any; whether the context is as it was.

        Args:
            context: as it has to be for each of them.
            ear: what this attendant has to leave to another as soon as a handler waits.
        """
        queue = self._queue
        while queue and self._active < self.max_handlers:
            if self._steps <= 0:
                self._steps = _BATCH
                await trio.lowlevel.checkpoint()
                continue
            data, peer = queue.popleft()
            steps = self._steps - 1
            self._active += 1
            try:
                rest = _begun(self._handler(data, peer, self))  # type: ignore[misc]
                if rest is not None:
                    self._leave_to_others(ear)
                    await rest
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
            if _differs(context):
                return False
            # One who answers has taken his step in sending; the first answer is part of handling.
            if self._steps > steps:
                self._steps = steps
        return True

    def _leave_to_others(self, ear: _Ear | None) -> None:
        """This attendant's handler waits, so somebody else has to do what it does besides."""
        if ear is not None and not ear.relieved:
            ear.relieved = True
            self._deaf.append(ear.sock)
        self._called = False
        self._context.run(self._call_if_needed)  # the other has nothing of what this handler has set

    # ---- sending

    def _try(self, sock: DatagramSocket, data: bytes | bytearray | memoryview, to: Destination) -> bool:
        """Send without waiting, which nearly always succeeds; whether it has.

        A sender who waits for nothing has to let others have their turn now and then.  Attendants do that
        between two datagrams, so handlers that do no more than answer answer in order; for those that
        send without end this refuses.
        """
        self._steps -= 1
        if self._steps < -_BATCH:
            return False
        if sock.forgets:
            self._take_what_may_be_forgotten(sock)
        try:
            size = sock.send(data, to)
        except OSError as error:
            self._trouble = error
            return False
        self._ledger.sent += 1
        self._ledger.bytes_sent += size
        return True

    async def _send(
        self, sock: DatagramSocket, data: bytes | bytearray | memoryview, to: Destination
    ) -> None:
        """Go on where :meth:`_try` could not."""
        attempt = 0
        while True:
            error, self._trouble = self._trouble, None
            if error is None:
                self._steps = _BATCH
                await trio.lowlevel.checkpoint()
            else:
                try:
                    await self._overcome(sock, data, to, error, attempt)
                except trio.ClosedResourceError:
                    raise self._not_sent() from None
                attempt += 1
            if self._try(sock, data, to):
                return

    def _take_what_may_be_forgotten(self, sock: DatagramSocket) -> None:
        """Take as much as there is room for; where there is none, it would be dropped by us."""
        if self._ended or self._protocol is not None:
            return
        with suppress(OSError):  # those that matter are told to the task that hears
            self._take(sock, self.queue_size - len(self._queue))
        self._context.run(self._call_if_needed)  # an attendant has nothing of the sender's context

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
        if error.errno in NO_ROOM and attempt < ATTEMPTS:
            if attempt == 0 and isinstance(error, BlockingIOError):
                await sock.wait_writable()
            else:
                # A buffer of the system's, or the queue of a UNIX peer, is full, and nothing tells
                # when it is no longer.
                await trio.sleep(0.001 * 2**attempt)
        elif error.errno in NETWORK and sock.complains_late and attempt == 0:
            self._ledger.fail(sock.peer, error, True)  # saying so has cleared it
        else:
            peer = address_of(to) if sock.peer is None else sock.peer
            raise _refusal(error, data, sock, peer) from None

    # ---- telling

    def _tell_failure(self, peer: Address, error: Exception | BaseExceptionGroup) -> None:
        self._ledger.fail(peer, error, _is_networks(error))


class _Ear:
    """An attendant's turn at one socket."""

    __slots__ = ("listens", "relieved", "scope", "sock")

    def __init__(self, sock: DatagramSocket) -> None:
        self.sock = sock
        #: Around all of the turn.  It is cancelled only while the attendant *listens*, so no handler is.
        self.scope = trio.CancelScope()
        self.listens = False
        self.relieved = False  #: of the socket, which another hears now


def _begun(result: Awaitable[object]) -> _Rest | None:
    """Begin the handler whose call gave *result*; what is left of it, if it has to wait."""
    handling = result if type(result) is CoroutineType else _awaiting(awaitable("the handler", result))
    try:
        wait = handling.send(None)
    except StopIteration:
        return None
    return _Rest(handling, wait)


async def _awaiting(result: Awaitable[object]) -> None:
    """Something else that can be awaited, as a coroutine."""
    await result


class _Rest:
    """What is left of a coroutine that has begun by hand, and waits: to be awaited like any other.

    Args:
        handling: the coroutine.
        wait: what it has asked of the event loop.
    """

    def __init__(self, handling: Any, wait: object) -> None:
        self._handling = handling
        self._wait = wait
        self.send, self.throw, self.close = handling.send, handling.throw, handling.close

    def __await__(self) -> _Rest:
        return self

    def __iter__(self) -> _Rest:
        return self

    def __next__(self) -> object:
        return self._wait

    @property
    def cr_frame(self) -> Any:
        """For those who ask where a task is (rule L11): in the handler."""
        return self._handling.cr_frame

    @property
    def cr_await(self) -> Any:
        """Likewise."""
        return self._handling.cr_await


def _differs(context: contextvars.Context) -> bool:
    """Whether a context variable has another value now than in *context*."""
    now = contextvars.copy_context()
    if len(now) != len(context):
        return True
    for variable, value in now.items():  # noqa: SIM110 - for each datagram, so without a generator
        if context.get(variable) is not value:
            return True
    return False


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
    if error.errno in NO_ROOM | NETWORK or sock.is_unix:
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
        handler: DatagramHandler | None = None,
        **options: Unpack[DatagramOptions],
    ) -> None:
        if isinstance(endpoint, str):
            endpoint = datagram_server_endpoint(endpoint)
        if not isinstance(endpoint, DatagramServerEndpoint):
            raise TypeError(
                f"endpoint is a text like 'udp:7006', or the description of one for servers, not {endpoint!r}"
            )
        if handler is None and options.get("protocol") is None:
            raise TypeError(
                "a datagram server needs a handler, an async function of data, peer and server, or a protocol"
            )
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
        if isinstance(peer, InternetSender) and peer.socket in self._sockets:
            sock, to = peer.socket, peer.to or peer
        else:
            sock, to = self._way_to(peer)
        if not self._try(sock, data, to):
            await self._send(sock, data, to)

    def _way_to(self, peer: Address) -> tuple[DatagramSocket, Destination]:
        if peer == "":
            message = "cannot answer a UNIX socket without a name; the client has to bind it to one"
            raise CannotSendError(errno.ENOTCONN, message)
        if isinstance(peer, UNIXSender) and peer.socket in self._sockets:
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
        **options: those of :class:`DatagramService`, from ``protocol`` on.
    """

    def __init__(
        self,
        port: int,
        handler: DatagramHandler | None = None,
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
        **options: those of :class:`DatagramService`, from ``protocol`` on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: DatagramHandler | None = None,
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
        sock = self._sockets[0]
        if not self._try(sock, data, sock.peername):
            await self._send(sock, data, sock.peername)


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
        **options: those of :class:`DatagramService`, from ``protocol`` on.
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
        **options: those of :class:`DatagramService`, from ``protocol`` on.
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
