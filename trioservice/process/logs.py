"""Where the log goes, and what a line of it looks like.

Everything is stdlib :mod:`logging`: trioservice's own events, the user's loggers and every
library's.  One line is ``time level path: message``, where *path* is the service in whose code
the record was made (rule L20), so nobody has to write it into messages.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TextIO

from ..service import current_service
from .settings import Settings

__all__ = ["Formatter", "Logs", "open_logs", "tell"]


class Formatter(logging.Formatter):
    """``2026-11-22 18:00:00,123 INFO shop/web: message``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Put the path before the message, if the message does not begin with it already."""
        if not hasattr(record, "service"):
            service = current_service()
            if service is not None:
                record.message = f"{service.path}: {record.message}"
        return super().formatMessage(record)


class Logs:
    """Where everything goes that is logged, as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self.is_standard_error = True

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def reopen(self) -> None:
        """Open the file anew."""

    def rotate(self) -> None:
        """Begin a fresh file."""

    def give_to(self, uid: int, gid: int) -> None:
        """Let the file belong to whom the process is about to become."""

    def capture_streams(self) -> None:
        """Have what is written to standard output and error logged, line by line."""

    def tail(self) -> str:
        """The last lines."""
        return ""


def open_logs(settings: Settings) -> Logs:
    """Send all records to where *settings* say.

    If the application has set up logging itself (the root logger has handlers), that stays.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Formatter())
        root.addHandler(handler)
        root.setLevel(settings.log_level)
    return Logs(settings)


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
