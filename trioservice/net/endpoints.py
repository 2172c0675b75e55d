r"""Endpoints: where to listen or connect, as one line of text or as one frozen description.

``tcp:8080:interface=127.0.0.1`` is Twisted's way to let an operator choose, in one argument,
what a server listens on.  The text is a kind and its arguments, separated by ``:``, each by
position or as ``key=value``; ``\`` quotes the character after it::

    endpoint = server_endpoint("unix:/run/shop.sock:mode=660")
    endpoint.path, endpoint.mode        # '/run/shop.sock', 0o660
    str(endpoint)                       # the text again

Each kind is a frozen dataclass, and the dataclass is the whole definition: its fields, in their
order, are the arguments, and the form of each field says how it is written, read and checked.
So a description made in Python is checked as strictly as a text, and reading and writing are
each other's inverse.  Everything here is pure; :mod:`trioservice.net.listeners`,
:mod:`~trioservice.net.datagrams` and :mod:`~trioservice.net.clients` turn descriptions into sockets.

Four roles tell what can be made of an endpoint: a stream server listens on it, a datagram
server is bound to it, and clients of either sort reach it.  A kind of your own is a class that
derives from one of the roles, announced by an entry point (see :data:`ENTRY_POINTS`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from ..errors import ServiceError

__all__ = [
    "DatagramClientEndpoint",
    "DatagramServerEndpoint",
    "Endpoint",
    "EndpointError",
    "FDEndpoint",
    "HAProxyServerEndpoint",
    "SSLClientEndpoint",
    "SSLServerEndpoint",
    "StdioServerEndpoint",
    "StreamClientEndpoint",
    "StreamServerEndpoint",
    "SystemdEndpoint",
    "TCP6ServerEndpoint",
    "TCPClientEndpoint",
    "TCPServerEndpoint",
    "TLSClientEndpoint",
    "TLSServerEndpoint",
    "UDPClientEndpoint",
    "UDPServerEndpoint",
    "UNIXClientEndpoint",
    "UNIXDatagramClientEndpoint",
    "UNIXDatagramServerEndpoint",
    "UNIXServerEndpoint",
    "client_endpoint",
    "datagram_client_endpoint",
    "datagram_server_endpoint",
    "quote",
    "server_endpoint",
]

#: The group of entry points by which a package offers kinds of its own: the entry's name is the
#: kind, its value the class.
ENTRY_POINTS = "trioservice.endpoints"


class EndpointError(ServiceError, ValueError):
    """A text is no endpoint.  ``str()`` shows the text, points at the part that is wrong, and suggests.

    Args:
        text: the whole text.
        start: where in it the wrong part begins.
        length: of the wrong part; 0 for something that is missing there.
        complaint: what is wrong and the likely mend, as one sentence.
    """

    def __init__(self, text: str, start: int, length: int, complaint: str) -> None:
        super().__init__(text, start, length, complaint)
        self.text = text
        self.start = start
        self.length = length
        self.complaint = complaint

    def __str__(self) -> str:
        mark = " " * self.start + "^" + "~" * (self.length - 1)
        return f"{self.complaint}\n    {self.text}\n    {mark}"


# ---- forms: how one argument is written, read and checked -------------------------------------

E = TypeVar("E", bound="Endpoint")


@dataclass(frozen=True)
class Form:
    """One way to write a value.

    Args:
        wanted: what it has to be, for error messages: "a port, 0 to 65535".
        is_one: whether a value is one.
        read: text to value; what it raises as ValueError, or gives that is not one, is a mistake of the writer.
        show: value to text.
    """

    wanted: str
    is_one: Callable[[Any], bool]
    read: Callable[[str], Any] = str
    show: Callable[[Any], str] = str


def _is_number(least: int, most: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _digits(text: str) -> int:
    # int() takes also "1_000", " 7" and Arabic digits, which nobody means here.
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _octal(text: str) -> int:
    return int(text, 8)


def _flag(text: str) -> bool:
    return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}[text.lower()]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_list(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_text(part) and "," not in part for part in value)


def _is_networks(value: Any) -> bool:
    import ipaddress  # noqa: PLC0415 - seldom needed

    if not _is_list(value):
        return False
    for part in value:
        if part != "unix":
            try:
                ipaddress.ip_network(part)
            except ValueError:
                return False
    return True


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


Port = Annotated[int, Form("a port, 0 to 65535, where 0 is a free one", _is_number(0, 65535), _digits)]
RemotePort = Annotated[int, Form("a port, 1 to 65535", _is_number(1, 65535), _digits)]
Count = Annotated[int, Form("a number, 1 or more", _is_number(1, math.inf), _digits)]
Index = Annotated[int, Form("a number, 0 or more", _is_number(0, math.inf), _digits)]
Mode = Annotated[
    int, Form("an octal file mode, 0 to 777", _is_number(0, 0o777), _octal, lambda mode: f"{mode:o}")
]
Flag = Annotated[
    bool,
    Form("yes or no", lambda value: isinstance(value, bool), _flag, lambda flag: "yes" if flag else "no"),
]
Seconds = Annotated[
    float,
    Form(
        "a number of seconds above 0",
        lambda value: (
            isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
        ),
        float,
    ),
]
Text = Annotated[str, Form("a text", _is_text)]
Texts = Annotated[tuple[str, ...], Form("one or more texts, separated by commas", _is_list, _list, ",".join)]
Networks = Annotated[
    tuple[str, ...],
    Form(
        "networks like 10.0.0.0/8, or unix, separated by commas",
        _is_networks,
        _list,
        ",".join,
    ),
]

TLSVersion = Annotated[str, Form("1.2 or 1.3", lambda value: value in ("1.2", "1.3"))]
ServerText = Annotated[
    "StreamServerEndpoint",
    Form(
        "an endpoint that a server listens on",
        lambda value: isinstance(value, StreamServerEndpoint),
        lambda text: server_endpoint(text),
    ),
]
ClientText = Annotated[
    "StreamClientEndpoint",
    Form(
        "an endpoint that a client connects to",
        lambda value: isinstance(value, StreamClientEndpoint),
        lambda text: client_endpoint(text),
    ),
]


# ---- roles ------------------------------------------------------------------------------------


class Endpoint:
    """The base of all descriptions.  ``str()`` is the text that describes the same endpoint.

    Raises:
        ValueError: a field is not of its form; said when the description is made.
    """

    kind: ClassVar[str]

    def __str__(self) -> str:
        return _text_of(self)

    def __post_init__(self) -> None:
        for name, form in _forms(type(self)).items():
            value = getattr(self, name)
            if value != _default(type(self), name) and not form.is_one(value):
                raise ValueError(f"{name} is {form.wanted}, not {value!r}")


class StreamServerEndpoint(Endpoint):
    """The role of what a stream server listens on."""


class DatagramServerEndpoint(Endpoint):
    """The role of what a datagram server is bound to."""


class StreamClientEndpoint(Endpoint):
    """The role of what a stream client connects to."""


class DatagramClientEndpoint(Endpoint):
    """The role of what a datagram client sends to."""


# ---- what several kinds share -----------------------------------------------------------------


def _refuse_file_options_of_abstract_names(endpoint: UNIXServerEndpoint | UNIXDatagramServerEndpoint) -> None:
    if endpoint.path.startswith("@"):
        for name in ("mode", "user", "group"):
            if getattr(endpoint, name) != _default(type(endpoint), name):
                raise ValueError(
                    f"{name} is for files, but {endpoint.path} is an abstract name, which anybody can reach"
                )


def _below(
    port: int | None, interface: tuple[str, ...], backlog: int, endpoint: StreamServerEndpoint | None
) -> StreamServerEndpoint:
    if endpoint is not None:
        return endpoint
    assert port is not None
    return TCPServerEndpoint(port, interface, backlog)


# ---- kinds: stream servers --------------------------------------------------------------------

# Go, nginx and Node pass a few hundred, trio 65,535; the kernel truncates to its somaxconn
# anyway, so asking for much lets the administrator decide in one place.
BACKLOG = 65_535


@dataclass(frozen=True)
class TCPServerEndpoint(StreamServerEndpoint):
    """``tcp:8080:interface=127.0.0.1``

    Args:
        port: 0 to 65535; 0 is a free one.
        interface: names or addresses to listen on; none is all of them, of IPv4 and of IPv6.
        backlog: how many connections may wait to be accepted; the kernel has a limit of its own.
        reuse_port: let several sockets, also of several processes, share the port (SO_REUSEPORT).
        v6_only: an IPv6 socket takes no IPv4 connections.
        device: only what comes through this network device, for example ``eth0`` (Linux; needs CAP_NET_RAW).
    """

    kind: ClassVar[str] = "tcp"
    versions: ClassVar[tuple[int, ...]] = (4, 6)

    port: Port
    interface: Texts = ()
    backlog: Count = BACKLOG
    reuse_port: Flag = False
    v6_only: Flag = True
    device: Text | None = None


@dataclass(frozen=True)
class TCP6ServerEndpoint(TCPServerEndpoint):
    """``tcp6:8080``: IPv6 alone, on all interfaces unless some are named."""

    kind: ClassVar[str] = "tcp6"
    versions: ClassVar[tuple[int, ...]] = (6,)


@dataclass(frozen=True)
class UNIXServerEndpoint(StreamServerEndpoint):
    """``unix:/run/shop.sock:mode=660``, or ``unix:@shop`` for an abstract name (Linux).

    Args:
        path: of the socket's file; ``@name`` is no file.
        mode: who may connect, as the file's mode; none but the owner by default.
        backlog: how many connections may wait to be accepted.
        user, group: whom the file is to belong to, by name or number.
    """

    kind: ClassVar[str] = "unix"

    path: Text
    mode: Mode = 0o600
    backlog: Count = BACKLOG
    user: Text | None = None
    group: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_file_options_of_abstract_names(self)


@dataclass(frozen=True)
class SSLServerEndpoint(StreamServerEndpoint):
    """``ssl:443:certKey=shop.pem:privateKey=shop.key``: TLS, with one certificate.

    Args:
        port: to listen on; left out where *endpoint* is given.
        private_key: file of the private key (PEM); where it is left out, *cert_key* holds both.
        cert_key: file of the certificate and those above it (PEM); where it is left out, *private_key* holds both.
        extra_cert_chain: file of further certificates on the way to the root.
        interface, backlog: as for ``tcp``.
        client_ca: file of authorities; clients must then show a certificate from one of them.
        alpn: protocols to offer, the preferred one first.
        minimum_version: of TLS, 1.2 or 1.3.
        endpoint: what to listen on instead of a TCP port: ``endpoint=systemd\\:web``.
    """

    kind: ClassVar[str] = "ssl"

    port: Port | None = None
    private_key: Text | None = None
    cert_key: Text | None = None
    extra_cert_chain: Text | None = None
    interface: Texts = ()
    backlog: Count = BACKLOG
    client_ca: Text | None = None
    alpn: Texts = ()
    minimum_version: TLSVersion = "1.2"
    endpoint: ServerText | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.private_key is None and self.cert_key is None:
            raise ValueError(
                "ssl needs a certificate: certKey=, and privateKey= if the key is in another file"
            )
        if (self.port is None) == (self.endpoint is None):
            raise ValueError("ssl needs either a port or endpoint=")

    @property
    def below(self) -> StreamServerEndpoint:
        """What it listens on."""
        return _below(self.port, self.interface, self.backlog, self.endpoint)


@dataclass(frozen=True)
class TLSServerEndpoint(StreamServerEndpoint):
    """``tls:/etc/shop/certs``: TLS, with a certificate for each name that clients ask for (SNI).

    Args:
        path: a folder of PEM files, each with a key and its certificates, called by the name they
            are for: ``shop.example.pem``, ``_.shop.example.pem`` for all names below it, and
            ``default.pem`` for everybody else.
        port: to listen on; 443.  Not used where *endpoint* is given.
        backlog, interface, client_ca, alpn, minimum_version, endpoint: as for ``ssl``.
    """

    kind: ClassVar[str] = "tls"

    path: Text
    port: Port = 443
    backlog: Count = BACKLOG
    interface: Texts = ()
    client_ca: Text | None = None
    alpn: Texts = ()
    minimum_version: TLSVersion = "1.2"
    endpoint: ServerText | None = None

    @property
    def below(self) -> StreamServerEndpoint:
        """What it listens on."""
        return _below(self.port, self.interface, self.backlog, self.endpoint)


@dataclass(frozen=True)
class HAProxyServerEndpoint(StreamServerEndpoint):
    """``haproxy:tcp:8080``: connections begin with a PROXY protocol header, which tells the real client.

    Args:
        below: the endpoint that the proxy connects to; in text, what follows.
        trust: networks that the proxy may connect from, and ``unix`` for UNIX sockets; this machine by default.
    """

    kind: ClassVar[str] = "haproxy"

    below: StreamServerEndpoint
    trust: Networks = ("127.0.0.0/8", "::1/128", "unix")


@dataclass(frozen=True)
class StdioServerEndpoint(StreamServerEndpoint):
    """``stdio:``: one connection, whose two directions are standard input and output."""

    kind: ClassVar[str] = "stdio"


# ---- kinds: datagram servers ------------------------------------------------------------------


@dataclass(frozen=True)
class UDPServerEndpoint(DatagramServerEndpoint):
    """``udp:5353:interface=127.0.0.1``; the arguments are those of ``tcp``.

    Args:
        broadcast: may send to, and so answer from, broadcast addresses.
    """

    kind: ClassVar[str] = "udp"
    versions: ClassVar[tuple[int, ...]] = (4, 6)

    port: Port
    interface: Texts = ()
    reuse_port: Flag = False
    v6_only: Flag = True
    device: Text | None = None
    broadcast: Flag = False


@dataclass(frozen=True)
class UNIXDatagramServerEndpoint(DatagramServerEndpoint):
    """``unix-datagram:/run/shop.sock:mode=660``; the arguments are those of ``unix``."""

    kind: ClassVar[str] = "unix-datagram"

    path: Text
    mode: Mode = 0o600
    user: Text | None = None
    group: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_file_options_of_abstract_names(self)


# ---- kinds: what was opened by somebody else --------------------------------------------------


@dataclass(frozen=True)
class SystemdEndpoint(StreamServerEndpoint, DatagramServerEndpoint):
    """``systemd:web`` or ``systemd:index=0``: a socket that systemd opened for us (LISTEN_FDS).

    Args:
        name: its FileDescriptorName=.
        index: its place among those that were passed, from 0.  Without name and index: the only one.
    """

    kind: ClassVar[str] = "systemd"

    name: Text | None = None
    index: Index | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and self.index is not None:
            raise ValueError("systemd takes a name or an index, not both")


@dataclass(frozen=True)
class FDEndpoint(StreamServerEndpoint, DatagramServerEndpoint):
    """``fd:3``: a socket that whoever started us left open at that descriptor.

    Args:
        descriptor: its number; it becomes ours, and is closed with the service.
    """

    kind: ClassVar[str] = "fd"

    descriptor: Index


# ---- kinds: clients ---------------------------------------------------------------------------


@dataclass(frozen=True)
class TCPClientEndpoint(StreamClientEndpoint):
    """``tcp:example.com:80``

    Args:
        host: name or address; all addresses of a name are tried (Happy Eyeballs).
        port: 1 to 65535.
        timeout: seconds for one attempt, name lookup included.
        bind_address: our own address to connect from.
    """

    kind: ClassVar[str] = "tcp"

    host: Text
    port: RemotePort
    timeout: Seconds = 30.0
    bind_address: Text | None = None


@dataclass(frozen=True)
class UNIXClientEndpoint(StreamClientEndpoint):
    """``unix:/run/shop.sock``, or ``unix:@shop`` for an abstract name.

    Args:
        path: of the server's socket.
        timeout: seconds for one attempt.
    """

    kind: ClassVar[str] = "unix"

    path: Text
    timeout: Seconds = 30.0


@dataclass(frozen=True)
class SSLClientEndpoint(StreamClientEndpoint):
    """``ssl:example.com:443``: TLS; the server's certificate is always verified.

    Args:
        host, port, timeout, bind_address: as for ``tcp``.
        cert_key: file of our own certificate (PEM), for servers that ask for one.
        private_key: file of its key, if *cert_key* does not hold it.
        ca_certs_dir: folder, or file, of the authorities to believe (PEM); by default the system's.
        hostname: the name that the certificate must be for; *host*.
        alpn: protocols to offer, the preferred one first.
    """

    kind: ClassVar[str] = "ssl"

    host: Text
    port: RemotePort
    cert_key: Text | None = None
    private_key: Text | None = None
    ca_certs_dir: Text | None = None
    hostname: Text | None = None
    timeout: Seconds = 30.0
    bind_address: Text | None = None
    alpn: Texts = ()


@dataclass(frozen=True)
class TLSClientEndpoint(StreamClientEndpoint):
    """``tls:example.com:443``: the same as ``ssl`` with the words of Twisted's ``tls``, and over any endpoint.

    Args:
        host: the name that the certificate must be for, and, unless *endpoint* is given, where to connect.
        port: 1 to 65535.
        timeout, bind_address, alpn: as for ``ssl``.
        certificate: file of our own certificate (PEM).
        private_key: file of its key, if *certificate* does not hold it.
        trust_roots: folder, or file, of the authorities to believe (PEM); by default the system's.
        endpoint: what to connect to instead of *host* and *port*: ``endpoint=unix\\:/run/tunnel``.
    """

    kind: ClassVar[str] = "tls"

    host: Text
    port: RemotePort = 443
    timeout: Seconds = 30.0
    bind_address: Text | None = None
    certificate: Text | None = None
    private_key: Text | None = None
    trust_roots: Text | None = None
    endpoint: ClientText | None = None
    alpn: Texts = ()


@dataclass(frozen=True)
class UDPClientEndpoint(DatagramClientEndpoint):
    """``udp:example.com:53``

    Args:
        host: name or address of the server.
        port: 1 to 65535.
        bind_address: our own address to send from.
        broadcast: *host* may be a broadcast address.
    """

    kind: ClassVar[str] = "udp"

    host: Text
    port: RemotePort
    bind_address: Text | None = None
    broadcast: Flag = False


@dataclass(frozen=True)
class UNIXDatagramClientEndpoint(DatagramClientEndpoint):
    """``unix-datagram:/run/shop.sock``

    Args:
        path: of the server's socket.
        bind_path: our own, where answers arrive; by default one that the kernel chooses (Linux).
    """

    kind: ClassVar[str] = "unix-datagram"

    path: Text
    bind_path: Text | None = None


_BUILT_IN: Mapping[type[Endpoint], tuple[type[Endpoint], ...]] = {
    StreamServerEndpoint: (
        TCPServerEndpoint,
        TCP6ServerEndpoint,
        UNIXServerEndpoint,
        SSLServerEndpoint,
        TLSServerEndpoint,
        HAProxyServerEndpoint,
        SystemdEndpoint,
        FDEndpoint,
        StdioServerEndpoint,
    ),
    DatagramServerEndpoint: (UDPServerEndpoint, UNIXDatagramServerEndpoint, SystemdEndpoint, FDEndpoint),
    StreamClientEndpoint: (TCPClientEndpoint, UNIXClientEndpoint, SSLClientEndpoint, TLSClientEndpoint),
    DatagramClientEndpoint: (UDPClientEndpoint, UNIXDatagramClientEndpoint),
}

_ROLES: Mapping[type[Endpoint], str] = {
    StreamServerEndpoint: "a stream server listens on",
    DatagramServerEndpoint: "a datagram server is bound to",
    StreamClientEndpoint: "a stream client connects to",
    DatagramClientEndpoint: "a datagram client sends to",
}

# Arguments of Twisted's that have no counterpart here, and why.
_GONE = {
    "sslmethod": "TLS below 1.2 is not offered; minimumVersion= takes 1.2 or 1.3",
    "dhparameters": "only key exchanges that need no such file are offered",
    "lockfile": "the path is always guarded by a lock",
    "domain": "the family is read from the socket itself",
    "checkpid": "a server that has gone is noticed without it",
}


# ---- from text --------------------------------------------------------------------------------


def server_endpoint(text: str) -> StreamServerEndpoint:
    """What a stream server listens on, from its text.

    Raises:
        EndpointError: the text is none; it points at the wrong part.
    """
    return _read(text, StreamServerEndpoint)


def datagram_server_endpoint(text: str) -> DatagramServerEndpoint:
    """What a datagram server is bound to, from its text; raises like :func:`server_endpoint`."""
    return _read(text, DatagramServerEndpoint)


def client_endpoint(text: str) -> StreamClientEndpoint:
    """What a stream client connects to, from its text; raises like :func:`server_endpoint`."""
    return _read(text, StreamClientEndpoint)


def datagram_client_endpoint(text: str) -> DatagramClientEndpoint:
    """What a datagram client sends to, from its text; raises like :func:`server_endpoint`."""
    return _read(text, DatagramClientEndpoint)


@dataclass(frozen=True)
class _Argument:
    """One part of a text between colons."""

    start: int  # in the whole text
    length: int
    key: str | None
    value: str
    value_start: int


def _arguments(text: str) -> Iterator[_Argument]:
    """Take *text* apart at its colons, and each part at its first ``=``, and remove the quoting."""
    start = value_start = position = 0
    key: str | None = None
    value: list[str] = []
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
            if position == len(text):
                raise EndpointError(
                    text,
                    position - 1,
                    1,
                    "A backslash quotes the character after it, but here is none; write \\\\ for itself",
                )
            value.append(text[position])
        elif character == ":":
            yield _Argument(start, position - start, key, "".join(value), value_start)
            start = value_start = position + 1
            key, value = None, []
        elif character == "=" and key is None:
            key, value = "".join(value), []
            value_start = position + 1
        else:
            value.append(character)
        position += 1
    yield _Argument(start, position - start, key, "".join(value), value_start)


def _read(text: str, role: type[E]) -> E:
    if not isinstance(text, str):
        raise TypeError(f"an endpoint is a text like 'tcp:8080', or a description, not {text!r}")
    return _build(text, list(_arguments(text)), role)


def _build(text: str, arguments: list[_Argument], role: type[E]) -> E:
    head, *rest = arguments
    kind = _kind(text, head, role)
    if rest and rest[-1].length == 0 and len(rest) == 1:
        rest = []  # "stdio:" and "systemd:" have no arguments; the colon tells that they are kinds
    values: dict[str, Any] = {}
    nested = _nested_field(kind)
    for number, argument in enumerate(rest):
        if nested is not None and argument.key is None:
            values[nested] = _build(text, rest[number:], role)
            break
        name = _field_of(text, kind, argument, number)
        if name in values:
            raise EndpointError(text, argument.start, argument.length, f"{_key(name)} is given twice")
        values[name] = _value(text, kind, name, argument)
    return _made(text, kind, values)  # type: ignore[return-value]


def _kind(text: str, head: _Argument, role: type[Endpoint]) -> type[Endpoint]:
    """The class for the kind that *text* begins with."""
    kinds = {kind.kind: kind for kind in _BUILT_IN[role]}
    if head.key is None and head.value in kinds:
        return kinds[head.value]
    found = _announced(head.value, role)
    if found is not None:
        return found
    name = head.value if head.key is None else head.key
    raise EndpointError(text, head.start, max(head.length, 1), _unknown_kind(name, role, kinds))


def _announced(kind: str, role: type[Endpoint]) -> type[Endpoint] | None:
    """A kind that a package offers by an entry point."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and seldom needed

    for entry in entry_points(group=ENTRY_POINTS, name=kind):
        found = entry.load()
        if isinstance(found, type) and issubclass(found, role):
            return found
    return None


def _unknown_kind(name: str, role: type[Endpoint], kinds: Mapping[str, type[Endpoint]]) -> str:
    for other, others in _BUILT_IN.items():
        if other is not role and name in {kind.kind for kind in others}:
            return f"{name} is what {_ROLES[other]}, and here is wanted what {_ROLES[role]}"
    if not name:
        mend = f"begin with a kind: {', '.join(kinds)}"
    elif name.isascii() and name.isdigit():
        mend = f"a port needs its kind: {'tcp' if 'tcp' in kinds else 'udp'}:{name}"
    else:
        mend = _suggest(name, kinds) or f"there are {', '.join(kinds)}"
    return f"{name!r} is no kind of endpoint; {mend}"


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    close = get_close_matches(name.lower(), {entry.lower(): entry for entry in known}, 1, 0.5)
    return f"did you mean {next(entry for entry in known if entry.lower() == close[0])}?" if close else ""


def _field_of(text: str, kind: type[Endpoint], argument: _Argument, number: int) -> str:
    """The name of the field that an argument is for."""
    names = list(_forms(kind))
    if argument.key is None:
        if number < len(names):
            return names[number]
        takes = f"takes at most {len(names)}" if names else "takes none"
        raise EndpointError(
            text, argument.start, max(argument.length, 1), f"{kind.kind} {takes} of these arguments"
        )
    known = {_plain(name): name for name in names}
    plain = _plain(argument.key)
    if plain in known:
        return known[plain]
    keys = {_key(name): name for name in names}
    mend = _GONE.get(plain) or _suggest(argument.key, keys) or f"it takes {', '.join(keys) or 'none'}"
    if "/" in argument.key:
        mend += "; an = in a path is written \\="
    length = max(len(argument.key), 1)
    raise EndpointError(text, argument.start, length, f"{kind.kind} has no argument {argument.key!r}; {mend}")


def _value(text: str, kind: type[Endpoint], name: str, argument: _Argument) -> Any:
    form = _forms(kind)[name]
    try:
        value = form.read(argument.value)
    except EndpointError:
        raise  # an endpoint within the endpoint points at its own text
    except (ValueError, LookupError):
        value = None
    if value is None or not form.is_one(value):
        length = max(argument.start + argument.length - argument.value_start, 1)
        complaint = f"{_key(name)} is {form.wanted}, not {argument.value!r}"
        raise EndpointError(text, argument.value_start, length, complaint)
    return value


def _made(text: str, kind: type[Endpoint], values: dict[str, Any]) -> Endpoint:
    missing = [
        field.name
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and field.name not in values
    ]
    if missing:
        form = _forms(kind).get(missing[0])
        wanted = form.wanted if form is not None else "an endpoint after it, as in haproxy:tcp:8080"
        raise EndpointError(text, len(text), 0, f"{kind.kind} needs {_key(missing[0])}: {wanted}")
    try:
        return kind(**values)
    except ValueError as error:  # the parts are well, but not together
        raise EndpointError(text, 0, len(text), str(error)) from None


# ---- to text ----------------------------------------------------------------------------------


def quote(text: str) -> str:
    """Quote *text* so that it stands for itself as one argument of an endpoint.

    ::

        server_endpoint(f"unix:{quote(path)}:mode=660")
    """
    return "".join("\\" + character if character in "\\:=" else character for character in text)


def _text_of(endpoint: Endpoint) -> str:
    kind = type(endpoint)
    parts = [kind.kind]
    for name, form in _forms(kind).items():
        value, default = getattr(endpoint, name), _default(kind, name)
        if default is dataclasses.MISSING:
            parts.append(quote(form.show(value)))
        elif value != default:
            parts.append(f"{_key(name)}={quote(form.show(value))}")
    nested = _nested_field(kind)
    if nested is not None:
        parts.append(str(getattr(endpoint, nested)))
    return ":".join(parts) if len(parts) > 1 else f"{kind.kind}:"


# ---- what a class tells -----------------------------------------------------------------------


@functools.cache
def _forms(kind: type[Endpoint]) -> Mapping[str, Form]:
    """The form of each field, in the order of the arguments."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        form = _form_in(hints[field.name])
        if form is not None:
            found[field.name] = form
    return found


def _form_in(hint: Any) -> Form | None:
    """The form in ``Annotated[..., form]``, or in that ``| None``."""
    for part in (hint, *typing.get_args(hint)):
        for extra in getattr(part, "__metadata__", ()):
            if isinstance(extra, Form):
                return extra
    return None


def _nested_field(kind: type[Endpoint]) -> str | None:
    """The field that holds a whole endpoint, which in text is what follows."""
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name not in _forms(kind):
            return field.name
    return None


def _default(kind: type[Endpoint], name: str) -> Any:
    return next(field.default for field in dataclasses.fields(kind) if field.name == name)  # type: ignore[arg-type]


def _key(name: str) -> str:
    """How a field is called in text: as Twisted calls it, ``privateKey``."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _plain(key: str) -> str:
    """``privateKey``, ``private_key`` and ``private-key`` are the same."""
    return key.replace("_", "").replace("-", "").lower()
