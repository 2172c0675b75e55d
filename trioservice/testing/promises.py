"""What an application promises beyond the contract: that it works as long as nobody makes it fail.

Services raise errors in simulated lives, and most of them have a right to.  An error is held against a
service if nothing explains it.  It is explained

* if it ended a start that somebody in the application awaits, by ``start_service``, and may have foreseen;
* if it was injected, or comes of a start that was made to last or to end too early;
* if what stands before the service in start order was down, or has been, in this run: that is what a service
  may rely on;
* if it is about a connection that somebody outside did not answer, or broke off, or was kept from opening.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import trio

from ..errors import NotReadyError, ServiceStateError, StartInterrupted, StartTimeoutError, is_machinery
from ..events import ErrorRaised, Event, ServiceAdded, StateChanged
from ..lifecycle import State
from .blocking import BlockingCall
from .contract import Breach
from .diary import Asked, Left
from .faults import InjectedExit, InjectedFault
from .scene import ALIVE, Scene, is_below, origins, parent_of
from .sim_sockets import NotSimulatedError
from .simulated import not_simulated
from .surroundings import place_of

if TYPE_CHECKING:
    from .world import World

__all__ = ["broken_promises", "line_of"]

_DOWN = (State.STOPPING, State.FAILED, State.STARTING)
_OF_NOBODY = (BlockingCall, InjectedExit, InjectedFault, NotSimulatedError, StartInterrupted)
_OF_THE_NETWORK = {"reset_connections", "no_descriptors", "slow_network"}


def broken_promises(world: World) -> Iterator[Breach]:
    """The errors of a life that nothing explains."""
    if not any(isinstance(event, ErrorRaised) for event in world.diary.events):
        return  # most lives have none, and what explains errors takes a second look at all of a life
    rough = any(deed.verb in _OF_THE_NETWORK for deed in world.script)
    lonely = bool(world.network.strangers)
    excused = {path for path, _ in not_simulated(world.app)}
    history = _History(world.faults.unready)
    for event in world.diary.events:
        if not isinstance(event, ErrorRaised) or event.path in excused:
            pass
        elif not history.explains(event, rough=rough, lonely=lonely):
            rule, words = history.accusation(event)
            yield Breach(rule, event.path, words, line_of(event.error))
        history.learn(event)


class _History:
    """What has happened up to the event in question."""

    def __init__(self, unready: set[str]) -> None:
        self._unready = unready
        self._scene = Scene()
        self._runs: dict[str, int] = {}
        self._number = 0
        self._began: dict[str, int] = {}
        self._down: dict[str, int] = {}
        self._added: set[str] = set()

    def learn(self, event: Event) -> None:
        self._number += 1
        self._scene.learn(event)
        if isinstance(event, StateChanged):
            if event.new is State.STARTING:
                self._began[event.path] = self._number
                self._runs[event.path] = self._runs.get(event.path, 0) + 1
            elif event.new in _DOWN:
                self._down[event.path] = self._number
        elif isinstance(event, Asked | Left):
            self._down[event.path] = self._number
        elif isinstance(event, ServiceAdded):
            self._added.add(event.path)

    def explains(self, event: ErrorRaised, *, rough: bool, lonely: bool) -> bool:
        """Whether an error has a reason that is none of the service's own making."""
        if event.alone and event.phase == "starting" and event.path in self._added:
            return True
        for one in origins(event.error):
            if isinstance(one, _OF_NOBODY):
                return True
            if isinstance(one, NotReadyError | StartTimeoutError) and self._was_kept(event.path):
                return True
            if isinstance(one, OSError) and (rough or lonely):
                return True
            if isinstance(one, trio.BrokenResourceError | StartTimeoutError) and (rough or lonely):
                return True
            if isinstance(one, ServiceStateError) and event.phase == "stopping":
                return True  # it wanted something that a stop makes impossible
        return self._stood_on_nothing(event.path)

    def _was_kept(self, path: str) -> bool:
        """Whether it, or something below it, was kept from becoming ready."""
        return any(is_below(one, path) for one in self._unready)

    def _stood_on_nothing(self, path: str) -> bool:
        """Whether something before it in start order is not there, or has been down since it was started."""
        since = self._began.get(path, 0)
        while path:
            for earlier in self._scene.before(path):
                is_there = (
                    self._scene.state(earlier) in ALIVE or self._scene.ended.get(earlier) is State.FINISHED
                )
                downs = (when for one, when in self._down.items() if is_below(one, earlier))
                if not is_there or max(downs, default=-1) > since:
                    return True
            path = parent_of(path)
        return False

    def accusation(self, event: ErrorRaised) -> tuple[str, str]:
        """Which rule an error breaks that nothing explains, and in which words."""
        said = f"{type(event.error).__name__}: {event.error}".removesuffix(": ")
        if isinstance(event.error, NotReadyError):
            return "L2", str(event.error)
        if event.phase in ("stopping", "releasing"):
            return "L13", f"raises while it is {event.phase.replace('releasing', 'released')}: {said}"
        if self._runs.get(event.path, 1) > 1:
            return "L3", f"cannot be started again: {said}"
        return "L14", f"fails by itself while {event.phase}: {said}"


def line_of(error: BaseException) -> str:
    """The user's own line at which an error was raised; empty if it was none."""
    where = ""
    step = error.__traceback__
    while step is not None:
        if not is_machinery(step.tb_frame):
            frame = step.tb_frame
            where = place_of(frame).replace(f":{frame.f_lineno} ", f":{step.tb_lineno} ")
        step = step.tb_next
    return where
