"""The end of patience: a process in which a service does not stop is ended all the same.

Asked to stop, a service gets its drain, then its cancellation, and from then on it is waited for: cleanup
that is cut in half loses what it was to save.  But a service may be stuck for good, in a shield or in a call
that blocks the event loop, and then nothing of ours would ever end the process.  Whoever would rather lose
that service's cleanup than wait sets a limit.

It is kept by a thread, since the event loop may be what is stuck; and at the end of it the process is ended
without a word to Python, because an ordinary exit would wait for what does not end.  Before that it is told
who was waited for, and where everybody is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType

import trio

from ..application import Application
from ..events import Event, StateChanged
from ..lifecycle import State
from ..run import walk
from .exits import Exit
from .stacks import tree_with_stacks

__all__ = ["StopLimit"]

logger = logging.getLogger("trioservice")

_ALIVE = (State.STARTING, State.RUNNING, State.STOPPING)
_A_TURN = 1.0  # seconds within which an event loop that turns at all comes to what it was asked


class StopLimit:
    """Ends the process if *application* does not stop in time; a context manager around its life.

    Args:
        application: whose stop has a limit.
        timeout: seconds that it has after its ``shutdown_timeout``.
        last_words: called before the end, to leave things in order.
    """

    def __init__(self, application: Application, timeout: float, last_words: Callable[[], object]) -> None:
        self._application = application
        self._seconds = application.shutdown_timeout + timeout
        self._last_words = last_words
        self._timer: threading.Timer | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    def __enter__(self) -> StopLimit:
        self._unsubscribe = self._application.subscribe(self._notice)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def _notice(self, event: Event) -> None:
        if not isinstance(event, StateChanged) or event.path != self._application.path:
            return
        if event.new is State.STOPPING and self._seconds <= threading.TIMEOUT_MAX:
            self._token = trio.lowlevel.current_trio_token()
            self._timer = threading.Timer(self._seconds, self._give_up)
            self._timer.daemon = True  # what has ended in time does not wait for it
            self._timer.start()

    def _give_up(self) -> None:
        try:
            logger.critical("%s", self._reason())
            logger.critical("%s", self._where())
            self._last_words()
            logging.shutdown()
        finally:  # whatever is wrong with the log or a file: this was a promise
            os._exit(Exit.STUCK)

    def _reason(self) -> str:
        late = [service.path for service in walk(self._application) if service.state in _ALIVE]
        # A branch waits for its children, so whoever has none of those is to blame.
        to_blame = [path for path in late if not any(other.startswith(f"{path}/") for other in late)]
        return (
            f"{self._application.path}: not stopped after {self._seconds:g} s, so the process is ended with "
            f"status {Exit.STUCK.value}; it waited for {', '.join(to_blame)}"
        )

    def _where(self) -> str:
        """The tree with its stacks if the event loop turns, else the line that keeps it from turning."""
        told, heard = threading.Event(), []

        def tell() -> None:
            heard.append(tree_with_stacks(self._application))
            told.set()

        assert self._token is not None
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(tell)
            if told.wait(_A_TURN):
                return heard[0]
        stack = traceback.format_stack(sys._current_frames()[_main_thread_number()])
        return "the event loop does not turn; it is in:\n" + "".join(stack)


def _main_thread_number() -> int:
    number = threading.main_thread().ident
    assert number is not None
    return number
