"""Links: pure draws from a seed, and what waits while they are cut."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.testing.links import PERFECT, Conditions, Link, changed


class Clock:
    """One that runs as fast as there is something to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = count()
        self._calendar: list[tuple[float, int, Callable[[], object]]] = []

    def at(self, due: float, act: Callable[[], object]) -> None:
        heapq.heappush(self._calendar, (due, next(self._order), act))

    def run(self) -> None:
        while self._calendar:
            self.now, _, act = heapq.heappop(self._calendar)
            act()


def link(seed: int = 0, source: str = "a", target: str = "b", **conditions: object) -> Link:
    return Link(Clock(), seed, source, target, changed(PERFECT, **conditions))


def test_the_draws_are_the_same_on_every_python_and_machine() -> None:
    one = link(7, latency=(0.0, 1.0), loss=0.5)
    drawn = [f"{taken:.6f}" for taken in (one.crossing(), *(one.segment()[0] for _ in range(3)))]
    assert drawn == ["0.129603", "0.423841", "3.770959", "0.482246"]


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_crossing_takes_as_long_as_was_said(one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert low <= link(latency=(low, high)).crossing() <= high


def test_a_lost_segment_is_sent_again_later_and_later() -> None:
    one = link(loss=0.9)
    for taken, lost in (one.segment() for _ in range(100)):
        assert taken == pytest.approx(sum(min(0.2 * 2**again, 120) for again in range(lost)))


def test_the_links_of_a_network_have_fates_of_their_own() -> None:
    fates = {
        (seed, ends): link(seed, *ends, latency=(0, 1)).crossing() for seed in (1, 2) for ends in ("ab", "ba")
    }
    assert len(set(fates.values())) == 4


def test_a_datagram_that_is_overtaken_comes_after_those_that_follow() -> None:
    assert min(link(latency=(0.1, 0.5), reorder=1.0).datagram()) > 0.5


def test_what_waits_at_a_cut_sets_out_in_order_after_the_last_mending() -> None:
    landed: list[int] = []
    one = link()
    one.cut()
    one.cut()
    for number in range(3):
        one.carry(lambda number=number: landed.append(number))
    one._clock.run()
    one.mend()
    assert (one.is_cut, landed) == (True, [])
    one.mend()
    assert (one.is_cut, landed) == (False, [0, 1, 2])


def test_what_is_cut_on_its_way_waits() -> None:
    landed: list[float] = []
    one = link(latency=1.0)
    one.carry(lambda: landed.append(one._clock.now))
    one.cut()
    one._clock.run()
    assert landed == []
    one.mend()
    one._clock.run()
    assert landed == [2.0]


def test_mending_what_is_whole_does_nothing() -> None:
    one = link()
    one.mend()
    one.cut()
    assert one.is_cut


def test_one_number_is_a_latency() -> None:
    assert changed(PERFECT, latency=1) == Conditions(latency=(1, 1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"latency": (2, 1)}, "latency is a number of seconds, or two, the lesser first, not (2, 1)"),
        ({"loss": 1}, "loss is less than 1; to lose everything cut the link by partition()"),
        ({"reorder": -0.5}, "reorder is a share from 0 to 1, not -0.5"),
        ({"segment": 0}, "segment is a number of bytes from 1, not 0"),
    ],
)
def test_what_cannot_be_is_told(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared below
        changed(PERFECT, **wrong)
    assert str(caught.value) == said


def test_an_unknown_condition_is_named() -> None:
    with pytest.raises(TypeError, match="latncy"):
        changed(PERFECT, latncy=1)
