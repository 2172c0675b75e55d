"""What services say of themselves, beside what the heart tells of them.

The events of a tree are told by the code that also conducts it.  A judge who heard nothing else would
believe a liar, so in a test each service has a second witness: a *diary*, written around its own code, of
when that was entered and left, when it said that it was ready, what it bound.  Both witnesses speak in one
list, in the order in which things happened; :mod:`trioservice.testing.contract` compares them.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import trio

from ..application import Application
from ..events import Event, ServiceAdded, StateChanged
from ..lifecycle import State
from ..records import record
from ..run import walk
from ..service import MultiService, Service

__all__ = [
    "Asked",
    "BindingFailed",
    "BoundTo",
    "BranchSeen",
    "Diary",
    "DrainBegan",
    "DrainEnded",
    "Entered",
    "Left",
    "MainEnded",
    "Released",
    "SaidReady",
]


@record
class Entered(Event):
    """The service's ``run`` was entered; whether it has a drain, and how long start and end may take."""

    drains: bool
    start_timeout: float | None = None
    stop_timeout: float = math.inf

    def __str__(self) -> str:
        return "run() is entered"


@record
class SaidReady(Event):
    """It called ``task_status.started()``."""

    def __str__(self) -> str:
        return "says that it is ready"


@record
class Left(Event):
    """Its ``run`` was left; by *error*, unless it returned."""

    error: BaseException | None

    def __str__(self) -> str:
        return "run() returns" if self.error is None else f"run() is left by {type(self.error).__name__}"


@record
class DrainBegan(Event):
    """Its ``drain`` was entered, and may take *limit* seconds."""

    limit: float

    def __str__(self) -> str:
        return "drain() is entered"


@record
class DrainEnded(Event):
    """Its ``drain`` was left; by *error*, unless it returned."""

    error: BaseException | None

    def __str__(self) -> str:
        return "drain() is left"


@record
class BoundTo(Event):
    """Its ``privileged_start`` was called."""

    def __str__(self) -> str:
        return "privileged_start() is entered"


@record
class BindingFailed(Event):
    """Its ``privileged_start`` raised *error*."""

    error: BaseException

    def __str__(self) -> str:
        return f"privileged_start() is left by {type(self.error).__name__}"


@record
class Released(Event):
    """What it had bound was let go."""

    def __str__(self) -> str:
        return "what it had bound is released"


@record
class BranchSeen(Event):
    """What a branch looked like: its *children* in start order, and its options."""

    children: tuple[str, ...]
    drain_timeout: float
    keep_running: bool
    start_timeout: float | None = None

    def __str__(self) -> str:
        return f"has {len(self.children)} children"


@record
class Asked(Event):
    """Somebody did something: *deed*."""

    deed: str

    def __str__(self) -> str:
        return f"asked: {self.deed}"


@record
class MainEnded(Event):
    """``main`` was left; by *error*, unless it returned."""

    error: BaseException | None

    def __str__(self) -> str:
        return "main() returns" if self.error is None else f"main() raises {type(self.error).__name__}"


class Diary:
    """Everything that is told of an application and its services, in order.

    ::

        diary = Diary(app)
        trio.run(app.main)
        assert check_contract(diary.events) == []

    Args:
        app: the application, which does not run yet.

    Attributes:
        events: what happened.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._attended: set[Service] = set()
        self.events: list[Event] = []
        app.subscribe(self.hear)
        self._attend(app)

    def hear(self, event: Event) -> None:
        """Take down an event; what has begun or come into the tree is given a diary."""
        if isinstance(event, StateChanged) and event.new is State.STARTING:
            self._see(self.find(event.path), event.time)
        elif isinstance(event, ServiceAdded):
            self._see(self.find(event.path.rpartition("/")[0]), event.time)
        self.events.append(event)

    def find(self, path: str) -> Service | None:
        """The service of a path, if it is in the tree."""
        service: Service | None = self._app
        for name in path.split("/")[1:]:
            service = service._by_name.get(name) if isinstance(service, MultiService) else None
        return service

    def write(self, kind: Callable[..., Event], path: str, *facts: object) -> None:
        """Take down what somebody else has seen."""
        self.events.append(kind(path, trio.current_time(), *facts))

    def _see(self, service: Service | None, when: float) -> None:
        if isinstance(service, MultiService):
            self._attend(service)
            children = tuple(f"{service.path}/{child.name}" for child in service)
            options = service.drain_timeout, service.keep_running, service.start_timeout
            self.events.append(BranchSeen(service.path, when, children, *options))

    def _attend(self, top: Service) -> None:
        """Write around the code of *top* and of all below it."""
        for service in walk(top):
            if service in self._attended:
                continue
            self._attended.add(service)
            if service._binds:
                replace(service, "privileged_start", self._binding)
            if not isinstance(service, MultiService):
                replace(service, "run", self._run)
                if service._drains:
                    replace(service, "drain", self._drain)

    async def _run(self, service: Service, original: Any, task_status: Any) -> None:
        path = service.path
        self.write(Entered, path, service._drains, service.start_timeout, service.stop_timeout)
        error: BaseException | None = None
        try:
            await original(_Listening(self, path, task_status))
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.write(Left, path, error)

    async def _drain(self, service: Service, original: Any) -> None:
        path = service.path
        self.write(DrainBegan, path, service.drain_timeout)
        error: BaseException | None = None
        try:
            await original()
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.write(DrainEnded, path, error)

    async def _binding(self, service: Service, original: Any, stack: AsyncExitStack) -> None:
        path = service.path
        self.write(BoundTo, path)
        stack.callback(self.write, Released, path)
        try:
            await original(stack)
        except BaseException as error:
            self.write(BindingFailed, path, error)
            raise


class _Listening:
    """A ``task_status`` that writes down what it is told."""

    def __init__(self, diary: Diary, path: str, task_status: Any) -> None:
        self._diary, self._path, self._task_status = diary, path, task_status

    def started(self, value: object = None) -> None:
        self._diary.write(SaidReady, self._path)
        self._task_status.started(value)


def replace(service: Service, method: str, by: Callable[..., Awaitable[None]]) -> None:
    """Call *by*, with the service and the original first, in place of a method of this service."""
    setattr(service, method, partial(by, service, getattr(service, method)))
