"""Application: the root of a tree, and what a process is told about it.

An Application is a MultiService that nobody can be the parent of.  It adds what only a root
has: the events of the whole tree, a budget for the whole shutdown, the two signals by which
a person or a supervisor asks a process to end, and facts about the process as plain data
(``uid``, ``gid``).  It knows nothing of daemons, log files or command lines; that is the
business of ``trioservice run``, for which an Application is just something with a ``main``.

::

    app = Application("echo", TCPServer(7001, echo))
    trio.run(app.main)
"""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import ClassVar

import trio

from .errors import ServiceError, ServicesFailed, ServiceStateError, report
from .events import Events, Listener, ReloadBegan, ReloadEnded, StopRequested
from .run import Root
from .service import MultiService, Service

__all__ = ["Application", "die_of"]


class Application(MultiService):
    """The root of a tree of services.

    Args:
        name: the application's name, and so the first part of every path.
        *children: the first services, in start order.
        uid: the user to become once everything is bound; a number or a name.
        gid: the group likewise.
        shutdown_timeout: seconds for all drains together, from the first signal, ``stop()`` or
            failure (rule L12); ``None`` for no limit.  Cleanup after that is waited for, and reported.
        handle_signals: while ``main`` runs in the main thread, the first SIGINT or SIGTERM stops
            the tree gracefully, the second cuts all drains, the third ends the process.  A
            signal that the process was started to ignore stays ignored.  ``False`` where the
            application is embedded in a program with signals of its own.
        bound: called with the application when everything is bound and nothing runs: the moment
            to drop privileges (rule L18).
        on_reload: called with the application, and awaited if it is an async function, when the
            tree is reloaded, before its services are (:meth:`reload`).
        keep_running: as for :class:`~trioservice.service.MultiService`.
        start_timeout: seconds within which everything must be ready.

    Example::

        app = Application("shop")
        TCPServer(8080, handler).set_service_parent(app)
        trio.run(app.main)
    """

    _is_root: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        *children: Service,
        uid: int | str | None = None,
        gid: int | str | None = None,
        shutdown_timeout: float | None = 30.0,
        handle_signals: bool = True,
        bound: Callable[[Application], object] | None = None,
        on_reload: Callable[[Application], object] | None = None,
        keep_running: bool = False,
        start_timeout: float | None = None,
    ) -> None:
        self._events = Events()
        self.uid = uid
        self.gid = gid
        self.handle_signals = handle_signals
        self.bound = bound
        self._reload_hook = on_reload
        self._reloading = trio.Lock()
        self.stop_signal: signal.Signals | None = None  #: the signal that ended the last run, if one did
        super().__init__(
            *children,
            name=name,
            keep_running=keep_running,
            start_timeout=start_timeout,
            drain_timeout=shutdown_timeout,
        )

    @property
    def shutdown_timeout(self) -> float:
        """The drain budget of the whole tree, in seconds; infinite if it was given as ``None``."""
        return self.drain_timeout

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* with each event of the whole tree, in this run and later ones (rule L19).

        Listeners are plain functions and must not block.  The returned function ends the
        subscription.
        """
        return self._events.subscribe(listener)

    async def main(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the application: ``trio.run(app.main)``.

        Returns after a stop, by signal or otherwise; :attr:`stop_signal` tells which.  What
        services raised comes out as for every service; if nobody catches it, Python prints one
        readable report instead of nested groups.

        Raises:
            ServiceError: ``uid`` or ``gid`` are given, but nobody to drop privileges.
            ServicesFailed: services failed.
        """
        self._require_free()
        if self.bound is None and not (self.uid is None and self.gid is None):
            raise ServiceError(
                f"{self.name!r} is to run as uid={self.uid!r}, gid={self.gid!r}, but nobody would drop the "
                "privileges it starts with; pass bound=, a function that does"
            )
        self.stop_signal = None
        with self._signals():
            await Root(self, self._events, bound=self._tell_bound).main(task_status)

    def _tell_bound(self) -> None:
        """Call the hook between binding and running, and see that it has done its work."""
        if self.bound is None:
            return
        outcome = self.bound(self)
        if inspect.isawaitable(outcome):
            getattr(outcome, "close", lambda: None)()
            raise TypeError(
                f"bound= is a plain function, not an async one: {self.bound!r} has not dropped anything"
            )

    async def on_reload(self) -> None:
        """Call the hook that was given as ``on_reload``."""
        if self._reload_hook is not None:
            outcome = self._reload_hook(self)
            if inspect.isawaitable(outcome):
                await outcome

    async def reload(self) -> None:
        """Have everything that runs read its files again, in start order, while it goes on.

        Each service's :meth:`~trioservice.service.Service.on_reload` is called, the
        application's first; servers load their certificates.  What fails is told as an event,
        and goes on with what it had.  A reload that is asked for while one is in progress
        follows it.

        Raises:
            ServiceStateError: the application does not run.
        """
        async with self._reloading:
            if self._run is None:
                raise ServiceStateError(f"{self.name!r} is {self.state.value}, so there is nothing to reload")
            began = trio.current_time()
            self.emit(ReloadBegan(self.path, began))
            failures = await self._run.tree.reload(self)
            now = trio.current_time()
            self._events.emit(ReloadEnded(self.path, now, now - began, failures))

    # ---- signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """While main runs: one signal asks, two insist, and with three it is over (rule L12)."""
        wanted = [number for number in (signal.SIGINT, signal.SIGTERM) if _is_heeded(number)]
        if not self.handle_signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        _report_failures_readably()
        token = trio.lowlevel.current_trio_token()
        heard = 0

        # Counted here, between two instructions of whatever code runs, and not in a task: the third
        # signal must end a process whose event loop is stuck, too.
        def hear(number: int, frame: FrameType | None) -> None:
            nonlocal heard
            heard += 1
            if self.stop_signal is None:
                self.stop_signal = signal.Signals(number)
            if heard < 3:
                token.run_sync_soon(self._obey, signal.Signals(number), heard)
            else:
                die_of(signal.Signals(number))

        previous = {number: signal.signal(number, hear) for number in wanted}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _obey(self, number: signal.Signals, heard: int) -> None:
        """What the first and the second signal ask for."""
        if self._run is None:
            return
        if heard == 1:
            self._run.ask_stop(reason=number.name)
        else:
            reason = f"{number.name} again, so all drains are cut"
            self.emit(StopRequested(self.path, trio.current_time(), reason))
            self._run.ask_stop(drain=False)


def die_of(number: signal.Signals) -> None:
    """End this process by a signal, so that whoever sent it sees that it was obeyed."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    if os.getpid() == 1:
        # The kernel spares a first process, that of a container, what it sends itself.
        os._exit(128 + number)


def _is_heeded(number: signal.Signals) -> bool:
    # A shell starts background jobs with SIGINT ignored, nohup does so with SIGHUP: they mean it.
    return signal.getsignal(number) is not signal.SIG_IGN


def _report_failures_readably() -> None:
    """Have Python tell an uncaught failure of services as one report; a hook of the user's own stays."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _excepthook


def _excepthook(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
    if isinstance(error, ServicesFailed):
        sys.stderr.write(report(error.exceptions))
    else:
        sys.__excepthook__(kind, error, tb)
