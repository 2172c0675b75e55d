"""What users give us to call, and how a mistake there is told."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

__all__ = ["awaitable", "made", "require_function", "require_handler_or_protocol"]


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


def require_handler_or_protocol(handler: object, protocol: object, takes: str = "a stream") -> None:
    """See that exactly one of the two was given, and can be called.

    Raises:
        TypeError: says which it is not.
    """
    if handler is not None and protocol is not None:
        raise TypeError("give a handler or protocol=, not both: one of them has the connections")
    if protocol is None:
        if handler is None:
            raise TypeError(f"give a handler, an async function that takes {takes}, or protocol=")
        require_function("handler", handler, takes)
    elif not callable(protocol):
        raise TypeError(
            f"protocol is a class, or a function without arguments, that makes a protocol, not {protocol!r}"
        )


def awaitable(whose: str, result: Awaitable[object]) -> Awaitable[object]:
    """The *result* of a call, if it can be awaited.

    Raises:
        TypeError: it cannot.
    """
    if not inspect.isawaitable(result):
        raise TypeError(f"{whose} gave {result!r}, which cannot be awaited; is it an async function?")
    return result


def made(protocol: Any) -> Any:
    """The *protocol* that a call of ``protocol=`` has made.

    Raises:
        TypeError: it has made none.
    """
    if protocol is None:
        raise TypeError("protocol= gave None where it is to make a protocol; does it lack a return?")
    return protocol
