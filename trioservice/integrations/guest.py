"""A tree in an asyncio program: asyncio's loop runs, and trio is its guest.

::

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(run_as_guest(application))
            ...  # the program as it was

This is the other way round from :mod:`trioservice.integrations.asyncio`.  Nothing has to be installed, and
asyncio's loop is the one that the program has chosen; trio has a thread that waits for its sockets.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from ..errors import ServiceError, StartInterrupted
from ..service import Service

__all__ = ["run_as_guest"]


async def run_as_guest(service: Service, *, ready: Callable[[Any], object] | None = None) -> None:
    """Run *service* to its end; to be awaited by an asyncio task.

    To cancel that task is to ask the tree to stop: it drains, and is cancelled in order.  To cancel it
    again cuts the drains, as a second signal does.  In any case the tree is gone before the task ends.

    An :class:`~trioservice.application.Application` obeys SIGINT and SIGTERM here as elsewhere while it
    runs, and then returns; in a program that has its own way with signals, make it with
    ``handle_signals=False``.

    Args:
        service: an Application, or any service without a parent.
        ready: called in asyncio's thread when it is ready, with the value that it is ready with.

    Raises:
        ServicesFailed: services failed.
        ServiceError: asyncio's loop itself runs on trio.
        asyncio.CancelledError: the task was cancelled, and the tree has stopped.
        StartInterrupted: it was stopped before it was ready, and *ready* was given.

    Example::

        await run_as_guest(TCPServer(7001, echo), ready=print)
    """
    import asyncio

    if trio.lowlevel.in_trio_run():
        raise ServiceError(
            "asyncio runs on trio here, since trio-asyncio has been imported, so trio cannot be its guest: "
            "choose another loop, asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)"
        )
    loop = asyncio.get_running_loop()
    guest = _Guest(service, ready)
    over: asyncio.Future[Any] = loop.create_future()
    with _woken_by_signals(loop):
        trio.lowlevel.start_guest_run(
            guest.live,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=over.set_result,
            host_uses_signal_set_wakeup_fd=True,  # asyncio, or `_woken_by_signals`
        )
        cancelled = None
        while not over.done():
            try:
                await asyncio.shield(over)
            except asyncio.CancelledError as error:
                cancelled = error
                guest.ask_to_stop()
    try:
        over.result().unwrap()
    except StartInterrupted:
        if cancelled is None:
            raise
    if cancelled is not None:
        raise cancelled


@contextmanager
def _woken_by_signals(loop: Any) -> Iterator[None]:
    """Have a signal wake *loop*; Python's handlers run when it is awake.

    A signal that arrives in the moment before the loop falls asleep would not be heard until something
    else happens.  Python writes to a descriptor against that, and asyncio has one for its own handlers only.
    """
    # Elsewhere no signal arrives; on Windows, asyncio's loop sees to it by itself.
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        loop.add_reader(ours, ours.recv, 4096)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)  # somebody has seen to it
        try:
            yield
        finally:
            now = signal.set_wakeup_fd(-1)
            if now not in (theirs.fileno(), -1):
                signal.set_wakeup_fd(now)  # asyncio's, since then
            loop.remove_reader(ours)


class _Guest:
    """What lives in trio's half, and how asyncio's half asks it to stop."""

    def __init__(self, service: Service, ready: Callable[[Any], object] | None) -> None:
        self._service = service
        self._ready = ready
        self._asked = 0
        self._token: trio.lowlevel.TrioToken | None = None

    async def live(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._asked:
            return  # before it began
        if self._ready is None:
            await self._service.main()
        else:
            await self._service.main(task_status=_Told(self._ready))

    def ask_to_stop(self) -> None:
        self._asked += 1
        if self._token is not None:
            self._token.run_sync_soon(self._ask, self._asked == 1)

    def _ask(self, drain: bool) -> None:
        run = self._service._run
        if run is not None:
            run.ask_stop(drain=drain, reason="its asyncio task was cancelled")


class _Told:
    """A ``task_status`` that tells."""

    def __init__(self, tell: Callable[[Any], object]) -> None:
        self._tell = tell

    def started(self, value: object = None) -> None:
        self._tell(value)
