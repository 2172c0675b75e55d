"""The command ``trioservice dns``: what its options say becomes a :class:`~.server.DNSServer`.

What is large is imported when the command is used, since this file is for each ``trioservice --help``.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from ...config.mistakes import Fault, Mistake
from ...config.options import option
from ...config.plugins import Plugin
from ...forms import Form, items, text

if TYPE_CHECKING:
    from .resolvers import Resolver
    from .server import DNSServer

__all__ = ["dns"]


def _upstream(given: str) -> str:
    from .upstreams import upstream_of

    upstream_of(given)
    return given


def _network(given: str) -> str:
    return str(ip_network(given))


_ADDRESSES = items(text._replace(metavar="ADDRESS", wanted="an address, or the name of an interface"))
_ZONES = items(text._replace(metavar="[ORIGIN=]FILE", wanted="a zone file, or ORIGIN=FILE"))
_UPSTREAMS = items(Form("ADDRESS", "an address such as 9.9.9.9 or [2620:fe::fe]:5353, not a name", _upstream))
_NETWORKS = items(Form("NETWORK", "a network such as 192.168.0.0/16", _network))


def make_server(
    port: int,
    interface: Sequence[str],
    hosts_file: Path | None,
    zone: Sequence[str],
    forward: Sequence[str],
    allow_recursion: Sequence[str],
) -> DNSServer:
    """The server that the options describe."""
    from .server import DNSServer

    resolvers = _resolvers(hosts_file, zone, forward)
    return DNSServer(
        port, resolvers, host=tuple(interface) or None, allow_recursion=allow_recursion, name="server"
    )


def _resolvers(hosts_file: Path | None, zones: Sequence[str], upstreams: Sequence[str]) -> list[Resolver]:
    """Our own names first, and what we do not know last."""
    resolvers: list[Resolver] = []
    if hosts_file is not None:
        from .hosts import HostsResolver

        resolvers.append(HostsResolver(hosts_file))
    resolvers += map(_zone, zones)
    if upstreams:
        from .forwarding import ForwardResolver

        resolvers.append(ForwardResolver(*upstreams))
    if not resolvers:
        raise Mistake(
            "there is nothing to answer from",
            hint="give --hosts-file, --zone or --forward",
            fault=Fault.USAGE,
        )
    return resolvers


def _zone(given: str) -> Resolver:
    from .zones import ZoneResolver

    origin, _, path = given.rpartition("=")
    try:
        return ZoneResolver(path, origin or None)
    except ImportError as error:
        raise Mistake(str(error), hint="pip install 'trioservice[dns]'", fault=Fault.USAGE) from None


dns = Plugin(
    make_server,
    help="serve names",
    description=(
        "Answer questions for names by UDP and TCP, from a file like /etc/hosts, from zone files, and, for "
        "networks that are named, by asking other servers."
    ),
    options=(
        option("port", 53, help="where to listen, by UDP and TCP"),
        option(
            "interface",
            (),
            type=_ADDRESSES,
            help="the addresses to listen at (default: all)",
        ),
        option(
            "hosts-file",
            "/etc/hosts",
            type=Form("FILE", "a path, or nothing for none", lambda given: given or None),
            help="names and addresses; nothing for none",
        ),
        option("zone", (), type=_ZONES, help="a zone to serve; may be several"),
        option("forward", (), type=_UPSTREAMS, help="whom to ask what is not known here; may be several"),
        option(
            "allow-recursion",
            ("127.0.0.0/8", "::1/128"),
            type=_NETWORKS,
            help="for whom others are asked",
        ),
    ),
)
