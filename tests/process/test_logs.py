"""Where the log goes, and what a line of it looks like."""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from trioservice import Application, Service, TaskService
from trioservice.process.logs import Formatter, log_to, tell

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


@contextmanager
def as_in_a_fresh_process() -> Iterator[None]:
    """The root logger without what pytest has hung on it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


@as_in_a_fresh_process()
def test_a_line_has_time_level_path_and_message() -> None:
    """An event of the tree begins with its path, and with one path only."""
    log = io.StringIO()
    log_to(log)
    trio.run(Application("shop", TaskService(trio.sleep, 0, name="web"), handle_signals=False).main)
    lines = log.getvalue().splitlines()
    assert re.fullmatch(rf"{TIME} INFO    shop/web: running, after \S+ ms of starting", lines[0])
    assert re.fullmatch(rf"{TIME} INFO    shop: finished", lines[-1])
    assert all(line.count("shop") == 1 for line in lines)


@as_in_a_fresh_process()
def test_what_a_service_logs_carries_its_path_in_threads_too() -> None:
    """Nobody has to write paths into messages; libraries that know nothing of us get them as well."""
    log = io.StringIO()
    log_to(log)

    class Worker(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            task_status.started()
            logging.getLogger("some.library").warning("low on %s", "ink")
            await trio.to_thread.run_sync(logging.getLogger("another").error, "out of paper")

    trio.run(Application("shop", Worker(name="printer"), handle_signals=False).main)
    assert re.search(rf"^{TIME} WARNING shop/printer: low on ink$", log.getvalue(), re.MULTILINE)  # L20
    assert re.search(rf"^{TIME} ERROR   shop/printer: out of paper$", log.getvalue(), re.MULTILINE)  # L20


@as_in_a_fresh_process()
def test_what_nobodys_service_logs_has_no_path() -> None:
    """Outside of a service there is nothing to add."""
    log = io.StringIO()
    log_to(log)
    logging.getLogger("x").warning("hello")
    thread = threading.Thread(target=logging.getLogger("x").warning, args=("from a thread",))
    thread.start()
    thread.join()
    assert re.fullmatch(rf"{TIME} WARNING hello\n{TIME} WARNING from a thread\n", log.getvalue())


def test_a_traceback_stands_below_its_line() -> None:
    """The formatter leaves tracebacks as Python prints them."""
    try:
        raise ValueError("no")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it broke", (), (ValueError, error, None))
    assert Formatter().format(record).endswith("ERROR   it broke\nValueError: no")


@as_in_a_fresh_process()
def test_only_what_is_loud_enough_is_written() -> None:
    """INFO by default; another level on demand."""
    log = io.StringIO()
    log_to(log, logging.ERROR)
    logging.getLogger("x").warning("not so loud")
    logging.getLogger("x").error("loud")
    assert log.getvalue().count("\n") == 1


@as_in_a_fresh_process()
def test_by_default_it_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the application."""
    log_to()
    logging.getLogger("x").info("hello")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("INFO    hello\n")


@as_in_a_fresh_process()
def test_an_application_that_has_set_up_logging_itself_keeps_it() -> None:
    """Whoever configured logging in the file meant it."""
    mine = logging.NullHandler()
    root = logging.getLogger()
    root.addHandler(mine)
    root.setLevel(logging.CRITICAL)
    log_to(io.StringIO())
    assert root.handlers == [mine]
    assert root.level == logging.CRITICAL


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError("the reader has gone")


def test_a_stream_that_cannot_take_it_is_no_reason_for_a_traceback() -> None:
    """Closed, broken, or of an encoding that lacks the character."""
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert not tell(None, "lost")
    assert not tell(_Broken(), "lost")
    assert tell(ascii_only, "└─ stock\n")
    assert ascii_only.buffer.getvalue() == b"?? stock\n"  # type: ignore[attr-defined]
