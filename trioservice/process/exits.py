"""Exit statuses: what the process tells whoever started it.

They are those of ``sysexits.h`` where one fits, since supervisors can be told not to restart
on them (systemd: ``RestartPreventExitStatus=64 65 66``: what is wrong with the command line
or the file will be wrong again).  A process that was stopped by a signal dies of that signal
once everything is stopped, as ``twistd`` does: shells show 128 plus its number, and systemd
counts SIGTERM as a clean exit.
"""

from __future__ import annotations

import enum

from ..errors import ServiceError

__all__ = ["CannotRun", "Exit"]


class Exit(enum.IntEnum):
    """The exit statuses of the ``trioservice`` command."""

    OK = 0, "every service has finished, or was stopped by the application itself"
    FAILED = 1, "a service failed after the application had become ready"
    NOT_RUNNING = 3, "nothing runs: no process holds the pid file (`stop`, `status`, `reload`)"
    USAGE = 64, "the command line: unknown command or option, no target"
    DATA = 65, "the target: a syntax error, no application in it, or one of a wrong type"
    NO_INPUT = 66, "the target: no such file, module or attribute"
    START_FAILED = 69, "the application did not become ready: a service failed to start, a port is in use"
    LOAD_FAILED = 70, "the target raised an exception while it was loaded"
    CANNOT_CREATE = 73, "a file cannot be made: a log, a pid file, a picture"
    OUTPUT_FAILED = 74, "what was asked for could not be written to standard output"
    ALREADY_RUNNING = 75, "the application runs already: another process holds the pid file"
    NO_PERMISSION = 77, "what the start needs is not allowed: to bind a port, to become another user"
    CONFIG = 78, "the settings: a file or a variable of the environment with a mistake in it"
    STUCK = 79, "services did not stop in time: the process was ended all the same, or (`stop`) still runs"

    meaning: str

    def __new__(cls, status: int, meaning: str) -> Exit:
        """Make a number that knows what it means."""
        member = int.__new__(cls, status)
        member._value_ = status
        member.meaning = meaning
        return member


class CannotRun(ServiceError):
    """The process cannot be what it is asked to be; nothing of the application has run.

    Args:
        message: what is wrong, on one line.
        hint: what to do about it.
        status: what the process ends with.
    """

    def __init__(self, message: str, *, hint: str, status: Exit) -> None:
        super().__init__(message)
        self.hint = hint
        self.status = status
