"""What can go wrong, and by whose fault.

Three kinds of error leave trioservice, and they never mix:

*Yours at the keyboard.*  A request that cannot be met: a second ``main``, a name taken, a
stop that came before the start was over.  They are subclasses of :class:`ServiceError`, are
raised where the mistake is made, bare, before anything has changed, and say what came, what
was wanted and the likely mend.

*Your services'.*  Whatever a service raises stays what it is (a ``ValueError`` stays a
``ValueError``) and comes out of the root's ``main`` in one flat
:class:`ServicesFailed`, each error with one note that gives the service's path (rule L14).

*The other side's.*  What a peer on the network does wrong ends that peer's connection and is
an event, not an exception (rule L16).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from types import FrameType, TracebackType

__all__ = [
    "CannotConnectError",
    "CannotListenError",
    "CannotSendError",
    "DatagramTooLargeError",
    "MembershipError",
    "NotReadyError",
    "ServiceError",
    "ServiceStateError",
    "ServicesFailed",
    "StartInterrupted",
    "StartTimeoutError",
    "TreeError",
    "UnknownServiceError",
]


class ServiceError(Exception):
    """The base of every error that trioservice itself raises."""


class ServiceStateError(ServiceError, RuntimeError):
    """The request does not fit the state the service is in (rules L1, L9)."""


class TreeError(ServiceError, ValueError):
    """The tree cannot take this shape: a name taken, a second parent, a cycle (rule L21)."""


class UnknownServiceError(TreeError, KeyError):
    """A MultiService has no child of that name."""

    # KeyError prints the repr of its argument, which suits a bare key and not a sentence.
    __str__ = Exception.__str__


class StartInterrupted(ServiceError):
    """A stop came before the service was ready, so whoever awaited readiness waits in vain (rule L2)."""


class NotReadyError(ServiceError):
    """A service returned without having called ``task_status.started()`` (rule L2)."""


class StartTimeoutError(ServiceError):
    """A service was not ready within its ``start_timeout`` (rule L7)."""


class CannotListenError(ServiceError, OSError):
    """An address could not be bound: in use, not permitted, not on this machine.

    ``errno`` is the operating system's number, ``str()`` a sentence with the likely mend.
    """

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)

    def __str__(self) -> str:
        return str(self.args[1])


class CannotConnectError(ServiceError, OSError):
    """A server could not be reached: nobody there, no such name, no answer in time.

    ``errno`` is the operating system's number, or 0; ``str()`` a sentence with the likely mend.
    """

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)

    def __str__(self) -> str:
        return str(self.args[1])


class CannotSendError(ServiceError, OSError):
    """A datagram was refused by the network or by its receiver: nobody there, no way there, no room.

    ``errno`` is the operating system's number, ``str()`` a sentence.
    """

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)

    def __str__(self) -> str:
        return str(self.args[1])


class DatagramTooLargeError(ServiceError, ValueError):
    """What is to be sent does not fit into one datagram."""


class MembershipError(ServiceError, OSError):
    """A multicast group could not be joined or left: no such interface, not joined, no room.

    ``errno`` is the operating system's number, ``str()`` a sentence with the likely mend.
    """

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)

    def __str__(self) -> str:
        return str(self.args[1])


class ServicesFailed(ExceptionGroup[Exception]):
    """One flat group of the errors that ended a tree of services (rule L14).

    ``group.exceptions`` are the services' own errors, never groups themselves;
    :func:`paths_of` tells for each where it came from.  ``except*`` works as with any group.
    """

    def derive(self, errors: Sequence[Exception], /) -> ServicesFailed:  # type: ignore[override]
        """Keep the type when ``except*`` takes some of the errors out."""
        return ServicesFailed(self.message, errors)


# ---- telling where an error came from --------------------------------------------------------

_NOTE = "in service "


def flatten(error: BaseException, path: str) -> Iterator[BaseException]:
    """Take groups apart, and note on each single error the path of the service that raised it.

    A leaf with a nursery of its own raises groups; kept whole, every branch above would wrap
    them once more.  What the group itself had to say (its notes) stays with each of its parts.
    """
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            for note in _notes(error):
                add_note(part, note)
            yield from flatten(part, path)
    else:
        add_note(error, _NOTE + path)
        yield error


def add_note(error: BaseException, note: str) -> None:
    """Add *note* to *error*, once, if it can be changed at all."""
    # The same exception object may be raised again by the next run of the same service.  And an
    # exception of the user's may refuse to be changed (a frozen dataclass does): it comes out as it is.
    with suppress(Exception):
        if note not in _notes(error):
            error.add_note(note)


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", None)
    return notes if isinstance(notes, list) else []


def paths_of(error: BaseException) -> list[str]:
    """The paths of the services that raised *error*; one, unless an object was raised twice."""
    return [note.removeprefix(_NOTE) for note in _notes(error) if str(note).startswith(_NOTE)]


def failed(path: str, errors: Sequence[Exception]) -> ServicesFailed:
    """Group what went wrong under *path*, with a message that names the culprits."""
    culprits = list(dict.fromkeys(culprit for error in errors for culprit in paths_of(error)))
    named = ", ".join(culprits[:3] or [path])
    others = f" and {len(culprits) - 3} more" if len(culprits) > 3 else ""
    return ServicesFailed(f"{path}: {named}{others} failed", errors)


# ---- telling it to a person ------------------------------------------------------------------

# Frames of these packages are how we came to the user's code; they are no help in mending it.
_MACHINERY = frozenset({"trioservice", "trio", "outcome", "contextlib", "importlib", "runpy"})


def report(errors: Iterable[BaseException]) -> str:
    """Say which service failed, with what, and where in its own code: path first, no groups.

    Errors that are a sentence to the operator already (:class:`ServiceError`) are told
    without a traceback.
    """
    return "\n".join(_report_one(error) for error in errors)


def _report_one(error: BaseException) -> str:
    head = " and ".join(paths_of(error)) or "application"
    if isinstance(error, ServiceError):
        return f"{head}: {error}\n"
    trace = shortened(error)
    *frames, last = list(trace.format(chain=True)) or [""]
    told = "".join([*frames, last])
    return f"{head} failed\n{_indented(told)}"


def _indented(text: str) -> str:
    return "".join(f"  {line}" for line in text.splitlines(keepends=True))


def shortened(error: BaseException) -> traceback.TracebackException:
    """The story of *error*, with the user's frames and notes only; with all frames, if none is theirs."""
    trace = traceback.TracebackException.from_exception(error, compact=True)
    _shorten(trace, error)
    trace.stack = users_frames(error.__traceback__)
    return trace


def _shorten(trace: traceback.TracebackException, error: BaseException) -> None:
    """Leave only what is the user's, here and in the errors that led here."""
    trace.stack = traceback.StackSummary.extract(_theirs(error.__traceback__))
    if trace.__notes__:
        trace.__notes__ = [note for note in trace.__notes__ if not note.startswith(_NOTE)]
    if trace.__cause__ is not None and error.__cause__ is not None:
        _shorten(trace.__cause__, error.__cause__)
    if trace.__context__ is not None and error.__context__ is not None:
        _shorten(trace.__context__, error.__context__)


def users_frames(tb: TracebackType | None) -> traceback.StackSummary:
    """The frames of *tb* that are not machinery; all of them if there is no other."""
    return traceback.StackSummary.extract(iter(list(_theirs(tb)) or traceback.walk_tb(tb)))


def users_traceback(tb: TracebackType | None) -> TracebackType | None:
    """*tb* without the frames that are machinery; with all of them if there is no other."""
    found: TracebackType | None = None
    one, steps = tb, []
    while one is not None:
        steps.append(one)
        one = one.tb_next
    for step in reversed(steps):
        if not is_machinery(step.tb_frame):
            found = TracebackType(found, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return found or tb


def _theirs(tb: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    return ((frame, line) for frame, line in traceback.walk_tb(tb) if not is_machinery(frame))


def is_machinery(frame: FrameType) -> bool:
    """Whether *frame* belongs to what runs the user's code rather than to the user's code."""
    return _is_machinery(str(frame.f_globals.get("__name__")), frame.f_code.co_filename)


@lru_cache(maxsize=1024)  # simulated lives ask a hundred times each
def _is_machinery(module: str, file: str) -> bool:
    return module.partition(".")[0] in _MACHINERY or file.startswith("<frozen ")
