"""The server: a MultiService of the resolvers, and of two doors to one desk, UDP and TCP.

The tree gives the order that a server of names needs.  Files are read before the ports are bound, the
resolvers are ready before the first question, and at the end the doors close first, so that who
waits for an answer still gets it.

Both doors are in the fast lane (protocols): a question is answered in the callback that brings it.  Only an
answer for which others have to be asked gets a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from struct import Struct
from typing import Any

import trio

from ...net.datagram_protocols import DatagramProtocol, DatagramTransport
from ...net.datagrams import UDPServer
from ...net.servers import TCPServer
from ...service import MultiService, Service
from .answers import PAYLOAD
from .desk import Desk, DNSStatistics, Errand
from .events import QuestionFailed
from .questions import SMALLEST
from .resolvers import Resolver

__all__ = ["DNSServer"]

_LENGTH = Struct("!H")
_PIPELINE = 64  # questions of one connection that may wait for their answers; then no more are read
_LONGEST_QUERY = 4096  # bytes; a question has no more than 300, and options some


class DNSServer(MultiService):
    """Answers questions for names by UDP and TCP, as its resolvers know.

    The resolvers are asked in order: the first who knows has answered.  What none of them knows is
    refused.  ANY and transfers of zones are refused as well.

    Its children are those resolvers that are services and have no other parent, then ``udp`` and ``tcp``.

    Args:
        port: 0 to 65535, of both.  With 0 each has a port of its own.
        resolvers: who know answers.
        host: names or addresses of interfaces, one or several; ``None`` for all, of IPv4 and IPv6.
        allow_recursion: networks of the clients for whom others are asked.  It is this machine alone by
            default: a server that asks for everybody is used to flood others.
        max_payload: bytes of the largest datagram that is sent, 512 to 4096; what is larger is to be
            asked for by TCP.
        max_waiting: so many questions may wait for others' answers, at each door; more are answered with
            SERVFAIL.
        idle_timeout: seconds without a byte after which a connection is closed.
        max_connections: at this number no more are accepted until one ends.
        max_connections_per_peer: of one host; more are closed at once.
        name: as for :class:`~trioservice.service.Service`.

    Raises:
        TypeError: among the resolvers is something else.
        ValueError: a port, a network or a limit that cannot be one.
        CannotListenError: out of ``main``, if a port cannot be bound.

    Example::

        application = Application("names", DNSServer(53, [HostsResolver("/etc/hosts")]))
    """

    def __init__(
        self,
        port: int = 53,
        resolvers: Iterable[Resolver] = (),
        *,
        host: str | Sequence[str] | None = None,
        allow_recursion: Sequence[str] = ("127.0.0.0/8", "::1"),
        max_payload: int = PAYLOAD,
        max_waiting: int = 1000,
        idle_timeout: float | None = 10.0,
        max_connections: int | None = 500,
        max_connections_per_peer: int | None = 100,
        name: str | None = None,
    ) -> None:
        resolvers = tuple(resolvers)
        for resolver in resolvers:
            if not isinstance(resolver, Resolver):
                raise TypeError(f"resolvers are objects like HostsResolver('/etc/hosts'), not {resolver!r}")
        if not SMALLEST <= max_payload <= 4096:
            raise ValueError(f"max_payload is a number of bytes from {SMALLEST} to 4096, not {max_payload!r}")
        if not max_waiting >= 0:
            raise ValueError(f"max_waiting is a number from 0, not {max_waiting!r}")
        self._desk = Desk(resolvers, allow_recursion, self._tell)
        self.udp = UDPDoor(port, self._desk, max_waiting, max_payload, host=host)
        self.tcp = TCPDoor(
            port,
            self._desk,
            max_waiting,
            host=host,
            idle_timeout=idle_timeout,
            max_connections=max_connections,
            max_connections_per_peer=max_connections_per_peer,
        )
        own = [one for one in resolvers if isinstance(one, Service) and one.parent is None]
        super().__init__(*own, self.udp, self.tcp, name=name)

    def statistics(self) -> DNSStatistics:
        """A snapshot of its counters; those of datagrams and connections are its children's."""
        return self._desk.statistics()

    def _tell(self, error: Exception, times: int) -> None:
        self.emit(QuestionFailed(self.path, trio.current_time(), error, times))


class Door(Service):
    """What both doors have in common: tasks for the questions whose answers take time."""

    _desk: Desk
    _max_waiting: int
    _waiting = 0
    _is_closing = False

    async def run(self, task_status: trio.TaskStatus[Any]) -> None:
        """Be the server that it is otherwise, with a nursery for errands."""
        self._waiting, self._is_closing, self._answered = 0, False, trio.Event()
        async with trio.open_nursery() as self._errands:
            await super().run(task_status)

    async def drain(self) -> None:
        """Take no errand more, and let those on their way come back, before the door is closed."""
        self._is_closing = True
        if self._waiting:
            await self._answered.wait()
        await super().drain()

    def send_on(self, errand: Errand, send: Callable[[bytes], None]) -> bytes | None:
        """Have *send* called with the answer, later; what to say at once if that cannot be."""
        if self._is_closing or self._waiting >= self._max_waiting:
            return self._desk.decline(errand)
        self._waiting += 1
        self._errands.start_soon(self._run_errand, errand, send, name=f"{self.path} question")
        return None

    async def _run_errand(self, errand: Errand, send: Callable[[bytes], None]) -> None:
        try:
            send(await self._desk.run(errand))
        finally:
            self._waiting -= 1
            if self._is_closing and not self._waiting:
                self._answered.set()


# ---- UDP


class UDPDoor(Door, UDPServer):
    """Questions by datagram."""

    def __init__(self, port: int, desk: Desk, max_waiting: int, max_payload: int, **options: Any) -> None:
        self._desk, self._max_waiting, self.max_payload = desk, max_waiting, max_payload
        super().__init__(
            port, protocol=partial(_Datagrams, self, desk), max_datagram=_LONGEST_QUERY, name="udp", **options
        )


class _Datagrams(DatagramProtocol):
    def __init__(self, door: UDPDoor, desk: Desk) -> None:
        self._door = door
        self._limit = door.max_payload
        self._answer = desk.repeat_or_answer

    def connection_made(self, transport: DatagramTransport) -> None:
        self._send = transport.sendto

    def datagram_received(self, data: bytes, addr: Any) -> None:
        said = self._answer(data, addr[0], self._limit)
        if isinstance(said, Errand):
            said = self._door.send_on(said, partial(self._send, addr=addr))
        if said is not None:
            self._send(said, addr)


# ---- TCP


class TCPDoor(Door, TCPServer):
    """Questions by connection, any number of them, answered as soon as they can be (RFC 7766)."""

    def __init__(self, port: int, desk: Desk, max_waiting: int, **options: Any) -> None:
        self._desk, self._max_waiting = desk, max_waiting
        self._conversations: set[_Conversation] = set()
        super().__init__(
            port, protocol=partial(_Conversation, self, desk, self._conversations), name="tcp", **options
        )

    async def drain(self) -> None:
        """As for all doors; connections that wait for nothing are closed at once."""
        for conversation in tuple(self._conversations):
            conversation.finish()
        await super().drain()


class _Conversation:
    def __init__(self, door: TCPDoor, desk: Desk, conversations: set[_Conversation]) -> None:
        self._door = door
        self._desk = desk
        self._conversations = conversations
        self._rest = b""
        self._waiting = 0
        self._finishing = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._host = transport.get_extra_info("peername")[0]
        self._conversations.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._conversations.discard(self)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        self._go_on()

    def eof_received(self) -> bool:
        """The client will ask no more, but may wait for answers."""
        self.finish()
        return True

    def finish(self) -> None:
        """Close when the last answer is sent."""
        self._finishing = True
        if not self._waiting:
            self._transport.close()

    def _go_on(self) -> None:
        """Answer what has come, as far as it may wait, and see whether more is to be read."""
        rest, start = self._rest, 0
        while self._waiting < _PIPELINE and len(rest) - start >= _LENGTH.size:
            begin = start + _LENGTH.size
            end = begin + _LENGTH.unpack_from(rest, start)[0]
            if end - begin > _LONGEST_QUERY:
                self._transport.abort()
                return
            if len(rest) < end:
                break
            self._take(rest[begin:end])
            start = end
        self._rest = rest[start:]
        if self._waiting >= _PIPELINE:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _take(self, data: bytes) -> None:
        said = self._desk.answer(data, self._host, None)
        if said is None:
            self._transport.close()  # who answers instead of asking is no client
            return
        if isinstance(said, Errand):
            said = self._door.send_on(said, self._answer_late)
            self._waiting += said is None
        if said is not None:
            self._write(said)

    def _answer_late(self, said: bytes) -> None:
        self._waiting -= 1
        self._write(said)
        if self._finishing:
            self.finish()
        self._go_on()

    def _write(self, said: bytes) -> None:
        self._transport.write(_LENGTH.pack(len(said)) + said)
