"""Zones by files, as every server of names reads them (RFC 1035, section 5), answered with authority.

dnspython reads the file, and what it has read becomes plain dictionaries of names and bytes.
What a zone says to a question is decided by ``answer``, in the order of RFC 1034, 4.3.2: a part of
the zone that is somebody else's, the name, a wildcard, an alias to follow, and at last a No.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, cast

from .answers import Answer, made
from .codes import AAAA, CNAME, NOERROR, NS, NXDOMAIN, SOA, A
from .names import ROOT, ancestors
from .questions import Question
from .records import ASKED, encode
from .resolvers import FileResolver

if TYPE_CHECKING:
    from dns.name import Name
    from dns.zone import Zone as ParsedZone

__all__ = ["RRset", "Zone", "ZoneResolver", "answer", "read_zone"]

_DS = 43
_NAMELESS = "it does not say which zone it is: begin it with $ORIGIN, or name the zone"
_MINIMUM = Struct("!I")


class RRset(NamedTuple):
    """All records of one name and type: their time to live, and the data of each."""

    ttl: int
    data: tuple[bytes, ...]


class Zone(NamedTuple):
    """A zone, by names in their wire form.

    Args:
        origin: the name of the zone.
        nodes: what each name has; empty for one that is only part of others.
    """

    origin: bytes
    nodes: dict[bytes, dict[int, RRset]]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and self.origin in ancestors(name)

    def cut(self, name: bytes) -> bytes | None:
        """The topmost name, from the origin down to this one, from which on the zone is somebody else's."""
        found = None
        for above in ancestors(name):
            if above == self.origin:
                break
            if NS in self.nodes.get(above, ()):
                found = above
        return found

    def node(self, name: bytes) -> dict[int, RRset] | None:
        """What a name has, be it by a wildcard (RFC 4592)."""
        if name in self.nodes:
            return self.nodes[name]
        encloser = next(above for above in ancestors(name) if above in self.nodes)
        return self.nodes.get(b"\x01*" + encloser)


class ZoneResolver(FileResolver):
    """Answers with authority for one zone, by its file, which is read anew when it has changed.

    It takes dnspython: ``pip install 'trioservice[dns]'``.

    Aliases are followed within the zone.  Signatures that the file has are given to those who ask for them by
    name only, so a signed zone is not served as such.

    Args:
        path: of the file.
        origin: the name of the zone, if the file does not begin with ``$ORIGIN``.
        check_interval: seconds between two looks at whether it has changed.
        name: as for :class:`~trioservice.service.Service`; by default the name of the file.

    Raises:
        ImportError: dnspython is not installed.
        CannotLoadError: out of ``main``, if the file cannot be read at the start.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        origin: str | None = None,
        *,
        check_interval: float = 1.0,
        name: str | None = None,
    ) -> None:
        require_dnspython()
        super().__init__(path, check_interval=check_interval, name=name or os.path.basename(path))
        self.origin = origin
        self._zone: Zone | None = None

    def known(self, question: Question) -> Answer | None:
        """What the zone says; ``None`` if the name is not in it."""
        if self._zone is None or question.name not in self._zone:
            return None
        return answer(self._zone, question)

    def read(self) -> tuple[object, int, int]:
        """Read the file; what cannot be read in a zone makes all of it wrong."""
        zone = read_zone(self.file, self.origin)
        return zone, sum(map(bool, zone.nodes.values())), 0

    def take(self, said: object) -> None:
        """Answer by what the file says now."""
        self._zone = cast("Zone", said)


# ---- what a zone says


def answer(zone: Zone, question: Question) -> Answer:
    """What the zone, which has the name, says to the question."""
    name, chain, passed = question.name, list[bytes](), set[bytes]()
    while name in zone and name not in passed:
        passed.add(name)
        cut = zone.cut(name)
        if cut is not None and (cut, question.type) != (name, _DS):
            return made(chain) if chain else _referral(zone, cut)
        owner = ASKED if name == question.name else name
        node = zone.node(name)
        if node is None:
            return made(chain, _no(zone), code=NXDOMAIN)
        if question.type in node:
            found = node[question.type]
            return made([*chain, *encode(owner, question.type, found.ttl, found.data)])
        if CNAME not in node:
            return made(chain, _no(zone), code=NOERROR)
        alias = node[CNAME]
        chain += encode(owner, CNAME, alias.ttl, alias.data)
        name = alias.data[0].lower()
    return made(chain, alias=b"" if name in passed else name)  # a circle, or out of the zone


def _no(zone: Zone) -> Sequence[bytes]:
    """The SOA, which says how long a No holds (RFC 2308, section 3)."""
    ttl, data = zone.nodes[zone.origin][SOA]
    minimum: int = _MINIMUM.unpack_from(data[0], len(data[0]) - _MINIMUM.size)[0]
    return encode(zone.origin, SOA, min(ttl, minimum), data)


def _referral(zone: Zone, cut: bytes) -> Answer:
    """Whom to ask about what begins at *cut*, with the addresses that only we can know."""
    servers = zone.nodes[cut][NS]
    glue = [
        record
        for server in servers.data
        for type in (A, AAAA)
        if (found := zone.nodes.get(server.lower(), {}).get(type))
        for record in encode(server, type, found.ttl, found.data)
    ]
    return made((), encode(cut, NS, servers.ttl, servers.data), glue, authoritative=False)


# ---- how it is read


def require_dnspython() -> None:
    """See that there is dnspython.

    Raises:
        ImportError: there is not; it names the extra.
    """
    try:
        import dns.zone  # noqa: F401 - an extra; only zone files need it
    except ImportError as error:
        raise ImportError(
            "zone files need the library dnspython, which cannot be imported: pip install 'trioservice[dns]'",
            name="dns",
        ) from error


def read_zone(path: str, origin: str | None = None) -> Zone:
    """The zone that a file describes.

    Raises:
        OSError: the file cannot be read.
        ValueError: it describes no zone.
    """
    import dns.exception
    import dns.zone

    try:
        # What a zone must have is looked at here, in words for whoever wrote it.
        parsed = dns.zone.from_file(path, origin, relativize=False, check_origin=False)
    except dns.zone.UnknownOrigin:
        raise ValueError(_NAMELESS) from None
    except (dns.exception.DNSException, ValueError) as error:
        reason = str(error).replace(f"{path}:", "line ", 1) or type(error).__name__
        raise ValueError(f"it is no zone: {reason}") from error
    if parsed.origin is None:
        raise ValueError(_NAMELESS)
    zone = _zone_of(parsed, parsed.origin)
    if SOA not in zone.nodes[zone.origin]:
        raise ValueError(f"it is no zone: {parsed.origin} has no SOA")
    return zone


def _zone_of(parsed: ParsedZone, name_of_zone: Name) -> Zone:
    origin = (name_of_zone.to_wire() or ROOT).lower()
    nodes: dict[bytes, dict[int, RRset]] = {origin: {}}
    for name, node in parsed.nodes.items():
        wire = name.to_wire() or ROOT
        here = nodes.setdefault(wire.lower(), {})
        for rdataset in node:
            data = tuple(rdata.to_wire() or b"" for rdata in rdataset)
            earlier = here.get(int(rdataset.rdtype), RRset(rdataset.ttl, ()))
            # Signatures of several types are one set to us.
            here[int(rdataset.rdtype)] = RRset(min(rdataset.ttl, earlier.ttl), earlier.data + data)
    for known in list(nodes):
        for above in ancestors(known):
            nodes.setdefault(above, {})
            if above == origin:
                break
    return Zone(origin, nodes)
