"""Signals, as a person or a supervisor sends them to a process."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from programs import foreign, running, trioservice, until

from .support import ECHO, IMPORTS, TWO_LINES, ask, connect, is_refused, write

pytestmark = pytest.mark.real

SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM


def test_sigterm_lets_a_request_in_flight_be_answered_and_the_process_die_of_it(tmp_path: Path) -> None:
    """A deployment loses no request, and the supervisor sees that its signal was obeyed."""
    with running(trioservice("run", write(tmp_path, TWO_LINES))) as app:
        port = app.port("app/srv")
        with connect(port) as client:
            client.sendall(b"one ")
            app.says("in flight")
            app.send(SIGTERM)
            app.says(r"app: stopping: SIGTERM")
            assert app.alive
            deadline = time.monotonic() + 5
            while not is_refused(port) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert is_refused(port)  # L10
            assert ask(client, b"two", 7) == b"one two"  # L10
        assert app.ends() == -SIGTERM
        assert "drain cut" not in app.err
        assert "Traceback" not in app.err
        assert app.err.endswith("INFO    app: stopped\n")


def test_ctrl_c_stops_at_once_without_a_traceback(tmp_path: Path) -> None:
    """Nothing is in flight, so nothing is waited for."""
    with running(trioservice("run", write(tmp_path, ECHO))) as app:
        app.says(r"app: running")
        assert app.stops(SIGINT, within=10) == -SIGINT
        assert "app: stopping: SIGINT" in app.err
        assert "Traceback" not in app.err
        assert "KeyboardInterrupt" not in app.err
        assert app.out == ""


@pytest.mark.parametrize("second", [SIGTERM, SIGINT])
def test_a_second_signal_cuts_the_drain_at_once(tmp_path: Path, second: signal.Signals) -> None:
    """Whoever is in a hurry asks again; the process dies of the signal that came first."""
    with running(trioservice("run", write(tmp_path, TWO_LINES))) as app:
        with connect(app.port("app/srv")) as client:
            client.sendall(b"one ")
            app.says("in flight")
            app.send(SIGTERM)
            app.says(r"app: stopping: SIGTERM")
            app.send(second)
            assert ask(client, b"", 1) == b""  # L12
        assert app.ends(within=10) == -SIGTERM
        assert "app/srv: drain cut after" in app.err
        assert "Traceback" not in app.err


def as_process_1(command: list[str]) -> list[str]:
    """*command* as the first process of a world of its own, as in a container."""
    if os.geteuid() != 0:
        pytest.skip("only root makes such worlds")
    return [foreign("unshare"), "--fork", "--pid", "--mount-proc", "--kill-child", *command]


def first_child(pid: int) -> int:
    """What unshare has started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return int(until(lambda: path.read_text().split(), "it has a child")[0])


def test_as_process_1_it_ends_with_the_signals_status(tmp_path: Path) -> None:
    """To itself a first process can send no signal that ends it; the status is what a shell would show."""
    with running(as_process_1(trioservice("run", write(tmp_path, ECHO)))) as app:
        app.says("app: running")
        os.kill(first_child(app.pid), SIGTERM)
        assert app.ends() == 128 + SIGTERM
        assert "app: stopped" in app.err


def test_as_process_1_the_third_signal_ends_it_all_the_same(tmp_path: Path) -> None:
    """Or only a kill from outside would."""
    with running(as_process_1(trioservice("run", write(tmp_path, STUBBORN)))) as app:
        app.says("app: running")
        for answer in ("stopping: SIGTERM", "again, so all drains are cut", ""):
            os.kill(first_child(app.pid), SIGTERM)
            app.says(answer)
        assert app.ends(within=10) == 128 + SIGTERM


STUBBORN = (
    IMPORTS
    + """
async def stubborn():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()  # this line is reported

application = Application("app", TaskService(stubborn, stop_timeout=0.05))
"""
)


def test_a_third_signal_ends_a_process_in_which_a_service_does_not_obey(tmp_path: Path) -> None:
    """Two signals leave it its chance, and it is reported by path and line; the third is the end."""
    path = write(tmp_path, STUBBORN)
    with running(trioservice("run", path)) as app:
        app.says(r"app: running")
        overdue = rf"WARNING app/stubborn: still not stopped .* cancelled: {path}:7 in stubborn"
        for said in (2, 4):
            app.send(SIGTERM)
            app.says(overdue, times=said)  # L11
            assert app.alive
        already = app.err.count("still not stopped")
        app.says(overdue, times=already + 2)
        assert app.alive  # L12
        app.send(SIGTERM)
        assert app.ends(within=10) == -SIGTERM  # L12


def test_a_signal_during_the_start_ends_the_start(tmp_path: Path) -> None:
    """It is not waited for a service that may never become ready, and the next is never run."""
    text = IMPORTS + (
        "async def slow(task_status):\n"
        "    logging.warning('begun')\n"
        "    await trio.sleep_forever()\n"
        "async def late():\n"
        "    logging.warning('never')\n"
        "application = Application('app', TaskService(slow), TaskService(late))\n"
    )
    with running(trioservice("run", write(tmp_path, text))) as app:
        app.says("begun")
        assert app.stops(within=10) == -SIGTERM  # L8
        assert "never" not in app.err  # L8
        assert "Traceback" not in app.err


def test_ctrl_c_while_the_file_is_loaded_shows_no_traceback(tmp_path: Path) -> None:
    """Imports can take long, and whoever gives up is not shown where they did."""
    text = "import sys, time\nprint('loading', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    with running(trioservice("run", write(tmp_path, text))) as app:
        app.says("loading")
        assert app.stops(SIGINT, within=10) == -SIGINT
        assert app.err == "loading\n"


def test_ctrl_c_in_an_application_that_leaves_signals_to_others_shows_no_traceback(tmp_path: Path) -> None:
    """Python's own KeyboardInterrupt stops it in order, too."""
    text = ECHO.replace('name="srv")', 'name="srv"), handle_signals=False')
    with running(trioservice("run", write(tmp_path, text))) as app:
        app.says(r"app: running")
        assert app.stops(SIGINT, within=10) == -SIGINT
        assert app.err.endswith("INFO    app: stopped\n")  # L17
        assert "Traceback" not in app.err


def test_an_interrupt_that_was_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    """A shell's background jobs are not to end when Ctrl-C is meant for the one in front."""
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *trioservice("run", write(tmp_path, ECHO))]
    with running(command) as app:
        port = app.port("app/srv")
        app.says(r"app: running")
        for _ in range(3):
            app.send(SIGINT)
            with connect(port) as client:
                assert ask(client, b"hello") == b"hello"
        assert app.stops(SIGTERM) == -SIGTERM
        assert "SIGINT" not in app.err


def test_exit_functions_of_the_application_run_before_the_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To die of a signal is not to skip what was to be done at exit, and nothing that was printed is lost."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    text = "import atexit\natexit.register(print, 'good', 'bye')\n" + ECHO + "print('hello')\n"
    with running(trioservice("run", write(tmp_path, text))) as app:
        app.says(r"app: running")
        assert app.stops() == -SIGTERM
        assert app.out == "hello\ngood bye\n"


def test_a_failure_during_the_stop_is_reported_with_status_1(tmp_path: Path) -> None:
    """A signal does not hide that something went wrong while it was obeyed."""
    text = IMPORTS + (
        "async def stumble():\n"
        "    try:\n"
        "        await trio.sleep_forever()\n"
        "    finally:\n"
        "        raise ValueError('no')\n"
        "application = Application('app', TaskService(stumble))\n"
    )
    with running(trioservice("run", write(tmp_path, text))) as app:
        app.says(r"app: running")
        assert app.stops() == 1  # L13
        assert "\napp/stumble failed\n" in app.err
        assert app.err.endswith("ValueError: no\n")


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_plain_program_that_runs_an_application_ends_cleanly_with_status_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    """`trio.run(app.main)` returns after a signal, and the program goes on to its own end."""
    text = ECHO + "\nlogging.basicConfig(level='INFO')\ntrio.run(application.main)\nprint('and on')\n"
    with running([sys.executable, str(write(tmp_path, text, "app.py"))]) as app:
        app.port("app/srv")
        app.says(r"app: running")
        assert app.stops(number, within=10) == 0
        assert app.out == "and on\n"
        assert "Traceback" not in app.err
        assert "KeyboardInterrupt" not in app.err
