"""``trioservice dns``: what its options mean, and what it says if they cannot be."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from trioservice.cli import main
from trioservice.config.mistakes import Mistake
from trioservice.config.plugins import application_of
from trioservice.plugins.dns import DNSServer, ForwardResolver, HostsResolver, ZoneResolver
from trioservice.plugins.dns.command import dns
from trioservice.process.exits import Exit


def server_of(**given: str) -> DNSServer:
    """The server of a command line that says this."""
    values = {
        option.key: option.form.read(given[option.key]) if option.key in given else option.default
        for option in dns.options
    }
    (server,) = application_of("dns", dns, values)
    assert isinstance(server, DNSServer)
    return server


def test_without_options_it_serves_the_hosts_of_this_machine_to_all() -> None:
    server = server_of()
    assert server.path == "dns/server"
    (hosts,) = server._desk.resolvers
    assert isinstance(hosts, HostsResolver)
    assert hosts.file == "/etc/hosts"
    assert server.udp.endpoint.port == server.tcp.endpoint.port == 53  # type: ignore[attr-defined]


def test_its_own_names_come_first_and_others_are_asked_last(tmp_path: Path) -> None:
    server = server_of(
        port="5353",
        interface="127.0.0.1, ::1",
        hosts_file="hosts",
        zone="a.zone,b.test=b.zone",
        forward="10.0.0.1,[::1]:5300",
        allow_recursion="10.0.0.0/8",
    )
    hosts, a, b, forward = server._desk.resolvers
    assert isinstance(hosts, HostsResolver)
    assert isinstance(a, ZoneResolver)
    assert isinstance(b, ZoneResolver)
    assert isinstance(forward, ForwardResolver)
    assert (a.file, a.origin, b.file, b.origin) == ("a.zone", None, "b.zone", "b.test")
    assert list(map(str, forward.upstreams)) == ["10.0.0.1:53", "[::1]:5300"]
    assert server._desk.is_friend("10.1.2.3")
    assert not server._desk.is_friend("127.0.0.1")


def test_there_has_to_be_something_to_answer_from() -> None:
    with pytest.raises(Mistake, match="nothing to answer from") as caught:
        server_of(hosts_file="")
    assert caught.value.hint == "give --hosts-file, --zone or --forward"


def test_without_dnspython_a_zone_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.zone", None)
    with pytest.raises(Mistake, match="zone files need the library dnspython") as caught:
        server_of(zone="a.zone")
    assert caught.value.hint == "pip install 'trioservice[dns]'"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--forward", "dns.example"], "'dns.example' is not an address such as 9.9.9.9"),
        (["--allow-recursion", "10.0.0.1/8"], "'10.0.0.1/8' is not a network such as"),
    ],
)
def test_an_option_that_cannot_be_is_told_in_a_line(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dns", *argv]) == Exit.USAGE
    assert re.search(re.escape(complaint), capsys.readouterr().err)
