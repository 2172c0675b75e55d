"""The system's log, by a door of our own."""

from __future__ import annotations

import logging
import os
import socket
import sys
import syslog
from collections.abc import Iterator
from pathlib import Path

import pytest

from trioservice.process import log_syslog
from trioservice.process.exits import CannotRun, Exit
from trioservice.process.log_formats import TextFormatter
from trioservice.process.log_syslog import SystemLog
from trioservice.process.logs import open_logs
from trioservice.process.settings import Settings

from .support import as_in_a_fresh_process, record


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What syslogd would listen at; libc knows one place only, so it has to be free."""
    path = Path(os.path.realpath("/dev/log"))  # systemd leaves a link there, whether it runs or not
    if os.geteuid() != 0 or path.exists():
        pytest.skip("/dev/log is taken, or may not be made")
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(5)
        try:
            yield sock
        finally:
            syslog.closelog()
            path.unlink()


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_each_line_is_a_message_with_prefix_number_and_priority(
    door: socket.socket, level: int, priority: int
) -> None:
    """Row 82: twistd knew two priorities (#7549)."""
    log = SystemLog("shop")
    log.setFormatter(TextFormatter(head=False))
    log.handle(record("one\ntwo\0", level=level, service="shop/web"))
    for line in ("shop/web: one", "two\\0"):
        message = door.recv(999).decode().rstrip("\0\n")
        assert message.startswith(f"<{syslog.LOG_DAEMON + priority}>")
        assert message.endswith(f" shop[{os.getpid()}]: {line}")


def test_it_is_asked_for_by_an_option(door: socket.socket) -> None:
    """Row 82: with the prefix that was given."""
    with as_in_a_fresh_process():
        open_logs(Settings(syslog=True, prefix="mine"))
        logging.getLogger("x").info("hello")
    assert door.recv(999).decode().rstrip("\0\n").endswith(f" mine[{os.getpid()}]: hello")


def test_where_there_is_none_that_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """libc would say nothing, and write it to nowhere."""
    monkeypatch.setattr(log_syslog, "_DOOR", str(tmp_path / "no"))
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(CannotRun, match="there is no system log to write to: nobody listens at") as refused:
        SystemLog("shop")
    assert refused.value.status is Exit.CANNOT_CREATE
    monkeypatch.setitem(sys.modules, "syslog", None)
    with pytest.raises(CannotRun, match=r"it has no syslog\(3\)"):
        SystemLog("shop")


def test_a_record_that_cannot_be_formatted_is_told_as_logging_does(
    door: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a mistake in somebody's code."""
    SystemLog("shop").handle(record("%d", "three"))
    assert "--- Logging error ---" in capsys.readouterr().err
