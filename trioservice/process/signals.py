"""What HUP, USR1 and USR2 ask of a process.

==========  ==========================================================================================
SIGHUP      open the log file anew (after ``logrotate``), and reload the tree: certificates, lists, and
            the application's ``on_reload``
SIGUSR1     put the log file aside and begin a fresh one
SIGUSR2     write the tree of services, with the stack of every task, to the log
==========  ==========================================================================================

SIGINT and SIGTERM are the application's own.  All of these would by default end a process at once, with
nothing stopped in order; so they are heard from the first moment of its life on, and what is asked for
before there is a tree is done when there is one.  Two things are respected: a signal that the process was
started to ignore stays ignored, and a handler that the application has set itself stays.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

import trio
from trio.lowlevel import enable_ki_protection

from ..application import Application
from ..errors import ServiceStateError
from ..lifecycle import State
from .logs import Logs
from .stacks import tree_with_stacks

__all__ = ["Signals"]

logger = logging.getLogger("trioservice")


class Signals:
    """Hears the signals, as a context manager around the life of the process; :meth:`obey` obeys them."""

    def __init__(self) -> None:
        self._heard: list[int] = []
        self._token: trio.lowlevel.TrioToken | None = None
        self._news = trio.Event()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
                number = getattr(signal, name, None)  # not every system has them
                if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for number in self._before:
            if signal.getsignal(number) == self._hear:
                signal.signal(number, signal.SIG_DFL)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # Between two instructions of whatever code runs, so nothing is done here.
        self._heard.append(number)
        if self._token is not None:
            with contextlib.suppress(
                trio.RunFinishedError
            ):  # the tree has gone, and there is nothing to reload
                self._token.run_sync_soon(self._wake)

    def _wake(self) -> None:
        self._news.set()

    @enable_ki_protection
    async def obey(self, application: Application, logs: Logs) -> None:
        """Do what was and will be asked for, for as long as the application runs.

        Args:
            application: the tree to reload or to show.
            logs: where it logs to.
        """
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:

            def hang_up() -> None:
                logs.reopen()
                # In a task of its own, so that a reload that takes its time can be looked into by SIGUSR2.
                nursery.start_soon(_reload, application)

            deeds: dict[str, Callable[[], object]] = {
                "SIGHUP": hang_up,
                "SIGUSR1": logs.rotate,
                "SIGUSR2": lambda: logger.info("%s", tree_with_stacks(application)),
            }
            while True:
                self._news = trio.Event()
                heard, self._heard = self._heard, []
                for number in heard:
                    try:
                        deeds[signal.Signals(number).name]()
                    except Exception:
                        logger.exception("%s could not be obeyed", signal.Signals(number).name)
                await self._news.wait()


async def _reload(application: Application) -> None:
    # Not before it runs, since its files are just being read, and not when it is about to end.
    if application.state in (State.STARTING, State.RUNNING):
        with contextlib.suppress(ServiceStateError):  # it ended while another reload was in progress
            await application.reload()
