"""``/etc/hosts`` as a resolver: addresses of names, and names of addresses.

All answers that the file can give are made when it is read, so to answer is to look up.

A name in the file belongs to it: when such a name is asked for something else than an address, the
answer is that there is no such thing, and nobody else is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import cast

from .answers import Answer, made
from .codes import AAAA, PTR, A
from .names import from_text
from .questions import Question
from .records import ASKED, encode
from .resolvers import FileResolver

__all__ = ["HostsResolver", "parse"]

#: What a name is to be answered, by the type of what is wanted.
Answers = Mapping[int, Answer]

_NOTHING = made()


class HostsResolver(FileResolver):
    """Answers by a file in the form of ``/etc/hosts``: A, AAAA, and PTR for the first name of an address.

    The file is read anew when it has changed.

    Args:
        path: of the file.
        ttl: seconds for which others may keep what it says.
        check_interval: seconds between two looks at whether it has changed.
        name: as for :class:`~trioservice.service.Service`; by default ``hosts``.

    Raises:
        CannotLoadError: out of ``main``, if the file cannot be read at the start.

    Example::

        DNSServer(5353, [HostsResolver("/etc/hosts")])
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = "/etc/hosts",
        *,
        ttl: int = 60,
        check_interval: float = 1.0,
        name: str | None = "hosts",
    ) -> None:
        super().__init__(path, check_interval=check_interval, name=name)
        if not 0 <= ttl < 1 << 31:
            raise ValueError(f"ttl is a number of seconds from 0 on, not {ttl!r}")
        self.ttl = ttl
        self._answers: Mapping[bytes, Answers] = {}

    def known(self, question: Question) -> Answer | None:
        """What the file says; ``None`` if it does not have the name."""
        answers = self._answers.get(question.name)
        return None if answers is None else answers.get(question.type, _NOTHING)

    def read(self) -> tuple[object, int, int]:
        """Read the file and make all answers."""
        with open(self.file, encoding="utf-8", errors="replace") as file:
            names, unread = parse(file, self.ttl)
        return names, len(names), unread

    def take(self, said: object) -> None:
        """Answer by what the file says now."""
        self._answers = cast("Mapping[bytes, Answers]", said)


def parse(lines: Iterable[str], ttl: int) -> tuple[dict[bytes, Answers], int]:
    """The answers that these lines give, and how many of them say nothing that can be served.

    Args:
        lines: ``ADDRESS NAME [NAME ...]``; what follows a ``#`` is a comment.
        ttl: of the records.
    """
    data: dict[bytes, dict[int, list[bytes]]] = {}
    unread = 0
    for line in lines:
        words = line.partition("#")[0].split()
        if words:
            try:
                _add(data, words)
            except ValueError:
                unread += 1
    return {
        name: {type: _answer(type, ttl, of) for type, of in by.items()} for name, by in data.items()
    }, unread


def _add(data: dict[bytes, dict[int, list[bytes]]], words: list[str]) -> None:
    """Add what one line says; ValueError, when it is through, if that is not all of it."""
    address = ip_address(words[0])
    if getattr(address, "scope_id", None):
        raise ValueError("an address that means something on one interface only")
    names = []
    for word in words[1:]:
        with suppress(ValueError):
            names.append(from_text(word))
    for name in names:
        known = data.setdefault(name, {}).setdefault(A if address.version == 4 else AAAA, [])
        if address.packed not in known:
            known.append(address.packed)
    if names:
        data.setdefault(from_text(address.reverse_pointer), {}).setdefault(PTR, [names[0]])
    if len(names) < len(words) - 1 or not names:
        raise ValueError("a name that cannot be one, or none at all")


def _answer(type: int, ttl: int, data: list[bytes]) -> Answer:
    return made(encode(ASKED, type, ttl, data))
