"""Protocols that write down what is called, and the lanes that call them: ours, and asyncio's."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from certificates import certificate, trusting

from trioservice import SSLServer, StreamServer, TCPServer, UNIXServer
from trioservice.net import polls

from .support import LIMIT, LOCAL, Events, eventually, running

NAME = "shop.example"
SMALL = 4096  # of a socket's buffers, so that little fills them
MUCH = bytes(range(256)) * 8192  # 2 MiB, more than any of them hold


class Recorder:
    """A protocol that notes what is called; data that came in pieces is one entry."""

    transport: Any

    def __init__(self) -> None:
        self.said: list[Any] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.said.append("made")

    def data_received(self, data: bytes) -> None:
        if self.said and isinstance(self.said[-1], bytes):
            self.said[-1] += data
        else:
            self.said.append(bytes(data))

    def eof_received(self) -> bool | None:
        self.said.append("eof")
        return None

    def pause_writing(self) -> None:
        self.said.append("pause")

    def resume_writing(self) -> None:
        self.said.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.said.append(("lost", None if exc is None else type(exc)))

    @property
    def is_lost(self) -> bool:
        return bool(self.said) and isinstance(self.said[-1], tuple)


class Echo(Recorder):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


LOST = ("lost", None)


class Client:
    """The peer, in words that fit every lane."""

    def __init__(self, stream: Any, below: trio.SocketStream) -> None:
        self.stream = stream
        self.below = below
        self.send = stream.send_all

    async def end(self) -> None:
        """End our half."""
        await self.stream.send_eof()

    async def receive(self, size: int) -> bytes:
        """So many bytes, fewer if it ends before."""
        got = bytearray()
        with trio.fail_after(LIMIT):
            while len(got) < size:
                more = await self.stream.receive_some(size - len(got))
                if not more:
                    break
                got += more
        return bytes(got)

    async def receive_all(self) -> bytes:
        """All, until it ends, however it does."""
        got = bytearray()
        with trio.fail_after(LIMIT), suppress(trio.BrokenResourceError):
            async for data in self.stream:
                got += data
        return bytes(got)

    async def reset(self) -> None:
        """Break off."""
        self.below.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await self.below.aclose()


class Lane(ABC):
    """A server of protocols."""

    def __init__(self, factory: Callable[[], Recorder], kind: str, folder: Path) -> None:
        self.made: list[Recorder] = []
        self._clients: list[trio.SocketStream] = []
        self.kind = kind
        self.path = folder / "socket"
        self._factory = factory

    def make(self) -> Recorder:
        self.made.append(self._factory())
        return self.made[-1]

    @property
    def address(self) -> Any:
        """Where it listens."""
        raise NotImplementedError

    @abstractmethod
    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it where callbacks are called."""

    async def connect(self) -> tuple[Client, Recorder]:
        """A client, and the protocol that serves it."""
        before = len(self.made)
        if self.kind == "unix":
            sock = trio.socket.socket(socket.AF_UNIX)
        else:
            sock = trio.socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        await sock.connect(self.address)
        below = trio.SocketStream(sock)
        self._clients.append(below)
        stream: Any = below
        if self.kind == "tls":
            stream = trio.SSLStream(below, trusting(), server_hostname=NAME)
            with trio.fail_after(LIMIT):
                await stream.do_handshake()
        await eventually(lambda: len(self.made) > before and self.made[before].said)
        return Client(stream, below), self.made[before]

    def leave(self) -> None:
        """Let no client be left."""
        for client in self._clients:
            client.socket.close()


def server_context() -> ssl.SSLContext:
    """What a server shows."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate(NAME).configure_cert(context)
    return context


class Ours(Lane):
    """A server of ours."""

    server: StreamServer
    events: Events

    @property
    def address(self) -> Any:
        return self.server.addresses[0]

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


class Theirs(Lane):
    """asyncio's own server, on a thread."""

    _server: asyncio.Server

    @property
    def address(self) -> Any:
        return self._server.sockets[0].getsockname()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        async def called() -> Any:
            return function(*args)

        future = asyncio.run_coroutine_threadsafe(called(), self._loop)
        with trio.fail_after(LIMIT):
            return await trio.to_thread.run_sync(future.result, LIMIT)

    async def open(self) -> None:
        self._loop = asyncio.SelectorEventLoop()  # by name: trio-asyncio, once imported, gives others
        self._loop.set_exception_handler(lambda *_: None)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        await trio.to_thread.run_sync(
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result, LIMIT
        )

    async def _listen(self) -> None:
        make: Any = self.make
        if self.kind == "unix":
            self._server = await self._loop.create_unix_server(make, str(self.path))
        else:
            self._server = await self._loop.create_server(make, LOCAL, 0)

    async def close(self) -> None:
        await trio.to_thread.run_sync(
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result, LIMIT
        )
        self._loop.call_soon_threadsafe(self._loop.stop)
        await trio.to_thread.run_sync(self._thread.join)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for protocol in self.made:
            if not protocol.is_lost:
                protocol.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def lane(which: str, factory: Callable[[], Recorder] = Recorder, **options: Any) -> AsyncIterator[Any]:
    """One of :data:`LANES`, open."""
    whose, _, kind = which.partition(" ")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if whose == "asyncio":
            theirs = Theirs(factory, kind, Path(folder))
            await theirs.open()
            try:
                yield theirs
            finally:
                theirs.leave()
                await theirs.close()
            return
        if whose == "portable":
            patch.setattr(polls, "AVAILABLE", False)
        ours = Ours(factory, kind, Path(folder))
        options = {"name": "srv", "protocol": ours.make, "drain_timeout": 0.05} | options
        if kind == "unix":
            ours.server = UNIXServer(ours.path, **options)
        elif kind == "tls":
            ours.server = SSLServer(0, ssl_context=server_context(), host=LOCAL, **options)
        else:
            ours.server = TCPServer(0, host=LOCAL, **options)
        try:
            async with running(ours.server) as (_, ours.events):
                yield ours
                ours.leave()  # so that no drain waits for them
        finally:
            ours.leave()


OURS = ["fast tcp", "fast unix", "portable tcp", "portable unix", "fast tls"]
PLAIN = [which for which in OURS if not which.endswith("tls")]
THEIRS = ["asyncio tcp", "asyncio unix"]
