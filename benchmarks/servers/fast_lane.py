"""Ours, with a PEP 3156 protocol for each connection, or for the socket of datagrams."""

from __future__ import annotations

from trioservice import Application, Service, SSLServer, TCPServer, UDPServer, UNIXServer
from trioservice.process.runner import run

from . import BACKLOG, HOST
from .protocols import PROTOCOLS, EchoDatagrams


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    run(lambda: Application("benchmark", server(transport, service, address, certificate)))


def server(transport: str, service: str, address: str, certificate: str) -> Service:
    if transport == "udp":
        return UDPServer(int(address), protocol=EchoDatagrams, host=HOST)
    protocol = PROTOCOLS[service]
    if transport == "unix":
        return UNIXServer(address, protocol=protocol, backlog=BACKLOG, drain_timeout=0)
    if transport == "tls":
        from .certificates import context

        options = {"protocol": protocol, "ssl_context": context(certificate)}
        return SSLServer(int(address), host=HOST, backlog=BACKLOG, **options)
    return TCPServer(int(address), protocol=protocol, host=HOST, backlog=BACKLOG, drain_timeout=0)
