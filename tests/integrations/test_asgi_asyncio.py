"""ASGI applications that await asyncio, below a server that runs on trio."""

from __future__ import annotations

import asyncio

import pytest
import trio
from net.http_support import CLOSE, GET, POST, talking_to
from net.support import LIMIT, connect, eventually
from wsproto import events as ws

from trioservice import State
from trioservice.integrations.asgi import ASGIServer
from trioservice.integrations.asgi_messages import Message, Receive, Scope, Send

from .support import run_websocket, serving_app, talking


async def answer(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": body})


async def test_requests_and_the_lifespan_share_one_loop_of_asyncio() -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    loops = []
    diary = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        loops.append(asyncio.get_running_loop())
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                diary.append((await receive())["type"])
                await asyncio.sleep(0)
                await send({"type": f"lifespan.{moment}.complete"})
        elif scope["method"] == "POST":
            await queue.put((await receive())["body"])
            await answer(send, b"kept")
        else:
            await answer(send, await queue.get())

    async with (
        serving_app(app, loop="asyncio") as (server, _),
        talking_to(server) as waiting,
        talking_to(server) as giving,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def wait() -> None:
            assert (await waiting.ask(GET)).body == b"apples"

        await eventually(lambda: len(loops) == 2)
        assert (await giving.ask(POST + b"Content-Length: 6\r\n\r\napples")).body == b"kept"
    assert diary == ["lifespan.startup", "lifespan.shutdown"]
    assert len(loops) == 3
    assert len(set(map(id, loops))) == 1


async def test_an_application_without_a_lifespan_is_fine() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise ValueError("only http")
        await answer(send, b"hello")

    async with serving_app(app, loop="asyncio") as (server, _), talking_to(server) as client:
        for _ in range(3):
            assert (await client.ask(GET)).body == b"hello"


async def test_a_client_that_goes_is_told_of() -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            told.append(await receive())
            told.append(await receive())

    async with serving_app(app, loop="asyncio") as (server, _):
        async with await connect(server.addresses[0]) as client:
            await client.send_all(GET)
            await eventually(lambda: told)
        await eventually(lambda: len(told) == 2)
    assert told[1] == {"type": "http.disconnect"}


async def test_a_websocket_is_served() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await run_websocket(receive, send)

    async with serving_app(app, loop="asyncio") as (server, _), talking(server) as talk:
        assert isinstance(await talk.ask(), ws.AcceptConnection)
        await talk.say(ws.TextMessage("hello"))
        assert (await talk.hear()).data == "hello"


async def test_a_request_in_progress_is_answered_when_the_server_stops() -> None:
    go_on = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            begun.set()
            while not go_on.is_set():  # noqa: ASYNC110 - of the other world
                await asyncio.sleep(0.001)
            await answer(send, b"late, and whole")

    begun = trio.Event()
    async with (
        serving_app(app, loop="asyncio") as (server, _),
        talking_to(server) as client,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def wait() -> None:
            assert (await client.ask(GET)).body == b"late, and whole"

        await begun.wait()
        nursery.start_soon(server.stop)
        await eventually(lambda: server.state is State.STOPPING)
        go_on.set()


async def test_a_request_that_outlasts_the_drain_is_cancelled_as_asyncio_cancels() -> None:
    ends = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)  # it may close what it has
                ends.append("cancelled, and closed")
                raise

    begun = trio.Event()
    async with (
        serving_app(app, loop="asyncio", drain_timeout=0.05) as (server, _),
        await connect(server.addresses[0]) as client,
    ):
        await client.send_all(GET)
        await begun.wait()
        with trio.fail_after(LIMIT):
            await server.stop()
    assert ends == ["cancelled, and closed"]


async def test_an_error_is_a_500_and_ends_no_more_than_its_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("oh")

    async with serving_app(app, loop="asyncio") as (server, _), talking_to(server) as client:
        assert (await client.ask(CLOSE)).status == 500
        async with talking_to(server) as other:
            assert (await other.ask(CLOSE)).status == 500


def test_other_loops_are_refused() -> None:
    with pytest.raises(ValueError, match="loop is 'trio' or 'asyncio', not 'uvloop'"):
        ASGIServer(lambda *told: answer(told[2], b""), "tcp:0", loop="uvloop")  # type: ignore[arg-type]
