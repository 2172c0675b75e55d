"""What happens to services: frozen records, and who hears of them.

Every change of state, and every other fact worth telling, is one record of a closed list
(rule L19).  The heart's list stands here; a room that has facts of its own keeps its list in
its own file and derives from :class:`Event`.  Logs, metrics, live control, health and tests
read these records and nothing else, so whatever one of them knows, all can know.

A record answers two readers: ``str(event)`` is a sentence for people, and the fields are for
machines.  ``level`` says how loudly a log should tell it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from .errors import ServiceError, users_traceback
from .lifecycle import State
from .records import record

__all__ = [
    "DrainCut",
    "ErrorRaised",
    "Event",
    "Events",
    "Listener",
    "ReloadBegan",
    "ReloadEnded",
    "ReloadFailed",
    "ServiceAdded",
    "ServiceRemoved",
    "StateChanged",
    "StopOverdue",
    "StopRequested",
    "log_event",
]

logger = logging.getLogger("trioservice")


@record
class Event:
    """Something happened to the service at *path*, at *time* (of ``trio.current_time()``)."""

    path: str
    time: float

    @property
    def level(self) -> int:
        """How loudly to log it, as a :mod:`logging` level."""
        return logging.INFO


@record
class StateChanged(Event):
    """A service made a move of :data:`trioservice.lifecycle.MOVES`, after *seconds* in the old state."""

    old: State
    new: State
    seconds: float

    @property
    def level(self) -> int:
        """The way there is for the curious, the arrival for everybody."""
        return logging.DEBUG if self.new in (State.STARTING, State.STOPPING) else logging.INFO

    def __str__(self) -> str:
        if self.new is State.RUNNING:
            return f"running, after {_duration(self.seconds)} of starting"
        return self.new.value


@record
class StopRequested(Event):
    """A stop began here: at the root, or at a child that is stopped alone."""

    reason: str

    def __str__(self) -> str:
        return f"stopping: {self.reason}"


@record
class ErrorRaised(Event):
    """A service raised *error* while ``binding``, ``starting``, ``running``, ``stopping`` or ``releasing``.

    Args:
        alone: the error goes to whoever awaits that one service, not to the root's ``main``.
    """

    error: BaseException
    phase: str
    alone: bool

    @property
    def level(self) -> int:
        """What comes out of ``main`` is told there in full; what does not must be told here."""
        return logging.ERROR if self.alone else logging.INFO

    def __str__(self) -> str:
        said = f": {self.error}" if str(self.error) else ""
        return f"{type(self.error).__name__} while {self.phase}{said}"


@record
class DrainCut(Event):
    """A drain was not over when its budget was, *seconds* after it had begun."""

    seconds: float

    @property
    def level(self) -> int:
        """Something that was in progress was not finished; whoever granted no time at all knew that."""
        return logging.WARNING if self.seconds else logging.INFO

    def __str__(self) -> str:
        if not self.seconds:
            return "not drained, as no time was left; what was in progress is cancelled"
        return f"drain cut after {self.seconds:.1f} s; what was still in progress is cancelled"


@record
class StopOverdue(Event):
    """A leaf has not gone *seconds* after its cancellation; *tasks* are the lines where it stays."""

    seconds: float
    tasks: tuple[str, ...]

    @property
    def level(self) -> int:
        """Somebody waits for this."""
        return logging.WARNING

    def __str__(self) -> str:
        where = "; ".join(self.tasks) or "no task of it could be found"
        return f"still not stopped {self.seconds:.1f} s after it was cancelled: {where}"


@record
class ReloadBegan(Event):
    """The tree is about to read its files again."""

    def __str__(self) -> str:
        return "reloading"


@record
class ReloadFailed(Event):
    """A service could not read its files again: *error*; it goes on with what it had."""

    error: BaseException

    @property
    def level(self) -> int:
        """Whoever changed the files believes that the change is in force."""
        return logging.ERROR

    def __str__(self) -> str:
        return f"could not be reloaded, and goes on as it was: {type(self.error).__name__}: {self.error}"


@record
class ReloadEnded(Event):
    """All that wanted to have read their files again, in *seconds*; *failures* of them could not."""

    seconds: float
    failures: int

    def __str__(self) -> str:
        failed = f"; {self.failures} could not be" if self.failures else ""
        return f"reloaded, in {_duration(self.seconds)}{failed}"


@record
class ServiceAdded(Event):
    """A child was added to a running MultiService."""

    def __str__(self) -> str:
        return "added"


@record
class ServiceRemoved(Event):
    """A child left a running MultiService."""

    def __str__(self) -> str:
        return "removed"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


Listener: TypeAlias = Callable[[Event], object]


def log_event(event: Event) -> None:
    """The first listener of every tree: hand the event to the ``trioservice`` logger.

    The record carries the service's path as its attribute ``service``.  Where nobody has set up
    logging, Python shows warnings and worse on standard error, and nothing else.
    """
    level = event.level
    if logger.isEnabledFor(level):
        error = getattr(event, "error", None) if level >= logging.ERROR else None
        if isinstance(error, ServiceError):
            error = None  # it is a sentence to the operator already
        # Where it is the user's mistake, how we came to the user's code is of no help.
        raised = None if error is None else (type(error), error, users_traceback(error.__traceback__))
        logger.log(level, "%s: %s", event.path, event, exc_info=raised, extra={"service": event.path})


class Events:
    """The one stream of events of a tree: plain calls, one event at a time, in order.

    An event that a listener causes waits until every listener has heard the present one, so
    all of them hear everything in the same order.  A listener that raises is logged and keeps
    its seat: observers must not be able to change what they observe.
    """

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = (log_event,)
        self._waiting: deque[Event] = deque()
        self._telling = False

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* with every event from now on; the returned function ends that."""
        seat = partial(listener)  # so that a function subscribed twice has two seats
        self._listeners += (seat,)

        def unsubscribe() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not seat)

        return unsubscribe

    @property
    def heard(self) -> bool:
        """Whether anybody would notice an event of no more than INFO.

        Records for nobody are half the cost of stopping a small service, so the most frequent
        ones are not made then; the same courtesy as ``logging``'s ``isEnabledFor``.
        """
        return len(self._listeners) > 1 or logger.isEnabledFor(logging.INFO)

    def emit(self, event: Event) -> None:
        """Tell everybody, now or, from within a listener, as soon as the present event is told."""
        self._waiting.append(event)
        if self._telling:
            return
        self._telling = True
        while self._waiting:
            event = self._waiting.popleft()
            for listener in self._listeners:
                try:
                    listener(event)
                except BaseException:
                    logger.exception("%s: the listener %r raised on %r", event.path, listener, event)
        self._telling = False
