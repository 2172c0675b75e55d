"""Records in their wire form, found again where they stand."""

from __future__ import annotations

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice.plugins.dns.names import MalformedError, from_text
from trioservice.plugins.dns.records import ASKED, encode, lifetime, places

from .support import names, question


@settings(deadline=None)
@given(names, st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 2**31 - 1))
def test_records_are_found_where_they_stand(owner: str, data: list[bytes], ttl: int) -> None:
    message = b"".join([b"head", *encode(from_text(owner), 65280, ttl, data)])
    found = list(places(message, 4, len(data)))
    assert [message[place.data_at : place.end] for place in found] == data
    assert {(place.type, place.ttl) for place in found} <= {(65280, ttl)}
    assert not found or found[-1].end == len(message)


@settings(deadline=None)
@given(names)
def test_an_owner_may_be_what_was_asked(name: str) -> None:
    query = question(name, use_edns=False).to_wire()
    answer = (
        query[:2] + b"\x80\0" + query[4:6] + b"\0\1" + query[8:] + encode(ASKED, 1, 60, [b"\x7f\0\0\1"])[0]
    )
    (rrset,) = dns.message.from_wire(answer).answer
    assert rrset.name == question(name).question[0].name
    assert [str(rdata) for rdata in rrset] == ["127.0.0.1"]


@settings(deadline=None)
@given(st.binary(max_size=100), st.integers(0, 50))
def test_no_bytes_lead_out_of_the_message(message: bytes, count: int) -> None:
    try:
        found = list(places(message, 0, count))
    except MalformedError:
        return
    assert len(found) == count
    assert all(place.end <= len(message) for place in found)


@pytest.mark.parametrize("cut", [3, 8, 14])
def test_a_record_that_is_cut_off_is_malformed(cut: int) -> None:
    record = encode(b"\x01a\0", 1, 60, [b"\x7f\0\0\1"])[0]
    with pytest.raises(MalformedError, match="ends within"):
        list(places(record[:cut], 0, 1))


def test_an_absurd_time_to_live_is_none() -> None:
    """RFC 2181, section 8."""
    assert lifetime(2**31) == 0
    assert lifetime(2**31 - 1) == 2**31 - 1
