"""The table of states and moves."""

from trioservice.lifecycle import MOVES, Move, State


def test_every_state_can_be_reached_from_stopped() -> None:
    """No state stands in the table that no service can come to."""
    reached = {State.STOPPED}
    while True:
        further = reached | {new for (old, _), new in MOVES.items() if old in reached}
        if further == reached:
            break
        reached = further
    assert reached == set(State)


def test_every_life_can_end_and_every_ended_life_can_begin_again() -> None:
    """From each state a service can be brought to rest, and from rest to STARTING (L3, L4)."""
    at_rest = {State.STOPPED, State.FINISHED, State.FAILED}
    for state in State:
        if state in at_rest:
            assert MOVES[state, Move.START] is State.STARTING
        else:
            assert (state, Move.START) not in MOVES  # L1
            assert (state, Move.STOP) in MOVES or (state, Move.END) in MOVES


def test_a_failure_is_possible_wherever_code_of_the_service_runs() -> None:
    """STARTING, RUNNING and STOPPING can all end in FAILED."""
    assert {old for (old, move) in MOVES if move is Move.FAIL} == {
        State.STARTING,
        State.RUNNING,
        State.STOPPING,
    }
