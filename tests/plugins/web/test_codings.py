"""Which compressed form a client takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.plugins.web.codings import CODINGS, taken


@pytest.mark.parametrize(
    ("header", "codings"),
    [
        (None, ()),
        (b"", ()),
        (b"identity", ()),
        (b"gzip", ("gzip",)),
        (b"gzip, deflate, br, zstd", ("br", "gzip")),
        (b"GZIP;q=1.0, br;q=0.5", ("gzip", "br")),
        (b"br;q=0, gzip", ("gzip",)),
        (b"*", ("br", "gzip")),
        (b"*;q=0", ()),
        (b"br;q=0, *;q=0.1", ("gzip",)),
        (b"gzip;q=nonsense", ()),
    ],
)
def test_what_is_liked_best_comes_first_and_then_what_is_smallest(header, codings) -> None:
    assert taken(header) == codings


@given(st.binary(max_size=60))
def test_whatever_is_sent_is_understood_or_not(header: bytes) -> None:
    assert set(taken(header)) <= set(CODINGS)
