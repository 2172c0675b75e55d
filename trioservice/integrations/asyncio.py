"""asyncio in a tree: what was written for asyncio's loop as a leaf.

::

    async def serve_files(task_status):
        server = aioftp.Server()
        await server.start("127.0.0.1", 2121)
        task_status.started()
        try:
            await asyncio.Event().wait()  # for ever: a stop is a cancellation
        finally:
            await server.close()

    application = Application("office", AsyncioService(serve_files))

Each leaf has a loop of its own, by the library trio-asyncio, so the tasks that one of them has left lying
about end with it and not with another.

The library is an extra: ``pip install 'trioservice[asyncio]'``.  Where it cannot be imported, the way round
is open: asyncio's loop runs the program and trio is its guest (docs/howto/live-in-another-loop.md).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from ..errors import ServiceError
from ..service import TaskService

__all__ = ["AsyncioService", "library", "open_loop"]


class AsyncioService(TaskService):
    """A leaf made from an asyncio function: ``AsyncioService(async_fn, *args)``.

    As with :class:`~trioservice.service.TaskService`, a function that takes ``task_status`` is ready when
    it calls ``task_status.started()``, any other when it first runs; when it returns, the service is
    finished; what it raises is a failure of the service.  When it is stopped it is cancelled, as
    asyncio cancels a task, and may await what it has to close.

    An error in a task or a callback that nobody awaits is logged by ``asyncio``, as it always is, under the
    path of the service.

    Args:
        async_fn: the function; ``functools.partial`` gives it keyword arguments.
        *args: its arguments.
        drain: an asyncio function without arguments, called in the same loop before the cancellation:
            it finishes what there is to finish.
        name: by default the function's name.
        start_timeout: as for :class:`~trioservice.service.Service`, like the other options.
        drain_timeout: seconds for *drain*.
        stop_timeout: as for :class:`~trioservice.service.Service`.

    Raises:
        ImportError: trio-asyncio is not installed.
        ServiceError: it does not know this Python.
        TypeError: *async_fn* or *drain* is no function.
    """

    def __init__(
        self,
        async_fn: Callable[..., Awaitable[object]],
        *args: object,
        drain: Callable[[], Awaitable[object]] | None = None,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        super().__init__(
            async_fn,
            *args,
            name=name,
            start_timeout=start_timeout,
            drain_timeout=drain_timeout,
            stop_timeout=stop_timeout,
        )
        if not (drain is None or callable(drain)):
            raise TypeError(f"drain is an asyncio function, or None, not {drain!r}")
        self._library = library()
        self._drain = drain
        self._loop: Any = None

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """Await the function in a loop of its own."""
        run = super().run
        async with open_loop() as self._loop:
            await self._library.aio_as_trio(run)(task_status)

    async def drain(self) -> None:
        """Await what was given as *drain*, in the loop of this run."""
        if self._drain is not None:
            await self._loop.run_aio_coroutine(self._drain())


def library() -> Any:
    """The module ``trio_asyncio``.

    Raises:
        ImportError: it is not installed.
        ServiceError: it does not know this Python.
    """
    if sys.version_info >= (3, 14):
        raise ServiceError(
            "asyncio in a tree needs trio-asyncio, which does not know Python 3.14 and later; there, let "
            "asyncio's loop run the program and trio be its guest (docs/howto/live-in-another-loop.md)"
        )
    try:
        import trio_asyncio
    except ImportError as error:
        raise ImportError(
            "asyncio in a tree needs the library trio-asyncio, which cannot be imported: pip install "
            "'trioservice[asyncio]'; without it, asyncio's loop can run the program, with trio as its guest "
            "(docs/howto/live-in-another-loop.md)",
            name="trio_asyncio",
        ) from error
    _let_all_see_its_loops()
    return trio_asyncio


def _let_all_see_its_loops() -> None:
    """Give to all modules what trio-asyncio has put in the place of asyncio's functions.

    Those that were imported before it, and have ``from asyncio import get_running_loop``, hold asyncio's own,
    written in C, which would tell them that no loop is running.
    """
    import asyncio

    written_in_c = sys.modules.get("_asyncio", asyncio)  # where it is
    replaced = {
        name: (own, theirs)
        for name, own in vars(written_in_c).items()
        if (theirs := getattr(asyncio, name, own)) is not own and not name.startswith("__")
    }
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        for name, (own, theirs) in replaced.items():
            if names.get(name) is own and module is not written_in_c:
                setattr(module, name, theirs)


@asynccontextmanager
async def open_loop() -> AsyncIterator[Any]:
    """One of asyncio's loops beside trio, as asyncio itself would have it."""
    async with library().open_loop() as loop:
        loop.set_exception_handler(_log)
        loop.run_in_executor = _in_any_executor(loop)
        yield loop


def _in_any_executor(loop: Any) -> Callable[..., Any]:
    """Its ``run_in_executor``, for executors of users, too; trio-asyncio knows none but its own."""
    from asyncio import BaseEventLoop

    in_its_own = loop.run_in_executor

    def run_in_executor(executor: Any, function: Callable[..., Any], *args: object) -> Any:
        if executor is None:
            return in_its_own(None, function, *args)
        return BaseEventLoop.run_in_executor(loop, executor, function, *args)

    return run_in_executor


def _log(loop: Any, context: dict[str, Any]) -> None:
    """Do as asyncio does; trio-asyncio would end the loop, and the service, for a peer's fault (L16)."""
    from asyncio import BaseEventLoop

    BaseEventLoop.default_exception_handler(loop, context)
