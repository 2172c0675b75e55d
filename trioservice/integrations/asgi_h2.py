"""HTTP/2 for ASGI applications, by handing the sockets over to Hypercorn.

Hypercorn speaks HTTP/2 (and HTTP/1.1 to those who ask for it), on trio, and costs much more for each
request than our own server of HTTP/1.1.  It is given our bound sockets, our certificates and an application
whose lifespan is looked after already, so that binding, privileges, start and stop are the same, and
errors are told in the same way; its limits are its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from ssl import SSLContext, SSLObject
from typing import Any, cast

import trio

from ..net.listeners import Listener, SocketListener
from ..net.tls import Certificates
from .asgi_messages import ASGIApplication, Message, Receive, Scope, Send

try:
    from hypercorn.config import Config
    from hypercorn.trio import serve
except ImportError as error:
    raise ImportError(
        f"HTTP/2 needs Hypercorn, which cannot be imported ({error}): pip install 'trioservice[web,h2]'",
        name="hypercorn",
    ) from error

__all__ = ["Handover"]


class _Config(Config):
    """Hypercorn's settings, with our context in the place of its files."""

    context: SSLContext | None = None

    @property
    def ssl_enabled(self) -> bool:
        return self.context is not None

    def create_ssl_context(self) -> SSLContext | None:
        return self.context


class Handover:
    """One run of Hypercorn in a server's place.

    Args:
        app: the application.
        root_path: where it stands.
        state: what its lifespan wants each request to know.
        certificates: for TLS; without them, HTTP/2 is for clients that know it beforehand.
        tell_failure: is called with a request's scope and what the application has raised.
    """

    def __init__(
        self,
        app: ASGIApplication,
        root_path: str,
        state: Mapping[str, Any],
        certificates: Certificates | None,
        tell_failure: Callable[[Scope, Exception], None],
    ) -> None:
        self._app = app
        self._state = state
        self._certificates = certificates
        self._tell_failure = tell_failure
        self._stop = trio.Event()
        self._config = _Config()
        self._config.root_path = root_path
        self._config.accesslog = self._config.errorlog = None
        self._config.graceful_timeout = math.inf  # the service's drain_timeout bounds it

    async def run(self, listeners: Sequence[Listener], task_status: trio.TaskStatus[Any]) -> None:
        """Serve until :meth:`stop`, and until the last request is answered.

        Raises:
            TypeError: a listener is no socket.
        """
        descriptors = []
        try:
            for listener in listeners:
                if not isinstance(listener, SocketListener):
                    raise TypeError(f"http='h2' needs sockets, and {listener.address} is none")
                listener.open()
                descriptors.append(os.dup(listener.fileno()))
            self._config.bind = [f"fd://{descriptor}" for descriptor in descriptors]
            descriptors.clear()  # Hypercorn closes them
            with nullcontext() if self._certificates is None else _front(self._certificates) as context:
                self._config.context = context
                await serve(
                    cast("Any", self._answer),
                    self._config,
                    shutdown_trigger=self._stop.wait,
                    task_status=task_status,
                    mode="asgi",
                )
        finally:
            for descriptor in descriptors:
                with suppress(OSError):
                    os.close(descriptor)
            for listener in listeners:
                listener.shut()

    def stop(self) -> None:
        """Take no new connections, and end when those that are there have ended."""
        self._stop.set()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What Hypercorn takes for the application."""
        if scope["type"] == "lifespan":  # whoever runs us has been through it
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        is_answered = has_gone = False

        async def heard() -> Message:
            nonlocal has_gone
            message = await receive()
            has_gone = has_gone or (message["type"] == "http.disconnect" and not is_answered)
            return message

        async def said(message: Message) -> None:
            nonlocal is_answered
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                is_answered = True

        scope["state"] = dict(self._state)
        try:
            await self._app(scope, heard, said)
        except Exception as error:
            if not has_gone:  # else it is what the application makes of a client that goes
                self._tell_failure(scope, error)
            raise


_PROTOCOLS = ("h2", "http/1.1")


@contextmanager
def _front(certificates: Certificates) -> Iterator[SSLContext]:
    """A context that shows each client what *certificates* hold by then: Hypercorn takes one for good."""
    first = certificates.context
    choice_of_first = first.sni_callback
    first.set_alpn_protocols(_PROTOCOLS)

    def choose(connection: SSLObject, name: str, _: SSLContext) -> int | None:
        context, choice = certificates.context, choice_of_first
        if context is not first:
            context.set_alpn_protocols(_PROTOCOLS)
            connection.context = context
            choice = context.sni_callback
        return None if choice is None else choice(connection, name, context)

    first.sni_callback = choose
    try:
        yield first
    finally:
        first.sni_callback = choice_of_first
