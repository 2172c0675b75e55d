"""Random trees with random faults, lived through in virtual time, and judged.

The judge is the one that users have, :func:`trioservice.testing.check_contract`, over the events and a diary.
Here stands what he cannot know: how the services were planned, who waits for what, and what was refused.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Awaitable, Callable, Iterator
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
from trioservice.lifecycle import State
from trioservice.service import MultiService, Service
from trioservice.testing.contract import check_contract
from trioservice.testing.diary import Asked, Diary, MainEnded

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


REQUESTS = ["stop", "stop", "stop_at_once", "restart", "start", "disown", "add", "start_service"]
OTHERS = ["main", "wait_running", "stop_all", "cancel", "signal"]

acts = st.builds(
    Act,
    at=moments,
    what=st.sampled_from([*REQUESTS, *OTHERS]),
    whom=st.integers(0, 20),
    plan=leaves,
)


# ---- living ----------------------------------------------------------------------------------


@dataclass
class Life:
    """One tree, and what becomes of it."""

    app: Application
    planned: list[Planned]  # the errors that were raised as planned
    outside: trio.CancelScope = field(default_factory=trio.CancelScope)
    outcome: BaseException | None = None  # what came out of main
    outcomes: list[tuple[Act, str, BaseException | None]] = field(default_factory=list)
    hung: bool = False
    leftover_runs: int = 0
    true: dict[str, bool] = field(default_factory=dict)  # what must be, and whether it was

    def __post_init__(self) -> None:
        self.diary = Diary(self.app)


class ScriptedLeaf(Service):
    """A leaf that behaves as planned."""

    def __init__(self, plan: Leaf, errors: list[Planned]) -> None:
        super().__init__(
            start_timeout=plan.start_timeout, drain_timeout=plan.drain_timeout, name=None, stop_timeout=5.0
        )
        self.plan, self.errors = plan, errors

    def _default_name(self) -> str:
        return "leaf"

    def planned(self, why: str) -> Planned:
        self.errors.append(Planned(f"{why} of {self.path}"))
        return self.errors[-1]

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        try:
            await self.work(task_status)
        finally:
            if self.plan.cleanup:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.plan.cleanup)
            if self.plan.cleanup_raises:
                raise self.planned("cleanup")

    async def work(self, task_status: trio.TaskStatus[object]) -> None:
        await trio.sleep(self.plan.start)
        if self.plan.start_fault == "raise":
            raise self.planned("start")
        if self.plan.start_fault == "return":
            return
        if self.plan.start_fault == "hang":
            await trio.sleep_forever()
        task_status.started(self.path)
        if self.plan.ends is None:
            await trio.sleep_forever()
        await trio.sleep(self.plan.ends_after)
        if self.plan.ends == "fail":
            raise self.planned("run")


class DrainingLeaf(ScriptedLeaf):
    """One that has something to finish when it is stopped."""

    async def drain(self) -> None:
        assert self.plan.drain is not None
        await trio.sleep(self.plan.drain)
        if self.plan.drain_raises:
            raise self.planned("drain")


class Binding:
    """Mixed into a leaf: it acquires something before it is run."""

    async def privileged_start(self: Any, stack: AsyncExitStack) -> None:
        await trio.lowlevel.checkpoint()
        if self.plan.bind == "raise":
            raise self.planned("bind")


class BindingLeaf(Binding, ScriptedLeaf):
    """A leaf that binds."""


class BindingDrainingLeaf(Binding, DrainingLeaf):
    """A leaf that binds and drains."""


def build(plan: Leaf | Branch, errors: list[Planned]) -> Service:
    """A service that behaves as planned."""
    if isinstance(plan, Leaf):
        kinds = {
            (False, False): ScriptedLeaf,
            (False, True): DrainingLeaf,
            (True, False): BindingLeaf,
            (True, True): BindingDrainingLeaf,
        }
        return kinds[plan.bind is not None, plan.drain is not None](plan, errors)
    return MultiService(
        *(build(child, errors) for child in plan.children),
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
    planned: list[Planned] = []
    app = Application(
        "app",
        *(build(child, planned) for child in plan.children),
        keep_running=plan.keep_running,
        start_timeout=plan.start_timeout,
        shutdown_timeout=shutdown_timeout,
        handle_signals=at_step is None,
    )
    life = Life(app, planned)
    instruments = [] if at_step is None else [at_step]
    trio.run(_live, life, script, at_step, clock=MockClock(autojump_threshold=0), instruments=instruments)
    return life


async def _live(life: Life, script: list[Act], at_step: AtStep | None) -> None:
    async with trio.open_nursery() as world:
        with life.outside:
            if at_step is not None:
                at_step.deed = {
                    "cancel": life.outside.cancel,
                    "stop": lambda: life.app._run and life.app._run.ask_stop(reason="stop() was called"),
                }[at_step.what]
            for act in script:
                world.start_soon(_do, act, life)
            with trio.move_on_after(END_OF_TIME) as patience:
                await _main_then_stop(life, script)
            life.hung = patience.cancelled_caught
        life.leftover_runs = sum(service._run is not None for service in everything(life.app))
        # Whoever still waits for something must be told by now.
        await trio.sleep(50)
        life.hung |= bool(world.child_tasks)
        world.cancel_scope.cancel()


async def _main_then_stop(life: Life, script: list[Act]) -> None:
    """Await main; when all that is planned has been done, somebody stops what still runs."""
    async with trio.open_nursery() as nursery:
        last = max((act.at for act in script), default=0.0)

        async def finally_stop() -> None:
            await trio.sleep(last + 60)
            await life.app.stop()

        nursery.start_soon(finally_stop)
        try:
            await life.app.main()
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
            life.diary.write(MainEnded, life.app.path, life.outcome)
            nursery.cancel_scope.cancel()


async def _do(act: Act, life: Life) -> None:
    await trio.sleep(act.at)
    services = list(everything(life.app))
    service = services[act.whom % len(services)]
    path = service.path
    life.diary.write(Asked, path, act.what)
    error: BaseException | None = None
    try:
        await DEEDS[act.what](act, service, life)
    except (ServicesFailed, StartInterrupted, ServiceStateError, ValueError) as raised:
        error = raised
    life.outcomes.append((act, path, error))


async def _stop(act: Act, service: Service, life: Life) -> None:
    await service.stop()


async def _stop_at_once(act: Act, service: Service, life: Life) -> None:
    await service.stop(drain=False)


async def _restart(act: Act, service: Service, life: Life) -> None:
    await service.restart()


async def _start(act: Act, service: Service, life: Life) -> None:
    await service.start()


async def _disown(act: Act, service: Service, life: Life) -> None:
    if service is life.app:
        return
    with suppress(ServicesFailed):
        await service.disown_service_parent()
    life.true[f"L9: {service.name} left"] = service.parent is None


async def _add(act: Act, service: Service, life: Life) -> None:
    _branch_of(service).add_service(build(act.plan, life.planned))


async def _start_service(act: Act, service: Service, life: Life) -> None:
    child = build(act.plan, life.planned)
    try:
        await _branch_of(service).start_service(child)
    except BaseException:
        life.true[f"L9: {child.name} failed and is gone"] = child.parent is None and child._run is None
        raise


def _branch_of(service: Service) -> MultiService:
    branch = service if isinstance(service, MultiService) else service.parent
    assert branch is not None
    return branch


async def _main(act: Act, service: Service, life: Life) -> None:
    busy = service._run is not None or (service.parent is not None and service.parent._run is not None)
    if not busy:
        return
    before = service.state
    try:
        await service.main()
    except ServiceStateError as error:
        undisturbed = service.path in str(error) and service.state is before
        life.true[f"L1: a second main of {service.name} disturbs nothing"] = undisturbed
    else:
        life.true["L1: a second main is refused"] = False


async def _wait_running(act: Act, service: Service, life: Life) -> None:
    if service.state is State.STARTING:
        await service.wait_running()


async def _stop_all(act: Act, service: Service, life: Life) -> None:
    await life.app.stop()


async def _cancel(act: Act, service: Service, life: Life) -> None:
    life.outside.cancel()


async def _signal(act: Act, service: Service, life: Life) -> None:
    if life.app._run is not None and sum(a.what == "signal" for a, _, _ in life.outcomes) < 2:
        signal.raise_signal(signal.SIGTERM)


DEEDS: dict[str, Callable[[Act, Service, Life], Awaitable[None]]] = {
    "stop": _stop,
    "stop_at_once": _stop_at_once,
    "restart": _restart,
    "start": _start,
    "disown": _disown,
    "add": _add,
    "start_service": _start_service,
    "main": _main,
    "wait_running": _wait_running,
    "stop_all": _stop_all,
    "cancel": _cancel,
    "signal": _signal,
}


# ---- judging ---------------------------------------------------------------------------------


def judge(life: Life) -> list[str]:
    """Every promise that was broken, by rule, in words."""
    complaints = [str(breach) for breach in check_contract(life.diary.events, slack=0)]
    complaints += [f"not true: {what}" for what, held in life.true.items() if not held]
    if life.hung:
        complaints.append("L2/L4: somebody waits for ever")
    if life.leftover_runs:
        complaints.append(f"L13: {life.leftover_runs} services still have a run")
    return complaints + list(_what_comes_out_was_raised_and_is_named(life))


def _what_comes_out_was_raised_and_is_named(life: Life) -> Iterator[str]:
    """L14: one flat group of what services raised, each with one note that gives its path."""
    if not isinstance(life.outcome, ServicesFailed):
        return
    # One that left the tree has another path by now.
    somebody_left = any(act.what == "disown" for act, _, _ in life.outcomes)
    for part in life.outcome.exceptions:
        notes = [note for note in getattr(part, "__notes__", ()) if note.startswith("in service ")]
        if len(notes) != 1:
            yield f"L14: {part!r} has the notes {notes}, not one path"
        if isinstance(part, BaseExceptionGroup):
            yield f"L14: a group is nested in what came out: {part!r}"
        if isinstance(part, Planned):
            path = str(part).rpartition(" of ")[2]
            if part not in life.planned:
                yield f"L14: {part!r} came out of main, but nobody raised it"
            if not somebody_left and not notes[0].endswith(path):
                yield f"L14: {part!r} does not name {path}"
        elif not isinstance(part, NotReadyError | StartTimeoutError | StartInterrupted | trio.Cancelled):
            yield f"L14: {part!r} came out of main, but nobody raised it"
