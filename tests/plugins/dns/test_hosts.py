"""``/etc/hosts``: what it says is answered, in the bytes that dnspython would write."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import dns.flags
import dns.message
import dns.reversename
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice.plugins.dns.answers import LARGEST, respond
from trioservice.plugins.dns.hosts import HostsResolver, parse
from trioservice.plugins.dns.questions import read_query

from .support import names, parsed, question, told

LINES = """
127.0.0.1       localhost
::1             localhost ip6-localhost   # this one, too
192.0.2.7       Shop.example shop
192.0.2.8       shop.example
192.0.2.7       shop.example again.example
fe80::1%lo0     scoped.example
nonsense        here
192.0.2.9
192.0.2.10      a..b good.example
"""


def resolver(text: str) -> HostsResolver:
    hosts = HostsResolver()
    hosts.take(parse(text.splitlines(), 60)[0])
    return hosts


def ask(hosts: HostsResolver, name: str, type: str = "A") -> list[str] | None:
    query = read_query(question(name, type).to_wire())
    answer = hosts.known(query.question)
    return None if answer is None else told(parsed(respond(query, answer, LARGEST, False)))


def test_names_have_their_addresses_in_the_order_of_the_file() -> None:
    hosts = resolver(LINES)
    assert ask(hosts, "localhost") == ["localhost. 60 IN A 127.0.0.1"]
    assert ask(hosts, "localhost", "AAAA") == ["localhost. 60 IN AAAA ::1"]
    assert ask(hosts, "SHOP.example") == [
        "SHOP.example. 60 IN A 192.0.2.7",
        "SHOP.example. 60 IN A 192.0.2.8",
    ]
    assert ask(hosts, "again.example") == ["again.example. 60 IN A 192.0.2.7"]


def test_an_address_has_the_first_name_of_its_first_line() -> None:
    hosts = resolver(LINES)
    assert ask(hosts, "7.2.0.192.in-addr.arpa", "PTR") == ["7.2.0.192.in-addr.arpa. 60 IN PTR shop.example."]
    assert ask(hosts, "1.0.0.127.in-addr.arpa", "PTR") == ["1.0.0.127.in-addr.arpa. 60 IN PTR localhost."]
    (line,) = ask(hosts, ip_address("::1").reverse_pointer, "PTR") or [""]
    assert line.endswith(" 60 IN PTR localhost.")


def test_a_name_of_the_file_has_nothing_else_and_other_names_are_unknown() -> None:
    hosts = resolver(LINES)
    assert ask(hosts, "shop.example", "MX") == []
    assert ask(hosts, "shop.example", "AAAA") == []
    assert ask(hosts, "example") is None


def test_lines_that_say_nothing_are_counted_and_harm_no_other() -> None:
    answers, unread = parse(LINES.splitlines(), 60)
    assert unread == 4, "a scope, no address, no name, a name that cannot be one"
    assert ask(resolver(LINES), "good.example") == ["good.example. 60 IN A 192.0.2.10"]
    assert answers


addresses = st.lists(st.ip_addresses(), min_size=1, max_size=10, unique=True)


@settings(deadline=None)
@given(names, addresses, st.integers(0, 2**31 - 1), st.booleans())
def test_every_answer_is_the_one_that_dnspython_makes(
    name: str, of_it: list[object], ttl: int, edns: bool
) -> None:
    hosts = HostsResolver()
    hosts.take(parse([f"{address} {name}" for address in of_it], ttl)[0])
    reverse = dns.reversename.from_address
    by_type = {
        ("A", name): [str(one) for one in of_it if getattr(one, "version", 4) == 4],
        ("AAAA", name): [str(one) for one in of_it if getattr(one, "version", 4) == 6],
        ("TXT", name): [],
        ("PTR", getattr(of_it[0], "reverse_pointer", "")): [f"{name.lower()}."],
    }
    assert reverse("192.0.2.1").to_text() == "1.2.0.192.in-addr.arpa."
    for (type, owner), data in by_type.items():
        query = question(owner, type, use_edns=0 if edns else False)
        read = read_query(query.to_wire())
        answer = hosts.known(read.question)
        assert answer is not None
        theirs = dns.message.make_response(query, our_payload=1232)
        theirs.flags |= dns.flags.AA
        if data:
            theirs.answer.append(dns.rrset.from_text(query.question[0].name, ttl, "IN", type, *data))
        ours = respond(read, answer, LARGEST, False)
        assert parsed(ours) == theirs
        assert parsed(ours).flags == theirs.flags
        if type != "PTR" and len(data) < 2:
            assert ours == theirs.to_wire(), "to the byte, where nothing could be shortened or shuffled"


def test_it_reads_the_file_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("192.0.2.1 a.test\n\xff\n", encoding="latin-1")
    said, names, unread = HostsResolver(tmp_path / "hosts").read()
    assert (names, unread) == (2, 1)
    assert said


@pytest.mark.parametrize("options", [{"ttl": -1}, {"ttl": 2**31}, {"check_interval": 0}])
def test_a_number_that_cannot_be_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"is a number of seconds"):
        HostsResolver(**options)  # type: ignore[arg-type]
