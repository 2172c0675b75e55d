"""The order of a life: of one process, from the first to the last thing it does.

::

    validate    the settings do not contradict each other
    load        the application is made, by whoever called
    open logs   from here on everything is in the log
    move in     the root of all paths, the folder to run in
    umask
    daemonize   the rest happens in a process without a terminal
    pid file    locked until the end
    bind        ports and keys, with all rights
    drop        become another user
    start       the services, in order
    ready       whoever waits is told: the terminal, systemd
    run
    stop        in reverse
    exit        with a status, or by the signal that stopped it

Each step stands where it does for a reason; ``docs/explanation/life-of-a-process.md`` gives them.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib.util
import logging
import marshal
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import trio

from ..application import Application, die_of
from ..errors import ServiceError, ServicesFailed, report
from ..events import Event, StateChanged
from ..lifecycle import State
from .exits import CannotRun, Exit
from .logs import Logs, open_logs
from .settings import Settings
from .signals import Signals
from .terminal import tell

if TYPE_CHECKING:
    import cProfile

    from .daemon import Link
    from .pidfile import PidFile
    from .systemd import Notifier

__all__ = ["Farewell", "run"]

logger = logging.getLogger("trioservice")

# What the settings may ask for that only POSIX systems have.
_NOT_EVERYWHERE: dict[str, Callable[[], object]] = {
    "daemon": lambda: hasattr(os, "fork"),
    "pidfile": lambda: importlib.util.find_spec("fcntl"),
    "chroot": lambda: hasattr(os, "chroot"),
    "uid": lambda: hasattr(os, "setuid"),
    "gid": lambda: hasattr(os, "setgid"),
    "euid": lambda: hasattr(os, "seteuid"),
}
_DAEMONS_UMASK = 0o077  # a daemon's files are nobody else's business, unless it says so


def run(load: Callable[[], Application], settings: Settings | None = None) -> int:
    """Live the whole life of a process.

    Args:
        load: makes the application; what it raises comes out.
        settings: how the process is to be run; by default in the foreground, logging to standard error.

    Returns:
        The exit status.  After a stop by signal the process dies of that signal when Python has done all
        else that it does at its end.

    Raises:
        SystemExit: a service raised it, and it carries the status.
    """
    return _Life(load, settings or Settings()).live()


class _Life:
    """One life: what its steps have to know of each other."""

    def __init__(self, load: Callable[[], Application], settings: Settings) -> None:
        self._load = load
        self._settings = settings
        self._farewell = Farewell()
        self._logs: Logs | None = None
        self._pidfile: PidFile | None = None
        self._link: Link | None = None  # to whoever waits for a daemon
        self._notifier: Notifier | None = None  # to systemd
        self._profiled: AbstractContextManager[object] = contextlib.nullcontext()
        self._became_ready = False

    def live(self) -> int:
        """All of it."""
        with ExitStack() as at_the_end:
            try:
                return self._steps(at_the_end)
            except CannotRun as error:
                self._say(f"trioservice: {error}\n  hint: {error.hint}\n")
                return error.status
            except KeyboardInterrupt:
                # Ctrl-C while the file was being loaded, or in an application that leaves signals to others.
                self._farewell.signal = signal.SIGINT
                return 128 + signal.SIGINT

    def _steps(self, at_the_end: ExitStack) -> int:
        """The steps, in their order."""
        settings = self._settings
        signals = at_the_end.enter_context(Signals())
        _validate(settings)
        begin_as_daemon = self._prepare_to_detach() if settings.daemon else None
        self._notifier = _notifier(at_the_end)
        application = self._load()
        self._logs = at_the_end.enter_context(open_logs(settings))
        self._profiled = _prepare_to_profile(settings.profile, at_the_end)
        drop = self._prepare_to_drop(application)
        if settings.pidfile is not None:
            from .pidfile import PidFile

            self._pidfile = PidFile(settings.pidfile)
        if settings.chroot is not None or settings.rundir is not None:
            from .place import move_in

            move_in(settings.rundir, settings.chroot)
        if settings.umask is not None or settings.daemon:
            os.umask(_DAEMONS_UMASK if settings.umask is None else settings.umask)
        if begin_as_daemon is not None:
            begin_as_daemon(application)
        if self._pidfile is not None:
            at_the_end.enter_context(self._pidfile)
        if drop is not None:
            application.bound = drop
        return self._run(application, signals)

    def _prepare_to_detach(self) -> Callable[[Application], None]:
        """Note what was open before anything of ours; the returned function makes the process a daemon."""
        from .daemon import Detachment, descriptors_for, open_descriptors

        detachment = Detachment(timeout=self._settings.daemon_timeout)
        foreign = open_descriptors() - {detachment.null}

        def begin(application: Application) -> None:
            assert self._logs is not None
            close = foreign - descriptors_for(application)
            self._link = detachment.detach(close=close, log_tail=self._logs.tail)
            self._logs.capture_streams()
            if self._notifier is not None:
                self._notifier.tell_main_pid()

        return begin

    def _prepare_to_drop(self, application: Application) -> Callable[[Application], None] | None:
        """What to do when everything is bound; ``None`` if nobody asks for it, or the application does it."""
        settings, theirs = self._settings, application.bound
        asked = settings.uid is not None or settings.gid is not None
        if not asked and (theirs is not None or (application.uid is None and application.gid is None)):
            return None
        from .privileges import become, identity

        # Another user than the application's own is not to be in the group of that one.
        gid = settings.gid if settings.uid is not None or settings.gid is not None else application.gid
        whom = identity(application.uid if settings.uid is None else settings.uid, gid)
        assert whom is not None

        def drop(application: Application) -> None:
            if theirs is not None:
                theirs(application)
            for belonging in (self._logs, self._pidfile):
                if belonging is not None:
                    belonging.give_to(whom.uid, whom.gid)
            become(whom, effective=settings.euid)

        return drop

    # ---- bind, drop, start, ready, run, stop

    def _run(self, application: Application, signals: Signals) -> int:
        """From the first service to the last; what has gone wrong becomes words and a status."""
        application.subscribe(self._notice)
        try:
            with self._limited(application), self._profiled:
                trio.run(self._main, application, signals)
        except ServicesFailed as failure:
            self._say(report(failure.exceptions))
            if self._settings.debug:
                _debug(failure)
            return Exit.FAILED if self._became_ready else _why_not_started(failure)
        except ServiceError as error:
            self._say(f"trioservice: {error}\n")
            return Exit.START_FAILED
        except trio.TrioInternalError:
            # Nothing of the tree can be relied on any more, not even that its tasks have ended.
            self._say(f"trioservice: the event loop has crashed\n{traceback.format_exc()}")
            return Exit.FAILED
        except (KeyboardInterrupt, SystemExit) as end:
            # It decides how the process ends (rule L17), but what else went wrong is not lost (rule L13).
            if isinstance(end.__context__, ServicesFailed):
                self._say(report(end.__context__.exceptions))
            raise
        if not self._settings.exit_zero:
            self._farewell.signal = application.stop_signal
        return Exit.OK

    async def _main(self, application: Application, signals: Signals) -> None:
        """The application's ``main``, and beside it those who serve the process."""
        assert self._logs is not None
        async with _beside() as nursery:
            nursery.start_soon(signals.obey, application, self._logs)
            if self._notifier is not None:
                nursery.start_soon(self._notifier.attend, application)
            await application.main()

    def _limited(self, application: Application) -> AbstractContextManager[object]:
        """The limit for its stop, if it has one."""
        if self._settings.stuck_timeout is None:
            return contextlib.nullcontext()
        from .stuck import StopLimit

        release = self._pidfile.release if self._pidfile is not None else lambda: None
        return StopLimit(application, self._settings.stuck_timeout, release)

    def _notice(self, event: Event) -> None:
        if isinstance(event, StateChanged) and "/" not in event.path and event.new is State.RUNNING:
            self._became_ready = True
            if self._link is not None:
                self._link.ready()

    def _say(self, text: str) -> None:
        """Tell whoever started the process; and the log, where that is somewhere else."""
        if self._logs is not None and not self._logs.is_standard_error:
            logger.error("%s", text.rstrip())
        if self._link is None:
            tell(sys.stderr, text)
        else:
            self._link.tell(text)


def _notifier(at_the_end: ExitStack) -> Notifier | None:
    """Who tells systemd how we are, if it wants to know: made before a new root can hide its socket."""
    if "NOTIFY_SOCKET" not in os.environ:
        return None
    from .systemd import Notifier

    notifier = Notifier.from_environment(os.environ)
    if notifier is not None:
        at_the_end.callback(notifier.close)
    return notifier


def _why_not_started(failure: ServicesFailed) -> Exit:
    for error in failure.exceptions:
        if isinstance(error, CannotRun):
            return error.status
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            return Exit.NO_PERMISSION
    return Exit.START_FAILED


def _validate(settings: Settings) -> None:
    """Refuse what contradicts itself, or asks for more than this system has, before anything is done.

    Raises:
        CannotRun: it does.
    """
    for option, exists in _NOT_EVERYWHERE.items():
        if getattr(settings, option) not in (None, False) and not exists():
            raise CannotRun(
                f"--{option} asks for something that this system ({sys.platform}) does not have",
                hint="leave it out; in the foreground everything else works",
                status=Exit.USAGE,
            )
    if settings.daemon and settings.logfile == "-":
        raise CannotRun(
            "a daemon cannot log to standard output, since it has none",
            hint="name a file, or leave --logfile out, and it is trioservice.log",
            status=Exit.USAGE,
        )
    if settings.daemon and settings.debug:
        raise CannotRun(
            "a daemon cannot be debugged, since it has no terminal",
            hint="leave out --daemon or --debug",
            status=Exit.USAGE,
        )


@asynccontextmanager
async def _beside() -> AsyncIterator[trio.Nursery]:
    """A nursery for what goes on beside its body, and ends with it; what the body raises comes out bare."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as error:  # noqa: BLE001 - raised below, outside of the nursery, which would wrap it
            failure = error
        nursery.cancel_scope.cancel(reason="the application has ended")
    if failure is not None:
        raise failure


def _prepare_to_profile(path: str | None, at_the_end: ExitStack) -> AbstractContextManager[object]:
    """What profiles its body; the file is opened now: later the process may be elsewhere, or another user."""
    if path is None:
        return contextlib.nullcontext()
    import cProfile

    try:
        file = at_the_end.enter_context(open(path, "wb", opener=partial(os.open, mode=0o640)))  # noqa: SIM115
    except OSError as error:
        raise CannotRun(
            f"cannot make the profile {path}: {error.strerror}",
            hint="its folder has to exist, and whoever starts the program needs the right to write there",
            status=Exit.CANNOT_CREATE,
        ) from None
    return _profiled(cProfile.Profile(), file)


@contextlib.contextmanager
def _profiled(profile: cProfile.Profile, file: BinaryIO) -> Iterator[None]:
    """Write what *profile* has found in the body to *file*, for :mod:`pstats`."""
    profile.enable()
    try:
        yield
    finally:
        profile.create_stats()
        try:
            file.write(marshal.dumps(profile.stats))
            file.flush()
        except OSError as error:
            logger.error("the profile could not be written: %s", error.strerror)


def _debug(failure: ServicesFailed) -> None:
    """Let a person at the terminal look at where the first failure was."""
    if sys.stdin is not None and sys.stdin.isatty():
        import pdb

        pdb.post_mortem(failure.exceptions[0].__traceback__)


class Farewell:
    """Lets the process die of the signal that stopped it, after everything else at exit.

    Whoever sent the signal can then tell "it obeyed" from "it came to its end by itself".  Exit
    functions run last in, first out: make this before the application is loaded, and it runs
    after those of the application.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None  #: what to die of, if anything
        atexit.register(self._say)

    def _say(self) -> None:
        if self.signal is None:
            return
        logging.shutdown()  # registered before us, so it would not be reached
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # None, broken, or closed
                stream.flush()
        die_of(self.signal)
