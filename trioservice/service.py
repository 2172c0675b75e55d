"""Service, TaskService, MultiService: the three nouns everything is built from.

A *leaf* is one trio task: override ``run``, say ``task_status.started()`` when it can do its
work, and let cancellation end it.  A *branch*, MultiService, is one trio nursery whose tasks
are its children: it starts them one at a time in order, each when the one before is ready,
and stops them in reverse, each when the one after is wholly gone.  A branch is a service
like any other, so trees of any depth behave as one.

This file is the durable half: names, parents, options, and what a user may ask of a service.
What happens during one run of it lives in :mod:`trioservice.run`.  The rules that are cited
as L1 to L21 are the contract, in the documentation's page on the life of a service.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import ClassVar

import trio
from trio.lowlevel import enable_ki_protection

from .errors import (
    ServicesFailed,
    ServiceStateError,
    StartInterrupted,
    TreeError,
    UnknownServiceError,
    failed,
)
from .events import Event, Events
from .lifecycle import State
from .run import Branch, Host, Promise, Root, Run, Tree, call_off, current_service, walk

__all__ = ["MultiService", "Service", "TaskService", "current_service"]


class Service:
    """Anything that can be started and stopped; by itself, a leaf: one trio task.

    Override :meth:`run`::

        class Clock(Service):
            async def run(self, task_status):
                task_status.started()
                while True:
                    print(trio.current_time())
                    await trio.sleep(1)

    A service can be run alone (``await service.main()``), as a child of a :class:`MultiService`,
    or below an :class:`~trioservice.application.Application`.

    Args:
        name: how it is called among its siblings: not empty, no ``/``.  By default the name of
            its class, with a number where that is taken.
        start_timeout: seconds within which it must be ready, else the start has failed;
            ``None`` for no limit.
        drain_timeout: seconds that :meth:`drain` may take before it is cut; ``None`` for no
            limit of its own.  Every ancestor's budget bounds it too (rule L10).
        stop_timeout: seconds after its cancellation from which it is reported, again and
            again, for not being gone (rule L11).

    Raises:
        TreeError: the name cannot be one.
        ValueError: a timeout is no number of seconds.
    """

    _is_root: ClassVar[bool] = False
    _binds: ClassVar[bool] = False
    _drains: ClassVar[bool] = False
    _reloads: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._binds = cls.privileged_start is not Service.privileged_start
        cls._drains = cls.drain is not Service.drain
        cls._reloads = cls.on_reload is not Service.on_reload

    def __init__(
        self,
        *,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        self._name = self._given_name = None if name is None else _checked_name(name)
        self._parent: MultiService | None = None
        self._state = State.STOPPED
        self._run: Run | None = None
        self._promise: Promise | None = None
        self.start_timeout = None if start_timeout is None else _seconds("start_timeout", start_timeout)
        self.drain_timeout = (
            math.inf if drain_timeout is None else _seconds("drain_timeout", drain_timeout, zero=True)
        )
        self.stop_timeout = _seconds("stop_timeout", stop_timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r} {self._state.value}>"

    # ---- what a leaf is made of

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """The life of a leaf: this is the one method to override.

        Call ``task_status.started()`` when the service can do its work; until then nothing that
        stands after it is started.  Then work, until cancelled.  Returning means *finished*,
        raising means *failed*; returning without having called ``started()`` is an error.

        As it stands, a service is ready at once and stays until it is stopped.
        """
        task_status.started()
        await trio.sleep_forever()

    async def privileged_start(self, stack: AsyncExitStack) -> None:
        """Acquire what needs privileges or must be known early, and push it on *stack* (rule L18).

        Called once in the whole tree before anything is run, with the rights the process was
        started with.  What is on *stack* survives restarts of the service, and is released when
        the service leaves the tree or the tree ends.  A MultiService may have one too; its
        children come after it.
        """

    async def drain(self) -> None:
        """Finish what there is, take nothing new, and return when nothing is left (rule L10).

        Called in a task of its own while ``run`` goes on; ``run`` is cancelled when this returns
        or when the drain's time is up.  Leaves only.
        """

    async def on_reload(self) -> None:
        """Read again what was read from files: certificates, lists, settings.

        Called while the service runs, by :meth:`Application.reload
        <trioservice.application.Application.reload>`, which ``trioservice run`` does on SIGHUP.
        If it raises, that is told, and the service goes on with what it had.
        """

    async def main(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the service, and all below it, as the root of a tree: its whole life.

        ``await nursery.start(service.main)`` returns when it is ready, with the value that it
        gave to ``started(value)``.  Not to be overridden.

        Raises:
            ServiceStateError: it runs already, or its parent does (rule L1).
            ServicesFailed: services failed; one flat group (rule L14).
            StartInterrupted: somebody awaits its readiness, and a stop came first (rule L2).
        """
        await self._root().main(task_status)

    # ---- its place in the tree

    @property
    def name(self) -> str:
        """How it is called among its siblings."""
        return self._name if self._name is not None else self._default_name()

    @property
    def parent(self) -> MultiService | None:
        """The MultiService it is a child of."""
        return self._parent

    @property
    def path(self) -> str:
        """The names from the root, joined by ``/``; a run keeps the path with which it began."""
        if self._run is not None:
            return self._run.path
        return self.name if self._parent is None else f"{self._parent.path}/{self.name}"

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    @property
    def running(self) -> bool:
        """Whether it is ready and nobody has asked it to stop."""
        return self._state is State.RUNNING

    @property
    def in_progress(self) -> str:
        """What a stop would have to wait for, in words like ``3 connections``; empty if that is nothing.

        For people who look on.  To be overridden together with :meth:`drain`.
        """
        return ""

    @property
    def drain_deadline(self) -> float:
        """When its drain is cut, on trio's clock; infinite while no end of it is in sight."""
        return math.inf if self._run is None else self._run.deadline

    def set_name(self, name: str) -> None:
        """Name a service that has no parent and does not run.

        Raises:
            ServiceStateError: it runs.
            TreeError: the name cannot be one, or the service has a parent, which knows it by the old one.
        """
        if self._run is not None:
            raise ServiceStateError(f"{self.path!r} cannot be renamed while it is {self._state.value}")
        if self._parent is not None:
            raise TreeError(
                f"{self.path!r} has a parent that knows it by this name; name it before adding it"
            )
        self._name = self._given_name = _checked_name(name)

    @enable_ki_protection
    def set_service_parent(self, parent: MultiService) -> None:
        """Become the last child of *parent*; the same as ``parent.add_service(self)``."""
        parent.add_service(self)

    async def disown_service_parent(self) -> None:
        """Stop, and leave the parent; the same as ``await parent.remove_service(self)``."""
        if self._parent is None:
            raise TreeError(f"{self.path!r} has no parent that it could leave")
        await self._parent.remove_service(self)

    # ---- what may be asked of it

    @enable_ki_protection
    async def start(self) -> None:
        """Start it again in its running parent, and wait until it is ready.

        One that is ready already is left alone; one that is stopping is started when it has
        stopped.

        Raises:
            ServiceStateError: no running parent; or the caller is what it would wait for.
            ServicesFailed: it failed to start.
            StartInterrupted: a stop came first.
        """
        run, host = self._run, self._running_parent("started")
        if self._state is State.RUNNING:
            await trio.lowlevel.checkpoint()
            return
        promise = self._promised()
        if run is None:
            if self not in host.pending:
                host.start_again(self)
        elif run.stop_asked:
            run.again = True
        await promise.wait()

    @enable_ki_protection
    async def stop(self, *, drain: bool = True) -> None:
        """Ask it to stop, and wait until it and all below it are gone.

        In any state, any number of times; everybody who calls waits for the same end.  Called
        from within the service's own tasks it makes the request and returns at once (rule L4).
        In a parent that is stopping, the child's turn is awaited.

        Args:
            drain: let it finish what it has, within ``drain_timeout``; ``False`` cancels at once.

        Raises:
            ServicesFailed: a child that was stopped alone raised while stopping (rule L13).
        """
        run = self._run
        if run is None:
            self._give_up_turn()
            await trio.lowlevel.checkpoint()
            return
        run.host.stop_child(run, drain=drain, reason="stop() was called")
        if run.within() or run.host.waits_for_caller(run):
            return
        await run.wait_gone()
        if run.alone and run.plain_errors():
            raise failed(run.path, run.plain_errors())

    @enable_ki_protection
    async def restart(self) -> None:
        """Stop it and start it again in its running parent; what it has bound stays bound.

        Called from within the service's own tasks it makes the request and returns at once.

        Raises:
            ServiceStateError: no running parent.
            ServicesFailed: it failed to start, or raised while stopping; in that case it runs again.
            StartInterrupted: a stop came first.
        """
        run, host = self._run, self._running_parent("restarted")
        if run is None:
            await self.start()
            return
        host.stop_child(run, drain=True, reason="restart() was called")
        run.again = True
        if run.within():
            return
        try:
            await self._promised().wait()
        except (ServicesFailed, StartInterrupted) as failure:
            raise _joined(run.path, failure, run.plain_errors() if run.alone else []) from None
        if run.alone and run.plain_errors():
            raise failed(run.path, run.plain_errors())

    async def wait_running(self) -> None:
        """Wait until it is ready: at once if it is, else for the outcome of its present or next start.

        Raises:
            ServicesFailed: it failed to start.
            StartInterrupted: a stop came first.
            ServiceStateError: the caller is what it would wait for.
        """
        if self._state is State.RUNNING:
            await trio.lowlevel.checkpoint()
            return
        await self._promised().wait()

    async def wait_stopped(self) -> None:
        """Wait until the present run, if there is one, is over.

        Raises:
            ServiceStateError: the caller is what it would wait for.
        """
        if self._run is None:
            await trio.lowlevel.checkpoint()
            return
        if self._run.within():
            raise ServiceStateError(
                f"{self.path!r} would wait for its own end for ever; ask it to stop instead"
            )
        await self._run.wait_gone()

    @enable_ki_protection
    def emit(self, event: Event) -> None:
        """Tell the listeners of the tree in which this service runs; nobody, where it does not run."""
        if self._run is not None:
            self._run.tree.emit(event)

    # ---- between the durable half and its runs

    def _root(self) -> Root:
        self._require_free()
        return Root(self, Events())

    def _make_run(self, host: Host) -> Run:
        return Run(self, host)

    def _children(self) -> tuple[Service, ...]:
        return ()

    def _default_name(self) -> str:
        return type(self).__name__

    def _require_free(self) -> None:
        """Refuse a main while another life of this, of what it is in, or of what is in it, goes on."""
        if self._run is not None:
            raise ServiceStateError(f"{self.path!r} is {self._state.value} already; one main at a time")
        above = self._parent
        while above is not None:
            if above._run is not None:
                raise ServiceStateError(f"{self.path!r} belongs to {above.path!r}, which runs it")
            above = above._parent
        self._require_none_running(f"{self.path!r} cannot run it")

    def _require_none_running(self, consequence: str) -> None:
        for part in walk(self):
            if part._run is not None:
                raise ServiceStateError(f"{part.path!r} runs on its own, so {consequence}; stop it first")

    def _running_parent(self, what: str) -> Branch:
        host = self._parent._run if self._parent is not None else None
        if host is None:
            raise ServiceStateError(
                f"{self.path!r} can be {what} in a running parent only; a root is `await main()`"
            )
        if not host.takes_children():
            raise ServiceStateError(f"{self.path!r} cannot be {what}: {host.path!r} is stopping")
        return host

    def _give_up_turn(self) -> None:
        """Let a start that has not begun yet not begin at all."""
        host = self._parent._run if self._parent is not None else None
        if host is not None and self in host.pending:
            host.pending.remove(self)
            call_off(self, self.path)

    def _promised(self) -> Promise:
        """What becomes of the present start, or of the next."""
        self._refuse_to_wait_for_oneself()
        if self._promise is None:
            self._promise = Promise()
        return self._promise

    def _refuse_to_wait_for_oneself(self) -> None:
        """Nobody waits for ever (rule L2): neither for oneself nor for what starts after oneself."""
        if self._run is not None and self._run.within():
            raise ServiceStateError(
                f"{self.path!r} would wait for itself for ever; call task_status.started() first, "
                "or ask for restart(), which does not wait within the service"
            )
        caller = current_service()
        run = caller._run if caller is not None else None
        while run is not None and not run.ready and run.within():
            if self._comes_after(run):
                raise ServiceStateError(
                    f"{run.path!r}, which is itself not ready yet, would wait for {self.path!r} for ever; "
                    "call task_status.started() first, or use add_service, which does not wait"
                )
            run = run.host if isinstance(run.host, Branch) else None

    def _comes_after(self, run: Run) -> bool:
        """Whether its turn, or that of a branch it is in, comes only when *run* is ready."""
        host = run.host
        if not isinstance(host, Branch) or host.turn is not run.service:
            return False
        service: Service | None = self
        while service is not None and service not in host.pending:
            service = service._parent
        return service is not None

    def _keep_promise(self) -> None:
        if self._promise is not None:
            self._promise.keep()
            self._promise = None

    def _break_promise(self, failure: Callable[[], Exception]) -> None:
        if self._promise is not None:
            self._promise.fail(failure)
            self._promise = None


class TaskService(Service):
    """A leaf made from a trio function: ``TaskService(async_fn, *args)``.

    If the function takes ``task_status``, it is ready when it calls ``task_status.started()``,
    as with ``nursery.start``; else it is ready when it first runs.

    Args:
        async_fn: the function; ``functools.partial`` gives it keyword arguments.
        *args: its arguments.
        name: by default the function's name.
        start_timeout: as for :class:`Service`, like the other options.
        drain_timeout: of no use here, as there is no drain.
        stop_timeout: as for :class:`Service`.

    Example::

        Application("shop", TaskService(trio.serve_tcp, handler, 8080), TaskService(watch_stock, db))
    """

    def __init__(
        self,
        async_fn: Callable[..., Awaitable[object]],
        *args: object,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        if not callable(async_fn):
            close = getattr(async_fn, "close", lambda: None)
            close()  # a coroutine that nobody will await should not complain of that as well
            raise TypeError(
                f"TaskService wants an async function and its arguments, not {async_fn!r}; "
                "write TaskService(fn, arg) where TaskService(fn(arg)) was meant"
            )
        self._async_fn = async_fn
        self._args = args
        self._says_when_ready = _takes_task_status(async_fn)
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """Await the function."""
        if self._says_when_ready:
            awaitable = self._async_fn(*self._args, task_status=task_status)
        else:
            task_status.started()
            awaitable = self._async_fn(*self._args)
        if not inspect.isawaitable(awaitable):
            raise TypeError(
                f"TaskService wants an async function, but {self._async_fn!r} returned {awaitable!r}"
            )
        await awaitable

    def _default_name(self) -> str:
        return name_of(self._async_fn)


def name_of(fn: Callable[..., object]) -> str:
    """What a service that calls *fn* is called, unless it is given a name."""
    inner = inspect.unwrap(getattr(fn, "func", fn))
    name = getattr(inner, "__name__", type(inner).__name__)
    return str(name).strip("<>")  # "<lambda>" in a path is hard to type


class MultiService(Service):
    """A branch: it starts its children in order and stops them in reverse.

    Args:
        *children: the first children, in start order.
        name: as for :class:`Service`.
        keep_running: stay when all children have finished, instead of being finished too (rule L15).
        start_timeout: seconds within which the last child must be ready.
        drain_timeout: bounds all drains below, together; by default they have their own limits only.
        stop_timeout: as for :class:`Service`.

    Example::

        MultiService(TaskService(pool), MultiService(TaskService(api), TaskService(admin), name="web"))
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for method in ("run", "drain"):
            if getattr(cls, method) is not getattr(MultiService, method):
                raise TypeError(
                    f"{cls.__name__} overrides {method}(), which is for leaves: a MultiService runs "
                    "its children and nothing else. Put that code into a child."
                )

    def __init__(
        self,
        *children: Service,
        name: str | None = None,
        keep_running: bool = False,
        start_timeout: float | None = None,
        drain_timeout: float | None = None,
        stop_timeout: float = 5.0,
    ) -> None:
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )
        self._run: Branch | None = None
        self._by_name: dict[str, Service] = {}
        self.keep_running = keep_running
        for child in children:
            self.add_service(child)

    # ---- its children

    @enable_ki_protection
    def add_service(self, child: Service) -> None:
        """Make *child* the last child; if this runs, it is started at once in the background (rule L9).

        Raises:
            TreeError: the name is taken, *child* has a parent, is an Application, or this is below it.
            ServiceStateError: this is stopping, or *child* runs on its own.
        """
        self._attach(child)
        if self._run is not None:
            self._run.admit(child)

    @enable_ki_protection
    async def start_service(self, child: Service) -> None:
        """Add *child*, start it and wait until it is ready.

        If it fails to start, or the wait is cancelled, it is stopped and is not left here; its
        errors come out of this call and concern nobody else.

        Raises:
            ServiceStateError: this does not run, is stopping, or waits for the caller to be ready.
            TreeError: as in :meth:`add_service`.
            ServicesFailed: it failed to start.
            StartInterrupted: a stop came first.
        """
        host = self._run
        if host is None:
            raise ServiceStateError(
                f"{self.path!r} does not run, so nothing can be started in it; use add_service"
            )
        self._attach(child)
        try:
            host.admit(child, private=True)
            await child.wait_running()
        except BaseException as failure:  # noqa: BLE001 - it comes out again, with what else went wrong
            # Structured concurrency: it must be gone before the caller goes on.  No deadline, as
            # for every stop: no drain, one cancellation, and a report while it does not obey it.
            path = child.path
            with trio.CancelScope(shield=True):
                errors = await self._dismiss(child)
            raise _joined(path, failure, errors) from None

    @enable_ki_protection
    async def remove_service(self, child: Service) -> None:
        """Stop *child* and let it go, with what it had bound.

        Called from within the child's own tasks it makes the request and returns at once.

        Raises:
            TreeError: it is no child of this one.
            ServicesFailed: it raised while stopping; it has left all the same.
        """
        if child._parent is not self:
            raise TreeError(f"{child.path!r} is no child of {self.path!r}")
        run = child._run
        if run is None:
            path, errors = child.path, await self._let_go(child)
            if errors:
                raise failed(path, errors)
            return
        if run.host is not self._run:
            raise ServiceStateError(f"{child.path!r} runs on its own; stop it before removing it")
        run.leaving = True
        await child.stop()

    def get_service_named(self, name: str) -> Service:
        """The child of that name.

        Raises:
            UnknownServiceError: there is none; it is a KeyError too.
        """
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(self._by_name) or "no children"
            raise UnknownServiceError(f"{self.path!r} has no child named {name!r}; it has: {known}") from None

    def __getitem__(self, name: str) -> Service:
        return self.get_service_named(name)

    def __iter__(self) -> Iterator[Service]:
        return iter(self._children())

    def __len__(self) -> int:
        return len(self._by_name)

    def __bool__(self) -> bool:
        return True  # a MultiService without children is not nothing

    def __contains__(self, child: object) -> bool:
        """Whether a service, or one of that name, is a child."""
        if isinstance(child, Service):
            return child._parent is self
        return child in self._by_name

    # ---- between the durable half and its runs

    def _make_run(self, host: Host) -> Branch:
        return Branch(self, host)

    def _children(self) -> tuple[Service, ...]:
        return tuple(self._by_name.values())

    def _attach(self, child: Service) -> None:
        """Check everything, then change something (rule L21)."""
        if not isinstance(child, Service):
            raise TypeError(f"{self.path!r} takes services as children, not {child!r}")
        if not hasattr(child, "_state"):
            raise TypeError(f"{type(child).__name__} has an __init__ that does not call super().__init__()")
        if child._parent is not None:
            raise TreeError(
                f"{child.path!r} has a parent already; `await child.disown_service_parent()` first"
            )
        if child._is_root:
            raise TreeError(
                f"{child.name!r} is an Application, which is a root; use a MultiService as a child"
            )
        if any(self is part for part in walk(child)):
            raise TreeError(f"{self.path!r} is {child.name!r} or below it, so it cannot be its parent")
        if self._run is not None and not self._run.takes_children():
            doing = "is stopping" if self._run.stop_asked else "has finished"
            raise ServiceStateError(f"{self.path!r} {doing} and takes no children")
        child._require_none_running(f"{child.name!r} cannot be added to {self.path!r}")
        name = child.name
        if child._given_name is None:
            name = next(free for free in _numbered(name) if free not in self._by_name)
        elif name in self._by_name:
            raise TreeError(
                f"{self.path!r} has a child named {name!r} already; give one of them another name"
            )
        self._by_name[name] = child
        child._name = name
        child._parent = self

    def _detach(self, child: Service) -> None:
        del self._by_name[child.name]
        child._name = child._given_name
        child._parent = None

    async def _let_go(self, child: Service) -> list[Exception]:
        """Remove a child that does not run, release what it has bound, and return what that raised."""
        tree, path = self._running_tree(), child.path
        if self._run is not None:
            self._run.forget(child)
        else:
            self._detach(child)
            call_off(child, path)
        if tree is None:
            await trio.lowlevel.checkpoint()
            return []
        errors = await tree.release(walk(child))
        tree.emit_errors(errors, path, "releasing", alone=True)
        for error in errors:
            if not isinstance(error, Exception):
                raise error  # L17: what ends programs is nobody's private matter
        return [error for error in errors if isinstance(error, Exception)]

    def _running_tree(self) -> Tree | None:
        """The tree in which this has, or will have, its turn."""
        service: Service | None = self
        while service is not None and service._run is None:
            service = service._parent
        return None if service is None or service._run is None else service._run.tree

    async def _dismiss(self, child: Service) -> list[Exception]:
        """See that a child whose start has come to nothing is gone and removed; return its errors."""
        if child._parent is not self:
            return []
        run = child._run
        if run is None:
            return await self._let_go(child)
        run.leaving = True
        run.host.stop_child(run, drain=False, reason="its start was given up")
        await run.wait_gone()
        return run.plain_errors()


def _joined(path: str, failure: BaseException, errors: list[Exception]) -> BaseException:
    """*failure*, and beside it those of *errors* that it does not hold already."""
    held = list(failure.exceptions) if isinstance(failure, ServicesFailed) else [failure]
    others = [error for error in errors if error not in held]
    if not others:
        return failure
    parts = [*held, *others]
    plain = [part for part in parts if isinstance(part, Exception)]
    if len(plain) == len(parts):
        return failed(path, plain)
    return BaseExceptionGroup(f"{path}: not started, and failed", parts)


def _checked_name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a service is a string, not {name!r}")
    if not name or "/" in name or not name.isprintable():
        raise TreeError(f"{name!r} cannot be a name: it is a printable string, not empty, without '/'")
    return name


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count(2):
        yield f"{name}-{number}"


def _seconds(option: str, value: float, *, zero: bool = False) -> float:
    if not isinstance(value, int | float) or not (value > 0 or (zero and value == 0)):
        raise ValueError(
            f"{option} is a number of seconds {'from' if zero else 'above'} 0, or None, not {value!r}"
        )
    return float(value)


def _takes_task_status(async_fn: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(async_fn).parameters
    except (TypeError, ValueError):  # some callables of C have no signature to look at
        return False
    return "task_status" in parameters
