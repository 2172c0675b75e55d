"""The desk: where a question is handed in, from whatever door, and its answer is given out.

Most questions are answered at once, in the callback that brought them.  The same question comes
again and again, to the byte: so for a second the desk remembers what it said to each, and
says it again under another id, without having read it.  It remembers for no longer, so times to live
grow shorter, files that are read again are believed, and answers run out, within that second,
and nobody has to be told.

Questions for which others have to be asked are handed back, for the door to wait (an ``Errand``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import trio

from ...net.events import Throttle
from ...records import record
from .answers import LARGEST, Answer, failure, respond
from .chains import joined
from .codes import BADVERS, FORMERR, IN, META, NOTIMP, OPT, RECURSION_DESIRED, REFUSED, SERVFAIL
from .names import MalformedError
from .questions import Query, Question, is_answerable, read_query
from .resolvers import Resolver

__all__ = ["DNSStatistics", "Desk", "Errand"]

_MOST_REMEMBERED = 10_000  # messages, or clients
_REMEMBERED_FOR = 1.0  # seconds
_LONGEST_CHAIN = 8  # resolvers to which one alias after another may lead

_REFUSED, _SERVFAIL, _FORMERR = (Answer(code) for code in (REFUSED, SERVFAIL, FORMERR))
_BADVERS = Answer(BADVERS)


@record
class DNSStatistics:
    """What a server of names has done since it was made.

    Args:
        questions: messages that could be questions.
        repeated: of those, answered as a moment ago, without having been read again.
        forwarded: of those, for which others had to be asked.
        refused: of those, not ours to answer, or not to this client.
        malformed: of those, not what the RFCs allow.
        failed: of those, that ended with an error of a resolver, or found too many waiting.
    """

    questions: int = 0
    repeated: int = 0
    forwarded: int = 0
    refused: int = 0
    malformed: int = 0
    failed: int = 0


class Errand(NamedTuple):
    """A question for which others have to be asked.

    Args:
        query: it.
        question: what the resolver is asked.
        resolver: who asks.
        limit: of the answer, in bytes.
        before: what is known already, and has led here.
    """

    query: Query
    question: Question
    resolver: Resolver
    limit: int
    before: Answer | None = None


class Desk:
    """Finds who answers a question, and makes the message.

    Args:
        resolvers: who are asked, in this order.
        allow_recursion: networks of those for whom others are asked.
        tell: is told what a resolver raised, and how often it was not told since the last time.
    """

    def __init__(
        self,
        resolvers: Iterable[Resolver],
        allow_recursion: Sequence[str],
        tell: Callable[[Exception, int], None],
    ) -> None:
        self.resolvers = tuple(resolvers)
        self._networks = tuple(map(_network, allow_recursion))
        self._is_recursive = any(resolver.recursive for resolver in self.resolvers)
        self._friends: dict[str, bool] = {}
        self._remembered: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
        self._remembered_until = 0.0
        self._tell, self._throttle = tell, Throttle()
        self.questions = self.repeated = self.forwarded = self.refused = self.malformed = self.failed = 0

    def statistics(self) -> DNSStatistics:
        """A snapshot of its counters."""
        return DNSStatistics(
            self.questions, self.repeated, self.forwarded, self.refused, self.malformed, self.failed
        )

    # ---- what is said at once

    def repeat_or_answer(self, data: bytes, host: str, limit: int) -> bytes | Errand | None:
        """As :meth:`answer`; a message that came within the last second is answered without being read.

        Args:
            data: the message that came.
            host: the address from which it came.
            limit: of the answer, in bytes; always the same.
        """
        now = trio.current_time()
        if now >= self._remembered_until:
            self._remembered = ({}, {})
            self._remembered_until = now + _REMEMBERED_FOR
        remembered = self._remembered[self._is_recursive and self.is_friend(host)]
        known = remembered.get(data[2:])
        if known is not None:
            self.questions += 1
            self.repeated += 1
            return data[:2] + known
        said, may_be_repeated = self._answer(data, host, limit)
        if may_be_repeated and isinstance(said, bytes) and len(remembered) < _MOST_REMEMBERED:
            remembered[data[2:]] = said[2:]
        return said

    def answer(self, data: bytes, host: str, limit: int | None) -> bytes | Errand | None:
        """The message that answers *data*, or the errand that it takes; ``None`` for what is not answered.

        Args:
            data: the message that came.
            host: the address from which it came.
            limit: of a datagram, in bytes, where the client does not set a lower one; ``None`` by TCP.
        """
        return self._answer(data, host, limit)[0]

    def _answer(self, data: bytes, host: str, limit: int | None) -> tuple[bytes | Errand | None, bool]:
        """The same, and whether it may be said again to the same bytes."""
        if not is_answerable(data):
            return None, False
        self.questions += 1
        if data[2] & 0x78:  # an opcode besides QUERY
            self.refused += 1
            return failure(data, NOTIMP), False
        try:
            query = read_query(data)
        except MalformedError:
            self.malformed += 1
            return failure(data, FORMERR), False
        limit = LARGEST if limit is None else min(query.room, limit)
        friend = self._is_recursive and self.is_friend(host)
        recursive = friend and bool(query.flags & RECURSION_DESIRED)
        answer = _refusal(query) or self._look_up(query, limit, recursive)
        if isinstance(answer, Errand):
            self.forwarded += 1
            return answer, False
        self.refused += answer is _REFUSED
        return respond(query, answer, limit, friend), answer.lifetime >= _REMEMBERED_FOR

    def _look_up(self, query: Query, limit: int, recursive: bool) -> Answer | Errand:
        """What is known, or what has to be asked; what goes wrong ends this question only (rule L16)."""
        try:
            return self._follow(query, limit, recursive)
        except Exception as error:  # noqa: BLE001 - resolvers may be the user's; it is told and counted
            return self._failed(error)

    def _follow(self, query: Query, limit: int, recursive: bool) -> Answer | Errand:
        """What is known, however far aliases lead."""
        question, before = query.question, None
        for _ in range(_LONGEST_CHAIN):
            found = self._known(question, recursive)
            if isinstance(found, Resolver):
                return Errand(query, question, found, limit, before)
            before = found if before is None else joined(before, found, question)
            if not before.alias:
                return before
            question = question._replace(name=before.alias)
        return _SERVFAIL  # no chain that is meant is so long

    def _known(self, question: Question, recursive: bool) -> Answer | Resolver:
        """What is known to the first who knows, or the first who would have to ask."""
        for resolver in self.resolvers:
            if recursive or not resolver.recursive:
                answer = resolver.known(question)
                if answer is not None:
                    return answer
                if resolver.recursive:
                    return resolver
        return _REFUSED

    # ---- what takes time

    async def run(self, errand: Errand) -> bytes:
        """The message that answers an errand, when it is done."""
        try:
            answer = await errand.resolver.find(errand.question)
            if errand.before is not None:
                answer = joined(errand.before, answer, errand.question)
        except Exception as error:  # noqa: BLE001 - L16, as above
            answer = self._failed(error)
        return respond(errand.query, answer, errand.limit, True)

    def decline(self, errand: Errand) -> bytes:
        """The message for somebody who finds too many waiting."""
        self.failed += 1
        return respond(errand.query, _SERVFAIL, errand.limit, True)

    def _failed(self, error: Exception) -> Answer:
        self.failed += 1
        if self._throttle.passes(trio.current_time()):
            self._tell(error, self._throttle.held_back())
        return _SERVFAIL

    # ---- for whom

    def is_friend(self, host: str) -> bool:
        """Whether others are asked for the client at this address."""
        friend = self._friends.get(host)
        if friend is None:
            if len(self._friends) >= _MOST_REMEMBERED:
                self._friends.clear()
            address = ip_address(host)
            friend = self._friends[host] = any(address in network for network in self._networks)
        return friend


def _refusal(query: Query) -> Answer | None:
    """What is answered without asking what is known, if anything is."""
    if query.edns is not None and query.edns.version:
        return _BADVERS
    if query.type == OPT:
        return _FORMERR
    if query.cls != IN or query.type in META:
        return _REFUSED
    return None


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no network such as 192.168.0.0/16: {error}") from None
