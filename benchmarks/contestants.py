"""Who takes part, and in what.

Each has a file in ``servers/``, which says what it does.  What a contestant cannot do it is not
asked for: raw trio and aiomisc have no server for some transports, and in C there is no TLS.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from .building import epoll_program

STREAM_LANE, FAST_LANE = "trioservice, stream lane", "trioservice, fast lane"
TWISTED, RAW_TRIO = "Twisted", "raw trio"
UVLOOP_STREAMS, UVLOOP_PROTOCOL = "uvloop streams", "uvloop Protocol"
C_EPOLL = "C, epoll"
ASGI = "trioservice, ASGI"
UVICORN_ASYNCIO, UVICORN_UVLOOP = "uvicorn, asyncio", "uvicorn, uvloop"
HYPERCORN = "Hypercorn, trio"

SITE, SITE_AFRESH, TWISTED_WEB, NGINX = "trioservice, web", "trioservice, web, afresh", "Twisted web", "nginx"

OURS = (STREAM_LANE, FAST_LANE)
OURS_FOR_HTTP = (ASGI,)
OURS_FOR_FILES = (SITE, SITE_AFRESH)
ALL = frozenset({"tcp", "unix", "udp", "tls"})
HTTP, FILES = frozenset({"http"}), frozenset({"files"})


@dataclass(frozen=True)
class Contestant:
    """Somebody who serves."""

    name: str
    module: str  # in servers/
    transports: frozenset[str] = ALL
    options: tuple[str, ...] = ()

    def command(self, transport: str, service: str, address: str, certificate: str) -> list[str]:
        """What starts its server."""
        if self.module == "epoll":
            return [str(epoll_program()), transport, service, address]
        task = [transport, service, address, certificate, *self.options]
        return [sys.executable, "-m", "benchmarks.servers", self.module, *task]


CONTESTANTS = (
    Contestant(STREAM_LANE, "stream_lane"),
    Contestant(FAST_LANE, "fast_lane"),
    Contestant(TWISTED, "twisted_server"),
    Contestant(RAW_TRIO, "raw_trio"),
    Contestant("asyncio streams", "asyncio_streams", ALL - {"udp"}),
    Contestant(UVLOOP_STREAMS, "asyncio_streams", ALL - {"udp"}, ("uvloop",)),
    Contestant("asyncio Protocol", "asyncio_protocol"),
    Contestant(UVLOOP_PROTOCOL, "asyncio_protocol", options=("uvloop",)),
    Contestant("aiomisc", "aiomisc_server", ALL - {"unix"}),
    Contestant(C_EPOLL, "epoll", ALL - {"tls"}),
    Contestant(ASGI, "asgi_ours", HTTP),
    Contestant(UVICORN_ASYNCIO, "uvicorn_server", HTTP, ("asyncio",)),
    Contestant(UVICORN_UVLOOP, "uvicorn_server", HTTP, ("uvloop",)),
    Contestant(HYPERCORN, "hypercorn_server", HTTP),
    Contestant(SITE, "static_ours", FILES),
    Contestant(SITE_AFRESH, "static_ours", FILES, ("afresh",)),
    Contestant(TWISTED_WEB, "static_twisted", FILES),
    Contestant(NGINX, "static_nginx", FILES),
)


def among(names: Iterable[str]) -> list[Contestant]:
    """Those whose name contains one of *names*; all, if there are none."""
    wanted = [name.lower() for name in names]
    return [
        contestant
        for contestant in CONTESTANTS
        if not wanted or any(name in contestant.name.lower() for name in wanted)
    ]
