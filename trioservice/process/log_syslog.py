"""The system's log: syslog(3), as libc speaks it.

libc knows where the log is, what it is told of us, and what to do when it is started again.  One
thing it does not do is to say that there is none.
"""

from __future__ import annotations

import logging
import os
import sys

from .exits import CannotRun, Exit
from .log_formats import priority

__all__ = ["SystemLog"]

_DOOR = "/dev/log"


class SystemLog(logging.Handler):
    """Sends records to the system's log, a message for each line.

    Args:
        prefix: what stands before each, with the number of the process.

    Raises:
        CannotRun: this system has none.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        try:
            import syslog
        except ImportError:
            raise _no_system_log("it has no syslog(3)") from None
        if sys.platform == "linux" and not os.path.exists(_DOOR):
            raise _no_system_log(f"nobody listens at {_DOOR}")
        # NDELAY: connected now, as a new root of all paths may not have the door in it.
        syslog.openlog(prefix, syslog.LOG_PID | syslog.LOG_NDELAY, syslog.LOG_DAEMON)
        self._send = syslog.syslog

    def emit(self, record: logging.LogRecord) -> None:
        """Send *record*; its level becomes the priority."""
        try:
            lines = self.format(record).replace("\0", "\\0").split("\n")
        except Exception:  # noqa: BLE001 - whatever a user's repr raises is told as logging does
            self.handleError(record)
            return
        for line in lines:
            self._send(priority(record.levelno), line)


def _no_system_log(why: str) -> CannotRun:
    return CannotRun(
        f"there is no system log to write to: {why}",
        hint="leave out --syslog, or start a system log, such as rsyslog; in a container use standard error",
        status=Exit.CANNOT_CREATE,
    )
