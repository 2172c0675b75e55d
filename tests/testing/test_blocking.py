"""What keeps the whole process waiting is refused, or noticed from its midst."""

from __future__ import annotations

import itertools
import signal
import threading
import time

import pytest
import trio

from trioservice import Application, TaskService
from trioservice.testing import blocking
from trioservice.testing.blocking import BlockingCall, alarm, no_sleep
from trioservice.testing.contract import Breach


def told_by(async_fn) -> list[Breach]:
    """What is told while an application of one service lives; what it raises is its own matter."""
    told: list[Breach] = []
    app = Application("app", TaskService(async_fn, name="work"), handle_signals=False)
    with no_sleep(told.append), pytest.raises(BaseExceptionGroup) as caught:
        trio.run(app.main)
    assert caught.group_contains(BlockingCall)
    return told


def test_a_service_that_sleeps_is_told_what_to_write_instead() -> None:
    async def work() -> None:
        with pytest.raises(BlockingCall, match=r"await trio\.sleep\(0\.25\)"):
            time.sleep(0.25)
        time.sleep(0.5)

    first, second = told_by(work)
    assert str(first) == "blocks: app/work calls time.sleep(0.25), which keeps everybody waiting"
    assert "in work" in second.where


def test_who_is_no_service_may_sleep() -> None:
    told: list[Breach] = []
    with no_sleep(told.append):
        time.sleep(0)
    assert told == []


async def test_a_thread_may_sleep() -> None:
    told: list[Breach] = []
    with no_sleep(told.append):
        await trio.to_thread.run_sync(time.sleep, 0)
    assert told == []


def test_sleep_is_what_it_was_afterwards() -> None:
    before = time.sleep
    with pytest.raises(KeyError), no_sleep(lambda breach: None):
        raise KeyError
    assert time.sleep is before


class Enough(Exception):
    """The alarm was heard."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarm")
def test_whoever_lets_no_task_take_a_step_is_interrupted_in_its_midst(monkeypatch) -> None:
    monkeypatch.setattr(blocking, "TOO_LONG", 0.2)
    told: list[Breach] = []

    def tell(breach: Breach) -> None:
        told.append(breach)
        raise Enough

    async def spin() -> None:
        await trio.lowlevel.checkpoint()
        while True:
            pass

    app = Application("app", TaskService(spin, name="work"), handle_signals=False)
    with pytest.raises(BaseExceptionGroup) as caught, alarm(lambda: 3, tell):
        trio.run(app.main)
    assert caught.group_contains(Enough)
    assert told[0].path == "app/work"
    assert "in spin" in told[0].where


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarm")
def test_a_thread_that_cannot_be_cancelled_is_given_longer(monkeypatch) -> None:
    monkeypatch.setattr(blocking, "TOO_LONG", 0.1)
    told: list[Breach] = []
    end = threading.Event()

    def tell(breach: Breach) -> None:
        told.append(breach)
        end.set()

    async def wait() -> None:
        await trio.to_thread.run_sync(end.wait)

    with alarm(lambda: 3, tell):
        trio.run(wait)
    assert told[0].words.endswith("as a thread works that cannot be cancelled")
    assert "0.5 s" in told[0].words


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarm")
def test_the_alarm_is_silent_while_steps_are_taken_and_gone_afterwards(monkeypatch) -> None:
    monkeypatch.setattr(blocking, "TOO_LONG", 0.01)
    before = signal.getsignal(signal.SIGALRM)
    steps = itertools.count(0, 10)

    async def busy() -> None:
        await trio.sleep(0.05)

    with alarm(lambda: next(steps), pytest.fail):
        trio.run(busy)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
