"""Zones: the order of RFC 1034, 4.3.2, and what is special of wildcards, cuts, aliases and No."""

from __future__ import annotations

import sys
from pathlib import Path

import dns.flags
import dns.message
import dns.rdatatype
import dns.zone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice.plugins.dns.answers import LARGEST, respond
from trioservice.plugins.dns.names import from_text
from trioservice.plugins.dns.questions import Question, read_query
from trioservice.plugins.dns.zones import Zone, ZoneResolver, answer, read_zone

from .support import parsed, question, told

TEXT = """
$ORIGIN Example.org.
$TTL 3600
@        IN SOA  ns admin 1 7200 3600 1209600 300
@        IN NS   ns
@        IN MX   10 mail
ns       IN A    192.0.2.1
mail     IN A    192.0.2.2
mail     IN AAAA 2001:db8::2
Www      IN CNAME mail
old      IN CNAME www
ring     IN CNAME gnir
gnir     IN CNAME ring
away     IN CNAME shop.example.com.
gone     IN CNAME nobody
toward   IN CNAME deep.sub
*.wild   IN TXT  "wild"
a.b.c    IN A    192.0.2.3
sub      IN NS   ns.sub
sub      IN NS   ns.example.net.
sub      IN DS   12345 8 1 49FD46E6C4B45C55D4AC69CBD3CD34AC1AFE51DE
ns.sub   IN A    192.0.2.53
mail     IN RRSIG A 8 3 3600 20300101000000 20200101000000 1 example.org. AAAA
mail     IN RRSIG AAAA 8 3 600 20300101000000 20200101000000 1 example.org. AAAA
"""

THEIRS = dns.zone.from_text(TEXT, relativize=False)


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Zone:
    path = tmp_path_factory.mktemp("zones") / "example.org"
    path.write_text(TEXT)
    return read_zone(str(path))


def ask(zone: Zone, name: str, type: str = "A") -> dns.message.Message:
    query = read_query(question(f"{name}.example.org" if name else "example.org", type).to_wire())
    return parsed(respond(query, answer(zone, query.question), LARGEST, False))


def lines(zone: Zone, name: str, type: str = "A") -> list[str]:
    message = ask(zone, name, type)
    assert message.rcode() == 0
    assert message.flags & dns.flags.AA
    return [line.replace("example.org.", "~") for line in told(message)]


def test_what_is_there_is_answered_with_authority(zone: Zone) -> None:
    assert lines(zone, "mail") == ["mail.~ 3600 IN A 192.0.2.2"]
    assert lines(zone, "MAIL", "AAAA") == ["MAIL.~ 3600 IN AAAA 2001:db8::2"]
    assert lines(zone, "", "MX") == ["~ 3600 IN MX 10 mail.Example.org."]
    assert len(lines(zone, "mail", "RRSIG")) == 2


def test_aliases_are_followed_within_the_zone(zone: Zone) -> None:
    assert lines(zone, "old", "AAAA") == [
        "mail.Example.org. 3600 IN AAAA 2001:db8::2".replace("Example.org.", "~"),
        "old.~ 3600 IN CNAME www.Example.org.",
        "www.~ 3600 IN CNAME mail.Example.org.",
    ]
    assert lines(zone, "www", "CNAME") == ["www.~ 3600 IN CNAME mail.Example.org."]


def test_an_alias_that_leads_out_says_whereto(zone: Zone) -> None:
    assert lines(zone, "away") == ["away.~ 3600 IN CNAME shop.example.com."]
    assert answer(zone, Question(from_text("away.example.org"), 1)).alias == from_text("shop.example.com")
    assert not answer(zone, Question(from_text("old.example.org"), 1)).alias


def test_aliases_in_a_circle_come_to_an_end(zone: Zone) -> None:
    assert len(lines(zone, "ring")) == 2
    assert not answer(zone, Question(from_text("ring.example.org"), 1)).alias


def test_a_no_comes_with_the_soa_and_holds_as_long_as_it_says(zone: Zone) -> None:
    for name, type, code in (("nobody", "A", 3), ("mail", "MX", 0), ("gone", "A", 3)):
        message = ask(zone, name, type)
        assert message.rcode() == code
        (soa,) = message.authority
        assert (soa.rdtype, soa.ttl) == (dns.rdatatype.SOA, 300)


def test_a_name_that_is_part_of_others_is_there_and_has_nothing(zone: Zone) -> None:
    for name in ("b.c", "c", "wild"):
        assert ask(zone, name).rcode() == 0
        assert ask(zone, name).answer == []
    assert ask(zone, "wild", "TXT").answer == [], "a wildcard is not for a name that is there"


def test_a_wildcard_stands_for_what_is_not_there(zone: Zone) -> None:
    """RFC 4592."""
    assert lines(zone, "any.thing.wild", "TXT") == ['any.thing.wild.~ 3600 IN TXT "wild"']
    assert ask(zone, "any.wild", "A").rcode() == 0
    assert ask(zone, "any", "TXT").rcode() == 3


def test_what_is_somebody_elses_is_referred_to_them_with_glue(zone: Zone) -> None:
    for name in ("sub", "deep.sub", "ns.sub"):
        message = ask(zone, name)
        assert not message.flags & dns.flags.AA
        assert message.answer == []
        assert {str(rdata) for rdata in message.authority[0]} == {"ns.sub.Example.org.", "ns.example.net."}
        assert [str(rrset[0]) for rrset in message.additional] == ["192.0.2.53"]
    assert len(lines(zone, "sub", "DS")) == 1, "about the cut itself the parent knows (RFC 4035, 3.1.4.1)"
    assert len(lines(zone, "toward")) == 1


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "mail", "sub", "wild", "www", "b", "c", "ns", "*"]), max_size=5))
def test_every_name_of_a_zone_has_an_answer(zone: Zone, path: list[str]) -> None:
    for type in ("A", "NS", "SOA", "TXT"):
        message = ask(zone, ".".join(path), type)
        assert message.answer or message.authority
        if message.answer and message.answer[-1].rdtype == dns.rdatatype.from_text(type):
            found = THEIRS.get_rdataset(message.answer[-1].name, type)
            if found is not None:
                assert set(found) == set(message.answer[-1])


# ---- files


def test_names_that_are_not_in_the_zone_are_somebody_elses_matter(tmp_path: Path, zone: Zone) -> None:
    resolver = ZoneResolver(tmp_path / "zone")
    assert resolver.name == "zone"
    assert resolver.known(Question(from_text("mail.example.org"), 1)) is None, "it has not been read yet"
    resolver.take(zone)
    assert resolver.known(Question(from_text("mail.example.org"), 1))
    assert resolver.known(Question(from_text("mail.example.com"), 1)) is None
    assert resolver.known(Question(from_text("org"), 1)) is None


def test_the_zone_may_be_named_instead_of_naming_itself(tmp_path: Path) -> None:
    path = tmp_path / "zone"
    path.write_text("@ 60 IN SOA ns me 1 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n")
    with pytest.raises(ValueError, match=r"begin it with \$ORIGIN"):
        read_zone(str(path))
    said, names, unread = ZoneResolver(path, "a.test").read()
    assert isinstance(said, Zone)
    assert (said.origin, names, unread) == (from_text("a.test"), 2, 0)


@pytest.mark.parametrize("text", ["", "$ORIGIN a.test.\n", "$ORIGIN a.test.\n@ IN A 1.2.3\n", "what is this"])
def test_what_is_no_zone_is_refused_with_the_reason(tmp_path: Path, text: str) -> None:
    path = tmp_path / "zone"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"it (is no zone|does not say).*(SOA|line \d|\$ORIGIN)"):
        read_zone(str(path))


def test_without_dnspython_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.zone", None)
    with pytest.raises(ImportError, match=r"pip install 'trioservice\[dns\]'"):
        ZoneResolver("zone")
