"""Random trees with random faults, lived through in virtual time, and a judge who knows the contract.

Two witnesses see every life: the tree's events, and the services themselves, who write into a
*diary* of their own what was done to them.  The judge never asks the heart anything; he
compares what both witnesses say with the rules, and answers in words.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import trio
from hypothesis import strategies as st
from trio.testing import MockClock

from trioservice.application import Application
from trioservice.errors import (
    NotReadyError,
    ServicesFailed,
    ServiceStateError,
    StartInterrupted,
    StartTimeoutError,
)
from trioservice.events import ErrorRaised, Event, StateChanged, StopOverdue, StopRequested
from trioservice.lifecycle import MOVES, State
from trioservice.service import MultiService, Service

END_OF_TIME = 100_000.0  # virtual seconds; a life that lasts longer hangs


class Planned(Exception):
    """An error that a service was planned to raise."""


# ---- plans -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """How one leaf will behave."""

    start: float = 0.0  # seconds until it is ready
    start_fault: str | None = None  # "raise", "return", "hang"
    start_timeout: float | None = None
    ends: str | None = None  # "finish", "fail"
    ends_after: float = 1.0
    drain: float | None = None  # seconds; None has no drain
    drain_raises: bool = False
    drain_timeout: float = 4.0
    cleanup: float = 0.0  # seconds for which it does not react to its cancellation
    cleanup_raises: bool = False
    bind: str | None = None  # "ok", "raise"


@dataclass(frozen=True)
class Branch:
    """A MultiService and its children."""

    children: tuple[Any, ...]
    keep_running: bool = False
    drain_timeout: float | None = None
    start_timeout: float | None = None


@dataclass(frozen=True)
class Act:
    """Something that somebody does to the tree at a moment."""

    at: float
    what: str
    whom: int = 0  # an index into the services there are, modulo their number
    plan: Any = None


moments = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0])
rarely = st.sampled_from([False] * 5 + [True])

leaves = st.builds(
    Leaf,
    start=st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0]),
    start_fault=st.sampled_from([None] * 9 + ["raise", "return", "hang"]),
    start_timeout=st.sampled_from([None, None, None, 2.0]),
    ends=st.sampled_from([None] * 5 + ["finish", "finish", "fail"]),
    ends_after=moments,
    drain=st.sampled_from([None, None, 0.0, 1.0, 6.0, math.inf]),
    drain_raises=rarely,
    drain_timeout=st.sampled_from([0.0, 2.0, 4.0]),
    cleanup=st.sampled_from([0.0, 0.0, 0.0, 1.0, 12.0]),
    cleanup_raises=rarely,
    bind=st.sampled_from([None, None, "ok", "ok", "ok"] * 3 + ["raise"]),
)


def trees(depth: int = 5) -> st.SearchStrategy[Branch]:
    """Trees of at most *depth* levels below the root."""
    node: st.SearchStrategy[Any] = leaves
    for _ in range(depth - 1):
        node = st.one_of(leaves, leaves, branches(node))
    return branches(node)


def branches(node: st.SearchStrategy[Any]) -> st.SearchStrategy[Branch]:
    """A MultiService over *node*."""
    return st.builds(
        Branch,
        children=st.lists(node, max_size=4).map(tuple),
        keep_running=st.sampled_from([True, True, False]),
        drain_timeout=st.sampled_from([None, None, 3.0]),
        start_timeout=st.sampled_from([None, None, None, 4.0]),
    )


REQUESTS = ["stop", "stop", "stop at once", "restart", "start", "disown", "add", "start_service"]
OTHERS = ["main", "wait_running", "stop all", "cancel", "signal"]

acts = st.builds(
    Act,
    at=moments,
    what=st.sampled_from([*REQUESTS, *OTHERS]),
    whom=st.integers(0, 20),
    plan=leaves,
)


# ---- living ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One line of the diary."""

    number: int
    time: float
    path: str
    what: str
    error: BaseException | None = None


@dataclass
class Life:
    """What became of one tree."""

    plan: Branch
    events: list[tuple[int, Event, tuple[str, ...]]] = field(default_factory=list)
    diary: list[Entry] = field(default_factory=list)
    outcome: BaseException | None = None  # what came out of main
    outcomes: list[tuple[Act, str, BaseException | None]] = field(
        default_factory=list
    )  # of what was done to it
    cancelled_at: float | None = None
    cancelled_caught: bool = False
    stopped_alone: list[tuple[int, str]] = field(default_factory=list)
    hung: bool = False
    ready_at: list[tuple[int, str]] = field(default_factory=list)
    leftover_tasks: int = 0
    children_after: dict[str, bool] = field(default_factory=dict)
    _numbers: int = 0

    def number(self) -> int:
        """The next in the one order of everything that is noticed."""
        self._numbers += 1
        return self._numbers

    def write(self, service: Service, what: str, error: BaseException | None = None) -> None:
        """What a service notes in its diary."""
        self.diary.append(Entry(self.number(), trio.current_time(), service.path, what, error))


class ScriptedLeaf(Service):
    """A leaf that behaves as planned and keeps a diary."""

    def __init__(self, plan: Leaf, life: Life) -> None:
        super().__init__(
            start_timeout=plan.start_timeout, drain_timeout=plan.drain_timeout, name=None, stop_timeout=5.0
        )
        self.plan, self.life = plan, life

    def _default_name(self) -> str:
        return "leaf"

    def note(self, what: str, error: BaseException | None = None) -> None:
        self.life.write(self, what, error)

    def planned(self, why: str) -> Planned:
        error = Planned(why)
        self.note("raises", error)
        return error

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        self.note("enters")
        try:
            await self.work(task_status)
        except trio.Cancelled:
            self.note("cancelled")
            raise
        finally:
            try:
                if self.plan.cleanup:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(self.plan.cleanup)
                if self.plan.cleanup_raises:
                    raise self.planned("cleanup")
            finally:
                self.note("leaves")

    async def work(self, task_status: trio.TaskStatus[object]) -> None:
        await trio.sleep(self.plan.start)
        if self.plan.start_fault == "raise":
            raise self.planned("start")
        if self.plan.start_fault == "return":
            return
        if self.plan.start_fault == "hang":
            await trio.sleep_forever()
        self.note("says ready")
        task_status.started(self.path)
        if self.plan.ends is None:
            await trio.sleep_forever()
        await trio.sleep(self.plan.ends_after)
        if self.plan.ends == "fail":
            raise self.planned("run")
        self.note("returns")


class DrainingLeaf(ScriptedLeaf):
    """One that has something to finish when it is stopped."""

    async def drain(self) -> None:
        self.note("drains")
        try:
            assert self.plan.drain is not None
            await trio.sleep(self.plan.drain)
            if self.plan.drain_raises:
                raise self.planned("drain")
        finally:
            self.note("has drained")


class Binding:
    """Mixed into a leaf: it acquires something before it is run."""

    async def privileged_start(self: Any, stack: AsyncExitStack) -> None:
        self.note("binds")
        path = self.path
        stack.callback(
            lambda: self.life.diary.append(
                Entry(self.life.number(), trio.current_time(), path, "is released")
            )
        )
        await trio.lowlevel.checkpoint()
        if self.plan.bind == "raise":
            raise self.planned("bind")


class BindingLeaf(Binding, ScriptedLeaf):
    """A leaf that binds."""


class BindingDrainingLeaf(Binding, DrainingLeaf):
    """A leaf that binds and drains."""


def build(plan: Leaf | Branch, life: Life) -> Service:
    """A service that behaves as planned."""
    if isinstance(plan, Leaf):
        kinds = {
            (False, False): ScriptedLeaf,
            (False, True): DrainingLeaf,
            (True, False): BindingLeaf,
            (True, True): BindingDrainingLeaf,
        }
        return kinds[plan.bind is not None, plan.drain is not None](plan, life)
    return MultiService(
        *(build(child, life) for child in plan.children),
        keep_running=plan.keep_running,
        drain_timeout=plan.drain_timeout,
        start_timeout=plan.start_timeout,
    )


def everything(service: Service) -> Iterator[Service]:
    """*service* and all below it."""
    yield service
    if isinstance(service, MultiService):
        for child in service:
            yield from everything(child)


class AtStep(trio.abc.Instrument):
    """Does something before the n-th step of any task: every checkpoint is such a moment."""

    def __init__(self, step: int, what: str) -> None:
        self.left, self.what = step, what
        self.deed: Callable[[], object] | None = None
        self.done = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.deed is None or self.done:
            return
        self.left -= 1
        if self.left <= 0:
            self.done = True
            self.deed()


def live(
    plan: Branch, script: list[Act], *, shutdown_timeout: float | None = 30.0, at_step: AtStep | None = None
) -> Life:
    """Live through one life, in virtual time."""
    life = Life(plan)
    trio.run(
        _live,
        plan,
        script,
        shutdown_timeout,
        life,
        at_step,
        clock=MockClock(autojump_threshold=0),
        instruments=[] if at_step is None else [at_step],
    )
    return life


async def _live(
    plan: Branch, script: list[Act], shutdown_timeout: float | None, life: Life, at_step: AtStep | None
) -> None:
    app = Application(
        "app",
        *(build(child, life) for child in plan.children),
        keep_running=plan.keep_running,
        start_timeout=plan.start_timeout,
        shutdown_timeout=shutdown_timeout,
        handle_signals=at_step is None,
    )

    def hear(event: Event) -> None:
        siblings: tuple[str, ...] = ()
        if isinstance(event, StateChanged):
            service = by_path(app, event.path)
            if service is not None and service.parent is not None:
                siblings = tuple(other.path for other in service.parent)
        life.events.append((life.number(), event, siblings))

    app.subscribe(hear)
    async with trio.open_nursery() as world:
        with trio.CancelScope() as outside:
            if at_step is not None:
                at_step.deed = {
                    "cancel": lambda: _cancel_now(app, life, outside),
                    "stop": lambda: app._run and app._run.ask_stop(reason="stop() was called"),
                }[at_step.what]
            for act in script:
                world.start_soon(_do, act, app, life, outside)
            with trio.move_on_after(END_OF_TIME) as patience:
                await _main_then_stop(app, life, script)
            life.hung = patience.cancelled_caught
        life.cancelled_caught = outside.cancelled_caught
        life.leftover_tasks = sum(service._run is not None for service in everything(app))
        life.number()
        # Whoever still waits for something must be told by now.
        await trio.sleep(50)
        life.hung |= bool(world.child_tasks)
        world.cancel_scope.cancel()


async def _main_then_stop(app: Application, life: Life, script: list[Act]) -> None:
    """Await main; when all that is planned has been done, somebody stops what still runs."""
    async with trio.open_nursery() as nursery:
        last = max((act.at for act in script), default=0.0)

        async def finally_stop() -> None:
            await trio.sleep(last + 60)
            await app.stop()

        nursery.start_soon(finally_stop)
        try:
            await app.main()
        except BaseException as error:
            life.outcome = error
            if isinstance(error, trio.Cancelled) or not isinstance(
                error, BaseExceptionGroup | StartInterrupted
            ):
                raise
            cancelled, _ = (
                error.split(trio.Cancelled) if isinstance(error, BaseExceptionGroup) else (None, None)
            )
            if cancelled is not None:
                raise cancelled from None
        finally:
            nursery.cancel_scope.cancel()


async def _do(act: Act, app: Application, life: Life, outside: trio.CancelScope) -> None:
    await trio.sleep(act.at)
    services = list(everything(app))
    service = services[act.whom % len(services)]
    path = service.path
    error: BaseException | None = None
    try:
        await DEEDS[act.what](act, app, service, life, outside)
    except (ServicesFailed, StartInterrupted, ServiceStateError, ValueError) as raised:
        error = raised
    life.outcomes.append((act, path, error))


def _alone(service: Service, app: Application, life: Life) -> None:
    if service is not app:
        life.stopped_alone.append((life.number(), service.path))


async def _stop(act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope) -> None:
    _alone(service, app, life)
    await service.stop()


async def _stop_at_once(
    act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope
) -> None:
    _alone(service, app, life)
    await service.stop(drain=False)


async def _restart(
    act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope
) -> None:
    _alone(service, app, life)
    await service.restart()


async def _start(act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope) -> None:
    await service.start()
    life.ready_at.append((life.number(), service.path))


async def _disown(
    act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope
) -> None:
    if service is app:
        return
    _alone(service, app, life)
    with suppress(ServicesFailed):
        await service.disown_service_parent()
    life.children_after[f"{service.name} left"] = service.parent is None


async def _add(act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope) -> None:
    parent = service if isinstance(service, MultiService) else service.parent
    assert parent is not None
    parent.add_service(build(act.plan, life))


async def _start_service(
    act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope
) -> None:
    parent = service if isinstance(service, MultiService) else service.parent
    assert parent is not None
    child = build(act.plan, life)
    try:
        await parent.start_service(child)
    except BaseException:
        # L9: it failed, so it is gone and is not left in the parent.
        life.children_after[f"{child.name} failed and is gone"] = child.parent is None and child._run is None
        raise


async def _main(act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope) -> None:
    busy = service._run is not None or (service.parent is not None and service.parent._run is not None)
    if not busy:
        return
    before = service.state
    try:
        await service.main()
    except ServiceStateError as error:
        # L1: a second main is refused, names the path, and disturbs nothing.
        life.children_after[f"a second main of {service.name}"] = (
            service.path in str(error) and service.state is before
        )
    else:
        life.children_after["a second main was refused"] = False


async def _wait_running(
    act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope
) -> None:
    if service.state is State.STARTING:
        await service.wait_running()


async def _stop_all(
    act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope
) -> None:
    await app.stop()


async def _cancel(
    act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope
) -> None:
    _cancel_now(app, life, outside)


def _cancel_now(app: Application, life: Life, outside: trio.CancelScope) -> None:
    if app._run is not None and life.cancelled_at is None:
        life.cancelled_at = trio.current_time()
    outside.cancel()


async def _signal(
    act: Act, app: Application, service: Service, life: Life, outside: trio.CancelScope
) -> None:
    if app._run is not None and sum(a.what == "signal" for a, _, _ in life.outcomes) < 2:
        signal.raise_signal(signal.SIGTERM)


DEEDS: dict[str, Callable[..., Any]] = {
    "stop": _stop,
    "stop at once": _stop_at_once,
    "restart": _restart,
    "start": _start,
    "disown": _disown,
    "add": _add,
    "start_service": _start_service,
    "main": _main,
    "wait_running": _wait_running,
    "stop all": _stop_all,
    "cancel": _cancel,
    "signal": _signal,
}


def by_path(app: Application, path: str) -> Service | None:
    """The service of that path, if it is in the tree."""
    return next((service for service in everything(app) if service.path == path), None)


# ---- judging ---------------------------------------------------------------------------------


def judge(life: Life) -> list[str]:
    """Every promise that was broken, by rule, in words."""
    complaints = [
        complaint
        for rule in (
            _nothing_hangs,
            _moves_are_legal,
            _children_start_in_order,
            _children_stop_in_reverse,
            _everybody_leaves,
            _no_error_is_lost_or_invented,
            _cancellation_is_kept,
            _drains_keep_their_budgets,
            _what_is_bound_is_released_once_in_reverse,
            _finished_means_finished,
            _the_stuck_are_reported,
        )
        for complaint in rule(life)
    ]
    complaints += [f"L1/L9: not true: {what}" for what, held in life.children_after.items() if not held]
    return complaints


def _changes(life: Life) -> list[tuple[int, StateChanged, tuple[str, ...]]]:
    return [
        (number, event, siblings)
        for number, event, siblings in life.events
        if isinstance(event, StateChanged)
    ]


def _nothing_hangs(life: Life) -> Iterator[str]:
    if life.hung:
        yield "L2/L4: somebody waits for ever"


def _moves_are_legal(life: Life) -> Iterator[str]:
    """L1, L19: the events tell one connected walk along the table."""
    legal = {(old, new) for (old, _), new in MOVES.items()}
    states: dict[str, State] = {}
    time = -math.inf
    for _, event, _ in life.events:
        if event.time < time:
            yield f"L19: {event} was told out of order"
        time = event.time
        if isinstance(event, StateChanged):
            # A path may be taken again by another service, whose life begins with STARTING.
            before = states.get(event.path, event.old)
            if event.old is not before and event.new is not State.STARTING:
                yield f"L19: {event.path} went to {event.new} from {event.old}, but was {before}"
            if (event.old, event.new) not in legal:
                yield f"L1: {event.path} made an illegal move from {event.old} to {event.new}"
            states[event.path] = event.new
    alive = [path for path, state in states.items() if state in ALIVE]
    if alive:
        yield f"L13: main is over, but still alive are {alive}"


ALIVE = {State.STARTING, State.RUNNING, State.STOPPING}


def _children_start_in_order(life: Life) -> Iterator[str]:
    """L5, L7, L8: nobody starts before all before it are ready, or in a parent that is ending."""
    states: dict[str, State] = {}
    for _, event, siblings in _changes(life):
        parent = event.path.rpartition("/")[0]
        if event.new is State.STARTING and parent:
            if states.get(parent) not in (State.STARTING, State.RUNNING):
                yield f"L7/L9: {event.path} was started while {parent} was {states.get(parent)}"
            if states.get(parent) is State.STARTING and event.path in siblings:
                for earlier in siblings[: siblings.index(event.path)]:
                    if states.get(earlier, State.STOPPED) is State.STARTING and not _was_meddled_with(
                        life, parent
                    ):
                        yield f"L5: {event.path} was started while {earlier}, before it, was not ready"
        states[event.path] = event.new
        if event.new is State.RUNNING:
            for other, state in states.items():
                if (
                    other.rpartition("/")[0] == event.path
                    and state is State.STARTING
                    and not _was_meddled_with(life, event.path)
                ):
                    yield f"L5: {event.path} was ready before {other}"
    entered = [entry for entry in life.diary if entry.what in ("enters", "says ready")]
    if not any(
        act.what in ("add", "start_service", "restart", "start", "disown", "stop", "stop at once")
        for act, _, _ in life.outcomes
    ):
        # Nobody has meddled: the diaries alone must show one straight line.
        waiting: str | None = None
        for entry in entered:
            if entry.what == "enters":
                if waiting is not None:
                    yield f"L5: {entry.path} was entered before {waiting} had said that it is ready"
                waiting = entry.path
            elif entry.path == waiting:
                waiting = None


def _was_meddled_with(life: Life, parent: str) -> bool:
    """Whether somebody started or restarted a child of *parent* out of turn."""
    return any(
        act.what in ("restart", "start", "add", "start_service", "disown") and path.startswith(parent)
        for act, path, _ in life.outcomes
    )


def _children_stop_in_reverse(life: Life) -> Iterator[str]:
    """L6: in a parent's stop, a child's stop begins when every later sibling is gone."""
    states: dict[str, State] = {}
    failing: set[str] = set()
    inside: dict[str, set[str]] = {}  # leaves that are in their run, by their own account
    story: list[tuple[int, Any, tuple[str, ...]]] = [*life.events, *((e.number, e, ()) for e in life.diary)]
    for _, fact, siblings in sorted(story, key=lambda item: item[0]):
        if isinstance(fact, Entry):
            if fact.what == "enters":
                inside.setdefault(fact.path, set()).add(fact.path)
            elif fact.what == "leaves":
                inside.pop(fact.path, None)
        elif isinstance(fact, StopRequested) and fact.reason.endswith(" failed"):
            failing.add(fact.path)
        elif isinstance(fact, ErrorRaised) and isinstance(fact.error, StartTimeoutError):
            failing.add(
                fact.path
            )  # its own failure, like one that it raises itself; nobody's turn is awaited
        elif isinstance(fact, StateChanged):
            parent = fact.path.rpartition("/")[0]
            if fact.new is State.STOPPING:
                # A branch in which something failed ends itself, at once (L14).
                if (
                    states.get(parent) is State.STOPPING
                    and fact.path in siblings
                    and fact.path not in failing
                ):
                    for later in siblings[siblings.index(fact.path) + 1 :]:
                        still = [path for path in inside if path == later or path.startswith(later + "/")]
                        if states.get(later) in ALIVE or still:
                            yield f"L6: {fact.path} began to stop while {later}, after it, was not gone"
            elif fact.new in (State.STOPPED, State.FAILED, State.FINISHED):
                still = [path for path in inside if path == fact.path or path.startswith(fact.path + "/")]
                if still:
                    yield f"L6: {fact.path} was told to be {fact.new} while {still} had not left"
            states[fact.path] = fact.new


def _everybody_leaves(life: Life) -> Iterator[str]:
    """L13: when main is over, everybody who entered has left."""
    if life.leftover_tasks:
        yield f"L13: {life.leftover_tasks} services still have a run"
    count: dict[str, int] = {}
    for entry in life.diary:
        count[entry.path] = count.get(entry.path, 0) + {"enters": 1, "leaves": -1}.get(entry.what, 0)
        if count[entry.path] > 1:
            yield f"L1: {entry.path} was run twice at a time"
    yield from (f"L13: {path} never left" for path, here in count.items() if here)


def _parts(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [part for sub in error.exceptions for part in _parts(sub)]
    return [] if error is None else [error]


def _origins(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what was being handled when it was raised: in a ``finally``, one hides the other."""
    while error is not None:
        yield error
        error = error.__context__


def _no_error_is_lost_or_invented(life: Life) -> Iterator[str]:
    """L13, L14: what was raised comes out of main, or went to whoever awaited that one service."""
    if isinstance(life.outcome, ServicesFailed):
        for part in life.outcome.exceptions:
            notes = [note for note in getattr(part, "__notes__", ()) if note.startswith("in service ")]
            if len(notes) != 1:
                yield f"L14: {part!r} has the notes {notes}, not one path"
            if isinstance(part, BaseExceptionGroup):
                yield f"L14: a group is nested in what came out: {part!r}"
    out = [origin for part in _parts(life.outcome) for origin in _origins(part)]
    told = {
        id(origin): event
        for _, event, _ in life.events
        if isinstance(event, ErrorRaised)
        for origin in _origins(event.error)
    }
    for entry in life.diary:
        if entry.error is None:
            continue
        event = told.get(id(entry.error))
        came_out = any(part is entry.error for part in out)
        if event is None:
            yield f"L19: no event tells of {entry.error!r} of {entry.path}"
        elif not came_out and not event.alone:
            yield f"L13: {entry.error!r} of {entry.path} is lost"
        elif came_out and event.alone:
            yield f"L13: {entry.error!r} of {entry.path} belonged to an awaiter and came out of main"
        # One that left the tree has another path by now.
        named = any(note.endswith(entry.path) for note in getattr(entry.error, "__notes__", ()))
        left = any(act.what == "disown" for act, _, _ in life.outcomes)
        if any(part is entry.error for part in _parts(life.outcome)) and not (named or left):
            yield f"L14: {entry.error!r} does not name {entry.path}"
        if event is not None and event.alone and not _somebody_asked_for(life, entry):
            yield f"L13: {entry.error!r} of {entry.path} was kept from main, but nobody awaited it alone"
    planned = {id(entry.error) for entry in life.diary}
    for part in _parts(life.outcome):
        if id(part) not in planned and not isinstance(
            part, NotReadyError | StartTimeoutError | StartInterrupted | trio.Cancelled
        ):
            yield f"L14: {part!r} came out of main, but nobody raised it"


def _somebody_asked_for(life: Life, entry: Entry) -> bool:
    """Whether a service on the way up from *entry* was stopped alone, or started by start_service."""
    asked = [path for _, path in life.stopped_alone]
    started = any(act.what == "start_service" for act, _, _ in life.outcomes)
    return started or any(entry.path == path or entry.path.startswith(path + "/") for path in asked)


def _cancellation_is_kept(life: Life) -> Iterator[str]:
    """L10, L17: a cancellation from outside is answered by Cancelled, and skips every drain."""
    if life.cancelled_at is None:
        return
    if not life.cancelled_caught:
        yield "L17: main was cancelled from outside, and swallowed it"
    for entry in life.diary:
        # Within the instant of the cancellation, one that had been asked for may still begin.
        if entry.what in ("drains", "has drained") and entry.time > life.cancelled_at:
            yield f"L10: {entry.path} {entry.what} although main was cancelled"


def _drains_keep_their_budgets(life: Life) -> Iterator[str]:
    """L10: no drain is longer than its own time, or goes on when an ancestor's time is up."""
    begun: dict[str, float] = {}
    for entry in life.diary:
        if entry.what == "drains":
            begun[entry.path] = entry.time
        elif entry.what == "has drained" and entry.path in begun:
            if entry.time - begun[entry.path] > 4.0 + 1e-6:
                yield f"L10: {entry.path} drained for {entry.time - begun[entry.path]} s"
            for path, since, limit in _budgets(life):
                # Only a budget that began before this drain, in the same stop, binds it.
                bound = entry.path.startswith(path + "/") and since <= begun[entry.path]
                late = entry.time > since + limit + 1e-6
                if bound and late and not _has_ended_since(life, path, since, entry.time):
                    yield f"L10: {entry.path} drained beyond the budget of {path}"


def _budgets(life: Life) -> Iterator[tuple[str, float, float]]:
    """The drain budgets of branches that were planned to have one: path, since when, how long."""
    limits = {path: plan.drain_timeout for path, plan in _branches(life.plan, "app") if path != "app"}
    for _, event, _ in _changes(life):
        if event.new is State.STOPPING and limits.get(event.path) is not None:
            yield event.path, event.time, limits[event.path] or 0.0


def _branches(plan: Branch, path: str) -> Iterator[tuple[str, Branch]]:
    """Every branch of a plan, with the path that it will have."""
    yield path, plan
    taken: set[str] = set()
    for child in plan.children:
        base = "leaf" if isinstance(child, Leaf) else "MultiService"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        if isinstance(child, Branch):
            yield from _branches(child, f"{path}/{name}")


def _has_ended_since(life: Life, path: str, since: float, until: float) -> bool:
    return any(
        event.path == path and since <= event.time <= until and event.new not in ALIVE
        for _, event, _ in _changes(life)
    )


def _what_is_bound_is_released_once_in_reverse(life: Life) -> Iterator[str]:
    """L18: bound once before anything runs, kept over restarts, released once, in reverse."""
    held: list[str] = []
    meddled = any(act.what in ("add", "start_service", "disown") for act, _, _ in life.outcomes)
    for entry in life.diary:
        if entry.what == "binds":
            if entry.path in held:
                yield f"L18: {entry.path} was bound twice"
            if not meddled and any(
                other.what == "enters" and other.number < entry.number for other in life.diary
            ):
                yield f"L18: {entry.path} was bound after something ran"
            held.append(entry.path)
        elif entry.what == "is released":
            if entry.path not in held:
                yield f"L18: {entry.path} was released, and is not bound"
                continue
            if not meddled and held[-1] != entry.path:
                yield f"L18: {entry.path} was released before {held[-1]}, which was bound after it"
            held.remove(entry.path)
        elif (
            entry.what == "enters"
            and any(
                other.path == entry.path and other.what == "raises" and str(other.error) == "bind"
                for other in life.diary
            )
            and not meddled
        ):
            yield f"L18: {entry.path} could not be bound, and was run"
    if held:
        yield f"L18: never released: {held}"


def _finished_means_finished(life: Life) -> Iterator[str]:
    """L15: a branch all of whose children have finished is finished in the same moment."""
    kept = {path: plan.keep_running for path, plan in _branches(life.plan, "app")}
    finished: dict[str, set[str]] = {}
    history = _changes(life)
    for place, (_, event, siblings) in enumerate(history):
        parent = event.path.rpartition("/")[0]
        here = finished.setdefault(parent, set())
        here.discard(event.path)
        if event.new is State.FINISHED:
            here.add(event.path)
            if siblings and here >= set(siblings) and kept.get(parent) is False:
                told = [other for _, other, _ in history[place + 1 :] if other.path == parent]
                up = [other for _, other, _ in history[:place] if other.path == parent]
                if up and up[-1].new is State.RUNNING and not (told and told[0].time == event.time):
                    yield f"L15: all children of {parent} have finished, and it has not"
        elif event.new is State.STARTING and parent == "":
            finished.clear()


def _the_stuck_are_reported(life: Life) -> Iterator[str]:
    """L11: a leaf that was cancelled and is not gone after its stop_timeout is reported."""
    cancelled: dict[str, float] = {}
    for entry in life.diary:
        if entry.what == "cancelled":
            cancelled[entry.path] = entry.time
        elif entry.what == "leaves" and entry.path in cancelled:
            stayed = entry.time - cancelled.pop(entry.path)
            told = [
                event
                for _, event, _ in life.events
                if isinstance(event, StopOverdue) and event.path == entry.path and event.tasks
            ]
            if len(told) < int((stayed - 1e-6) // 5.0):
                yield f"L11: {entry.path} stayed for {stayed} s, and that was told {len(told)} times"
