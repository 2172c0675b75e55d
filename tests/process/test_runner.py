"""The order of a life: log, run, say what went wrong, answer with a status."""

from __future__ import annotations

import atexit
import errno
import os
import pstats
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from trioservice import Application, Service, TaskService
from trioservice.process import runner
from trioservice.process.exits import Exit
from trioservice.process.runner import Farewell, run
from trioservice.process.settings import Settings


async def fail(message: str = "no") -> None:
    """A service that fails after it has become ready."""
    await trio.lowlevel.checkpoint()
    raise ValueError(message)


class Stumbling(Service):
    """One that fails while it is being stopped."""

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("while cleaning up")


async def exit_with(end: BaseException) -> None:
    await trio.lowlevel.checkpoint()
    raise end


@pytest.fixture(autouse=True)
def at_exit(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What would be done at the end of the process; ours goes on."""
    registered: list[Callable[[], object]] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    return registered


def test_an_application_that_finishes_is_ok(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to say."""
    assert run(lambda: Application("app", TaskService(trio.sleep, 0))) is Exit.OK
    assert capsys.readouterr() == ("", "")


def test_a_failure_after_the_start_is_failed_and_one_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Path first, the user's own frames, no nest of groups."""
    assert run(lambda: Application("app", TaskService(fail))) is Exit.FAILED
    err = capsys.readouterr().err
    assert err.startswith("app/fail failed\n  Traceback (most recent call last):\n")
    assert err.endswith("  ValueError: no\n")
    assert "Exception Group" not in err
    assert "trioservice/run.py" not in err
    assert "site-packages/trio" not in err


def test_two_failures_are_two_reports(capsys: pytest.CaptureFixture[str]) -> None:
    """None is lost, and each stands under its own path."""
    assert run(lambda: Application("app", Stumbling(name="pool"), TaskService(fail))) is Exit.FAILED
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if line.endswith(" failed")] == [  # L13
        "app/fail failed",
        "app/pool failed",
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), Exit.START_FAILED),
        (OSError(errno.EADDRINUSE, "in use"), Exit.START_FAILED),
        (OSError(errno.EACCES, "denied"), Exit.NO_PERMISSION),
        (OSError(errno.EPERM, "not permitted"), Exit.NO_PERMISSION),
    ],
)
@pytest.mark.parametrize("phase", ["binding", "starting"])
def test_a_failure_before_the_end_of_the_start_is_told_apart(
    error: OSError, status: Exit, phase: str
) -> None:
    """A supervisor may try again, or not, according to the status."""

    class Early(Service):
        async def privileged_start(self, stack: AsyncExitStack) -> None:
            if phase == "binding":
                raise error

        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            raise error

    assert run(lambda: Application("app", Early())) is status


def test_an_application_can_be_run_again_and_is_judged_anew(capsys: pytest.CaptureFixture[str]) -> None:
    """That it was ready the last time says nothing about this time."""
    errors: list[Exception | None] = [None, ValueError("no")]

    class Fickle(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            if error := errors.pop(0):
                raise error
            task_status.started()

    app = Application("app", Fickle())
    assert run(lambda: app) is Exit.OK
    assert run(lambda: app) is Exit.START_FAILED


def test_what_cannot_be_is_a_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for what is a sentence already."""
    assert run(lambda: Application("app", uid="nobody-of-that-name")) is Exit.NO_PERMISSION  # L18
    assert capsys.readouterr().err == (
        "trioservice: there is no user named 'nobody-of-that-name'\n"
        "  hint: `getent passwd` lists those that there are; a number may be given as well\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_ok_and_remembered(number: signal.Signals) -> None:
    """Row 64: the status is that of an orderly end; which signal it was is up to the caller to act on."""

    async def send() -> None:
        os.kill(os.getpid(), number)
        await trio.sleep_forever()

    app = Application("app", TaskService(send))
    assert run(lambda: app) is Exit.OK
    assert app.stop_signal is number


def test_sys_exit_comes_out_bare_and_other_errors_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """It decides the status, and what else went wrong is still told."""
    end = SystemExit(9)
    app = Application("app", Stumbling(name="pool"), TaskService(exit_with, end))
    with pytest.raises(SystemExit) as raised:
        run(lambda: app)
    assert raised.value is end  # L17
    err = capsys.readouterr().err
    assert err.startswith("app/pool failed\n")  # L13
    assert "LookupError: while cleaning up" in err


@pytest.mark.parametrize("when", ["loading", "running"])
def test_an_interrupt_that_nobody_catches_ends_the_process_as_one(
    capsys: pytest.CaptureFixture[str], at_exit: list[Callable[[], object]], when: str
) -> None:
    """Without a traceback, but with what else went wrong."""

    def load() -> Application:
        if when == "loading":
            raise KeyboardInterrupt
        return Application("app", Stumbling(name="pool"), TaskService(exit_with, KeyboardInterrupt()))

    assert run(load) == 130
    assert at_exit[0].__self__.signal is signal.SIGINT  # type: ignore[attr-defined]
    err = capsys.readouterr().err
    assert ("LookupError: while cleaning up" in err) is (when == "running")
    assert "KeyboardInterrupt" not in err


@pytest.mark.parametrize(
    ("option", "function"),
    [
        ({"daemon": True}, "fork"),
        ({"uid": "x"}, "setuid"),
        ({"gid": 1}, "setgid"),
        ({"chroot": "/"}, "chroot"),
    ],
)
def test_what_a_system_does_not_have_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: dict[str, Any], function: str
) -> None:
    """On Windows the foreground works, and a daemon is not there."""
    monkeypatch.delattr(os, function)
    assert run(lambda: pytest.fail("nothing is loaded"), Settings(**option)) is Exit.USAGE
    err = capsys.readouterr().err
    assert err.startswith(f"trioservice: --{next(iter(option))} asks for something that this system (")
    assert err.count("\n") == 2


# ---- a profile


def test_a_profile_tells_where_the_time_went(tmp_path: Path) -> None:
    """Row 83: for pstats; of the life of the tree, not of Python's start."""
    path = tmp_path / "profile"
    app = Application("app", TaskService(fail))
    assert run(lambda: app, Settings(profile=str(path))) is Exit.FAILED  # a failure is no reason to lose it
    functions = {name for _, _, name in pstats.Stats(str(path)).stats}  # type: ignore[attr-defined]
    assert "fail" in functions


def test_a_profile_that_cannot_be_made_is_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after days of life, when what it was to tell is lost."""
    app = Application("app", TaskService(fail))
    assert run(lambda: app, Settings(profile=str(tmp_path / "no" / "profile"))) is Exit.CANNOT_CREATE
    assert "cannot make the profile" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk here")
def test_a_profile_that_cannot_be_written_is_told_and_nothing_else_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was the application that mattered."""
    app = Application("app", TaskService(trio.sleep, 0))
    assert run(lambda: app, Settings(profile="/dev/full")) is Exit.OK
    assert "the profile could not be written: No space left" in caplog.text


class Exits:
    """Stands in for what the process would do at its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.registered: list[Callable[[], object]] = []
        self.done: list[Any] = []
        monkeypatch.setattr(atexit, "register", self.registered.append)
        monkeypatch.setattr(runner.logging, "shutdown", lambda: self.done.append("logs are closed"))
        monkeypatch.setattr(signal, "signal", lambda *args: self.done.append(args))
        monkeypatch.setattr(os, "kill", lambda *args: self.done.append(args))


def test_a_farewell_dies_of_the_signal_after_all_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """First the logs, then the default action of the signal, then the signal."""
    exits = Exits(monkeypatch)
    farewell = Farewell()
    (say,) = exits.registered
    farewell.signal = signal.SIGTERM
    say()
    assert exits.done == ["logs are closed", (signal.SIGTERM, signal.SIG_DFL), (os.getpid(), signal.SIGTERM)]


def test_a_farewell_without_a_signal_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary end is left alone."""
    exits = Exits(monkeypatch)
    Farewell()
    exits.registered[0]()
    assert exits.done == []


class BrokenPipe:
    def flush(self) -> None:
        raise BrokenPipeError


class Closed:
    def flush(self) -> None:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stream", [None, BrokenPipe(), Closed()], ids=["none", "broken pipe", "closed"])
def test_a_farewell_does_not_stumble_over_a_lost_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: object
) -> None:
    """A process whose output nobody reads any more still dies of its signal."""
    exits = Exits(monkeypatch)
    farewell = Farewell()
    farewell.signal = signal.SIGTERM
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        exits.registered[0]()
    assert exits.done[-1] == (os.getpid(), signal.SIGTERM)
