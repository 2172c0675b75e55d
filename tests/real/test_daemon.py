"""Daemons: real forks, real sessions, and the traps that twistd has there."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import LIMIT, running, until

from trioservice.process.exits import Exit

from .daemons import Daemons, command_line, daemons, is_alive
from .support import ECHO, IMPORTS, ask, connect, write

pytestmark = pytest.mark.real


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemons]:
    with daemons(tmp_path) as they:
        yield they


STARTING = IMPORTS + "class S(Service):\n    async def run(self, task_status):\n"
SLOW = (
    STARTING
    + "        await trio.sleep({0})\n        task_status.started()\napplication = Application('app', S())\n"
)


def test_the_terminal_comes_back_when_the_whole_tree_is_ready_and_not_before(daemon: Daemons) -> None:
    """Rows 67, 68, 73 and 89: zero means ready, and the pid file has the number of who is."""
    write(
        daemon.folder,
        STARTING
        + "        await trio.sleep(0.4)\n"
        + "        open('ready', 'w').close()\n"
        + "        task_status.started()\n"
        + "        await trio.sleep_forever()\n"
        + "application = Application('app', S())\n",
    )
    done = daemon.start()
    assert (done.returncode, done.stdout, done.stderr) == (Exit.OK, "", "")
    assert (daemon.folder / "ready").exists()
    assert is_alive(daemon.pid)
    daemon.stop()
    assert not daemon.pidfile.exists()
    assert "app: stopping: SIGTERM" in daemon.log.read_text()


def test_it_has_a_session_of_its_own_and_no_terminal(daemon: Daemons) -> None:
    """It is no leader of that session, either, so no terminal can become its own again."""
    write(daemon.folder, ECHO)
    assert daemon.start().returncode == Exit.OK
    session = os.getsid(daemon.pid)
    assert session != os.getsid(0)
    assert session != daemon.pid
    assert int(Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[4]) == 0  # tty_nr
    daemon.stop()


# ---- how a start fails


def test_a_port_that_is_taken_is_told_to_the_terminal_in_full(daemon: Daemons) -> None:
    """twistd cut it to a hundred bytes, and printed the repr of those."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write(daemon.folder, ECHO.replace("TCPServer(0", f"TCPServer({port}"))
        done = daemon.start()
    assert done.returncode == Exit.START_FAILED
    assert f"app/srv: cannot listen on 127.0.0.1:{port}: Address already in use; " in done.stderr
    assert "choose another port" in done.stderr
    assert "The log ends:\n" in done.stderr
    assert done.stdout == ""
    assert not daemon.pidfile.exists()


def test_an_error_of_any_length_in_any_language_arrives_whole(daemon: Daemons) -> None:
    """Row 74."""
    text = "Überlänge: " + "é" * 5000 + " Ende"
    write(
        daemon.folder,
        STARTING + f"        raise ValueError({text!r})\napplication = Application('app', S())\n",
    )
    done = daemon.start()
    assert done.returncode == Exit.START_FAILED
    assert f"ValueError: {text}" in done.stderr
    assert f"ValueError: {text}" in daemon.log.read_text()


def test_system_exit_while_starting_does_not_leave_anybody_waiting(daemon: Daemons) -> None:
    """With twistd the parent hung for ever."""
    write(daemon.folder, STARTING + "        raise SystemExit(7)\napplication = Application('app', S())\n")
    done = daemon.start()
    assert done.returncode == 7
    assert "the daemon ended with status 7 before it was ready" in done.stderr


def test_an_end_of_status_zero_before_it_was_ready_is_a_failure_all_the_same(daemon: Daemons) -> None:
    """Whatever the daemon thinks of itself: it is not ready."""
    write(daemon.folder, STARTING + "        raise SystemExit(0)\napplication = Application('app', S())\n")
    assert daemon.start().returncode == Exit.START_FAILED


def test_a_daemon_that_is_killed_while_it_starts_is_told(daemon: Daemons) -> None:
    """No word of its own is needed: the kernel closes the pipe. (twistd #7745)"""
    write(daemon.folder, SLOW.format(60))
    with running(daemon.command(), cwd=daemon.folder) as parent:
        until(lambda: daemon.pidfile.exists() and daemon.pidfile.read_text(), "the pid file is there")
        daemon.send(signal.SIGKILL)
        assert parent.ends() == 128 + signal.SIGKILL
        assert "the daemon was ended by SIGKILL before it was ready" in parent.err


def test_a_start_that_takes_too_long_is_stopped_again(daemon: Daemons) -> None:
    """Or a script would wait for ever."""
    write(daemon.folder, SLOW.format(60))
    done = daemon.start("--daemon-timeout", "0.5")
    assert done.returncode == Exit.START_FAILED
    assert "not ready after 0.5 s, so it is stopped again" in done.stderr
    assert not daemon.pidfile.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_waiting_stops_what_was_begun(daemon: Daemons, number: signal.Signals) -> None:
    """Whoever gives up at the terminal does not want it to come up a moment later."""
    write(daemon.folder, SLOW.format(60))
    with running(daemon.command(), cwd=daemon.folder) as parent:
        until(lambda: daemon.pidfile.exists() and daemon.pidfile.read_text(), "the pid file is there")
        pid = daemon.pid
        parent.send(number)
        assert parent.ends() != 0
    until(lambda: not is_alive(pid), "the daemon has gone")


def test_what_is_wrong_with_the_file_is_told_before_anything_is_forked(daemon: Daemons) -> None:
    """As in the foreground."""
    write(daemon.folder, "import no_such_module\n")
    done = daemon.start()
    assert done.returncode == Exit.LOAD_FAILED
    assert "ModuleNotFoundError" in done.stderr
    assert not daemon.log.exists()


def test_a_daemon_cannot_log_to_a_terminal_that_it_leaves(daemon: Daemons) -> None:
    """Row 80."""
    write(daemon.folder, ECHO)
    done = daemon.start("--logfile", "-")
    assert done.returncode == Exit.USAGE
    assert "a daemon cannot log to standard output" in done.stderr


# ---- one at a time


def test_a_second_one_is_refused_and_the_first_undisturbed(daemon: Daemons) -> None:
    """Row 87."""
    write(daemon.folder, ECHO)
    assert daemon.start().returncode == Exit.OK
    pid = daemon.pid
    done = daemon.start()
    assert done.returncode == Exit.ALREADY_RUNNING
    assert f"already running: process {pid} holds the pid file {daemon.pidfile}" in done.stderr
    assert daemon.pid == pid
    daemon.stop()


def test_of_many_that_start_at_once_one_runs(daemon: Daemons) -> None:
    """twistd looked first and wrote afterwards."""
    write(daemon.folder, ECHO)
    at_once = [
        subprocess.Popen(daemon.command(), cwd=daemon.folder, stderr=subprocess.DEVNULL) for _ in range(5)
    ]
    statuses = sorted(starting.wait(LIMIT) for starting in at_once)
    assert statuses == [Exit.OK] + 4 * [Exit.ALREADY_RUNNING]
    daemon.stop()


def test_our_own_number_in_the_pid_file_is_not_another_server(tmp_path: Path) -> None:
    """In a container that starts again the first process has the number that the file still holds."""
    write(tmp_path, ECHO)
    pidfile = tmp_path / "app.pid"
    command = f"echo $$ > {pidfile}; exec {sys.executable} -m trioservice run app.tac --pidfile {pidfile}"
    with running(["sh", "-c", command], cwd=tmp_path) as app:
        app.says("app: running")
        assert pidfile.read_text() == f"{app.pid}\n"
        app.stops()
    assert not pidfile.exists()


# ---- what it has


def test_it_inherits_nothing_but_what_it_names(daemon: Daemons) -> None:
    """A pipe of whoever started it would never come to its end, a socket never be free."""
    write(daemon.folder, "application_fd = None\n" + ECHO)
    ear, mouth = os.pipe()
    os.set_inheritable(mouth, True)
    subprocess.run(daemon.command(), cwd=daemon.folder, timeout=LIMIT, check=True, pass_fds=[mouth])
    os.close(mouth)
    os.set_blocking(ear, False)
    assert os.read(ear, 1) == b""  # its end, while the daemon lives
    os.close(ear)
    standard = [os.path.realpath(f"/proc/{daemon.pid}/fd/{number}") for number in (0, 1, 2)]
    assert standard[0] == "/dev/null"
    daemon.stop()


TALKING = (
    IMPORTS
    + """
import os, sys

async def talk():
    print("printed")
    print("complained", file=sys.stderr)
    os.system("echo from a child")
    await trio.sleep_forever()

application = Application("app", TaskService(talk))
"""
)


@pytest.mark.parametrize("closed", ["", "<&- >&- 2>&-"], ids=["as usual", "with all streams closed"])
def test_its_output_is_in_the_log_line_by_line(daemon: Daemons, closed: str) -> None:
    """There is nowhere else for it to go; and the log must not take the place of a closed stream."""
    write(daemon.folder, TALKING)
    command = " ".join(daemon.command())
    subprocess.run(f"{command} {closed}", shell=True, cwd=daemon.folder, timeout=LIMIT, check=True)
    for line in ("printed", "complained", "from a child"):
        daemon.says(line)
    daemon.stop()
    assert re.search(r"^\d{4}-\d\d-\d\d \S+ INFO +.*printed$", daemon.log.read_text(), re.MULTILINE)
    daemon.says("app: stopped")


def test_a_file_that_logs_to_the_terminal_does_not_log_to_itself_for_ever(daemon: Daemons) -> None:
    """`logging.basicConfig` is common; what it logs would be captured, and logged, and captured."""
    write(daemon.folder, IMPORTS + "logging.basicConfig(level='INFO')\n" + ECHO)
    command = [part for part in daemon.command() if part not in ("--logfile", str(daemon.log))]
    subprocess.run(command, cwd=daemon.folder, timeout=LIMIT, check=True)
    daemon.stop()
    daemon.log = daemon.folder / "trioservice.log"
    daemon.says("app: stopped")
    assert len(daemon.log.read_text().splitlines()) < 20


def test_files_of_a_daemon_are_nobody_elses_business_unless_it_says_so(daemon: Daemons) -> None:
    """Row 69: the umask; the pid file is for everybody to read all the same."""
    make = (
        "import os\nasync def make():\n    os.close(os.open('made', os.O_CREAT, 0o666))\n"
        "    await trio.sleep_forever()\n"
        "application = Application('app', TaskService(make))\n"
    )
    write(daemon.folder, IMPORTS + make)
    for options, mode in ((), 0o600), (("--umask", "022"), 0o644):
        assert daemon.start(*options).returncode == Exit.OK
        until(lambda: (daemon.folder / "made").exists(), "it has made its file")
        assert stat.S_IMODE((daemon.folder / "made").stat().st_mode) == mode
        assert stat.S_IMODE(daemon.pidfile.stat().st_mode) == 0o644
        daemon.stop()
        (daemon.folder / "made").unlink()


def test_it_runs_where_it_is_told_and_what_was_named_from_elsewhere_is_still_found(daemon: Daemons) -> None:
    """Relative paths mean what they mean to whoever typed them."""
    (daemon.folder / "run").mkdir()
    write(daemon.folder, ECHO)
    done = subprocess.run(
        daemon.command("--rundir", "run", "--pidfile", "app.pid", "--logfile", "app.log"),
        cwd=daemon.folder,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == Exit.OK
    assert os.path.realpath(f"/proc/{daemon.pid}/cwd") == str(daemon.folder / "run")
    assert daemon.log.exists()
    daemon.stop()
    assert sorted(os.listdir(daemon.folder)) == ["app.log", "app.tac", "run"]


# ---- signals


def test_hup_does_not_end_it(daemon: Daemons) -> None:
    """twistd died of it, nothing stopped, its pid file left."""
    write(
        daemon.folder,
        ECHO.replace('name="srv"))', "name=\"srv\"), on_reload=lambda app: print('read again', flush=True))"),
    )
    assert daemon.start().returncode == Exit.OK
    pid = daemon.pid
    daemon.send(signal.SIGHUP)
    daemon.says("read again")
    daemon.send(signal.SIGUSR2)
    daemon.says("where its tasks are")
    assert "app/srv: running\n" in daemon.log.read_text()
    port = int(re.findall(r"listening on .*:(\d+)", daemon.log.read_text())[0])
    with connect(port) as client:
        assert ask(client, b"still here") == b"still here"
    assert daemon.pid == pid
    daemon.stop()


def test_a_crash_of_the_event_loop_has_a_status_and_is_in_the_log(daemon: Daemons) -> None:
    """twistd wrote it into a file in some folder, and said nothing was wrong."""
    write(
        daemon.folder,
        IMPORTS
        + "async def crash():\n"
        + "    await trio.sleep(1)\n"
        + "    trio.lowlevel.current_trio_token().run_sync_soon(lambda: 1 / 0)\n"
        + "    await trio.sleep_forever()\n"
        + "application = Application('app', TaskService(crash))\n",
    )
    done = daemon.start()
    assert done.returncode == Exit.OK  # it was ready
    daemon.says("the event loop has crashed")
    daemon.says("ZeroDivisionError: division by zero")
    until(lambda: not daemon.pidfile.exists(), "the pid file is gone")


# ---- two hundred times


@pytest.mark.timeout(600)
def test_two_hundred_lives_leave_nothing_behind(tmp_path: Path) -> None:
    """No process, no file, no lock. Fewer where nobody asks for all: they take a minute."""
    rounds = int(os.environ.get("TRIOSERVICE_CYCLES", "20"))
    write(tmp_path, ECHO)
    with daemons(tmp_path) as daemon:
        began = time.monotonic()
        for _ in range(rounds):
            assert daemon.start().returncode == Exit.OK
            daemon.stop()
        print(f"{rounds} lives in {time.monotonic() - began:.1f} s")
        assert sorted(os.listdir(tmp_path)) == ["app.log", "app.tac"]
        assert daemon.log.read_text().count("app: stopped") == rounds
    assert not [
        pid for pid in os.listdir("/proc") if pid.isdigit() and str(tmp_path) in command_line(int(pid))
    ]
