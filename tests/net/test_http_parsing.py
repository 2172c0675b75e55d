"""Bytes become requests, however they are cut and whatever they are."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trioservice.net.http_messages import HTTPLimits
from trioservice.net.http_parsing import Parser

LIMITS = HTTPLimits(header_bytes=4096, header_count=20, body_bytes=10_000)

names = st.sampled_from(["X-Y", "Accept", "Cookie"])
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
bodies = st.binary(max_size=50)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request as it is sent, and its body."""
    lines = ["POST /a HTTP/1.1", "Host: here"]
    lines += [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(names, values), max_size=4))]
    body = draw(bodies)
    if draw(st.booleans()):
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        return head.encode() + body, body
    head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""])
    cut = draw(st.integers(0, len(body)))
    chunks = [chunk for chunk in (body[:cut], body[cut:]) if chunk]
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n", body


@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.integers(1, 400), max_size=10))
def test_however_they_are_cut_the_same_requests_come_out(
    sent: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    data, parser = b"".join(request for request, _ in sent), Parser(LIMITS)
    for cut in [*cuts, len(data)]:
        if data:
            parser.feed(data[:cut])
            data = data[cut:]
    if data:
        parser.feed(data)
    assert parser.refusal is None
    assert [b"".join(one.pieces) for one in parser.requests] == [body for _, body in sent]
    assert all(one.is_complete for one in parser.requests)
    assert parser.is_between()


HEAD = b"POST /a?b HTTP/1.1\r\nHost: here\r\n"
VALID = HEAD + b"Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n"
UPGRADE = HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhiGET"

SPICE = st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\xff", b"0"]) | st.sampled_from(
    [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"Host: x\r\n"]
)


@st.composite
def nonsense(draw: st.DrawFn) -> bytes:
    """A request in which something is wrong, or all of it."""
    data = draw(st.sampled_from([VALID, CHUNKED, UPGRADE, b""]))
    for _ in range(draw(st.integers(0, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 8))
        data = data[:at] + draw(SPICE | st.binary(max_size=6)) + data[at + length :]
    return data


@given(st.lists(nonsense(), min_size=1, max_size=3))
@example([UPGRADE, UPGRADE])
@settings(max_examples=int(os.environ.get("TRIOSERVICE_FUZZ", "300")), deadline=None)
def test_nonsense_is_refused_and_never_raises(packets: list[bytes]) -> None:
    """And what it keeps is bounded."""
    parser = Parser(LIMITS)
    for packet in packets:
        if parser.refusal is None:
            parser.feed(packet)
    assert parser.refusal is None or 400 <= parser.refusal.status < 600
    for one in parser.requests:
        assert len(one.request.headers) <= LIMITS.header_count
        assert one.request.http_version in ("1.0", "1.1")
        assert one.request.target.isascii()
        names = [name for name, _ in one.request.headers]
        assert not (b"content-length" in names and b"transfer-encoding" in names)
        assert names.count(b"content-length") <= 1
        assert b"\0" not in b"".join(value for _, value in one.request.headers)


def test_a_wish_for_another_protocol_is_read_past() -> None:
    parser = Parser(LIMITS)
    wish = b"GET /1 HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"
    parser.feed(wish + b"GET /2 HTTP/1.1\r\nHost: here\r\n\r\n")
    parser.feed(b"GET /3 HTTP/1.1\r\nHost: here\r\n\r\n")
    assert [one.has_wish for one in parser.requests] == [True]
    assert parser.requests.popleft().request.target == b"/1"
    for _ in range(2):
        parser.go_on()
        assert [one.request.target for one in parser.requests] == [b"/2", b"/3"]


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        (b"", True),
        (b"example.org", True),
        (b"a_b.example:8080", True),
        (b"192.0.2.1:", True),
        (b"[2001:db8::1]:80", True),
        (b"xn--bcher-kva.example", True),
        (b"a, b", False),
        (b"a b", False),
        (b"me@example.org", False),
        (b"example.org/x", False),
        (b"example.org:http", False),
        (b"2001:db8::1", False),
        (b"b\xc3\xbccher.example", False),
    ],
)
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(host: bytes, is_one: bool) -> None:
    """RFC 9112, 3.2."""
    parser = Parser(LIMITS)
    parser.feed(b"GET / HTTP/1.1\r\nHost: here\r\n\r\nGET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert parser.refusal is None if is_one else (parser.refusal is not None and parser.refusal.status == 400)


@pytest.mark.parametrize(
    ("target", "host"), [(b"/a", b"here"), (b"http://there:80/a", b"there:80"), (b"*", b"here")]
)
def test_the_host_of_a_target_is_preferred(target: bytes, host: bytes) -> None:
    """RFC 9112, 3.2.2."""
    parser = Parser(LIMITS)
    parser.feed(b"OPTIONS %b HTTP/1.1\r\nA: b\r\nHost: here\r\n\r\n" % target)
    assert parser.requests[0].request.headers.get_all(b"host") == [host]


def test_a_target_with_a_user_is_refused() -> None:
    parser = Parser(LIMITS)
    parser.feed(b"GET http://me@there/ HTTP/1.1\r\nHost: there\r\n\r\n")
    assert parser.refusal is not None
    assert parser.refusal.status == 400


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_wish_of_proxies_to_keep_the_connection_changes_no_version(version: bytes) -> None:
    parser = Parser(LIMITS)
    parser.feed(b"GET / HTTP/%b\r\nHost: here\r\nProxy-Connection: keep-alive\r\n\r\n" % version)
    assert parser.requests[0].request.http_version == version.decode()
