"""The contestants: the same thing done in several ways, each measured in a process of its own.

Each starts *count* units of the smallest kind there is and stops them all, and tells the
stopwatch when a phase is over.  What a unit is, and what is promised for it, differs:

* ours: a leaf that is ready and sleeps; one after the other, stopped one by one in reverse.
* raw trio: the same leaf as a bare function under ``nursery.start``; cancelled all at once.
* raw trio in order: with a cancel scope and an event for each, stopped one by one in reverse.
  It is what one would write by hand to have the same order.
* Twisted: a ``Service`` that sets a flag.  It has no task and nothing to wait for, so its
  start and stop need no running reactor, and would not be faster or slower in one.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter

import trio

WARM_UP = 300  # units that come before the measured ones, so that no first time is measured


class Stopwatch:
    """Three moments: before the start, when all are ready, when all are gone."""

    def __init__(self) -> None:
        self.moments = [perf_counter()]
        self.memory = [_memory()]

    def lap(self) -> None:
        """A phase is over."""
        self.moments.append(perf_counter())
        self.memory.append(_memory())
        self.moments[-1] = self.moments[-1]


def _memory() -> int:
    return tracemalloc.get_traced_memory()[0]
