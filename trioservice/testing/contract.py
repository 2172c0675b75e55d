"""The contract as a checker: was a rule broken, by whom, and how, judging by what was heard.

::

    heard = []
    app.subscribe(heard.append)
    ...
    assert check_contract(heard) == []

It reads events once, front to back, with a picture of the tree in mind (a ``Scene``).  Each rule is a
function that looks at the next event before the picture learns of it, so a rule is what it says: "when this
is told, that must have been so".  What the events of the heart cannot show (who was run, when it really was
ready) is judged if a :class:`~trioservice.testing.diary.Diary` was kept, too.

Without a diary, the order of siblings is taken to be that of their first start.  That is wrong for who was
started out of turn by hand, so where somebody has meddled, the order of starting is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import trio

from ..events import Event, StateChanged
from ..lifecycle import MOVES, State
from ..records import record
from .diary import BoundTo, DrainBegan, DrainEnded, Entered, Left, MainEnded, Released
from .scene import ALIVE, Scene, is_below, leaves_of, origins, parent_of

__all__ = ["Breach", "check_contract"]

_LEGAL = frozenset((old, new) for (old, _), new in MOVES.items())


@record
class Breach:
    """A promise that was broken.

    Args:
        rule: of the contract (``L6``), or a word for what is no matter of the contract.
        path: whose promise it was.
        words: what is wrong; a sentence whose subject is the path.
        where: a line of somebody's source, if one is to blame.
    """

    rule: str
    path: str
    words: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.path} {self.words}"


def check_contract(events: Iterable[Event], *, slack: float = 1.0) -> list[Breach]:
    """Every rule that was broken in what happened to one tree, in the order in which it shows.

    Args:
        events: what a listener of the tree has heard, or a diary has taken down, from its start on.
        slack: by how many seconds what is due at a certain time may be late.  Nobody is punctual by a real
            clock; where time is virtual, 0 is right.
    """
    scene = Scene(slack)
    breaches: list[Breach] = []
    for event in events:
        for rule in _rules_for(scene, event):
            breaches += rule(scene, event)
        scene.learn(event)
    return breaches + list(_all_is_over(scene))


# ---- whatever is told


def _is_told_in_order(scene: Scene, event: Event) -> Iterator[Breach]:
    if event.time < scene.time:
        yield Breach("L19", event.path, f"is told of out of order: {event}")


# ---- changes of state


def _is_a_move(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    before = scene.states.get(event.path, event.old)
    # A path may be taken again by another service, whose life begins with STARTING.
    if event.old is not before and event.new is not State.STARTING:
        yield Breach("L19", event.path, f"went to {event.new} from {event.old}, but was {before}")
    if (event.old, event.new) not in _LEGAL:
        yield Breach("L1", event.path, f"made an illegal move from {event.old} to {event.new}")


def _starts_in_its_turn(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    parent = parent_of(event.path)
    if not parent:
        return
    around = scene.state(parent)
    if around not in (State.STARTING, State.RUNNING):
        yield Breach("L7", event.path, f"was started while {parent} was {around}")
    if around is State.STARTING and parent not in scene.meddled:
        for earlier in scene.before(event.path):
            if scene.state(earlier) is State.STARTING:
                yield Breach("L5", event.path, f"was started while {earlier}, before it, was not ready")
            elif scene.ended.get(earlier) is State.FAILED:
                yield Breach("L7", event.path, f"was started although {earlier}, before it, had failed")


def _is_ready_after_its_children(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    if event.path in scene.meddled:
        return
    for child in scene.order.get(event.path, ()):
        if scene.state(child) is State.STARTING:
            yield Breach("L5", event.path, f"was ready before {child}")


def _is_ready_when_it_says_so(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    if event.path in scene.inside and event.path not in scene.said:
        yield Breach("L2", event.path, "was told to be ready, and had not said so")


def _was_ready_when_it_finishes(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    if event.path in scene.inside and event.path not in scene.said:
        yield Breach("L2", event.path, "is finished, and was never ready")


def _is_ready_if_it_said_so(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    if event.old is State.STARTING and event.path in scene.inside and event.path in scene.said:
        yield Breach("L2", event.path, "had said that it was ready, and was not told to be")


def _starts_in_time(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    limit = scene.start_timeout(event.path)
    if event.old is State.STARTING and event.seconds > limit + scene.slack:
        yield Breach("L7", event.path, f"was starting for {event.seconds:.1f} s, and has {limit:.1f} s")


def _stops_in_reverse(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    parent = parent_of(event.path)
    # A branch in which something failed ends itself, at once (L14).
    if scene.state(parent) is not State.STOPPING or event.path in scene.failing:
        return
    for later in scene.after(event.path):
        if scene.state(later) in ALIVE or any(is_below(path, later) for path in scene.inside):
            yield Breach("L6", event.path, f"began to stop while {later}, after it, was not gone")


def _has_gone_when_it_is_told(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    for path in scene.inside:
        if is_below(path, event.path):
            yield Breach("L6", event.path, f"was told to be {event.new} while {path} was still in its run")
    for path in scene.order.get(event.path, ()):
        if scene.state(path) in ALIVE:
            yield Breach("L6", event.path, f"was told to be {event.new} while {path} was {scene.state(path)}")


def _was_drained(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    if event.path in scene.to_drain:
        yield Breach("L10", event.path, "was cancelled without having been drained, and nobody was told")


def _is_finished_with_its_children(scene: Scene, event: Event) -> Iterator[Breach]:
    """L15: the branch whose last child has just finished is the next to move."""
    due = scene.due
    if due is not None and event.time > scene.due_until and scene.state(due) is State.RUNNING:
        yield Breach("L15", due, "is not finished, although all its children are")


def _finishes_with_its_children(scene: Scene, event: StateChanged) -> Iterator[Breach]:
    if scene.has_to_stay(event.path):
        yield Breach("L15", event.path, "is finished, and was to go on")


# ---- diaries


def _is_entered_once(scene: Scene, event: Entered) -> Iterator[Breach]:
    state = scene.state(event.path)
    if event.path in scene.inside:
        yield Breach("L1", event.path, "was run twice at a time")
    elif state not in (State.STARTING, State.STOPPING):
        yield Breach("L1", event.path, f"was run while it was {state}")
    if event.path in scene.unbound:
        yield Breach("L18", event.path, "was run, and could not be bound")
    for other in scene.inside:
        if other not in scene.said and scene.starts_before(other, event.path):
            yield Breach("L5", event.path, f"was run before {other} had said that it is ready")


def _drains_in_time(scene: Scene, event: DrainEnded) -> Iterator[Breach]:
    began, limit = scene.draining.get(event.path, (event.time, math.inf))
    if event.time - began > limit + scene.slack:
        yield Breach("L10", event.path, f"drained for {event.time - began:.1f} s, and has {limit:.1f} s")
    for above, (since, budget) in scene.budgets.items():
        # Only a budget that began before this drain, in the same stop, binds it.
        if is_below(event.path, above) and since <= began and event.time > since + budget + scene.slack:
            yield Breach("L10", event.path, f"drained beyond the {budget:.1f} s of {above}")
    yield from _drains_without_cancellation(scene, event)


def _drains_without_cancellation(scene: Scene, event: Event) -> Iterator[Breach]:
    # Within the instant of the cancellation, one that had been asked for may still begin.
    if event.time > scene.cancelled_at + scene.slack:
        yield Breach("L10", event.path, "drained although main was cancelled")
    if event.time > scene.cut_at + scene.slack:
        yield Breach("L12", event.path, "drained although all drains had been cut")


def _drains_while_it_stops(scene: Scene, event: DrainBegan) -> Iterator[Breach]:
    if scene.state(event.path) is not State.STOPPING:
        yield Breach("L10", event.path, f"was drained while it was {scene.state(event.path)}")
    elif event.path not in scene.said:
        yield Breach("L10", event.path, "was drained, and had not been ready")
    yield from _drains_without_cancellation(scene, event)


def _was_reported(scene: Scene, event: Left) -> Iterator[Breach]:
    due, told = scene.reports_due(event.path, event.time), scene.overdue.get(event.path, 0)
    if told < due:
        yield Breach("L11", event.path, f"stayed after its cancellation; told {told} times, not {due}")


# ---- binding


def _is_bound_before_anything_runs(scene: Scene, event: BoundTo) -> Iterator[Breach]:
    if event.path in scene.bound:
        yield Breach("L18", event.path, "was bound twice")
    if scene.first_entered and not scene.meddled:
        yield Breach("L18", event.path, "was bound after something had been run")


def _is_released_in_reverse(scene: Scene, event: Released) -> Iterator[Breach]:
    if event.path not in scene.bound:
        yield Breach("L18", event.path, "was released, and is not bound")
    elif not scene.meddled and scene.bound[-1] != event.path:
        yield Breach("L18", event.path, f"was released before {scene.bound[-1]}, which was bound after it")


# ---- errors, and the end


def _is_told_and_raised(scene: Scene, event: MainEnded) -> Iterator[Breach]:
    """L13, L14, L19: what was raised is told, and comes out of main or goes to who awaited it."""
    out = {id(one) for part in leaves_of(event.error) for one in origins(part)}
    for path, error in scene.raised:
        told = [one for one in scene.told if id(error) in one.origins]
        # Who awaited it alone may have raised it anew, in a service of its own.
        alone = all(one.alone for one in told)
        if not told:
            yield Breach("L19", path, f"raised {error!r}, and no event tells of it")
        elif not alone and id(error) not in out:
            yield Breach("L13", path, f"raised {error!r}, which is lost")
        elif alone and id(error) in out:
            yield Breach("L13", path, f"raised {error!r} to somebody else, and it came out of main")


def _leaves_main_bare(scene: Scene, event: MainEnded) -> Iterator[Breach]:
    if scene.exits and not any(event.error is error for _, error in scene.exits):
        path, error = scene.exits[0]
        yield Breach("L17", path, f"raised {error!r}, and main ended with {event.error!r}")


def _keeps_its_cancellation(scene: Scene, event: MainEnded) -> Iterator[Breach]:
    bare = isinstance(event.error, KeyboardInterrupt | SystemExit)
    kept = any(isinstance(one, trio.Cancelled) for one in leaves_of(event.error))
    if scene.cancelled_at < math.inf and not (bare or kept):
        yield Breach("L17", event.path, "was cancelled from outside, and main has swallowed that")


def _all_is_over(scene: Scene) -> Iterator[Breach]:
    root = min(scene.states, key=len, default="")
    if not root or scene.states[root] in ALIVE:
        return  # it still goes on
    for path, state in scene.states.items():
        if state in ALIVE:
            yield Breach("L13", path, f"is still {state}, though {root} is over")
    for path in scene.inside:
        yield Breach("L13", path, f"is still in its run, though {root} is over")
    for path in scene.bound:
        yield Breach("L18", path, "has bound something that was never released")


_Rules = tuple[Callable[[Scene, Any], Iterator[Breach]], ...]

_OF_TIME: _Rules = (_is_told_in_order, _is_finished_with_its_children)
_RULES: dict[type[Event], _Rules] = {
    Entered: (_is_entered_once,),
    DrainBegan: (_drains_while_it_stops,),
    DrainEnded: (_drains_in_time,),
    BoundTo: (_is_bound_before_anything_runs,),
    Released: (_is_released_in_reverse,),
    Left: (_was_reported,),
    MainEnded: (_is_told_and_raised, _leaves_main_bare, _keeps_its_cancellation),
}
_OF_CHANGES_TO: dict[State, _Rules] = {
    State.STARTING: (_is_a_move, _starts_in_its_turn),
    State.RUNNING: (_is_a_move, _is_ready_after_its_children, _is_ready_when_it_says_so, _starts_in_time),
    State.STOPPING: (_is_a_move, _is_ready_if_it_said_so, _starts_in_time, _stops_in_reverse),
    State.STOPPED: (_is_a_move, _starts_in_time, _has_gone_when_it_is_told, _was_drained),
    State.FINISHED: (
        _is_a_move,
        _was_ready_when_it_finishes,
        _starts_in_time,
        _has_gone_when_it_is_told,
        _finishes_with_its_children,
    ),
    State.FAILED: (_is_a_move, _starts_in_time, _has_gone_when_it_is_told),
}


def _rules_for(scene: Scene, event: Event) -> _Rules:
    """Those that an event can break by what it tells, and by when it does."""
    rules = _OF_CHANGES_TO[event.new] if isinstance(event, StateChanged) else _RULES.get(type(event), ())
    return rules if event.time == scene.time else (*_OF_TIME, *rules)
