"""Scripts: what somebody does to an application in the course of one simulated life.

A script is a list of *deeds*, done one after the other.  None of them waits for what it has asked for; only
:func:`advance` lets time pass, and :func:`again` waits for an end.  A service is named by its path, such as
``"shop/db"``, which begins with the application.  To one that has left the tree, nothing is done.

A script prints as the Python that makes it, so what a search has found can be pasted into a test::

    life = live(make_shop, [fail_to_start("shop/db"), advance(0.5), restart("shop/api")], seed=3)
    assert not life.breaches

A life begins before the first deed, and is ended, in an orderly stop, after the last.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..errors import UnknownServiceError

__all__ = [
    "Deed",
    "Script",
    "advance",
    "again",
    "cancel",
    "checked",
    "fail",
    "fail_to_start",
    "fail_to_stop",
    "finish",
    "hang_at_start",
    "inject",
    "no_descriptors",
    "put_back",
    "raise_exit",
    "refuse_strangers",
    "remove",
    "reset_connections",
    "restart",
    "return_unready",
    "script_of",
    "shown",
    "shutdown",
    "signal",
    "slow_network",
    "slow_start",
    "slow_stop",
    "start",
    "stay",
    "stop",
    "stop_at_once",
    "visit",
]


class Deed(NamedTuple):
    """One thing that is done; made by the functions of this file."""

    verb: str
    args: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb}({', '.join(map(repr, self.args))})"

    @property
    def path(self) -> str:
        """The service to which it is done; empty, if it is done to all."""
        first = self.args[0] if self.args else ""
        return first if isinstance(first, str) else ""


Script = Sequence[Deed]


# ---- to the application


def advance(seconds: float) -> Deed:
    """Let so many seconds of virtual time pass."""
    return Deed("advance", (seconds,))


def shutdown() -> Deed:
    """Call ``stop()`` of the application."""
    return Deed("shutdown")


def signal() -> Deed:
    """What SIGTERM does; said twice, all drains are cut."""
    return Deed("signal")


def cancel() -> Deed:
    """Cancel whoever awaits ``main`` of the application: no drains, and ``Cancelled`` has to come out."""
    return Deed("cancel")


def again() -> Deed:
    """Stop the application, wait for its end, and await its ``main`` once more (rule L3)."""
    return Deed("again")


# ---- to one service


def stop(path: str) -> Deed:
    """Stop one service."""
    return Deed("stop", (path,))


def stop_at_once(path: str) -> Deed:
    """Stop one service without its drain."""
    return Deed("stop_at_once", (path,))


def start(path: str) -> Deed:
    """Start one service that does not run; of one that runs, it is refused."""
    return Deed("start", (path,))


def restart(path: str) -> Deed:
    """Stop one service and start it again."""
    return Deed("restart", (path,))


def remove(path: str) -> Deed:
    """Stop one service and take it out of its parent."""
    return Deed("remove", (path,))


def put_back(path: str) -> Deed:
    """Put what was removed back into its parent, as its last child."""
    return Deed("put_back", (path,))


# ---- faults: what a service might do by itself


def fail(path: str) -> Deed:
    """Have a service raise an ``InjectedFault``, now; if it does not run, in its next run."""
    return Deed("fail", (path,))


def finish(path: str) -> Deed:
    """Have a service return, now; if it does not run, in its next run."""
    return Deed("finish", (path,))


def raise_exit(path: str) -> Deed:
    """Have a service raise ``SystemExit``, now."""
    return Deed("raise_exit", (path,))


def hang_at_start(path: str) -> Deed:
    """Let the next start of a service last until somebody ends it."""
    return Deed("hang_at_start", (path,))


def return_unready(path: str) -> Deed:
    """Have a service return from its next start without being ready."""
    return Deed("return_unready", (path,))


def slow_start(path: str, seconds: float) -> Deed:
    """Let the next start of a service take longer."""
    return Deed("slow_start", (path, seconds))


def fail_to_start(path: str) -> Deed:
    """Let the next start of a service fail."""
    return Deed("fail_to_start", (path,))


def slow_stop(path: str, seconds: float) -> Deed:
    """Let the next stop of a service take longer."""
    return Deed("slow_stop", (path, seconds))


def fail_to_stop(path: str) -> Deed:
    """Have a service raise at the end of its next stop."""
    return Deed("fail_to_stop", (path,))


def stay(path: str) -> Deed:
    """Have a service swallow its next cancellation, and go half a minute later."""
    return Deed("stay", (path,))


def inject(path: str, stage: str, what: str, seconds: float = 0.0) -> Deed:
    """Let any of :data:`trioservice.testing.faults.KINDS` strike: at once in the run, else at its next stage.

    ::

        inject("shop/db", "drain", "hangs")
    """
    return Deed("inject", (path, stage, what, seconds))


# ---- from outside


def visit(number: int, manner: str = "ask") -> Deed:
    """Have a client come to a socket that listens; without one, nothing happens.

    Args:
        number: which of those that listen, counted round and round.
        manner: ``ask`` something and wait for the answer, ``leave`` at once, ``stay`` and say nothing, or
            ``babble``, a piece each second, for ever.
    """
    return Deed("visit", (number, manner))


def reset_connections() -> Deed:
    """Break off all connections."""
    return Deed("reset_connections")


def slow_network(seconds: float) -> Deed:
    """From now on, what is sent takes so many seconds."""
    return Deed("slow_network", (seconds,))


def no_descriptors(seconds: float) -> Deed:
    """For so many seconds, no further socket can be opened (EMFILE)."""
    return Deed("no_descriptors", (seconds,))


# ---- at random

MANNERS = ("ask", "leave", "stay", "babble")
_MOMENTS = (0.0, 0.1, 0.5, 1.0, 1.0, 2.0, 5.0, 12.0, 65.0)
_OFTEN = (fail, fail_to_start, fail_to_stop)
_OF_LEAVES = (*_OFTEN, *_OFTEN, raise_exit, hang_at_start, return_unready, stay)
_OF_ANY = (stop, stop_at_once, restart, restart)
_OF_ALL = (again, again, cancel, shutdown, signal, reset_connections)
_SLOW = (slow_start, slow_start, slow_stop)


def script_of(seed: int, leaves: Sequence[str], branches: Sequence[str] = ()) -> list[Deed]:
    """A script drawn from *seed*; each third has no faults, so that what is wrong by itself shows by itself.

    Args:
        seed: the same seed and services, the same script.
        leaves: the paths of the leaves.
        branches: of the branches, without the application itself.
    """
    chance = random.Random(f"script {seed}")
    script: list[Deed] = []
    for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        script.append(_deed(chance, seed % 3, leaves, [*leaves, *branches]))
        if script[-1] == signal():
            script += [advance(chance.choice((0.0, 0.5, 1.0))), signal()]
        if chance.random() < 0.7:
            script.append(advance(chance.choice(_MOMENTS)))
    return script or [advance(chance.choice(_MOMENTS))]


def _deed(chance: random.Random, daring: int, leaves: Sequence[str], every: Sequence[str]) -> Deed:
    kinds = "visit visit all all any slow network"
    if daring:
        kinds += " any any leaf leaf"
    kind = chance.choice(kinds.split())
    if kind == "leaf" and leaves:
        return chance.choice(_OF_LEAVES)(chance.choice(leaves))
    if kind == "any" and every:
        return chance.choice(_OF_ANY)(chance.choice(every))
    if kind == "slow" and leaves:
        return chance.choice(_SLOW)(chance.choice(leaves), chance.choice((0.1, 1.0, 3.0)))
    if kind == "network":
        return chance.choice((slow_network(0.05), slow_network(1.0), no_descriptors(2.0)))
    if kind == "all":
        return chance.choice(_OF_ALL)()
    return visit(chance.randrange(8), chance.choice(MANNERS))


def checked(script: Script) -> Script:
    """*script*, if it is one.

    Raises:
        TypeError: it is one deed, or has something else in it.
    """
    if isinstance(script, Deed):
        raise TypeError(f"a script is a list of deeds; write [{script}]")
    for deed in script:
        if not isinstance(deed, Deed):
            raise TypeError(f"a script is a list of deeds, such as advance(1.0), and {deed!r} is none")
    return script


def refuse_strangers(script: Script, paths: Collection[str]) -> None:
    """See that each deed has somebody to whom it can be done: a path that is misspelt would never fail.

    Raises:
        UnknownServiceError: it has not.
    """
    for deed in script:
        if deed.path and deed.path not in paths:
            near = difflib.get_close_matches(deed.path, paths, 1)
            meant = (
                f"do you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, sorted(paths)))}"
            )
            raise UnknownServiceError(f"{deed}: there is no service {deed.path!r}; {meant}")


def shown(script: Script) -> str:
    """A script as Python, on one line if it is short."""
    line = f"[{', '.join(map(str, script))}]"
    if len(line) < 80:
        return line
    return "[\n" + "".join(f"    {deed},\n" for deed in script) + "]"
