"""Heads of answers: what is told, what is added, and how the body will end.  Pure.

The server decides how a body is framed and whether the connection is kept, since it knows what the
client can understand and what comes next.  So of a handler's headers it keeps all but those two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

__all__ = ["Framing", "Head", "Stamp", "compose", "phrase_of"]


class Framing(Enum):
    """How a client knows where an answer's body ends."""

    NONE = "there is none"
    LENGTH = "by its length"
    CHUNKED = "by the empty chunk"
    CLOSE = "by the end of the connection"


_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def phrase_of(status: int) -> str:
    """The words that go with *status*."""
    return _PHRASES.get(status, "")


class Head(NamedTuple):
    """The head of an answer, but for the moment that it tells; and what follows from it."""

    status_line: bytes
    others: bytes
    given: frozenset[bytes]  #: of the headers that are stamped
    framing: Framing  #: how the body ends
    left: int  #: to be sent of the body; 1, if nobody knows
    close: bool  #: the connection ends with it


def compose(
    method: str,
    version: str,
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    length: int | None,
    close: bool,
) -> Head:
    """The head of an answer.

    Args:
        method: of the request that is answered.
        version: of HTTP, in which it was asked: ``"1.1"`` or ``"1.0"``.
        status: from 200 on.
        headers: of the handler.
        length: of the body, where all of it is there.
        close: the connection will not be kept.

    Raises:
        ValueError: this cannot be sent.
    """
    told, head_only, knows_chunks = tuple(headers), method == "HEAD", version == "1.1"
    try:
        return _head(status, told, length, close, head_only, knows_chunks)
    except TypeError:  # lists, as some have them, are not known again
        told = tuple([(name, value) for name, value in told])
        return _head(status, told, length, close, head_only, knows_chunks)


class Stamp:
    """The headers ``date`` and ``server``, as they are sent; they are written once a second.

    Args:
        server: what the server is called; ``b""`` to keep that to oneself.
    """

    def __init__(self, server: bytes) -> None:
        self._second = -1
        self._server = _line(b"server", server) if server else b""
        self._both = b""

    def put_on(self, head: Head, now: float) -> bytes:
        """*head* as it is sent at *now*, seconds since 1970; the handler's own two headers are preferred."""
        if not self._second <= now < self._second + 1:
            self._second = int(now)
            self._both = _line(b"date", formatdate(self._second, usegmt=True).encode("ascii")) + self._server
        stamped = self._without(head.given) if head.given else self._both
        return head.status_line + stamped + head.others

    def _without(self, given: frozenset[bytes]) -> bytes:
        date, end, _ = self._both.partition(b"\r\n")
        return (date + end) * (b"date" not in given) + self._server * (b"server" not in given)


@lru_cache(512)  # most heads have been sent before
def _head(
    status: int,
    headers: tuple[tuple[bytes, bytes], ...],
    length: int | None,
    close: bool,
    head_only: bool,
    knows_chunks: bool,
) -> Head:
    lines, given, told = [], set(), None
    for name, value in headers:
        kind = name.lower()
        if kind == b"content-length":
            told = _length(value)
        elif kind == b"connection":
            close = close or b"close" in value.lower()
        elif kind != b"transfer-encoding":
            lines.append(_line(name, value))
            given.add(kind)
    framing, length = _framing(status, told, length, head_only, knows_chunks)
    if length is not None:
        lines.append(b"content-length: %d\r\n" % length)
    elif framing is Framing.CHUNKED:
        lines.append(b"transfer-encoding: chunked\r\n")
    close = close or framing is Framing.CLOSE
    if close:
        lines.append(b"connection: close\r\n")
    elif not knows_chunks:  # a client that speaks HTTP/1.0, and wants to be told
        lines.append(b"connection: keep-alive\r\n")
    left = 0 if framing is Framing.NONE else 1 if length is None else length
    stamped = frozenset(given) & {b"date", b"server"}
    return Head(_status_line(status), b"".join([*lines, b"\r\n"]), stamped, framing, left, close)


def _framing(
    status: int, told: int | None, length: int | None, head_only: bool, knows_chunks: bool
) -> tuple[Framing, int | None]:
    """How the body ends, and its length, as it is told."""
    if status == 204:
        return Framing.NONE, None
    if status == 304 or head_only:
        return Framing.NONE, told if told is not None else length or None
    if length is not None and told not in (None, length):
        raise ValueError(f"content-length says {told}, and the body has {length} bytes")
    if length is not None or told is not None:
        return Framing.LENGTH, told if length is None else length
    return (Framing.CHUNKED if knows_chunks else Framing.CLOSE), None


def _length(value: bytes) -> int:
    if not value.isdigit():
        raise ValueError(f"content-length is a number of bytes, not {value!r}")
    return int(value)


def _status_line(status: int) -> bytes:
    if not (isinstance(status, int) and 200 <= status <= 999):
        raise ValueError(f"an answer's status is a number from 200 to 999, not {status!r}")
    return f"HTTP/1.1 {int(status)} {phrase_of(status)}\r\n".encode("ascii")


# RFC 9110, 5.1 and 5.5.
_HEADER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [^\0\r\n]*\r\n")


def _line(name: bytes, value: bytes) -> bytes:
    """A header as it is sent.

    Raises:
        ValueError: it cannot be sent; most of all, if it would be two.
    """
    try:
        line = b"%b: %b\r\n" % (name, value)
    except TypeError:
        raise ValueError(f"a header is a pair of bytes, not {name!r} and {value!r}") from None
    if _HEADER.fullmatch(line) is None:
        raise ValueError(f"{name!r}: {value!r} is no header that can be sent")
    return line
