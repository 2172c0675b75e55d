"""Each promise of the contract, by itself; test_run.py holds them all together against chance."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from world import AtStep

from trioservice import (
    Application,
    MultiService,
    NotReadyError,
    Service,
    ServicesFailed,
    ServiceStateError,
    StartInterrupted,
    StartTimeoutError,
    State,
    TaskService,
    TreeError,
    current_service,
)
from trioservice.errors import UnknownServiceError, paths_of
from trioservice.events import DrainCut, Event, StateChanged, StopOverdue
from trioservice.run import walk


class Leaf(Service):
    """Tells a story of what happens to it."""

    def __init__(self, story: list[str], name: str, *, slow: float = 0, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.story, self.slow = story, slow

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        self.story.append(f"{self.name} starts")
        try:
            await trio.sleep(self.slow)
            self.story.append(f"{self.name} is ready")
            task_status.started(self.name)
            await trio.sleep_forever()
        finally:
            self.story.append(f"{self.name} ends")


class Draining(Leaf):
    """Has something to finish."""

    def __init__(self, story: list[str], name: str, *, takes: float = 1, **options: Any) -> None:
        super().__init__(story, name, **options)
        self.takes = takes

    async def drain(self) -> None:
        self.story.append(f"{self.name} drains")
        await trio.sleep(self.takes)
        self.story.append(f"{self.name} has drained")


async def fails(after: float = 0, error: BaseException | None = None) -> None:
    await trio.sleep(after)
    raise error or ValueError("boom")


async def returns(after: float = 0) -> None:
    await trio.sleep(after)


async def stubborn(seconds: float, *, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)


async def bad_at_stopping(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("while stopping")


@contextlib.asynccontextmanager
async def running(root: Service) -> AsyncIterator[Service]:
    """*root*, ready; stopped afterwards, unless it has ended by itself."""
    async with trio.open_nursery() as nursery:
        await nursery.start(root.main)
        yield root
        await root.stop()


def the_error(failure: BaseException | None) -> BaseException:
    """The one error in a flat group."""
    assert isinstance(failure, ServicesFailed)
    (error,) = failure.exceptions
    return error


# ---- L1, L2, L3: one life at a time


async def test_main_is_starting_before_its_first_checkpoint(autojump_clock: MockClock) -> None:
    """Whoever calls main can rely on the state at once."""
    leaf = Leaf([], "a")
    states: list[State] = []

    class AfterEachStep(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if task.name.endswith("main"):
                states.append(leaf.state)

    async with trio.open_nursery() as nursery:
        trio.lowlevel.add_instrument(AfterEachStep())
        nursery.start_soon(leaf.main)
        await trio.sleep(1)
        await leaf.stop()
    assert states[0] is State.STARTING  # L1


async def test_a_second_main_is_refused_and_disturbs_nothing(autojump_clock: MockClock) -> None:
    """The message names path and state."""
    leaf = Leaf([], "a")
    async with running(MultiService(leaf, name="root")) as root:
        for busy in (leaf, root):
            with pytest.raises(ServiceStateError, match=busy.path):
                await busy.main()  # L1
        assert leaf.state is root.state is State.RUNNING
    slow = Leaf([], "slow", slow=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.main)
        await trio.sleep(1)
        with pytest.raises(ServiceStateError, match="'slow' is starting"):
            await slow.main()
        await slow.stop()


async def test_a_tree_does_not_take_over_a_service_that_runs_on_its_own(autojump_clock: MockClock) -> None:
    """Neither by main nor by adding the branch it is in; what it has bound is not touched."""
    story: list[str] = []
    root = MultiService(MultiService(lonely := Bound(story, "lonely"), name="branch"), name="root")
    elsewhere = MultiService(name="elsewhere")
    async with running(lonely):
        with pytest.raises(ServiceStateError, match="lonely"):
            await root.main()  # L1
        with pytest.raises(ServiceStateError, match="lonely"):
            elsewhere.add_service(root)
        assert story.count("lonely binds") == 1
        assert root.parent is None
    async with running(root):
        await lonely.stop()
        with pytest.raises(ServiceStateError, match="belongs to 'root/branch'"):
            await lonely.main()


async def test_start_returns_when_ready_and_never_earlier_with_the_value(autojump_clock: MockClock) -> None:
    """`await nursery.start(service.main)` is readiness itself."""
    leaf = Leaf([], "a", slow=3)
    async with trio.open_nursery() as nursery:
        begun = trio.current_time()
        assert await nursery.start(leaf.main) == "a"  # L2
        assert trio.current_time() - begun == 3
        await leaf.stop()


async def test_a_service_that_returns_unready_has_failed(autojump_clock: MockClock) -> None:
    """The error names it."""

    async def forgets(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)

    with pytest.raises(ServicesFailed) as caught:
        await TaskService(forgets).main()
    error = the_error(caught.value)
    assert isinstance(error, NotReadyError)  # L2
    assert paths_of(error) == ["forgets"]


async def test_whoever_awaits_readiness_hears_of_a_stop(autojump_clock: MockClock) -> None:
    """nursery.start, wait_running, start and start_service alike; nobody waits for ever."""
    slow = Leaf([], "slow", slow=60)
    root = MultiService(Leaf([], "fast"), slow, Leaf([], "never"), name="root")
    interrupted = []

    async def waits(service: Service) -> None:
        with pytest.raises(StartInterrupted, match=service.path):
            await service.wait_running()
        interrupted.append(service.name)

    async with trio.open_nursery() as nursery:
        for service in (slow, root, root["never"]):
            nursery.start_soon(waits, service)
        nursery.start_soon(_stop_later, root, 5)
        with pytest.raises(StartInterrupted, match="root"):
            await nursery.start(root.main)  # L2
    assert sorted(interrupted) == ["never", "root", "slow"]


async def _stop_later(service: Service, seconds: float) -> None:
    await trio.sleep(seconds)
    await service.stop()


async def test_whoever_awaits_readiness_hears_of_a_failure(autojump_clock: MockClock) -> None:
    """The errors themselves, in a group of their own for each waiter."""
    bad = TaskService(partial(_fails_to_start, 2), name="bad")
    root = MultiService(bad, name="root", keep_running=True)
    heard = []

    async def waits() -> None:
        with pytest.raises(ServicesFailed) as caught:
            await bad.wait_running()
        heard.append(the_error(caught.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        nursery.start_soon(waits)
        with pytest.raises(ServicesFailed) as caught:
            await root.main()
    assert heard == [the_error(caught.value)] * 2  # L2


async def _fails_to_start(after: float, *, task_status: trio.TaskStatus[None]) -> None:
    await trio.sleep(after)
    raise ValueError("no start")


async def test_a_service_can_be_run_again_and_remembers_nothing(autojump_clock: MockClock) -> None:
    """STOPPED, FINISHED and FAILED are all places to start from."""
    story: list[str] = []
    leaf = Leaf(story, "a")
    for _ in range(3):
        async with running(leaf):
            pass
    assert story == ["a starts", "a is ready", "a ends"] * 3  # L3
    failing = TaskService(fails)
    for _ in range(2):
        with pytest.raises(ServicesFailed) as caught:
            await failing.main()
        assert len(caught.value.exceptions) == 1  # L3: not the errors of the run before
        assert failing.state is State.FAILED


async def test_saying_ready_twice_is_an_error(autojump_clock: MockClock) -> None:
    """As with trio's own task_status."""

    async def eager(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        task_status.started()

    with pytest.raises(ServicesFailed) as caught:
        await TaskService(eager).main()
    assert "twice" in str(the_error(caught.value))


# ---- L4: stop


async def test_stop_is_idempotent_and_everybody_waits_for_the_same_end(autojump_clock: MockClock) -> None:
    """Before, during, after; two callers, one end."""
    leaf = TaskService(stubborn, 3)
    await leaf.stop()  # L4: what never ran
    ends = []

    async def stops() -> None:
        await leaf.stop()
        ends.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        await nursery.start(leaf.main)
        begun = trio.current_time()
        nursery.start_soon(stops)
        await trio.sleep(1)
        nursery.start_soon(stops)
    assert ends == [begun + 3] * 2  # L4
    await leaf.stop()


@pytest.mark.parametrize("whom", ["itself", "its parent", "the root"])
async def test_a_service_can_stop_itself_and_what_it_is_in(autojump_clock: MockClock, whom: str) -> None:
    """From its own task the request returns at once; it never deadlocks."""
    went_on = []

    async def suicidal(*, task_status: trio.TaskStatus[None]) -> None:
        me = current_service()
        assert me is not None
        assert me.parent is not None
        task_status.started()
        await trio.sleep(1)
        victim = {"itself": me, "its parent": me.parent, "the root": me.parent.parent}[whom]
        assert victim is not None
        await victim.stop()
        went_on.append(True)  # L4

    root = MultiService(MultiService(TaskService(suicidal), name="branch"), name="root", keep_running=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.main)
        await trio.sleep(2)
        await root.stop()
    assert went_on


async def test_a_drain_may_ask_for_the_stop_it_is_part_of(autojump_clock: MockClock) -> None:
    """Its drain included."""

    class Eager(Service):
        async def drain(self) -> None:
            await self.stop()  # L4

    eager = Eager(drain_timeout=100)
    async with running(eager):
        begun = trio.current_time()
        await eager.stop()
        assert trio.current_time() == begun


# ---- L5, L6, L8: order


async def test_children_start_one_by_one_and_stop_in_reverse(autojump_clock: MockClock) -> None:
    """Each when the one before is ready; each when the one after is gone."""
    story: list[str] = []
    root = MultiService(
        Leaf(story, "a", slow=2),
        MultiService(Leaf(story, "b", slow=1), Leaf(story, "c"), name="branch"),
        Draining(story, "d"),
    )
    async with running(root):
        assert story == [f"{name} {what}" for name in "abcd" for what in ("starts", "is ready")]  # L5
        story.clear()
        await root.stop()
    assert story == ["d drains", "d has drained", "d ends", "c ends", "b ends", "a ends"]  # L6


async def test_children_that_are_added_start_beside_each_other_and_stop_in_start_order(
    autojump_clock: MockClock,
) -> None:
    """A slow newcomer keeps nobody waiting, and is still the last to have come."""
    story: list[str] = []
    root = MultiService(Leaf(story, "a"), name="root")
    async with running(root):
        root.add_service(Leaf(story, "slow", slow=5))
        root.add_service(Leaf(story, "fast"))
        await trio.sleep(1)
        assert "fast is ready" in story  # L5
        assert "slow is ready" not in story
        await trio.sleep(10)
        story.clear()
        await root.stop()
    assert story == ["fast ends", "slow ends", "a ends"]  # L6


async def test_a_restarted_child_keeps_its_place(autojump_clock: MockClock) -> None:
    """And its restart concerns it alone."""
    story: list[str] = []
    root = MultiService(Leaf(story, "a"), Leaf(story, "b"), Leaf(story, "c"))
    async with running(root):
        await root["a"].restart()
        assert story[-3:] == ["a ends", "a starts", "a is ready"]
        story.clear()
        await root.stop()
    assert story == ["c ends", "b ends", "a ends"]  # L6


async def test_a_stop_interrupts_the_child_that_is_starting(autojump_clock: MockClock) -> None:
    """It is not waited for, and those after it are never run."""
    story: list[str] = []
    root = MultiService(Leaf(story, "a"), Leaf(story, "b", slow=1000), Leaf(story, "c"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.main)
        await trio.sleep(5)
        begun = trio.current_time()
        await root.stop()
        assert trio.current_time() == begun  # L8
    assert story == ["a starts", "a is ready", "b starts", "b ends", "a ends"]


# ---- L7: a start that fails


@pytest.mark.parametrize("how", ["raises", "times out", "an earlier one fails"])
async def test_a_failed_start_is_rolled_back(autojump_clock: MockClock, how: str) -> None:
    """Those begun are stopped in reverse, those after never run; the error names the path."""
    story: list[str] = []
    culprit: Service = {
        "raises": lambda: TaskService(_fails_to_start, 1, name="culprit"),
        "times out": lambda: Leaf(story, "culprit", slow=60, start_timeout=2),
        "an earlier one fails": lambda: TaskService(fails, 2, name="culprit"),
    }[how]()
    root = MultiService(
        Leaf(story, "a"),
        Leaf(story, "b"),
        culprit,
        Leaf(story, "slow", slow=30),
        Leaf(story, "never"),
        name="root",
    )
    with pytest.raises(ServicesFailed) as caught:
        await root.main()
    error = the_error(caught.value)
    assert paths_of(error) == ["root/culprit"]  # L7
    assert isinstance(error, StartTimeoutError if how == "times out" else ValueError)
    assert "never starts" not in story
    assert [line for line in story if line in ("a ends", "b ends")] == ["b ends", "a ends"]  # L6
    assert root.state is State.FAILED


# ---- L9: children come and go


async def test_start_service_adds_starts_and_waits(autojump_clock: MockClock) -> None:
    """It returns when the newcomer is ready."""
    root = MultiService(keep_running=True)
    async with running(root):
        begun = trio.current_time()
        await root.start_service(leaf := Leaf([], "new", slow=2))
        assert trio.current_time() - begun == 2
        assert leaf.running
        assert leaf in root


async def test_a_start_service_that_fails_concerns_its_caller_alone(autojump_clock: MockClock) -> None:
    """The child is gone, is not left in the parent, and the others never notice."""
    root = MultiService(Leaf([], "a"), name="root")
    async with running(root):
        bad = TaskService(_fails_to_start, 1, name="bad")
        with pytest.raises(ServicesFailed) as caught:
            await root.start_service(bad)
        assert paths_of(the_error(caught.value)) == ["root/bad"]  # L9
        assert bad not in root
        assert bad.parent is None
        assert root.running


async def test_a_start_service_that_is_cancelled_leaves_nothing(autojump_clock: MockClock) -> None:
    """The child is stopped, cleanup included, before the caller goes on."""
    story: list[str] = []
    root = MultiService(Leaf([], "a"))
    async with running(root):
        with trio.move_on_after(2):
            await root.start_service(Leaf(story, "new", slow=60))
        assert story == ["new starts", "new ends"]  # L9
        assert "new" not in root


async def test_nothing_can_be_added_to_a_parent_that_is_stopping(autojump_clock: MockClock) -> None:
    """Neither by add_service nor by start_service, and no trace is left."""
    root = MultiService(TaskService(stubborn, 5), name="root")
    async with trio.open_nursery() as nursery:
        await nursery.start(root.main)
        nursery.start_soon(root.stop)
        await trio.sleep(1)
        late = Leaf([], "late")
        with pytest.raises(ServiceStateError, match="stopping"):
            root.add_service(late)
        with pytest.raises(ServiceStateError, match="stopping"):
            await root.start_service(late)
        assert late.parent is None  # L9
        assert len(root) == 1


async def test_a_child_that_is_removed_is_stopped_first(autojump_clock: MockClock) -> None:
    """Then it is nobody's, and can go to another parent, where it has its own name again."""
    story: list[str] = []
    root = MultiService(Leaf(story, "a"), Draining(story, "b"))
    async with running(root):
        b = root["b"]
        await b.disown_service_parent()
        assert story[-3:] == ["b drains", "b has drained", "b ends"]
        assert b.parent is None  # L9
        assert b not in root
    other = MultiService(Service(), twin := Service())
    assert twin.name == "Service-2"
    await other.remove_service(twin)
    assert twin.name == "Service"


async def test_a_starting_service_cannot_wait_for_what_comes_after_it(autojump_clock: MockClock) -> None:
    """That would be for ever, so it is refused, with the mend."""
    refused = []

    async def impatient(*, task_status: trio.TaskStatus[None]) -> None:
        me = current_service()
        assert me is not None
        assert me.parent is not None
        waits = [
            partial(me.wait_running),
            partial(me.parent.wait_running),
            partial(me.parent["later"].wait_running),
            partial(me.parent.start_service, Service(name="newcomer")),
        ]
        for wait in waits:
            with pytest.raises(ServiceStateError, match="for ever"):
                await wait()  # L2
            refused.append(True)
        task_status.started()
        await trio.sleep_forever()

    root = MultiService(TaskService(impatient), Service(name="later"))
    async with running(root):
        assert len(refused) == 4
        assert "newcomer" not in root


def test_a_branch_that_is_finishing_takes_no_children() -> None:
    """Between its last decision and its end there is nowhere for a child to live."""
    outcomes = {_added_at_step(step) for step in range(1, 30)}
    assert "refused" in outcomes  # L9
    assert "finished" in outcomes  # it came in time, and ran to its end
    assert outcomes <= {"refused", "finished", "stopped"}


def _added_at_step(step: int) -> str:
    """What becomes of a child that is added before the n-th step of any task."""
    root = MultiService(TaskService(returns, 1), name="root")
    late = TaskService(returns, name="late")
    outcome = []

    def add() -> None:
        try:
            root.add_service(late)
        except ServiceStateError:
            assert late.parent is None
            outcome.append("refused")

    at_step = AtStep(step, "add")
    at_step.deed = add
    trio.run(root.main, clock=MockClock(autojump_threshold=0), instruments=[at_step])
    return outcome[0] if outcome else late.state.value


# ---- L10, L11, L12: drains, and those who do not go


async def test_when_a_drain_will_be_cut_can_be_seen(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """And what is in progress, by whoever says it: a plain service does not."""

    class Draining(Service):
        async def drain(self) -> None:
            await trio.sleep(4)

    leaf = Draining(drain_timeout=20)
    branch = MultiService(leaf, drain_timeout=10)
    assert (leaf.drain_deadline, leaf.in_progress) == (math.inf, "")
    await nursery.start(branch.main)
    assert branch.drain_deadline == math.inf
    nursery.start_soon(branch.stop)
    await trio.sleep(3)
    assert leaf.drain_deadline == branch.drain_deadline == trio.current_time() + 7  # L10


async def test_a_drain_is_cut_at_the_first_budget_that_is_spent(autojump_clock: MockClock) -> None:
    """Its own, its branch's, whichever comes first."""
    story: list[str] = []
    events: list[Event] = []
    slow = Draining(story, "slow", takes=100, drain_timeout=4)
    slower = Draining(story, "slower", takes=100, drain_timeout=50)
    app = Application("app", MultiService(slower, slow, name="branch", drain_timeout=10))
    app.subscribe(events.append)
    async with running(app):
        begun = trio.current_time()
        await app.stop()
    cuts = [(event.path, event.time - begun) for event in events if isinstance(event, DrainCut)]
    assert cuts == [("app/branch/slow", 4), ("app/branch/slower", 10)]  # L10


async def test_what_is_not_ready_is_not_drained(autojump_clock: MockClock) -> None:
    """It has nothing that it could finish."""
    story: list[str] = []
    root = Draining(story, "a", slow=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.main)
        await trio.sleep(1)
        await root.stop()
    assert story == ["a starts", "a ends"]  # L10


async def test_stop_without_drain_cuts_a_drain_that_is_going_on(autojump_clock: MockClock) -> None:
    """A second, less patient request."""
    story: list[str] = []
    root = MultiService(Draining(story, "a", takes=100, drain_timeout=50))
    async with trio.open_nursery() as nursery:
        await nursery.start(root.main)
        nursery.start_soon(root.stop)
        await trio.sleep(1)
        begun = trio.current_time()
        await root.stop(drain=False)
        assert trio.current_time() == begun  # L10


async def test_a_failure_drains_the_siblings(autojump_clock: MockClock) -> None:
    """They have done no wrong, and neither have their clients."""
    story: list[str] = []
    with pytest.raises(ServicesFailed):
        await MultiService(Draining(story, "a"), TaskService(fails, 1)).main()
    assert "a has drained" in story  # L10, L14


async def test_cancellation_from_outside_skips_drains_and_keeps_the_order(autojump_clock: MockClock) -> None:
    """Whoever cancels is in a hurry; order costs nothing."""
    story: list[str] = []
    root = MultiService(Draining(story, "a"), Draining(story, "b"))
    with trio.move_on_after(1) as scope:
        await root.main()
    assert scope.cancelled_caught  # L17
    assert story[4:] == ["b ends", "a ends"]  # L6, L10


async def test_who_does_not_go_is_reported_again_and_again_with_path_and_line(
    autojump_clock: MockClock,
) -> None:
    """Nobody is left waiting in silence."""
    events: list[Event] = []
    app = Application("app", TaskService(stubborn, 12, name="stuck", stop_timeout=5))
    app.subscribe(events.append)
    async with running(app):
        await app.stop()
    overdue = [event for event in events if isinstance(event, StopOverdue)]
    assert [(event.path, event.seconds) for event in overdue] == [("app/stuck", 5), ("app/stuck", 10)]  # L11
    assert all("in stubborn" in event.tasks[0] for event in overdue)


async def test_who_hangs_after_its_start_timeout_is_reported_too(autojump_clock: MockClock) -> None:
    """Its cancellation has another cause, and the same right to an answer."""
    events: list[Event] = []

    async def hangs(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(9)

    app = Application("app", TaskService(hangs, start_timeout=1, stop_timeout=3))
    app.subscribe(events.append)
    with pytest.raises(ServicesFailed):
        await app.main()
    assert [event.seconds for event in events if isinstance(event, StopOverdue)] == [3, 6]  # L11


async def test_the_shutdown_budget_counts_from_the_first_failure_below(autojump_clock: MockClock) -> None:
    """However deep it happens: what the failing branch spends, the others have not got."""
    story: list[str] = []
    failing = MultiService(
        Draining(story, "deep", takes=100, drain_timeout=6), TaskService(fails, 1), name="failing"
    )
    app = Application("app", Draining(story, "a", takes=100, drain_timeout=100), failing, shutdown_timeout=10)
    with pytest.raises(ServicesFailed):
        await app.main()
    assert trio.current_time() == pytest.approx(1 + 10)  # L12


async def test_the_budget_binds_those_too_who_come_when_it_is_being_spent(autojump_clock: MockClock) -> None:
    """The failure below is on its way up; the root takes children yet, and its time runs already."""
    story: list[str] = []
    failing = MultiService(
        Draining(story, "deep", takes=100, drain_timeout=6), TaskService(fails, 1), name="failing"
    )
    app = Application("app", failing, shutdown_timeout=10)
    begun = trio.current_time()
    with pytest.raises(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.main)
            await trio.sleep(2)
            app.add_service(Draining(story, "late", takes=100, drain_timeout=100))
    assert trio.current_time() - begun == pytest.approx(1 + 10)  # L10, L12
    assert "late drains" in story


# ---- L13, L14, L15, L17: errors, ends


async def test_an_error_while_stopping_keeps_nobody_from_being_stopped_and_is_not_lost(
    autojump_clock: MockClock,
) -> None:
    """Every one of them comes out of main."""
    story: list[str] = []
    root = MultiService(
        Leaf(story, "a"),
        TaskService(bad_at_stopping, name="b"),
        TaskService(bad_at_stopping, name="c"),
        name="root",
    )
    with pytest.raises(ExceptionGroup) as caught:
        async with running(root):
            await root.stop()  # L13: a root's stop raises nothing
    (failure,) = caught.value.exceptions  # the nursery's own group, around ours
    assert isinstance(failure, ServicesFailed)
    assert [paths_of(error) for error in failure.exceptions] == [["root/c"], ["root/b"]]
    assert story[-1] == "a ends"


async def test_errors_of_a_child_that_is_stopped_alone_go_to_who_awaits_that(
    autojump_clock: MockClock,
) -> None:
    """Its parent goes on."""
    root = MultiService(Leaf([], "a"), TaskService(bad_at_stopping, name="b"), name="root")
    async with running(root):
        with pytest.raises(ServicesFailed) as caught:
            await root["b"].stop()
        assert paths_of(the_error(caught.value)) == ["root/b"]  # L13
        assert root.running


async def test_errors_and_a_cancellation_come_out_together(autojump_clock: MockClock) -> None:
    """The cancellation is not swallowed, and neither are the errors."""
    with pytest.raises(BaseExceptionGroup) as caught, trio.move_on_after(1) as scope:
        await MultiService(TaskService(bad_at_stopping), name="root").main()
    assert scope.cancel_called
    assert caught.group_contains(ValueError, match="while stopping")  # L13
    assert not caught.group_contains(trio.Cancelled)  # it went to its scope: L17


async def test_a_failure_climbs_branch_by_branch(autojump_clock: MockClock) -> None:
    """Each branch is wholly stopped before its parent hears of it; what comes out is flat."""
    story: list[str] = []
    inner = MultiService(Leaf(story, "in1"), TaskService(fails, 1), Draining(story, "in2"), name="inner")
    root = MultiService(Leaf(story, "out1"), inner, Leaf(story, "out2"), name="root")
    with pytest.raises(ServicesFailed) as caught:
        await root.main()
    assert [line for line in story if "ends" in line] == [
        "in2 ends",
        "in1 ends",
        "out2 ends",
        "out1 ends",
    ]  # L14
    assert paths_of(the_error(caught.value)) == ["root/inner/fails"]


async def test_what_a_leafs_own_nursery_wraps_comes_out_flat(autojump_clock: MockClock) -> None:
    """The usual way of a leaf that has tasks of its own."""

    class Busy(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails, 1, ValueError("one"))
                try:
                    await trio.sleep_forever()
                finally:
                    raise KeyError("two")

    with pytest.raises(ServicesFailed) as caught:
        await MultiService(Busy()).main()
    assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}  # L14


async def test_a_branch_is_finished_when_all_its_children_are(autojump_clock: MockClock) -> None:
    """Not when one of them was stopped, not when it has none, not when it is to be kept."""
    root = MultiService(
        MultiService(TaskService(returns, 1), TaskService(returns, 3), name="work"), name="root"
    )
    await root.main()
    assert root.state is State.FINISHED  # L15
    for waits in (
        MultiService(),
        MultiService(TaskService(returns), keep_running=True),
        MultiService(TaskService(returns), Service(name="stopped")),
    ):
        async with running(waits):
            if "stopped" in waits:
                await waits["stopped"].stop()
            await trio.sleep(10)
            assert waits.running  # L15


async def test_removing_the_last_unfinished_child_finishes_the_branch(autojump_clock: MockClock) -> None:
    """All that are left have finished."""
    root = MultiService(TaskService(returns), Service(name="stays"))
    async with trio.open_nursery() as nursery:
        await nursery.start(root.main)
        await trio.sleep(1)
        await root.remove_service(root["stays"])
    assert root.state is State.FINISHED  # L15


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_a_child_stops_the_tree_and_comes_out_bare(
    autojump_clock: MockClock, kind: type[BaseException]
) -> None:
    """With the errors of others as its context."""
    story: list[str] = []
    root = MultiService(
        Leaf(story, "a"), TaskService(bad_at_stopping), TaskService(fails, 1, kind("now")), name="root"
    )
    with pytest.raises(kind) as caught:
        await root.main()
    assert story[-1] == "a ends"  # L17
    assert isinstance(caught.value.__context__, ServicesFailed)
    assert [paths_of(error) for error in caught.value.__context__.exceptions] == [["root/bad_at_stopping"]]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("ready", [False, True])
async def test_an_interrupt_in_a_child_is_a_stop_and_no_failure(
    autojump_clock: MockClock, kind: type[BaseException], ready: bool
) -> None:
    """Ctrl-C strikes whichever task happens to run, so what is told must not depend on which."""

    async def struck(task_status: trio.TaskStatus[None]) -> None:
        if ready:
            task_status.started()
        await trio.sleep(1)
        raise kind

    app = Application("app", MultiService(TaskService(struck), name="branch"), handle_signals=False)
    told: list[str] = []
    app.subscribe(lambda event: told.append(f"{event.path}: {event}"))
    with pytest.raises(kind):
        await app.main()
    assert {service.state for service in walk(app)} == {State.STOPPED}  # L17
    assert [line for line in told if not line.endswith(": stopping")][-5:] == [
        "app/branch/struck: stopped",
        f"app/branch: stopping: {kind.__name__} in app/branch/struck",
        "app/branch: stopped",
        f"app: stopping: {kind.__name__} in app/branch",
        "app: stopped",
    ]
    assert f"app/branch/struck: {kind.__name__} while {'running' if ready else 'starting'}" in told
    assert not any("failed" in line for line in told)


@pytest.mark.parametrize("name", ["start_timeout", "drain_timeout", "stop_timeout"])
def test_a_timeout_that_is_no_number_is_told_in_words(name: str) -> None:
    """A setting that was read as text is a common slip."""
    with pytest.raises(ValueError, match=f"{name} is a number of seconds .*, not '5'"):
        Service(**{name: "5"})  # type: ignore[arg-type]


# ---- L18: binding


class Bound(Leaf):
    """Acquires something first."""

    fault = False

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        assert current_service() is self  # L20
        self.story.append(f"{self.name} binds")
        stack.callback(self.story.append, f"{self.name} is released")
        await trio.lowlevel.checkpoint()
        if self.fault:
            raise OSError("in use")


async def test_everything_is_bound_before_anything_runs_and_released_in_reverse_at_the_end(
    autojump_clock: MockClock,
) -> None:
    """In start order through the whole tree."""
    story: list[str] = []
    async with running(MultiService(Bound(story, "a"), MultiService(Bound(story, "b")), Bound(story, "c"))):
        assert story[:4] == ["a binds", "b binds", "c binds", "a starts"]  # L18
    assert story[-3:] == ["c is released", "b is released", "a is released"]


async def test_if_one_cannot_be_bound_nothing_is_run_and_everything_released(
    autojump_clock: MockClock,
) -> None:
    """The error names the one."""
    story: list[str] = []
    bad = Bound(story, "bad")
    bad.fault = True
    with pytest.raises(ServicesFailed) as caught:
        await MultiService(
            Bound(story, "a"), MultiService(bad, name="branch"), Bound(story, "c"), name="root"
        ).main()
    assert paths_of(the_error(caught.value)) == ["root/branch/bad"]  # L18
    assert story == ["a binds", "bad binds", "bad is released", "a is released"]


async def test_a_child_stopped_and_started_again_while_others_bind_comes_in_its_turn(
    autojump_clock: MockClock,
) -> None:
    """Nothing runs before everything is bound, whatever is asked meanwhile; and the stop finds all of it."""
    story: list[str] = []
    second = Leaf(story, "second")

    class Meddler(Bound):
        async def privileged_start(self, stack: AsyncExitStack) -> None:
            await second.stop()
            nursery.start_soon(second.start)
            await trio.testing.wait_all_tasks_blocked()
            assert second.state is State.STOPPED  # L18

    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            async with running(MultiService(Meddler(story, "first"), second, Leaf(story, "third"))):
                starts = [entry for entry in story if entry.endswith("starts")]
                assert starts == ["first starts", "second starts", "third starts"]  # L5
    assert second.state is State.STOPPED


async def test_what_is_bound_survives_restarts_and_goes_with_the_service(autojump_clock: MockClock) -> None:
    """Its own and its branch's; it is released once, when the service leaves the tree."""
    story: list[str] = []
    branch = MultiService(Bound(story, "a"), name="branch")
    root = MultiService(branch, keep_running=True)
    async with running(root):
        await branch["a"].restart()
        await branch.restart()
        assert story.count("a binds") == 1  # L18
        assert "a is released" not in story
        await root.remove_service(branch)
        assert story[-1] == "a is released"
        await root.start_service(late := Bound(story, "late"))
        assert story[-3:] == ["late binds", "late starts", "late is ready"]
        await root.remove_service(late)
        assert story.count("late is released") == 1


async def test_a_release_that_hangs_is_cut_and_reported(autojump_clock: MockClock) -> None:
    """No end of a program hangs on what it had bound."""

    class Sticky(Service):
        async def privileged_start(self, stack: AsyncExitStack) -> None:
            stack.push_async_callback(trio.sleep_forever)

    with pytest.raises(ExceptionGroup) as caught:
        async with running(MultiService(Sticky(stop_timeout=3))):
            pass
    assert caught.group_contains(Exception, match="not released within 3")  # L13, L18


# ---- L19, L20, L21: seeing, names


async def test_every_change_of_state_is_an_event_in_order(autojump_clock: MockClock) -> None:
    """The whole story of a small life."""
    events: list[Event] = []
    app = Application("app", Service(name="a"))
    app.subscribe(events.append)
    async with running(app):
        pass
    changes = [(event.path, event.new.value) for event in events if isinstance(event, StateChanged)]
    assert changes == [
        ("app", "starting"),
        ("app/a", "starting"),
        ("app/a", "running"),
        ("app", "running"),
        ("app", "stopping"),
        ("app/a", "stopping"),
        ("app/a", "stopped"),
        ("app", "stopped"),
    ]  # L19


async def test_a_services_own_code_knows_the_service_and_its_task_has_its_name(
    autojump_clock: MockClock,
) -> None:
    """In run, in drain, in threads and tasks that are started there; nowhere else."""
    seen: dict[str, Service | None] = {}
    names: list[str] = []

    class Curious(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            names.append(trio.lowlevel.current_task().name)
            seen["run"] = current_service()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.helper)
                seen["thread"] = await trio.to_thread.run_sync(current_service)
                task_status.started()
                await trio.sleep_forever()

        async def helper(self) -> None:
            seen["task"] = current_service()

        async def drain(self) -> None:
            seen["drain"] = current_service()

    curious = Curious(name="curious")
    async with running(MultiService(curious, name="root")):
        assert current_service() is None
    assert seen == {"run": curious, "thread": curious, "task": curious, "drain": curious}  # L20
    assert names == ["root/curious"]


async def test_a_child_does_not_inherit_the_context_of_whoever_happened_to_start_it(
    autojump_clock: MockClock,
) -> None:
    """Neither the sibling that was ready before it, nor the handler that added it."""
    secret = contextvars.ContextVar("secret", default="none")
    seen = []

    async def sets(*, task_status: trio.TaskStatus[None]) -> None:
        secret.set("mine")
        task_status.started()
        await trio.sleep_forever()

    async def looks() -> None:
        seen.append(secret.get())

    root = MultiService(TaskService(sets), TaskService(looks, name="next"), keep_running=True)
    async with running(root):
        secret.set("the adder's")
        root.add_service(TaskService(looks, name="added"))
        await trio.sleep(1)
    assert seen == ["none", "none"]


def test_names_are_checked_before_anything_is_changed() -> None:
    """Taken, empty, with a slash; a second parent, a cycle, an Application: no trace is left."""
    root = MultiService(first := Service(name="a"), name="root")
    other = MultiService(name="other")
    for name in ("", "a/b", "line\nbreak"):
        with pytest.raises(TreeError):
            Service(name=name)
    refused = [
        (root, Service(name="a")),
        (other, first),
        (root, Application("app")),
        (root, root),
    ]
    for parent, child in refused:
        before = (list(parent), child.parent)
        with pytest.raises(TreeError):
            parent.add_service(child)
        assert (list(parent), child.parent) == before  # L21
    root.add_service(other)
    with pytest.raises(TreeError, match="below"):
        other.add_service(root)
    with pytest.raises(TreeError, match="parent"):
        first.set_name("b")


async def test_a_running_service_cannot_be_renamed(autojump_clock: MockClock) -> None:
    """A run keeps the path with which it began."""
    async with running(leaf := Leaf([], "a")):
        with pytest.raises(ServiceStateError, match="renamed"):
            leaf.set_name("b")  # L21
    leaf.set_name("b")
    assert leaf.path == "b"


def test_unnamed_services_get_names_that_are_unique() -> None:
    """Their class, or their function, and a number where that is taken."""
    root = MultiService(
        Service(), Service(), TaskService(returns), TaskService(partial(returns, 1)), MultiService()
    )
    assert [child.name for child in root] == [
        "Service",
        "Service-2",
        "returns",
        "returns-2",
        "MultiService",
    ]  # L21
    assert next(iter(root)).path == "MultiService/Service"


def test_children_are_found_by_name_or_the_error_says_which_there_are() -> None:
    """By get_service_named, by [] and by `in`."""
    root = MultiService(leaf := Service(name="web"), name="root")
    assert root["web"] is root.get_service_named("web") is leaf
    assert leaf in root
    assert "web" in root
    assert "wev" not in root
    with pytest.raises(UnknownServiceError, match="it has: web"):
        root["wev"]
    with pytest.raises(KeyError):
        root["wev"]
    assert len(root) == 1
    assert MultiService()  # not empty in the sense of false


# ---- start and restart


async def test_a_stopped_child_can_be_started_again(autojump_clock: MockClock) -> None:
    """start() waits until it is ready; of one that is ready it asks nothing."""
    story: list[str] = []
    root = MultiService(child := Leaf(story, "a", slow=2), name="root")
    async with running(root):
        await child.start()
        await child.stop()
        assert child.state is State.STOPPED
        await child.start()
        assert child.running
        assert story.count("a starts") == 2
    with pytest.raises(ServiceStateError, match="running parent"):
        await child.start()
    with pytest.raises(ServiceStateError, match="running parent"):
        await root.restart()


async def test_a_start_while_it_stops_begins_when_it_has_stopped(autojump_clock: MockClock) -> None:
    """As Twisted's ClientService does; conformance row 46."""
    root = MultiService(child := TaskService(stubborn, 3))
    async with trio.open_nursery() as nursery:
        await nursery.start(root.main)
        nursery.start_soon(child.stop)
        await trio.sleep(1)
        begun = trio.current_time()
        await child.start()
        assert trio.current_time() - begun == 2
        assert child.running
        await root.stop()


async def test_a_service_can_restart_itself(autojump_clock: MockClock) -> None:
    """The request returns at once; the parent does the rest."""
    runs = []

    async def restless(*, task_status: trio.TaskStatus[None]) -> None:
        me = current_service()
        assert me is not None
        runs.append(trio.current_time())
        task_status.started()
        if len(runs) == 1:
            await me.restart()
        await trio.sleep_forever()

    async with running(MultiService(TaskService(restless))):
        await trio.sleep(1)
    assert len(runs) == 2


async def test_a_restart_whose_stop_raised_says_so_and_has_started_it_again(
    autojump_clock: MockClock,
) -> None:
    """The error is not lost, and the service is there."""
    root = MultiService(child := TaskService(bad_at_stopping))
    states = []
    with pytest.raises(ExceptionGroup) as caught:
        async with running(root):
            try:
                await child.restart()
            finally:
                states.append(child.state)
    assert states == [State.RUNNING]
    # Once out of restart, and once more when all is stopped; no third.
    assert len(list(_leaves(caught.value))) == 2


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


async def test_wait_stopped_waits_for_the_end_of_the_present_run(autojump_clock: MockClock) -> None:
    """And not at all where there is none."""
    leaf = TaskService(stubborn, 3)
    await leaf.wait_stopped()
    async with trio.open_nursery() as nursery:
        await nursery.start(leaf.main)
        nursery.start_soon(leaf.stop)
        begun = trio.current_time()
        await leaf.wait_stopped()
        assert trio.current_time() - begun == 3


# ---- the finer points


@dataclass(frozen=True)
class Frozen(Exception):
    """An exception that lets nobody write notes on it."""

    code: int


async def test_an_exception_that_cannot_be_changed_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    """It carries no path, and everything else is as ever."""
    root = MultiService(Service(name="s"), TaskService(fails, 1, Frozen(1)), name="root")
    for _ in range(2):
        with pytest.raises(ServicesFailed) as caught:
            await root.main()
        assert caught.value.exceptions == (Frozen(1),)  # L14
        assert root.state is State.FAILED


async def exits_when_stopped(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    try:
        await trio.sleep_forever()
    finally:
        raise SystemExit(3)


async def exits_at_start(*, task_status: trio.TaskStatus[None]) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("how", ["stop", "restart", "start_service", "a branch is stopped"])
async def test_what_ends_programs_is_nobodys_private_matter(autojump_clock: MockClock, how: str) -> None:
    """SystemExit out of a child that is stopped or started alone still stops the tree, and comes out bare."""
    story: list[str] = []
    child = TaskService(exits_when_stopped, name="child")
    branch = MultiService(child, name="branch")
    root = MultiService(Leaf(story, "a"), branch, name="root")

    async def meddle() -> None:
        await root.wait_running()
        deed = {
            "stop": child.stop,
            "restart": child.restart,
            "start_service": partial(branch.start_service, TaskService(exits_at_start)),
            "a branch is stopped": branch.stop,
        }[how]
        with contextlib.suppress(StartInterrupted):
            await deed()

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meddle)
            nursery.start_soon(root.main)
    assert {type(error) for error in _leaves(caught.value)} == {SystemExit}  # L17
    assert story[-1] == "a ends"


async def test_whoever_awaits_a_grandchild_hears_that_its_turn_will_not_come(
    autojump_clock: MockClock,
) -> None:
    """Because the start failed before, or because its branch was removed."""
    for how in ("failed", "removed"):
        leaf = Service(name="leaf")
        branch = MultiService(leaf, name="branch")
        root = MultiService(Leaf([], "slow", slow=5), branch, name="root")
        if how == "failed":
            root = MultiService(TaskService(_fails_to_start, 2), root, name="top")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_suppressed, root.main)
            await trio.sleep(1)
            if how == "removed":
                nursery.start_soon(branch.disown_service_parent)
            with trio.fail_after(100), pytest.raises(StartInterrupted):
                await leaf.wait_running()  # L2
            await root.stop()


async def _suppressed(main: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(ServicesFailed):
        await main()


async def test_a_restart_tells_what_became_of_the_second_run_however_short_it_is(
    autojump_clock: MockClock,
) -> None:
    """Not by chance: whichever task trio steps first."""
    for second_fails in (True, False) * 20:
        root = MultiService(Service(), child := TaskService(_twice, [], second_fails), name="root")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_suppressed, root.main)
            await root.wait_running()
            if second_fails:
                with pytest.raises(ServicesFailed):
                    await child.restart()
            else:
                await child.restart()
            await root.stop()


async def _twice(runs: list[int], second_fails: bool, *, task_status: trio.TaskStatus[None]) -> None:
    runs.append(1)
    if len(runs) > 1 and second_fails:
        raise KeyError("second")
    task_status.started()
    if len(runs) == 1:
        await trio.sleep_forever()


async def test_a_restart_loses_neither_the_errors_of_its_stop_nor_those_of_its_start(
    autojump_clock: MockClock,
) -> None:
    """Both come out of the call."""
    runs: list[int] = []

    async def bad_twice(*, task_status: trio.TaskStatus[None]) -> None:
        runs.append(1)
        if len(runs) > 1:
            raise KeyError("start")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("stop")

    root = MultiService(child := TaskService(bad_twice), name="root")
    kinds: list[set[type[BaseException]]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_suppressed, root.main)
        await root.wait_running()
        try:
            await child.restart()
        except ServicesFailed as failure:
            kinds.append({type(error) for error in failure.exceptions})
    assert kinds == [{ValueError, KeyError}]  # L13


async def test_a_start_service_that_is_cancelled_tells_the_errors_of_its_cleanup_too(
    autojump_clock: MockClock,
) -> None:
    """The cancellation reaches its scope, and the errors reach the caller."""

    async def bad_cleanup(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("cleanup")

    root = MultiService(keep_running=True, name="root")
    async with running(root):
        with pytest.raises(BaseExceptionGroup) as caught, trio.move_on_after(1) as scope:
            await root.start_service(TaskService(bad_cleanup))
        assert scope.cancel_called  # L17
        assert caught.group_contains(ValueError, match="cleanup")  # L9
        assert not len(root)


async def test_a_leaf_whose_start_service_is_called_off_by_a_stop_has_not_failed(
    autojump_clock: MockClock,
) -> None:
    """A manager of services ends cleanly with its tree."""

    class Manager(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            task_status.started()
            assert self.parent is not None
            await self.parent.start_service(Leaf([], "late", slow=100))

    async with running(root := MultiService(Manager(), name="root")):
        await trio.sleep(1)
        await root.stop()
    assert root.state is State.STOPPED


async def test_a_child_that_waits_for_its_turn_gives_it_up_when_it_is_stopped(
    autojump_clock: MockClock,
) -> None:
    """Those who await it are told; start() starts it all the same."""
    story: list[str] = []
    root = MultiService(Leaf([], "slow", slow=50), queued := Leaf(story, "queued"), name="root")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.main)
        await trio.sleep(1)
        nursery.start_soon(queued.stop)
        with pytest.raises(StartInterrupted):
            await queued.wait_running()
        await root.wait_running()
        assert story == []  # L4
        await queued.start()
        assert queued.running
        await root.stop()


async def test_nobody_waits_for_himself(autojump_clock: MockClock) -> None:
    """In a drain, start, wait_running and wait_stopped say so; stop of an earlier sibling returns at once."""
    refused: list[str] = []

    class Confused(Service):
        async def drain(self) -> None:
            for wait in (self.wait_running, self.wait_stopped):
                try:
                    await wait()
                except ServiceStateError:
                    refused.append(wait.__name__)
            assert self.parent is not None
            await self.parent["earlier"].stop()

    root = MultiService(Service(name="earlier"), Confused(drain_timeout=None), name="root")
    async with running(root):
        begun = trio.current_time()
        with trio.fail_after(100):
            await root.stop()
        assert trio.current_time() == begun
    assert refused == ["wait_running", "wait_stopped"]  # L2, L4


async def test_a_main_that_was_cancelled_before_it_began_binds_nothing(autojump_clock: MockClock) -> None:
    """And no privileges are dropped for nothing."""
    story: list[str] = []
    app = Application("app", Bound(story, "a"), bound=lambda app: story.append("dropped"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await app.main()
    assert scope.cancelled_caught
    assert story == []  # L8, L18


async def test_a_stop_while_others_bind_ends_the_binding(autojump_clock: MockClock) -> None:
    """The next is not bound, and the hook is not called."""
    story: list[str] = []

    class Slow(Bound):
        async def privileged_start(self, stack: AsyncExitStack) -> None:
            await super().privileged_start(stack)
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    app = Application("app", Slow(story, "a"), Bound(story, "b"), bound=lambda app: story.append("dropped"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app.main)
        await trio.sleep(1)
        await app.stop()
    assert story == ["a binds", "a is released"]  # L8, L18


async def test_errors_of_a_release_carry_the_path_that_the_service_had(autojump_clock: MockClock) -> None:
    """Though it has left by then."""

    class Bad(Service):
        async def privileged_start(self, stack: AsyncExitStack) -> None:
            stack.push_async_callback(fails)

    root = MultiService(child := Bad(name="bad"), keep_running=True, name="root")
    async with running(root):
        await child.stop()
        with pytest.raises(ServicesFailed) as caught:
            await child.disown_service_parent()
        assert paths_of(the_error(caught.value)) == ["root/bad"]  # L13


async def test_the_shutdown_budget_counts_from_a_start_timeout_too(autojump_clock: MockClock) -> None:
    """The failure stands when the time is up, however long the cleanup takes."""

    async def slow_to_go(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(20)

    story: list[str] = []
    app = Application(
        "app",
        Draining(story, "a", takes=1000, drain_timeout=None),
        TaskService(slow_to_go, start_timeout=5),
        shutdown_timeout=30,
    )
    begun = trio.current_time()
    with pytest.raises(ServicesFailed):
        await app.main()
    assert trio.current_time() - begun == pytest.approx(5 + 30)  # L12


async def test_what_runs_on_its_own_is_not_removed(autojump_clock: MockClock) -> None:
    """It would not be stopped first."""
    root = MultiService(lonely := Leaf([], "lonely"), name="root")
    async with running(lonely):
        with pytest.raises(ServiceStateError, match="on its own"):
            await root.remove_service(lonely)
        assert lonely in root  # L9


def test_a_forgotten_super_init_is_named() -> None:
    """The usual slip of a subclass."""

    class Forgetful(Service):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"super\(\).__init__"):
        MultiService(Forgetful())


# ---- what cannot be


def test_options_that_cannot_be_are_refused_with_the_unit() -> None:
    """Said when the service is made, not when it is stopped."""
    for wrong in (
        {"start_timeout": 0},
        {"drain_timeout": -1},
        {"stop_timeout": 0},
        {"start_timeout": float("nan")},
    ):
        with pytest.raises(ValueError, match="seconds"):
            Service(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes services"):
        MultiService(trio.sleep)  # type: ignore[arg-type]


def test_a_branch_cannot_have_code_of_its_own() -> None:
    """It runs its children; whoever overrides run is told where to put it."""
    with pytest.raises(TypeError, match="into a child"):

        class Confused(MultiService):
            async def run(self, task_status: trio.TaskStatus[object]) -> None:
                pass


async def test_task_service_wants_a_function_and_says_so(autojump_clock: MockClock) -> None:
    """The two usual slips: calling it, and a plain function."""
    coroutine = returns()
    with pytest.raises(TypeError, match=r"TaskService\(fn, arg\)"):
        TaskService(coroutine)  # type: ignore[arg-type]
    with pytest.raises(ServicesFailed) as caught:
        await TaskService(lambda: 1, name="plain").main()  # type: ignore[arg-type,return-value]
    assert "async function" in str(the_error(caught.value))


async def test_ten_thousand_children_start_and_stop(autojump_clock: MockClock) -> None:
    """In one MultiService, in order."""
    count = 10_000
    order: list[int] = []

    async def leaf(number: int) -> None:
        try:
            await trio.sleep_forever()
        finally:
            order.append(number)

    root = MultiService(*(TaskService(leaf, number, name=str(number)) for number in range(count)))
    async with running(root):
        assert all(child.running for child in root)
    assert order == list(range(count))[::-1]  # L6


def test_the_same_life_is_lived_on_every_clock() -> None:
    """The heart reads no other clock than trio's."""
    leaf = Leaf([], "a", slow=1_000_000)

    async def main() -> float:
        async with running(leaf):
            return trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) >= 1_000_000
