"""One question to one server: by UDP, and by TCP when the answer does not fit.

An answer is believed if it comes from the address and port that were asked, to the port that asked, has
the id that was sent, and repeats the question (RFC 5452).  Who wants to forge one from elsewhere has
to guess 16 bits of the id and nearly as many of the port, since both are drawn by chance for each
question.  What does not fit is passed over, and the true answer is waited for.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from struct import Struct
from typing import NamedTuple, TypeAlias

import trio

from .answers import PAYLOAD, Answer, read_answer
from .codes import CHECKING_DISABLED, IN, NOERROR, NXDOMAIN, OPT, RECURSION_DESIRED
from .names import MalformedError
from .questions import HEADER, Question

__all__ = ["NoAnswerError", "Upstream", "upstream_of"]

_REST = Struct("!HHBHHHHH")  # type and class; root, OPT, size, upper code and version, flags, no options
_LENGTH = Struct("!H")
_DNSSEC_OK = 0x8000
_PORT = 53

# A way to ask: what is said, and whether there is more by TCP.
_Way: TypeAlias = Callable[[bytes], Awaitable[tuple[Answer, bool]]]


class NoAnswerError(Exception):
    """A server did not answer, or not as it should; ``str()`` says why."""


class Upstream(NamedTuple):
    """A server that can be asked.

    Args:
        host: its address.
        port: where it listens.
    """

    host: str
    port: int = _PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def ask(self, question: Question, patience: float) -> Answer:
        """What it says to *question*.

        Args:
            question: what to ask.
            patience: seconds that it has by UDP, and again by TCP.

        Raises:
            NoAnswerError: nothing, or nothing that helps.
        """
        query = _query(question)
        answer, truncated = await self._within(patience, self._by_udp, query)
        if truncated:
            answer, _ = await self._within(patience, self._by_tcp, query)
        if answer.code not in (NOERROR, NXDOMAIN):
            raise NoAnswerError(f"it answers with code {answer.code}")
        return answer

    async def _within(self, patience: float, way: _Way, query: bytes) -> tuple[Answer, bool]:
        try:
            with trio.fail_after(patience):
                return await way(query)
        except trio.TooSlowError:
            raise NoAnswerError(f"no answer within {patience:g} s") from None
        except (OSError, trio.BrokenResourceError) as error:
            raise NoAnswerError(str(error) or type(error).__name__) from error
        except MalformedError as error:
            raise NoAnswerError(f"what it sends cannot be read: {error}") from error

    async def _by_udp(self, query: bytes) -> tuple[Answer, bool]:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # A socket for each question, as the kernel draws its port by chance.
        with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect((self.host, self.port))
            await sock.send(query)
            while True:
                message = await sock.recv(65_535)
                try:
                    return read_answer(message, query)
                except MalformedError:
                    continue  # a forgery, or the answer to somebody's earlier question

    async def _by_tcp(self, query: bytes) -> tuple[Answer, bool]:
        async with await trio.open_tcp_stream(self.host, self.port) as stream:
            await stream.send_all(_LENGTH.pack(len(query)) + query)
            (length,) = _LENGTH.unpack(await _exactly(stream, _LENGTH.size))
            return read_answer(await _exactly(stream, length), query)


def upstream_of(text: str) -> Upstream:
    """The server at an address: ``9.9.9.9``, ``9.9.9.9:5353``, ``2620:fe::fe`` or ``[2620:fe::fe]:5353``.

    Raises:
        ValueError: it is no address; a name would have to be asked for before anybody can be asked.
    """
    host, port = text.strip(), str(_PORT)
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        if not bracket or port[:1] not in ("", ":"):
            raise ValueError(text)
        port = port[1:] or str(_PORT)
    elif host.count(":") == 1:
        host, port = host.split(":")
    if not (port.isdecimal() and 1 <= int(port) <= 65_535):
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return Upstream(str(ip_address(host)), int(port))


def _query(question: Question) -> bytes:
    flags = RECURSION_DESIRED | (CHECKING_DISABLED if question.checking_disabled else 0)
    header = HEADER.pack(secrets.token_bytes(2), flags, 1, 0, 0, 1)
    dnssec = _DNSSEC_OK if question.dnssec_ok else 0
    return header + question.name + _REST.pack(question.type, IN, 0, OPT, PAYLOAD, 0, dnssec, 0)


async def _exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        if not more:
            raise MalformedError("it closed the connection within its answer")
        data += more
    return data
