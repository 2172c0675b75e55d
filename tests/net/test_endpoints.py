"""The kinds of endpoints: what their texts mean, what they refuse, and that text and description are one."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from trioservice.net import endpoints
from trioservice.net.endpoint_text import Argument, Endpoint, EndpointError, arguments_of
from trioservice.net.endpoints import (
    DatagramClientEndpoint,
    DatagramServerEndpoint,
    FDEndpoint,
    HAProxyServerEndpoint,
    SSLClientEndpoint,
    SSLServerEndpoint,
    StdioServerEndpoint,
    StreamClientEndpoint,
    StreamServerEndpoint,
    SystemdEndpoint,
    TCP6ServerEndpoint,
    TCPClientEndpoint,
    TCPServerEndpoint,
    TLSClientEndpoint,
    TLSServerEndpoint,
    UDPClientEndpoint,
    UDPServerEndpoint,
    UNIXClientEndpoint,
    UNIXDatagramClientEndpoint,
    UNIXDatagramServerEndpoint,
    UNIXServerEndpoint,
    client_endpoint,
    datagram_client_endpoint,
    datagram_server_endpoint,
    server_endpoint,
)

READERS: dict[type[Endpoint], Callable[[str], Endpoint]] = {
    StreamServerEndpoint: server_endpoint,
    DatagramServerEndpoint: datagram_server_endpoint,
    StreamClientEndpoint: client_endpoint,
    DatagramClientEndpoint: datagram_client_endpoint,
}
KINDS = [
    kind
    for kind in vars(endpoints).values()
    if inspect.isclass(kind) and issubclass(kind, Endpoint) and dataclasses.is_dataclass(kind)
]


def readers(endpoint: Endpoint) -> list[Callable[[str], Endpoint]]:
    """Those of every role that it has."""
    return [read for role, read in READERS.items() if isinstance(endpoint, role)]


# ---- text and description are one

# What is special to the language, to paths, to people and to terminals.
hostile = st.text(st.sampled_from("\\:=,@/ \n\ta1é日\u0301\udc80'\"[]%.") | st.characters(), max_size=8)
texts = hostile.filter(lambda text: text != "" and "\0" not in text)
BY_FORM: dict[str, st.SearchStrategy[Any]] = {
    "a number from 0 to 65535": st.integers(0, 65535),
    "a number from 1 to 65535": st.integers(1, 65535),
    "a number, 1 or more": st.integers(1, 2**31 - 1),
    "a number, 0 or more": st.integers(0, 2**31 - 1),
    "a file mode in octal, 0 to 777 (in Python 0o777)": st.integers(0, 0o777),
    "yes or no": st.booleans(),
    "a number of seconds above 0": st.floats(0, exclude_min=True, allow_infinity=False)
    | st.integers(1, 2**70).filter(lambda seconds: float(seconds) == seconds),
    "a text, not empty and without NUL": texts,
    "texts separated by commas (in Python a tuple)": st.lists(
        texts.filter(lambda text: "," not in text), max_size=3
    ).map(tuple),
    "networks like 10.0.0.0/8, or unix, separated by commas (in Python a tuple)": st.lists(
        st.sampled_from(["unix", "10.0.0.0/8", "::1", "::/0", "192.0.2.7", "2001:db8::/32"]), max_size=3
    ).map(tuple),
    "1.2 or 1.3": st.sampled_from(["1.2", "1.3"]),
}


def descriptions(kinds: list[type[Endpoint]]) -> st.SearchStrategy[Endpoint]:
    return st.sampled_from(kinds).flatmap(described)


def described(kind: type[Endpoint]) -> st.SearchStrategy[Endpoint]:
    """Every description of one kind that can be made."""
    fields = {argument.name: values(argument) for argument in arguments_of(kind)}
    required = {argument.name for argument in arguments_of(kind) if argument.required}
    return st.fixed_dictionaries(
        {name: fields[name] for name in fields if name in required},
        optional={name: fields[name] for name in fields if name not in required},
    ).map(lambda given: made(kind, given))


def values(argument: Argument) -> st.SearchStrategy[Any]:
    role = argument.form.role
    if role is not None:
        found: st.SearchStrategy[Any] = st.deferred(
            lambda: descriptions([kind for kind in KINDS if issubclass(kind, role)])
        )
    else:
        found = BY_FORM[argument.form.wanted]
    return found | st.none() if argument.default is None else found


def made(kind: type[Endpoint], given: dict[str, Any]) -> Endpoint:
    """One of *kind*, without the values that cannot stand together."""
    if str(given.get("path", "")).startswith("@"):
        given = {name: value for name, value in given.items() if name not in ("mode", "user", "group")}
    if given.get("endpoint") is not None:
        replaced = ("port", "interface", "backlog", "bind_address")
        given = {name: value for name, value in given.items() if name not in replaced}
    if kind is SSLServerEndpoint:
        given = {"cert_key": "shop.pem", **given}
        given["cert_key"] = given["cert_key"] or "shop.pem"
        if given.get("endpoint") is None and given.get("port") is None:
            given["port"] = 443
    if kind is SystemdEndpoint and given.get("name") is not None:
        given.pop("index", None)
    try:
        return kind(**given)
    except ValueError as error:
        assume("once is enough" not in str(error))
        raise


@given(descriptions(KINDS))
def test_every_description_is_read_back_from_its_text(endpoint: Endpoint) -> None:
    """Whatever is in the fields, also endpoints within endpoints; equal, and of the same types."""
    for read in readers(endpoint):
        again = read(str(endpoint))
        assert again == endpoint
        assert hash(again) == hash(endpoint)
        assert str(again) == str(endpoint)


WORDS = st.sampled_from(
    [kind.kind for kind in KINDS]
    + [argument.key for kind in KINDS for argument in arguments_of(kind)]
    + ["80", "::1", "10.0.0.0/8", "yes", "/run/x", "@x", "1e3", "٣", "1_0", " 7", "1.3", "unix", "99999"]
    + [":", ":", ":", ":", "=", "=", ",", "\\", "\\:", "\\=", "\\\\"]
)
anything = st.text(max_size=30) | st.lists(WORDS | hostile, max_size=14).map("".join)


@settings(deadline=None)  # the first of its texts makes Python read what all packages announce
@given(anything, st.sampled_from(list(READERS.values())))
@example("tcp:80:", server_endpoint)
@example("/\x85", server_endpoint)
@example("haproxy:" * 5000 + "tcp:80", server_endpoint)
@example("tcp:" + "9" * 5000, server_endpoint)
@example("ssl:certKey=a:endpoint=" * 3, server_endpoint)
@example("tcp:" + ":" * 5000, client_endpoint)
def test_any_text_is_an_endpoint_or_an_endpoint_error(text: str, read: Callable[[str], Endpoint]) -> None:
    """And what was read is read again from what it is written as."""
    error = None
    try:
        endpoint = read(text)
    except EndpointError as caught:
        error = caught
    else:
        assert read(str(endpoint)) == endpoint
    if error is not None:
        assert error.text == text
        assert 0 <= error.start <= error.start + error.length <= len(text)
        assert [error.complaint, *str(error).splitlines()[1:]] == str(error).splitlines()
        assert len(str(error).splitlines()) == 3


# ---- what the texts mean


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp:8080", TCPServerEndpoint(8080)),
        ("tcp:8080:interface=127.0.0.1", TCPServerEndpoint(8080, ("127.0.0.1",))),
        ("tcp:8080:127.0.0.1:5", TCPServerEndpoint(8080, ("127.0.0.1",), 5)),
        ("tcp:port=8080:interface=a,b", TCPServerEndpoint(8080, ("a", "b"))),
        ("tcp:0:v6Only=no:device=eth0", TCPServerEndpoint(0, v6_only=False, device="eth0")),
        ("tcp6:8080", TCP6ServerEndpoint(8080)),
        (r"tcp6:8080:interface=\:\:1", TCP6ServerEndpoint(8080, ("::1",))),
        ("unix:/run/x", UNIXServerEndpoint("/run/x")),
        ("unix:/run/x:mode=660", UNIXServerEndpoint("/run/x", 0o660)),
        ("unix:/run/x:mode=0660", UNIXServerEndpoint("/run/x", 0o660)),
        ("unix:/run/x:mode=0o660", UNIXServerEndpoint("/run/x", 0o660)),
        ("unix:/run/x:660:5:www:33", UNIXServerEndpoint("/run/x", 0o660, 5, "www", "33")),
        ("unix:@shop", UNIXServerEndpoint("@shop")),
        ("ssl:443:a.key:a.pem", SSLServerEndpoint(443, "a.key", "a.pem")),
        ("ssl:443:privateKey=a.pem", SSLServerEndpoint(443, private_key="a.pem")),
        (
            r"ssl:certKey=a.pem:endpoint=systemd\:web",
            SSLServerEndpoint(cert_key="a.pem", endpoint=SystemdEndpoint("web")),
        ),
        ("tls:/certs", TLSServerEndpoint("/certs")),
        ("tls:/certs:8443:5:lo", TLSServerEndpoint("/certs", 8443, 5, ("lo",))),
        ("tls:/certs:alpn=h2,http/1.1", TLSServerEndpoint("/certs", alpn=("h2", "http/1.1"))),
        ("haproxy:tcp:8080:lo", HAProxyServerEndpoint(TCPServerEndpoint(8080, ("lo",)))),
        ("haproxy:trust=:unix:/run/x", HAProxyServerEndpoint(UNIXServerEndpoint("/run/x"), ())),
        ("haproxy:tls:/certs:443", HAProxyServerEndpoint(TLSServerEndpoint("/certs"))),
        ("systemd:web", SystemdEndpoint("web")),
        ("systemd:index=0", SystemdEndpoint(index=0)),
        ("systemd:", SystemdEndpoint()),
        ("fd:3", FDEndpoint(3)),
        ("stdio:", StdioServerEndpoint()),
    ],
)
def test_a_server_text_means_what_it_says(text: str, endpoint: Endpoint) -> None:
    """By position and by key, as in Twisted."""
    assert server_endpoint(text) == endpoint  # row 93
    assert type(server_endpoint(text)) is type(endpoint)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("udp:5353", UDPServerEndpoint(5353)),
        ("udp:5353:lo:broadcast=yes", UDPServerEndpoint(5353, ("lo",), broadcast=True)),
        ("unix-datagram:/run/x:mode=660", UNIXDatagramServerEndpoint("/run/x", 0o660)),
        ("systemd:index=2", SystemdEndpoint(index=2)),
        ("fd:descriptor=3", FDEndpoint(3)),
    ],
)
def test_a_datagram_server_text_means_what_it_says(text: str, endpoint: Endpoint) -> None:
    """What systemd passes may be of either sort."""
    assert datagram_server_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp:a.example:80", TCPClientEndpoint("a.example", 80)),
        ("tcp:a.example:80:7:10.0.0.1", TCPClientEndpoint("a.example", 80, 7.0, "10.0.0.1")),
        ("tcp:host=a.example:port=80:timeout=7", TCPClientEndpoint("a.example", 80, 7.0)),
        ("tcp:a.example:port=80:bindAddress=b", TCPClientEndpoint("a.example", 80, bind_address="b")),
        ("tcp:port=80:a.example:timeout=2.5e-1", TCPClientEndpoint("a.example", 80, 0.25)),
        (r"tcp:\:\:1:80", TCPClientEndpoint("::1", 80)),
        ("unix:/run/x", UNIXClientEndpoint("/run/x")),
        ("unix:path=/run/x:timeout=9", UNIXClientEndpoint("/run/x", 9.0)),
        ("unix:/run/x:9", UNIXClientEndpoint("/run/x", 9.0)),
        (
            "ssl:a.example:443:privateKey=k:certKey=c:caCertsDir=d:hostname=b.example:bindAddress=e",
            SSLClientEndpoint("a.example", 443, "c", "k", "d", "b.example", bind_address="e"),
        ),
        ("tls:a.example", TLSClientEndpoint("a.example", 443)),
        (
            "tls:a.example:8443:7:b:c.pem:k.pem:roots",
            TLSClientEndpoint("a.example", 8443, 7.0, "b", "c.pem", "k.pem", "roots"),
        ),
        (
            r"tls:a.example:endpoint=unix\:/run/x\:timeout\=7",
            TLSClientEndpoint("a.example", endpoint=UNIXClientEndpoint("/run/x", 7.0)),
        ),
    ],
)
def test_a_client_text_means_what_it_says(text: str, endpoint: Endpoint) -> None:
    """Positions and keys may be mixed."""
    assert client_endpoint(text) == endpoint  # row 96


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("udp:a.example:53:b:yes", UDPClientEndpoint("a.example", 53, "b", True)),
        ("unix-datagram:/run/x", UNIXDatagramClientEndpoint("/run/x")),
        ("unix-datagram:/run/x:bindPath=@me", UNIXDatagramClientEndpoint("/run/x", "@me")),
    ],
)
def test_a_datagram_client_text_means_what_it_says(text: str, endpoint: Endpoint) -> None:
    """They have no timeout: a datagram is sent or it is not."""
    assert datagram_client_endpoint(text) == endpoint


def test_the_defaults() -> None:
    """Twisted's where they serve; a file that only the owner may use where it leaves the door open."""
    tcp, unix, tls = map(server_endpoint, ("tcp:80", "unix:/x", "tls:/certs"))
    assert (tcp.interface, tcp.reuse_port, tcp.v6_only, tcp.versions) == ((), False, True, (4, 6))  # type: ignore[attr-defined]
    assert server_endpoint("tcp6:80").versions == (6,)  # type: ignore[attr-defined]
    assert unix.mode == 0o600  # type: ignore[attr-defined]
    assert (tls.port, tls.minimum_version) == (443, "1.2")  # type: ignore[attr-defined]
    for text in ("tcp:a:80", "unix:/x", "ssl:a:443", "tls:a"):
        assert client_endpoint(text).timeout == 30  # type: ignore[attr-defined]  # row 96


def test_flags_are_yes_or_no_in_some_spellings() -> None:
    """Those of systemd's unit files, without its on and off."""
    for word, value in itertools.chain.from_iterable(
        ([(word, value), (word.upper(), value)] for word, value in FLAGS.items())
    ):
        assert server_endpoint(f"tcp:80:reusePort={word}") == TCPServerEndpoint(80, reuse_port=value)


FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


# ---- what is refused, in text and in Python alike


@pytest.mark.parametrize(
    ("text", "read"),
    [
        *(
            (f"tcp:{port}", server_endpoint)
            for port in ("-1", "65536", "8_0", " 80", "٨٠", "+80", "0x50", "80.0")
        ),
        *(
            (f"unix:x:mode={mode}", server_endpoint)
            for mode in ("1000", "8", "-1", "0o0o7", "6_0", "", "0x7", "rw")
        ),
        *((f"tcp:80:backlog={number}", server_endpoint) for number in ("0", "-1", "2147483648")),
        *((f"tcp:80:reusePort={flag}", server_endpoint) for flag in ("2", "", "on", "y")),
        *((f"tcp:80:interface={names}", server_endpoint) for names in (",", "a,", ",a", "a\0")),
        *((f"unix:{path}", server_endpoint) for path in ("", "\0shop", "a\0")),
        *(
            (f"haproxy:trust={net}:tcp:80", server_endpoint)
            for net in ("10.0.0.1/8", "all", "10", "UNIX", "unix,")
        ),
        *(
            (f"ssl:443:certKey=a:minimumVersion={name}", server_endpoint)
            for name in ("1.1", "1", "", "TLSv1.2")
        ),
        *((f"fd:{number}", server_endpoint) for number in ("-1", "", "stdin")),
        *(
            (f"tcp:a:80:{time}", client_endpoint)
            for time in ("0", "-1", "nan", "inf", "1e999", "1_0", " 1", "", "٣")
        ),
        ("tcp:a:0", client_endpoint),
        ("tls:a:0", client_endpoint),
    ],
)
def test_a_value_that_is_not_of_its_form_is_refused(text: str, read: Callable[[str], Endpoint]) -> None:
    """Numbers are digits; what int() and float() take beyond them is a slip."""
    with pytest.raises(EndpointError, match=r" is .*, not '"):
        read(text)


class Ports(int, enum.Enum):  # not an IntEnum: its str() is not its value
    HTTP = 80


class Name(str, enum.Enum):  # noqa: UP042 - not a StrEnum: its str() is not its value
    SHOP = "/run/shop"


def test_numbers_and_texts_of_an_enumeration_are_written_as_their_values() -> None:
    """They are equal to the plain ones, so their texts are, too."""
    assert str(TCPServerEndpoint(Ports.HTTP)) == "tcp:80"
    assert str(UNIXServerEndpoint("x", Ports.HTTP)) == "unix:x:mode=120"
    assert str(UNIXServerEndpoint(Name.SHOP)) == "unix:/run/shop"
    assert str(TCPServerEndpoint(1, (Name.SHOP,))) == "tcp:1:interface=/run/shop"


# What a type checker would refuse is refused without one, too.
untyped: Any = endpoints


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: untyped.TCPServerEndpoint(True), "port is a number from 0 to 65535, not True"),
        (lambda: untyped.TCPServerEndpoint("80"), "port is a number from 0 to 65535, not '80'"),
        (lambda: untyped.TCPServerEndpoint(80.0), "port is"),
        (lambda: untyped.TCPServerEndpoint(None), "port is"),
        (lambda: untyped.TCPServerEndpoint([80]), "port is"),
        (lambda: untyped.TCPServerEndpoint(80, "lo"), r"interface is texts .*in Python a tuple.*, not 'lo'"),
        (lambda: untyped.TCPServerEndpoint(80, ["lo"]), "interface is"),
        (lambda: untyped.TCPServerEndpoint(80, (1,)), "interface is"),
        (lambda: untyped.TCPServerEndpoint(80, ("a,b",)), "interface is"),
        (lambda: untyped.TCPServerEndpoint(80, None), "interface is"),
        (lambda: untyped.TCPServerEndpoint(80, backlog=True), "backlog is"),
        (lambda: untyped.TCPServerEndpoint(80, backlog=65535.0), "backlog is"),
        (lambda: untyped.TCPServerEndpoint(80, backlog=10**400), "backlog is"),
        (lambda: untyped.TCPServerEndpoint(80, reuse_port=0), "reuse_port is yes or no, not 0"),
        (lambda: untyped.TCPServerEndpoint(80, v6_only=1), "v6_only is yes or no, not 1"),
        (lambda: untyped.TCPServerEndpoint(80, device=""), "device is a text, not empty"),
        (lambda: untyped.UNIXServerEndpoint(Path("/x")), "path is a text"),
        (lambda: untyped.UNIXServerEndpoint(b"/x"), "path is a text"),
        (lambda: untyped.UNIXServerEndpoint("/x", 660), "in Python 0o777"),
        (lambda: untyped.UNIXServerEndpoint("/x", False), "mode is"),
        (lambda: untyped.TCPClientEndpoint("a", 80, math.nan), "timeout is"),
        (lambda: untyped.TCPClientEndpoint("a", 80, math.inf), "timeout is"),
        (lambda: untyped.TCPClientEndpoint("a", 80, True), "timeout is"),
        (lambda: untyped.TCPClientEndpoint("a", 80, "30"), "timeout is"),
        (lambda: untyped.TCPClientEndpoint("a", 80, 10**400), "timeout is"),
        (lambda: untyped.TCPClientEndpoint("a", 80, 2**53 + 1), "timeout is"),
        (lambda: untyped.TLSServerEndpoint("x", 443.0), "port is"),
        (lambda: untyped.TLSServerEndpoint("x", minimum_version=["1.2"]), "minimum_version is 1.2 or 1.3"),
        (
            lambda: untyped.HAProxyServerEndpoint("tcp:80"),
            "below is an endpoint that a stream server listens on, not",
        ),
        (lambda: untyped.HAProxyServerEndpoint(UNIXClientEndpoint("x")), "below is"),
        (lambda: untyped.HAProxyServerEndpoint(None), "below is"),
        (lambda: untyped.HAProxyServerEndpoint(FDEndpoint(3), ["unix"]), "trust is"),
        (
            lambda: untyped.HAProxyServerEndpoint(FDEndpoint(3), ("10.0.0.1/8",)),
            "that 10.0.0.1/8 is in is 10.0.0.0/8",
        ),
        (
            lambda: untyped.TLSClientEndpoint("a", endpoint="unix:x"),
            "endpoint is an endpoint that a stream client",
        ),
    ],
)
def test_a_description_made_in_python_is_checked_as_strictly(
    make: Callable[[], Endpoint], words: str
) -> None:
    """Also for values that are equal to the default, but of another type."""
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("text", "read", "words"),
    [
        ("ssl:443", server_endpoint, "ssl needs a certificate: certKey="),
        ("ssl:certKey=a", server_endpoint, "ssl needs a port, or endpoint="),
        (r"ssl:443:certKey=a:endpoint=fd\:3", server_endpoint, "port cannot be given beside endpoint"),
        (r"tls:/c:444:endpoint=fd\:3", server_endpoint, "port cannot be given beside endpoint"),
        (r"tls:/c:interface=lo:endpoint=fd\:3", server_endpoint, "interface cannot be given beside endpoint"),
        (r"tls:/c:backlog=5:endpoint=fd\:3", server_endpoint, "backlog cannot be given beside endpoint"),
        (r"tls:a:444:endpoint=unix\:x", client_endpoint, "port cannot be given beside endpoint"),
        (
            r"tls:a:bindAddress=b:endpoint=unix\:x",
            client_endpoint,
            "bindAddress cannot be given beside endpoint",
        ),
        (
            "unix:@shop:mode=660",
            server_endpoint,
            "mode cannot be given beside @shop, which is an abstract name",
        ),
        ("unix-datagram:@shop:group=a", datagram_server_endpoint, "group cannot be given beside @shop"),
        ("systemd:web:0", server_endpoint, "systemd takes a name or an index, not both"),
        ("haproxy:systemd:web:0", server_endpoint, "systemd takes a name or an index"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    text: str, read: Callable[[str], Endpoint], words: str
) -> None:
    """Nothing that somebody wrote is ignored in silence."""
    with pytest.raises(EndpointError, match=words) as caught:
        read(text)
    assert caught.value.start == (len("haproxy:") if text.startswith("haproxy") else 0)


@pytest.mark.parametrize(
    ("text", "read", "words"),
    [
        ("unix:/x:lockfile=0", server_endpoint, "the path is always guarded by a lock"),
        ("unix:/x:lockfile=1", client_endpoint, "noticed without it"),
        ("unix:address=/x", server_endpoint, "it is called path here"),
        ("systemd:domain=INET6:index=0", server_endpoint, "the family is read from the socket itself"),
        ("ssl:443:sslmethod=SSLv23_METHOD", server_endpoint, "minimumVersion= takes 1.2 or 1.3"),
        ("ssl:443:dhParameters=dh.pem", server_endpoint, "no key exchange that needs such a file"),
    ],
)
def test_an_argument_that_only_twisted_has_is_answered_with_what_to_do(
    text: str, read: Callable[[str], Endpoint], words: str
) -> None:
    """Whoever brings texts from there is not left to search."""
    with pytest.raises(EndpointError, match=words):  # row 93
        read(text)


# ---- what the rest of the house uses


def test_what_tls_listens_on_is_a_port_or_the_endpoint_given() -> None:
    """One property for both."""
    assert SSLServerEndpoint(443, cert_key="a", interface=("lo",), backlog=5).below == TCPServerEndpoint(
        443, ("lo",), 5
    )
    assert TLSServerEndpoint("/certs").below == TCPServerEndpoint(443)
    assert TLSServerEndpoint("/certs", endpoint=FDEndpoint(3)).below == FDEndpoint(3)
    assert SSLServerEndpoint(cert_key="a", endpoint=FDEndpoint(3)).below == FDEndpoint(3)


def test_every_kind_can_be_read_and_is_offered() -> None:
    """No kind is forgotten in the tables."""
    for kind in KINDS:
        assert kind.__name__ in endpoints.__all__
        for role, read in READERS.items():
            if issubclass(kind, role):
                with pytest.raises(EndpointError) as caught:
                    read(f"{kind.kind}:no-such-argument=1")
                assert "has no argument 'no-such-argument'" in caught.value.complaint


def test_every_argument_is_explained_in_the_docstring_of_its_kind_or_of_the_one_it_refers_to() -> None:
    """The docstrings are the reference."""
    known = " ".join(inspect.getdoc(kind) or "" for kind in KINDS)
    for kind in KINDS:
        for argument in arguments_of(kind):
            assert f"{argument.name}:" in known or f"{argument.name}," in known, (kind, argument.name)


# ---- what the guide says

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "choose-an-endpoint.md"


def texts_of(heading: str) -> list[str]:
    """What a table of the guide tells to write."""
    section = GUIDE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| (`.*`) \|$", section, re.MULTILINE)
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


def test_the_texts_of_the_guide_can_be_read() -> None:
    """Nobody copies a mistake from there."""
    listen, connect, datagrams = map(texts_of, ("Listen", "Connect", "Datagrams"))
    assert len(listen) == 15
    assert len(connect) == 7
    assert len(datagrams) == 6
    assert {type(server_endpoint(text)) for text in listen} >= {TLSServerEndpoint, StdioServerEndpoint}
    assert {type(client_endpoint(text)) for text in connect} >= {TLSClientEndpoint, TCPClientEndpoint}
    for text in datagrams[:4]:
        datagram_server_endpoint(text)
    for text in datagrams[4:]:
        datagram_client_endpoint(text)


def test_the_mistake_of_the_guide_is_told_as_shown() -> None:
    """Word for word."""
    with pytest.raises(EndpointError) as caught:
        server_endpoint("tcp:8080:interface=::1")
    assert f"```text\n{caught.value}\n```" in GUIDE.read_text(encoding="utf-8")
