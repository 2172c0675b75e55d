"""twisted.names, as the documentation of Twisted's Application framework has it, of one hosts file."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.names import dns, hosts, server

from . import HOST


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    factory = server.DNSServerFactory([hosts.Resolver(service)])
    factory.noisy = False
    reactor.listenUDP(int(address), dns.DNSDatagramProtocol(factory), interface=HOST)
    reactor.listenTCP(int(address), factory, interface=HOST)
    reactor.run()
