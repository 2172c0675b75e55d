"""ASGI's side of one WebSocket connection; wsproto knows the protocol.

The application runs in the connection's task, as it does for requests.  What comes is read by a
second task, since a client wants its pings answered while the application is busy.  It reads ahead
only a few messages, so an application that takes its time slows its client down.

Until the application accepts, all this is HTTP still, and a refusal is an answer like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from enum import Enum

import trio

from ..net.http import Exchange
from ..net.streams import Connection
from ..records import record
from .asgi_messages import ASGIApplication, ClientDisconnected, Message, Scope

try:
    from wsproto import ConnectionType, WSConnection
    from wsproto import events as ws
    from wsproto.extensions import Extension, PerMessageDeflate
    from wsproto.utilities import LocalProtocolError, ProtocolError, RemoteProtocolError
except ImportError as error:
    raise ImportError(
        "WebSockets need the library wsproto, which cannot be imported: pip install 'trioservice[web]'",
        name="wsproto",
    ) from error

__all__ = ["WebSocket", "WebSocketLimits"]

# So many messages are read before the application has asked for them.
_AHEAD = 16

# So many of the frames that came together are dealt with between two looks at what other tasks want.
_BATCH = 64

# So long, in seconds, it is waited for the client's goodbye.
_GOODBYE = 2.0

# RFC 6455, 7.4.1.
_NORMAL, _ABNORMAL, _TOO_BIG, _FAILURE, _RESTART = 1000, 1006, 1009, 1011, 1012


@record
class WebSocketLimits:
    """What a WebSocket's client may do.

    Args:
        message_bytes: of one message; more ends the connection with 1009.
        ping_interval: every so many seconds a client is asked whether it is there, and if nothing comes
            of it before the next time, the connection ends.  ``None`` asks nobody.
        compression: agree to compress messages (permessage-deflate), which takes some 300 KB for each
            connection, and lets a client send in a few bytes what takes a thousand times as much memory.
    """

    message_bytes: int = 16 * 1024 * 1024
    ping_interval: float | None = 20.0
    compression: bool = False


class _State(Enum):
    ASKED = "the application has not said yes or no"
    REFUSING = "the application says no, in HTTP"
    OPEN = "messages go to and fro"
    CLOSED = "all is said"


class WebSocket:
    """One connection, from a client's wish to its end.

    Args:
        exchange: the request that asks for it.
        limits: what the client may do.
    """

    def __init__(self, exchange: Exchange, limits: WebSocketLimits) -> None:
        self._exchange = exchange
        self._limits = limits
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._state = _State.ASKED
        self._refusal: Message = {}
        self._has_told_connect = False
        self._put, self._get = trio.open_memory_channel[Message](_AHEAD)
        self._sending = trio.Lock()
        self._reading = trio.CancelScope()
        self._end_of_reading = trio.Event()
        self._watching = trio.CancelScope()
        self._end_of_watching: trio.Event | None = None  # where nobody watches
        self._has_gone = False  # the client, before it was answered
        self._was_accepted = False
        self._begun = bytearray()  # of a message that is not whole; text is encoded in it
        self._size = 0
        self._is_quiet = False  # nothing has come since the last ping
        self._code, self._reason = _ABNORMAL, ""
        self._stream: Connection

    async def run(self, app: ASGIApplication, scope: Scope) -> None:
        """Let *app* have it."""
        request = self._exchange.request
        try:
            self._protocol.initiate_upgrade_connection(list(request.headers), request.target)
            asked = next(self._protocol.events())
            assert isinstance(asked, ws.Request)
        except (ProtocolError, UnicodeError) as error:
            await self._refuse(error)
            return
        scope["subprotocols"] = asked.subprotocols
        failure: Exception | None = None
        async with trio.open_nursery() as self._tasks:
            try:
                await app(scope, self.receive, self.send)
                self._require_answer()
            except Exception as error:  # noqa: BLE001 - it is raised again, out of the nursery
                failure = error
            await self._close(_NORMAL if failure is None else _FAILURE)
            if self._was_accepted:  # somebody else may be saying goodbye
                await self._end_of_reading.wait()
            self._tasks.cancel_scope.cancel(reason="the application has returned")
        if failure is not None:
            raise failure

    async def _refuse(self, error: Exception) -> None:
        hint = error.event_hint if isinstance(error, RemoteProtocolError) else None
        status, headers = 400, []
        if isinstance(hint, ws.RejectConnection):
            status, headers = hint.status_code, list(hint.headers)
        await self._exchange.respond(status, headers, f"{error}\n".encode())

    def _require_answer(self) -> None:
        self._require_client()
        if self._state in (_State.ASKED, _State.REFUSING):
            raise RuntimeError("the application returned without an answer to websocket.connect")

    # ---- for the application

    async def receive(self) -> Message:
        """The next message of the client's, or that there will be none."""
        if not self._has_told_connect:
            self._has_told_connect = True
            await trio.lowlevel.checkpoint()
            return {"type": "websocket.connect"}
        if self._state in (_State.ASKED, _State.REFUSING) and self._end_of_watching is None:
            self._end_of_watching = trio.Event()
            self._tasks.start_soon(self._watch, self._end_of_watching)
        try:
            return await self._get.receive()
        except trio.EndOfChannel:
            return {"type": "websocket.disconnect", "code": self._code, "reason": self._reason}

    async def send(self, message: Message) -> None:
        """Take what the application says."""
        self._require_client()
        match self._state, message["type"]:
            case _State.ASKED, "websocket.accept":
                await self._accept(message)
            case _State.ASKED, "websocket.close":
                self._over()
                await self._refuse_in_http(403, (), b"", more=False)
            case _State.ASKED, "websocket.http.response.start":
                self._state, self._refusal = _State.REFUSING, message
            case _State.REFUSING, "websocket.http.response.body":
                await self._send_refusal(message)
            case _State.OPEN, "websocket.send":
                data = message.get("bytes")
                await self._say(ws.Message(data=message["text"] if data is None else data))
            case _State.OPEN, "websocket.close":
                await self._close(_code(message.get("code", _NORMAL)), message.get("reason") or "")
            case _State.CLOSED, "websocket.send" | "websocket.close":
                raise ClientDisconnected("the WebSocket is closed")
            case _, kind:
                raise RuntimeError(f"the application sent {kind!r} where that cannot come")

    async def _watch(self, end: trio.Event) -> None:
        """Look whether the client goes, before it is answered; nothing else is its turn to say."""
        with self._watching:
            await self._exchange.wait_disconnected()
            self._has_gone = True
            self._over()
        end.set()

    def _require_client(self) -> None:
        if self._has_gone:
            raise ClientDisconnected("the client has gone before it was answered")

    async def _accept(self, message: Message) -> None:
        if self._end_of_watching is not None:  # two cannot wait for the same socket
            self._watching.cancel(reason="the application accepts")
            await self._end_of_watching.wait()
            self._require_client()
        try:
            data = self._acceptance(message, [PerMessageDeflate()] if self._limits.compression else [])
        except ValueError:  # the client offers to compress in a way that makes no sense
            data = self._acceptance(message, [])
        self._sending.acquire_nowait()  # nobody has said anything yet, and nobody shall before this
        try:
            self._state, self._was_accepted = _State.OPEN, True
            self._stream, ahead = self._exchange.upgrade(self._on_drain)
            self._tasks.start_soon(self._read, ahead)
            await self._deliver(data)
        finally:
            self._sending.release()
        if self._limits.ping_interval is not None:
            self._tasks.start_soon(self._ping, self._limits.ping_interval)

    def _acceptance(self, message: Message, extensions: list[Extension]) -> bytes:
        return self._protocol.send(
            ws.AcceptConnection(
                subprotocol=message.get("subprotocol"),
                extensions=extensions,
                extra_headers=list(message.get("headers", ())),
            )
        )

    async def _send_refusal(self, message: Message) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        await self._refuse_in_http(self._refusal["status"], self._refusal.get("headers", ()), body, more=more)
        if not more:
            self._over()

    async def _refuse_in_http(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, more: bool
    ) -> None:
        exchange = self._exchange
        try:
            if exchange.status:
                await exchange.write(body, last=not more)
            else:
                await (exchange.start if more else exchange.respond)(status, headers, body)
        except trio.BrokenResourceError as error:
            raise ClientDisconnected("the client has gone") from error

    # ---- what is said to the client

    async def _say(self, event: ws.Event) -> None:
        try:
            async with self._sending:  # what is said first is sent first
                await self._deliver(self._protocol.send(event))
        except LocalProtocolError as error:
            raise ClientDisconnected("the WebSocket is closed") from error

    async def _deliver(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._over()
            raise ClientDisconnected("the client has gone") from error
        except trio.Cancelled:
            self._stream.abandon()  # what would follow could be read as a part of this
            self._over()
            raise

    async def _close(self, code: int, reason: str = "") -> None:
        """Say goodbye, and wait no longer than a moment for the client's."""
        if self._state is not _State.OPEN:
            return
        self._state = _State.CLOSED
        self._code, self._reason = code, reason
        self._reading.deadline = trio.current_time() + _GOODBYE
        with suppress(ClientDisconnected):
            await self._say(ws.CloseConnection(code=code, reason=reason))

    def _on_drain(self) -> None:
        if self._state is _State.OPEN:
            self._tasks.start_soon(self._close, _RESTART, "the server stops")

    def _over(self) -> None:
        self._state = _State.CLOSED
        self._put.close()

    async def _ping(self, interval: float) -> None:
        """Ask the client now and then whether it is there, and give up one that shows no sign of life."""
        while self._state is _State.OPEN:
            self._is_quiet, before = True, self._stream.progress()
            is_asked = not self._sending.locked()  # else a long message is on its way
            if is_asked:
                self._tasks.start_soon(self._say_ping)
            await trio.sleep(interval)
            is_dead = self._stream.progress() == before if self._sending.locked() else is_asked
            # Who waits for the application to receive does not read, so it cannot tell.
            if self._is_quiet and is_dead and not self._put.statistics().tasks_waiting_send:
                self._stream.abandon()
                return

    async def _say_ping(self) -> None:
        with suppress(ClientDisconnected):
            await self._say(ws.Ping())

    # ---- what comes

    async def _read(self, data: bytes) -> None:
        """Read until the end; at the end, the application is told."""
        with self._reading, suppress(trio.BrokenResourceError, trio.ClosedResourceError, ClientDisconnected):
            if not data:
                data = await self._receive()
            while await self._take(data):
                data = await self._receive()
        if self._reading.cancelled_caught:
            self._stream.abandon()  # somebody may still be sending to who does not even say goodbye
        self._over()
        self._end_of_reading.set()

    async def _receive(self) -> bytes:
        data = bytes(await self._stream.receive_some())
        self._is_quiet = False
        return data

    async def _take(self, data: bytes) -> bool:
        """Deal with what has come; false if it was the end."""
        self._protocol.receive_data(data or None)
        for number, event in enumerate(self._protocol.events(), 1):
            if number % _BATCH == 0:
                await trio.lowlevel.checkpoint()
            match event:
                case ws.Ping():
                    await self._say(event.response())
                case ws.TextMessage() | ws.BytesMessage():
                    if not await self._take_part(event):
                        await self._close(
                            _TOO_BIG, f"a message has at most {self._limits.message_bytes} bytes"
                        )
                        return False
                case ws.CloseConnection():
                    await self._take_goodbye(event)
                    return False
        return True

    async def _take_part(self, event: ws.TextMessage | ws.BytesMessage) -> bool:
        """Take a part of a message; false if it has become too big."""
        self._size += len(event.data)
        if self._size > self._limits.message_bytes:
            return False
        if not event.message_finished:
            self._begun += _bytes_of(event)
        else:
            whole = event.data
            if self._begun:  # parts may be as small as a byte, and are kept as one
                together = bytes(self._begun + _bytes_of(event))
                whole = together.decode() if isinstance(event, ws.TextMessage) else together
            self._begun, self._size = bytearray(), 0
            kind = "text" if isinstance(event, ws.TextMessage) else "bytes"
            await self._put.send({"type": "websocket.receive", kind: whole})
        return True

    async def _take_goodbye(self, event: ws.CloseConnection) -> None:
        if self._state is _State.OPEN:
            self._code, self._reason = int(event.code), event.reason or ""
        await self._say(event.response())  # unless it is a response, or there is nobody to hear it


def _bytes_of(event: ws.TextMessage | ws.BytesMessage) -> bytes:
    return event.data.encode() if isinstance(event, ws.TextMessage) else bytes(event.data)


def _code(code: object) -> int:
    if not isinstance(code, int) or not 1000 <= code < 5000:  # RFC 6455, 7.4
        raise ValueError(f"the code of websocket.close is a number from 1000 to 4999, not {code!r}")
    return code
