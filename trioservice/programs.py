"""Other programs as services: started in order, watched, logged, and stopped in order with all they
started.

A program is run without a shell, in a *process group* of its own.  That has two uses.  Ctrl-C at a
terminal goes to us alone, so a program is stopped when it is its turn, and not before the services
that need it.  And what a program has started in turn is stopped with it: a stop is SIGTERM for the
whole group, and what is left of the group when the program has ended, or the drain is over, is
killed.

Whether a program that has ended is started again is for its parent to decide, as with every
service.
"""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE

import trio

from .errors import ServiceError
from .events import Event
from .lifecycle import State
from .records import record
from .service import Service

__all__ = ["ProcessEnded", "ProcessFailedError", "ProcessService", "ProcessStarted"]

output = logging.getLogger("trioservice.programs")

_LONGEST_LINE = 64 * 1024  # bytes; more is told in pieces
_LAST_WORDS = 1.0  # seconds for output that is on its way when the program has ended
_KILLED_WITHIN = 5.0  # seconds; a process that was killed is gone at once, unless the kernel is stuck in it


class ProcessFailedError(ServiceError):
    """A program could not be run, or ended with a status other than 0, or before it was ready.

    Args:
        message: what is wrong, in a sentence.
        returncode: its status, or the negative number of the signal that ended it; ``None`` if it never ran.
    """

    def __init__(self, message: str, returncode: int | None = None) -> None:
        super().__init__(message)
        self.returncode = returncode


@record
class ProcessStarted(Event):
    """The program runs, as the process of that number; it need not be ready yet."""

    pid: int

    def __str__(self) -> str:
        return f"runs as process {self.pid}"


@record
class ProcessEnded(Event):
    """The process of that number has ended, with a status or, if *returncode* is negative, by a signal."""

    pid: int
    returncode: int

    def __str__(self) -> str:
        return f"process {self.pid} {_how_it_ended(self.returncode)}"


class ProcessService(Service):
    """A leaf that runs a program: ``ProcessService(["redis-server", "--port", "6380"])``.

    What it prints is logged, line by line, by the logger ``trioservice.programs`` and under the service's
    path.  It has no standard input.

    It is ready when it runs; with *ready*, when a line of its output matches that.  When it ends by itself
    with status 0 the service is finished, with any other it has failed.

    When it is stopped, its group is sent SIGTERM and has *drain_timeout* to end; what is left then is
    killed.  The stop waits until the program is gone.

    Args:
        command: the program and its arguments.  No shell looks at them; where one is wanted, say so:
            ``["sh", "-c", "..."]``.
        ready: a regular expression, found in the line that tells that the program is ready.
        cwd: the folder to run it in; by default ours.
        env: variables that are added to our environment; one that is ``None`` is taken away.
        level: how loudly its standard output is logged.
        error_level: how loudly its standard error is.
        name: by default the program's name.
        start_timeout: seconds within which it must be ready.
        drain_timeout: seconds between SIGTERM and SIGKILL; 0 kills at once.
        stop_timeout: as for :class:`~trioservice.service.Service`.

    Raises:
        TypeError: *command* is one string, or has something else than words in it.
        ValueError: *command* is empty, or *ready* is no regular expression.

    Example::

        redis = ProcessService(["redis-server", "--port", "6380"], ready="Ready to accept connections")
        application = Application("shop", redis, web)
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        ready: str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str | None] | None = None,
        level: int = logging.INFO,
        error_level: int = logging.WARNING,
        name: str | None = None,
        start_timeout: float | None = None,
        drain_timeout: float | None = 5.0,
        stop_timeout: float = 5.0,
    ) -> None:
        self.command = _words(command)
        self._ready = None if ready is None else _pattern(ready)
        self._cwd = cwd
        self._env = dict(env or {})
        self._levels = level, error_level
        self._process: trio.Process | None = None
        self._gone = trio.Event()
        super().__init__(
            name=name, start_timeout=start_timeout, drain_timeout=drain_timeout, stop_timeout=stop_timeout
        )

    @property
    def pid(self) -> int | None:
        """The number of its process, ``None`` while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def in_progress(self) -> str:
        """The process, while there is one."""
        return "" if self._process is None else f"process {self._process.pid}"

    def _default_name(self) -> str:
        return os.path.basename(self.command[0]) or super()._default_name()

    # ---- its life

    async def run(self, task_status: trio.TaskStatus[int]) -> None:
        """Run it to its end; ready with the number of its process.

        Raises:
            ProcessFailedError: it cannot be run, or it has failed.
        """
        self._gone = trio.Event()
        process = self._process = await self._opened()
        try:
            self.emit(ProcessStarted(self.path, trio.current_time(), process.pid))
            await self._watch(process, task_status)
        finally:
            self._process = None
            self._gone.set()
        if self.state is State.STOPPING:
            return  # whatever its last words were: it was asked to go
        if process.returncode:
            raise ProcessFailedError(f"it {_how_it_ended(process.returncode)}", process.returncode)
        if self.state is State.STARTING:
            raise ProcessFailedError("it ended before it was ready", process.returncode)

    async def drain(self) -> None:
        """Ask the whole group to end, and wait until the program has."""
        if self._process is not None:
            _signal_group(self._process, signal.SIGTERM)
        await self._gone.wait()

    async def _opened(self) -> trio.Process:
        environment = {**os.environ, **self._env}
        try:
            return await trio.lowlevel.open_process(
                self.command,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                cwd=self._cwd,
                env={name: value for name, value in environment.items() if value is not None},
                start_new_session=True,
            )
        except OSError as error:
            raise ProcessFailedError(_why_it_cannot_run(self.command[0], error)) from None

    async def _watch(self, process: trio.Process, task_status: trio.TaskStatus[int]) -> None:
        """Log what it says until it ends; nobody of its group is left then."""
        if self._ready is None:
            task_status.started(process.pid)
        assert process.stdout is not None
        assert process.stderr is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, process.stdout, self._levels[0], task_status)
            nursery.start_soon(self._listen, process.stderr, self._levels[1], task_status)
            try:
                await _end_of(process)
            finally:
                _kill_group(process)
                await _reap(process)
                self.emit(ProcessEnded(self.path, trio.current_time(), process.pid, process.returncode or 0))
            # Who has left the group may hold the pipes for ever.
            nursery.cancel_scope.deadline = trio.current_time() + _LAST_WORDS

    async def _listen(
        self, stream: trio.abc.ReceiveStream, level: int, task_status: trio.TaskStatus[int]
    ) -> None:
        rest = b""
        async with stream:
            async for data in stream:
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._hear(line, level, task_status)
        self._hear(rest, level, task_status)

    def _hear(self, line: bytes, level: int, task_status: trio.TaskStatus[int]) -> None:
        text = line.decode("utf-8", "backslashreplace").rstrip("\r")
        if text:
            output.log(level, "%s", text)
        if self._ready is not None and self.state is State.STARTING and self._ready.search(text):
            assert self._process is not None
            task_status.started(self._process.pid)


# ---- what is to be run


def _words(command: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    if isinstance(command, str | bytes | os.PathLike):
        raise TypeError(
            f"the command is a sequence of words, not {command!r}; "
            'write ["program", "argument"], or ["sh", "-c", "..."] where a shell is meant'
        )
    words = tuple(os.fspath(word) if isinstance(word, os.PathLike) else word for word in command)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"the command is made of words, and {word!r} is none; write {str(word)!r}")
    if not words or not words[0]:
        raise ValueError("the command is empty; its first word is the program")
    return words


def _pattern(ready: str) -> re.Pattern[str]:
    try:
        return re.compile(ready)
    except re.error as error:
        raise ValueError(f"ready is a regular expression, and {ready!r} is none: {error}") from None


def _why_it_cannot_run(program: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and error.filename not in (program, None):
        return f"cannot run {program}: there is no folder {error.filename}"
    why = {
        FileNotFoundError: "there is no such program; is it installed, and in the PATH?",
        PermissionError: "it may not be run; is it a program, and executable?",
    }
    return f"cannot run {program}: {why.get(type(error), error.strerror)}"


# ---- what becomes of it


async def _end_of(process: trio.Process) -> None:
    """Wait until the program has ended; where that can be, before its number may be another's."""
    if not hasattr(os, "pidfd_open"):
        await process.wait()
        return
    descriptor = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        trio.lowlevel.notify_closing(descriptor)
        os.close(descriptor)


async def _reap(process: trio.Process) -> None:
    """Learn the status of a process that has ended, or was killed."""
    with trio.CancelScope(deadline=trio.current_time() + _KILLED_WITHIN, shield=True):
        await process.wait()


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left; or, to macOS, only remains
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


def _kill_group(process: trio.Process) -> None:
    if hasattr(signal, "SIGKILL"):
        _signal_group(process, signal.SIGKILL)
    else:
        process.kill()


def _how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with status {returncode}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"was ended by signal {-returncode}"
