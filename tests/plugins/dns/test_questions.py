"""Questions, as dnspython asks them and as nobody should."""

from __future__ import annotations

import dns.edns
import dns.flags
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice.plugins.dns.names import MalformedError, from_text
from trioservice.plugins.dns.questions import Edns, Question, is_answerable, read_query

from .support import names, question


@settings(deadline=None)
@given(names, st.integers(1, 65535), st.integers(0, 65535), st.booleans())
def test_a_question_is_read_as_dnspython_writes_it(name: str, type: int, size: int, dnssec: bool) -> None:
    message = question(name, type, use_edns=0, payload=size, want_dnssec=dnssec)  # type: ignore[arg-type]
    query = read_query(message.to_wire())
    assert query.question == Question(from_text(name), type, dnssec)
    assert query.edns == Edns(size, 0, dnssec)
    assert query.room == max(size, 512)
    assert int.from_bytes(query.id, "big") == message.id
    assert query.wire.startswith(message.question[0].name.to_wire()), "its spelling is kept"


@settings(deadline=None)
@given(names)
def test_a_client_may_know_nothing_of_edns(name: str) -> None:
    query = read_query(question(name, use_edns=False).to_wire())
    assert query.edns is None
    assert query.room == 512


def test_options_are_no_matter() -> None:
    options = [dns.edns.GenericOption(10, b"12345678"), dns.edns.GenericOption(65001, b"")]
    assert read_query(question("a.test", options=options).to_wire()).edns is not None


def test_who_wants_unverified_answers_says_so() -> None:
    message = question("a.test")
    message.flags |= dns.flags.CD
    assert read_query(message.to_wire()).question.checking_disabled


def _opt(name: bytes = b"\0", options: bytes = b"") -> bytes:
    return name + b"\0\x29\x04\xd0\0\0\0\0" + len(options).to_bytes(2, "big") + options


def _message(
    counts: bytes = b"\0\1\0\0\0\0\0\0", after: bytes = b"", asked: bytes = b"\1a\0\0\1\0\1"
) -> bytes:
    return b"\x12\x34\1\0" + counts + asked + after


@pytest.mark.parametrize(
    "data",
    [
        _message(counts=b"\0\0\0\0\0\0\0\0"),
        _message(counts=b"\0\2\0\0\0\0\0\0"),
        _message(counts=b"\0\1\0\1\0\0\0\0"),
        _message(counts=b"\0\1\0\0\0\1\0\0"),
        _message(counts=b"\0\1\0\0\0\0\0\1"),
        _message(asked=b"\1a\0\0\1\0"),
        _message(asked=b"\xc0\x0c\0\1\0\1"),
        _message(after=b"more"),
        _message(counts=b"\0\1\0\0\0\0\0\2", after=_opt() + _opt()),
        _message(counts=b"\0\1\0\0\0\0\0\1", after=_opt(name=b"\1b\0")),
        _message(counts=b"\0\1\0\0\0\0\0\1", after=_opt(options=b"\0\1\0")),
        _message(counts=b"\0\1\0\0\0\0\0\1", after=_opt(options=b"\0\1\0\2x")),
    ],
)
def test_what_is_not_one_question_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read_query(data)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_a_question_or_malformed(data: bytes) -> None:
    if not is_answerable(data):
        assert len(data) < 12 or data[2] >= 0x80
        return
    try:
        query = read_query(data)
    except MalformedError:
        return
    assert data[12:].startswith(query.wire)
