"""Calls that keep every service of a process waiting, noticed while an application lives a simulated life.

Virtual time does not pass in them, so they would only make a test slow.  ``time.sleep`` is refused outright,
with what to write in its place.  Anything else that takes longer than :data:`TOO_LONG` without a step of any
task is seen by an alarm of the operating system; that takes a process that has nothing else to do, so it is
set by :mod:`trioservice.testing.workers` only.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import trio

from ..run import current_service
from .contract import Breach
from .surroundings import users_line

__all__ = ["TOO_LONG", "BlockingCall", "alarm", "no_sleep"]

#: Real seconds between two looks at a life: without a step from one to the next, it hangs.
TOO_LONG = 1.0

# The alarm itself has trio take a step or two, to see what the signal was.
_BY_THE_ALARM = 2

# So many looks a thread may take for which somebody waits; it may have something to do.
_LOOKS_FOR_THREADS = 5


class BlockingCall(RuntimeError):
    """A service has called what would block its whole process."""


@contextmanager
def no_sleep(tell: Callable[[Breach], None]) -> Iterator[None]:
    """Within, ``time.sleep`` of a service raises, and is told of."""
    thread, sleep = threading.get_ident(), time.sleep

    def refuse(seconds: Any) -> None:
        service = current_service()
        if service is None or threading.get_ident() != thread:
            return sleep(seconds)
        words = f"calls time.sleep({seconds:g}), which keeps everybody waiting"
        tell(Breach("blocks", service.path, words, users_line(sys._getframe(1))))
        raise BlockingCall(
            f"time.sleep({seconds:g}) would keep everybody waiting; await trio.sleep({seconds:g})"
        )

    time.sleep = refuse
    try:
        yield
    finally:
        time.sleep = sleep


@contextmanager
def alarm(steps: Callable[[], int], tell: Callable[[Breach], None]) -> Iterator[None]:
    """Within, *tell* is called from the midst of what does not let any task take a step.

    Args:
        steps: how many there were up to now.
        tell: what to do then; it should not return.
    """
    seen, looks = -_BY_THE_ALARM - 1, 0

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal seen, looks
        looks = looks + 1 if steps() <= seen + _BY_THE_ALARM else 0
        seen = steps()
        in_a_step = trio.lowlevel.in_trio_run() and trio.lowlevel.in_trio_task()
        if looks and (in_a_step or looks >= _LOOKS_FOR_THREADS):
            service = current_service()
            words = f"has let no task take a step for {looks * TOO_LONG:g} s of real time"
            if not in_a_step:
                words += ", as a thread works that cannot be cancelled"
            tell(Breach("blocks", "" if service is None else service.path, words, users_line(frame)))

    previous = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, TOO_LONG, TOO_LONG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
