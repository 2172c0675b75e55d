"""Where the log goes.

Everything is stdlib :mod:`logging`: trioservice's own events, the user's loggers and every
library's.  So this room sets up the root logger, once, by the settings of the process:

* ``--logger`` sets up logging by a file or a function of the user's, and nothing else is done;
* what the command line says otherwise comes next;
* then what the application has set up itself, when its file was loaded: it stays, but of a daemon not what
  goes to the terminal, since there will be none;
* and by default everything goes to standard error, or, of a daemon, to ``trioservice.log``.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TextIO

import trio

from .. import __version__
from .log_files import LogFile
from .log_formats import FORMATS, JournalFormatter, TextFormatter, is_journal, wants_colour
from .log_levels import Levels, levels_of_the_root, set_level
from .log_streams import CapturedStreams, Uncaught, stream_of, writes_to
from .settings import Settings

__all__ = ["Logs", "open_logs", "set_level"]

logger = logging.getLogger("trioservice")

_DAEMONS = "trioservice.log"  # where a daemon logs that says nothing else


class Logs:
    """Where everything goes that is logged; as a context manager, errors that nobody catches are logged, too.

    Args:
        handler: where we send it; ``None`` if the application sends it where it likes.
        daemon: whether the process is about to fork.
        undo: called at the end of the context.
    """

    def __init__(
        self,
        handler: logging.Handler | None,
        *,
        daemon: bool = False,
        undo: Callable[[], object] = lambda: None,
    ) -> None:
        self._file = handler if isinstance(handler, LogFile) else None
        self._will_fork = daemon
        # Of what lasts one wants to know where a life begins; at a terminal it is plain to see.
        self._greeting = logging.DEBUG if handler is None or isinstance(handler, StreamLog) else logging.INFO
        self.is_standard_error = writes_to(sys.stderr)
        self._hooks = ExitStack()
        self._hooks.callback(undo)

    def __enter__(self) -> Logs:
        self._hooks.enter_context(Uncaught())
        if not self._will_fork:
            self._greet()
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
            with _complaining("the log cannot be given away, so it stays whose it is"):
                self._file.give_to(uid, gid)

    def capture_streams(self) -> None:
        """Have what a daemon writes to standard output and error logged, line by line, until the end."""
        CapturedStreams()
        self._greet()

    def tail(self) -> str:
        """The last lines of a log that is a file, since this process has opened it."""
        return self._file.tail() if self._file is not None else ""

    def _greet(self) -> None:
        """Say what runs here: the first question of whoever is sent a log."""
        python = ".".join(map(str, sys.version_info[:3]))
        logger.log(
            self._greeting,
            "trioservice %s, trio %s, Python %s, process %d",
            __version__,
            trio.__version__,
            python,
            os.getpid(),
        )


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
        from .log_config import configure

        configure(settings.logger)
        return Logs(None, daemon=settings.daemon)
    root = logging.getLogger()
    if _is_ours_to_decide(settings):
        handler = _handler(settings)
        for other in root.handlers[:]:
            root.removeHandler(other)
        root.addHandler(handler)
        _set_levels(settings, general=True)
        return Logs(handler, daemon=settings.daemon)
    return Logs(None, daemon=settings.daemon, undo=_lend_levels(settings))


def _is_ours_to_decide(settings: Settings) -> bool:
    """Whether the command line says where the log goes, or nobody else does."""
    theirs = logging.getLogger().handlers
    if settings.daemon:
        theirs = [handler for handler in theirs if stream_of(handler) not in (sys.stdout, sys.stderr)]
    return not theirs or settings.syslog or settings.logfile is not None or settings.log_format is not None


def _lend_levels(settings: Settings) -> Callable[[], object]:
    """Have the levels that were asked for count for the application's own handlers; what takes it back."""
    general = settings.debug or settings.log_level != logging.INFO
    if not general and not settings.log_levels:
        return lambda: None
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = _set_levels(settings, general=general)

    def undo() -> None:
        for handler in handlers:
            handler.removeFilter(levels)
        root.setLevel(level)

    return undo


def _set_levels(settings: Settings, *, general: bool) -> Levels:
    levels = levels_of_the_root()
    if general:
        levels.set("", logging.DEBUG if settings.debug else settings.log_level)
    for name, level in settings.log_levels:
        levels.set(name, level)
    return levels


def _handler(settings: Settings) -> logging.Handler:
    if settings.syslog:
        from .log_syslog import SystemLog

        handler: logging.Handler = SystemLog(settings.prefix)
    elif settings.logfile == "-":
        handler = StreamLog(sys.stdout)
    elif settings.logfile is not None or settings.daemon:
        handler = LogFile(
            settings.logfile or _DAEMONS,
            rotate=settings.log_rotate,
            keep=settings.log_keep,
            root=settings.chroot,
        )
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
