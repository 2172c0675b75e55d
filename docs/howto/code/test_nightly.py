"""A nightly job, and three nights of it in no time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import trio

from trioservice import TimerService
from trioservice.timers import Cron

LISBON = ZoneInfo("Europe/Lisbon")


def nightly(back_up, now=None):
    """Half past three, Monday to Friday, whatever the clocks in Lisbon do."""
    return TimerService(Cron("30 3 * * MON-FRI", tz=LISBON, now=now), back_up, name="nightly")


@pytest.mark.trio
async def test_it_backs_up_at_half_past_three_and_not_on_a_sunday(nursery, autojump_clock):
    friday_noon = datetime(2026, 3, 27, 12, tzinfo=UTC)  # on Sunday, summer time begins

    def now():
        return friday_noon + timedelta(seconds=trio.current_time())

    nights = []
    timer = nightly(lambda: nights.append(f"{now().astimezone(LISBON):%A %H:%M}"), now)
    await nursery.start(timer.main)
    await trio.sleep(5 * 24 * 60 * 60)
    await timer.stop()

    assert nights == ["Monday 03:30", "Tuesday 03:30", "Wednesday 03:30"]
