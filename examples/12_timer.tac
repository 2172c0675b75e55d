"""Timers: something that is done again and again, for as long as the application runs.

    kitchen
    ├─ tick             every second, and it says so
    ├─ taste            every second too, but each time takes 2.5: it misses some, and never overlaps
    └─ look_outside     every 3 seconds, and in vain; that is logged, and it looks again

Run it:        trioservice run examples/12_timer.tac
Stop it:       Ctrl-C; if somebody is just tasting, that is awaited
"""

import logging

import trio

from trioservice import Application, TimerService

log = logging.getLogger(__name__)


def tick(word):
    """A plain function is called as it is; so it must not block."""
    log.info(word)


async def taste():
    """An async one may take its time: the timer waits for it."""
    log.info("a spoonful ...")
    await trio.sleep(2.5)
    log.info("more salt")


async def look_outside():
    raise LookupError("it is dark")


application = Application(
    "kitchen",
    TimerService(1, tick, "tick"),
    TimerService(1, taste),
    # Without on_error="log" the first failure would end the timer, and with it the application.
    TimerService(3, look_outside, delay=2, on_error="log"),
)
