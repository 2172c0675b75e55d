"""The HTTP server: exchanges, keep-alive, bodies, refusals, and its end."""

from __future__ import annotations

import contextvars
import logging
import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from certificates import certificate, trusting, write_pem

from trioservice.net.events import ConnectionFailed, RequestFailed, RequestRefused, RequestTimedOut
from trioservice.net.http import Answered, ClientGone, Exchange, HTTPHandler, HTTPLimits, HTTPServer, Request
from trioservice.net.streams import SocketStream
from trioservice.net.tls import CertificateFiles

from .http_support import CLOSE, ENDPOINT, GET, POST, Client, answers_to, echo, hello, serving, talking_to
from .support import LIMIT, connect, eventually, is_refused, reset

# ---- requests and answers


async def test_a_request_is_what_the_client_has_said() -> None:
    seen: list[Exchange] = []

    async def note(exchange: Exchange) -> None:
        seen.append(exchange)
        await hello(exchange)

    async with serving(note) as (server, _), talking_to(server) as client:
        await client.ask(b"GET /a%20b/%C3%A4?c=%20d HTTP/1.1\r\nHost: here\r\nX-Two:  1 \r\nX-two: 2\r\n\r\n")
        assert seen[0].peer == client.stream.socket.getsockname()
        assert seen[0].local == server.addresses[0]
        assert seen[0].tls is None
    request = seen[0].request
    assert (request.method, request.target, request.http_version) == ("GET", b"/a%20b/%C3%A4?c=%20d", "1.1")
    assert (request.path, request.raw_path, request.query) == ("/a b/ä", b"/a%20b/%C3%A4", b"c=%20d")
    assert request.headers == [(b"host", b"here"), (b"x-two", b"1"), (b"x-two", b"2")]
    assert request.headers.get(b"x-two") == b"1"
    assert request.headers.get_all(b"x-two") == [b"1", b"2"]
    assert request.headers.get(b"other") is None


async def test_an_answer_has_a_length_a_date_and_the_server_s_name() -> None:
    async with serving(hello) as (server, _), talking_to(server) as client:
        answer = await client.ask(GET)
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers[b"content-length"] == b"5"
    assert answer.headers[b"server"] == b"trioservice"
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers[b"date"])


async def test_requests_of_one_connection_are_answered_in_their_order() -> None:
    """Sent one by one, and ahead of time (pipelining)."""

    async def path(exchange: Exchange) -> None:
        await exchange.respond(200, [], exchange.request.raw_path)

    requests = [b"GET /%d HTTP/1.1\r\nHost: here\r\n\r\n" % number for number in range(50)]
    async with serving(path) as (server, _), talking_to(server) as client:
        assert [(await client.ask(request)).body for request in requests] == [b"/%d" % n for n in range(50)]
        await client.say(b"".join(requests))
        assert [(await client.hear()).body for _ in requests] == [b"/%d" % n for n in range(50)]
        assert server.statistics().accepted == 1


async def test_pipelined_requests_let_others_have_their_turn() -> None:
    async with serving(hello) as (server, _), talking_to(server) as flood, talking_to(server) as polite:
        await polite.ask(GET)
        await flood.say(GET * 1000)
        await polite.say(GET)
        await polite.hear()
        heard = len(flood.unread)
        assert heard < 1000 * 100
        for _ in range(1000):
            await flood.hear()


@pytest.mark.parametrize(
    ("request_head", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
async def test_a_connection_is_kept_as_the_client_wants(request_head: bytes, kept: bool) -> None:
    async with serving(hello) as (server, _), talking_to(server) as client:
        answer = await client.ask(request_head)
        assert (answer.headers.get(b"connection") == b"close") is not kept
        if kept:
            assert (await client.ask(CLOSE)).body == b"hello"
        assert await client.rest() == b""


async def test_head_204_and_304_have_no_body() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.respond(int(exchange.request.path[1:]), [], b"a body")

    async with serving(answer) as (server, _), talking_to(server) as client:
        head = await client.ask(b"HEAD /200 HTTP/1.1\r\nHost: here\r\n\r\n", head_only=True)
        assert head.headers[b"content-length"] == b"6"
        for status in (204, 304):
            await client.ask(b"GET /%d HTTP/1.1\r\nHost: here\r\n\r\n" % status)
        assert (await client.ask(b"GET /200 HTTP/1.1\r\nHost: here\r\n\r\n")).body == b"a body"


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("headers", [[], [(b"content-length", b"9")]])
async def test_a_body_can_be_sent_piece_by_piece(version: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """By its length, in chunks, or up to the end of the connection, as the client can understand."""

    async def answer(exchange: Exchange) -> None:
        await exchange.start(200, headers, b"one")
        await exchange.write(b"")
        await exchange.write(b"two")
        await exchange.write(b"six", last=True)
        assert exchange.bytes_sent == 9

    async with serving(answer) as (server, _), talking_to(server) as client:
        answered = await client.ask(
            b"GET / HTTP/%b\r\nHost: here\r\nConnection: keep-alive\r\n\r\n" % version
        )
        assert answered.body == b"onetwosix"
        assert (b"transfer-encoding" in answered.headers) is (version == b"1.1" and not headers)


async def test_a_large_body_arrives_whole() -> None:
    body = os.urandom(3_000_000)

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(200, [], body)

    async with serving(answer) as (server, _), talking_to(server) as client:
        assert (await client.ask(GET)).body == body


async def test_a_part_of_a_file_can_be_sent(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)

    async def answer(exchange: Exchange) -> None:
        await exchange.start(200, [(b"content-length", b"2500004")])
        await exchange.write(b"ab")
        with (tmp_path / "file").open("rb") as file:
            await exchange.send_file(file.fileno(), 100, 2_500_000)
        await exchange.write(b"cd")

    async with serving(answer) as (server, _), talking_to(server) as client:
        head = await client.ask(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n", head_only=True)
        assert head.headers[b"content-length"] == b"2500004"
        assert (await client.ask(GET)).body == b"ab" + content[100:2_500_100] + b"cd"


# ---- the request's body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 11\r\n\r\nhello world",
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"6;x=y\r\nhello \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n",
        # A wish that nobody grants (h2c), beside a body that llhttp does not read.
        b"POST / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 11\r\n\r\nhello world",
    ],
)
@pytest.mark.parametrize("pace", [1, 7, 1000])
async def test_a_body_comes_as_it_was_sent(request_bytes: bytes, pace: int) -> None:
    """However it is cut into packets; and the next request is understood."""
    async with serving(echo) as (server, _), talking_to(server) as client:
        data = request_bytes + CLOSE
        for start in range(0, len(data), pace):
            await client.say(data[start : start + pace])
            await trio.lowlevel.checkpoint()
        assert (await client.hear()).body == b"hello world"
        assert (await client.hear()).body == b""


async def test_a_body_is_read_only_as_it_is_asked_for() -> None:
    """A client is slowed down by a handler that takes its time: that is back-pressure."""
    asked = trio.Event()

    async def slow(exchange: Exchange) -> None:
        await asked.wait()
        size = 0
        while data := await exchange.receive(1000):
            assert len(data) <= 1000
            size += len(data)
        await exchange.respond(200, [], b"%d" % size)

    async with serving(slow) as (server, _), talking_to(server) as client:
        await client.say(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 50000000\r\n\r\n")
        sent = 0
        with trio.move_on_after(0.5):
            while sent < 50_000_000:
                await client.stream.send_all(b"x" * 100_000)
                sent += 100_000
        assert sent < 50_000_000
        assert server.statistics().bytes_received < 200_000
        asked.set()


async def test_a_client_that_waits_for_a_word_is_given_it_when_the_body_is_asked_for() -> None:
    async with serving(echo) as (server, _), talking_to(server) as client:
        await client.say(
            b"POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        assert (await client.hear()).status == 100
        assert (await client.ask(b"hello")).body == b"hello"


async def test_a_client_that_waits_for_a_word_is_told_no_at_once() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(403)

    async with serving(refuse) as (server, _), talking_to(server) as client:
        answer = await client.ask(
            b"POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        assert (answer.status, answer.headers[b"connection"]) == (403, b"close")


async def test_a_body_that_nobody_wants_is_passed_over() -> None:
    async with serving(hello) as (server, _), talking_to(server) as client:
        await client.ask(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        await client.say(b"x" * 500)
        assert (await client.ask(CLOSE)).status == 200


async def test_a_large_body_that_nobody_wants_ends_the_connection_but_not_the_answer() -> None:
    async with serving(hello) as (server, _), talking_to(server) as client:
        await client.say(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 500_000)
        assert (await client.hear()).body == b"hello"
        assert await client.rest() == b""


async def test_a_client_that_goes_within_its_body_ends_only_its_request() -> None:
    async with serving(echo) as (server, events):
        async with talking_to(server) as client:
            await client.say(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhe")
        await eventually(lambda: server.statistics().active == 0)
        assert events.of(RequestFailed) == events.of(ConnectionFailed) == []


@pytest.mark.parametrize("by_tls", [False, True])
@pytest.mark.parametrize(
    "more",
    [pytest.param(b"", id="refused by the handler"), pytest.param(b"nonsense\r\n\r\n", id="by the server")],
)
async def test_who_reads_only_when_all_is_said_is_not_kept_from_the_answer(
    tmp_path: Path, by_tls: bool, more: bytes
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(403)

    options = {}
    if by_tls:
        pem = write_pem(tmp_path / "shop.pem", certificate("shop.example"))
        options["ssl_context"] = CertificateFiles(pem)
    size = 5_000_000
    async with serving(refuse, **options) as (server, _):
        stream: Any = await connect(server.addresses[0])
        if by_tls:
            stream = trio.SSLStream(stream, trusting(), server_hostname="shop.example")
        async with stream:
            client = Client(stream)
            await client.say(more or POST + b"Content-Length: %d\r\n\r\n" % size)
            await client.say(b"x" * size)
            assert (await client.hear()).status == (400 if more else 403)


async def test_a_handler_can_wait_for_the_client_to_go() -> None:
    gone = trio.Event()

    async def wait(exchange: Exchange) -> None:
        await exchange.wait_disconnected()
        gone.set()
        await exchange.respond(200)

    async with serving(wait) as (server, _):
        async with talking_to(server) as client:
            await client.say(GET + GET)
            await trio.testing.wait_all_tasks_blocked()
            assert not gone.is_set()
        with trio.fail_after(LIMIT):
            await gone.wait()


async def test_what_comes_while_a_handler_waits_is_the_next_request() -> None:
    async def wait(exchange: Exchange) -> None:
        with trio.move_on_after(0.05):
            await exchange.wait_disconnected()
        await exchange.respond(200, [], exchange.request.raw_path)

    async with serving(wait) as (server, _), talking_to(server) as client:
        await client.say(b"GET /1 HTTP/1.1\r\nHost: here\r\n\r\n")
        await trio.sleep(0.01)
        await client.say(b"GET /2 HTTP/1.1\r\nHost: here\r\n\r\n")
        assert [(await client.hear()).body for _ in range(2)] == [b"/1", b"/2"]


# ---- mistakes of handlers


async def test_a_handler_that_raises_is_answered_for_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(exchange: Exchange) -> None:
        raise ZeroDivisionError("oh")

    async with serving(fail) as (server, events), talking_to(server) as client:
        answer = await client.ask(GET)
        assert (answer.status, answer.headers[b"connection"]) == (500, b"close")
        assert b"oh" not in answer.body
        assert await client.rest() == b""
    (event,) = events.of(RequestFailed)
    assert (event.level, event.request) == (logging.ERROR, "GET /")
    assert "handler for GET / from 127.0.0.1" in str(event)
    assert "ZeroDivisionError: oh" in str(event)


async def test_an_answer_that_breaks_off_is_not_taken_for_whole() -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.start(200, [], b"begin")
        raise ZeroDivisionError

    async with serving(fail) as (server, events):
        assert b"\r\n0\r\n" not in await answers_to(server, GET)
        assert len(events.of(RequestFailed)) == 1


async def test_an_error_after_the_answer_takes_nothing_from_it() -> None:
    async def fail(exchange: Exchange) -> None:
        await hello(exchange)
        raise ZeroDivisionError

    async with serving(fail) as (server, events), talking_to(server) as client:
        await client.say(GET + GET)
        assert [(await client.hear()).body for _ in range(2)] == [b"hello", b"hello"]
        await eventually(lambda: len(events.of(RequestFailed)) == 2)


async def _nothing(exchange: Exchange) -> None:
    pass


async def _twice(exchange: Exchange) -> None:
    await exchange.respond(200)
    await exchange.respond(200)


async def _too_long(exchange: Exchange) -> None:
    await exchange.start(200, [(b"content-length", b"2")])
    await exchange.write(b"hello")


async def _too_short(exchange: Exchange) -> None:
    await exchange.start(200, [(b"content-length", b"9")], b"hello")


async def _wrong_length(exchange: Exchange) -> None:
    await exchange.respond(200, [(b"content-length", b"9")], b"hello")


async def _no_length(exchange: Exchange) -> None:
    await exchange.respond(200, [(b"content-length", b"+5")], b"hello")


async def _smuggler(exchange: Exchange) -> None:
    await exchange.respond(200, [(b"x", b"a\r\nset-cookie: b")])


async def _no_name(exchange: Exchange) -> None:
    await exchange.respond(200, [(b"x y", b"a")])


async def _no_status(exchange: Exchange) -> None:
    await exchange.respond(99)


async def _not_begun(exchange: Exchange) -> None:
    await exchange.write(b"hello")


async def _file_in_chunks(exchange: Exchange) -> None:
    await exchange.start(200)
    await exchange.send_file(0, 0, 5)


async def _short_file(exchange: Exchange) -> None:
    await exchange.start(200, [(b"content-length", b"9")])
    with Path(os.devnull).open() as file:  # noqa: ASYNC230 - it has nothing to wait for
        await exchange.send_file(file.fileno(), 0, 9)


@pytest.mark.parametrize(
    ("handler", "error", "said"),
    [
        (_nothing, RuntimeError, "without an answer"),
        (_twice, RuntimeError, "answered already, with 200"),
        (_too_long, ValueError, "longer than its content-length, by 3 bytes"),
        (_too_short, RuntimeError, "4 bytes shorter than its content-length"),
        (_wrong_length, ValueError, "content-length says 9, and the body has 5 bytes"),
        (_no_length, ValueError, "is a number of bytes"),
        (_smuggler, ValueError, "no header that can be sent"),
        (_no_name, ValueError, "no header that can be sent"),
        (_no_status, ValueError, "from 200 to 999, not 99"),
        (_not_begun, RuntimeError, "has not begun"),
        (_file_in_chunks, ValueError, "needs a content-length"),
        (_short_file, EOFError, "9 bytes before the end"),
    ],
)
async def test_what_a_handler_does_wrong_is_named(
    handler: Callable[[Exchange], object], error: type[Exception], said: str
) -> None:
    async with serving(handler) as (server, events):  # type: ignore[arg-type]
        await answers_to(server, CLOSE)
    (event,) = events.of(RequestFailed)
    assert type(event.error) is error
    assert said in str(event.error)


async def test_context_variables_of_one_request_are_not_there_for_the_next() -> None:
    """Behind a proxy the next request of a connection is another person's."""
    user = contextvars.ContextVar("user", default="nobody")

    async def who(exchange: Exchange) -> None:
        before = user.get()
        user.set(exchange.request.path)
        await exchange.respond(200, [], before.encode())

    async with serving(who) as (server, _), talking_to(server) as client:
        assert (await client.ask(GET)).body == b"nobody"
        await client.say(GET * 3)
        assert [(await client.hear()).body for _ in range(3)] == [b"nobody"] * 3


# ---- what is not taken


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhelloo", 400),
        (POST + b"Content-Length: -5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\nhello", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 9000, 431),
        (POST + b"Content-Length: 1001\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(data: bytes, status: int) -> None:
    limits = HTTPLimits(header_bytes=8192, body_bytes=1000)
    async with serving(echo, limits=limits) as (server, events):
        said = await answers_to(server, data + GET)
        assert said.startswith(b"HTTP/1.1 %d " % status)
        assert said.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in said
        assert (await answers_to(server, CLOSE)).startswith(b"HTTP/1.1 200")
    assert events.of(RequestFailed) == events.of(ConnectionFailed) == []


async def test_a_body_that_turns_out_to_be_none_is_refused_after_the_request_has_begun() -> None:
    async with serving(echo) as (server, events), talking_to(server) as client:
        await client.say(POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await trio.sleep(0.01)
        assert (await client.ask(b"xyz\r\n")).status == 400
        assert await client.rest() == b""
    assert events.of(RequestFailed) == []


async def test_refusals_are_told_once_a_second() -> None:
    async with serving(hello) as (server, events):
        for _ in range(3):
            await answers_to(server, b"nonsense\r\n\r\n")
    (event,) = events.of(RequestRefused)
    assert "refused a request from 127.0.0.1" in str(event)
    assert "with 400" in str(event)


async def test_endless_trailers_and_extensions_are_cut() -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    limits = HTTPLimits(header_bytes=8192)
    async with serving(echo, limits=limits) as (server, _):
        assert b" 431 " in await answers_to(server, chunked + b"5;" + b"x" * 70_000)
        assert b" 431 " in await answers_to(server, chunked + b"0\r\n" + b"x: y\r\n" * 200)


async def test_more_requests_at_one_time_than_allowed_are_told_to_try_again() -> None:
    go_on = trio.Event()

    async def wait(exchange: Exchange) -> None:
        await go_on.wait()
        await hello(exchange)

    limits = HTTPLimits(concurrency=1, retry_after=7)
    async with (
        serving(wait, limits=limits) as (server, _),
        talking_to(server) as first,
        talking_to(server) as second,
    ):
        await first.say(GET)
        await eventually(lambda: server.handling == 1)
        answer = await second.ask(GET)
        assert (answer.status, answer.headers[b"retry-after"]) == (503, b"7")
        go_on.set()
        assert (await first.hear()).status == 200
        assert (await second.ask(GET)).status == 200


# ---- time


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(hello, limits=HTTPLimits(header_timeout=0.05)) as (server, events):
        assert await answers_to(server, b"") == b""
        assert events.of(RequestTimedOut) == []


async def test_a_connection_is_not_kept_for_ever() -> None:
    async with serving(hello, limits=HTTPLimits(keep_alive=0.05)) as (server, _):
        assert (await answers_to(server, GET)).endswith(b"hello")


async def test_a_head_that_comes_slowly_is_cut() -> None:
    async with serving(hello, limits=HTTPLimits(header_timeout=0.1)) as (server, events):
        async with talking_to(server) as client:
            await client.ask(GET)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drip, client.stream, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100)
                answer = await client.hear()
                nursery.cancel_scope.cancel()
        assert (answer.status, answer.headers[b"connection"]) == (408, b"close")
    (event,) = events.of(RequestTimedOut)
    assert "head did not come in time" in str(event)


async def test_a_body_that_comes_slowly_is_cut() -> None:
    limits = HTTPLimits(body_timeout=0.1)
    async with (
        serving(echo, limits=limits) as (server, events),
        talking_to(server) as client,
        trio.open_nursery() as nursery,
    ):
        await client.say(POST + b"Content-Length: 1000\r\n\r\n")
        nursery.start_soon(_drip, client.stream, b"x" * 1000)
        assert (await client.hear()).status == 408
        nursery.cancel_scope.cancel()
    assert "body did not come in time" in str(events.of(RequestTimedOut)[0])


async def _drip(stream: trio.SocketStream, data: bytes) -> None:
    for start in range(len(data)):
        try:
            await stream.send_all(data[start : start + 1])
        except trio.BrokenResourceError:
            return
        await trio.sleep(0.01)


async def test_an_answer_that_nobody_takes_is_given_up() -> None:
    async def much(exchange: Exchange) -> None:
        await exchange.respond(200, [], b"x" * 50_000_000)

    limits = HTTPLimits(send_timeout=0.1, header_timeout=0.4)
    async with serving(much, limits=limits) as (server, events), talking_to(server) as client:
        await client.say(GET)
        await eventually(lambda: server.statistics().active == 1)
        await eventually(lambda: server.statistics().active == 0)
    assert "not taken in time" in str(events.of(RequestTimedOut)[0])


async def test_a_request_has_so_much_time() -> None:
    async def sleep(exchange: Exchange) -> None:
        await trio.sleep_forever()

    async with serving(sleep, limits=HTTPLimits(request_timeout=0.05)) as (server, events):
        assert b" 503 " in await answers_to(server, GET)
    assert "took too long" in str(events.of(RequestTimedOut)[0])


async def test_a_handler_that_fails_as_its_time_is_over_is_told_and_its_client_is_answered() -> None:
    async def clumsy(exchange: Exchange) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def clumsy_in_part(exchange: Exchange) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clumsy, exchange)
            await trio.sleep_forever()

    for handler in (clumsy, clumsy_in_part):
        async with serving(handler, limits=HTTPLimits(request_timeout=0.05)) as (server, events):
            assert b" 503 " in await answers_to(server, GET)
        assert len(events.of(RequestFailed)) == len(events.of(RequestTimedOut)) == 1
        assert events.of(ConnectionFailed) == []


async def test_a_body_that_nobody_wants_has_no_more_time_than_others() -> None:
    limits = HTTPLimits(body_timeout=0.2)
    async with (
        serving(hello, limits=limits) as (server, events),
        talking_to(server) as client,
        trio.open_nursery() as nursery,
    ):
        await client.say(POST + b"Content-Length: 1000\r\n\r\n")
        nursery.start_soon(_drip, client.stream, b"x" * 1000)
        assert (await client.hear()).status == 200
        await client.rest()
        nursery.cancel_scope.cancel()
    assert "body did not come in time" in str(events.of(RequestTimedOut)[0])


async def test_a_word_that_nobody_takes_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of "100 Continue", to who has filled the socket before."""
    stuck = trio.Event()

    async def send_all(self: SocketStream, data: bytes) -> None:
        if b" 100 " in data:
            stuck.set()
            await trio.sleep_forever()

    monkeypatch.setattr(SocketStream, "send_all", send_all)
    limits = HTTPLimits(send_timeout=0.1)
    async with serving(echo, limits=limits) as (server, events), talking_to(server) as client:
        await client.say(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await stuck.wait()
        assert await client.rest() == b""
    assert "not taken in time" in str(events.of(RequestTimedOut)[0])
    assert events.of(ConnectionFailed) == []


@pytest.mark.parametrize("while_stopping", [False, True])
async def test_requests_that_are_there_are_answered_however_long_the_loop_was_busy(
    while_stopping: bool,
) -> None:
    """Others keep the loop busy; the time in which nobody could look is no reason to be cut."""

    async def answer(exchange: Exchange) -> None:
        if exchange.request.target == b"/busy":
            time.sleep(1.2)  # noqa: ASYNC251 - it is what makes the loop busy
        await exchange.respond(200, [], exchange.request.target)

    limits = HTTPLimits(keep_alive=0.5)
    async with serving(answer, limits=limits) as (server, _), talking_to(server) as client:
        await client.ask(GET)
        if while_stopping:
            server.is_draining = True
        await client.say(GET.replace(b"/", b"/busy", 1) + GET.replace(b"/", b"/next", 1))
        assert [(await client.hear()).body for _ in range(2)] == [b"/busy", b"/next"]


async def test_a_head_that_began_with_the_request_before_has_the_time_of_heads() -> None:
    limits = HTTPLimits(keep_alive=0.1, header_timeout=5)
    async with serving(hello, limits=limits) as (server, _), talking_to(server) as client:
        await client.ask(GET + b"GET / HTTP/1.1\r\nHo")
        await trio.sleep(0.5)
        assert (await client.ask(b"st: here\r\n\r\n")).body == b"hello"


async def test_several_tasks_may_send_one_after_another() -> None:
    async def chatty(exchange: Exchange) -> None:
        await exchange.start(200)
        async with trio.open_nursery() as nursery:
            for letter in (b"a", b"b", b"c"):
                nursery.start_soon(exchange.write, letter * 1_000_000)

    async with serving(chatty) as (server, events), talking_to(server) as client:
        body = (await client.ask(GET)).body
        assert {body[:1], body[1_000_000:1_000_001], body[2_000_000:2_000_001]} == {b"a", b"b", b"c"}
        assert body.count(b"a" * 1_000_000) == 1
        assert (await client.ask(GET)).status == 200
    assert events.of(RequestFailed) == []


async def test_a_part_that_never_had_its_turn_makes_the_answer_no_whole_one() -> None:
    async def impatient(exchange: Exchange) -> None:
        await exchange.start(200)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.write, b"a" * 20_000_000)
            await trio.testing.wait_all_tasks_blocked(0.01)
            with trio.move_on_after(0):
                await exchange.write(b"lost")

    async with serving(impatient) as (server, events), talking_to(server) as client:
        await client.say(GET)
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
    assert events.of(ConnectionFailed) == []


async def test_a_task_that_waits_for_the_body_is_given_it_though_another_answers_in_a_drain() -> None:
    answered, received = trio.Event(), []

    async def duplex(exchange: Exchange) -> None:
        async def receive() -> None:
            received.extend([data async for data in exchange.body])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await eventually(lambda: server.is_draining)
            await exchange.start(200)
            answered.set()

    async with serving(duplex) as (server, _), trio.open_nursery() as nursery, talking_to(server) as client:
        await client.say(POST + b"Content-Length: 5\r\n\r\nhe")
        await eventually(lambda: server.handling)
        nursery.start_soon(server.stop)
        await client.say(b"llo")
        await answered.wait()
        await client.hear()
    assert b"".join(received) == b"hello"


async def test_a_head_that_began_while_the_client_was_watched_has_the_time_of_heads() -> None:
    async def watch(exchange: Exchange) -> None:
        with trio.move_on_after(0.1):
            await exchange.wait_disconnected()
        await hello(exchange)

    limits = HTTPLimits(keep_alive=0.1, header_timeout=5)
    async with serving(watch, limits=limits) as (server, _), talking_to(server) as client:
        await client.say(GET)
        await eventually(lambda: server.handling)
        assert (await client.ask(b"GET / HTTP/1.1\r\nHo")).body == b"hello"
        await trio.sleep(0.5)
        assert (await client.ask(b"st: here\r\n\r\n")).body == b"hello"


async def test_what_is_wrong_with_a_client_is_so_in_a_group_too() -> None:
    async def in_a_nursery(exchange: Exchange) -> None:
        async def read() -> None:
            while await exchange.receive():
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep_forever()

    limits = HTTPLimits(body_bytes=10)
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    async with serving(in_a_nursery, limits=limits) as (server, events):
        assert b" 413 " in await answers_to(server, chunked + b"6\r\n world\r\n")
        async with talking_to(server) as client:
            await client.say(chunked)
            await client.stream.send_eof()
            assert await client.rest() == b""
    assert events.of(RequestFailed) == []


async def test_many_wishes_that_nobody_grants_are_requests_like_others() -> None:
    wish = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
    async with serving(hello) as (server, events), talking_to(server) as client:
        await client.say(wish * 2000)
        for _ in range(2000):
            assert (await client.hear()).status == 200
    assert events.of(ConnectionFailed) == []


async def test_what_came_behind_a_wish_is_answered_in_a_drain() -> None:
    go_on = trio.Event()

    async def wait(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.respond(200, [], exchange.request.target)

    wish = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    async with serving(wait) as (server, _), trio.open_nursery() as nursery, talking_to(server) as client:
        await client.say(wish + b"GET /next HTTP/1.1\r\n")
        await eventually(lambda: server.handling)
        nursery.start_soon(server.stop)
        await eventually(lambda: server.is_draining)
        await client.say(b"Host: here\r\n\r\n")
        go_on.set()
        assert [(await client.hear()).body for _ in range(2)] == [b"/", b"/next"]


async def test_who_sends_much_ahead_of_an_answer_is_taken_to_have_gone() -> None:
    """Its end could not be seen behind that."""

    async def wait(exchange: Exchange) -> None:
        await exchange.wait_disconnected()
        raise ClientGone

    async with serving(wait) as (server, events):
        async with talking_to(server) as client:
            await client.say(GET + b"x" * 200_000)
        await eventually(lambda: server.statistics().active == 0)
    assert events.of(RequestFailed) == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda exchange: exchange.respond(200, [], "text"), id="text"),
        pytest.param(lambda exchange: exchange.respond(200, [("a", "b")]), id="headers of text"),
        pytest.param(
            lambda exchange: exchange.start(200, [(b"content-length", b"2")], b"abc"), id="too much"
        ),
    ],
)
async def test_what_cannot_be_sent_has_begun_no_answer(answer: HTTPHandler) -> None:
    async with serving(answer) as (server, events):
        assert b" 500 " in await answers_to(server, GET)
    assert len(events.of(RequestFailed)) == 1


async def test_requests_behind_a_wish_are_answered_in_their_order() -> None:
    """However they came: with it, or while an earlier handler looked whether its client was still there."""

    async def tell(exchange: Exchange) -> None:
        if exchange.request.target == b"/1":
            with trio.move_on_after(0.05):
                await exchange.wait_disconnected()
        await exchange.respond(200, [], exchange.request.target)

    wish = b"GET /2 HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"
    async with serving(tell) as (server, _), talking_to(server) as client:
        await client.say(GET.replace(b"/", b"/1", 1) + wish + GET.replace(b"/", b"/3", 1))
        await trio.testing.wait_all_tasks_blocked()
        await client.say(GET.replace(b"/", b"/4", 1))
        assert [(await client.hear()).body for _ in range(4)] == [b"/1", b"/2", b"/3", b"/4"]


async def test_what_could_not_be_sent_is_the_last_of_its_connection() -> None:
    """Though the handler makes nothing of it: the client would take the next answer for this one."""
    seen = []

    async def swallow(exchange: Exchange) -> None:
        seen.append(exchange.request.target)
        await trio.sleep(0.05)
        with suppress(trio.BrokenResourceError):
            await exchange.respond(200)

    async with serving(swallow) as (server, _):
        async with talking_to(server) as client:
            await trio.testing.wait_all_tasks_blocked()
            await client.say(2 * GET)
            await eventually(lambda: seen)
            await reset(client.stream)
        await eventually(lambda: server.statistics().active == 0)
    assert len(seen) == 1


async def test_a_failure_has_no_body_where_none_was_asked_for() -> None:
    async def fail(exchange: Exchange) -> None:
        raise ValueError("oh")

    async with serving(fail) as (server, _):
        answer = await answers_to(server, b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("limits", [{"body_bytes": 5}, 5])
def test_limits_that_are_none_are_refused(limits: Any) -> None:
    with pytest.raises(TypeError, match=r"limits are HTTPLimits\(...\), not"):
        HTTPServer(ENDPOINT, hello, limits=limits)


# ---- its end


async def test_requests_that_were_sent_before_the_stop_are_answered_in_however_many_pieces() -> None:
    go_on = trio.Event()

    async def wait(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.respond(200, [], exchange.request.target)

    async with serving(wait) as (server, _), trio.open_nursery() as nursery, talking_to(server) as client:
        await client.say(GET)
        await eventually(lambda: server.handling == 1)
        await client.say(GET.replace(b"/", b"/next", 1))
        nursery.start_soon(server.stop)
        await eventually(lambda: server.is_draining)
        go_on.set()
        assert [(await client.hear()).body for _ in range(2)] == [b"/", b"/next"]
        assert await client.rest() == b""


async def test_a_request_in_progress_is_answered_and_is_the_last() -> None:
    go_on = trio.Event()

    async def wait(exchange: Exchange) -> None:
        await go_on.wait()
        await hello(exchange)

    async with serving(wait) as (server, _), trio.open_nursery() as nursery, talking_to(server) as client:
        await client.say(GET)
        await eventually(lambda: server.handling == 1)
        (address,) = server.addresses
        nursery.start_soon(server.stop)
        await eventually(lambda: is_refused(address))
        go_on.set()
        answer = await client.hear()
        assert (answer.body, answer.headers[b"connection"]) == (b"hello", b"close")
        assert await client.rest() == b""


async def test_connections_over_which_nothing_comes_are_closed() -> None:
    async with serving(hello) as (server, _), talking_to(server) as fresh, talking_to(server) as kept:
        await kept.ask(GET)
        with trio.fail_after(LIMIT):
            await server.stop()
        assert await fresh.rest() == await kept.rest() == b""


async def test_a_request_that_comes_within_a_moment_is_answered() -> None:
    """Its client could not know that the server stops."""
    async with (
        serving(hello) as (server, _),
        trio.open_nursery() as nursery,
        talking_to(server) as fresh,
        talking_to(server) as kept,
    ):
        await kept.ask(GET)
        nursery.start_soon(server.stop)
        await eventually(lambda: server.is_draining)
        for client in (fresh, kept):
            assert (await client.ask(GET)).headers[b"connection"] == b"close"


async def test_requests_sent_ahead_are_all_answered() -> None:
    async def slow(exchange: Exchange) -> None:
        await trio.sleep(0.01)
        await hello(exchange)

    async with serving(slow) as (server, _), trio.open_nursery() as nursery, talking_to(server) as client:
        await client.say(GET * 10)
        await client.hear()
        nursery.start_soon(server.stop)
        answers = [await client.hear() for _ in range(9)]
        assert [b"connection" in answer.headers for answer in answers] == [False] * 8 + [True]


async def test_a_lame_duck_takes_connections_for_a_while() -> None:
    async with serving(hello, lame_duck=1) as (server, _), trio.open_nursery() as nursery:
        nursery.start_soon(server.stop)
        await eventually(lambda: server.is_draining)
        async with talking_to(server) as client:
            assert (await client.ask(GET)).headers[b"connection"] == b"close"


async def test_it_can_be_started_again() -> None:
    """A new run remembers nothing of the old one (rule L3)."""
    async with serving(hello) as (server, _):
        await server.restart()
        async with talking_to(server) as client:
            assert b"connection" not in (await client.ask(GET)).headers


# ---- who is told


async def test_each_answer_is_told() -> None:
    told: list[Answered] = []
    async with serving(echo, on_answered=told.append) as (server, _), talking_to(server) as client:
        await client.ask(POST + b"Content-Length: 5\r\n\r\nhello")
    (answered,) = told
    assert isinstance(answered.request, Request)
    assert (answered.request.method, answered.status, answered.bytes) == ("POST", 200, 5)
    assert answered.peer[0] == "127.0.0.1"  # type: ignore[index]
    assert 0 < answered.seconds < LIMIT


async def test_what_no_handler_has_answered_is_told_too() -> None:
    told: list[Answered] = []

    async def fail(exchange: Exchange) -> None:
        if exchange.request.path == "/slow":
            await trio.sleep_forever()
        raise ZeroDivisionError

    limits = HTTPLimits(request_timeout=0.05)
    async with serving(fail, on_answered=told.append, limits=limits) as (server, _):
        await answers_to(server, b"nonsense\r\n\r\n")
        await answers_to(server, GET)
        await answers_to(server, b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n")
    assert [answered.status for answered in told] == [400, 500, 503]
    assert [answered.request is None for answered in told] == [True, False, False]


async def test_a_request_that_comes_in_the_last_moment_is_answered() -> None:
    """It has come between the look who is out of time and the cancellation."""
    async with serving(hello, limits=HTTPLimits(keep_alive=30)) as (server, _), talking_to(server) as client:
        await client.ask(GET)
        (conversation,) = server.patience._watched
        with socket.socket(fileno=os.dup(client.stream.socket.fileno())) as at_once:
            await trio.testing.wait_all_tasks_blocked()
            at_once.send(GET)
            conversation.end()
            assert (await client.hear()).status == 200
            await trio.testing.wait_all_tasks_blocked()
            conversation.end()
            at_once.send(GET)
            assert (await client.hear()).status == 200


async def test_a_client_that_resets_is_one_line() -> None:
    async def slow(exchange: Exchange) -> None:
        await exchange.start(200)
        while True:
            await exchange.write(b"x" * 100_000)

    async with serving(slow) as (server, events):
        async with talking_to(server) as client:
            await client.say(GET)
            await client.stream.receive_some()
            await reset(client.stream)
        await eventually(lambda: server.statistics().active == 0)
    (event,) = events.of(ConnectionFailed)
    assert event.by_peer


# ---- arguments


def test_a_server_without_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match="handler is an async function that takes an exchange"):
        HTTPServer(ENDPOINT, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lame_duck is a number of seconds"):
        HTTPServer(ENDPOINT, hello, lame_duck=-1)


# ---- what a handler gave up


async def test_an_answer_that_a_handler_gave_up_ends_its_connection() -> None:
    """The next answer would be taken for a part of this one."""

    async def give_up(exchange: Exchange) -> None:
        if exchange.request.target == b"/next":
            await exchange.respond(200, [], b"NEXT")
            return
        with trio.move_on_after(0.05) as patience:
            await exchange.respond(200, [], b"A" * 20_000_000)
        given_up.append(patience.cancelled_caught)

    given_up: list[bool] = []
    async with serving(give_up) as (server, _), talking_to(server) as client:
        await client.say(GET + b"GET /next HTTP/1.1\r\nHost: here\r\n\r\n")
        await eventually(lambda: given_up)
        said = await client.rest()
    assert given_up == [True]
    assert b"NEXT" not in said


async def test_a_handler_that_gave_up_waiting_for_the_body_is_not_hurried() -> None:
    async def wait_a_little(exchange: Exchange) -> None:
        with trio.move_on_after(0.05):
            await exchange.receive()
        await trio.sleep(0.5)
        await exchange.respond(200, [], b"in the end")

    limits = HTTPLimits(body_timeout=0.2)
    async with serving(wait_a_little, limits=limits) as (server, events), talking_to(server) as client:
        await client.say(POST + b"Content-Length: 10\r\n\r\n")
        assert (await client.hear()).body == b"in the end"
    assert not events.of(RequestTimedOut)


async def test_half_an_answer_that_ends_with_the_connection_is_not_taken_for_whole() -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.start(200, [], b"begin")
        await trio.sleep_forever()

    limits = HTTPLimits(request_timeout=0.1)
    async with serving(begin, limits=limits) as (server, _), talking_to(server) as client:
        await client.say(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(LIMIT):
            while await client.stream.receive_some():
                pass


@pytest.mark.parametrize(
    "body", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
async def test_a_wish_for_another_protocol_with_a_body_leaves_the_next_request_alone(body: bytes) -> None:
    targets = []

    async def note(exchange: Exchange) -> None:
        targets.append(exchange.request.target)
        await echo(exchange)

    async with serving(note) as (server, _), talking_to(server) as client:
        wish = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + body
        assert (await client.ask(wish)).body == b"abc"
        assert (await client.ask(b"GET /next HTTP/1.1\r\nHost: here\r\n\r\n")).status == 200
    assert targets == [b"/", b"/next"]
