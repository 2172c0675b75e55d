"""What a person sees, and what a supervisor is told, when something is wrong."""

from __future__ import annotations

import ctypes
import re
import socket
import sys
from pathlib import Path

import pytest
from programs import outcome, running, trioservice

from .support import ECHO, IMPORTS, LOCAL, write

pytestmark = pytest.mark.real

LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} .*\n", re.MULTILINE)


def without_log(err: str) -> str:
    """What was written to standard error beside the log."""
    return LOG_LINE.sub("", err)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (None, 66, r"trioservice: no such file: app\.tac\n  hint: did you mean app\.py\?\n"),
        ("x = 1\ny = = 2\n", 65, r"trioservice: /\S+/app\.tac, line 2: invalid syntax\n  hint: y = = 2\n"),
        ("x = 1\n", 65, r"trioservice: no `application` in app\.tac\n  hint: .*\n"),
        (
            "application = 7\n",
            65,
            r"trioservice: `application` in app\.tac is no service but int: 7\n  hint: .*\n",
        ),
        (
            "def f():\n    raise KeyError('no')\nf()\n",
            70,
            r"Traceback \(most recent call last\):\n"
            r'  File "/\S+/app\.tac", line 3, in <module>\n    f\(\)\n'
            r'  File "/\S+/app\.tac", line 2, in f\n    raise KeyError\(\'no\'\)\n'
            r"KeyError: 'no'\n"
            r"trioservice: KeyError while loading app\.tac: 'no'\n  hint: .*\n",
        ),
    ],
    ids=["no file", "syntax", "no application", "wrong type", "raises"],
)
def test_a_target_that_is_none_is_told_in_one_line_and_a_hint(
    tmp_path: Path, content: str | None, status: int, said: str
) -> None:
    """No log, no frames of ours: nothing stands between the mistake and its mend."""
    write(tmp_path, content or "", "app.tac" if content is not None else "app.py")
    got, out, err = outcome(trioservice("run", "app.tac"), cwd=tmp_path)
    assert got == status
    assert out == ""
    assert re.fullmatch(said, err), err


def test_an_unknown_option_is_told_in_one_line_and_a_hint() -> None:
    """And with the status for a wrong command line."""
    status, out, err = outcome(trioservice("run", "--fast", "app.tac"))
    assert (status, out) == (64, "")
    assert re.fullmatch(r"trioservice: there is no option --fast\n  hint: .*\n", err)


def test_a_port_in_use_is_one_message_with_path_and_hint(tmp_path: Path) -> None:
    """The path says which service wants the port, the hint how to find who has it."""
    with socket.create_server((LOCAL, 0)) as taken:
        port = taken.getsockname()[1]
        path = write(tmp_path, ECHO.replace("TCPServer(0", f"TCPServer({port}"))
        status, out, err = outcome(trioservice("run", path))
    assert (status, out) == (69, "")
    assert re.fullmatch(
        rf"app/srv: cannot listen on {LOCAL}:{port}: Address already in use; .*choose another port\n",
        without_log(err),
    ), err
    assert "Traceback" not in err


def test_a_second_copy_of_an_application_does_not_disturb_the_first(tmp_path: Path) -> None:
    """It ends with a message; the first one goes on."""
    with running(trioservice("run", write(tmp_path, ECHO))) as first:
        port = first.port("app/srv")
        path = write(tmp_path, ECHO.replace("TCPServer(0", f"TCPServer({port}"))
        status, _, err = outcome(trioservice("run", path))
        assert status == 69
        assert "Address already in use" in err
        with socket.create_connection((LOCAL, port), timeout=10) as client:
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"
        assert first.stops() == -15


PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE = 24, 10


def may_not_bind_low_ports() -> None:
    """In the child: give up the one privilege that even root needs for a port below 1024."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="a privilege is given up in the manner of Linux")
def test_a_port_that_is_not_permitted_is_status_77_with_path_and_hint(tmp_path: Path) -> None:
    """A supervisor need not try again, and a person learns the ways out."""
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first_free < 2:
        pytest.skip("every port is permitted to everybody here")
    port = first_free - 1
    path = write(tmp_path, ECHO.replace("TCPServer(0", f"TCPServer({port}"))
    status, out, err = outcome(trioservice("run", path), before=may_not_bind_low_ports)
    assert (status, out) == (77, ""), err
    assert re.fullmatch(
        rf"app/srv: cannot listen on {LOCAL}:{port}: Permission denied; .*CAP_NET_BIND_SERVICE.*\n",
        without_log(err),
    ), err


FAILING = (
    IMPORTS
    + """
async def deep(what):
    raise ValueError(what)

async def work():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deep, "one")
        nursery.start_soon(deep, "two")

async def wait():
    await trio.sleep_forever()

back = MultiService(TaskService(wait), TaskService(work), name="back")
application = Application("app", TaskService(wait, name="first"), back)
"""
)


def is_readable(err: str, path: Path, line: int) -> None:
    """Path first, then the user's own frames, once for each error; nothing else."""
    said = without_log(err)
    blocks = re.split(r"^app/back/work failed\n", said, flags=re.MULTILINE)
    assert blocks[0] == "", err
    assert len(blocks) == 3, err  # L14: each error once
    for block in blocks[1:]:
        assert re.findall(r'File "([^"]+)", line (\d+)', block) == [(str(path), str(line))], err
        assert "Exception" not in block
    assert sorted(re.findall(r"ValueError: (\w+)", said)) == ["one", "two"]


def test_a_failing_service_is_one_readable_report_and_status_1(tmp_path: Path) -> None:
    """Which service, what, and where in its own code."""
    path = write(tmp_path, FAILING)
    line = path.read_text().splitlines().index("    raise ValueError(what)") + 1
    status, out, err = outcome(trioservice("run", path))
    assert (status, out) == (1, "")
    is_readable(err, path, line)
    assert re.findall(r" (app\S*): (?:stopped|failed)\n", err) == [  # L6
        "app/back/work",
        "app/back/wait",
        "app/back",
        "app/first",
        "app",
    ]


def test_a_plain_program_with_a_failing_service_reports_as_readably(tmp_path: Path) -> None:
    """`python app.py` needs no command of ours for that, and ends with status 1."""
    path = write(tmp_path, FAILING + "\ntrio.run(application.main)\nprint('not reached')\n", "app.py")
    line = path.read_text().splitlines().index("    raise ValueError(what)") + 1
    status, out, err = outcome([sys.executable, str(path)])
    assert (status, out) == (1, "")
    is_readable(err, path, line)


def test_a_plain_program_that_cannot_listen_says_so_in_one_line(tmp_path: Path) -> None:
    """A port in use is no reason for a traceback, whoever runs the application."""
    with socket.create_server((LOCAL, 0)) as taken:
        port = taken.getsockname()[1]
        text = ECHO.replace("TCPServer(0", f"TCPServer({port}") + "\ntrio.run(application.main)\n"
        status, out, err = outcome([sys.executable, str(write(tmp_path, text, "app.py"))])
    assert (status, out) == (1, "")
    assert re.fullmatch(rf"app/srv: cannot listen on {LOCAL}:{port}: Address already in use; .*\n", err), err


def test_a_programs_own_errors_are_told_by_python_as_ever(tmp_path: Path) -> None:
    """The readable report is for services; whatever else a program raises is not touched."""
    text = IMPORTS + (
        "application = Application('app', TaskService(trio.sleep, 0))\n"
        "trio.run(application.main)\n"
        "raise LookupError('mine')\n"
    )
    path = write(tmp_path, text, "app.py")
    status, _, err = outcome([sys.executable, str(path)])
    assert status == 1
    assert err.startswith(f'Traceback (most recent call last):\n  File "{path}", line 6, in <module>\n')
    assert err.endswith("LookupError: mine\n")


def test_a_failure_during_the_start_is_status_69(tmp_path: Path) -> None:
    """The application has never been ready, which is another thing than a failure in its work."""
    text = IMPORTS + (
        "async def start(task_status):\n"
        "    raise ValueError('no')\n"
        "application = Application('app', TaskService(start))\n"
    )
    status, _, err = outcome(trioservice("run", write(tmp_path, text)))
    assert status == 69
    assert without_log(err).startswith("app/start failed\n")


def test_a_plan_of_a_file_that_fails_when_run_can_be_drawn(tmp_path: Path) -> None:
    """Nothing is started, so nothing fails."""
    status, out, err = outcome(trioservice("plan", write(tmp_path, FAILING)))
    assert (status, err) == (0, "")
    assert out.splitlines()[1:] == [
        "├─ first  (TaskService)",
        "└─ back  (MultiService)",
        "   ├─ wait  (TaskService)",
        "   └─ work  (TaskService)",
    ]
