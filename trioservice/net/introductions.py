"""What is said on a connection before its handler's turn: who the client is, and who we are.

A proxy tells who the client is, by a PROXY header, which comes before everything else; then
TLS tells who we are.  Which of the two there is to be, the layers of the server's endpoint and
its ``ssl_context`` say.
"""

from __future__ import annotations

from collections.abc import Iterator
from ssl import SSLContext

from .addresses import Networks
from .endpoints import (
    HAProxyServerEndpoint,
    SSLServerEndpoint,
    StdioServerEndpoint,
    StreamServerEndpoint,
    TLSServerEndpoint,
)
from .proxy_protocol import ProxyProtocolError, read_header
from .streams import Connection, SocketStream
from .tls import Certificates, TLSStream, certificates_of

__all__ = ["Introduction", "Unwelcome"]


class Unwelcome(Exception):
    """This connection is not wanted; the text says why."""


class Introduction:
    """How a server's connections begin.

    Args:
        endpoint: its layers say whether there is a proxy, and TLS.
        ssl_context: TLS likewise, for endpoints that do not say it.

    Raises:
        ValueError: certificates are given twice, or a proxy before standard input.
    """

    def __init__(
        self, endpoint: StreamServerEndpoint, ssl_context: SSLContext | Certificates | None = None
    ) -> None:
        self._proxies: Networks | None = None
        self.certificates = None if ssl_context is None else certificates_of(ssl_context)
        for layer in _layers(endpoint):
            if isinstance(layer, HAProxyServerEndpoint):
                self._proxies = Networks(layer.trust)
            elif isinstance(layer, StdioServerEndpoint) and self._proxies is not None:
                raise ValueError(f"{endpoint}: no proxy can be before standard input")
            elif isinstance(layer, SSLServerEndpoint | TLSServerEndpoint):
                if self.certificates is not None:
                    raise ValueError(
                        f"{endpoint} and ssl_context= name certificates twice; TLS is spoken once"
                    )
                self.certificates = certificates_of(layer)

    @property
    def is_short(self) -> bool:
        """Whether nothing has to be said: there is neither a proxy nor TLS."""
        return self._proxies is None and self.certificates is None

    @property
    def awaits_proxy(self) -> bool:
        """Whether a proxy is to say who the client is."""
        return self._proxies is not None

    async def of_client(self, stream: Connection) -> None:
        """Let a proxy say who the client is.

        Raises:
            Unwelcome: it is no proxy of ours.
            ProxyProtocolError: it says something else.
        """
        if self._proxies is None:
            return
        assert isinstance(stream, SocketStream)
        if stream.peer not in self._proxies:
            raise Unwelcome("it is no proxy that proxy_protocol= trusts")
        data = b""
        while (found := read_header(data)) is None:
            more = await stream.receive_some()
            if not more:
                raise ProxyProtocolError("it ended within its PROXY header")
            data += more
        header, length = found
        stream.put_back(data[length:])
        if header.source is not None and header.destination is not None:
            stream.introduce(header.source, header.destination)

    async def of_server(self, stream: Connection) -> Connection:
        """Shake hands, if TLS is spoken; the stream for the handler."""
        if self.certificates is None:
            return stream
        secure = TLSStream(stream, self.certificates.context, server_side=True)
        await secure.do_handshake()
        return secure


def _layers(endpoint: StreamServerEndpoint) -> Iterator[StreamServerEndpoint]:
    """The endpoint and those below it, on which it stands."""
    below: StreamServerEndpoint | None = endpoint
    while below is not None:
        yield below
        below = getattr(below, "below", None)
