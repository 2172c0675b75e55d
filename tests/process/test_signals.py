"""What HUP, USR1 and USR2 ask for."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from trioservice import Application, Service
from trioservice.process.logs import Logs
from trioservice.process.settings import Settings
from trioservice.process.signals import Signals

HUP, USR1, USR2 = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2


class Book(Logs):
    """A log that writes down what is done to it."""

    def __init__(self, done: list[str]) -> None:
        super().__init__(Settings())
        self.done = done

    def reopen(self) -> None:
        self.done.append("reopened")

    def rotate(self) -> None:
        self.done.append("rotated")


class Reloading(Service):
    """Writes down that it was reloaded."""

    def __init__(self, done: list[str]) -> None:
        super().__init__(name="web")
        self.done = done

    async def on_reload(self) -> None:
        self.done.append("reloaded")


@pytest.fixture(autouse=True)
def left_as_found() -> Iterator[None]:
    """Whatever a test does to the handlers."""
    before = {number: signal.getsignal(number) for number in (HUP, USR1, USR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def send(number: signal.Signals) -> None:
    """To ourselves, and have it be obeyed."""
    os.kill(os.getpid(), number)
    await trio.testing.wait_all_tasks_blocked(0.01)


async def obeyed(*numbers: signal.Signals, early: tuple[signal.Signals, ...] = ()) -> list[str]:
    """What is done when *numbers* are sent to an application that runs; *early* come before it does."""
    done: list[str] = []
    app = Application("shop", Reloading(done), handle_signals=False)
    with Signals() as signals:
        for number in early:
            os.kill(os.getpid(), number)
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            nursery.start_soon(signals.obey, app, Book(done))
            await trio.testing.wait_all_tasks_blocked(0.01)
            for number in numbers:
                await send(number)
            await app.stop()
            nursery.cancel_scope.cancel()
    return done


async def test_hup_opens_the_log_anew_and_reloads_the_tree() -> None:
    """In this order, so that what the reload says is in the new file."""
    assert await obeyed(HUP) == ["reopened", "reloaded"]


async def test_usr1_puts_the_log_aside() -> None:
    """And nothing else."""
    assert await obeyed(USR1, USR1) == ["rotated", "rotated"]


async def test_usr2_writes_down_who_is_where(caplog: pytest.LogCaptureFixture) -> None:
    """To the log, and the process goes on."""
    caplog.set_level(logging.INFO)
    assert await obeyed(USR2) == []
    (told,) = [
        record.getMessage() for record in caplog.records if "where its tasks are" in record.getMessage()
    ]
    assert "shop/web: running" in told


async def test_what_was_asked_for_too_early_is_done_when_there_is_a_tree() -> None:
    """By default each of them would have ended the process."""
    assert await obeyed(early=(HUP, USR1)) == ["reopened", "rotated", "reloaded"]


async def test_a_deed_that_fails_is_told_and_the_next_one_done(caplog: pytest.LogCaptureFixture) -> None:
    """A full disk must not end the application."""
    done: list[str] = []

    class Full(Book):
        def rotate(self) -> None:
            raise OSError(28, "No space left on device")

    app = Application("shop", Reloading(done), handle_signals=False)
    with Signals() as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            nursery.start_soon(signals.obey, app, Full(done))
            await trio.testing.wait_all_tasks_blocked(0.01)
            await send(USR1)
            await send(HUP)
            await app.stop()
            nursery.cancel_scope.cancel()
    assert "SIGUSR1 could not be obeyed" in caplog.text
    assert done == ["reopened", "reloaded"]


async def test_an_application_that_does_not_run_yet_is_not_reloaded() -> None:
    """It is about to read its files; the log is opened anew all the same."""
    done: list[str] = []
    app = Application("shop", Reloading(done), handle_signals=False)
    with Signals() as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(signals.obey, app, Book(done))
            await trio.testing.wait_all_tasks_blocked(0.01)
            await send(HUP)
            nursery.cancel_scope.cancel()
    assert done == ["reopened"]


@pytest.mark.parametrize("number", [HUP, USR1, USR2])
def test_what_is_ignored_stays_ignored_and_what_the_application_handles_stays_its_own(
    number: signal.Signals,
) -> None:
    """Row 81: nohup ignores HUP, and means it."""

    def mine(number: int, frame: object) -> None:
        raise AssertionError("it is not sent here")

    for handler in (signal.SIG_IGN, mine):
        signal.signal(number, handler)
        with Signals():
            assert signal.getsignal(number) is handler
        assert signal.getsignal(number) is handler


def test_afterwards_the_signals_are_as_before_unless_somebody_else_has_them_by_then() -> None:
    """A handler that the file set while it was loaded outlives ours."""
    signal.signal(HUP, signal.SIG_DFL)
    signal.signal(USR1, signal.SIG_DFL)

    def mine(number: int, frame: object) -> None:
        raise AssertionError("it is not sent here")

    with Signals():
        assert signal.getsignal(HUP) not in (signal.SIG_DFL, signal.SIG_IGN)
        signal.signal(USR1, mine)
    assert signal.getsignal(HUP) is signal.SIG_DFL
    assert signal.getsignal(USR1) is mine


def test_what_is_heard_when_the_tree_has_gone_is_no_error() -> None:
    """While Python does what it does at exit: nobody has stopped to listen, and nobody is there to obey."""
    signals = Signals()

    async def live() -> None:
        with trio.move_on_after(0):
            await signals.obey(Application("app"), Book([]))

    with signals:
        trio.run(live)
        os.kill(os.getpid(), HUP)
