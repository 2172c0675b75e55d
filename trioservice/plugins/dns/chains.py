"""Aliases that lead elsewhere: from a zone of ours to a name that another resolver knows.

Such a chain is told as one answer, since few clients follow it themselves.  Its parts come from different
messages, in which names point at each other, so dnspython takes the second part apart; that is slow, rare,
and nothing to be done twice by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .answers import LARGEST, Answer, made, respond
from .codes import IN, REFUSED, SERVFAIL
from .questions import Query, Question
from .records import encode

if TYPE_CHECKING:
    from dns.rrset import RRset

__all__ = ["joined"]


def joined(first: Answer, then: Answer, question: Question) -> Answer:
    """One answer of two: *first* leads to the name of *question*, to which *then* is what is said.

    Where nobody may say more, the first is all that we have; where somebody failed, we have failed.
    """
    if then.code == REFUSED:
        return first._replace(alias=b"")
    if then.code == SERVFAIL:
        return then
    import dns.message

    asked = question.name + question.type.to_bytes(2, "big") + IN.to_bytes(2, "big")
    query = Query(b"\0\0", 0, asked, question.name, question.type, IN, None)
    message = dns.message.from_wire(respond(query, then, LARGEST, False))
    told = made(
        [first.body[: first.needed], *_records(message.answer)],
        _records(message.authority),
        code=then.code,
        authoritative=first.authoritative,
    )
    answers = told.counts[0] - 1 + first.counts[0]
    return told._replace(
        counts=(answers, *told.counts[1:]), lifetime=min(first.lifetime, then.lifetime), alias=then.alias
    )


def _records(rrsets: Iterable[RRset]) -> list[bytes]:
    return [
        record
        for rrset in rrsets
        for record in encode(
            rrset.name.to_wire() or b"\0",
            int(rrset.rdtype),
            rrset.ttl,
            [rdata.to_wire() or b"" for rdata in rrset],
        )
    ]
