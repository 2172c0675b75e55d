"""What is imported in tests, and what is not.

What a test imports from files of its own is forgotten, so that the next can have files of those names.

Only those: a room of trioservice that was opened meanwhile stays open.  Made a second time it would
have classes of the same names that are not the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path


@contextmanager
def forgotten_afterwards(folder: Path) -> Iterator[None]:
    """In the end, forget the modules that were imported from somewhere below *folder*."""
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def entry_points_of_others(**selection: str) -> list[EntryPoint]:
    """As importlib.metadata's, without those of ours: a test of plugins of its own wants no others."""
    return [entry for entry in entry_points(**selection) if not entry.value.startswith("trioservice.")]
