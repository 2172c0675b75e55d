"""Becoming a daemon: leave the terminal, and let whoever waits there know how it went.

Three processes take part::

    parent      the one that was started; it waits for the middle, and ends with its status
    middle      begins a session of its own, without a terminal; waits for the daemon's word
    daemon      is no leader of that session, so no terminal can become its own again

The daemon holds the writing end of a pipe until it is ready.  A daemon that dies, however it dies,
closes the pipe, so nobody can wait for ever; and the middle is its parent, and so learns its status
even of a kill -9.  What the daemon has to say to whoever started it goes through the pipe as well,
since its own standard streams are the log by then.

All of it happens before trio is started, because a fork would tear its event loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import NoReturn

from ..application import Application
from ..net.endpoints import Endpoint, FDEndpoint
from ..run import walk
from .exits import Exit
from .terminal import tell

__all__ = ["Detachment", "Link", "descriptors_for", "open_descriptors"]

_READY = b"\0"  # no text contains it
_PATIENCE = 10.0  # seconds that a daemon which was asked to stop has before it is killed


class Link:
    """The daemon's way to tell whoever started it how the start goes; silent once that is known."""

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def tell(self, text: str) -> None:
        """Have *text* written to the terminal."""
        self._write(text.encode("utf-8", "replace").replace(_READY, b""))

    def ready(self) -> None:
        """The start has succeeded: whoever waits need wait no more."""
        self._write(_READY)
        self.close()

    def close(self) -> None:
        """There is nothing more to say."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _write(self, data: bytes) -> None:
        while data and self._pipe is not None:
            try:
                data = data[os.write(self._pipe, data) :]
            except BrokenPipeError:  # nobody waits any more; the daemon lives all the same
                self.close()


class Detachment:
    """What becoming a daemon takes.  To be made before the root of all paths may change.

    Args:
        timeout: seconds to wait for the daemon to be ready.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self.null = _null_beyond_the_standard_ones()  #: made now, as a new root may have none

    def detach(self, *, close: Iterable[int], log_tail: Callable[[], str]) -> Link:
        """Fork; return in the daemon only.  The process that was started ends here, with a status.

        Args:
            close: the descriptors that the daemon shall not have.
            log_tail: the last lines of the log, for whoever is told of a failure.
        """
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()  # or what is buffered would be written by each of the three
        started_by = os.getpid()
        # Each of the three hears them when it knows what to do about them, and not before.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        middle = os.fork()
        if middle:
            _end(_await_middle(middle, mask))
        os.setsid()
        ear, mouth = os.pipe()
        daemon = os.fork()
        if daemon:
            os.close(mouth)
            _end(_Wait(daemon, ear, self._timeout, log_tail).status(mask))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(ear)
        for descriptor in close:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        for standard in (0, 1, 2):
            os.dup2(self.null, standard)
        os.close(self.null)
        # systemd's sockets were passed to the process that was started, and that is now us.
        if os.environ.get("LISTEN_PID") == str(started_by):
            os.environ["LISTEN_PID"] = str(os.getpid())
        return Link(mouth)


def _null_beyond_the_standard_ones() -> int:
    # Whoever started us may have closed some of those; then a log file would take the place of one.
    while (null := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        pass
    return null


def open_descriptors() -> set[int]:
    """All descriptors above the standard ones that are open now."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return {int(name) for name in os.listdir(folder) if int(name) > 2 and _is_open(int(name))}
    return {number for number in range(3, 1024) if _is_open(number)}


def descriptors_for(application: Application) -> set[int]:
    """Those that whoever started us has left open for *application*: systemd's, and those it names itself."""
    count = os.environ.get("LISTEN_FDS", "")
    passed = (
        set(range(3, 3 + int(count))) if count.isascii() and count.isdigit() and len(count) < 6 else set()
    )
    endpoints = (getattr(service, "endpoint", None) for service in walk(application))
    return passed.union(*map(_named_in, endpoints))


def _named_in(endpoint: object) -> set[int]:
    if isinstance(endpoint, FDEndpoint):
        return {endpoint.descriptor}
    if not isinstance(endpoint, Endpoint):
        return set()
    return set().union(*map(_named_in, vars(endpoint).values()))  # one endpoint may stand in another


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _await_middle(middle: int, mask: set[int | signal.Signals]) -> int:
    """In the parent: the status of the middle; Ctrl-C or SIGTERM meanwhile asks the daemon to stop."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    while True:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return _status_of(middle)
        except KeyboardInterrupt:
            with contextlib.suppress(ProcessLookupError):
                os.kill(middle, signal.SIGTERM)


class _Wait:
    """In the middle: wait for what becomes of the daemon, and tell it to the terminal."""

    def __init__(self, daemon: int, ear: int, timeout: float, log_tail: Callable[[], str]) -> None:
        self._daemon = daemon
        self._ear = ear
        self._timeout = timeout
        self._log_tail = log_tail

    def status(self, mask: set[int | signal.Signals]) -> int:
        """What whoever started the daemon shall be told."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._pass_on)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        said, ended = self._listen(self._timeout)
        if said.endswith(_READY):
            return Exit.OK
        if not ended:
            self._say(f"trioservice: not ready after {self._timeout:g} s, so it is stopped again\n")
            return self._stop(said)
        status = _status_of(self._daemon)
        self._say(said.decode("utf-8", "replace"))
        if not said:
            self._say(f"trioservice: the daemon {_how_it_ended(status)} before it was ready\n")
        self._say_tail()
        return status or Exit.START_FAILED  # whatever it thinks of itself: it is not ready

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._daemon, number)

    def _listen(self, seconds: float) -> tuple[bytes, bool]:
        """What the daemon says within *seconds*, and whether it has no more to say."""
        said, end = b"", time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._ear], [], [], left)[0]:
                more = os.read(self._ear, 65536)
                said += more
                if not more or more.endswith(_READY):
                    return said, True
        return said, False

    def _stop(self, said: bytes) -> int:
        self._pass_on(signal.SIGTERM, None)
        more, ended = self._listen(_PATIENCE)
        if not ended:
            self._pass_on(signal.SIGKILL, None)
        self._say((said + more).decode("utf-8", "replace"))
        self._say_tail()
        _status_of(self._daemon)
        return Exit.START_FAILED

    def _say_tail(self) -> None:
        tail = self._log_tail()
        if tail:
            self._say(f"The log ends:\n{tail}")

    def _say(self, text: str) -> None:
        tell(sys.stderr, text)


def _status_of(child: int) -> int:
    """Wait for *child*; its status as a shell shows it."""
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _how_it_ended(status: int) -> str:
    if status > 128:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(status - 128).name}"
    return f"ended with status {status}"


def _end(status: int) -> NoReturn:
    # Not sys.exit: what the application has registered for its exit is the daemon's to do.
    os._exit(status)
