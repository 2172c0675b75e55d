"""TLS: certificates that can be loaded again, contexts, and the stream."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence

import trio

from ..errors import ServiceError
from .addresses import Address
from .endpoints import SSLServerEndpoint, TLSServerEndpoint
from .streams import Connection

__all__ = ["CertificateError", "CertificateFiles", "Certificates", "TLSStream", "certificates_of"]


class CertificateError(ServiceError, ValueError):
    """A certificate, or its key, cannot be used."""


class Certificates(ABC):
    """What a TLS server shows, and asks, of its clients."""

    @property
    @abstractmethod
    def context(self) -> ssl.SSLContext:
        """For the next connection."""

    @abstractmethod
    def load(self) -> None:
        """Read the files."""


class CertificateFiles(Certificates):
    """One certificate, from files."""

    def __init__(self, cert: str, key: str | None = None) -> None:
        self._cert, self._key = cert, key

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        return self._context

    def load(self) -> None:
        """Read the files."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._cert, self._key)
        self._context = context


class _Given(Certificates):
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    @property
    def context(self) -> ssl.SSLContext:
        return self._context

    def load(self) -> None:
        pass


def certificates_of(
    source: ssl.SSLContext | Certificates | SSLServerEndpoint | TLSServerEndpoint,
) -> Certificates:
    """What a server was given, whatever it was."""
    if isinstance(source, Certificates):
        return source
    if isinstance(source, ssl.SSLContext):
        return _Given(source)
    raise NotImplementedError


class TLSStream(Connection):
    """A connection with TLS."""

    def __init__(
        self,
        below: Connection,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
    ) -> None:
        self.below = below
        self._stream: trio.SSLStream[Connection] = trio.SSLStream(
            below, context, server_hostname=server_hostname, server_side=server_side
        )

    @property
    def local(self) -> Address:
        return self.below.local

    async def do_handshake(self) -> None:
        await self._stream.do_handshake()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def abandon(self) -> None:
        self.below.abandon()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()
