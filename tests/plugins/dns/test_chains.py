"""Aliases that lead elsewhere: two answers told as one."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rrset

from trioservice.plugins.dns.answers import LARGEST, Answer, made, read_answer, respond
from trioservice.plugins.dns.chains import joined
from trioservice.plugins.dns.codes import NXDOMAIN, REFUSED, SERVFAIL
from trioservice.plugins.dns.names import from_text
from trioservice.plugins.dns.questions import Question, read_query
from trioservice.plugins.dns.records import ASKED, encode

from .support import parsed, question, told

TARGET = Question(from_text("b.test"), 1)
FIRST = made(encode(ASKED, 5, 60, [TARGET.name]), alias=TARGET.name)


def test_the_parts_of_a_chain_are_one_answer() -> None:
    asked = question("b.test", payload=1232)
    theirs = dns.message.make_response(asked)
    for line in ("b.test. 30 IN CNAME c.b.test.", "c.b.test. 20 IN A 192.0.2.1"):
        owner, ttl, cls, type, data = line.split()
        theirs.answer.append(dns.rrset.from_text(owner, int(ttl), cls, type, data))
    then, _ = read_answer(theirs.to_wire(), asked.to_wire())
    answer = joined(FIRST, then, TARGET)
    message = parsed(respond(read_query(question("a.test").to_wire()), answer, LARGEST, True))
    assert told(message) == [
        "a.test. 60 IN CNAME b.test.",
        "b.test. 30 IN CNAME c.b.test.",
        "c.b.test. 20 IN A 192.0.2.1",
    ]
    assert message.flags & dns.flags.AA
    assert answer.lifetime == 20


def test_a_no_at_the_end_is_the_no_of_all() -> None:
    soa = encode(from_text("test"), 6, 9, [b"\0\0" + b"\0" * 20])
    answer = joined(FIRST, made((), soa, code=NXDOMAIN), TARGET)
    message = parsed(respond(read_query(question("a.test").to_wire()), answer, LARGEST, True))
    assert message.rcode() == NXDOMAIN
    assert (len(message.answer), len(message.authority)) == (1, 1)


def test_where_nobody_may_say_more_the_first_part_is_all() -> None:
    assert joined(FIRST, Answer(REFUSED), TARGET) == FIRST._replace(alias=b"")


def test_where_somebody_failed_all_has_failed() -> None:
    assert joined(FIRST, Answer(SERVFAIL), TARGET) == Answer(SERVFAIL)
