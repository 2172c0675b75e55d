"""The root of a tree, its signals, and what an operator reads."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from trioservice import (
    Application,
    MultiService,
    Service,
    ServiceError,
    ServicesFailed,
    ServiceStateError,
    State,
    TaskService,
    current_service,
)
from trioservice.events import Event, ReloadEnded, ReloadFailed, StopRequested


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    hook, term = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield
    sys.excepthook = hook
    assert signal.getsignal(signal.SIGTERM) is term


class Busy(Service):
    """Drains for a long time."""

    async def drain(self) -> None:
        await trio.sleep(1000)


async def ended_by(app: Application, *signals: tuple[float, signal.Signals]) -> float:
    """Run *app*, send it the signals at their seconds, and say how long it all took."""
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        begun = trio.current_time()
        for seconds, number in signals:
            await trio.sleep(seconds)
            signal.raise_signal(number)
        await app.wait_stopped()
        return trio.current_time() - begun


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_stops_the_tree_gracefully(
    autojump_clock: MockClock, number: signal.Signals
) -> None:
    """Within the shutdown budget, and main returns as after any stop."""
    app = Application("app", Busy(drain_timeout=None), shutdown_timeout=10)
    assert await ended_by(app, (1, number)) == pytest.approx(11)  # L12
    assert app.stop_signal is number
    assert app.state is State.STOPPED


async def test_the_second_signal_cuts_all_drains_at_once(autojump_clock: MockClock) -> None:
    """Whatever budget is left, and however deep they are; the log says so."""
    heard: list[Event] = []
    app = Application(
        "app", MultiService(Busy(drain_timeout=None)), Busy(drain_timeout=None), shutdown_timeout=None
    )
    app.subscribe(heard.append)
    assert await ended_by(app, (1, signal.SIGTERM), (3, signal.SIGINT)) == pytest.approx(4)  # L12
    assert app.stop_signal is signal.SIGTERM
    reasons = [event.reason for event in heard if isinstance(event, StopRequested)]
    assert reasons == ["SIGTERM", "SIGINT again, so all drains are cut"]


async def test_an_embedded_application_leaves_signals_alone(autojump_clock: MockClock) -> None:
    """handle_signals=False, for programs with signals of their own."""
    app = Application("app", Service(), handle_signals=False)
    with trio.open_signal_receiver(signal.SIGTERM) as mine:
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            signal.raise_signal(signal.SIGTERM)
            async for number in mine:
                assert number == signal.SIGTERM
                break
            assert app.running
            await app.stop()


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    """Only the main thread can have handlers; the application runs all the same."""
    app = Application("app", TaskService(trio.sleep, 0, name="work"))
    thread = threading.Thread(target=trio.run, args=(app.main,))
    thread.start()
    thread.join(10)
    assert app.state is State.FINISHED


async def test_a_signal_that_was_ignored_stays_ignored(autojump_clock: MockClock) -> None:
    """A shell starts background jobs so, and means it."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        app = Application("app", Service())
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            signal.raise_signal(signal.SIGINT)
            await trio.sleep(5)
            assert app.running
            await app.stop()
    finally:
        signal.signal(signal.SIGINT, previous)


def test_an_uncaught_failure_is_told_as_one_readable_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Path first, no group; the hook is not touched before an application runs."""

    async def fails() -> None:
        raise ValueError("boom")

    before = sys.excepthook
    app = Application("app", TaskService(fails))
    sys.excepthook = sys.__excepthook__
    try:
        trio.run(app.main)
    except ServicesFailed as failure:
        sys.excepthook(type(failure), failure, failure.__traceback__)
    text = capsys.readouterr().err
    assert text.startswith("app/fails failed\n")
    assert text.endswith("  ValueError: boom\n")
    assert "Group" not in text
    try:
        raise KeyError("other")
    except KeyError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    assert "KeyError: 'other'" in capsys.readouterr().err
    sys.excepthook = before


def test_a_hook_of_the_users_own_is_kept() -> None:
    """Whoever reports errors elsewhere goes on to do so."""

    def mine(*args: object) -> None: ...

    sys.excepthook = mine
    trio.run(Application("app", TaskService(trio.sleep, 0)).main)
    assert sys.excepthook is mine


async def test_privileges_that_nobody_would_drop_are_an_error(autojump_clock: MockClock) -> None:
    """uid or gid without a hook: never silently root."""
    app = Application("app", Service(), uid="nobody")
    with pytest.raises(ServiceError, match="bound="):
        await app.main()  # L18
    assert app.state is State.STOPPED


async def test_the_hook_is_called_between_binding_and_running(autojump_clock: MockClock) -> None:
    """Once per run, with the application."""
    seen = []

    def drop(application: Application) -> None:
        seen.append((application.uid, application.state, leaf.state))

    leaf = Service()
    app = Application("app", leaf, TaskService(trio.sleep, 1), uid=1000, bound=drop)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        await app.stop()
    assert seen == [(1000, State.STARTING, State.STOPPED)]  # L18


async def test_a_hook_that_raises_or_is_async_fails_the_start_and_nothing_is_run(
    autojump_clock: MockClock,
) -> None:
    """An async hook would not have dropped anything."""
    entered = []

    async def work() -> None:
        entered.append(True)

    async def asynchronous(application: Application) -> None: ...

    def raising(application: Application) -> None:
        raise PermissionError("no")

    for hook in (asynchronous, raising):
        with pytest.raises(ServicesFailed):
            await Application("app", TaskService(work), uid=1, bound=hook).main()
    assert not entered  # L18


async def test_listeners_hear_all_runs_and_can_leave(autojump_clock: MockClock) -> None:
    """A subscription outlives a run."""
    heard: list[Event] = []
    app = Application("app", TaskService(trio.sleep, 1))
    leave = app.subscribe(heard.append)
    await app.main()
    once = len(heard)
    await app.main()
    assert len(heard) == 2 * once
    leave()
    await app.main()
    assert len(heard) == 2 * once


@pytest.mark.real
def test_the_third_signal_ends_even_a_process_whose_loop_is_stuck() -> None:
    """A service that never comes to a checkpoint cannot keep the process from being ended."""
    program = (
        "import trio, trioservice\n"
        "async def stuck():\n"
        "    print('stuck', flush=True)\n"
        "    while True: pass\n"
        "trio.run(trioservice.Application('app', trioservice.TaskService(stuck)).main)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"stuck\n"
            deadline = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < deadline:
                process.send_signal(signal.SIGTERM)  # one after the other has been heard
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
            assert process.returncode == -signal.SIGTERM  # L12
        finally:
            process.kill()


# ---- reload


class Lists(Service):
    """Reads a file again when it is told to, or cannot."""

    def __init__(self, story: list[str], name: str, error: Exception | None = None) -> None:
        super().__init__(name=name)
        self.story = story
        self.error = error

    async def on_reload(self) -> None:
        assert current_service() is self  # L20
        await trio.sleep(1)
        self.story.append(f"{self.name} reads")
        if self.error is not None:
            raise self.error


async def test_a_reload_asks_everything_that_runs_in_start_order(autojump_clock: MockClock) -> None:
    """The application's hook comes first: what it changes is what the services then find."""
    story: list[str] = []
    app = Application(
        "app",
        Lists(story, "a"),
        Service(name="reads nothing"),
        MultiService(Lists(story, "b"), name="branch"),
        Lists(story, "stopped"),
        on_reload=lambda app: story.append(f"{app.name} reads"),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        await app["stopped"].stop()
        events: list[Event] = []
        app.subscribe(events.append)
        await app.reload()
        assert story == ["app reads", "a reads", "b reads"]
        assert [str(event) for event in events] == ["reloading", "reloaded, in 2.0 s"]
        await app.stop()


async def test_what_cannot_be_reloaded_is_told_and_goes_on(autojump_clock: MockClock) -> None:
    """The others are reloaded all the same, and the end says how many were not."""
    story: list[str] = []
    app = Application("app", Lists(story, "a", LookupError("no such list")), Lists(story, "b"))
    events: list[Event] = []
    app.subscribe(events.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        await app.reload()
        assert story == ["a reads", "b reads"]
        assert app["a"].state is State.RUNNING
        await app.stop()
    (failure,) = [event for event in events if isinstance(event, ReloadFailed)]
    assert failure.path == "app/a"
    assert failure.level == logging.ERROR
    assert str(failure) == "could not be reloaded, and goes on as it was: LookupError: no such list"
    (end,) = [event for event in events if isinstance(event, ReloadEnded)]
    assert str(end) == "reloaded, in 2.0 s; 1 could not be"


async def test_a_reload_during_a_reload_follows_it(autojump_clock: MockClock) -> None:
    """Files may have changed once more since they were read."""
    story: list[str] = []

    async def hook(app: Application) -> None:
        story.append("begins")
        await trio.sleep(1)
        story.append("ends")

    app = Application("app", Service(name="s"), on_reload=hook)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        async with trio.open_nursery() as callers:
            callers.start_soon(app.reload)
            callers.start_soon(app.reload)
        await app.stop()
    assert story == ["begins", "ends", "begins", "ends"]


async def test_what_does_not_run_cannot_be_reloaded() -> None:
    """A word to whoever asks, rather than nothing."""
    with pytest.raises(ServiceStateError, match="'app' is stopped, so there is nothing to reload"):
        await Application("app").reload()
