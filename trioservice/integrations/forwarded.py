"""What a proxy says of the client that it speaks for.  Pure.

Anybody can send these headers, so they count only if the connection comes from a network that is
named; and of several proxies, each adds what *it* has seen at the end.  So they are read from the end,
for as long as those who speak are believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from ..net.addresses import Address, Networks
from ..net.http_messages import Headers

__all__ = ["Client", "ProxyHeaders", "client_behind", "trusted_networks"]

#: Which headers the proxies set: ``"x-forwarded"`` stands for X-Forwarded-For and X-Forwarded-Proto,
#: ``"forwarded"`` for the one of RFC 7239.  One of the two: the other is what a client has made up.
ProxyHeaders = Literal["x-forwarded", "forwarded"]


class Client(NamedTuple):
    """For whom a request is."""

    address: tuple[str, int] | None  #: host and port (0 if nobody tells); ``None`` for no host
    scheme: str  #: ``http`` or ``https``


def trusted_networks(trusted_proxies: str | Sequence[str], proxy_headers: object) -> Networks:
    """What a server's two options of these names mean.

    Raises:
        ValueError: a network that is none, or headers that we do not read: those of the other kind would be
            believed, and anybody can have made them up.
    """
    if proxy_headers not in get_args(ProxyHeaders):
        kinds = " or ".join(map(repr, get_args(ProxyHeaders)))
        raise ValueError(f"proxy_headers is {kinds}, not {proxy_headers!r}")
    names = (trusted_proxies,) if isinstance(trusted_proxies, str) else trusted_proxies
    try:
        return Networks(names)
    except ValueError as error:
        raise ValueError(f"trusted_proxies are networks like '10.0.0.0/8', or 'unix': {error}") from None


def client_behind(
    peer: Address, scheme: str, headers: Headers, trusted: Networks, kind: ProxyHeaders
) -> Client:
    """The client that the proxies speak for, or, if *peer* is none, *peer* itself."""
    address = peer if isinstance(peer, tuple) else None
    if peer not in trusted:
        return Client(address, scheme)
    said = _x_forwarded(headers) if kind == "x-forwarded" else _forwarded(headers)
    for host, port, proto in reversed(said):
        if proto in ("http", "https"):
            scheme = proto
        if not host:
            break
        address = host, port
        if not _is_trusted(address, trusted):
            break
    return Client(address, scheme)


def _is_trusted(address: tuple[str, int], trusted: Networks) -> bool:
    try:
        return address in trusted
    except ValueError:  # a name that hides the host, as RFC 7239 allows
        return False


def _x_forwarded(headers: Headers) -> list[tuple[str, int, str]]:
    hosts = _list(headers.get_all(b"x-forwarded-for")) or [""]
    # Most proxies tell one scheme, the outermost; some, as of the hosts, each their own.
    schemes = [scheme.lower() for scheme in _list(headers.get_all(b"x-forwarded-proto"))]
    if len(schemes) != len(hosts):
        schemes = [schemes[-1] if schemes else ""] * len(hosts)
    return [(*_host_and_port(host), scheme) for host, scheme in zip(hosts, schemes, strict=True)]


def _forwarded(headers: Headers) -> list[tuple[str, int, str]]:
    said = []
    text, place = b",".join(headers.get_all(b"forwarded")).decode("latin-1"), 0
    while place < len(text):
        element = _ELEMENT.match(text, place)
        pairs = [] if element is None else _PAIR.findall(element[0])
        told = {name.lower(): _unquoted(value) for name, value in pairs}
        if element is None or len(told) < len(pairs):
            return []  # a client may have written what cannot be told from a proxy's word
        if told:
            said.append((*_host_and_port(told.get("for", "")), told.get("proto", "").lower()))
        place = element.end()
    return said


# RFC 7239, 4: a name, and a token or a quoted text; addresses with colons are often not quoted, as they
# should be.  No quantifier gives back what it took (``*+``), so that no text takes long to be refused.
_PAIR = re.compile(r"""([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s",;]*)""")
_ELEMENT = re.compile(rf"\s*+(?:{_PAIR.pattern}\s*+(?:;\s*+|(?=,|$)))*+(?:,|$)")


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _list(values: Sequence[bytes]) -> list[str]:
    return [item.strip() for item in b",".join(values).decode("latin-1").split(",") if item.strip()]


def _host_and_port(text: str) -> tuple[str, int]:
    """Out of ``host``, ``host:port``, ``[v6]``, ``[v6]:port`` or a bare v6."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    return host, int(port) if port.isdecimal() and len(port) < 6 else 0
