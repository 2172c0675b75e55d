"""The launch: what makes the time short that a person waits for a prompt, and a port for its server."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_search_for_garbage"]


@contextmanager
def no_search_for_garbage() -> Iterator[None]:
    """Let the collector rest while we import, trio above all.

    A module's objects stay, so to look for garbage among them, again and again as they become more,
    finds none and takes some milliseconds of the launch.  Afterwards they count as old, as if they
    had been looked through.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        if enabled:
            gc.enable()
