"""What is said in HTTP: requests, what may be asked for, and what became of it.  Pure.

Names of headers are bytes in lower case, values are bytes, as ASGI has them: nothing is decoded that
nobody asks for, and what was said can be passed on as it was.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import NamedTuple, overload
from urllib.parse import unquote

from ..records import record
from .addresses import Address

__all__ = ["Answered", "HTTPLimits", "Headers", "Request", "authority_of"]


class Headers(list[tuple[bytes, bytes]]):
    """The headers of a request, in the order in which they came: pairs of name, in lower case, and value."""

    __slots__ = ()

    @overload
    def get(self, name: bytes) -> bytes | None: ...
    @overload
    def get(self, name: bytes, default: bytes) -> bytes: ...

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:
        """The value of the first header of this *name*, or *default*."""
        for other, value in self:
            if other == name:
                return value
        return default

    def get_all(self, name: bytes) -> list[bytes]:
        """The values of all headers of this *name*."""
        return [value for other, value in self if other == name]

    def get_list(self, name: bytes) -> bytes | None:
        """The values of all headers of this *name* as one: a list may be said in several (RFC 9110, 5.3)."""
        values = [value for other, value in self if other == name]
        return b", ".join(values) if values else None

    def pick(self, names: Container[bytes]) -> dict[bytes, bytes]:
        """The headers of these *names* that are there, each as :meth:`get_list` tells it, in one pass."""
        picked: dict[bytes, bytes] = {}
        for name, value in self:
            if name in names:
                picked[name] = b", ".join((picked[name], value)) if name in picked else value
        return picked


class Request(NamedTuple):
    """One request, without its body."""

    method: str
    target: bytes  #: as it was asked for: ``b"/a%20b?c=d"``
    http_version: str  #: ``"1.1"`` or ``"1.0"``
    headers: Headers

    @property
    def raw_path(self) -> bytes:
        """The path of the target, as it came."""
        return self.parts()[1]

    @property
    def path(self) -> str:
        """The path of the target, with what was written as ``%20`` in plain characters."""
        return self.parts()[0]

    @property
    def query(self) -> bytes:
        """What stands after the ``?`` of the target, as it came."""
        return self.parts()[2]

    def parts(self) -> tuple[str, bytes, bytes]:
        """:attr:`path`, :attr:`raw_path` and :attr:`query` at once, for those who need more than one."""
        target = self.target
        if not target.startswith(b"/"):
            target = _in_origin_form(target)
        raw_path, _, query = target.partition(b"?")
        path = raw_path.decode("ascii")
        return unquote(path) if "%" in path else path, raw_path, query


_ABSOLUTE = re.compile(rb"[a-zA-Z][-+.0-9a-zA-Z]*://([^/?]*)")


def authority_of(target: bytes) -> bytes | None:
    """The host that a target names by itself: that of ``http://host/path``, and none of ``/path``."""
    found = _ABSOLUTE.match(target)
    return None if found is None else found[1]


def _in_origin_form(target: bytes) -> bytes:
    """*target* without what only proxies are told: ``http://host/path`` is ``/path`` (RFC 9112, 3.2.2)."""
    found = _ABSOLUTE.match(target)
    if found is None:
        return target
    rest = target[found.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


@record
class Answered:
    """One request and what became of it, for an access log.

    Args:
        peer: who asked.
        request: what was asked; ``None`` if it was no HTTP.
        status: of the answer.
        bytes: of the answer's body, that were sent.
        seconds: from the end of the request's head to the end of the answer.
    """

    peer: Address
    request: Request | None
    status: int
    bytes: int
    seconds: float


@record
class HTTPLimits:
    """How much a client may ask for, and how long it may take.

    It is looked now and then who is out of time, so times may be exceeded by a quarter, or a second.

    ``None`` is no limit, where it is the default; a time may be ``math.inf``.

    Args:
        header_bytes: of the request line and the headers together; more is answered with 431.
        header_count: likewise, how many.
        body_bytes: of a request's body; more is answered with 413.
        header_timeout: seconds from a request's first byte (for the first of a connection, from the
            connection) to the end of its headers; more is answered with 408.
        body_timeout: seconds that are waited for a body, all in all, and one more for each 500 bytes of it.
        request_timeout: seconds from the end of a request's head to the end of its answer; the handler is
            cancelled then, and if it has not begun to answer, 503 is said.
        send_timeout: seconds without progress of an answer, as the client does not take it.
        keep_alive: seconds that a connection is kept for a next request.
        concurrency: requests that are handled at one time; more are answered with 503.
        retry_after: seconds after which those are invited to try again.

    Raises:
        ValueError: a limit that cannot be one.
    """

    header_bytes: int = 64 * 1024
    header_count: int = 100
    body_bytes: int | None = None
    header_timeout: float = 10.0
    body_timeout: float = 20.0
    request_timeout: float | None = None
    send_timeout: float = 60.0
    keep_alive: float = 75.0
    concurrency: int | None = None
    retry_after: int = 1

    def __post_init__(self) -> None:
        for name in ("header_bytes", "header_count", "body_bytes", "concurrency", "retry_after"):
            value = getattr(self, name)
            self._require(name, isinstance(value, int) and value >= 0, "a whole number, from 0 on")
        for name in ("header_timeout", "body_timeout", "send_timeout", "keep_alive", "request_timeout"):
            value = getattr(self, name)
            self._require(name, isinstance(value, int | float) and value > 0, "a number of seconds above 0")

    def _require(self, name: str, is_so: bool, wanted: str) -> None:
        may_be_none = name in ("body_bytes", "concurrency", "request_timeout")
        if not (is_so or (may_be_none and getattr(self, name) is None)):
            given = getattr(self, name)
            raise ValueError(f"{name} is {wanted}{', or None' if may_be_none else ''}, not {given!r}")
