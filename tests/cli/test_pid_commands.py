"""`stop`, `status` and `reload` by pid file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trioservice.cli import pid_commands
from trioservice.cli.pid_commands import reload, status, stop
from trioservice.process.exits import CannotRun, Exit
from trioservice.process.pidfile import Holder

# It writes down what it is sent, and ends when it is told the second time.
HOLD = """if True:
    import signal, sys, time
    from trioservice.process.pidfile import PidFile
    heard = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda it, _: heard.append(print(signal.Signals(it).name, flush=True)))
    with PidFile(sys.argv[1]):
        print("locked", flush=True)
        while len(heard) < int(sys.argv[2]):
            time.sleep(0.01)
"""


@contextmanager
def held(path: Path, signals: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A process that has the pid file until it has heard so many signals."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(signals)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.pid"


def test_stop_asks_and_waits_for_the_end(path: Path) -> None:
    """Row 88: when the command returns, the place is free."""
    with held(path) as other:
        assert stop(str(path)) is Exit.OK
        assert not path.exists()
        assert other.stdout is not None
        assert other.stdout.read() == "SIGTERM\n"


def test_stop_does_not_wait_for_ever_if_told_so(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says what to do next."""
    with held(path, signals=2) as other:
        assert stop(str(path), timeout=0.05) is Exit.STUCK
        err = capsys.readouterr().err
        assert f"process {other.pid} has not stopped within 0.05 s" in err
        assert f"another `trioservice stop {path}` cuts all drains" in err
        assert stop(str(path)) is Exit.OK


def test_whoever_waits_longer_is_told_so_once(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that says nothing seems to hang."""
    monkeypatch.setattr(pid_commands, "_SAY", 0.01)
    with held(path, signals=2) as other:
        assert stop(str(path), timeout=0.2) is Exit.STUCK
        told = f"waiting for process {other.pid} to finish what it has begun ...\n"
        assert capsys.readouterr().err.count(told) == 1


def test_status_tells_who_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Row 92: what went well on standard output; what did not, on standard error."""
    with held(path) as other:
        assert status(str(path)) is Exit.OK
        assert capsys.readouterr().out == f"running: process {other.pid} holds {path}\n"


def test_reload_sends_hup(path: Path) -> None:
    """It does not wait: the log tells how it went."""
    with held(path) as other:
        assert reload(str(path)) is Exit.OK
        assert other.stdout is not None
        assert other.stdout.read() == "SIGHUP\n"


@pytest.mark.parametrize("command", [stop, status, reload])
@pytest.mark.parametrize("number", [str(os.getpid()), ""], ids=["a number", "empty"])
def test_a_file_that_a_dead_process_has_left_is_nobody(
    path: Path, capsys: pytest.CaptureFixture[str], command: Callable[[str], int], number: str
) -> None:
    """Row 88: even if somebody has its number by now, that one is not touched."""
    path.write_text(number)
    assert command(str(path)) is Exit.NOT_RUNNING
    err = capsys.readouterr().err
    assert err.startswith(f"trioservice: nothing runs: no process holds {path}")
    assert (f"which process {number} has left" in err) is bool(number)


@pytest.mark.parametrize("command", [stop, status, reload])
def test_no_file_and_no_pid_file_have_a_status_each(path: Path, command: Callable[[str], int]) -> None:
    """Row 88."""
    with pytest.raises(CannotRun) as refused:
        command(str(path))
    assert refused.value.status is Exit.NOT_RUNNING  # as it is after a clean stop
    path.write_text("text")
    with pytest.raises(CannotRun, match="is no pid file") as refused:
        command(str(path))
    assert refused.value.status is Exit.CANNOT_CREATE


@pytest.mark.parametrize("has_handles", [True, False])
def test_a_process_that_ended_and_whose_number_is_anothers_gets_no_signal(
    path: Path, monkeypatch: pytest.MonkeyPatch, has_handles: bool
) -> None:
    """Between our look at the file and the signal its process may end and its number be reused."""
    sent: list[object] = []
    if not has_handles:
        monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(os, "kill", lambda *args: sent.append(args))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *args: sent.append(args))
    holders = [Holder(os.getpid(), alive=True), Holder(None, alive=False)]
    monkeypatch.setattr(
        pid_commands, "holder_of", lambda path: holders.pop(0) if holders else Holder(None, False)
    )
    assert stop(str(path)) is Exit.OK
    assert sent == []


@pytest.mark.parametrize(
    ("error", "status"), [(PermissionError, Exit.NO_PERMISSION), (ProcessLookupError, Exit.OK)]
)
def test_who_belongs_to_somebody_else_is_told_and_who_has_just_gone_is_fine(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError], status: Exit
) -> None:
    """Row 90: that we may not send it a signal does not mean that it does not run."""

    def refuse(pid: int) -> int:
        raise error

    with held(path) as other:
        monkeypatch.setattr(os, "pidfd_open", refuse)
        if status is Exit.OK:
            assert reload(str(path)) is status
        else:
            with pytest.raises(CannotRun, match=f"process {other.pid} belongs to somebody else") as refused:
                reload(str(path))
            assert refused.value.status is status


def test_a_file_that_is_just_being_taken_is_said_to_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is written a moment after the lock is had."""
    monkeypatch.setattr(pid_commands, "holder_of", lambda path: Holder(None, alive=True))
    with pytest.raises(CannotRun, match="is locked, and holds no number"):
        stop(str(path))
