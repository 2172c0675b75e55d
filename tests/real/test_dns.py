"""`trioservice dns`: dig, kdig and dnsperf ask, unbound is asked; unbound and dnsmasq are the referees."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from programs import Process, foreign, running, trioservice, until

from .support import LIMIT, LOCAL

pytestmark = pytest.mark.real

HOSTS = """
127.0.0.1   localhost
192.0.2.7   shop.test shop
192.0.2.8   shop.test
2001:db8::7 shop.test
192.0.2.9   other.test
"""

ZONE = f"""
$ORIGIN example.test.
$TTL 3600
@      IN SOA   ns admin 1 7200 3600 1209600 300
@      IN NS    ns
@      IN MX    10 mail
ns     IN A     192.0.2.1
mail   IN A     192.0.2.2
mail   IN AAAA  2001:db8::2
www    IN CNAME mail
old    IN CNAME www
gone   IN CNAME nobody
away   IN CNAME far.up.test.
*.wild IN TXT   "wild"
a.b.c  IN A     192.0.2.3
odd    IN TYPE65280 \\# 4 0a000001
sub    IN NS    ns.sub
ns.sub IN A     192.0.2.53
large  IN TXT   {" ".join(f'"{letter * 200}"' for letter in "abcdefghij")}
"""

UNBOUND = """
server:
  interface: 127.0.0.1
  port: {port}
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  use-syslog: no
  local-zone: "test." nodefault
  local-zone: "up.test." static
  local-data: "up.test. 300 IN SOA ns.up.test. admin.up.test. 1 2 3 4 60"
  local-data: "far.up.test. 300 IN A 192.0.2.200"
  local-data: "near.up.test. 300 IN CNAME far.up.test."
{large}
auth-zone:
  name: "example.test."
  zonefile: "{folder}/example.test.zone"
"""


def free_port() -> int:
    """One that is free by TCP and by UDP, on both loopbacks."""
    while True:
        with ExitStack() as stack:
            port = 0
            try:
                for family, host in ((socket.AF_INET, LOCAL), (socket.AF_INET6, "::1")):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        sock = stack.enter_context(socket.socket(family, kind))
                        sock.bind((host, port))
                        port = sock.getsockname()[1]
            except OSError:
                continue
            return port


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[int, Process]]:
    """Our server, of those hosts and that zone."""
    (folder / "hosts").write_text(HOSTS)
    (folder / "example.test.zone").write_text(ZONE)
    port = free_port()
    own = ["--hosts-file", str(folder / "hosts"), "--zone", str(folder / "example.test.zone")]
    where = ["--port", str(port), "--interface", "127.0.0.1,::1"]
    with running(trioservice("dns", *where, *own, *options)) as app:
        app.says("dns: running")
        yield port, app
        assert app.stops() == -15
        assert "Traceback" not in app.err


@contextmanager
def referee(command: list[str], port: int) -> Iterator[int]:
    """A server from Debian."""

    def answers() -> bool:
        try:
            dns.query.udp(dns.message.make_query("far.up.test", "A"), LOCAL, port=port, timeout=0.5)
        except (OSError, dns.exception.Timeout):
            return False
        return True

    with running(command):
        until(answers, f"{command[0]} answers")
        yield port


@contextmanager
def unbound(folder: Path) -> Iterator[int]:
    port = free_port()
    large = "\n".join(f'  local-data: "large.up.test. 300 IN A 10.0.0.{n}"' for n in range(200))
    (folder / "example.test.zone").write_text(ZONE)
    (folder / "unbound.conf").write_text(UNBOUND.format(port=port, folder=folder, large=large))
    with referee([foreign("unbound"), "-d", "-c", str(folder / "unbound.conf")], port) as port:
        yield port


@contextmanager
def dnsmasq(folder: Path) -> Iterator[int]:
    port = free_port()
    (folder / "hosts").write_text(HOSTS)
    where = [
        f"--port={port}",
        f"--listen-address={LOCAL}",
        "--bind-interfaces",
        "--no-resolv",
        "--conf-file=/dev/null",
    ]
    what = [
        "--no-hosts",
        f"--addn-hosts={folder / 'hosts'}",
        "--local-ttl=60",
        "--keep-in-foreground",
        "--user=",
    ]
    with referee([foreign("dnsmasq"), *where, *what, f"--pid-file={folder / 'pid'}"], port) as port:
        yield port


def dig(port: int, *words: str, program: str = "dig", host: str = LOCAL) -> str:
    """What dig prints."""
    command = [foreign(program), f"@{host}", "-p", str(port), "+time=5", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def short(port: int, *words: str, **options: str) -> list[str]:
    return sorted(dig(port, "+short", *words, **options).splitlines())


def status(port: int, *words: str) -> str:
    found = re.search(r"status: (\w+)", dig(port, *words))
    assert found
    return found[1]


@pytest.mark.parametrize("program", ["dig", "kdig"])
@pytest.mark.parametrize("host", [LOCAL, "::1"])
@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
def test_dig_and_kdig_find_names(tmp_path: Path, program: str, host: str, way: str) -> None:
    with serving(tmp_path) as (port, _):

        def find(*words: str) -> list[str]:
            return short(port, way, *words, program=program, host=host)

        assert find("shop.test", "A") == ["192.0.2.7", "192.0.2.8"]
        assert find("shop.test", "AAAA") == ["2001:db8::7"]
        assert find("-x", "192.0.2.7") == ["shop.test."]
        assert find("old.example.test", "AAAA") == ["2001:db8::2", "mail.example.test.", "www.example.test."]
        assert find("any.wild.example.test", "TXT") == ['"wild"']
        assert find("odd.example.test", "TYPE65280") == [r"\# 4 0A000001"]


def test_what_is_not_answered_is_said_so(tmp_path: Path) -> None:
    with serving(tmp_path) as (port, _):
        assert status(port, "nobody.test") == "REFUSED"
        assert status(port, "shop.test", "ANY", "+notcp") == "REFUSED"
        assert status(port, "nobody.example.test") == "NXDOMAIN"
        assert status(port, "mail.example.test", "MX") == "NOERROR"
        assert status(port, "-c", "CH", "version.bind", "TXT") == "REFUSED"
        assert status(port, "+opcode=status", "shop.test") == "NOTIMP"
        assert status(port, "+edns=1", "+noednsnegotiation", "shop.test") == "BADVERS"
        assert status(port, "+header-only") == "FORMERR"
        assert "Transfer failed" in dig(port, "example.test", "AXFR")
        assert status(port, "+ednsopt=65001:00ff", "+cookie", "+nsid", "+dnssec", "shop.test") == "NOERROR"


def test_what_is_too_large_is_asked_for_again_by_tcp(tmp_path: Path) -> None:
    with serving(tmp_path) as (port, _):
        for limit in ("+noedns", "+bufsize=4096"):
            cut = dig(port, limit, "+ignore", "large.example.test", "TXT")
            assert re.search(r"flags: [a-z ]*\btc\b", cut)
            (line,) = short(port, limit, "large.example.test", "TXT")
            assert len(line) > 2000


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    with serving(tmp_path) as (port, app):
        (tmp_path / "hosts").write_text("192.0.2.77 new.test\n")
        until(lambda: short(port, "new.test") == ["192.0.2.77"], "the new name is found")
        (tmp_path / "example.test.zone").write_text("what is this\n")
        app.says("cannot read .*example.test.zone again, so what it said before holds")
        assert short(port, "mail.example.test") == ["192.0.2.2"]


def test_others_are_asked_and_their_answers_remembered(tmp_path: Path) -> None:
    with unbound(tmp_path) as upstream:
        dead = free_port()
        with serving(tmp_path, "--forward", f"{LOCAL}:{dead},{LOCAL}:{upstream}") as (port, app):
            assert short(port, "far.up.test") == ["192.0.2.200"]
            assert len(short(port, "large.up.test")) == 200, "by TCP, from them and from us"
            assert status(port, "nobody.up.test") == "NXDOMAIN"
            assert short(port, "away.example.test") == ["192.0.2.200", "far.up.test."]
            app.says(rf"{LOCAL}:{dead} is asked last for a while: ")
            assert status(port, "+norecurse", "other.up.test") == "REFUSED"
    with serving(tmp_path, "--forward", f"{LOCAL}:{dead}", "--allow-recursion", "192.0.2.0/24") as (port, _):
        assert status(port, "near.up.test") == "REFUSED"


# ---- the same questions, the same answers

# Not `gone`: an alias to nothing is answered with the code of its end (RFC 6604), by unbound with that of
# its beginning.
ZONE_NAMES = [
    "",
    "ns",
    "mail",
    "www",
    "old",
    "wild",
    "x.wild",
    "x.y.wild",
    "a.b.c",
    "b.c",
    "odd",
    "no",
    "large",
]
TYPES = ["A", "AAAA", "MX", "NS", "SOA", "TXT", "CNAME", "TYPE65280"]


def said(port: int, name: str, type: str, *, tcp: bool = False) -> tuple[object, ...]:
    """What counts of an answer: its code, its records, and, where it is a plain No, for how long that holds.

    A No at the end of aliases has an SOA too (RFC 2308, section 2.2); unbound leaves it out.
    """
    query = dns.message.make_query(name, type, use_edns=0)
    ask = dns.query.tcp if tcp else dns.query.udp
    message = ask(query, LOCAL, port=port, timeout=5)
    records = sorted(line.lower() for rrset in message.answer for line in rrset.to_text().splitlines())
    no = [rrset.to_text().lower() for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA]
    return dns.rcode.to_text(message.rcode()), records, [] if records else no


def test_unbound_says_the_same_of_a_zone(tmp_path: Path) -> None:
    with unbound(tmp_path) as theirs, serving(tmp_path) as (ours, _):
        for name in ZONE_NAMES:
            for type in TYPES:
                full = f"{name}.example.test".lstrip(".")
                assert said(ours, full, type, tcp=True) == said(theirs, full, type, tcp=True), (name, type)


def test_unbound_says_the_same_through_us(tmp_path: Path) -> None:
    with unbound(tmp_path) as theirs, serving(tmp_path, "--forward", f"{LOCAL}:{theirs}") as (ours, _):
        for _again in range(2):
            for name in ("up.test", "far.up.test", "near.up.test", "no.up.test"):
                for type in ("A", "AAAA", "SOA", "CNAME"):
                    code, records, no = said(ours, name, type)
                    expected = said(theirs, name, type)
                    assert (code, [_without_ttl(line) for line in records]) == (  # type: ignore[attr-defined]
                        expected[0],
                        [_without_ttl(line) for line in expected[1]],  # type: ignore[attr-defined]
                    ), (name, type)
                    assert len(no) == len(expected[2])  # type: ignore[arg-type]


def _without_ttl(line: str) -> str:
    return re.sub(r" \d+ in ", " in ", line)


def test_dnsmasq_says_the_same_of_the_hosts(tmp_path: Path) -> None:
    with dnsmasq(tmp_path) as theirs, serving(tmp_path) as (ours, _):
        for name in ("localhost", "shop.test", "shop", "SHOP.test", "other.test"):
            assert said(ours, name, "A")[:2] == said(theirs, name, "A")[:2], name
        assert said(ours, "shop.test", "AAAA")[:2] == said(theirs, "shop.test", "AAAA")[:2]
        for name in ("7.2.0.192.in-addr.arpa", "9.2.0.192.in-addr.arpa", "1.0.0.127.in-addr.arpa"):
            assert said(ours, name, "PTR")[:2] == said(theirs, name, "PTR")[:2], name


def test_dnsperf_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "questions").write_text(
        "shop.test A\nshop.test AAAA\nwww.example.test A\nnobody.example.test A\n"
    )
    for mode in ("udp", "tcp"):
        with serving(tmp_path) as (port, _):
            where = ["-s", LOCAL, "-p", str(port), "-m", mode, "-d", str(tmp_path / "questions")]
            command = [foreign("dnsperf"), *where, "-n", "1000", "-c", "4"]
            told = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT * 2, check=True
            ).stdout
            assert re.search(r"Queries completed:\s+4000 \(100", told)
            assert re.search(r"NOERROR 3000 .*NXDOMAIN 1000 ", told)
