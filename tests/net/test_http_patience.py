"""Who is out of time, told by a virtual clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trioservice.net.http_messages import HTTPLimits
from trioservice.net.http_patience import BODY, BUSY, FRESH, GIVEN_AWAY, HEAD, IDLE, SENDING, Patience

LIMITS = HTTPLimits(header_timeout=10, keep_alive=40, body_timeout=20, send_timeout=30, request_timeout=100)


class Slow:
    """A connection that does one thing for ever."""

    def __init__(self, doing: str, received: int = 0) -> None:
        self.doing, self.received = doing, received
        self.since = self.asked_at = self.waited = 0.0
        self.progress: object = None
        self.ended_at: float | None = None
        self.stream: object = None

    def end(self) -> None:
        if self.ended_at is None:
            self.ended_at = trio.current_time()


async def _lifetime(one: Slow, seconds: float = 300) -> float | None:
    """After how many seconds it was ended."""
    patience = Patience(LIMITS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.run)
        patience.watch(one)  # type: ignore[arg-type]
        began = one.asked_at = trio.current_time()
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    return None if one.ended_at is None else one.ended_at - began


@pytest.mark.parametrize(
    ("doing", "received", "seconds"),
    [
        (FRESH, 0, 10),
        (HEAD, 0, 10),
        (IDLE, 0, 40),
        (BODY, 0, 20),
        (BODY, 5000, 30),
        (BUSY, 0, 100),
        (GIVEN_AWAY, 0, None),
    ],
)
async def test_each_has_its_time(
    doing: str, received: int, seconds: float | None, autojump_clock: trio.testing.MockClock
) -> None:
    lifetime = await _lifetime(Slow(doing, received))
    assert lifetime == seconds if seconds is None else seconds <= (lifetime or 0) <= seconds + 2


async def test_an_answer_that_makes_progress_has_more_time(autojump_clock: trio.testing.MockClock) -> None:
    class Sending(Slow):
        class Socket:
            def progress(self) -> object:
                return min(trio.current_time(), began + 50)

    began = trio.current_time()
    one = Sending(SENDING)
    one.stream = Sending.Socket()  # type: ignore[assignment]
    assert 80 <= (await _lifetime(one, 95) or 0) <= 82


async def test_nobody_is_looked_for_while_there_is_nobody(autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience(LIMITS)
    one = Slow(IDLE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.run)
        await trio.sleep(1000)
        patience.watch(one)  # type: ignore[arg-type]
        assert patience.now == one.since == trio.current_time()
        patience.forget(one)  # type: ignore[arg-type]
        await trio.sleep(1000)
        assert trio.lowlevel.current_statistics().tasks_living < 10
        nursery.cancel_scope.cancel()


async def test_at_the_end_it_is_waited_a_moment_for_what_may_come(
    autojump_clock: trio.testing.MockClock,
) -> None:
    patience = Patience(LIMITS)
    long_idle, idle, busy = Slow(IDLE), Slow(IDLE), Slow(BUSY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.run)
        patience.watch(long_idle)  # type: ignore[arg-type]
        await trio.sleep(5)
        for one in (idle, busy):
            patience.watch(one)  # type: ignore[arg-type]
            one.asked_at = trio.current_time()
        stopped = trio.current_time()
        patience.lose()
        assert long_idle.ended_at == stopped
        await trio.sleep(5)
        assert idle.ended_at is not None
        assert 1 <= idle.ended_at - stopped <= 2
        assert busy.ended_at is None
        nursery.cancel_scope.cancel()
