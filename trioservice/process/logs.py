"""Where the log goes.

Everything is stdlib :mod:`logging`: trioservice's own events, the user's loggers and every
library's.  So this room sets up the root logger, once, by the settings of the process:

* ``--logger`` sets up logging by a file or a function of the user's, and nothing else is done;
* what the command line says otherwise comes next;
* then what the application has set up itself, when its file was loaded: it stays;
* and by default everything goes to standard error, or, of a daemon, to ``trioservice.log``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TextIO

from .exits import CannotRun, Exit
from .log_files import LogFile
from .log_formats import FORMATS, JournalFormatter, TextFormatter, is_journal, wants_colour
from .log_levels import Levels, set_level
from .log_streams import CapturedStreams, Uncaught
from .settings import Settings

__all__ = ["Logs", "open_logs", "set_level", "tell"]

logger = logging.getLogger("trioservice")

_DAEMONS = "trioservice.log"  # where a daemon logs that says nothing else


class Logs:
    """Where everything goes that is logged; as a context manager, errors that nobody catches are logged, too.

    Args:
        handler: where we send it; ``None`` if the application sends it where it likes.
    """

    def __init__(self, handler: logging.Handler | None) -> None:
        self._file = handler if isinstance(handler, LogFile) else None
        self.is_standard_error = isinstance(handler, StreamLog) and handler.stream is sys.stderr
        self._hooks = ExitStack()

    def __enter__(self) -> Logs:
        self._hooks.enter_context(Uncaught())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        # The handlers stay until Python's own end: what the application does at exit is logged as well.
        self._hooks.close()

    def reopen(self) -> None:
        """Go on in the file that has the log's name now, after somebody has put the old one aside."""
        if self._file is not None:
            with _complaining("the log cannot be opened anew, so the old file is written to"):
                self._file.reopen()

    def rotate(self) -> None:
        """Put the file aside and begin a fresh one."""
        if self._file is not None:
            with _complaining("the log cannot be put aside, so it goes on in the same file"):
                self._file.rotate()

    def give_to(self, uid: int, gid: int) -> None:
        """Let the file belong to whom the process is about to become."""
        if self._file is not None:
            self._file.give_to(uid, gid)

    def capture_streams(self) -> None:
        """Have what is written to standard output and standard error logged, line by line, until the end."""
        CapturedStreams()

    def tail(self) -> str:
        """The last lines of a log that is a file, since this process has opened it."""
        return self._file.tail() if self._file is not None else ""


@contextmanager
def _complaining(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        logger.error("%s: %s", what, error.strerror)


def open_logs(settings: Settings) -> Logs:
    """Send all records to where *settings* say.

    Raises:
        CannotRun: a file cannot be opened, there is no system log, or what ``--logger`` names does not work.
    """
    if settings.logger is not None:
        _by_the_users_own(settings.logger)
        return Logs(None)
    root = logging.getLogger()
    if root.handlers and not _asks_for_something(settings):
        return Logs(None)
    handler = _handler(settings)
    levels = Levels(logging.DEBUG if settings.debug else settings.log_level, settings.log_levels)
    handler.addFilter(levels)
    for other in root.handlers[:]:
        root.removeHandler(other)
    root.addHandler(handler)
    levels.open_gate()
    return Logs(handler)


def _asks_for_something(settings: Settings) -> bool:
    return settings.syslog or settings.logfile is not None or settings.log_format is not None


def _handler(settings: Settings) -> logging.Handler:
    if settings.syslog:
        from .log_syslog import SystemLog

        handler: logging.Handler = SystemLog(settings.prefix)
    elif settings.logfile == "-":
        handler = StreamLog(sys.stdout)
    elif settings.logfile is not None or settings.daemon:
        handler = LogFile(settings.logfile or _DAEMONS, rotate=settings.log_rotate, keep=settings.log_keep)
    else:
        handler = StreamLog(sys.stderr)
    handler.setFormatter(_formatter(settings))
    return handler


def _formatter(settings: Settings) -> logging.Formatter:
    """The one that is asked for, or that suits where it goes."""
    if settings.log_format not in (None, "text"):
        return FORMATS[settings.log_format]()
    if settings.syslog:
        return TextFormatter(head=False)  # it has a time, a level and a name of its own
    if settings.logfile not in (None, "-") or settings.daemon:
        return TextFormatter()
    stream = sys.stderr if settings.logfile is None else sys.stdout
    if settings.log_format is None and is_journal(stream):
        return JournalFormatter()
    return TextFormatter(colour=wants_colour(stream))


class StreamLog(logging.StreamHandler[TextIO]):
    """Writes to a standard stream; what cannot be written, as it is closed, broken or full, is lost."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # or a character would cost the record

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* if that can be done."""
        if self.stream is not None and not self.stream.closed:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Of a broken stream there is nowhere to complain; any other error is told as logging does."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


# ---- the user's own


def _by_the_users_own(name: str) -> None:
    """Set up logging by *name*: a file for :func:`logging.config.dictConfig`, or a function."""
    if Path(name).suffix in (".toml", ".json"):
        _by_a_file(Path(name))
    else:
        _by_a_function(name)


def _by_a_file(path: Path) -> None:
    import logging.config

    try:
        # Unless it says so, it is not meant to silence those who have a logger by now, us among them.
        logging.config.dictConfig({"disable_existing_loggers": False, **_read(path)})
    except OSError as error:
        raise _cannot_set_up(path, f"{error.strerror}", Exit.NO_INPUT) from None
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        why = f"{error}" if error.__cause__ is None else f"{error}: {error.__cause__}"
        raise _cannot_set_up(path, why, Exit.CONFIG) from None


def _read(path: Path) -> dict[str, object]:
    if path.suffix == ".json":
        import json

        return dict(json.loads(path.read_text(encoding="utf-8")))
    import tomllib

    return tomllib.loads(path.read_text(encoding="utf-8"))


def _by_a_function(name: str) -> None:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _cannot_set_up(
            name, "that is neither a .toml or .json file nor package.module:function", Exit.USAGE
        )
    sys.path.insert(0, "")  # what stands in the present folder is importable, as for a target
    try:
        function = getattr(importlib.import_module(module), attribute)
        function()
    except Exception as error:  # it is the user's code, and may raise what it likes
        raise _cannot_set_up(name, f"{type(error).__name__}: {error}", Exit.USAGE) from error


def _cannot_set_up(what: object, why: str, status: Exit) -> CannotRun:
    return CannotRun(
        f"cannot set up logging by {what}: {why}",
        hint="--logger takes a .toml or .json file for logging.config.dictConfig, or package.module:function",
        status=status,
    )


def tell(stream: TextIO | None, text: str) -> bool:
    """Write *text* to a standard stream as well as that can be done; whether it could.

    The stream may be closed (``None``), a pipe whose reader has gone, on a full disk, or of an
    encoding that lacks a character; none of that is worth a traceback.
    """
    if stream is None:
        return False
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode(stream.encoding, "replace").decode(stream.encoding))
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            # What is still buffered would be complained of once more, at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
