"""A virtual clock: whenever everybody waits, it is at once the moment for which somebody waits.

An hour of an application's life passes in milliseconds, and what takes no time in the program takes none
here.  Three things are different from :class:`trio.testing.MockClock`:

* It stands still while trio works in threads, since nobody knows how long they will take, unless they in
  turn wait for trio.
* Whoever never waits moves it all the same: when trio has stepped tasks :data:`PATIENCE` times at one moment,
  each further time takes a while, and longer and longer.  So a loop that spins, which would stop time for
  everybody, is overtaken by those who watch it.
* A life that has no end can be left (:meth:`VirtualClock.abandon`).  That takes a clock, because a task
  that swallows its cancellation cannot be got rid of from within.
"""

from __future__ import annotations

import ctypes
import inspect
import math

import trio
from trio.testing import MockClock, active_thread_count

from .leaks import all_tasks

__all__ = ["PATIENCE", "Abandoned", "VirtualClock", "is_virtual", "keep_for_ever"]

#: How often trio steps its tasks at one moment before that takes time.
PATIENCE = 5_000

_CREEP = 0.001  # seconds, of the first such time; of the hundredth it is twice that, and so on
# What trio awaits for a thread, by name; a test tells when that has changed.
_CALL, _THREADS = "unprotected_afn", inspect.getfile(trio.to_thread.run_sync)

_WHILE_THREADS_WORK = 0.01  # real seconds until it is looked whether they still do; their end is told at once


class Abandoned(BaseException):
    """Raised in the midst of trio's own loop, to leave a life that nobody will finish."""


class VirtualClock(trio.abc.Clock, trio.abc.Instrument):
    """A clock for :func:`trio.run` that jumps, and the instrument by which it sees that nobody waits.

    ::

        clock = VirtualClock()
        trio.run(main, clock=clock, instruments=[clock])

    Attributes:
        spinning: how often time had to be moved because nobody waited.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._looks = 0
        self._abandoned = False
        self.spinning = 0

    def start_clock(self) -> None:
        """Begin at zero."""

    def current_time(self) -> float:
        """The moment that it is."""
        # Whoever swallows everything would swallow this, too; trio's own loop does not.
        if self._abandoned and not trio.lowlevel.in_trio_task():
            raise Abandoned
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to *deadline*: trio asks this when no task can do anything before then."""
        if _threads_work():
            return _WHILE_THREADS_WORK
        if deadline == math.inf:
            return math.inf
        if deadline > self._now:
            self._now = deadline
            self._looks = 0
        return 0

    def before_io_wait(self, timeout: float) -> None:
        """Let time pass where nobody waits for it."""
        self._looks += 1
        if self._looks > PATIENCE:
            self.spinning += 1
            self._now += _CREEP * (1 + self.spinning / 100)

    def abandon(self) -> None:
        """Have :func:`trio.run` end in :exc:`trio.TrioInternalError`, its tasks left as they are."""
        self._abandoned = True


def is_virtual(clock: trio.abc.Clock) -> bool:
    """Whether everybody is punctual by it, as it stands still while they work."""
    return isinstance(clock, VirtualClock) or (isinstance(clock, MockClock) and not clock.rate)


def keep_for_ever(abandoned: object) -> None:
    """Let nobody tidy up, not even Python in the end: what swallows everything might never close."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(abandoned))


def _threads_work() -> bool:
    count = active_thread_count()
    return count > 0 and count > sum(map(_calls_from_a_thread, all_tasks()))


def _calls_from_a_thread(task: trio.lowlevel.Task) -> int:
    """How many calls by :func:`trio.from_thread.run` a task is in; whoever has made one waits for trio."""
    codes = [frame.f_code for frame, _ in task.iter_await_frames()]
    return sum(code.co_name == _CALL and code.co_filename == _THREADS for code in codes)
