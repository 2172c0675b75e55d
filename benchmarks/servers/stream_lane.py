"""Ours, with a handler: each connection, or datagram, is an ``await handler(...)``."""

from __future__ import annotations

from trioservice import Application, Service, SSLServer, TCPServer, UDPServer, UNIXServer
from trioservice.process.runner import run

from . import BACKLOG, HOST
from .task_handlers import HANDLERS


async def echo_datagram(data: bytes, peer: object, server: UDPServer) -> None:
    await server.send(data, peer)


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    run(lambda: Application("benchmark", server(transport, service, address, certificate)))


def server(transport: str, service: str, address: str, certificate: str) -> Service:
    if transport == "udp":
        return UDPServer(int(address), echo_datagram, host=HOST)
    handler = HANDLERS[service]
    if transport == "unix":
        return UNIXServer(address, handler, backlog=BACKLOG, drain_timeout=0)
    if transport == "tls":
        from .certificates import context

        return SSLServer(int(address), handler, context(certificate), host=HOST, backlog=BACKLOG)
    return TCPServer(int(address), handler, host=HOST, backlog=BACKLOG, drain_timeout=0)
