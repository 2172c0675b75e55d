"""The pid file: which process it is that runs here, and whether it still does.

A number in a file proves nothing.  Its process may have died without removing it, the number may
belong to another one by now, and in a container that was started again it is often our own.  So the
file is *locked* by the process whose number it holds, for as long as that process lives.  The kernel
lets go of the lock when the process ends, however it ends, and to no other process.  Whether
somebody runs is asked of the lock alone, and the number is for people and for ``kill``.

The lock is flock(2)'s, which other programs know as well: ``flock -n shop.pid true``.
"""

from __future__ import annotations

import contextlib
import os
import stat
from types import TracebackType
from typing import NamedTuple

from .exits import CannotRun, Exit

__all__ = ["Holder", "PidFile", "holder_of"]

_MOST = 32  # characters: more than any number has


class PidFile:
    """A pid file of ours, from :meth:`take` to :meth:`release`; or a context manager for just that.

    Args:
        path: the file; its folder must exist.

    Example::

        with PidFile("/run/shop.pid"):
            ...
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        # Opened before the root of all paths may change, so that the path means what it meant to
        # whoever wrote it.
        self._folder: int | None = _opened_folder(self.path)
        self._file: int | None = None

    def __enter__(self) -> PidFile:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()

    def take(self) -> None:
        """Lock the file and write our number into it.

        To be called by the process that will live, since a fork has another number.

        Raises:
            CannotRun: another process has it, or it cannot be made, or it is no pid file.
        """
        assert self._folder is not None
        try:
            self._file = _taken(os.path.basename(self.path), self._folder, self.path)
        except OSError as error:
            raise _cannot_make(self.path, error) from None
        finally:
            # Through a folder that stays open, a process could leave the root that it was given.
            os.close(self._folder)
            self._folder = None

    def give_to(self, uid: int, gid: int) -> None:
        """Let the file belong to whom the process is about to become."""
        assert self._file is not None
        os.fchown(self._file, uid, gid)

    def release(self) -> None:
        """Remove the file, or empty it where its folder does not let us; then let go of the lock."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
        with contextlib.suppress(OSError):  # not ours to remove any more, or not within our root
            if os.path.samestat(os.fstat(self._file), os.lstat(self.path)):
                os.unlink(self.path)
        os.close(self._file)
        self._file = None


class Holder(NamedTuple):
    """What a pid file tells.

    Args:
        pid: the number in it, ``None`` if there is none.
        alive: whether the process that wrote it still runs.
    """

    pid: int | None
    alive: bool


def holder_of(path: str) -> Holder:
    """Who holds the pid file at *path*.

    Raises:
        CannotRun: there is no such file, or it cannot be read, or it is no pid file.
    """
    import fcntl

    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise CannotRun(
            f"cannot read the pid file {path}: {error.strerror}",
            hint="it is what `trioservice run` was given as --pidfile, and is gone when nothing runs",
            status=Exit.NOT_RUNNING if isinstance(error, FileNotFoundError) else Exit.NO_INPUT,
        ) from None
    try:
        content = _content(file)
        # Shared, so that two who ask at once do not take each other for the holder.
        if not _is_lockable(file, fcntl.LOCK_SH):
            return Holder(_number(content), alive=True)
        _refuse_to_overwrite(content, path)
        return Holder(_number(content), alive=False)
    finally:
        os.close(file)


# ---- how it is taken


def _opened_folder(path: str) -> int:
    folder = os.path.dirname(path)
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot_make(path, error) from None


def _taken(name: str, folder: int, path: str) -> int:
    """The file, locked by us, with our number in it."""
    file = _locked(name, folder, path)
    try:
        _refuse_to_overwrite(_content(file), path)
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % os.getpid(), 0)
    except BaseException:
        os.close(file)
        raise
    return file


def _locked(name: str, folder: int, path: str) -> int:
    """The file, open and locked by us."""
    import fcntl

    # Not through a symbolic link: in a folder that others may write to, it would lead where they like.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        file = os.open(name, flags, 0o644, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise _no_pid_file(path)
            if not _is_lockable(file, fcntl.LOCK_EX):
                # Its holder would allow no other lock at all; else somebody is only looking, and soon done.
                if not _is_lockable(file, fcntl.LOCK_SH):
                    raise _already_running(path, _number(_content(file)))
            # Between opening and locking its holder may have ended and removed it; what we have locked
            # then has no name, and the next one to start would not find it.
            elif _is_still_there(file, name, folder):
                if os.fstat(file).st_size == 0 and os.fstat(file).st_uid == os.geteuid():
                    os.fchmod(file, 0o644)  # whatever the umask is: others are to read it
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_lockable(file: int, how: int) -> bool:
    import fcntl

    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_there(file: int, name: str, folder: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return False


# ---- what stands in it


def _content(file: int) -> bytes:
    return os.pread(file, _MOST + 1, 0)


def _number(content: bytes) -> int | None:
    digits = content.strip()
    return int(digits) if digits.isdigit() and len(digits) <= _MOST else None


def _refuse_to_overwrite(content: bytes, path: str) -> None:
    """A file that holds anything but a number was never a pid file, and somebody may miss it."""
    if content.strip() and _number(content) is None:
        raise _no_pid_file(path)


# ---- what is said of it


def _no_pid_file(path: str) -> CannotRun:
    return CannotRun(
        f"{path} is no pid file: it is something else than a file with one number",
        hint="name another file, or remove this one if nobody needs it",
        status=Exit.CANNOT_CREATE,
    )


def _already_running(path: str, pid: int | None) -> CannotRun:
    who = f"process {pid}" if pid is not None else "a process"
    return CannotRun(
        f"already running: {who} holds the pid file {path}",
        hint=f"`trioservice stop {path}` stops it; another application needs a pid file of its own",
        status=Exit.ALREADY_RUNNING,
    )


def _cannot_make(path: str, error: OSError) -> CannotRun:
    return CannotRun(
        f"cannot make the pid file {path}: {error.strerror}",
        hint="its folder has to exist, and whoever starts the application needs the right to write there",
        status=Exit.CANNOT_CREATE,
    )
