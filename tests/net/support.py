"""What the tests of servers share: a tree around one server, clients, and patience."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import applications
import pytest
import trio
from applications import Events

from trioservice import Application, Service, TCPServer
from trioservice.net.addresses import Address
from trioservice.net.streams import SocketStream

LOCAL = "127.0.0.1"
LIMIT = 10.0  # seconds, for what takes milliseconds


def running(
    *services: Service, shutdown_timeout: float = 30.0
) -> AbstractAsyncContextManager[tuple[Application, Events]]:
    """An application of *services*, which starts and stops in good time."""
    return applications.running(*services, within=LIMIT, shutdown_timeout=shutdown_timeout)


async def eventually(condition: Callable[[], object], within: float = LIMIT) -> None:
    """Try again until *condition* returns something true."""
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.001)


async def connect(server: TCPServer | Address) -> trio.SocketStream:
    """A client of *server*, by its first address."""
    address = server.addresses[0] if isinstance(server, TCPServer) else server
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        with trio.fail_after(LIMIT):
            await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def ask(client: trio.SocketStream, question: bytes, size: int | None = None) -> bytes:
    """Send *question* and wait for an answer of *size* (by default its own) bytes, or the end."""
    answer = b""
    with trio.fail_after(LIMIT):
        await client.send_all(question)
        while len(answer) < (len(question) if size is None else size):
            more = await client.receive_some()
            if not more:
                break
            answer += more
    return answer


def is_refused(address: Address) -> bool:
    """Whether nobody listens there."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(LIMIT)
        try:
            sock.connect(address)
        except ConnectionRefusedError:
            return True
        return False


async def reset(client: trio.SocketStream | SocketStream) -> None:
    """Close *client* with a RST instead of a FIN."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await client.aclose()


async def ended(client: trio.SocketStream) -> bool:
    """Whether the server closes the connection without a byte."""
    with trio.fail_after(LIMIT):
        try:
            return await client.receive_some() == b""
        except trio.BrokenResourceError:  # closed with bytes of ours unread
            return True


async def echo(stream: SocketStream) -> None:
    """The handler that needs no introduction."""
    async for data in stream:
        await stream.send_all(data)


async def who(stream: SocketStream) -> None:
    """Answers with the addresses and whatever was said first."""
    said = await stream.receive_some()
    await stream.send_all(f"{stream.peer} {stream.local} ".encode() + said)


class Gate:
    """A handler that answers when the test lets it."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.entered = self.most = self.within = self.cancelled = 0

    async def __call__(self, stream: SocketStream) -> None:
        self.entered += 1
        self.within += 1
        self.most = max(self.most, self.within)
        try:
            question = await stream.receive_some()
            await self.open.wait()
            await stream.send_all(question.upper())
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.within -= 1


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _short_queues() -> bool:
    """Whether the queue of a UNIX datagram socket is full before the send buffer of who fills it is."""
    try:
        length = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    except OSError:
        return True
    return length < 200  # some 270 small datagrams fill a send buffer


#: Where a peer that does not read can take all of a sender's buffer, only the kernel could tell peers apart.
needs_short_queues = pytest.mark.skipif(
    not _short_queues(), reason="net.unix.max_dgram_qlen is so large that one peer can fill a send buffer"
)
