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

__all__ = ["Formatter", "log_to", "tell"]


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


def log_to(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send all records from *level* on to *stream*, by default standard error.

    If the application has set up logging itself (the root logger has handlers), that stays.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Formatter())
    root.addHandler(handler)
    root.setLevel(level)


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
