"""How loud a record must be: one level for all, and others for single services and loggers.

``shop/web`` means that service and all below it, ``sqlalchemy.engine`` that logger and all below
it.  Of those that fit a record the longest name counts, and a service before a logger.  They can be
changed at any time.

Loggers decide before a record is made, and know nothing of services.  So where something may be louder
than the rest, the root logger lets all that somebody wants pass, and a filter of its handlers decides.
As long as nothing is named, loggers decide alone, at no cost.  A level that the application has given a
logger of its own counts in any case.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from .log_formats import service_of

__all__ = ["Levels", "levels_of_the_root", "set_level"]


class Levels(logging.Filter):
    """Lets through what is loud enough.

    Args:
        level: for all that is not named.
        named: the others, as pairs of a name and a level.
    """

    def __init__(self, level: int, named: Iterable[tuple[str, int]] = ()) -> None:
        super().__init__()
        self._level = level
        self._named = dict(named)

    def set(self, name: str, level: int | None) -> None:
        """Change it for *name*, ``""`` for all that is not named; ``None`` takes back what was said."""
        if not name:
            self._level = logging.INFO if level is None else level
        elif level is None:
            self._named.pop(name, None)
        else:
            self._named[name] = level
        self.open_gate()

    def open_gate(self) -> None:
        """Have loggers make whatever anybody might want; the rest is ours to hold back."""
        logging.getLogger().setLevel(min(self._level, *self._named.values(), self._level))

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether *record* is loud enough."""
        if not self._named:
            return True  # or it would not have been made
        least = next((self._named[name] for name in _names(record) if name in self._named), None)
        if least is None:
            return record.levelno >= self._level or _has_its_own(logging.getLogger(record.name))
        return record.levelno >= least


def _names(record: logging.LogRecord) -> Iterator[str]:
    path = service_of(record)
    if path is not None:
        yield from _upwards(path, "/")
    yield from _upwards(record.name, ".")


def _upwards(name: str, separator: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(separator)[0]


def _has_its_own(log: logging.Logger | None) -> bool:
    """Whether *log*, or one above it but the root, was given a level; then it has decided."""
    while log is not None and log.parent is not None:
        if log.level:
            return True
        log = log.parent
    return False


def levels_of_the_root() -> Levels:
    """Those that count; if the application has set up logging itself, from now on."""
    root = logging.getLogger()
    found = [each for handler in root.handlers for each in handler.filters if isinstance(each, Levels)]
    levels = found[0] if found else Levels(root.level)
    for handler in root.handlers:
        handler.addFilter(levels)
    return levels


def set_level(name: str, level: int | str | None) -> None:
    """Change how loud the records of one service or logger must be, while the process runs.

    Args:
        name: a service's path, a logger's name, or ``""`` for all that is not named.
        level: a level of :mod:`logging`, as a number or a name; ``None`` takes back what was said before.

    Raises:
        ValueError: there is no such level.

    Example::

        set_level("shop/web", "DEBUG")
    """
    if isinstance(level, str):
        known = logging.getLevelNamesMapping()
        if level.upper() not in known:
            raise ValueError(f"{level!r} is no level; there are {', '.join(known)}")
        level = known[level.upper()]
    levels_of_the_root().set(name, level)
