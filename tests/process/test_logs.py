"""Where the log goes, and who decides it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import threading
from pathlib import Path

import pytest
import structlog
import trio

from trioservice import Application, Service, TaskService
from trioservice.process.log_files import LogFile
from trioservice.process.log_formats import JournalFormatter, JSONFormatter, TextFormatter
from trioservice.process.logs import StreamLog, open_logs, set_level
from trioservice.process.settings import Settings

from .support import as_in_a_fresh_process

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def handler_for(**settings: object) -> logging.Handler:
    """Where everything goes by these settings."""
    open_logs(Settings(**settings))  # type: ignore[arg-type]
    (handler,) = logging.getLogger().handlers
    return handler


class Ear(logging.Handler):
    """The application's own handler."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


def live(application: Application) -> None:
    trio.run(application.main)


# ---- what is in it


@as_in_a_fresh_process()
def test_an_event_of_the_tree_begins_with_its_path_and_with_one_path_only() -> None:
    """Its own events are records like all others."""
    open_logs(Settings(logfile="app.log"))
    live(Application("shop", TaskService(trio.sleep, 0, name="web"), handle_signals=False))
    lines = Path("app.log").read_text().splitlines()
    assert re.fullmatch(rf"{TIME} INFO    shop/web: running, after \S+ ms of starting", lines[0])
    assert re.fullmatch(rf"{TIME} INFO    shop: finished", lines[-1])
    assert all(line.count("shop") == 1 for line in lines)


class Printer(Service):
    """Has a library that knows nothing of us, and a thread."""

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        task_status.started()
        logging.getLogger("some.library").warning("low on %s", "ink")
        await trio.to_thread.run_sync(logging.getLogger("another").error, "out of paper")


@as_in_a_fresh_process()
def test_what_a_service_logs_carries_its_path_in_threads_too() -> None:
    """Nobody has to write paths into messages."""
    open_logs(Settings(logfile="app.log"))
    live(Application("shop", Printer(name="printer"), handle_signals=False))
    log = Path("app.log").read_text()
    assert re.search(rf"^{TIME} WARNING shop/printer: low on ink$", log, re.MULTILINE)  # L20
    assert re.search(rf"^{TIME} ERROR   shop/printer: out of paper$", log, re.MULTILINE)  # L20


@as_in_a_fresh_process()
def test_what_nobodys_service_logs_has_no_path() -> None:
    """Outside of a service there is nothing to add."""
    open_logs(Settings(logfile="app.log"))
    logging.getLogger("x").warning("hello")
    thread = threading.Thread(target=logging.getLogger("x").warning, args=("from a thread",))
    thread.start()
    thread.join()
    assert re.fullmatch(rf"{TIME} WARNING hello\n{TIME} WARNING from a thread\n", Path("app.log").read_text())


@as_in_a_fresh_process()
def test_a_level_counts_for_one_service_and_can_be_changed_while_it_runs() -> None:
    """By the path of the service in whose code the record is made, whatever the logger."""
    open_logs(Settings(logfile="app.log", log_levels=(("shop/loud", logging.DEBUG),)))

    class Talks(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            logging.getLogger("library").debug("early word of %s", self.name)
            set_level("shop/quiet", "DEBUG")
            logging.getLogger("library").debug("late word of %s", self.name)
            task_status.started()

    live(Application("shop", Talks(name="loud"), Talks(name="quiet"), handle_signals=False))
    words = re.findall(r"(\w+) word of (\w+)", Path("app.log").read_text())
    assert words == [("early", "loud"), ("late", "loud"), ("early", "quiet"), ("late", "quiet")]


@as_in_a_fresh_process()
def test_structlog_works_on_top() -> None:
    """Its facts stand beside ours."""
    open_logs(Settings(logfile="app.log", log_format="json"))
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )

    class Web(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            structlog.get_logger("web").bind(order=17).info("sold", fruit="pear")
            task_status.started()

    try:
        live(Application("shop", Web(name="web"), handle_signals=False))
    finally:
        structlog.reset_defaults()
    sold = next(json.loads(line) for line in Path("app.log").read_text().splitlines() if "sold" in line)
    assert (sold["service"], sold["message"], sold["order"], sold["fruit"]) == (
        "shop/web",
        "sold",
        17,
        "pear",
    )


# ---- where it goes


@as_in_a_fresh_process()
def test_by_default_it_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the application."""
    logs = open_logs(Settings())
    logging.getLogger("x").info("hello")
    logging.getLogger("x").debug("too quiet")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("INFO    hello\n")
    assert err.count("\n") == 1
    assert logs.is_standard_error
    assert logs.tail() == ""


@as_in_a_fresh_process()
def test_a_dash_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Row 79."""
    logs = open_logs(Settings(logfile="-"))
    logging.getLogger("x").info("hello")
    out, err = capsys.readouterr()
    assert out.endswith("INFO    hello\n")
    assert err == ""
    assert not logs.is_standard_error


@as_in_a_fresh_process()
def test_a_file_is_appended_to_and_a_daemon_has_one_by_default() -> None:
    """Rows 79 and 82."""
    handler = handler_for(logfile="some.log")
    assert isinstance(handler, LogFile)
    assert handler.path == os.path.abspath("some.log")
    handler = handler_for(daemon=True, logfile=None, log_format="text")
    assert isinstance(handler, LogFile)
    assert handler.path == os.path.abspath("trioservice.log")


@as_in_a_fresh_process()
def test_debugging_makes_it_tell_everything() -> None:
    """Whatever level was asked for."""
    open_logs(Settings(logfile="app.log", debug=True, log_level=logging.ERROR))
    logging.getLogger("x").debug("a detail")
    assert "a detail" in Path("app.log").read_text()


@pytest.mark.parametrize(
    ("settings", "formatter"),
    [
        ({}, TextFormatter),
        ({"log_format": "text"}, TextFormatter),
        ({"log_format": "json"}, JSONFormatter),
        ({"log_format": "journal"}, JournalFormatter),
        ({"logfile": "app.log"}, TextFormatter),
        ({"logfile": "app.log", "log_format": "json"}, JSONFormatter),
    ],
)
@as_in_a_fresh_process()
def test_a_format_is_what_was_asked_for(
    settings: dict[str, object], formatter: type[logging.Formatter]
) -> None:
    """Row 85, but for one thing: whether a terminal looks on or not, it is text unless somebody says JSON."""
    assert type(handler_for(**settings).formatter) is formatter


@as_in_a_fresh_process()
def test_in_the_journal_the_format_is_the_journals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unless somebody says otherwise."""
    with open(tmp_path / "journal", "w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert type(handler_for().formatter) is JournalFormatter
        assert type(handler_for(log_format="text").formatter) is TextFormatter


# ---- who decides


@as_in_a_fresh_process()
def test_an_application_that_has_set_up_logging_itself_keeps_it() -> None:
    """Row 78: whoever configured logging in the file meant it, level and all."""
    mine = logging.NullHandler()
    root = logging.getLogger()
    root.addHandler(mine)
    root.setLevel(logging.CRITICAL)
    logs = open_logs(Settings())
    assert root.handlers == [mine]
    assert root.level == logging.CRITICAL
    logs.reopen()  # which is the application's own business
    logs.rotate()
    logs.give_to(0, 0)


@pytest.mark.parametrize("asked", [{"logfile": "app.log"}, {"log_format": "json"}])
@as_in_a_fresh_process()
def test_the_command_line_has_the_last_word(asked: dict[str, object]) -> None:
    """Row 78: an operator must be able to send it elsewhere without touching the file."""
    mine = logging.NullHandler()
    logging.getLogger().addHandler(mine)
    open_logs(Settings(**asked))  # type: ignore[arg-type]
    assert mine not in logging.getLogger().handlers
    assert len(logging.getLogger().handlers) == 1


@pytest.mark.parametrize("asked", [{"log_level": logging.DEBUG}, {"debug": True}])
@as_in_a_fresh_process()
def test_a_level_that_was_asked_for_counts_for_the_applications_own_handlers(
    asked: dict[str, object],
) -> None:
    """Row 78: they stay, and tell what the operator wants to know."""
    ear = Ear()
    open_logs(Settings(**asked))  # type: ignore[arg-type]
    logging.getLogger("x").debug("a detail")
    assert ear.heard == ["a detail"]


@as_in_a_fresh_process()
def test_a_service_can_be_made_louder_for_the_applications_own_handlers() -> None:
    """And its own general level stays."""
    ear = Ear()
    logging.getLogger().setLevel(logging.ERROR)
    open_logs(Settings(log_levels=(("shop/web", logging.DEBUG),)))
    logging.getLogger("x").debug("of a service", extra={"service": "shop/web"})
    logging.getLogger("x").info("of nobody")
    logging.getLogger("x").error("loud")
    assert ear.heard == ["of a service", "loud"]


@as_in_a_fresh_process()
def test_what_is_the_applications_is_as_it_was_afterwards() -> None:
    """A program that runs a tree among other things has its own log back."""
    ear = Ear()
    with open_logs(Settings(debug=True, log_levels=(("shop/web", logging.ERROR),))):
        assert ear.filters
        assert logging.getLogger().level == logging.DEBUG
    assert not ear.filters
    assert logging.getLogger().level == logging.WARNING


@as_in_a_fresh_process()
def test_the_applications_own_log_at_the_terminal_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Or what goes wrong would be told there twice."""
    logging.basicConfig()
    assert open_logs(Settings()).is_standard_error


@as_in_a_fresh_process()
def test_a_daemon_does_not_log_to_a_terminal_that_it_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    """As `logging.basicConfig` in the file would have it: all of it would be lost, or come back for ever."""
    logging.basicConfig()
    mine = handler_for(daemon=True)
    assert isinstance(mine, LogFile)


@as_in_a_fresh_process()
def test_a_daemon_keeps_what_the_application_logs_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """It has said where, and that is still there."""
    logging.basicConfig(filename="theirs.log")
    open_logs(Settings(daemon=True))
    logging.error("hello")
    assert Path("theirs.log").read_text() == "ERROR:root:hello\n"
    assert not Path("trioservice.log").exists()


# ---- the start of a life


@as_in_a_fresh_process()
def test_a_log_that_lasts_begins_with_who_writes_it() -> None:
    """Row 77."""
    with open_logs(Settings(logfile="app.log")):
        logging.info("hello")
    first, second = Path("app.log").read_text().splitlines()
    wanted = rf"{TIME} INFO    trioservice \S+, trio \d\S+, Python 3\.\d+\.\d+, process {os.getpid()}"
    assert re.fullmatch(wanted, first)
    assert second.endswith("hello")


@as_in_a_fresh_process()
def test_at_a_terminal_that_is_a_detail(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever sits there has just typed it."""
    with open_logs(Settings()):
        pass
    assert capsys.readouterr().err == ""


# ---- what can happen to it


@as_in_a_fresh_process()
def test_what_cannot_be_done_to_the_file_is_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """And everything goes on."""
    logs = open_logs(Settings(logfile="app.log"))
    logging.getLogger("x").info("before")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        patch.setattr(os, "open", refuse)
        patch.setattr(os, "fchown", refuse)
        logs.give_to(0, 0)
        logs.rotate()
        logs.reopen()
    said = [line[32:] for line in Path("app.log").read_text().splitlines()]
    assert said == [
        "before",
        "the log cannot be given away, so it stays whose it is: Permission denied",
        "the log cannot be put aside, so it goes on in the same file: Permission denied",
        "the log cannot be opened anew, so the old file is written to: Permission denied",
    ]
    assert logs.tail() == Path("app.log").read_text()


@as_in_a_fresh_process()
def test_rotating_and_opening_anew_are_done_to_the_file() -> None:
    """Row 81."""
    logs = open_logs(Settings(logfile="app.log", log_keep=1))
    logging.getLogger("x").info("one")
    logs.rotate()
    logging.getLogger("x").info("two")
    os.rename("app.log", "aside")
    logs.reopen()
    logging.getLogger("x").info("three")
    assert [Path(name).read_text()[32:] for name in ("app.log.1", "aside", "app.log")] == [
        "one\n",
        "two\n",
        "three\n",
    ]


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError("the reader has gone")


@as_in_a_fresh_process()
def test_a_stream_that_is_lost_takes_nothing_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Closed, or broken: the application goes on without a log."""
    closed = io.StringIO()
    closed.close()
    for stream in (Broken(), closed):
        StreamLog(stream).handle(logging.makeLogRecord({"msg": "hello"}))
    assert capsys.readouterr() == ("", "")


@as_in_a_fresh_process()
def test_a_character_that_the_stream_lacks_costs_no_record() -> None:
    """In the C locale."""
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    StreamLog(ascii_only).handle(logging.makeLogRecord({"msg": "żółw"}))
    assert ascii_only.buffer.getvalue() == b"\\u017c\\xf3\\u0142w\n"  # type: ignore[attr-defined]
