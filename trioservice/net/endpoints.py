r"""Endpoints: where to listen or connect, as one line of text or as one frozen description.

``tcp:8080:interface=127.0.0.1`` is Twisted's way to let an operator choose, in one argument,
what a server listens on.  The text is a kind and its arguments, separated by ``:``, each by
position or as ``key=value``; ``\`` quotes the character after it::

    endpoint = server_endpoint("unix:/run/shop.sock:mode=660")
    endpoint.path, endpoint.mode        # '/run/shop.sock', 0o660
    str(endpoint)                       # the text again

Here is what kinds there are.  Each is a frozen dataclass whose fields, in their order, are the
arguments; :mod:`trioservice.net.endpoint_text` reads and writes them all alike.  Both are pure;
:mod:`trioservice.net.listeners` and its neighbours turn descriptions into sockets.

Four roles tell what can be made of an endpoint: a stream server listens on it, a datagram
server is bound to it, and clients of either sort reach it.  A kind of your own is a dataclass that
derives from one of the roles and whose fields have forms, announced by an entry point of the group
``trioservice.endpoints``::

    @dataclass(frozen=True)
    class VsockServerEndpoint(StreamServerEndpoint):
        kind: ClassVar[str] = "vsock"

        port: Count
        retries: Index = 0
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from ..records import record
from .endpoint_text import Endpoint, EndpointError, Form, arguments_of, quote, read

__all__ = [
    "Count",
    "DatagramClientEndpoint",
    "DatagramServerEndpoint",
    "Endpoint",
    "EndpointError",
    "FDEndpoint",
    "Flag",
    "Form",
    "HAProxyServerEndpoint",
    "Index",
    "Mode",
    "Networks",
    "Port",
    "RemotePort",
    "SSLClientEndpoint",
    "SSLServerEndpoint",
    "Seconds",
    "StdioServerEndpoint",
    "StreamClientEndpoint",
    "StreamServerEndpoint",
    "SystemdEndpoint",
    "TCP6ServerEndpoint",
    "TCPClientEndpoint",
    "TCPServerEndpoint",
    "TLSClientEndpoint",
    "TLSServerEndpoint",
    "Text",
    "Texts",
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

# ---- roles ------------------------------------------------------------------------------------


class StreamServerEndpoint(Endpoint):
    """The role of what a stream server listens on."""

    purpose = "that a stream server listens on"


class DatagramServerEndpoint(Endpoint):
    """The role of what a datagram server is bound to."""

    purpose = "that a datagram server is bound to"


class StreamClientEndpoint(Endpoint):
    """The role of what a stream client connects to."""

    purpose = "that a stream client connects to"


class DatagramClientEndpoint(Endpoint):
    """The role of what a datagram client sends to."""

    purpose = "that a datagram client sends to"


# ---- forms: how an argument is written, read and checked ----------------------------------------


def _number(wanted: str, least: int, most: int) -> Form:
    def is_one(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    # A member of an enumeration is shown as its number.
    return Form(wanted, is_one, _digits, lambda value: str(int(value)))


def _digits(text: str) -> int:
    # int() takes also "1_000", " 7" and Arabic digits, which nobody means here.
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _is_mode(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o777


def _octal(text: str) -> int:
    return int(str(_digits(text.removeprefix("0o"))), 8)


def _is_seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return 0 < value < math.inf and float(value) == value  # an int of 20 digits may have no float
    except OverflowError:
        return False


def _seconds(text: str) -> float:
    if not set(text) <= set("0123456789.+-eE"):  # float() takes more, as int() does
        raise ValueError(text)
    return float(text)


def _show_seconds(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _flag(text: str) -> bool:
    return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}[text.lower()]


def _show_flag(value: bool) -> str:
    return "yes" if value else "no"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_list(value: object) -> bool:
    return isinstance(value, tuple) and all(_is_text(part) and "," not in part for part in value)


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _is_networks(value: Any) -> bool:
    return _is_list(value) and all(part == "unix" or _network(part) == part for part in value)


def _network(text: str) -> str | None:
    """The network that *text* means; itself, unless it is an address within one."""
    from ipaddress import ip_network

    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    try:
        ip_network(text)
    except ValueError:
        return str(network)
    return text


def _mend_networks(value: Any) -> str:
    for part in value if _is_list(value) else ():
        network = _network(part)
        if network not in (None, part):
            return f"the network that {part} is in is {network}"
    return ""


#: Where to listen, 0 for a free port.
Port = Annotated[int, _number("a number from 0 to 65535", 0, 65535)]
#: Where to connect.
RemotePort = Annotated[int, _number("a number from 1 to 65535", 1, 65535)]
#: How many; at most what a C ``int`` holds.
Count = Annotated[int, _number("a number, 1 or more", 1, 2**31 - 1)]
#: Which one, counted from 0; at most what a C ``int`` holds.
Index = Annotated[int, _number("a number, 0 or more", 0, 2**31 - 1)]
#: Permissions of a file.
Mode = Annotated[
    int,
    Form("a file mode in octal, 0 to 777 (in Python 0o777)", _is_mode, _octal, lambda mode: f"{int(mode):o}"),
]
#: Whether or not.
Flag = Annotated[bool, Form("yes or no", lambda value: isinstance(value, bool), _flag, _show_flag)]
#: How long.
Seconds = Annotated[float, Form("a number of seconds above 0", _is_seconds, _seconds, _show_seconds)]
#: A path, a host, a name.
Text = Annotated[str, Form("a text, not empty and without NUL", _is_text, show="".join)]
#: Several of them, none of which has a comma.
Texts = Annotated[
    tuple[str, ...], Form("texts separated by commas (in Python a tuple)", _is_list, _list, ",".join)
]
#: Networks of IPv4 and IPv6, and ``unix``.
Networks = Annotated[
    tuple[str, ...],
    Form(
        "networks like 10.0.0.0/8, or unix, separated by commas (in Python a tuple)",
        _is_networks,
        _list,
        ",".join,
        _mend_networks,
    ),
]


def _is_version(value: object) -> bool:
    return isinstance(value, str) and value in ("1.2", "1.3")


def _nested(role: type[Endpoint], rest: bool = False) -> Form:
    wanted = f"an endpoint {role.purpose}"
    return Form(wanted, lambda value: isinstance(value, role), role=role, rest=rest)


TLSVersion = Annotated[str, Form("1.2 or 1.3", _is_version, show="".join)]
ServerText = Annotated[StreamServerEndpoint, _nested(StreamServerEndpoint)]
ClientText = Annotated[StreamClientEndpoint, _nested(StreamClientEndpoint)]
Below = Annotated[StreamServerEndpoint, _nested(StreamServerEndpoint, rest=True)]


# ---- what several kinds share -----------------------------------------------------------------


def _refuse_beside(endpoint: Endpoint, name: str, others: tuple[str, ...], why: str) -> None:
    """Refuse *others*, if they are not left at their defaults, because of *name*."""
    for argument in arguments_of(type(endpoint)):
        if argument.name in others and getattr(endpoint, argument.name) != argument.default:
            raise ValueError(f"{argument.key} cannot be given beside {name}, {why}")


def _refuse_file_options_of_abstract_names(endpoint: UNIXServerEndpoint | UNIXDatagramServerEndpoint) -> None:
    if endpoint.path.startswith("@"):
        why = "which is an abstract name, no file, and open to anybody"
        _refuse_beside(endpoint, endpoint.path, ("mode", "user", "group"), why)


def _refuse_what_endpoint_replaces(
    endpoint: SSLServerEndpoint | TLSServerEndpoint | TLSClientEndpoint,
) -> None:
    if endpoint.endpoint is not None:
        others = ("port", "interface", "backlog", "bind_address")
        _refuse_beside(endpoint, "endpoint", others, "which stands in its place")


def _below(endpoint: SSLServerEndpoint | TLSServerEndpoint) -> StreamServerEndpoint:
    if endpoint.endpoint is not None:
        return endpoint.endpoint
    assert endpoint.port is not None
    return TCPServerEndpoint(endpoint.port, endpoint.interface, endpoint.backlog)


# ---- kinds: stream servers --------------------------------------------------------------------

# Go, nginx and Node pass a few hundred, trio 65,535; the kernel truncates to its somaxconn
# anyway, so asking for much lets the administrator decide in one place.
BACKLOG = 65_535


@record
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


@record
class TCP6ServerEndpoint(TCPServerEndpoint):
    """``tcp6:8080``: IPv6 alone, on all interfaces unless some are named."""

    kind: ClassVar[str] = "tcp6"
    versions: ClassVar[tuple[int, ...]] = (6,)


@record
class UNIXServerEndpoint(StreamServerEndpoint):
    """``unix:/run/shop.sock:mode=660``, or ``unix:@shop`` for an abstract name (Linux).

    Args:
        path: of the socket's file; ``@name`` is no file.
        mode: who may connect, as the file's mode; none but the owner by default.
        backlog: how many connections may wait to be accepted.
        user, group: whom the file is to belong to, by name or number.
    """

    kind: ClassVar[str] = "unix"
    gone: ClassVar[Mapping[str, str]] = {
        "address": "it is called path here",
        "lockfile": "leave it out, the path is always guarded by a lock",
    }

    path: Text
    mode: Mode = 0o600
    backlog: Count = BACKLOG
    user: Text | None = None
    group: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_file_options_of_abstract_names(self)


@record
class SSLServerEndpoint(StreamServerEndpoint):
    r"""``ssl:443:certKey=shop.pem:privateKey=shop.key``: TLS, with one certificate.

    Args:
        port: to listen on; left out where *endpoint* is given.
        private_key: file of the private key (PEM); where it is left out, *cert_key* holds both.
        cert_key: file of the certificate and those above it (PEM); where it is left out, *private_key*
            holds both.
        extra_cert_chain: file of further certificates on the way to the root.
        interface, backlog: as for ``tcp``.
        client_ca: file of authorities; clients must then show a certificate from one of them.
        alpn: protocols to offer, the preferred one first.
        minimum_version: of TLS, 1.2 or 1.3.
        endpoint: what to listen on instead of a TCP port: ``endpoint=systemd\:web``.
    """

    kind: ClassVar[str] = "ssl"
    gone: ClassVar[Mapping[str, str]] = {
        "sslmethod": "leave it out, TLS below 1.2 is not offered; minimumVersion= takes 1.2 or 1.3",
        "dhparameters": "leave it out, no key exchange that needs such a file is offered",
    }

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
        if self.port is None and self.endpoint is None:
            raise ValueError("ssl needs a port, or endpoint=")
        _refuse_what_endpoint_replaces(self)

    @property
    def below(self) -> StreamServerEndpoint:
        """What it listens on."""
        return _below(self)


@record
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

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_what_endpoint_replaces(self)

    @property
    def below(self) -> StreamServerEndpoint:
        """What it listens on."""
        return _below(self)


@record
class HAProxyServerEndpoint(StreamServerEndpoint):
    """``haproxy:tcp:8080``: connections begin with a PROXY protocol header, which tells the real client.

    Args:
        below: the endpoint that the proxy connects to; in text, what follows.
        trust: networks that the proxy may connect from, and ``unix`` for UNIX sockets; by default this
            machine.
    """

    kind: ClassVar[str] = "haproxy"

    below: Below
    trust: Networks = ("127.0.0.0/8", "::1/128", "unix")


@record
class StdioServerEndpoint(StreamServerEndpoint):
    """``stdio:``: one connection, whose two directions are standard input and output."""

    kind: ClassVar[str] = "stdio"


# ---- kinds: datagram servers ------------------------------------------------------------------


@record
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


@record
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


@record
class SystemdEndpoint(StreamServerEndpoint, DatagramServerEndpoint):
    """``systemd:web`` or ``systemd:index=0``: a socket that systemd opened for us (LISTEN_FDS).

    Args:
        name: its FileDescriptorName=.
        index: its place among those that were passed, from 0.  Without name and index: the only one.
    """

    kind: ClassVar[str] = "systemd"
    gone: ClassVar[Mapping[str, str]] = {
        "domain": "leave it out, the family is read from the socket itself",
    }

    name: Text | None = None
    index: Index | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and self.index is not None:
            raise ValueError("systemd takes a name or an index, not both")


@record
class FDEndpoint(StreamServerEndpoint, DatagramServerEndpoint):
    """``fd:3``: a socket that whoever started us left open at that descriptor.

    Args:
        descriptor: its number; it becomes ours, and is closed with the service.
    """

    kind: ClassVar[str] = "fd"

    descriptor: Index


# ---- kinds: clients ---------------------------------------------------------------------------


@record
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


@record
class UNIXClientEndpoint(StreamClientEndpoint):
    """``unix:/run/shop.sock``, or ``unix:@shop`` for an abstract name.

    Args:
        path: of the server's socket.
        timeout: seconds for one attempt.
    """

    kind: ClassVar[str] = "unix"
    gone: ClassVar[Mapping[str, str]] = {
        "address": "it is called path here",
        "lockfile": "leave it out, a server that has gone is noticed without it",
    }

    path: Text
    timeout: Seconds = 30.0


@record
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


@record
class TLSClientEndpoint(StreamClientEndpoint):
    r"""``tls:example.com:443``: the same as ``ssl`` in the words of Twisted's ``tls``, and over any endpoint.

    Args:
        host: the name that the certificate must be for, and, unless *endpoint* is given, where to connect.
        port: 1 to 65535.
        timeout, bind_address, alpn: as for ``ssl``.
        certificate: file of our own certificate (PEM).
        private_key: file of its key, if *certificate* does not hold it.
        trust_roots: folder, or file, of the authorities to believe (PEM); by default the system's.
        endpoint: what to connect to instead of *host* and *port*: ``endpoint=unix\:/run/tunnel``.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_what_endpoint_replaces(self)


@record
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


@record
class UNIXDatagramClientEndpoint(DatagramClientEndpoint):
    """``unix-datagram:/run/shop.sock``

    Args:
        path: of the server's socket.
        bind_path: our own, where answers arrive; by default one that the kernel chooses (Linux).
    """

    kind: ClassVar[str] = "unix-datagram"

    path: Text
    bind_path: Text | None = None


_KINDS: Mapping[type[Endpoint], tuple[type[Endpoint], ...]] = {
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


# ---- from text --------------------------------------------------------------------------------


def server_endpoint(text: str) -> StreamServerEndpoint:
    """What a stream server listens on, from its text.

    Raises:
        EndpointError: the text is none; it points at the wrong part.
    """
    return read(text, StreamServerEndpoint, _KINDS)


def datagram_server_endpoint(text: str) -> DatagramServerEndpoint:
    """What a datagram server is bound to, from its text; raises like :func:`server_endpoint`."""
    return read(text, DatagramServerEndpoint, _KINDS)


def client_endpoint(text: str) -> StreamClientEndpoint:
    """What a stream client connects to, from its text; raises like :func:`server_endpoint`."""
    return read(text, StreamClientEndpoint, _KINDS)


def datagram_client_endpoint(text: str) -> DatagramClientEndpoint:
    """What a datagram client sends to, from its text; raises like :func:`server_endpoint`."""
    return read(text, DatagramClientEndpoint, _KINDS)
