"""Applications that await asyncio, such as Django's, below a server that runs on trio.

The application runs in one of asyncio's loops, by the library trio-asyncio; what it receives and sends goes
over to trio.  That costs each request a task and each message a future, so it is for those
who have to.
"""

from __future__ import annotations

from .asgi_messages import ASGIApplication, Receive, Scope, Send
from .asyncio import library

__all__ = ["from_asyncio"]


def from_asyncio(app: ASGIApplication) -> ASGIApplication:
    """The same application, to be called on trio, within :func:`~trioservice.integrations.asyncio.open_loop`.

    Raises:
        ImportError: trio-asyncio is not installed.
        ServiceError: it does not know this Python.
    """
    trio_asyncio = library()

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        to_asyncio, to_trio = trio_asyncio.trio_as_aio, trio_asyncio.aio_as_trio
        await to_trio(app)(scope, to_asyncio(receive), to_asyncio(send))

    return called
