"""What the tests of the log share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_in_a_fresh_process() -> Iterator[None]:
    """The root logger without what pytest has hung on it, and without what the test hangs on it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers = handlers
        root.setLevel(level)


def record(
    message: str = "hello", *args: object, level: int = logging.INFO, **facts: object
) -> logging.LogRecord:
    """A record as a logger makes it."""
    made = logging.LogRecord("some.library", level, __file__, 1, message, args, None)
    vars(made).update(facts)
    return made
