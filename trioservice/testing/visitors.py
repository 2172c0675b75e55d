"""Clients that come to whatever listens, and know nothing of it: some ask, some stay, some babble."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import trio

from .sim_sockets import SimSocket

__all__ = ["come"]

# What somebody says who does not know whom he speaks to; the last is no text in any encoding.
_QUESTIONS = (b"hello\n", b"GET / HTTP/1.0\r\n\r\n", b"1\n2\n3\n", bytes(range(256)))
_PATIENCE = 30.0


async def come(door: SimSocket, manner: str, chance: float) -> None:
    """Be a client of what listens at *door*.

    Args:
        door: a socket that listens.
        manner: ``ask`` and wait for an answer, ``leave`` at once, ``stay`` in silence, ``babble`` for ever.
        chance: from 0 to 1, chooses what is said.
    """
    question = _QUESTIONS[int(chance * len(_QUESTIONS))]
    with (
        contextlib.suppress(OSError, trio.BrokenResourceError),
        trio.socket.socket(door.family, door.kind) as sock,
    ):
        await sock.connect(_address(door))
        await _MANNERS[manner](sock, question)


def _address(door: SimSocket) -> Any:
    if door.is_unix:
        return door.sockaddr
    host, port = door.sockaddr
    return ("127.0.0.1" if host == "0.0.0.0" else host), port


async def _ask(sock: Any, question: bytes) -> None:
    await sock.send(question)
    if sock.type == socket.SOCK_STREAM:
        sock.shutdown(socket.SHUT_WR)
    with trio.move_on_after(_PATIENCE):
        while await sock.recv(4096):
            pass


async def _leave(sock: Any, question: bytes) -> None:
    await trio.sleep(0.01)


async def _stay(sock: Any, question: bytes) -> None:
    await trio.sleep_forever()


async def _babble(sock: Any, question: bytes) -> None:
    while True:
        await sock.send(question)
        await trio.sleep(1)


_MANNERS = {"ask": _ask, "leave": _leave, "stay": _stay, "babble": _babble}
