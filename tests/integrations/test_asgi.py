"""ASGI applications as a leaf: requests, lifespan, and what proxies say."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from certificates import certificate, trusting, write_authority, write_pem
from net.http_support import CLOSE, ENDPOINT, GET, POST, Client, answers_to, talking_to
from net.support import LIMIT, connect, eventually, reset, running

from trioservice import ServicesFailed, State
from trioservice.integrations.asgi import (
    ASGIServer,
    ClientDisconnected,
    LifespanCut,
    LifespanError,
    LifespanIgnored,
    _name_of,
)
from trioservice.integrations.asgi_messages import Message, Receive, Scope, Send
from trioservice.integrations.wsgi import WSGIServer
from trioservice.net.events import ConnectionFailed, RequestFailed
from trioservice.net.http import Exchange, HTTPLimits, HTTPServer
from trioservice.net.tls import CertificateFiles

from .support import answering, require_http, serving_app

HELLO = answering(200, [(b"content-type", b"text/plain")], b"hello")

# ---- requests


async def test_a_scope_says_what_asgi_wants_it_to_say() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(dict(scope))
        await HELLO(scope, receive, send)

    async with serving_app(app, root_path="/shop") as (server, _), talking_to(server) as client:
        answer = await client.ask(b"GET /a%20b?c=%20d HTTP/1.1\r\nHost: here\r\nX-Y: z\r\n\r\n")
        assert (answer.status, answer.body, answer.headers[b"content-length"]) == (200, b"hello", b"5")
        local = client.stream.socket.getsockname()
        scope = scopes[-1]
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
        del scope["asgi"], scope["extensions"]
        assert scope == {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/shop/a b",
            "raw_path": b"/shop/a%20b",
            "query_string": b"c=%20d",
            "root_path": "/shop",
            "headers": [(b"host", b"here"), (b"x-y", b"z")],
            "client": local,
            "server": server.addresses[0],
            "state": {},
        }


async def test_over_a_unix_socket_there_is_no_client_s_address(tmp_path: Path) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await HELLO(scope, receive, send)

    path = str(tmp_path / "socket")
    server = ASGIServer(app, f"unix:{path}")
    async with running(server):
        sock = trio.socket.socket(socket.AF_UNIX)
        await sock.connect(path)
        async with trio.SocketStream(sock) as stream:
            await Client(stream).ask(GET)
    assert (scopes[-1]["client"], scopes[-1]["server"]) == (None, (path, None))


async def test_a_body_is_received_piece_by_piece() -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        while not told or told[-1]["more_body"]:
            told.append(await receive())
        await HELLO(scope, receive, send)

    async with serving_app(app) as (server, _), talking_to(server) as client:
        await client.say(POST + b"Content-Length: 10\r\n\r\nhello")
        await eventually(lambda: told)
        assert (await client.ask(b"world")).status == 200
    assert told == [
        {"type": "http.request", "body": b"hello", "more_body": True},
        {"type": "http.request", "body": b"world", "more_body": False},
    ]


async def test_an_answer_is_sent_piece_by_piece() -> None:
    sent = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await sent.wait()
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        await send({"type": "http.response.body"})

    async with serving_app(app) as (server, _), talking_to(server) as client:
        await client.say(GET)
        await eventually(lambda: server.statistics().bytes_sent)
        sent.set()
        assert (await client.hear()).body == b"onetwo"
        await client.ask(CLOSE)


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"3000000")]])
async def test_an_application_can_have_a_file_sent(
    headers: list[tuple[bytes, bytes]], tmp_path: Path
) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        assert "http.response.pathsend" in scope["extensions"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})

    async with serving_app(app) as (server, events):
        async with talking_to(server) as client:
            head = await client.ask(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n", head_only=True)
            assert head.headers[b"content-length"] == b"3000000"
            assert (await client.ask(GET)).body == content
        async with talking_to(server) as client:
            await client.say(GET * 20)
            await client.stream.receive_some(10)
            await reset(client.stream)
        await eventually(lambda: server.statistics().active == 0)
    assert events.of(RequestFailed) == events.of(ConnectionFailed) == []


async def test_a_client_that_goes_is_told_to_whoever_receives_and_whoever_sends() -> None:
    told: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        told.append(await receive())
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        except OSError as error:
            told.append(type(error))
            raise

    async with serving_app(app) as (server, events):
        async with talking_to(server) as client:
            await client.say(GET)
            await eventually(lambda: server.handling == 1)
            await reset(client.stream)
        await eventually(lambda: len(told) == 2)
        await eventually(lambda: server.statistics().active == 0)
    assert told == [{"type": "http.disconnect"}, ClientDisconnected]
    assert events.of(RequestFailed) == events.of(ConnectionFailed) == []


async def test_a_client_that_goes_within_its_body_is_a_disconnect() -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        told.extend([await receive() for _ in range(3)])
        await HELLO(scope, receive, send)

    async with serving_app(app) as (server, _):
        async with talking_to(server) as client:
            await client.say(POST + b"Content-Length: 10\r\n\r\nhello")
        await eventually(lambda: server.statistics().active == 0)
    assert [message["type"] for message in told] == ["http.request", "http.disconnect", "http.disconnect"]


async def as_frameworks_do(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, raise if the client goes, answer 500 to whatever is raised, and raise it again."""
    require_http(scope)
    try:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client has gone")
            more = message["more_body"]
    except ConnectionError:
        assert await receive() == {"type": "http.disconnect"}
        await answering(500, [], b"Oh!")(scope, receive, send)
        raise
    await HELLO(scope, receive, send)


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize(
    ("later", "status"),
    [
        pytest.param(b"6\r\n world\r\n", 413, id="more than the limit"),
        pytest.param(b"nonsense", 400, id="no body at all"),
    ],
)
async def test_a_body_that_proves_to_be_none_is_answered_so_whatever_is_made_of_it(
    later: bytes, status: int
) -> None:
    limits = HTTPLimits(body_bytes=10)
    async with serving_app(as_frameworks_do, limits=limits) as (server, events), talking_to(server) as client:
        await client.say(CHUNKED)
        await eventually(lambda: server.handling)
        answer = await client.ask(later)
        assert (answer.status, answer.headers[b"connection"]) == (status, b"close")
    assert events.of(RequestFailed) == []


async def test_what_is_made_of_a_client_that_goes_within_its_body_is_no_failure() -> None:
    async with serving_app(as_frameworks_do) as (server, events), talking_to(server) as client:
        await client.say(CHUNKED)
        await client.stream.send_eof()
        assert await client.rest() == b""
    assert events.of(RequestFailed) == []


async def test_what_fails_after_the_answer_is_told_though_the_body_proved_to_be_none() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await HELLO(scope, receive, send)
        while (await receive())["type"] != "http.disconnect":
            pass
        raise LookupError("in the background")

    async with serving_app(app) as (server, events):
        assert (await answers_to(server, CHUNKED + b"nonsense")).endswith(b"hello")
    assert isinstance(events.of(RequestFailed)[0].error, LookupError)


async def leave_within_the_answer(server: ASGIServer) -> None:
    """As a client that has seen enough."""
    async with talking_to(server) as client:
        await client.say(GET)
        await client.stream.receive_some(10)
        await reset(client.stream)
    await eventually(lambda: server.statistics().active == 0)


class FrameworkError(Exception):
    """What some frameworks raise where a client has gone."""


async def _as_it_is(send: Send) -> None:
    while True:
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})


async def _in_a_group(send: Send) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_as_it_is, send)


async def _as_its_own(send: Send) -> None:
    try:
        await _as_it_is(send)
    except OSError as error:
        raise FrameworkError from error


@pytest.mark.parametrize("stream", [_as_it_is, _in_a_group, _as_its_own])
async def test_what_is_made_of_a_client_that_goes_within_its_answer_is_no_failure(stream: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await stream(send)

    async with serving_app(app) as (server, events):
        await leave_within_the_answer(server)
    assert events.of(RequestFailed) == events.of(ConnectionFailed) == []


async def test_a_bug_in_what_is_done_when_a_client_goes_is_told() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await _as_it_is(send)
        except OSError:
            {}["bug"]

    async with serving_app(app) as (server, events):
        await leave_within_the_answer(server)
    (event,) = events.of(RequestFailed)
    assert isinstance(event.error, KeyError)


async def test_who_receives_while_the_answer_is_sent_is_told_of_no_disconnect() -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await receive()

        async def watch() -> None:
            told.append(await receive())

        async with trio.open_nursery() as nursery:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            nursery.start_soon(send, {"type": "http.response.body", "body": b"x" * 20_000_000})
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not told

    async with serving_app(app) as (server, _), talking_to(server) as client:
        await client.say(GET)
        await trio.sleep(0.1)
        assert len((await client.hear()).body) == 20_000_000
        await eventually(lambda: told)


async def test_an_error_that_is_raised_from_itself_is_told_as_any() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        error = LookupError("oh")
        raise error from error

    async with serving_app(app) as (server, events):
        assert b" 500 " in await answers_to(server, GET)
    assert len(events.of(RequestFailed)) == 1


@pytest.mark.parametrize("patience", [0, 0.02])
async def test_who_only_has_a_look_is_told_of_a_disconnect_as_well(patience: float) -> None:
    """As Starlette does (``request.is_disconnected()``), which is cancelled at once."""
    looks: list[Message | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await receive()
        while not looks or looks[-1] is None:
            message = None
            with trio.move_on_after(patience):
                message = await receive()
            looks.append(message)
            await trio.sleep(0.001)
        await HELLO(scope, receive, send)

    async with serving_app(app) as (server, _):
        async with talking_to(server) as client:
            await client.say(GET)
            await eventually(lambda: looks)
        await eventually(lambda: looks[-1] is not None)
    assert looks[-1] == {"type": "http.disconnect"}


async def test_who_waits_beside_one_that_is_cancelled_goes_on_to_wait() -> None:
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await receive()

        async def wait() -> None:
            told.append(await receive())

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.05):
                nursery.start_soon(wait)
                await receive()

    async with serving_app(app) as (server, _):
        async with talking_to(server) as client:
            await client.say(GET)
            await trio.sleep(0.1)
            assert not told
        await eventually(lambda: told)
        await eventually(lambda: server.statistics().active == 0)


async def test_a_file_that_is_sent_ends_the_waiting_for_a_disconnect(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked(0.001)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})

    async with serving_app(app) as (server, _), talking_to(server) as client:
        for _ in range(2):
            assert (await client.ask(GET)).body == b"hello"


async def test_whoever_waits_for_a_disconnect_is_told_when_the_answer_is_whole() -> None:
    """Two at once: middleware and what is below it both wait, and leave together."""
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await receive()

        async def wait() -> None:
            told.append(await receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.001)
            await HELLO(scope, receive, send)
        told.append(await receive())

    async with serving_app(app) as (server, _), talking_to(server) as client:
        await client.ask(GET)
        await client.ask(CLOSE)
    assert told == [{"type": "http.disconnect"}] * 6


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"type": "http.response.start", "status": 200}],
        [{"type": "http.response.body"}],
        [{"type": "http.response.start", "status": 200}] * 2,
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.body", "more_body": True}],
        [
            {"type": "http.response.start", "status": 200},
            {"type": "http.response.body"},
            {"type": "http.response.body"},
        ],
        [{"type": "websocket.accept"}],
        [
            {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc")]},
            {"type": "http.response.body"},
        ],
    ],
)
async def test_what_an_application_does_wrong_ends_its_request_only(messages: list[Message]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        if scope["path"] == "/wrong":
            for message in messages:
                await send(message)
        else:
            await HELLO(scope, receive, send)

    async with serving_app(app) as (server, events):
        await answers_to(server, b"GET /wrong HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert (await answers_to(server, CLOSE)).endswith(b"hello")
    assert len(events.of(RequestFailed)) == 1


def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match="app takes scope, receive and send, and None cannot be called"):
        ASGIServer(None, ENDPOINT)  # type: ignore[arg-type]


@pytest.mark.parametrize("server", [ASGIServer, WSGIServer])
def test_what_no_proxy_says_is_refused(server: Any) -> None:
    app = HELLO if server is ASGIServer else lambda environ, start_response: []
    with pytest.raises(
        ValueError, match=r"trusted_proxies are networks like .*: '10.0.0' does not appear to"
    ):
        server(app, ENDPOINT, trusted_proxies="10.0.0")
    with pytest.raises(
        ValueError, match="proxy_headers is 'x-forwarded' or 'forwarded', not 'X-Forwarded-For'"
    ):
        server(app, ENDPOINT, proxy_headers="X-Forwarded-For")


async def test_an_application_that_awaits_asyncio_is_told_the_mend() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        await (asyncio.sleep(1) if scope["path"] == "/" else asyncio.Event().wait())

    async with serving_app(app) as (server, events):
        await answers_to(server, CLOSE)
        await answers_to(server, CLOSE.replace(b"/ ", b"/event ", 1))
    for event in events.of(RequestFailed):
        assert "ASGIServer(..., loop='asyncio')" in event.error.__notes__[0]
    assert len(events.of(RequestFailed)) == 2


# ---- lifespan


class Life:
    """An application with a lifespan, and a diary."""

    def __init__(self, start: str = "complete", stop: str = "complete") -> None:
        self._start, self._stop = start, stop
        self.diary: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.diary.append(f"request {scope['state']}")
            await HELLO(scope, receive, send)
            return
        self.diary.append((await receive())["type"])
        scope["state"]["shop"] = "open"
        await send({"type": f"lifespan.startup.{self._start}", "message": "Traceback\nno database"})
        if self._start == "failed":
            raise ConnectionError("no database")
        self.diary.append((await receive())["type"])
        await send({"type": f"lifespan.shutdown.{self._stop}", "message": "still here"})


async def test_a_lifespan_goes_around_all_requests() -> None:
    app = Life()
    async with serving_app(app) as (server, _):
        await answers_to(server, CLOSE)
    assert app.diary == ["lifespan.startup", "request {'shop': 'open'}", "lifespan.shutdown"]


async def test_each_start_is_a_lifespan_of_its_own() -> None:
    app = Life()
    async with serving_app(app) as (server, _):
        await server.restart()
    assert app.diary == ["lifespan.startup", "lifespan.shutdown"] * 2


async def test_requests_in_progress_end_before_the_lifespan() -> None:
    diary: list[str] = []
    go_on = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            diary.append((await receive())["type"])
        else:
            await go_on.wait()
            diary.append("request")
            await HELLO(scope, receive, send)

    async with (
        serving_app(app) as (server, _),
        trio.open_nursery() as nursery,
        talking_to(server) as client,
    ):
        await client.say(GET)
        await eventually(lambda: server.handling == 1)
        nursery.start_soon(server.stop)
        await trio.sleep(0.05)
        go_on.set()
        assert (await client.hear()).body == b"hello"
    assert diary == ["request", "lifespan.shutdown"]


async def test_a_lifespan_that_fails_is_a_failed_start() -> None:
    server = ASGIServer(Life(start="failed"), ENDPOINT)
    with pytest.RaisesGroup(
        pytest.RaisesExc(
            LifespanError,
            match="could not start: no database",
            check=lambda error: isinstance(error.__cause__, ConnectionError),
        ),
        flatten_subgroups=True,
    ):
        async with running(server):
            pass
    assert server.state is State.FAILED


async def test_a_lifespan_that_cannot_end_is_told() -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(LifespanError, match="not stop as it should: still here"), flatten_subgroups=True
    ):
        async with serving_app(Life(stop="failed")):
            pass


async def _returns(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await HELLO(scope, receive, send)


async def _returns_later(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await HELLO(scope, receive, send)
    else:
        await receive()
        await send({"type": "lifespan.startup.complete"})


@pytest.mark.parametrize("app", [HELLO, _returns, _returns_later])
async def test_an_application_needs_no_lifespan(app: Any) -> None:
    async with serving_app(app) as (server, _):
        assert (await answers_to(server, CLOSE)).endswith(b"hello")


async def test_an_application_that_raises_when_it_is_told_to_start_is_served_and_told() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            raise LookupError("there is no database")
        await HELLO(scope, receive, send)

    async with serving_app(app) as (server, events):
        assert (await answers_to(server, CLOSE)).endswith(b"hello")
    (event,) = events.of(LifespanIgnored)
    assert event.level == logging.WARNING
    assert "raised LookupError: there is no database when it was told to start" in str(event)


async def test_a_lifespan_that_has_raised_tells_where() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            os.environ["NO_SUCH_VARIABLE"]
        except KeyError:
            await send({"type": "lifespan.startup.failed", "message": "KeyError"})
            raise

    told = (
        r'(?s)^the application could not start: KeyError\n  File ".*test_asgi.py", line \d+, in app\n'
        r'    os.environ\["NO_SUCH_VARIABLE"\]'
    )
    with pytest.RaisesGroup(pytest.RaisesExc(LifespanError, match=told), flatten_subgroups=True):
        async with serving_app(app):
            pass


async def test_a_lifespan_that_breaks_off_ends_the_server() -> None:
    go_on = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await go_on.wait()
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with serving_app(app):
            go_on.set()
            await trio.sleep(LIMIT)


async def test_a_lifespan_that_does_not_end_is_cut_and_told() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep_forever()

    with trio.fail_after(LIMIT):
        async with serving_app(app, stop_timeout=0.05) as (_, events):
            pass
    (event,) = events.of(LifespanCut)
    assert "did not end its lifespan in time" in str(event)


async def test_a_stop_without_a_drain_ends_the_lifespan_all_the_same() -> None:
    app = Life()
    async with serving_app(app) as (server, _):
        await server.stop(drain=False)
    assert app.diary == ["lifespan.startup", "lifespan.shutdown"]


# ---- proxies


@pytest.mark.parametrize(
    ("trusted", "client_is"),
    [("127.0.0.0/8", ("192.0.2.7", 0)), ("10.0.0.0/8", None), ((), None)],
)
async def test_what_a_proxy_says_counts_if_it_is_trusted(trusted: Any, client_is: Any) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await HELLO(scope, receive, send)

    async with serving_app(app, trusted_proxies=trusted) as (server, _), talking_to(server) as client:
        await client.ask(
            b"GET / HTTP/1.1\r\nHost: here\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n"
        )
        local = client.stream.socket.getsockname()
    assert scopes[-1]["client"] == (client_is or local)
    assert scopes[-1]["scheme"] == ("https" if client_is else "http")


async def test_limits_hold_for_applications_too() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving_app(app, limits=HTTPLimits(body_bytes=10)) as (server, _):
        assert b" 413 " in await answers_to(server, POST + b"Content-Length: 11\r\n\r\n")
        chunks = b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n"
        async with talking_to(server) as client:
            await client.say(POST + chunks)
            await trio.sleep(0.01)
            assert (await client.ask(b"6\r\nworld!\r\n")).status == 413


async def test_the_failure_of_another_service_ends_it_in_order() -> None:
    from trioservice import Service

    class Fails(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            task_status.started()
            raise ZeroDivisionError

    app = Life()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(ASGIServer(app, ENDPOINT), Fails()):
            await trio.sleep(LIMIT)
    assert caught.group_contains(ServicesFailed) or caught.group_contains(ZeroDivisionError)
    assert app.diary == ["lifespan.startup", "lifespan.shutdown"]


# ---- TLS


async def test_over_tls_the_scheme_and_the_client_s_certificate_are_told(tmp_path: Path) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await HELLO(scope, receive, send)

    path, ca = (
        write_pem(tmp_path / "shop.pem", certificate("shop.example")),
        write_authority(tmp_path / "ca.pem"),
    )
    context = trusting()
    certificate("a@guest.example").configure_cert(context)
    async with serving_app(app, ssl_context=CertificateFiles(path, client_ca=ca)) as (server, _):
        below = await connect(server.addresses[0])
        async with trio.SSLStream(below, context, server_hostname="shop.example") as stream:
            answer = await Client(stream).ask(GET)
            assert answer.body == b"hello"
    scope = scopes[-1]
    tls = scope["extensions"]["tls"]
    assert scope["scheme"] == "https"
    assert tls["tls_version"] == 0x0304
    assert tls["client_cert_chain"][0].startswith("-----BEGIN CERTIFICATE-----")
    assert "O=trustme" in tls["client_cert_name"]


def test_the_name_of_a_certificate_is_written_as_rfc_4514_has_it() -> None:
    subject = ((("countryName", "DE"),), (("organizationName", "A, B"), ("x", "#y")), (("commonName", "c "),))
    assert _name_of({"subject": subject}) == r"CN=c\ ,O=A\, B+x=\#y,C=DE"
    assert _name_of({}) is None


async def test_a_large_answer_and_a_file_go_over_tls_too(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [(b"content-length", b"300000")])
        with (tmp_path / "file").open("rb") as file:
            await exchange.send_file(file.fileno(), 0, 300_000)

    path = write_pem(tmp_path / "shop.pem", certificate("shop.example"))
    server = HTTPServer(ENDPOINT, handler, ssl_context=CertificateFiles(path))
    async with running(server):
        below = await connect(server.addresses[0])
        async with trio.SSLStream(below, trusting(), server_hostname="shop.example") as stream:
            assert (await Client(stream).ask(CLOSE)).body == content
