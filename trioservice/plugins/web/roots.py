"""Files below one folder, opened so that nothing outside of it is: the border of a site.

A name is looked up by the system and may pass through symbolic links, which may be changed in that very
moment.  So it is not the name that is judged, but what was opened: the system tells the path of a descriptor
(on Linux, ``/proc/self/fd``), and what is not below the root is closed again.  Where no system tells, the
file itself must be no link, and its path is looked at once more.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import trio

from .folders import Entry
from .paths import place_of

__all__ = ["Opened", "Root", "Signature", "folder_signature", "read_now", "signature", "signature_of"]

# Neither a terminal of ours nor a pipe that waits for somebody to write.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_TELLS = os.path.isdir("/proc/self/fd")

_KNOWS_NOWAIT = hasattr(os, "RWF_NOWAIT")

#: By what it is seen that a file is not what it was.
Signature = tuple[int, int, int, int, int]


def signature(path: str) -> Signature | None:
    """That of what is at *path* now; ``None`` if nothing can be seen there."""
    try:
        return signature_of(os.stat(path))
    except OSError:
        return None


def folder_signature(path: str) -> Signature | None:
    """That of a folder, or of a link to one, which stays the same whatever is done within it."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_mode, 0, 0


def signature_of(facts: os.stat_result) -> Signature:
    """That of a file of which these are the facts."""
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size


class Opened(NamedTuple):
    """A file or folder that was opened: its descriptor, what it is, and the path that was asked for."""

    fileno: int
    facts: os.stat_result
    path: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.facts.st_mode)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fileno)


class Root:
    """A folder, and what is below it.

    Args:
        path: of the folder; where it leads is settled now, once.

    Raises:
        NotADirectoryError, FileNotFoundError: there is no such folder.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self.path = os.path.realpath(path, strict=True)
        except OSError as error:
            where = os.path.abspath(path)
            raise type(error)(error.errno, f"the folder to serve, {where}: {error.strerror}") from None
        if not os.path.isdir(self.path):
            raise NotADirectoryError(errno.ENOTDIR, f"a site is a folder, and {self.path} is none")
        self._below = self.path.rstrip("/") + "/"

    def where(self, names: Sequence[str]) -> str:
        """The path of something below it."""
        return self._below + "/".join(names)

    def open(self, names: Sequence[str]) -> Opened | None:
        """Open a file or a folder; ``None`` if there is none that may be seen.

        Raises:
            PermissionError: there is, and we may not read it.
            OSError: the system has no descriptors left, or the disk fails.
        """
        path = self.where(names)
        try:
            fileno = os.open(path, _FLAGS if _TELLS else _FLAGS | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in _IS_NOT_THERE:
                return None
            raise
        facts = os.fstat(fileno)
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)) or not self._is_below(
            fileno, path
        ):
            os.close(fileno)
            return None
        return Opened(fileno, facts, path)

    def entries(self, folder: Opened) -> Iterator[Entry]:
        """What is in a folder and may be seen; where a link leads does not matter until it is asked for."""
        with os.scandir(folder.fileno if os.scandir in os.supports_fd else folder.path) as found:
            for entry in found:
                if place_of(b"/" + os.fsencode(entry.name).replace(b"%", b"%25")) is None:
                    continue
                with suppress(OSError):  # a link that leads nowhere
                    facts = entry.stat()
                    yield Entry(entry.name, facts.st_size, facts.st_mtime, stat.S_ISDIR(facts.st_mode))

    def _is_below(self, fileno: int, path: str) -> bool:
        real = os.readlink(f"/proc/self/fd/{fileno}") if _TELLS else os.path.realpath(path)
        return real == self.path or real.startswith(self._below)


_IS_NOT_THERE = frozenset(
    [errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL, errno.EILSEQ]
)


async def read_now(fileno: int, start: int, count: int) -> bytes:
    """Read a part of a file: at once where the system has it in memory, else in a thread.

    Raises:
        OSError: the disk fails.
    """
    data = _read_at_once(fileno, start, count)
    return data if data is not None else await trio.to_thread.run_sync(os.pread, fileno, count, start)


def _read_at_once(fileno: int, start: int, count: int) -> bytes | None:
    if not _KNOWS_NOWAIT:
        return None
    buffer = bytearray(count)
    try:
        is_whole = os.preadv(fileno, [buffer], start, os.RWF_NOWAIT) == count
    except OSError:  # none of it is there, or this file system cannot tell
        return None
    return bytes(buffer) if is_whole else None
