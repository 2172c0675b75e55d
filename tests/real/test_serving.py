"""`trioservice run` as a process, and clients who know nothing of trio."""

from __future__ import annotations

import re
import resource
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import foreign, running, trioservice, until

from .support import ECHO, IMPORTS, LIMIT, LOCAL, ask, connect, write

pytestmark = pytest.mark.real


def test_netcat_gets_back_what_it_sends(tmp_path: Path) -> None:
    """`printf hello | nc` is how the documentation talks to the echo application."""
    nc = foreign("nc")
    with running(trioservice("run", write(tmp_path, ECHO))) as app:
        # -N ends our half when the input ends; netcats that do not know it do so anyway.
        for options in (["-N"], ["-q1"], []):
            got = subprocess.run(
                [nc, *options, LOCAL, str(app.port("app/srv"))],
                input=b"hello",
                capture_output=True,
                timeout=LIMIT,
            )
            if got.stdout == b"hello":
                break
        assert got.stdout == b"hello"
        app.stops()


def test_the_start_is_logged_with_every_path_address_and_duration(tmp_path: Path) -> None:
    """Whoever looks at the log knows what runs, where it listens, and what took its time."""
    text = IMPORTS + (
        "async def slow(task_status):\n"
        "    await trio.sleep(0.05)\n"
        "    task_status.started()\n"
        "    await trio.sleep_forever()\n"
        "back = MultiService(TaskService(slow, name='db'), name='back')\n"
        "application = Application('shop', back, TCPServer(0, print, host='localhost', name='web'))\n"
    )
    with running(trioservice("run", write(tmp_path, text))) as app:
        app.says(r"shop: running, after")
        lines = [re.sub(r"^.{23} ", "", line) for line in app.err.splitlines()]
        for line, expected in zip(
            lines,
            [
                r"INFO    shop/back/db: running, after (5\d|[6-9]\d|\d{3})\.\d ms of starting",
                r"INFO    shop/back: running, after \d+\.\d ms of starting",
                r"INFO    shop/web: listening on (127\.0\.0\.1|\[::1\]):\d+(, \[::1\]:\d+)?",
                r"INFO    shop/web: running, after \d+\.\d ms of starting",
                r"INFO    shop: running, after \d+\.\d ms of starting",
            ],
            strict=True,
        ):
            assert re.fullmatch(expected, line), line
        app.stops()
        stopped = re.findall(r" (shop\S*): stopped", app.err)
        assert stopped == ["shop/web", "shop/back/db", "shop/back", "shop"]  # L6
        assert app.out == ""


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Enough of them for a thousand sockets, in this process and in its children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may have no more than {hard} descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_connections_at_once_are_all_answered(tmp_path: Path) -> None:
    """They are open at the same time, and each gets its own answer."""
    with running(trioservice("run", write(tmp_path, ECHO))) as app:
        port = app.port("app/srv")
        clients = [connect(port) for _ in range(1000)]
        try:
            for number, client in enumerate(clients):
                client.sendall(b"client %04d" % number)
            for number, client in enumerate(clients):
                assert ask(client, b"", 11) == b"client %04d" % number
        finally:
            for client in clients:
                client.close()
        assert app.stops() == -15
        assert "Traceback" not in app.err


def test_a_reset_is_one_line_in_the_log_and_the_next_client_is_served(tmp_path: Path) -> None:
    """A client that crashes leaves a line, no traceback, and no trouble."""
    with running(trioservice("run", write(tmp_path, ECHO))) as app:
        port = app.port("app/srv")
        with connect(port) as client:
            assert ask(client, b"hello") == b"hello"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        app.says(r"INFO +app/srv: connection with 127\.0\.0\.1:\d+ broke: .*reset by peer\n")  # L16
        with connect(port) as client:
            assert ask(client, b"again") == b"again"
        assert app.stops() == -15
        assert "Traceback" not in app.err


def test_a_handler_that_raises_is_in_the_log_and_the_next_client_is_served(tmp_path: Path) -> None:
    """A bug that one client meets is told with its traceback, and is not the end."""
    text = ECHO.replace("        await stream", "        1 / (len(data) - 3)\n        await stream")
    with running(trioservice("run", write(tmp_path, text))) as app:
        port = app.port("app/srv")
        with connect(port) as client:
            assert ask(client, b"bug", 1) == b""
        app.says(r"ERROR +app/srv: handler for 127\.0\.0\.1:\d+ raised ZeroDivisionError")  # L16
        with connect(port) as client:
            assert ask(client, b"again") == b"again"
        assert app.stops() == -15


def test_few_descriptors_delay_clients_and_end_nothing(tmp_path: Path) -> None:
    """With `ulimit -n` far too low, clients wait, the log says why, and all are served in the end."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    with running(trioservice("run", write(tmp_path, ECHO)), before=few) as app:
        port = app.port("app/srv")
        clients = [connect(port) for _ in range(40)]
        app.says(r"WARNING +app/srv: cannot accept connections: Too many open files")  # L16
        for client in clients:
            with client:
                assert ask(client, b"hello") == b"hello"
        assert app.stops() == -15


def test_without_standard_output_and_error_it_serves_and_stops_as_ever(tmp_path: Path) -> None:
    """Some supervisors start their processes with nothing open."""
    with socket.create_server((LOCAL, 0)) as free:
        port = free.getsockname()[1]
    path = write(tmp_path, ECHO.replace("TCPServer(0", f"TCPServer({port}"))
    command = ["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", *trioservice("run", path)]
    with running(command) as app:
        with until_connected(port) as client:
            assert ask(client, b"hello") == b"hello"
        assert app.stops() == -15


def until_connected(port: int) -> socket.socket:
    def attempt() -> socket.socket | None:
        try:
            return connect(port)
        except ConnectionRefusedError:
            return None

    client = until(attempt, f"port {port} answers")
    assert client is not None
    return client
