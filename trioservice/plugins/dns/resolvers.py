"""Who knows answers.

A resolver is asked what it knows at once, and says so or passes: then the next one is asked.  One
that is *recursive* asks others, which takes time, and has the last word.

Those who know by a file are services too: they read it before anything runs, and again when
it has changed.  A file that cannot be read any more changes nothing, but is told.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack

import trio

from ...errors import ServiceError
from ...service import Service
from .answers import Answer
from .events import FileLoaded, FileRejected
from .questions import Question

__all__ = ["CannotLoadError", "FileResolver", "Resolver"]


class CannotLoadError(ServiceError):
    """A file of names cannot be read, or says something that cannot be."""


class Resolver(ABC):
    """Somebody who knows answers; derive from it, and give it to a ``DNSServer``.

    If it is a :class:`~trioservice.service.Service` as well and has no parent, the server starts it
    before the first question and stops it after the last.
    """

    #: Whether it asks others; then it serves only clients that have named it (``allow_recursion``).
    recursive = False

    @abstractmethod
    def known(self, question: Question) -> Answer | None:
        """What it knows without waiting; ``None`` if that is nothing."""

    async def find(self, question: Question) -> Answer:
        """The same with time to ask others; called of recursive ones only.

        A failure is an answer too: one with the code SERVFAIL.
        """
        raise NotImplementedError(f"{type(self).__name__} is recursive, and has no find()")


class FileResolver(Resolver, Service):
    """What those have in common who know by a file; not to be used by itself.

    Args:
        path: of the file.
        check_interval: seconds between two looks at whether it has changed.
        name: as for :class:`~trioservice.service.Service`.
    """

    def __init__(self, path: str | os.PathLike[str], *, check_interval: float, name: str | None) -> None:
        super().__init__(name=name)
        if not check_interval > 0:
            raise ValueError(f"check_interval is a number of seconds, not {check_interval!r}")
        self.file = os.fspath(path)
        self.check_interval = check_interval
        self._seen: tuple[int, ...] | None = None
        self._names = self._unread = 0

    @abstractmethod
    def read(self) -> tuple[object, int, int]:
        """Read the file, in a thread: what it says, how many names that is, how many lines say nothing.

        Raises:
            OSError: it is not there, or not for us.
            ValueError: it says what cannot be.
        """

    @abstractmethod
    def take(self, said: object) -> None:
        """Answer from now on by what :meth:`read` has returned."""

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Read it for the first time: names that nobody could serve are no reason to be there."""
        await self._load()

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """Look, now and then, whether the file has changed."""
        self._tell()
        task_status.started()
        while True:
            await trio.sleep(self.check_interval)
            if await trio.to_thread.run_sync(_stamp, self.file) != self._seen:
                try:
                    await self.on_reload()
                except CannotLoadError as error:
                    self.emit(FileRejected(self.path, trio.current_time(), self.file, error))

    async def on_reload(self) -> None:
        """Read it again, changed or not."""
        await self._load()
        self._tell()

    async def _load(self) -> None:
        # Looked at before it is read: what is written meanwhile is noticed the next time.
        self._seen = await trio.to_thread.run_sync(_stamp, self.file)
        try:
            said, self._names, self._unread = await trio.to_thread.run_sync(self.read)
        except OSError as error:
            raise CannotLoadError(f"{self.file}: {error.strerror or error}") from error
        except ValueError as error:
            raise CannotLoadError(f"{self.file}: {error}") from error
        self.take(said)

    def _tell(self) -> None:
        self.emit(FileLoaded(self.path, trio.current_time(), self.file, self._names, self._unread))


def _stamp(path: str) -> tuple[int, ...] | None:
    """What differs when the file has been written, or is another one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
