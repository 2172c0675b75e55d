"""Programs that tests start as processes of their own: foreign ones, and applications of ours.

A foreign program that is missing makes its test skip, with the reason; where
``TRIOSERVICE_REQUIRE_PROGRAMS=1`` says that nothing may be missing, it makes the test fail.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

LIMIT = 20.0  # seconds after which no process of a test may be left, however slow the machine


def foreign(name: str) -> str:
    """The path of a program that is not ours."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed"
    if os.environ.get("TRIOSERVICE_REQUIRE_PROGRAMS") == "1":
        pytest.fail(f"{reason}, and TRIOSERVICE_REQUIRE_PROGRAMS=1 demands it")
    pytest.skip(reason)


def trioservice(*args: str | Path) -> list[str]:
    """The command line of the ``trioservice`` that is installed beside this Python."""
    return [str(Path(sys.executable).with_name("trioservice")), *map(str, args)]


def until(condition: Callable[[], T], what: str, within: float = LIMIT) -> T:
    """Try again until *condition* returns something true; fail after *within* seconds."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {within} s")
        time.sleep(0.005)
    return value


class Process:
    """A process whose output can be read while it runs."""

    def __init__(self, popen: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self._popen = popen
        self._out = out
        self._err = err
        self.pid = popen.pid

    @property
    def out(self) -> str:
        """All that it has written to standard output."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """All that it has written to standard error."""
        return self._err.read_text(errors="replace")

    def says(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until standard error matches *pattern*, so many times; the last match."""

        def found() -> re.Match[str] | None:
            ended = self._popen.poll() is not None
            matches = list(re.finditer(pattern, self.err))
            if len(matches) < times and ended:
                pytest.fail(f"it ended without saying {pattern!r}:\n{self.err}")
            return matches[-1] if len(matches) >= times else None

        try:
            return until(found, f"it says {pattern!r}")
        except pytest.fail.Exception:
            print(self.err)
            raise

    def port(self, path: str = "") -> int:
        """The port that the server at *path* is listening on."""
        return int(self.says(rf"{path}: listening on .*?:(\d+)\b")[1])

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def ends(self, within: float = LIMIT) -> int:
        """Wait for its end; its status, or the negative number of the signal it died of."""
        try:
            return self._popen.wait(within)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end within {within} s:\n{self.err}")

    def stops(self, number: signal.Signals = signal.SIGTERM, within: float = LIMIT) -> int:
        """Send it a signal and wait for its end."""
        self.send(number)
        return self.ends(within)

    def stops_at_once(self) -> int:
        """Have it stopped without its drains, by a second signal; its end."""
        self.send(signal.SIGTERM)
        self.says("stopping: SIGTERM")
        return self.stops()


@contextmanager
def running(
    argv: list[str], *, cwd: Path | None = None, before: Callable[[], object] | None = None
) -> Iterator[Process]:
    """Run *argv*; kill it if the test leaves it behind.

    Args:
        cwd: its folder.
        before: called in the child, before it becomes the program.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        with out.open("wb") as out_file, err.open("wb") as err_file:
            popen = subprocess.Popen(
                argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out_file, stderr=err_file, preexec_fn=before
            )
        try:
            yield Process(popen, out, err)
        finally:
            popen.kill()
            popen.wait()


def outcome(argv: list[str], **options: object) -> tuple[int, str, str]:
    """Run *argv* to its end: its status, what it wrote to standard output, and to standard error."""
    with running(argv, **options) as process:  # type: ignore[arg-type]
        return process.ends(), process.out, process.err
