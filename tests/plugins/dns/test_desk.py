"""The desk: who is asked, for whom, what is refused, and what is said again."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from trioservice.plugins.dns.answers import Answer, made
from trioservice.plugins.dns.codes import SERVFAIL
from trioservice.plugins.dns.desk import Desk, DNSStatistics, Errand
from trioservice.plugins.dns.names import from_text
from trioservice.plugins.dns.questions import Question
from trioservice.plugins.dns.records import ASKED, encode
from trioservice.plugins.dns.resolvers import Resolver

from .support import Dictionary, Slow, code, names, parsed, question, told

FRIEND, STRANGER = "127.0.0.1", "192.0.2.99"


class Broken(Resolver):
    def known(self, question: Question) -> Answer | None:
        raise LookupError("the shelf has fallen down")


class Alias(Resolver):
    """Knows of each name that it is another."""

    def __init__(self, **names: str) -> None:
        self.names = {from_text(name.replace("_", ".")): from_text(target) for name, target in names.items()}

    def known(self, question: Question) -> Answer | None:
        target = self.names.get(question.name)
        return None if target is None else made(encode(ASKED, 5, 60, [target]), alias=target)


def desk(*resolvers: Resolver, told: list[tuple[Exception, int]] | None = None) -> Desk:
    def tell(error: Exception, times: int) -> None:
        assert told is not None, error
        told.append((error, times))

    return Desk(resolvers, ["127.0.0.0/8", "::1"], tell)


def wire(name: str = "a.test", type: str = "A", **options: object) -> bytes:
    return question(name, type, **options).to_wire()


async def test_the_first_who_knows_has_answered() -> None:
    one, two = Dictionary(a_test="192.0.2.1"), Dictionary(a_test="192.0.2.2", b_test="192.0.2.3")
    at = desk(one, two)
    assert told(parsed(at.answer(wire("a.test"), FRIEND, 512))) == ["a.test. 60 IN A 192.0.2.1"]
    assert told(parsed(at.answer(wire("b.test"), FRIEND, 512))) == ["b.test. 60 IN A 192.0.2.3"]
    assert code(at.answer(wire("c.test"), FRIEND, 512)) == "REFUSED"
    assert at.statistics() == DNSStatistics(questions=3, refused=1)


async def test_nobody_is_asked_for_what_is_not_ours_to_answer() -> None:
    known = Dictionary(a_test="192.0.2.1")
    at = desk(known)
    for type in ("ANY", "AXFR", "IXFR", "MAILB", "TSIG"):
        assert code(at.answer(wire(type=type), FRIEND, 512)) == "REFUSED"
    assert code(at.answer(wire(rdclass="CH"), FRIEND, 512)) == "REFUSED"
    assert code(at.answer(wire(type="OPT"), FRIEND, 512)) == "FORMERR"
    assert code(at.answer(wire(use_edns=1), FRIEND, 512)) == "BADVERS"
    assert known.asked == 0


async def test_what_is_no_query_is_answered_by_its_header_or_not_at_all() -> None:
    at = desk()
    message = question("a.test")
    message.set_opcode(dns.opcode.UPDATE)
    assert code(at.answer(message.to_wire(), FRIEND, 512)) == "NOTIMP"
    assert code(at.answer(wire()[:-1], FRIEND, 512)) == "FORMERR"
    assert at.answer(wire()[:11], FRIEND, 512) is None
    answer = dns.message.make_response(question("a.test"))
    assert at.answer(answer.to_wire(), FRIEND, 512) is None, "two servers would answer each other for ever"
    assert at.statistics() == DNSStatistics(questions=2, refused=1, malformed=1)


@settings(deadline=None)
@given(st.binary(max_size=600))
async def test_no_bytes_are_a_crash_or_amplified(data: bytes) -> None:
    at = desk(Dictionary(a_test="192.0.2.1"))
    for prefix in (b"", wire()[:2] + b"\1\0\0\1\0\0\0\0\0\1"):
        said = at.repeat_or_answer(prefix + data, STRANGER, 1232)
        assert said is None or (isinstance(said, bytes) and len(said) <= max(len(prefix + data), 12) + 11)


@settings(deadline=None)
@given(names, st.integers(1, 65535))
async def test_every_question_has_an_answer_of_its_own_id_and_spelling(name: str, type: int) -> None:
    query = question(name, type)  # type: ignore[arg-type]
    said = desk().answer(query.to_wire(), FRIEND, 512)
    if type != 41:
        message = parsed(said)
        assert query.is_response(message)
        assert message.question[0].name.to_wire() == query.question[0].name.to_wire()


# ---- repetitions


async def test_the_same_question_is_answered_the_same_without_being_read(autojump_clock: MockClock) -> None:
    known = Dictionary(a_test="192.0.2.1")
    at = desk(known)
    first, second = wire("a.test", id=1), wire("a.test", id=2)
    one, two = (at.repeat_or_answer(data, FRIEND, 512) for data in (first, second))
    assert isinstance(one, bytes)
    assert isinstance(two, bytes)
    assert (one[:2], two[:2], one[2:]) == (b"\0\1", b"\0\2", two[2:])
    assert known.asked == 1
    assert at.statistics() == DNSStatistics(questions=2, repeated=1)


async def test_another_spelling_is_another_question(autojump_clock: MockClock) -> None:
    at = desk(Dictionary(a_test="192.0.2.1"))
    for name in ("a.test", "A.test"):
        (line,) = told(parsed(at.repeat_or_answer(wire(name), FRIEND, 512)))
        assert line.startswith(name)


async def test_it_is_read_again_after_a_second(autojump_clock: MockClock) -> None:
    known = Dictionary(a_test="192.0.2.1")
    at = desk(known)
    at.repeat_or_answer(wire(), FRIEND, 512)
    known.addresses[from_text("a.test")] = "192.0.2.2"
    await trio.sleep(1)
    assert told(parsed(at.repeat_or_answer(wire(), FRIEND, 512))) == ["a.test. 60 IN A 192.0.2.2"]


async def test_so_much_is_remembered_and_no_more(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("trioservice.plugins.dns.desk._MOST_REMEMBERED", 2)
    known = Dictionary()
    at = desk(known, Slow())
    for _ in range(2):
        for number in range(4):
            at.repeat_or_answer(wire(f"n{number}.test"), f"192.0.2.{number}", 512)
    assert at.statistics().repeated == 2
    assert known.asked == 6


async def test_what_holds_for_no_second_is_not_said_again(autojump_clock: MockClock) -> None:
    class Fleeting(Dictionary):
        def known(self, question: Question) -> Answer | None:
            answer = super().known(question)
            return None if answer is None else answer._replace(lifetime=0)

    known = Fleeting(a_test="192.0.2.1")
    at = desk(known)
    for _ in range(2):
        at.repeat_or_answer(wire(), FRIEND, 512)
    assert known.asked == 2


# ---- limits


class Large(Resolver):
    """Says some 800 bytes."""

    def known(self, question: Question) -> Answer | None:
        return made(encode(ASKED, 16, 60, [bytes([199]) + bytes([n]) * 199 for n in range(4)]))


async def test_a_datagram_is_no_longer_than_the_client_takes_and_we_send() -> None:
    at = desk(Large())
    for options, limit, fits in (
        ({"use_edns": False}, 1232, False),
        ({"payload": 600}, 1232, False),
        ({"payload": 1000}, 1232, True),
        ({"payload": 4096}, 700, False),
        ({"use_edns": False}, None, True),
    ):
        message = parsed(at.answer(wire(**options), FRIEND, limit))
        assert bool(message.flags & dns.flags.TC) is not fits, (options, limit)
        assert len(told(message)) == (4 if fits else 0)


# ---- others


async def test_others_are_asked_for_friends_who_want_it() -> None:
    slow = Slow()
    at = desk(Dictionary(a_test="192.0.2.1"), slow)
    for host in (FRIEND, "::1"):
        errand = at.answer(wire("b.test"), host, 512)
        assert isinstance(errand, Errand)
        assert errand.resolver is slow
    assert code(at.answer(wire("b.test"), STRANGER, 512)) == "REFUSED"
    assert code(at.answer(wire("b.test", flags=0), FRIEND, 512)) == "REFUSED", "and not for who does not"
    assert at.statistics().forwarded == 2


async def test_what_is_told_of_recursion_depends_on_who_asks(autojump_clock: MockClock) -> None:
    at = desk(Dictionary(a_test="192.0.2.1"), Slow())
    for host, available in ((FRIEND, True), (STRANGER, False), (FRIEND, True), (STRANGER, False)):
        message = parsed(at.repeat_or_answer(wire(), host, 512))
        assert bool(message.flags & dns.flags.RA) is available
    assert at.statistics().repeated == 2


async def test_an_errand_ends_with_the_answer_of_others() -> None:
    slow = Slow()
    at = desk(slow)
    errand = at.answer(wire("b.test"), FRIEND, 512)
    assert isinstance(errand, Errand)
    slow.go.set()
    assert told(parsed(await at.run(errand))) == ["b.test. 5 IN A 10.0.0.1"]
    assert code(at.decline(errand)) == "SERVFAIL"


async def test_what_a_resolver_raises_ends_its_question_only(autojump_clock: MockClock) -> None:
    """Rule L16; and once a second is often enough to be told."""
    heard: list[tuple[Exception, int]] = []
    slow = Slow(LookupError("nobody there"))
    slow.go.set()
    at = desk(slow, Broken(), told=heard)
    errand = at.answer(wire("b.test"), FRIEND, 512)
    assert isinstance(errand, Errand)
    assert code(await at.run(errand)) == "SERVFAIL"
    assert code(at.answer(wire("b.test"), STRANGER, 512)) == "SERVFAIL"
    await trio.sleep(1)
    assert code(at.answer(wire("b.test"), STRANGER, 512)) == "SERVFAIL"
    assert [(str(error), times) for error, times in heard] == [
        ("nobody there", 0),
        ("the shelf has fallen down", 1),
    ]
    assert at.statistics().failed == 3


# ---- aliases


async def test_an_alias_leads_to_whoever_knows_the_other_name() -> None:
    at = desk(Alias(a_test="b.test", b_test="c.test"), Dictionary(c_test="192.0.2.1"))
    assert told(parsed(at.answer(wire("a.test"), STRANGER, 512))) == [
        "a.test. 60 IN CNAME b.test.",
        "b.test. 60 IN CNAME c.test.",
        "c.test. 60 IN A 192.0.2.1",
    ]


async def test_an_alias_may_lead_to_others() -> None:
    slow = Slow()
    slow.go.set()
    at = desk(Alias(a_test="b.test"), slow)
    errand = at.answer(wire("a.test"), FRIEND, 512)
    assert isinstance(errand, Errand)
    assert told(parsed(await at.run(errand))) == ["a.test. 60 IN CNAME b.test.", "b.test. 5 IN A 10.0.0.1"]
    assert told(parsed(at.answer(wire("a.test"), STRANGER, 512))) == ["a.test. 60 IN CNAME b.test."]
    slow.answer = Answer(SERVFAIL)
    assert code(await at.run(errand)) == "SERVFAIL"


async def test_a_chain_that_has_no_end_is_a_failure() -> None:
    at = desk(Alias(a_test="b.test", b_test="a.test"))
    assert parsed(at.answer(wire("a.test"), FRIEND, 512)).rcode() == dns.rcode.SERVFAIL


def test_a_network_that_is_none_is_refused_with_what_is_wanted() -> None:
    with pytest.raises(ValueError, match=r"'10.0.0.1/8' is no network such as 192.168.0.0/16"):
        Desk([], ["10.0.0.1/8"], lambda error, times: None)
