"""Heads of answers: properties of what is sent, whatever a handler says."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.net.http_answers import Framing, Stamp, compose, phrase_of
from trioservice.net.http_messages import Headers, Request

NOW = 784111777.0  # the moment in RFC 9110's examples
STAMP = Stamp(b"test")

tokens = st.text("abcXYZ-09", min_size=1, max_size=12).map(str.encode)
values = (
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip).map(str.encode)
)
headers = st.lists(st.tuples(tokens, values), max_size=6)
statuses = st.integers(200, 599)
methods = st.sampled_from(["GET", "HEAD", "POST"])


def request(method: str = "GET", version: str = "1.1") -> Request:
    return Request(method, b"/", version, Headers())


def composed(
    request: Request,
    status: int,
    headers: Any,
    length: int | None,
    close: bool,
    stamp: Stamp = STAMP,
) -> tuple[bytes, Framing, int, bool]:
    """What is sent, how the body ends, what is left of it, and whether the connection ends."""
    head = compose(request.method, request.http_version, status, headers, length, close)
    return stamp.put_on(head, NOW), head.framing, head.left, head.close


@given(headers, statuses, methods, st.none() | st.integers(0, 9), st.booleans())
def test_another_implementation_reads_what_was_meant(
    said: list[tuple[bytes, bytes]], status: int, method: str, length: int | None, close: bool
) -> None:
    """h11, as a client, agrees on status, headers and the end of the body."""
    head, framing, size, closes = composed(request(method), status, said, length, close)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "here")]))
    client.send(h11.EndOfMessage())
    client.receive_data(head)
    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    assert answer.status_code == status
    heard = list(answer.headers)
    assert all((name.lower(), value) in heard for name, value in said)
    assert (b"connection", b"close") in heard or not closes
    body = {
        Framing.NONE: b"",
        Framing.LENGTH: b"x" * size,
        Framing.CHUNKED: b"3\r\nxxx\r\n0\r\n\r\n",
        Framing.CLOSE: b"xxx",
    }[framing]
    client.receive_data(body)
    got = b""
    while isinstance(event := client.next_event(), h11.Data):
        got += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert got.count(b"x") == body.count(b"x")
    assert client.trailing_data[0] == b""


@given(st.binary(max_size=10), st.binary(max_size=10))
def test_no_header_can_be_two(name: bytes, value: bytes) -> None:
    try:
        head = composed(request(), 200, [(b"x" + name, value)], 0, False)[0]
    except ValueError:
        return
    assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")
    assert head.count(b"\r\n") <= 6
    assert b"\0" not in head


def test_a_date_is_written_as_rfc_9110_has_it() -> None:
    head = composed(request(), 200, [], 0, False, Stamp(b"test"))[0]
    assert head == (
        b"HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: test\r\ncontent-length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("said", "others"),
    [
        ([(b"date", b"today")], b"server: test\r\ndate: today\r\n"),
        ([(b"Server", b"mine")], b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: mine\r\n"),
        ([(b"date", b"today"), (b"server", b"mine")], b"date: today\r\nserver: mine\r\n"),
    ],
)
def test_a_handler_s_own_date_and_name_stand(said: list[tuple[bytes, bytes]], others: bytes) -> None:
    head = composed(request(), 200, said, 0, False, Stamp(b"test"))[0]
    assert head == b"HTTP/1.1 200 OK\r\n" + others + b"content-length: 0\r\n\r\n"


def test_headers_may_be_lists_as_some_frameworks_have_them() -> None:
    said: list[Any] = [[b"x-y", b"z"], [b"content-length", b"5"]]
    as_tuples = [tuple(one) for one in said]
    assert composed(request(), 200, said, 5, False) == composed(request(), 200, as_tuples, 5, False)


def test_a_server_can_keep_its_name_to_itself() -> None:
    assert b"server" not in composed(request(), 200, [], 0, False, Stamp(b""))[0]


def test_how_an_answer_travels_is_the_server_s_to_say() -> None:
    said = [(b"transfer-encoding", b"chunked"), (b"connection", b"keep-alive")]
    head = composed(request(), 200, said, 5, False)[0]
    assert b"transfer-encoding" not in head
    assert b"connection" not in head
    assert composed(request(), 200, [(b"connection", b"close")], 5, False)[3]


def test_those_who_speak_1_0_are_told_that_the_connection_is_kept() -> None:
    assert b"connection: keep-alive\r\n" in composed(request(version="1.0"), 200, [], 5, False)[0]
    framing, _, close = composed(request(version="1.0"), 200, [], None, False)[1:]
    assert (framing, close) == (Framing.CLOSE, True)


def test_a_status_needs_no_phrase() -> None:
    assert composed(request(), 299, [], 0, False)[0].startswith(b"HTTP/1.1 299 \r\n")
    assert (phrase_of(404), phrase_of(299)) == ("Not Found", "")
