"""What reaches a daemon's log without :mod:`logging`: its output, and errors that nobody catches.

A daemon has no terminal, so what is printed, by Python, by a library in C, or by a program that it
has started, would be lost.  Standard output and standard error become a pipe, a thread reads it,
and each line is a record.

Two rules keep the log from eating its own tail.  A stream to which some handler logs is left alone.  And what
:mod:`logging` would complain of on standard error when a handler fails is not said at all
(``logging.raiseExceptions``), since it would come back as records for that same handler.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["CapturedStreams", "Uncaught"]

_LONGEST = 65536  # characters after which there may be a record without an end of line
_PATIENCE = 1.0  # seconds at the end, for a program we started that still holds the pipe


class CapturedStreams(logging.Handler):
    """Standard output and standard error as records of the loggers ``stdout`` and ``stderr``.

    It is a handler that handles nothing, since :func:`logging.shutdown` closes handlers, the youngest
    first: so the last thing that anybody prints is still logged, whatever was registered for the exit.
    """

    def __init__(self) -> None:
        super().__init__(level=sys.maxsize)  # never called, or its lock would keep its readers from logging
        for number, name in ((1, "stdout"), (2, "stderr")):
            if getattr(sys, name) is None:  # whoever started us had closed it
                setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
            stream = getattr(sys, name)
            # Before there is a pipe below it, as it asks a file where it stands.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, errors="backslashreplace")
        self._readers = [
            _reader(number, name, level)
            for number, name, level in ((1, "stdout", logging.INFO), (2, "stderr", logging.ERROR))
            if not writes_to(getattr(sys, name))
        ]
        logging.raiseExceptions = False
        logging.getLogger().addHandler(self)  # or nobody would keep it until then

    def emit(self, record: logging.LogRecord) -> None:
        """Nothing is sent here."""

    def close(self) -> None:
        """Wait for what is still in the pipes; from here on output is lost."""
        super().close()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        null = os.open(os.devnull, os.O_WRONLY) if os.path.exists(os.devnull) else None
        for number in (1, 2):
            os.dup2(null, number) if null is not None else os.close(number)
        end = time.monotonic() + _PATIENCE
        for reader in self._readers:
            reader.join(max(0.0, end - time.monotonic()))


def _reader(number: int, name: str, level: int) -> threading.Thread:
    """Put a pipe in the place of the descriptor *number*; the thread that logs what comes out of it."""
    ear, mouth = os.pipe()
    os.dup2(mouth, number)
    os.close(mouth)
    reader = threading.Thread(
        target=_log_lines, args=(ear, logging.getLogger(name), level), name=name, daemon=True
    )
    reader.start()
    return reader


def _log_lines(ear: int, log: logging.Logger, level: int) -> None:
    with open(ear, encoding="utf-8", errors="backslashreplace") as lines:
        while line := lines.readline(_LONGEST):
            if line := line.rstrip("\r\n"):
                log.log(level, "%s", line)


def writes_to(stream: TextIO | None) -> bool:
    """Whether some handler of some logger writes to *stream*, or to the descriptor that it has."""
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    found = [
        stream_of(handler) for log in loggers if isinstance(log, logging.Logger) for handler in log.handlers
    ]
    return stream is not None and any(_is_same(stream, other) for other in found)


def stream_of(handler: logging.Handler) -> TextIO | None:
    """Where *handler* writes to, if that is a stream."""
    return getattr(handler, "stream", None)


def _is_same(stream: TextIO, other: TextIO | None) -> bool:
    if other is stream or other is None:
        return other is stream
    try:
        return stream.fileno() == other.fileno()
    except (AttributeError, OSError, ValueError):  # no real file, or a closed one
        return False


class Uncaught:
    """Logs warnings, and errors that nobody can catch: in threads, and in finalizers.  A context manager.

    Hooks that the application has set itself are left alone.
    """

    def __enter__(self) -> Uncaught:
        self._warnings = not getattr(logging, "_warnings_showwarning", None)
        if self._warnings:
            logging.captureWarnings(True)
        if threading.excepthook is threading.__excepthook__:
            threading.excepthook = _in_a_thread
        if sys.unraisablehook is sys.__unraisablehook__:
            sys.unraisablehook = _unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._warnings:
            logging.captureWarnings(False)
        if threading.excepthook is _in_a_thread:
            threading.excepthook = threading.__excepthook__
        if sys.unraisablehook is _unraisable:
            sys.unraisablehook = sys.__unraisablehook__


def _in_a_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:  # which ends a thread, and is no error there
        return
    name = args.thread.name if args.thread is not None else "a thread"
    error = args.exc_value or args.exc_type()
    logging.getLogger("trioservice").error("the thread %s has failed", name, exc_info=error)


def _unraisable(args: UnraisableHookArgs) -> None:
    what = args.err_msg or "an error that nobody can catch, in"
    error = args.exc_value or args.exc_type()
    logging.getLogger("trioservice").error("%s %r", what, args.object, exc_info=error)
