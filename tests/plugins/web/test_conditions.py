"""Conditions and ranges, by RFC 9110."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.plugins.web.conditions import Part, answer_to, etag_of, http_date, part_of

TAG, NOW = b'"a"', 1_000_000.5
THEN, LATER = http_date(int(NOW) - 10), http_date(int(NOW) + 10)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({b"if-none-match": TAG}, 304),
        ({b"if-none-match": b'W/"a"'}, 304),
        ({b"if-none-match": b'"x", "a"'}, 304),
        ({b"if-none-match": b"*"}, 304),
        ({b"if-none-match": b'"x"'}, 200),
        ({b"if-none-match": b'"x"', b"if-modified-since": LATER}, 200),
        ({b"if-modified-since": http_date(int(NOW))}, 304),
        ({b"if-modified-since": LATER}, 304),
        ({b"if-modified-since": THEN}, 200),
        ({b"if-modified-since": b"yesterday"}, 200),
        ({b"if-match": TAG}, 200),
        ({b"if-match": b"*"}, 200),
        ({b"if-match": b'"x"'}, 412),
        ({b"if-match": b'W/"a"'}, 412),
        ({b"if-unmodified-since": THEN}, 412),
        ({b"if-unmodified-since": LATER}, 200),
        ({b"if-unmodified-since": b"\xff"}, 200),
        ({b"if-match": TAG, b"if-none-match": TAG}, 304),
    ],
)
def test_conditions_decide_in_their_order(headers: dict, status: int) -> None:
    assert answer_to(headers, TAG, NOW) == status


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (b"bytes=0-9", Part(0, 10)),
        (b"bytes=90-", Part(90, 10)),
        (b"bytes=90-1000", Part(90, 10)),
        (b"bytes=-10", Part(90, 10)),
        (b"bytes=-1000", Part(0, 100)),
        (b"Bytes= 5-5 ", Part(5, 1)),
        (b"bytes=9-0", None),
        (b"bytes=-", None),
        (b"bytes=0-1,5-6", None),
        (b"lines=1-2", None),
        (b"", None),
    ],
)
def test_a_range_is_a_part_or_nothing_we_know(wanted: bytes, part: Part | None) -> None:
    assert part_of({b"range": wanted}, 100, TAG, NOW) == part


@pytest.mark.parametrize(
    ("wanted", "size"),
    [(b"bytes=100-", 100), (b"bytes=0-", 0), (b"bytes=-0", 100), (b"bytes=" + b"9" * 5000 + b"-", 9)],
)
def test_a_part_that_is_not_there_is_refused(wanted: bytes, size: int) -> None:
    with pytest.raises(ValueError, match="bytes only"):
        part_of({b"range": wanted}, size, TAG, NOW)


@pytest.mark.parametrize(
    ("if_range", "holds"),
    [
        (TAG, True),
        (b'"x"', False),
        (b'W/"a"', False),
        (http_date(int(NOW)), True),
        (LATER, False),
        (b"?", False),
    ],
)
def test_a_range_of_what_has_changed_is_none(if_range: bytes, holds: bool) -> None:
    part = part_of({b"range": b"bytes=0-0", b"if-range": if_range}, 100, TAG, NOW)
    assert (part is not None) is holds


@given(st.binary(max_size=60), st.integers(0, 300), st.integers(0, 300))
def test_a_part_is_what_python_would_cut_out(data: bytes, first: int, last: int) -> None:
    asked = {b"range": b"bytes=%d-%d" % (first, last)}
    wanted = data[first : last + 1] if first <= last else None
    if wanted == b"":
        with pytest.raises(ValueError, match="bytes only"):
            part_of(asked, len(data), TAG, NOW)
        return
    part = part_of(asked, len(data), TAG, NOW)
    assert (None if part is None else data[part.start : part.start + part.length]) == wanted


@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_that_is_sent_is_an_error_of_ours(wanted: bytes, tags: bytes, date: bytes) -> None:
    asked = {b"range": wanted, b"if-none-match": tags, b"if-modified-since": date, b"if-range": date}
    assert answer_to(asked, TAG, NOW) in (200, 304)
    with suppress(ValueError):  # 416
        part_of(asked, 100, TAG, NOW)


def test_what_was_written_again_has_another_tag() -> None:
    assert len({etag_of(1, 2), etag_of(1, 3), etag_of(2, 2)}) == 3
