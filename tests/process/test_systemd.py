"""What systemd is told, and when.  Real processes are in tests/real/test_systemd.py."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from trioservice import Application, Service, TaskService
from trioservice.events import ReloadBegan, StateChanged
from trioservice.lifecycle import State
from trioservice.process.notify_socket import NotifySocket
from trioservice.process.systemd import CLEANUP, Notifier, message_for, time_left


class Ear:
    """systemd's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """What has come since the last time."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(4096).decode())
        return messages

    def states(self) -> list[str]:
        """Of that, the first words of what is no mere status."""
        first = [message.split("\n")[0] for message in self.heard()]
        return [word for word in first if not word.startswith("STATUS=")]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    ear = Ear(tmp_path / "notify")
    yield ear
    ear.close()


@asynccontextmanager
async def told(ear: Ear, app: Application, watchdog: float | None = None) -> AsyncIterator[None]:
    """The application runs, and systemd is told of it as the runner does it; both end with the body."""
    notifier = Notifier(NotifySocket(str(ear.path)), watchdog)
    with contextlib.closing(notifier):
        async with trio.open_nursery() as beside:
            beside.start_soon(notifier.attend, app)
            beside.start_soon(app.main)
            yield
            beside.cancel_scope.cancel()


class Slow(Service):
    """Starts in 5 seconds, and drains for ever."""

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        await trio.sleep(5)
        task_status.started()
        await trio.sleep_forever()

    async def drain(self) -> None:
        await trio.sleep_forever()


def in_seconds(seconds: float) -> Callable[[object], Awaitable[object]]:
    """A hook that takes its time."""

    async def hook(app: object) -> None:
        await trio.sleep(seconds)

    return hook


class Stubborn(Service):
    """Takes its time to clean up."""

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(deadline=trio.current_time() + 100, shield=True):
                await trio.sleep_forever()


# ---- a life


async def test_ready_is_said_when_the_last_service_is(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    """And until then, who is being waited for."""
    app = Application("shop", TaskService(trio.sleep_forever, name="db"), Slow(name="web"))
    async with told(ear, app):
        await trio.sleep(4.5)
        assert ear.heard()[-1] == "STATUS=starting shop/web"
        await trio.sleep(1)
        assert ear.heard()[-1] == "READY=1\nSTATUS=running"


async def test_an_application_that_was_ready_before_is_not_missed(ear: Ear, nursery: trio.Nursery) -> None:
    """One without services may be, by the time that the other task has its first turn."""
    app = Application("shop")
    await nursery.start(app.main)
    with contextlib.closing(Notifier(NotifySocket(str(ear.path)))) as notifier:
        nursery.start_soon(notifier.attend, app)
        await trio.testing.wait_all_tasks_blocked()
        assert ear.states() == ["READY=1"]
        nursery.cancel_scope.cancel()


async def test_stopping_is_said_at_the_request_and_then_who_is_waited_for(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    app = Application("shop", Slow(name="web", drain_timeout=None), shutdown_timeout=30)
    async with told(ear, app), trio.open_nursery() as nursery:
        await app.wait_running()
        ear.heard()
        nursery.start_soon(app.stop)
        await trio.testing.wait_all_tasks_blocked()
        assert ear.heard()[0] == "STOPPING=1\nSTATUS=stopping"
        await trio.sleep(10.5)
        assert ear.heard()[-1] == "STATUS=waiting for shop/web: 20 s left\nEXTEND_TIMEOUT_USEC=10000000"


async def test_a_start_that_was_interrupted_was_never_ready(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    app = Application("shop", Slow(name="web"))
    async with told(ear, app):
        await trio.sleep(1)
        await app.stop()
        assert ear.states() == ["STOPPING=1"]


async def test_a_reload_is_told_with_its_moment_and_its_end(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    """The moment is that of CLOCK_MONOTONIC, in microseconds: systemd compares it with that of its signal."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    app = Application("shop", Slow(name="web"), on_reload=in_seconds(0.5))
    async with told(ear, app):
        await app.wait_running()
        ear.heard()
        await app.reload()
        began, ended = ear.heard()
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)\nSTATUS=reloading", began)
    assert found
    assert before <= int(found[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert ended == "READY=1\nSTATUS=running; reloaded, in 500.0 ms"


async def test_a_reload_that_outlives_the_running_does_not_say_ready(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    """Neither while it starts, nor when it stops already."""
    app = Application("shop", Slow(name="web"), on_reload=in_seconds(2))
    async with told(ear, app), trio.open_nursery() as nursery:
        await trio.sleep(1)
        await app.reload()
        assert ear.states() == []
        await app.wait_running()
        nursery.start_soon(app.reload)
        await trio.sleep(1)
        nursery.start_soon(app.stop)
        await trio.sleep(3)
        assert ear.states() == ["READY=1", "RELOADING=1", "STOPPING=1"]


async def test_what_a_service_says_of_itself_is_no_second_message(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    class Talkative(Stubborn):
        in_progress = "a call\nREADY=1"

    app = Application("shop", Talkative(name="till"))
    async with told(ear, app), trio.open_nursery() as nursery:
        await app.wait_running()
        nursery.start_soon(app.stop)
        await trio.sleep(1.5)
        assert "STATUS=waiting for shop/till: a call READY=1" in ear.heard()[-1]


def fill_the_queue_of(ear: Ear) -> list[NotifySocket]:
    """Until somebody new cannot send at all; of one alone it may be its own buffer that is full."""
    crowd: list[NotifySocket] = []
    while True:
        crowd.append(NotifySocket(str(ear.path)))
        crowd[-1].send("STATUS=me too")
        if crowd[-1].is_behind:
            return crowd
        while not crowd[-1].is_behind:
            crowd[-1].send("STATUS=me too")


async def test_what_systemd_did_not_take_is_said_when_it_does(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    """Its queue is short, and at boot everybody talks."""
    crowd = fill_the_queue_of(ear)
    async with told(ear, Application("shop", TaskService(trio.sleep_forever))):
        await trio.sleep(0.5)
        assert set(ear.heard()) == {"STATUS=me too"}
        await trio.sleep(1)
        assert ear.states() == ["READY=1"]
    for one in crowd:
        one.close()


# ---- time


async def run_into(app: Application, state: State, nursery: trio.Nursery) -> None:
    if state is State.STARTING:
        nursery.start_soon(app.main)
    else:
        await nursery.start(app.main)
        nursery.start_soon(app.stop)
    await trio.testing.wait_all_tasks_blocked()
    assert app.state is state


@pytest.mark.parametrize(
    ("state", "limit", "left"),
    [
        (State.STARTING, 300.0, 300.0),
        (State.STARTING, None, 0.0),  # that is for systemd to decide
        (State.STOPPING, 60.0, 60.0 + CLEANUP),
        (State.STOPPING, None, float("inf")),
    ],
)
async def test_it_may_take_as_long_as_its_own_limits_say(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    state: State,
    limit: float | None,
    left: float,
) -> None:
    app = Application("shop", Slow(drain_timeout=None), start_timeout=300, shutdown_timeout=limit)
    app.start_timeout = limit if state is State.STARTING else None
    began = trio.current_time()
    await run_into(app, state, nursery)
    assert time_left(app, began, trio.current_time()) == (
        left if state is State.STARTING else pytest.approx(left)
    )
    nursery.cancel_scope.cancel()


async def test_no_more_time_is_asked_for_than_there_is(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    """And none when that is over, whatever still hangs: from then on systemd's own limit counts."""
    app = Application("shop", Stubborn(name="till"), shutdown_timeout=2)
    async with told(ear, app), trio.open_nursery() as nursery:
        await app.wait_running()
        ear.heard()
        nursery.start_soon(app.stop)
        said = ""
        for _ in range(20):
            said += "\n".join(ear.heard())
            await trio.sleep(1)
        asked = [int(number) / 1e6 for number in re.findall(r"EXTEND_TIMEOUT_USEC=(\d+)", said)]
        assert asked == [10, 10, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]


# ---- the watchdog


async def test_it_is_fed_at_half_of_the_interval(ear: Ear, autojump_clock: trio.testing.MockClock) -> None:
    async with told(ear, Application("shop", TaskService(trio.sleep_forever)), watchdog=10):
        await trio.sleep(21)
        assert ear.states().count("WATCHDOG=1") == 5  # at 0, 5, 10, 15, 20


async def test_a_loop_that_is_blocked_does_not_feed_it(ear: Ear) -> None:
    """In real time, because a virtual clock does not go on while the loop is blocked."""

    async def block() -> None:
        await trio.sleep(0.1)
        ear.heard()
        time.sleep(0.3)  # noqa: ASYNC251 - the very mistake
        seen.append(ear.states())

    seen: list[list[str]] = []
    app = Application("shop", TaskService(block), keep_running=True)
    async with told(ear, app, watchdog=0.1):
        await trio.sleep(0.6)
    assert seen == [[]]
    assert "WATCHDOG=1" in ear.states()


async def test_a_service_that_does_not_go_while_all_runs_starves_it_until_it_has_gone(
    ear: Ear, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever wants it restarted waits, and only a new process can help."""
    caplog.set_level(logging.ERROR)
    till = Stubborn(name="till", stop_timeout=5)
    app = Application("shop", till, keep_running=True)
    async with told(ear, app, watchdog=10), trio.open_nursery() as nursery:
        await app.wait_running()
        nursery.start_soon(till.stop)
        await trio.sleep(6)
        ear.heard()
        await trio.sleep(90)
        assert ear.states() == []
        await trio.sleep(6)
        assert ear.states().count("WATCHDOG=1") >= 1


async def test_the_stop_of_the_whole_is_left_its_time(
    ear: Ear, autojump_clock: trio.testing.MockClock
) -> None:
    """It has limits of its own, and a watchdog that bites would cut what is being saved."""
    fed: list[int] = []
    app = Application("shop", Stubborn(name="till", stop_timeout=5))
    async with told(ear, app, watchdog=10), trio.open_nursery() as nursery:
        await app.wait_running()
        nursery.start_soon(app.stop)
        await trio.sleep(0.5)
        for second in range(40):  # and is overdue from the fifth on
            await trio.sleep(1)
            if "WATCHDOG=1" in ear.states():
                fed.append(second)
        assert fed == [0, 4, 9, 14, 19, 24, 29, 34, 39]


# ---- what is whose business


async def test_what_happens_below_the_application_is_no_news_for_systemd() -> None:
    app = Application("shop")
    event = StateChanged("shop/web", 0.0, State.STARTING, State.RUNNING, 0.0)
    assert message_for(event, app) == ""
    assert message_for(ReloadBegan("shop", 0.0), app) == ""  # it does not run


# ---- the environment


def from_(ear: Ear, **variables: str) -> tuple[Notifier | None, dict[str, str]]:
    environ = {"NOTIFY_SOCKET": str(ear.path), "PATH": "/bin", **variables}
    return Notifier.from_environment(environ), environ


def watches(ear: Ear, run: Callable[..., object], **variables: str) -> bool:
    notifier, _ = from_(ear, **variables)
    assert notifier is not None

    async def live() -> None:
        with trio.move_on_after(60):
            await notifier.attend(Application("shop"))

    run(live, clock=trio.testing.MockClock(autojump_threshold=0))
    notifier.close()
    return "WATCHDOG=1" in ear.states()


def test_programs_that_we_start_do_not_speak_in_our_name(ear: Ear) -> None:
    notifier, environ = from_(ear, WATCHDOG_USEC="1000", WATCHDOG_PID="1")
    assert environ == {"PATH": "/bin"}
    assert notifier is not None
    notifier.close()


def test_where_nobody_listens_there_is_nobody_to_tell() -> None:
    environ = {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1000"}
    assert Notifier.from_environment(environ) is None
    assert environ == {}


@pytest.mark.parametrize("pid", [{}, {"WATCHDOG_PID": str(os.getpid())}])
def test_a_watchdog_for_us_is_fed(ear: Ear, pid: dict[str, str]) -> None:
    assert watches(ear, trio.run, WATCHDOG_USEC="30000000", **pid)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-1"},
    ],
)
def test_a_watchdog_that_is_not_ours_or_no_time_is_not(ear: Ear, variables: dict[str, str]) -> None:
    assert not watches(ear, trio.run, **variables)


def test_a_daemon_says_who_it_is(ear: Ear) -> None:
    notifier, _ = from_(ear)
    assert notifier is not None
    notifier.tell_main_pid()
    notifier.close()
    assert ear.heard() == [f"MAINPID={os.getpid()}"]
