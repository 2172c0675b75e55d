"""What a simulated life costs, as ``trioservice check`` lives it: trees of five services, each by itself.

The lives are those of the first seeds, with the scripts that are drawn from them: services fail and hang, are
stopped and started again, visitors come, and up to a minute of virtual time goes by.  A life is judged, too.
The clock is the processor's.  Garbage is not collected in the midst of a life, as ``check`` does it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time

from trioservice import Application, MultiService, TCPServer, TimerService
from trioservice.testing import live
from trioservice.testing.lives import shielded_from_garbage

from .services import Leaf


def leaves(*names: str) -> list[Leaf]:
    return [Leaf(name=name) for name in names]


async def echo(stream: object) -> None:
    async for data in stream:  # type: ignore[attr-defined]
        await stream.send_all(data)  # type: ignore[attr-defined]


async def tick() -> None:
    """What is done every ten seconds."""


def alike() -> Application:
    return Application("shop", *leaves("one", "two", "three", "four", "five"))


def branched() -> Application:
    return Application("shop", MultiService(*leaves("one", "two"), name="branch"), *leaves("three", "four"))


def mixed() -> Application:
    timer = TimerService(10, tick, name="timer")
    branch = MultiService(*leaves("one"), timer, name="branch")
    return Application("shop", branch, TCPServer(7001, echo, name="echo"), *leaves("two"))


TREES: dict[str, Callable[[], Application]] = {
    "five leaves": alike,
    "four leaves, a branch": branched,
    "two leaves, a branch, a timer, a TCP server": mixed,
}


def measure(name: str, count: int) -> float:
    """Seconds per life, in this process."""
    make = TREES[name]
    for seed in range(count // 10):  # the interpreter specialises what it has run often
        live(make, seed=seed)
    with shielded_from_garbage():
        began = process_time()
        for seed in range(count):
            live(make, seed=seed).check()
        return (process_time() - began) / count


if __name__ == "__main__":
    print(measure(sys.argv[1], int(sys.argv[2])))
