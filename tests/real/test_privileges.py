"""Real root that becomes nobody, and a real new root of all paths."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import outcome, running, trioservice, until

from trioservice.process.exits import Exit

from .daemons import Daemons, daemons, let_others_enter
from .support import ECHO, IMPORTS, ask, connect, write

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]

NOBODY = ["--uid", "nobody"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that others may enter, and that only root may write to."""
    let_others_enter(tmp_path)
    return tmp_path


@pytest.fixture
def daemon(folder: Path) -> Iterator[Daemons]:
    with daemons(folder) as they:
        yield they


def powerless(command: list[str]) -> list[str]:
    """*command* as a root that may neither change its user nor its root, as in many a container."""
    drop = "import ctypes, os\nfor power in (6, 7, 18):  # CAP_SETGID, CAP_SETUID, CAP_SYS_CHROOT\n"
    drop += "    assert ctypes.CDLL(None).prctl(24, power, 0, 0, 0) == 0  # PR_CAPBSET_DROP\n"
    return [sys.executable, "-c", f"{drop}os.execv({command[0]!r}, {command!r})"]


def facts(pid: int) -> dict[str, list[str]]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def test_it_binds_as_root_and_serves_as_nobody(folder: Path) -> None:
    """Rows 21, 63 and 70: real, effective and saved, and no group is left over."""
    write(
        folder,
        ECHO.replace('TCPServer(0, echo, host="127.0.0.1"', f"UNIXServer({str(folder / 'door')!r}, echo"),
    )
    with running(trioservice("run", "app.tac", *NOBODY), cwd=folder) as app:
        app.says("app: running")
        kernel = facts(app.pid)
        assert set(kernel["Uid"]) == {"65534"}
        assert set(kernel["Gid"]) == {"65534"}
        assert kernel["Groups"] in (["65534"], [])
        with socket.socket(socket.AF_UNIX) as client:  # in a folder where nobody could not have made it
            client.connect(str(folder / "door"))
            assert ask(client, b"hello") == b"hello"
        assert app.stops() == -signal.SIGTERM


def test_the_file_may_say_it_and_the_command_line_has_the_last_word(folder: Path) -> None:
    """Row 63."""
    write(folder, ECHO.replace('name="srv"))', 'name="srv"), uid="daemon", gid="nogroup")'))
    for options, uid, gid in ([], "1", "65534"), (NOBODY, "65534", "65534"), (["--gid", "0"], "1", "0"):
        with running(trioservice("run", "app.tac", *options), cwd=folder) as app:
            app.says("app: running")
            kernel = facts(app.pid)
            assert (kernel["Uid"][0], kernel["Gid"][0]) == (uid, gid)
            app.stops()


def test_the_effective_user_alone_can_be_changed(folder: Path) -> None:
    """As with twistd's --euid; the way back stays open."""
    write(folder, ECHO)
    with running(trioservice("run", "app.tac", "--euid", *NOBODY), cwd=folder) as app:
        app.says("app: running")
        assert facts(app.pid)["Uid"][:2] == ["0", "65534"]
        app.stops()


def test_who_cannot_become_somebody_else_ends_and_tells_the_terminal(daemon: Daemons) -> None:
    """Row 71: with twistd the parent hung, and the pid file stayed."""
    write(daemon.folder, ECHO)
    status, _, err = outcome(powerless(daemon.command(*NOBODY)), cwd=daemon.folder)
    assert status == Exit.NO_PERMISSION
    assert "cannot become uid=nobody: Operation not permitted" in err
    assert "Traceback" not in err
    assert not daemon.pidfile.exists()


def test_log_and_pid_file_belong_to_whom_the_process_has_become(daemon: Daemons) -> None:
    """twistd #5296, #5297: its own log was closed to it after a rotation."""
    write(daemon.folder, ECHO)
    assert daemon.start(*NOBODY).returncode == Exit.OK
    assert daemon.pidfile.stat().st_uid == 65534
    assert daemon.log.stat().st_uid == 65534
    daemon.stop()
    # Its folder is root's, so it may not be removed; then it is empty, and nobody takes it for a process.
    assert daemon.pidfile.read_text() == ""
    assert daemon.start(*NOBODY).returncode == Exit.OK
    daemon.stop()


def test_a_pid_file_in_a_folder_of_its_own_is_removed_by_nobody(daemon: Daemons) -> None:
    """As in /run/shop, which belongs to the user."""
    mine = daemon.folder / "run"
    mine.mkdir()
    os.chown(mine, 65534, 65534)
    daemon.pidfile = mine / "app.pid"
    write(daemon.folder, ECHO)
    assert daemon.start(*NOBODY).returncode == Exit.OK
    daemon.stop()
    assert not daemon.pidfile.exists()


def test_the_log_is_rotated_after_the_privileges_are_gone(daemon: Daemons) -> None:
    """twistd made no new file, and said nothing."""
    logs = daemon.folder / "log"
    logs.mkdir()
    os.chown(logs, 65534, 65534)
    daemon.log = logs / "app.log"
    write(daemon.folder, ECHO)
    assert daemon.start(*NOBODY).returncode == Exit.OK
    daemon.send(signal.SIGUSR1)
    until(lambda: len(os.listdir(logs)) == 2, "the log was put aside")
    daemon.send(signal.SIGUSR2)
    daemon.says("where its tasks are")
    assert daemon.log.stat().st_uid == 65534
    daemon.stop()


def test_a_rotation_that_is_not_permitted_is_said_and_logging_goes_on(daemon: Daemons) -> None:
    """In the same file, since nothing else is ours."""
    write(daemon.folder, ECHO)
    assert daemon.start(*NOBODY).returncode == Exit.OK
    daemon.send(signal.SIGUSR1)
    daemon.says("Permission denied")
    daemon.send(signal.SIGUSR2)
    daemon.says("where its tasks are")
    daemon.stop()


# ---- a new root


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
def test_a_log_can_be_put_aside_in_a_new_root_if_it_is_in_there(daemon: Daemons, inside: bool) -> None:
    """By its name there; one outside is written to all the same, and nothing of its name is made inside."""
    jail = daemon.folder / "jail"
    jail.mkdir()
    logs = (jail if inside else daemon.folder) / "log"
    logs.mkdir()
    (jail / str(logs)[1:]).mkdir(parents=True)
    daemon.log = logs / "app.log"
    write(daemon.folder, ECHO)
    assert daemon.start("--chroot", jail).returncode == Exit.OK
    daemon.send(signal.SIGUSR1)
    if inside:
        until(lambda: len(os.listdir(logs)) == 2, "the log was put aside")
    else:
        daemon.says("it is outside of the root of this process")
    daemon.send(signal.SIGHUP)
    daemon.send(signal.SIGUSR2)
    daemon.says("where its tasks are")
    daemon.stop()
    assert sorted(os.listdir(logs)) == (["app.log", "app.log.1"] if inside else ["app.log"])
    assert os.listdir(jail / str(logs)[1:]) == []


def test_it_serves_from_a_root_that_has_nothing_in_it(daemon: Daemons) -> None:
    """Row 65: not even /dev/null, without which twistd's parent hung (#3473); the pid file is outside."""
    jail = daemon.folder / "jail"
    jail.mkdir()
    write(
        daemon.folder,
        IMPORTS
        + "import os\n"
        + "async def look(stream):\n"
        + "    async for data in stream:\n"
        + "        await stream.send_all(str(os.listdir('/')).encode())\n"
        + "application = Application('app', TCPServer(0, look, host='127.0.0.1', name='srv'))\n",
    )
    done = daemon.start("--chroot", jail, *NOBODY)
    assert done.returncode == Exit.OK, done.stderr
    daemon.says("app: running")
    port = int(re.findall(r"listening on .*:(\d+)", daemon.log.read_text())[0])
    with connect(port) as client:
        assert ask(client, b"what is there?", 2) == b"[]"
    pid = daemon.pid
    assert os.path.realpath(f"/proc/{pid}/root") == str(jail)
    assert not [
        number
        for number in os.listdir(f"/proc/{pid}/fd")
        if os.path.isdir(os.path.realpath(f"/proc/{pid}/fd/{number}"))
    ], "through an open folder it could leave"
    daemon.stop()
    assert daemon.pidfile.read_text() == ""


def test_a_failure_in_a_new_root_is_told_with_its_lines(daemon: Daemons) -> None:
    """The modules that print a traceback were imported in time."""
    jail = daemon.folder / "jail"
    jail.mkdir()
    write(
        daemon.folder,
        IMPORTS
        + "async def fail():\n    raise ValueError('no')  # the very line\n"
        + "application = Application('app', TaskService(fail, start_timeout=5))\n",
    )
    with running(trioservice("run", "app.tac", "--chroot", jail), cwd=daemon.folder) as app:
        assert app.ends() == Exit.FAILED
        assert "ValueError: no" in app.err


def test_only_root_may_do_that(folder: Path) -> None:
    """And everybody else is told so."""
    write(folder, ECHO)
    status, _, err = outcome(powerless(trioservice("run", "app.tac", "--chroot", folder)), cwd=folder)
    assert status == Exit.NO_PERMISSION
    assert "only root may do that" in err
