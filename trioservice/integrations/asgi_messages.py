"""The words of ASGI: what an application is, and what it is told and tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["ASGIApplication", "ClientDisconnected", "Message", "Receive", "Scope", "Send", "is_of_disconnect"]

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: An application as ASGI 3 has them: ``async def app(scope, receive, send)``.
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[object]]


class ClientDisconnected(OSError):
    """The client has gone: what ``send`` raises then, as ASGI 2.4 wants it."""


def is_of_disconnect(error: BaseException) -> bool:
    """Whether *error*, or all of a group, is what an application has made of :exc:`ClientDisconnected`.

    Frameworks raise an error of their own instead, or a group with it: it is no failure of theirs.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_of_disconnect, error.exceptions))
    one: BaseException | None = error
    seen: set[int] = set()  # some raise an error from itself
    while one is not None and id(one) not in seen:
        if isinstance(one, ClientDisconnected):
            return True
        seen.add(id(one))
        # What Python itself raises within an ``except`` is a bug there, and no word for a client that goes.
        is_of_framework = type(one).__module__ != "builtins" and not one.__suppress_context__
        one = one.__cause__ or (one.__context__ if is_of_framework else None)
    return False
