"""What is said to whoever started us, past the log: errors of the command line, reports, plans.

It stands apart from the log because it needs nothing of it, nor of trio: most of what a person asks a command
line is answered sooner than trio is imported.
"""

from __future__ import annotations

import contextlib
import os
from typing import TextIO

__all__ = ["tell"]


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
