"""Every example starts, does what it says, and stops."""

from __future__ import annotations

import fcntl
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from programs import Process, running, trioservice

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).parent.parent / "examples"


@contextmanager
def serving(example: str, port: int) -> Iterator[Process]:
    """The example, running; its port is its own, so one test at a time, and none if it is taken."""
    with open(Path(tempfile.gettempdir(), "trioservice-examples.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError as error:
                pytest.skip(f"{example} wants port {port}, but somebody else has it: {error}")
        with running(trioservice("run", EXAMPLES / example)) as app:
            yield app


def ask(port: int, question: bytes) -> bytes:
    """What a client gets for *question* that says it once and ends its half."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            return answer.read()


def echo(name: str) -> None:
    with serving(name, 7001) as app:
        app.says(r"echo/echoService: listening on 127\.0\.0\.1:7001")
        app.says(r"echo: running")
        assert ask(7001, b"hello") == b"hello"
        assert app.stops() == -15
        assert "Traceback" not in app.err


def front_and_back(name: str) -> None:
    with serving(name, 7002) as app:
        app.says(r"shop: running")
        for earlier, later in (("shop/back/stock", "shop/back"), ("shop/back", "shop/front")):
            assert app.err.index(f"{earlier}: running") < app.err.index(f"{later}: running")  # L5
        assert app.err.index("shop/back: running") < app.err.index("shop/front: listening")  # L5
        assert ask(7002, b"apples\n") == b"3 apples\n"
        assert ask(7002, b"plums\n") == b"0 plums\n"
        assert app.stops() == -15
        stopped = re.findall(r" (shop\S*): stopped", app.err)
        assert stopped == ["shop/front", "shop/back/restock", "shop/back/stock", "shop/back", "shop"]  # L6
        assert "Traceback" not in app.err


def timer(name: str) -> None:
    with running(trioservice("run", EXAMPLES / name)) as app:
        app.says(r"kitchen: running")
        app.says(r"kitchen/taste: a spoonful", times=2)
        app.says(r"kitchen/look_outside: the call raised LookupError: it is dark", times=1)
        log = app.err
        assert log.index("kitchen: running") < log.index("more salt"), "a slow first call holds nobody up"
        assert log.index("more salt") < log.rindex("a spoonful"), "calls do not overlap"
        assert log.count("kitchen/tick: tick") >= 3
        assert app.stops() == -15
        assert app.err.count("more salt") == app.err.count("a spoonful"), "a stop waits for the call"  # L10


#: What each example has to do; a file without an entry fails the test.
DOES: dict[str, Callable[[str], None]] = {
    "01_echo.tac": echo,
    "02_front_and_back.tac": front_and_back,
    "12_timer.tac": timer,
}


def test_every_example_has_a_test_and_every_test_an_example() -> None:
    """An example that nobody runs soon teaches what is no longer true."""
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert files == DOES.keys()


@pytest.mark.parametrize("name", DOES)
def test_the_example_does_what_it_says(name: str) -> None:
    """It starts, answers and stops as the comment at its top promises."""
    DOES[name](name)


@pytest.mark.parametrize("name", DOES)
def test_the_comment_at_the_top_names_the_commands_that_work(name: str) -> None:
    """What a reader is told to type names this file and the port that it really uses."""
    _, comment, code = (EXAMPLES / name).read_text().split('"""', 2)
    assert f"trioservice run examples/{name}" in comment
    told = set(re.findall(r"nc -q1 127\.0\.0\.1 (\d+)", comment))
    assert told == set(re.findall(r"\b(70\d\d)\b", code))
