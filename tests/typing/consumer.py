"""A program as a user writes it, for the type checker alone: ``make types`` reads it, nobody runs it.

What must pass, passes under ``mypy --strict``; what must be refused carries an ignore with the
code of the refusal, and strict mode complains of an ignore that is not needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import assert_type

import trio

from trioservice import (
    Application,
    MultiService,
    Service,
    ServiceError,
    ServicesFailed,
    StartInterrupted,
    State,
    TaskService,
    TCPServer,
    TreeError,
    current_service,
)
from trioservice.errors import paths_of
from trioservice.events import ErrorRaised, Event, Listener, StateChanged
from trioservice.net.addresses import Address
from trioservice.net.events import ConnectionFailed, Listening
from trioservice.net.servers import ServerStatistics
from trioservice.net.streams import SocketStream

# ---- services of one's own -------------------------------------------------------------------


class Stock(Service):
    """All that a leaf may override, and an ``__init__`` that takes an option more."""

    def __init__(self, shelves: int, *, name: str | None = None) -> None:
        super().__init__(name=name, start_timeout=2.5, drain_timeout=None)
        self.shelves = shelves

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        stack.callback(print, "released")

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        task_status.started(self.shelves)
        await trio.sleep_forever()

    async def drain(self) -> None:
        await trio.sleep(0.1)


class Counter(Service):
    """It says what it is ready with: a narrower type in place of ``object`` is welcome."""

    async def run(self, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(7)
        task_status.started("seven")  # type: ignore[arg-type]


class Cluster(MultiService):
    """A branch of one's own that knows its children."""

    def __init__(self, size: int) -> None:
        self.stocks = [Stock(number) for number in range(size)]
        super().__init__(*self.stocks, name="cluster", keep_running=True)


class AuditedServer(TCPServer):
    """A server that does something before it serves."""

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        print(self.addresses)
        await super().run(task_status)


class Callbacks:
    """A protocol, of the fast lane."""

    def data_received(self, data: bytes) -> None:
        print(data)


class NotAsync(Service):
    """A plain function cannot be the life of a service."""

    def run(self, task_status: trio.TaskStatus[object]) -> None:  # type: ignore[override]
        task_status.started()


class ForgotTheStatus(Service):
    """Nobody could hear that it is ready."""

    async def run(self) -> None:  # type: ignore[override]
        await trio.sleep_forever()


# ---- handlers and functions ------------------------------------------------------------------


async def echo(stream: SocketStream) -> None:
    assert_type(stream.peer, Address)
    assert_type(stream.local, Address)
    async for data in stream:
        assert_type(data, bytes)
        await stream.send_all(data)
    await stream.send_eof()


async def any_stream(stream: trio.abc.HalfCloseableStream) -> int:
    """A handler that asks for less takes ours as well, and what it returns is nobody's business."""
    await stream.send_all(b"hello")
    return 1


async def any_listener_of_lines(stream: trio.abc.Stream) -> None:
    await stream.aclose()


async def not_for_streams(data: bytes) -> None:
    print(data)


def not_async(stream: SocketStream) -> None:
    print(stream)


async def refill(stock: Stock, every: float, *, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep(every)
    stock.shelves += 1


# ---- a tree ----------------------------------------------------------------------------------

stock = Stock(3, name="stock")
server = TCPServer(0, echo, host="127.0.0.1", max_connections=100, drain_timeout=None)
app = Application(
    "shop",
    MultiService(stock, TaskService(refill, stock, 60.0), name="back"),
    Cluster(2),
    server,
    AuditedServer(7001, any_stream),
    TCPServer(7002, any_listener_of_lines),
    uid="nobody",
    gid=65534,
    shutdown_timeout=None,
    bound=lambda bound_app: print(bound_app.uid),
)
TaskService(trio.sleep, 1).set_service_parent(app)

assert_type(app["back"], Service)
assert_type(app.get_service_named("back"), Service)
assert_type([child.name for child in app], list[str])
assert_type(len(app), int)
assert_type("back" in app, bool)
assert_type(stock.parent, MultiService | None)
assert_type(stock.path, str)
assert_type(stock.state, State)
assert_type(stock.running, bool)
assert_type(server.addresses, tuple[tuple[str, int], ...])
assert_type(server.statistics(), ServerStatistics)
assert_type(server.statistics().accepted, int)
assert_type(current_service(), Service | None)

TCPServer("7001", echo)  # type: ignore[arg-type]
TCPServer(7001, protocol=Callbacks)
TCPServer(7001, protocol=Callbacks())  # type: ignore[arg-type]
TCPServer(7001, not_for_streams)  # type: ignore[arg-type]
TCPServer(7001, not_async)  # type: ignore[arg-type]
TCPServer(7001, echo, "127.0.0.1")  # type: ignore[call-arg]
TaskService(refill(stock, 1.0, task_status=trio.TASK_STATUS_IGNORED))  # type: ignore[arg-type]
MultiService([stock])  # type: ignore[arg-type]
MultiService(stock, refill)  # type: ignore[arg-type]
Service("name")  # type: ignore[call-arg]
Application(stock)  # type: ignore[arg-type]
stock.name = "other"  # type: ignore[misc]
stock.state = State.RUNNING  # type: ignore[misc]
stock.set_service_parent(stock)  # type: ignore[arg-type]
server.statistics().active = 0  # type: ignore[misc]


# ---- what happens in it ----------------------------------------------------------------------


def told(event: Event) -> None:
    """A listener narrows by ``isinstance``."""
    assert_type(event.path, str)
    if isinstance(event, StateChanged):
        assert_type(event.new, State)
        assert_type(event.seconds, float)
    elif isinstance(event, ErrorRaised):
        assert_type(event.error, BaseException)
    elif isinstance(event, Listening):
        assert_type(event.addresses, tuple[Address, ...])
    elif isinstance(event, ConnectionFailed):
        assert_type(event.by_peer, bool)
    event.path = "mine"  # type: ignore[misc]


def wants_two(event: Event, more: int) -> None:
    print(event, more)


listener: Listener = told
events: list[Event] = []
assert_type(app.subscribe(told), Callable[[], None])
app.subscribe(events.append)
app.subscribe(wants_two)  # type: ignore[arg-type]


def describe(state: State) -> str:
    """``match`` over the states is exhaustive: a state more, and this function lacks a return."""
    match state:
        case State.STOPPED | State.FINISHED | State.FAILED:
            return "gone"
        case State.STARTING | State.STOPPING:
            return "on its way"
        case State.RUNNING:
            return "there"


# ---- run -------------------------------------------------------------------------------------


async def embedded() -> None:
    """The tree as a part of somebody's program."""
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        nursery.start_soon(stock.main)
        await app.start_service(Stock(1))
        app.add_service(Counter())
        await stock.wait_running()
        await stock.restart()
        await app.stop(drain=False)
        await stock.start()
        await stock.wait_stopped()
        await stock.disown_service_parent()
        await app.remove_service(server)
        app.stop()  # type: ignore[unused-coroutine]


def main() -> int:
    try:
        trio.run(app.main)
    except* (StartInterrupted, TreeError) as group:
        assert_type(group, ExceptionGroup[StartInterrupted | TreeError])
    except* OSError as group:
        for error in group.exceptions:
            print(error)
    try:
        trio.run(embedded)
    except ServicesFailed as failure:
        for exception in failure.exceptions:
            assert_type(exception, Exception | ExceptionGroup[Exception])
            assert_type(paths_of(exception), list[str])
    except ServiceError as error:
        print(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
