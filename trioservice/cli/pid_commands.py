"""``stop``, ``status`` and ``reload``: steer a process by its pid file.

The pid file is locked by the process that wrote it, so whether that one runs is known, and no signal is ever
sent to whoever has its number by now (:mod:`trioservice.process.pidfile`).  What else there is to know of a
running application is asked of the application itself.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..process.exits import CannotRun, Exit
from ..process.pidfile import Holder, holder_of
from ..process.terminal import tell

__all__ = ["reload", "status", "stop"]

_LOOK = 0.02  # seconds between two looks at the lock; nobody is told when it is let go
_SAY = 1.0  # seconds after which whoever waits is told so


def status(pidfile: str) -> int:
    """Say whether the application runs whose pid file that is."""
    holder = holder_of(pidfile)
    if not holder.alive:
        return _nothing_runs(pidfile, holder)
    tell(sys.stdout, f"running: process {holder.pid} holds {pidfile}\n")
    return Exit.OK


def reload(pidfile: str) -> int:
    """Have the application open its logs anew and reload its tree (SIGHUP)."""
    holder = holder_of(pidfile)
    if not holder.alive:
        return _nothing_runs(pidfile, holder)
    _send(pidfile, holder, signal.SIGHUP)
    return Exit.OK


def stop(pidfile: str, *, timeout: float | None = None) -> int:
    """Have the application stop (SIGTERM), and wait until its process has ended.

    Args:
        pidfile: whose.
        timeout: seconds to wait for the end; ``None`` for as long as it takes.
    """
    holder = holder_of(pidfile)
    if not holder.alive:
        return _nothing_runs(pidfile, holder)
    _send(pidfile, holder, signal.SIGTERM)
    if _await_end(pidfile, holder, timeout):
        return Exit.OK
    tell(
        sys.stderr,
        f"trioservice: process {holder.pid} has not stopped within {timeout:g} s\n"
        f"  hint: its log tells what it waits for; another `trioservice stop {pidfile}` cuts all drains\n",
    )
    return Exit.STUCK


def _nothing_runs(pidfile: str, holder: Holder) -> int:
    left = f", which process {holder.pid} has left" if holder.pid is not None else ""
    tell(sys.stderr, f"trioservice: nothing runs: no process holds {pidfile}{left}\n")
    return Exit.NOT_RUNNING


def _send(pidfile: str, holder: Holder, number: signal.Signals) -> None:
    """Send the signal to the very process that holds the lock, or to nobody.

    Raises:
        CannotRun: it is not allowed, or not known which process that is.
    """
    if holder.pid is None:
        raise CannotRun(
            f"{pidfile} is locked, and holds no number",
            hint="it is being taken just now; try again",
            status=Exit.NOT_RUNNING,
        )
    try:
        with _handle(holder.pid) as kill:
            if _is_held_by(pidfile, holder):  # so it is this process of which we have a handle
                kill(number)
    except ProcessLookupError:
        pass  # it has ended meanwhile, which is what `stop` wants, and nobody is left to `reload`
    except PermissionError:
        raise CannotRun(
            f"process {holder.pid} belongs to somebody else",
            hint="only its own user and root may send it a signal",
            status=Exit.NO_PERMISSION,
        ) from None


@contextmanager
def _handle(pid: int) -> Iterator[Callable[[signal.Signals], None]]:
    """A way to signal the process that has this number now; and, where the system can, no later one."""
    if not hasattr(os, "pidfd_open"):
        yield partial(os.kill, pid)
        return
    process = os.pidfd_open(pid)
    try:
        yield partial(signal.pidfd_send_signal, process)
    finally:
        os.close(process)


def _await_end(pidfile: str, holder: Holder, timeout: float | None) -> bool:
    """Wait until *holder* has let go of the lock, and say so where that takes its time; whether it has."""
    began = time.monotonic()
    said = False
    while _is_held_by(pidfile, holder):
        waited = time.monotonic() - began
        if timeout is not None and waited > timeout:
            return False
        if waited > _SAY and not said:
            said = tell(sys.stderr, f"waiting for process {holder.pid} to finish what it has begun ...\n")
        time.sleep(_LOOK)
    return True


def _is_held_by(pidfile: str, holder: Holder) -> bool:
    try:
        return holder_of(pidfile) == holder
    except CannotRun:  # the file is gone, and with it its process
        return False
