"""Reaching an endpoint, once; and what to say when that fails.

:func:`connect` knows how to reach each kind of endpoint and gives a
:class:`~trioservice.net.streams.Connection`; whatever the system, the name server or TLS answers
instead becomes one sentence with the likely mend.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import singledispatch
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import TypeAlias

import trio

from ..errors import CannotConnectError
from . import system
from .addresses import peer_of, show_address, sockaddr_of
from .endpoints import (
    SSLClientEndpoint,
    StreamClientEndpoint,
    TCPClientEndpoint,
    TLSClientEndpoint,
    UNIXClientEndpoint,
)
from .events import reason_of
from .streams import Connection, SocketStream
from .tls import TLSStream, client_context

__all__ = [
    "Secure",
    "cannot_connect",
    "check_context",
    "check_endpoint",
    "connect",
    "context_of",
    "rejected",
    "shown",
    "with_tls",
]

#: Endpoints that are TLS.
Secure: TypeAlias = SSLClientEndpoint | TLSClientEndpoint


@singledispatch
async def connect(endpoint: StreamClientEndpoint, ssl_context: SSLContext | None = None) -> Connection:
    """Connect to *endpoint*, once.

    A kind of endpoint of your own registers how it is reached; it is called with the endpoint alone::

        @connect.register
        async def reach(endpoint: SerialEndpoint) -> Connection: ...

    Args:
        endpoint: a description from :mod:`trioservice.net.endpoints`; its ``timeout`` is obeyed.
        ssl_context: for an endpoint that is TLS, instead of a context made of its files.

    Raises:
        CannotConnectError: there is no connection; ``str()`` says why, with the likely mend.
    """
    raise TypeError(
        f"nobody knows how to connect to {endpoint!r}; its kind's package must register it: "
        "@trioservice.net.clients.connect.register"
    )


@connect.register
async def _reach_tcp(endpoint: TCPClientEndpoint) -> Connection:
    with _trying(endpoint, endpoint.timeout):
        stream = await trio.open_tcp_stream(endpoint.host, endpoint.port, local_address=endpoint.bind_address)
        return _connection(system.detached(stream.socket))


@connect.register
async def _reach_unix(endpoint: UNIXClientEndpoint) -> Connection:
    with _trying(endpoint, endpoint.timeout):
        return await _open_unix(sockaddr_of(endpoint.path))


# How soon to knock again where a UNIX server's queue is full: the kernel wakes nobody for that.
_KNOCKS_AGAIN = 0.02


async def _open_unix(path: str | bytes) -> SocketStream:
    # Not by trio.open_unix_socket: a full queue answers EAGAIN, which it takes for TCP's EINPROGRESS,
    # and so the socket for connected.
    sock = system.open_socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            await trio.lowlevel.checkpoint()
            try:
                sock.connect(path)
            except BlockingIOError:
                await trio.sleep(_KNOCKS_AGAIN)
            else:
                return _connection(sock)
    except BaseException:
        sock.close()
        raise


@connect.register
async def _reach_ssl(endpoint: SSLClientEndpoint, ssl_context: SSLContext | None = None) -> Connection:
    below = TCPClientEndpoint(endpoint.host, endpoint.port, endpoint.timeout, endpoint.bind_address)
    return await _secured(endpoint, below, ssl_context)


@connect.register
async def _reach_tls(endpoint: TLSClientEndpoint, ssl_context: SSLContext | None = None) -> Connection:
    below = endpoint.endpoint
    if below is None:
        below = TCPClientEndpoint(endpoint.host, endpoint.port, endpoint.timeout, endpoint.bind_address)
    return await _secured(endpoint, below, ssl_context)


async def _secured(endpoint: Secure, below: StreamClientEndpoint, context: SSLContext | None) -> Connection:
    with _trying(endpoint, endpoint.timeout):
        stream = await connect(below)
        try:
            name = _server_hostname(endpoint)
            secure = TLSStream(stream, context or context_of(endpoint), server_hostname=name)
            await secure.do_handshake()
        except BaseException:
            stream.abandon()
            raise
        return secure


def _connection(sock: socket.socket) -> SocketStream:
    try:
        name = sock.getpeername()
        if sock.getsockname() == name:
            # A port that is free to be chosen for our end, while nobody listens there, can be
            # connected to itself (RFC 793's simultaneous open); sooner or later a client that
            # tries again and again is, and then keeps its own server from starting.
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
        return SocketStream(sock, peer_of(sock, name))
    except BaseException:
        sock.close()
        raise


@contextmanager
def _trying(endpoint: StreamClientEndpoint, seconds: float) -> Iterator[None]:
    """Whatever goes wrong in here, or takes too long, is a :exc:`CannotConnectError`."""
    try:
        with trio.fail_after(seconds):
            yield
    except CannotConnectError:
        raise
    except trio.TooSlowError as error:
        raise cannot_connect(endpoint, TimeoutError(f"no answer within {seconds:g} s")) from error
    except (OSError, UnicodeError, trio.BrokenResourceError) as error:
        raise cannot_connect(endpoint, error) from error


def context_of(endpoint: Secure) -> SSLContext:
    """What the endpoint's files make."""
    if isinstance(endpoint, SSLClientEndpoint):
        trust_roots, cert = endpoint.ca_certs_dir, endpoint.cert_key
    else:
        trust_roots, cert = endpoint.trust_roots, endpoint.certificate
    return client_context(trust_roots=trust_roots, cert=cert, key=endpoint.private_key, alpn=endpoint.alpn)


def with_tls(endpoint: StreamClientEndpoint) -> StreamClientEndpoint:
    """What ``ssl_context=`` makes of *endpoint*."""
    if isinstance(endpoint, Secure):
        return endpoint
    if isinstance(endpoint, TCPClientEndpoint):
        return TLSClientEndpoint(endpoint.host, endpoint.port, endpoint.timeout, endpoint.bind_address)
    raise ValueError(
        f"ssl_context over {endpoint} needs the name that the server's certificate is for; "
        "give TLSClientEndpoint(name, endpoint=...), in text tls:NAME:endpoint=..., as the endpoint"
    )


# ---- what could never be connected to, told before it is tried ----------------------------------


def check_endpoint(endpoint: StreamClientEndpoint) -> None:
    """Refuse a host with a URL's slashes, and a name that TLS could not ask for.

    Raises:
        ValueError: says which, and the likely mend.
    """
    if isinstance(endpoint, (TCPClientEndpoint, SSLClientEndpoint, TLSClientEndpoint)):
        host = endpoint.host.lstrip("/")
        if endpoint.host.startswith("//") and host:
            raise ValueError(f"{endpoint} is no URL; did you mean {replace(endpoint, host=host)}?")
    if isinstance(endpoint, Secure):
        _check_name(_server_hostname(endpoint))
    if isinstance(endpoint, TLSClientEndpoint) and endpoint.endpoint is not None:
        check_endpoint(endpoint.endpoint)


def _server_hostname(endpoint: Secure) -> str:
    named = endpoint.hostname if isinstance(endpoint, SSLClientEndpoint) else None
    return named or endpoint.host


def _check_name(name: str) -> None:
    try:
        name.encode("idna")
    except UnicodeError:  # its own words differ from Python to Python
        raise ValueError(
            f"{name!r} cannot be the name that a server's certificate is for; "
            "is it spelt right? Between its dots a name has 1 to 63 characters"
        ) from None


def check_context(context: object) -> None:
    """Refuse what is no context for clients.

    Raises:
        TypeError: no context at all.
        ValueError: one for servers.
    """
    if not isinstance(context, SSLContext):
        raise TypeError(
            f"ssl_context is an ssl.SSLContext, like client_context() makes, or None, not {context!r}"
        )
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError(
            "this ssl_context is a server's; clients want one of client_context() or "
            "ssl.create_default_context()"
        )


# ---- what went wrong, and the likely mend -----------------------------------------------------


def rejected(stream: Connection, error: Exception) -> CannotConnectError:
    """What *error* of the user's ``prepare`` says of *stream*."""
    shown = show_address(stream.peer)
    if stream.broke_with(error):
        what = f"the connection to {shown} broke in prepare: {reason_of(error)}"
    else:
        what = f"prepare declined the connection to {shown}: {', '.join(_told(error))}"
    rejection = CannotConnectError(0, what)
    rejection.__cause__ = error
    return rejection


def _told(error: BaseException) -> list[str]:
    """The error for one line; for a group (prepare may have a nursery), what is in it."""
    if isinstance(error, BaseExceptionGroup):
        return list(dict.fromkeys(told for part in error.exceptions for told in _told(part)))
    said = str(error)
    return [f"{type(error).__name__}: {said}" if said else type(error).__name__]


def cannot_connect(endpoint: StreamClientEndpoint, error: Exception) -> CannotConnectError:
    """What the system said of *endpoint*, and the likely mend."""
    cause = _innermost(error)
    if isinstance(cause, SSLError):
        number, (said, mend) = 0, _of_tls(cause)
    elif isinstance(cause, (socket.gaierror, UnicodeError)):
        said, mend = getattr(cause, "strerror", None) or str(cause), "is the name spelt right?"
        number, said = 0, f"it has no address: {said}"
    elif isinstance(cause, OSError):
        number = cause.errno or (errno.ETIMEDOUT if isinstance(cause, TimeoutError) else 0)
        said = os.strerror(number) if cause.errno else str(cause)
        if "local_address=" in said:  # trio's word for it
            said = f"{getattr(endpoint, 'bind_address', None)} cannot be our end"
        mend = _mend(endpoint, number)
    else:  # a connection that ended within the handshake, without a reason
        number, said, mend = 0, str(cause) or "it ended the connection within the TLS handshake", _NO_TLS
    return CannotConnectError(number, f"cannot connect to {shown(endpoint)}: {said}" + (mend and f"; {mend}"))


def _innermost(error: BaseException) -> BaseException:
    """The error that tells most: below trio's own, and of several addresses' the most telling."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = min(cause.exceptions, key=_vagueness)
    return error if cause is None else _innermost(cause)


def _vagueness(error: BaseException) -> int:
    """That a machine has no way to IPv6 tells nothing of the server; what its IPv4 address answers does."""
    number = getattr(error, "errno", None)
    return 2 if number is None else 1 if number in _NO_WAY else 0


_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_NO_TLS = "does it speak TLS there?"
_TOO_LATE = "is the address right, and does no firewall drop what is sent there?"


def _mend(endpoint: StreamClientEndpoint, number: int) -> str:
    if number == errno.ETIMEDOUT and isinstance(endpoint, Secure):
        return f"{_TOO_LATE[:-1]}, and {_NO_TLS}"
    if number in (0, errno.EADDRNOTAVAIL) and getattr(endpoint, "bind_address", None) is not None:
        return "bind_address must be an address of this machine, of the same family as the server's"
    if isinstance(endpoint, UNIXClientEndpoint) and number in _MENDS_OF_FILES:
        return _MENDS_OF_FILES[number]
    return _MENDS.get(number, "")


_MENDS = {
    errno.ECONNREFUSED: "nobody listens there; is the server running, and the port right?",
    errno.ETIMEDOUT: _TOO_LATE,
    errno.ENETUNREACH: "there is no way to it; is the network up, and the address right?",
    errno.EHOSTUNREACH: "there is no way to it; is the machine up, and the address right?",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EACCES: "a firewall of this machine forbids it",
    errno.EPERM: "a firewall of this machine forbids it",
    errno.ECONNRESET: "it was taken and dropped at once; the server's own log should tell why",
}

_MENDS_OF_FILES = {
    errno.ENOENT: "there is no such socket; is the server running, and the path right?",
    errno.ECONNREFUSED: "nobody listens there any more; is the server running?",
    errno.EACCES: "this process may not write to it; `ls -l` shows who may",
    errno.ETIMEDOUT: "the server does not take those who wait already; is it too busy, or stuck?",
    errno.EPROTOTYPE: "it is a socket for datagrams; a UNIXDatagramClient talks to it",
}


def _of_tls(error: SSLError) -> tuple[str, str]:
    if isinstance(error, SSLCertVerificationError):
        said = f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
        return said, _MENDS_OF_CERTIFICATES.get(error.verify_code, "")
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if " alert " in reason:
        return f"it refuses the TLS handshake: {reason}", "its own log should tell why"
    return f"the TLS handshake failed: {reason}", _NO_TLS


_UNKNOWN_AUTHORITY = "if that authority is to be trusted, name its file as trustRoots (caCertsDir for ssl:)"
_OTHER_NAME = "connect to a name that the certificate is for, or say which it is (hostname, server_hostname)"

# By the numbers of OpenSSL's x509_vfy.h.
_MENDS_OF_CERTIFICATES = {
    2: _UNKNOWN_AUTHORITY,
    9: "is a clock wrong?",
    10: "it must be renewed at the server",
    18: _UNKNOWN_AUTHORITY,
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}


def shown(endpoint: StreamClientEndpoint) -> str:
    """The endpoint for a log: its address, where it has one."""
    if isinstance(endpoint, UNIXClientEndpoint):
        return endpoint.path
    if isinstance(endpoint, (TCPClientEndpoint, SSLClientEndpoint)):
        return show_address((endpoint.host, endpoint.port))
    if isinstance(endpoint, TLSClientEndpoint) and endpoint.endpoint is None:
        return show_address((endpoint.host, endpoint.port))
    return str(endpoint)
