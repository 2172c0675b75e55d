"""Twisted in a tree: its applications and services as leaves.

::

    site = internet.TCPServer(8080, server.Site(static.File("/srv/www")))
    application = Application("shop", TaskService(watch_stock), TwistedService(site, name="web"))

So somebody who has a Twisted application runs it as it is, as one leaf, and moves it over service by
service.  ``trioservice.integrations.reactor`` tells how the reactor lives beside trio.

Twisted is an extra: ``pip install 'trioservice[twisted]'``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from contextvars import copy_context
from functools import cached_property
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

import trio

from ..application import Application
from ..errors import ServiceError
from ..service import Service

if TYPE_CHECKING:
    from types import ModuleType

    from .reactor import TrioReactor

__all__ = ["TwistedService", "adopted", "install", "reactor_on_demand", "wait_for"]


def install() -> TrioReactor:
    """Install the reactor that runs beside trio, if it is not there.

    To be called by a program that imports ``twisted.internet.reactor`` before it makes its first
    :class:`TwistedService`.  ``trioservice run`` does so by itself.

    Raises:
        ImportError: Twisted is not installed.
        ServiceError: there is another reactor in this process, or this is not Linux.
    """
    if sys.platform != "linux":
        raise ServiceError("Twisted's services run beside trio by epoll, which only Linux has")
    try:
        from .reactor import the_reactor
    except ModuleNotFoundError as error:
        raise ImportError(
            "TwistedService needs Twisted, which cannot be imported: pip install 'trioservice[twisted]'",
            name=error.name,
        ) from error
    return the_reactor()


class TwistedService(Service):
    """A leaf that is one of Twisted's services, or a whole Twisted application.

    Its ``privilegedStartService`` is called when the tree is bound (rule L18), its ``startService`` when
    it is its turn; then it is ready.  When it is stopped, the Deferred of its ``stopService`` is awaited.
    If Twisted's code calls ``reactor.stop()``, each TwistedService of the process is stopped and is
    finished.

    What goes wrong in Twisted's callbacks is logged, under the service's path, and goes no further.

    Args:
        theirs: what Twisted made: an application, or anything that provides ``IService``.  It
            must have no parent.
        name: by default the one that it has in Twisted.
        start_timeout: of little use here; ``startService`` does not wait.
        drain_timeout: seconds for ``stopService``.
        stop_timeout: seconds for ``stopService`` where there is no drain.

    Raises:
        ImportError: Twisted is not installed.
        ServiceError: this process has another reactor.
        TypeError: *theirs* is none of Twisted's.

    Example::

        TwistedService(internet.TimerService(60, refresh), name="refresh")
    """

    def __init__(
        self,
        theirs: object,
        *,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        self._reactor = install()
        self._theirs = _service_in(theirs)
        if self._theirs is None:
            raise TypeError(f"TwistedService wants an application or a service of Twisted's, not {theirs!r}")
        self._bound = False  # privileged, and not yet started
        self._end = _End(self._theirs)
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )

    def _default_name(self) -> str:
        return str(self._theirs.name or "twisted").replace("/", "-")

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Let it bind its ports."""
        self._bound = True
        stack.push_async_callback(self._release)
        self._theirs.privilegedStartService()

    async def _release(self) -> None:
        """What was bound and never started is stopped all the same."""
        if self._bound:
            self._bound = False
            async with self._reactor.in_use(self.stop_timeout):
                await self._stopped(_End(self._theirs))

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Start it, and be there until it has stopped.

        Raises:
            ServiceError: it has not stopped in time, or another trio run has the reactor.
        """
        end = self._end = _End(self._theirs)
        async with self._reactor.in_use(self.stop_timeout):
            trigger = self._reactor.addSystemEventTrigger("before", "shutdown", end.ask)
            try:
                self._start()
                task_status.started()
                await self._reactor.over.wait()
            finally:
                if not self._reactor.over.is_set():
                    self._reactor.removeSystemEventTrigger(trigger)
                await self._stopped(end)

    async def drain(self) -> None:
        """Ask it to stop, and wait until it has."""
        self._end.ask()
        await self._end.gone.wait()

    def _start(self) -> None:
        if not self._bound:
            self._theirs.privilegedStartService()
        self._bound = False
        self._theirs.startService()

    async def _stopped(self, end: _End) -> None:
        with trio.move_on_after(self.stop_timeout, shield=True):
            end.ask()
            await end.gone.wait()
        if not end.gone.is_set():
            raise ServiceError(f"its stopService has not come to an end within {self.stop_timeout} s")
        if end.failure is not None:
            raise end.failure


class _End:
    """The end of one run of a Twisted service: asked for once, awaited by many."""

    def __init__(self, theirs: Any) -> None:
        self.gone = trio.Event()
        self.failure: BaseException | None = None
        self._theirs = theirs
        self._context = copy_context()  # in whose name it is stopped, whoever asks

    def ask(self) -> Any:
        """Have it stopped; a Deferred of that."""
        return self._done

    @cached_property
    def _done(self) -> Any:
        from twisted.internet.defer import Deferred, maybeDeferred

        done: Deferred[None] = Deferred()

        def tell(outcome: object) -> None:
            self.failure = getattr(outcome, "value", None)
            self.gone.set()
            done.callback(None)

        self._context.run(maybeDeferred, self._theirs.stopService).addBoth(tell)
        return done


async def wait_for(deferred: Any) -> Any:
    """The result of a Deferred, for a trio task; whoever is cancelled meanwhile cancels the Deferred.

    Args:
        deferred: one of Twisted's, which this consumes: nobody else is to add a callback afterwards.

    Raises:
        Exception: what the Deferred failed with.

    Example::

        page = await wait_for(getPage(url))
    """
    fired = trio.Event()
    outcome: list[Any] = []

    def tell(result: object) -> None:
        outcome.append(result)
        fired.set()

    deferred.addBoth(tell)
    try:
        await fired.wait()
    except trio.Cancelled:
        deferred.cancel()
        raise
    from twisted.python.failure import Failure

    (result,) = outcome
    if isinstance(result, Failure):
        assert result.value is not None
        raise result.value
    return result


# ---- where a file or a module is loaded that may be Twisted's


def adopted(found: object) -> object:
    """*found* as an Application of ours if it is an application or a service of Twisted's, else as it is."""
    if "twisted.application.service" not in sys.modules:
        return found  # so nobody has made one
    theirs = _service_in(found)
    if theirs is None:
        return found
    from twisted.application.service import IProcess

    process: Any = IProcess(found, None)
    leaf = TwistedService(found)
    name = leaf.name
    leaf.set_name("twisted")
    return Application(name, leaf, uid=getattr(process, "uid", None), gid=getattr(process, "gid", None))


def _service_in(found: object) -> Any:
    try:
        from twisted.application.service import IService
    except ModuleNotFoundError:
        return None
    return IService(found, None)


@contextmanager
def reactor_on_demand() -> Iterator[None]:
    """Whoever asks for ``twisted.internet.reactor`` meanwhile, and finds none, is given ours."""
    demand = _Demand()
    sys.meta_path.insert(0, demand)
    try:
        yield
    finally:
        sys.meta_path.remove(demand)


class _Demand:
    """Stands in for the module by which Twisted chooses a reactor when nobody has."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == "twisted.internet.reactor" else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        del sys.modules[module.__name__]  # as Twisted's own does: the reactor takes its place
        install()
