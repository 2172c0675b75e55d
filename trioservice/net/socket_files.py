"""The file of a UNIX socket: who may have the path, who may connect, and what is left behind.

Binding a UNIX socket makes a file, and the system leaves the rest to us.  The file stays when
its server dies, and a path that exists cannot be bound; so it has to be found out whether
somebody still listens behind it, and two servers that start at once must not both find that
nobody does.  Hence a lock beside the file.  What is removed is only ever a dead server's
socket, or our own; a plain file in the way is a mistake that we tell.

Stream and datagram servers share this class.  Everything here is quick and local, so it is
plain and not async.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress

from ..errors import CannotListenError
from .addresses import show_address, sockaddr_of
from .system import SimulatedSocket

__all__ = ["SocketFile"]

# What fits into sockaddr_un beside the NUL at the end.
_LONGEST = 107 if sys.platform == "linux" else 103

# Of users and groups; the number above it says "leave it" to chown.
_HIGHEST_ID = 2**32 - 2


class SocketFile:
    """The file of one UNIX socket, from before it is bound until it is given up.

    ::

        file = SocketFile("/run/shop.sock", 0o660, group="www-data")
        file.bind(sock)
        ...
        sock.close()
        file.release()

    While it is bound, ``PATH.lock`` beside it is locked with :func:`fcntl.flock` and holds our
    process id, so that no second server takes the path; the lock ends with the process, however
    that ends, and the lock file goes when the socket file goes.

    Args:
        path: of the file, or ``@name`` for an abstract name, which has neither file nor lock.
        mode: who may connect, as the file's mode; the umask does not matter.
        user: whom the file is to belong to, by name or number; ``None`` leaves that as it is.
        group: likewise.
    """

    def __init__(
        self, path: str, mode: int = 0o600, user: str | None = None, group: str | None = None
    ) -> None:
        self.path = path
        self._mode = mode
        self._user = user
        self._group = group
        self._lock: int | None = None
        self._ours: tuple[int, int] | None = None
        self._pin: int | None = None

    def bind(self, sock: socket.socket) -> None:
        """Bind *sock* to the path.

        Called once more, with another socket, it puts that one in the place of the first.

        Raises:
            CannotListenError: the path is taken, or cannot be had; then nothing has changed
                if this was the first call.
        """
        # A simulated socket has a name and no file: nothing of this machine is to depend on it.
        if self.path.startswith("@") or isinstance(sock, SimulatedSocket):
            self._bind_name(sock)
            return
        # Whoever changes the folder later (a daemon does) must not make us remove another's file.
        self.path = os.path.abspath(self.path)
        _refuse_what_is_no_path(self.path)
        owner = self._owner()
        with ExitStack() as undo:
            try:
                if self._lock is None:
                    self._lock = _locked(self.path)
                    undo.callback(self.release)
                self._make_way()
                self._make_file(sock, owner)
            except OSError as error:
                raise _refusal(self.path, error) from None
            undo.pop_all()

    def release(self) -> None:
        """Remove the file if it is still ours, and give up the lock."""
        if self._lock is None:
            return
        # Without permission (privileges were dropped since) both files stay, and the next server
        # finds that nobody is behind them.
        with suppress(OSError):
            if self._is_ours(os.lstat(self.path)):
                os.unlink(self.path)
        with suppress(OSError):
            if _is_at(_lock_path(self.path), self._lock):
                os.unlink(_lock_path(self.path))
        self._unpin()
        os.close(self._lock)
        self._lock = None

    # ---- binding

    def _bind_name(self, sock: socket.socket) -> None:
        _refuse_what_is_no_path(self.path)
        try:
            sock.bind(sockaddr_of(self.path))
        except OSError as error:
            mend = "another program, or another service of this one, has the name (`ss -lx` lists them)"
            said = error.strerror or str(error)
            raise _cannot(
                self.path, error.errno or 0, f"{said}; {mend}" if error.errno == errno.EADDRINUSE else said
            ) from None

    def _make_way(self) -> None:
        """Remove what is at the path, if it is ours or nobody's any more."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            what = _kind_of(found.st_mode)
            mend = f"it is not removed, as it is {what}; choose another path, or remove it yourself"
            raise _taken(self.path, mend)
        if not self._is_ours(found) and _is_alive(self.path):
            mend = "a server listens there, or may (`ss -lxp` names it); stop it or choose another path"
            raise _taken(self.path, mend)
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _make_file(self, sock: socket.socket, owner: tuple[int, int]) -> None:
        # On Linux the file gets the mode of the socket, less the umask.  So from its first moment
        # nobody but ourselves can connect; setting the umask instead would change it for all threads.
        with suppress(OSError):  # elsewhere that cannot be asked for
            os.fchmod(sock.fileno(), 0o600)
        sock.bind(self.path)
        file = self._pinned()
        if owner != (-1, -1):
            self._give(file, owner)
        os.chmod(file, self._mode)  # last: who may connect by it depends on the owner

    def _pinned(self) -> str:
        """Remember which file is ours; return a path that leads to it whatever happens to its name.

        In a folder where others may write, a link to somebody's file could take its place before
        our ``chmod``.  And while an inode is open its number is not given to another file, so
        that by the number we know ours.  Where the system has no ``O_PATH``, the name has to do.
        """
        self._unpin()
        file = self.path
        if hasattr(os, "O_PATH"):
            self._pin = os.open(self.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            if os.path.exists(f"/proc/self/fd/{self._pin}"):
                file = f"/proc/self/fd/{self._pin}"
        found = os.stat(file)
        if not stat.S_ISSOCK(found.st_mode):
            raise _taken(self.path, "it was exchanged at this very moment; look who may write to its folder")
        self._ours = found.st_dev, found.st_ino
        return file

    def _unpin(self) -> None:
        self._ours = None
        if self._pin is not None:
            os.close(self._pin)
            self._pin = None

    def _give(self, file: str, owner: tuple[int, int]) -> None:
        try:
            os.chown(file, *owner)
        except PermissionError as error:
            why = f"{error.strerror}; to give it to another user needs root, and to a group, to be in it"
            raise _cannot(self.path, error.errno or errno.EPERM, why) from None

    def _is_ours(self, found: os.stat_result) -> bool:
        return (found.st_dev, found.st_ino) == self._ours

    def _owner(self) -> tuple[int, int]:
        import grp  # like pwd: seldom needed, and not everywhere
        import pwd

        return (
            self._number("user", self._user, lambda name: pwd.getpwnam(name).pw_uid),
            self._number("group", self._group, lambda name: grp.getgrnam(name).gr_gid),
        )

    def _number(self, what: str, name: str | None, look_up: Callable[[str], int]) -> int:
        if name is None:
            return -1  # as for chown: leave it
        if name.isdecimal():
            if len(name) > len(str(_HIGHEST_ID)) or int(name) > _HIGHEST_ID:
                raise _cannot(
                    self.path, errno.EINVAL, f"there is no {what} beyond {_HIGHEST_ID}, as {name} is"
                )
            return int(name)
        try:
            return look_up(name)
        except (KeyError, ValueError):  # the latter for what cannot be a name at all
            why = f"there is no {what} {name!r}; is it spelt right?"
            raise _cannot(self.path, errno.EINVAL, why) from None


# ---- who is behind a path ---------------------------------------------------------------------


def _is_alive(path: str) -> bool:
    """Whether somebody may have the socket at *path* open.

    A stream server would see us come if we connected to it as a client.  A datagram socket is
    turned away by the kernel, as one of the wrong kind, and only if there is somebody to turn it
    away.  Connecting it to a datagram server sends nothing.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True


def _kind_of(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "a plain file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
    }
    return kinds.get(stat.S_IFMT(mode), "no socket")


# ---- the lock ---------------------------------------------------------------------------------


def _lock_path(path: str) -> str:
    return f"{path}.lock"


def _locked(path: str) -> int:
    """The descriptor of *path*'s lock file, locked."""
    import fcntl  # not everywhere

    lock = _lock_path(path)
    with ExitStack() as undo:
        for _ in range(100):  # whoever is quicker each time gives the path up each time as well
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            undo.callback(os.close, descriptor)
            _refuse_what_is_no_lock(path, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _taken(path, _who_holds(descriptor)) from None
            if _is_at(lock, descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
                undo.pop_all()
                return descriptor
            undo.close()  # its owner removed it between our open and our lock, so it guards nothing
    raise _taken(path, f"{show_address(lock)} is removed again and again; look who writes to the folder")


def _refuse_what_is_no_lock(path: str, descriptor: int) -> None:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        said = os.pread(descriptor, 32, 0).strip()
        if not said or said.isdigit():
            return
    lock = show_address(_lock_path(path))
    raise _cannot(path, errno.EEXIST, f"{lock} is in the way, as it is no lock of ours; move it away")


def _who_holds(descriptor: int) -> str:
    said = os.pread(descriptor, 32, 0).strip().decode()
    if said == str(os.getpid()):
        return "another service of this process has it; choose another path for one of them"
    who = f"process {said}" if said else "another process"
    return f"{who} has it; stop that one or choose another path"


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


# ---- what is told -----------------------------------------------------------------------------


def _cannot(path: str, number: int, why: str) -> CannotListenError:
    return CannotListenError(number, f"cannot listen on {show_address(path)}: {why}")


def _taken(path: str, mend: str) -> CannotListenError:
    return _cannot(path, errno.EADDRINUSE, f"Address already in use; {mend}")


def _refuse_what_is_no_path(path: str) -> None:
    try:
        length, most = len(os.fsencode(path)), _LONGEST + path.startswith("@")
    except UnicodeEncodeError:
        why = f"it cannot be written in {sys.getfilesystemencoding()}, as paths are; choose another"
        raise _cannot(path, errno.EINVAL, why) from None
    if "\0" in path and not path.startswith("@"):
        raise _cannot(path, errno.EINVAL, "no path has a NUL character in it; choose another")
    if length > most:
        why = f"it has {length} bytes, and the path of a socket has at most {most}; choose a shorter one"
        raise _cannot(path, errno.ENAMETOOLONG, why)


def _refusal(path: str, error: OSError) -> CannotListenError:
    if isinstance(error, CannotListenError):
        return error
    folder, lock = show_address(os.path.dirname(path)), show_address(_lock_path(path))
    mend = {
        errno.ENOENT: f"there is no folder {folder}; make it (systemd: RuntimeDirectory=)",
        errno.ENOTDIR: f"{folder} is no folder",
        errno.EACCES: _mend_of_permission(path),
        errno.EPERM: f"a dead server's file is there, and user {os.geteuid()} may not remove it; remove it",
        errno.EROFS: "choose a folder that can be written to",
        errno.EADDRINUSE: "another program was quicker; stop it or choose another path",
        errno.ELOOP: f"{lock} is a symbolic link, as Twisted leaves them; remove it",
        errno.EISDIR: f"{lock} is a folder; remove it or choose another path",
        errno.ENXIO: f"{lock} is no plain file; remove it or choose another path",
    }.get(error.errno or 0, "")
    said = error.strerror or str(error)
    return _cannot(path, error.errno or 0, f"{said}; {mend}" if mend else said)


def _mend_of_permission(path: str) -> str:
    folder = os.path.dirname(path)
    effective = os.access in os.supports_effective_ids
    if os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        lock = show_address(_lock_path(path))
        return f"{lock} is another user's; remove it if no server of theirs runs"
    return (
        f"user {os.geteuid()} may not write to {show_address(folder)}, and has to even when it is listened "
        "on again after privileges were dropped; let them (systemd: RuntimeDirectory=)"
    )
