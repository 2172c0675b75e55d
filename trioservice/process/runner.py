"""The order of a life: log, run, say what went wrong, answer with a status."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import signal
import sys

import trio

from ..application import Application
from ..errors import ServiceError, ServicesFailed, report
from ..events import Event, StateChanged
from ..lifecycle import State
from .exits import Exit
from .logs import log_to, tell

__all__ = ["Farewell", "run"]


def run(application: Application) -> Exit:
    """Run *application* in the foreground until it ends; log to standard error.

    Returns:
        The exit status; :attr:`Application.stop_signal` tells whether a signal ended it.
    """
    log_to()
    became_ready = False

    def notice(event: Event) -> None:
        nonlocal became_ready
        if isinstance(event, StateChanged) and event.path == application.name:
            became_ready |= event.new is State.RUNNING

    unsubscribe = application.subscribe(notice)
    try:
        trio.run(application.main)
    except ServicesFailed as failure:
        tell(sys.stderr, report(failure.exceptions))
        return Exit.FAILED if became_ready else _why_not_started(failure)
    except ServiceError as error:
        tell(sys.stderr, f"trioservice: {error}\n")
        return Exit.START_FAILED
    except (KeyboardInterrupt, SystemExit) as end:
        # It decides how the process ends (rule L17), but what else went wrong is not lost (rule L13).
        if isinstance(end.__context__, ServicesFailed):
            tell(sys.stderr, report(end.__context__.exceptions))
        raise
    finally:
        unsubscribe()
    return Exit.OK


def _why_not_started(failure: ServicesFailed) -> Exit:
    forbidden = any(
        isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM)
        for error in failure.exceptions
    )
    return Exit.NO_PERMISSION if forbidden else Exit.START_FAILED


class Farewell:
    """Lets the process die of the signal that stopped it, after everything else at exit.

    Whoever sent the signal can then tell "it obeyed" from "it came to its end by itself".  Exit
    functions run last in, first out: make this before the application is loaded, and it runs
    after those of the application.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None  #: what to die of, if anything
        atexit.register(self._say)

    def _say(self) -> None:
        if self.signal is None:
            return
        logging.shutdown()  # registered before us, so it would not be reached
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # None, broken, or closed
                stream.flush()
        signal.signal(self.signal, signal.SIG_DFL)
        os.kill(os.getpid(), self.signal)
