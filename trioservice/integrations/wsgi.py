"""WSGI applications as a leaf: Flask, Django, Pyramid and whatever else speaks WSGI.

A WSGI application blocks, so it is called in a thread; there are as many requests at one time as there
are threads, and the others wait for one.  What such an application is told and tells, the standard
library's ``wsgiref`` knows; what is here is the way to the thread and back.  (a2wsgi, which does as
much, crosses by asyncio's loop and cannot be used on trio.)
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Unpack
from urllib.parse import unquote_to_bytes
from wsgiref.handlers import BaseHandler
from wsgiref.headers import Headers

import trio

from ..net.endpoints import StreamServerEndpoint
from ..net.http import Exchange, HTTPServer, HTTPServerOptions, Refusal
from .applications import require_application, require_root_path
from .forwarded import Client, ProxyHeaders, client_behind, trusted_networks

__all__ = ["WSGIApplication", "WSGIServer"]

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WSGIServer(HTTPServer):
    """A leaf that serves a WSGI application.

    ::

        app = Application("shop", WSGIServer(flask_app, "tcp:8000", threads=16))

    Args:
        app: a function of an environ and a ``start_response``, as of PEP 3333.
        endpoint: where to listen, as for :class:`~trioservice.net.servers.StreamServer`.
        threads: how many requests the application answers at one time.
        root_path: where the application stands (``SCRIPT_NAME``).
        trusted_proxies: as for :class:`~trioservice.integrations.asgi.ASGIServer`.
        proxy_headers: likewise.
        **options: those of :class:`~trioservice.net.http.HTTPServer`.  Of the limits, ``request_timeout``
            cannot end a thread: the application hears of it when it next reads or writes, and the client
            when the application has returned.

    Raises:
        TypeError: the application cannot be called.
        ValueError: no number of threads; as for HTTPServer.
    """

    def __init__(
        self,
        app: WSGIApplication,
        endpoint: str | StreamServerEndpoint,
        *,
        threads: int = 8,
        root_path: str = "",
        trusted_proxies: str | Sequence[str] = (),
        proxy_headers: ProxyHeaders = "x-forwarded",
        **options: Unpack[HTTPServerOptions],
    ) -> None:
        require_application(app, 2)
        super().__init__(endpoint, self._in_thread, **options)
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads is a number from 1, not {threads!r}")
        self._app = app
        self._threads = threads
        self._root_path = require_root_path(root_path)
        self._proxies = trusted_networks(trusted_proxies, proxy_headers)
        self._proxy_headers: ProxyHeaders = proxy_headers

    def _forget(self) -> None:
        super()._forget()
        self._limiter: trio.CapacityLimiter | None = None

    async def _in_thread(self, exchange: Exchange) -> None:
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(self._threads)
        scheme = "http" if exchange.tls is None else "https"
        headers = exchange.request.headers
        client = client_behind(exchange.peer, scheme, headers, self._proxies, self._proxy_headers)
        ahead = await _body_ahead(exchange)
        handler = _Handler(exchange, _environ(exchange, client, self._root_path), ahead)
        await trio.to_thread.run_sync(handler.run, self._app, limiter=self._limiter)
        await handler.finish_exchange()


# So much of a body is received before a thread is taken, so that slow clients do not take them all.
_AHEAD = 256 * 1024


async def _body_ahead(exchange: Exchange) -> bytes:
    if exchange.request.headers.get(b"expect") is not None:
        return b""  # the application decides whether it wants it
    body = bytearray()
    while len(body) < _AHEAD and not exchange.is_received:
        body += await exchange.receive()
    return bytes(body)


def _environ(exchange: Exchange, client: Client, root_path: str) -> dict[str, Any]:
    """What the application is told, but for what wsgiref adds."""
    request, local = exchange.request, exchange.local
    name, port = local if isinstance(local, tuple) else (str(local), 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": root_path,
        "PATH_INFO": unquote_to_bytes(request.raw_path).decode("latin-1"),
        "QUERY_STRING": request.query.decode("ascii"),
        "SERVER_NAME": name,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
        "wsgi.url_scheme": client.scheme,
        "wsgi.input_terminated": True,  # it ends with the body, so an application may read to the end
    }
    if client.address is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client.address[0], str(client.address[1])
    for raw_name, raw_value in request.headers:
        if b"_" in raw_name:  # it would be taken for one with a hyphen, which a proxy may have set
            continue
        key = raw_name.decode("ascii").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        value = raw_value.decode("latin-1")
        comma = "; " if key == "HTTP_COOKIE" else ","  # RFC 9113, 8.2.3
        environ[key] = f"{environ[key]}{comma}{value}" if key in environ else value
    return environ


class _Input(io.RawIOBase):
    """The body of the request, read from a thread.

    Attributes:
        broken: why it will never be whole, if that is so.
    """

    def __init__(self, exchange: Exchange, ahead: bytes) -> None:
        self._exchange = exchange
        self._ahead = ahead
        self.broken: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            if self._ahead:
                data, self._ahead = self._ahead[: len(buffer)], self._ahead[len(buffer) :]
            else:
                data = trio.from_thread.run(self._exchange.receive, len(buffer))
        except (trio.BrokenResourceError, Refusal) as error:
            self.broken = error
            # What frameworks take for the client's doing.
            raise ConnectionAbortedError(str(error)) from error
        buffer[: len(data)] = data
        return len(data)


class _Handler(BaseHandler):
    """One call of the application; lives in its thread, but for :meth:`finish_exchange`."""

    server_software = "trioservice"
    # As wsgiref has them, and typeshed has not.
    bytes_sent: int
    result: Iterable[bytes]
    environ: dict[str, Any]
    headers: Headers | None
    status: str | None

    wsgi_multithread = True
    wsgi_multiprocess = False

    def __init__(self, exchange: Exchange, environ: dict[str, Any], ahead: bytes) -> None:
        self._exchange = exchange
        self._input = _Input(exchange, ahead)
        self.os_environ = {}  # ours is no business of an application's
        self._told = environ
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._whole = b""  # a body that came at once, and is sent when the thread is left
        self._failure: BaseException | None = None

    def run(self, application: WSGIApplication) -> None:
        """Call the application; what becomes of it is for :meth:`finish_exchange`."""
        # wsgiref's own takes a ConnectionError for the client's, though it may be that of a database.
        try:
            self.setup_environ()
            self.result = application(self.environ, self.start_response)
            self.finish_response()
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for this thread
            self._failure = error

    # ---- what wsgiref asks for

    def setup_environ(self) -> None:
        super().setup_environ()
        self.environ["wsgi.url_scheme"] = self._told["wsgi.url_scheme"]

    def add_cgi_vars(self) -> None:
        self.environ.update(self._told)

    def get_stdin(self) -> Any:
        return io.BufferedReader(self._input)

    def get_stderr(self) -> Any:
        return sys.stderr

    def write(self, data: bytes) -> None:
        if data != b"":  # PEP 3333: the head waits for the first byte, as the application may still change it
            super().write(data)

    def finish_content(self) -> None:
        if self.headers is None:
            raise RuntimeError("the application returned without having called start_response")
        if not self.headers_sent:
            self.send_headers()

    def send_headers(self) -> None:
        if self.bytes_sent:  # else the server knows of which answers it is to be said that they are empty
            self.cleanup_headers()
        self.headers_sent = True
        assert self.status is not None
        assert self.headers is not None
        self._head = (
            int(self.status[:3]),
            [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in self.headers.items()
            ],
        )

    def _write(self, data: bytes) -> None:
        assert self._head is not None
        if self._whole:
            raise ValueError("the application sends more than its content-length says")
        if self._exchange.status:
            trio.from_thread.run(self._exchange.write, data)
        elif self._input.broken is not None:
            raise ConnectionAbortedError("the request did not come whole")
        elif (b"content-length", b"%d" % len(data)) in self._head[1]:
            self._whole = data  # it crosses to trio together with the thread's end
        else:
            trio.from_thread.run(self._exchange.start, *self._head, data)

    def _flush(self) -> None:
        """Nothing: what is written has been sent, or will be at once."""

    # ---- the end

    async def finish_exchange(self) -> None:
        """Send what is left, or raise what the application has raised."""
        failure = self._failure
        if isinstance(failure, Exception) and self._input.broken is None:
            raise failure
        await trio.lowlevel.checkpoint_if_cancelled()  # which the thread may have been told first
        if self._input.broken is not None and (failure is not None or not self._exchange.status):
            raise self._input.broken from failure
        if isinstance(failure, SystemExit | GeneratorExit):  # of one request, which ends nothing else
            raise RuntimeError(f"the application has raised {failure!r}") from failure
        if failure is not None:
            raise failure
        if not self._exchange.status:
            assert self._head is not None
            await self._exchange.respond(*self._head, self._whole)
