"""The order of steps: from a seed, or from choices that Hypothesis shrinks."""

from __future__ import annotations

import trio
from hypothesis import find, settings
from hypothesis import strategies as st

from trioservice.testing.scheduling import explored_schedule, is_available, seeded_schedule


def test_trio_still_has_what_this_stands_on() -> None:
    assert is_available(), "trio has changed how it chooses the order of steps: mend scheduling.py"


async def order() -> str:
    told = []

    async def tell(name: str) -> None:
        for _ in range(3):
            told.append(name)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(tell, name)
    return "".join(told)


def seeded(seed: int) -> str:
    with seeded_schedule(seed):
        return trio.run(order)


def test_the_same_seed_makes_the_same_order() -> None:
    assert [seeded(seed) for seed in range(5)] == [seeded(seed) for seed in range(5)]
    assert len({seeded(seed) for seed in range(5)}) > 1


def test_without_choices_the_oldest_steps() -> None:
    with explored_schedule([]) as chooser:
        assert trio.run(order) == "aaabbbcccddd"
    assert chooser.steps


def loses_an_update(choices: list[int]) -> bool:
    stock = [0]

    async def add() -> None:
        seen = stock[0]
        await trio.lowlevel.checkpoint()
        stock[0] = seen + 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add)
            nursery.start_soon(add)

    with explored_schedule(choices):
        trio.run(main)
    return stock[0] != 2


def test_a_race_is_found_and_shrunk() -> None:
    shortest = find(
        st.lists(st.integers(0, 3)), loses_an_update, settings=settings(derandomize=True, database=None)
    )
    assert loses_an_update(shortest)
    assert len(shortest) <= 3
    assert not loses_an_update([])
