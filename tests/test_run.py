"""Whatever happens to a tree, whenever it happens, the contract holds."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from world import Act, AtStep, Branch, Leaf, acts, everything, judge, live, trees

from trioservice.service import MultiService, TaskService
from trioservice.testing.story import story_of

# `make mutants` wants to know that a test fails, and not what the smallest life is in which it does.
SMALLEST = () if "TRIOSERVICE_MUTANT" in os.environ else (Phase.shrink,)

# A change is judged by the same lives each time, so that it cannot fail for what it has not touched;
# `make explore` lives thousands of others.
patient = settings(
    max_examples=int(os.environ.get("TRIOSERVICE_EXAMPLES", "400")),
    derandomize="TRIOSERVICE_EXPLORE" not in os.environ,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *SMALLEST],
)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    # Thousands of failing services would bury the one that matters.
    caplog.set_level("CRITICAL", logger="trioservice")


def check(plan: Branch, script: list[Act], shutdown_timeout: float | None = 30.0) -> None:
    life = live(plan, script, shutdown_timeout=shutdown_timeout)
    complaints = judge(life)
    if complaints:
        for line in story_of(life.diary.events):
            note(str(line))
        for outcome in life.outcomes:
            note(f"{outcome}")
    assert complaints == []


@patient
@given(plan=trees(), script=st.lists(acts, max_size=5))
def test_the_contract_holds_whatever_is_done_to_a_tree(plan: Branch, script: list[Act]) -> None:
    """Random trees, random faults, random requests at random moments: every rule holds."""
    check(plan, script)


@patient
@given(plan=trees(3), stop=acts.filter(lambda act: act.what in ("stop_all", "cancel", "signal")))
def test_the_contract_holds_when_nobody_meddles(plan: Branch, stop: Act) -> None:
    """A tree that is only started and stopped is held to the strictest reading of each rule."""
    check(plan, [stop])


# While its parent stops, a child that is being restarted passes its start_timeout: a failure of its own,
# which does not wait until the sibling after it is gone.
LATE_IN_A_STOPPING_PARENT = Branch(
    children=(
        Branch(
            children=(Leaf(start_fault="hang", start_timeout=2.0), Leaf(cleanup=12.0)),
            keep_running=True,
        ),
        Branch(children=(Leaf(start=3.0, ends="fail", ends_after=1.0),)),
    ),
    keep_running=True,
)


@example(plan=LATE_IN_A_STOPPING_PARENT, script=[Act(1.0, "stop", 2), Act(5.0, "restart", 2)], budget=None)
@patient
@given(plan=trees(2), script=st.lists(acts, min_size=3, max_size=8), budget=st.sampled_from([None, 0.0, 2.0]))
def test_the_contract_holds_under_many_requests_at_once(
    plan: Branch, script: list[Act], budget: float | None
) -> None:
    """Small trees under a hail of requests, with other budgets for the shutdown."""
    check(plan, script, budget)


SMALL = Branch(
    children=(
        Leaf(start=0.5, bind="ok", cleanup=1.0),
        Branch(children=(Leaf(drain=1.0, start=1.0), Leaf(bind="ok", drain=9.0)), keep_running=True),
        Leaf(cleanup_raises=True),
    ),
    keep_running=True,
)
STOP_AT_TEN = [Act(10.0, "stop_all")]


@pytest.mark.parametrize("what", ["cancel", "stop"])
def test_a_tree_can_be_ended_at_every_step_any_of_its_tasks_takes(what: str) -> None:
    """From the first step to the last: no task, name or socket is left, and no order is ever wrong."""
    step = 0
    while True:
        step += 1
        at_step = AtStep(step, what)
        life = live(SMALL, STOP_AT_TEN, at_step=at_step)
        assert judge(life) == [], f"{what} at step {step}"  # L4 L6 L8 L10 L13 L17 L18
        if not at_step.done:
            break
    assert step > 40  # else the tree has not been lived through


def test_a_keyboard_interrupt_at_any_step_stops_the_tree_in_order_and_comes_out_bare() -> None:
    """Ctrl-C, where nobody handles signals: KeyboardInterrupt leaves main, after everything is gone."""
    assert sum(_is_interrupted_at(step) for step in range(1, 50)) > 15  # L17


def _is_interrupted_at(step: int) -> bool:
    story: list[str] = []

    async def leaf(name: str, task_status: trio.TaskStatus[None]) -> None:
        story.append(f"{name} enters")
        try:
            await trio.sleep(1)
            task_status.started()
            await trio.sleep_forever()
        finally:
            story.append(f"{name} leaves")

    root = MultiService(TaskService(leaf, "a"), MultiService(TaskService(leaf, "b"), TaskService(leaf, "c")))
    at_step = AtStep(step, "interrupt")
    at_step.deed = lambda: root._run and signal.raise_signal(signal.SIGINT)
    clock = MockClock(autojump_threshold=0)
    error: BaseException | None = None
    try:
        trio.run(_until_done, root, clock=clock, instruments=[at_step])
    except KeyboardInterrupt as interrupt:
        error = interrupt
    struck = at_step.done and error is not None
    entered = [line.split()[0] for line in story if line.endswith("enters")]
    left = [line.split()[0] for line in story if line.endswith("leaves")]
    assert left == entered[::-1]  # L6
    assert all(service._run is None for service in everything(root))
    return struck


async def _until_done(root: MultiService) -> None:
    with trio.move_on_after(100):
        await root.main()


# Python loses an interrupt that strikes in a destructor; then the story ends by itself.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_random_keyboard_interrupts_never_hang_a_tree() -> None:
    """A real SIGINT at a random instant, in whatever code is running, ends the program in order."""
    stories = [_interrupted_story(random.Random(seed).uniform(0.0, 0.004)) for seed in range(150)]
    assert all(story["entered"] == story["left"] for story in stories)
    assert sum(story["interrupted"] for story in stories) > 100


def _interrupted_story(delay: float) -> dict[str, Any]:
    """Start and stop services for as long as it takes until the interrupt comes."""
    story: dict[str, Any] = {"entered": 0, "left": 0, "interrupted": False}

    async def leaf(task_status: trio.TaskStatus[None]) -> None:
        story["entered"] += 1
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            story["left"] += 1

    async def busy() -> None:
        killer.start()  # not before trio is up: its own setting up is not what is tried here
        with trio.fail_after(20):
            root = MultiService(*(TaskService(leaf) for _ in range(5)), keep_running=True)
            async with trio.open_nursery() as nursery:
                await nursery.start(root.main)
                for _ in range(300):
                    await root.start_service(TaskService(leaf, name="extra"))
                    await root["leaf-2"].restart()
                    await root.remove_service(root["extra"])
                await root.stop()

    killer = threading.Timer(
        delay, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    )
    previous = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        trio.run(busy)
    except KeyboardInterrupt:
        story["interrupted"] = True
    except BaseExceptionGroup as group:
        story["interrupted"] = group.split(KeyboardInterrupt)[1] is None
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            killer.join()
        signal.signal(signal.SIGINT, previous)
    return story
