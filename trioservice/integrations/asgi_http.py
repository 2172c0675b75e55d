"""ASGI's side of one HTTP request."""

from __future__ import annotations

import os
from typing import NoReturn

import trio

from ..net.http import ClientGone, Exchange, Refusal
from .asgi_messages import ClientDisconnected, Message, is_of_disconnect

__all__ = ["HTTPCycle"]


class HTTPCycle:
    """What an application is given to receive from and to send to, for one request.

    Args:
        exchange: the request, and its answer.

    Attributes:
        is_whole: the application has sent all of its answer.
    """

    __slots__ = (
        "_broken",
        "_exchange",
        "_has_asked",
        "_has_gone",
        "_is_sent",
        "_start",
        "_watch",
        "_watching",
        "is_whole",
    )

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._has_asked = False  # for all of the body
        self.is_whole = self._is_sent = False
        # Why the request will never be whole.  The application is told that its client has gone, and what it
        # makes of that is no failure of its own.
        self._broken: Exception | None = None
        self._has_gone = False  # the client, whose request is whole
        self._start: Message | None = None  # sent by the application, and held until the body comes
        # One of those who receive watches the client, and the others wait until it does so no more.
        self._watch: trio.Event | None = None
        self._watching: trio.CancelScope | None = None

    async def receive(self) -> Message:
        """Give the application more of the body, or tell it that there will be no more."""
        exchange = self._exchange
        if self._broken is not None:
            await trio.lowlevel.checkpoint()
            return {"type": "http.disconnect"}
        if self._has_asked or self._is_sent:
            return await self._disconnect()
        try:
            body = await exchange.receive()
        except (trio.BrokenResourceError, Refusal) as error:
            self._broken = error
            return {"type": "http.disconnect"}
        self._has_asked = exchange.is_received
        return {"type": "http.request", "body": body, "more_body": not self._has_asked}

    async def _disconnect(self) -> Message:
        while not (self._is_sent or self._has_gone):
            if self._watch is None:
                await self._watch_client()
            else:
                await self._watch.wait()
        return {"type": "http.disconnect"}

    async def _watch_client(self) -> None:
        """Return when the client has gone, or the answer is whole."""
        self._watch = trio.Event()
        try:
            with trio.CancelScope() as self._watching:
                await self._exchange.wait_disconnected()
                self._has_gone = True
        finally:
            self._watch.set()
            self._watch = self._watching = None

    async def send(self, message: Message) -> None:
        """Take what the application answers."""
        exchange, start, kind = self._exchange, self._start, message["type"]
        if self._broken is not None and not exchange.status:  # the server has a better answer
            raise ClientDisconnected(f"the request did not come whole: {self._broken}")
        if kind == "http.response.start" and start is None and not exchange.status:
            self._start = message
            return
        if kind == "http.response.body" and not self.is_whole:
            body, more = message.get("body", b""), message.get("more_body", False)
            if start is None:
                sending = exchange.write(body, last=not more)
            else:
                answer = exchange.start if more else exchange.respond
                sending = answer(start["status"], start.get("headers", ()), body)
        elif kind == "http.response.pathsend" and start is not None:
            sending, more = self._send_path(message["path"], start), False
        else:
            raise RuntimeError(f"the application sent {kind!r} where that cannot come")
        self._start, self.is_whole = None, not more
        try:
            await sending
        except trio.BrokenResourceError as error:
            raise ClientDisconnected("the client has gone") from error
        if not more:
            self._is_sent = True
            if self._watching is not None:  # nobody has to any more
                self._watching.cancel(reason="the answer is whole")

    async def _send_path(self, path: str, start: Message) -> None:
        """Send a file as the body; over a plain socket, the kernel does it."""
        exchange = self._exchange
        descriptor = await trio.to_thread.run_sync(os.open, path, os.O_RDONLY)  # a disk may be slow
        try:
            headers = [(name, value) for name, value in start.get("headers", ())]
            if all(name != b"content-length" for name, _ in headers):
                headers.append((b"content-length", b"%d" % os.fstat(descriptor).st_size))
            await exchange.start(start["status"], headers)
            await exchange.send_file(descriptor, 0, exchange.left)
        finally:
            os.close(descriptor)

    def complain(self, error: Exception | None = None) -> NoReturn:
        """Raise why there is no whole answer: of the request's, the client's, or the application's making.

        Args:
            error: what the application has raised, if it has not just returned.
        """
        if self._broken is not None and not self.is_whole:
            raise self._broken from error
        if error is not None and is_of_disconnect(error):
            raise ClientGone("the client has gone") from error
        if error is not None:
            raise error
        if self._has_gone:
            raise ClientGone("the client has gone")
        raise RuntimeError("the application returned without having sent all of its answer")
