"""Questions: what a client has sent, read with distrust.

A datagram may come from anybody, in anybody's name, and have any bytes.  What is not a question of the one
form that is answered, is refused by its header alone, or not answered at all; and an answer to
the wrong kind of message (another answer, say) would make two servers talk to each other for ever.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from .codes import CHECKING_DISABLED, OPT
from .names import ROOT, MalformedError, end_of_plain_name
from .records import Place, places

__all__ = ["HEADER", "SMALLEST", "Edns", "Query", "Question", "is_answerable", "read_query"]

HEADER = Struct("!2sHHHHH")  #: id, flags, and how many questions, answers, authorities and additional ones
SMALLEST = 512  #: what every client takes by UDP, in bytes (RFC 1035, 4.2.1)

_TYPE_AND_CLASS = Struct("!HH")
_OPTION = Struct("!HH")
_DNSSEC_OK = 0x8000


class Question(NamedTuple):
    """What is asked, as far as the answer depends on it; the key by which answers are kept.

    Args:
        name: in its wire form, in lower case.
        type: of the records that are wanted.
        dnssec_ok: signatures are wanted too.
        checking_disabled: answers that nobody has verified are wanted too.
    """

    name: bytes
    type: int
    dnssec_ok: bool = False
    checking_disabled: bool = False


class Edns(NamedTuple):
    """What a client says of itself (RFC 6891).

    Args:
        size: of the datagrams that it takes.
        version: of this extension.
        dnssec_ok: whether it wants signatures.
    """

    size: int
    version: int
    dnssec_ok: bool


class Query(NamedTuple):
    """A message that asks.

    Args:
        id: two bytes that the answer repeats.
        flags: of the header.
        wire: the question, as it was spelt.
        name: the same name in lower case.
        type: what is wanted.
        cls: of which class; the answer is refused for all but IN.
        edns: ``None`` for a client that knows nothing of it.
    """

    id: bytes
    flags: int
    wire: bytes
    name: bytes
    type: int
    cls: int
    edns: Edns | None

    @property
    def question(self) -> Question:
        """What resolvers are asked."""
        checking_disabled = bool(self.flags & CHECKING_DISABLED)
        return Question(
            self.name, self.type, self.edns is not None and self.edns.dnssec_ok, checking_disabled
        )

    @property
    def room(self) -> int:
        """The largest datagram that the client takes."""
        return SMALLEST if self.edns is None else max(self.edns.size, SMALLEST)


def is_answerable(data: bytes) -> bool:
    """Whether there is a header, and it is not that of an answer."""
    return len(data) >= HEADER.size and not data[2] & 0x80


def read_query(data: bytes) -> Query:
    """The query that a message of opcode 0 is.

    Raises:
        MalformedError: it is none.
    """
    id, flags, questions, answers, authorities, additional = HEADER.unpack_from(data)
    if questions != 1 or answers or authorities:
        raise MalformedError("not one question, or more than a question")
    end = end_of_plain_name(data, HEADER.size)
    if len(data) < end + _TYPE_AND_CLASS.size:
        raise MalformedError("the message ends within its question")
    type, cls = _TYPE_AND_CLASS.unpack_from(data, end)
    wire = data[HEADER.size : end + _TYPE_AND_CLASS.size]
    edns = _edns(data, end + _TYPE_AND_CLASS.size, additional)
    return Query(id, flags, wire, wire[: -_TYPE_AND_CLASS.size].lower(), type, cls, edns)


def _edns(data: bytes, start: int, count: int) -> Edns | None:
    """What is said in the additional records, which have to be the end of the message."""
    found = None
    for place in places(data, start, count):
        start = place.end
        if place.type == OPT:
            if found is not None or data[place.start : place.start + 1] != ROOT:
                raise MalformedError("two records OPT, or one with a name")
            found = _opt(data, place)
    if start != len(data):
        raise MalformedError("more than the header says")
    return found


def _opt(data: bytes, place: Place) -> Edns:
    here = place.data_at
    while here < place.end:  # options: what they say does not matter, but it must be all of them
        if place.end - here < _OPTION.size:
            raise MalformedError("half an option")
        here += _OPTION.size + _OPTION.unpack_from(data, here)[1]
    if here != place.end:
        raise MalformedError("half an option")
    return Edns(place.size, place.ttl >> 16 & 0xFF, bool(place.ttl & _DNSSEC_OK))
