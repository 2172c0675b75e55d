"""What a record of the log looks like: for people, for programs, for the journal.

============  =====================================================================================
``text``      ``2026-11-22 18:00:00,123 INFO    shop/web: message``
``json``      one object on a line: ``time``, ``level``, ``logger``, ``service``, ``message``,
              ``exception`` if there is one, and whatever was given as ``extra=``
``journal``   ``<6>shop/web: message``: the journal knows the time, and reads the level (sd-daemon(3))
============  =====================================================================================

The service is the one in whose code the record was made (rule L20), so nobody has to write it into
messages. A formatter must be asked while that code still runs; all handlers of
:mod:`~trioservice.process.logs` do.

None of them fails: a record whose arguments do not fit its message, or have no ``repr``, is the one that
whoever looks for a mistake needs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import TextIO

from ..service import current_service

__all__ = [
    "FORMATS",
    "JSONFormatter",
    "JournalFormatter",
    "TextFormatter",
    "is_journal",
    "service_of",
    "wants_colour",
]


def service_of(record: logging.LogRecord) -> str | None:
    """The path of the service to which *record* belongs, ``None`` if to none."""
    if hasattr(record, "service"):
        return None if record.service is None else str(record.service)
    service = current_service()
    return service.path if service is not None else None


def _said(record: logging.LogRecord) -> tuple[str | None, str]:
    """The path, and the message without it: our own events begin with it already."""
    path, message = service_of(record), record.getMessage()
    return path, message.removeprefix(f"{path}: ")


def _legible(record: logging.LogRecord) -> logging.LogRecord:
    """*record*, or one that says what can be said of it."""
    try:
        record.getMessage()
    except Exception as error:  # noqa: BLE001 - whatever the arguments do when they are asked for their text
        what = f"{_repr(record.msg)} with the arguments {_repr(record.args)}"
        where = f"{record.pathname}:{record.lineno}"
        said = f"a record made at {where} cannot be written: {what}: {type(error).__name__}"
        return logging.makeLogRecord({**vars(record), "msg": said, "args": None})
    return record


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - it is theirs, and may be what was wrong
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


class TextFormatter(logging.Formatter):
    """For people; *colour* makes the levels stand out."""

    def __init__(self, *, colour: bool = False, head: bool = True) -> None:
        level = "%(coloured_level)s" if colour else "%(levelname)-7s"
        super().__init__(f"%(asctime)s {level} %(message)s" if head else "%(message)s")
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it."""
        return super().format(_legible(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, with the path before the message."""
        path, message = _said(record)
        record.message = message if path is None else f"{path}: {message}"
        if self._colour:
            record.coloured_level = f"\x1b[{_colour(record.levelno)}m{record.levelname:<7}\x1b[0m"
        return super().formatMessage(record)


def _colour(level: int) -> str:
    """What a terminal is told: dim, green, yellow, red, and the worst in reverse."""
    for least, code in ((logging.CRITICAL, "1;7;31"), (logging.ERROR, "31"), (logging.WARNING, "33")):
        if level >= least:
            return code
    return "32" if level >= logging.INFO else "2"


class JournalFormatter(TextFormatter):
    """For the journal: each line begins with its priority, and says neither time nor level."""

    def __init__(self) -> None:
        super().__init__(head=False)

    def format(self, record: logging.LogRecord) -> str:
        """The priority before every line, as each becomes an entry of its own."""
        head = f"<{priority(record.levelno)}>"
        return "\n".join(head + line for line in super().format(record).split("\n"))


def priority(level: int) -> int:
    """That of syslog(3)."""
    for least, priority in (
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO, 6),
    ):
        if level >= least:
            return priority
    return 7


# What every record has; whatever else stands in one, the user has given as extra=.
_EVERYBODYS = {*vars(logging.makeLogRecord({})), "message", "asctime", "service", "coloured_level"}
_OURS = ("time", "level", "logger", "exception", "stack")


class JSONFormatter(logging.Formatter):
    """For programs: one object on each line."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"
    converter = staticmethod(time.gmtime)  # or it would be called as a method

    def __init__(self) -> None:
        super().__init__()
        import json  # which most processes do not need

        self._encode = json.JSONEncoder(default=_repr, ensure_ascii=False, allow_nan=False).encode

    def format(self, record: logging.LogRecord) -> str:
        """The same facts as in a line of text, and the user's own beside them."""
        record = _legible(record)
        path, message = _said(record)
        facts: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "service": path,
            "message": message,
        }
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            facts["stack"] = self.formatStack(record.stack_info)
        for name, value in vars(record).items():
            if name not in _EVERYBODYS:
                facts[f"{name}_" if name in _OURS else name] = value
        return self._as_json(facts)

    def _as_json(self, facts: dict[str, object]) -> str:
        try:
            return self._encode(facts)
        except (TypeError, ValueError, RecursionError):
            # A key that is no text, a number that is none, a list that contains itself.
            return self._encode({name: self._plain(value) for name, value in facts.items()})

    def _plain(self, value: object) -> object:
        try:
            self._encode(value)
        except (TypeError, ValueError, RecursionError):
            return _repr(value)
        return value


#: Each format by its name.
FORMATS: dict[str, Callable[[], logging.Formatter]] = {
    "text": TextFormatter,
    "json": JSONFormatter,
    "journal": JournalFormatter,
}


def is_journal(stream: TextIO | None) -> bool:
    """Whether *stream* ends in systemd's journal (systemd.exec(5), ``$JOURNAL_STREAM``)."""
    wanted = os.environ.get("JOURNAL_STREAM")
    if not wanted or stream is None:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return wanted == f"{found.st_dev}:{found.st_ino}"


def wants_colour(stream: TextIO | None) -> bool:
    """Whether a person looks at *stream*, who has not forbidden colours (https://no-color.org)."""
    if stream is None or stream.closed or not stream.isatty():
        return False
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
