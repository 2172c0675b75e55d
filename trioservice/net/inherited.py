"""Sockets that were open before we were: passed by systemd, or left by whoever started us.

systemd listens for us and starts us when somebody comes, or at boot.  We need no privileges for
its ports, and nobody is refused while we are started or replaced by a new version: who comes
meanwhile waits in the queue of a socket that is never closed.  How the sockets are told is in
sd_listen_fds(3): they are the descriptors from 3, ``LISTEN_FDS`` is how many, ``LISTEN_FDNAMES``
how they are called, and ``LISTEN_PID`` whom they are for.

A process inherits once, so what it has inherited is the one thing here that belongs to the
process and not to a service: :func:`inheritance`.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import MutableMapping
from contextlib import ExitStack, suppress

from ..errors import CannotListenError
from .endpoints import FDEndpoint, SystemdEndpoint

__all__ = ["Inheritance", "inheritance", "inherited_sockets"]

_FIRST = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Inheritance:
    """The descriptors that a process was started with, and which of them are in use.

    As it is made, the variables are removed from *environ* and the sockets marked close-on-exec,
    so that programs which we start do not take them for theirs.

    Args:
        environ: the environment, usually :data:`os.environ`.
        pid: of this process.
    """

    def __init__(self, environ: MutableMapping[str, str], pid: int) -> None:
        said = {name: environ.pop(name, "") for name in _VARIABLES}
        self._names, self._why_none = _names_of(said, pid)
        self._taken: set[int] = set()
        for descriptor in range(_FIRST, _FIRST + len(self._names)):
            with suppress(OSError):  # one that is not open is told to the service that wants it
                os.set_inheritable(descriptor, False)

    def descriptors(self, endpoint: SystemdEndpoint) -> list[int]:
        """Those of the sockets passed by systemd that *endpoint* means; at least one.

        Raises:
            CannotListenError: there is none, or it is not clear which.
        """
        if not self._names:
            name = f" --fdname={endpoint.name}" if endpoint.name is not None else ""
            by_hand = f"systemd-socket-activate -l 8080{name} trioservice run app.tac"
            mend = f"start this process by its .socket unit, or to try it by hand, `{by_hand}`"
            raise _cannot(endpoint, errno.ENOENT, f"no socket was passed to us, {self._why_none}; {mend}")
        meant = [number for number, name in enumerate(self._names) if _means(endpoint, number, name)]
        if not meant:
            raise _cannot(endpoint, errno.ENOENT, f"it was not passed to us, only {self._passed()}")
        if len(meant) > 1 and endpoint.name is None:
            mend = "say which, as systemd:NAME or systemd:index=N"
            raise _cannot(
                endpoint, errno.EINVAL, f"several sockets were passed to us, {self._passed()}; {mend}"
            )
        return [_FIRST + number for number in meant]

    def _passed(self) -> str:
        return ", ".join(f"index {number} named {name!r}" for number, name in enumerate(self._names))

    def take(self, endpoint: object, *descriptors: int) -> None:
        """Have *descriptors* for oneself alone, for *endpoint*.

        Raises:
            CannotListenError: one of them is, or was, another's.
        """
        for descriptor in descriptors:
            if descriptor in self._taken:
                why = (
                    f"descriptor {descriptor} has been given to a service already, and there is one of it; "
                    "give it to one service, once"
                )
                raise _cannot(endpoint, errno.EBUSY, why)
        self._taken.update(descriptors)

    def give_back(self, *descriptors: int) -> None:
        """Let others have them again."""
        self._taken.difference_update(descriptors)


@functools.cache
def inheritance() -> Inheritance:
    """What this process has inherited; read once, when a service first asks for it."""
    return Inheritance(os.environ, os.getpid())


def _names_of(said: MutableMapping[str, str], pid: int) -> tuple[list[str], str]:
    """The name of each socket that was passed, or why there is none."""
    if not said["LISTEN_FDS"]:
        return [], "as LISTEN_FDS is not set"
    if said["LISTEN_PID"] != str(pid):
        whose = said["LISTEN_PID"] or "nobody"
        return [], f"as LISTEN_PID says that they are for {whose} and this is {pid}"
    count = _number(said["LISTEN_FDS"])
    if not count:
        return [], f"as LISTEN_FDS is {said['LISTEN_FDS']!r}"
    names = said["LISTEN_FDNAMES"].split(":") if said["LISTEN_FDNAMES"] else ["unknown"] * count
    if len(names) != count:
        # sd_listen_fds_with_names(3) refuses that as well: no name could be trusted.
        return [], f"as LISTEN_FDNAMES has {len(names)} names and LISTEN_FDS is {count}"
    return names, ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _means(endpoint: SystemdEndpoint, number: int, name: str) -> bool:
    if endpoint.name is not None:
        return name == endpoint.name
    return endpoint.index is None or endpoint.index == number


# ---- sockets ----------------------------------------------------------------------------------


def inherited_sockets(endpoint: SystemdEndpoint | FDEndpoint, kind: socket.SocketKind) -> list[socket.socket]:
    """The sockets that *endpoint* means, non-blocking.

    Those of systemd are duplicates: the originals stay open, so that the same process can serve
    them again later.  That of ``fd:`` is the original; it is ours once.  Several sockets of
    systemd's with one name (a unit with two ``ListenStream=``) belong to one server.

    Args:
        endpoint: what was asked for.
        kind: SOCK_STREAM or SOCK_DGRAM.

    Raises:
        CannotListenError: nothing of the sort was passed to us.
    """
    with ExitStack() as undo:
        if isinstance(endpoint, FDEndpoint):
            inheritance().take(endpoint, endpoint.descriptor)
            undo.callback(inheritance().give_back, endpoint.descriptor)
            sockets = [_adopted(endpoint, undo)]
        else:
            descriptors = inheritance().descriptors(endpoint)
            sockets = [_duplicate(endpoint, descriptor, undo) for descriptor in descriptors]
        for sock in sockets:
            _refuse_the_wrong_kind(endpoint, sock, kind)
        for sock in sockets:
            sock.setblocking(False)
            sock.set_inheritable(False)
        undo.pop_all()
        return sockets


def _adopted(endpoint: FDEndpoint, undo: ExitStack) -> socket.socket:
    try:
        sock = socket.socket(fileno=endpoint.descriptor)
    except OSError as error:
        raise _no_socket(endpoint, endpoint.descriptor, error) from None
    undo.callback(sock.detach)  # what is refused stays open, as it was found
    return sock


def _duplicate(endpoint: SystemdEndpoint, descriptor: int, undo: ExitStack) -> socket.socket:
    try:
        duplicate = os.dup(descriptor)
    except OSError as error:
        raise _no_socket(endpoint, descriptor, error) from None
    try:
        sock = socket.socket(fileno=duplicate)
    except OSError as error:
        os.close(duplicate)
        raise _no_socket(endpoint, descriptor, error) from None
    return undo.enter_context(sock)


def _no_socket(endpoint: SystemdEndpoint | FDEndpoint, descriptor: int, error: OSError) -> CannotListenError:
    what = {
        errno.EBADF: f"descriptor {descriptor} is not open; was it passed to this process?",
        errno.ENOTSOCK: f"descriptor {descriptor} is open, but no socket",
    }.get(error.errno or 0, f"descriptor {descriptor}: {error.strerror}")
    return _cannot(endpoint, error.errno or 0, what)


def _refuse_the_wrong_kind(
    endpoint: SystemdEndpoint | FDEndpoint, sock: socket.socket, kind: socket.SocketKind
) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        raise _cannot(endpoint, errno.EAFNOSUPPORT, f"it is of another family, {sock.family!r}")
    if sock.type != kind:
        wanted = {
            socket.SOCK_STREAM: "it takes connections; serve it by a StreamServer (ListenStream= is right)",
            socket.SOCK_DGRAM: "it takes datagrams; serve it by a DatagramServer, or write ListenStream=",
        }.get(sock.type, f"it is of another type, {sock.type!r}")
        raise _cannot(endpoint, errno.EPROTOTYPE, wanted)
    if kind == socket.SOCK_STREAM and _is_connected(sock):
        mend = "write Accept=no (inetd: wait), or serve it as stdio:"
        raise _cannot(endpoint, errno.EISCONN, f"it is a connection, not what connections arrive at; {mend}")


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _cannot(endpoint: object, number: int, why: str) -> CannotListenError:
    return CannotListenError(number, f"cannot listen on {endpoint}: {why}")
