"""Resource records in their wire form: an owner, a type, a class, a time to live, and data (RFC 1035, 4.1.3).

An answer's records mostly belong to the name that was asked for, and that stands in every message at
the same place, right behind the header.  So such an owner is two bytes, a pointer to there, and
the record fits into any answer to any spelling of that name.  Other names are written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct, error
from typing import NamedTuple

from .codes import IN
from .names import MalformedError, end_of_name

__all__ = ["ASKED", "Place", "encode", "places"]

#: The owner of a record, where that is the name that was asked for.
ASKED = b"\xc0\x0c"

_FIXED = Struct("!HHIH")
_LONGEST_TTL = (1 << 31) - 1


def encode(owner: bytes, type: int, ttl: int, data: Iterable[bytes]) -> list[bytes]:
    """A record for each of *data*, all of one owner and type.

    Args:
        owner: :data:`ASKED`, or a name in its wire form.
        type: of the records.
        ttl: seconds for which they may be kept.
        data: of each record, without names that point elsewhere.
    """
    return [owner + _FIXED.pack(type, IN, ttl, len(one)) + one for one in data]


class Place(NamedTuple):
    """Where a record stands in a message, and what of it can be seen without reading its data.

    Args:
        start: of the record.
        type: its type.
        size: its class, but of the record OPT the size of datagrams.
        ttl: its time to live; an absurd one is 0 (RFC 2181, section 8).  Of OPT the flags, in any case.
        ttl_at: where that stands.
        data_at: where the data begins.
        end: where it ends.
    """

    start: int
    type: int
    size: int
    ttl: int
    ttl_at: int
    data_at: int
    end: int


def places(message: bytes, start: int, count: int) -> Iterator[Place]:
    """Where the next *count* records stand, from *start* on.

    Raises:
        MalformedError: there are not so many.
    """
    for _ in range(count):
        fixed = end_of_name(message, start)
        try:
            type, size, ttl, length = _FIXED.unpack_from(message, fixed)
        except error:
            raise MalformedError("the message ends within a record") from None
        data = fixed + _FIXED.size
        if data + length > len(message):
            raise MalformedError("the message ends within a record's data")
        yield Place(start, type, size, ttl, fixed + 4, data, data + length)
        start = data + length


def lifetime(ttl: int) -> int:
    """The seconds that a time to live stands for: none, if it is absurd (RFC 2181, section 8)."""
    return ttl if ttl <= _LONGEST_TTL else 0
