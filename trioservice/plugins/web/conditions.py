"""Whether a client has it already, and which part of it is wanted (RFC 9110, 13 and 14).  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple

__all__ = ["CONDITIONS", "Asked", "Part", "answer_to", "etag_of", "http_date", "part_of"]

#: The headers of a request that are weighed here.
CONDITIONS = frozenset(
    [b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"range"]
)

#: Those that a request has, by their names in lower case, all lines of one as one.
Asked = Mapping[bytes, bytes]

_TAG = re.compile(rb'(?:W/)?"[^"]*"')
_RANGE = re.compile(rb"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.IGNORECASE)

# Longer numbers are none that a file has, and Python would take its time for them.
_DIGITS = 19


class Part(NamedTuple):
    """A part of a file: from which byte on, and how many."""

    start: int
    length: int


def etag_of(mtime_ns: int, size: int) -> bytes:
    """A tag for what a file holds: another one when it was written again, or has another size."""
    return b'"%x-%x"' % (mtime_ns, size)


@lru_cache(maxsize=1024)  # files that are asked for again have the same one
def http_date(seconds: int) -> bytes:
    """A moment since 1970, as HTTP writes it (RFC 9110, 5.6.7)."""
    return formatdate(seconds, usegmt=True).encode("ascii")


def answer_to(asked: Asked, etag: bytes, modified: float) -> int:
    """The status that the conditions of a GET or HEAD lead to: 200, 304 or 412 (RFC 9110, 13.2.2).

    Args:
        asked: the conditions of the request.
        etag: of what is there now.
        modified: when it was, in seconds since 1970.
    """
    if_match, since = asked.get(b"if-match"), asked.get(b"if-unmodified-since")
    if if_match is not None:
        if not _matches(if_match, etag, weakly=False):
            return 412
    elif since is not None and _is_later(modified, since):
        return 412
    if_none_match, since = asked.get(b"if-none-match"), asked.get(b"if-modified-since")
    if if_none_match is not None:
        return 304 if _matches(if_none_match, etag, weakly=True) else 200
    if since is not None and not _is_later(modified, since, unknown=True):
        return 304
    return 200


def part_of(asked: Asked, size: int, etag: bytes, modified: float) -> Part | None:
    """The part of a file that is wanted; ``None`` for all of it.

    Several ranges in one request, units other than bytes and what cannot be read are answered with the whole,
    as a server may (RFC 9110, 14.2); and so is a range of what has changed since (``If-Range``).

    Raises:
        ValueError: there is no such part (416).
    """
    wanted = asked.get(b"range")
    found = None if wanted is None else _RANGE.fullmatch(wanted)
    if found is None or not _is_still(asked.get(b"if-range"), etag, modified):
        return None
    first, last = (number and (number.lstrip(b"0")[:_DIGITS] or b"0") for number in found.groups())
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        return _part(size - length, size - 1, size)
    if last and int(last) < int(first):
        return None
    return _part(int(first), min(int(last or size), size - 1), size)


def _part(first: int, last: int, size: int) -> Part:
    if first > last or first >= size:
        raise ValueError(f"the file has {size} bytes only")
    return Part(first, last - first + 1)


def _is_still(if_range: bytes | None, etag: bytes, modified: float) -> bool:
    if if_range is None:
        return True
    if if_range.startswith((b'"', b"W/")):
        return if_range == etag
    return _seconds(if_range) == int(modified)


def _matches(tags: bytes, etag: bytes, *, weakly: bool) -> bool:
    """Whether *etag* is among *tags* (RFC 9110, 8.8.3.2); ours are strong."""
    if tags.strip() == b"*":
        return True
    found = _TAG.findall(tags)
    return etag in found or (weakly and b"W/" + etag in found)


def _is_later(modified: float, date: bytes, *, unknown: bool = False) -> bool:
    """Whether it was modified after *date*; *unknown* if that is no date."""
    seconds = _seconds(date)
    return unknown if seconds is None else int(modified) > seconds


def _seconds(date: bytes) -> int | None:
    try:
        moment = parsedate_to_datetime(date.decode("ascii"))
        if moment.tzinfo is None:  # asctime's form names none, and means UTC (RFC 9110, 5.6.7)
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp())
    except (ValueError, OverflowError, TypeError):
        return None
