"""Bytes become exchanges, by httptools: Node's parser, llhttp, which many people keep safe.

llhttp refuses what has been used to smuggle requests past a proxy that reads them differently: a
length beside an encoding, two lengths, line breaks of one character, folded lines, spaces before a
colon.  What is left to say here is what a *server* must not take: an encoding that it does not know,
no or two hosts, other versions, and more than the limits allow.

It was chosen by measuring: a request as ``wrk`` sends it takes httptools half a microsecond, and h11 more
than twenty.
"""

from __future__ import annotations

import re
from collections import deque

from .http_exchange import Exchange
from .http_messages import Headers, HTTPLimits, Request, authority_of

try:
    from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
except ImportError as error:
    raise ImportError(
        "HTTP needs the library httptools, which cannot be imported: pip install 'trioservice[http]'",
        name="httptools",
    ) from error

__all__ = ["Parser", "Refusal"]


class Refusal(Exception):
    """A request that is not taken.

    Args:
        status: with which it is answered.
        reason: for the client and for the log.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


_OF_FRAMING = frozenset([b"content-length", b"transfer-encoding"])

# The headers by which it is decided what becomes of a request.
_WEIGHTY = _OF_FRAMING | {b"connection", b"expect", b"host", b"proxy-connection"}

# Those by which llhttp knows whether the connection is to be kept.
_OF_KEEPING = frozenset([b"connection", b"proxy-connection"])

_VERSIONS = ("1.1", "1.0")

_SLASH = ord("/")

# RFC 9112, 3.2 and RFC 3986, 3.2.2: a name or an address, and perhaps a port; or nothing at all.
_HOST = re.compile(rb"(?:\[[-\w.~%:]+\]|[-\w.~%!$&'()*+;=]*)(?::\d*)?")


class Parser:
    """Feeds on what one client sends, and holds what that comes to.

    Attributes:
        requests: whose heads are complete, and which nobody has taken out.
        refusal: why nothing more is read from this client, once that is so.
        ahead: what came after a request for another protocol; it is of that one, or, if nobody
            speaks it, to be fed again.
    """

    def __init__(self, limits: HTTPLimits) -> None:
        self.requests: deque[Exchange] = deque()
        self.refusal: Refusal | None = None
        self.ahead = b""
        self._most_bytes, self._most_headers = limits.header_bytes, limits.header_count
        self._most_of_body = limits.body_bytes
        self._current: Exchange | None = None  # whose body comes
        self._stalled = 0  # bytes since anything was complete
        self._target = b""
        self._headers = Headers()
        self._says_how = False  # the connection is to be kept, or not
        self._weighty: list[tuple[bytes, bytes]] = []  # of the headers
        # Those of a request in HTTP/1.1 that was taken: the same ones need no second look.  None of a length
        # or of an expectation, of which note is taken for each request.
        self._usual: list[tuple[bytes, bytes]] | None = None
        self._parser = HttpRequestParser(self)

    def is_between(self) -> bool:
        """Whether nothing has come yet of a next request."""
        return self._current is None and not (self._stalled or self._target)

    def feed(self, data: bytes | bytearray) -> None:
        """Take what has come; what it comes to is in the attributes."""
        if self.requests and self.requests[-1].has_wish:  # of which protocol it is, is still open
            self.ahead += data
            return
        rest: bytes | bytearray | None = data
        while rest is not None:
            self._stalled += len(rest)
            try:
                self._parser.feed_data(rest)
                break
            except HttpParserUpgrade as upgrade:
                rest = self._end_of_http(bytes(rest[upgrade.args[0] :]))
            except HttpParserError as error:
                said = error.__context__
                self._refuse(said if isinstance(said, Refusal) else Refusal(400, str(error)))
                break
        if self._stalled > self._most_bytes:
            self._refuse(Refusal(431, "the request's head is too large"))

    def _refuse(self, refusal: Refusal) -> None:
        """Say why nothing more is to be read from this client; the first word is the last."""
        if self.refusal is None:
            self.refusal = refusal

    def _end_of_http(self, ahead: bytes) -> bytes | None:
        """A request asks for another protocol, and llhttp reads no more; what is HTTP all the same."""
        self._parser = HttpRequestParser(self)
        exchange = self.requests[-1]
        framing = [header for header in exchange.request.headers if header[0] in _OF_FRAMING]
        if not framing:
            exchange.has_wish = True
            self.ahead = ahead
            return None
        # Who sends a body cannot want that body to be of the other protocol.  llhttp does not read it, so
        # the new one is told of it without the wish, and of a host, as there has to be one.
        lines = (b"%b: %b\r\n" % header for header in [(b"host", b""), *framing])
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))
        exchange.is_complete = self.requests.pop().is_complete
        self._current = None if exchange.is_complete else exchange
        return ahead

    def go_on(self) -> None:
        """Read what came ahead as HTTP: nobody speaks the other protocol, and that request was taken out."""
        ahead, self.ahead = self.ahead, b""
        if ahead:
            self.feed(ahead)

    # ---- what httptools calls

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or what stands after a body and is like one."""
        headers = self._headers
        if len(headers) >= self._most_headers:
            raise Refusal(431, "the request has too many headers")
        name = name.lower()
        header = name, value.strip()
        headers.append(header)
        if name in _WEIGHTY:
            self._weighty.append(header)
            if name in _OF_KEEPING:
                self._says_how = True

    def on_headers_complete(self) -> None:
        """The end of a head."""
        parser = self._parser
        method, target, weighty = parser.get_method().decode("ascii"), self._target, self._weighty
        keep_alive = parser.should_keep_alive()
        # To keep a connection without a word on it is HTTP/1.1's way; to ask costs as much as to parse.
        version = "1.1" if keep_alive and not self._says_how else parser.get_http_version()
        # What Request(...) does, in a third of its time.
        request = tuple.__new__(Request, (method, target, version, self._headers))
        self._current = exchange = Exchange(request, not keep_alive)
        if self._stalled > self._most_bytes:  # which may be because a body has come as well
            self._limit_head(request)
        if weighty != self._usual or version != "1.1" or method == "CONNECT":
            self._weigh(exchange)
        if target[0] != _SLASH:
            self._prefer_host_of_target(request)
        self.requests.append(exchange)
        self._stalled = 0
        self._target = b""
        self._headers = Headers()  # of trailers, or of the next request
        self._weighty, self._says_how = [], False

    def on_body(self, data: bytes) -> None:
        """A part of a body."""
        exchange = self._current
        assert exchange is not None
        exchange.size += len(data)
        self._limit_body(exchange.size)
        exchange.pieces.append(data)
        self._stalled = 0

    def on_message_complete(self) -> None:
        """The end of a request."""
        exchange, self._current = self._current, None
        assert exchange is not None
        exchange.is_complete = True
        self._stalled = 0
        if self._headers:  # trailers, which nobody asks for
            self._headers = Headers()
            self._weighty, self._says_how = [], False

    # ---- what a server does not take

    def _weigh(self, exchange: Exchange) -> None:
        """Take note of the headers that say what becomes of the request."""
        method, _, version, _ = exchange.request
        _require_known(method, version)
        hosts, is_usual = 0, version == "1.1"
        for name, value in self._weighty:
            if name == b"host":
                hosts += 1
                _require_host(value)
            elif name == b"content-length":
                self._limit_body(int(value))
                is_usual = False
            elif name == b"transfer-encoding":
                _require_chunked(value, version)
            elif name == b"expect":
                exchange.expects_continue = value.lower() == b"100-continue" and version == "1.1"
                is_usual = False
        if hosts > 1 or (not hosts and version == "1.1"):
            raise Refusal(400, "the request names no host, or several")
        if is_usual:
            self._usual = self._weighty

    def _prefer_host_of_target(self, request: Request) -> None:
        """Who names a host in the target means that one (RFC 9112, 3.2.2)."""
        host = authority_of(request.target)
        if host is not None:
            _require_host(host)
            headers = request.headers
            headers[:] = [(b"host", host), *(header for header in headers if header[0] != b"host")]

    def _limit_head(self, request: Request) -> None:
        size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
        if size > self._most_bytes:
            raise Refusal(431, "the request's head is too large")

    def _limit_body(self, size: int) -> None:
        most = self._most_of_body
        if most is not None and size > most:
            raise Refusal(413, f"the request's body has more than {most} bytes")


def _require_known(method: str, version: str) -> None:
    if version not in _VERSIONS:
        raise Refusal(505, "this server speaks HTTP/1.1")
    if method == "CONNECT":
        raise Refusal(501, "this server is no proxy")


def _require_host(host: bytes) -> None:
    if _HOST.fullmatch(host) is None:
        raise Refusal(400, "the request's host is none")


def _require_chunked(encoding: bytes, version: str) -> None:
    if encoding.lower() != b"chunked" or version != "1.1":
        raise Refusal(501, "the request's body has an encoding that is not known here")
