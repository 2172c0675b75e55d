"""The two sides of a port that leads elsewhere, and what is carried between them."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Unpack

import trio

from ...errors import CannotConnectError
from ...net.connecting import connect
from ...net.endpoints import StreamClientEndpoint, StreamServerEndpoint, client_endpoint
from ...net.events import ConnectFailed
from ...net.servers import ServerOptions, ServerStatistics, StreamServer
from ...net.streams import Connection
from ...retry import Retry
from ...service import MultiService, Service
from .events import Forwarded, NotForwarded

__all__ = ["FarSide", "NearSide", "PortForward"]


class FarSide(Service):
    """Where it leads; a leaf that is ready when that has answered once, however long it takes.

    Args:
        endpoint: as for :class:`PortForward`.
        retry: how soon it is knocked at again.
    """

    def __init__(self, endpoint: StreamClientEndpoint, retry: Retry) -> None:
        super().__init__(name="far")
        self.endpoint = endpoint
        self.retry = retry

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """Knock until somebody answers; then there is nothing more to do."""
        tries = 0
        while not await self._answers(tries):
            tries += 1
        task_status.started()
        await trio.sleep_forever()

    async def _answers(self, tries: int) -> bool:
        try:
            stream = await connect(self.endpoint)
        except CannotConnectError as error:
            delay = self.retry.next_delay(tries, random.random())
            self.emit(ConnectFailed(self.path, trio.current_time(), error, tries + 1, delay))
            if delay is None:
                raise
            await trio.sleep(delay)
            return False
        stream.abandon()
        return True


class NearSide(StreamServer):
    """Where clients come in: a server that leads each of them to the far side.

    Args:
        endpoint: where to listen.
        to: where it leads.
        options: those of :class:`~trioservice.net.servers.StreamServer`.
    """

    def __init__(
        self, endpoint: str | StreamServerEndpoint, to: StreamClientEndpoint, **options: Unpack[ServerOptions]
    ) -> None:
        super().__init__(endpoint, self._forward, **options)
        self.to = to

    async def _forward(self, near: Connection) -> None:
        begun = trio.current_time()
        try:
            far = await connect(self.to)
        except CannotConnectError as error:
            self.emit(NotForwarded(self.path, trio.current_time(), near.peer, error))
            return
        async with aclosing(far):
            try:
                await _carry(near, far)
            finally:
                now = trio.current_time()
                self.emit(
                    Forwarded(self.path, now, near.peer, now - begun, far.bytes_sent, far.bytes_received)
                )


async def _carry(near: Connection, far: Connection) -> None:
    """Carry both ways, until both have come to their end."""
    async with trio.open_nursery() as nursery:
        both = nursery.cancel_scope.cancel
        nursery.start_soon(_pour, near, far, both)
        nursery.start_soon(_pour, far, near, both)


async def _pour(source: Connection, sink: Connection, end_both: Callable[[], None]) -> None:
    """Carry one way; then say that this was all, or, where that cannot be said, end both."""
    async for data in source:
        await sink.send_all(data)
    if isinstance(sink, trio.abc.HalfCloseableStream):
        await sink.send_eof()
    else:
        end_both()


class PortForward(MultiService):
    """Lead whoever comes to one place on to another.

    ::

        PortForward("tcp:8080", "tcp:10.0.0.7:80")
        PortForward("ssl:8443:certKey=shop.pem", "unix:/run/shop.sock")

    It is ready when the far side has answered and the near side listens.

    Args:
        listen: where clients come in: a text, or a description from :mod:`trioservice.net.endpoints`.
        to: where they are led, likewise.
        retry: how soon a far side that does not answer at the start is knocked at again; by default for ever.
        options: ``name``, and those of the near side, as for :class:`~trioservice.net.servers.StreamServer`.

    Raises:
        EndpointError: a text is no endpoint.
        CannotListenError: out of ``main``, if the near side cannot be bound.
        CannotConnectError: out of ``main``, if the far side has not answered within the limit of *retry*.

    Attributes:
        far: the leaf that waits for the far side.
        near: the server.
    """

    def __init__(
        self,
        listen: str | StreamServerEndpoint,
        to: str | StreamClientEndpoint,
        *,
        retry: Retry | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        name, options["name"] = options.get("name"), "near"
        target = client_endpoint(to) if isinstance(to, str) else to
        self.far = FarSide(target, Retry() if retry is None else retry)
        self.near = NearSide(listen, target, **options)
        super().__init__(self.far, self.near, name=name)

    def statistics(self) -> ServerStatistics:
        """Connections that were taken and bytes that were carried, as seen at the near side."""
        return self.near.statistics()
