"""Twisted's services as leaves: real ones, in the real reactor."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import trio
import trio.testing
from applications import Hear, running
from twisted.application import internet, service
from twisted.internet import defer, protocol

from trioservice import (
    Application,
    ServiceError,
    ServicesFailed,
    State,
    TaskService,
)
from trioservice.integrations.twisted import TwistedService, adopted, install, reactor_on_demand, wait_for

reactor = install()


class Echo(protocol.Protocol):
    def dataReceived(self, data: bytes) -> None:
        if data == b"fail":
            raise ValueError("a mistake in a callback")
        assert self.transport is not None
        self.transport.write(data)


class Told(service.Service):
    """A service of Twisted's that tells what is done with it."""

    def __init__(self, name: str, diary: list[str], end: float = 0.0) -> None:
        self.name = name  # type: ignore[assignment]
        self.diary = diary
        self.end = end

    def privilegedStartService(self) -> None:
        self.diary.append(f"{self.name} binds")

    def startService(self) -> None:
        self.diary.append(f"{self.name} starts")

    def stopService(self) -> defer.Deferred[None]:
        self.diary.append(f"{self.name} stops")
        return self.gone()

    @defer.inlineCallbacks
    def gone(self) -> defer.Generator[object, object, None]:  # type: ignore[name-defined]
        later: defer.Deferred[None] = defer.Deferred()
        reactor.callLater(self.end, later.callback, None)
        yield later
        self.diary.append(f"{self.name} is gone")


def factory() -> protocol.Factory:
    return protocol.Factory.forProtocol(Echo)


def echo() -> internet.TCPServer:
    return internet.TCPServer(0, factory(), interface="127.0.0.1")  # type: ignore[attr-defined]


async def stay(diary: list[str], name: str) -> None:
    diary.append(f"{name} starts")
    try:
        await trio.sleep_forever()
    finally:
        diary.append(f"{name} is gone")


async def client_of(theirs: internet.TCPServer) -> trio.SocketStream:
    port = theirs._port.getHost().port
    return await trio.open_tcp_stream("127.0.0.1", port)


async def test_a_server_of_twisted_serves_trio_clients() -> None:
    theirs = echo()
    async with running(TwistedService(theirs, name="echo")):
        async with await client_of(theirs) as client:
            await client.send_all(b"hello")
            assert await client.receive_some() == b"hello"
        port = theirs._port.getHost().port
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_leaves_of_both_worlds_start_in_order_and_stop_in_reverse() -> None:
    diary: list[str] = []
    async with running(
        TwistedService(Told("one", diary, 0.02)),
        TaskService(stay, diary, "two"),
        TwistedService(Told("three", diary, 0.02)),
    ):
        assert diary == ["one binds", "three binds", "one starts", "two starts", "three starts"]  # L5, L18
        diary.clear()
    assert diary == ["three stops", "three is gone", "two is gone", "one stops", "one is gone"]  # L6


async def test_whoever_ends_first_leaves_the_reactor_to_the_others() -> None:
    """Each service has a nursery of its own, and the task of one of them turns the reactor for all."""
    first, second = TwistedService(echo(), name="first"), TwistedService(theirs := echo(), name="second")
    async with running(first, second):
        await first.stop()
        async with await client_of(theirs) as client:
            await client.send_all(b"hello")
            assert await client.receive_some() == b"hello"


async def test_a_service_can_be_started_again() -> None:
    diary: list[str] = []
    leaf = TwistedService(Told("one", diary))
    async with running(leaf):
        await leaf.restart()
        assert leaf.state is State.RUNNING
    whole = ["one binds", "one starts", "one stops", "one is gone"]
    assert diary == whole * 2  # L3


async def test_what_was_bound_and_never_started_is_released() -> None:
    async def fail(task_status: trio.TaskStatus[None]) -> None:
        raise ValueError("no")

    diary: list[str] = []
    app = Application("app", TaskService(fail), TwistedService(Told("late", diary)), handle_signals=False)
    with pytest.raises(ServicesFailed):
        await app.main()
    assert diary == ["late binds", "late stops", "late is gone"]  # L7


async def test_a_failure_in_a_callback_is_logged_in_the_name_of_its_service() -> None:
    class Timed(service.Service):
        def startService(self) -> None:
            reactor.callLater(0, lambda: 1 / 0)

    hear = Hear()
    logging.getLogger("twisted").addHandler(hear)
    try:
        theirs = echo()
        async with running(TwistedService(theirs, name="echo"), TwistedService(Timed(), name="timed")):
            async with await client_of(theirs) as client:
                await client.send_all(b"fail")
                assert await client.receive_some() == b""
            async with await client_of(theirs) as client:  # L16
                await client.send_all(b"hello")
                assert await client.receive_some() == b"hello"
    finally:
        logging.getLogger("twisted").removeHandler(hear)
    assert [path for path, text in hear.said if "ValueError: a mistake in a callback" in text] == ["app/echo"]
    assert [path for path, text in hear.said if "ZeroDivisionError" in text] == ["app/timed"]


async def test_reactor_stop_finishes_the_leaf() -> None:
    diary: list[str] = []
    app = Application("app", leaf := TwistedService(Told("one", diary, 0.01)), handle_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        reactor.stop()
    assert diary[-2:] == ["one stops", "one is gone"]
    assert leaf.state is State.FINISHED  # L15


async def test_triggers_of_the_shutdown_are_called_and_awaited() -> None:
    diary: list[str] = []

    def last_words() -> defer.Deferred[None]:
        later: defer.Deferred[None] = defer.Deferred()
        reactor.callLater(0.01, lambda: (diary.append("said"), later.callback(None)))
        return later

    async with running(TwistedService(Told("one", diary))):
        reactor.addSystemEventTrigger("before", "shutdown", last_words)
    assert diary[-2:] == ["one is gone", "said"]


async def test_a_stop_that_takes_too_long_is_an_error_and_no_hang() -> None:
    slow = TwistedService(Told("slow", [], 30), drain_timeout=0.01, stop_timeout=0.05)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(slow):
            pass
    assert caught.group_contains(ServiceError, match="stopService has not come to an end within 0.05 s")


async def test_an_error_of_its_stop_comes_out_once() -> None:
    class Bad(service.Service):
        def stopService(self) -> None:
            raise ValueError("cannot stop")

    with pytest.raises(ExceptionGroup) as caught:
        async with running(TwistedService(Bad(), name="bad")):
            pass
    (failed,) = caught.value.exceptions
    assert isinstance(failed, ServicesFailed)
    (error,) = failed.exceptions
    assert repr(error) == "ValueError('cannot stop')"


async def test_cancellation_from_outside_stops_it_too() -> None:
    diary: list[str] = []
    app = Application("app", TwistedService(Told("one", diary, 0.01)), handle_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        nursery.cancel_scope.cancel()
    assert diary[-2:] == ["one stops", "one is gone"]


async def test_threads_and_programs_of_twisted_work() -> None:
    from twisted.internet import threads, utils

    got: list[object] = []
    both = trio.Event()

    def take(value: object) -> None:
        got.append(value)
        if len(got) == 2:
            both.set()

    class Busy(service.Service):
        def startService(self) -> None:
            threads.deferToThread(lambda: "thread").addCallback(take)
            # It closes its output before it ends, so its end is news of its own.
            script = "echo program; exec >&- 2>&-; sleep 0.05"
            utils.getProcessOutput("/bin/sh", ["-c", script]).addCallback(take)

    async with running(TwistedService(Busy(), name="busy")):
        with trio.fail_after(10):
            await both.wait()
    assert set(got) == {"thread", b"program\n"}


async def test_a_trio_task_waits_for_a_deferred() -> None:
    async with running(TwistedService(Told("one", []))):
        later: defer.Deferred[str] = defer.Deferred()
        reactor.callLater(0.01, later.callback, "result")
        assert await wait_for(later) == "result"
        with pytest.raises(ValueError, match="no"):
            await wait_for(defer.fail(ValueError("no")))


async def test_whoever_is_cancelled_cancels_the_deferred() -> None:
    cancelled: list[object] = []
    with trio.move_on_after(0.01):
        await wait_for(defer.Deferred(cancelled.append))
    assert len(cancelled) == 1


async def test_a_trio_task_wakes_the_reactor() -> None:
    """It sleeps until its next call, and somebody who is not in it may ask for an earlier one."""
    async with running(TwistedService(Told("one", []))):
        await trio.testing.wait_all_tasks_blocked()
        called = trio.Event()
        late = reactor.callLater(60, called.set)
        await trio.testing.wait_all_tasks_blocked()
        late.reset(0.01)
        with trio.fail_after(5):
            await called.wait()


async def test_a_second_trio_run_cannot_have_the_reactor() -> None:
    async with running(TwistedService(Told("one", []))):
        app = Application("other", TwistedService(Told("two", [])))
        with pytest.raises(ServicesFailed) as caught:
            await trio.to_thread.run_sync(trio.run, app.main)
    assert caught.group_contains(ServiceError, match="one reactor per process, and another trio run has it")


def test_the_reactor_is_not_run_by_anybody_else() -> None:
    with pytest.raises(ServiceError, match=r"reactor\.run\(\) is not called"):
        reactor.run()


def test_what_is_not_twisteds_is_refused() -> None:
    with pytest.raises(TypeError, match="wants an application or a service of Twisted's, not 'echo'"):
        TwistedService("echo")


def test_an_application_of_twisteds_becomes_one_of_ours() -> None:
    theirs = service.Application("shop", uid=7, gid=8)
    ours = adopted(theirs)
    assert isinstance(ours, Application)
    assert (ours.name, ours.uid, ours.gid) == ("shop", 7, 8)
    assert [leaf.path for leaf in ours] == ["shop/twisted"]
    assert adopted(mine := Application("app")) is mine


def script(*lines: str) -> subprocess.CompletedProcess[str]:
    """Run this in a process in which no reactor has been chosen yet."""
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=30
    )


def test_another_reactor_is_told_in_one_sentence() -> None:
    told = script(
        "from twisted.internet import reactor",
        "from trioservice.integrations.twisted import install",
        "install()",
    )
    (line,) = [line for line in told.stderr.splitlines() if "ServiceError" in line]
    assert "Twisted has one reactor per process, and it is EPollReactor" in line
    assert "install() before anything imports twisted.internet.reactor" in line


def test_without_twisted_the_extra_is_named() -> None:
    told = script(
        "import sys",
        "sys.modules['twisted'] = None",
        "from trioservice.integrations.twisted import TwistedService, adopted",
        "assert adopted(42) == 42",
        "TwistedService(None)",
    )
    assert "pip install 'trioservice[twisted]'" in told.stderr


def test_whoever_asks_for_a_reactor_while_a_file_is_loaded_is_given_ours() -> None:
    told = script(
        "from trioservice.integrations.twisted import reactor_on_demand",
        "with reactor_on_demand():",
        "    from twisted.internet import reactor",
        "print(type(reactor).__name__)",
    )
    assert told.stdout == "TrioReactor\n"


def test_nobody_is_asked_afterwards() -> None:
    before = list(sys.meta_path)
    with reactor_on_demand():
        pass
    assert sys.meta_path == before
