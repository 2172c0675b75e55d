"""What the tests of foreign worlds share: a server of an application, and WebSocket clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from net.http_support import ENDPOINT
from net.support import LIMIT, Events, connect, running
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws

from trioservice.integrations.asgi import ASGIServer
from trioservice.integrations.asgi_messages import ASGIApplication, Message, Receive, Scope, Send


@asynccontextmanager
async def serving_app(app: ASGIApplication, **options: Any) -> AsyncIterator[tuple[ASGIServer, Events]]:
    """A server of *app* that runs."""
    server = ASGIServer(app, ENDPOINT, **options)
    async with running(server) as (_, events):
        yield server, events


def answering(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> ASGIApplication:
    """An application that always says the same."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def require_http(scope: Scope) -> None:
    """As applications do that know nothing else."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])


class Talk:
    """A client of a WebSocket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)

    async def say(self, event: ws.Event) -> None:
        await self._stream.send_all(self._protocol.send(event))

    async def say_raw(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def hear(self) -> Any:
        """What comes next, but pings, which are answered."""
        with trio.fail_after(LIMIT):
            while True:
                for event in self._protocol.events():
                    if isinstance(event, ws.Ping):
                        await self.say(event.response())
                    else:
                        return event
                self._protocol.receive_data(bytes(await self._stream.receive_some()) or None)

    async def ask(self, **request: Any) -> Any:
        """Wish for a WebSocket, and what the server says to it."""
        await self.say(ws.Request(host="here", target="/talk?a=b", **request))
        return await self.hear()


@asynccontextmanager
async def talking(server: ASGIServer) -> AsyncIterator[Talk]:
    """A client that is connected to *server*, and has said nothing yet."""
    async with await connect(server.addresses[0]) as stream:
        yield Talk(stream)


async def run_websocket(receive: Receive, send: Send) -> list[Message]:
    """Accept, send back what comes, and return what was told, up to the end."""
    told = [await receive()]
    await send({"type": "websocket.accept"})
    while told[-1]["type"] != "websocket.disconnect":
        told.append(await receive())
        if told[-1]["type"] == "websocket.receive":
            await send({"type": "websocket.send", **{k: told[-1][k] for k in told[-1] if k != "type"}})
    return told
