"""Clients: connect, stay connected, tell of it, and leave nothing behind."""

from __future__ import annotations

import errno
import gc
import logging
import math
import os
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest
import trio
import trio.testing
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from trioservice import (
    Application,
    CannotConnectError,
    MultiService,
    Service,
    ServicesFailed,
    ServiceStateError,
    StartInterrupted,
    State,
    TaskService,
    TCPServer,
    current_service,
)
from trioservice.errors import StartTimeoutError, paths_of
from trioservice.net.addresses import Address, UNIXPeer
from trioservice.net.clients import (
    ClientStatistics,
    SSLClient,
    StreamClient,
    TCPClient,
    UNIXClient,
)
from trioservice.net.connecting import connect
from trioservice.net.endpoints import (
    EndpointError,
    SSLClientEndpoint,
    StreamClientEndpoint,
    TCPClientEndpoint,
    TLSClientEndpoint,
    UNIXClientEndpoint,
)
from trioservice.net.events import (
    Connected,
    ConnectFailed,
    ConnectionFailed,
    Disconnected,
    Unverified,
)
from trioservice.net.servers import SSLServer, StreamServer, UNIXServer
from trioservice.net.streams import Connection
from trioservice.net.tls import CertificateError, TLSStream, client_context
from trioservice.retry import Retry

from .support import LIMIT, LOCAL, Events, echo, eventually, is_refused, reset, running

ONE_SECOND = Retry(delay=1, delay_max=1, factor=1, jitter=0)


async def echo_any(stream: Connection) -> None:
    """An echo over whatever carries the bytes."""
    async for data in stream:
        await stream.send_all(data)


# ---- a server that exists in a script only


class MemoryConnection(Connection):
    """One end of a connection that is made of memory."""

    def __init__(self, stream: trio.StapledStream[Any, Any], world: World) -> None:
        self._stream = stream
        self._world = world
        self.peer = ("192.0.2.1", world.made)
        self.bytes_received = self.bytes_sent = 0

    @property
    def local(self) -> Address:
        return ("192.0.2.2", 1)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)
        self.bytes_sent += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data: bytes | bytearray = await self._stream.receive_some(max_bytes)
        self.bytes_received += len(data)
        return data

    async def aclose(self) -> None:
        self.abandon()
        await trio.lowlevel.checkpoint()

    def abandon(self) -> None:
        self._world.open.discard(self)

    def breaks(self) -> None:
        """What a handler meets whose connection has gone."""
        error = trio.BrokenResourceError()
        error.__cause__ = ConnectionResetError(errno.ECONNRESET, "reset")
        self._broke(error)


@dataclass
class Step:
    """What comes of one attempt, after *seconds*."""

    comes: Literal["refused", "rejected", "connected"] = "connected"
    seconds: float = 0.0
    lasts: float = 0.0  # how long the connection is used; for rejected ones, how long prepare takes
    ends: Literal["returns", "raises", "breaks"] = "returns"


STAYS = Step(lasts=10**9)
REFUSED = Step("refused")
REJECTED = Step("rejected")


@dataclass(eq=False)
class World:
    """A server, and the user's two functions, that follow a script; at its end all connections stay."""

    script: list[Step] = field(default_factory=list)
    attempts: list[float] = field(default_factory=list)  # when each began
    open: set[MemoryConnection] = field(default_factory=set)
    made: int = 0
    most: int = 0  # how many were open at once
    cleanup: float = 0.0  # how long a cancelled handler takes to end
    now: Step = field(default_factory=Step)

    async def reach(self) -> MemoryConnection:
        self.attempts.append(trio.current_time())
        self.now = self.script.pop(0) if self.script else STAYS
        await trio.sleep(self.now.seconds)
        if self.now.comes == "refused":
            raise CannotConnectError(errno.ECONNREFUSED, f"refused no {len(self.attempts)}")
        self.made += 1
        ours, _ = trio.testing.memory_stream_pair()
        connection = MemoryConnection(ours, self)
        self.open.add(connection)
        self.most = max(self.most, len(self.open))
        return connection

    async def prepare(self, stream: MemoryConnection) -> str:
        if self.now.comes == "rejected":
            await trio.sleep(self.now.lasts)
            raise LookupError("wrong server")
        await trio.lowlevel.checkpoint()
        return "ignored"

    async def handler(self, stream: MemoryConnection) -> None:
        try:
            await trio.sleep(self.now.lasts)
        except trio.Cancelled:
            with trio.CancelScope(shield=True, relative_deadline=self.cleanup + 1):
                await trio.sleep(self.cleanup)
            raise
        if self.now.ends == "raises":
            raise ValueError("a bug")
        if self.now.ends == "breaks":
            stream.breaks()

    def client(self, **options: Any) -> StreamClient:
        """Of this world; its retry is once a second, unless said otherwise."""
        options = {"retry": ONE_SECOND, "prepare": self.prepare, "name": "cli", **options}
        return StreamClient(Scripted(self), self.handler, **options)


class Scripted(StreamClientEndpoint):
    """A kind of endpoint that a package announces."""

    kind = "scripted"

    def __init__(self, world: World) -> None:
        self.world = world

    def __str__(self) -> str:
        return "scripted:"


@connect.register
async def _(endpoint: Scripted) -> Connection:
    return await endpoint.world.reach()


# ---- when it connects


async def test_it_connects_as_soon_as_it_is_started(autojump_clock: MockClock) -> None:
    """Ready at once, the first attempt having begun; what comes after it need not wait for the server."""
    world = World([Step(seconds=5, lasts=10)])
    client = world.client()
    async with running(client):
        assert client.running
        assert world.attempts == [trio.current_time()]  # row 44
        assert client.connection is None
        await trio.sleep(6)
        assert client.connection in world.open


async def test_after_a_failed_attempt_it_waits_longer_and_longer(autojump_clock: MockClock) -> None:
    """The delays are those of Twisted's ClientService, whose first retry is the policy's attempt 1."""
    world = World([REFUSED] * 3 + [REJECTED])
    with mock.patch("random.random", return_value=0.5):
        async with running(world.client(retry=Retry())) as (_, events):
            begun = trio.current_time()
            await trio.sleep(60)
            delays = [1.5 + 0.5, 2.25 + 0.5, 3.375 + 0.5, 5.0625 + 0.5]
            moments = [sum(delays[:number]) for number in range(5)]
            assert world.attempts == pytest.approx([begun + moment for moment in moments])  # row 35, 49
    told = events.of(ConnectFailed)
    assert [event.tries for event in told] == [1, 2, 3, 4]
    assert [event.delay for event in told] == pytest.approx(delays)
    assert str(told[0]) == "refused no 1 (attempt 1; trying again in 2.0 s)"
    assert {event.level for event in told} == {logging.WARNING}


async def test_after_a_thousand_failures_it_still_waits_no_longer_than_the_longest_delay(
    autojump_clock: MockClock,
) -> None:
    """Neither the arithmetic nor the patience ends."""
    world = World([REFUSED] * 1200)
    with mock.patch("random.random", return_value=0.0):
        async with running(world.client(retry=Retry(factor=1e10, delay_max=60))):
            await trio.sleep(1199.5 * 60)
            assert len(world.attempts) == 1200  # row 36


@pytest.mark.parametrize("ends", ["returns", "raises", "breaks"])
async def test_however_a_connection_ends_the_next_comes_after_a_delay(
    autojump_clock: MockClock, ends: Literal["returns", "raises", "breaks"]
) -> None:
    """A loss waits as a first failure does, and only a failure is told as one."""
    world = World([Step(lasts=3, ends=ends)])
    client = world.client(retry=Retry(delay=1, factor=2, jitter=0))
    async with running(client) as (app, events):
        begun = trio.current_time()
        await trio.sleep(10)
        assert world.attempts == pytest.approx([begun, begun + 3 + 2])  # row 49
        assert world.most == 1
        assert client.statistics().failed == (0 if ends == "returns" else 1)  # L16
        assert app.state is State.RUNNING  # L16
    told = [type(event) for event in events if type(event) in (Connected, ConnectionFailed, Disconnected)]
    failure = [] if ends == "returns" else [ConnectionFailed]
    assert told == [Connected, *failure, Disconnected, Connected, Disconnected]  # L19
    assert [event.seconds for event in events.of(Disconnected)] == pytest.approx([3, 5])
    assert [event.by_peer for event in events.of(ConnectionFailed)] == [ends == "breaks"] * len(failure)


async def test_a_success_makes_the_delay_short_again(autojump_clock: MockClock) -> None:
    """Whoever was reached is taken for well."""
    world = World([REFUSED] * 5 + [Step(lasts=1), REFUSED, Step(lasts=1)])
    async with running(world.client(retry=Retry(jitter=0))) as (_, events):
        await trio.sleep(60)
    assert [event.tries for event in events.of(ConnectFailed)] == [1, 2, 3, 4, 5, 1]
    waits = [later - earlier for earlier, later in zip(world.attempts, world.attempts[1:], strict=False)]
    # After the success of attempt 6, which lasts a second: attempt 1 again, and 2 after the failure.
    assert waits[5:7] == pytest.approx([1 + 1.5, 1.5**2])  # row 48


async def test_a_handler_that_declines_at_once_meets_the_server_again_and_again(
    autojump_clock: MockClock,
) -> None:
    """That there is a connection, and nothing comes of it, is no reason to give up."""
    world = World([Step(ends="raises")] * 5)
    async with running(world.client(retry=ONE_SECOND)) as (_, events):
        await trio.sleep(5.5)
        assert len(world.attempts) == 6  # row 50
        assert len(events.of(ConnectionFailed)) == 5
        assert len(world.open) == 1


async def test_a_second_start_makes_no_second_connection(autojump_clock: MockClock) -> None:
    """`main` of what runs is refused, and `start` of what is ready changes nothing."""
    world = World()
    client = world.client()
    async with running(client) as (app, _):
        with pytest.raises(ServiceStateError):
            await client.main()  # row 51
        with pytest.raises(ServiceStateError):
            await app.main()
        await client.start()
        await trio.sleep(100)
        assert len(world.attempts) == 1  # row 51
        assert client.running


# ---- without a retry, and with a limit


async def outcome_of(client: Service) -> list[Exception]:
    """Run *client* to its end; what came out."""
    try:
        with trio.fail_after(5000):  # of a clock that jumps
            await client.main()
    except ServicesFailed as group:
        return list(group.exceptions)
    return []


async def test_with_no_retry_an_attempt_that_fails_is_the_services_failure(autojump_clock: MockClock) -> None:
    """It is not tried again, and the error is the attempt's."""
    for step, said in ((REFUSED, "refused no 1"), (REJECTED, "prepare declined .*: LookupError: wrong")):
        world = World([step])
        client = world.client(retry=None)
        (error,) = await outcome_of(client)
        assert isinstance(error, CannotConnectError)
        with pytest.raises(CannotConnectError, match=said):
            raise error
        assert paths_of(error) == ["cli"]  # L14
        assert len(world.attempts) == 1
        assert not world.open
        assert client.state is State.FAILED


async def test_with_no_retry_the_handlers_return_is_the_services_end(autojump_clock: MockClock) -> None:
    """What was to be said once has been said; a parent of such clients ends with the last."""
    world = World([Step(lasts=2)])
    client = world.client(retry=None)
    app = Application("app", client, handle_signals=False)
    await app.main()
    assert (client.state, app.state) == (State.FINISHED, State.FINISHED)  # L15
    assert not world.open


@pytest.mark.parametrize("ends", ["raises", "breaks"])
async def test_with_no_retry_what_the_handler_raises_is_the_services_failure(
    autojump_clock: MockClock, ends: Literal["raises", "breaks"]
) -> None:
    """There is nobody else whose failure it could be."""
    world = World([Step(ends=ends)])
    client = world.client(retry=None)
    app = Application("app", client, handle_signals=False)
    events = Events()
    app.subscribe(events.append)
    (error,) = await outcome_of(app)
    assert type(error) is (ValueError if ends == "raises" else trio.BrokenResourceError)
    assert client.statistics().failed == 1
    assert not events.of(ConnectionFailed), "told once, as the service's"
    assert not world.open


@pytest.mark.parametrize("limit", [0, 1, 3])
async def test_a_limit_is_the_number_of_attempts_that_may_fail_in_a_row(
    autojump_clock: MockClock, limit: int
) -> None:
    """Then the service fails with the last; losses and successes are no failed attempts."""
    most = max(1, limit)
    world = World([*[REFUSED] * (most - 1), Step(lasts=1), Step(lasts=1), *[REFUSED] * most, STAYS])
    retry = Retry(delay=1, factor=1, jitter=0, limit=limit)
    client = world.client(retry=retry)
    app = Application("app", client, handle_signals=False)
    events = Events()
    app.subscribe(events.append)
    (error,) = await outcome_of(app)
    assert str(error) == f"refused no {2 * most + 1}"
    assert len(world.attempts) == 2 * most + 1
    assert events.of(ConnectFailed)[-1].delay is None
    assert str(events.of(ConnectFailed)[-1]).endswith(f"(attempt {most}; giving up)")
    assert client.state is State.FAILED


# ---- the property: when it connects, whatever happens


def steps() -> st.SearchStrategy[Step]:
    seconds = st.sampled_from([0.0, 0.25, 1.0, 7.0])
    return st.builds(
        Step,
        st.sampled_from(["refused", "rejected", "connected"]),
        seconds,
        seconds,
        st.sampled_from(["returns", "raises", "breaks"]),
    )


def policies() -> st.SearchStrategy[Retry]:
    return st.builds(
        Retry,
        delay=st.sampled_from([0.0, 0.5, 1.0]),
        delay_max=st.sampled_from([1.0, 5.0, 60.0]),
        factor=st.sampled_from([1.0, 1.5, 10.0]),
        jitter=st.sampled_from([0.0, 1.0]),
        limit=st.sampled_from([None, None, 2, 4]),
    )


def by_the_book(script: list[Step], retry: Retry, chances: Iterator[float]) -> tuple[list[float], float]:
    """When Twisted's ClientService would connect, and when, if ever, it gives up; a second telling."""
    at, row, failures, moments = 0.0, 0, 0, [0.0]
    for step in script:
        at += step.seconds
        if step.comes != "refused":
            at += step.lasts
        if step.comes == "connected":
            row, failures = 0, 0
        else:
            failures += 1
        row += 1
        if failures and retry.limit is not None and failures >= retry.limit:
            return moments, at
        at += min(retry.delay * retry.factor**row, retry.delay_max) + retry.jitter * next(chances)
        moments.append(at)
    return moments, math.inf


@settings(max_examples=200, deadline=None)
@given(st.lists(steps(), max_size=12), policies(), st.integers(0, 2**32), st.floats(0, 1.1))
@example([REFUSED, REJECTED, Step(lasts=1, ends="breaks"), REFUSED], Retry(), 0, 1.1)
def test_attempts_come_exactly_when_the_policy_says_and_no_connection_is_left(
    script: list[Step], retry: Retry, seed: int, part: float
) -> None:
    """Any order of failures, losses and successes; a stop at any moment; never two connections at once."""
    world = World(list(script))
    client = world.client(retry=retry)
    moments, end = by_the_book(script, retry, iter(random.Random(seed).random, None))
    stop = part * (moments[-1] + 10) + 0.0137  # which is no moment at which anything else happens
    errors: list[Exception] = []
    begun = 0.0

    async def live() -> None:
        errors.extend(await outcome_of(client))

    async def main() -> None:
        nonlocal begun
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live)
            await trio.sleep(stop)
            await client.stop()

    with mock.patch("random.random", random.Random(seed).random):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [type(error) for error in errors] == [CannotConnectError] * (end < stop)
    made = [moment for moment in moments if moment < stop]
    assert [at - begun for at in world.attempts] == pytest.approx(made, abs=1e-6)  # row 49
    assert world.most <= 1
    assert not world.open
    assert client.statistics().attempts == len(made)
    assert client.connection is None


# ---- waiting for it


async def test_whoever_waits_is_woken_by_the_connection(autojump_clock: MockClock) -> None:
    """At once if there is one, else by the next; any number of waiters get the same."""
    world = World([REFUSED, REJECTED])
    client = world.client()
    got: list[Connection] = []

    async def wait() -> None:
        got.append(await client.wait_connected())

    async with running(client), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not got
        await trio.sleep(2.5)
        assert got == [client.connection] * 3  # row 52
        assert await client.wait_connected() is client.connection  # row 52
        assert (
            await client.wait_connected(1) is client.connection
        )  # row 52: once connected, N does not matter
        assert client._waiters == []


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_whoever_waits_may_give_up_after_some_failures_counted_from_his_call(
    autojump_clock: MockClock, number: int
) -> None:
    """Not before, not after; with the error of that attempt; the service goes on."""
    world = World([REFUSED] * 8)
    client = world.client()
    async with running(client):
        await trio.sleep(1.5)  # two failures that the call has not seen
        began = trio.current_time()
        with pytest.raises(CannotConnectError, match=f"refused no {2 + number}") as raised:
            await client.wait_connected(number)  # row 52
        assert trio.current_time() - began == pytest.approx(number - 0.5)
        assert raised.value.errno == errno.ECONNREFUSED
        assert await client.wait_connected(100) is client.connection
        assert client._waiters == []


async def test_each_who_waits_raises_an_error_of_his_own(autojump_clock: MockClock) -> None:
    """One object raised in many tasks would gather the tracebacks of all; the cause is kept."""
    world = World([Step("rejected", lasts=1)])
    client = world.client()
    raised: list[CannotConnectError] = []

    async def wait() -> None:
        try:
            await client.wait_connected(1)
        except CannotConnectError as error:
            raised.append(error)

    async with running(client), trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
    one, other = raised
    assert one is not other
    assert isinstance(one.__cause__, LookupError)


async def test_who_waits_while_it_stops_hears_of_it(autojump_clock: MockClock) -> None:
    """A stop ends the wait at once, and names the path."""
    world = World([REFUSED] * 100)
    client = world.client()
    raised: list[str] = []

    async def wait() -> None:
        try:
            await client.wait_connected()
        except StartInterrupted as error:
            raised.append(str(error))

    async with running(client) as (app, _), trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(2.5)
        await app.stop()
        await wait_all_tasks_blocked()
        assert raised == ["app/cli was stopped before it was connected"] * 2  # row 53


async def test_who_waits_before_the_start_waits_for_the_next_run(autojump_clock: MockClock) -> None:
    """And counts its failures from the first."""
    world = World([REFUSED, REFUSED, Step(lasts=5)])
    client = world.client()
    outcomes: list[object] = []

    async def wait(number: int | None) -> None:
        try:
            outcomes.append(await client.wait_connected(number))
        except CannotConnectError as error:
            outcomes.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, None)
        nursery.start_soon(wait, 2)
        await trio.sleep(10)
        assert outcomes == []
        async with running(client):
            await trio.sleep(2.5)
            assert outcomes == ["refused no 2", client.connection]  # row 52
            assert client.connection is not None


async def test_who_has_lost_patience_does_not_wait_for_the_start_to_end(autojump_clock: MockClock) -> None:
    """A start that goes on trying is no concern of his."""
    client = World([REFUSED] * 10).client(ready_when_connected=True)
    async with trio.open_nursery() as nursery:
        begun = trio.current_time()
        nursery.start_soon(client.main)
        with pytest.raises(CannotConnectError, match="refused no 3"):
            await client.wait_connected(3)
        assert trio.current_time() == pytest.approx(begun + 2)  # row 52
        await client.stop()


async def test_who_waits_for_what_is_never_started_hears_of_that(autojump_clock: MockClock) -> None:
    """Nobody waits for ever for a client whose turn does not come."""

    async def fail(task_status: trio.TaskStatus[object]) -> None:
        raise ValueError("no database")

    client = World().client()
    app = Application("app", TaskService(fail), client, handle_signals=False)
    told: list[BaseException] = []

    async def wait() -> None:
        try:
            await client.wait_connected()
        except StartInterrupted as error:
            told.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        with pytest.raises(ServicesFailed):
            await app.main()
        await wait_all_tasks_blocked()
        assert [str(error) for error in told] == ["app/cli was stopped before it was ready"]  # L2


async def test_who_waits_when_the_limit_is_used_up_gets_the_last_error(autojump_clock: MockClock) -> None:
    """A service that has failed will not connect any more, however patient one is."""
    world = World([REFUSED] * 9)
    client = world.client(retry=Retry(delay=1, jitter=0, limit=2), ready_when_connected=True)
    raised: list[str] = []

    async def wait() -> None:
        try:
            await client.wait_connected()
        except CannotConnectError as error:
            raised.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        assert [str(error) for error in await outcome_of(client)] == ["refused no 2"]
        await wait_all_tasks_blocked()
        assert raised == ["refused no 2"]


async def test_a_waiter_that_is_cancelled_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    """Before the start, during it and while it runs."""
    client = World([REFUSED] * 99).client()
    with trio.move_on_after(1):
        await client.wait_connected()
    assert client._waiters == []
    async with running(client):
        with trio.move_on_after(1) as scope:
            await client.wait_connected(50)
        assert scope.cancelled_caught
        assert client._waiters == []


async def test_prepare_that_waits_for_its_own_connection_is_told_so(autojump_clock: MockClock) -> None:
    """It would wait for itself for ever."""
    world = World()
    raised: list[Exception] = []

    async def prepare(stream: Connection) -> None:
        try:
            await client.wait_connected()
        except ServiceStateError as error:
            raised.append(error)

    for ready_when_connected in (True, False):
        client = world.client(prepare=prepare, ready_when_connected=ready_when_connected)
        async with running(client):
            await client.wait_connected()
    assert len(raised) == 2  # L2


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
async def test_no_failures_at_all_are_no_patience(number: int) -> None:
    """It would have failed before it began; and what is no whole number is never counted to."""
    with trio.fail_after(LIMIT), pytest.raises(ValueError, match="max_failures is a whole number, 1 or more"):
        await World().client().wait_connected(number)


async def stopped_child(app: Application, client: StreamClient) -> None:
    await client.wait_connected()
    await client.stop()


async def ends_by_itself(app: Application, client: StreamClient) -> None:
    await client.wait_stopped()


@pytest.mark.parametrize(
    ("script", "retry", "ends", "state"),
    [
        ([STAYS], ONE_SECOND, stopped_child, State.STOPPED),
        ([Step()], None, ends_by_itself, State.FINISHED),
    ],
)
async def test_whoever_comes_when_it_has_ended_hears_so_at_once(
    script: list[Step],
    retry: Retry | None,
    ends: Callable[[Application, StreamClient], Awaitable[None]],
    state: State,
    autojump_clock: MockClock,
) -> None:
    """Nobody waits for ever for what nobody will start; once started again, it is waited for."""
    client = World(list(script)).client(retry=retry)
    app = Application("app", client, handle_signals=False, keep_running=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        await ends(app, client)
        for patience in (None, 1):
            with trio.fail_after(LIMIT), pytest.raises(StartInterrupted) as raised:
                await client.wait_connected(patience)  # L2, row 53
            assert str(raised.value) == f"app/cli is {state}, so it will not connect; start it again"
        await client.start()
        assert await client.wait_connected() is client.connection
        await app.stop()


async def test_whoever_comes_when_it_has_failed_hears_so_at_once(autojump_clock: MockClock) -> None:
    """Whether it has run, or its files could not be loaded."""
    failing = World([REFUSED]).client(retry=None)
    unreadable = StreamClient(f"ssl:{LOCAL}:1:caCertsDir=/none.pem", echo, name="cli")
    for client in (failing, unreadable):
        assert len(await outcome_of(client)) == 1
        with trio.fail_after(LIMIT), pytest.raises(StartInterrupted, match=r"^cli is failed, so"):
            await client.wait_connected()  # L2


async def test_in_a_second_start_of_its_tree_it_is_waited_for(autojump_clock: MockClock) -> None:
    """What stands before it, at any height, may ask for it before its turn has come."""
    client = World().client()
    got: list[Connection] = []

    async def ask() -> None:
        got.append(await client.wait_connected())

    async def slow(task_status: trio.TaskStatus[object]) -> None:
        await trio.sleep(1)
        task_status.started()

    services = (TaskService(ask), TaskService(slow), MultiService(client, name="inner"))
    app = Application("app", *services, handle_signals=False)
    for run in (1, 2):
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            await wait_all_tasks_blocked()
            assert len(got) == run
            await app.stop()
        assert client.state is State.STOPPED


async def test_whoever_waits_for_a_start_that_is_out_of_time_hears_that(autojump_clock: MockClock) -> None:
    """Nobody has stopped it: the reason is its own."""
    client = World([REFUSED] * 99).client(ready_when_connected=True, start_timeout=4.5)
    told: list[Exception] = []

    async def wait() -> None:
        try:
            await client.wait_connected()
        except ServicesFailed as group:
            told.extend(group.exceptions)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)  # before the start
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome_of, client)
        await trio.sleep(1)
        nursery.start_soon(wait)  # during it
    assert [type(error) for error in told] == [StartTimeoutError] * 2


async def test_whoever_waits_while_it_fails_by_a_mistake_hears_that_it_ended() -> None:
    """Nobody has stopped it."""

    class Unknown(StreamClientEndpoint):
        kind = "unknown"

        def __post_init__(self) -> None: ...

    told: list[str] = []

    async def wait() -> None:
        try:
            await client.wait_connected()
        except StartInterrupted as error:
            told.append(str(error))

    client = StreamClient(Unknown(), echo, name="cli")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome_of, client)
    assert told == ["cli ended before it was connected"]  # L2


# ---- prepare


async def test_prepare_is_called_on_each_connection_and_what_it_returns_is_of_no_use(
    autojump_clock: MockClock,
) -> None:
    """Asynchronous, awaited before the handler, once a connection."""
    order: list[tuple[str, int]] = []

    async def prepare(stream: Connection) -> object:
        await trio.sleep(0.5)
        assert client.connection is None, "nobody has it yet"
        order.append(("prepare", world.made))
        return trio.lowlevel.current_task()

    async def handler(stream: Connection) -> None:
        order.append(("handler", world.made))
        assert client.connection is stream

    world = World([Step()] * 3)
    client = StreamClient(Scripted(world), handler, prepare=prepare, retry=ONE_SECOND)
    async with running(client):
        await trio.sleep(3.75)
    assert order == [(who, number) for number in (1, 2, 3) for who in ("prepare", "handler")]  # row 55
    assert client.statistics().connected == 3


async def test_a_prepare_that_raises_is_a_failed_attempt_and_its_connection_is_closed(
    autojump_clock: MockClock,
) -> None:
    """Twisted leaves such connections open; here nobody has more than one."""
    world = World([Step("rejected", lasts=2)] * 4)
    client = world.client(retry=Retry(delay=1, factor=2, jitter=0))
    async with running(client) as (_, events):
        begun = trio.current_time()
        await trio.sleep(2.5)
        assert not world.open, "closed before the wait"  # row 55
        await client.wait_connected()
        moments = [0, 4, 10, 20, 38]  # each takes two seconds; then 2, 4, 8, 16 of waiting
        assert world.attempts == pytest.approx([begun + moment for moment in moments])  # row 55
        assert (world.most, len(world.open)) == (1, 1)  # row 55
        assert client.statistics() == ClientStatistics(attempts=5, connected=1)
    assert not world.open
    first = events.of(ConnectFailed)[0]
    assert isinstance(first.error, CannotConnectError)
    assert isinstance(first.error.__cause__, LookupError)
    assert str(first.error) == "prepare declined the connection to 192.0.2.1:1: LookupError: wrong server"
    assert len(events.of(Connected)) == len(events.of(Disconnected)) == 1


async def test_a_connection_that_breaks_in_prepare_is_told_as_that(autojump_clock: MockClock) -> None:
    """It is the server's doing, not prepare's."""

    async def prepare(stream: MemoryConnection) -> None:
        stream.breaks()

    async with running(World().client(prepare=prepare)) as (_, events):
        await wait_all_tasks_blocked()
    (failure,) = events.of(ConnectFailed)
    assert str(failure.error) == "the connection to 192.0.2.1:1 broke in prepare: [Errno 104] reset"


async def in_a_nursery(stream: Connection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(decline)
        nursery.start_soon(decline)
        await trio.sleep_forever()


async def decline() -> None:
    raise LookupError("wrong server")


async def too_slow(stream: Connection) -> None:
    with trio.fail_after(1):
        await trio.sleep_forever()


async def wrong(stream: Connection) -> None:
    raise AssertionError


def synchronous(stream: Connection) -> None: ...


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (in_a_nursery, "LookupError: wrong server"),
        (too_slow, "TooSlowError"),
        (wrong, "AssertionError"),
        (synchronous, "TypeError: prepare gave None, which cannot be awaited; is it an async function?"),
    ],
)
async def test_why_prepare_declined_is_told_by_what_it_raised(
    prepare: Any, said: str, autojump_clock: MockClock
) -> None:
    """What a nursery's group holds, and the type alone where there are no words; the traceback is kept."""
    async with running(World().client(prepare=prepare)) as (_, events):
        await trio.sleep(1.5)
    error = events.of(ConnectFailed)[0].error
    assert str(error) == f"prepare declined the connection to 192.0.2.1:1: {said}"
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is not None


async def test_a_prepare_that_is_cancelled_and_raises_is_told_and_the_stop_goes_on(
    autojump_clock: MockClock,
) -> None:
    """As with a handler's: an error in its cleanup is one event; the stop is no failure."""

    async def stumble() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async def prepare(stream: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stumble)
            await trio.sleep_forever()

    world = World([REFUSED])
    client = world.client(prepare=prepare)
    async with running(client) as (app, events):
        await trio.sleep(1.5)
        await app.stop()
    told = events.of(ConnectFailed)[1]
    assert str(told.error).endswith(": ValueError: while cleaning up")  # L17: no Cancelled in it
    assert (told.tries, told.delay) == (2, None)
    assert client.state is State.STOPPED
    assert not world.open


async def test_a_handler_that_is_no_async_function_is_told_so(autojump_clock: MockClock) -> None:
    """Where its result is to be awaited."""
    client = StreamClient(Scripted(World()), synchronous, retry=None)  # type: ignore[arg-type]
    (error,) = await outcome_of(client)
    assert isinstance(error, TypeError)
    assert str(error) == "the handler gave None, which cannot be awaited; is it an async function?"


async def test_a_server_sees_no_connection_that_was_declined() -> None:
    """Counted where it can be seen: at the server, none of those that prepare rejected is open."""
    declined = 0

    async def prepare(stream: Connection) -> None:
        nonlocal declined
        if await stream.receive_some() != b"welcome 4":
            declined += 1
            raise LookupError("not the fourth")

    async def greet(stream: Connection) -> None:
        await stream.send_all(b"welcome %d" % server.statistics().accepted)
        await stream.receive_some()

    server = TCPServer(0, greet, host=LOCAL)
    async with running(server) as (app, _):
        retry = Retry(delay=0, jitter=0)
        client = TCPClient(*server.addresses[0], trio_forever, prepare=prepare, retry=retry)
        with trio.fail_after(LIMIT):
            await app.start_service(client)
            await client.wait_connected()
        assert declined == 3
        await eventually(lambda: server.statistics().active == 1)  # row 55
        await app.remove_service(client)
        await eventually(lambda: server.statistics().active == 0)  # row 55


async def trio_forever(stream: Connection) -> None:
    """A handler that stays."""
    await trio.sleep_forever()


# ---- ready


async def test_it_can_be_ready_only_when_connected_and_holds_up_what_stands_after_it(
    autojump_clock: MockClock,
) -> None:
    """Attempts go on meanwhile; the value of the start is the server's address."""
    world = World([REFUSED, REJECTED, Step(seconds=2, lasts=1)])
    client = world.client(ready_when_connected=True)
    later = TaskService(trio.sleep_forever, name="later")
    app = Application("app", client, later, handle_signals=False)
    async with trio.open_nursery() as nursery:
        begun = trio.current_time()
        nursery.start_soon(app.main)
        await trio.sleep(3.9)
        assert (client.state, later.state) == (State.STARTING, State.STOPPED)  # L5
        await later.wait_running()
        assert trio.current_time() - begun == pytest.approx(4)  # L5
        await trio.sleep(10)
        assert len(world.attempts) == 4, "and reconnects like any other"
        assert client.running
        await app.stop()
    async with trio.open_nursery() as nursery:
        alone = World().client(ready_when_connected=True)
        assert await nursery.start(alone.main) == ("192.0.2.1", 1)  # L2
        await alone.stop()
        assert await nursery.start(World().client(name="other").main, name="x") is None
        nursery.cancel_scope.cancel()


async def test_a_start_that_waits_for_a_connection_ends_with_its_timeout(autojump_clock: MockClock) -> None:
    """Retries go on until then, and not after."""
    world = World([REFUSED] * 99)
    client = world.client(ready_when_connected=True, start_timeout=4.5)
    (error,) = await outcome_of(client)
    assert isinstance(error, StartTimeoutError)
    assert len(world.attempts) == 5
    await trio.sleep(10)
    assert len(world.attempts) == 5


async def test_ready_when_connected_and_no_retry_fails_the_start_at_once(autojump_clock: MockClock) -> None:
    """The tree's start has failed, with the reason."""
    client = World([REFUSED]).client(ready_when_connected=True, retry=None)
    app = Application("app", client, handle_signals=False)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ServicesFailed) as raised:
            await nursery.start(app.main)
    assert [str(error) for error in raised.value.exceptions] == ["refused no 1"]  # L7


# ---- stopping


PHASES = {
    "connect": World([Step(seconds=100)]),
    "prepare": World([Step("rejected", lasts=100)]),
    "handler": World([Step(lasts=100)]),
    "wait after a failure": World([REFUSED] * 100),
    "wait after a loss": World([Step()] * 100),
}


@pytest.mark.parametrize("phase", PHASES)
async def test_a_stop_ends_whatever_it_is_at_and_there_are_no_more_attempts(
    phase: str, autojump_clock: MockClock
) -> None:
    """At once, with the connection closed; and twice is as good as once."""
    world = World(list(PHASES[phase].script))
    client = world.client(retry=Retry(delay=50, delay_max=50, jitter=0))
    async with running(client) as (app, _):
        await trio.sleep(10)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.stop)  # row 54
        assert trio.current_time() == began  # row 45, 47
        assert client.state is State.STOPPED
        assert client.connection is None
        assert not world.open  # row 45
        await client.stop()  # row 54
        made = len(world.attempts)
        await trio.sleep(1000)
        assert len(world.attempts) == made  # row 45, 47
        assert app.running


async def test_everybody_who_stops_it_waits_for_the_close(autojump_clock: MockClock) -> None:
    """`stop` returns when the connection is closed, to each caller, and before that to none."""
    world = World(cleanup=3)
    client = world.client()
    ended: list[float] = []

    async def stop() -> None:
        await client.stop()
        assert not world.open  # row 45
        ended.append(trio.current_time())

    await client.stop()  # row 54: before the start
    async with running(client):
        await trio.sleep(1)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await trio.sleep(1)
            nursery.start_soon(stop)  # row 54: while it disconnects
        assert ended == pytest.approx([began + 3] * 2)  # row 45, 54


async def test_a_start_while_it_stops_connects_after_the_disconnect(autojump_clock: MockClock) -> None:
    """Never two connections; who began to wait meanwhile gets the new one."""
    world = World(cleanup=3)
    client = world.client()
    async with running(client), trio.open_nursery() as nursery:
        await trio.sleep(1)
        old, began = client.connection, trio.current_time()
        nursery.start_soon(client.stop)
        await wait_all_tasks_blocked()
        assert client.state is State.STOPPING
        nursery.start_soon(client.start)
        connection = await client.wait_connected()  # row 46
        assert trio.current_time() == pytest.approx(began + 3)
        assert world.attempts[-1] == pytest.approx(began + 3)  # row 46
        assert world.most == 1
        assert connection is not old


async def test_who_began_to_wait_while_it_stopped_hears_of_the_next_stop(autojump_clock: MockClock) -> None:
    """The next run is his as if it had been running when he came."""
    world = World([STAYS, *[REFUSED] * 99], cleanup=3)
    client = world.client()
    told: list[str] = []

    async def wait() -> None:
        try:
            await client.wait_connected()
        except StartInterrupted as error:
            told.append(str(error))

    async with running(client), trio.open_nursery() as nursery:
        await client.wait_connected()
        nursery.start_soon(client.stop)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait)
        nursery.start_soon(client.start)
        await trio.sleep(5)
        assert not told
        await client.stop()
        await wait_all_tasks_blocked()
        assert told == ["app/cli was stopped before it was connected"]  # row 53


async def test_who_began_to_wait_while_it_stopped_for_good_hears_of_that(autojump_clock: MockClock) -> None:
    """If nobody has asked for another start by then, there is nothing to wait for."""
    world = World(cleanup=3)
    client = world.client()
    async with running(client), trio.open_nursery() as nursery:
        await client.wait_connected()
        began = trio.current_time()
        nursery.start_soon(client.stop)
        await wait_all_tasks_blocked()
        with trio.fail_after(LIMIT), pytest.raises(StartInterrupted, match="app/cli was stopped"):
            await client.wait_connected()  # L2, row 53
        assert trio.current_time() == pytest.approx(began + 3)


async def test_it_can_be_started_again_and_a_new_run_remembers_nothing(autojump_clock: MockClock) -> None:
    """Counters and delays begin anew."""
    world = World([REFUSED] * 5 + [Step(lasts=1, ends="raises"), REFUSED])
    client = world.client(retry=Retry(jitter=0))
    async with running(client) as (_, events):
        await client.wait_connected()
        await trio.sleep(1.25)
        assert client.statistics() == ClientStatistics(attempts=6, connected=1, failed=1)
        await client.stop()
        assert client.statistics() == ClientStatistics(attempts=6, connected=1, failed=1), (
            "until the next run"
        )
        await client.start()
        assert client.statistics() == ClientStatistics(attempts=1)  # L3
        await wait_all_tasks_blocked()
        assert events.of(ConnectFailed)[-1].tries == 1  # L3


async def test_a_handler_that_is_cancelled_and_raises_is_told_and_the_stop_goes_on(
    autojump_clock: MockClock,
) -> None:
    """An error in its cleanup is one event; the stop is no failure."""

    async def stumble() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    async def handler(stream: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stumble)
            await trio.sleep_forever()

    world = World()
    client = StreamClient(Scripted(world), handler)
    async with running(client) as (app, events):
        await client.wait_connected()
        await app.stop()
    (failure,) = events.of(ConnectionFailed)
    error = failure.error
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions  # L17: no Cancelled among them
    assert isinstance(error, ValueError)
    assert client.state is State.STOPPED
    assert not world.open


@pytest.mark.parametrize("where", ["prepare", "handler"])
async def test_sys_exit_ends_the_tree_and_the_connection_is_closed(
    where: str, autojump_clock: MockClock
) -> None:
    """What ends programs is no failure of a connection."""

    async def leave(stream: Connection) -> None:
        raise SystemExit(3)

    world = World()
    client = world.client(**({"prepare": leave} if where == "prepare" else {}))
    client._handler = leave if where == "handler" else client._handler
    with pytest.raises(SystemExit):
        await client.main()  # L17
    assert not world.open


async def test_sys_exit_beside_an_error_ends_the_tree_and_the_error_is_told(
    autojump_clock: MockClock,
) -> None:
    """Each part of a group goes its own way."""
    bug = ValueError("a bug")

    async def leave(stream: Connection) -> None:
        raise BaseExceptionGroup("nursery", [bug, SystemExit(3)])

    app = Application("app", StreamClient(Scripted(World()), leave), handle_signals=False)
    events = Events()
    app.subscribe(events.append)
    with trio.fail_after(100), pytest.raises(SystemExit):
        await app.main()  # L17
    (failure,) = events.of(ConnectionFailed)
    assert isinstance(failure.error, ExceptionGroup)
    assert failure.error.exceptions == (bug,)  # L16


async def test_sys_exit_beside_an_error_in_prepare_ends_the_tree_and_the_error_is_told(
    autojump_clock: MockClock,
) -> None:
    """There too each part of a group goes its own way."""

    async def leave(stream: Connection) -> None:
        raise BaseExceptionGroup("nursery", [ValueError("a bug"), SystemExit(3)])

    app = Application("app", World().client(prepare=leave), handle_signals=False)
    events = Events()
    app.subscribe(events.append)
    with trio.fail_after(100), pytest.raises(SystemExit):
        await app.main()  # L17
    assert [str(event.error).endswith(": ValueError: a bug") for event in events.of(ConnectFailed)] == [True]


async def test_with_no_retry_an_error_beside_the_cancellation_is_the_services_failure(
    autojump_clock: MockClock,
) -> None:
    """There is nobody else whose failure it could be."""
    bug = ValueError("a bug")

    async def handler(stream: Connection) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("nursery", [bug, cancelled]) from None

    client = StreamClient(Scripted(World()), handler, retry=None)
    errors: list[Exception] = []

    async def live() -> None:
        errors.extend(await outcome_of(client))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        await client.wait_connected()
        await client.stop()
    assert errors == [bug]
    assert client.statistics().failed == 1


async def test_the_handler_knows_its_service(autojump_clock: MockClock) -> None:
    """Prepare too; what they log carries the path."""
    known: list[object] = []

    async def note(stream: Connection) -> None:
        known.append(current_service())

    client = StreamClient(Scripted(World()), note, prepare=note)
    async with running(client):
        await client.wait_connected()
    assert known == [client, client]  # L20


# ---- arguments


def test_mistakes_in_the_arguments_are_told_where_they_are_written() -> None:
    """Not when the application starts."""
    with pytest.raises(EndpointError, match="no kind of endpoint"):
        StreamClient("80", echo)
    with pytest.raises(TypeError, match="an endpoint is a text like"):
        StreamClient(TCPServer(0, echo).endpoint, echo)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"port is .*1 to 65535, not 0"):
        TCPClient("localhost", 0, echo)
    with pytest.raises(ValueError, match="timeout is a number of seconds above 0"):
        UNIXClient("/run/x", echo, timeout=0)
    with pytest.raises(TypeError, match="give a handler, an async function that takes a stream"):
        TCPClient("localhost", 80, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="prepare is an async function that takes a stream"):
        TCPClient("localhost", 80, echo, prepare="hello")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"needs the name that the server's certificate is for"):
        StreamClient("unix:/run/x", echo, ssl_context=ssl.create_default_context())


@pytest.mark.parametrize("retry", [5, True, False, Retry])
def test_a_retry_that_is_none_is_refused(retry: Any) -> None:
    """A number, a flag and the class without its brackets."""
    with pytest.raises(TypeError, match=r"retry is a Retry, like Retry\(limit=5\), or None to connect once"):
        TCPClient("localhost", 80, echo, retry=retry)


@pytest.mark.parametrize("context", [True, False, "ca.pem"])
def test_a_context_that_is_none_is_refused(context: Any) -> None:
    """Neither a flag nor a file is taken for one, and least of all for the default."""
    with pytest.raises(TypeError, match=r"ssl_context is an ssl.SSLContext, like client_context\(\) makes"):
        SSLClient("localhost", 443, echo_any, context)


def test_a_servers_context_is_refused() -> None:
    """It could never shake hands, however often it tried."""
    with pytest.raises(ValueError, match="this ssl_context is a server's; clients want"):
        StreamClient("tcp:h:80", echo, ssl_context=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))


@pytest.mark.parametrize("name", [".example", "shop..example", "x" * 64 + ".example"])
def test_a_name_that_no_certificate_can_be_for_is_refused(name: str) -> None:
    """Whichever way it is given."""
    ways: list[Callable[[], StreamClient]] = [
        lambda: SSLClient("localhost", 443, echo_any, server_hostname=name),
        lambda: SSLClient(name, 443, echo_any),
        lambda: StreamClient(f"tls:{name}", echo),
        lambda: StreamClient(f"tcp:{name}:80", echo, ssl_context=ssl.create_default_context()),
    ]
    for way in ways:
        with pytest.raises(ValueError, match="cannot be the name that a server's certificate is for"):
            way()


@pytest.mark.parametrize("url", ["tcp://h:80", "ssl://h:443", "tls://h:443"])
def test_a_url_is_refused_with_the_endpoint_that_was_meant(url: str) -> None:
    """A host that begins with two slashes would be looked up for ever."""
    meant = url.replace("//", "").removesuffix(":443" if url.startswith("tls") else "")
    with pytest.raises(ValueError, match=rf"is no URL; did you mean {meant}\?"):
        StreamClient(url, echo)
    with pytest.raises(ValueError, match=r"did you mean tcp:h:80\?"):
        StreamClient(TLSClientEndpoint("h", endpoint=TCPClientEndpoint("//h", 80)), echo)
    with pytest.raises(ValueError, match=r"did you mean tcp:h:80\?"):
        StreamClient("tcp://h:80", echo, ssl_context=ssl.create_default_context())


@pytest.mark.parametrize("argument", ["handler", "prepare"])
def test_a_coroutine_for_a_function_is_one_mistake_and_not_two(argument: str) -> None:
    """The warning that nobody awaited it, an error in these tests, would hide the mend."""
    options: dict[str, Any] = {"handler": trio_forever, argument: trio_forever(mock.Mock())}
    with pytest.raises(TypeError, match=r"write trio_forever where trio_forever\(...\) was meant"):
        TCPClient("localhost", 80, **options)
    del options
    gc.collect()


@pytest.mark.parametrize("endpoint", [8080, None, TCPClientEndpoint])
def test_what_is_no_endpoint_is_refused(endpoint: Any) -> None:
    """A port alone, nothing, and the class without its brackets."""
    with pytest.raises(TypeError, match="an endpoint is a text like"):
        StreamClient(endpoint, echo)


def test_the_endpoint_tells_where_it_connects() -> None:
    """The same in Python's words and in a text."""
    assert str(TCPClient("example.com", 80, echo, timeout=5).endpoint) == "tcp:example.com:80:timeout=5"
    assert UNIXClient(Path("/run/x"), echo).endpoint == UNIXClientEndpoint("/run/x")
    client = SSLClient("192.0.2.1", 443, forever, server_hostname="shop.example")
    assert client.endpoint == SSLClientEndpoint("192.0.2.1", 443, hostname="shop.example")
    assert StreamClient("tls:shop.example", echo).endpoint == TLSClientEndpoint("shop.example")


async def test_a_kind_of_endpoint_that_nobody_can_reach_is_a_mistake_and_fails_the_service() -> None:
    """To try again would not help."""

    class Unknown(StreamClientEndpoint):
        kind = "unknown"

        def __post_init__(self) -> None: ...

        def __str__(self) -> str:
            return "unknown:"

    (error,) = await outcome_of(StreamClient(Unknown(), echo))
    assert isinstance(error, TypeError)
    assert "nobody knows how to connect to" in str(error)


async def test_an_oserror_out_of_a_foreign_kind_is_a_failed_attempt(autojump_clock: MockClock) -> None:
    """Packages need not know our errors."""
    world = World()
    with mock.patch.object(world, "reach", side_effect=OSError(errno.EHOSTUNREACH, "no way")):
        (error,) = await outcome_of(world.client(retry=None))
    assert isinstance(error, CannotConnectError)
    assert str(error).startswith("cannot connect to scripted:: No route to host; there is no way to it")


# ---- real sockets: each transport, one parent


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or (LOCAL, "localhost"))).configure_cert(context)
    return context


def client_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Question:
    """A handler that asks once, and stays."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []

    async def __call__(self, stream: Connection) -> None:
        await stream.send_all(b"hello")
        answer = b""
        while len(answer) < 5:
            answer += await stream.receive_some()
        self.answers.append(answer)
        await stream.receive_some()


Pair = tuple[Any, Callable[[Question], StreamClient]]


def pair(transport: str, authority: trustme.CA, folder: Path) -> Pair:
    """A server, and what makes its client once it is bound."""
    if transport == "tcp":
        tcp = TCPServer(0, echo, host=LOCAL, name="srv", drain_timeout=0)
        return tcp, lambda handler: TCPClient(*tcp.addresses[0], handler, name="cli")
    if transport == "unix":
        path = folder / "s"
        unix = UNIXServer(path, echo, name="srv", drain_timeout=0)
        return unix, lambda handler: UNIXClient(path, handler, name="cli")
    server = SSLServer(0, echo_any, server_side(authority), host=LOCAL, name="srv", drain_timeout=0)
    context = client_side(authority)
    return server, lambda handler: SSLClient(LOCAL, server.addresses[0][1], handler, context, name="cli")


@pytest.mark.parametrize("transport", ["tcp", "unix", "ssl"])
async def test_a_server_and_its_client_live_under_one_parent(
    transport: str, authority: trustme.CA, tmp_path: Path
) -> None:
    """They talk; a stop ends both; and they can be started again."""
    server, make = pair(transport, authority, tmp_path)
    question = Question()
    async with running(server) as (app, events):
        client = make(question)
        await app.start_service(client)
        await eventually(lambda: question.answers == [b"hello"])  # row 19, 23
        connected = events.of(Connected)[0]
        assert client.connection is not None
        assert connected.peer == client.connection.peer
        assert connected.local == client.connection.local
        await server.restart()  # row 23: stop, start again, work
        await client.restart()
        await eventually(lambda: question.answers == [b"hello"] * 2)  # row 19, 23
        statistics = client.statistics()
        assert (statistics.attempts, statistics.connected) == (1, 1)
        assert statistics.bytes_received >= 5 <= statistics.bytes_sent
        address = server.addresses[0]
        await app.stop()
        assert client.connection is None  # row 24
        statistics = client.statistics()
        assert statistics.bytes_received >= 5 <= statistics.bytes_sent
        assert server.addresses == ()
        if transport != "unix":
            assert is_refused(address)  # row 19
    assert client.state is server.state is State.STOPPED


async def test_a_unix_client_knows_who_listens_at_the_path(tmp_path: Path) -> None:
    """The kernel vouches for the server's process and user; abstract names do as well."""
    for path in (str(tmp_path / "s"), f"@{tmp_path.name}{os.getpid()}"):
        client = UNIXClient(path, trio_forever)
        async with running(UNIXServer(path, echo), client):
            with trio.fail_after(LIMIT):
                connection = await client.wait_connected()
            assert isinstance(connection.peer, UNIXPeer)
            assert (connection.peer.path, connection.peer.pid, connection.peer.uid) == (
                path,
                os.getpid(),
                os.getuid(),
            )


async def test_a_server_that_resets_is_one_line_and_is_met_again(caplog: pytest.LogCaptureFixture) -> None:
    """No traceback: that is what servers do who are restarted in a hurry."""
    caplog.set_level(logging.INFO)

    async def rude(stream: Any) -> None:
        await stream.receive_some()
        await reset(stream)

    async def handler(stream: Connection) -> None:
        await stream.send_all(b"x")
        await stream.receive_some()

    server = TCPServer(0, rude, host=LOCAL, name="srv")
    async with running(server) as (app, events):
        retry = Retry(delay=0, jitter=0)
        await app.start_service(TCPClient(*server.addresses[0], handler, name="cli", retry=retry))
        await eventually(lambda: len(events.of(ConnectionFailed)) >= 3)  # L16
        assert app.running
    failures = [event for event in events.of(ConnectionFailed) if event.path == "app/cli"]
    assert all(failure.by_peer for failure in failures)
    assert all(record.exc_info is None for record in caplog.records)  # L16


async def test_a_name_whose_first_address_is_dead_still_connects() -> None:
    """All addresses of a name are tried (Happy Eyeballs)."""

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: Any, port: Any, *args: Any) -> Any:
            assert host == b"two.example"
            found = [("127.0.0.2", server.addresses[0][1]), server.addresses[0]]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

        async def getnameinfo(self, *args: Any) -> Any:
            raise NotImplementedError

    server = TCPServer(0, echo, host=LOCAL)
    trio.socket.set_custom_hostname_resolver(Resolver())
    question = Question()
    async with running(server) as (app, events):
        await app.start_service(TCPClient("two.example", server.addresses[0][1], question))
        await eventually(lambda: question.answers)
        assert events.of(Connected)[0].peer == server.addresses[0]
        assert events.of(ConnectFailed) == []


async def test_it_connects_from_the_address_that_it_is_told_to() -> None:
    """For machines that have several."""
    server = TCPServer(0, echo, host=LOCAL)
    async with running(server) as (app, _):
        client = TCPClient(*server.addresses[0], trio_forever, bind_address="127.0.0.3")
        await app.start_service(client)
        with trio.fail_after(LIMIT):
            connection = await client.wait_connected()
        assert isinstance(connection.local, tuple)
        assert connection.local[0] == "127.0.0.3"


async def test_a_port_that_connects_to_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP allows it where nobody listens; whoever tries again and again meets it one day."""

    async def open_tcp_stream(host: str, port: int, **options: object) -> trio.SocketStream:
        sock = trio.socket.socket()
        await sock.bind((LOCAL, 0))
        await sock.connect(sock.getsockname())
        return trio.SocketStream(sock)

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    (error,) = await outcome_of(TCPClient(LOCAL, 7001, echo, retry=None))
    assert isinstance(error, CannotConnectError)
    assert error.errno == errno.ECONNREFUSED


# ---- what went wrong, in a sentence


async def reason(endpoint: str, **options: Any) -> CannotConnectError:
    """Why there is no connection."""
    with trio.fail_after(LIMIT):
        (error,) = await outcome_of(StreamClient(endpoint, trio_forever, retry=None, **options))
    assert isinstance(error, CannotConnectError), repr(error)
    return error


@contextmanager
def dead_port() -> Iterator[int]:
    """A port where nobody listens, and nobody will."""
    with socket.socket() as sock:
        sock.bind((LOCAL, 0))
        yield sock.getsockname()[1]


async def test_the_error_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path) -> None:
    """Refused, no such name, no such file, not permitted, wrong kind, wrong end."""
    with dead_port() as port:
        error = await reason(f"tcp:{LOCAL}:{port}")
        assert str(error) == (
            f"cannot connect to {LOCAL}:{port}: Connection refused; "
            "nobody listens there; is the server running, and the port right?"
        )
        assert error.errno == errno.ECONNREFUSED
        assert isinstance(error.__cause__, OSError)
        error = await reason(f"tcp:{LOCAL}:{port}:bindAddress=192.0.2.1")
        assert "192.0.2.1 cannot be our end; bind_address must be an address of this machine" in str(error)
    error = await reason("tcp:no-such-host.invalid:80")
    assert "it has no address: " in str(error)
    assert str(error).endswith("is the name spelt right?")
    error = await reason(f"tcp:{'x' * 70}.example:80")
    assert "it has no address: " in str(error)
    path = tmp_path / "s"
    assert "there is no such socket" in str(await reason(f"unix:{path}"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert "nobody listens there any more" in str(await reason(f"unix:{path}"))
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        assert "it is a socket for datagrams" in str(await reason(f"unix:{path}"))
    assert "cannot connect to /" in str(await reason(f"unix:/{'x' * 200}"))


@contextmanager
def full_unix_queue(path: Path) -> Iterator[socket.socket]:
    """A server that takes nobody, and has as many waiting as it may."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(path))
        listener.listen(0)
        listener.setblocking(False)
        waiting.connect(str(path))
        yield listener


async def test_a_unix_server_with_a_full_queue_is_waited_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The kernel refuses at once, and wakes nobody when there is room; the client's time is its timeout."""
    with full_unix_queue(tmp_path / "s") as listener:
        began = trio.current_time()
        error = await reason(f"unix:{tmp_path / 's'}:timeout=2")
        assert trio.current_time() - began == pytest.approx(2)
        assert error.errno == errno.ETIMEDOUT
        assert str(error).endswith(
            "s: no answer within 2 s; the server does not take those who wait already; "
            "is it too busy, or stuck?"
        )
        client = UNIXClient(tmp_path / "s", trio_forever, retry=None)
        async with running(client):
            await trio.sleep(0.5)
            assert client.connection is None
            listener.accept()[0].close()
            await trio.sleep(0.03)
            assert client.connection is not None
            listener.accept()[0].close()


async def test_of_several_addresses_the_most_telling_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """That there is no way to IPv6 here says nothing of the server."""
    parts = [OSError("vague"), OSError(errno.ENETUNREACH, "no way"), OSError(errno.ECONNREFUSED, "refused")]

    async def open_tcp_stream(*args: object, **options: object) -> None:
        raise OSError("all attempts failed") from ExceptionGroup("all", parts)

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    assert (await reason("tcp:two.example:80")).errno == errno.ECONNREFUSED
    parts.pop()
    assert (await reason("tcp:two.example:80")).errno == errno.ENETUNREACH


async def test_a_server_that_does_not_answer_is_given_up_after_the_timeout(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up of the name counts as well."""

    async def open_tcp_stream(*args: object, **options: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    for kind in ("tcp", "ssl", "tls"):
        began = trio.current_time()
        (error,) = await outcome_of(StreamClient(f"{kind}:far.example:80:timeout=7", echo, retry=None))
        assert trio.current_time() - began == pytest.approx(7)
        assert "cannot connect to far.example:80: no answer within 7 s; is the address right" in str(error)
        assert isinstance(error.__cause__, trio.TooSlowError)


# ---- TLS


async def test_a_handshake_counts_in_the_attempts_timeout_and_is_closed_after_it() -> None:
    """A server that takes the connection and says nothing."""
    server = TCPServer(0, trio_forever, host=LOCAL, drain_timeout=0)
    async with running(server):
        error = await reason(f"tls:{LOCAL}:{server.addresses[0][1]}:timeout=0.1")
        assert "no answer within 0.1 s" in str(error)
        assert str(error).endswith("and does it speak TLS there?")


async def tls_reason(
    authority: trustme.CA, names: tuple[str, ...], context: ssl.SSLContext | None, **options: Any
) -> str:
    server = SSLServer(
        0, echo_any, options.pop("server_context", None) or server_side(authority, *names), host=LOCAL
    )
    async with running(server):
        port = server.addresses[0][1]
        client = SSLClient(LOCAL, port, trio_forever, context, retry=None, **options)
        with trio.fail_after(LIMIT):
            (error,) = await outcome_of(client)
        await eventually(lambda: server.statistics().active == 0)
    assert isinstance(error, CannotConnectError)
    assert error.__cause__ is not None
    return str(error)


async def test_a_certificate_that_is_not_accepted_is_told_with_its_reason(authority: trustme.CA) -> None:
    """Unknown authority, another name; each with what to do."""
    told = await tls_reason(authority, (LOCAL,), None)
    assert "its certificate is not accepted: " in told
    assert "name its file as trustRoots" in told
    told = await tls_reason(authority, ("other.example",), client_side(authority))
    assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in told
    assert "connect to a name that the certificate is for" in told
    told = await tls_reason(authority, (LOCAL,), client_side(authority), server_hostname="shop.example")
    assert "Hostname mismatch, certificate is not valid for 'shop.example'" in told


async def test_a_server_that_refuses_the_handshake_is_told_as_that(authority: trustme.CA) -> None:
    """By an alert; here it wants another version of TLS."""
    context = server_side(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    mine = client_side(authority)
    mine.maximum_version = ssl.TLSVersion.TLSv1_2
    told = await tls_reason(authority, (), mine, server_context=context)
    assert "it refuses the TLS handshake: tlsv1 alert protocol version; its own log should tell why" in told


async def test_a_server_that_speaks_no_tls_is_told_as_that() -> None:
    """Whether it answers in another language, or hangs up."""

    async def hang_up(stream: Connection) -> None:
        await stream.receive_some()

    for handler in (echo, hang_up):
        server = TCPServer(0, handler, host=LOCAL)
        async with running(server):
            error = await reason(f"ssl:{LOCAL}:{server.addresses[0][1]}")
            assert str(error).endswith("does it speak TLS there?")
            assert f"cannot connect to {LOCAL}:" in str(error)


async def test_tls_says_goodbye_when_the_handler_has_returned_by_itself(authority: trustme.CA) -> None:
    """The server can tell the end from an attacker's; a stop does not wait for that."""
    ends: list[object] = []

    async def until_the_end(stream: TLSStream) -> None:
        try:
            while await stream.receive_some():
                pass
            ends.append("said")
        except trio.BrokenResourceError:
            ends.append("broken")

    async def once(stream: TLSStream) -> None:
        await stream.send_all(b"x")

    context = server_side(authority)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    server = SSLServer(0, until_the_end, context, host=LOCAL)
    async with running(server):
        port = server.addresses[0][1]
        with trio.fail_after(LIMIT):
            assert await outcome_of(SSLClient(LOCAL, port, once, client_side(authority), retry=None)) == []
        await eventually(lambda: ends == ["said"])
        client = SSLClient(LOCAL, port, trio_forever, client_side(authority))
        async with running(client):
            with trio.fail_after(LIMIT):
                await client.wait_connected()
        await eventually(lambda: ends == ["said", "broken"])


async def test_a_context_that_verifies_nothing_is_a_warning_at_every_start(authority: trustme.CA) -> None:
    """There is no quiet way to it; the default context verifies."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    question = Question()
    server = SSLServer(0, echo_any, server_side(authority), host=LOCAL)
    async with running(server) as (app, events):
        client = SSLClient(LOCAL, server.addresses[0][1], question, context, name="cli")
        await app.start_service(client)
        await eventually(lambda: question.answers)
        await client.restart()
        told = events.of(Unverified)
        assert len(told) == 2
        assert told[0].level == logging.WARNING
        assert str(told[0]).startswith(f"does not verify that it speaks to {LOCAL}:")
        await app.start_service(SSLClient(LOCAL, server.addresses[0][1], question))
        assert len(events.of(Unverified)) == 2


@pytest.mark.parametrize("kind", ["ssl", "tls", "over unix", "context", "tcp and context"])
async def test_tls_endpoints_take_their_files_or_a_context(
    kind: str, authority: trustme.CA, tmp_path: Path
) -> None:
    """Authorities and the client's own certificate from files; TLS over whatever carries bytes."""
    roots, own = tmp_path / "ca.pem", tmp_path / "own.pem"
    authority.cert_pem.write_to_path(roots)
    mine = authority.issue_cert("me@example")
    mine.cert_chain_pems[0].write_to_path(own)
    key = tmp_path / "own.key"
    mine.private_key_pem.write_to_path(key)
    context = server_side(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    question = Question()
    where = f"unix:{tmp_path}/s" if kind == "over unix" else f"tcp:0:interface={LOCAL}"
    server: Any = StreamServer(where, echo, ssl_context=context)
    given = client_context(trust_roots=roots, cert=own, key=key)
    files = f"certificate={own}:privateKey={key}"
    async with running(server) as (app, _):
        port = server.addresses[0][1]
        clients: dict[str, Callable[[], StreamClient]] = {
            "ssl": lambda: StreamClient(
                f"ssl:{LOCAL}:{port}:caCertsDir={roots}:certKey={own}:privateKey={key}", question
            ),
            "tls": lambda: StreamClient(f"tls:{LOCAL}:{port}:trustRoots={roots}:{files}", question),
            "over unix": lambda: StreamClient(
                TLSClientEndpoint(
                    LOCAL,
                    trust_roots=str(roots),
                    certificate=str(own),
                    private_key=str(key),
                    endpoint=UNIXClientEndpoint(str(tmp_path / "s")),
                ),
                question,
            ),
            "context": lambda: SSLClient(LOCAL, port, question, given),
            "tcp and context": lambda: StreamClient(f"tcp:{LOCAL}:{port}", question, ssl_context=given),
        }
        client = clients[kind]()
        await app.start_service(client)
        await eventually(lambda: question.answers == [b"hello"])
        assert isinstance(client.connection, TLSStream)


async def test_files_that_are_missing_fail_the_start(tmp_path: Path) -> None:
    """To try again would not help; and they are read while the process may."""
    client = StreamClient(f"ssl:{LOCAL}:1:caCertsDir={tmp_path / 'none.pem'}", echo)
    (error,) = await outcome_of(client)
    assert isinstance(error, CertificateError)


# ---- nothing leaks


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def forever(*args: object, **options: object) -> Any:
    """What never comes to an end."""
    await trio.sleep_forever()


@contextmanager
def full_queue() -> Iterator[tuple[str, int]]:
    """The address of a server whose queue is full, so that connecting to it takes for ever."""
    with ExitStack() as stack:
        queue = stack.enter_context(socket.create_server((LOCAL, 0), backlog=0))
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(queue.getsockname())
        yield queue.getsockname()


async def stop_two_hundred_times(
    client: StreamClient, reached: Callable[[], Awaitable[object]] = wait_all_tasks_blocked
) -> None:
    """Start it, let it come as far as *reached* says, stop it; what it opened is closed."""
    async with running(client):
        await client.stop()
        before = descriptors()
        for _ in range(200):
            await client.start()
            await reached()
            await client.stop()
            assert client._stream is None
        assert client.state is State.STOPPED
        await eventually(lambda: descriptors() <= before)


async def test_two_hundred_stops_during_the_lookup_leave_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing was open yet, and nothing is."""
    monkeypatch.setattr("trio._highlevel_open_tcp_stream.getaddrinfo", forever)
    await stop_two_hundred_times(TCPClient("some.example", 80, echo))  # row 47


async def test_two_hundred_stops_while_it_connects_leave_no_descriptor() -> None:
    """The half-made socket goes with the attempt."""
    with full_queue() as (host, port):
        await stop_two_hundred_times(TCPClient(host, port, echo))  # row 47


@pytest.mark.parametrize("phase", ["handshake", "prepare", "handler"])
async def test_two_hundred_stops_of_a_connection_leave_no_descriptor(phase: str) -> None:
    """On neither side; the server sees each of them end."""
    entered = trio.Event()

    async def stay(stream: Connection) -> None:
        entered.set()
        await trio.sleep_forever()

    async def silent(stream: Connection) -> None:
        if phase == "handshake":
            entered.set()
        while await stream.receive_some():
            pass

    async def reached() -> None:
        nonlocal entered
        with trio.fail_after(LIMIT):
            await entered.wait()
        entered = trio.Event()

    server = TCPServer(0, silent, host=LOCAL)
    async with running(server):
        host, port = server.addresses[0]
        client: StreamClient
        if phase == "handshake":
            client = SSLClient(host, port, stay)
        else:
            client = TCPClient(host, port, stay, prepare=stay if phase == "prepare" else None)
        await stop_two_hundred_times(client, reached)  # row 45
        assert server.statistics().accepted == 200
        await eventually(lambda: server.statistics().active == 0)


async def test_two_hundred_stops_of_a_wait_leave_no_descriptor() -> None:
    """The socket of the attempt that failed is not kept until the next."""
    with dead_port() as port:
        client = TCPClient(LOCAL, port, echo, retry=Retry(delay=60))

        async def reached() -> None:
            with suppress(CannotConnectError):
                await client.wait_connected(1)

        await stop_two_hundred_times(client, reached)  # row 47


async def test_two_hundred_stops_at_any_moment_leave_no_descriptor() -> None:
    """Also at those moments that nobody has thought of."""
    chance = random.Random(1)

    async def reached() -> None:
        for _ in range(chance.randrange(25)):
            await trio.lowlevel.checkpoint()

    server = TCPServer(0, echo, host=LOCAL)
    async with running(server):
        await stop_two_hundred_times(TCPClient(*server.addresses[0], echo), reached)
        await eventually(lambda: server.statistics().active == 0)
