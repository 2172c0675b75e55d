"""Which compressed sibling of a file a client takes: ``Accept-Encoding`` (RFC 9110, 12.5.3).  Pure."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["CODINGS", "taken"]

#: What may stand beside a file, the smallest first: the name of its coding, and the end of its name.
CODINGS = {"br": ".br", "gzip": ".gz"}

_ITEM = re.compile(r"\s*([\w*+.-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")


@lru_cache(maxsize=256)  # browsers have few ways to say it
def taken(accept_encoding: bytes | None) -> tuple[str, ...]:
    """The codings of :data:`CODINGS` that a client takes, first what it likes best, then what is smallest."""
    if not accept_encoding:
        return ()
    wishes: dict[str, float] = {}
    for item in accept_encoding.decode("latin-1").lower().split(","):
        found = _ITEM.fullmatch(item)
        if found is not None:
            wishes[found[1]] = float(found[2] or 1)
    others = wishes.get("*", 0.0)
    liked = {coding: wishes.get(coding, others) for coding in CODINGS}
    return tuple(sorted((coding for coding in CODINGS if liked[coding]), key=lambda coding: -liked[coding]))
