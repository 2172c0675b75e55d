"""WebSockets of ASGI applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.lowlevel
from net.http_support import answers_to, talking_to
from net.support import LIMIT, eventually
from wsproto import events as ws
from wsproto.extensions import PerMessageDeflate

from trioservice.integrations.asgi import ClientDisconnected, WebSocketLimits
from trioservice.integrations.asgi_messages import ASGIApplication, Message, Receive, Scope, Send
from trioservice.net.events import ConnectionFailed, RequestFailed
from trioservice.net.streams import SocketStream

from .support import answering, run_websocket, serving_app, talking

Course = Callable[[Scope, Receive, Send], Awaitable[object]]


def websocket(course: Course) -> ASGIApplication:
    """An application of WebSockets only."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        await course(scope, receive, send)

    return app


class Echo:
    """Sends back what comes, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        self.scope = scope
        self.told = await run_websocket(receive, send)


WISH = (
    b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def test_what_is_said_comes_back_and_goodbye_is_said() -> None:
    echo = Echo()
    async with serving_app(echo) as (server, _), talking(server) as client:
        assert isinstance(await client.ask(subprotocols=["a", "b"]), ws.AcceptConnection)
        await client.say(ws.TextMessage(data="hällo"))
        assert (await client.hear()).data == "hällo"
        await client.say(ws.BytesMessage(data=b"\0\1"))
        assert (await client.hear()).data == b"\0\1"
        await client.say(ws.CloseConnection(code=1000, reason="enough"))
        assert (await client.hear()).code == 1000
        await eventually(lambda: echo.told)
    assert echo.scope["subprotocols"] == ["a", "b"]
    assert (echo.scope["scheme"], echo.scope["path"], echo.scope["query_string"]) == ("ws", "/talk", b"a=b")
    assert "method" not in echo.scope
    assert echo.told == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "hällo"},
        {"type": "websocket.receive", "bytes": b"\0\1"},
        {"type": "websocket.disconnect", "code": 1000, "reason": "enough"},
    ]


async def test_a_message_in_pieces_is_one_message() -> None:
    echo = Echo()
    async with serving_app(echo) as (server, _), talking(server) as client:
        await client.ask()
        await client.say(ws.TextMessage(data="one", message_finished=False))
        await client.say(ws.Ping(payload=b"are you there"))
        assert (await client.hear()).payload == b"are you there"
        await client.say(ws.TextMessage(data="two"))
        assert (await client.hear()).data == "onetwo"


async def test_a_client_that_goes_without_a_word_is_a_disconnect() -> None:
    echo = Echo()
    async with serving_app(echo) as (server, events):
        async with talking(server) as client:
            await client.ask()
        await eventually(lambda: echo.told)
    assert echo.told[-1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    assert events.of(RequestFailed) == events.of(ConnectionFailed) == []


async def test_pings_are_answered_while_the_application_is_busy() -> None:
    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-y", b"z")]})
        await trio.sleep_forever()

    async with serving_app(websocket(busy)) as (server, _):
        async with talking(server) as client:
            accepted = await client.ask(subprotocols=["a", "b"])
            assert (accepted.subprotocol, (b"x-y", b"z") in accepted.extra_headers) == ("b", True)
            await client.say(ws.Ping(payload=b"1"))
            assert isinstance(await client.hear(), ws.Pong)
        await server.stop(drain=False)


async def test_an_application_can_refuse() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.close", "code": 1000})
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving_app(websocket(refuse)) as (server, _), talking(server) as client:
        assert (await client.ask()).status_code == 403


@pytest.mark.parametrize("pieces", [1, 2])
async def test_an_application_can_refuse_with_an_answer(pieces: int) -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-y", b"z")]}
        await send(start)
        for number in range(pieces):
            more = number < pieces - 1
            await send({"type": "websocket.http.response.body", "body": b"no", "more_body": more})

    async with serving_app(websocket(refuse)) as (server, _), talking(server) as client:
        assert (await client.ask()).status_code == 401
        assert (await client.hear()).data == b"no"


async def test_an_application_can_close_and_is_told_when_it_sends_afterwards() -> None:
    raised: list[type[BaseException]] = []

    async def close(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000, "reason": "go"})
        with pytest.raises(ClientDisconnected) as caught:
            await send({"type": "websocket.send", "text": "more"})
        raised.append(caught.type)

    async with serving_app(websocket(close)) as (server, _), talking(server) as client:
        await client.ask()
        goodbye = await client.hear()
        assert (goodbye.code, goodbye.reason) == (4000, "go")
        await client.say(goodbye.response())
        await eventually(lambda: server.statistics().active == 0)
    assert raised == [ClientDisconnected]


async def test_an_application_that_returns_has_said_goodbye() -> None:
    async def accept(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    async with serving_app(websocket(accept)) as (server, _), talking(server) as client:
        await client.ask()
        assert (await client.hear()).code == 1000


async def test_an_application_that_raises_is_told_and_so_is_the_client() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError("oh")

    async with serving_app(websocket(fail)) as (server, events), talking(server) as client:
        await client.ask()
        goodbye = await client.hear()
        assert (goodbye.code, goodbye.reason) == (1011, "")
    (event,) = events.of(RequestFailed)
    assert isinstance(event.error, ZeroDivisionError)


@pytest.mark.parametrize("code", [0, 5000, "1000"])
async def test_a_code_that_cannot_be_sent_is_told_and_the_connection_ends(code: object) -> None:
    async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": code})

    async with serving_app(websocket(wrong)) as (server, events), talking(server) as client:
        await client.ask()
        assert (await client.hear()).code == 1011
    (event,) = events.of(RequestFailed)
    assert str(event.error) == f"the code of websocket.close is a number from 1000 to 4999, not {code!r}"


@pytest.mark.parametrize(
    "message", [None, {"type": "websocket.send", "text": "x"}, {"type": "http.response.body"}]
)
async def test_what_an_application_does_wrong_before_it_accepts_is_500(message: Message | None) -> None:
    async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
        if message is not None:
            await send(message)

    async with serving_app(websocket(wrong)) as (server, events), talking(server) as client:
        assert (await client.ask()).status_code == 500
    assert len(events.of(RequestFailed)) == 1


async def test_a_message_that_is_too_big_ends_the_connection() -> None:
    echo = Echo()
    async with serving_app(echo, websockets=WebSocketLimits(message_bytes=10)) as (server, _):
        async with talking(server) as client:
            await client.ask()
            await client.say(ws.TextMessage(data="x" * 6, message_finished=False))
            await client.say(ws.TextMessage(data="x" * 6))
            assert (await client.hear()).code == 1009
        await eventually(lambda: echo.told)
    assert echo.told[-1]["code"] == 1009


async def test_nonsense_ends_the_connection() -> None:
    echo = Echo()
    async with serving_app(echo) as (server, _), talking(server) as client:
        await client.ask()
        await client.say_raw(b"\xff\xff\xff\xff")
        assert (await client.hear()).code == 1002


async def test_a_client_that_does_not_answer_is_given_up() -> None:
    echo = Echo()
    limits = WebSocketLimits(ping_interval=0.05)
    async with serving_app(echo, websockets=limits) as (server, _), talking(server) as client:
        await client.ask()
        await eventually(lambda: echo.told)
    assert echo.told[-1]["code"] == 1006


async def test_a_client_that_answers_is_kept() -> None:
    echo = Echo()
    limits = WebSocketLimits(ping_interval=2)
    async with serving_app(echo, websockets=limits) as (server, _), talking(server) as client:
        await client.ask()
        with trio.move_on_after(4.5):
            await client.hear()
        assert not echo.told


async def test_messages_can_be_compressed() -> None:
    echo = Echo()
    limits = WebSocketLimits(compression=True)
    async with serving_app(echo, websockets=limits) as (server, _), talking(server) as client:
        accepted = await client.ask(extensions=[PerMessageDeflate()])
        assert accepted.extensions
        await client.say(ws.TextMessage(data="x" * 100_000))
        heard = ""
        while len(heard) < 100_000:
            heard += (await client.hear()).data
        assert heard == "x" * 100_000
        assert server.statistics().bytes_received < 10_000


async def test_a_client_is_slowed_down_by_an_application_that_does_not_receive() -> None:
    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await trio.sleep_forever()

    limits = WebSocketLimits(ping_interval=0.05)
    async with serving_app(websocket(busy), websockets=limits) as (server, _):
        async with talking(server) as client:
            await client.ask()
            with trio.move_on_after(0.3):
                while True:
                    await client.say(ws.BytesMessage(data=b"x" * 100_000))
            assert server.statistics().bytes_received < 3_000_000
            assert server.statistics().active == 1
        await server.stop(drain=False)


async def test_a_stop_is_told_to_client_and_application() -> None:
    echo = Echo()
    async with serving_app(echo) as (server, _), talking(server) as client, trio.open_nursery() as nursery:
        await client.ask()
        nursery.start_soon(server.stop)
        goodbye = await client.hear()
        assert (goodbye.code, goodbye.reason) == (1012, "the server stops")
        await client.say(goodbye.response())
        await eventually(lambda: echo.told)
    assert echo.told[-1] == {"type": "websocket.disconnect", "code": 1012, "reason": "the server stops"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", 426),
        (b"Sec-WebSocket-Version: 13\r\n", 400),
        (b"", 400),
    ],
)
async def test_a_wish_that_is_none_is_refused(headers: bytes, status: int) -> None:
    wish = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade, close\r\nUpgrade: WebSocket\r\n"
    async with serving_app(Echo()) as (server, events):
        assert b" %d " % status in (await answers_to(server, wish + headers + b"\r\n"))[:13]
    assert events.of(RequestFailed) == []


async def test_in_http_1_0_there_are_no_wishes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answering(200, [], scope["type"].encode())(scope, receive, send)

    async with serving_app(app) as (server, _):
        assert (await answers_to(server, WISH.replace(b"1.1", b"1.0"))).endswith(b"http")


@pytest.mark.parametrize(("does_receive", "read_ahead"), [(False, 8), (True, 16)])
async def test_what_a_client_says_before_it_is_accepted_is_not_lost(
    does_receive: bool, read_ahead: int
) -> None:
    """Whether it came with the wish, or while the application was not sure yet."""
    heard = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        await receive()
        async with trio.open_nursery() as nursery:

            async def echo() -> None:
                message = await receive()
                await send({"type": "websocket.send", "text": message["text"]})
                message = await receive()
                await send({"type": "websocket.send", "text": message["text"]})

            if does_receive:
                nursery.start_soon(echo)
            await eventually(lambda: server.statistics().bytes_received >= len(WISH) + read_ahead)
            await send({"type": "websocket.accept"})
            if not does_receive:
                nursery.start_soon(echo)
        heard.set()

    limits = WebSocketLimits(ping_interval=None)
    async with serving_app(app, websockets=limits) as (server, _), talking_to(server) as client:
        await client.say(WISH + b"\x81\x82\0\0\0\0hi")
        await eventually(lambda: server.handling)
        await client.say(b"\x81\x82\0\0\0\0ho")
        said = b""
        while b"\x81\x02hi\x81\x02ho" not in said:
            said += await client.stream.receive_some()
        await heard.wait()


@pytest.mark.parametrize(
    "last_words",
    [
        [],
        [{"type": "websocket.accept"}],
        [{"type": "websocket.close"}],
        [{"type": "websocket.http.response.start", "status": 403}],
    ],
)
async def test_a_client_that_goes_before_it_is_accepted_is_told_to_whoever_receives(
    last_words: list[Message],
) -> None:
    told: list[object] = []

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        told.append(await receive())
        try:
            for message in last_words:
                await send(message)
        except ClientDisconnected as error:
            told.append(type(error))
            raise

    async with serving_app(websocket(patient)) as (server, events):
        async with talking_to(server) as client:
            await client.say(WISH)
            await eventually(lambda: server.handling)
        await eventually(lambda: server.statistics().active == 0)
    assert told[0] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    assert told[1:] == [ClientDisconnected] * len(last_words)
    assert events.of(RequestFailed) == []


async def test_a_goodbye_that_comes_with_the_wish_is_answered() -> None:
    echo = Echo()
    async with serving_app(echo) as (server, _), talking_to(server) as client:
        await client.say(WISH + b"\x88\x82\0\0\0\0\x03\xe8")
        assert b"\x88\x02\x03\xe8" in await client.rest()
    assert echo.told[-1]["code"] == 1000


async def test_empty_parts_of_a_message_are_not_kept() -> None:
    echo = Echo()
    async with serving_app(echo) as (server, _), talking_to(server) as client:
        await client.say(WISH + b"\x01\x80\0\0\0\0" + b"\0\x80\0\0\0\0" * 1000 + b"\x80\x81\0\0\0\0!")
        heard = b""
        while b"\x81\x01!" not in heard:
            heard += await client.stream.receive_some()


async def test_a_websocket_that_is_accepted_while_the_server_stops_is_told() -> None:
    go_on = trio.Event()
    told: list[Message] = []

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await go_on.wait()
        await send({"type": "websocket.accept"})
        told.append(await receive())

    async with (
        serving_app(websocket(late)) as (server, _),
        trio.open_nursery() as nursery,
        talking_to(server) as client,
    ):
        await client.say(WISH)
        await eventually(lambda: server.handling)
        nursery.start_soon(server.stop)
        await eventually(lambda: server.has_told_to_drain)
        go_on.set()
        await eventually(lambda: told)
    assert told == [{"type": "websocket.disconnect", "code": 1012, "reason": "the server stops"}]


async def _flood(send: Send) -> None:
    while True:
        await send({"type": "websocket.send", "bytes": b"x" * 1_000_000})


async def test_a_client_that_does_not_take_what_is_sent_is_given_up() -> None:
    ended: list[type] = []

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        try:
            await _flood(send)
        except OSError as error:
            ended.append(type(error))
            raise

    limits = WebSocketLimits(ping_interval=0.1)
    async with (
        serving_app(websocket(flood), websockets=limits) as (server, events),
        talking_to(server) as client,
    ):
        await client.say(WISH)
        await eventually(lambda: ended)
        await eventually(lambda: server.statistics().active == 0)
    assert ended == [ClientDisconnected]
    assert events.of(RequestFailed) == []


async def test_a_client_that_does_not_take_what_is_sent_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trioservice.integrations.asgi_websocket._GOODBYE", 0.1)

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await _flood(send)

    limits = WebSocketLimits(ping_interval=None)
    async with serving_app(websocket(flood), websockets=limits) as (server, _), talking_to(server) as client:
        await client.say(WISH)
        await eventually(lambda: server.statistics().bytes_sent > 100_000)
        with trio.fail_after(LIMIT):
            await server.stop()


async def test_nothing_is_sent_into_a_message_that_was_cut_off() -> None:
    ended: list[type] = []

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        with trio.move_on_after(0.1):
            await send({"type": "websocket.send", "bytes": b"x" * 50_000_000})
        try:
            await send({"type": "websocket.send", "text": "hello"})
        except OSError as error:
            ended.append(type(error))

    limits = WebSocketLimits(ping_interval=None)
    async with serving_app(websocket(cut), websockets=limits) as (server, _), talking_to(server) as client:
        await client.say(WISH)
        await eventually(lambda: ended)
        assert b"hello" not in await client.rest()
    assert ended == [ClientDisconnected]


async def test_an_acceptance_that_is_cut_off_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    really = SocketStream.send_all

    async def send_all(self: SocketStream, data: bytes) -> None:
        if b" 101 " in data:
            await trio.sleep_forever()
        await really(self, data)

    monkeypatch.setattr(SocketStream, "send_all", send_all)

    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        with trio.move_on_after(0.05):
            await send({"type": "websocket.accept"})

    async with serving_app(websocket(hasty)) as (server, _):
        async with talking_to(server) as client:
            await client.say(WISH)
            assert await client.rest() == b""
        await eventually(lambda: server.statistics().active == 0)


async def test_an_offer_to_compress_that_makes_no_sense_is_declined() -> None:
    echo = Echo()
    limits = WebSocketLimits(compression=True)
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x\r\n\r\n"
    async with serving_app(echo, websockets=limits) as (server, events), talking_to(server) as client:
        answer = await client.ask(WISH[:-2] + offer, head_only=True)
        assert answer.status == 101
        assert not any(name.lower() == b"sec-websocket-extensions" for name in answer.headers)
    assert events.of(RequestFailed) == []


async def test_many_small_frames_leave_others_their_turn() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with (
        serving_app(Echo()) as (server, _),
        talking_to(server) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(others)
        await client.ask(WISH, head_only=True)
        before = turns
        await client.say(b"\x8a\x80\0\0\0\0" * 10_000 + b"\x81\x82\0\0\0\0hi")
        await client._up_to(b"hi")
        assert turns - before > 10_000 / 100
        nursery.cancel_scope.cancel()


async def test_a_text_in_small_parts_comes_whole() -> None:
    async with serving_app(Echo()) as (server, _), talking_to(server) as client:
        await client.ask(WISH, head_only=True)
        await client.say(b"\x01\x81\0\0\0\0h" + b"\x00\x82\0\0\0\0\xc3\xa4" + b"\x80\x81\0\0\0\0!")
        await client._up_to("hä!".encode())


async def test_a_client_that_takes_slowly_what_is_sent_is_kept() -> None:
    """Though it answers no pings, which stand behind what it has not taken yet."""

    async def much(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await _flood(send)

    limits = WebSocketLimits(ping_interval=1)
    async with serving_app(websocket(much), websockets=limits) as (server, _):
        async with talking_to(server) as client:
            await client.say(WISH)
            with trio.move_on_after(2.5):
                while True:
                    assert await client.stream.receive_some(200_000)
                    await trio.sleep(0.005)
            assert server.statistics().active == 1
        await eventually(lambda: server.statistics().active == 0)


async def test_the_goodbye_of_a_stop_is_said_though_the_application_returns() -> None:
    async def chatty(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "text": "x"})
            await trio.lowlevel.checkpoint()

    async with (
        serving_app(websocket(chatty)) as (server, _),
        trio.open_nursery() as nursery,
        talking(server) as client,
    ):
        await client.ask()
        nursery.start_soon(server.stop)
        event = await client.hear()
        while not isinstance(event, ws.CloseConnection):
            event = await client.hear()
        assert event.code == 1012
        await client.say(event.response())
