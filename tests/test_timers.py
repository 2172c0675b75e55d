"""Timers: when next, and what happens to a call."""

from __future__ import annotations

import gc
import logging
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio
from applications import running
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from trioservice import Application, MultiService, Service, ServicesFailed, State, current_service
from trioservice.errors import paths_of
from trioservice.events import DrainCut, Event
from trioservice.timers import CallFailed, Cron, Grid, Schedule, TimerService, TimerStatistics

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


async def life_of(service: Service) -> None:
    """The whole of it, as a root, which is over some day."""
    with trio.fail_after(1000):
        await service.main()


class Calls:
    """A function for a timer: it notes when each call begins and ends, in trio's time."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)  # how long the first calls last; the last number holds for the rest
        self.began: list[float] = []
        self.ended: list[float] = []

    async def __call__(self) -> None:
        self.began.append(trio.current_time())
        await trio.sleep(self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0])
        self.ended.append(trio.current_time())


def noted(moments: list[float]) -> Callable[[], None]:
    """A plain function that notes when it is called."""

    def note() -> None:
        moments.append(trio.current_time())
        # A timer that calls without end would stop the clock for good, and no deadline would pass.
        assert moments.count(moments[-1]) < 10

    return note


# ---- when next


async def test_the_first_call_comes_at_once_and_the_others_on_the_interval(autojump_clock: MockClock) -> None:
    """It runs, it repeats, and stopped it is silent."""
    moments: list[float] = []
    async with running(TimerService(2, noted(moments))) as (app, _):
        await trio.sleep(5)
        assert moments == [0, 2, 4]  # rows 29, 30
        await app.stop()
        await trio.sleep(10)
        assert moments == [0, 2, 4]  # row 29


async def test_a_restarted_timer_begins_anew_and_counts_anew(autojump_clock: MockClock) -> None:
    """The new run has a grid of its own, on the same clock, and remembers nothing."""
    moments: list[float] = []
    timer = TimerService(2, noted(moments))
    async with running(timer):
        await trio.sleep(2.5)
        await timer.restart()
        assert timer.statistics().calls <= 1  # L3
        await trio.sleep(4.5)
        assert moments == [0, 2, 2.5, 4.5, 6.5]  # rows 28, 29; L3
        assert timer.statistics() == TimerStatistics(calls=3, failed=0, skipped=0)


async def test_a_slow_call_is_not_overlapped_and_what_it_missed_is_skipped(autojump_clock: MockClock) -> None:
    """With calls of 2.5 s every second they begin at 0, 3, 6: Twisted's own rhythm (1.2 #24)."""
    calls = Calls(2.5)
    timer = TimerService(1, calls)
    async with running(timer):
        await trio.sleep(6.1)
        assert calls.began == [0, 3, 6]
        assert timer.statistics() == TimerStatistics(calls=3, failed=0, skipped=4)


async def test_a_slot_at_which_a_call_ends_is_not_missed(autojump_clock: MockClock) -> None:
    """Calls exactly as long as the interval follow each other without a gap."""
    calls = Calls(1.0)
    timer = TimerService(1, calls)
    async with running(timer):
        await trio.sleep(3.5)
        assert calls.began == [0, 1, 2, 3]
        assert timer.statistics().skipped == 0


async def test_a_delay_moves_the_whole_grid_and_readiness_does_not_wait_for_it(
    autojump_clock: MockClock,
) -> None:
    """The first call comes after the delay, the others an interval apart; ready it is at once."""
    moments: list[float] = []
    async with running(TimerService(timedelta(seconds=2), noted(moments), delay=0.5)):
        assert trio.current_time() == 0  # L2
        await trio.sleep(5)
        assert moments == [0.5, 2.5, 4.5]


async def test_a_slow_first_call_does_not_hold_up_what_is_started_after_it(autojump_clock: MockClock) -> None:
    """Ready means that the clock runs, not that something has been done."""
    calls = Calls(100)
    async with running(TimerService(1, calls), Service(name="later")) as (app, _):
        assert app.get_service_named("later").state is State.RUNNING  # L5
        assert calls.ended == []
        assert trio.current_time() == 0


async def test_ten_thousand_tenths_of_a_second_end_where_they_should(autojump_clock: MockClock) -> None:
    """A tenth is no exact float, and its error does not add up."""
    moments: list[float] = []
    async with running(TimerService(0.1, noted(moments))):
        await trio.sleep(1000.05)
    assert len(moments) == 10_001
    assert moments[-1] == pytest.approx(1000, abs=1e-9)


@given(
    start=st.floats(0, 1e6),
    interval=st.floats(1e-3, 1e4),
    number=st.integers(0, 10**6),
    later=st.integers(0, 50) | st.floats(0, 50),
    towards=st.sampled_from([-math.inf, None, math.inf]),
)
@example(665293.372682443, 0.3, 49337, 1, None)  # the quotient is too large by a hair ...
@example(56.820997200961486, 0.1, 80109, 1, math.inf)  # ... and too small
def test_the_next_slot_is_the_first_that_is_not_missed(
    start: float, interval: float, number: int, later: float, towards: float | None
) -> None:
    """Later than the last, not before now, none left out that is; and rounding changes nothing of it."""
    grid = Grid(start, interval)
    last = start + number * interval
    now = start + (number + later) * interval
    if towards is not None:  # as near to a slot as can be, where a quotient is rounded to a whole number
        now = math.nextafter(now, towards)
    slot, skipped = grid.next_slot(last, now)
    assert slot == start + (number + 1 + skipped) * interval
    assert slot > last
    assert slot >= now
    assert skipped == 0 or start + (number + skipped) * interval < now


@given(start=st.floats(0, 1e6), interval=st.floats(1e-3, 1e4))
def test_the_first_slot_is_the_start_however_late_it_is(start: float, interval: float) -> None:
    """A busy process that comes late to the first call makes it all the same."""
    assert Grid(start, interval).next_slot(None, start + 3 * interval) == (start, 0)


@settings(deadline=None)
@given(
    begun_at=st.floats(0, 1e5),
    interval=st.floats(1e-2, 1e3),
    delay=st.floats(0, 10),
    lengths=st.lists(st.sampled_from([0.0, 0.25, 1.0]) | st.floats(0, 4), min_size=1, max_size=12),
)
def test_every_call_is_on_the_grid_none_overlap_and_only_covered_slots_are_skipped(
    begun_at: float, interval: float, delay: float, lengths: list[float]
) -> None:
    """Whatever the interval, and however long the calls last (in intervals)."""
    calls = Calls(*(length * interval for length in lengths))
    skipped: list[int] = []

    async def call() -> None:
        skipped.append(timer.statistics().skipped)
        await calls()

    timer = TimerService(interval, call, delay=delay)

    async def main() -> None:
        await trio.sleep(begun_at)
        async with running(timer):
            while len(calls.ended) < len(lengths):  # noqa: ASYNC110 - what is waited for has no event
                await trio.sleep(interval)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    first, rounding = begun_at + delay, 1e-9 * (begun_at + delay + 50 * interval)
    numbers = [round((moment - first) / interval) for moment in calls.began]
    slots = [first + number * interval for number in range(numbers[-1] + 1)]
    assert numbers[0] == 0
    for number, moment in zip(numbers, calls.began, strict=True):
        assert slots[number] == pytest.approx(moment, abs=rounding)
    for ended, began in zip(calls.ended, calls.began[1:], strict=False):
        assert ended <= began
    for index, (number, following) in enumerate(pairwise(numbers)):
        ended = calls.ended[index]
        assert all(slot < ended + rounding for slot in slots[number + 1 : following]), "skipped without cause"
        assert slots[following] > ended - rounding, "a call that was missed is made up for"
    assert skipped == [number - index for index, number in enumerate(numbers)]


async def test_jitter_adds_to_each_slot_and_leaves_the_grid_where_it_is(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chance moves a call, never the one after it."""
    chances = iter([0.0, 0.5, 0.99, 0.25, 0.0, 0.0])
    monkeypatch.setattr("random.random", lambda: next(chances))
    moments: list[float] = []
    async with running(TimerService(10, noted(moments), jitter=4)):
        await trio.sleep(45)
    assert moments == [0, 12, pytest.approx(23.96), 31, 40]


async def test_a_slot_is_missed_only_when_its_jitter_has_passed_as_well(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that ends shortly after a slot need not cost a whole interval."""
    monkeypatch.setattr("random.random", lambda: 0.5)
    calls = Calls(7, 9, 1)
    timer = TimerService(10, calls, jitter=8)
    async with running(timer):
        await trio.sleep(45)
    # The first lasts from 4 to 11; the slot of 10 may come until 18, and chance puts it at 14.  That
    # call lasts until 23; the slot of 20 may come until 28, and chance puts it at 24.
    assert calls.began == [4, 14, 24, 34, 44]
    assert timer.statistics().skipped == 0


async def test_a_slot_whose_jittered_moment_has_passed_is_called_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its window, though later than chance had it; the next is on the grid again."""
    monkeypatch.setattr("random.random", lambda: 0.25)
    calls = Calls(13, 1)
    timer = TimerService(10, calls, jitter=8)
    async with running(timer):
        await trio.sleep(33)
    assert calls.began == [2, 15, 22, 32]
    assert timer.statistics().skipped == 0


async def test_a_calendar_of_ones_own_takes_the_place_of_an_interval(autojump_clock: MockClock) -> None:
    """Two methods make a schedule; here, the powers of two."""

    class Doubling(Schedule):
        def now(self) -> float:
            return trio.current_time()

        def next_slot(self, last: float | None, now: float) -> tuple[float, int]:
            return (1.0 if last is None else last * 2), 0

    moments: list[float] = []
    async with running(TimerService(Doubling(), noted(moments))):
        await trio.sleep(20)
    assert moments == [1, 2, 4, 8, 16]


# ---- what is called


async def test_a_plain_function_is_called_with_its_arguments_in_the_loop() -> None:
    """Not in a thread: what it touches needs no lock."""
    seen: list[object] = []

    def note(word: str, number: int) -> None:
        seen.extend([word, number, threading.get_ident(), trio.lowlevel.current_task() is not None])
        called.set()

    called = trio.Event()
    async with running(TimerService(60, note, "word", 7)):
        await called.wait()
    assert seen == ["word", 7, threading.get_ident(), True]


@pytest.mark.parametrize("wrap", [lambda fn: fn, partial, lambda fn: lambda: fn()])
async def test_whatever_returns_an_awaitable_is_awaited(
    wrap: Callable[[Any], Any], autojump_clock: MockClock
) -> None:
    """An async function, a partial of one, or a lambda that calls one."""
    calls = Calls(1)
    async with running(TimerService(5, wrap(calls))):
        await trio.sleep(3)
        assert calls.ended == [1]


async def test_a_call_knows_its_service(autojump_clock: MockClock) -> None:
    """So its log records carry the path."""
    seen: list[Service | None] = []
    timer = TimerService(1, lambda: seen.append(current_service()))
    async with running(timer):
        await trio.sleep(0.5)
    assert seen == [timer]  # L20


def test_a_timer_is_called_like_its_function() -> None:
    """In a path, `shop/refresh` says more than `shop/TimerService`."""

    def refresh() -> None: ...

    tree = MultiService(
        TimerService(1, refresh),
        TimerService(1, partial(refresh)),
        TimerService(1, lambda: None),
        TimerService(1, Calls(1)),
        TimerService(1, refresh, name="mine"),
    )
    assert [child.name for child in tree] == ["refresh", "refresh-2", "lambda", "Calls", "mine"]  # L21


# ---- what a call raises


async def test_a_call_that_raises_fails_the_service(autojump_clock: MockClock) -> None:
    """The default: nothing is hidden, and the siblings are stopped."""
    moments: list[float] = []

    def fail() -> None:
        moments.append(trio.current_time())
        if len(moments) == 3:
            raise LookupError("no more")

    timer = TimerService(1, fail, name="timer")
    sibling = Service()
    with pytest.raises(ServicesFailed) as raised:
        await life_of(Application("app", sibling, timer, handle_signals=False))
    (error,) = raised.value.exceptions
    assert isinstance(error, LookupError)  # row 26
    assert paths_of(error) == ["app/timer"]  # L14
    assert moments == [0, 1, 2]
    assert timer.state is State.FAILED  # L14
    assert sibling.state is State.STOPPED  # L14
    assert timer.statistics() == TimerStatistics(calls=3, failed=1, skipped=0)


async def test_an_async_call_that_raises_can_be_logged_and_the_timer_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One record with the traceback for each, and a stop that raises nothing."""

    async def fail() -> None:
        await trio.sleep(1.5)
        raise LookupError("no answer")

    timer = TimerService(1, fail, on_error="log", name="timer")
    async with running(timer) as (app, events):
        await trio.sleep(3.9)
        assert timer.state is State.RUNNING
        failures = [event for event in events if isinstance(event, CallFailed)]
        assert [(event.path, event.time) for event in failures] == [("app/timer", 1.5), ("app/timer", 3.5)]
        assert timer.statistics() == TimerStatistics(calls=2, failed=2, skipped=2)
        await app.stop(drain=False)  # row 33
    first, second = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert first.getMessage() == "app/timer: the call raised LookupError: no answer"  # row 33
    assert second.levelno == logging.ERROR
    assert first.exc_info is not None
    assert isinstance(first.exc_info[1], LookupError)


async def test_a_call_that_raises_can_end_the_timer_for_all_to_see(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As Twisted's, which is dead then; but it says so, and so does its state."""

    def fail() -> None:
        raise LookupError("no answer")

    timer = TimerService(1, fail, on_error="stop", name="timer")
    async with running(timer, Service(name="other")) as (app, events):
        await trio.sleep(5)
        assert timer.state is State.FINISHED  # row 26, and 1.2 #25; L15
        assert app.state is State.RUNNING
        (failure,) = [event for event in events if isinstance(event, CallFailed)]
        assert str(failure) == "the call raised LookupError: no answer; the timer ends"
        assert failure.level == logging.ERROR
    assert timer.statistics() == TimerStatistics(calls=1, failed=1, skipped=0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("on_error", ["log", "stop"])
async def test_what_ends_programs_is_no_error_of_a_call(
    error: type[BaseException], on_error: Any, autojump_clock: MockClock
) -> None:
    """Ctrl-C in a call is not logged and forgotten."""

    def fail() -> None:
        raise error

    timer = TimerService(1, fail, on_error=on_error)
    with pytest.raises(error):  # L17
        await life_of(timer)
    assert timer.statistics().failed == 0


async def test_a_group_of_a_calls_errors_is_one_failure(autojump_clock: MockClock) -> None:
    """A call with a nursery of its own raises groups, and is logged as any other."""

    async def fail() -> None:
        raise ExceptionGroup("two", [LookupError(), ValueError()])

    timer = TimerService(1, fail, on_error="log")
    async with running(timer) as (_, events):
        await trio.sleep(1.5)
        assert timer.statistics().failed == 2
        assert len([event for event in events if isinstance(event, CallFailed)]) == 2


async def test_of_a_mixed_group_the_errors_are_told_and_the_rest_ends_the_program(
    autojump_clock: MockClock,
) -> None:
    """Each part goes its own way; nothing is lost, nothing swallowed."""

    async def fail() -> None:
        raise BaseExceptionGroup("both", [LookupError("told"), KeyboardInterrupt()])

    timer = TimerService(1, fail, on_error="log")
    app = Application("app", timer, handle_signals=False)
    events: list[Event] = []
    app.subscribe(events.append)
    with pytest.raises(KeyboardInterrupt):  # L17
        await life_of(app)
    (failure,) = [event for event in events if isinstance(event, CallFailed)]
    assert isinstance(failure.error, ExceptionGroup)
    assert [str(error) for error in failure.error.exceptions] == ["told"]
    assert timer.statistics() == TimerStatistics(calls=1, failed=1, skipped=0)


async def test_where_errors_fail_the_service_a_mixed_group_comes_out_whole(autojump_clock: MockClock) -> None:
    """The error beside the interrupt is its context, as for any service."""

    async def fail() -> None:
        raise BaseExceptionGroup("both", [LookupError("told"), KeyboardInterrupt()])

    timer = TimerService(1, fail)
    with pytest.raises(KeyboardInterrupt) as raised:  # L17
        await life_of(timer)
    assert isinstance(raised.value.__context__, ServicesFailed)
    assert [str(error) for error in raised.value.__context__.exceptions] == ["told"]
    assert timer.statistics().failed == 1


async def test_a_call_that_raises_when_it_is_cancelled_is_told_and_the_stop_goes_on(
    autojump_clock: MockClock,
) -> None:
    """A cleanup that fails does not keep the timer alive."""

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("in cleanup")

    timer = TimerService(1, fail, on_error="log", drain_timeout=0)
    async with running(timer) as (app, events):
        await trio.sleep(0.5)
        await app.stop()
        assert timer.state is State.STOPPED  # L13
        assert len([event for event in events if isinstance(event, CallFailed)]) == 1
    assert timer.statistics().calls == 1


# ---- its end


async def test_a_stop_waits_for_the_call_in_progress_and_makes_no_other(autojump_clock: MockClock) -> None:
    """The call ends as if nothing were, though slots pass meanwhile."""
    calls = Calls(4)
    timer = TimerService(1, calls)
    async with running(timer) as (app, events):
        await trio.sleep(0.5)
        assert timer.in_progress == "a call"
        await app.stop()
        assert timer.in_progress == ""
        assert trio.current_time() == 4  # row 31
        assert calls.ended == [4]  # row 31
        assert timer.state is State.STOPPED
        assert not [event for event in events if isinstance(event, DrainCut)]  # L10
    assert calls.began == [0]


async def test_a_stop_between_calls_is_immediate(autojump_clock: MockClock) -> None:
    """There is nothing to wait for."""
    moments: list[float] = []
    timer = TimerService(10, noted(moments))
    async with running(timer) as (app, events):
        await trio.sleep(3)
        await app.stop()
        assert trio.current_time() == 3  # row 32
        assert timer.state is State.STOPPED
        assert not [event for event in events if isinstance(event, DrainCut)]  # L10
    assert moments == [0]


async def test_a_stop_that_comes_with_a_slot_makes_no_call(autojump_clock: MockClock) -> None:
    """Asked to take nothing new, it takes nothing new."""
    moments: list[float] = []

    class LateToDrain(TimerService):
        async def drain(self) -> None:
            autojump_clock.jump(7)
            await super().drain()

    async with running(LateToDrain(10, noted(moments))) as (app, _):
        await trio.sleep(3)
        await app.stop()
        assert trio.current_time() == 10
    assert moments == [0]  # L10


async def test_a_call_that_outlasts_the_drain_is_cancelled_and_that_is_told(
    autojump_clock: MockClock,
) -> None:
    """`drain_timeout` bounds how long a stop can take."""
    calls = Calls(100)
    timer = TimerService(1, calls, drain_timeout=3)
    async with running(timer) as (app, events):
        await trio.sleep(1)
        await app.stop()
        assert trio.current_time() == 4  # L10
        assert [event.path for event in events if isinstance(event, DrainCut)] == ["app/Calls"]  # L10
    assert calls.ended == []
    assert timer.state is State.STOPPED


async def test_cancellation_from_outside_cancels_the_call(autojump_clock: MockClock) -> None:
    """Whoever is in a hurry is not kept waiting."""
    calls = Calls(100)
    timer = TimerService(1, calls)
    with trio.move_on_after(2) as scope:
        await timer.main()
    assert scope.cancelled_caught  # L17
    assert trio.current_time() == 2  # L10
    assert calls.ended == []
    assert timer.state is State.STOPPED


async def test_a_call_may_stop_its_own_timer(autojump_clock: MockClock) -> None:
    """The request returns at once, and the call that made it is the last."""
    moments: list[float] = []

    async def last() -> None:
        moments.append(trio.current_time())
        await timer.stop()
        await trio.sleep(3)
        moments.append(trio.current_time())

    timer = TimerService(1, last)
    await life_of(timer)  # L4
    assert moments == [0, 3]
    assert timer.state is State.STOPPED


async def test_two_hundred_starts_and_stops_leave_nothing_behind(autojump_clock: MockClock) -> None:
    """Neither tasks nor objects."""
    calls = Calls(0.5)
    timer = TimerService(1, calls)

    async def cycle(times: int) -> None:
        for _ in range(times):
            async with trio.open_nursery() as nursery:
                await nursery.start(timer.main)
                await trio.sleep(1.2)
                await timer.stop()
            calls.began.clear()
            calls.ended.clear()

    await cycle(5)
    tasks = trio.lowlevel.current_statistics().tasks_living
    gc.collect()
    before = len(gc.get_objects())
    await cycle(200)  # L3
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert timer.statistics() == TimerStatistics(calls=2, failed=0, skipped=0)  # L3


# ---- by the wall clock


class WallClock:
    """A wall clock beside trio's, which can be set."""

    def __init__(self, base: datetime = NEW_YEAR) -> None:
        self.base = base

    def __call__(self) -> datetime:
        return self.base + timedelta(seconds=trio.current_time())

    def step(self, **by: float) -> None:
        self.base += timedelta(**by)


def hour(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


async def calls_by(clock: WallClock, cron: Cron, *steps: tuple[float, dict[str, float]]) -> list[str]:
    """When *cron* called by *clock*, which goes so many seconds and is then set, and so on."""
    called: list[str] = []
    note = noted([])

    def call() -> None:
        note()
        called.append(hour(clock()))

    async with running(TimerService(cron, call)):
        for seconds, step in steps:
            await trio.sleep(seconds)
            clock.step(**step)
    return called


async def test_a_cron_calls_at_its_slots_and_not_at_the_start(autojump_clock: MockClock) -> None:
    """The first call is the first slot; an injected clock makes it a matter of microseconds."""
    clock = WallClock(NEW_YEAR + timedelta(minutes=2))
    cron = Cron("*/5 * * * *", tz=UTC, now=clock)
    assert await calls_by(clock, cron, (15 * 60, {})) == ["00:05:00", "00:10:00", "00:15:00"]


async def test_a_cron_that_starts_at_a_slot_calls_then(autojump_clock: MockClock) -> None:
    """A slot is missed when it has passed, not when it is now."""
    clock = WallClock()
    assert await calls_by(clock, Cron("0 * * * *", tz=UTC, now=clock), (10, {})) == ["00:00:00"]
    clock = WallClock(NEW_YEAR + timedelta(seconds=0.25) - timedelta(seconds=trio.current_time()))
    assert await calls_by(clock, Cron("0 * * * *", tz=UTC, now=clock), (10, {})) == []


async def test_a_cron_of_six_fields_counts_seconds_first(autojump_clock: MockClock) -> None:
    """Where a minute is too coarse."""
    clock = WallClock()
    called = await calls_by(clock, Cron("*/20 * * * * *", tz=UTC, now=clock), (50, {}))
    assert called == ["00:00:00", "00:00:20", "00:00:40"]


async def test_slots_of_a_cron_that_pass_during_a_call_are_skipped(autojump_clock: MockClock) -> None:
    """The same mechanism as for a grid."""
    clock = WallClock()
    calls = Calls(150)
    timer = TimerService(Cron("* * * * *", tz=UTC, now=clock), calls)
    async with running(timer):
        await trio.sleep(370)
        await timer.stop(drain=False)
        assert calls.began == [0, 180, 360]
        assert timer.statistics() == TimerStatistics(calls=3, failed=0, skipped=4)


async def test_a_clock_that_is_set_forward_is_noticed_within_a_minute(autojump_clock: MockClock) -> None:
    """So is a machine that was suspended; the slot that has passed is called once, and late."""
    clock = WallClock()
    cron = Cron("0 3,4,5 * * *", tz=UTC, now=clock)
    called = await calls_by(clock, cron, (90, {"hours": 4, "minutes": 30}), (59.0, {}), (3600, {}))
    assert called == ["04:32:00", "05:00:00"]


async def test_a_clock_that_is_set_back_calls_no_slot_twice_and_none_early(autojump_clock: MockClock) -> None:
    """The end of a sleep is not the end of the wait, if the clock says otherwise."""
    clock = WallClock()
    cron = Cron("*/10 * * * *", tz=UTC, now=clock)
    called = await calls_by(clock, cron, (11 * 60, {"minutes": -8}), (20 * 60, {}))
    assert called == ["00:00:00", "00:10:00", "00:20:00"]


async def test_a_clock_that_is_a_little_fast_never_makes_a_call_early(autojump_clock: MockClock) -> None:
    """What counts is the wall clock at the call, not how long was slept."""
    called: list[datetime] = []

    def slow() -> datetime:  # loses a second in each hundred
        return NEW_YEAR + timedelta(seconds=trio.current_time() * 0.99)

    async with running(TimerService(Cron("*/7 * * * *", tz=UTC, now=slow), lambda: called.append(slow()))):
        await trio.sleep(3600)
    assert [moment.minute for moment in called] == [0, 7, 14, 21, 28, 35, 42, 49, 56]
    assert all(moment.second == 0 for moment in called)


def slots(cron: Cron, start: datetime, number: int, form: str = "%d. %H:%M %Z") -> list[str]:
    """The first slots of *cron* from *start* on, as that zone's clocks show them."""
    found: list[str] = []
    last, now = None, start.timestamp()
    for _ in range(number):
        now, skipped = cron.next_slot(last, now)
        assert skipped == 0
        last = now
        found.append(datetime.fromtimestamp(now, start.tzinfo).strftime(form))
    return found


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's clock on the wall hangs in Berlin."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize("tz", [BERLIN, None], ids=["given", "the machine's"])
def test_daylight_saving_costs_no_call_and_makes_none_twice(tz: ZoneInfo | None) -> None:
    """In the night of a change a daily call comes once, and an hourly one every hour."""
    daily, hourly = Cron("30 2 * * *", tz=tz), Cron("30 * * * *", tz=tz)
    assert slots(daily, datetime(2026, 3, 28, 12, tzinfo=BERLIN), 2) == ["29. 03:00 CEST", "30. 02:30 CEST"]
    assert slots(daily, datetime(2026, 10, 24, 12, tzinfo=BERLIN), 2) == ["25. 02:30 CEST", "26. 02:30 CET"]
    spring = ["29. 01:30 CET", "29. 03:30 CEST"]
    assert slots(hourly, datetime(2026, 3, 29, 1, tzinfo=BERLIN), 2) == spring
    autumn = ["25. 01:30 CEST", "25. 02:30 CEST", "25. 02:30 CET", "25. 03:30 CET"]
    assert slots(hourly, datetime(2026, 10, 25, 1, tzinfo=BERLIN), 4) == autumn


@pytest.mark.parametrize("tz", [BERLIN, None], ids=["given", "the machine's"])
@pytest.mark.usefixtures("in_berlin")
def test_seconds_change_nothing_about_daylight_saving(tz: ZoneInfo | None) -> None:
    """With a sixth field a fixed hour comes once in both nights as well, with all of its seconds."""
    at = "%d. %H:%M:%S %Z"
    daily, twice = Cron("0 30 2 * * *", tz=tz), Cron("59,15 30 2 * * *", tz=tz)
    spring, autumn = datetime(2024, 3, 31, tzinfo=BERLIN), datetime(2024, 10, 27, tzinfo=BERLIN)
    assert slots(daily, spring, 2, at) == ["31. 03:00:00 CEST", "01. 02:30:00 CEST"]
    assert slots(daily, autumn, 2, at) == ["27. 02:30:00 CEST", "28. 02:30:00 CET"]
    assert slots(twice, spring, 3, at) == ["31. 03:00:15 CEST", "31. 03:00:59 CEST", "01. 02:30:15 CEST"]
    assert slots(twice, autumn, 3, at) == ["27. 02:30:15 CEST", "27. 02:30:59 CEST", "28. 02:30:15 CET"]


@pytest.mark.parametrize("seconds", ["", "0 "])
def test_an_hour_whose_minute_begins_with_a_star_is_not_fixed(seconds: str) -> None:
    """It goes by what the clock shows, as documented: not at all, or in both of the equal hours."""
    cron = Cron(f"{seconds}*/30 2 * * *", tz=BERLIN)
    assert slots(cron, datetime(2024, 3, 31, tzinfo=BERLIN), 1) == ["01. 02:00 CEST"]
    night = ["27. 02:00 CEST", "27. 02:30 CEST", "27. 02:00 CET", "27. 02:30 CET"]
    assert slots(cron, datetime(2024, 10, 27, tzinfo=BERLIN), 4) == night


def test_a_slot_of_the_repeated_hour_is_not_called_when_it_has_passed() -> None:
    """Who starts in the second of two equal hours does not make up for the first."""
    start = datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=BERLIN)
    assert slots(Cron("30 2 * * *", tz=BERLIN), start, 1) == ["26. 02:30 CET"]


@given(
    expression=st.sampled_from(
        ["*/7 * * * *", "30 2 * * *", "0 1-3 * * *", "15 */2 * * *", "*/40 * * * * *"]
    ),
    now=st.floats(datetime(2026, 1, 1).timestamp(), datetime(2027, 1, 1).timestamp()),
    lag=st.floats(-1e6, 2000),
)
def test_the_next_slot_of_a_cron_is_later_than_the_last_and_not_before_now(
    expression: str, now: float, lag: float
) -> None:
    """Wherever the clock has been set to meanwhile."""
    cron = Cron(expression, tz=BERLIN)
    last, _ = cron.next_slot(None, now)
    assert last >= now
    slot, skipped = cron.next_slot(last, last + lag)
    assert slot > last
    assert slot >= last + lag
    between: list[float] = []
    while not between or between[-1] < slot:
        between.append(cron.next_slot(between[-1] if between else last, last)[0])
    assert between[-1] == slot
    assert len(between) - 1 == skipped


def test_a_clock_that_wakes_up_much_later_does_not_have_us_count_for_long() -> None:
    """Boards without a battery begin in 1970, and to count the seconds since then would take an hour."""
    slot, skipped = Cron("* * * * * *", tz=UTC).next_slot(1_699_000_000, 1_700_000_000)
    assert (slot, skipped) == (1_700_000_000, Cron.MOST_SKIPPED)


def test_by_default_a_cron_goes_by_the_clock_of_the_system() -> None:
    """Seconds since 1970, wherever the machine stands."""
    before = time.time()
    now = Cron("* * * * *").now()
    assert before - 1e-3 <= now <= time.time() + 1e-3


# ---- what cannot be


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("61 * * * *", "'61 * * * *' is no cron expression: Bad minute; the fields are minute, hour, day"),
        ("61 * * * * *", "'61 * * * * *' is no cron expression: Bad second"),
        ("* * *", "Wrong number of fields"),
        ("", "Wrong number of fields"),
        ("0 0 LW * */7", "matches no date within fifty years"),
    ],
)
def test_an_expression_that_cannot_be_is_refused_when_the_cron_is_made(expression: str, why: str) -> None:
    """The mistake is told where it is written, and what is wrong with it."""
    with pytest.raises(ValueError, match=why.replace("*", r"\*")):
        Cron(expression)


def test_a_cron_says_what_it_wants_instead() -> None:
    """Of the wrong kinds of thing."""
    with pytest.raises(TypeError, match=r"a cron expression is a string such as .*, not 5"):
        Cron(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tz is a time zone such as ZoneInfo\('Europe/Berlin'\), or None"):
        Cron("* * * * *", tz="Europe/Berlin")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Cron\('\* \* \* \* \*'\) gave 2026-01-01 00:00:00, which has no"):
        Cron("* * * * *", now=lambda: datetime(2026, 1, 1)).now()


def test_without_cronsim_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a timer with an interval needs nothing."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(ImportError, match=r"pip install 'trioservice\[cron\]'") as raised:
        Cron("* * * * *")
    assert raised.value.name == "cronsim"
    TimerService(1, print)


@pytest.mark.parametrize("interval", [0, -1, math.inf, math.nan, timedelta(0)])
def test_an_interval_that_is_no_time_is_refused(interval: Any) -> None:
    """The message says what came."""
    with pytest.raises(ValueError, match=r"interval is a finite number of seconds above 0, not "):
        TimerService(interval, print)


@pytest.mark.parametrize("interval", [1e-320, 9e-7])
def test_an_interval_too_small_to_be_meant_is_refused(interval: float) -> None:
    """The numbers of its slots would overflow, at night."""
    with pytest.raises(ValueError, match=f"interval is at least a microsecond, not {interval} seconds"):
        TimerService(interval, print)
    TimerService(1e-6, print)


@pytest.mark.parametrize("interval", ["*/5 * * * *", None, print])
def test_an_interval_that_is_none_is_refused(interval: Any) -> None:
    """The message says what one looks like."""
    with pytest.raises(
        TypeError, match=r"a timedelta, or a schedule such as Cron\('\*/5 \* \* \* \*'\), not"
    ):
        TimerService(interval, print)


@pytest.mark.parametrize("option", ["delay", "jitter"])
def test_other_times_that_cannot_be_are_refused(option: str) -> None:
    """No time is fine, less than that is not."""
    with pytest.raises(ValueError, match=rf"{option} is a finite number of seconds from 0, not -1"):
        TimerService(1, print, **{option: -1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=rf"{option} is a number of seconds or a timedelta, not '1'"):
        TimerService(1, print, **{option: "1"})  # type: ignore[arg-type]
    TimerService(1, print, **{option: timedelta(0)})  # type: ignore[arg-type]


def test_a_jitter_as_long_as_the_interval_is_refused() -> None:
    """It would blur one slot into the next."""
    with pytest.raises(
        ValueError, match=r"jitter is less than the interval, but jitter=1\.0 and interval=1\.0"
    ):
        TimerService(1, print, jitter=1)


def test_a_delay_with_a_schedule_is_refused() -> None:
    """It would be a second opinion about the first call."""
    with pytest.raises(ValueError, match=r"delay goes with an interval only; Cron\('0 3 \* \* \*'\) says"):
        TimerService(Cron("0 3 * * *"), print, delay=1)


def test_another_word_for_on_error_is_refused() -> None:
    """The message names the words there are."""
    with pytest.raises(ValueError, match="on_error is 'fail', 'log' or 'stop', not 'ignore'"):
        TimerService(1, print, on_error="ignore")  # type: ignore[arg-type]


def _generator() -> Iterator[None]:
    yield


async def _async_generator() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("fn", [_generator, _async_generator, partial(_generator)])
def test_a_generator_function_is_refused(fn: Any) -> None:
    """To call it runs nothing of it."""
    with pytest.raises(TypeError, match="has a `yield`, so to call it runs nothing of it"):
        TimerService(60, fn)


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (lambda: _generator(), "which nobody iterates; give a function without `yield`"),
        (lambda: _async_generator(), "which nobody iterates; give a function without `yield`"),
        (lambda: Calls.__call__, "an async function that nobody has called; give that itself"),
    ],
)
async def test_a_call_that_runs_nothing_is_no_success(
    fn: Callable[[], object], said: str, autojump_clock: MockClock
) -> None:
    """A lambda hides what is refused otherwise."""
    timer = TimerService(1, fn, on_error="log")
    async with running(timer) as (_, events):
        await trio.sleep(1.5)
    told = [event for event in events if isinstance(event, CallFailed)]
    assert [isinstance(event.error, TypeError) for event in told] == [True, True]
    assert all(said in str(event) for event in told)
    assert timer.statistics() == TimerStatistics(calls=2, failed=2, skipped=0)


def test_a_coroutine_in_place_of_a_function_is_refused() -> None:
    """The likely mistake, and the mend; and it does not complain of not having been awaited."""
    with pytest.raises(
        TypeError, match=r"write TimerService\(60, fn, arg\) where TimerService\(60, fn\(arg\)\)"
    ):
        TimerService(60, Calls(1)())  # type: ignore[arg-type]
