"""The contract as a checker: what was heard is judged, and the guilty is named."""

from __future__ import annotations

import math

import pytest
import trio

from trioservice import Application, Service, State
from trioservice.events import ErrorRaised, Event, ServiceRemoved, StateChanged, StopOverdue, StopRequested
from trioservice.testing.contract import Breach, check_contract
from trioservice.testing.diary import (
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

STOPPED, STARTING, RUNNING, STOPPING, FINISHED = (
    State.STOPPED,
    State.STARTING,
    State.RUNNING,
    State.STOPPING,
    State.FINISHED,
)


def told(*moves: str) -> list[Event]:
    """`"a starting"`: a state for each path, one second after the other."""
    states: dict[str, State] = {}
    events: list[Event] = []
    for time, move in enumerate(moves):
        path, name = move.split()
        old, new = states.get(path, STOPPED), State(name)
        states[path] = new
        events.append(StateChanged(path, float(time), old, new, 1.0))
    return events


def rules(events: list[Event]) -> list[str]:
    return [breach.rule for breach in check_contract(events, slack=0)]


GOOD = "a starting,a/b starting,a/b running,a/c starting,a/c running,a running,a stopping"
GOOD += ",a/c stopping,a/c stopped,a/b stopping,a/b stopped,a stopped"

FORWARD = GOOD.replace("a/c stopping,a/c stopped,", "").removesuffix(",a stopped")
FORWARD += ",a/c stopping,a/c stopped,a stopped"


def test_a_good_life_breaks_nothing() -> None:
    assert check_contract(told(*GOOD.split(","))) == []


async def test_what_an_application_tells_can_be_judged(autojump_clock) -> None:
    heard: list[Event] = []
    app = Application("a", Service(name="b"), Service(name="c"), handle_signals=False)
    app.subscribe(heard.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        await app.stop()
    assert check_contract(heard) == []
    assert heard


@pytest.mark.parametrize(
    ("life", "rule"),
    [
        ("a starting,a/b starting,a/c starting", "L5"),
        ("a starting,a/b starting,a running", "L5"),
        ("a starting,a/b starting,a/b running,a running,a stopping,a/c starting", "L7"),
        ("a starting,a running,a starting", "L1"),
        (FORWARD, "L6"),
        (GOOD.replace(",a/b stopping,a/b stopped", ""), "L6"),
    ],
)
def test_a_broken_order_is_found(life: str, rule: str) -> None:
    assert rule in rules(told(*life.split(",")))


def test_time_runs_forward() -> None:
    events = told("a starting", "a running")
    assert rules(list(reversed(events)))[0] in ("L19", "L1")


def test_a_diary_contradicts_a_liar() -> None:
    start, ready = told("a starting", "a running")
    entered, said = Entered("a", 0.5, False), SaidReady("a", 0.7)
    assert check_contract([start, entered, said, ready]) == []
    assert rules([start, entered, ready]) == ["L2"]
    assert rules([entered, start, said, ready])[0] == "L1"


def test_who_is_told_to_be_gone_has_left() -> None:
    events = told("a starting", "a running", "a stopping", "a stopped")
    events[1:1] = [Entered("a", 0.5, False), SaidReady("a", 0.6)]
    left = Left("a", 3.5, None)
    assert rules([*events, left]) == ["L6"]
    assert rules([*events[:-1], Left("a", 2.5, None), events[-1]]) == []


def test_a_drain_keeps_its_time() -> None:
    events = told("a starting", "a running", "a stopping")
    events[1:1] = [Entered("a", 0.5, True), SaidReady("a", 0.6)]
    assert rules([*events, DrainBegan("a", 2.0, 3.0), DrainEnded("a", 5.0, None)]) == []
    assert rules([*events, DrainBegan("a", 2.0, 3.0), DrainEnded("a", 5.5, None)]) == ["L10"]


def test_who_has_a_drain_is_drained() -> None:
    events = told("a starting", "a running", "a stopping", "a stopped")
    events[1:1] = [Entered("a", 0.5, True), SaidReady("a", 0.6)]
    assert rules([*events[:-1], events[-1]])[0] == "L6"
    gone = Left("a", 2.5, trio.Cancelled._create(source="unknown"))
    assert rules([*events[:-1], gone, events[-1]]) == ["L10"]


def test_a_branch_whose_children_have_finished_is_finished() -> None:
    seen = BranchSeen("a", 0.0, ("a/b",), 0.0, False)
    events = told("a starting", "a/b starting", "a/b running", "a running", "a/b finished", "a/b starting")
    assert rules([seen, *events]) == ["L15"]


def test_a_child_that_begins_again_in_the_moment_of_its_end_keeps_its_branch() -> None:
    seen = BranchSeen("a", 0.0, ("a/b",), 0.0, False)
    again = [
        StateChanged("a/b", 4.0, RUNNING, FINISHED, 1.0),
        StateChanged("a/b", 4.0, FINISHED, STARTING, 0.0),
        StateChanged("a/b", 5.0, STARTING, RUNNING, 1.0),
    ]
    events = told("a starting", "a/b starting", "a/b running", "a running")
    assert "L15" not in rules([seen, *events, *again])


def test_a_breach_is_a_sentence() -> None:
    assert str(Breach("L6", "a/b", "was late")) == "L6: a/b was late"


def leaf(*states: str, drains: bool = False, path: str = "a/b", **limits: float) -> list[Event]:
    """A leaf that goes through states, one each second, and is entered and ready where it says so."""
    events = told(*(f"{path} {state}" for state in states))
    entered = Entered(path, 0.2, drains, limits.get("start_timeout"), limits.get("stop_timeout", math.inf))
    events[1:1] = [entered, SaidReady(path, 0.8)]
    return events


def over(*events: Event, error: BaseException | None = None) -> list[Event]:
    """What happened below a root, and that root's end."""
    start = told("a starting", "a running")
    end = [
        StateChanged("a", 90.0, RUNNING, STOPPING, 1.0),
        StateChanged("a", 91.0, STOPPING, STOPPED, 1.0),
        MainEnded("a", 92.0, error),
    ]
    return [*start[:1], *events, *(StateChanged("a", 89.0, STARTING, RUNNING, 1.0),), *end]


BROKEN = KeyError("broken")
ALONE = ErrorRaised("a/b", 2.0, BROKEN, "running", True)
SHARED = ErrorRaised("a/b", 2.0, BROKEN, "running", False)
HERE = BranchSeen("a", 0.0, ("a/b",), 2.0, False)


@pytest.mark.parametrize(
    ("events", "rule", "words"),
    [
        (over(Left("a/b", 1.0, BROKEN), error=BROKEN), "L19", "no event tells of it"),
        (over(Left("a/b", 1.0, BROKEN), SHARED), "L13", "which is lost"),
        (over(Left("a/b", 1.0, BROKEN), ALONE, error=BROKEN), "L13", "came out of main"),
        (over(Left("a/b", 1.0, SystemExit(3))), "L17", "raised SystemExit(3), and main ended with None"),
        (over(StopRequested("a", 1.0, "main was cancelled")), "L17", "main has swallowed that"),
        (over(BoundTo("a/b", 1.0), BoundTo("a/b", 1.5)), "L18", "was bound twice"),
        (over(BoundTo("a/b", 1.0)), "L18", "was never released"),
        (over(Released("a/b", 1.0)), "L18", "is not bound"),
        (over(BoundTo("a/b", 1.0), BoundTo("a/c", 1.0), Released("a/b", 2.0)), "L18", "before a/c"),
        ([Entered("a", 0.0, False), BoundTo("a/b", 1.0)], "L18", "after something had been run"),
        (
            [BoundTo("a/b", 0.0), BindingFailed("a/b", 0.5, BROKEN), Entered("a/b", 1.0, False)],
            "L18",
            "could not be bound",
        ),
        (leaf("starting", "running", start_timeout=0.5), "L7", "was starting for 1.0 s, and has 0.5 s"),
        (
            [*leaf("starting", "running", "stopping", stop_timeout=1.0), Left("a/b", 4.5, None)],
            "L11",
            "told 0 times, not 2",
        ),
        ([*leaf("starting", "running"), Entered("a/b", 2.0, False)], "L1", "was run twice at a time"),
        ([*leaf("starting", "running"), DrainBegan("a/b", 2.0, 3.0)], "L10", "while it was running"),
        (
            [*told("a/b starting", "a/b stopping"), DrainBegan("a/b", 2.0, 3.0)],
            "L10",
            "had not been ready",
        ),
        (
            [
                StopRequested("a", 0.0, "main was cancelled"),
                *leaf("starting", "running", "stopping", drains=True),
                DrainBegan("a/b", 3.0, 3.0),
            ],
            "L10",
            "although main was cancelled",
        ),
        (
            [
                StopRequested("a", 0.0, "SIGTERM again: all drains are cut"),
                *leaf("starting", "running", "stopping", drains=True),
                DrainBegan("a/b", 3.0, 3.0),
            ],
            "L12",
            "all drains had been cut",
        ),
        (
            [
                HERE,
                *told("a starting", "a running"),
                *leaf("starting", "running", "stopping", drains=True),
                StateChanged("a", 2.0, RUNNING, STOPPING, 1.0),
                DrainBegan("a/b", 2.0, 9.0),
                DrainEnded("a/b", 4.5, None),
            ],
            "L10",
            "drained beyond the 2.0 s of a",
        ),
        (
            [*told("a/b starting"), Entered("a/b", 0.5, False), *told("a/b starting", "a/b finished")[1:]],
            "L2",
            "is finished, and was never ready",
        ),
        (
            [
                *told("a/b starting"),
                Entered("a/b", 0.2, False),
                SaidReady("a/b", 0.4),
                StateChanged("a/b", 1.0, STARTING, STOPPING, 1.0),
            ],
            "L2",
            "had said that it was ready",
        ),
        (
            [*told("a starting", "a/b starting", "a/b failed", "a/c starting")],
            "L7",
            "although a/b, before it, had failed",
        ),
        (
            [
                BranchSeen("a", 0.0, ("a/b", "a/c"), 1.0, False),
                *told("a starting", "a/b starting"),
                Entered("a/b", 1.5, False),
                Entered("a/c", 1.6, False),
            ],
            "L5",
            "was run before a/b had said",
        ),
        (
            [BranchSeen("a", 0.0, ("a/b",), 1.0, True), *told("a starting", "a running", "a finished")],
            "L15",
            "was to go on",
        ),
        (
            told("a starting", "a/b starting", "a/b running", "a running", "a stopping", "a stopped"),
            "L6",
            "while a/b was running",
        ),
        (told("a starting", "a/b starting", "a failed"), "L13", "is still starting, though a is over"),
        ([*told("a starting", "a failed"), Entered("a/b", 2.0, False)], "L13", "is still in its run"),
    ],
)
def test_each_rule_is_broken_by_its_own_story(events: list[Event], rule: str, words: str) -> None:
    assert [
        breach for breach in check_contract(events, slack=0) if breach.rule == rule and words in breach.words
    ]


def test_stories_that_only_look_like_that_break_nothing() -> None:
    assert rules(over(Left("a/b", 1.0, BROKEN), SHARED, error=BROKEN)) == []
    assert rules(over(Left("a/b", 1.0, BROKEN), ALONE)) == []
    assert (
        rules(over(BoundTo("a/b", 1.0), BoundTo("a/c", 1.0), Released("a/c", 2.0), Released("a/b", 2.0)))
        == []
    )
    assert rules(leaf("starting", "running", path="b", start_timeout=1.0)) == []
    end = SystemExit(3)
    assert rules(over(Left("a/b", 1.0, end), error=end)) == []
    overdue = leaf("starting", "running", "stopping", path="b", stop_timeout=1.0)
    told_so = StopOverdue("b", 3.0, 1.0, ())
    gone = StateChanged("b", 3.5, STOPPING, STOPPED, 1.5)
    assert rules([*overdue, told_so, Left("b", 3.5, None), gone]) == []


def test_a_branch_whose_last_child_but_the_removed_has_finished_is_finished() -> None:
    seen = BranchSeen("a", 0.0, ("a/b", "a/c"), 0.0, False)
    events = told("a starting", "a/b starting", "a/b running", "a/c starting", "a/c running", "a running")
    gone = [
        StateChanged("a/c", 6.0, RUNNING, STOPPING, 1.0),
        StateChanged("a/c", 6.0, STOPPING, STOPPED, 0.0),
    ]
    end = [
        StateChanged("a/b", 7.0, RUNNING, FINISHED, 1.0),
        StateChanged("a", 7.0, RUNNING, FINISHED, 1.0),
    ]
    assert rules([seen, *events, *gone, ServiceRemoved("a/c", 6.0), *end]) == []
    assert rules([seen, *events, *gone, *end]) == ["L15"]
