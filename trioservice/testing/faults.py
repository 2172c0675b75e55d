"""Faults: what a service might do wrong, done in its place.

A fault is put around a service's own code and strikes at one of four stages of its life: when it starts,
while it runs, when it drains, when it stops.  Whoever stands beside it must cope; that the faulty one is in
trouble is nobody's mistake, so what was *injected* can always be told from what came by itself.
"""

from __future__ import annotations

import enum
from typing import Any

import trio

from ..records import record
from ..service import MultiService, Service
from .diary import replace

__all__ = ["KINDS", "STUBBORN", "Fault", "Faults", "InjectedExit", "InjectedFault", "Stage"]


class InjectedFault(Exception):
    """An error that a test had a service raise."""


class InjectedExit(SystemExit):
    """An end of the program that a test had a service ask for."""


class Stage(enum.StrEnum):
    """Where in a service's life a fault strikes."""

    START = "start"
    RUN = "run"
    DRAIN = "drain"
    STOP = "stop"


@record
class Fault:
    """One thing that goes wrong.

    Args:
        stage: when.
        what: one of :data:`KINDS` of that stage.
        seconds: for how long it is ``slow``, or after how long it ``fails``, ``finishes`` or ``exits``.
    """

    stage: Stage
    what: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.what} at {self.stage}" + (f" ({self.seconds:g} s)" if self.seconds else "")


#: What can go wrong at which stage.  Who ``hangs`` waits until it is cancelled; who ``swallows`` its
#: cancellation goes :data:`STUBBORN` seconds after it, so a life has an end; who ``returns`` has not become
#: ready; who ``leaks`` opens a socket and forgets it; who ``exits`` raises ``SystemExit``.
KINDS = {
    Stage.START: ("slow", "fails", "hangs", "returns", "leaks"),
    Stage.RUN: ("fails", "finishes", "exits"),
    Stage.DRAIN: ("slow", "fails", "hangs"),
    Stage.STOP: ("slow", "fails", "swallows"),
}

#: Seconds for which somebody who swallows its cancellation stays.
STUBBORN = 30.0


class Faults:
    """The faults that wait for the services of one application to come to the stage in question.

    Attributes:
        unready: the services that were made to become ready late, or never.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, Stage], Fault] = {}
        self._running: dict[str, trio.CancelScope] = {}
        self._struck: dict[str, Fault] = {}
        self._attended: set[Service] = set()
        self._leaked: list[trio.socket.SocketType] = []
        self.unready: set[str] = set()

    def attend(self, service: Service) -> None:
        """Let faults strike a service."""
        if service in self._attended or isinstance(service, MultiService):
            return
        self._attended.add(service)
        replace(service, "run", self._run)
        if service._drains:
            replace(service, "drain", self._drain)

    def inject(self, path: str, fault: Fault) -> None:
        """Have *fault* strike the service at *path*: at once if that is in its run, else at its next run.

        Raises:
            ValueError: there is no such fault.
        """
        if fault.what not in KINDS[fault.stage]:
            kinds = ", ".join(KINDS[fault.stage])
            raise ValueError(f"nothing {fault.what!r} happens at {fault.stage}; there is {kinds}")
        if fault.stage is Stage.RUN and path in self._running:
            self._strike(path, fault)
            self._running[path].cancel(reason=str(fault))
        else:
            self._waiting[path, fault.stage] = fault

    def tidy_up(self) -> None:
        """Close what was leaked on purpose."""
        while self._leaked:
            self._leaked.pop().close()

    def _take(self, path: str, stage: Stage) -> Fault | None:
        return self._waiting.pop((path, stage), None)

    async def _run(self, service: Service, original: Any, task_status: Any) -> None:
        path = service.path
        fault = self._take(path, Stage.START)
        if fault is not None:
            self.unready.add(path)
            await self._suffer(fault, path)
            if fault.what == "returns":
                return
        try:
            with trio.CancelScope() as scope:
                self._running[path] = scope
                await self._run_until_struck(path, scope, original, task_status)
        finally:
            del self._running[path]
            await _suffer_in_the_end(self._take(path, Stage.STOP), path)
        struck = self._struck.pop(path, None)
        if struck is not None and scope.cancelled_caught:
            _fail(struck, path)

    async def _run_until_struck(self, path: str, scope: trio.CancelScope, original: Any, status: Any) -> None:
        fault = self._take(path, Stage.RUN)
        if fault is not None:
            self._strike(path, fault)
            scope.deadline = trio.current_time() + fault.seconds
        await original(status)

    def _strike(self, path: str, fault: Fault) -> None:
        self._struck[path] = fault
        self.unready.add(path)  # it may not have become ready yet

    async def _drain(self, service: Service, original: Any) -> None:
        fault = self._take(service.path, Stage.DRAIN)
        if fault is not None:
            await self._suffer(fault, service.path)
        await original()

    async def _suffer(self, fault: Fault, path: str) -> None:
        """What a fault does before the service's own code has its turn."""
        if fault.what == "leaks":
            self._leaked.append(trio.socket.socket())
        elif fault.what == "hangs":
            await trio.sleep_forever()
        else:
            await trio.sleep(fault.seconds)
        _fail(fault, path)


async def _suffer_in_the_end(fault: Fault | None, path: str) -> None:
    """What a fault does after it; a cancellation is no news there."""
    if fault is None:
        return
    seconds = STUBBORN if fault.what == "swallows" else fault.seconds
    with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
        await trio.sleep_forever()
    _fail(fault, path)


def _fail(fault: Fault, path: str) -> None:
    """Raise what a fault raises, if it does."""
    if fault.what == "exits":
        raise InjectedExit(f"{path} was made to exit")
    if fault.what == "fails":
        raise InjectedFault(f"{path} was made to fail at its {fault.stage}")
