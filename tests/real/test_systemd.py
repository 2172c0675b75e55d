"""Under systemd: its tools judge our units, a stand-in hears us, and a real one runs us."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from programs import Process, foreign, outcome, running, trioservice, until

from .booted import PLACE, World, booted, whom_to_be
from .support import ECHO, IMPORTS, LOCAL, ask, connect, write
from .test_activation import free_ports

pytestmark = pytest.mark.real

SLOW = (
    IMPORTS
    + """
import time

class Stock(Service):
    async def run(self, task_status):
        await trio.sleep(1.2)
        task_status.started()
        await trio.sleep_forever()

async def handler(stream):
    one = await stream.receive_some()
    if one == b"block":
        time.sleep(60)  # the very mistake
    logging.warning("in flight")
    two = await stream.receive_some()
    await stream.send_all(one + two)

async def on_reload(app):
    await trio.sleep(0.2)

web = StreamServer("ENDPOINT", handler, name="web", drain_timeout=None)
application = Application(
    "shop", Stock(name="stock"), web, shutdown_timeout=20, on_reload=on_reload, start_timeout=60
)
"""
)


def slow(endpoint: str) -> str:
    return SLOW.replace("ENDPOINT", endpoint)


# ---- a stand-in hears us


class Supervisor:
    """What systemd would hear, with the moments."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self.messages.append((time.monotonic(), message.decode()))

    def hears(self, pattern: str) -> float:
        """Wait for a message that matches; when it came."""

        def found() -> float:
            return next((when for when, message in self.messages if re.search(pattern, message)), 0.0)

        return until(found, f"systemd hears {pattern}")

    def said(self, pattern: str, since: float = 0.0) -> list[str]:
        return [message for when, message in self.messages if when > since and re.search(pattern, message)]

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()


@contextmanager
def supervised(file: Path, *options: str, **variables: str) -> Iterator[tuple[Supervisor, Process]]:
    supervisor = Supervisor(file.with_name("notify"))
    variables = {"NOTIFY_SOCKET": str(supervisor.path), **variables}
    said = [f"{name}={value}" for name, value in variables.items()]
    try:
        with running(["env", *said, *trioservice("run", *options, file)]) as process:
            yield supervisor, process
    finally:
        supervisor.close()


def test_a_life_as_systemd_hears_it(tmp_path: Path) -> None:
    """Ready after the slow start, stopping at the request, more time for a long drain, then gone."""
    with supervised(write(tmp_path, slow("tcp:0:interface=127.0.0.1"))) as (supervisor, process):
        supervisor.hears("STATUS=starting shop/stock")
        assert supervisor.said("READY=1") == []
        supervisor.hears("READY=1")
        assert "shop: running" in process.err
        with connect(process.port("shop/web")) as client:
            client.sendall(b"one")
            process.says("in flight")
            process.send(signal.SIGTERM)
            supervisor.hears("STOPPING=1")
            supervisor.hears(
                r"STATUS=waiting for shop/web: 1 connection, 1\d s left\nEXTEND_TIMEOUT_USEC=10000000"
            )
            assert ask(client, b"two", 6) == b"onetwo"
        assert process.ends() == -signal.SIGTERM
        assert len(supervisor.said("READY=1")) == 1


def test_a_reload_as_systemd_hears_it(tmp_path: Path) -> None:
    """Begin and end, on SIGHUP."""
    with supervised(write(tmp_path, slow("tcp:0:interface=127.0.0.1"))) as (supervisor, process):
        supervisor.hears("READY=1")
        process.send(signal.SIGHUP)
        began = supervisor.hears(r"RELOADING=1\nMONOTONIC_USEC=\d+\n")
        supervisor.hears(r"READY=1\nSTATUS=running; reloaded, in \d")
        assert supervisor.said("READY=1", since=began)
        assert process.stops() == -signal.SIGTERM


def test_the_watchdog_is_fed_until_the_loop_is_blocked(tmp_path: Path) -> None:
    file = write(tmp_path, slow("tcp:0:interface=127.0.0.1"))
    with supervised(file, WATCHDOG_USEC="200000") as (supervisor, process):
        supervisor.hears("WATCHDOG=1")
        supervisor.hears("READY=1")
        until(lambda: len(supervisor.said("WATCHDOG=1")) > 5, "it is fed again and again")
        with connect(process.port("shop/web")) as client:
            client.sendall(b"block")
            until(
                lambda: not supervisor.said("WATCHDOG=1", since=time.monotonic() - 0.5),
                "it is fed no more",
            )


def test_a_program_that_we_start_does_not_speak_in_our_name(tmp_path: Path) -> None:
    """systemd-notify speaks for whoever has the variable; started by us, it has not."""
    notify = foreign("systemd-notify")
    text = f"""{IMPORTS}
import subprocess
async def call():
    logging.warning("status %s", subprocess.run([{notify!r}, "--status=I am the service"]).returncode)
application = Application("app", TaskService(call), keep_running=True)
"""
    with supervised(write(tmp_path, text)) as (supervisor, process):
        supervisor.hears("READY=1")
        process.says("status 1")
        assert supervisor.said("I am the service") == []


def test_in_another_root_it_is_still_heard(tmp_path: Path) -> None:
    """The socket is opened before the move."""
    if os.geteuid() != 0:
        pytest.skip("only root may change its root")
    root = tmp_path / "root"
    root.mkdir()
    with supervised(write(tmp_path, ECHO), f"--chroot={root}") as (supervisor, process):
        supervisor.hears("READY=1")
        process.send(signal.SIGTERM)
        supervisor.hears("STOPPING=1")
        assert process.ends() == -signal.SIGTERM


def test_a_daemon_tells_its_number(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    options = ["--daemon", f"--pidfile={pidfile}", f"--logfile={tmp_path / 'log'}"]
    with supervised(write(tmp_path, ECHO), *options) as (supervisor, process):
        assert process.ends() == 0
        supervisor.hears("READY=1")
        pid = int(pidfile.read_text())
        assert supervisor.said("MAINPID") == [f"MAINPID={pid}"]
        assert outcome(trioservice("stop", pidfile))[0] == 0
        supervisor.hears("STOPPING=1")


# ---- its tools judge our units


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (ECHO, []),
        (ECHO.replace("TCPServer(0", "TCPServer(80"), ["--logfile=/var/log/shop/shop.log"]),
        (ECHO.replace("TCPServer(0,", 'UNIXServer("/run/shop/web",').replace('host="127.0.0.1", ', ""), []),
        (slow("systemd:web"), ["--socket", "web=443"]),
        (slow("systemd:web"), ["--socket", "web=/run/web.sock", "--uid", "daemon", "--prefix=a % b"]),
    ],
    ids=["plain", "a low port", "unix", "a socket of systemd's", "a user"],
)
def test_systemd_understands_the_units_and_finds_little_to_fear(
    tmp_path: Path, text: str, options: list[str]
) -> None:
    """No warning, and an exposure of less than 2.0, where 10 is a service that may do everything."""
    analyze = foreign("systemd-analyze")
    status, out, err = outcome(trioservice("unit", write(tmp_path, text), *options, "--into", tmp_path))
    assert (status, err) == (0, "")
    made = out.split()
    verified = subprocess.run([analyze, "verify", *made], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    judged = subprocess.run(
        [analyze, "security", "--no-pager", "--offline=true", "--threshold=20", made[0]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "Overall exposure level" in judged.stdout


# ---- a real one runs us


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[World, int]]:
    """A systemd that listens for a shop which is not started yet, and the port."""
    (port,) = free_ports()
    # A start that takes as long as the test wants, however slow the machine is.
    waiting = f"while not __import__('os').path.exists('{PLACE}/stocked'): await trio.sleep(0.05)"
    file = write(tmp_path, slow("systemd:web").replace("await trio.sleep(1.2)", waiting))
    folder = tmp_path / "units"
    folder.mkdir()
    file.rename(folder / "app.tac")
    status, _, err = outcome(
        trioservice("unit", folder / "app.tac", f"--socket=web={LOCAL}:{port}", f"--into={folder}")
    )
    assert status == 0, err
    unit = folder / "shop.service"
    unit.write_text(unit.read_text().replace(str(folder), PLACE))
    # Shorter, so that the test is; and the log where we can read it, since nobody keeps a journal.
    drop_in = folder / "shop.service.d"
    drop_in.mkdir()
    (drop_in / "test.conf").write_text(
        f"[Service]\nStandardError=append:{PLACE}/log\nWatchdogSec=4\nTimeoutStopSec=1\nRestartSec=100ms\n"
        + whom_to_be()
    )
    with booted(folder) as world:
        world.systemctl("start", "shop-web.socket")
        yield world, port


def test_under_a_real_systemd(world: tuple[World, int]) -> None:
    """Started by its first client, ready when it says so, reloaded, killed by the watchdog, stopped."""
    systemd, port = world
    with connect(port) as client:  # nobody serves yet, and nobody is refused
        until(lambda: systemd.shown("shop", "StatusText") == "starting shop/stock", "it is started")
        assert systemd.shown("shop", "ActiveState") == "activating"
        systemd.make("stocked")
        systemd.systemctl("start", "shop")  # returns when it is ready
        assert systemd.shown("shop", "ActiveState") == "active"
        assert ask(client, b"one", 0) == b""
        until(lambda: "in flight" in systemd.read("log"), "it has the first half")
        assert ask(client, b"two", 6) == b"onetwo"

    systemd.systemctl("reload", "shop")
    until(lambda: systemd.shown("shop", "StatusText").startswith("running; reloaded, in "), "it is reloaded")
    assert systemd.shown("shop", "ActiveState") == "active"

    with connect(port) as client:
        client.sendall(b"block")
        until(lambda: systemd.shown("shop", "NRestarts") == "1", "the watchdog bites")
    assert "time.sleep(60)" not in systemd.read("log")  # a traceback of faulthandler's names file and line
    assert re.search(rf'File "{PLACE}/app.tac", line \d+ in handler', systemd.read("log"))
    until(lambda: systemd.shown("shop", "ActiveState") == "active", "it is started again")

    with connect(port) as client:
        client.sendall(b"one")
        until(lambda: systemd.read("log").count("in flight") == 2, "a request is in flight")
        systemd.systemctl("stop", "--no-block", "shop-web.socket", "shop")
        until(
            lambda: "waiting for shop/web: 1 connection" in systemd.shown("shop", "StatusText"), "it drains"
        )
        time.sleep(2)  # longer than TimeoutStopSec, which was put off
        assert systemd.shown("shop", "ActiveState") == "deactivating"
        assert ask(client, b"two", 6) == b"onetwo"
    until(lambda: systemd.shown("shop", "ActiveState") == "inactive", "it has stopped")
    assert systemd.shown("shop", "Result") == "success"
