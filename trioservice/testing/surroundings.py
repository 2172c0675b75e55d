"""What is around an application that lives a simulated life: a network that remembers who opened what."""

from __future__ import annotations

import inspect
import socket
import sys
import sysconfig
from types import FrameType
from typing import Any

import trio

from ..errors import is_machinery
from ..run import current_service
from ..service import Service
from .network import SimNetwork
from .sim_sockets import SimSocket

__all__ = ["Owner", "Surroundings", "place_of", "users_line"]


# What is above a step of a task is trio's loop, and whoever has called that has nothing to do with it.
_LOOP = inspect.unwrap(trio.run).__code__
_LIBRARY = sysconfig.get_path("stdlib")


class Owner:
    """Whose a socket or a task is, and which line of its source made it, if that is known."""

    __slots__ = ("path", "where")

    def __init__(self, service: Service | None) -> None:
        self.path = "" if service is None else service.path
        self.where = ""


class Surroundings(SimNetwork):
    """A network for one life.

    Attributes:
        owners: of the sockets that are open, by descriptor.
        refused: the addresses at which nobody was found.
    """

    def __init__(self, *, seed: int, tell: Any) -> None:
        super().__init__(seed=seed)
        self._tell = tell
        self.owners: dict[int, Owner] = {}
        self._at: dict[str, Owner] = {}
        self.refused: set[str] = set()

    def know(self, sock: SimSocket) -> int:
        """Also remember who opened it."""
        descriptor = super().know(sock)
        owner = self.owners[descriptor] = Owner(current_service())
        if owner.path:  # nobody is blamed for what a visitor opens
            owner.where = users_line(sys._getframe(1)) or _line_above()
        return descriptor

    def forget(self, descriptor: int) -> None:
        """Also forget who opened it, but not who had such an address."""
        owner = self.owners.pop(descriptor)
        sock = self.socket_with(descriptor)
        if sock is not None and owner.path:
            self._at[sock.label] = owner
        super().forget(descriptor)

    def note(self, what: str) -> None:
        """Tell it to the one who writes the story of this life."""
        if what.endswith((" refused", " nobody is there")):
            self.refused.add(what.split(" > ")[1].split(" ")[0])
        elif " finds no host " in what:
            self.refused.add(what)
        self._tell(what)

    def listening(self, kind: int = socket.SOCK_STREAM) -> list[SimSocket]:
        """The sockets of a kind that take what comes, in the order in which they were opened."""
        return [
            sock
            for sock in self.host("localhost").sockets
            if sock.kind == kind and (kind != socket.SOCK_STREAM or _listens(sock)) and sock.peername is None
        ]

    @property
    def strangers(self) -> set[str]:
        """The addresses at which nobody was found, and which are nobody's of the application either."""
        ours = {sock.label for sock in self.host("localhost").sockets}
        return self.refused - ours - set(self._at)

    def left_open(self) -> list[tuple[SimSocket, Owner]]:
        """The sockets that are open, and whose they are."""
        # A connection that was accepted was opened by the one who came.
        open_ones = [(sock, self.owners[sock.fileno()]) for sock in self.host("localhost").sockets]
        return [(sock, owner if owner.path else self._at.get(sock.label, owner)) for sock, owner in open_ones]


def _listens(sock: SimSocket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def users_line(frame: FrameType | None) -> str:
    """The innermost line of the user's own source, in the present step of a task; empty if there is none."""
    while frame is not None and frame.f_code is not _LOOP:
        if not is_machinery(frame) and not frame.f_code.co_filename.startswith(_LIBRARY):
            return place_of(frame)
        frame = frame.f_back
    return ""


def _line_above() -> str:
    """The user's line that waits for what the present task does; in trio, to connect takes further tasks."""
    task = trio.lowlevel.current_task() if trio.lowlevel.in_trio_task() else None
    while task is not None:
        theirs = [(frame, line) for frame, line in task.iter_await_frames() if not is_machinery(frame)]
        for frame, line in theirs[-1:]:
            return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
    return ""


def place_of(frame: FrameType) -> str:
    """A line of somebody's source."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
