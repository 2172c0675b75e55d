"""One run of a service: the throw-away half.

A :class:`~trioservice.service.Service` is the durable noun: it has a name, a parent, options.
Each time it is started, a *run* is made for it, which holds everything that must be forgotten
when the run is over (its task, its errors, its deadline), so that the next run starts clean
(rule L3).

Three classes, one idea:

* A :class:`Run` is the run of a leaf: one trio task around the user's ``run``.  It is asked to
  stop (:meth:`Run.ask_stop`), drains if it has a drain, is then cancelled, and ends.
* A :class:`Branch` is the run of a MultiService: one trio nursery, and one task that conducts.
  It starts the children one by one, waits, and stops them one by one in reverse.
* A :class:`Root` is the nursery that the awaiter of ``main`` lends to the topmost run.

A *host* is what a run lives in: a Branch, or the Root.  No child knows which.

How it holds together:

*Nothing ever raises into a nursery.*  A run's task records its errors and ends; the host hears
of it by a plain call (:meth:`Branch.child_ended`).  So trio never cancels siblings in an
order of its own and never nests exception groups; all order is ours.

*Conductors are asked, never cancelled.*  Cancellation from outside is caught once, in
:meth:`Root.main`, and turned into a request to stop without drains.  Everything below sits
behind the one shield in :meth:`Root._sheltered`, which has no deadline on purpose: a stop is
bounded by its drain budget, and a service that does not react to its cancellation is
reported by path and line for as long as it stays (rule L11), because leaving it behind would
break the promise that "stopped" means gone.

*Requests are synchronous and idempotent.*  They set a flag and wake the conductor, which looks
at the flags before it sleeps; so no request is lost and none needs a task of its own.

*A child's end calls for the next.*  That a child is ready, or gone, is a plain call too, and
the next child is started, or asked to stop, within that call.  The conductor sleeps through
it, and a branch of ten thousand children costs no more task switches than it has children.

*A KeyboardInterrupt must not strike a conductor,* which would lose a wake-up and hang.  Code
that conducts is protected with ``enable_ki_protection``; the services' own code is called
through :func:`_theirs`, which lifts the protection again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from .errors import (
    NotReadyError,
    ServiceError,
    StartInterrupted,
    StartTimeoutError,
    failed,
    flatten,
    is_machinery,
    paths_of,
)
from .events import (
    DrainCut,
    ErrorRaised,
    Events,
    ReloadFailed,
    ServiceAdded,
    ServiceRemoved,
    StateChanged,
    StopOverdue,
    StopRequested,
)
from .lifecycle import MOVES, Move, State

if TYPE_CHECKING:
    from .service import MultiService, Service

_NO_TIME = -math.inf  # a drain deadline that has always passed

_current: ContextVar[Service | None] = ContextVar("trioservice.current_service", default=None)


def current_service() -> Service | None:
    """The service in whose own code the caller is: its ``run``, ``drain`` or handlers (rule L20).

    It follows the context, so tasks and ``trio.to_thread`` calls started there know it too.
    ``None`` outside of any service.
    """
    return _current.get()


def service_of(task: trio.lowlevel.Task) -> Service | None:
    """The service to which *task* belongs."""
    return task.context.get(_current)


@contextmanager
def _code_of(service: Service) -> Iterator[None]:
    token = _current.set(service)
    try:
        yield
    finally:
        _current.reset(token)


def walk(service: Service) -> Iterator[Service]:
    """*service* and everything below it, in start order."""
    yield service
    for child in service._children():
        yield from walk(child)


@disable_ki_protection
async def _theirs(async_fn: Callable[..., Awaitable[object]], *args: object) -> None:
    """Call what the user wrote, where a KeyboardInterrupt may strike."""
    await async_fn(*args)


def _is_below(part: Service, top: Service) -> bool:
    service: Service | None = part
    while service is not None and service is not top:
        service = service._parent
    return service is not None


class Host(Protocol):
    """What a run lives in."""

    path: str
    tree: Tree
    deadline: float
    watch: Watch

    def stop_child(self, run: Run, *, drain: bool, reason: str) -> None:
        """Somebody asks for the end of *run* alone."""

    def spawn(self, async_fn: Callable[[], Awaitable[None]], name: str | None = None) -> None:
        """Start a task that this host waits for."""

    def bound(self, run: Run) -> None:
        """Everything below *run* is bound, and nothing below it runs yet."""

    def child_ready(self, run: Run, value: object) -> None:
        """*run* has become ready."""

    def child_ended(self, run: Run) -> None:
        """*run* is over: its task, and everything below it, is gone."""

    def doom(self) -> None:
        """A failure below will end this host."""

    def is_stopping(self) -> bool:
        """Whether everything in this host has been asked to stop, or will be."""

    def waits_for_caller(self, run: Run) -> bool:
        """Whether the end of *run* has to wait for a task that the caller is."""

    def is_kept_from_main(self) -> bool:
        """Whether the errors of this host go to somebody else than the awaiter of ``main``."""


class Readiness:
    """The ``task_status`` of one run."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    @enable_ki_protection
    def started(self, value: object = None) -> None:
        """Say that the service is ready; *value* goes to whoever awaits that.

        Raises:
            RuntimeError: it was said before.
        """
        self._run.become_ready(value)


class Promise:
    """What awaits the next readiness of one service: told once, to all who wait (rule L2)."""

    def __init__(self) -> None:
        self._told = trio.Event()
        self._failure: Callable[[], Exception] | None = None

    def keep(self) -> None:
        """It is ready."""
        self._told.set()

    def fail(self, failure: Callable[[], Exception]) -> None:
        """It did not become ready; *failure* makes what each of those who wait is to be given."""
        self._failure = failure
        self._told.set()

    async def wait(self) -> None:
        """Wait for the outcome; raise if it is not the one that was hoped for."""
        await self._told.wait()
        if self._failure is not None:
            raise self._failure()


def interrupted(path: str) -> StartInterrupted:
    """The answer to whoever awaits the readiness of what was stopped first."""
    return StartInterrupted(f"{path} was stopped before it was ready")


def call_off(service: Service, path: str) -> None:
    """Tell whoever waits for *service*, or for anything below it, that its turn will not come."""
    service._break_promise(partial(interrupted, path))
    for child in service._children():
        call_off(child, f"{path}/{child.name}")


def _why_it_ends(path: str, errors: Sequence[BaseException]) -> str:
    """What to say of a branch that ends because *errors* came out of what is at *path*."""
    if any(isinstance(error, Exception) for error in errors):
        return f"{path} failed"
    return f"{type(errors[0]).__name__} in {path}"


def not_started(run: Run) -> Exception:
    """Why *run*, which is over, has not become ready: a stop, its errors, or both."""
    errors = run.plain_errors()
    if not errors:
        return interrupted(run.path)
    if run.interrupted:
        errors.insert(0, interrupted(run.path))
    return failed(run.path, errors)


class Tree:
    """What all runs under one root share: the stream of events, and what is bound (rule L18)."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.emit = events.emit
        self._bound: dict[Service, tuple[str, AsyncExitStack]] = {}  # with its path, in the order of binding

    def emit_errors(self, errors: Iterable[BaseException], path: str, phase: str, *, alone: bool) -> None:
        """One event for each of *errors*, under the path that it carries, or *path*."""
        for error in errors:
            where = (paths_of(error) or [path])[-1]
            self.emit(ErrorRaised(where, trio.current_time(), error, phase, alone))

    async def bind(self, run: Run) -> None:
        """Call ``privileged_start`` throughout the service of *run*, where that was not done before.

        If one fails, what this call acquired is released and the error comes out, with
        ``run.at`` telling whose it is.
        """
        fresh: list[Service] = []
        for part in walk(run.service):
            if run.stop_asked:
                return
            if not part._binds or part in self._bound or not _is_below(part, run.service):
                continue  # the tree may change while others bind
            fresh.append(part)
            run.at, stack = part.path, AsyncExitStack()
            self._bound[part] = run.at, stack
            try:
                with _code_of(part):
                    await _theirs(part.privileged_start, stack)
                if part not in self._bound:  # it left the tree while it was binding
                    run.record(await self._close(part, run.at, stack), "releasing")
            except BaseException:
                run.record(await self.release(fresh), "releasing")
                raise
        run.at = run.path

    async def reload(self, top: Service) -> int:
        """Call ``on_reload`` of what runs in and below *top*, in start order; how many of them failed."""
        failures = 0
        for part in list(walk(top)):
            run = part._run
            if not part._reloads or run is None or not run.ready or run.stop_asked:
                continue
            try:
                with _code_of(part):
                    await _theirs(part.on_reload)
            except Exception as error:  # noqa: BLE001 - told; the service goes on with what it had
                failures += 1
                self.emit(ReloadFailed(run.path, trio.current_time(), error))
        return failures

    async def release(self, parts: Iterable[Service] | None = None) -> list[BaseException]:
        """Let go, in reverse, of what *parts* (or all) have bound; return what went wrong."""
        chosen = self._bound.keys() if parts is None else self._bound.keys() & set(parts)
        errors: list[BaseException] = []
        for part in [part for part in reversed(self._bound) if part in chosen]:
            errors += await self._close(part, *self._bound.pop(part))
        return errors

    async def _close(self, part: Service, path: str, stack: AsyncExitStack) -> list[BaseException]:
        try:
            with _code_of(part), trio.move_on_after(part.stop_timeout, shield=True) as limit:
                await _theirs(stack.aclose)
            if limit.cancelled_caught:
                raise ServiceError(f"what it had bound was not released within {part.stop_timeout} s")
        except BaseException as error:  # noqa: BLE001 - returned, to come out where the stop is awaited
            return list(flatten(error, path))
        return []


class Watch:
    """Where a host sleeps: until there is news, or until a leaf is overdue (rule L11)."""

    def __init__(self) -> None:
        self._news = trio.Event()
        self._overdue: dict[Run, float] = {}  # when each leaf that was cancelled is to be reported
        self._sleep = trio.CancelScope()

    def wake(self) -> None:
        """There is news: look at the flags again."""
        self._news.set()

    def expect_end(self, run: Run) -> None:
        """*run* has just been cancelled."""
        due = self._overdue[run] = run.cancelled_at + run.service.stop_timeout
        if due < self._sleep.deadline:
            self._sleep.deadline = due

    def has_ended(self, run: Run) -> None:
        """It obeyed."""
        self._overdue.pop(run, None)

    async def sleep(self) -> None:
        """Return when there may be news."""
        self._news = trio.Event()
        with trio.CancelScope(deadline=min(self._overdue.values(), default=math.inf)) as self._sleep:
            await self._news.wait()
        now = trio.current_time()
        for run, due in list(self._overdue.items()):
            if due <= now:
                self._overdue[run] = now + run.service.stop_timeout
                elapsed = now - run.cancelled_at
                run.tree.emit(StopOverdue(run.path, now, elapsed, whereabouts(run.task)))


class Run:
    """The run of a leaf, and what all runs have in common."""

    def __init__(self, service: Service, host: Host) -> None:
        self.service = service
        self.host = host
        self.tree = host.tree
        self.path = f"{host.path}/{service.name}" if host.path else service.name
        self.at = self.path  # whose code is running: our own, but while binding those below us
        self.ready = False
        self._said_ready = False
        self.over = False
        self._gone: trio.Event | None = None  # set when over, for those who wait for that
        self.stop_asked = False
        self.alone = False  # stopped by itself, not in its parent's order: its errors go to the awaiter
        self.private = False  # started by start_service: until ready, its errors go to that caller
        self.again = False  # to be started anew when it has ended
        self.interrupted = False  # asked to stop before it was ready, and before anything had failed
        self.doomed = False  # something below it has failed, and the failure is on its way up
        self.leaving = False  # to leave its parent when it has ended
        self.deadline = math.inf  # when its drain is cut
        self.errors: list[BaseException] = []
        self.task: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None  # open while a drain may be started
        self._drain_scope: trio.CancelScope | None = None
        self._start_limit: trio.CancelScope | None = None
        self._since = trio.current_time()  # when it came into the state it is in
        self.cancelled_at = math.inf

    # ---- its life

    def begin(self) -> None:
        """Start the task; the service is STARTING from this moment on."""
        self.service._run = self
        self.move(Move.START)
        self.host.spawn(self.live, self.path)
        if self.service.start_timeout is not None:
            self.host.spawn(self._limit_start)

    @enable_ki_protection
    async def live(self) -> None:
        """The task: everything from the first to the last breath."""
        self.task = trio.lowlevel.current_task()
        _current.set(self.service)
        try:
            await self._body()
        except BaseException as error:  # noqa: BLE001 - L14: recorded here, raised by the root's main
            errors = [part for part in flatten(error, self.at) if not self._follows_from_stop(part)]
            self.record(errors, self._phase())
        if self.errors and not self.plain_errors():
            self.ask_stop(
                drain=False
            )  # Ctrl-C and sys.exit ask for the end of everything; nothing has failed
        if self.leaving:
            self.record(await self.tree.release(walk(self.service)), "releasing")
        self.end()

    def _follows_from_stop(self, error: BaseException) -> bool:
        # A leaf that awaited a start which the stop of its own tree called off has not failed.
        return self.ready and isinstance(error, StartInterrupted) and self.host.is_stopping()

    async def _body(self) -> None:
        with self.scope:
            if self.service._binds:
                await self.tree.bind(self)
            if self.stop_asked:
                return
            if self.service._drains:
                await self._run_with_drain()
            else:
                await _theirs(self.service.run, Readiness(self))
        if not self.ready and not self.stop_asked:
            raise NotReadyError(
                "returned without having become ready; call task_status.started() once it can do its work"
            )

    async def _run_with_drain(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await _theirs(self.service.run, Readiness(self))
            finally:
                # Nothing is left that a drain could wait for; and from here on none may begin.
                self._nursery = None
                nursery.cancel_scope.cancel(reason=f"{self.path} has returned")

    def end(self) -> None:
        """Become what the run has come to, and let the host and everybody else know."""
        self.over = True
        self.service._run = None
        if self._start_limit is not None:
            self._start_limit.cancel()
        self.move(Move.FAIL if self.plain_errors() else Move.END if self.stop_asked else Move.FINISH)
        self.host.watch.has_ended(self)
        self.host.child_ended(self)
        if self.service._run is None:  # and not started anew
            self.service._break_promise(lambda: not_started(self))
        if self._gone is not None:
            self._gone.set()

    async def wait_gone(self) -> None:
        """Wait until it is over."""
        if self.over:
            await trio.lowlevel.checkpoint()
            return
        if self._gone is None:  # made when needed: most services are never waited for
            self._gone = trio.Event()
        await self._gone.wait()

    def become_ready(self, value: object) -> None:
        """What ``task_status.started()`` does."""
        if self._said_ready:
            raise RuntimeError(f"{self.path} called task_status.started() twice")
        self._said_ready = True
        if self.stop_asked or self.over:
            return  # too late: whoever awaited it hears of the stop
        self.ready = True
        if self._start_limit is not None:
            self._start_limit.cancel()
        self.move(Move.READY)
        self.service._keep_promise()
        self.host.child_ready(self, value)

    def move(self, move: Move) -> None:
        """Change the state, and tell."""
        service = self.service
        old = service._state
        new = service._state = MOVES[old, move]
        if self.tree.events.heard:
            now = trio.current_time()
            self.tree.emit(StateChanged(self.path, now, old, new, now - self._since))
            self._since = now

    def record(self, errors: Iterable[BaseException], phase: str) -> None:
        """Keep errors of this run; they are told now and raised where L13 and L14 say."""
        fresh = list(errors)
        self.errors += fresh
        self.tree.emit_errors(fresh, self.at, phase, alone=self.is_kept_from_main())

    def plain_errors(self) -> list[Exception]:
        """Its errors without those that end programs: KeyboardInterrupt, SystemExit."""
        return [error for error in self.errors if isinstance(error, Exception)]

    def reports_to_caller(self) -> bool:
        """Whether its errors go to whoever awaits this one run, and the others never notice."""
        return self.alone or (self.private and not self.ready)

    def is_kept_from_main(self) -> bool:
        """Whether that is so for it, or for a branch that it is in."""
        return self.reports_to_caller() or self.host.is_kept_from_main()

    def _phase(self) -> str:
        if self.at != self.path:
            return "binding"
        return "stopping" if self.stop_asked else "running" if self.ready else "starting"

    @enable_ki_protection
    async def _limit_start(self) -> None:
        """Fail the run if it is not ready in time."""
        seconds = self.service.start_timeout
        assert seconds is not None
        with trio.move_on_after(seconds) as self._start_limit:
            await self.wait_gone()
        if not (self.ready or self.over or self.stop_asked):
            late = StartTimeoutError(f"not ready within its start_timeout of {seconds} s")
            self.record(flatten(late, self.path), "starting")
            if not self.reports_to_caller():
                self.host.doom()
            self.ask_stop(drain=False)

    # ---- its stop

    @enable_ki_protection
    def ask_stop(self, *, drain: bool = True, reason: str | None = None) -> None:
        """Ask the run to end: idempotent, synchronous.

        Args:
            drain: grant it its drain; ``False`` also cuts one that is in progress.
            reason: told as an event if the stop begins here.
        """
        if self.over:
            return
        if not drain:
            self.cut_drains(_NO_TIME)
        if self.stop_asked:
            return
        self.stop_asked = True
        self.interrupted = not (self.ready or self.errors or self.doomed)
        if reason is not None:
            self.tree.emit(StopRequested(self.path, trio.current_time(), reason))
        self.move(Move.STOP)
        if self.interrupted:
            self.service._break_promise(partial(interrupted, self.path))
        self._begin_stop()

    def spend_budget(self) -> None:
        """From this moment the service's own ``drain_timeout`` counts, clipped to its host's budget."""
        own = trio.current_time() + self.service.drain_timeout
        self.cut_drains(min(own, self.host.deadline))

    def cut_drains(self, deadline: float) -> None:
        """Let drains end at *deadline* if they would end later; running ones too (rule L10)."""
        if deadline < self.deadline:
            self.deadline = deadline
            if self._drain_scope is not None:
                self._drain_scope.deadline = deadline

    def _begin_stop(self) -> None:
        # What is not yet ready, or has no drain, has nothing that it could finish.
        if self.ready and self._nursery is not None:
            self.spend_budget()
            if self.deadline > trio.current_time():
                self._begin_drain(self._nursery)
                return
            self.tree.emit(DrainCut(self.path, trio.current_time(), 0.0))
        self._cancel()

    def _begin_drain(self, nursery: trio.Nursery) -> None:
        # In the context of its run, not of whoever asked for the stop.
        assert self.task is not None
        begin = partial(nursery.start_soon, self._drain, name=f"{self.path} (drain)")
        self.task.context.copy().run(begin)

    @enable_ki_protection
    async def _drain(self) -> None:
        begun = trio.current_time()
        cut = self.deadline <= begun  # between the request and this task
        try:
            if not cut:
                with trio.CancelScope(deadline=self.deadline) as self._drain_scope:
                    await _theirs(self.service.drain)
                cut = self._drain_scope.cancelled_caught
            if cut:
                now = trio.current_time()
                self.tree.emit(DrainCut(self.path, now, now - begun))
        finally:
            self._cancel()

    def _cancel(self) -> None:
        self.scope.cancel(reason=f"{self.path} is being stopped")
        self.cancelled_at = trio.current_time()
        self.host.watch.expect_end(self)

    def within(self) -> bool:
        """Whether the caller is one of this run's own tasks (rule L4)."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not self.task:
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return task is not None


class Branch(Run):
    """The run of a MultiService: the nursery of its children, and the task that conducts them."""

    service: MultiService

    def __init__(self, service: MultiService, host: Host) -> None:
        super().__init__(service, host)
        self.pending = deque(service._children())  # to be started, one after the other
        self.turn: Service | None = None  # the one that the others wait for
        self.watch = Watch()
        self._private: set[Service] = set()  # those for which a start_service waits
        self._finished: set[Service] = set()
        self._to_stop: list[Service] = []  # the last is the one whose turn it is
        self._binding = True
        self._closing = False
        self._context = copy_context()
        self._nursery_of_children: trio.Nursery

    async def _body(self) -> None:
        with self.scope:  # only the binding can be cancelled; from then on the branch is asked
            await self.tree.bind(self)
            if not self.stop_asked:
                self.host.bound(self)
        self._binding = False
        async with trio.open_nursery() as self._nursery_of_children:
            self._start_next()
            while not self.stop_asked and not self._all_finished():
                await self.watch.sleep()
            self._closing = True
            self._to_stop += self.service._children()
            self._stop_next()
            while self._to_stop:
                await self.watch.sleep()

    def _start_next(self) -> None:
        """Begin with the next child; when the last is ready, so is the branch."""
        while self.pending and not self.stop_asked:
            self.turn = self.pending.popleft()
            self.launch(self.turn)
            if self.turn._state is State.STARTING:
                return  # child_ready or child_ended will come back here
        self.turn = None
        if not self.stop_asked:
            self.become_ready(None)
            self.watch.wake()

    def _stop_next(self) -> None:
        """Ask the last child that is not yet gone to stop; all that stand after it are gone."""
        while self._to_stop:
            run = self._to_stop[-1]._run
            if run is not None and run.host is self:
                run.ask_stop()
                return  # child_ended will come back here
            self._to_stop.pop()
        self.watch.wake()

    def takes_children(self) -> bool:
        """Whether a child may still be added or started: it would have somewhere to live."""
        return not (self.stop_asked or self._closing)

    def _all_finished(self) -> bool:
        return not self.service.keep_running and self.ready and 0 < len(self._finished) == len(self.service)

    def end(self) -> None:
        """Also tell those who wait for a child whose turn never came."""
        for child in self.service._children():
            call_off(child, f"{self.path}/{child.name}")
        super().end()

    def spawn(self, async_fn: Callable[[], Awaitable[None]], name: str | None = None) -> None:
        """Start a task beside the children."""
        # A task inherits the context of whoever starts it, and that may be anybody; a child is
        # to find what its parent found, not the variables of the sibling that was ready before.
        self._context.run(partial(self._nursery_of_children.start_soon, async_fn, name=name))

    # ---- its stop

    def _begin_stop(self) -> None:
        self.spend_budget()
        if self._binding:
            self._cancel()
        self.watch.wake()

    def cut_drains(self, deadline: float) -> None:
        """A branch's budget bounds every drain below it, wherever it is going on."""
        if deadline < self.deadline:
            super().cut_drains(deadline)
            for child in self.service._children():
                if child._run is not None:
                    child._run.cut_drains(deadline)

    def is_stopping(self) -> bool:
        """Whether this branch, or one that it is in, has been asked to stop."""
        return self.stop_asked or self.host.is_stopping()

    def waits_for_caller(self, run: Run) -> bool:
        """Whether *run* has its turn to stop only when a later child is gone, in which the caller is."""
        if not self.stop_asked:
            return False
        children = self.service._children()
        if run.service not in children:
            return False
        later = children[children.index(run.service) + 1 :]
        return any(child._run is not None and child._run.within() for child in later)

    def doom(self) -> None:
        """A failure below will end this branch: its budget counts from now, and so do those above."""
        self.doomed = True
        if not self.reports_to_caller():
            self.host.doom()
        self.spend_budget()

    @enable_ki_protection
    def stop_child(self, run: Run, *, drain: bool, reason: str) -> None:
        """Stop one child now; or, if all are being stopped, in its turn and not before (rule L6)."""
        run.again = False
        if self.stop_asked:
            if not drain:
                run.cut_drains(_NO_TIME)
        elif run.stop_asked:
            run.ask_stop(drain=drain)
        else:
            run.alone = not run.doomed  # a failure that was there before this request is no answer to it
            run.ask_stop(drain=drain, reason=reason)

    # ---- its children

    def launch(self, child: Service) -> None:
        """Start a run of *child* in this branch."""
        self._finished.discard(child)
        run = child._make_run(self)
        run.private = child in self._private
        self._private.discard(child)
        run.begin()

    def start_again(self, child: Service) -> None:
        """Start a child that was stopped: at once, or in its turn if nothing can be run yet (rule L18)."""
        if self._binding:
            waiting = {*self.pending, child}
            self.pending = deque(each for each in self.service._children() if each in waiting)
        else:
            self.launch(child)

    def admit(self, child: Service, *, private: bool = False) -> None:
        """Take in a child that was added while the branch runs (rule L9)."""
        self.tree.emit(ServiceAdded(f"{self.path}/{child.name}", trio.current_time()))
        if private:
            self._private.add(child)
        if self.ready:
            self.launch(child)
        else:
            self.pending.append(child)

    def forget(self, child: Service) -> None:
        """Let go of a child that does not run."""
        self.tree.emit(ServiceRemoved(f"{self.path}/{child.name}", trio.current_time()))
        self.service._detach(child)
        call_off(child, f"{self.path}/{child.name}")
        self._finished.discard(child)
        self._private.discard(child)
        if child in self.pending:
            self.pending.remove(child)
        self.watch.wake()

    def bound(self, run: Run) -> None:
        """Of interest to the root alone."""

    def child_ready(self, run: Run, value: object) -> None:
        """The next child may begin."""
        if run.service is self.turn:
            self._start_next()

    def child_ended(self, run: Run) -> None:
        """Decide what the end of a child means for the others."""
        child = run.service
        if run.leaving:
            self.forget(child)
        # What ends programs ends this one, whoever awaits the service (L17).
        to_caller = run.reports_to_caller()
        climbing = [error for error in run.errors if not (to_caller and isinstance(error, Exception))]
        if climbing:
            self.errors += climbing
            self.doom()
            self.ask_stop(reason=_why_it_ends(run.path, climbing))
        elif run.leaving or self.stop_asked:
            pass
        elif run.again:
            self.launch(child)
        elif child._state is State.FINISHED:
            self._finished.add(child)
        if self._to_stop:
            self._stop_next()
        elif child is self.turn and child._state is not State.STARTING:
            self._start_next()
        elif len(self._finished) == len(self.service):
            self.watch.wake()


class Root:
    """The host of the topmost run: the nursery that the awaiter of ``main`` lends us.

    Args:
        service: what to run.
        events: the stream of its tree's events.
        bound: called when everything is bound and nothing runs yet (rule L18).
    """

    path = ""
    deadline = math.inf

    def __init__(
        self,
        service: Service,
        events: Events,
        *,
        bound: Callable[[], object] | None = None,
    ) -> None:
        self.tree = Tree(events)
        self._service = service
        self._hook = bound
        self._task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
        self.watch = Watch()
        self._nursery: trio.Nursery
        self._cancelled: trio.Cancelled | None = None
        self._interrupt: KeyboardInterrupt | None = None

    @enable_ki_protection
    async def main(self, task_status: trio.TaskStatus[object]) -> None:
        """The whole life of the topmost service, in the task of whoever awaits it (rule L1)."""
        self._task_status = task_status
        run = self._service._make_run(self)
        run.leaving = True  # with its end the tree ends, and all that is bound in it is released
        async with trio.open_nursery() as self._nursery:
            run.begin()
            if trio.current_effective_deadline() == -math.inf:  # cancelled before it began: do not even bind
                run.ask_stop(drain=False, reason="main was cancelled")
            while not run.over:
                await self._wait_for_news(run)
        self._account_for(run)

    async def _wait_for_news(self, run: Run) -> None:
        """Sleep until something happens, be it here or to the caller."""
        try:
            # Once the cancellation has been heard, it need not be heard again until we are done.
            with trio.CancelScope(shield=self._cancelled is not None):
                await self.watch.sleep()
        except trio.Cancelled as cancelled:
            self._cancelled = cancelled
            run.ask_stop(drain=False, reason="main was cancelled")
        except KeyboardInterrupt as interrupt:
            # Trio delivers it to the main task.  The second one is as impatient as a second signal.
            if self._interrupt is not None:
                run.cut_drains(_NO_TIME)
            self._interrupt = interrupt
            run.ask_stop(reason="KeyboardInterrupt")

    def _account_for(self, run: Run) -> None:
        """Raise what has to come out of ``main`` (rules L2, L13, L14, L17)."""
        errors = run.plain_errors()
        group = failed(run.path, errors) if errors else None
        for bare in (self._interrupt, *run.errors):
            if bare is not None and not isinstance(bare, Exception):
                bare.__context__ = group
                raise bare
        if self._cancelled is not None:
            if group is None:
                raise self._cancelled
            raise BaseExceptionGroup(f"{run.path}: cancelled, and failed", [self._cancelled, *errors])
        if not run.ready and self._task_status is not trio.TASK_STATUS_IGNORED:
            raise not_started(run)
        if group is not None:
            raise group

    def spawn(self, async_fn: Callable[[], Awaitable[None]], name: str | None = None) -> None:
        """Start a task that no cancellation from outside reaches: the one door to the tree."""
        self._nursery.start_soon(self._sheltered, async_fn, name=name)

    @enable_ki_protection
    async def _sheltered(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        with trio.CancelScope(shield=True):
            await async_fn()

    @enable_ki_protection
    def stop_child(self, run: Run, *, drain: bool, reason: str) -> None:
        """To stop the root is to stop everything."""
        run.ask_stop(drain=drain, reason=reason)

    def doom(self) -> None:
        """There is nothing above that would have to hurry."""

    def is_stopping(self) -> bool:
        """It is no service that could."""
        return False

    def waits_for_caller(self, run: Run) -> bool:
        """There is nobody beside the topmost run."""
        return False

    def is_kept_from_main(self) -> bool:
        """This is where ``main`` is awaited."""
        return False

    def bound(self, run: Run) -> None:
        """Let the process drop its privileges now, between binding and running."""
        if self._hook is not None:
            self._hook()

    def child_ready(self, run: Run, value: object) -> None:
        """Whoever awaits ``nursery.start(service.main)`` gets its value."""
        self._task_status.started(value)

    def child_ended(self, run: Run) -> None:
        """Let ``main`` come to its end."""
        self.watch.wake()


def whereabouts(task: trio.lowlevel.Task | None) -> tuple[str, ...]:
    """The innermost line of *task* and of each task below it, for a person to look at."""
    lines: list[str] = []
    tasks = [] if task is None else [task]
    while tasks:
        task = tasks.pop()
        for nursery in task.child_nurseries:
            tasks += nursery.child_tasks
        frames = list(task.iter_await_frames())
        theirs = [(frame, line) for frame, line in frames if not is_machinery(frame)]
        for frame, line in (theirs or frames)[-1:]:
            lines.append(f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}")
    return tuple(sorted(lines))  # trio keeps tasks in sets, whose order means nothing
