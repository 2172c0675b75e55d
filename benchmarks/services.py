"""The contestants: the same thing done in several ways, each time in a process of its own.

Every contestant makes *count* units of the smallest kind there is, starts them all, and stops
them all.  The clock is the processor's: nothing here waits, and what else the machine does is
counted least.  Garbage is collected as Python comes, unless asked otherwise, for everybody.

They do not promise the same, so it must be said what each one does:

* trioservice: leaves of one MultiService, each started when the one before is ready, and
  stopped one by one in reverse, each when the one after is gone.
* raw trio: a function for each leaf, by ``await nursery.start(leaf)``; stopped by one cancel
  of the nursery, all at once and in no order.
* ordered trio: the same by hand with our order: a cancel scope and an event for each leaf.
* Twisted: a ``Service`` is a flag, without a task.  Its start waits for nothing and its stop
  is a Deferred that has fired already, so neither needs a reactor, and a running one would
  change nothing but the clock.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from time import process_time

import trio

from trioservice import MultiService, Service


class Stopwatch:
    """Notes the time, or (with *memory*) the bytes in use, at the moments between two phases."""

    def __init__(self, *, memory: bool = False) -> None:
        self.moments: list[float] = []
        self._look = (lambda: tracemalloc.get_traced_memory()[0]) if memory else process_time

    def press(self) -> None:
        self.moments.append(self._look())

    def phases(self, count: int) -> list[float]:
        """What each phase took, divided by *count*."""
        return [(end - begin) / count for begin, end in itertools.pairwise(self.moments)]


# ---- the units: they are ready at once, and sleep


class Leaf(Service):
    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        task_status.started()
        await trio.sleep_forever()


async def leaf(task_status: trio.TaskStatus[object]) -> None:
    task_status.started()
    await trio.sleep_forever()


async def leaf_in_scope(
    scope: trio.CancelScope, gone: trio.Event, task_status: trio.TaskStatus[object]
) -> None:
    with scope:
        await leaf(task_status)
    gone.set()


# ---- the contestants: press, make, press, start, press, stop, press


async def ours(count: int, watch: Stopwatch) -> None:
    watch.press()
    root = MultiService(*[Leaf(name=f"leaf-{number}") for number in range(count)])
    watch.press()
    async with trio.open_nursery() as nursery:
        await nursery.start(root.main)
        watch.press()
        await root.stop()
    watch.press()


async def raw_trio(count: int, watch: Stopwatch) -> None:
    watch.press()
    watch.press()  # there is nothing to make
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            await nursery.start(leaf)
        watch.press()
        nursery.cancel_scope.cancel()
    watch.press()


async def ordered_trio(count: int, watch: Stopwatch) -> None:
    watch.press()
    leaves = []
    watch.press()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            scope, gone = trio.CancelScope(), trio.Event()
            await nursery.start(leaf_in_scope, scope, gone)
            leaves.append((scope, gone))
        watch.press()
        for scope, gone in reversed(leaves):
            scope.cancel()
            await gone.wait()
    watch.press()


def twisted(count: int, watch: Stopwatch) -> None:
    from twisted.application.service import MultiService, Service

    watch.press()
    root = MultiService()
    for _ in range(count):
        Service().setServiceParent(root)
    watch.press()
    root.startService()
    watch.press()
    root.stopService()
    watch.press()


CONTESTANTS: dict[str, Callable[[int, Stopwatch], None]] = {
    "raw trio": partial(trio.run, raw_trio),
    "trioservice": partial(trio.run, ours),
    "ordered trio": partial(trio.run, ordered_trio),
    "Twisted": twisted,
}


def measure(name: str, count: int, *, memory: bool, collect: bool) -> list[float]:
    """Seconds (or bytes) per unit for making, starting and stopping, in this process."""
    contestant = CONTESTANTS[name]
    contestant(300, Stopwatch())  # the interpreter specialises what it has run often
    if memory:
        tracemalloc.start()
    gc.collect()
    if not collect:
        gc.disable()
    watch = Stopwatch(memory=memory)
    contestant(count, watch)
    return watch.phases(count)


if __name__ == "__main__":
    name, count, *options = sys.argv[1:]
    phases = measure(name, int(count), memory="memory" in options, collect="no-gc" not in options)
    print(json.dumps(phases))
