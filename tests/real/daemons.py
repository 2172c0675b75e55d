"""Applications that leave the terminal, and are gone when the test is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import LIMIT, trioservice, until


class Daemons:
    """What was started in *folder*: each by one command, each with the pid file and log of its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pidfile = folder / "app.pid"
        self.log = folder / "app.log"

    def command(self, *options: str | Path, target: str = "app.tac") -> list[str]:
        """The command line that starts one."""
        return trioservice(
            "run", target, "--daemon", "--pidfile", self.pidfile, "--logfile", self.log, *options
        )

    def start(self, *options: str | Path, target: str = "app.tac") -> subprocess.CompletedProcess[str]:
        """Start one, and wait until whoever started it may go on."""
        return subprocess.run(
            self.command(*options, target=target),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    @property
    def pid(self) -> int:
        """The number in the pid file."""
        return int(self.pidfile.read_text())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal and wait until it has gone."""
        pid = self.pid
        os.kill(pid, number)
        until(lambda: not is_alive(pid), f"process {pid} has ended")

    def says(self, text: str, times: int = 1) -> None:
        """Wait until the log has *text*, so many times."""
        until(
            lambda: self.log.exists() and self.log.read_text().count(text) >= times, f"the log says {text!r}"
        )


def let_others_enter(folder: Path) -> None:
    """Let *folder* be reached by every user; to write there stays ours."""
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.geteuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)


def command_line(pid: int) -> str:
    """That of a process; empty if it has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not only its remains."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def daemons(folder: Path) -> Iterator[Daemons]:
    """Daemons that are killed if the test leaves them behind."""
    they = Daemons(folder)
    try:
        yield they
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.kill(they.pid, signal.SIGKILL)
