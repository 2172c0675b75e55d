"""What the tests of the simulated world share: lives in virtual time, and what is said in them."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import hypothesis  # noqa: F401 - it has trio step tasks in an order that a seed decides
import pytest
import trio
from trio._core import _run
from trio.testing import MockClock

from trioservice import Application, Service
from trioservice.events import Event
from trioservice.testing import SimNetwork

T = TypeVar("T")


def live(main: Callable[[], Awaitable[T]], seed: int = 0) -> T:
    """Run *main* in virtual time; whatever is left to chance comes of *seed*."""
    _run._r.seed(seed)
    random.seed(seed)
    return trio.run(main, clock=MockClock(autojump_threshold=0))


@asynccontextmanager
async def running(
    network: SimNetwork, host: str, *services: Service
) -> AsyncIterator[tuple[Application, list[Event]]]:
    """An application of *services* on a host, named after it, ready; it is stopped at the end."""
    app = Application(host, *services, handle_signals=False)
    events: list[Event] = []
    app.subscribe(events.append)
    async with trio.open_nursery() as nursery:
        with network.on(host):
            await nursery.start(app.main)
        yield app, events
        await app.stop()


async def echo(stream: trio.abc.Stream) -> None:
    async for data in stream:
        await stream.send_all(data)


class Echo:
    """The same, as a protocol."""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def take(stream: trio.abc.Stream, size: int) -> bytes:
    """So many bytes, or what comes before the end."""
    taken = b""
    while len(taken) < size and (more := await stream.receive_some(size - len(taken))):
        taken += more
    return taken


async def ask(stream: trio.abc.Stream, question: bytes) -> bytes:
    """Send something, and take as much."""
    await stream.send_all(question)
    return await take(stream, len(question))


# ---- beside the kernel, which is what is simulated

beside_the_kernel = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that is simulated")


def as_the_kernel_does(answers: list[object], told: Callable[..., list[object]], *asked: object) -> bool:
    """Whether *told* says the same of real sockets.

    Args:
        answers: what it says of simulated ones.
        told: is given what makes a socket, *asked*, and seconds to wait after each step: where the kernel is
            busy, it is given a moment to carry what was sent.
    """
    return any(told(socket.socket, *asked, pause) == answers for pause in (0, 0.01, 0.1))
