"""What is left of a test: threads, descriptors and tasks that were not there before it."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio

__all__ = ["all_tasks", "no_leaks"]

# trio keeps idle threads for a while; nothing is wrong with them.
_TRIOS = "Trio thread"


@contextmanager
def no_leaks() -> Iterator[None]:
    """Within, whatever is opened or started is closed and ended in the end.

    Threads and descriptors (sockets are some) are looked for anywhere; tasks, if trio runs around the block.

    Raises:
        AssertionError: something was left, and what.
    """
    threads, descriptors, tasks = set(_threads()), _descriptors(), set(all_tasks())
    yield
    gc.collect()
    left = [f"the thread {thread.name!r}" for thread in _threads() if thread not in threads]
    left += [f"the task {task.name!r}" for task in all_tasks() if task not in tasks]
    now = _descriptors()
    left += [f"the descriptor {number} ({now[number]})" for number in now.keys() - descriptors.keys()]
    assert not left, f"left behind: {', '.join(left)}"


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if not thread.name.startswith(_TRIOS)]


def all_tasks() -> Iterator[trio.lowlevel.Task]:
    """All tasks of the run in which the caller is, those of trio among them."""
    root = trio.lowlevel.current_root_task() if trio.lowlevel.in_trio_run() else None
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def _descriptors() -> dict[int, str]:
    """What is open, where the system tells."""
    folder = next((path for path in ("/proc/self/fd", "/dev/fd") if os.path.isdir(path)), None)
    if folder is None:
        return {}
    found = {}
    for name in os.listdir(folder):
        with suppress(OSError):  # that of the listing itself has gone by now
            os.fstat(int(name))
            found[int(name)] = os.readlink(f"{folder}/{name}") if folder.startswith("/proc") else "open"
    return found
