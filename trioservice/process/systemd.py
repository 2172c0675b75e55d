"""systemd is told how the service is: sd_notify(3), what to say and when.

==================  =====================================================================================
it becomes ready    ``READY=1``: whoever is ordered ``After=`` it may start
it is to stop       ``STOPPING=1``, at the request and not at the end
it reloads          ``RELOADING=1`` with ``MONOTONIC_USEC``, and ``READY=1`` when that is done
it takes its time   every second a ``STATUS`` that says whom it waits for, and ``EXTEND_TIMEOUT_USEC``
it is well          ``WATCHDOG=1``, at half of the interval in which systemd wants to hear it
==================  =====================================================================================

*Well* means: the event loop turns, since this is said by one of its tasks; and no service that was stopped
by itself while the application runs is overdue, that is, has not gone ``stop_timeout`` after it was
cancelled.  Whoever wanted it gone, or restarted, waits for ever; nothing within the process can mend that,
and a new process does.  While the whole application stops it is no reason to cut that short: the stop has
limits of its own.

*Its time* is never more than the application asks for itself: ``start_timeout`` for the start, and
``shutdown_timeout`` for the drains, with some seconds for what comes after them.  Without a
``start_timeout`` systemd's own is in force.

Without ``NOTIFY_SOCKET`` in the environment none of this is imported.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import MutableMapping

import trio

from ..application import Application
from ..events import Event, ReloadBegan, ReloadEnded, StateChanged, StopOverdue
from ..lifecycle import State
from .notify_socket import NotifySocket
from .progress import progress

__all__ = ["CLEANUP", "Notifier", "message_for", "time_left"]

#: Seconds that systemd is asked to grant between the end of all drains and that of the process.
CLEANUP = 10.0

_A_WHILE = 1.0  # seconds between two looks at what takes its time
# Seconds that are asked for at once.  Few, since systemd puts off the watchdog with them, and a loop that is
# blocked from now on should not have been granted more.
_STEP = 10.0
_BUSY = (State.STARTING, State.STOPPING)


# ---- what to say


def message_for(event: Event, application: Application) -> str:
    """What systemd has to know of *event*; empty if it is none of its business."""
    if event.path != application.path:
        return ""
    if isinstance(event, StateChanged):
        return _message_of(event.new)
    if application.state is not State.RUNNING:
        return ""  # it was reloaded while it started or as it was about to end, which is not over yet
    if isinstance(event, ReloadBegan):
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading"
    if isinstance(event, ReloadEnded):
        return f"READY=1\nSTATUS=running; {event}"
    return ""


def _message_of(state: State) -> str:
    if state is State.RUNNING:
        return "READY=1\nSTATUS=running"
    if state is State.STOPPING:
        return "STOPPING=1\nSTATUS=stopping"
    return ""


def time_left(application: Application, since: float, now: float) -> float:
    """For how many seconds more it may start or stop, by its own limits; it is so *since*."""
    if application.state is State.STOPPING:
        return application.drain_deadline + CLEANUP - now
    if application.state is State.STARTING and application.start_timeout is not None:
        return since + application.start_timeout - now
    return 0.0


def _report(application: Application, since: float, now: float) -> str:
    """What is said of one that takes its time."""
    # What a service says of itself may be of several lines, and a message consists of lines.
    status = "STATUS=" + " ".join(progress(application, now).splitlines())
    seconds = min(time_left(application, since, now), _STEP)
    return f"{status}\nEXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}" if seconds > 0 else status


# ---- to say it


class Notifier:
    """Tells systemd how an application is.

    Args:
        socket: to systemd.
        watchdog: seconds within which it wants to hear that all is well; ``None`` if it does not care.
    """

    def __init__(self, socket: NotifySocket, watchdog: float | None = None) -> None:
        self._socket = socket
        self._watchdog = watchdog
        self._overdue: set[str] = set()
        self._since = -math.inf
        self._changed = trio.Event()

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Notifier | None:
        """What systemd has asked for; ``None`` if nobody listens.

        The variables are removed, so that programs which we start do not speak in our name.  To be called
        before the process moves into another root.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        period, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        if not address:
            return None
        ours = pid in ("", str(os.getpid())) and period.isascii() and period.isdigit() and int(period) > 0
        return cls(NotifySocket(address), int(period) / 1e6 if ours else None)

    def tell_main_pid(self) -> None:
        """The process that systemd has started is not the one that serves, but this one.

        systemd believes that only of a unit with ``NotifyAccess=all``, since it comes from a stranger.
        """
        self._socket.send(f"MAINPID={os.getpid()}")

    def close(self) -> None:
        """There is nothing more to say."""
        self._socket.close()

    async def attend(self, application: Application) -> None:
        """Say all there is to say of *application*, until cancelled."""
        self._application = application
        unsubscribe = application.subscribe(self._hear)
        try:
            async with trio.open_nursery() as nursery:
                self._catch_up_with(application.state)
                nursery.start_soon(self._report_what_takes_time)
                if self._watchdog is not None:
                    nursery.start_soon(self._feed, self._watchdog)
        finally:
            unsubscribe()

    def _catch_up_with(self, state: State) -> None:
        """Say what was missed: the application may have become ready before this task had its first turn."""
        self._since = trio.current_time()
        if message := _message_of(state):
            self._socket.send(message)

    def _hear(self, event: Event) -> None:
        if isinstance(event, StopOverdue):
            self._overdue.add(event.path)
        elif isinstance(event, StateChanged):
            self._overdue.discard(event.path)
            if event.path == self._application.path:
                self._since = event.time
                self._changed.set()
        if message := message_for(event, self._application):
            self._socket.send(message)

    async def _report_what_takes_time(self) -> None:
        while True:
            self._changed = trio.Event()
            busy = self._application.state in _BUSY or self._socket.is_behind
            if busy:
                self._socket.send_if_free(_report(self._application, self._since, trio.current_time()))
            with trio.move_on_after(_A_WHILE if busy else math.inf):
                await self._changed.wait()

    async def _feed(self, period: float) -> None:
        while True:
            well = not self._overdue or self._application.state is not State.RUNNING
            if well:
                self._socket.send_if_free("WATCHDOG=1")
            # Looked at again soon: when the one that was overdue has gone, there may be little time left.
            await trio.sleep(period / 2 if well else min(period / 20, _A_WHILE))
