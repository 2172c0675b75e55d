"""The picture of a tree that somebody has in mind who only hears what is told of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import trio

from ..errors import StartInterrupted, StartTimeoutError
from ..events import (
    DrainCut,
    ErrorRaised,
    Event,
    ServiceAdded,
    ServiceRemoved,
    StateChanged,
    StopOverdue,
    StopRequested,
)
from ..lifecycle import State
from .diary import (
    Asked,
    BindingFailed,
    BoundTo,
    BranchSeen,
    DrainBegan,
    DrainEnded,
    Entered,
    Left,
    MainEnded,
    Released,
    SaidReady,
)

__all__ = ["ALIVE", "Scene", "is_below", "leaves_of", "origins", "parent_of"]

#: The states of a service that has a run.
ALIVE = (State.STARTING, State.RUNNING, State.STOPPING)

#: Of two moments that are the same but for the arithmetic.
_A_MOMENT = 1e-6


class Raised(NamedTuple):
    """An error that left somebody's code."""

    path: str
    error: BaseException


class Told(NamedTuple):
    """An error that an event told of; *alone*, if it goes to somebody who awaits one service."""

    origins: set[int]
    alone: bool


class Scene:
    """What is known of a tree after the events that it has learned of.

    Args:
        slack: by how many seconds what is due may be late.

    Attributes:
        time: of the last event.
        states: of each service, by path.
        ended: how each has ended in this run of what it is in.
        order: the children of each branch, in start order.
        meddled: the branches in which somebody has started, stopped, added or removed a child out of turn.
        failing: the services that something of their own ends.
        inside: the leaves that are in their run, by their own account; *said*: those that said so.
        to_drain: the leaves that are to be drained, or told not to be.
        draining: when each drain began, and its limit.
        budgets: of each branch that stops, or in which something has failed: since when, and how long.
        cancelled: when each leaf that stops was cancelled; *overdue*: how often it was told to be late.
        cancelled_at: when main was cancelled from outside; *cut_at*: when all drains were cut.
        bound: what is bound, in the order of binding; *unbound*: what could not be.
        raised: the errors that left services' code; *told*: those that events told of.
        exits: what left services' code to end the program.
        due: the branch that has to be finished until *due_until*.
        first_entered: whether anything has been run.
    """

    def __init__(self, slack: float = 0.0) -> None:
        self.slack = slack + _A_MOMENT
        self.time = -math.inf
        self.states: dict[str, State] = {}
        self.ended: dict[str, State] = {}
        self.order: dict[str, list[str]] = {}
        self.meddled: set[str] = set()
        self.failing: set[str] = set()
        self.inside: dict[str, None] = {}
        self.said: set[str] = set()
        self.to_drain: set[str] = set()
        self.draining: dict[str, tuple[float, float]] = {}
        self.budgets: dict[str, tuple[float, float]] = {}
        self.cancelled: dict[str, float] = {}
        self.overdue: dict[str, int] = {}
        self.cancelled_at = self.cut_at = math.inf
        self.bound: list[str] = []
        self.unbound: set[str] = set()
        self.raised: list[Raised] = []
        self.told: list[Told] = []
        self.exits: list[Raised] = []
        self.due: str | None = None
        self.due_until = math.inf
        self.first_entered = False
        self._drains: set[str] = set()
        self._options: dict[str, BranchSeen] = {}
        self._entered: dict[str, Entered] = {}

    # ---- what may be asked

    def state(self, path: str) -> State:
        """The state of a service; STOPPED, if nothing was ever told of it."""
        return self.states.get(path, State.STOPPED)

    def before(self, path: str) -> list[str]:
        """Its siblings that stand before it in start order."""
        siblings = self.order.get(parent_of(path), [])
        # One that was never heard of stands last.
        return siblings[: siblings.index(path)] if path in siblings else siblings

    def after(self, path: str) -> list[str]:
        """Its siblings that stand after it."""
        siblings = self.order.get(parent_of(path), [])
        return siblings[siblings.index(path) + 1 :] if path in siblings else []

    def starts_before(self, one: str, other: str) -> bool:
        """Whether *other* may be run only when *one* is ready, as what both are in starts, undisturbed."""
        top = _common(one, other)
        if self.meddled or self.state(top) is not State.STARTING:
            return False
        siblings = self.order.get(top, [])
        turn, later = _child_of(top, one), _child_of(top, other)
        return turn in siblings and later in siblings and siblings.index(turn) < siblings.index(later)

    def start_timeout(self, path: str) -> float:
        """Within how many seconds a service has to be ready, as far as that is known."""
        seen = self._entered.get(path) or self._options.get(path)
        return math.inf if seen is None or seen.start_timeout is None else seen.start_timeout

    def reports_due(self, path: str, now: float) -> int:
        """How often a leaf must have been told to be late, if it goes *now*."""
        entered = self._entered.get(path)
        if entered is None or not entered.stop_timeout:
            return 0
        stayed = now - self.cancelled.get(path, now)
        return int(max(0.0, stayed - self.slack) // entered.stop_timeout)

    def has_to_stay(self, branch: str) -> bool:
        """Whether a branch is known to have no reason to be finished."""
        seen = self._options.get(branch)
        if seen is None:
            return False
        left = [child for child in self.order[branch] if self.ended.get(child) is not State.FINISHED]
        return seen.keep_running or bool(left)

    # ---- what is learned

    def learn(self, event: Event) -> None:
        """What was told is so from now on."""
        if event.time > self.due_until:
            self.due = None
        self.time = max(self.time, event.time)
        learn = _LESSONS.get(type(event))
        if learn is not None:
            learn(self, event)

    def _change(self, event: StateChanged) -> None:
        path, parent = event.path, parent_of(event.path)
        self.states[path] = event.new
        if event.new is State.STARTING:
            self._begin(path, parent)
        elif event.new is State.STOPPING:
            self._begin_to_stop(event)
        elif event.new not in ALIVE:
            self.ended[path] = event.new
            self.budgets.pop(path, None)
            self.to_drain.discard(path)
            self.cancelled.pop(path, None)
        if event.new is State.FINISHED:
            self._expect_the_end_of(parent, event.time)

    def _begin(self, path: str, parent: str) -> None:
        self.ended = {ended: how for ended, how in self.ended.items() if not is_below(ended, path)}
        self.failing.discard(path)
        self.meddled.discard(path)
        self.said.discard(path)
        if self.due == parent:
            self.due = None  # it begins again before its parent could look
        siblings = self.order.setdefault(parent, [])
        if path not in siblings:
            siblings.append(path)

    def _begin_to_stop(self, event: StateChanged) -> None:
        self._spend_budget(event.path, event.time)
        self.cancelled[event.path] = event.time  # unless it is drained first
        self.overdue[event.path] = 0
        has_a_drain = event.path in self._drains and event.path in self.inside
        if has_a_drain and event.old is State.RUNNING:
            self.to_drain.add(event.path)

    def _spend_budget(self, branch: str, since: float) -> None:
        seen = self._options.get(branch)
        if seen is not None and seen.drain_timeout < math.inf:
            self.budgets.setdefault(branch, (since, seen.drain_timeout))

    def _expect_the_end_of(self, branch: str, now: float) -> None:
        seen = self._options.get(branch)
        if seen is None or seen.keep_running or self.state(branch) is not State.RUNNING:
            return
        if all(self.ended.get(child) is State.FINISHED for child in self.order[branch]):
            self.due, self.due_until = branch, now + self.slack

    def _see(self, event: BranchSeen) -> None:
        self._options[event.path] = event
        self.order[event.path] = list(event.children)
        self.due = None

    def _request(self, event: StopRequested) -> None:
        if event.reason == "main was cancelled":
            self.cancelled_at = event.time
        elif event.reason.endswith("all drains are cut"):
            self.cut_at = event.time
        if event.reason.endswith(" failed") or f" in {event.path}/" in event.reason:
            self.failing.add(event.path)
        else:
            self.meddled.add(parent_of(event.path))

    def _ask(self, event: Asked) -> None:
        self.meddled.add(parent_of(event.path))

    def _add_or_remove(self, event: Event) -> None:
        self.meddled.add(parent_of(event.path))
        siblings = self.order.get(parent_of(event.path), [])
        if isinstance(event, ServiceRemoved) and event.path in siblings:
            siblings.remove(event.path)

    def _tell(self, event: ErrorRaised) -> None:
        if isinstance(event.error, StartTimeoutError | KeyboardInterrupt | SystemExit):
            self.failing.add(event.path)  # its own failure; nobody's turn is awaited
        self.told.append(Told(set(map(id, origins(event.error))), event.alone))
        if not event.alone and event.phase in ("starting", "running"):
            # What is above it will end of this, and has that long from now on (L12).
            for branch in _above(event.path):
                if self.state(branch) in (State.STARTING, State.RUNNING):
                    self._spend_budget(branch, event.time)

    def _cut(self, event: DrainCut) -> None:
        self.to_drain.discard(event.path)

    def _report(self, event: StopOverdue) -> None:
        self.overdue[event.path] = self.overdue.get(event.path, 0) + 1

    def _enter(self, event: Entered) -> None:
        self.first_entered = True
        self.inside[event.path] = None
        self._entered[event.path] = event
        if event.drains:
            self._drains.add(event.path)

    def _say(self, event: SaidReady) -> None:
        if self.state(event.path) is not State.STOPPING:
            self.said.add(event.path)

    def _leave(self, event: Left) -> None:
        self.inside.pop(event.path, None)
        if not isinstance(event.error, trio.Cancelled):
            self.to_drain.discard(event.path)
        self._note_errors(event.path, event.error)

    def _drain(self, event: DrainBegan) -> None:
        self.to_drain.discard(event.path)
        self.draining[event.path] = event.time, event.limit
        self.cancelled.pop(event.path, None)

    def _end_drain(self, event: DrainEnded) -> None:
        self.draining.pop(event.path, None)
        self.cancelled[event.path] = event.time
        self._note_errors(event.path, event.error)

    def _note_errors(self, path: str, error: BaseException | None) -> None:
        parts = [Raised(path, one) for one in leaves_of(error)]
        self.raised += [part for part in parts if not _is_no_failure(part.error)]
        self.exits += [part for part in parts if isinstance(part.error, KeyboardInterrupt | SystemExit)]

    def _end_main(self, event: MainEnded) -> None:
        self.raised, self.told, self.exits = [], [], []
        self.cancelled_at = self.cut_at = math.inf
        self.first_entered = False

    def _bind(self, event: BoundTo) -> None:
        self.bound.append(event.path)
        self.unbound.discard(event.path)

    def _fail_to_bind(self, event: BindingFailed) -> None:
        self.unbound.add(event.path)
        self._note_errors(event.path, event.error)

    def _release(self, event: Released) -> None:
        if event.path in self.bound:
            self.bound.remove(event.path)


_LESSONS: dict[type[Event], Callable[[Scene, Any], None]] = {
    StateChanged: Scene._change,
    StopRequested: Scene._request,
    ErrorRaised: Scene._tell,
    DrainCut: Scene._cut,
    StopOverdue: Scene._report,
    ServiceAdded: Scene._add_or_remove,
    ServiceRemoved: Scene._add_or_remove,
    Asked: Scene._ask,
    BranchSeen: Scene._see,
    Entered: Scene._enter,
    SaidReady: Scene._say,
    Left: Scene._leave,
    DrainBegan: Scene._drain,
    DrainEnded: Scene._end_drain,
    BoundTo: Scene._bind,
    BindingFailed: Scene._fail_to_bind,
    Released: Scene._release,
    MainEnded: Scene._end_main,
}


# ---- paths


def parent_of(path: str) -> str:
    """The path of what it is in; empty for a root."""
    return path.rpartition("/")[0]


def _above(path: str) -> Iterator[str]:
    while path := parent_of(path):
        yield path


def is_below(path: str, top: str) -> bool:
    """Whether it is *top*, or below it."""
    return path == top or path.startswith(top + "/")


def _common(one: str, other: str) -> str:
    while not is_below(other, one):
        one = parent_of(one)
    return one


def _child_of(top: str, path: str) -> str:
    return "/".join(path.split("/")[: top.count("/") + 2])


# ---- errors


def leaves_of(error: BaseException | None) -> Iterator[BaseException]:
    """The single errors in a group, of any depth, or the one that it is."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from leaves_of(part)
    elif error is not None:
        yield error


def origins(error: BaseException | None) -> Iterator[BaseException]:
    """All that is in an error, and what was being handled when each was raised: one may hide the other."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from origins(part)
        error = error.__context__


def _is_no_failure(error: BaseException) -> bool:
    # What ends programs leaves main bare, and whom a stop has called off has not failed.
    return not isinstance(error, Exception) or isinstance(error, StartInterrupted)
