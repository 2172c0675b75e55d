"""A log file: appended to, put aside, opened anew; and nothing that was logged is lost by that.

A file that is put aside becomes ``app.log.1``, the one before it ``.2``, and so on up to a bound.
Whether that is done because of its size, at midnight, or because somebody asked for it, makes no
difference.  ``logrotate`` may do the same from outside, and have the file opened anew.

Permissions may be gone by then.  So the new file is open before the old one is closed, and whatever
cannot be done is told, once, in the file that there is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable

from .exits import CannotRun, Exit

__all__ = ["LogFile"]

logger = logging.getLogger("trioservice")

_MODE = 0o640  # a log is read by its owner and its group, as the umask allows
_TAIL = 4096  # bytes, of which whole lines are shown


class LogFile(logging.Handler):
    """Writes records to a file.

    Args:
        path: the file; it means what it means now, wherever the process moves.
        rotate: when it is put aside: a size in bytes, ``daily``, or ``None`` for only when asked.
        keep: how many of those put aside are kept; at least one.

    Raises:
        CannotRun: it cannot be opened.
    """

    def __init__(self, path: str, *, rotate: int | str | None = None, keep: int = 10) -> None:
        super().__init__()
        self.path = os.path.abspath(path)
        self._is_due: Callable[[int], bool] = self._limit(rotate)
        self._keep = keep
        self._failures = 0
        try:
            self._file = _opened(self.path)
        except OSError as error:
            raise CannotRun(
                f"cannot open the log file {path}: {error.strerror}",
                hint="its folder has to exist, and whoever starts the program needs the right to write there",
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
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a message that does not fit its arguments, or a repr that raises
            data = _unformattable(record)
        if self._is_due(len(data)):
            self._rotate_by_itself()
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Write all of it; on a full disk, count what is lost and say so when there is room again."""
        try:
            if self._failures:
                _write_all(
                    self._file,
                    b"%d records before this one are lost, as they could not be written\n" % self._failures,
                )
                self._failures = 0
            _write_all(self._file, data)
        except OSError:
            self._failures += 1

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
        """Go on in the file that has the name now.

        Raises:
            OSError: it cannot be opened; the old one is still written to.
        """
        with self.lock or contextlib.nullcontext():
            self._replace(_opened(self.path))

    def rotate(self) -> None:
        """Put the file aside and go on in a fresh one of the same mode and owner.

        Raises:
            OSError: that is not possible; the old one is still written to.
        """
        with self.lock or contextlib.nullcontext():
            was = os.fstat(self._file)
            if not stat.S_ISREG(was.st_mode):
                return
            for number in range(self._keep - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
            os.replace(self.path, f"{self.path}.1")
            fresh = _opened(self.path)
            with contextlib.suppress(OSError):  # to give it away takes a right that may be gone
                os.fchmod(fresh, stat.S_IMODE(was.st_mode))
                os.fchown(fresh, was.st_uid, was.st_gid)
            self._replace(fresh)

    def _replace(self, fresh: int) -> None:
        old, self._file, self._start = self._file, fresh, 0
        os.close(old)

    def _rotate_by_itself(self) -> None:
        try:
            self.rotate()
        except OSError as error:
            self._is_due = lambda more: False  # or it would be tried, and told, with every record
            logger.warning(
                "the log %s cannot be put aside, so it grows on: %s; its folder has to belong to whom it is",
                self.path,
                error.strerror,
            )

    def _limit(self, rotate: int | str | None) -> Callable[[int], bool]:
        """Whether the file is to be put aside before so many bytes more."""
        if rotate is None:
            return lambda more: False
        if isinstance(rotate, int):
            # A record that is larger than the limit must not leave an empty file behind.
            return lambda more: self._size > 0 and self._size + more > rotate
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
    try:
        return os.open(path, os.O_RDWR | flags, _MODE)  # read for its last lines
    except OSError:
        return os.open(path, os.O_WRONLY | flags, _MODE)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _unformattable(record: logging.LogRecord) -> bytes:
    where = f"{record.pathname}:{record.lineno}"
    what = f"{_repr(record.msg)} with the arguments {_repr(record.args)}"
    return f"a record made at {where} cannot be written: {what}\n".encode("utf-8", "backslashreplace")


def _repr(value: object) -> str:
    try:
        return f"{value!r:.200}"
    except Exception as error:  # noqa: BLE001 - it is theirs, and may be what was wrong
        return f"of {type(value).__name__}, whose repr raises {type(error).__name__}"
