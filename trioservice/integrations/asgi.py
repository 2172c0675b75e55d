"""ASGI applications as a leaf: Starlette, FastAPI, Quart, Django and whatever else speaks ASGI 3.

The application is called in the task of its connection, with nothing between it and the socket:
``receive`` reads when it is called, and ``send`` returns when the system has taken the bytes.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from ssl import DER_cert_to_PEM_cert
from typing import TYPE_CHECKING, Any, Literal, Unpack

import trio

from ..errors import add_note
from ..net.addresses import Address
from ..net.endpoints import StreamServerEndpoint
from ..net.events import Listening, RequestFailed
from ..net.http import ClientGone, Exchange, HTTPServer, HTTPServerOptions
from ..net.tls import TLSStream
from .applications import require_application, require_root_path
from .asgi_http import HTTPCycle
from .asgi_lifespan import LifespanCut, LifespanError, LifespanIgnored, lifespan
from .asgi_messages import ASGIApplication, ClientDisconnected, Scope, is_of_disconnect
from .asgi_websocket import WebSocket, WebSocketLimits
from .forwarded import ProxyHeaders, client_behind, trusted_networks

if TYPE_CHECKING:
    from .asgi_h2 import Handover

__all__ = [
    "ASGIServer",
    "ClientDisconnected",
    "LifespanCut",
    "LifespanError",
    "LifespanIgnored",
    "WebSocketLimits",
]

_ASGI = {"version": "3.0", "spec_version": "2.4"}


class ASGIServer(HTTPServer):
    """A leaf that serves an ASGI application.

    ::

        app = Application("shop", ASGIServer(starlette_app, "tcp:8000"))

    It starts when the application's lifespan has started (an application that has none is fine),
    and when it has stopped, and the last request is answered, the lifespan ends.

    Args:
        app: ``async def app(scope, receive, send)``, as of ASGI 3.
        endpoint: where to listen, as for :class:`~trioservice.net.servers.StreamServer`.
        root_path: where the application stands: ``"/shop"`` behind a proxy that takes that off.
        trusted_proxies: networks like ``"10.0.0.0/8"`` (and ``"unix"``) whose word on the client's address
            and scheme is believed.
        proxy_headers: in which headers they say it: ``"x-forwarded"``, or ``"forwarded"`` (RFC 7239).
        websockets: what the clients of WebSockets may do.
        loop: ``"asyncio"`` for an application that awaits asyncio, as Django's does; it runs in one of
            asyncio's loops then, beside trio, and at a lower speed.
        http: ``"h2"`` hands the sockets over to Hypercorn, which speaks HTTP/2 too; limits, proxies' headers,
            ``on_answered`` and the events of connections are not there then.
        **options: those of :class:`~trioservice.net.http.HTTPServer`.

    Raises:
        ImportError: ``loop="asyncio"`` needs the extra ``asyncio``, ``http="h2"`` the extra ``h2``.
        ServiceError: ``loop="asyncio"`` does not work on this Python.
        TypeError: the application cannot be called.
        ValueError: a network that is none; an option that ``http="h2"`` has not; and as for HTTPServer.
        LifespanError: out of ``main``, if the application says that it cannot start.
    """

    def __init__(
        self,
        app: ASGIApplication,
        endpoint: str | StreamServerEndpoint,
        *,
        root_path: str = "",
        trusted_proxies: str | Sequence[str] = (),
        proxy_headers: ProxyHeaders = "x-forwarded",
        websockets: WebSocketLimits | None = None,
        loop: Literal["trio", "asyncio"] = "trio",
        http: Literal["1.1", "h2"] = "1.1",
        **options: Unpack[HTTPServerOptions],
    ) -> None:
        require_application(app, 3)
        if loop not in ("trio", "asyncio"):
            raise ValueError(f"loop is 'trio' or 'asyncio', not {loop!r}")
        if http not in ("1.1", "h2"):
            raise ValueError(f"http is '1.1' or 'h2', not {http!r}")
        super().__init__(endpoint, self._answer, **options)
        self._app = app
        self._open_loop: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
        if loop == "asyncio":
            from .asgi_asyncio import from_asyncio  # an extra, for those who ask for it
            from .asyncio import open_loop

            self._app, self._open_loop = from_asyncio(app), open_loop
        self._loop = loop
        self._root_path = require_root_path(root_path)
        self._raw_root_path = root_path.encode("ascii")
        networks = trusted_networks(trusted_proxies, proxy_headers)
        self._proxies = networks if trusted_proxies else None
        self._proxy_headers: ProxyHeaders = proxy_headers
        self._websockets = websockets or WebSocketLimits()
        self._of_all: dict[str, Any] = {}  # what the lifespan wants each request to know
        self._handover: Handover | None = None
        self._make_handover: type[Handover] | None = None
        if http == "h2":
            from .asgi_h2 import Handover  # an extra, for those who ask for it

            self._make_handover = Handover
            self._require_known_to_hypercorn(
                {**options, "websockets": websockets, "trusted_proxies": trusted_proxies}
            )

    def _require_known_to_hypercorn(self, options: Mapping[str, object]) -> None:
        asked = [name for name in _UNKNOWN_TO_HYPERCORN if options.get(name)]
        if self._introduction.awaits_proxy:
            asked.append("proxy_protocol")
        if asked:
            raise ValueError(
                f"{asked[0]}= is not there with http='h2', as Hypercorn has the connections then; "
                "leave it out, or let a proxy speak HTTP/2"
            )

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Serve, within the application's lifespan."""
        within = lifespan(self._app, self.stop_timeout, self._tell_no_lifespan)
        async with self._open_loop(), within as self._of_all:
            await (super().run if self._make_handover is None else self._run_h2)(task_status)

    async def _run_h2(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        assert self._make_handover is not None
        self._forget()
        certificates = self._introduction.certificates
        self._handover = self._make_handover(
            self._app, self._root_path, self._of_all, certificates, self._tell_failed
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(self._handover.run, self._listeners)
            self.emit(Listening(self.path, trio.current_time(), self.addresses))
            task_status.started(self.addresses)

    def _tell_failed(self, scope: Scope, error: Exception) -> None:
        peer, request = scope["client"] or "unix", f"{scope.get('method', 'GET')} {scope['path']}"
        self.emit(RequestFailed(self.path, trio.current_time(), peer, request, self._explained(error)))

    def _tell_no_lifespan(self, error: Exception | None) -> None:
        now = trio.current_time()
        self.emit(
            LifespanCut(self.path, now)
            if error is None
            else LifespanIgnored(self.path, now, self._explained(error))
        )

    def _explained(self, error: Exception) -> Exception:
        """What an application has raised, with the mend if it is a well-known one."""
        if self._loop == "trio" and _misses_asyncio(error):
            add_note(
                error,
                "The application awaits asyncio, and is served on trio; "
                "ASGIServer(..., loop='asyncio') runs it in a loop of asyncio's (trioservice[web,asyncio]).",
            )
        return error

    async def drain(self) -> None:
        """Let each answer be the last of its connection, and take no new ones."""
        if self._handover is None:
            await super().drain()
        else:
            await trio.sleep(self.lame_duck)
            self._handover.stop()
            await trio.sleep_forever()

    async def _answer(self, exchange: Exchange) -> None:
        scope = self._scope(exchange)
        if exchange.has_wish and exchange.wish == b"websocket":
            await self._open_websocket(exchange, scope)
            return
        cycle = HTTPCycle(exchange)
        try:
            await self._app(scope, cycle.receive, cycle.send)
        except Exception as error:  # noqa: BLE001 - it is raised again, or why it came to that
            cycle.complain(self._explained(error))
        except BaseExceptionGroup as group:  # cancelled, and told of the client's end as well
            _, others = group.split(is_of_disconnect)
            raise others or group from None
        if not cycle.is_whole:
            cycle.complain()

    async def _open_websocket(self, exchange: Exchange, scope: Scope) -> None:
        """A WebSocket; its scope is that of a request but for a few things."""
        del scope["method"]
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        del scope["extensions"]["http.response.pathsend"]
        scope["extensions"]["websocket.http.response"] = {}
        try:
            await WebSocket(exchange, self._websockets).run(self._app, scope)
        except Exception as error:
            if is_of_disconnect(error):
                raise ClientGone("the client has gone") from error
            raise self._explained(error)  # noqa: B904 - it is the same one

    def _scope(self, exchange: Exchange) -> Scope:
        method, _, http_version, headers = request = exchange.request
        path, raw_path, query = request.parts()
        # A copy to be filled in is made in half the time of a new one.
        scope = (exchange.notes.get("asgi") or self._scope_of_all(exchange)).copy()
        scope["http_version"] = http_version
        scope["method"] = method
        scope["path"] = self._root_path + path
        scope["raw_path"] = self._raw_root_path + raw_path
        scope["query_string"] = query
        scope["headers"] = headers
        scope["state"] = self._of_all.copy()
        scope["extensions"] = scope["extensions"].copy()
        if self._proxies is not None:
            scope["client"], scope["scheme"] = client_behind(
                exchange.peer, scope["scheme"], headers, self._proxies, self._proxy_headers
            )
        return scope

    def _scope_of_all(self, exchange: Exchange) -> dict[str, Any]:
        """What the scopes of all requests of a connection have in common, which is kept for the next one."""
        peer, local, tls = exchange.peer, exchange.local, exchange.tls
        extensions: dict[str, Any] = {"http.response.pathsend": {}}
        if tls is not None:
            extensions["tls"] = _tls_facts(tls)
        scope = exchange.notes["asgi"] = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "",
            "method": "",
            "scheme": "http" if tls is None else "https",
            "path": "",
            "raw_path": b"",
            "query_string": b"",
            "root_path": self._root_path,
            "headers": (),
            "client": peer if isinstance(peer, tuple) else None,
            "server": local if isinstance(local, tuple) else (local, None),
            "state": {},
            "extensions": extensions,
        }
        return scope


_UNKNOWN_TO_HYPERCORN = (
    "idle_timeout",
    "limits",
    "max_connections",
    "max_connections_per_peer",
    "on_answered",
    "trusted_proxies",
    "websockets",
)


def _misses_asyncio(error: Exception) -> bool:
    """Whether that is what asyncio says, or what becomes of it, where none of its loops runs."""
    if isinstance(error, RuntimeError) and "no running event loop" in str(error):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__")).partition(".")[0] == "asyncio"


_TLS_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def _tls_facts(stream: TLSStream) -> dict[str, Any]:
    """What ASGI's extension for TLS tells of a handshake; what Python does not know is ``None``."""
    shown = stream.getpeercert(binary_form=True)
    return {
        "server_cert": None,
        "client_cert_chain": [] if shown is None else [DER_cert_to_PEM_cert(shown)],
        "client_cert_name": _name_of(stream.getpeercert() or {}),
        "client_cert_error": None,
        "tls_version": _TLS_VERSIONS.get(stream.version() or ""),
        "cipher_suite": None,
    }


# RFC 4514, 3 and 2.4.
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}
_SPECIAL = re.compile(r'([,+"\\<>;=]|^[ #]| $)')


def _name_of(certificate: dict[str, Any]) -> str | None:
    """The subject of a certificate, as RFC 4514 writes it: the last part first."""
    parts = [
        "+".join(f"{_SHORT.get(key, key)}={_SPECIAL.sub(_ESCAPED, value)}" for key, value in part)
        for part in reversed(certificate.get("subject", ()))
    ]
    return ",".join(parts) or None


_ESCAPED = r"\\\1"
