"""Twisted's web server, for files."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.web.server import Site
from twisted.web.static import File

from . import BACKLOG, HOST
from .static_files import folder


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    site = Site(File(str(folder(certificate))))
    reactor.listenTCP(int(address), site, backlog=BACKLOG, interface=HOST)
    reactor.run()
