"""A log file: appended to, put aside, opened anew; and nothing that was logged is lost by that.

A file that is put aside becomes ``app.log.1``, the one before it ``.2``, and so on up to a bound.
Whether that is done because of its size, at midnight, or because somebody asked for it, makes no
difference.  ``logrotate`` may do the same from outside, and have the file opened anew.

Permissions may be gone by then.  So the new file is open before the old one is closed, and whatever
cannot be done is told, once, in the file that there is.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Callable

from .exits import CannotRun, Exit

__all__ = ["LogFile"]

logger = logging.getLogger("trioservice")

_MODE = 0o640  # a log is read by its owner and its group, as the umask allows
_WHERE = "its folder has to exist, and whoever starts the program needs the right to write there"
_TAIL = 4096  # bytes, of which whole lines are shown


class LogFile(logging.Handler):
    """Writes records to a file.

    Args:
        path: the file; it means what it means now, wherever the process moves.
        rotate: when it is put aside: a size in bytes, ``daily``, or ``None`` for only when asked.
        keep: how many of those put aside are kept.
        root: the folder that may become the root of all paths.

    Raises:
        CannotRun: it cannot be opened.
    """

    def __init__(
        self, path: str, *, rotate: int | str | None = None, keep: int = 10, root: str | None = None
    ) -> None:
        super().__init__()
        self.path = os.path.abspath(path)
        self._is_due: Callable[[int], bool] = self._limit(rotate)
        self._keep = keep
        self._root = None if root is None else os.path.realpath(root)
        self._top = _identity(os.stat(os.sep))
        self._is_refused = False
        self._is_torn = False
        self._lost = 0
        self._why = ""
        try:
            self._file = _opened(self.path)
        except OSError as error:
            unread = error.errno == errno.ENXIO
            raise CannotRun(
                f"cannot open the log file {path}: {error.strerror}",
                hint="it is a pipe: start what reads it first" if unread else _WHERE,
                status=Exit.CANNOT_CREATE,
            ) from None
        self._start = self._size

    def give_to(self, uid: int, gid: int) -> None:
        """Let the file belong to whom the process is about to become."""
        if stat.S_ISREG(os.fstat(self._file).st_mode):  # nobody wants to own /dev/null
            os.fchown(self._file, uid, gid)

    # ---- writing

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; before that, put the file aside if that is due."""
        try:
            data = self._encoded(record)
        except Exception:  # noqa: BLE001 - as logging has it: whoever logs is not to blame for a formatter
            self.handleError(record)
            return
        if self._is_due(len(data)) and not self._is_refused:
            self._rotate_by_itself()
        self._write(data)

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _write(self, data: bytes) -> None:
        """Write all of it; on a full disk, count what is lost and say so when there is room again."""
        try:
            if self._lost:
                self._append(self._encoded(_told(f"{_records(self._lost)} lost here: {self._why}")))
                self._lost = 0
            self._append(data)
        except OSError as error:
            self._lost += 1
            self._why = error.strerror or repr(error)

    def _append(self, data: bytes) -> None:
        if self._is_torn:
            data = b"\n" + data
        rest = data
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        finally:
            if len(rest) < len(data):
                self._is_torn = bool(rest)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Write no more."""
        with self.lock or contextlib.nullcontext():
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        super().close()

    def tail(self) -> str:
        """The last lines that were written since the file was opened, whatever has become of its name."""
        begin = max(self._start if self._size >= self._start else 0, self._size - _TAIL)
        try:
            text = os.pread(self._file, _TAIL, begin).decode("utf-8", "replace")
        except OSError:  # one that can only be written to, such as a pipe
            return ""
        return text if begin == self._start else text.partition("\n")[2]

    @property
    def _size(self) -> int:
        return os.fstat(self._file).st_size

    # ---- putting aside

    def reopen(self) -> None:
        """Go on in the file that has the name now; if none has, in a fresh one of the same mode and owner.

        Raises:
            OSError: it cannot be opened; the old one is still written to.
        """
        with self.lock or contextlib.nullcontext():
            fresh = self._opened_like_this(self._reachable)
            old, self._file, self._start = self._file, fresh, 0
            self._is_refused = self._is_torn = False
            os.close(old)

    def rotate(self) -> None:
        """Put the file aside and go on in a fresh one of the same mode and owner.

        An empty one is fresh enough, and one that somebody else has put aside is only left.

        Raises:
            OSError: that is not possible; the old one is still written to, under its old name.
        """
        with self.lock or contextlib.nullcontext():
            path = self._reachable
            if not self._has_the_name(path):
                self.reopen()
            elif self._size and stat.S_ISREG(os.fstat(self._file).st_mode):
                _put_aside(path, self._keep)
                try:
                    self.reopen()
                except OSError:
                    with contextlib.suppress(OSError):
                        os.replace(f"{path}.1", path)
                    raise

    @property
    def _reachable(self) -> str:
        """The name of the file in the present root of all paths."""
        if _identity(os.stat(os.sep)) == self._top:
            return self.path
        path = os.path.realpath(self.path)
        if self._root is None or os.path.commonpath([path, self._root]) != self._root:
            # A descriptor of its folder would reach it, and let whoever breaks in out of the new root.
            raise OSError(errno.ENOENT, "it is outside of the root of this process", self.path)
        return os.sep + os.path.relpath(path, self._root)

    def _has_the_name(self, path: str) -> bool:
        try:
            return _identity(os.stat(path)) == _identity(os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _opened_like_this(self, path: str) -> int:
        if os.path.lexists(path):
            return _opened(path)  # by somebody who knows what mode it shall have
        fresh, was = _opened(path), os.fstat(self._file)
        with contextlib.suppress(OSError):  # to give it away takes a right that may be gone
            os.fchmod(fresh, stat.S_IMODE(was.st_mode))
            os.fchown(fresh, was.st_uid, was.st_gid)
        return fresh

    def _rotate_by_itself(self) -> None:
        try:
            self.rotate()
        except OSError as error:
            self._is_refused = True  # or it would be tried, and told, with every record
            logger.warning(
                "the log %s cannot be put aside, so it grows on: %s; its folder has to belong to whom it is",
                self.path,
                error.strerror,
                extra={"service": None},  # it is nobody's in particular
            )

    def _limit(self, rotate: int | str | None) -> Callable[[int], bool]:
        """Whether the file is to be put aside before so many bytes more."""
        if rotate is None:
            return lambda more: False
        if isinstance(rotate, int):
            # A record that is larger than the limit must not leave an empty file behind.
            return lambda more: (size := self._size) > 0 and size + more > rotate
        return _Midnight(lambda: self._file).has_passed


class _Midnight:
    """Whether a day has passed since a file was last written to."""

    def __init__(self, file: Callable[[], int]) -> None:
        self._file = file
        self._next = 0.0

    def has_passed(self, more: int) -> bool:
        now = time.time()
        if now < self._next:
            return False
        is_first, self._next = not self._next, _midnight_after(now)
        # It may be an old one, of a process that has ended since.
        found = os.fstat(self._file())
        return found.st_size > 0 and (not is_first or _midnight_after(found.st_mtime) <= now)


def _midnight_after(moment: float) -> float:
    day = time.localtime(moment)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))


def _opened(path: str) -> int:
    flags = os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
    if _is_pipe(path):
        # Opened for reading, it would have us for its reader: once full, it would block us for ever.
        file = os.open(path, os.O_WRONLY | os.O_NONBLOCK | flags)
        os.set_blocking(file, True)
        return file
    try:
        return os.open(path, os.O_RDWR | flags, _MODE)  # read for its last lines
    except OSError:
        return os.open(path, os.O_WRONLY | flags, _MODE)


def _is_pipe(path: str) -> bool:
    return os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode)


def _put_aside(path: str, keep: int) -> None:
    """Make *path* ``path.1``, and those that were put aside before one older; no more than *keep* stay."""
    for number in range(keep - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}.{number}", f"{path}.{number + 1}")
    if keep:
        os.replace(path, f"{path}.1")
    else:
        os.remove(path)
    number = keep + 1  # more were kept once
    with contextlib.suppress(OSError):
        while True:
            os.remove(f"{path}.{number}")
            number += 1


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _records(number: int) -> str:
    return "1 record is" if number == 1 else f"{number} records are"


def _told(message: str) -> logging.LogRecord:
    """A record of our own that no logger has made."""
    facts = {"name": logger.name, "levelno": logging.ERROR, "levelname": "ERROR", "service": None}
    return logging.makeLogRecord({**facts, "msg": message})
