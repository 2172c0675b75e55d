"""Our server of names, of one hosts file."""

from __future__ import annotations

from trioservice import Application
from trioservice.plugins.dns import DNSServer, HostsResolver
from trioservice.process.runner import run

from . import HOST


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    run(lambda: Application("benchmark", DNSServer(int(address), [HostsResolver(service)], host=HOST)))
