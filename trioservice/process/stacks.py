"""Where everybody is: the tree of services with the stack of each task, for a log.

What a person wants to see of a program that does not do what it should, without ending it.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from types import FrameType

import trio

from ..application import Application
from ..run import service_of, walk
from ..service import Service

__all__ = ["tree_with_stacks"]


def tree_with_stacks(application: Application) -> str:
    """Every service with its state, below it its tasks, and of each task the lines where it is.

    To be called within trio.  Tasks that belong to no service stand at the end.
    """
    tasks: dict[Service | None, list[trio.lowlevel.Task]] = {}
    root = trio.lowlevel.current_root_task()
    for task in _below(root) if root is not None else ():
        tasks.setdefault(service_of(task), []).append(task)
    lines = ["the tree of services, and where its tasks are:"]
    for service in walk(application):
        lines.append(f"{service.path}: {service.state.value}")
        for task in sorted(tasks.pop(service, []), key=lambda task: task.name):
            lines += _stack(task)
    others = [task for some in tasks.values() for task in some]
    lines += ["tasks of no service:"] if others else []
    for task in sorted(others, key=lambda task: task.name):
        lines += _stack(task)
    return "\n".join(lines)


def _below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _below(child)


def _stack(task: trio.lowlevel.Task) -> Iterator[str]:
    yield f"    task {task.name}"
    frames = list(task.iter_await_frames())
    # How trio puts a task to sleep, and how we came to the user's code, is the same everywhere.
    while len(frames) > 1 and _is_of("trio.", frames[-1]):
        frames.pop()
    while len(frames) > 1 and _is_of("trioservice.run", frames[0]):
        frames.pop(0)
    for frame, number in frames:
        code = frame.f_code
        yield f"        {code.co_filename}:{number} in {code.co_qualname}"
        line = linecache.getline(code.co_filename, number, frame.f_globals).strip()
        if line:
            yield f"            {line}"


def _is_of(module: str, where: tuple[FrameType, int]) -> bool:
    return str(where[0].f_globals.get("__name__")).startswith(module)
