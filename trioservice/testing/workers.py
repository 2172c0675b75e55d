"""Lives in processes of their own, many at once.

A life may end its process, block it, or leave behind what cannot be got rid of; and an application that is
loaded once, from a file, is to begin each life as it was loaded.  A fork gives all of that: a child begins
with everything as it is here, lives its lives, says of each what became of it, and is gone.

Whoever asks is told in the order in which lives come to their end.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, Pipe, wait
from typing import NoReturn

import trio

from ..application import Application
from ..process.terminal import tell
from ..records import record
from ..service import MultiService, Service
from .blocking import alarm
from .contract import Breach
from .lives import Life, live, shielded_from_garbage
from .promises import line_of
from .scripts import Deed
from .story import Line, story_of
from .world import World

__all__ = ["Outcome", "Plan", "Workers"]

#: Real seconds for one life; who takes longer does not even hear an alarm.
_PATIENCE = 60.0


@record
class Plan:
    """A life that is to be lived: of *seed*, by a *script* of its own or that of the seed."""

    seed: int
    script: tuple[Deed, ...] | None = None
    wants_story: bool = False


@record
class Outcome:
    """What became of it.

    Attributes:
        plan: what was asked for.
        script: what was done.
        breaches: the promises that were broken.
        story: of that life, if it was wanted.
        steps: how many steps its tasks have taken.
        goes_on: whether its process can live another life.
    """

    plan: Plan
    script: tuple[Deed, ...]
    breaches: tuple[Breach, ...] = ()
    story: tuple[Line, ...] = ()
    steps: int = 0
    goes_on: bool = True


class Workers:
    """Children that live lives.

    Args:
        make: makes the application; called in a child.
        jobs: how many children at a time.
        lives_each: how many lives a child may live; one, if a life leaves its marks on what *make* makes.
    """

    def __init__(self, make: Callable[[], Application], *, jobs: int, lives_each: int) -> None:
        self._make = make
        self._jobs = jobs
        self._lives_each = lives_each
        _warm_up()

    def live(self, plan: Plan) -> Outcome:
        """Live one life."""
        return next(self.live_all([plan]))

    def live_all(self, plans: Iterable[Plan]) -> Iterator[Outcome]:
        """Live many."""
        waiting, children = deque[Plan](), list[_Child]()
        source = iter(plans)
        try:
            while True:
                self._employ(source, waiting, children)
                if not children:
                    return
                for child, outcome in _news(children):
                    if outcome is not None:
                        yield outcome
                    if child.is_over:
                        waiting.extend(child.plans)
                        children.remove(child)
        finally:
            for child in children:
                child.end()

    def _employ(self, source: Iterator[Plan], waiting: deque[Plan], children: list[_Child]) -> None:
        while len(children) < self._jobs:
            plans = [waiting.popleft() for _ in range(min(len(waiting), self._lives_each))]
            plans += islice(source, self._lives_each - len(plans))
            if not plans:
                return
            children.append(_Child(self._make, plans))


class _Child:
    """A process, and the plans that it has not followed yet."""

    def __init__(self, make: Callable[[], Application], plans: list[Plan]) -> None:
        self.plans = deque(plans)
        self.is_over = False
        self.heard_at = time.monotonic()
        self._script: tuple[Deed, ...] = ()  # of its present life
        self._status = 0
        self.pipe, far = Pipe(duplex=False)
        for stream in (sys.stdout, sys.stderr):
            tell(stream, "")  # what is still buffered here is not said again by the child
        with _interrupts_wait():
            self._pid = os.fork()
            if self._pid == 0:
                _work(make, plans, far)
        far.close()

    def news(self) -> Outcome | None:
        """What it has to say: the script of a life that begins, or its outcome."""
        self.heard_at = time.monotonic()
        try:
            outcome: Outcome | tuple[Deed, ...] = self.pipe.recv()
        except EOFError:
            return self._lost(f"has ended the whole process, with status {self.end()}", "dies")
        if not isinstance(outcome, Outcome):
            self._script = outcome
            return None
        self.plans.popleft()
        if not self.plans or not outcome.goes_on:
            self.end()
        return outcome

    def give_up(self) -> Outcome:
        """It has not said anything for too long."""
        self.end()
        return self._lost(f"has blocked its process for {_PATIENCE:g} s, and no alarm was heard", "blocks")

    def _lost(self, words: str, rule: str) -> Outcome:
        plan = self.plans.popleft()
        return Outcome(plan, self._script, (Breach(rule, "the application", words),))

    def end(self) -> int:
        """See that it is gone; its exit status."""
        if not self.is_over:
            self.is_over = True
            self.pipe.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status


def _news(children: list[_Child]) -> Iterator[tuple[_Child, Outcome | None]]:
    by_pipe = {child.pipe: child for child in children}
    first = min(child.heard_at for child in children) + _PATIENCE
    ready = wait(list(by_pipe), max(0.0, first - time.monotonic()))
    for pipe, child in by_pipe.items():
        if pipe in ready:
            yield child, child.news()
        elif time.monotonic() - child.heard_at > _PATIENCE:
            yield child, child.give_up()


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Within, Ctrl-C waits: a life would take it, or a child that is not deaf to it yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _warm_up() -> None:
    """Live some lives here, so that no child has to import and write what lives take."""
    from ..net.servers import TCPServer

    async def sink(stream: object) -> None:
        await trio.lowlevel.checkpoint()

    with _interrupts_wait():  # a life would take one for its own
        for seed in range(20):
            live(lambda: Application("warm", TCPServer(80, sink), MultiService(Service())), seed=seed)
    gc.collect()
    gc.freeze()


# ---- in the child


def _work(make: Callable[[], Application], plans: list[Plan], pipe: Connection) -> NoReturn:
    """Live, and tell; whatever happens, this process is not its parent."""
    try:
        _be_quiet()
        for plan in plans:
            try:
                outcome = _life(make, plan, pipe)
            except BaseException as error:  # noqa: BLE001 - this process ends here, and somebody has to know why
                outcome = _no_life(plan, error)
            pipe.send(outcome)
            if not outcome.goes_on:
                break
    finally:
        os._exit(0)


def _life(make: Callable[[], Application], plan: Plan, pipe: Connection) -> Outcome:
    def begin(world: World) -> None:
        pipe.send(world.script)  # now: whoever dies of it cannot tell what it was
        # And no look before: to make an application may take its time, as nobody waits for anybody yet.
        watched.enter_context(alarm(lambda: world.steps.count, partial(_blocked, plan, world, pipe)))

    with contextlib.ExitStack() as watched, shielded_from_garbage():
        life = live(make, plan.script, seed=plan.seed, watch=begin)
    return _told(plan, life)


def _blocked(plan: Plan, world: World, pipe: Connection, breach: Breach) -> NoReturn:
    """Tell of a life that goes no further, from its midst."""
    found = breach if breach.path else Breach(breach.rule, world.app.path, breach.words, breach.where)
    story = tuple(story_of(world.diary.events)) if plan.wants_story else ()
    pipe.send(Outcome(plan, world.script, (*world.breaches, found), story, 0, goes_on=False))
    os._exit(0)


def _no_life(plan: Plan, error: BaseException) -> Outcome:
    """What came instead of a life: what makes the application has raised, or the text of an error has."""
    said = traceback.format_exception_only(error)[-1].strip()
    found = Breach("dies", "the application", f"cannot be led through this life: {said}", line_of(error))
    return Outcome(plan, plan.script or (), (found,), goes_on=False)


def _told(plan: Plan, life: Life) -> Outcome:
    story = tuple(story_of(life.events)) if plan.wants_story else ()
    return Outcome(plan, life.script, life.breaches, story, life.steps, goes_on=not life.was_abandoned)


def _be_quiet() -> None:
    """What services print is not for this terminal; and Ctrl-C is for our parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
