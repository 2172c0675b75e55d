"""The virtual clock: it jumps when all wait, and stands while threads work."""

from __future__ import annotations

import time
from functools import partial

import pytest
import trio

from trioservice.testing.clocks import PATIENCE, Abandoned, VirtualClock, keep_for_ever


def run(main) -> VirtualClock:
    clock = VirtualClock()
    trio.run(main, clock=clock, instruments=[clock])
    return clock


def test_an_hour_takes_no_time() -> None:
    async def main() -> None:
        await trio.sleep(3600)
        assert trio.current_time() == 3600

    begun = time.monotonic()
    assert run(main).spinning == 0
    assert time.monotonic() - begun < 5


def test_it_stands_still_while_a_thread_works() -> None:
    async def main() -> None:
        with trio.move_on_after(1000) as scope:
            await trio.to_thread.run_sync(time.sleep, 0.05)
        assert not scope.cancelled_caught
        assert trio.current_time() == 0

    run(main)


def test_it_stands_still_while_a_thread_of_another_limiter_works() -> None:
    async def main() -> None:
        with trio.move_on_after(1000) as scope:
            await trio.to_thread.run_sync(time.sleep, 0.05, limiter=trio.CapacityLimiter(1))
        assert not scope.cancelled_caught
        assert trio.current_time() == 0

    run(main)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("in_a_task_of_its_own", [False, True])
def test_it_moves_while_a_thread_waits_for_trio(in_a_task_of_its_own: bool) -> None:
    async def main() -> None:
        token = trio.lowlevel.current_trio_token() if in_a_task_of_its_own else None
        await trio.to_thread.run_sync(partial(trio.from_thread.run, trio.sleep, 5, trio_token=token))
        assert trio.current_time() == 5

    run(main)


def test_a_loop_that_never_waits_is_overtaken() -> None:
    async def main() -> None:
        with trio.move_on_after(60):
            while True:
                await trio.lowlevel.checkpoint()

    assert run(main).spinning > 100


def test_a_burst_takes_no_time() -> None:
    async def main() -> None:
        for _ in range(PATIENCE - 10):
            await trio.lowlevel.checkpoint()
        assert trio.current_time() == 0

    assert run(main).spinning == 0


def test_what_has_no_end_can_be_abandoned() -> None:
    async def main() -> None:
        clock.abandon()
        await trio.lowlevel.checkpoint()
        raise AssertionError("it goes on")

    clock = VirtualClock()
    with pytest.raises(trio.TrioInternalError) as caught:
        trio.run(main, clock=clock, instruments=[clock])
    assert isinstance(caught.value.__cause__, Abandoned)
    keep_for_ever(caught.value)
