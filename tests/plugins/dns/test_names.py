"""Names in their wire form, with dnspython as the referee."""

from __future__ import annotations

import dns.name
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice.plugins.dns.names import (
    ROOT,
    MalformedError,
    ancestors,
    end_of_name,
    end_of_plain_name,
    from_text,
)

from .support import names


@settings(deadline=None)
@given(names)
def test_a_name_is_the_bytes_that_dnspython_makes(name: str) -> None:
    wire = from_text(name)
    assert wire == dns.name.from_text(name.lower()).to_wire()
    assert from_text(f"{name}.") == wire
    assert end_of_plain_name(b"head" + wire + b"tail", 4) == 4 + len(wire)


@settings(deadline=None)
@given(names)
def test_the_ancestors_of_a_name_are_the_names_above_it(name: str) -> None:
    above = dns.name.from_text(name.lower())
    expected = [above.to_wire()]
    while above != dns.name.root:
        above = above.parent()
        expected.append(above.to_wire())
    assert list(ancestors(from_text(name))) == expected


@pytest.mark.parametrize("text", ["", "."])
def test_the_root_is_one_byte(text: str) -> None:
    assert from_text(text) == ROOT


@pytest.mark.parametrize("text", ["a..b", ".a", "x" * 64, ".".join(["x" * 63] * 4), "ä" * 60])
def test_what_cannot_be_a_name_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(MalformedError, match="is no name"):
        from_text(text)


def test_letters_beyond_ascii_are_written_as_idna_has_them() -> None:
    assert from_text("Bücher.example") == from_text("xn--bcher-kva.example")


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_lead_out_of_the_message(message: bytes, start: int) -> None:
    for end_of in (end_of_name, end_of_plain_name):
        try:
            end = end_of(message, start)
        except MalformedError:
            continue
        assert start < end <= len(message) + 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\x03www\xc0\x00", "written out"),
        (b"\x03ww", "ends within"),
        (b"\x3f" + b"x" * 63, "ends within"),
        ((b"\x3f" + b"x" * 63) * 4 + b"\0", "more than 255"),
    ],
)
def test_a_question_has_its_name_written_out(message: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        end_of_plain_name(message, 0)


def test_elsewhere_a_name_may_end_in_a_pointer_backwards() -> None:
    assert end_of_name(b"\x01a\0" + b"\x01b\xc0\x00", 3) == 7
    with pytest.raises(MalformedError, match="forwards"):
        end_of_name(b"\x01a\xc0\x09", 0)
    with pytest.raises(MalformedError, match="unknown kind"):
        end_of_name(b"\x41a", 0)
    with pytest.raises(MalformedError, match="ends within"):
        end_of_name(b"\x01a\xc0", 0)
