"""Timers: services driven by the clock.

A :class:`TimerService` asks one question after each call: *when next?*  The answer is a
*slot*, a moment at which a call is due, and a :class:`Schedule` gives it.  There are two: a
:class:`Grid` has a slot every so many seconds, and :class:`Cron` has those of a line in a
crontab.  Each decides in one pure method; the timer only sleeps, calls and counts.

Slots are where the clock puts them and not where the last call ended, so nothing drifts.
One call ends before the next begins; slots that pass meanwhile are *skipped*, not made up
for.  This is how Twisted's ``TimerService`` behaves, in all but one thing: there the first
exception ends the timer while the service says that it runs, and here it is the service
that fails, unless it is told otherwise.
"""

from __future__ import annotations

import inspect
import logging
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Literal, get_args

import trio

from .events import Event
from .records import record
from .service import Service, name_of

__all__ = ["CallFailed", "Cron", "Grid", "Schedule", "TimerService", "TimerStatistics"]

_OnError = Literal["fail", "log", "stop"]

_MINUTE = 60.0
_MICROSECOND = 1e-6  # what a timedelta has at least; much less, and the numbers of slots overflow


# ---- when next? ------------------------------------------------------------------------------


class Schedule(ABC):
    """When calls are due: the slots of some clock.

    :class:`TimerService` takes any object of this kind in place of an interval, so a calendar of
    your own needs two methods.  A schedule is asked anew for each slot and remembers nothing.
    """

    #: How many seconds may be slept before :meth:`now` is to be asked again.  Trio's own clock is
    #: never set; for one that may be, this bounds how late it is noticed.
    max_sleep: float = math.inf

    @abstractmethod
    def now(self) -> float:
        """What time it is, in seconds of the clock that the slots are counted by."""

    @abstractmethod
    def next_slot(self, last: float | None, now: float) -> tuple[float, int]:
        """The first slot that is later than *last* and not before *now*, and how many were left out.

        Args:
            last: the slot of the last call; ``None`` before the first.
            now: the time on this schedule's clock.
        """


@record
class Grid(Schedule):
    """A slot every *interval* seconds of trio's clock, the first at *start*.

    A slot is computed from its number, never from the one before, so that rounding does not
    add up: a million slots of a tenth of a second end where they should.
    """

    start: float
    interval: float

    def now(self) -> float:
        """``trio.current_time()``."""
        return trio.current_time()

    def next_slot(self, last: float | None, now: float) -> tuple[float, int]:
        """The first is the start, however late it is; then as in :meth:`Schedule.next_slot`."""
        if last is None:
            return self.start, 0
        done = round((last - self.start) / self.interval)
        number = max(done + 1, math.ceil((now - self.start) / self.interval))
        # The quotient is rounded, and may so be on the wrong side of a whole number.
        if self._slot(number) < now:
            number += 1
        elif number - 1 > done and self._slot(number - 1) >= now:
            number -= 1
        return self._slot(number), number - done - 1

    def _slot(self, number: int) -> float:
        return self.start + number * self.interval


class Cron(Schedule):
    """The slots of a cron expression, by the wall clock.

    ::

        TimerService(Cron("*/5 * * * *"), refresh)
        TimerService(Cron("30 3 * * MON-FRI", tz=ZoneInfo("Europe/Berlin")), back_up)

    The expression is read as Debian's cron reads it, by the library cronsim:
    ``pip install 'trioservice[cron]'``.

    Where daylight saving begins, a slot at a fixed hour that is missing comes with the first minute
    after it; where it ends, it comes once.  The hour is fixed if neither the field of the minute nor
    that of the hour begins with ``*``.  All other expressions go by what the clock shows: ``30 * * * *``
    comes in both of the equal hours, and so does ``*/30 2 * * *``, which never comes in the missing one.

    The wall clock may be set, and goes on while a machine is suspended, so it is read at least once
    a minute.  A slot that has passed when that is noticed is called once, late;
    one that was called is not called again, however far the clock is set back.  A new run of the
    service knows nothing of that.

    Args:
        expression: five fields, minute, hour, day, month and weekday; or six, with seconds first.
        tz: whose hours they are, such as ``ZoneInfo("Europe/Berlin")`` or ``datetime.UTC``; by
            default those of this machine.
        now: gives the time, as a datetime with a time zone; by default the system's.  A test under
            ``MockClock`` gives ``lambda: base + timedelta(seconds=trio.current_time())``.

    Raises:
        ImportError: cronsim is not installed.
        ValueError: the expression cannot be read, or no date will ever match it.
    """

    max_sleep = 60.0

    #: So many slots that were skipped at one time are counted, and no more.  Where a clock wakes up
    #: fifty years late, the process must not stand still to count them.
    MOST_SKIPPED = 1000

    def __init__(
        self, expression: str, tz: tzinfo | None = None, now: Callable[[], datetime] | None = None
    ) -> None:
        if not isinstance(expression, str):
            raise TypeError(f"a cron expression is a string such as '*/5 * * * *', not {expression!r}")
        if not isinstance(tz, tzinfo | None):
            raise TypeError(f"tz is a time zone such as ZoneInfo('Europe/Berlin'), or None, not {tz!r}")
        try:
            from cronsim import CronSim, CronSimError  # an extra; most timers have an interval
        except ImportError as error:
            raise ImportError(
                "Cron needs the library cronsim, which cannot be imported: pip install 'trioservice[cron]'",
                name="cronsim",
            ) from error
        self.expression = expression
        self._tz = tz or _LocalTime()
        self._now = now or _system_time
        self._dates = CronSim
        self._minutes, self._seconds = expression, [0]
        try:
            if len(expression.split()) == 6:
                # cronsim minds daylight saving in expressions of five fields only, so the seconds are ours.
                self._seconds = sorted(CronSim(expression, datetime.now(UTC)).seconds)
                self._minutes = expression.split(maxsplit=1)[1]
            self._first_after(_MINUTE)
        except CronSimError as error:
            raise ValueError(
                f"{expression!r} is no cron expression: {error}; the fields are minute, hour, day, month "
                "and weekday, with seconds before them if there are six"
            ) from error

    def __repr__(self) -> str:
        return f"Cron({self.expression!r})"

    def now(self) -> float:
        """The wall clock, in seconds since 1970."""
        moment = self._now()
        if moment.tzinfo is None:
            raise ValueError(
                f"the now of {self!r} gave {moment}, which has no time zone; use datetime.now(UTC)"
            )
        return moment.timestamp()

    def next_slot(self, last: float | None, now: float) -> tuple[float, int]:
        """As in :meth:`Schedule.next_slot`; no more than :attr:`MOST_SKIPPED` are counted."""
        before = math.ceil(now) - 1  # slots are whole seconds
        if last is None:
            return self._first_after(before), 0
        slot = self._first_after(max(last, before))
        missed = takewhile(lambda other: other < slot, self._slots_after(last))
        return slot, sum(1 for _ in islice(missed, self.MOST_SKIPPED))

    def _first_after(self, moment: float) -> float:
        for slot in self._slots_after(moment):
            return slot
        raise ValueError(f"{self.expression!r} matches no date within fifty years")

    def _slots_after(self, moment: float) -> Iterator[float]:
        # The minute in which that moment is may have slots left.
        for date in self._dates(self._minutes, datetime.fromtimestamp(moment - _MINUTE, self._tz)):
            minute = date.timestamp()
            for second in self._seconds:
                # In the hour that is repeated, cronsim may answer with the first for the second.
                if (slot := minute + second) > moment:
                    yield slot


def _system_time() -> datetime:
    return datetime.now(UTC)


class _LocalTime(tzinfo):
    """The time zone of this machine, daylight saving included.

    Python has none that it could give us: ``astimezone()`` answers with a fixed offset, and a
    datetime without a zone does not know the repeated hour from the first.  A tzinfo has to have
    all four methods; cronsim needs two of them.
    """

    def utcoffset(self, date: datetime | None) -> timedelta | None:
        return None if date is None else date.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, date: datetime | None) -> timedelta | None:
        return None

    def tzname(self, date: datetime | None) -> str | None:
        return None if date is None else date.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, date: datetime) -> datetime:
        return datetime.fromtimestamp(date.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


# ---- the service -----------------------------------------------------------------------------


@record
class CallFailed(Event):
    """A call raised *error*, and the timer was told to go on, or to end without failing."""

    error: BaseException
    goes_on: bool

    @property
    def level(self) -> int:
        """It is a bug, or something that nobody thought of; either is to be mended."""
        return logging.ERROR

    def __str__(self) -> str:
        end = "" if self.goes_on else "; the timer ends"
        return f"the call raised {type(self.error).__name__}: {self.error}{end}"


@record
class TimerStatistics:
    """What a timer has done since its present, or last, run began."""

    calls: int  #: calls begun
    failed: int  #: calls that raised
    skipped: int  #: slots that passed unused, during a call or as the clock was set forward


class TimerService(Service):
    """A leaf that calls a function again and again: ``TimerService(interval, fn, *args)``.

    ::

        Application("shop", TimerService(60, refresh, catalogue, jitter=5, on_error="log"))

    The first call is made at once, or after *delay*; the others on a grid that is anchored
    there.  Two calls never overlap: what comes due during a call is skipped, so with an interval
    of 1 and calls of 2.5 seconds, they begin at 0, 3, 6.  A slot at which a call ends is not missed.

    It is ready as soon as its clock runs, before the first call; so a slow call does not hold up
    what is started after it.  For something that must have been done once before others start,
    do it in the ``run`` of a :class:`~trioservice.service.Service`.

    When it is stopped it makes no further call, waits for the one in progress up to
    *drain_timeout*, and then cancels it.

    Args:
        interval: seconds between slots, a microsecond at least, as a number or a
            :class:`~datetime.timedelta`; or a
            :class:`Schedule`, such as :class:`Cron`, whose first slot is then the first call.
        fn: what to call.  If it returns an awaitable, that is awaited.  A plain function is
            called in trio's thread, where everything waits for it: if it blocks, give an async one
            that uses ``trio.to_thread.run_sync``.
        *args: its arguments; ``functools.partial`` gives it keyword arguments.
        delay: seconds before the first call; not with a Schedule, which knows.
        jitter: at most this many seconds, less than the interval, are added to each slot by
            chance, so that a thousand machines do not call in one instant; the grid stays.
        on_error: what an exception of a call does.  ``"fail"``: the service fails with it, as any
            service does (rule L14).  ``"log"``: it is told as :class:`CallFailed`, and the next
            slot comes.  ``"stop"``: it is told, and the timer is finished.
        name: by default the function's name.
        start_timeout: of little use here, as it is ready at once.
        drain_timeout: seconds that a call in progress is given when the service is stopped.
        stop_timeout: as for :class:`~trioservice.service.Service`.

    Raises:
        TypeError: *fn* cannot be called, or is a generator function; an interval that is none.
        ValueError: a number out of range, or another word for *on_error*.
    """

    def __init__(
        self,
        interval: float | timedelta | Schedule,
        fn: Callable[..., object],
        *args: object,
        delay: float | timedelta = 0.0,
        jitter: float | timedelta = 0.0,
        on_error: _OnError = "fail",
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        if not callable(fn):
            close = getattr(fn, "close", lambda: None)
            close()  # a coroutine that nobody will await should not complain of that as well
            raise TypeError(
                f"TimerService wants an interval, a function and its arguments, not {fn!r} as the function; "
                "write TimerService(60, fn, arg) where TimerService(60, fn(arg)) was meant"
            )
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(
                f"{fn!r} has a `yield`, so to call it runs nothing of it; give a function without"
            )
        if on_error not in get_args(_OnError):
            raise ValueError(f"on_error is 'fail', 'log' or 'stop', not {on_error!r}")
        self.on_error = on_error
        self._fn = fn
        self._args = args
        self._jitter = _seconds("jitter", jitter, zero=True)
        self._begin_schedule = _schedule(interval, _seconds("delay", delay, zero=True), self._jitter)
        self._calls = self._failed = self._skipped = 0
        self._calling = False
        self._draining = False
        self._sleep = trio.CancelScope()
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )

    def statistics(self) -> TimerStatistics:
        """A snapshot of its counters."""
        return TimerStatistics(self._calls, self._failed, self._skipped)

    @property
    def in_progress(self) -> str:
        """The call, if one is."""
        return "a call" if self._calling else ""

    # ---- its life

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Call at each slot until drained or cancelled, or until an error ends it."""
        self._calls = self._failed = self._skipped = 0
        self._draining = False
        schedule = self._begin_schedule()
        slot, _ = schedule.next_slot(None, schedule.now())
        task_status.started()
        while await self._reach(slot + self._jitter * random.random(), schedule) and await self._call():
            # A slot is missed when the last moment that chance could have given it has passed.
            slot, skipped = schedule.next_slot(slot, schedule.now() - self._jitter)
            self._skipped += skipped

    async def drain(self) -> None:
        """Make no further call; :meth:`run` returns, and so ends this, when the present one has ended."""
        self._draining = True
        self._sleep.cancel(reason="no further call is made")
        await trio.sleep_forever()

    async def _reach(self, moment: float, schedule: Schedule) -> bool:
        """Sleep until *moment*; whether it came before the drain."""
        left = moment - schedule.now()
        while not self._draining:
            deadline = trio.current_time() + min(max(left, 0.0), schedule.max_sleep)
            with trio.CancelScope(deadline=deadline) as self._sleep:
                await trio.sleep_forever()
            left = moment - schedule.now()
            if left <= 0:
                break
        return not self._draining

    async def _call(self) -> bool:
        """Call once; whether the timer goes on."""
        self._calls += 1
        self._calling = True
        try:
            result = self._fn(*self._args)
            if inspect.isawaitable(result):
                await result
            else:
                _require_done(result)
        except Exception as error:
            self._failed += 1
            if self.on_error == "fail":
                raise
            self._tell_failure(error)
            return self.on_error == "log"
        except BaseExceptionGroup as group:
            # A call that was cancelled and raised as well: each part goes its own way.
            errors, others = group.split(Exception)
            self._failed += errors is not None
            if errors is None or others is None or self.on_error == "fail":
                raise
            self._tell_failure(errors)
            raise others from None
        finally:
            self._calling = False
        return True

    def _tell_failure(self, error: BaseException) -> None:
        self.emit(CallFailed(self.path, trio.current_time(), error, self.on_error == "log"))

    def _default_name(self) -> str:
        return name_of(self._fn)


def _require_done(result: object) -> None:
    """Refuse what a function returns when it has not run, as with ``lambda: refresh`` for ``refresh``."""
    if inspect.iscoroutinefunction(result):
        raise TypeError(
            f"the call gave {result!r}, an async function that nobody has called; give that itself"
        )
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError(f"the call gave {result!r}, which nobody iterates; give a function without `yield`")


def _schedule(interval: float | timedelta | Schedule, delay: float, jitter: float) -> Callable[[], Schedule]:
    """What makes the schedule of one run: a grid begins with the run, others go by themselves."""
    if isinstance(interval, Schedule):
        if delay:
            raise ValueError(f"delay goes with an interval only; {interval!r} says when the first call is")
        return lambda: interval
    seconds = _seconds("interval", interval)
    if seconds < _MICROSECOND:
        raise ValueError(f"interval is at least a microsecond, not {interval!r} seconds")
    if jitter >= seconds:
        raise ValueError(f"jitter is less than the interval, but jitter={jitter} and interval={seconds}")
    return lambda: Grid(trio.current_time() + delay, seconds)


def _seconds(option: str, value: object, *, zero: bool = False) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(seconds, int | float):
        schedule = "" if zero else ", or a schedule such as Cron('*/5 * * * *')"
        raise TypeError(f"{option} is a number of seconds or a timedelta{schedule}, not {value!r}")
    if not (0 < seconds < math.inf or (zero and seconds == 0)):
        raise ValueError(
            f"{option} is a finite number of seconds {'from' if zero else 'above'} 0, not {value!r}"
        )
    return float(seconds)
