"""Answers: every message that we make is the one that dnspython would make, or says the same."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice.plugins.dns.answers import LARGEST, Answer, aged, failure, made, read_answer, respond
from trioservice.plugins.dns.codes import BADVERS, FORMERR, NOTIMP, NXDOMAIN, REFUSED
from trioservice.plugins.dns.names import MalformedError, from_text
from trioservice.plugins.dns.questions import read_query
from trioservice.plugins.dns.records import ASKED, encode

from .support import names, parsed, question, told

addresses = st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=20, unique=True)


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


@settings(deadline=None)
@given(names, addresses, st.integers(0, 2**31 - 1), st.booleans())
def test_an_answer_is_what_dnspython_would_say(name: str, of_it: list[str], ttl: int, edns: bool) -> None:
    query = question(name, use_edns=0 if edns else False, payload=4096)
    answer = made(encode(ASKED, 1, ttl, map(packed, of_it)))
    ours = parsed(respond(read_query(query.to_wire()), answer, LARGEST, True))
    theirs = dns.message.make_response(query, recursion_available=True, our_payload=1232)
    theirs.flags |= dns.flags.AA
    theirs.answer.append(dns.rrset.from_text(query.question[0].name, ttl, "IN", "A", *of_it))
    assert ours == theirs
    assert told(ours) == told(theirs)
    assert ours.edns == theirs.edns
    assert (ours.flags, ours.payload, ours.ednsflags) == (theirs.flags, theirs.payload, theirs.ednsflags)


@settings(deadline=None)
@given(names, st.integers(0, 200), st.integers(0, 20), st.integers(512, 4096))
def test_no_answer_is_longer_than_it_may_be(name: str, count: int, kind: int, limit: int) -> None:
    query = read_query(question(name, payload=4096).to_wire())
    glue = encode(from_text("glue.test"), 1, 60, [bytes([10, 0, 1, n]) for n in range(kind)])
    answer = made(encode(ASKED, 1, 60, [bytes([10, 0, 0, n]) for n in range(count)]), additional=glue)
    message = respond(query, answer, limit, False)
    assert len(message) <= limit
    said = parsed(message)
    if said.flags & dns.flags.TC:
        assert said.sections[1:] == [[], [], []], "half an answer would be kept for a whole one"
    else:
        assert len(told(said)) == count
        assert sum(map(len, said.additional)) in (0, kind)


def test_what_is_only_kind_is_left_out_first() -> None:
    query = read_query(question("a.test").to_wire())
    glue = encode(from_text("glue.test"), 1, 60, [bytes([10, 0, 1, n]) for n in range(40)])
    said = parsed(respond(query, made(encode(ASKED, 1, 60, [b"\x0a\0\0\1"]), additional=glue), 512, False))
    assert len(told(said)) == 1
    assert not said.flags & dns.flags.TC
    assert not said.additional


def test_a_code_of_more_than_four_bits_is_told_by_edns() -> None:
    query = read_query(question("a.test").to_wire())
    assert parsed(respond(query, Answer(BADVERS), 512, False)).rcode() == dns.rcode.BADVERS


@pytest.mark.parametrize("code", [FORMERR, NOTIMP])
def test_a_refusal_of_what_cannot_be_read_is_a_header(code: int) -> None:
    query = question("a.test").to_wire()
    message = failure(query, code)
    assert len(message) == 12
    said = parsed(message)
    assert said.rcode() == code
    assert said.id == int.from_bytes(query[:2], "big")
    assert said.flags & dns.flags.RD


# ---- of others


def upstream(text: str, query: dns.message.Message) -> bytes:
    """What a server says, in dnspython's words, to a question of ours."""
    message = dns.message.make_response(query)
    parts = {"answer": message.answer, "authority": message.authority, "additional": message.additional}
    for line in filter(None, map(str.strip, text.splitlines())):
        section, owner, ttl, type, data = line.split(None, 4)
        parts[section].append(dns.rrset.from_text(owner, int(ttl), "IN", type, data))
    return message.to_wire()


ASKED_UPSTREAM = question("a.test", payload=1232, id=4711)
QUERY = ASKED_UPSTREAM.to_wire()


def test_what_an_upstream_says_is_said_again_under_another_id_and_spelling() -> None:
    answer, truncated = read_answer(
        upstream(
            """answer a.test. 300 CNAME b.a.test.
            answer b.a.test. 60 A 192.0.2.1
            additional x.b.a.test. 600 A 192.0.2.2""",
            ASKED_UPSTREAM,
        ),
        QUERY,
    )
    assert not truncated
    assert answer.lifetime == 60
    said = parsed(respond(read_query(question("A.tEsT").to_wire()), answer, 512, True))
    assert told(said) == ["a.test. 300 IN CNAME b.a.test.", "b.a.test. 60 IN A 192.0.2.1"] or told(said) == [
        "A.tEsT. 300 IN CNAME b.A.tEsT.",
        "b.A.tEsT. 60 IN A 192.0.2.1",
    ]
    assert [rrset.to_text().lower() for rrset in said.additional] == ["x.b.a.test. 600 in a 192.0.2.2"]


def test_the_records_grow_older() -> None:
    answer, _ = read_answer(upstream("answer a.test. 300 A 192.0.2.1", ASKED_UPSTREAM), QUERY)
    later = aged(answer, 100)
    assert later.lifetime == 200
    assert told(parsed(respond(read_query(QUERY), later, 512, True))) == ["a.test. 200 IN A 192.0.2.1"]
    assert aged(answer, 0) is answer
    assert aged(made(), 9) == made()


def test_a_no_holds_as_long_as_the_soa_says() -> None:
    """RFC 2308, section 5."""
    soa = "authority test. {ttl} SOA ns.test. me.test. 1 2 3 4 {minimum}"
    for ttl, minimum, holds in ((300, 60, 60), (30, 60, 30)):
        message = upstream(soa.format(ttl=ttl, minimum=minimum), ASKED_UPSTREAM)
        assert read_answer(message, QUERY)[0].lifetime == holds
    assert read_answer(upstream("", ASKED_UPSTREAM), QUERY)[0].lifetime == 0, "without one it does not hold"
    assert read_answer(upstream("authority test. 9 NS ns.test.", ASKED_UPSTREAM), QUERY)[0].lifetime == 0


def test_nxdomain_is_a_no_as_well_and_a_failure_is_none() -> None:
    message = dns.message.make_response(ASKED_UPSTREAM)
    message.authority.append(dns.rrset.from_text("test.", 50, "IN", "SOA", "ns.test. me.test. 1 2 3 4 9"))
    message.set_rcode(dns.rcode.NXDOMAIN)
    answer, _ = read_answer(message.to_wire(), QUERY)
    assert (answer.code, answer.lifetime) == (NXDOMAIN, 9)
    message.set_rcode(dns.rcode.REFUSED)
    answer, _ = read_answer(message.to_wire(), QUERY)
    assert (answer.code, answer.lifetime) == (REFUSED, 0)


def test_a_code_in_the_records_of_edns_counts() -> None:
    message = dns.message.make_response(ASKED_UPSTREAM)
    message.set_rcode(dns.rcode.BADVERS)
    assert read_answer(message.to_wire(), QUERY)[0].code == BADVERS


def test_there_may_be_more_by_tcp() -> None:
    message = dns.message.make_response(ASKED_UPSTREAM)
    message.flags |= dns.flags.TC
    assert read_answer(message.to_wire(), QUERY)[1]


def _changed(place: int, value: int) -> bytes:
    message = bytearray(upstream("answer a.test. 300 A 192.0.2.1", ASKED_UPSTREAM))
    message[place] ^= value
    return bytes(message)


@pytest.mark.parametrize(
    "message",
    [
        _changed(0, 1),  # the id
        _changed(2, 0x80),  # a question, not an answer
        _changed(2, 0x08),  # another opcode
        _changed(5, 1),  # no question
        _changed(13, 0x20),  # a name in another spelling
        _changed(len(QUERY) - 11 - 3, 1),  # another type
        _changed(7, 3),  # records that are not there; the record OPT is among the answers
        QUERY[:20],
    ],
)
def test_what_does_not_answer_our_question_is_not_believed(message: bytes) -> None:
    with pytest.raises(MalformedError):
        read_answer(message, QUERY)


def test_a_record_opt_among_the_answers_is_malformed() -> None:
    message = bytearray(dns.message.make_response(ASKED_UPSTREAM).to_wire())
    message[7], message[11] = 1, 0
    with pytest.raises(MalformedError, match="OPT among the answers"):
        read_answer(bytes(message), QUERY)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_malformed(rest: bytes) -> None:
    message = QUERY[:2] + b"\x80\0\0\1" + rest[:6].ljust(6, b"\0") + QUERY[12:-11] + rest[6:]
    try:
        answer, _ = read_answer(message, QUERY)
    except MalformedError:
        return
    assert len(respond(read_query(QUERY), aged(answer, 1), 512, True)) <= 512
