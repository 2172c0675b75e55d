"""What users give us to call, and how a mistake there is told."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable

__all__ = ["awaitable", "require_function"]


def require_function(argument: str, given: object, takes: str = "a stream") -> None:
    """See that what was given as *argument* can be called.

    Whether it is async shows only when it is called: a lambda that calls an async function is fine.

    Raises:
        TypeError: it cannot; the call of an async function, where the function was meant, is named.
    """
    if callable(given):
        return
    mend = ""
    if inspect.iscoroutine(given):
        given.close()  # nobody will await it, and it should not complain of that as well
        mend = f"; write {given.__name__} where {given.__name__}(...) was meant"
    raise TypeError(f"{argument} is an async function that takes {takes}, not {given!r}{mend}")


def awaitable(whose: str, result: Awaitable[object]) -> Awaitable[object]:
    """The *result* of a call, if it can be awaited.

    Raises:
        TypeError: it cannot.
    """
    if not inspect.isawaitable(result):
        raise TypeError(f"{whose} gave {result!r}, which cannot be awaited; is it an async function?")
    return result
