"""What both kinds of web applications have in common, before anybody asks them for anything.

A mistake in what is handed to a server would otherwise be told by each request, as a failure of the
application's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

__all__ = ["require_application", "require_root_path"]

# By the number of arguments that an application is called with.
_TAKES = {3: "scope, receive and send", 2: "environ and start_response"}
_SERVERS = {3: "ASGIServer", 2: "WSGIServer"}


def require_application(app: object, arguments: int) -> None:
    """See that *app* can be called with so many arguments: three are ASGI's, two are WSGI's.

    Raises:
        TypeError: it cannot; the likely mend is named.
    """
    if not callable(app):
        mend = "; import the application, and give it itself" if isinstance(app, str) else ""
        raise TypeError(f"app takes {_TAKES[arguments]}, and {app!r} cannot be called{mend}")
    name = getattr(app, "__name__", type(app).__name__)
    if inspect.isclass(app):
        raise TypeError(f"app is an application, and {name} is a class of them; write {name}() for one")
    if _takes(app, arguments):
        return
    mend = ""
    for others, server in _SERVERS.items():
        if _takes(app, others):
            mend = f"; it takes {_TAKES[others]}, so write {server}({name}, ...)"
    if _takes(app, 0):
        mend = f"; if it makes the application, write {name}()"
    raise TypeError(f"app takes {_TAKES[arguments]}, and {name} does not{mend}")


def _takes(app: Callable[..., object], arguments: int) -> bool:
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return True  # nobody knows
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True


def require_root_path(root_path: str) -> str:
    """See that *root_path* can stand before the path of a request.

    Raises:
        ValueError: it cannot.
    """
    is_text = isinstance(root_path, str) and root_path.isascii()
    if root_path == "" or (is_text and root_path.startswith("/") and not root_path.endswith("/")):
        return root_path
    raise ValueError(f'root_path is like "/shop", in ASCII and without a slash at its end, not {root_path!r}')
