"""From the path of a request to names below a folder; what could lead elsewhere is refused here.  Pure.

A path is split first and decoded then, so that no ``%2F`` becomes a border.  What is refused is not there,
for who asks (404): to say more would tell what is.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

__all__ = ["Place", "place_of"]

# The one folder with a dot that is made to be seen (RFC 8615).
_WELL_KNOWN = ".well-known"

_REFUSED = frozenset("/\\\0")


class Place(NamedTuple):
    """Where something is, below the root of a site.

    Args:
        names: of the folders on the way, and of the file.
        is_folder: the path ended in a slash.
    """

    names: tuple[str, ...]
    is_folder: bool


# No system opens a longer path, even if each of its bytes is written as three.
_LONGEST = 3 * 4096


def place_of(raw_path: bytes) -> Place | None:
    """The place that a path names, as it came; ``None`` if it names none.

    Refused are: what does not begin with a slash; empty names, ``.`` and ``..``; names that begin with a dot,
    but for ``.well-known``; slashes, backslashes and NUL, however they are written; what is too long a name
    for any file system.
    """
    return _place_of(raw_path) if len(raw_path) <= _LONGEST else None


@lru_cache(maxsize=1024)  # most are asked for again and again
def _place_of(raw_path: bytes) -> Place | None:
    if not raw_path.startswith(b"/"):
        return None
    *folders, last = raw_path[1:].split(b"/")
    names = [os.fsdecode(unquote_to_bytes(name)) for name in [*folders, *([last] if last else [])]]
    if not all(map(_may_be_seen, names)):
        return None
    return Place(tuple(names), not last)


def _may_be_seen(name: str) -> bool:
    if not name or (name.startswith(".") and name != _WELL_KNOWN):
        return False
    return _REFUSED.isdisjoint(name) and len(os.fsencode(name)) < 256
