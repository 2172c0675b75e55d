"""WSGI applications as a leaf."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
from net.http_support import CLOSE, ENDPOINT, GET, POST, answers_to, talking_to
from net.support import eventually, running

from trioservice.integrations.wsgi import WSGIApplication, WSGIServer
from trioservice.net.events import RequestFailed
from trioservice.net.http import HTTPLimits


async def _ask(app: WSGIApplication, request: bytes = CLOSE, **options: Any) -> bytes:
    server = WSGIServer(app, ENDPOINT, **options)
    async with running(server):
        return await answers_to(server, request)


async def test_an_environ_says_what_pep_3333_wants_it_to_say() -> None:
    told: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        told.update(environ)
        start_response("200 Fine", [("X-Y", "z")])
        return [b"hello"]

    said = await _ask(
        app,
        b"POST /a%20b/%C3%A4?c=%20d HTTP/1.1\r\nHost: here\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 0\r\n"
        b"X-Two: 1\r\nX-Two: 2\r\nX_Two: 3\r\nCookie: a=1\r\nCookie: b=2\r\n"
        b"X-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n",
        root_path="/shop",
        trusted_proxies="127.0.0.1",
    )
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-y: z\r\n" in said
    assert said.endswith(b"content-length: 5\r\nconnection: close\r\n\r\nhello")
    assert {key: told[key] for key in told if not key.startswith("wsgi.") and key != "SERVER_PORT"} == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/shop",
        "PATH_INFO": "/a b/\xc3\xa4",
        "QUERY_STRING": "c=%20d",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "trioservice",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "0",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": "here",
        "HTTP_X_TWO": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_FORWARDED_FOR": "192.0.2.7",
        "HTTP_CONNECTION": "close",
    }
    assert (told["wsgi.url_scheme"], told["wsgi.multithread"], told["wsgi.multiprocess"]) == (
        "http",
        True,
        False,
    )


async def test_a_body_is_read_as_from_a_file() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        lines = [body.readline(), body.read(3), *body]
        start_response("200 OK", [])
        return [repr(lines).encode()]

    chunks = (
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n8\r\none\ntwo\n\r\n6\r\nthree\n\r\n0\r\n\r\n"
    )
    assert (await _ask(app, POST + chunks)).endswith(repr([b"one\n", b"two", b"\n", b"three\n"]).encode())


async def test_an_answer_can_come_piece_by_piece() -> None:
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", [])
        write(b"one")
        go_on.wait()
        yield b"two"
        yield b"three"

    server = WSGIServer(app, ENDPOINT)
    async with running(server), talking_to(server) as client:
        await client.say(GET)
        await eventually(lambda: server.statistics().bytes_sent)
        go_on.set()
        assert (await client.hear()).body == b"onetwothree"


@pytest.mark.parametrize("parts", [[], [b""], [b"", b""]])
@pytest.mark.parametrize(
    ("method", "status", "says_length"),
    [
        ("GET", "200 OK", True),
        pytest.param("HEAD", "200 OK", False, id="HEAD, of which nobody knows what GET would have"),
        ("GET", "304 Not Modified", False),
        ("GET", "204 No Content", False),
    ],
)
async def test_an_answer_without_a_body_is_one(
    method: str, status: str, says_length: bool, parts: list[bytes]
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [])
        return parts

    said = await _ask(app, f"{method} / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
    assert said.startswith(f"HTTP/1.1 {status}\r\n".encode())
    assert (b"content-length: 0" in said) == says_length
    assert b"chunked" not in said


async def test_the_head_waits_for_the_first_byte() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b""
        try:
            raise LookupError("there is no more")
        except LookupError:
            start_response("404 Not Found", [], sys.exc_info())
        yield b"oh"

    assert (await _ask(app)).startswith(b"HTTP/1.1 404 ")


def as_frameworks_do(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Read the body, and answer 400 in pieces if the client goes."""
    try:
        environ["wsgi.input"].read()
    except OSError:
        start_response("400 Bad Request", [])
        return [b"Oh", b"!"]
    start_response("200 OK", [])
    return [b"hello"]


def as_a_novice_does(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Take whatever is raised for a reason to raise something else."""
    try:
        environ["wsgi.input"].read()
    except OSError:
        raise LookupError("there is no body") from None
    return []


@pytest.mark.parametrize("app", [as_frameworks_do, as_a_novice_does])
@pytest.mark.parametrize(("later", "status"), [(b"6\r\n world\r\n", b" 413 "), (b"nonsense", b" 400 ")])
async def test_a_body_that_proves_to_be_none_is_answered_so_whatever_is_made_of_it(
    app: WSGIApplication, later: bytes, status: bytes
) -> None:
    server = WSGIServer(app, ENDPOINT, limits=HTTPLimits(body_bytes=10))
    async with running(server) as (_, events):
        said = await answers_to(server, POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + later)
    assert status in said
    assert not said.endswith((b"Oh!", b"Oh"))
    assert events.of(RequestFailed) == []


def raising(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (raising, "oh"),
        (lambda environ, start_response: [], "the application returned without having called start_response"),
    ],
)
async def test_an_application_that_fails_is_told(app: WSGIApplication, words: str) -> None:
    server = WSGIServer(app, ENDPOINT)
    async with running(server) as (_, events):
        assert b" 500 " in await answers_to(server, GET)
    (event,) = events.of(RequestFailed)
    assert str(event.error) == words


def of_a_database(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ConnectionResetError("the database has gone")


def of_a_database_later(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"one half"
    raise BrokenPipeError("the database has gone")


def that_exits(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    sys.exit("enough")


def with_more_than_it_says(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "3")])
    return [b"one", b"two"]


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (of_a_database, "the database has gone"),
        (of_a_database_later, "the database has gone"),
        (that_exits, "the application has raised SystemExit('enough')"),
        (with_more_than_it_says, "the application sends more than its content-length says"),
    ],
)
async def test_an_error_of_the_application_is_told_whatever_its_kind(
    app: WSGIApplication, words: str
) -> None:
    """And its answer is not taken for a whole one."""
    server = WSGIServer(app, ENDPOINT)
    async with running(server) as (_, events):
        said = await answers_to(server, GET)
        assert b" 500 " in said or (b"one half" in said and not said.endswith(b"0\r\n\r\n"))
    (event,) = events.of(RequestFailed)
    assert str(event.error) == words


async def test_a_body_that_proves_to_be_none_cuts_an_answer_that_has_begun() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one half"
        environ["wsgi.input"].read()

    request = POST + b"Expect: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense"
    said = await _ask(app, request)
    assert b"one half" in said
    assert not said.endswith(b"0\r\n\r\n")


async def test_clients_that_are_slow_to_say_their_bodies_take_no_threads() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [body or b"hello"]

    server = WSGIServer(app, ENDPOINT, threads=1)
    async with running(server), talking_to(server) as slow:
        await slow.say(POST + b"Content-Length: 5\r\n\r\nab")
        await eventually(lambda: server.handling)
        assert (await answers_to(server, CLOSE)).endswith(b"hello")
        assert (await slow.ask(b"cde")).body == b"abcde"


async def test_there_are_as_many_requests_at_one_time_as_threads() -> None:
    lock, within, most = threading.Lock(), 0, 0
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        nonlocal within, most
        with lock:
            within += 1
            most = max(most, within)
        go_on.wait()
        with lock:
            within -= 1
        start_response("200 OK", [])
        return [b"hello"]

    server = WSGIServer(app, ENDPOINT, threads=2)
    async with running(server), trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(answers_to, server, CLOSE)
        await eventually(lambda: server.handling == 4 and within == 2)
        go_on.set()
    assert most == 2


async def test_a_client_that_goes_is_no_failure() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        while True:
            yield b"x" * 100_000

    server = WSGIServer(app, ENDPOINT)
    async with running(server) as (_, events):
        async with talking_to(server) as client:
            await client.say(GET)
            await client.stream.receive_some()
        await eventually(lambda: server.statistics().active == 0)
    assert events.of(RequestFailed) == []


async def test_a_stop_without_a_drain_is_told_to_the_thread_when_it_writes() -> None:
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one"
        go_on.wait()
        yield b"two"

    server = WSGIServer(app, ENDPOINT)
    async with (
        running(server) as (_, events),
        trio.open_nursery() as nursery,
        talking_to(server) as client,
    ):
        await client.say(GET)
        await eventually(lambda: server.statistics().bytes_sent)
        nursery.start_soon(partial(server.stop, drain=False))
        await trio.sleep(0.02)
        go_on.set()
        assert b"two" not in await client.rest()
    assert events.of(RequestFailed) == []


def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match="app takes environ and start_response, and None cannot"):
        WSGIServer(None, ENDPOINT)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threads is a number from 1, not 0"):
        WSGIServer(lambda environ, start: [], ENDPOINT, threads=0)


async def test_what_is_raised_when_time_is_over_is_told() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        time.sleep(0.3)
        raise LookupError("too late")

    server = WSGIServer(app, ENDPOINT, limits=HTTPLimits(request_timeout=0.05))
    async with running(server) as (_, events):
        assert b" 503 " in await answers_to(server, GET)
    (event,) = events.of(RequestFailed)
    assert isinstance(event.error, LookupError)
