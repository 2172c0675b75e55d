"""Answers: what resolvers know, and the messages that say it.

An :class:`Answer` is what stands in a message behind the question, as bytes that are good for every
client who asks that question: its spelling of the name, its id and its limits are not in it.  So
an answer is made once, by whoever knows it, and each message is a header, the question as it came, and
those bytes; with fewer of them for a client that takes less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from .codes import (
    AUTHORITATIVE,
    CHECKING_DISABLED,
    NOERROR,
    NXDOMAIN,
    OPT,
    RECURSION_AVAILABLE,
    RECURSION_DESIRED,
    RESPONSE,
    SOA,
    TRUNCATED,
)
from .names import MalformedError
from .questions import HEADER, Query
from .records import Place, lifetime, places

__all__ = ["LARGEST", "PAYLOAD", "Answer", "aged", "failure", "made", "read_answer", "respond"]

#: The largest datagram that we send or ask for: one that no network on the way has to divide.
PAYLOAD = 1232

LARGEST = 65_535  #: the largest message by TCP, whose length is a number of 16 bits

_OPT = Struct("!BHHBBHH")  # root, type, size, upper bits of the code, version, flags, length of the options
_TTL = Struct("!I")
_DNSSEC_OK = 0x8000


class Answer(NamedTuple):
    """What a resolver says to a question.

    Made by :func:`made` from records, or by ``read_answer`` from somebody else's message.

    Args:
        code: how it went; 0 is well, also if there is nothing of the type that is wanted.
        counts: how many answers, authorities and additional records there are.
        body: the records, one after another.
        needed: so many bytes of it are answers and authorities; the rest is only kind.
        authoritative: said by whom it belongs to.
        lifetime: seconds for which it may be repeated.
        ttls: where in *body* the times to live stand that grow shorter meanwhile.
        alias: the name at which it goes on, if somebody else knows that.
    """

    code: int = NOERROR
    counts: tuple[int, int, int] = (0, 0, 0)
    body: bytes = b""
    needed: int = 0
    authoritative: bool = False
    lifetime: float = math.inf
    ttls: tuple[int, ...] = ()
    alias: bytes = b""


def made(
    answers: Sequence[bytes] = (),
    authorities: Sequence[bytes] = (),
    additional: Sequence[bytes] = (),
    *,
    code: int = NOERROR,
    authoritative: bool = True,
    alias: bytes = b"",
) -> Answer:
    """The answer that consists of these records, each in its wire form."""
    needed = b"".join([*answers, *authorities])
    counts = len(answers), len(authorities), len(additional)
    return Answer(code, counts, needed + b"".join(additional), len(needed), authoritative, alias=alias)


# ---- messages of ours


def respond(query: Query, answer: Answer, limit: int, recursive: bool) -> bytes:
    """The message that tells *answer*, in *limit* bytes.

    What does not fit is left out: first what is only kind, then everything, so that the client asks again
    by TCP (RFC 2181, section 9).

    Args:
        query: that is answered.
        answer: what is known.
        limit: in bytes, the client's own included.
        recursive: whether this client could have others asked.
    """
    flags = RESPONSE | query.flags & (RECURSION_DESIRED | CHECKING_DISABLED) | answer.code & 0xF
    if answer.authoritative:
        flags |= AUTHORITATIVE
    if recursive:
        flags |= RECURSION_AVAILABLE
    opt = _opt(query, answer)
    (answers, authorities, additional), body = answer.counts, answer.body
    room = limit - HEADER.size - len(query.wire) - len(opt)
    if len(body) > room:
        body, additional = body[: answer.needed], 0
        if len(body) > room:
            body, answers, authorities, flags = b"", 0, 0, flags | TRUNCATED
    header = HEADER.pack(query.id, flags, 1, answers, authorities, additional + bool(opt))
    return header + query.wire + body + opt


def _opt(query: Query, answer: Answer) -> bytes:
    """To a client who speaks of EDNS, the same; to others nothing."""
    if query.edns is None:
        return b""
    flags = _DNSSEC_OK if query.edns.dnssec_ok else 0
    return _OPT.pack(0, OPT, PAYLOAD, answer.code >> 4, 0, flags, 0)


def failure(data: bytes, code: int) -> bytes:
    """The message that refuses one of which nothing but the header is sure."""
    flags = RESPONSE | int.from_bytes(data[2:4], "big") & (0x7800 | RECURSION_DESIRED) | code
    return HEADER.pack(data[:2], flags, 0, 0, 0, 0)


# ---- messages of others


def read_answer(message: bytes, query: bytes) -> tuple[Answer, bool]:
    """What a server says to *query*, and whether it has more to say by TCP.

    Args:
        message: what came.
        query: what we had asked: a header, one question, and one record OPT.

    Raises:
        MalformedError: it is no answer to that question, or none that can be read.
    """
    end = len(query) - _OPT.size
    if (
        len(message) < end
        or message[:2] != query[:2]
        or message[HEADER.size : end] != query[HEADER.size : end]
    ):
        raise MalformedError("an answer to another question")
    _, flags, questions, *counts = HEADER.unpack_from(message)
    if not flags & RESPONSE or flags & 0x7800 or questions != 1:
        raise MalformedError("not an answer")
    found = list(places(message, end, sum(counts)))
    code = flags & 0xF
    for number, place in enumerate(found):
        if place.type == OPT:  # between us and them; what stands behind it may point into it
            code |= place.ttl >> 24 << 4
            counts[2] = number - counts[0] - counts[1]
            del found[number:]
            if counts[2] < 0:
                raise MalformedError("a record OPT among the answers")
            break
    needed = counts[0] + counts[1]
    answer = Answer(
        code,
        (counts[0], counts[1], counts[2]),
        message[end : found[-1].end] if found else b"",
        found[needed - 1].end - end if needed else 0,
        lifetime=_lifetime(message, code, counts[0], found),
        ttls=tuple(place.ttl_at - end for place in found),
    )
    return answer, bool(flags & TRUNCATED)


def _lifetime(message: bytes, code: int, answers: int, found: Sequence[Place]) -> float:
    """How long it may be kept; a No for as long as the zone's SOA says (RFC 2308, section 5)."""
    if code not in (NOERROR, NXDOMAIN):
        return 0
    shortest = min((lifetime(place.ttl) for place in found), default=0)
    if answers and code == NOERROR:
        return shortest
    for place in found[answers:]:
        if place.type == SOA and place.end - place.data_at >= 22:
            minimum = _TTL.unpack_from(message, place.end - _TTL.size)[0]
            return min(shortest, lifetime(minimum))
    return 0


def aged(answer: Answer, seconds: int) -> Answer:
    """The same answer, *seconds* later."""
    if not seconds or not answer.ttls:
        return answer
    body = bytearray(answer.body)
    for place in answer.ttls:
        _TTL.pack_into(body, place, max(lifetime(_TTL.unpack_from(body, place)[0]) - seconds, 0))
    return answer._replace(body=bytes(body), lifetime=answer.lifetime - seconds)
