"""The picture of a tree that its events draw, and what may be asked of it."""

from __future__ import annotations

import math

import pytest

from trioservice import State
from trioservice.events import ErrorRaised, Event, StateChanged, StopOverdue, StopRequested
from trioservice.testing.diary import Asked, BranchSeen, DrainBegan, DrainEnded, Entered, Left, SaidReady
from trioservice.testing.scene import Scene, is_below, leaves_of, origins, parent_of

STOPPED, STARTING, RUNNING, STOPPING = State.STOPPED, State.STARTING, State.RUNNING, State.STOPPING


def moved(path: str, *states: State, time: float = 0.0) -> list[Event]:
    old, events = STOPPED, list[Event]()
    for new in states:
        events.append(StateChanged(path, time, old, new, 0.0))
        old = new
    return events


def after(*events: Event) -> Scene:
    scene = Scene()
    for event in events:
        scene.learn(event)
    return scene


def test_nothing_was_heard_of_anybody_yet() -> None:
    scene = Scene()
    assert scene.state("a") is STOPPED
    assert scene.before("a") == scene.after("a") == []
    assert scene.start_timeout("a") == math.inf
    assert scene.reports_due("a", 100.0) == 0


def test_without_a_diary_siblings_stand_as_they_first_started() -> None:
    scene = after(*moved("a", STARTING), *moved("a/x", STARTING, RUNNING), *moved("a/y", STARTING))
    assert scene.before("a/y") == ["a/x"]
    assert scene.after("a/x") == ["a/y"]
    assert scene.before("a/z") == ["a/x", "a/y"]


def test_a_branch_that_was_seen_tells_the_order_and_the_limits() -> None:
    scene = after(BranchSeen("a", 0.0, ("a/y", "a/x"), 2.0, False, 7.0))
    assert scene.before("a/x") == ["a/y"]
    assert scene.start_timeout("a") == 7.0


def test_a_failure_spends_the_budget_of_all_that_is_above_it() -> None:
    scene = after(
        BranchSeen("a", 0.0, ("a/b",), 9.0, False),
        BranchSeen("a/b", 0.0, ("a/b/c",), 2.0, False),
        *moved("a", STARTING),
        *moved("a/b", STARTING),
        ErrorRaised("a/b/c", 3.0, KeyError(), "running", False),
        *moved("a/b", STARTING, RUNNING, STOPPING, time=4.0),
    )
    assert scene.budgets == {"a": (3.0, 9.0), "a/b": (3.0, 2.0)}


def test_an_error_that_somebody_awaits_alone_spends_nothing() -> None:
    error = ErrorRaised("a/c", 3.0, KeyError(), "running", True)
    assert (
        after(BranchSeen("a", 0.0, ("a/c",), 9.0, False), *moved("a", STARTING, RUNNING), error).budgets == {}
    )


def test_a_leaf_is_overdue_from_its_cancellation_on_which_follows_its_drain() -> None:
    begun = [
        *moved("a", STARTING),
        Entered("a", 0.0, True, None, 2.0),
        SaidReady("a", 0.0),
        *moved("a", STARTING, RUNNING, STOPPING, time=1.0),
    ]
    assert after(*begun).reports_due("a", 3.0) == 0
    assert after(*begun).reports_due("a", 3.1) == 1
    drained = [*begun, DrainBegan("a", 1.0, 9.0), DrainEnded("a", 8.0, None)]
    assert after(*drained).reports_due("a", 10.0) == 0
    assert after(*drained).reports_due("a", 12.5) == 2
    assert after(*drained, StopOverdue("a", 10.0, 2.0, ())).overdue["a"] == 1


def test_who_was_asked_for_out_of_turn_has_meddled_with_its_parent() -> None:
    assert after(Asked("a/b", 0.0, "restart('a/b')")).meddled == {"a"}
    assert after(StopRequested("a/b", 0.0, "stop() was called")).meddled == {"a"}
    assert after(StopRequested("a/b", 0.0, "KeyError in a/b/c")).meddled == set()


def test_what_ends_the_program_is_no_failure_and_is_remembered() -> None:
    end, error = SystemExit(3), KeyError()
    scene = after(Left("a", 0.0, BaseExceptionGroup("", [end, error])))
    assert [one.error for one in scene.exits] == [end]
    assert [one.error for one in scene.raised] == [error]


@pytest.mark.parametrize(
    ("path", "top", "below"), [("a/b", "a", True), ("a", "a", True), ("ab", "a", False), ("a", "a/b", False)]
)
def test_paths_are_compared_name_by_name(path: str, top: str, below: bool) -> None:
    assert is_below(path, top) is below


def test_the_parent_of_a_root_is_nobody() -> None:
    assert [parent_of(path) for path in ("a/b/c", "a")] == ["a/b", ""]


def test_groups_are_looked_into_to_the_ground_and_causes_behind() -> None:
    first, second = KeyError(), ValueError()
    second.__context__ = hidden = OSError()
    group = BaseExceptionGroup("", [first, BaseExceptionGroup("", [second])])
    assert list(leaves_of(group)) == [first, second]
    assert hidden in origins(group)
    assert list(leaves_of(None)) == []
