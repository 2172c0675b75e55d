"""What the tests of HTTP share: a server, and a client that says exactly what it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio

from trioservice import StreamServer
from trioservice.net.http import Exchange, HTTPHandler, HTTPServer

from .support import LIMIT, Events, connect, running

ENDPOINT = "tcp:0:interface=127.0.0.1"

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


class Answer(NamedTuple):
    """What a server has said to one request."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@asynccontextmanager
async def serving(handler: HTTPHandler, **options: Any) -> AsyncIterator[tuple[HTTPServer, Events]]:
    """A server of *handler* that runs."""
    server = HTTPServer(ENDPOINT, handler, **options)
    async with running(server) as (_, events):
        yield server, events


async def hello(exchange: Exchange) -> None:
    """The handler that needs no introduction."""
    await exchange.respond(200, [(b"content-type", b"text/plain")], b"hello")


async def echo(exchange: Exchange) -> None:
    """Answers with the body of the request."""
    await exchange.respond(200, [], b"".join([data async for data in exchange.body]))


class Client:
    """Says what it is told to, and reads what comes."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.unread = b""

    async def say(self, data: bytes) -> None:
        with trio.fail_after(LIMIT):
            await self.stream.send_all(data)

    async def hear(self, *, head_only: bool = False) -> Answer:
        """The next answer, whole."""
        head = await self._up_to(b"\r\n\r\n")
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        status = int(first.split()[1])
        if head_only or status in (100, 204, 304):
            body = b""
        elif b"content-length" in headers:
            body = await self._exactly(int(headers[b"content-length"]))
        elif b"transfer-encoding" in headers:
            body = await self._chunks()
        else:
            body = await self.rest()
        return Answer(status, headers, body)

    async def ask(self, request: bytes, *, head_only: bool = False) -> Answer:
        await self.say(request)
        return await self.hear(head_only=head_only)

    async def rest(self) -> bytes:
        """All that comes until the end."""
        while await self._more():
            pass
        data, self.unread = self.unread, b""
        return data

    async def _more(self) -> bool:
        with trio.fail_after(LIMIT):
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return False
        self.unread += data
        return bool(data)

    async def _up_to(self, end: bytes) -> bytes:
        while end not in self.unread:
            assert await self._more(), f"it ended within {self.unread!r}"
        data, _, self.unread = self.unread.partition(end)
        return data + end

    async def _exactly(self, size: int) -> bytes:
        while len(self.unread) < size:
            assert await self._more(), f"it ended within {self.unread!r}"
        data, self.unread = self.unread[:size], self.unread[size:]
        return data

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._up_to(b"\r\n"), 16):
            body += (await self._exactly(size + 2))[:-2]
        await self._up_to(b"\r\n")
        return body


@asynccontextmanager
async def talking_to(server: StreamServer) -> AsyncIterator[Client]:
    """A client that is connected to *server*."""
    async with await connect(server.addresses[0]) as stream:
        yield Client(stream)


async def answers_to(server: StreamServer, data: bytes) -> bytes:
    """All that *server* says to *data* before it closes the connection."""
    async with talking_to(server) as client:
        await client.say(data)
        return await client.rest()
