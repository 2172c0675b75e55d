"""Requests, as data."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trioservice.net.http_messages import Headers, HTTPLimits, Request


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/a?", "/a", b"/a", b""),
        (b"/a%2Fb?c?d", "/a/b", b"/a%2Fb", b"c?d"),
        (b"//a/b", "//a/b", b"//a/b", b""),
        (b"http://here/a?b", "/a", b"/a", b"b"),
        (b"http://here", "/", b"/", b""),
        (b"http://here?b", "/", b"/", b"b"),
        (b"*", "*", b"*", b""),
    ],
)
def test_a_target_has_a_path_and_a_query(target: bytes, path: str, raw_path: bytes, query: bytes) -> None:
    request = Request("GET", target, "1.1", Headers())
    assert request.parts() == (request.path, request.raw_path, request.query) == (path, raw_path, query)


def test_headers_are_found_by_their_names() -> None:
    headers = Headers([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert headers.get(b"a") == b"1"
    assert headers.get(b"c") is None
    assert headers.get(b"c", b"4") == b"4"
    assert headers.get_all(b"a") == [b"1", b"3"]
    assert headers.get_list(b"a") == b"1, 3"
    assert headers.get_list(b"c") is None


@pytest.mark.parametrize(
    ("limit", "value", "wanted"),
    [
        ("keep_alive", -1, "a number of seconds above 0"),
        ("keep_alive", None, "a number of seconds above 0"),
        ("request_timeout", 0, "a number of seconds above 0, or None"),
        ("concurrency", "5", "a whole number, from 0 on, or None"),
        ("header_bytes", 0.5, "a whole number, from 0 on"),
    ],
)
def test_a_limit_that_cannot_be_one_is_refused(limit: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"^{limit} is {wanted}, not {value!r}$"):
        HTTPLimits(**{limit: value})


def test_a_limit_may_be_none_where_it_is_by_default_and_a_time_endless() -> None:
    HTTPLimits(body_bytes=None, concurrency=None, request_timeout=None, keep_alive=math.inf)
