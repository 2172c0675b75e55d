r"""The text of endpoints: quoting, positions and keys, what an error points at, kinds of other packages.

Read and write are held against each other here for a kind of the test's own; for those that
exist, in ``test_endpoints.py``.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.errors import ServiceError
from trioservice.net.endpoint_text import EndpointError, arguments_of, quote
from trioservice.net.endpoints import (
    Below,
    Count,
    HAProxyServerEndpoint,
    StreamServerEndpoint,
    TCPClientEndpoint,
    TCPServerEndpoint,
    Text,
    Texts,
    UNIXServerEndpoint,
    client_endpoint,
    datagram_server_endpoint,
    server_endpoint,
)

# What is special to the language, to paths, to people and to terminals.
hostile = st.text(st.sampled_from("\\:=,@/ \n\t\0a1é日\u0301\udc80'\"[]%."), max_size=12)


def complaint(text: str, read: Callable[[str], object] = server_endpoint) -> EndpointError:
    """What is said of a text that is none."""
    with pytest.raises(EndpointError) as caught:
        read(text)
    return caught.value


def blamed(text: str, read: Callable[[str], object] = server_endpoint) -> str:
    """The part of a text that is pointed at."""
    error = complaint(text, read)
    assert error.text == text
    return text[error.start : error.start + error.length]


# ---- quoting


@given(hostile.filter(lambda path: path and "\0" not in path))
def test_what_is_quoted_stands_for_itself(path: str) -> None:
    """Any path can be put into a text, by position as by key."""
    assert server_endpoint(f"unix:{quote(path)}") == UNIXServerEndpoint(path)  # row 93
    assert server_endpoint(f"unix:path={quote(path)}") == UNIXServerEndpoint(path)


def test_quoting_is_twisteds_and_covers_the_equals_sign() -> None:
    """In Twisted, a quoted path with an = became a keyword."""
    assert quote(r"some:path\with=both") == r"some\:path\\with\=both"  # row 93
    assert server_endpoint(r"unix:/run/a\=b\:c\\") == UNIXServerEndpoint("/run/a=b:c\\")


def test_only_the_first_equals_sign_of_a_part_splits() -> None:
    """A value may hold one unquoted."""
    assert server_endpoint("unix:path=/run/a=b") == UNIXServerEndpoint("/run/a=b")  # row 93


def test_any_character_may_be_quoted_also_in_kind_and_key() -> None:
    """A quoted character is itself, even where it need not be quoted."""
    assert server_endpoint(r"\tc\p:\8\0:\backlog=\5") == TCPServerEndpoint(80, backlog=5)


def test_a_quoted_colon_or_equals_sign_does_not_end_a_kind_or_a_key() -> None:
    """They belong to the name then, and no kind and no argument has such a name."""
    assert "'tcp:80' is no kind" in complaint(r"tcp\:80").complaint
    assert "tcp has no argument 'po=rt'; did you mean port?" in complaint(r"tcp:po\=rt=80").complaint
    assert blamed(r"tcp:po\=rt=80") == r"po\=rt"


def test_a_last_backslash_quotes_nothing() -> None:
    """It is pointed at; Twisted raised a RuntimeError."""
    error = complaint("unix:a\\")
    assert (error.start, error.length) == (6, 1)
    assert "write \\\\ for itself" in error.complaint
    assert server_endpoint("unix:a\\\\") == UNIXServerEndpoint("a\\")


# ---- positions and keys


def test_positions_are_counted_without_what_has_a_key() -> None:
    """As in a call of a Python function, except that keys may come first."""
    assert server_endpoint("tcp:backlog=5:80:lo") == TCPServerEndpoint(80, ("lo",), 5)  # row 96
    assert client_endpoint("tcp:port=80:a.example") == TCPClientEndpoint("a.example", 80)


@pytest.mark.parametrize("key", ["reusePort", "reuse_port", "reuse-port", "REUSEPORT", "reuseport"])
def test_a_key_may_be_spelt_in_the_manner_of_any_house(key: str) -> None:
    """Twisted's spelling, Python's, that of a command line."""
    assert server_endpoint(f"tcp:80:{key}=yes") == TCPServerEndpoint(80, reuse_port=True)


@pytest.mark.parametrize(
    ("text", "part", "words"),
    [
        ("tcp:80:reusePort=yes:reuse_port=yes", "reuse_port=yes", "reusePort is given twice"),
        ("tcp:80:port=81", "port=81", "port is given twice"),
        ("tcp:port=80:81", "81", "port is given twice, by its key and here by its position"),
        ("tcp:80:a:1:yes:yes:eth0:x", "x", "tcp takes at most 6 arguments"),
        ("stdio:x", "x", "stdio takes no arguments"),
        ("stdio::", "", "stdio takes no arguments"),
        ("stdio:x=1", "x", "stdio has no argument 'x'; it takes no arguments"),
        ("tcp:80:interfce=lo", "interfce", "tcp has no argument 'interfce'; did you mean interface?"),
        ("tcp:80:=lo", "", "tcp has no argument ''; it takes port, interface,"),
        ("unix:/run/a=b", "/run/a", r"an = in a path is written \="),
        ("tcp", "", "tcp needs port: a number from 0 to 65535"),
        ("tcp:", "", "port is a number from 0 to 65535, not ''"),
        ("tcp:interface=lo", "", "tcp needs port"),
        ("tcp:eighty", "eighty", "port is a number from 0 to 65535, not 'eighty'"),
        ("tcp:port=65536", "65536", "port is a number from 0 to 65535, not '65536'"),
        ("haproxy", "", "haproxy needs an endpoint after it, as in haproxy:tcp:..."),
        ("haproxy:", "", "an endpoint begins with its kind; there are tcp,"),
        ("haproxy:trust=unix", "", "haproxy needs an endpoint after it"),
        ("haproxy:tcp:x", "x", "port is a number"),
        ("haproxy:below=tcp", "below", "haproxy has no argument 'below'"),
        ("haproxy:haproxy:tcp:80", "haproxy", "haproxy stands before haproxy; once is enough"),
        ("haproxy:ssl:443", "ssl:443", "ssl needs a certificate"),
    ],
)
def test_a_mistake_is_pointed_at_and_explained(text: str, part: str, words: str) -> None:
    """The caret stands below the wrong part, and the sentence says what is wrong."""
    assert blamed(text) == part
    assert words in complaint(text).complaint


def test_what_is_missing_is_missed_at_the_end() -> None:
    """The caret stands where it would have to be written."""
    error = complaint("haproxy:tcp")
    assert (error.start, error.length) == (len("haproxy:tcp"), 0)
    assert str(error).endswith("\n    haproxy:tcp\n" + " " * 15 + "^")


def test_a_mistake_in_a_quoted_endpoint_is_pointed_at_in_the_whole_text() -> None:
    """Also two levels deep, where each quoting character counts."""
    assert blamed(r"ssl:certKey=a:endpoint=tcp\:8\:interfac=1") == "interfac"
    deep = str(HAProxyServerEndpoint(UNIXServerEndpoint("/run/x", mode=0o644)))
    text = rf"ssl:certKey=a:endpoint={quote(deep)}".replace("644", "888")
    assert blamed(text) == "888"
    assert blamed(r"ssl:certKey=a:endpoint=unix\:a\:mode\=\8\:5") == r"\8"
    assert blamed("ssl:certKey=a:endpoint=") == ""
    assert complaint(r"ssl:certKey=a:endpoint=tcp\:x").complaint == complaint("tcp:x").complaint


def test_an_empty_last_part_is_an_argument_unless_there_is_none_to_give() -> None:
    """In ``tcp:80:`` it is Twisted's empty interface, which means all; in ``stdio:`` it makes the kind."""
    assert server_endpoint("tcp:80:") == server_endpoint("tcp:80:interface=") == TCPServerEndpoint(80)
    assert server_endpoint("systemd:") == server_endpoint("systemd")


# ---- the error


def test_there_is_one_error_and_it_is_a_service_error_and_a_value_error() -> None:
    """Twisted raised five kinds, RuntimeError and IndexError among them."""
    error = complaint("tcp:x")
    assert isinstance(error, ServiceError)
    assert isinstance(error, ValueError)
    assert str(error) == "port is a number from 0 to 65535, not 'x'\n    tcp:x\n        ^"


def test_the_error_survives_pickling_and_copying() -> None:
    """It may come from another process."""
    error = complaint("tcp:x")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(twin) == str(error)
        assert (twin.text, twin.start, twin.length) == ("tcp:x", 4, 1)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("unix:a\nb:mode=x", [r"    unix:a\nb:mode=x", "                   ^"]),
        ("unix:\t:mode=xyz", [r"    unix:\t:mode=xyz", "                 ^~~"]),
        ("unix:日本:mode=x", ["    unix:日本:mode=x", "                   ^"]),
        ("unix:e\u0301:mode=x", ["    unix:e\u0301:mode=x", "                ^"]),
        ("unix:\udc80:mode=x", [r"    unix:\udc80:mode=x", "                     ^"]),
        ("unix:\uff21:mode=x", ["    unix:\uff21:mode=x", "                 ^"]),
        ("unix:x:mode=日本", ["    unix:x:mode=日本", "                ^~~~"]),
    ],
)
def test_the_caret_stands_below_its_part_in_any_script(text: str, lines: list[str]) -> None:
    """Line breaks and tabs are shown as such; wide letters take two columns, accents none."""
    assert str(complaint(text)).splitlines()[1:] == lines


@pytest.mark.parametrize("text", [None, b"tcp:80", 8080, TCPServerEndpoint(80)])
def test_what_is_no_text_is_a_mistake_in_the_program(text: Any) -> None:
    """It is no operator's mistake, so there is nothing to point at."""
    with pytest.raises(TypeError, match="an endpoint is a text like 'tcp:8080'"):
        server_endpoint(text)


# ---- the kind


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an endpoint begins with its kind; there are tcp, tcp6, unix,"),
        ("80", "'80' is no kind of endpoint; did you mean tcp:80?"),
        (":80", "did you mean tcp:80?"),
        ("*:80", "did you mean tcp:80?"),
        ("localhost:80", "did you mean tcp:80:interface=localhost?"),
        ("127.0.0.1:80", "did you mean tcp:80:interface=127.0.0.1?"),
        ("[::1]:80", r"did you mean tcp:80:interface=\:\:1?"),
        ("/run/x:mode=660", "did you mean unix:/run/x:mode=660?"),
        ("@shop", "did you mean unix:@shop?"),
        ("TCP:80", "did you mean tcp?"),
        ("untix:80", "did you mean unix?"),
        ("tcp=80", "a colon follows the kind, as in tcp:"),
        ("x=80", "an endpoint begins with its kind; there are tcp,"),
        ("localhost:99999", "'localhost' is no kind of endpoint; there are tcp,"),
        ("haproxy:80", "'80' is no kind of endpoint; there are tcp,"),
        (
            "udp:53",
            "udp is something that a datagram server is bound to, but wanted is something that a stream",
        ),
    ],
)
def test_a_text_without_a_kind_gets_a_suggestion_that_works(text: str, words: str) -> None:
    """Bare ports, addresses and paths are what people write; what is suggested can be read."""
    said = complaint(text).complaint  # row 93
    assert words in said
    if "did you mean" in said and ":" in (meant := said.split("did you mean ")[1].removesuffix("?")):
        server_endpoint(meant)


def test_suggestions_fit_the_role() -> None:
    """A client needs a host, a datagram server another kind."""
    assert "did you mean tcp:localhost:80?" in complaint("localhost:80", client_endpoint).complaint
    assert "there are tcp, unix, ssl, tls" in complaint("80", client_endpoint).complaint
    assert "did you mean udp:53?" in complaint("53", datagram_server_endpoint).complaint
    assert "did you mean unix-datagram:/x?" in complaint("/x", datagram_server_endpoint).complaint
    assert (
        "there are udp, unix-datagram, systemd, fd" in complaint("tcp:1", datagram_server_endpoint).complaint
    )


# ---- IPv6


@pytest.mark.parametrize(
    ("text", "address", "quoted", "read"),
    [
        ("tcp:80:interface=::1", "::1", r"\:\:1", server_endpoint),
        ("tcp:80:interface=::", "::", r"\:\:", server_endpoint),
        ("tcp:80:::1", "::1", r"\:\:1", server_endpoint),
        ("tcp:80:interface=[::1]:backlog=5", "[::1]", r"\:\:1", server_endpoint),
        ("tcp:80:interface=fe80::1%eth0", "fe80::1%eth0", r"fe80\:\:1%eth0", server_endpoint),
        ("tcp:80:interface=1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", r"1\:2\:3\:4\:5\:6\:7\:8", server_endpoint),
        ("tcp:80:interface=127.0.0.1,::1", "127.0.0.1,::1", r"127.0.0.1,\:\:1", server_endpoint),
        ("haproxy:trust=::1/128:tcp:80", "::1/128", r"\:\:1/128", server_endpoint),
        ("tcp:::1:80", "::1", r"\:\:1", client_endpoint),
        ("tcp:[2001:db8::1]:80", "[2001:db8::1]", r"2001\:db8\:\:1", client_endpoint),
        ("tcp:host=::1:port=80", "::1", r"\:\:1", client_endpoint),
    ],
)
def test_an_ipv6_address_that_lost_its_colons_is_recognized(
    text: str, address: str, quoted: str, read: Callable[[str], object]
) -> None:
    """It is told how to write it, and written so it can be read."""
    assert blamed(text, read) == address
    assert complaint(text, read).complaint.endswith(f"those within an IPv6 address are quoted: {quoted}")
    assert read(text.replace(address, quoted, 1))


def test_an_ipv6_address_is_not_blamed_for_a_mistake_elsewhere() -> None:
    """The first mistake is told."""
    assert blamed("tcp:x:interface=::1") == "x"


# ---- kinds of other packages


@dataclass(frozen=True)
class Rope(StreamServerEndpoint):
    """A kind whose dataclass is as odd as one may be."""

    kind: ClassVar[str] = "rope"

    tag: Text | None = None
    strands: Texts = field(default=(), kw_only=True)
    below: Below = field(kw_only=True)
    knots: Count = field(kw_only=True)
    extra: Count = field(default_factory=lambda: 7, kw_only=True)
    length: int = field(default=0, init=False)


@dataclass(frozen=True)
class Strands(StreamServerEndpoint):
    """A kind whose only argument may be empty."""

    kind: ClassVar[str] = "strands"

    names: Texts


def announce(folder: Path, monkeypatch: pytest.MonkeyPatch, *entries: str, package: str = "ropery") -> None:
    """Install a package that announces kinds."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[trioservice.endpoints]\n" + "\n".join(entries) + "\n")
    monkeypatch.syspath_prepend(folder)


def test_a_package_can_bring_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read and written like any other, around others and within others."""
    here = __name__
    announce(tmp_path, monkeypatch, f"rope = {here}:Rope", f"strands = {here}:Strands")
    rope = Rope("a", knots=3, below=TCPServerEndpoint(80))
    assert server_endpoint("rope:3:tag=a:tcp:80") == rope  # row 93
    assert str(rope) == "rope:3:tag=a:tcp:80"
    assert server_endpoint("haproxy:rope:3:tag=a:tcp:80") == HAProxyServerEndpoint(rope)
    assert server_endpoint(r"ssl:certKey=x:endpoint=rope\:3\:tag=a\:tcp\:80").endpoint == rope  # type: ignore[attr-defined]
    assert server_endpoint(str(Strands(()))) == Strands(())
    assert "did you mean rope?" in complaint("ropes:1").complaint
    assert blamed("rope:3:rope:3:tcp:80") == "rope"
    with pytest.raises(ValueError, match="rope stands before rope"):
        Rope(knots=3, below=HAProxyServerEndpoint(rope))


@given(
    st.none() | hostile.filter(lambda text: text and "\0" not in text),
    st.lists(hostile.filter(lambda text: text and not {"\0", ","} & set(text)), max_size=3),
    st.integers(1, 9),
)
def test_odd_fields_have_their_place_in_a_text(tag: str | None, strands: list[str], knots: int) -> None:
    """Required ones stand first, those with a default have keys, the endpoint below is last."""
    order = [argument.name for argument in arguments_of(Rope)]
    assert order == ["knots", "below", "tag", "strands", "extra"]
    rope = Rope(tag, strands=tuple(strands), knots=knots, below=TCPServerEndpoint(80))
    start, _, end = str(rope).partition(":")
    assert start == "rope"
    assert end.startswith(f"{knots}:")
    assert end.endswith(":tcp:80") or end == f"{knots}:tcp:80"


def test_one_entry_can_name_a_class_for_each_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind is mostly one of servers and of clients."""
    (tmp_path / "both_ropes.py").write_text(
        f"from {__name__} import Rope\n"
        "from trioservice.net.endpoints import StreamClientEndpoint\n"
        "class RopeClient(StreamClientEndpoint):\n"
        "    kind = 'rope'\n"
        "import dataclasses\n"
        "RopeClient = dataclasses.dataclass(frozen=True)(RopeClient)\n"
        "BOTH = (Rope, RopeClient)\n"
    )
    announce(tmp_path, monkeypatch, "rope = both_ropes:BOTH")
    assert type(client_endpoint("rope")).__name__ == "RopeClient"
    assert str(client_endpoint("rope:")) == "rope:"
    assert isinstance(server_endpoint("rope:1:tcp:80"), Rope)


def test_kinds_of_ours_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tcp means does not depend on what is installed."""
    announce(tmp_path, monkeypatch, "tcp = no_such_module:Anything")
    assert server_endpoint("tcp:80") == TCPServerEndpoint(80)


class NoDataclass(StreamServerEndpoint):
    kind = "bad"


class NoRole:
    kind = "bad"


@dataclass(frozen=True)
class NoForm(StreamServerEndpoint):
    kind: ClassVar[str] = "bad"

    port: int


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:Bad", "No module named 'no_such_module'"),
        (f"{__name__}:NoSuchName", "NoSuchName"),
        ("failing_module:Bad", "ZeroDivisionError"),
        (f"{__name__}:announce", "is no class that derives from a role"),
        (f"{__name__}:NoRole", "is no class that derives from a role"),
        (f"{__name__}:StreamServerEndpoint", "StreamServerEndpoint.kind is not 'bad'"),
        (f"{__name__}:Rope", "Rope.kind is not 'bad'"),
        (f"{__name__}:NoDataclass", "dataclass"),
        (f"{__name__}:NoForm", "NoForm.port has no form"),
    ],
)
def test_a_broken_entry_point_is_named(
    value: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its package, so that one knows whom to tell, and with what was wrong."""
    (tmp_path / "failing_module.py").write_text("1 / 0\n")
    announce(tmp_path, monkeypatch, f"bad = {value}")
    assert blamed("bad:80") == "bad"
    error = complaint("bad:80")
    assert f"the entry point bad = {value} of ropery is broken: " in error.complaint
    assert words in error.complaint
    assert error.__cause__ is not None


def test_an_announced_kind_of_another_role_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rope is for servers."""
    announce(tmp_path, monkeypatch, f"rope = {__name__}:Rope")
    said = complaint("rope:1:tcp:80", client_endpoint).complaint
    assert said.startswith(
        "rope is something that a stream server listens on, but wanted is something that a stream client"
    )
    assert blamed("rope:1:tcp:80", client_endpoint) == "rope"
