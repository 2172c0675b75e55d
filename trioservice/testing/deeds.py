"""How the deeds of a script are done."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ..errors import ServiceError
from .diary import Asked
from .faults import Fault, Stage
from .sim_sockets import SimSocket
from .visitors import come

if TYPE_CHECKING:
    from ..service import Service
    from .scripts import Deed, Script
    from .world import World

__all__ = ["do", "struck"]


async def do(world: World, deed: Deed) -> None:
    """Do one deed; it returns at once, unless it lets time pass."""
    act = _DEEDS.get(deed.verb)
    if act is None:
        raise ValueError(f"there is no deed {deed.verb!r}; there are {', '.join(_DEEDS)}")
    await act(world, deed, *deed.args)


def _note(world: World, deed: Deed, path: str = "") -> None:
    world.diary.write(Asked, path or world.app.path, str(deed))


# ---- to the application


async def _advance(world: World, deed: Deed, seconds: float) -> None:
    await trio.sleep(seconds)


async def _shutdown(world: World, deed: Deed) -> None:
    world.ask(deed, world.app.path, world.app.stop)


async def _signal(world: World, deed: Deed) -> None:
    _note(world, deed)
    world.heard += 1
    world.app.stop_signal = world.app.stop_signal or signal.SIGTERM
    world.app._obey(signal.SIGTERM, world.heard)


async def _cancel(world: World, deed: Deed) -> None:
    _note(world, deed)
    world.outside.cancel(reason="a script cancels whoever awaits main")


async def _again(world: World, deed: Deed) -> None:
    await world.end()
    _note(world, deed)
    world.begin()


# ---- to one service


def _to_service(method: str, **options: Any) -> Callable[..., Awaitable[None]]:
    async def act(world: World, deed: Deed, path: str) -> None:
        service = _found(world, path)
        if service is not None:
            world.ask(deed, path, partial(getattr(service, method), **options))

    return act


def _found(world: World, path: str) -> Service | None:
    """The service that is meant; nobody, once it has left."""
    service = world.diary.find(path)
    return None if service is world.app else service


async def _remove(world: World, deed: Deed, path: str) -> None:
    service = _found(world, path)
    parent = None if service is None else service.parent
    if service is not None and parent is not None:
        world.removed[path] = service, parent
        world.ask(deed, path, service.disown_service_parent)


async def _put_back(world: World, deed: Deed, path: str) -> None:
    if path in world.removed:
        _note(world, deed, path)
        service, parent = world.removed[path]
        # It may not be gone yet, and a parent that stops takes nobody (L9).
        with contextlib.suppress(ServiceError):
            parent.add_service(service)
            del world.removed[path]


# ---- faults


async def _strike(world: World, deed: Deed, path: str, seconds: float = 0.0) -> None:
    stage, what = _FAULTS[deed.verb]
    await _inject(world, deed, path, stage, what, seconds)


async def _inject(world: World, deed: Deed, path: str, stage: str, what: str, seconds: float = 0.0) -> None:
    _note(world, deed, path)
    world.faults.inject(path, Fault(Stage(stage), what, seconds))


def struck(script: Script) -> set[str]:
    """The paths of the services in which something goes wrong by a script."""
    return {deed.path for deed in script if deed.verb in _FAULTS or deed.verb == "inject"}


# ---- from outside


async def _visit(world: World, deed: Deed, number: int, manner: str) -> None:
    doors = _doors(world)
    if doors:
        _note(world, deed)
        world.nursery.start_soon(
            come, doors[number % len(doors)], manner, world.chance.random(), name="a visitor"
        )


def _doors(world: World) -> list[SimSocket]:
    return [*world.network.listening(), *world.network.listening(socket.SOCK_DGRAM)]


async def _reset_connections(world: World, deed: Deed) -> None:
    _note(world, deed)
    world.network.reset()


async def _slow_network(world: World, deed: Deed, seconds: float) -> None:
    _note(world, deed)
    world.network.link_between("localhost", "localhost", latency=seconds)


async def _no_descriptors(world: World, deed: Deed, seconds: float) -> None:
    _note(world, deed)
    host = world.network.host("localhost")
    host.descriptors = len(host.sockets)
    world.network.at(trio.current_time() + seconds, partial(setattr, host, "descriptors", None))


_FAULTS = {
    "fail": (Stage.RUN, "fails"),
    "finish": (Stage.RUN, "finishes"),
    "raise_exit": (Stage.RUN, "exits"),
    "slow_start": (Stage.START, "slow"),
    "fail_to_start": (Stage.START, "fails"),
    "hang_at_start": (Stage.START, "hangs"),
    "return_unready": (Stage.START, "returns"),
    "slow_stop": (Stage.STOP, "slow"),
    "fail_to_stop": (Stage.STOP, "fails"),
    "stay": (Stage.STOP, "swallows"),
}

_DEEDS: dict[str, Callable[..., Awaitable[None]]] = {
    "advance": _advance,
    "shutdown": _shutdown,
    "signal": _signal,
    "cancel": _cancel,
    "again": _again,
    "stop": _to_service("stop"),
    "stop_at_once": _to_service("stop", drain=False),
    "start": _to_service("start"),
    "restart": _to_service("restart"),
    "remove": _remove,
    "put_back": _put_back,
    **dict.fromkeys(_FAULTS, _strike),
    "inject": _inject,
    "visit": _visit,
    "reset_connections": _reset_connections,
    "slow_network": _slow_network,
    "no_descriptors": _no_descriptors,
}
