"""Twisted's reactor for a process whose event loop is trio's.

It is Twisted's own epoll reactor, except that trio waits in its place.  An epoll object has a
descriptor of its own, which is readable when anything that is registered with it is; so one trio
task waits for that one descriptor, with the time of the next delayed call as its deadline, and then
lets the reactor do a round of its work.  Twisted's code cannot tell the difference, it is as quick as it was,
and no asyncio is between the two.

*The reactor runs while somebody needs it.*  A trio task needs a nursery, and every service has one of its
own: so each service that needs the reactor offers a task, and they take turns; when the service whose
turn it is ends, the next goes on.

*Work is done in the name of the service that asked for it.*  Each delayed call, and each descriptor,
keeps the context in which it was registered (rule L20).  What a protocol logs, and what is logged of
its failure, has the path of its service.

This module imports Twisted at its top; whoever imports it does so where it is used.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import trio
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, installReactor
from twisted.logger import Logger, STDLibLogObserver, globalLogBeginner
from zope.interface import implementer

from ..errors import ServiceError

__all__ = ["TrioReactor", "the_reactor"]

_MODULE = "twisted.internet.reactor"
_log = Logger(namespace="twisted.internet.base")


def the_reactor() -> TrioReactor:
    """The reactor of this process; it is installed now if there is none.

    Raises:
        ServiceError: there is another one.
    """
    if _MODULE not in sys.modules:
        installReactor(TrioReactor())
    reactor = sys.modules[_MODULE]
    if not isinstance(reactor, TrioReactor):
        raise _only_one(f"it is {type(reactor).__name__}")
    return reactor


def _only_one(which: str) -> ServiceError:
    return ServiceError(
        f"Twisted has one reactor per process, and {which}; a TwistedService needs ours, which one trio run "
        "uses at a time: call trioservice.integrations.twisted.install() before anything imports "
        "twisted.internet.reactor, or let `trioservice run` load the file"
    )


class TrioReactor(EPollReactor):
    """The reactor; made by :func:`the_reactor`."""

    def __init__(self) -> None:
        self.over = trio.Event()  #: set when it has been stopped, by us or by somebody's ``reactor.stop()``
        self._contexts: WeakKeyDictionary[object, Context] = WeakKeyDictionary()
        self._turn = trio.Lock()
        self._sleep = trio.CancelScope()
        self._users = 0
        self._run: object = None
        self._logs = False
        super().__init__()

    # ---- while somebody needs it

    @asynccontextmanager
    async def in_use(self, patience: float) -> AsyncIterator[None]:
        """Have it run for the time of the block.

        Args:
            patience: seconds for what is to be done before it ends, if nobody else needs it.

        Raises:
            ServiceError: another trio run of this process has it, or it did not end in time.
        """
        self._begin()
        turn = trio.CancelScope(shield=True)  # to stop takes a running reactor; ends with the block
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take_turns, turn)
                try:
                    yield
                finally:
                    try:
                        if self._users == 1:
                            await self._shut_down(patience)
                    finally:
                        turn.cancel()
        finally:
            self._users -= 1

    def _begin(self) -> None:
        run = trio.lowlevel.current_trio_token()
        if self._users and run is not self._run:
            raise _only_one("another trio run has it")
        self._run = run
        if not self._logs:
            self._logs = True
            observer: Any = STDLibLogObserver("twisted")
            globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
        if not self._started:
            self._begin_anew()
        self._users += 1

    def _begin_anew(self) -> None:
        """Twisted's reactors run once, since two things that the first stop uses up are not made again."""
        self.over = trio.Event()
        if self._startedBefore:
            self._startedBefore = False
            self.addSystemEventTrigger("during", "shutdown", self.crash)
            self.addSystemEventTrigger("during", "shutdown", self.disconnectAll)
        self.startRunning(installSignalHandlers=False)

    async def _take_turns(self, turn: trio.CancelScope) -> None:
        with turn:
            async with self._turn:
                while True:
                    await self._wait()
                    self.runUntilCurrent()
                    self.doPoll(0)

    async def _wait(self) -> None:
        timeout = self.timeout()
        deadline = math.inf if timeout is None else trio.current_time() + timeout
        with trio.CancelScope(deadline=deadline) as self._sleep:
            await trio.lowlevel.wait_readable(self._poller.fileno())

    async def _shut_down(self, patience: float) -> None:
        with trio.move_on_after(patience, shield=True):
            if not self._stopped:
                self.stop()
            await self.over.wait()
        if not self.over.is_set():
            self.crash()
            raise ServiceError(f"what Twisted does before its reactor stops took more than {patience} s")

    # ---- what ends it

    def stop(self) -> None:
        """Stop, as Twisted's do; each service that runs in it is finished then."""
        super().stop()
        self.wakeUp()  # it is done in the next round, of which nothing else may be due

    def crash(self) -> None:
        """The last step of a stop."""
        super().crash()
        self.over.set()

    def run(self, installSignalHandlers: bool = True) -> NoReturn:
        """Refuse: it is trio that runs."""
        raise ServiceError(
            "reactor.run() is not called in a trioservice tree: trio runs, and the reactor in it"
        )

    # ---- in whose name

    def addReader(self, reader: Any) -> None:
        """Remember who asks."""
        self._contexts.setdefault(reader, copy_context())
        super().addReader(reader)

    def addWriter(self, writer: Any) -> None:
        """Remember who asks."""
        self._contexts.setdefault(writer, copy_context())
        super().addWriter(writer)

    def _doReadOrWrite(self, selectable: Any, fd: int, event: int) -> None:
        self._contexts[selectable].run(super()._doReadOrWrite, selectable, fd, event)

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Any:
        """Remember who asks; he may be a trio task, beside which the reactor sleeps."""
        self._nudge()
        return super().callLater(delay, copy_context().run, _call, callable, *args, **kw)

    def _moveCallLaterSooner(self, delayedCall: Any) -> None:
        self._nudge()
        super()._moveCallLaterSooner(delayedCall)

    def _nudge(self) -> None:
        self._sleep.deadline = -math.inf

    # ---- programs that it runs

    def spawnProcess(self, *args: Any, **kw: Any) -> Any:
        """Run a program, and learn of its end without the signal, which is not ours to handle."""
        process = super().spawnProcess(*args, **kw)
        self.addReader(_EndOfProcess(self, process))
        return process


@implementer(IReadDescriptor)
class _EndOfProcess:
    """A descriptor that is readable when a program has ended."""

    def __init__(self, reactor: TrioReactor, process: Any) -> None:
        self._reactor = reactor
        self._process = process
        self._fd = os.pidfd_open(process.pid)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "process"

    def doRead(self) -> None:
        self.connectionLost(CONNECTION_DONE)
        if self._process.pid is not None:
            self._process.reapProcess()

    def connectionLost(self, reason: object) -> None:
        self._reactor.removeReader(self)
        os.close(self._fd)


def _call(fn: Callable[..., object], *args: object, **kw: object) -> None:
    try:
        fn(*args, **kw)
    except Exception:  # noqa: BLE001 - told, in the name of whoever asked for the call (L16)
        _log.failure("while handling timed call")
