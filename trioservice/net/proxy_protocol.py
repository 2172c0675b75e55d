"""Who is really there: the header that a proxy sends before its client's first byte.

Behind a load balancer every connection comes from the load balancer.  HAProxy's PROXY protocol
gives the client back: the proxy opens each connection with one line of text (version 1) or one
block of bytes (version 2) that tells where the client came from and where it wanted to go.
HAProxy, nginx, Envoy, Traefik and the balancers of the clouds send it.

This file reads that header and does no input or output, in the manner of h11: bytes in, a
:class:`ProxyHeader` out.  The rules are those of HAProxy's ``doc/proxy-protocol.txt``; the
sections named below are its sections.  Two of them matter to whoever brings the bytes:

*Only where it was asked for* (section 5).  Whoever may send a header may claim any address, so a
server expects one from every client or from none, and never guesses; the port is open to proxies
alone.

*Early* (section 2.1).  A peer that sends something else is refused at the first byte that cannot
be right, so that it notices, and a browser that came past the proxy is not kept waiting.  How
long to wait for a header that does not come is the caller's to decide: this file has no clock.
"""

from __future__ import annotations

import os
import re
import socket
import struct

from ..records import record
from .addresses import Address

__all__ = ["MAX_HEADER", "ProxyHeader", "ProxyProtocolError", "read_header"]


#: Bytes of the longest header that is read; whoever holds as many holds all of it, or an error.
#: Version 2 can announce 65,551, but the specification counts on a header that is smaller than
#: one TCP segment (section 2.2), so hardly one exceeds 1,400.  The line is drawn where nginx
#: draws it, beyond what any sender needs and far below what a stranger could make us hold.
MAX_HEADER = 4096

# ---- what was told ---------------------------------------------------------------------------

_ALPN, _AUTHORITY, _CRC32C, _NOOP = 0x01, 0x02, 0x03, 0x04


class ProxyProtocolError(ValueError):
    """The peer sent something that is no PROXY header; ``str()`` is one line for the log."""


@record
class ProxyHeader:
    """What a proxy told about a connection.

    Args:
        source: the client, as the proxy saw it: host and port, or a UNIX path (``@name`` for an
            abstract one, ``""`` for a client without a name).  ``None`` if the proxy told
            nobody's address, as for its own health checks: the socket's addresses hold then.
        destination: what the client connected to; ``None`` whenever *source* is.
        tlvs: the further facts of version 2, as pairs of type and value in the order they came.
            Padding and the checksum have served their purpose and are not among them.

    Example::

        header, length = read_header(received)
        print(header.source or stream.peer)
    """

    source: Address | None
    destination: Address | None
    tlvs: tuple[tuple[int, bytes], ...] = ()

    @property
    def authority(self) -> str | None:
        """The host name that the client asked for (TLS: its SNI); ``None`` if not told."""
        return self._text(_AUTHORITY)

    @property
    def alpn(self) -> str | None:
        """The protocol that client and proxy agreed on (``h2``); ``None`` if not told."""
        return self._text(_ALPN)

    def _text(self, wanted: int) -> str | None:
        # The client chose these bytes and the proxy only passed them on, so they may be anything.
        return next((value.decode(errors="replace") for kind, value in self.tlvs if kind == wanted), None)


def read_header(data: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """Read the header at the beginning of *data*.

    Args:
        data: all that has come on the connection so far; it is not changed.

    Returns:
        The header and its length in bytes, after which the client's own begin; ``None`` as long
        as more bytes are needed, which is never so for :data:`MAX_HEADER` of them.

    Raises:
        ProxyProtocolError: nothing that follows can make a header of these bytes.

    Example::

        received = bytearray()
        while (found := read_header(received)) is None:
            more = await stream.receive_some()
            if not more:
                return  # it left before it had said who it is
            received += more
        header, length = found
        del received[:length]  # the rest is the client's
    """
    head = bytes(data[:MAX_HEADER])
    for beginning, read in _READERS.items():
        if head.startswith(beginning):
            return read(head)
        if beginning.startswith(head):
            return None
    raise ProxyProtocolError(
        f"a PROXY protocol header was wanted, but {_shown(head)} came: "
        "does this peer come past the proxy, or was the proxy not told to send it?"
    )


def _shown(head: bytes) -> str:
    """Enough of it to recognise an HTTP request, or a TLS hello, and little enough for a line."""
    return repr(head[:24]) + ("..." if len(head) > 24 else "")


# ---- version 1: a line of text (section 2.1) -------------------------------------------------

_V1_LIMIT = 107
_V1_FOREIGN = re.compile(rb"[^0-9A-Fa-f:. ]")
_V1_FIELDS = re.compile(r"([^ ]+) ([^ ]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})")


def _read_tcp4(head: bytes) -> tuple[ProxyHeader, int] | None:
    return _read_v1(head, socket.AF_INET)


def _read_tcp6(head: bytes) -> tuple[ProxyHeader, int] | None:
    return _read_v1(head, socket.AF_INET6)


def _read_unknown(head: bytes) -> tuple[ProxyHeader, int] | None:
    """The proxy does not know; whatever else it says in that line is to be ignored."""
    line, ended = _v1_line(head)
    return (ProxyHeader(None, None), len(line) + 2) if ended else None


def _read_v1(head: bytes, family: socket.AddressFamily) -> tuple[ProxyHeader, int] | None:
    line, ended = _v1_line(head)
    # No address is to be decoded before the line has ended, but what stands in none can be told.
    if foreign := _V1_FOREIGN.search(line, len("PROXY TCP4 ")):
        raise ProxyProtocolError(
            f"a PROXY line has no {foreign.group()!r} in its addresses, but {line!r} came"
        )
    if not ended:
        return None
    fields = _V1_FIELDS.fullmatch(line.decode("ascii"), len("PROXY TCP4 "))
    if fields is None:
        raise ProxyProtocolError(
            "a PROXY line names two addresses and two ports, one space apart and without leading zeros, "
            f"but {line!r} came"
        )
    source, destination, *ports = fields.groups()
    return ProxyHeader(
        (_v1_host(family, source, line), _v1_port(ports[0], line)),
        (_v1_host(family, destination, line), _v1_port(ports[1], line)),
    ), len(line) + 2


def _v1_line(head: bytes) -> tuple[bytes, bool]:
    """The line so far, and whether its end has come."""
    line, _, rest = head[:_V1_LIMIT].partition(b"\r")
    if b"\n" in line or not b"\n".startswith(rest[:1]) or len(line) > _V1_LIMIT - 2:
        raise ProxyProtocolError(
            f"a PROXY line ends with CR and LF, both of them, within {_V1_LIMIT} bytes, "
            f"but {head[:_V1_LIMIT]!r} came"
        )
    return line, rest != b""


def _v1_host(family: socket.AddressFamily, text: str, line: bytes) -> str:
    try:
        host = socket.inet_ntop(family, socket.inet_pton(family, text))
    except OSError:
        host = ""
    # An IPv4 address has one spelling, though POSIX lets a library forgive leading zeros.  The many
    # of an IPv6 address become the usual one, so that addresses can be compared.
    if not host or (family == socket.AF_INET and host != text):
        number = 4 if family == socket.AF_INET else 6
        raise ProxyProtocolError(f"a PROXY TCP{number} line names IPv{number} addresses, but {line!r} came")
    return host


def _v1_port(text: str, line: bytes) -> int:
    if int(text) > 65_535:
        raise ProxyProtocolError(f"a PROXY line's ports are at most 65535, but {line!r} came")
    return int(text)


# ---- version 2: a block of bytes (section 2.2) -----------------------------------------------

_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16  # bytes up to and with the length
_LOCAL, _PROXY = b"\x20", b"\x21"
_LAYOUTS = {1: struct.Struct("!4s4sHH"), 2: struct.Struct("!16s16sHH"), 3: struct.Struct("!108s108s")}


def _read_v2(head: bytes) -> tuple[ProxyHeader, int] | None:
    command, kind = head[12:13], head[13:14]
    if command not in {b"", _LOCAL, _PROXY}:
        raise ProxyProtocolError(
            f"a PROXY version 2 header goes on with 0x20 (LOCAL) or 0x21 (PROXY), but 0x{command.hex()} came"
        )
    layout = _v2_layout(kind[0]) if kind and command == _PROXY else None
    if len(head) < _V2_FIXED:
        return None
    length = _V2_FIXED + int.from_bytes(head[14:16], "big")
    _check_length(length, _V2_FIXED + layout.size if layout else _V2_FIXED)
    if len(head) < length:
        return None
    # Of a LOCAL connection the block is to be discarded; with an unspecified family nobody knows
    # where in it the addresses end and the TLVs begin.
    if layout is None:
        return ProxyHeader(None, None), length
    source, destination = _v2_addresses(layout, head)
    return ProxyHeader(source, destination, _v2_tlvs(head[:length], _V2_FIXED + layout.size)), length


def _v2_layout(kind: int) -> struct.Struct | None:
    """How addresses of this family are laid out; ``None`` if they are to be ignored."""
    family, transport = kind >> 4, kind & 0x0F
    if family > 3 or transport > 2:
        raise ProxyProtocolError(
            "a PROXY version 2 header names family 0 to 3 (unspecified, IPv4, IPv6, UNIX) and "
            f"transport 0 to 2 (unspecified, stream, datagram), but {family} and {transport} came"
        )
    return _LAYOUTS.get(family) if transport else None


def _check_length(length: int, least: int) -> None:
    if not least <= length <= MAX_HEADER:
        raise ProxyProtocolError(
            f"a PROXY version 2 header of {least} to {MAX_HEADER} bytes was wanted, but one of {length} came"
        )


def _v2_addresses(layout: struct.Struct, head: bytes) -> tuple[Address, Address]:
    source, destination, *ports = layout.unpack_from(head, _V2_FIXED)
    if not ports:
        return _unix_path(source), _unix_path(destination)
    family = socket.AF_INET if len(source) == 4 else socket.AF_INET6
    return (
        (socket.inet_ntop(family, source), ports[0]),
        (socket.inet_ntop(family, destination), ports[1]),
    )


def _unix_path(raw: bytes) -> str:
    """A path ends at its first NUL; an abstract name begins with one, and is filled up with others."""
    path, _, _ = raw.partition(b"\0")
    name = raw.strip(b"\0")
    return os.fsdecode(path if path or not name else b"@" + name)


def _v2_tlvs(header: bytes, start: int) -> tuple[tuple[int, bytes], ...]:
    """The pairs from *start* to the end of *header*."""
    tlvs = []
    checksums = []
    while start < len(header):
        kind, value = header[start], start + 3
        end = value + int.from_bytes(header[start + 1 : value], "big")
        if end > len(header):
            raise ProxyProtocolError(
                f"the last TLV of a PROXY header ends with it, but one of type 0x{kind:02x} "
                f"goes to byte {end} of {len(header)}"
            )
        if kind == _CRC32C:
            checksums.append((value, end))
        elif kind != _NOOP:
            tlvs.append((kind, header[value:end]))
        start = end
    if checksums:
        _verify(header, checksums)
    return tuple(tlvs)


def _verify(header: bytes, checksums: list[tuple[int, int]]) -> None:
    """Section 2.2.3: the checksum of the whole header, as if its own field were zero."""
    (start, end), *more = checksums
    if more or end - start != 4:
        raise ProxyProtocolError(
            "a PROXY header has one CRC32C checksum of 4 bytes at most, "
            f"but {len(checksums)} came, the first of {end - start} bytes"
        )
    told = int.from_bytes(header[start:end], "big")
    computed = _crc32c(header[:start] + bytes(4) + header[end:])
    if told != computed:
        raise ProxyProtocolError(
            f"a PROXY header with the CRC32C checksum {computed:08x} was wanted, but it says {told:08x}: "
            "was it changed on its way?"
        )


def _crc32c(data: bytes) -> int:
    """Castagnoli's CRC (RFC 4960, appendix B), bit by bit: the standard library has only others.

    A header is short and seldom has a checksum, so a table would not pay.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# A header has five beginnings, no two of which can be taken for each other.
_READERS = {
    b"PROXY TCP4 ": _read_tcp4,
    b"PROXY TCP6 ": _read_tcp6,
    b"PROXY UNKNOWN ": _read_unknown,
    b"PROXY UNKNOWN\r": _read_unknown,
    _V2_SIGNATURE: _read_v2,
}
