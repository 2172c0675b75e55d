"""The world in which an application lives a simulated life: whoever starts it, acts on it, and ends it."""

from __future__ import annotations

import contextlib
import math
import random
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from ..application import Application
from ..errors import ServiceError, ServicesFailed, UnknownServiceError
from ..events import Event, ServiceAdded, StateChanged
from ..lifecycle import State
from ..records import record
from ..run import Run, current_service, service_of, walk, whereabouts
from ..service import MultiService, Service
from .clocks import VirtualClock
from .contract import Breach
from .deeds import do, struck
from .diary import Asked, Diary, MainEnded, replace
from .faults import Faults
from .scripts import Deed
from .simulated import is_elsewhere
from .surroundings import Owner, Surroundings, users_line

__all__ = ["Noticed", "Steps", "World"]

#: Virtual seconds within which an application has to be ready, and to have gone after its last cancellation.
TO_BE_READY = 120.0
TO_BE_GONE = 300.0

#: After so many steps enough has been seen of a life, and after so much spinning it is known to spin.
ENOUGH_STEPS = 60_000
SPINNING = 4_000
_TO_SEE_IT_SPIN = 90.0


_NOBODY = Owner(None)


@record
class Noticed(Event):
    """Something happened in the network."""

    what: str

    def __str__(self) -> str:
        return self.what


class Steps(trio.abc.Instrument):
    """Counts the steps that tasks take, and knows who lives.

    Attributes:
        count: all of them.
        alive: the tasks that have been spawned and have not ended, and the services whose doing that was.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._spinning: dict[trio.lowlevel.Task, int] = {}
        self.count = 0
        self.alive: dict[trio.lowlevel.Task, Owner] = {}

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """It lives, by the doing of the service whose code has its turn."""
        service = current_service()
        owner = self.alive[task] = Owner(service)
        nursery = task.parent_nursery
        if owner.path and nursery is not None and not self._owner(nursery.parent_task).path:
            owner.where = users_line(sys._getframe(1))  # it has left the family

    def _owner(self, task: trio.lowlevel.Task) -> Owner:
        return self.alive.get(task, _NOBODY)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """It does no more."""
        self.alive.pop(task, None)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """It does something."""
        self.count += 1
        if self._clock.spinning:
            self._spinning[task] = self._spinning.get(task, 0) + 1

    def busiest(self) -> trio.lowlevel.Task | None:
        """The task that has taken most steps while nobody waited."""
        return max(self._spinning, key=self._spinning.__getitem__, default=None)


class World:
    """Everything around one life.

    Args:
        app: who lives.
        script: what happens to it.
        clock: of its :func:`trio.run`.
        seed: of its network.
        invariant: is called with the application whenever a state has changed.

    Attributes:
        diary: what was told.
        breaches: what no event tells of: hangs, leaks, loops.
        invariant_error: what the invariant has raised first.
        interrupt: a Ctrl-C that has ended the application.
    """

    nursery: trio.Nursery
    network: Surroundings

    def __init__(
        self,
        app: Application,
        script: Sequence[Deed],
        clock: VirtualClock,
        seed: int,
        invariant: Callable[[Application], object] | None = None,
    ) -> None:
        self.app = app
        self.script = tuple(script)
        self.clock = clock
        self.steps = Steps(clock)
        self.faults = Faults()
        self.breaches: list[Breach] = []
        self.outside = trio.CancelScope()
        self.heard = 0  # signals, in this run of main
        self.removed: dict[str, tuple[Service, MultiService]] = {}
        self.chance = random.Random(f"visitors {seed}")
        self.invariant_error: Exception | None = None
        self.interrupt: KeyboardInterrupt | None = None
        self._invariant = invariant
        self._seed = seed
        self._struck = struck(script)
        self._over = True
        self._news = trio.Event()
        self._waiting: dict[str, int] = {}
        self._prepare()

    def _prepare(self) -> None:
        app = self.app
        for service in walk(app):
            if is_elsewhere(service):
                for method in ("privileged_start", "run", "drain"):
                    replace(service, method, _DOES_NOTHING[method])
        self._attend_to(app)
        app.handle_signals = False
        if app.bound is None:
            app.bound = _drop_nothing  # uid and gid are a matter of the process
        app.subscribe(self._hear)
        self.diary = Diary(app)

    async def run(self) -> None:
        """The whole life."""
        self.network = Surroundings(seed=self._seed, tell=self._notice)
        with self.network:
            async with trio.open_nursery() as self.nursery:
                await self._live()
                self.nursery.cancel_scope.cancel(reason="this life is over")
            await trio.lowlevel.checkpoint()
            self._look_for_leaks()

    async def _live(self) -> None:
        self.begin()
        for deed in self.script:
            if self.steps.count > ENOUGH_STEPS:
                break
            await do(self, deed)
        await self.end()
        await self.until(lambda: not any(self._waiting.values()), TO_BE_READY)
        self._complain_of_the_patient()

    # ---- its beginning and its end

    def begin(self) -> None:
        """Await main."""
        self._over = False
        self.heard = 0
        self.nursery.start_soon(self._main, name="whoever awaits main")

    async def _main(self) -> None:
        error: BaseException | None = None
        with contextlib.suppress(BaseException), trio.CancelScope() as self.outside:
            try:
                await self.app.main()
            except BaseException as raised:
                error = raised  # all that comes out of main is judged, and goes no further
                raise
        self.diary.write(MainEnded, self.app.path, error)
        if isinstance(error, KeyboardInterrupt):
            self.interrupt = error
        self._over = True
        self._news.set()

    async def end(self) -> None:
        """See it ready, unless something keeps it, then stop it, and see it gone."""
        await self.until(lambda: self._over or self.app._run is not None, TO_BE_READY)
        await self._see_whether_it_spins()
        if not await self.until(lambda: self.app.state is not State.STARTING, TO_BE_READY):
            self._complain_of_the_slow()
        if await self._is_gone_in_order() or await self.until(lambda: self._over, TO_BE_GONE):
            return
        self._complain_of_the_stuck()
        self.clock.abandon()
        await trio.lowlevel.checkpoint()

    async def _is_gone_in_order(self) -> bool:
        run = self.app._run
        if run is not None:
            run.ask_stop(reason="this life is over")
            if await self.until(lambda: self._over, self._budget() + 1):
                return True
            run.ask_stop(drain=False)
        return self._over

    def _budget(self) -> float:
        limits = [service.drain_timeout for service in walk(self.app)]
        budget = min(self.app.shutdown_timeout, sum(limits))
        return budget if budget < math.inf else 60.0

    async def until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so; whether it is, after at most *seconds*."""
        if not true():
            with trio.move_on_after(seconds):
                while not true():
                    self._news = trio.Event()
                    await self._news.wait()
        return true()

    async def _see_whether_it_spins(self) -> None:
        if self.clock.spinning:
            await trio.sleep(_TO_SEE_IT_SPIN)
        busiest = self.steps.busiest()
        if self.clock.spinning >= SPINNING and busiest is not None:
            self._complain(
                "spins", _path_of(busiest, self.app), "takes step after step and never waits", busiest
            )

    # ---- what is heard

    def _hear(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            if event.path == self.app.path:
                self._news.set()
            if event.new is State.STARTING:
                self._attend_to(self.diary.find(event.path))
            self._look_at_the_invariant()
        elif isinstance(event, ServiceAdded):
            self._attend_to(self.diary.find(event.path))

    def _look_at_the_invariant(self) -> None:
        if self._invariant is not None and self.invariant_error is None:
            try:
                self._invariant(self.app)
            except Exception as error:  # noqa: BLE001 - out of a listener it would be logged, and lost
                # Whoever looks for what the script has removed need not have thought of that.
                if not (self.removed and isinstance(error, UnknownServiceError)):
                    self.invariant_error = error

    def _attend_to(self, top: Service | None) -> None:
        """Let the faults of the script strike, inside of what the diary writes around."""
        # Nothing is put around whom no deed strikes: in most lives that is everybody.
        for service in walk(top) if top is not None and self._struck else ():
            if service.path in self._struck:
                self.faults.attend(service)

    def _notice(self, what: str) -> None:
        self.diary.write(Noticed, "network", what)

    # ---- whoever asks for something

    def ask(self, deed: Deed, path: str, async_fn: Callable[[], Awaitable[object]]) -> None:
        """Ask for something, and wait for the answer while life goes on."""
        self.diary.write(Asked, path, str(deed))
        self.nursery.start_soon(self._wait_for, str(deed), async_fn, name=f"whoever asked: {deed}")

    async def _wait_for(self, deed: str, async_fn: Callable[[], Awaitable[object]]) -> None:
        self._waiting[deed] = self._waiting.get(deed, 0) + 1
        # What went wrong is told as an event, too.
        with contextlib.suppress(ServicesFailed, ServiceError):
            await async_fn()
        self._waiting[deed] -= 1
        self._news.set()

    # ---- complaints

    def _complain(self, rule: str, path: str, words: str, task: trio.lowlevel.Task | None) -> None:
        self.breaches.append(Breach(rule, path, words, next(iter(whereabouts(task)), "")))

    def _complain_of_the_slow(self) -> None:
        if self.network.refused:
            return  # it waits for somebody who is not there
        for run in _leaves(self.app, State.STARTING):
            if run.path not in self.faults.unready:
                self._complain("L2", run.path, f"is not ready after {TO_BE_READY:.0f} s", run.task)

    def _complain_of_the_stuck(self) -> None:
        stuck = list(_leaves(self.app, State.STOPPING))
        for run in stuck:
            self._complain(
                "L17", run.path, f"has not gone {TO_BE_GONE:.0f} s after it was cancelled", run.task
            )
        if not stuck:
            self._complain("L6", self.app.path, f"has not stopped after {TO_BE_GONE:.0f} s", None)

    def _complain_of_the_patient(self) -> None:
        for deed, count in self._waiting.items():
            if count:
                self.breaches.append(Breach("L2", self.app.path, f"is over, and {deed} still waits"))

    def _look_for_leaks(self) -> None:
        self.faults.tidy_up()
        for task, owner in self.steps.alive.items():
            if owner.path:
                words = f"has left a task behind, {task.name}"
                self.breaches.append(Breach("leaks", owner.path, words, owner.where))
        for sock, owner in self.network.left_open():
            if owner.path:
                self.breaches.append(
                    Breach("leaks", owner.path, f"has left a socket open, {sock.label}", owner.where)
                )


def _leaves(app: Application, state: State) -> Iterable[Run]:
    for service in walk(app):
        if service._run is not None and service.state is state and not isinstance(service, MultiService):
            yield service._run


def _path_of(task: trio.lowlevel.Task, app: Application) -> str:
    service = service_of(task)
    return app.path if service is None else service.path


async def _be_ready(service: Service, original: object, task_status: trio.TaskStatus[object]) -> None:
    task_status.started()
    await trio.sleep_forever()


async def _pass(*_: object) -> None:
    await trio.lowlevel.checkpoint()


# What stands for the methods of a service that lives elsewhere.
_DOES_NOTHING: dict[str, Callable[..., Awaitable[None]]] = {
    "privileged_start": _pass,
    "run": _be_ready,
    "drain": _pass,
}


def _drop_nothing(app: Application) -> None:
    """Nobody is root here."""
