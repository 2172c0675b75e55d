"""One simulated life of an application: virtual time, a seeded schedule, a network in memory, and a script.

::

    life = live(make_shop, [advance(1), restart("shop/stock")], seed=7)
    assert not life.breaches

The same application, script and seed make the same life, and :attr:`Life.log` is the same, byte for byte.

A life has an end, whatever the application does.  One that does not become ready is stopped all the same;
one that does not stop is abandoned, after it was named; one whose tasks never wait is overtaken by its clock.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import random
from collections.abc import Callable, Iterator, Sequence

import trio

from ..application import Application
from ..events import Event
from ..records import record
from .blocking import no_sleep
from .clocks import Abandoned, VirtualClock, keep_for_ever
from .contract import Breach, check_contract
from .diary import Asked
from .promises import broken_promises
from .scheduling import seeded_schedule
from .scripts import Deed, Script, checked, refuse_strangers, script_of, shown
from .story import story_of
from .world import World

__all__ = ["BrokenPromise", "Life", "live", "paths_of", "shielded_from_garbage", "silenced"]


class BrokenPromise(AssertionError):
    """A life in which a promise was broken."""


@record
class Life:
    """What became of one life.

    Attributes:
        script: what was done.
        seed: which schedule and network it had.
        breaches: the promises that were broken; none, if all is well.
        events: all that was told, by the tree, by the diaries and by the network.
        steps: how often trio has stepped a task.
        was_abandoned: whether it could not be brought to an end.
        invariant_error: what your own invariant has raised first.
    """

    script: tuple[Deed, ...]
    seed: int
    breaches: tuple[Breach, ...]
    events: tuple[Event, ...]
    steps: int
    was_abandoned: bool
    invariant_error: Exception | None = None

    @property
    def log(self) -> str:
        """All that was told, a line each; the same for the same life, on any machine."""
        return "".join(f"{line}\n" for line in story_of(self.events))

    def check(self) -> None:
        """Complain if a promise was broken.

        Raises:
            BrokenPromise: with the breaches, and the script that shows them.
            Exception: what your own invariant has raised first.
        """
        made_by = f"in live(..., {shown(self.script)}, seed={self.seed})"
        if self.invariant_error is not None:
            self.invariant_error.add_note(made_by)
            raise self.invariant_error
        if self.breaches:
            told = "\n".join(
                f"{breach}\n  at {breach.where}".removesuffix("\n  at ") for breach in self.breaches
            )
            raise BrokenPromise(f"{told}\n{made_by}")


def live(
    make: Callable[[], Application],
    script: Script | None = None,
    *,
    seed: int = 0,
    invariant: Callable[[Application], object] | None = None,
    watch: Callable[[World], object] | None = None,
) -> Life:
    """Live through one life of the application that *make* makes.

    Args:
        make: makes it; for two lives to be the same, it has to be a new one each time.
        script: what happens to it; drawn from *seed* if it is not given.
        seed: for the schedule, the network, and ``random``.
        invariant: is called with the application whenever a service has changed its state; what it raises is
            kept for :meth:`Life.check`.
        watch: is handed the world before the life begins; ``world.app`` is the application.

    Returns:
        What became of it.  A broken promise is no exception here; :meth:`Life.check` makes it one.

    Raises:
        RuntimeError: trio runs already; call it from a plain test, not from an async one.
        TypeError: the script is not a list of deeds.
        UnknownServiceError: a deed names a service that was never there.
    """
    clock = VirtualClock()
    was_abandoned = False
    with seeded_schedule(seed), _chance(seed), silenced():
        app = make()
        leaves, branches = paths_of(app)
        deeds = script_of(seed, leaves, branches) if script is None else checked(script)
        world = World(app, deeds, clock, seed, invariant)
        if watch is not None:
            watch(world)
        try:
            with no_sleep(world.breaches.append):
                trio.run(world.run, clock=clock, instruments=[clock, world.steps])
        except trio.TrioInternalError as error:
            if not isinstance(error.__cause__, Abandoned):
                raise
            was_abandoned = True
            keep_for_ever((world, error))
    if world.interrupt is not None:
        raise world.interrupt  # whoever sits at the keyboard means all lives, and not this one
    events = tuple(world.diary.events)
    seen = {event.path for event in events if not isinstance(event, Asked)}
    refuse_strangers(deeds, {app.path, *leaves, *branches, *seen} - {"network"})
    breaches = [*world.breaches, *([] if was_abandoned else check_contract(events, slack=0))]
    breaches += broken_promises(world)
    outcome = tuple(breaches), events, world.steps.count, was_abandoned, world.invariant_error
    return Life(world.script, seed, *outcome)


@contextlib.contextmanager
def shielded_from_garbage() -> Iterator[None]:
    """Let nobody look for garbage in the midst of a life, which is short; it takes a third of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def paths_of(app: Application) -> tuple[Sequence[str], Sequence[str]]:
    """The paths of the leaves of an application, and those of its branches, without its own."""
    from ..run import walk
    from ..service import MultiService

    below = [service for service in walk(app) if service is not app]
    branches = [service.path for service in below if isinstance(service, MultiService)]
    return [service.path for service in below if not isinstance(service, MultiService)], branches


@contextlib.contextmanager
def _chance(seed: int) -> Iterator[None]:
    """Let :mod:`random` be the same each time; whoever uses it outside finds it as it was."""
    before = random.getstate()
    random.seed(f"chance {seed}")
    try:
        yield
    finally:
        random.setstate(before)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Let nothing be logged: thousands of lives would bury the one that matters, and take twice as long."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
