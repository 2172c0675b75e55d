"""Code that is not ours, called: a file of an application, a plugin; and what it raises, told to whose it is.

It is apart from the rest, since `trioservice --help` imports plugins and has no use for trio.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import TypeVar

from ..errors import is_machinery, shortened
from .mistakes import Fault, Mistake

__all__ = ["TargetError", "calling_theirs"]

T = TypeVar("T")


class TargetError(Mistake):
    """A target that does not lead to an application."""


def calling_theirs(theirs: Callable[[], T], doing: str) -> T:
    """Call what runs the user's code; what it raises is told with the user's own frames only."""
    try:
        return theirs()
    except Mistake:
        raise
    except SyntaxError as error:
        raise (_misspelt(error, doing) if _is_in_a_file(error) else _raised(error, doing)) from None
    except SystemExit as error:
        # Obeyed, it would look as if the application had run and come to its end.
        raise _raised(error, doing) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is theirs, and they want to see it
        raise _raised(error, doing) from None


def _is_in_a_file(error: SyntaxError) -> bool:
    """Whether it is the file that Python could not read, rather than what the file gave to ``eval``."""
    if error.filename is None:
        return not _is_in_theirs(error)
    return os.path.isfile(error.filename)


def _misspelt(error: SyntaxError, doing: str) -> TargetError:
    where = error.filename or doing
    if error.lineno:
        where += f", line {error.lineno}"
    hint = (error.text or "").strip() or "is it a Python file, in UTF-8?"
    return TargetError(f"{where}: {error.msg}", hint=hint, fault=Fault.INVALID)


def _raised(error: BaseException, doing: str) -> TargetError:
    is_in_theirs = _is_in_theirs(error)
    said, _, more = str(error).partition("\n")  # the whole of it stands in the traceback
    return TargetError(
        f"{type(error).__name__} while {doing}: {said}{' ...' if more else ''}",
        hint="the traceback above is that of your own code"
        if is_in_theirs
        else "it was called with no arguments",
        fault=Fault.RAISED,
        details="".join(shortened(error).format()) if is_in_theirs else "",
    )


def _is_in_theirs(error: BaseException) -> bool:
    return not all(is_machinery(frame) for frame, _ in traceback.walk_tb(error.__traceback__))
